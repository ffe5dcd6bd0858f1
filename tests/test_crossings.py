"""Crossings are read like a list, whenever they are read, and say what held after their call (B3, B7)."""

import copy
import gc
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from book_cases import BTC, A, B, Listener, book, chain, long

from dydx_perf import Book, Crossing, Crossings, Risk, Subaccount
from dydx_perf.book_inputs import PlainRisks
from dydx_perf.errors import ObserverError

KINDS = [False, True]
NAMES = [("dydx1" + "q" * 38, 3), ("short", 0), ("x" * 60, 7), ("dydx1" + "z" * 38, 0)]


def held(indexed: bool, names: Sequence[tuple[str, int]] = NAMES) -> Book:
    made = Book(chain(), max_subaccounts=8, max_positions=16, indexed=indexed)
    made.load([long(made, name) for name in names])
    return made


def parts(crossings: Sequence[Crossing]) -> list[Any]:
    """All that crossings say."""
    return [
        (
            c.handle,
            c.address,
            c.number,
            c.threshold,
            c.below,
            c.risk,
            c.risk.height,
            c.risk.basis,
            c.risk.time,
        )
        for c in crossings
    ]


@pytest.mark.parametrize("indexed", KINDS)
def test_crossings_are_read_like_a_list(indexed: bool) -> None:
    book_ = held(indexed)
    crossings = book_.apply_prices({BTC: "18000"})
    objects = list(crossings)
    assert isinstance(crossings, Crossings)
    assert isinstance(crossings, Sequence)
    assert (len(crossings), bool(crossings)) == (4, True)
    assert crossings == objects
    assert objects == crossings
    assert crossings != objects[:3]
    assert crossings != tuple(objects)
    assert crossings == crossings[:]
    assert (crossings[-1], crossings[1:3], crossings[::-1]) == (objects[3], objects[1:3], objects[::-1])
    assert list(reversed(crossings)) == objects[::-1]
    assert objects[2] in crossings
    assert "a text" not in crossings
    assert (crossings.index(objects[2]), crossings.count(objects[2])) == (2, 1)
    assert repr(crossings) == repr(objects)
    assert [*objects, *crossings] == objects * 2
    for place in (4, -5, 2**70):
        with pytest.raises(IndexError):
            crossings[place]
    with pytest.raises(TypeError):
        crossings["a"]  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="unhashable"):
        hash(crossings)
    with pytest.raises(TypeError, match="come from a Book"):
        Crossings()
    assert copy.copy(crossings) == pickle.loads(pickle.dumps(crossings)) == objects
    nothing = book_.catch_up()
    assert nothing == []
    assert not nothing
    assert repr(nothing) == "[]"
    assert (list(nothing), nothing.edges.shape) == ([], (0,))


@pytest.mark.parametrize("indexed", KINDS)
def test_crossings_that_are_held_say_what_held_after_their_call(indexed: bool) -> None:
    """Prices, balances, blocks, accounts that go and slots that others take: nothing reaches them."""
    book_, twin = held(indexed), held(indexed)
    for one in (book_, twin):
        one.set_block(20, "noon")
    at_once = parts(twin.apply_prices({BTC: "18000"}, height=21))
    crossings = book_.apply_prices({BTC: "18000"}, height=21)
    assert {name[1:3] for name in at_once} == set(NAMES)
    book_.set_block(30, "one")
    book_.apply_prices({BTC: "21000"}, height=31)
    book_.update(NAMES[0], usdc="5")
    for name in NAMES:
        book_.remove(name)
    for number in range(8):
        book_.add(Subaccount(book_.chain, "another", number, usdc="1", positions={BTC: "2"}))
    assert parts(crossings) == at_once
    assert parts(pickle.loads(pickle.dumps(crossings))) == at_once
    del book_
    gc.collect()
    assert parts(crossings) == at_once


@pytest.mark.parametrize("indexed", KINDS)
def test_the_chain_moving_on_does_not_reach_crossings_before_the_book_follows(indexed: bool) -> None:
    book_ = held(indexed)
    crossings = book_.apply_prices({BTC: "18000"})
    before = parts(crossings)
    book_.chain[BTC].set_oracle_price("17000")
    assert parts(crossings) == before
    book_.catch_up()
    assert parts(crossings) == before


@pytest.mark.parametrize("indexed", KINDS)
def test_an_account_that_goes_is_named_by_the_crossings_of_its_removal(indexed: bool) -> None:
    book_ = held(indexed)
    book_.chain[BTC].set_oracle_price("18000")
    handle = book_.handle(NAMES[2])
    crossings = book_.remove(NAMES[2])
    (gone,) = [c for c in crossings if c.handle == handle]
    assert (gone.address, gone.number, gone.below) == (*NAMES[2], True)
    assert gone.risk.distance == -540_000_000


@pytest.mark.parametrize("indexed", KINDS)
def test_accounts_of_plain_integers_cross_like_the_others(indexed: bool) -> None:
    """Figures past 128 bits, and chosen margin fractions, are decided when they cross."""
    book_ = held(indexed)
    large = Subaccount(book_.chain, "large", 0, usdc=-(10**40), positions={BTC: 10**36})
    book_.add(large)
    book_.update(NAMES[0], leverage={BTC: 900_000})
    crossings = book_.apply_prices({BTC: "9000"})
    expected = {name: Risk.from_integers(r.nc, r.imr, r.mmr) for name in book_ for r in [book_[name]]}
    book_.apply_prices({BTC: "20000"})
    assert {(c.address, c.number) for c in crossings} == {*NAMES, ("large", 0)}
    for c in crossings:
        risk = expected[c.address, c.number]
        assert (c.risk.nc, c.risk.imr, c.risk.mmr) == (risk.nc, risk.imr, risk.mmr)


@pytest.mark.parametrize("indexed", KINDS)
def test_edges_are_arrays_that_nobody_writes(indexed: bool) -> None:
    book_ = held(indexed)
    listener = Listener()
    book_.watch(NAMES[1], listener.hear, threshold="7/2")
    crossings = book_.apply_prices({BTC: "18000"})
    edges, handles = crossings.edges, crossings.handles
    assert handles.tolist() == [c.handle for c in crossings]
    assert edges["below"].tolist() == [c.below for c in crossings] == [True] * len(crossings)
    assert list(zip(edges["numerator"].tolist(), edges["denominator"].tolist(), strict=True)) == [
        c.threshold or (0, 0) for c in crossings
    ]
    with pytest.raises(ValueError, match="read-only"):
        handles[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        np.frombuffer(crossings, np.int64).flags.writeable = True
    with pytest.raises(TypeError, match="read-only"):
        memoryview(crossings)[0] = 1
    kept = handles.tolist()
    del crossings, edges
    gc.collect()
    book_.apply_prices({BTC: "20000"})
    assert handles.tolist() == kept


@pytest.mark.parametrize("indexed", KINDS)
@pytest.mark.parametrize("watchers", [1, 40])
def test_only_who_is_watched_becomes_an_object(indexed: bool, watchers: int) -> None:
    """More crossings than watchers, and fewer: each observer hears of its own account."""
    accounts = 30
    book_ = Book(chain(), max_subaccounts=100, max_positions=100, indexed=indexed)
    book_.load([long(book_, ("a", row), usdc=str(-18000 - row)) for row in range(accounts)])
    book_.load([long(book_, ("safe", number), usdc="1") for number in range(40)])
    heard: dict[tuple[str, int], Listener] = {}
    for name in [("a", 5), *(("safe", number) for number in range(watchers - 1))]:
        heard[name] = Listener()
        book_.watch(name, heard[name].hear)
    crossings = book_.apply_prices({BTC: "18000"})
    assert len(crossings) == accounts
    (only,) = heard["a", 5].heard
    assert (only.address, only.number) == ("a", 5)
    assert only in crossings
    assert [len(listener.heard) for listener in heard.values()] == [1, *[0] * (watchers - 1)]
    handles = {c.handle for c in crossings if c.number < 3}
    assert crossings.among(handles) == [c for c in crossings if c.number < 3]
    assert crossings.among({}) == []


def test_an_account_that_takes_the_name_of_one_that_went_is_watched_anew() -> None:
    book_ = book()
    listener = Listener()
    book_.add(long(book_, A))
    book_.watch(A, listener.hear)
    book_.remove(A)
    book_.load([long(book_, B), long(book_, A)])
    assert len(book_.apply_prices({BTC: "18000"})) == 2
    assert listener.heard == []


@pytest.mark.parametrize("indexed", KINDS)
@pytest.mark.parametrize("broken_at", range(1, 9))
def test_a_call_that_was_broken_off_is_told_by_the_next_one(
    indexed: bool, broken_at: int, monkeypatch: Any
) -> None:
    """What it had found stays as it was found, beside what the next call finds; each edge is told once."""
    book_ = held(indexed)
    for number in range(2):
        book_.add(Subaccount(book_.chain, "large", number, usdc=-(10**40), positions={BTC: 10**36}))
    before = {name: book_[name].is_liquidatable for name in book_}
    calls: list[int] = []
    original = PlainRisks.__call__

    def breaks(self: Any, *given: Any) -> Any:
        calls.append(1)
        if len(calls) == broken_at:
            raise KeyboardInterrupt
        return original(self, *given)

    monkeypatch.setattr(PlainRisks, "__call__", breaks)
    try:
        crossings = book_.apply_prices({BTC: "9000"})
    except KeyboardInterrupt:
        crossings = book_.catch_up()
    monkeypatch.undo()
    after = {name: book_[name] for name in book_}
    assert len(crossings) == len({(c.handle, c.threshold) for c in crossings})
    assert {(c.address, c.number): (c.below, c.risk) for c in crossings} == {
        name: (risk.is_liquidatable, risk)
        for name, risk in after.items()
        if risk.is_liquidatable != before[name]
    }
    assert len(crossings) == len(NAMES) + 2


def test_what_observers_raise_carries_the_crossings() -> None:
    book_ = book()
    book_.add(long(book_))

    def broken(crossing: Crossing) -> None:
        raise ValueError

    book_.watch(A, broken)
    with pytest.raises(ObserverError) as caught:
        book_.apply_prices({BTC: "18000"})
    assert [c.below for c in caught.value.crossings] == [True]
