"""Order books: a level changed and the uncrossed best prices read, and the life of an order in its queue."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from random import Random
from typing import Any

from c_door_build import c_door

from dydx_perf.ext.depth import Depth
from dydx_perf.ext.order_queue import OrderQueues

LEVELS = "Order book of 300 levels a side: one level changed, the uncrossed best prices read"
CHANGE = "a change"
IMPACT = "Impact price of that book over 40 levels"
ORDERS = "Order book of 1,400 orders: one placed, filled in part and removed"
LIFE = "an order"
CAPACITY, COUNT, CHANGES = 1024, 300, 4096
MIDDLE, TICK = 3_500_000_000, 100_000
EXPONENT = -9

Change = tuple[bool, int, int]


def levels() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """A book about the middle, sizes as in ether."""
    random = Random(3)
    bids, asks = (
        [(MIDDLE + sign * TICK * n, random.randint(1, 9_000) * 1_000_000) for n in range(1, COUNT + 1)]
        for sign in (-1, 1)
    )
    return bids, asks


def changes() -> list[Change]:
    """Most near the best price, a third of them deletions, one in thirty across the middle."""
    random = Random(4)
    found = []
    for _ in range(CHANGES):
        is_bid = random.random() < 0.5
        away = int(random.expovariate(1 / 25)) + 1
        if random.random() < 1 / 30:
            away = -random.randint(0, 2)
        size = 0 if random.random() < 1 / 3 else random.randint(1, 9_000) * 1_000_000
        found.append((is_bid, MIDDLE + TICK * (-away if is_bid else away), size))
    return found


def book() -> Depth:
    depth = Depth(CAPACITY)
    assert depth.replace(*levels(), 0.0)
    return depth


class PlainLevels:
    """What one would write: a dictionary and a sorted list of prices for each side."""

    def __init__(self) -> None:
        self.arrival = 0
        self.sides: tuple[dict[int, tuple[int, int]], ...] = ({}, {})
        self.prices: tuple[list[int], ...] = ([], [])
        for is_bid, side in zip((True, False), levels(), strict=True):
            for price, size in side:
                self.set_level(is_bid, price, size)

    def set_level(self, is_bid: bool, price: int, size: int) -> None:
        side, prices = self.sides[is_bid], self.prices[is_bid]
        if size:
            if price not in side:
                insort(prices, price)
            side[price] = size, self.arrival
        elif side.pop(price, None):
            del prices[bisect_left(prices, price)]

    def top(self) -> tuple[int, int]:
        bids, asks = self.prices[True], self.prices[False]
        bid, ask = len(bids) - 1, 0
        while bid >= 0 and ask < len(asks) and bids[bid] >= asks[ask]:
            if self.sides[True][bids[bid]][1] < self.sides[False][asks[ask]][1]:
                bid -= 1
            else:
                ask += 1
        return bids[bid] if bid >= 0 else 0, asks[ask] if ask < len(asks) else 0

    def step(self, change: Change) -> tuple[int, int]:
        self.arrival += 1
        self.set_level(*change)
        return self.top()


def tops_of_plain() -> list[tuple[int, int]]:
    plain = PlainLevels()
    return [plain.step(change) for change in changes()]


def test_levels_in_c(row: Any) -> None:
    """The kernels as a feed's own C loop calls them."""
    depth = book()
    door = c_door().Changes(depth, changes())
    assert door.apply_and_read_all() == sum(map(sum, tops_of_plain()))
    row(LEVELS, "set_level in C, not read", CHANGE, door.apply_all, CHANGES, "exact")
    assert depth.not_whole == ()


def test_levels_and_view_in_c(row: Any) -> None:
    door = c_door().Changes(book(), changes())
    assert door.apply_and_read_all() == sum(map(sum, tops_of_plain()))
    row(LEVELS, "set_level and uncross in C", CHANGE, door.apply_and_read_all, CHANGES, "exact", goal_ns=100)


def test_levels_from_python(row: Any) -> None:
    """Three calls: an arrival, a change, the best prices."""
    depth, turns = book(), changes()

    def step(change: Change) -> tuple[int, int]:
        depth.next_arrival(0.0)
        depth.set_level(*change)
        return depth.top()

    assert [step(change) for change in turns] == tops_of_plain()

    def run() -> None:
        for is_bid, price, size in turns:
            depth.next_arrival(0.0)
            depth.set_level(is_bid, price, size)
            depth.top()

    row(LEVELS, "Depth, Python calls", CHANGE, run, CHANGES, "exact", ours=True)


def test_levels_in_plain_python(row: Any) -> None:
    plain, turns = PlainLevels(), changes()

    def run() -> None:
        for change in turns:
            plain.step(change)

    row(LEVELS, "dict and bisect", CHANGE, run, CHANGES, "exact")


def impact_notional() -> int:
    """Quote quantums that reach into the fortieth bid."""
    return sum(price * size // 10**9 for price, size in levels()[0][:40]) - 1


def plain_impact(side: list[tuple[int, int]], wanted: int) -> int:
    base = 0
    for price, size in side:
        value = price * size // 10**9
        if wanted <= value:
            return base + -(-wanted * size // value)
        base += size
        wanted -= value
    return 0


def test_impact(row: Any) -> None:
    depth, notional = book(), impact_notional()
    assert depth.impact_base(True, notional, EXPONENT) == plain_impact(levels()[0], notional)
    row(
        IMPACT, "Depth.impact_base()", "a call", lambda: depth.impact_base(True, notional, EXPONENT), 1,
        "exact", ours=True,
    )  # fmt: skip


def test_impact_in_plain_python(row: Any) -> None:
    side, notional = levels()[0], impact_notional()
    row(IMPACT, "a loop over sorted levels", "a call", lambda: plain_impact(side, notional), 1, "exact")


class PlainQueues:
    """What one would write: orders by id, and for each price an ordered dictionary of ids."""

    def __init__(self) -> None:
        self.orders: dict[Any, list[Any]] = {}
        self.queues: tuple[dict[int, OrderedDict[Any, None]], ...] = ({}, {})
        self.sizes: tuple[dict[int, int], ...] = ({}, {})

    def place(self, key: Any, is_bid: bool, subticks: int, quantums: int) -> None:
        self.orders[key] = [is_bid, subticks, quantums, 0]
        self.queues[is_bid].setdefault(subticks, OrderedDict())[key] = None
        self.sizes[is_bid][subticks] = self.sizes[is_bid].get(subticks, 0) + quantums

    def set_filled(self, key: Any, filled: int) -> None:
        order = self.orders[key]
        self.sizes[order[0]][order[1]] += max(order[2] - order[3], 0) * -1 + max(order[2] - filled, 0)
        order[3] = filled

    def remove(self, key: Any) -> None:
        is_bid, subticks, quantums, filled = self.orders.pop(key)
        queue = self.queues[is_bid][subticks]
        del queue[key]
        self.sizes[is_bid][subticks] -= max(quantums - filled, 0)
        if not queue:
            del self.queues[is_bid][subticks], self.sizes[is_bid][subticks]


def resting(into: Any) -> Any:
    """700 orders a side on 300 prices."""
    random = Random(5)
    for n in range(1_400):
        away = random.randint(1, COUNT)
        is_bid = n % 2 == 0
        price = MIDDLE + TICK * (-away if is_bid else away)
        into.place((f"dydx1{n % 40:038d}", 0, n, 0, 1), is_bid, price, random.randint(1, 9_000) * 10**6)
    return into


def lives() -> list[tuple[Any, bool, int, int]]:
    return [
        ((f"dydx1{n % 40:038d}", 0, 10_000 + n, 0, 1), price <= MIDDLE, price, max(size, 2))
        for n, (_, price, size) in enumerate(changes()[:1024])
    ]


def live(of: Any, turns: list[tuple[Any, bool, int, int]]) -> None:
    for key, is_bid, subticks, quantums in turns:
        of.place(key, is_bid, subticks, quantums)
        of.set_filled(key, quantums // 2)
        of.remove(key)


def test_orders(row: Any) -> None:
    queues, plain, turns = resting(OrderQueues(4096)), resting(PlainQueues()), lives()
    live(queues, turns)
    live(plain, turns)
    for is_bid in (True, False):
        prices, sizes, _ = queues.levels(is_bid)
        assert dict(zip(prices.tolist(), sizes.tolist(), strict=True)) == plain.sizes[is_bid]
    row(
        ORDERS, "OrderQueues, Python calls", LIFE, lambda: live(queues, turns), len(turns), "exact", ours=True
    )


def test_orders_in_plain_python(row: Any) -> None:
    """It has no sorted prices: its best price is a search over all."""
    plain, turns = resting(PlainQueues()), lives()
    row(ORDERS, "dict and OrderedDict", LIFE, lambda: live(plain, turns), len(turns), "exact")
