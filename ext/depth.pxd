# Order book of one market by price level (L2), in memory taken once.  Not part of the struct ABI.
#
# (a) A side is an array of levels in ascending order of key, the best one last: a change near the best price moves
#     few levels. The key of a bid is its price, that of an ask its price negated, so that both sides are alike.
# (b) Every level carries the arrival at which it was last quoted. One arrival is one message of the source, or one
#     element of a batch; what came in the same one is of the same age.
# (c) The book is kept as it was sent, crossed or not. A view_t says how much of each side an uncrossed book keeps:
#     a count of levels from the worst on, and what is left of the best one. Nothing that is kept is touched, so a
#     level that a view drops is back when it is quoted again.
# (d) The sum of the sizes of a side fits int64, so every sum over levels does. Whatever does not fit (a full side,
#     such a sum, a price below 1, a size below 0) is refused, and the book is marked: it is no longer whole.
#
# A price is an integer at a scale of the caller's choice, one for the whole book; `Depth` itself never asks which.
# With subticks, and sizes in base quantums, the impact price is the chain's. Contents:
#
#   next_arrival             the next message begins
#   find_level               where a key stands, or belongs
#   set_level                absolute size at a price; 0 takes the level out
#   clear_levels             nothing left; what it was not whole for stays
#   uncross                  the uncrossed view
#   best_price, best_size    of a side of a view
#   impact_base_ceil         base quantums that an impact notional buys or sells
#
# Nothing here allocates. Hazard: a view holds until the next change of its book.

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memmove

from dydx_perf.ext.fixed cimport div_ceil_u, mul_pow10_trunc, mul_u, u128
from dydx_perf.ext.structs cimport STATUS_OK, STATUS_OUT_OF_RANGE, status_t

cdef enum:
    BID = 0
    ASK = 1

cdef enum:
    BOOK_NO_SNAPSHOT = 1     # none has come yet
    BOOK_GAP = 2             # messages were lost since the last one
    BOOK_OVER_CAPACITY = 4   # something of it did not fit

cdef struct level_t:
    int64_t key              # price of a bid, minus the price of an ask
    int64_t size             # above 0
    uint64_t arrival         # when it was last quoted

cdef struct side_t:
    level_t *levels          # ascending by key, the best one last
    int64_t total            # sum of the sizes
    uint32_t count
    uint32_t capacity

cdef struct depth_t:
    side_t sides[2]          # BID, ASK
    uint64_t arrival         # grows by one with each message
    uint64_t updates         # levels that were set or taken out
    uint64_t refused         # levels that did not fit
    double time              # the caller's clock at the last arrival
    uint32_t not_whole       # why not, BOOK_* bits; 0: whole

cdef struct view_side_t:
    uint32_t count           # levels 0 to count - 1 of the side are in the view
    int64_t best_size        # left of level count - 1; the others are whole

cdef struct view_t:
    view_side_t sides[2]


cdef inline void next_arrival(depth_t *depth, double time) noexcept nogil:
    """What is set from here on is younger than all that was set before."""
    depth.arrival += 1
    depth.time = time


cdef inline uint32_t find_level(const side_t *side, int64_t key) noexcept nogil:
    """Index of the first level whose key is not below `key`; count when all are."""
    cdef uint32_t first = 0
    cdef uint32_t length = side.count
    cdef uint32_t half
    while length:
        half = length >> 1
        if side.levels[first + half].key < key:
            first += half + 1
            length -= half + 1
        else:
            length = half
    return first


cdef inline status_t refuse_level(depth_t *depth) noexcept nogil:
    """A level is lost: the book is not whole until the next snapshot."""
    depth.refused += 1
    depth.not_whole |= BOOK_OVER_CAPACITY
    return STATUS_OUT_OF_RANGE


cdef inline status_t set_level(depth_t *depth, int side_name, int64_t price, int64_t size) noexcept nogil:
    """Set the size at a price, absolute, as of this arrival; size 0 takes the level out, if it is there.

    STATUS_OUT_OF_RANGE: it was refused and the book is marked, see (d). A binary search, and a move of the
    levels that are better.
    """
    cdef side_t *side = &depth.sides[side_name]
    cdef int64_t key
    cdef level_t *level
    cdef uint32_t place
    cdef bint found
    if price < 1 or size < 0:
        return refuse_level(depth)
    key = -price if side_name == ASK else price
    place = find_level(side, key)
    level = side.levels + place
    found = place < side.count and level.key == key
    if size == 0:
        if found:
            side.total -= level.size
            side.count -= 1
            memmove(level, level + 1, (side.count - place) * sizeof(level_t))
    elif found:
        if size > INT64_MAX - (side.total - level.size):
            return refuse_level(depth)
        side.total += size - level.size
        level.size = size
        level.arrival = depth.arrival
    else:
        if side.count == side.capacity or size > INT64_MAX - side.total:
            return refuse_level(depth)
        memmove(level + 1, level, (side.count - place) * sizeof(level_t))
        side.count += 1
        side.total += size
        level.key = key
        level.size = size
        level.arrival = depth.arrival
    depth.updates += 1
    return STATUS_OK


cdef inline void clear_levels(depth_t *depth) noexcept nogil:
    """Take every level out. A snapshot: clear_levels, next_arrival, not_whole = 0, then set_level each."""
    depth.sides[BID].count = depth.sides[ASK].count = 0
    depth.sides[BID].total = depth.sides[ASK].total = 0


cdef inline void drop_best(const side_t *side, view_side_t *view) noexcept nogil:
    """Leave the best level of a view out of it."""
    view.count -= 1
    view.best_size = side.levels[view.count - 1].size if view.count else 0


cdef inline void uncross(const depth_t *depth, view_t *view) noexcept nogil:
    """The uncrossed view: while the best bid is at or above the best ask, the older of the two goes.

    Of the same arrival the smaller goes, and its size is taken from the other; equal ones both go.
    """
    cdef const side_t *bids = &depth.sides[BID]
    cdef const side_t *asks = &depth.sides[ASK]
    cdef view_side_t *bid = &view.sides[BID]
    cdef view_side_t *ask = &view.sides[ASK]
    cdef const level_t *bid_level
    cdef const level_t *ask_level
    cdef int64_t both
    bid.count = bids.count
    bid.best_size = bids.levels[bid.count - 1].size if bid.count else 0
    ask.count = asks.count
    ask.best_size = asks.levels[ask.count - 1].size if ask.count else 0
    while bid.count and ask.count:
        bid_level = &bids.levels[bid.count - 1]
        ask_level = &asks.levels[ask.count - 1]
        if bid_level.key < -ask_level.key:
            break
        if bid_level.arrival < ask_level.arrival:
            drop_best(bids, bid)
        elif bid_level.arrival > ask_level.arrival:
            drop_best(asks, ask)
        else:
            both = bid.best_size if bid.best_size < ask.best_size else ask.best_size
            bid.best_size -= both
            ask.best_size -= both
            if bid.best_size == 0:
                drop_best(bids, bid)
            if ask.best_size == 0:
                drop_best(asks, ask)


cdef inline int64_t best_price(const depth_t *depth, const view_t *view, int side_name) noexcept nogil:
    """Best price of a side of a view; 0: the side is empty."""
    cdef uint32_t count = view.sides[side_name].count
    if count == 0:
        return 0
    return -depth.sides[ASK].levels[count - 1].key if side_name == ASK else depth.sides[BID].levels[count - 1].key


cdef inline int64_t best_size(const view_t *view, int side_name) noexcept nogil:
    """Size at the best price of a side of a view; 0: the side is empty."""
    return view.sides[side_name].best_size


cdef inline status_t impact_base_ceil(
    const depth_t *depth, const view_t *view, int side_name, uint64_t impact_notional,
    int32_t quantum_conversion_exponent, int64_t *base_quantums,
) noexcept nogil:
    """Base quantums for which a side gives `impact_notional` quote quantums, above 0; 0: it does not have that many.

    From the best level on, one worth v = floor(price * size * 10**quantum_conversion_exponent) quote quantums is
    taken whole while more than v is wanted, of the last one the fraction wanted / v; the sum is rounded up once.
    The chain does so order by order; here by level, which the floors make differ by less than a quote quantum for
    each order but one of a level. STATUS_OUT_OF_RANGE: 128 bits do not hold a value; nothing was written.
    Source: getImpactPriceSubticks in x/clob/memclob/memclob.go.
    """
    cdef const level_t *levels = depth.sides[side_name].levels
    cdef uint32_t place = view.sides[side_name].count
    cdef int64_t size = view.sides[side_name].best_size
    cdef int64_t base = 0
    cdef u128 wanted = impact_notional
    cdef u128 product = 0
    cdef u128 value = 0
    cdef int64_t key
    while place:
        place -= 1
        key = -levels[place].key if side_name == ASK else levels[place].key
        # both below 2**63: the product fits; and so does that of wanted, below 2**64, and a size
        if mul_u(key, size, &product) or mul_pow10_trunc(product, quantum_conversion_exponent, &value):
            return STATUS_OUT_OF_RANGE
        if wanted <= value:
            mul_u(wanted, size, &product)
            base_quantums[0] = base + <int64_t>div_ceil_u(product, value)
            return STATUS_OK
        base += size
        wanted -= value
        size = levels[place - 1].size if place else 0
    base_quantums[0] = 0
    return STATUS_OK


cdef class Depth:
    cdef depth_t c
    cdef void *arena             # both sides, taken once
    cdef readonly size_t nbytes
