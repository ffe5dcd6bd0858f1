"""Python door of the order book by order: `OrderQueues`, the resting orders of one market in memory taken once.

An id is the tuple (owner, number, client_id, order_flags, clob_pair_id). Prices are subticks, sizes base quantums, as
messages have them: uint64, of which the book holds 1 to 2**63 - 1 and 0 to 2**63 - 1. `is_bid` names a side. What is
read leaves out orders of which nothing is left, unless it says otherwise; arrays are copies.

Hazards: a figure says what the orders give, whole or not; `not_whole` says which. One thread changes a book.
"""

from os import urandom

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree

from dydx_perf.errors import CapacityError, InputError

from dydx_perf.ext.fixed cimport (
    add,
    i128,
    mul_i64,
    object_to_i32,
    object_to_i64,
    object_to_u32,
    object_to_u64,
    u128_to_object,
)

cdef enum:
    MAX_CAPACITY = 1 << 24

#: bit of OrderQueues.not_whole -> code of the reason
REASONS = {QUEUE_NO_SNAPSHOT: "no_snapshot", QUEUE_GAP: "gap", QUEUE_OVER_CAPACITY: "over_capacity"}
KEY = f"(owner of at most {MAX_OWNER} ASCII characters, number, client_id, order_flags, clob_pair_id)"


cdef int64_t checked_amount(str argument, object value, int64_t least) except -1:
    """A price or a size of an order."""
    cdef int64_t amount = 0
    if isinstance(value, int) and object_to_i64(value, &amount) and amount >= least:
        return amount
    raise InputError(argument, value, f"an int of {least} to {INT64_MAX}")


cdef int64_t wire_amount(str argument, object value) except? -1:
    """A price or a size as a message has it; -1, which no order may have, where int64 does not hold it."""
    cdef uint64_t amount = 0
    if isinstance(value, int) and object_to_u64(value, &amount):
        return <int64_t>amount if amount <= <uint64_t>INT64_MAX else -1
    raise InputError(argument, value, "an int of 0 to 2**64 - 1")


cdef tuple key_object(const order_key_t *key):
    """The id as it was given."""
    cdef size_t length = 0
    while length < MAX_OWNER and key.owner[length]:
        length += 1
    return key.owner[:length].decode("ascii"), key.number, key.client_id, key.order_flags, key.clob_pair_id


cdef class OrderQueues:
    """Resting orders of both sides of one market.

    Parameters
    ----------
    capacity : int
        Orders for which there is room, of both sides together.

    Raises
    ------
    CapacityError
        There is no memory for it.
    """

    def __cinit__(self, capacity):
        cdef size_t orders, slots, levels
        self.arena = NULL
        if not isinstance(capacity, int) or isinstance(capacity, bool) or not 1 <= capacity <= MAX_CAPACITY:
            raise InputError("capacity", capacity, f"an int of 1 to {MAX_CAPACITY}")
        self.c.capacity = capacity
        self.c.mask = (1 << (2 * capacity - 1).bit_length()) - 1
        self.c.seed = int.from_bytes(urandom(8), "little")
        self.c.height = -1
        self.c.not_whole = QUEUE_NO_SNAPSHOT
        orders = self.c.capacity * sizeof(resting_order_t)
        levels = self.c.capacity * sizeof(queue_level_t)
        slots = (<size_t>self.c.mask + 1) * sizeof(uint32_t)
        self.nbytes = orders + 2 * levels + slots
        self.arena = PyMem_RawCalloc(self.nbytes, 1)
        if self.arena == NULL:
            raise CapacityError(f"no memory for an order book of {self.nbytes} bytes")
        # Touched now, so that the pages are there and not promised.
        memset(self.arena, 0, self.nbytes)
        self.c.orders = <resting_order_t *>self.arena
        self.c.sides[QUEUE_BID].levels = <queue_level_t *>(<char *>self.arena + orders)
        self.c.sides[QUEUE_ASK].levels = <queue_level_t *>(<char *>self.arena + orders + levels)
        self.c.table = <uint32_t *>(<char *>self.arena + orders + 2 * levels)

    def __dealloc__(self):
        PyMem_RawFree(self.arena)

    def __len__(self):
        return self.c.used

    cdef int read_key(self, object key, order_key_t *out) except -1:
        """Store an id; InputError where it is none."""
        cdef uint32_t words[4]
        cdef int i
        if isinstance(key, tuple) and len(key) == 5 and isinstance(key[0], str) and key[0].isascii():
            owner = key[0].encode("ascii")
            for i in range(4):
                if not isinstance(key[1 + i], int) or not object_to_u32(key[1 + i], &words[i]):
                    break
            else:
                if 0 not in owner and make_order_key(
                    owner, len(owner), words[0], words[1], words[2], words[3], out
                ) == STATUS_OK:
                    return 0
        raise InputError("key", key, KEY)

    # -- changes

    def next_arrival(self, double time, height=None):
        """Begin a message: the orders that it places are younger than all before."""
        cdef int64_t block = -1
        if height is not None:
            block = checked_amount("height", height, 0)
        self.c.arrival += 1
        self.c.time = time
        self.c.height = block

    def place(self, key, is_bid, subticks, quantums):
        """Put an order at the end of its level's queue, nothing filled; False: refused, and the book is marked.

        One of the same id that rests goes first.
        """
        cdef order_key_t order
        cdef int64_t price = wire_amount("subticks", subticks)
        cdef int64_t size = wire_amount("quantums", quantums)
        self.read_key(key, &order)
        return place_order(&self.c, &order, QUEUE_BID if is_bid else QUEUE_ASK, price, size) == STATUS_OK

    def remove(self, key):
        """Take an order out; False: its id is not known, which is counted and else ignored."""
        cdef order_key_t order
        self.read_key(key, &order)
        return remove_order(&self.c, &order)

    def set_filled(self, key, total_filled_quantums):
        """Set what is filled of an order, absolute, up or down; False: its id is not known."""
        cdef order_key_t order
        cdef uint64_t filled = 0
        if not isinstance(total_filled_quantums, int) or not object_to_u64(total_filled_quantums, &filled):
            raise InputError("total_filled_quantums", total_filled_quantums, "an int of 0 to 2**64 - 1")
        self.read_key(key, &order)
        return set_filled(&self.c, &order, filled)

    def replace(self, old_key, key, is_bid, subticks, quantums):
        """Take one order out and put another in, at the end of its queue; False: that was refused."""
        cdef order_key_t old, order
        cdef int64_t price = wire_amount("subticks", subticks)
        cdef int64_t size = wire_amount("quantums", quantums)
        self.read_key(old_key, &old)
        self.read_key(key, &order)
        remove_order(&self.c, &old)
        return place_order(&self.c, &order, QUEUE_BID if is_bid else QUEUE_ASK, price, size) == STATUS_OK

    def begin_snapshot(self, double time, height=None):
        """Take every order out; the book is whole as soon as the snapshot's orders are placed."""
        self.next_arrival(time, height)
        clear_orders(&self.c)
        self.c.not_whole = 0

    def mark_gap(self):
        """Messages were lost, or may have been: the book is not whole until the next snapshot."""
        self.c.not_whole |= QUEUE_GAP

    def clear(self):
        """Forget every order: as before the first snapshot."""
        clear_orders(&self.c)
        self.c.not_whole = QUEUE_NO_SNAPSHOT

    # -- what it is

    @property
    def not_whole(self):
        """Codes of the reasons for which the book is not whole; none: it is."""
        return tuple([code for bit, code in REASONS.items() if self.c.not_whole & <uint32_t>bit])

    @property
    def capacity(self):
        """Orders for which there is room, of both sides together."""
        return self.c.capacity

    @property
    def arrival(self):
        """Count of messages; each order carries that of its own."""
        return self.c.arrival

    @property
    def time(self):
        """The caller's clock at the last arrival."""
        return self.c.time

    @property
    def height(self):
        """Block of the last arrival; None: not known."""
        return None if self.c.height < 0 else self.c.height

    @property
    def placed_again(self):
        """Ids that were placed while they rested, since the beginning."""
        return self.c.placed_again

    @property
    def unknown(self):
        """Ids that were to be removed or filled and did not rest here, since the beginning."""
        return self.c.unknown

    @property
    def refused(self):
        """Orders that did not fit, since the beginning."""
        return self.c.refused

    # -- one order

    def order(self, key):
        """(is_bid, subticks, quantums, filled, arrival) of an order; None: its id is not known."""
        cdef order_key_t wanted
        cdef uint32_t link
        cdef const resting_order_t *order
        self.read_key(key, &wanted)
        link = find_order(&self.c, &wanted)
        if link == 0:
            return None
        order = &self.c.orders[link - 1]
        return order.side == QUEUE_BID, order.subticks, order.quantums, order.filled, order.arrival

    def ahead(self, key):
        """(orders, base quantums) that are filled before this order at its own price; None: its id is not known."""
        cdef order_key_t wanted
        cdef uint32_t link
        cdef uint32_t orders = 0
        cdef int64_t size = 0
        cdef int64_t left
        self.read_key(key, &wanted)
        link = find_order(&self.c, &wanted)
        if link == 0:
            return None
        link = self.c.orders[link - 1].before
        while link:
            left = left_of(&self.c.orders[link - 1])
            orders += left > 0
            size += left
            link = self.c.orders[link - 1].before
        return orders, size

    def queue(self, is_bid, subticks):
        """List of (key, quantums, filled, arrival) of the orders at a price in time priority, filled ones too."""
        cdef int side = QUEUE_BID if is_bid else QUEUE_ASK
        cdef int64_t key = key_of(side, checked_amount("subticks", subticks, 1))
        cdef uint32_t place = find_queue(&self.c.sides[side], key)
        cdef uint32_t link
        cdef const resting_order_t *order
        found = []
        if place == self.c.sides[side].count or self.c.sides[side].levels[place].key != key:
            return found
        link = self.c.sides[side].levels[place].first
        while link:
            order = &self.c.orders[link - 1]
            found.append((key_object(&order.key), order.quantums, order.filled, order.arrival))
            link = order.behind
        return found

    def orders_of(self, str owner not None, number):
        """List of the keys of all orders of a subaccount, bids before asks, each side from its best price on."""
        cdef order_key_t wanted
        cdef int side
        cdef uint32_t place, link
        cdef const resting_order_t *order
        self.read_key((owner, number, 0, 0, 0), &wanted)
        found = []
        for side in range(2):
            for place in range(self.c.sides[side].count, 0, -1):
                link = self.c.sides[side].levels[place - 1].first
                while link:
                    order = &self.c.orders[link - 1]
                    if order.key.number == wanted.number and not memcmp(
                        order.key.owner, wanted.owner, MAX_OWNER
                    ):
                        found.append(key_object(&order.key))
                    link = order.behind
        return found

    # -- figures of what is left

    def best(self, is_bid):
        """(subticks, base quantums) of the best level; None: the side shows nothing."""
        cdef int side = QUEUE_BID if is_bid else QUEUE_ASK
        cdef uint32_t place = best_link(&self.c.sides[side])
        if place == 0:
            return None
        return key_of(side, self.c.sides[side].levels[place - 1].key), self.c.sides[side].levels[place - 1].left

    def levels(self, is_bid, count=None):
        """(prices, sizes, orders) of the best `count` levels, by default all, best first: int64 arrays, copies."""
        import numpy

        cdef int side = QUEUE_BID if is_bid else QUEUE_ASK
        cdef const queue_level_t *levels = self.c.sides[side].levels
        cdef uint32_t place
        cdef uint32_t written = 0
        cdef uint32_t shown = 0
        cdef int64_t[::1] price_view, size_view, order_view
        for place in range(self.c.sides[side].count):
            shown += levels[place].left > 0
        if count is not None:
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise InputError("count", count, "an int of 0 or more")
            shown = min(<object>shown, count)
        prices = numpy.empty(shown, dtype=numpy.int64)
        sizes = numpy.empty(shown, dtype=numpy.int64)
        orders = numpy.empty(shown, dtype=numpy.int64)
        price_view, size_view, order_view = prices, sizes, orders
        place = self.c.sides[side].count
        while written < shown:
            place -= 1
            if levels[place].left:
                price_view[written] = key_of(side, levels[place].key)
                size_view[written] = levels[place].left
                order_view[written] = levels[place].shown
                written += 1
        return prices, sizes, orders

    def depth_to(self, is_bid, subticks):
        """(sum of sizes, sum of subticks * size) of the levels at a price or better, exact ints."""
        cdef int side = QUEUE_BID if is_bid else QUEUE_ASK
        cdef int64_t worst = key_of(side, checked_amount("subticks", subticks, 1))
        cdef int64_t total = 0
        cdef i128 value = 0
        cdef const queue_level_t *levels = self.c.sides[side].levels
        cdef uint32_t place = self.c.sides[side].count
        while place and levels[place - 1].key >= worst:
            place -= 1
            # The sum of the sizes is below 2**63, and no price is above: the sum of the products fits.
            total += levels[place].left
            add(value, mul_i64(key_of(side, levels[place].key), levels[place].left), &value)
        return total, u128_to_object(<u128>value)

    def impact_base(self, is_bid, impact_notional, quantum_conversion_exponent):
        """Base quantums that `impact_notional` quote quantums sell into the bids, or buy from the asks.

        0: the side does not have that many; None: 128 bits do not hold it, `dydx_perf.exact.premium` does.
        """
        cdef uint64_t notional = 0
        cdef int32_t exponent = 0
        cdef int64_t base = 0
        if not isinstance(impact_notional, int) or not object_to_u64(impact_notional, &notional) or notional == 0:
            raise InputError("impact_notional", impact_notional, "an int of 1 to 2**64 - 1")
        if not object_to_i32(quantum_conversion_exponent, &exponent) or queue_impact_base_ceil(
            &self.c, QUEUE_BID if is_bid else QUEUE_ASK, notional, exponent, &base
        ) != STATUS_OK:
            return None
        return base
