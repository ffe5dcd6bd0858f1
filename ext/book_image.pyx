"""The columns of a book as they lie in memory: out, in, and whether they hold together."""

from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strcmp

from dydx_perf.errors import CapacityError, SnapshotError

from dydx_perf.ext.book cimport BookStore
from dydx_perf.ext.book_columns cimport COLUMNS, rows_of
from dydx_perf.ext.book_rows cimport (
    ACCOUNT_BEYOND,
    ACCOUNT_BIG,
    ACCOUNT_LIQUIDATABLE,
    ACCOUNT_QUEUED,
    ACCOUNT_STALE,
    ACCOUNT_UNKNOWN,
    ACCOUNT_USED,
    ACCOUNT_WATCHED,
    ACCOUNT_WIDE,
    BASIS_SHIFT,
    BLOCK,
    BLOCK_BITS,
    MAX_GENERATION,
    NOWHERE,
    book_t,
    enqueue,
    evaluate,
    find_place,
    market_of,
    row_t,
)
from dydx_perf.ext.fixed cimport fits_i64
from dydx_perf.ext.margin cimport is_liquidatable
from dydx_perf.ext.structs cimport STATUS_OK, risk_t

cdef enum:
    KNOWN_FLAGS = (
        ACCOUNT_USED | ACCOUNT_LIQUIDATABLE | ACCOUNT_BIG | ACCOUNT_WIDE | ACCOUNT_BEYOND | ACCOUNT_STALE
        | ACCOUNT_QUEUED | ACCOUNT_WATCHED | ACCOUNT_UNKNOWN
    )
    BASIS_LAST = 2  # chain, estimate, sample

#: grows when a column changes its meaning, so that an old image is told from a new one
LAYOUT = 1
COUNTS = (
    "accounts_fresh", "accounts_used", "blocks_fresh", "blocks_used", "markets", "positions", "first_free",
    "last_free", "free_block", "retired",
)


def counts(BookStore store not None):
    """How much of each column is in use, and where the free places begin: by the names in COUNTS."""
    cdef book_t *book = &store.c
    return dict(zip(COUNTS, (
        book.account_extent.fresh, book.account_extent.used, book.block_extent.fresh, book.block_extent.used,
        book.market_extent.used, book.positions, book.first_free, book.last_free, book.free_block, book.retired,
    ), strict=True))


def sections(BookStore store not None):
    """{name: the used part of a column}, without thresholds; live memory: to be used before the next change."""
    cdef dict views = {}
    cdef int i
    cdef size_t size
    cdef uint32_t slot
    cdef bytearray rows
    for i in range(COLUMNS):
        size = store.columns[i].item * rows_of(&store.c, &store.columns[i], True)
        if store.columns[i].data == <void **>&store.c.rows:
            rows = bytearray(PyMemoryView_FromMemory(<char *>store.c.rows, size, PyBUF_READ))
            for slot in range(store.c.account_extent.fresh):
                (<row_t *><char *>rows)[slot].flags &= ~<uint32_t>ACCOUNT_WATCHED
            views["rows"] = memoryview(rows)
        elif is_kept(store.columns[i].name):
            views[store.columns[i].name.decode("ascii")] = PyMemoryView_FromMemory(
                <char *>store.columns[i].data[0], size, PyBUF_READ)
    return views


cdef bint is_kept(const char *column) noexcept:
    """The queue is empty between two calls, and thresholds are of observers, who are not kept."""
    return strcmp(column, b"queue") != 0 and strcmp(column, b"first_threshold") != 0


def restore(BookStore store not None, dict given, dict columns, list names):
    """Fill a store that has nothing yet; accounts that plain integers hold are left in the queue.

    Raises SnapshotError for columns that do not hold together, CapacityError where the store is too small; the
    store is then not to be used.
    """
    cdef book_t *book = &store.c
    cdef const uint8_t[::1] column
    cdef uint32_t slot
    cdef size_t size
    cdef int i
    if given["accounts_fresh"] > book.account_extent.capacity or given["blocks_fresh"] > book.block_extent.capacity:
        raise CapacityError("the snapshot holds more than the book has room for")
    if given["positions"] > book.max_positions:
        raise CapacityError("the snapshot holds more positions than the book has room for")
    if given["markets"] != book.market_extent.used:
        raise SnapshotError("the snapshot's columns are of another number of markets")
    book.account_extent.fresh = given["accounts_fresh"]
    book.account_extent.used = given["accounts_used"]
    book.block_extent.fresh = given["blocks_fresh"]
    book.block_extent.used = given["blocks_used"]
    book.positions = given["positions"]
    book.first_free = given["first_free"]
    book.last_free = given["last_free"]
    book.free_block = given["free_block"]
    book.retired = given["retired"]
    for i in range(COLUMNS):
        if not is_kept(store.columns[i].name):
            continue
        name = store.columns[i].name.decode("ascii")
        size = store.columns[i].item * rows_of(book, &store.columns[i], True)
        if name not in columns or <size_t>len(columns[name]) != size:
            raise SnapshotError(f"the snapshot's column {name} is not of the length that its counts say")
        if size:
            column = columns[name]
            memcpy(store.columns[i].data[0], &column[0], size)
    fault = find_fault(store)
    if fault is not None:
        raise SnapshotError(f"the snapshot does not hold together: {fault}")
    if len(names) != book.account_extent.fresh:
        raise SnapshotError("the snapshot does not name every account")
    for slot in range(book.account_extent.fresh):
        if (names[slot] is None) == ((book.rows[slot].flags & ACCOUNT_USED) != 0):
            raise SnapshotError("the snapshot does not name every account")
        book.first_threshold[slot] = NOWHERE
        if names[slot] is not None:
            store.names[slot] = names[slot]
            store.slots[names[slot]] = slot
            if book.rows[slot].flags & ACCOUNT_WIDE:
                enqueue(book, slot, ACCOUNT_UNKNOWN)
    if len(store.slots) != book.account_extent.used:
        raise SnapshotError("the snapshot names an account twice")


def find_fault(BookStore store not None):
    """What of the columns does not hold together, in words; None. Follows no link that leads out of them."""
    cdef book_t *book = &store.c
    cdef uint32_t market, block, place, left, slot, seen
    cdef uint64_t blocks = 0, positions = 0, accounts = 0, free = 0
    cdef row_t *row
    cdef risk_t risk
    cdef uint32_t remainder = 0
    cdef bint known
    for market in range(book.market_extent.fresh):
        left = book.holders[market]
        positions += left
        block = book.last_block[market]
        while left:
            blocks += 1
            if block >= book.block_extent.fresh or book.block_market[block] != market:
                return f"a block of market {market}"
            if blocks > book.block_extent.used:
                return f"a block of market {market}"
            seen = ((left - 1) & (BLOCK - 1)) + 1
            for place in range(block << BLOCK_BITS, (block << BLOCK_BITS) + seen):
                slot = book.account[place]
                if slot >= book.account_extent.fresh or not book.rows[slot].flags & ACCOUNT_USED:
                    return f"the account of place {place}"
                if book.next[place] != NOWHERE and book.next[place] >= book.block_extent.fresh << BLOCK_BITS:
                    return f"the link of place {place}"
            left -= seen
            block = book.block_previous[block]
    if positions != book.positions or blocks != book.block_extent.used:
        return "the number of positions or blocks"
    block = book.free_block
    while block != NOWHERE:
        free += 1
        if block >= book.block_extent.fresh or free + blocks > book.block_extent.fresh:
            return "the free blocks"
        block = book.block_previous[block]
    if free + blocks != book.block_extent.fresh:
        return "the number of free blocks"
    positions = 0
    for slot in range(book.account_extent.fresh):
        row = &book.rows[slot]
        if not 1 <= book.generation[slot] <= MAX_GENERATION:
            return f"the generation of account {slot}"
        if not row.flags & ACCOUNT_USED:
            continue
        if row.flags & 0xffff & ~<uint32_t>KNOWN_FLAGS or row.flags >> BASIS_SHIFT > BASIS_LAST:
            return f"the flags of account {slot}"
        accounts += 1
        place = book.first[slot]
        while place != NOWHERE:
            positions += 1
            if positions > book.positions or place >= book.block_extent.fresh << BLOCK_BITS:
                return f"the positions of account {slot}"
            market = market_of(book, place)
            if market >= book.market_extent.fresh or book.account[place] != slot or not is_live(book, place):
                return f"the positions of account {slot}"
            if find_place(book, slot, market) != place:
                return f"account {slot} twice in market {market}"
            place = book.next[place]
        if row.flags & (ACCOUNT_STALE | ACCOUNT_QUEUED):
            return f"account {slot} is not settled"
        known = evaluate(book, slot, &risk, &remainder) == STATUS_OK
        if known == ((row.flags & ACCOUNT_WIDE) != 0) or (row.flags & ACCOUNT_BEYOND and known):
            return f"the width of account {slot}"
        if not known:
            continue
        if (fits_i64(risk.nc) and fits_i64(risk.imr) and fits_i64(risk.mmr)) == ((row.flags & ACCOUNT_BIG) != 0):
            return f"the width of account {slot}"
        if not row.flags & ACCOUNT_BIG and not (
            risk.nc == row.nc and risk.imr == row.imr and risk.mmr == row.mmr and remainder == row.remainder
        ):
            return f"the risk of account {slot}"
        if is_liquidatable(&risk) != ((row.flags & ACCOUNT_LIQUIDATABLE) != 0):
            return f"the verdict on account {slot}"
    if positions != book.positions or accounts != book.account_extent.used:
        return "the number of accounts, or of their positions"
    free = 0
    slot = book.first_free
    while slot != NOWHERE:
        free += 1
        if (
            slot >= book.account_extent.fresh
            or book.rows[slot].flags & ACCOUNT_USED
            or free + accounts > book.account_extent.fresh
            or (book.first[slot] == NOWHERE) != (slot == book.last_free)
        ):
            return "the free accounts"
        slot = book.first[slot]
    if (book.first_free == NOWHERE) != (book.last_free == NOWHERE):
        return "the free accounts"
    if free + accounts + book.retired != book.account_extent.fresh:
        return "the number of free accounts"
    return None


cdef bint is_live(const book_t *book, uint32_t place) noexcept:
    """Whether a place of a block in use is one of those filled."""
    cdef uint32_t market = market_of(book, place)
    cdef uint32_t block = place >> BLOCK_BITS
    if book.holders[market] == 0:
        return False
    return block != book.last_block[market] or (place & (BLOCK - 1)) <= ((book.holders[market] - 1) & (BLOCK - 1))
