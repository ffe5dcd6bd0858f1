"""The order book by price level equals a dictionary and a sort after every step (C8)."""

from __future__ import annotations

import resource
import sys
import tracemalloc
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import CapacityError, InputError
from dydx_perf.exact.premium import BookOrder, impact_price_subticks, side_from_best
from dydx_perf.ext.depth import Depth

INT64_MAX = 2**63 - 1
BID, ASK = True, False


class PlainDepth:
    """The slow twin: two dictionaries of price -> [size, arrival], sorted when asked."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sides: dict[bool, dict[int, list[int]]] = {BID: {}, ASK: {}}
        self.arrival = 0
        self.why: set[str] = {"no_snapshot"}

    def set_level(self, is_bid: bool, price: int, size: int) -> bool:
        side = self.sides[is_bid]
        if size == 0:
            side.pop(price, None)
            return True
        others = sum(other for at, (other, _) in side.items() if at != price)
        if others + size > INT64_MAX or (price not in side and len(side) == self.capacity):
            self.why.add("over_capacity")
            return False
        side[price] = [size, self.arrival]
        return True

    def replace(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> bool:
        self.sides = {BID: {}, ASK: {}}
        self.arrival += 1
        self.why = set()
        for is_bid, levels in ((BID, bids), (ASK, asks)):
            for price, size in levels:
                self.set_level(is_bid, price, size)
        return not self.why

    def stored(self, is_bid: bool) -> list[tuple[int, int, int]]:
        return [(price, *self.sides[is_bid][price]) for price in sorted(self.sides[is_bid], reverse=is_bid)]

    def uncrossed(self) -> dict[bool, list[tuple[int, int]]]:
        bids, asks = ([list(level) for level in self.stored(side)] for side in (BID, ASK))
        while bids and asks and bids[0][0] >= asks[0][0]:
            if bids[0][2] != asks[0][2]:
                (bids if bids[0][2] < asks[0][2] else asks).pop(0)
                continue
            smaller = min(bids[0][1], asks[0][1])
            for side in (bids, asks):
                side[0][1] -= smaller
                if side[0][1] == 0:
                    side.pop(0)
        return {BID: [(p, s) for p, s, _ in bids], ASK: [(p, s) for p, s, _ in asks]}


def pairs(arrays: tuple[Any, ...]) -> list[tuple[int, ...]]:
    return list(zip(*(array.tolist() for array in arrays), strict=True))


def require_equal(depth: Depth, plain: PlainDepth) -> None:
    """Fail when one figure differs."""
    view = plain.uncrossed()
    assert set(depth.not_whole) == plain.why
    for is_bid in (BID, ASK):
        assert pairs(depth.stored(is_bid)) == plain.stored(is_bid)
        assert pairs(depth.levels(is_bid)) == view[is_bid]
        assert depth.best(is_bid) == (view[is_bid][0] if view[is_bid] else None)
    stored = [len(plain.sides[side]) for side in (BID, ASK)]
    assert depth.counts == tuple(stored)
    assert depth.totals == tuple(sum(size for size, _ in plain.sides[side].values()) for side in (BID, ASK))
    assert depth.hidden() == tuple(
        count - len(view[side]) for count, side in zip(stored, (BID, ASK), strict=True)
    )
    assert depth.top() == tuple(view[side][0][0] if view[side] else 0 for side in (BID, ASK))


def impact_by_model(levels: list[tuple[int, int]], is_bid: bool, notional: int, exponent: int) -> Any:
    """The exact rules on a level as one order; None: not enough."""
    side = side_from_best([BookOrder(is_bid, price, size) for price, size in levels], is_bid)
    price = impact_price_subticks(side, notional, exponent)
    return None if price is None else Fraction(*price)


def impact(depth: Depth, is_bid: bool, notional: int, exponent: int) -> Any:
    base = depth.impact_base(is_bid, notional, exponent)
    assert base is not None
    return Fraction(notional) / (base * Fraction(10) ** exponent) if base else None


@pytest.mark.parametrize("seed", range(12))
def test_the_book_equals_a_dictionary_and_a_sort_after_every_step(seed: int) -> None:
    """Levels near each other, so that books cross, sides fill up, levels go and come back."""
    random = Random(seed)
    capacity = random.choice([1, 2, 5, 40])
    depth, plain = Depth(capacity), PlainDepth(capacity)
    width = random.choice([3, 12, 60])
    for step in range(400):
        if random.random() < 0.7:
            depth.next_arrival(float(step))
            plain.arrival += 1
        draw = random.random()
        if draw < 0.02:
            bids, asks = (
                [
                    (random.randint(1, width), random.choice([0, 1, 2, 7]))
                    for _ in range(random.randint(0, capacity + 1))
                ]
                for _ in range(2)
            )
            assert depth.replace(bids, asks, float(step)) == plain.replace(bids, asks)
        elif draw < 0.03:
            depth.mark_gap()
            plain.why.add("gap")
        else:
            change = (random.random() < 0.5, random.randint(1, width), random.choice([0, 0, 1, 2, 7, 10**12]))
            assert depth.set_level(*change) == plain.set_level(*change)
        require_equal(depth, plain)
        assert depth.arrival == plain.arrival
        price = random.randint(1, width)
        for is_bid in (BID, ASK):
            view = plain.uncrossed()[is_bid]
            at = [(p, s) for p, s in view if (p >= price if is_bid else p <= price)]
            assert depth.depth_to(is_bid, price) == (sum(s for _, s in at), sum(p * s for p, s in at))
            count = random.randint(0, capacity + 1)
            assert pairs(depth.levels(is_bid, count)) == view[:count]
            notional, exponent = random.choice([1, 3, 50, 10**13]), random.choice([-2, 0, 1])
            expected = impact_by_model(view, is_bid, notional, exponent)
            assert impact(depth, is_bid, notional, exponent) == expected


amounts = st.one_of(st.integers(1, 30), st.integers(1, INT64_MAX), st.just(INT64_MAX))
levels = st.lists(st.tuples(amounts, amounts), max_size=6)


@given(levels, levels, st.integers(1, 6))
def test_any_levels_of_any_size_are_taken_or_refused_alike(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], capacity: int
) -> None:
    depth, plain = Depth(capacity), PlainDepth(capacity)
    assert depth.replace(bids, asks, 0.0) == plain.replace(bids, asks)
    require_equal(depth, plain)
    for is_bid in (BID, ASK):
        view = plain.uncrossed()[is_bid]
        assert depth.depth_to(is_bid, 1 if is_bid else INT64_MAX) == (
            sum(size for _, size in view),
            sum(price * size for price, size in view),
        )


@given(
    st.lists(st.tuples(amounts, amounts), min_size=1, max_size=8, unique_by=lambda level: level[0]),
    st.booleans(),
    st.one_of(st.integers(1, 1000), st.integers(1, 2**64 - 1)),
    st.integers(-45, 5),
)
def test_the_impact_price_is_that_of_the_chains_rules(
    side: list[tuple[int, int]], is_bid: bool, notional: int, exponent: int
) -> None:
    """Any prices and sizes; where 128 bits do not hold a value the answer is left to plain integers."""
    depth = Depth(8)
    depth.replace(side if is_bid else [], [] if is_bid else side, 0.0)
    kept = pairs(depth.levels(is_bid))
    base = depth.impact_base(is_bid, notional, exponent)
    if base is None:
        assert exponent > 0
        assert max(price * size for price, size in kept) * 10**exponent >= 2**128
        return
    expected = impact_by_model(kept, is_bid, notional, exponent)  # type: ignore[arg-type]
    assert (Fraction(notional) / (base * Fraction(10) ** exponent) if base else None) == expected


def test_the_impact_price_by_hand() -> None:
    """Asks of 10 at 100 and 10 at 103; 1,500 buys 10 and 500/1030 of 10, rounded up once: 15."""
    depth = Depth(4)
    depth.replace([(99, 10), (95, 10)], [(100, 10), (103, 10)], 0.0)
    assert depth.impact_base(ASK, 1_500, 0) == 15
    assert depth.impact_base(ASK, 1_000, 0) == 10
    assert depth.impact_base(ASK, 1_001, 0) == 11
    assert depth.impact_base(ASK, 2_030, 0) == 20
    assert depth.impact_base(ASK, 2_031, 0) == 0
    assert depth.impact_base(BID, 1_000, 0) == 11
    # at 10**-3 the asks are worth floor(1.000) and floor(1.030): 1 each
    assert depth.impact_base(ASK, 2, -3) == 20
    # at 10**-4 nothing at all, and what is worth nothing is taken whole
    assert depth.impact_base(ASK, 1, -4) == 0


def test_of_two_crossing_levels_the_older_goes() -> None:
    depth = Depth(4)
    depth.replace([(100, 5), (99, 5)], [(102, 5), (103, 5)], 1.0)
    depth.next_arrival(2.0)
    depth.set_level(BID, 102, 3)
    assert (depth.best(BID), depth.best(ASK), depth.hidden()) == ((102, 3), (103, 5), (0, 1))
    depth.next_arrival(3.0)
    depth.set_level(ASK, 99, 4)
    assert (depth.best(BID), depth.best(ASK), depth.hidden()) == (None, (99, 4), (3, 0))
    assert depth.counts == (3, 3)
    assert depth.time == 3.0


def test_a_dropped_level_is_back_when_it_is_quoted_again() -> None:
    """The stored book keeps it; so does the end of what crossed it."""
    depth = Depth(4)
    depth.replace([(100, 5)], [(102, 5)], 0.0)
    depth.next_arrival(1.0)
    depth.set_level(BID, 103, 1)
    assert (depth.best(BID), depth.best(ASK)) == ((103, 1), None)
    depth.next_arrival(2.0)
    depth.set_level(ASK, 102, 6)
    assert (depth.best(BID), depth.best(ASK)) == ((100, 5), (102, 6))
    depth.set_level(ASK, 102, 0)
    assert (depth.best(BID), depth.best(ASK)) == ((103, 1), None)


def test_levels_of_one_arrival_that_cross_are_set_off_against_each_other() -> None:
    depth = Depth(4)
    depth.replace([(101, 5), (100, 2), (98, 1)], [(100, 6), (101, 9)], 0.0)
    assert pairs(depth.levels(BID)) == [(100, 1), (98, 1)]
    assert pairs(depth.levels(ASK)) == [(101, 9)]
    assert depth.hidden() == (1, 1)
    assert depth.totals == (8, 15)


def test_a_full_side_refuses_and_says_so_until_the_next_snapshot() -> None:
    """Levels that are there still change; nothing that is there is lost."""
    depth = Depth(2)
    assert depth.not_whole == ("no_snapshot",)
    assert depth.replace([(5, 1), (4, 1)], [(7, 1)], 0.0)
    assert depth.not_whole == ()
    assert not depth.set_level(BID, 6, 1)
    assert (depth.not_whole, depth.refused) == (("over_capacity",), 1)
    assert depth.set_level(BID, 5, 9)
    assert depth.set_level(BID, 4, 0)
    assert depth.set_level(BID, 6, 1)
    assert pairs(depth.levels(BID)) == [(6, 1), (5, 9)]
    assert depth.not_whole == ("over_capacity",)
    depth.mark_gap()
    assert depth.not_whole == ("gap", "over_capacity")
    assert not depth.replace([(3, 1), (2, 1), (1, 1)], [], 0.0)
    assert depth.not_whole == ("over_capacity",)
    assert depth.replace([(3, 1)], [], 0.0)
    assert (depth.not_whole, depth.refused) == ((), 2)
    depth.clear()
    assert (depth.not_whole, depth.counts, depth.totals) == (("no_snapshot",), (0, 0), (0, 0))


@pytest.mark.parametrize(
    "call",
    [
        lambda depth: depth.set_level(BID, 0, 1),
        lambda depth: depth.set_level(BID, -1, 1),
        lambda depth: depth.set_level(BID, 2**63, 1),
        lambda depth: depth.set_level(BID, 1, -1),
        lambda depth: depth.set_level(BID, 1, 2**63),
        lambda depth: depth.set_level(BID, 1.0, 1),
        lambda depth: depth.set_level(BID, 1, "1"),
        lambda depth: depth.replace([(5, 1), (0, 1)], [], 1.0),
        lambda depth: depth.replace([(5, 1)], [(6, -1)], 1.0),
        lambda depth: depth.levels(BID, -1),
        lambda depth: depth.levels(BID, 1.0),
        lambda depth: depth.depth_to(BID, 0),
        lambda depth: depth.impact_base(BID, 0, -9),
        lambda depth: depth.impact_base(BID, 2**64, -9),
        lambda depth: depth.impact_base(BID, 1.0, -9),
    ],
)
def test_what_is_no_level_changes_nothing(call: Any) -> None:
    depth = Depth(2)
    depth.replace([(5, 1)], [(7, 1)], 0.0)
    with pytest.raises(InputError):
        call(depth)
    assert (pairs(depth.stored(BID)), pairs(depth.stored(ASK))) == ([(5, 1, 1)], [(7, 1, 1)])
    assert (depth.not_whole, depth.arrival, depth.time) == ((), 1, 0.0)


@pytest.mark.parametrize("capacity", [0, -1, 2**24 + 1, True, 1.0, None])
def test_a_book_has_a_capacity(capacity: Any) -> None:
    with pytest.raises(InputError):
        Depth(capacity)


def test_a_book_that_memory_does_not_hold_is_refused() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, hard))
    try:
        with pytest.raises(CapacityError, match="no memory for an order book"):
            Depth(2**24)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_changes_make_no_memory() -> None:
    """What a book takes it takes once; a thousand changes leave nothing behind."""
    depth = Depth(64)
    depth.replace([(n, 5) for n in range(1, 40)], [(n, 5) for n in range(60, 90)], 0.0)
    changes = [(n % 2 == 0, 20 + n % 50, n % 7) for n in range(1_000)]
    for change in changes:
        depth.set_level(*change)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for change in changes:
        depth.next_arrival(1.0)
        depth.set_level(*change)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= 512
    assert depth.nbytes == 2 * 64 * 24


def test_arrays_are_copies_and_a_book_leaves_nothing_behind() -> None:
    """Reading and building books a thousand times: as many references and blocks as before."""
    depth = Depth(4)
    depth.replace([(5, 1)], [(7, 1)], 0.0)
    prices, _ = depth.levels(BID)
    depth.set_level(BID, 6, 1)
    assert prices.tolist() == [5]
    assert prices.dtype == np.int64
    references = sys.getrefcount(depth)

    def use() -> None:
        for _ in range(200):
            other = Depth(8)
            other.replace([(2, 1)], [(1, 5)], 0.0)
            other.levels(BID), other.stored(ASK), other.best(BID), other.depth_to(ASK, 9)
            depth.levels(ASK)

    use()
    before = sys.getallocatedblocks()
    use()
    assert sys.getallocatedblocks() - before < 20
    assert sys.getrefcount(depth) == references
