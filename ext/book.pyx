"""The store behind a book of accounts: memory taken once, risk kept in step, crossings found.

`BookStore` checks nothing that its face (dydx_perf.book) has checked: indexes of markets come from the chain,
amounts are ints. It raises CapacityError at the edge of its memory before anything is changed.

Hazards: one writer at a time, from `begin` to `end`; a second one is refused. The GIL is kept, and each change is
made visible by C code alone, so a reader on another thread sees the state before a call or the one after it.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memmove, memset

from dydx_perf.errors import CapacityError

from dydx_perf.ext.account cimport NO_ROW, Account, MarketTable, Risk
from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.book_columns cimport COLUMNS, aligned, bytes_needed, describe, plan, rows_of
from dydx_perf.ext.book_rows cimport (
    ACCOUNT_BEYOND,
    ACCOUNT_LIQUIDATABLE,
    ACCOUNT_QUEUED,
    ACCOUNT_STALE,
    ACCOUNT_UNKNOWN,
    ACCOUNT_UNSUMMED,
    ACCOUNT_USED,
    ACCOUNT_WATCHED,
    ACCOUNT_WIDE,
    BASIS_SHIFT,
    NOWHERE,
    append_place,
    close_slot,
    drop_place,
    enqueue,
    evaluate,
    find_place,
    market_of,
    open_slot,
    prefer_large_pages,
    reprice_market,
    rescan,
    resize_positions,
    row_t,
    settle_row,
)
from dydx_perf.ext.crossings cimport edge_t, figures_t
from dydx_perf.ext.fixed cimport object_to_i64
from dydx_perf.ext.margin cimport is_liquidatable
from dydx_perf.ext.structs cimport STATUS_OK, market_t, position_t, risk_t

BASES = ("chain", "estimate", "sample")


def is_wide(Account account not None):
    """Whether 64 bits do not hold an amount of the account."""
    return account.wide


cdef class BookStore(AccountStore):
    """Columns of accounts, positions and markets on one block of memory.

    Parameters
    ----------
    table : MarketTable
        The chain's markets. The store keeps a copy of its own and `catch_up` brings it in step.
    exact : callable
        ``exact(name, usdc, positions, beyond)`` gives (nc, imr, mmr) as ints where 128 bits do not hold the
        account. A name is (address, number), a position is (market index, quantums, funding index, quote
        balance, custom_imf_ppm). `beyond`: the columns do not hold the inputs, the callable knows them itself.
    max_subaccounts, max_positions, max_markets, max_thresholds : int
    """

    def __cinit__(
        self, MarketTable table not None, exact, max_subaccounts, max_positions, max_markets, max_thresholds
    ):
        self.arena = NULL
        plan(&self.c, max_subaccounts, max_positions, max_markets, max_thresholds)
        describe(&self.c, self.columns)
        self.max_thresholds = max_thresholds
        self.nbytes = bytes_needed(&self.c, self.columns, self.max_thresholds)
        self.table = table
        self.exact = exact
        self.wide = {}
        self.slots = {}
        self.names = [None] * max_subaccounts
        self.arena = PyMem_RawCalloc(self.nbytes, 1)
        if self.arena == NULL:
            raise CapacityError(f"no memory for a book of {self.nbytes} bytes")
        prefer_large_pages(self.arena, self.nbytes)
        # Touched now, so that the pages are there and not promised.
        memset(self.arena, 0, self.nbytes)
        self.place_columns(<char *>(aligned(<size_t>self.arena)))
        memset(self.c.last_block, 0xff, self.c.market_extent.capacity * sizeof(uint32_t))
        self.block_height = -1
        self.catch_up()

    @property
    def max_subaccounts(self):
        """Room for accounts, were none of their places used up."""
        return self.c.account_extent.capacity

    @property
    def capacity(self):
        """Room for accounts, positions, markets and thresholds."""
        return {
            "subaccounts": self.c.account_extent.capacity - self.c.retired,
            "positions": self.c.max_positions,
            "markets": self.c.market_extent.capacity,
            "thresholds": self.max_thresholds,
        }

    @property
    def used(self):
        """How much of it is taken."""
        return {
            "subaccounts": self.c.account_extent.used,
            "positions": self.c.positions,
            "markets": self.c.market_extent.used,
            "thresholds": self.thresholds,
        }

    def __dealloc__(self):
        PyMem_RawFree(self.arena)

    def __len__(self):
        return self.c.account_extent.used

    cdef void place_columns(self, char *arena) noexcept:
        cdef int i
        for i in range(COLUMNS):
            self.columns[i].data[0] = <void *>arena
            arena += aligned(self.columns[i].item * rows_of(&self.c, &self.columns[i], False))
        self.c.markets = <market_t *>arena
        arena += aligned(sizeof(market_t) * self.c.market_extent.capacity)
        self.place_thresholds(arena)
        self.first_threshold = self.c.first_threshold

    # -- in step with the chain

    cdef void catch_up(self) noexcept:
        """Bring the rows that changed in step with the table, in the order in which they changed.

        A market that the book has no row for has no holders here.
        """
        cdef size_t i = self.table.newest
        cdef size_t first = NO_ROW
        while i != NO_ROW and self.table.origins[i].changed > self.seen_version:
            first = i
            i = self.table.origins[i].older
        i = first
        while i != NO_ROW:
            if i < self.c.market_extent.capacity:
                if self.c.holders[i]:
                    reprice_market(&self.c, <uint32_t>i, &self.table.rows[i])
                self.c.markets[i] = self.table.rows[i]
            i = self.table.origins[i].newer
        i = self.table.count
        self.c.market_extent.used = (
            <uint32_t>i if i < self.c.market_extent.capacity else self.c.market_extent.capacity)
        self.c.market_extent.fresh = self.c.market_extent.used
        self.block_height = self.table.block_height
        self.seen_version = self.table.version
        for i in range(self.c.queued):
            if self.c.rows[self.c.queue[i]].flags & ACCOUNT_STALE:
                settle_row(&self.c, self.c.queue[i])

    cdef int settle(self) except -1:
        cdef uint32_t done = 0
        self.catch_up()
        # From here on every reader sees the new state; objects are only made now.
        self.time = self.table.time
        if self.c.queued == 0:
            return 0
        try:
            while done < self.c.queued:
                self.report(self.c.queue[done])
                self.c.rows[self.c.queue[done]].flags &= ~<uint32_t>ACCOUNT_QUEUED
                done += 1
        finally:  # an account that could not be reported stays in the queue
            self.c.queued -= done
            memmove(self.c.queue, self.c.queue + done, self.c.queued * sizeof(uint32_t))
        return 0

    cdef int report(self, uint32_t slot) except -1:
        """Compare an account with what was last reported of it, and note each edge."""
        cdef row_t *row = &self.c.rows[slot]
        cdef risk_t risk
        cdef Risk wide = None
        cdef bint below, was
        if row.flags & ACCOUNT_WIDE:
            wide = self.wide[slot] = self.risk_at(slot)
            row.flags &= ~<uint32_t>ACCOUNT_UNKNOWN
            below = wide.is_liquidatable
        else:
            if self.wide:
                self.wide.pop(slot, None)
            self.read_risk(slot, &risk)
            below = is_liquidatable(&risk)
        was = (row.flags & ACCOUNT_LIQUIDATABLE) != 0
        if below != was:
            self.note(slot, 0, 0, below)
            row.flags ^= ACCOUNT_LIQUIDATABLE
        return self.report_thresholds(slot)

    # -- reading

    cdef uint32_t fresh_slots(self) noexcept:
        return self.c.account_extent.fresh

    cdef bint is_used(self, uint32_t slot) noexcept:
        return (self.c.rows[slot].flags & ACCOUNT_USED) != 0

    cdef tuple name_at(self, uint32_t slot):
        return self.names[slot]

    cdef uint32_t generation_at(self, uint32_t slot) noexcept:
        return self.c.generation[slot]

    cdef uint32_t slot_named(self, object name) except? 0xffffffff:
        try:
            return self.slots.get(name, NOWHERE)
        except TypeError:  # what cannot be hashed is no name either
            return NOWHERE

    cdef void mark_watched(self, uint32_t slot, bint watched) noexcept:
        if watched:
            self.c.rows[slot].flags |= ACCOUNT_WATCHED
        else:
            self.c.rows[slot].flags &= ~<uint32_t>ACCOUNT_WATCHED

    cdef bint is_plain(self, uint32_t slot) noexcept:
        cdef uint32_t flags = self.c.rows[slot].flags
        return flags & ACCOUNT_USED and not flags & (ACCOUNT_WIDE | ACCOUNT_BEYOND)

    cdef int64_t held_quantums(self, uint32_t slot, uint32_t market) noexcept:
        cdef uint32_t place = find_place(&self.c, slot, market)
        return self.c.quantums[place] if place != NOWHERE else 0

    cdef int resize(
        self, uint32_t slot, const int64_t *usdc, const position_t *given, size_t count, int64_t height,
        uint32_t basis
    ) except -1:
        resize_positions(
            &self.c, slot, usdc[0] if usdc != NULL else self.c.usdc[slot], given, count, height, basis)
        return 0

    def taken(self, names, /):
        """One of a set of names that is in the book already; None."""
        for name in names & self.slots.keys():
            return name
        return None

    cdef bint read_risk(self, uint32_t slot, risk_t *out) noexcept:
        """Fill the risk of an account; False for one that only plain integers hold."""
        cdef row_t *row = &self.c.rows[slot]
        cdef uint32_t remainder = 0
        if row.flags & ACCOUNT_UNSUMMED:
            return not row.flags & ACCOUNT_WIDE and evaluate(&self.c, slot, out, &remainder) == STATUS_OK
        out.nc = row.nc
        out.imr = row.imr
        out.mmr = row.mmr
        return True

    cdef bint is_plain_integers(self, uint32_t slot) noexcept:
        cdef risk_t risk
        return not self.read_risk(slot, &risk)

    cdef object copied_names(self, const edge_t *edges, Py_ssize_t count):
        cdef Py_ssize_t i
        return [self.names[<uint32_t>(edges[i].handle & 0xffffffff)] for i in range(count)]

    cdef bint read_figures(self, uint32_t slot, figures_t *out) noexcept:
        """Fill the risk of an account, with height and basis; False for one that only plain integers hold."""
        self.read_source(slot, &out.height, &out.basis)
        return self.read_risk(slot, &out.risk)

    cdef void read_source(self, uint32_t slot, int64_t *oldest, uint32_t *weakest) noexcept:
        """Height and basis of what an account's risk is made of."""
        cdef uint32_t place = self.c.first[slot]
        cdef int64_t height = self.c.height[slot]
        cdef uint32_t flags = self.c.rows[slot].flags
        cdef uint32_t basis = flags >> BASIS_SHIFT
        cdef market_t *market
        while place != NOWHERE:
            market = &self.c.markets[market_of(&self.c, place)]
            if self.c.quantums[place] or self.c.quote_balance[place] or flags & ACCOUNT_BEYOND:
                if market.height < height:
                    height = market.height
                if market.basis > basis:
                    basis = market.basis
            place = self.c.next[place]
        oldest[0] = height
        weakest[0] = basis

    cdef Risk risk_at(self, uint32_t slot):
        cdef Risk risk
        cdef int64_t height
        cdef uint32_t flags = self.c.rows[slot].flags
        cdef uint32_t basis
        cdef uint64_t sequence = self.sequence
        cdef uint64_t version = self.table.version
        if flags & ACCOUNT_WIDE and not flags & ACCOUNT_UNKNOWN:
            return self.wide[slot]
        self.read_source(slot, &height, &basis)
        risk = Risk.__new__(Risk)
        if self.read_risk(slot, &risk.c):
            risk.block_height = height
            risk.basis_code = basis
            risk.time = self.time
            return risk
        usdc, positions, _, _ = self.inputs(slot)
        nc, imr, mmr = self.exact(self.names[slot], usdc, positions, (flags & ACCOUNT_BEYOND) != 0)
        if sequence != self.sequence or version != self.table.version:
            # Another thread changed the book or the chain while plain Python computed: ask again.
            self.require_fresh()
            return self.risk_at(slot)
        return Risk.from_integers(nc, imr, mmr, None if height < 0 else height, BASES[basis], self.time)

    def holders(self, market, /):
        """How many accounts have a place in a market."""
        return self.c.holders[<uint32_t>market] if market < self.c.market_extent.capacity else 0

    def inputs(self, slot, /):
        """(usdc, [(market index, quantums, funding index, quote balance, custom_imf_ppm)], height, basis)."""
        cdef uint32_t place = self.c.first[<uint32_t>slot]
        cdef list positions = []
        while place != NOWHERE:
            positions.append((
                market_of(&self.c, place), self.c.quantums[place], self.c.funding_index[place],
                self.c.quote_balance[place], self.c.custom_imf_ppm[place],
            ))
            place = self.c.next[place]
        positions.sort()
        return (
            self.c.usdc[<uint32_t>slot], positions, self.c.height[<uint32_t>slot],
            self.c.rows[<uint32_t>slot].flags >> BASIS_SHIFT,
        )

    def liquidatable(self):
        """Names of all accounts that are liquidatable, by slot."""
        cdef list found = []
        cdef risk_t risk
        cdef uint32_t slot
        cdef uint64_t sequence = self.sequence
        self.require_fresh()
        for slot in range(self.c.account_extent.fresh):
            if self.c.rows[slot].flags & ACCOUNT_USED:
                if self.read_risk(slot, &risk):
                    if is_liquidatable(&risk):
                        found.append(self.names[slot])
                elif self.risk_at(slot).is_liquidatable:
                    found.append(self.names[slot])
        if sequence != self.sequence:  # changed by another thread while objects were made
            return self.liquidatable()
        return found

    # -- accounts; each call between `begin` and `finish`

    def require_room(self, accounts, positions):
        """Refuse when so many more do not fit; nothing is changed."""
        capacity, used = self.capacity, self.used
        for what, more in (("subaccounts", accounts), ("positions", positions)):
            if more > capacity[what] - used[what]:
                raise CapacityError(
                    f"the book has room for {capacity[what]} {what}: {used[what]} are in it, {more} more do not fit")

    def require_market(self, market, /):
        """Refuse a market that came to the chain when the book had no row left."""
        if market >= self.c.market_extent.capacity:
            raise CapacityError(f"the book has room for {self.c.market_extent.capacity} markets")

    cdef uint32_t open(self, tuple name, int64_t height, uint32_t basis) except? 0xffffffff:
        """Slot of a new account without anything; room was asked for before."""
        cdef uint32_t slot = open_slot(&self.c)
        self.names[slot] = name
        self.slots[name] = slot
        self.c.height[slot] = height
        self.c.rows[slot].flags |= basis << BASIS_SHIFT
        return slot

    def close(self, slot, /):
        """Drop an account with its positions and thresholds; nothing is queued."""
        cdef uint32_t gone = slot
        self.keep_crossings()
        while self.c.first[gone] != NOWHERE:
            drop_place(&self.c, self.c.first[gone])
        while self.c.first_threshold[gone] != NOWHERE:
            self.drop_threshold(gone, self.c.first_threshold[gone])
        del self.slots[self.names[gone]]
        self.names[gone] = None
        close_slot(&self.c, gone)
        self.wide.pop(gone, None)

    def is_beyond(self, slot, /):
        """Whether plain integers hold the account's inputs."""
        return (self.c.rows[<uint32_t>slot].flags & ACCOUNT_BEYOND) != 0

    def position(self, slot, market, /):
        """(quantums, funding index, quote balance, custom_imf_ppm) of an account that is not beyond; None."""
        cdef uint32_t place = find_place(&self.c, slot, market)
        if place == NOWHERE:
            return None
        return (
            self.c.quantums[place], self.c.funding_index[place], self.c.quote_balance[place],
            self.c.custom_imf_ppm[place],
        )

    def places_needed(self, slot, list rows):
        """How many places more an update takes; negative when it gives some back."""
        cdef int64_t needed = 0
        for market, quantums, _, quote_balance, custom_imf_ppm in rows:
            needed += 1 if quantums or quote_balance or custom_imf_ppm else 0
            needed -= find_place(&self.c, slot, market) != NOWHERE
        return needed

    cdef int write(
        self, uint32_t slot, object usdc, list rows, int64_t height, uint32_t basis, bint beyond
    ) except -1:
        """Replace balance and the positions named, and leave the account to be evaluated."""
        cdef uint32_t place
        cdef row_t *row = &self.c.rows[slot]
        self.c.usdc[slot] = 0
        object_to_i64(usdc, &self.c.usdc[slot])
        for market, quantums, _, quote_balance, custom_imf_ppm in rows:  # first, so that what opens has room
            if not (quantums or quote_balance or custom_imf_ppm):
                place = find_place(&self.c, slot, market)
                if place != NOWHERE:
                    drop_place(&self.c, place)
        for market, quantums, funding_index, quote_balance, custom_imf_ppm in rows:
            if not (quantums or quote_balance or custom_imf_ppm):
                continue
            place = find_place(&self.c, slot, market)
            if place == NOWHERE:
                place = append_place(&self.c, slot, market)
            self.c.quantums[place] = self.c.funding_index[place] = self.c.quote_balance[place] = 0
            object_to_i64(quantums, &self.c.quantums[place])
            object_to_i64(funding_index, &self.c.funding_index[place])
            object_to_i64(quote_balance, &self.c.quote_balance[place])
            self.c.custom_imf_ppm[place] = custom_imf_ppm
        self.c.height[slot] = height
        row.flags = (row.flags & ((1 << BASIS_SHIFT) - 1) & ~<uint32_t>ACCOUNT_BEYOND) | (basis << BASIS_SHIFT)
        if beyond:
            row.flags |= ACCOUNT_BEYOND
        enqueue(&self.c, slot, ACCOUNT_STALE)
        return 0

    def update(self, slot, usdc, list rows, height, basis, beyond):
        """Replace balance and the positions named; room was asked for before.

        A row is (market index, quantums, funding index, quote balance, custom_imf_ppm), all zero closes it.
        `beyond` says that a value does not fit its column: a 0 stands for it, and `exact` knows it already.
        """
        self.write(slot, usdc, rows, height, basis, beyond)
        self.catch_up()

    def update_all(self, list changes):
        """Update accounts together: each change is what `update` takes, or a name for one that is not here yet."""
        for account, usdc, rows, height, basis, beyond in changes:
            self.write(
                self.open(account, height, basis) if isinstance(account, tuple) else account,
                usdc, rows, height, basis, beyond)
        self.catch_up()

    def add(self, list names, list accounts):
        """Add accounts; room was asked for before.

        Each is an Account on the same table and not wide, or what `update` takes: (usdc, rows, height, basis,
        beyond).
        """
        cdef Account account
        cdef uint32_t slot, place
        cdef size_t i, row
        for row in range(<size_t>len(names)):
            if isinstance(accounts[row], tuple):
                usdc, rows, height, basis, beyond = accounts[row]
                self.write(self.open(names[row], height, basis), usdc, rows, height, basis, beyond)
                continue
            account = accounts[row]
            slot = self.open(names[row], account.own_height, account.own_basis)
            self.c.usdc[slot] = account.usdc_quantums
            for i in range(account.count):
                if not (account.rows[i].quantums or account.rows[i].quote_balance or account.rows[i].custom_imf_ppm):
                    continue
                place = append_place(&self.c, slot, account.rows[i].market)
                self.c.quantums[place] = account.rows[i].quantums
                self.c.funding_index[place] = account.rows[i].funding_index
                self.c.quote_balance[place] = account.rows[i].quote_balance
                self.c.custom_imf_ppm[place] = account.rows[i].custom_imf_ppm
            enqueue(&self.c, slot, ACCOUNT_STALE)
        self.catch_up()

    def load(self, columns, int64_t height, uint32_t basis):
        """Add accounts from a `Columns` (dydx_perf.book_inputs), positions by ascending account. All was checked."""
        cdef list names = columns.names
        cdef const int64_t[::1] usdc = columns.usdc
        cdef const uint32_t[::1] account = columns.account
        cdef const uint32_t[::1] market = columns.market
        cdef const int64_t[::1] quantums = columns.quantums
        cdef const int64_t[::1] funding_index = columns.funding_index
        cdef const int64_t[::1] quote_balance = columns.quote_balance
        cdef const uint32_t[::1] custom_imf_ppm = columns.custom_imf_ppm
        cdef size_t row, at = 0, count = account.shape[0]
        cdef uint32_t slot, place
        for row in range(<size_t>len(names)):
            slot = self.open(names[row], height, basis)
            self.c.usdc[slot] = usdc[row]
            while at < count and account[at] == row:
                if quantums[at] or quote_balance[at] or custom_imf_ppm[at]:
                    place = append_place(&self.c, slot, market[at])
                    self.c.quantums[place] = quantums[at]
                    self.c.funding_index[place] = funding_index[at]
                    self.c.quote_balance[place] = quote_balance[at]
                    self.c.custom_imf_ppm[place] = custom_imf_ppm[at]
                at += 1
            enqueue(&self.c, slot, ACCOUNT_STALE)
        self.catch_up()

    def set_heights(self, int64_t height):
        """Every account's inputs hold at a block."""
        cdef uint32_t slot
        for slot in range(self.c.account_extent.fresh):
            self.c.height[slot] = height

    def scan(self):
        """Compute every row anew from its inputs; the incremental rows are the same."""
        self.catch_up()
        rescan(&self.c)
