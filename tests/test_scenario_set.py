"""Scenarios kept current equal scenarios computed from nothing, after any change (B6)."""

import os
import random
from typing import Any

import pytest
from scenario_cases import random_shock, row, sums, walked

from dydx_perf import Book, Subaccount, UnknownSubaccountError
from dydx_perf.scenario_set import ScenarioSet
from dydx_perf.stress import stress

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


class Through:
    """A book that is changed through a set, account by account."""

    def __init__(self, kept: ScenarioSet, book: Book) -> None:
        self._kept, self._book = kept, book

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept if name in ("update", "replace", "add", "remove") else self._book, name)

    def __len__(self) -> int:
        return len(self._book)

    def __iter__(self) -> Any:
        return iter(self._book)

    def __getitem__(self, key: Any) -> Any:
        return self._book[key]


@pytest.mark.parametrize("seed", range(100 if DEEP else 3))
@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("indexed", [True, False])
def test_results_equal_those_from_nothing_after_every_step(seed: int, wild: bool, indexed: bool) -> None:
    """Prices, funding, tiers, accounts that come, change and go; through the set and past it."""
    model = walked(seed, 15, wild=wild, indexed=indexed)
    rng = random.Random(seed)
    shocks = [random_shock(rng, model.chain) for _ in range(4)]
    kept = ScenarioSet(model.book, shocks)
    for step in range(25):
        through = rng.random() < 0.7
        book = model.book
        if through:
            model.book = Through(kept, book)  # type: ignore[assignment]
        kind = model.step()
        if kind == "restore":  # another book, on another chain
            kept = ScenarioSet(model.book, shocks)
        elif through:
            model.book = book
        results = kept.results()
        assert [row(result) for result in results] == [sums(model, shock) for shock in shocks], (step, kind)
        assert results == stress(model.book, shocks)


def test_one_account_costs_no_whole_scenario() -> None:
    """Changes through the set are followed; a price is not, and what changed nothing costs nothing."""
    model = walked(3, 30, accounts=12)
    kept = ScenarioSet(model.book, [random_shock(random.Random(1), model.chain)])
    assert not kept.is_current
    kept.results()
    kept.results()
    assert (kept.recomputed, kept.adjusted, kept.is_current) == (1, 0, True)
    name = next(iter(model.book))
    kept.update(name, usdc="17")
    kept.remove(name)
    kept.add(Subaccount(model.chain, *name, usdc="5"))
    kept.replace(Subaccount(model.chain, *name, usdc="6"))
    assert kept.results() == stress(model.book, kept.scenarios)
    assert (kept.recomputed, kept.adjusted) == (1, 4)
    market = next(iter(model.chain))
    model.book.apply_block(price_integers={market.ticker: market.perpetual.price + 1})
    assert not kept.is_current
    assert kept.results() == stress(model.book, kept.scenarios)
    model.book.update(name, usdc="7")
    assert kept.results() == stress(model.book, kept.scenarios)
    assert (kept.recomputed, kept.adjusted) == (3, 4)


def test_a_refused_change_leaves_the_results() -> None:
    model = walked(3, 30)
    kept = ScenarioSet(model.book, [random_shock(random.Random(1), model.chain)])
    before = kept.results()
    with pytest.raises(UnknownSubaccountError):
        kept.update(("nobody", 0), usdc="1")
    assert kept.results() == before
    assert kept.recomputed == 1


def test_changes_by_handle_are_followed() -> None:
    """Also the one that ends with its account."""
    model = walked(5, 30)
    kept = ScenarioSet(model.book, [random_shock(random.Random(2), model.chain)])
    kept.results()
    handle = model.book.handle(next(iter(model.book)))
    kept.update(handle, usdc="-1000000000")
    kept.remove(handle)
    assert kept.results() == stress(model.book, kept.scenarios)
    assert kept.recomputed == 1


def test_a_chain_that_moves_within_a_change_is_not_taken_for_followed() -> None:
    """An observer sets a price: the next results are computed from nothing."""
    model = walked(3, 30)
    kept = ScenarioSet(model.book, [random_shock(random.Random(1), model.chain)])
    kept.results()
    market = next(iter(model.chain))
    name = next(iter(model.book))

    def observer(_: Any) -> None:
        market.set_oracle_price_integer(market.perpetual.price + 1)

    model.book.update(name, usdc="-1", positions={market.ticker: "1"})
    model.book.watch(name, observer, threshold=(10**9, 1))
    model.book.watch(name, observer)
    kept.results()
    before = market.perpetual.price
    kept.update(name, usdc="-1000000000000")
    assert market.perpetual.price > before
    assert kept.adjusted == 0
    model.book.catch_up()
    assert kept.results() == stress(model.book, kept.scenarios)
