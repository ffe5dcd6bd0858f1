"""Every account of an indexed book at once: exact figures, at the prices of now or at others, page by page.

A book's pages are numbered from 0 in the order of its rows. Each call writes the rows of some pages and lets go of
the GIL, so that a caller's threads can share them; the book must not change meanwhile, and `dydx_perf.scan` sees to
that.
"""

import numpy

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from dydx_perf.errors import InputError

from dydx_perf.ext.book_rows cimport NOWHERE
from dydx_perf.ext.columns cimport margin_market_t
from dydx_perf.ext.fixed cimport fits_i64
from dydx_perf.ext.indexed cimport IndexedStore
from dydx_perf.ext.indexed_rows cimport STATE_EXTRA, STATE_OUTSIDE, indexed_t
from dydx_perf.ext.margin cimport add_positions_risk, prepare_market
from dydx_perf.ext.slices cimport CLASSES, LANES, PAGE_BITS, capacity_of, position_slot
from dydx_perf.ext.structs cimport STATUS_OK, market_t, position_t, risk_t

cdef extern from "dydx_perf/ext/exact_scan.h" nogil:
    ctypedef struct exact_columns_t:
        const int64_t *amount
        const unsigned short *side
        const margin_market_t *markets

    ctypedef struct exact_out_t:
        int64_t *nc
        int64_t *imr
        int64_t *mmr
        uint8_t *slow

    ctypedef void (*exact_scan_t)(
        const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out
    ) noexcept

    ctypedef struct exact_path_t:
        const char *name
        exact_scan_t scan

    const int EXACT_MAX_PATHS
    int exact_paths(exact_path_t *paths)

cdef exact_path_t PATHS[EXACT_MAX_PATHS]
cdef int PATH_COUNT = exact_paths(PATHS)

cdef enum:
    AT_ONCE = 64   # slices whose answers are kept before they are copied out


def exact_scan_paths():
    """Names of the scans that this processor has, the fastest first."""
    return tuple(PATHS[i].name.decode("ascii") for i in range(PATH_COUNT))


cdef class Prices:
    """The markets of a book at the prices of now or at others, as the scans read them.

    Parameters
    ----------
    store : IndexedStore
    prices : uint64 array, optional
        One price integer for each market of the book's chain; 0: as it is. By default all are as they are.
    """

    cdef market_t *markets
    cdef margin_market_t *margins
    cdef readonly uint32_t count
    cdef object memory

    def __cinit__(self, IndexedStore store not None, prices=None):
        cdef const uint64_t[::1] given
        cdef uint32_t i
        cdef uint32_t count = store.b.market_extent.used
        cdef uint8_t[::1] memory
        self.count = count
        self.memory = numpy.zeros((count + 1) * (sizeof(market_t) + sizeof(margin_market_t)) + 64, dtype=numpy.uint8)
        memory = self.memory
        self.margins = <margin_market_t *>((<size_t>&memory[0] + 63) & ~<size_t>63)
        self.markets = <market_t *>(self.margins + count + 1)
        if prices is not None:
            given = prices
            if given.shape[0] != count:
                raise InputError("prices", given.shape[0], f"{count} prices, one for each market")
        for i in range(count):
            self.markets[i] = store.b.markets[i]
            if prices is not None and given[i] and self.markets[i].in_range:
                self.markets[i].price = given[i]
                prepare_market(&self.markets[i])
            self.margins[i].oracle_price = self.markets[i].multiplier
            self.margins[i].divisor = self.markets[i].divisor
            self.margins[i].initial_margin_ppm = self.markets[i].initial_margin_ppm
            self.margins[i].scaled_initial_margin_ppm = self.markets[i].scaled_initial_margin_ppm
            self.margins[i].maintenance_fraction_ppm = self.markets[i].maintenance_fraction_ppm
            if not self.markets[i].in_range or self.markets[i].fast_quantums < 0 or self.markets[i].multiplier >> 63:
                self.margins[i].oracle_price = <uint64_t>1 << 63   # every lane that holds it is slow
                self.margins[i].divisor = 1


cdef struct rows_t:
    uint32_t kind
    uint32_t page
    size_t first         # row of the page's first lane
    size_t rows


def count_pages(IndexedStore store not None):
    """(pages, rows) of a book: all accounts, those that live in plain integers among them."""
    cdef size_t pages = 0, rows = 0
    cdef uint32_t kind, page
    for kind in range(<uint32_t>CLASSES):
        rows += store.b.s.rows[kind]
        page = store.b.s.first_page[kind]
        while page != NOWHERE:
            pages += 1
            page = store.b.s.page_next[page]
    return pages, rows


cdef bint find_page(const indexed_t *b, size_t number, rows_t *out) noexcept nogil:
    """The n-th page, and which rows it has."""
    cdef uint32_t kind, page
    cdef size_t left, first = 0
    for kind in range(<uint32_t>CLASSES):
        page = b.s.first_page[kind]
        left = b.s.rows[kind]
        while page != NOWHERE:
            out.rows = <size_t>b.s.page_slices[kind] * LANES
            if out.rows > left:
                out.rows = left
            if number == 0:
                out.kind = kind
                out.page = page
                out.first = first
                return True
            number -= 1
            first += out.rows
            left -= out.rows
            page = b.s.page_next[page]
    return False


cdef bint row_risk(const indexed_t *b, const market_t *markets, uint32_t head, risk_t *out) noexcept nogil:
    """A row at given markets in 128 bits; False where these do not hold it."""
    cdef position_t position
    cdef uint32_t i
    position.funding_index = 0
    position.quote_balance = 0
    position.custom_imf_ppm = 0
    out.nc = b.s.amount[head]
    out.imr = 0
    out.mmr = 0
    for i in range(b.s.side[head]):
        position.quantums = b.s.amount[position_slot(head, i)]
        position.market = b.s.side[position_slot(head, i)] >> 1
        if not markets[position.market].in_range:
            return False
        if add_positions_risk(markets, &position, 1, out) != STATUS_OK:
            return False
    return fits_i64(out.nc) and fits_i64(out.imr) and fits_i64(out.mmr)


def scan_pages(
    IndexedStore store not None, Prices prices not None, size_t first, size_t last, int64_t[::1] nc,
    int64_t[::1] imr, int64_t[::1] mmr, uint32_t[::1] slot, int64_t[::1] unknown, path=None,
):
    """Write nc, imr, mmr and slot of the rows of pages first .. last - 1; returns how many rows are unknown.

    Unknown rows hold 0 and are listed in `unknown`, from its start: accounts that live in plain integers, have
    margin fractions of their own, or whose figures 64 bits do not hold.
    """
    cdef int64_t answers[3 * AT_ONCE * LANES]
    cdef uint8_t slow[AT_ONCE]
    cdef exact_columns_t columns
    cdef exact_out_t out
    cdef rows_t page
    cdef exact_scan_t scan
    cdef size_t number, done, at_once, rows, i, row, missing = 0
    cdef uint32_t octet, capacity, account, head
    cdef risk_t risk
    names = exact_scan_paths()
    if path is not None and path not in names:
        raise InputError("path", path, " or ".join(names))
    scan = PATHS[0 if path is None else names.index(path)].scan
    columns.amount = store.b.s.amount
    columns.side = <const unsigned short *>store.b.s.side
    columns.markets = prices.margins
    out.nc = answers
    out.imr = answers + AT_ONCE * LANES
    out.mmr = answers + 2 * AT_ONCE * LANES
    out.slow = slow
    with nogil:
        for number in range(first, last):
            if not find_page(&store.b, number, &page):
                break
            capacity = capacity_of(page.kind)
            octet = page.page << PAGE_BITS
            done = 0
            while done < page.rows:
                rows = page.rows - done
                if rows > AT_ONCE * LANES:
                    rows = AT_ONCE * LANES
                at_once = (rows + LANES - 1) // LANES
                scan(&columns, octet, <uint32_t>at_once, capacity, &out)
                row = page.first + done
                memcpy(&nc[row], out.nc, rows * sizeof(int64_t))
                memcpy(&imr[row], out.imr, rows * sizeof(int64_t))
                memcpy(&mmr[row], out.mmr, rows * sizeof(int64_t))
                for i in range(rows):
                    head = (octet + <uint32_t>(i // LANES) * (capacity + 1)) * LANES + <uint32_t>(i & 7)
                    account = store.b.s.link[head]
                    slot[row + i] = account
                    if (slow[i // LANES] >> (i & 7)) & 1 or store.b.state[account] & (STATE_OUTSIDE | STATE_EXTRA):
                        if not store.b.state[account] & (STATE_OUTSIDE | STATE_EXTRA) and row_risk(
                            &store.b, prices.markets, head, &risk
                        ):
                            nc[row + i] = <int64_t>risk.nc
                            imr[row + i] = <int64_t>risk.imr
                            mmr[row + i] = <int64_t>risk.mmr
                        else:
                            nc[row + i] = imr[row + i] = mmr[row + i] = 0
                            unknown[missing] = <int64_t>(row + i)
                            missing += 1
                done += rows
                octet += <uint32_t>at_once * (capacity + 1)
    return missing
