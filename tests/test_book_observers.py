"""Who is told of a crossing: observers held weakly, called once, and what they raise (B7)."""

import gc
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from book_cases import BTC, A, B, Listener, book, edges, long

from dydx_perf import Crossing
from dydx_perf.errors import CapacityError, InputError, ObserverError, WriterError


def test_an_observer_is_called_once_for_each_crossing_of_its_account() -> None:
    held = book()
    held.load([long(held, A), long(held, B)])
    listener = Listener()
    held.watch(A, listener.hear)
    held.watch(held.handle(A), listener.hear)  # the same again
    crossings = held.apply_prices({BTC: "18000"})
    assert len(crossings) == 2
    assert listener.heard == [c for c in crossings if c.address == A[0]]
    held.unwatch(A, listener.hear)
    held.apply_prices({BTC: "20000"})
    assert len(listener.heard) == 1


def test_a_threshold_is_exact_and_counts_from_the_side_it_began_on() -> None:
    held = book()
    held.add(long(held))  # nc 2000, mmr 600: 10/3
    listener = Listener()
    for threshold in ("3", Decimal("2.5"), Fraction(10, 3), (100, 3)):
        held.watch(A, listener.hear, threshold=threshold)
    assert held.used["thresholds"] == 4
    assert held.apply_prices({BTC: "20000.00001"}) == []  # 10/3 was not below and is not
    crossings = held.apply_prices({BTC: "19999.99999"})
    assert edges(crossings) == [(*A, (10, 3), True)]
    assert listener.heard == crossings
    crossings = held.apply_prices({BTC: "19500"})
    assert sorted(edges(crossings)) == [(*A, (3, 1), True)]
    assert sorted(edges(held.apply_prices({BTC: "10000"}))[1:]) == [(*A, (5, 2), True)]
    held.unwatch(A, listener.hear, threshold=3)
    assert held.used["thresholds"] == 3
    held.remove(A)
    assert held.used["thresholds"] == 0


@pytest.mark.parametrize(
    "threshold", ["0", "-1", "x", 1.5, True, (1, 0), (1, 2, 3), (1.0, 2), Decimal("NaN"), 2**63, (1, 2**63)]
)
def test_a_threshold_is_a_ratio_above_zero(threshold: Any) -> None:
    held = book()
    held.add(long(held))
    with pytest.raises(InputError, match="threshold"):
        held.watch(A, print, threshold=threshold)
    assert held.used["thresholds"] == 0


def test_observers_are_held_weakly_and_make_room_when_they_go() -> None:
    held = book(max_thresholds=1)
    held.load([long(held, A), long(held, B)])
    first, second = Listener(), Listener()
    held.watch(A, first.hear, threshold="3")
    with pytest.raises(CapacityError, match="1 thresholds"):
        held.watch(B, second.hear, threshold="3")
    del first
    gc.collect()
    held.watch(B, second.hear, threshold="3")
    assert edges(held.apply_prices({BTC: "19500"})) == [(*B, (3, 1), True)]
    assert len(second.heard) == 1
    for observer in (7, [].append, object()):
        with pytest.raises(InputError, match="observer"):
            held.watch(A, observer)  # type: ignore[arg-type]
    held.watch(A, lambda crossing: pytest.fail("a lambda that nobody keeps"))
    held.apply_prices({BTC: "18000"})


def test_what_observers_raise_comes_when_all_were_called_and_the_book_goes_on() -> None:
    held = book()
    held.load([long(held, A), long(held, B)])
    listener = Listener()

    def broken(crossing: Crossing) -> None:
        raise ValueError(crossing.address)

    for name in (A, B):
        held.watch(name, broken)
        held.watch(name, listener.hear)
    with pytest.raises(ObserverError, match="2 calls of observers failed: ValueError") as caught:
        held.apply_prices({BTC: "18000"})
    assert [str(error) for error in caught.value.errors] == ["dydx1a", "dydx1b"]
    assert caught.value.crossings == listener.heard
    assert len(listener.heard) == 2
    assert held[A].is_liquidatable
    held.unwatch(A, broken)
    held.chain[BTC].set_oracle_price("20000")
    with pytest.raises(ObserverError, match="1 calls"):
        held.remove(B)
    assert B not in held
    assert held[A].net_collateral == 2_000_000_000


def test_an_observer_may_read_the_book_and_not_change_it() -> None:
    held = book()
    held.add(long(held))
    seen: list[object] = []

    def reader(crossing: Crossing) -> None:
        seen.append((held[A] == crossing.risk, held.liquidatable(), held.at_risk(1)[0].handle))

    def writer(crossing: Crossing) -> None:
        held.update(A, usdc="0")

    held.watch(A, reader)
    held.watch(A, writer)
    with pytest.raises(ObserverError, match="WriterError") as caught:
        held.apply_prices({BTC: "18000"})
    assert isinstance(caught.value.errors[0], WriterError)
    assert seen == [(True, [A], held.handle(A))]
    held.unwatch(A, writer)
    assert edges(held.update(A, usdc="0")) == [(*A, None, False)]
