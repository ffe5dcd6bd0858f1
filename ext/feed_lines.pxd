# What of one connection is taken without Python objects: its live subscriptions, their accounts, their markets.
# Not part of the struct ABI.
#
# (a) A subscription is a line. The caller says which are live. Lines of order books and trades are found by market,
#     those of accounts by a hash of their id.
# (b) An account hangs on the line that tells of it. For each of its markets the last frame that told of the
#     position is kept: the figures in it that no risk depends on are read when somebody asks.
# (c) Memory grows when a line or an account comes, never when a frame does.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from dydx_perf.ext.account cimport MarketTable
from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.depth cimport depth_t
from dydx_perf.ext.frame cimport FrameScanner

cdef enum:
    NO_LINE = 0xffffffff      # no line, no account
    NO_HEIGHT = -1
    MAX_KEPT = 64             # markets of an account of which a frame is kept

cdef struct line_t:
    int64_t last_id           # number of its newest message
    const char *id            # of an account's line; held by `ids`
    uint32_t id_length
    uint32_t address_length   # of the id, before the slash
    uint32_t next             # another line whose id has the same place in the table of hashes
    uint32_t account          # first of those on it
    int32_t number            # that the id names
    uint8_t channel           # frame_channel_t
    uint8_t live

cdef struct kept_t:
    uint64_t arrival          # number among the frames looked at
    uint32_t market

cdef struct account_t:
    int64_t handle            # in the book
    int64_t floor             # block of the newest event; what is of one below is older than what the book has
    double heard              # when the newest event that was taken here came, by the caller's clock
    double first_heard        # and the first one since the caller asked
    uint64_t since            # its frame, among those looked at
    int32_t number
    uint32_t next             # another one on the same line; of a free one: another free one
    uint32_t kept             # markets of which a frame is kept
    uint8_t is_new            # it was told of since the caller asked
    kept_t rows[MAX_KEPT]

# What is known of a market beside the table's row.
cdef struct quote_t:
    depth_t *depth            # NULL: no order book is followed
    uint64_t multiplier       # price of a level = price on the wire * multiplier / divisor
    uint64_t divisor
    uint64_t last_move        # of the price integer, by its last change
    double heard              # when its oracle price came
    uint64_t seen             # frame in which it came last
    int64_t seen_height       # and the block it was of there
    uint32_t book_line
    uint32_t trades_line
    uint8_t withheld          # the caller takes its oracle prices
    uint8_t is_new            # a price came since the caller asked


cdef class FeedLines:
    cdef readonly AccountStore store
    cdef readonly MarketTable table
    cdef public FrameScanner scanner
    cdef uint32_t market_capacity
    cdef line_t *lines
    cdef uint32_t line_count
    cdef uint32_t line_capacity
    cdef account_t *accounts
    cdef uint32_t account_count
    cdef uint32_t account_capacity
    cdef uint32_t free_account
    cdef uint32_t *places              # hash of an id -> first line
    cdef uint32_t place_mask
    cdef uint32_t markets_line
    cdef uint32_t blocks_line
    cdef quote_t *quotes               # by market
    cdef dict line_of                  # (channel, id) -> line
    cdef list ids                      # of the lines, as bytes
    cdef list kept                     # of the accounts: frames, as their rows say
    cdef list depths                   # of the markets: holds the order books

    cdef uint32_t line(self, object channel, object line_id) except? 0xffffffff
    cdef int index_lines(self) except -1
