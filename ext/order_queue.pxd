# Order book of one market by order (L3): price levels of queues in time priority, in memory taken once.
# Not part of the struct ABI.
#
# (a) An order is found by its whole id through a table of slots, open addressing, at most half full; what is taken
#     out closes its gap, so there are no marks of what was. The hash is seeded: ids are chosen by whoever places.
# (b) A level is a queue of orders, linked both ways, in order of arrival. Levels lie in an array, ascending by key,
#     the best one last; the key of a bid is its subticks, that of an ask its subticks negated.
# (c) An order shows what its fills left of it, quantums - filled; nothing when they reach it, but it stays in its
#     place until it is removed: fills of a node's own view may be taken back. A level shows the sum of its orders.
# (d) The sum of the quantums of a side fits int64, so every sum over orders does. What does not fit is refused, and
#     the book is marked: it is no longer whole.
# (e) A link is an index plus one; 0: none. So memory of zeros is an empty book.
#
# Contents:
#   make_order_key           an id as it is compared
#   find_order               link of an order
#   place_order              at the end of its level's queue, nothing filled
#   remove_order             out of its queue
#   set_filled               absolute, may go down
#   clear_orders             nothing left
#   best_link                the best level that shows something
#   queue_impact_base_ceil   base quantums that an impact notional buys or sells
#
# Nothing here allocates, and an id that is not known changes nothing but a count.

from libc.stddef cimport size_t
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from dydx_perf.ext.fixed cimport div_ceil_u, mul_pow10_trunc, mul_u, u128
from dydx_perf.ext.structs cimport STATUS_OK, STATUS_OUT_OF_RANGE, status_t

cdef enum:
    MAX_OWNER = 64           # bytes of an address
    KEY_WORDS = 10

cdef enum:
    QUEUE_BID = 0
    QUEUE_ASK = 1

cdef enum:
    QUEUE_NO_SNAPSHOT = 1    # none has come yet
    QUEUE_GAP = 2            # messages were lost since the last one
    QUEUE_OVER_CAPACITY = 4  # something of it did not fit

# The whole id, compared and hashed as KEY_WORDS words of 64 bits.
cdef struct order_key_t:
    char owner[64]           # text, zeros behind
    uint32_t number
    uint32_t client_id
    uint32_t order_flags
    uint32_t clob_pair_id

cdef struct resting_order_t:
    order_key_t key
    uint64_t hash
    int64_t subticks
    int64_t quantums
    uint64_t filled
    uint64_t arrival         # when it was placed
    uint32_t before          # links within the queue; of a free place `behind` is the next free one
    uint32_t behind
    uint32_t side

cdef struct queue_level_t:
    int64_t key              # subticks of a bid, minus the subticks of an ask
    int64_t left             # sum of what the orders show
    uint32_t first           # links
    uint32_t last
    uint32_t shown           # orders that show something

cdef struct queue_side_t:
    queue_level_t *levels    # ascending by key, the best one last
    int64_t total            # sum of the quantums, filled or not
    uint32_t count

cdef struct order_queue_t:
    queue_side_t sides[2]    # QUEUE_BID, QUEUE_ASK
    resting_order_t *orders
    uint32_t *table          # links
    uint32_t mask            # slots of the table, less one
    uint32_t capacity        # orders, and levels of each side
    uint32_t used
    uint32_t fresh           # places that were never used start here
    uint32_t free            # link of a place that was
    uint32_t not_whole       # why not, QUEUE_* bits; 0: whole
    uint64_t seed
    uint64_t arrival         # grows by one with each message
    uint64_t placed_again    # ids that were placed while they rested
    uint64_t unknown         # ids removed or filled that did not rest here
    uint64_t refused         # orders that did not fit
    double time              # the caller's clock at the last arrival
    int64_t height           # block of the last arrival; -1: not known


cdef inline status_t make_order_key(
    const char *owner, size_t length, uint32_t number, uint32_t client_id, uint32_t order_flags,
    uint32_t clob_pair_id, order_key_t *key,
) noexcept nogil:
    """Write an id as it is compared; STATUS_OUT_OF_RANGE: the owner's text is too long."""
    if length > MAX_OWNER:
        return STATUS_OUT_OF_RANGE
    memset(key, 0, sizeof(order_key_t))
    memcpy(key.owner, owner, length)
    key.number = number
    key.client_id = client_id
    key.order_flags = order_flags
    key.clob_pair_id = clob_pair_id
    return STATUS_OK


cdef inline uint64_t hash_of_key(const order_queue_t *queue, const order_key_t *key) noexcept nogil:
    """Hash of all words of an id."""
    cdef uint64_t words[KEY_WORDS]
    cdef uint64_t hashed = queue.seed
    cdef int i
    memcpy(words, key, sizeof(order_key_t))
    for i in range(KEY_WORDS):
        hashed = (hashed ^ words[i]) * <uint64_t>0x9e3779b97f4a7c15
        hashed ^= hashed >> 29
    return hashed


cdef inline uint32_t find_slot(
    const order_queue_t *queue, const order_key_t *key, uint64_t hashed
) noexcept nogil:
    """Slot of the table that has the order, or the free one where it belongs."""
    cdef uint32_t slot = <uint32_t>hashed & queue.mask
    cdef const resting_order_t *order
    while queue.table[slot]:
        order = &queue.orders[queue.table[slot] - 1]
        if order.hash == hashed and memcmp(&order.key, key, sizeof(order_key_t)) == 0:
            break
        slot = (slot + 1) & queue.mask
    return slot


cdef inline uint32_t find_order(const order_queue_t *queue, const order_key_t *key) noexcept nogil:
    """Link of an order; 0: it does not rest here."""
    return queue.table[find_slot(queue, key, hash_of_key(queue, key))]


cdef inline void free_slot(order_queue_t *queue, uint32_t slot) noexcept nogil:
    """Empty a slot; what was pushed past it moves back."""
    cdef uint32_t hole = slot
    cdef uint32_t home
    while True:
        slot = (slot + 1) & queue.mask
        if queue.table[slot] == 0:
            break
        home = <uint32_t>queue.orders[queue.table[slot] - 1].hash & queue.mask
        if ((slot - home) & queue.mask) >= ((slot - hole) & queue.mask):
            queue.table[hole] = queue.table[slot]
            hole = slot
    queue.table[hole] = 0


cdef inline int64_t left_of(const resting_order_t *order) noexcept nogil:
    """What an order shows, base quantums."""
    return order.quantums - <int64_t>order.filled if order.filled < <uint64_t>order.quantums else 0


cdef inline int64_t key_of(int side_name, int64_t subticks) noexcept nogil:
    """Key of the level of a price."""
    return -subticks if side_name == QUEUE_ASK else subticks


cdef inline uint32_t find_queue(const queue_side_t *side, int64_t key) noexcept nogil:
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


cdef inline void show(queue_level_t *level, int64_t before, int64_t after) noexcept nogil:
    """An order of a level shows `after` where it showed `before`."""
    level.left += after - before
    level.shown += <uint32_t>(after > 0)
    level.shown -= <uint32_t>(before > 0)


cdef inline void take_out(order_queue_t *queue, uint32_t slot) noexcept nogil:
    """Take the order of a slot out of its queue, its level and the table."""
    cdef uint32_t link = queue.table[slot]
    cdef resting_order_t *order = &queue.orders[link - 1]
    cdef queue_side_t *side = &queue.sides[order.side]
    cdef uint32_t place = find_queue(side, key_of(order.side, order.subticks))
    cdef queue_level_t *level = &side.levels[place]
    show(level, left_of(order), 0)
    if order.before:
        queue.orders[order.before - 1].behind = order.behind
    else:
        level.first = order.behind
    if order.behind:
        queue.orders[order.behind - 1].before = order.before
    else:
        level.last = order.before
    if level.first == 0:
        side.count -= 1
        memmove(level, level + 1, (side.count - place) * sizeof(queue_level_t))
    side.total -= order.quantums
    free_slot(queue, slot)
    order.behind = queue.free
    queue.free = link
    queue.used -= 1


cdef inline status_t refuse_order(order_queue_t *queue) noexcept nogil:
    """An order is lost: the book is not whole until the next snapshot."""
    queue.refused += 1
    queue.not_whole |= QUEUE_OVER_CAPACITY
    return STATUS_OUT_OF_RANGE


cdef inline status_t place_order(
    order_queue_t *queue, const order_key_t *key, int side_name, int64_t subticks, int64_t quantums
) noexcept nogil:
    """Put an order at the end of its level's queue, nothing filled; one of the same id goes first.

    STATUS_OUT_OF_RANGE: it was refused and the book is marked, see (d).
    """
    cdef uint64_t hashed = hash_of_key(queue, key)
    cdef uint32_t slot = find_slot(queue, key, hashed)
    cdef queue_side_t *side = &queue.sides[side_name]
    cdef queue_level_t *level
    cdef resting_order_t *order
    cdef uint32_t link, place
    cdef int64_t at
    if queue.table[slot]:
        queue.placed_again += 1
        take_out(queue, slot)
        slot = find_slot(queue, key, hashed)
    if (
        subticks < 1 or quantums < 0 or queue.used == queue.capacity
        or quantums > INT64_MAX - side.total
    ):
        return refuse_order(queue)
    if queue.free:
        link = queue.free
        queue.free = queue.orders[link - 1].behind
    else:
        queue.fresh += 1
        link = queue.fresh
    queue.used += 1
    queue.table[slot] = link
    at = key_of(side_name, subticks)
    place = find_queue(side, at)
    level = &side.levels[place]
    if place == side.count or level.key != at:
        # an order for each level at least: there are as many levels as orders, at most
        memmove(level + 1, level, (side.count - place) * sizeof(queue_level_t))
        side.count += 1
        memset(level, 0, sizeof(queue_level_t))
        level.key = at
    order = &queue.orders[link - 1]
    order.key = key[0]
    order.hash = hashed
    order.subticks = subticks
    order.quantums = quantums
    order.filled = 0
    order.arrival = queue.arrival
    order.side = <uint32_t>side_name
    order.before = level.last
    order.behind = 0
    if level.last:
        queue.orders[level.last - 1].behind = link
    else:
        level.first = link
    level.last = link
    side.total += quantums
    show(level, 0, quantums)
    return STATUS_OK


cdef inline bint remove_order(order_queue_t *queue, const order_key_t *key) noexcept nogil:
    """Take an order out; False: its id is not known."""
    cdef uint32_t slot = find_slot(queue, key, hash_of_key(queue, key))
    if queue.table[slot] == 0:
        queue.unknown += 1
        return False
    take_out(queue, slot)
    return True


cdef inline bint set_filled(order_queue_t *queue, const order_key_t *key, uint64_t filled) noexcept nogil:
    """Set what is filled of an order, absolute; it keeps its place. False: its id is not known."""
    cdef uint32_t link = find_order(queue, key)
    cdef resting_order_t *order
    cdef queue_side_t *side
    cdef int64_t before
    if link == 0:
        queue.unknown += 1
        return False
    order = &queue.orders[link - 1]
    side = &queue.sides[order.side]
    before = left_of(order)
    order.filled = filled
    show(&side.levels[find_queue(side, key_of(order.side, order.subticks))], before, left_of(order))
    return True


cdef inline void clear_orders(order_queue_t *queue) noexcept nogil:
    """Take every order out."""
    memset(queue.table, 0, (<size_t>queue.mask + 1) * sizeof(uint32_t))
    queue.sides[QUEUE_BID].count = queue.sides[QUEUE_ASK].count = 0
    queue.sides[QUEUE_BID].total = queue.sides[QUEUE_ASK].total = 0
    queue.used = queue.fresh = queue.free = 0


cdef inline uint32_t best_link(const queue_side_t *side) noexcept nogil:
    """Index plus one of the best level that shows something; 0: none does."""
    cdef uint32_t place = side.count
    while place and side.levels[place - 1].left == 0:
        place -= 1
    return place


cdef inline status_t queue_impact_base_ceil(
    const order_queue_t *queue, int side_name, uint64_t impact_notional, int32_t quantum_conversion_exponent,
    int64_t *base_quantums,
) noexcept nogil:
    """Base quantums for which a side gives `impact_notional` quote quantums, above 0; 0: it does not have that many.

    Order by order from the best price on, in time priority: one worth v = floor(subticks * left *
    10**quantum_conversion_exponent) quote quantums is taken whole while more than v is wanted, of the last one
    the fraction wanted / v; the sum is rounded up once. The chain leaves out orders whose owner could not fill
    them; who could is not to be seen here. STATUS_OUT_OF_RANGE: 128 bits do not hold a value; nothing was written.
    Source: getImpactPriceSubticks in x/clob/memclob/memclob.go.
    """
    cdef const queue_side_t *side = &queue.sides[side_name]
    cdef const resting_order_t *order
    cdef uint32_t place = side.count
    cdef uint32_t link
    cdef int64_t base = 0
    cdef int64_t left
    cdef u128 wanted = impact_notional
    cdef u128 value = 0
    cdef u128 product = 0
    while place:
        place -= 1
        link = side.levels[place].first
        while link:
            order = &queue.orders[link - 1]
            link = order.behind
            left = left_of(order)
            if left == 0:
                continue
            # both below 2**63: the product fits; and so does that of wanted, below 2**64, and a size
            if mul_u(order.subticks, left, &product) or mul_pow10_trunc(
                product, quantum_conversion_exponent, &value
            ):
                return STATUS_OUT_OF_RANGE
            if wanted <= value:
                mul_u(wanted, left, &product)
                base_quantums[0] = base + <int64_t>div_ceil_u(product, value)
                return STATUS_OK
            base += left
            wanted -= value
    base_quantums[0] = 0
    return STATUS_OK


cdef class OrderQueues:
    cdef order_queue_t c
    cdef void *arena             # orders, table and levels, taken once
    cdef readonly size_t nbytes

    cdef int read_key(self, object key, order_key_t *out) except -1
