# Which columns a book has: their names in a snapshot, the size of an item, and how many items.
#
# One block of memory holds all columns one after the other, each on a line of its own.  A column's first `fresh`
# rows are all that was ever used; they are what a snapshot keeps.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.book_rows cimport BLOCK, BLOCK_BITS, NOWHERE, book_t, row_t

cdef enum:
    COLUMNS = 17
    ALIGNMENT = 64
    MAX_ROWS = 0x7fffffff

cdef enum item_of_t:
    OF_ACCOUNT
    OF_PLACE
    OF_BLOCK
    OF_MARKET

cdef struct column_t:
    const char *name
    void **data
    size_t item                # bytes
    item_of_t of


cdef inline size_t aligned(size_t size) noexcept nogil:
    return (size + ALIGNMENT - 1) & ~<size_t>(ALIGNMENT - 1)


cdef inline void set_column(
    column_t *column, const char *name, void *data, size_t item, item_of_t of
) noexcept nogil:
    column.name = name
    column.data = <void **>data
    column.item = item
    column.of = of


cdef inline void describe(book_t *book, column_t *columns) noexcept nogil:
    """List all columns of a book."""
    set_column(&columns[0], b"rows", <void *>&book.rows, sizeof(row_t), OF_ACCOUNT)
    set_column(&columns[1], b"usdc", <void *>&book.usdc, sizeof(int64_t), OF_ACCOUNT)
    set_column(&columns[2], b"height", <void *>&book.height, sizeof(int64_t), OF_ACCOUNT)
    set_column(&columns[3], b"generation", <void *>&book.generation, sizeof(uint32_t), OF_ACCOUNT)
    set_column(&columns[4], b"first", <void *>&book.first, sizeof(uint32_t), OF_ACCOUNT)
    set_column(&columns[5], b"first_threshold", <void *>&book.first_threshold, sizeof(uint32_t), OF_ACCOUNT)
    set_column(&columns[6], b"queue", <void *>&book.queue, sizeof(uint32_t), OF_ACCOUNT)
    set_column(&columns[7], b"quantums", <void *>&book.quantums, sizeof(int64_t), OF_PLACE)
    set_column(&columns[8], b"funding_index", <void *>&book.funding_index, sizeof(int64_t), OF_PLACE)
    set_column(&columns[9], b"quote_balance", <void *>&book.quote_balance, sizeof(int64_t), OF_PLACE)
    set_column(&columns[10], b"custom_imf_ppm", <void *>&book.custom_imf_ppm, sizeof(uint32_t), OF_PLACE)
    set_column(&columns[11], b"account", <void *>&book.account, sizeof(uint32_t), OF_PLACE)
    set_column(&columns[12], b"next", <void *>&book.next, sizeof(uint32_t), OF_PLACE)
    set_column(&columns[13], b"block_market", <void *>&book.block_market, sizeof(uint32_t), OF_BLOCK)
    set_column(&columns[14], b"block_previous", <void *>&book.block_previous, sizeof(uint32_t), OF_BLOCK)
    set_column(&columns[15], b"holders", <void *>&book.holders, sizeof(uint32_t), OF_MARKET)
    set_column(&columns[16], b"last_block", <void *>&book.last_block, sizeof(uint32_t), OF_MARKET)


cdef inline size_t rows_of(const book_t *book, const column_t *column, bint fresh) noexcept nogil:
    """Rows of a column: all that there is room for, or those ever used."""
    cdef size_t rows
    if column.of == OF_ACCOUNT:
        rows = book.account_extent.fresh if fresh else book.account_extent.capacity
    elif column.of == OF_MARKET:
        rows = book.market_extent.fresh if fresh else book.market_extent.capacity
    else:
        rows = book.block_extent.fresh if fresh else book.block_extent.capacity
    return rows << BLOCK_BITS if column.of == OF_PLACE else rows


cdef inline bint set_capacities(
    book_t *book, uint32_t accounts, uint32_t positions, uint32_t markets
) noexcept nogil:
    """Write the capacities into an empty book; False when places could not be counted in 32 bits."""
    # Every market may have one block that is not full.
    cdef size_t blocks = ((<size_t>positions + BLOCK - 1) >> BLOCK_BITS) + markets
    book.account_extent.capacity = accounts
    book.max_positions = positions
    book.block_extent.capacity = <uint32_t>blocks
    book.market_extent.capacity = markets
    book.first_free = NOWHERE
    book.last_free = NOWHERE
    book.free_block = NOWHERE
    return blocks << BLOCK_BITS < NOWHERE


# Implemented in book_columns.pyx.
cdef int plan(
    book_t *book, object max_subaccounts, object max_positions, object max_markets, object max_thresholds
) except -1
cdef size_t bytes_needed(const book_t *book, const column_t *columns, size_t thresholds) noexcept
