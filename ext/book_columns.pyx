"""How much memory a book takes, told before any is taken."""

from libc.stdint cimport uint32_t
from libc.string cimport memset

from dydx_perf.errors import InputError

from dydx_perf.ext.structs cimport market_t


cdef uint32_t checked_rows(str argument, object value, uint32_t least) except? 0xffffffff:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_ROWS:
        raise InputError(argument, value, f"an int of {least} to {MAX_ROWS}")
    return value


cdef int plan(
    book_t *book, object max_subaccounts, object max_positions, object max_markets, object max_thresholds
) except -1:
    """Check the capacities and write them into a book that has nothing yet."""
    memset(book, 0, sizeof(book_t))
    checked_rows("max_thresholds", max_thresholds, 0)
    if not set_capacities(
        book,
        checked_rows("max_subaccounts", max_subaccounts, 1),
        checked_rows("max_positions", max_positions, 0),
        checked_rows("max_markets", max_markets, 1),
    ):
        raise InputError("max_positions", max_positions, "fewer, with so many markets: 2**32 places in all")
    return 0


cdef size_t bytes_needed(const book_t *book, const column_t *columns, size_t thresholds) noexcept:
    """All columns, the markets, and the four columns of thresholds."""
    cdef size_t total = ALIGNMENT + aligned(sizeof(market_t) * book.market_extent.capacity)
    cdef int i
    for i in range(COLUMNS):
        total += aligned(columns[i].item * rows_of(book, &columns[i], False))
    return total + 2 * aligned(8 * thresholds) + aligned(4 * thresholds) + aligned(thresholds)


def memory_needed(max_subaccounts, max_positions, max_markets, max_thresholds):
    """Bytes of a book, as a dict: in all, and for each account, position, block of positions and market."""
    cdef book_t book
    cdef column_t columns[COLUMNS]
    cdef size_t item[4]
    cdef int i
    plan(&book, max_subaccounts, max_positions, max_markets, max_thresholds)
    describe(&book, columns)
    memset(item, 0, sizeof(item))
    for i in range(COLUMNS):
        item[<int>columns[i].of] += columns[i].item
    block = item[<int>OF_BLOCK] + item[<int>OF_PLACE] * BLOCK
    return {
        "total": bytes_needed(&book, columns, max_thresholds),
        "subaccount": item[<int>OF_ACCOUNT],
        "position": item[<int>OF_PLACE],
        "block": block,
        # its row, and at worst one block that is all but empty
        "market": sizeof(market_t) + item[<int>OF_MARKET] + block,
    }


def first_repeated(const uint32_t[::1] account, const uint32_t[::1] market, uint32_t[::1] seen):
    """Row of the first position whose owner has one in that market above it; -1. `seen`: a 0 per market."""
    cdef size_t row
    for row in range(<size_t>account.shape[0]):
        if seen[market[row]] == account[row] + 1:
            return row
        seen[market[row]] = account[row] + 1
    return -1
