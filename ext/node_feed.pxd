# A node's messages that change numbers only, from bytes to the book without a Python object.  Not part of the struct
# ABI.
#
# (a) A message is taken whole or not at all: everything is checked before anything is changed, and what is not plain
#     (snapshots, fills that the chain has decided, accounts whose sign is in question, ...) is left to the caller.
# (b) What a message changes of prices and accounts is one change of the book.
# (c) Of an account only sizes of positions that it has change here, and a balance that became zero.
# (d) Memory grows when the caller routes something, never when a message comes; but the scanner's records grow with
#     the largest message.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from dydx_perf.ext.account cimport MarketTable
from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.order_queue cimport order_queue_t
from dydx_perf.ext.stream cimport StreamScanner, stream_key_t, stream_record_t, stream_update_t
from dydx_perf.ext.structs cimport market_t

cdef enum:
    MAX_IDS = 1 << 16         # ids of price markets, perpetuals and order books that are routed are below
    MAX_PRICES = 1024         # of a message that is taken here
    MAX_POSITIONS = 128       # of an account in it
    NOBODY = 0xffffffff

cdef enum:
    PRICE_IGNORED = 0         # no market of ours has it
    PRICE_PLAIN = 1
    PRICE_LEFT = 2            # the caller takes it

# What is known of a price market.
cdef struct node_price_t:
    int64_t height            # of its newest price that was taken here
    uint32_t market           # index in the table
    int32_t exponent          # of the table's price
    uint32_t next_new         # of those whose price came since the caller asked
    uint8_t state
    uint8_t is_new

# What is known of an account that is watched.
cdef struct node_account_t:
    const char *owner         # held by `owners`
    uint32_t owner_length
    uint32_t number
    uint32_t next             # another one whose id has the same place in the table of hashes
    uint32_t next_new         # of those that were told of since the caller asked
    uint8_t is_plain          # its sign is known and the book has its state
    uint8_t is_new
    int64_t handle            # in the book
    int64_t floor             # block of a node's answer that the book has: what is of it or before is left
    int64_t height            # of the newest change that was taken here
    double heard

cdef struct node_book_t:
    order_queue_t *queue      # NULL: no order book is followed
    uint64_t seen             # message that opened it last


cdef class NodeFeed:
    cdef readonly AccountStore store
    cdef readonly MarketTable table
    cdef readonly StreamScanner scanner
    cdef readonly object observers     # (crossings) -> errors of observers
    cdef readonly object block_seen    # (height) -> an event
    cdef public double heard_at        # when the newest message that was taken here came
    cdef public double deadline        # from then on the caller takes every message
    cdef public int64_t height         # newest block that the chain has decided; -1: none
    cdef public int64_t last_height    # blocks past this one are left to the caller
    cdef public double block_at        # when it came
    cdef public bint leaves_accounts   # what is said of any account is the caller's
    cdef readonly uint64_t messages    # taken here
    cdef readonly uint64_t handed_over
    cdef list untold                   # events of a message whose observers raised
    cdef uint64_t looked_at            # messages; tells one from the next
    cdef uint32_t basis                # of prices
    cdef node_price_t *prices          # by id of the price market
    cdef uint32_t *perpetuals          # by id: index in the table plus 1; 0: not known
    cdef node_book_t *books            # by id of the order book
    cdef node_account_t *accounts
    cdef uint32_t account_count
    cdef uint32_t account_capacity
    cdef uint32_t *places              # hash of an account -> first of them
    cdef uint32_t place_mask
    cdef uint32_t new_prices, new_accounts   # first of each; NOBODY
    cdef list owners
    cdef dict queues
    cdef uint64_t changes              # prices and accounts of this message
    cdef market_t prepared[MAX_PRICES]

    cdef int index_accounts(self) except -1
    cdef uint32_t find_account(self, const stream_key_t *key) noexcept
    cdef object take(self, const char *data, size_t length, double now)
    cdef object apply(self, const char *data, size_t length, double now)
    cdef bint check(self) noexcept
    cdef bint check_owner(self, const stream_key_t *key) noexcept
    cdef bint check_orders(self, const stream_update_t *update) noexcept
    cdef bint check_states(self, const stream_update_t *update) noexcept
    cdef bint check_account(self, const stream_update_t *update) noexcept
    cdef bint check_price(self, const stream_update_t *update, uint32_t prices) noexcept
    cdef order_queue_t *opened(self, uint32_t pair, int64_t height, double now) noexcept
    cdef void put_order(self, const stream_record_t *record, int64_t height, double now) noexcept
    cdef int put_account(self, const stream_update_t *update, double now) except -1
    cdef void put_prices(self) noexcept
    cdef object change(self, double now)
