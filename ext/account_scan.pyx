"""Every account of a book at once: exact figures, at the prices of now or at others, page by page.

A book's pages are numbered from 0 in the order of its rows. Each call writes the rows of some pages and lets go of
the GIL, so that a caller's threads can share them; the book must not change meanwhile, and `dydx_perf.scan` sees to
that.

The pages of an indexed book are those of its slices, and vectors read them. Those of a plain book are runs of its
slots, and each account is evaluated as the book's own rescan settles one that 64 bits do not hold: the slow twin.
"""

import numpy

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from dydx_perf.errors import InputError

from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.book cimport BookStore
from dydx_perf.ext.book_rows cimport ACCOUNT_USED, BASIS_SHIFT, NOWHERE, book_t, evaluate
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
from dydx_perf.ext.fixed cimport fits_i64, i128_to_object
from dydx_perf.ext.indexed cimport IndexedStore
from dydx_perf.ext.indexed_rows cimport STATE_BASIS_SHIFT, STATE_EXTRA, STATE_OUTSIDE, STATE_USED, indexed_t, row_risk
from dydx_perf.ext.margin cimport add_positions_risk, prepare_market
from dydx_perf.ext.slices cimport CLASSES, LANES, PAGE_BITS, capacity_of, position_slot
from dydx_perf.ext.structs cimport STATUS_OK, market_t, position_t, risk_t

cdef exact_path_t PATHS[EXACT_MAX_PATHS]
cdef int PATH_COUNT = exact_paths(PATHS)

cdef enum:
    AT_ONCE = 64        # slices whose answers are kept before they are copied out
    SLOT_PAGE = 1024    # slots of a plain book's page


def exact_scan_paths():
    """Names of the scans that this processor has, the fastest first."""
    return tuple(PATHS[i].name.decode("ascii") for i in range(PATH_COUNT))


cdef class Prices:
    """The markets of a book at the prices of now or at others, as the scans read them.

    Parameters
    ----------
    store : BookStore or IndexedStore
    prices : uint64 array, optional
        One price integer for each market of the book's chain; 0: as it is. By default all are as they are.
    """

    cdef market_t *markets
    cdef exact_side_t *sides                # two for each market, one for each side
    cdef exact_plain_side_t *plain_sides
    cdef readonly uint32_t count
    cdef object memory

    def __cinit__(self, AccountStore store not None, prices=None):
        cdef const uint64_t[::1] given
        cdef uint32_t i
        cdef const market_t *markets = NULL
        cdef uint32_t count = markets_of(store, &markets)
        cdef uint8_t[::1] memory
        cdef size_t each = sizeof(market_t) + 2 * (sizeof(exact_side_t) + sizeof(exact_plain_side_t))
        self.count = count
        self.memory = numpy.zeros((count + 1) * each + 64, dtype=numpy.uint8)
        memory = self.memory
        self.sides = <exact_side_t *>((<size_t>&memory[0] + 63) & ~<size_t>63)
        self.plain_sides = <exact_plain_side_t *>(self.sides + 2 * (count + 1))
        self.markets = <market_t *>(self.plain_sides + 2 * (count + 1))
        if prices is not None:
            given = prices
            if given.shape[0] != count:
                raise InputError("prices", given.shape[0], f"{count} prices, one for each market")
        for i in range(count):
            self.markets[i] = markets[i]
            if prices is not None and given[i] and self.markets[i].in_range:
                self.markets[i].price = given[i]
                prepare_market(&self.markets[i])
            place_sides(&self.markets[i], &self.sides[2 * i], &self.plain_sides[2 * i])


cdef uint32_t markets_of(AccountStore store, const market_t **markets) except? 0xffffffff:
    """How many markets a store has, and where they are."""
    if isinstance(store, IndexedStore):
        markets[0] = (<IndexedStore>store).b.markets
        return (<IndexedStore>store).b.market_extent.used
    if isinstance(store, BookStore):
        markets[0] = (<BookStore>store).c.markets
        return (<BookStore>store).c.market_extent.used
    raise TypeError(f"the store of a book, not {store!r}")


cdef struct rows_t:
    uint32_t kind
    uint32_t page
    size_t first         # row of the page's first lane
    size_t rows
    size_t left          # rows of its class, here and on the pages that follow


cdef size_t used_slots(const book_t *c, size_t first, size_t last) noexcept nogil:
    """Accounts in some slots of a plain book."""
    cdef size_t slot, rows = 0
    for slot in range(first, last if last < c.account_extent.fresh else c.account_extent.fresh):
        rows += (c.rows[slot].flags & ACCOUNT_USED) != 0
    return rows


def page_rows(AccountStore store not None):
    """Row of each page's first account, and after the last page the number of rows, as an int64 array."""
    cdef list starts = [0]
    cdef size_t left, page_holds, first, row = 0
    cdef uint32_t kind, page
    cdef indexed_t *b
    cdef book_t *c
    if isinstance(store, IndexedStore):
        b = &(<IndexedStore>store).b
        for kind in range(<uint32_t>CLASSES):
            left = b.s.rows[kind]
            page_holds = <size_t>b.s.page_slices[kind] * LANES
            page = b.s.first_page[kind]
            while page != NOWHERE:
                row += min(left, page_holds)
                left -= min(left, page_holds)
                starts.append(row)
                page = b.s.page_next[page]
    else:
        c = &(<BookStore?>store).c
        for first in range(0, c.account_extent.fresh, SLOT_PAGE):
            row += used_slots(c, first, first + SLOT_PAGE)
            starts.append(row)
    return numpy.array(starts, dtype=numpy.int64)


def count_pages(AccountStore store not None):
    """(pages, rows) of a book: all accounts, those that live in plain integers among them."""
    starts = page_rows(store)
    return len(starts) - 1, int(starts[len(starts) - 1])


cdef bint find_page(const indexed_t *b, size_t number, rows_t *out) noexcept nogil:
    """The n-th page, and which rows it has; False when there are no more."""
    out.kind = 0
    out.page = b.s.first_page[0]
    out.first = 0
    out.left = b.s.rows[0]
    if not settle_page(b, out):
        return False
    while number:
        number -= 1
        if not next_page(b, out):
            return False
    return True


cdef bint next_page(const indexed_t *b, rows_t *out) noexcept nogil:
    """The page after one; False when there are no more."""
    out.first += out.rows
    out.left -= out.rows
    out.page = b.s.page_next[out.page]
    return settle_page(b, out)


cdef bint settle_page(const indexed_t *b, rows_t *out) noexcept nogil:
    """Go on to the next class where this one has no page left, and count the page's rows."""
    while out.page == NOWHERE:
        out.kind += 1
        if out.kind == CLASSES:
            return False
        out.page = b.s.first_page[out.kind]
        out.left = b.s.rows[out.kind]
    out.rows = <size_t>b.s.page_slices[out.kind] * LANES
    if out.rows > out.left:
        out.rows = out.left
    return True


cdef struct answers_t:
    int64_t *nc          # per row
    int64_t *imr
    int64_t *mmr
    uint32_t *slot
    int64_t *unknown     # rows, from its start
    size_t missing


cdef void settle_lanes(
    const indexed_t *b, const market_t *markets, uint32_t head, uint32_t lanes, size_t row, answers_t *out
) noexcept nogil:
    """Compute some lanes of a slice anew in 128 bits, or note that these do not hold them."""
    cdef uint32_t lane
    cdef risk_t risk
    for lane in range(<uint32_t>LANES):
        if not (lanes >> lane) & 1:
            continue
        if not b.state[b.s.link[head + lane]] & (STATE_OUTSIDE | STATE_EXTRA) and row_risk(
            b, markets, head + lane, b.s.amount[head + lane], &risk
        ):
            out.nc[row + lane] = <int64_t>risk.nc
            out.imr[row + lane] = <int64_t>risk.imr
            out.mmr[row + lane] = <int64_t>risk.mmr
        else:
            out.nc[row + lane] = out.imr[row + lane] = out.mmr[row + lane] = 0
            out.unknown[out.missing] = <int64_t>(row + lane)
            out.missing += 1


cdef void scan_slices(
    const indexed_t *b, const market_t *markets, const exact_columns_t *columns, exact_scan_t scan, size_t first,
    size_t last, answers_t *out,
) noexcept nogil:
    """`scan_pages` of an indexed book."""
    cdef int64_t buffer[3 * LANES]  # of a slice that is not full: the rows after it are the next page's
    cdef uint8_t slow[AT_ONCE]
    cdef exact_out_t where
    cdef rows_t page
    cdef size_t done, slices, i, row
    cdef uint32_t octet, capacity, head, lane, held, states, special
    if first >= last or not find_page(b, first, &page):
        return
    where.slow = slow
    while True:
        capacity = capacity_of(page.kind)
        octet = page.page << PAGE_BITS
        done = 0
        while done < page.rows:
            row = page.first + done
            slices = (page.rows - done) // LANES
            held = LANES
            if slices > AT_ONCE:
                slices = AT_ONCE
            where.nc = &out.nc[row]
            where.imr = &out.imr[row]
            where.mmr = &out.mmr[row]
            if slices == 0:
                slices = 1
                held = <uint32_t>(page.rows - done)
                where.nc = buffer
                where.imr = buffer + LANES
                where.mmr = buffer + 2 * LANES
            scan(columns, octet, <uint32_t>slices, capacity, &where)
            if held < LANES:
                memcpy(&out.nc[row], where.nc, held * sizeof(int64_t))
                memcpy(&out.imr[row], where.imr, held * sizeof(int64_t))
                memcpy(&out.mmr[row], where.mmr, held * sizeof(int64_t))
            for i in range(slices):
                head = octet * LANES
                memcpy(&out.slot[row], &b.s.link[head], held * sizeof(uint32_t))
                states = 0
                special = slow[i]
                for lane in range(held):
                    states |= b.state[b.s.link[head + lane]]
                if states & (STATE_OUTSIDE | STATE_EXTRA):
                    for lane in range(held):
                        if b.state[b.s.link[head + lane]] & (STATE_OUTSIDE | STATE_EXTRA):
                            special |= <uint32_t>1 << lane
                if special:
                    settle_lanes(b, markets, head, special & ((<uint32_t>1 << held) - 1), row, out)
                row += held
                octet += capacity + 1
            done += slices * held
        first += 1
        if first >= last or not next_page(b, &page):
            return


cdef void scan_slots(
    const book_t *c, market_t *markets, size_t first, size_t last, answers_t *out
) noexcept nogil:
    """`scan_pages` of a plain book."""
    cdef book_t moved = c[0]
    cdef size_t row = used_slots(c, 0, first * SLOT_PAGE)
    cdef size_t account
    cdef size_t end = last * SLOT_PAGE
    cdef uint32_t remainder = 0
    cdef risk_t risk
    moved.markets = markets
    if end > c.account_extent.fresh:
        end = c.account_extent.fresh
    for account in range(first * SLOT_PAGE, end):
        if not c.rows[account].flags & ACCOUNT_USED:
            continue
        out.slot[row] = <uint32_t>account
        if (
            evaluate(&moved, <uint32_t>account, &risk, &remainder) == STATUS_OK
            and fits_i64(risk.nc) and fits_i64(risk.imr) and fits_i64(risk.mmr)
        ):
            out.nc[row] = <int64_t>risk.nc
            out.imr[row] = <int64_t>risk.imr
            out.mmr[row] = <int64_t>risk.mmr
        else:
            out.nc[row] = out.imr[row] = out.mmr[row] = 0
            out.unknown[out.missing] = <int64_t>row
            out.missing += 1
        row += 1


def scan_pages(
    AccountStore store not None, Prices prices not None, size_t first, size_t last, int64_t[::1] nc,
    int64_t[::1] imr, int64_t[::1] mmr, uint32_t[::1] slot, int64_t[::1] unknown, path=None,
):
    """Write nc, imr, mmr and slot of the rows of pages first .. last - 1; returns how many rows are unknown.

    Unknown rows hold 0 and are listed in `unknown`, from its start: accounts that live in plain integers, have
    margin fractions of their own in an indexed book, or whose figures 64 bits do not hold. `account_figures` knows
    the most of them. The first four arrays have a place for each row of the book, the last for each of these pages.
    """
    cdef exact_scan_t scan
    cdef exact_columns_t columns
    cdef answers_t out
    cdef IndexedStore indexed
    names = exact_scan_paths()
    if path is not None and path not in names:
        raise InputError("path", path, " or ".join(names))
    scan = PATHS[0 if path is None else names.index(path)].scan
    if nc.shape[0] == 0:
        return 0
    out.nc = &nc[0]
    out.imr = &imr[0]
    out.mmr = &mmr[0]
    out.slot = &slot[0]
    out.unknown = &unknown[0]
    out.missing = 0
    if isinstance(store, IndexedStore):
        indexed = store
        columns.amount = indexed.b.s.amount
        columns.side = indexed.b.s.side
        columns.sides = prices.sides
        columns.plain_sides = prices.plain_sides
        with nogil:
            scan_slices(&indexed.b, prices.markets, &columns, scan, first, last, &out)
    else:
        if not isinstance(store, BookStore):
            raise TypeError(f"the store of a book, not {store!r}")
        with nogil:
            scan_slots(&(<BookStore>store).c, prices.markets, first, last, &out)
    return out.missing


def name_handles(AccountStore store not None, const uint32_t[::1] slot, int64_t[::1] handle):
    """Write the handle of the account in each slot."""
    cdef const uint32_t *generation
    cdef size_t i
    if isinstance(store, IndexedStore):
        generation = (<IndexedStore>store).b.generation
    else:
        generation = (<BookStore?>store).c.generation
    with nogil:
        for i in range(<size_t>slot.shape[0]):
            handle[i] = (<int64_t>generation[slot[i]] << 32) | slot[i]


def account_figures(AccountStore store not None, Prices prices not None, uint32_t slot):
    """(nc, imr, mmr) of the account in a slot in 128 bits, its own margin fractions with it; None: not held."""
    cdef IndexedStore indexed
    cdef position_t position
    cdef book_t moved
    cdef uint32_t head, i, remainder = 0
    cdef risk_t risk
    cdef dict extra
    if isinstance(store, BookStore):
        moved = (<BookStore>store).c
        moved.markets = prices.markets
        if evaluate(&moved, slot, &risk, &remainder) != STATUS_OK:
            return None
        return i128_to_object(risk.nc), i128_to_object(risk.imr), i128_to_object(risk.mmr)
    indexed = <IndexedStore?>store
    if indexed.b.state[slot] & STATE_OUTSIDE:
        return None
    extra = indexed.extra[slot] if indexed.b.state[slot] & STATE_EXTRA else {}
    memset(&position, 0, sizeof(position))
    head = indexed.b.s.where[slot]
    risk.nc = indexed.b.s.amount[head]  # quote balances are in it
    risk.imr = 0
    risk.mmr = 0
    for i in range(indexed.b.s.side[head]):
        position.quantums = indexed.b.s.amount[position_slot(head, i)]
        position.market = indexed.b.s.side[position_slot(head, i)] >> 1
        position.custom_imf_ppm = extra[position.market][1] if position.market in extra else 0
        if not prices.markets[position.market].in_range:
            return None
        if add_positions_risk(prices.markets, &position, 1, &risk) != STATUS_OK:
            return None
    return i128_to_object(risk.nc), i128_to_object(risk.imr), i128_to_object(risk.mmr)


def weakest_source(AccountStore store not None):
    """(height, place in BASES) of the oldest and the weakest input of any account; height -1: not known."""
    cdef const market_t *markets = NULL
    cdef const int64_t *heights
    cdef const uint32_t *holders
    cdef indexed_t *b
    cdef book_t *c
    cdef uint32_t count = markets_of(store, &markets)
    cdef uint32_t i, fresh, basis = 0, found
    cdef int64_t height = 0x7fffffffffffffff
    cdef bint used
    cdef set also = set()
    if isinstance(store, IndexedStore):
        b = &(<IndexedStore>store).b
        c = NULL
        heights, holders, fresh = b.height, b.holders, b.account_extent.fresh
        for inputs in (<IndexedStore>store).outside.values():
            also.update(row[0] for row in (inputs[1] if inputs is not None else [(i,) for i in range(count)]))
        for markets_of_one in (<IndexedStore>store).extra.values():
            also.update(markets_of_one)
    else:
        b = NULL
        c = &(<BookStore>store).c
        heights, holders, fresh = c.height, c.holders, c.account_extent.fresh
    for i in range(fresh):
        if b != NULL:
            used = (b.state[i] & STATE_USED) != 0
            found = b.state[i] >> STATE_BASIS_SHIFT
        else:
            used = (c.rows[i].flags & ACCOUNT_USED) != 0
            found = c.rows[i].flags >> BASIS_SHIFT
        if used:
            height = min(height, heights[i])
            basis = max(basis, found)
    for i in range(count):
        if holders[i] or i in also:
            height = min(height, markets[i].height)
            basis = max(basis, markets[i].basis)
    return -1 if height == 0x7fffffffffffffff else height, basis
