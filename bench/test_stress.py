"""A book of 100,000 accounts under scenarios, per account and scenario; NumPy float64 beside it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from books import ACCOUNTS, chain, given

from dydx_perf import Book
from dydx_perf.ladder import liquidation_ladder
from dydx_perf.shocks import Scenarios, Shock
from dydx_perf.stress import count_liquidatable, stress

SECTION = "100,000 accounts under scenarios, per account and scenario"
LADDER = "Liquidation ladder of the largest market of that book"
UNIT = "an account and scenario"
MOVES = (-0.3, -0.1, -0.02, 0.05, 0.2)


@cache
def indexed() -> Book:
    """The accounts of `books`, indexed, their funding paid: most of them are safe."""
    made = Book(chain(), max_subaccounts=ACCOUNTS, max_positions=len(given().account), indexed=True)
    index = np.array([market.funding_index for market in made.chain], np.int64)
    held = {**given().columns, "funding_index": index[given().perpetual_id]}
    made.load_columns(given().addresses, given().numbers, given().usdc, **held)
    return made


def scenarios(**more: Any) -> Scenarios:
    return Scenarios.of(indexed().chain, [Shock(moves=f"{move:.2f}", **more) for move in MOVES])


@cache
def columns() -> tuple[Any, ...]:
    """Collateral of each account; owner, value at the prices of now and margin fraction of each position."""
    markets = list(indexed().chain)
    price = np.array([market.oracle_price.integer for market in markets], np.float64)
    margin = np.array([m.initial_margin_ppm * m.maintenance_fraction_ppm for m in markets]) / 1e12
    place, size = given().perpetual_id, given().quantums.astype(np.float64)
    owner = given().account
    return given().usdc.astype(np.float64), owner, size * price[place] / 1e9, margin[place]


def in_floats() -> list[tuple[int, float]]:
    """Liquidatable accounts and net collateral of all, of each scenario."""
    collateral, owner, value, margin = columns()
    found = []
    for move in MOVES:
        moved = value * (1 + move)
        nc = collateral + np.bincount(owner, moved, ACCOUNTS)
        mmr = np.bincount(owner, np.abs(moved) * margin, ACCOUNTS)
        found.append((int(np.count_nonzero((mmr > 0) & (nc < mmr))), float(nc.sum())))
    return found


def agreement() -> str:
    """Compare with NumPy: sums to the rounding of the prices, counts but for accounts on their line."""
    exact = stress(indexed(), scenarios())
    apart = 0
    for result, (count, total) in zip(exact, in_floats(), strict=True):
        assert abs(result.net_collateral - total) <= 1e-6 * abs(total)
        apart += abs(result.liquidatable - count)
    assert apart <= len(MOVES) * ACCOUNTS // 10_000
    assert count_liquidatable(indexed(), scenarios()) == [result.liquidatable for result in exact]
    return f"exact; NumPy's counts are off by {apart}"


def test_counts(row: Any) -> None:
    """Verdicts alone, by the certified scan."""
    asked, answers = scenarios(), agreement()
    run = lambda: count_liquidatable(indexed(), asked)  # noqa: E731
    row(SECTION, "count_liquidatable", UNIT, run, len(MOVES) * ACCOUNTS, answers, ours=True)


def test_sums(row: Any) -> None:
    """Every figure of every account, added up."""
    asked, answers = scenarios(), agreement()
    row(SECTION, "stress", UNIT, lambda: stress(indexed(), asked), len(MOVES) * ACCOUNTS, answers)


def test_sums_with_funding(row: Any) -> None:
    """Every account's collateral moves, too."""
    asked = scenarios(funding_rate="0.001", funding_hours=8)
    run = lambda: stress(indexed(), asked)  # noqa: E731
    row(SECTION, "stress, a funding spike with it", UNIT, run, len(MOVES) * ACCOUNTS, "exact")


def test_floats(row: Any) -> None:
    """What one would write instead: bincount over columns, not the chain's roundings."""
    row(SECTION, "NumPy, float64", UNIT, in_floats, len(MOVES) * ACCOUNTS, agreement())


def test_ladder(row: Any) -> None:
    """A hundred prices, each exact."""
    book = indexed()
    ticker = book.chain.tickers[0]
    ladder = liquidation_ladder(book, ticker, steps=101)
    now = liquidation_ladder(book, ticker, [ladder.oracle_price]).steps[0]
    low = set(book.liquidatable())
    assert now.long_accounts + now.short_accounts == sum(
        (address, 0) in low
        for address in {given().addresses[i] for i in given().account[given().perpetual_id == 0].tolist()}
    )
    row(LADDER, "101 prices", "a price", lambda: liquidation_ladder(book, ticker, steps=101), 101, "exact")
