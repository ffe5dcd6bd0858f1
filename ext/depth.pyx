"""Python door of the order book by price level: `Depth`, the levels of one market in memory taken once.

Prices are integers at one scale of the caller's choice, sizes integers, both at most 2**63 - 1. `is_bid` names a
side. What is read is the uncrossed view unless it says stored; arrays are copies.

Hazards: a figure says what the levels give, whole or not; `not_whole` says which. One thread changes a book.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.string cimport memset

from dydx_perf.errors import CapacityError, InputError

from dydx_perf.ext.fixed cimport (
    add,
    i128,
    mul_i64,
    object_to_i32,
    object_to_i64,
    object_to_u64,
    u128_to_object,
)

cdef enum:
    MAX_CAPACITY = 1 << 24

#: bit of Depth.not_whole -> code of the reason
REASONS = {BOOK_NO_SNAPSHOT: "no_snapshot", BOOK_GAP: "gap", BOOK_OVER_CAPACITY: "over_capacity"}


cdef int64_t checked_price(object price) except -1:
    """A price of a level."""
    cdef int64_t value = 0
    if isinstance(price, int) and object_to_i64(price, &value) and value > 0:
        return value
    raise InputError("price", price, f"an int of 1 to {INT64_MAX}")


cdef int64_t checked_size(object size) except -1:
    """A size of a level."""
    cdef int64_t value = 0
    if isinstance(size, int) and object_to_i64(size, &value) and value >= 0:
        return value
    raise InputError("size", size, f"an int of 0 to {INT64_MAX}")


cdef class Depth:
    """Levels of both sides of one market.

    Parameters
    ----------
    capacity : int
        Levels of each side for which there is room.

    Raises
    ------
    CapacityError
        There is no memory for it.
    """

    def __cinit__(self, capacity):
        self.arena = NULL
        if not isinstance(capacity, int) or isinstance(capacity, bool) or not 1 <= capacity <= MAX_CAPACITY:
            raise InputError("capacity", capacity, f"an int of 1 to {MAX_CAPACITY}")
        self.nbytes = 2 * sizeof(level_t) * <size_t>capacity
        self.arena = PyMem_RawCalloc(self.nbytes, 1)
        if self.arena == NULL:
            raise CapacityError(f"no memory for an order book of {self.nbytes} bytes")
        # Touched now, so that the pages are there and not promised.
        memset(self.arena, 0, self.nbytes)
        self.c.sides[BID].capacity = self.c.sides[ASK].capacity = capacity
        self.c.sides[BID].levels = <level_t *>self.arena
        self.c.sides[ASK].levels = self.c.sides[BID].levels + self.c.sides[BID].capacity
        self.c.not_whole = BOOK_NO_SNAPSHOT

    def __dealloc__(self):
        PyMem_RawFree(self.arena)

    # -- changes

    def next_arrival(self, double time):
        """Begin a message, or an element of a batch: what follows is younger than what came before."""
        next_arrival(&self.c, time)

    def set_level(self, is_bid, price, size):
        """Set the absolute size at a price, 0 to take it out; False: it was refused and the book is marked."""
        cdef int64_t at = checked_price(price)
        return set_level(&self.c, BID if is_bid else ASK, at, checked_size(size)) == STATUS_OK

    def replace(self, bids, asks, double time):
        """Put a snapshot in place of all levels; the book is whole again, unless it did not fit: then False.

        Parameters
        ----------
        bids, asks : sequences of (price, size)
            In any order; all of one arrival. Nothing changes when one is no level (InputError).
        time : float
        """
        cdef int64_t price
        cdef int side
        checked = [
            [(checked_price(price_), checked_size(size)) for price_, size in levels] for levels in (bids, asks)
        ]
        self.begin_snapshot(time)
        for side in range(2):
            for at, size in checked[side]:
                price = at
                set_level(&self.c, side, price, size)
        return self.c.not_whole == 0

    def begin_snapshot(self, double time):
        """Take every level out; the book is whole as soon as the snapshot's levels are set."""
        clear_levels(&self.c)
        next_arrival(&self.c, time)
        self.c.not_whole = 0

    def mark_gap(self):
        """Messages were lost, or may have been: the book is not whole until the next snapshot."""
        self.c.not_whole |= BOOK_GAP

    def clear(self):
        """Forget everything: as before the first snapshot."""
        clear_levels(&self.c)
        self.c.not_whole = BOOK_NO_SNAPSHOT

    # -- what it is

    @property
    def not_whole(self):
        """Codes of the reasons for which the book is not whole; none: it is."""
        return tuple([code for bit, code in REASONS.items() if self.c.not_whole & <uint32_t>bit])

    @property
    def capacity(self):
        """Levels of each side for which there is room."""
        return self.c.sides[BID].capacity

    @property
    def counts(self):
        """Levels of bids and of asks that are stored."""
        return self.c.sides[BID].count, self.c.sides[ASK].count

    @property
    def totals(self):
        """Sums of all stored sizes of bids and of asks."""
        return self.c.sides[BID].total, self.c.sides[ASK].total

    @property
    def arrival(self):
        """Count of messages; each level carries that of its own."""
        return self.c.arrival

    @property
    def time(self):
        """The caller's clock at the last arrival."""
        return self.c.time

    @property
    def updates(self):
        """Levels that were set or taken out, since the beginning."""
        return self.c.updates

    @property
    def refused(self):
        """Levels that did not fit, since the beginning."""
        return self.c.refused

    # -- figures of the uncrossed view

    def hidden(self):
        """Stored levels of bids and of asks that the uncrossed view leaves out."""
        cdef view_t view
        uncross(&self.c, &view)
        return (
            self.c.sides[BID].count - view.sides[BID].count, self.c.sides[ASK].count - view.sides[ASK].count)

    def best(self, is_bid):
        """(price, size) of the best level; None: the side is empty."""
        cdef view_t view
        cdef int side = BID if is_bid else ASK
        uncross(&self.c, &view)
        if view.sides[side].count == 0:
            return None
        return best_price(&self.c, &view, side), best_size(&view, side)

    def top(self):
        """(best bid, best ask), prices; 0 stands for an empty side."""
        cdef view_t view
        uncross(&self.c, &view)
        return best_price(&self.c, &view, BID), best_price(&self.c, &view, ASK)

    def levels(self, is_bid, count=None):
        """(prices, sizes) of the best `count` levels, by default all, best first: int64 arrays, copies."""
        import numpy

        cdef view_t view
        cdef int side = BID if is_bid else ASK
        cdef uint32_t place, i, shown
        cdef const level_t *levels = self.c.sides[side].levels
        cdef int64_t[::1] price_view, size_view
        uncross(&self.c, &view)
        place = shown = view.sides[side].count
        if count is not None:
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise InputError("count", count, "an int of 0 or more")
            shown = min(<object>shown, count)
        prices = numpy.empty(shown, dtype=numpy.int64)
        sizes = numpy.empty(shown, dtype=numpy.int64)
        price_view, size_view = prices, sizes
        for i in range(shown):
            place -= 1
            price_view[i] = -levels[place].key if side == ASK else levels[place].key
            size_view[i] = levels[place].size
        if shown:
            size_view[0] = view.sides[side].best_size
        return prices, sizes

    def stored(self, is_bid):
        """(prices, sizes, arrivals) of all levels as they were sent, best first: arrays, copies."""
        import numpy

        cdef int side = BID if is_bid else ASK
        cdef const level_t *levels = self.c.sides[side].levels
        cdef uint32_t count = self.c.sides[side].count
        cdef uint32_t i
        cdef int64_t[::1] price_view, size_view
        cdef uint64_t[::1] arrival_view
        prices = numpy.empty(count, dtype=numpy.int64)
        sizes = numpy.empty(count, dtype=numpy.int64)
        arrivals = numpy.empty(count, dtype=numpy.uint64)
        price_view, size_view, arrival_view = prices, sizes, arrivals
        for i in range(count):
            price_view[i] = -levels[count - 1 - i].key if side == ASK else levels[count - 1 - i].key
            size_view[i] = levels[count - 1 - i].size
            arrival_view[i] = levels[count - 1 - i].arrival
        return prices, sizes, arrivals

    def depth_to(self, is_bid, price):
        """(sum of sizes, sum of price * size) of the levels at `price` or better, exact ints."""
        cdef view_t view
        cdef int side = BID if is_bid else ASK
        cdef int64_t worst = checked_price(price)
        cdef int64_t total = 0
        cdef int64_t size, key
        cdef i128 value = 0
        cdef uint32_t place
        uncross(&self.c, &view)
        place = view.sides[side].count
        size = view.sides[side].best_size
        if side == ASK:
            worst = -worst
        while place and self.c.sides[side].levels[place - 1].key >= worst:
            place -= 1
            key = self.c.sides[side].levels[place].key
            # The sum of the sizes is below 2**63, and no price is above: the sum of the products fits.
            total += size
            add(value, mul_i64(-key if side == ASK else key, size), &value)
            size = self.c.sides[side].levels[place - 1].size if place else 0
        return total, u128_to_object(<u128>value)

    def impact_base(self, is_bid, impact_notional, quantum_conversion_exponent):
        """Base quantums that `impact_notional` quote quantums sell into the bids, or buy from the asks.

        Prices in subticks, sizes in base quantums. 0: the side does not have that many; None: 128 bits do not
        hold it, `dydx_perf.exact.premium` does.
        """
        cdef view_t view
        cdef uint64_t notional = 0
        cdef int32_t exponent = 0
        cdef int64_t base = 0
        if not isinstance(impact_notional, int) or not object_to_u64(impact_notional, &notional) or notional == 0:
            raise InputError("impact_notional", impact_notional, "an int of 1 to 2**64 - 1")
        if not object_to_i32(quantum_conversion_exponent, &exponent):
            return None
        uncross(&self.c, &view)
        if impact_base_ceil(
            &self.c, &view, BID if is_bid else ASK, notional, exponent, &base
        ) != STATUS_OK:
            return None
        return base
