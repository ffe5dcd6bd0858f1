"""Memory of an indexed book: its columns, who is in it, and what can be read of them.

What changes them is in indexed.pyx. Positions lie as the certified scan reads them (slices.pxd), and a risk is
computed when it is asked for.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from dydx_perf.errors import CapacityError, InputError

from dydx_perf.ext.account cimport MarketTable, Risk
from dydx_perf.ext.account_store cimport AccountStore, checked_thresholds, threshold_bytes
from dydx_perf.ext.book_rows cimport NOWHERE, prefer_large_pages
from dydx_perf.ext.crossings cimport edge_t, figures_t
from dydx_perf.ext.fixed cimport i128, i128_to_object
from dydx_perf.ext.indexed_rows cimport (
    EXTENT,
    EXTENT_BITS,
    STATE_BASIS_SHIFT,
    STATE_EXTRA,
    STATE_OUTSIDE,
    STATE_USED,
    evaluate_row,
    settlement_of_row,
)
from dydx_perf.ext.names cimport NameCopies, NameTable
from dydx_perf.ext.settle cimport settlement_floor
from dydx_perf.ext.slices cimport (
    PAGE_BITS,
    CERTIFIED_MAX_PATHS,
    LANES,
    certified_path_t,
    certified_paths,
    certified_t,
    find_position,
    has_bit,
    plan_slices,
    position_slot,
)
from dydx_perf.ext.structs cimport STATUS_OK, market_t, risk_t

BASES = ("chain", "estimate", "sample")

cdef certified_path_t PATHS[CERTIFIED_MAX_PATHS]
cdef int PATH_COUNT = certified_paths(PATHS)
MAX_MARKETS = 1 << 15


def scan_paths():
    """Names of the scans that this processor has, the fastest first."""
    return tuple(PATHS[i].name.decode("ascii") for i in range(PATH_COUNT))


def path_index(path):
    """Place of a scan among those that this processor has; of None the first."""
    if path is None:
        return 0
    if path not in scan_paths():
        raise InputError("path", path, " or ".join(scan_paths()))
    return scan_paths().index(path)


cdef size_t aligned(size_t size) noexcept:
    return (size + 63) & ~<size_t>63


cdef int plan(indexed_t *b, object max_subaccounts, object max_positions, object max_markets) except -1:
    """Check the capacities and write them into a book that has nothing yet."""
    for name, value, most in (
        ("max_subaccounts", max_subaccounts, NOWHERE - 1), ("max_positions", max_positions, NOWHERE - 1),
        ("max_markets", max_markets, MAX_MARKETS),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise InputError(name, value, f"an int of 0 to {most}")
    b.account_extent.capacity = max_subaccounts
    b.max_positions = max_positions
    b.market_extent.capacity = max_markets
    b.extents = b.max_positions // EXTENT + b.market_extent.capacity + 1
    b.candidate_room = b.max_positions // 1000 + 8 + 128
    if b.candidate_room < 4096:
        b.candidate_room = 4096
    if not plan_slices(
        &b.s, b.account_extent.capacity, b.max_positions, b.market_extent.capacity
    ) or <uint64_t>b.extents << EXTENT_BITS >= NOWHERE:
        raise InputError("max_positions", max_positions, "fewer: places are counted in 32 bits")
    return 0


cdef size_t place_columns(
    indexed_t *b, size_t of_thresholds, void **thresholds, char *arena, bint place
) noexcept:
    """Lay the columns one after the other; returns the bytes they take."""
    cdef size_t octets = <size_t>b.s.pages << PAGE_BITS
    cdef size_t slots = octets * LANES
    cdef size_t accounts = b.account_extent.capacity
    cdef size_t markets = b.market_extent.capacity
    cdef size_t entries = <size_t>b.extents << EXTENT_BITS
    cdef size_t sizes[38]
    cdef void **columns[38]
    cdef size_t used = 0
    cdef int count = 0
    cdef int i

    columns[0] = <void **>&b.s.amount
    sizes[0] = slots * sizeof(int64_t)
    columns[1] = <void **>&b.s.index
    sizes[1] = slots * sizeof(int64_t)
    columns[2] = <void **>&b.s.link
    sizes[2] = slots * sizeof(uint32_t)
    columns[3] = <void **>&b.s.side
    sizes[3] = slots * sizeof(uint16_t)
    columns[4] = <void **>&b.s.flagged
    columns[5] = <void **>&b.s.solid
    columns[6] = <void **>&b.s.large
    columns[7] = <void **>&b.s.hot
    columns[8] = <void **>&b.s.dirty
    for i in range(4, 9):
        sizes[i] = octets
    columns[9] = <void **>&b.s.page_class
    sizes[9] = b.s.pages
    columns[10] = <void **>&b.s.page_next
    columns[11] = <void **>&b.s.page_previous
    sizes[10] = sizes[11] = b.s.pages * sizeof(uint32_t)
    columns[12] = <void **>&b.s.where
    columns[13] = <void **>&b.generation
    columns[14] = <void **>&b.first_threshold
    columns[15] = <void **>&b.queue
    for i in range(12, 16):
        sizes[i] = accounts * sizeof(uint32_t)
    columns[16] = <void **>&b.height
    sizes[16] = accounts * sizeof(int64_t)
    columns[17] = <void **>&b.state
    sizes[17] = accounts
    columns[18] = <void **>&b.markets
    sizes[18] = markets * sizeof(market_t)
    columns[19] = <void **>&b.weight
    columns[20] = <void **>&b.worth
    sizes[19] = sizes[20] = 2 * markets * sizeof(double)
    columns[21] = <void **>&b.lowest
    columns[22] = <void **>&b.highest
    sizes[21] = sizes[22] = markets * sizeof(double)
    columns[23] = <void **>&b.holders
    columns[24] = <void **>&b.first_extent
    columns[25] = <void **>&b.last_extent
    columns[26] = <void **>&b.stale_markets
    for i in range(23, 27):
        sizes[i] = markets * sizeof(uint32_t)
    columns[27] = <void **>&b.stale
    sizes[27] = markets
    columns[28] = <void **>&b.extent_next
    columns[29] = <void **>&b.extent_previous
    sizes[28] = sizes[29] = b.extents * sizeof(uint32_t)
    columns[30] = <void **>&b.entry_account
    columns[31] = <void **>&b.trigger
    sizes[30] = sizes[31] = entries * sizeof(uint32_t)
    columns[32] = <void **>&b.down
    columns[33] = <void **>&b.up
    columns[34] = <void **>&b.crossed_blocks
    for i in range(32, 35):
        sizes[i] = (entries >> 6) * sizeof(uint32_t)
    columns[35] = <void **>&b.candidates
    sizes[35] = b.candidate_room * sizeof(uint32_t)
    columns[36] = <void **>&b.found
    sizes[36] = (<size_t>1 << PAGE_BITS) * sizeof(certified_t)
    columns[37] = thresholds
    sizes[37] = of_thresholds
    count = 38
    for i in range(count):
        if place:
            columns[i][0] = <void *>(arena + used)
        used += aligned(sizes[i])
    return used


def memory_needed(max_subaccounts, max_positions, max_markets, max_thresholds):
    """Bytes of an indexed book, names included."""
    cdef indexed_t b
    cdef void *thresholds = NULL
    memset(&b, 0, sizeof(b))
    plan(&b, max_subaccounts, max_positions, max_markets)
    return place_columns(
        &b, threshold_bytes(checked_thresholds(max_thresholds)), &thresholds, NULL, False
    ) + NameTable.bytes_needed(max_subaccounts)


def memory_of_market(holders):
    """Bytes that one market with so many holders takes: its row, its weights, and its extents of entries."""
    entry = sizeof(uint32_t) + sizeof(float)
    summaries = 3 * sizeof(uint32_t) * (EXTENT >> 6) + 2 * sizeof(uint32_t)
    row = sizeof(market_t) + 6 * sizeof(double) + 4 * sizeof(uint32_t) + 1
    return row + -(-holders // EXTENT) * (EXTENT * entry + summaries)


cdef class IndexedMemory(AccountStore):
    """Rows of accounts, entries of markets, one block of memory; see IndexedStore."""

    def __cinit__(
        self, MarketTable table not None, exact, max_subaccounts, max_positions, max_markets, max_thresholds,
        path=None,
    ):
        cdef uint32_t i
        self.arena = NULL
        plan(&self.b, max_subaccounts, max_positions, max_markets)
        self.max_thresholds = checked_thresholds(max_thresholds)
        self.b.scan = PATHS[path_index(path)].scan
        self.nbytes = place_columns(
            &self.b, threshold_bytes(self.max_thresholds), <void **>&self.numerator, NULL, False)
        self.table = table
        self.exact = exact
        self.outside = {}
        self.wide = set()
        self.extra = {}
        self.watched = set()
        self.names = NameTable(max_subaccounts)
        self.arena = PyMem_RawCalloc(self.nbytes + 64, 1)
        if self.arena == NULL:
            raise CapacityError(f"no memory for a book of {self.nbytes} bytes")
        prefer_large_pages(self.arena, self.nbytes)
        # Touched now, so that the pages are there and not promised.
        memset(self.arena, 0, self.nbytes + 64)
        place_columns(
            &self.b, threshold_bytes(self.max_thresholds), <void **>&self.numerator,
            <char *>aligned(<size_t>self.arena), True)
        self.place_thresholds(<char *>self.numerator)
        self.first_threshold = self.b.first_threshold
        for i in range(self.b.market_extent.capacity):
            self.b.first_extent[i] = self.b.last_extent[i] = NOWHERE
        for i in range(self.b.account_extent.capacity):
            self.b.s.where[i] = NOWHERE
        self.b.first_free = self.b.last_free = NOWHERE
        self.b.free_extent = NOWHERE
        self.block_height = -1
        self.nbytes += NameTable.bytes_needed(max_subaccounts)

    def __dealloc__(self):
        PyMem_RawFree(self.arena)

    def __len__(self):
        return self.b.account_extent.used

    @property
    def slots(self):
        """Slots by name."""
        return self.names

    @property
    def max_subaccounts(self):
        """Room for accounts, were none of their places used up."""
        return self.b.account_extent.capacity

    @property
    def capacity(self):
        """Room for accounts, positions, markets and thresholds."""
        return {
            "subaccounts": self.b.account_extent.capacity - self.b.retired,
            "positions": self.b.max_positions,
            "markets": self.b.market_extent.capacity,
            "thresholds": self.max_thresholds,
        }

    @property
    def used(self):
        """How much of it is taken."""
        return {
            "subaccounts": self.b.account_extent.used,
            "positions": self.b.positions,
            "markets": self.b.market_extent.used,
            "thresholds": self.thresholds,
        }

    @property
    def backlog(self):
        """(markets that are stale, accounts that a scan flipped and nobody looked at since)."""
        return self.b.stale_count, self.b.dirty_rows

    # -- reading

    cdef uint32_t fresh_slots(self) noexcept:
        return self.b.account_extent.fresh

    cdef bint is_used(self, uint32_t slot) noexcept:
        return (self.b.state[slot] & STATE_USED) != 0

    cdef tuple name_at(self, uint32_t slot):
        return self.names.name(slot)

    cdef uint32_t generation_at(self, uint32_t slot) noexcept:
        return self.b.generation[slot]

    cdef uint32_t slot_named(self, object name) except? 0xffffffff:
        return self.names.find(name)

    cdef void mark_watched(self, uint32_t slot, bint watched) noexcept:
        if watched:
            self.watched.add(slot)
        else:
            self.watched.discard(slot)

    def taken(self, names, /):
        """One of a set of names that is in the book already; None."""
        for name in names:
            if self.names.find(name) != NOWHERE:
                return name
        return None

    cdef int64_t quote_balances(self, uint32_t slot) except? -1:
        """Sum of an inside account's quote balances, which its collateral contains."""
        if not self.b.state[slot] & STATE_EXTRA:
            return 0
        return sum([balance for balance, _ in self.extra[slot].values()])

    cdef object usdc_of(self, uint32_t slot):
        """Balance of an inside account, funding not settled."""
        cdef i128 ppm = 0
        settlement_of_row(&self.b, self.b.s.where[slot], &ppm)
        return (
            self.b.s.amount[self.b.s.where[slot]] - i128_to_object(settlement_floor(ppm))
            - self.quote_balances(slot))

    cdef list rows_of(self, uint32_t slot):
        """[(market index, quantums, funding index, quote balance, custom_imf_ppm)] of an inside account."""
        cdef uint32_t head = self.b.s.where[slot]
        cdef uint32_t i, place
        cdef list rows = []
        cdef dict extra = dict(self.extra[slot]) if self.b.state[slot] & STATE_EXTRA else {}
        for i in range(self.b.s.side[head]):
            place = position_slot(head, i)
            market = self.b.s.side[place] >> 1
            balance, ppm = extra.pop(market, (0, 0))
            rows.append((market, self.b.s.amount[place], self.b.s.index[place], balance, ppm))
        rows += [(market, 0, 0, balance, ppm) for market, (balance, ppm) in extra.items()]
        rows.sort()
        return rows

    cdef bint read_risk(self, uint32_t slot, risk_t *out) noexcept:
        """Fill the risk of an account without margin fractions of its own; False where plain integers answer."""
        if self.b.state[slot] & (STATE_OUTSIDE | STATE_EXTRA):
            return False
        return evaluate_row(&self.b, self.b.s.where[slot], out) == STATUS_OK

    cdef bint is_plain_integers(self, uint32_t slot) noexcept:
        """Not one of those whose parts are below 2**51: of these 128 bits hold every figure."""
        return (
            self.b.state[slot] & (STATE_OUTSIDE | STATE_EXTRA) != 0
            or has_bit(self.b.s.large, self.b.s.where[slot])
        )

    cdef object copied_names(self, const edge_t *edges, Py_ssize_t count):
        cdef NameCopies names = NameCopies(count)
        cdef Py_ssize_t i
        for i in range(count):
            names.put(i, self.names, <uint32_t>(edges[i].handle & 0xffffffff))
        return names

    cdef bint read_figures(self, uint32_t slot, figures_t *out) noexcept:
        """Fill the risk of an account, with height and basis; False where plain integers answer."""
        cdef uint32_t head = self.b.s.where[slot]
        cdef uint32_t i
        cdef const market_t *market
        if not self.read_risk(slot, &out.risk):
            return False
        out.height = self.b.height[slot]
        out.basis = self.b.state[slot] >> STATE_BASIS_SHIFT
        for i in range(self.b.s.side[head]):
            market = &self.b.markets[self.b.s.side[position_slot(head, i)] >> 1]
            if market.height < out.height:
                out.height = market.height
            if market.basis > out.basis:
                out.basis = market.basis
        return True

    cdef Risk risk_at(self, uint32_t slot):
        cdef Risk risk
        cdef figures_t figures
        cdef int64_t height = self.b.height[slot]
        cdef uint32_t basis = self.b.state[slot] >> STATE_BASIS_SHIFT
        cdef uint64_t sequence = self.sequence
        cdef uint64_t version = self.table.version
        cdef const market_t *market
        if self.read_figures(slot, &figures):
            risk = Risk.__new__(Risk)
            risk.c = figures.risk
            risk.block_height = figures.height
            risk.basis_code = figures.basis
            risk.time = self.time
            return risk
        usdc, rows, _, _ = self.inputs(slot)
        for row in rows:
            if row[1] or row[3]:
                market = &self.b.markets[<uint32_t>row[0]]
                if market.height < height:
                    height = market.height
                if market.basis > basis:
                    basis = market.basis
        nc, imr, mmr = self.exact(self.names.name(slot), usdc, rows, self.is_beyond(slot))
        if not self.writing and (sequence != self.sequence or version != self.table.version):
            # Another thread changed the book or the chain while plain Python computed: ask again.
            self.require_fresh()
            return self.risk_at(slot)
        return Risk.from_integers(nc, imr, mmr, None if height < 0 else height, BASES[basis], self.time)

    def holders(self, market, /):
        """How many accounts have a position in a market, or chose a margin fraction there."""
        cdef uint32_t place = market
        if place >= self.b.market_extent.capacity:
            return 0
        count = self.b.holders[place]
        for slot, extra in self.extra.items():
            if place in extra and find_position(&self.b.s, self.b.s.where[<uint32_t>slot], place) == NOWHERE:
                count += 1
        return count + sum([inputs is not None and any(row[0] == place for row in inputs[1])
                            for inputs in self.outside.values()])

    def inputs(self, slot, /):
        """(usdc, [(market index, quantums, funding index, quote balance, custom_imf_ppm)], height, basis)."""
        cdef uint32_t place = slot
        height, basis = self.b.height[place], self.b.state[place] >> STATE_BASIS_SHIFT
        if self.b.state[place] & STATE_OUTSIDE:
            usdc, rows = self.outside[slot] or (0, [])
            return usdc, list(rows), height, basis
        return self.usdc_of(place), self.rows_of(place), height, basis

    def liquidatable(self):
        """Names of all accounts that are liquidatable, by slot."""
        cdef uint32_t slot
        self.require_fresh()
        return [
            self.names.name(slot)
            for slot in range(self.b.account_extent.fresh)
            if self.b.state[slot] & STATE_USED and has_bit(self.b.s.flagged, self.b.s.where[slot])
        ]

    def require_room(self, accounts, positions):
        """Refuse when so many more do not fit; nothing is changed."""
        capacity, used = self.capacity, self.used
        for what, more in (("subaccounts", accounts), ("positions", positions)):
            if more > capacity[what] - used[what]:
                raise CapacityError(
                    f"the book has room for {capacity[what]} {what}: {used[what]} are in it, {more} more do not fit")

    def require_market(self, market, /):
        """Refuse a market that came to the chain when the book had no row left."""
        if market >= self.b.market_extent.capacity:
            raise CapacityError(f"the book has room for {self.b.market_extent.capacity} markets")

    def is_beyond(self, slot, /):
        """Whether the face holds the account's inputs."""
        return slot in self.outside and self.outside[slot] is None

    def places_needed(self, slot, list rows):
        """How many places more an update takes; negative when it gives some back."""
        cdef uint32_t place = slot
        cdef int64_t needed = 0
        if self.b.state[place] & STATE_OUTSIDE:
            held = {row[0]: row for row in (self.outside[slot] or (0, []))[1]} | {row[0]: row for row in rows}
            return sum([row[1] != 0 for row in held.values()])
        for row in rows:
            needed += (row[1] != 0) - (find_position(&self.b.s, self.b.s.where[place], row[0]) != NOWHERE)
        return needed
