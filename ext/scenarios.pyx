"""Every account of an indexed book under supposed markets: sums over all, counts, or each account's figures.

A scenario is a `Supposed`: the book's markets with other prices, margin fractions, open interests or funding indices.
`sum_pages` adds the exact figures of some pages up, `count_pages_liquidatable` counts by the certified scan where its
bound holds. Both let go of the GIL, so that a caller's threads can share scenarios and pages; the book must not
change meanwhile: `hold` sees to that.

What 64 bits do not hold is listed and left to plain integers.
"""

import numpy

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from dydx_perf.errors import InputError, WriterError

from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.book_rows cimport NOWHERE
from dydx_perf.ext.exact_scan cimport (
    EXACT_MAX_PATHS,
    exact_columns_t,
    exact_out_t,
    exact_path_t,
    exact_paths,
    exact_plain_side_t,
    exact_scan_t,
    exact_side_t,
    place_sides,
)
from dydx_perf.ext.fixed cimport add, fits_i64, i128, i128_to_object, magnitude, mul_i64, sub
from dydx_perf.ext.indexed cimport IndexedStore
from dydx_perf.ext.indexed_rows cimport (
    MAX_COLLATERAL_BITS,
    STATE_EXTRA,
    STATE_OUTSIDE,
    STATE_USED,
    indexed_t,
    is_weighable,
    row_risk,
    settlement_of_row,
    slices_in_page,
)
from dydx_perf.ext.margin cimport add_positions_risk, is_liquidatable, notional_trunc, prepare_market
from dydx_perf.ext.settle cimport settlement_floor
from dydx_perf.ext.slices cimport (
    CERTIFIED_MAX_PATHS,
    CLASSES,
    LANES,
    PAGE_BITS,
    capacity_of,
    certified_columns_t,
    certified_path_t,
    certified_paths,
    certified_scan_t,
    certified_t,
    position_slot,
)
from dydx_perf.ext.structs cimport STATUS_OK, market_t, position_t, risk_t

cdef extern from *:
    """
    #define DP_POPCOUNT(bits) ((unsigned)__builtin_popcount(bits))
    """
    uint32_t popcount "DP_POPCOUNT"(uint32_t bits) nogil

cdef exact_path_t EXACT[EXACT_MAX_PATHS]
cdef int EXACT_COUNT = exact_paths(EXACT)
cdef certified_path_t CERTIFIED[CERTIFIED_MAX_PATHS]
cdef int CERTIFIED_COUNT = certified_paths(CERTIFIED)

cdef enum:
    AT_ONCE = 64             # slices whose answers are kept before they are added up
    SCRATCH_OCTETS = 1024    # of slices copied to have their funding moved; one slice more may stand over
    MOST_NOTIONAL_BITS = 90  # of an account; sums of 2**32 of them fit


def hold(AccountStore store not None):
    """Keep writers away while a scan reads without the GIL; refused while the book is being changed."""
    if store.writing:
        raise WriterError("this book is being changed: by another thread, or by an observer within a call")
    store.require_fresh()
    store.writing = True


def release(AccountStore store not None):
    """Undo `hold`."""
    store.writing = False


def version_of(AccountStore store not None):
    """(changes begun on a book, changes of its chain): equal only while neither was touched."""
    return store.sequence, store.table.version


def outside_slots(IndexedStore store not None):
    """Slots of the accounts that live in plain integers."""
    return sorted(store.outside)


def extra_slots(IndexedStore store not None):
    """Slots of the accounts with margin fractions or quote balances of their own."""
    return sorted(store.extra)


cdef class Supposed:
    """The markets of a book as a scenario has them: one value for each market of the book's chain.

    Parameters
    ----------
    store : IndexedStore
    price : uint64 array
    initial_margin_ppm, maintenance_fraction_ppm : uint32 arrays
    open_interest : int64 array
    index_change : int64 array
        What is added to the funding index.
    holds : uint8 array
        0 where a value does not fit its column: positions there are left to plain integers.
    """

    cdef market_t *markets
    cdef exact_side_t *sides         # two for each market
    cdef exact_plain_side_t *plain_sides
    cdef double *worth           # by side, for the certified scan
    cdef int64_t *index_change
    cdef readonly uint32_t count
    cdef readonly bint is_certified   # the certified bound holds for every account
    cdef readonly bint moves_funding
    cdef object memory

    def __cinit__(
        self, IndexedStore store not None, const uint64_t[::1] price, const uint32_t[::1] initial_margin_ppm,
        const uint32_t[::1] maintenance_fraction_ppm, const int64_t[::1] open_interest,
        const int64_t[::1] index_change, const uint8_t[::1] holds,
    ):
        cdef uint32_t count = store.b.market_extent.used
        cdef size_t sides = 2 * (sizeof(exact_side_t) + sizeof(exact_plain_side_t) + sizeof(double))
        cdef size_t each = sides + sizeof(market_t) + sizeof(int64_t)
        cdef uint8_t[::1] memory
        cdef uint32_t i
        cdef market_t *market
        for length in (
            price.shape[0], initial_margin_ppm.shape[0], maintenance_fraction_ppm.shape[0], open_interest.shape[0],
            index_change.shape[0], holds.shape[0],
        ):
            if length < count:
                raise InputError("price", length, f"{count} values, one for each market")
        self.count = count
        self.memory = numpy.zeros((count + 1) * each + 64, dtype=numpy.uint8)
        memory = self.memory
        self.sides = <exact_side_t *>((<size_t>&memory[0] + 63) & ~<size_t>63)
        self.plain_sides = <exact_plain_side_t *>(self.sides + 2 * (count + 1))
        self.markets = <market_t *>(self.plain_sides + 2 * (count + 1))
        self.worth = <double *>(self.markets + count + 1)
        self.index_change = <int64_t *>(self.worth + 2 * (count + 1))
        self.is_certified = True
        for i in range(count):
            market = &self.markets[i]
            market[0] = store.b.markets[i]
            if not market.in_range:
                market.fast_quantums = -1
            elif not holds[i]:
                market.in_range = 0
                market.fast_quantums = -1
            else:
                market.price = price[i]
                market.open_interest = open_interest[i]
                market.initial_margin_ppm = initial_margin_ppm[i]
                market.maintenance_fraction_ppm = maintenance_fraction_ppm[i]
                if prepare_market(market) != STATUS_OK:
                    market.fast_quantums = -1
                self.index_change[i] = index_change[i]
            self.price_market(store, i)

    cdef int price_market(self, IndexedStore store, uint32_t i) except -1:
        """What the two scans need of a market, and whether the certified one may be used."""
        cdef const market_t *now = &store.b.markets[i]
        cdef const market_t *market = &self.markets[i]
        place_sides(market, &self.sides[2 * i], &self.plain_sides[2 * i])
        self.worth[2 * i] = store.b.weight[2 * i] * <double>market.price
        self.worth[2 * i + 1] = store.b.weight[2 * i + 1] * <double>market.price
        if store.b.holders[i] == 0:
            return 0
        if self.index_change[i]:
            self.moves_funding = True
            self.is_certified = False
        if (
            market.in_range != now.in_range
            or market.initial_margin_ppm != now.initial_margin_ppm
            or market.maintenance_fraction_ppm != now.maintenance_fraction_ppm
            # who holds a market that is not weighable is computed in any case
            or (is_weighable(now) and not store.b.lowest[i] <= <double>market.price <= store.b.highest[i])
        ):
            self.is_certified = False
        return 0


cdef struct totals_t:
    uint64_t accounts
    uint64_t liquidatable
    uint64_t negative
    uint64_t below_initial
    i128 nc
    i128 imr
    i128 mmr
    i128 shortfall       # mmr - nc of the liquidatable
    i128 bad_debt        # -nc of those below zero
    i128 at_risk         # absolute notional of the liquidatable


cdef struct left_t:
    uint32_t *slots      # for plain integers
    size_t count
    size_t room
    bint failed          # there was no memory


cdef void leave_to_plain(left_t *left, uint32_t slot) noexcept nogil:
    """List an account."""
    cdef uint32_t *larger
    if left.count == left.room:
        left.room = 2 * left.room + 64
        larger = <uint32_t *>PyMem_RawRealloc(left.slots, left.room * sizeof(uint32_t))
        if larger == NULL:
            left.failed = True
            left.room = left.count
            return
        left.slots = larger
    left.slots[left.count] = slot
    left.count += 1


cdef list taken_slots(left_t *left):
    """What was listed; its memory is given back."""
    cdef size_t i
    cdef bint failed = left.failed
    try:
        slots = [left.slots[i] for i in range(left.count)]
    finally:
        PyMem_RawFree(left.slots)
    if failed:
        raise MemoryError
    return slots


cdef bint funded_amount(const indexed_t *b, const int64_t *change, uint32_t head, i128 *out) noexcept nogil:
    """A row's collateral with the funding indices moved; False where plain integers must tell."""
    cdef i128 now = 0
    cdef i128 then = 0
    cdef uint32_t i, slot, market
    out[0] = b.s.amount[head]
    if settlement_of_row(b, head, &now) != STATUS_OK:
        return False
    then = now
    for i in range(b.s.side[head]):
        slot = position_slot(head, i)
        market = b.s.side[slot] >> 1
        if sub(then, mul_i64(change[market], b.s.amount[slot]), &then):
            return False
    out[0] += settlement_floor(then) - settlement_floor(now)
    return -((<i128>1) << MAX_COLLATERAL_BITS) < out[0] < ((<i128>1) << MAX_COLLATERAL_BITS)


cdef bint row_notional(const indexed_t *b, const market_t *markets, uint32_t head, i128 *out) noexcept nogil:
    """Sum of the absolute notionals of a row."""
    cdef i128 value = 0
    cdef uint32_t i, slot
    out[0] = 0
    for i in range(b.s.side[head]):
        slot = position_slot(head, i)
        if notional_trunc(&markets[b.s.side[slot] >> 1], b.s.amount[slot], &value) != STATUS_OK:
            return False
        if add(out[0], <i128>magnitude(value), out):
            return False
    return out[0] < (<i128>1) << MOST_NOTIONAL_BITS


cdef bint take_risk(
    const indexed_t *b, const market_t *markets, uint32_t head, const risk_t *risk, totals_t *totals
) noexcept nogil:
    """Add an account whose figures 64 bits hold; False, and nothing added, where its notional is past them."""
    cdef i128 notional = 0
    if is_liquidatable(risk):
        if not row_notional(b, markets, head, &notional):
            return False
        totals.liquidatable += 1
        totals.shortfall += risk.mmr - risk.nc
        totals.at_risk += notional
    if risk.nc < 0:
        totals.negative += 1
        totals.bad_debt -= risk.nc
    totals.below_initial += risk.nc < risk.imr
    totals.accounts += 1
    totals.nc += risk.nc
    totals.imr += risk.imr
    totals.mmr += risk.mmr
    return True


cdef bint take_liquidatable(
    const indexed_t *b, const market_t *markets, uint32_t head, int64_t nc, int64_t mmr, totals_t *totals
) noexcept nogil:
    """Add what `take_risk` adds of a liquidatable account only; False, and nothing added, as there."""
    cdef i128 notional = 0
    if not row_notional(b, markets, head, &notional):
        return False
    totals.liquidatable += 1
    totals.shortfall += <i128>mmr - nc
    totals.at_risk += notional
    return True


cdef tuple totals_object(const totals_t *totals):
    """As Python ints, in the order of the struct."""
    return (
        totals.accounts, totals.liquidatable, totals.negative, totals.below_initial,
        i128_to_object(totals.nc), i128_to_object(totals.imr), i128_to_object(totals.mmr),
        i128_to_object(totals.shortfall), i128_to_object(totals.bad_debt), i128_to_object(totals.at_risk),
    )


cdef struct figures_t:
    int64_t *nc          # per row; NULL: nobody asks
    int64_t *imr
    int64_t *mmr
    uint32_t *slot


cdef inline void write_figures(const figures_t *f, size_t row, int64_t nc, int64_t imr, int64_t mmr) noexcept nogil:
    f.nc[row] = nc
    f.imr[row] = imr
    f.mmr[row] = mmr


cdef void sum_page(
    const indexed_t *b, const market_t *markets, const exact_side_t *sides_of,
    const exact_plain_side_t *plain_sides_of, const int64_t *change, exact_scan_t scan, bint special, uint32_t kind,
    uint32_t page, size_t first, size_t rows, int64_t *amounts, uint16_t *sides, totals_t *totals, left_t *left,
    const figures_t *figures,
) noexcept nogil:
    """Add the rows of a page up; `change` is NULL where no funding index moves.

    `special`: the book has accounts that are not for the columns alone, and each must be asked for.
    """
    cdef int64_t answers[3 * AT_ONCE * LANES]
    cdef uint8_t slow[AT_ONCE]
    cdef uint8_t lost[AT_ONCE]   # lanes whose collateral is for plain integers
    cdef exact_columns_t columns
    cdef exact_out_t out
    cdef risk_t risk
    cdef i128 amount = 0
    cdef uint32_t capacity = capacity_of(kind)
    cdef uint32_t octet = page << PAGE_BITS
    cdef uint32_t head, account
    cdef size_t done = 0, now, i, at_once, most = AT_ONCE
    # kept in registers: nothing that is written through a pointer can change them
    cdef i128 nc = 0, imr = 0, mmr = 0, owed = 0
    cdef uint64_t accounts = 0, negative = 0, below = 0
    columns.sides = sides_of
    columns.plain_sides = plain_sides_of
    out.nc = answers
    out.imr = answers + AT_ONCE * LANES
    out.mmr = answers + 2 * AT_ONCE * LANES
    out.slow = slow
    if change != NULL and SCRATCH_OCTETS // (capacity + 1) < most:
        most = SCRATCH_OCTETS // (capacity + 1)
    while done < rows:
        now = rows - done
        if now > most * LANES:
            now = most * LANES
        at_once = (now + LANES - 1) // LANES
        memset(lost, 0, at_once)
        if change == NULL:
            columns.amount = b.s.amount
            columns.side = b.s.side
            scan(&columns, octet, <uint32_t>at_once, capacity, &out)
        else:
            i = at_once * (capacity + 1) * LANES
            memcpy(amounts, &b.s.amount[octet * LANES], i * sizeof(int64_t))
            memcpy(sides, &b.s.side[octet * LANES], i * sizeof(uint16_t))
            for i in range(now):
                head = (<uint32_t>(i // LANES) * (capacity + 1)) * LANES + <uint32_t>(i & 7)
                if funded_amount(b, change, octet * LANES + head, &amount):
                    amounts[head] = <int64_t>amount
                else:
                    lost[i // LANES] |= <uint8_t>(1 << (i & 7))
            columns.amount = amounts
            columns.side = sides
            scan(&columns, 0, <uint32_t>at_once, capacity, &out)
        for i in range(now):
            head = (octet + <uint32_t>(i // LANES) * (capacity + 1)) * LANES + <uint32_t>(i & 7)
            account = b.s.link[head]
            if figures.nc != NULL:
                figures.slot[first + done + i] = account
            if special and b.state[account] & (STATE_OUTSIDE | STATE_EXTRA):
                continue
            if (lost[i // LANES] >> (i & 7)) & 1:
                leave_to_plain(left, account)
                continue
            if (slow[i // LANES] >> (i & 7)) & 1:
                amount = b.s.amount[head]
                if change != NULL:
                    funded_amount(b, change, head, &amount)
                if not row_risk(b, markets, head, amount, &risk):
                    leave_to_plain(left, account)
                    continue
                if not take_risk(b, markets, head, &risk, totals):
                    leave_to_plain(left, account)
                elif figures.nc != NULL:
                    write_figures(
                        figures, first + done + i, <int64_t>risk.nc, <int64_t>risk.imr, <int64_t>risk.mmr)
            else:
                if out.mmr[i] > out.nc[i] and out.mmr[i] > 0 and not take_liquidatable(
                    b, markets, head, out.nc[i], out.mmr[i], totals
                ):
                    leave_to_plain(left, account)
                    continue
                accounts += 1
                nc += out.nc[i]
                imr += out.imr[i]
                mmr += out.mmr[i]
                negative += out.nc[i] < 0
                owed += out.nc[i] & (out.nc[i] >> 63)   # 0 where it is not below zero
                below += out.nc[i] < out.imr[i]
                if figures.nc != NULL:
                    write_figures(figures, first + done + i, out.nc[i], out.imr[i], out.mmr[i])
        done += now
        octet += <uint32_t>at_once * (capacity + 1)
    totals.accounts += accounts
    totals.negative += negative
    totals.below_initial += below
    totals.nc += nc
    totals.imr += imr
    totals.mmr += mmr
    totals.bad_debt -= owed


def sum_pages(
    IndexedStore store not None, Supposed supposed not None, size_t first, size_t last, figures=None, path=None
):
    """(totals, slots for plain integers) of the rows of pages first .. last - 1.

    Totals are accounts, liquidatable, below zero, below initial margin (counts), then nc, imr, mmr, shortfall, bad
    debt, notional at risk (quote quantums). Accounts that live in plain integers or chose margin fractions are not
    among them: see `outside_slots` and `sum_extra`.

    Parameters
    ----------
    figures : (nc, imr, mmr, slot), optional
        Three int64 arrays and one of uint32, one place for each row of the book, to be filled with each account.
    """
    cdef totals_t totals
    cdef left_t left
    cdef figures_t wanted
    cdef int64_t[::1] nc, imr, mmr
    cdef uint32_t[::1] slot
    cdef exact_scan_t scan
    cdef const int64_t *change = supposed.index_change if supposed.moves_funding else NULL
    cdef int64_t *amounts = NULL
    cdef uint16_t *sides = NULL
    cdef size_t slots = (SCRATCH_OCTETS + 256) * LANES
    cdef size_t number = 0, row = 0, rows
    cdef uint32_t kind, page
    cdef bint special = len(store.outside) + len(store.extra) > 0
    names = tuple(EXACT[i].name.decode("ascii") for i in range(EXACT_COUNT))
    if path is not None and path not in names:
        raise InputError("path", path, " or ".join(names))
    scan = EXACT[0 if path is None else names.index(path)].scan
    memset(&totals, 0, sizeof(totals))
    memset(&left, 0, sizeof(left))
    memset(&wanted, 0, sizeof(wanted))
    if figures is not None:
        nc, imr, mmr, slot = figures
        for kind in range(<uint32_t>CLASSES):
            row += store.b.s.rows[kind]
        if not nc.shape[0] == imr.shape[0] == mmr.shape[0] == slot.shape[0] == <Py_ssize_t>row:
            raise InputError("figures", nc.shape[0], f"{row} places, one for each account")
        row = 0
        if nc.shape[0]:
            wanted.nc, wanted.imr, wanted.mmr, wanted.slot = &nc[0], &imr[0], &mmr[0], &slot[0]
    if change != NULL:
        amounts = <int64_t *>PyMem_RawMalloc(slots * (sizeof(int64_t) + sizeof(uint16_t)))
        if amounts == NULL:
            raise MemoryError
        sides = <uint16_t *>(amounts + slots)
    with nogil:
        for kind in range(<uint32_t>CLASSES):
            page = store.b.s.first_page[kind]
            while page != NOWHERE and number < last:
                rows = <size_t>store.b.s.page_slices[kind] * LANES
                if page == store.b.s.last_page[kind]:
                    rows = (store.b.s.rows[kind] - 1) % rows + 1
                if number >= first:
                    sum_page(
                        &store.b, supposed.markets, supposed.sides, supposed.plain_sides, change, scan, special, kind,
                        page, row, rows, amounts, sides, &totals, &left, &wanted,
                    )
                number += 1
                row += rows
                page = store.b.s.page_next[page]
        PyMem_RawFree(amounts)
    return totals_object(&totals), taken_slots(&left)


def sum_extra(IndexedStore store not None, Supposed supposed not None):
    """What `sum_pages` gives, of the accounts with margin fractions or quote balances of their own."""
    cdef totals_t totals
    cdef risk_t risk, one
    cdef position_t position
    cdef i128 amount = 0
    cdef uint32_t slot, head, i
    cdef dict chosen
    memset(&totals, 0, sizeof(totals))
    left = []
    position.funding_index = position.quote_balance = 0
    for key, extra in store.extra.items():
        slot = key
        chosen = extra
        head = store.b.s.where[slot]
        amount = store.b.s.amount[head]
        if supposed.moves_funding and not funded_amount(&store.b, supposed.index_change, head, &amount):
            left.append(key)
            continue
        risk.nc = amount
        risk.imr = risk.mmr = 0
        for i in range(store.b.s.side[head]):
            position.quantums = store.b.s.amount[position_slot(head, i)]
            position.market = store.b.s.side[position_slot(head, i)] >> 1
            position.custom_imf_ppm = chosen.get(position.market, (0, 0))[1]
            one = risk
            if not supposed.markets[position.market].in_range or add_positions_risk(
                supposed.markets, &position, 1, &one
            ) != STATUS_OK:
                break
            risk = one
        else:
            if fits_i64(risk.nc) and fits_i64(risk.imr) and fits_i64(risk.mmr) and take_risk(
                &store.b, supposed.markets, head, &risk, &totals
            ):
                continue
        left.append(key)
    return totals_object(&totals), left


def account_figures(IndexedStore store not None, Supposed supposed not None, uint32_t slot):
    """(nc, imr, mmr) of one account; None where plain integers must tell, or hold it."""
    cdef risk_t risk
    cdef uint32_t head
    cdef i128 amount
    if slot >= store.b.account_extent.fresh or not store.b.state[slot] & STATE_USED:
        raise InputError("slot", slot, "the slot of an account")
    if store.b.state[slot] & (STATE_OUTSIDE | STATE_EXTRA):
        return None
    head = store.b.s.where[slot]
    amount = store.b.s.amount[head]
    if supposed.moves_funding and not funded_amount(&store.b, supposed.index_change, head, &amount):
        return None
    if not row_risk(&store.b, supposed.markets, head, amount, &risk):
        return None
    return i128_to_object(risk.nc), i128_to_object(risk.imr), i128_to_object(risk.mmr)


def pages_liquidatable(
    IndexedStore store not None, Supposed supposed not None, size_t first, size_t last, path=None
):
    """(count, slots for plain integers) of the liquidatable accounts in pages first .. last - 1.

    By the certified scan, which `supposed` must allow; accounts within its bound are computed in exact integers.
    Accounts that live in plain integers are not among them.
    """
    cdef certified_columns_t columns
    cdef certified_scan_t scan
    cdef certified_t found[128 * LANES]   # more slices than a page has
    cdef left_t left
    cdef risk_t risk
    cdef size_t number = 0, count = 0, i, seen
    cdef uint32_t kind, page, lane, head
    cdef const uint8_t[::1] flagged
    if not supposed.is_certified:
        raise InputError("supposed", supposed, "a scenario for which the certified bound holds")
    names = tuple(CERTIFIED[i].name.decode("ascii") for i in range(CERTIFIED_COUNT))
    if path is not None and path not in names:
        raise InputError("path", path, " or ".join(names))
    scan = CERTIFIED[0 if path is None else names.index(path)].scan
    memset(&left, 0, sizeof(left))
    # No lane counts as flagged, so that every liquidatable one is told.
    flagged = numpy.zeros((<size_t>store.b.s.pages << PAGE_BITS) + 1, dtype=numpy.uint8)
    columns.amount = store.b.s.amount
    columns.side = store.b.s.side
    columns.flagged = &flagged[0]
    columns.solid = store.b.s.solid
    columns.large = store.b.s.large
    columns.worth = supposed.worth
    with nogil:
        if store.b.s.first_page[0] != NOWHERE:   # accounts without positions have pages and no verdict
            page = store.b.s.first_page[0]
            while page != NOWHERE:
                number += 1
                page = store.b.s.page_next[page]
        for kind in range(1, <uint32_t>CLASSES):
            page = store.b.s.first_page[kind]
            while page != NOWHERE and number < last:
                if number >= first:
                    seen = scan(
                        &columns, page << PAGE_BITS, slices_in_page(&store.b.s, kind, page), capacity_of(kind), found)
                    for i in range(seen):
                        count += popcount(found[i].liquidatable)
                        if found[i].doubtful == 0:
                            continue
                        for lane in range(<uint32_t>LANES):
                            head = found[i].octet * LANES + lane
                            if (found[i].doubtful >> lane) & 1 and store.b.s.side[head]:
                                if row_risk(&store.b, supposed.markets, head, store.b.s.amount[head], &risk):
                                    count += is_liquidatable(&risk)
                                else:
                                    leave_to_plain(&left, store.b.s.link[head])
                number += 1
                page = store.b.s.page_next[page]
    return count, taken_slots(&left)
