"""The order book by order equals a list of orders per price after every step (C8)."""

from __future__ import annotations

import resource
import sys
import tracemalloc
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import CapacityError, InputError
from dydx_perf.exact.premium import BookOrder, impact_price_subticks
from dydx_perf.ext.order_queue import OrderQueues

INT64_MAX, UINT64_MAX = 2**63 - 1, 2**64 - 1
BID, ASK = True, False
OWNERS = ("dydx1" + "q" * 38, "dydx1" + "q" * 37 + "p", "v" * 64, "")

Key = tuple[str, int, int, int, int]


@dataclass
class PlainOrder:
    key: Key
    is_bid: bool
    subticks: int
    quantums: int
    filled: int
    arrival: int

    @property
    def left(self) -> int:
        return max(self.quantums - self.filled, 0)


class PlainQueues:
    """The slow twin: one list of orders in order of arrival."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.orders: list[PlainOrder] = []
        self.arrival = self.unknown = self.placed_again = self.refused = 0
        self.why: set[str] = {"no_snapshot"}

    def find(self, key: Key) -> PlainOrder | None:
        return next((order for order in self.orders if order.key == key), None)

    def remove(self, key: Key) -> bool:
        order = self.find(key)
        if order is None:
            self.unknown += 1
            return False
        self.orders.remove(order)
        return True

    def place(self, key: Key, is_bid: bool, subticks: int, quantums: int) -> bool:
        if self.find(key):
            self.placed_again += 1
            self.remove(key)
        total = sum(order.quantums for order in self.orders if order.is_bid == is_bid)
        if subticks == 0 or max(subticks, total + quantums) > INT64_MAX or len(self.orders) == self.capacity:
            self.why.add("over_capacity")
            self.refused += 1
            return False
        self.orders.append(PlainOrder(key, is_bid, subticks, quantums, 0, self.arrival))
        return True

    def set_filled(self, key: Key, filled: int) -> bool:
        order = self.find(key)
        if order is None:
            self.unknown += 1
            return False
        order.filled = filled
        return True

    def replace(self, old: Key, key: Key, is_bid: bool, subticks: int, quantums: int) -> bool:
        self.remove(old)
        return self.place(key, is_bid, subticks, quantums)

    def side(self, is_bid: bool) -> list[PlainOrder]:
        side = [order for order in self.orders if order.is_bid == is_bid]
        return sorted(side, key=lambda order: order.subticks, reverse=is_bid)

    def levels(self, is_bid: bool) -> list[tuple[int, int, int]]:
        found: dict[int, list[int]] = {}
        for order in self.side(is_bid):
            if order.left:
                level = found.setdefault(order.subticks, [0, 0])
                level[0] += order.left
                level[1] += 1
        return [(price, size, count) for price, (size, count) in found.items()]


def pairs(arrays: tuple[Any, ...]) -> list[tuple[int, ...]]:
    return list(zip(*(array.tolist() for array in arrays), strict=True))


def require_equal(book: OrderQueues, plain: PlainQueues) -> None:
    """Fail when one figure or the place of one order differs."""
    assert len(book) == len(plain.orders)
    assert (set(book.not_whole), book.unknown, book.placed_again, book.refused) == (
        plain.why, plain.unknown, plain.placed_again, plain.refused,
    )  # fmt: skip
    for is_bid in (BID, ASK):
        levels = plain.levels(is_bid)
        assert pairs(book.levels(is_bid)) == levels
        assert book.best(is_bid) == (levels[0][:2] if levels else None)
        side = plain.side(is_bid)
        for price in {order.subticks for order in side}:
            queue = [order for order in side if order.subticks == price]
            assert book.queue(is_bid, price) == [(o.key, o.quantums, o.filled, o.arrival) for o in queue]
            ahead = [0, 0]
            for order in queue:
                assert book.ahead(order.key) == tuple(ahead)
                assert book.order(order.key) == (is_bid, price, order.quantums, order.filled, order.arrival)
                ahead[0] += order.left > 0
                ahead[1] += order.left


def impact(book: OrderQueues, is_bid: bool, notional: int, exponent: int) -> Any:
    base = book.impact_base(is_bid, notional, exponent)
    assert base is not None
    return Fraction(notional) / (base * Fraction(10) ** exponent) if base else None


def impact_by_model(side: list[PlainOrder], notional: int, exponent: int) -> Any:
    """The chain's rules on what is left of every order."""
    orders = [BookOrder(o.is_bid, o.subticks, o.left) for o in side if o.left]
    price = impact_price_subticks(orders, notional, exponent)
    return None if price is None else Fraction(*price)


def some_key(random: Random, width: int) -> Key:
    return (
        random.choice(OWNERS), random.randint(0, 1), random.randint(0, width), random.choice([0, 64]), 0,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_the_book_equals_a_list_of_orders_after_every_step(seed: int) -> None:
    """Few prices and few ids, so that queues are long, ids come back, and the book fills up."""
    random = Random(seed)
    capacity = random.choice([1, 2, 7, 30])
    book, plain = OrderQueues(capacity), PlainQueues(capacity)
    ids, prices = random.choice([1, 3, 12]), random.choice([1, 3, 10])
    for step in range(400):
        if random.random() < 0.5:
            book.next_arrival(float(step), step)
            plain.arrival += 1
        key, other = some_key(random, ids), some_key(random, ids)
        order = (random.random() < 0.5, random.randint(1, prices), random.choice([0, 1, 5, 9]))
        draw = random.random()
        if draw < 0.45:
            assert book.place(key, *order) == plain.place(key, *order)
        elif draw < 0.6:
            assert book.remove(key) == plain.remove(key)
        elif draw < 0.9:
            filled = random.choice([0, 1, 2, 5, 9, 10, UINT64_MAX])
            assert book.set_filled(key, filled) == plain.set_filled(key, filled)
        elif draw < 0.98:
            assert book.replace(key, other, *order) == plain.replace(key, other, *order)
        elif draw < 0.99:
            book.mark_gap()
            plain.why.add("gap")
        else:
            book.begin_snapshot(float(step))
            plain.arrival += 1
            plain.orders, plain.why = [], set()
        require_equal(book, plain)
        for is_bid in (BID, ASK):
            price = random.randint(1, prices)
            levels = plain.levels(is_bid)
            at = [(p, s) for p, s, _ in levels if (p >= price if is_bid else p <= price)]
            assert book.depth_to(is_bid, price) == (sum(s for _, s in at), sum(p * s for p, s in at))
            count = random.randint(0, 4)
            assert pairs(book.levels(is_bid, count)) == levels[:count]
            notional, exponent = random.choice([1, 3, 50]), random.choice([-1, 0, 1])
            assert impact(book, is_bid, notional, exponent) == impact_by_model(
                plain.side(is_bid), notional, exponent
            )
        owner, number = random.choice(OWNERS), random.randint(0, 1)
        mine = [o.key for side in (BID, ASK) for o in plain.side(side) if o.key[:2] == (owner, number)]
        assert book.orders_of(owner, number) == mine


amounts = st.one_of(
    st.integers(0, 3), st.integers(0, UINT64_MAX), st.sampled_from([INT64_MAX, INT64_MAX + 1])
)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), amounts, amounts, amounts), max_size=12))
def test_orders_of_any_size_are_taken_or_refused_alike(
    changes: list[tuple[int, bool, int, int, int]],
) -> None:
    book, plain = OrderQueues(3), PlainQueues(3)
    for client_id, is_bid, subticks, quantums, filled in changes:
        key = (OWNERS[0], 0, client_id, 0, 1)
        assert book.place(key, is_bid, subticks, quantums) == plain.place(key, is_bid, subticks, quantums)
        assert book.set_filled(key, filled) == plain.set_filled(key, filled)
        require_equal(book, plain)


@given(
    st.lists(st.tuples(st.integers(1, INT64_MAX), st.integers(1, 2**60), st.integers(0, 2**60)), max_size=6),
    st.booleans(),
    st.integers(1, UINT64_MAX),
    st.integers(-45, 5),
)
def test_the_impact_price_is_that_of_the_chains_rules_order_by_order(
    orders: list[tuple[int, int, int]], is_bid: bool, notional: int, exponent: int
) -> None:
    book, plain = OrderQueues(6), PlainQueues(6)
    for client_id, (subticks, quantums, filled) in enumerate(orders):
        for one in (book, plain):
            one.place((OWNERS[0], 0, client_id, 0, 1), is_bid, subticks, quantums)
            one.set_filled((OWNERS[0], 0, client_id, 0, 1), filled)
    base = book.impact_base(is_bid, notional, exponent)
    if base is None:
        assert exponent > 0
        assert max(o.subticks * o.left for o in plain.orders) * 10**exponent >= 2**128
        return
    expected = impact_by_model(plain.side(is_bid), notional, exponent)
    assert (Fraction(notional) / (base * Fraction(10) ** exponent) if base else None) == expected


def test_every_part_of_an_id_tells_orders_apart() -> None:
    book = OrderQueues(64)
    keys = [
        (owner, number, client_id, flags, pair)
        for owner in OWNERS[:2]
        for number in (0, UINT32)
        for client_id in (0, UINT32)
        for flags in (0, 64)
        for pair in (0, 1)
    ]
    for place, key in enumerate(keys):
        book.place(key, BID, 10, place + 1)
    assert book.queue(BID, 10) == [(key, place + 1, 0, 0) for place, key in enumerate(keys)]
    assert book.placed_again == 0
    for key in keys[::2]:
        assert book.remove(key)
    assert [key for key, _, _, _ in book.queue(BID, 10)] == keys[1::2]


UINT32 = 2**32 - 1


def test_ids_that_share_slots_are_found_after_any_removal() -> None:
    """A table at its fullest, every order removed and placed again in another order, many times."""
    random = Random(7)
    book = OrderQueues(64)
    keys: list[Key] = [(OWNERS[0], 0, n, 0, 0) for n in range(64)]
    for _ in range(60):
        for key in random.sample(keys, 64):
            assert book.place(key, ASK, 1 + key[2] % 5, 1)
        gone = random.sample(keys, random.randint(1, 64))
        for key in gone:
            assert book.remove(key)
        assert all((book.order(key) is None) == (key in gone) for key in keys)


def test_an_order_keeps_its_place_whatever_is_filled_of_it() -> None:
    """Filled whole it is hidden, not gone; a fill taken back shows it again, at its old place."""
    book = OrderQueues(4)
    first, second = (OWNERS[0], 0, 1, 0, 0), (OWNERS[0], 0, 2, 0, 0)
    book.place(first, BID, 10, 5)
    book.place(second, BID, 10, 7)
    assert book.ahead(second) == (1, 5)
    book.set_filled(first, 5)
    assert (book.best(BID), book.ahead(second)) == ((10, 7), (0, 0))
    book.set_filled(second, 8)
    assert (book.best(BID), pairs(book.levels(BID)), len(book)) == (None, [], 2)
    book.set_filled(first, 2)
    assert (book.best(BID), book.ahead(second)) == ((10, 3), (1, 3))
    book.place(first, BID, 10, 5)
    assert book.ahead(first) == (0, 0)
    assert [key for key, _, _, _ in book.queue(BID, 10)] == [second, first]


def test_a_full_book_refuses_and_says_so_until_the_next_snapshot() -> None:
    book = OrderQueues(2)
    assert book.not_whole == ("no_snapshot",)
    book.begin_snapshot(1.0, 77)
    assert (book.not_whole, book.height, book.time) == ((), 77, 1.0)
    assert book.place((OWNERS[0], 0, 1, 0, 0), BID, 10, 5)
    assert book.place((OWNERS[0], 0, 2, 0, 0), ASK, 11, 5)
    assert not book.place((OWNERS[0], 0, 3, 0, 0), BID, 9, 5)
    assert (book.not_whole, book.refused, len(book)) == (("over_capacity",), 1, 2)
    assert book.place((OWNERS[0], 0, 2, 0, 0), ASK, 12, 5)
    book.next_arrival(2.0)
    assert (book.not_whole, book.height) == (("over_capacity",), None)
    book.begin_snapshot(3.0)
    assert (book.not_whole, len(book), book.best(BID)) == ((), 0, None)
    book.clear()
    assert book.not_whole == ("no_snapshot",)


GOOD: Key = (OWNERS[0], 0, 1, 0, 0)


@pytest.mark.parametrize(
    "key",
    [
        None, (), GOOD[:4], [*GOOD], ("x" * 65, 0, 1, 0, 0), ("\0", 0, 1, 0, 0), ("é", 0, 1, 0, 0),
        (b"x", 0, 1, 0, 0), ("x", -1, 1, 0, 0), ("x", 0, 2**32, 0, 0),
        ("x", 0, 1, 1.0, 0), ("x", 0, 1, 0, "0"),
    ],
)  # fmt: skip
def test_what_is_no_id_changes_nothing(key: Any) -> None:
    book = OrderQueues(4)
    book.place(GOOD, BID, 10, 5)
    for call in (
        lambda: book.place(key, BID, 10, 5),
        lambda: book.remove(key),
        lambda: book.set_filled(key, 1),
        lambda: book.replace(key, GOOD, BID, 10, 5),
        lambda: book.replace(GOOD, key, BID, 10, 5),
        lambda: book.order(key),
        lambda: book.ahead(key),
    ):
        with pytest.raises(InputError, match="key"):
            call()
    assert (book.queue(BID, 10), book.unknown) == ([(GOOD, 5, 0, 0)], 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda book: book.place(GOOD, BID, -1, 5),
        lambda book: book.place(GOOD, BID, 2**64, 5),
        lambda book: book.place(GOOD, BID, 10, -1),
        lambda book: book.place(GOOD, BID, 10, 5.0),
        lambda book: book.set_filled(GOOD, -1),
        lambda book: book.set_filled(GOOD, 2**64),
        lambda book: book.replace(GOOD, GOOD, BID, "10", 5),
        lambda book: book.queue(BID, 0),
        lambda book: book.levels(BID, -1),
        lambda book: book.levels(BID, 1.0),
        lambda book: book.depth_to(BID, 0),
        lambda book: book.impact_base(BID, 0, -9),
        lambda book: book.impact_base(BID, 2**64, -9),
        lambda book: book.next_arrival(1.0, -1),
        lambda book: book.begin_snapshot(1.0, "7"),
    ],
)
def test_what_is_no_amount_changes_nothing(call: Any) -> None:
    book = OrderQueues(4)
    book.place(GOOD, BID, 10, 5)
    with pytest.raises(InputError):
        call(book)
    assert (book.queue(BID, 10), book.arrival) == ([(GOOD, 5, 0, 0)], 0)


@pytest.mark.parametrize("capacity", [0, -1, 2**24 + 1, True, 1.0, None])
def test_a_book_has_a_capacity(capacity: Any) -> None:
    with pytest.raises(InputError):
        OrderQueues(capacity)


def test_a_book_that_memory_does_not_hold_is_refused() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, hard))
    try:
        with pytest.raises(CapacityError, match="no memory for an order book"):
            OrderQueues(2**24)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_changes_make_no_memory_and_a_book_leaves_nothing_behind() -> None:
    book = OrderQueues(64)
    keys: list[Key] = [(OWNERS[n % 2], 0, n, 0, 0) for n in range(50)]

    def change() -> None:
        for n, key in enumerate(keys):
            book.place(key, n % 2 == 0, 1 + n % 7, 5)
            book.set_filled(key, n % 6)
        for key in keys[::3]:
            book.remove(key)

    def use() -> None:
        for _ in range(100):
            other = OrderQueues(8)
            other.place(GOOD, BID, 10, 5)
            other.queue(BID, 10), other.levels(BID), other.orders_of(GOOD[0], 0), other.ahead(GOOD)

    change()
    use()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20):
        change()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= 512
    blocks, references = sys.getallocatedblocks(), sys.getrefcount(book)
    use()
    assert sys.getallocatedblocks() - blocks < 20
    assert sys.getrefcount(book) == references
