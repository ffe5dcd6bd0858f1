"""A book under scenarios equals every account computed one by one in plain integers (B6)."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scenario_cases import random_shock, row, shocked, shocked_risks, sums, walked

from dydx_perf import (
    Book,
    Chain,
    InputError,
    Position,
    StaleError,
    Subaccount,
    UnknownMarketError,
    WriterError,
)
from dydx_perf.exact.margin import is_liquidatable
from dydx_perf.ext import scenarios as kernel
from dydx_perf.ext.account_scan import count_pages, exact_scan_paths
from dydx_perf.ext.indexed_memory import scan_paths
from dydx_perf.generated import generated_accounts
from dydx_perf.shocks import Scenarios, Shock
from dydx_perf.stress import count_liquidatable, stress, stress_accounts

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


def generated(count: int, seed: int, *, indexed: bool = True) -> Book:
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=count, max_positions=9 * count, indexed=indexed)
    generated_accounts(chain, count, seed).load_into(book)
    return book


@pytest.mark.parametrize("seed", range(200 if DEEP else 8))
@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("indexed", [True, False])
def test_sums_equal_every_account_one_by_one(seed: int, wild: bool, indexed: bool) -> None:
    """Counts, totals, bad debt and notional at risk; sizes and balances that no column holds among them."""
    model = walked(seed, 40, wild=wild, indexed=indexed)
    rng = random.Random(seed)
    shocks = [random_shock(rng, model.chain) for _ in range(12)]
    results = stress(model.book, shocks)
    assert [row(result) for result in results] == [sums(model, shock) for shock in shocks]
    assert count_liquidatable(model.book, shocks) == [result.liquidatable for result in results]
    prices = [random_shock(rng, model.chain, prices_only=True) for _ in range(12)]
    assert count_liquidatable(model.book, prices) == [sums(model, shock)[1] for shock in prices]
    model.compare()  # nothing was changed


@pytest.mark.parametrize("seed", range(20 if DEEP else 4))
def test_figures_of_each_account_equal_plain_integers(seed: int) -> None:
    """Every account of the book once, by its handle; also those that 64 bits do not hold."""
    for wild, indexed in ((False, True), (True, True), (True, False)):
        model = walked(seed + 100, 40, wild=wild, indexed=indexed)
        shock = random_shock(random.Random(seed), model.chain)
        _, risks = shocked_risks(model, shock)
        figures = stress_accounts(model.book, shock)
        assert len(figures.handle) == len(risks)
        for place, handle in enumerate(figures.handle.tolist()):
            risk = risks.pop(model.book.name(handle))
            if place in figures.wide:
                assert figures.wide[place] == risk
            else:
                assert (risk.nc, risk.imr, risk.mmr) == (
                    figures.net_collateral[place],
                    figures.initial_margin[place],
                    figures.maintenance_margin[place],
                )
            assert figures.is_liquidatable[place] == is_liquidatable(risk)


def test_large_books_equal_the_plain_one() -> None:
    """Thousands of accounts, whole pages, funding and margins moved; the plain book is the judge."""
    book, plain = generated(3_000, 5), generated(3_000, 5, indexed=False)
    shocks = [
        Shock(),
        Shock(moves="-0.25"),
        Shock(moves={"BTC-USD": "0.4", "SOL-USD": "-0.5"}, initial_margin="1.5"),
        Shock(moves="-0.1", funding_rate={"BTC-USD": "0.02", "ETH-USD": "-0.03"}, funding_hours=24),
        Shock(max_leverage=4, open_interest="3"),
    ]
    ours, theirs = stress(book, shocks), stress(plain, shocks)
    assert ours == theirs
    assert ours[0].liquidatable < ours[1].liquidatable < 3_000
    assert count_liquidatable(book, shocks) == [result.liquidatable for result in theirs]


@pytest.mark.parametrize("path", exact_scan_paths())
@pytest.mark.parametrize("funding", [0, 12345])
def test_each_exact_scan_gives_the_same_sums(path: str, funding: int) -> None:
    """Of each kind of processor that this one can be."""
    book = generated(2_000, 8)
    shock = Shock(moves="-0.2", funding_rate=f"{funding}e-6")
    markets = Scenarios.of(book.chain, [shock]).resolved(0)
    supposed = kernel.Supposed(book._store, *markets.arrays)
    pages, _ = count_pages(book._store)
    found, left = kernel.sum_pages(book._store, supposed, 0, pages, None, path)
    assert left == []
    plain = generated(2_000, 8, indexed=False)
    assert found == row(stress(plain, [shock])[0])


@pytest.mark.parametrize("path", scan_paths())
def test_each_certified_scan_counts_the_same(path: str) -> None:
    book = generated(2_000, 9)
    pages, _ = count_pages(book._store)
    for move in ("0", "-0.3", "0.5", "-0.9"):
        shock = Shock(moves=move)
        markets = Scenarios.of(book.chain, [shock]).resolved(0)
        supposed = kernel.Supposed(book._store, *markets.arrays)
        assert supposed.is_certified
        parts = [kernel.pages_liquidatable(book._store, supposed, i, i + 1, path) for i in range(pages)]
        assert sum(count for count, _ in parts) == stress(book, [shock])[0].liquidatable


@pytest.mark.parametrize("held", [1, 3, 17])
@pytest.mark.parametrize("side", [1, -1])
def test_counts_are_exact_within_quantums_of_the_line(held: int, side: int) -> None:
    """The bound's own ground: nc - mmr of a few quantums at the supposed prices."""
    chain = Chain.sample("v9")
    rng = random.Random(held * side)
    tickers = [market.ticker for market in chain if not market.is_isolated][:held]
    shock = Shock(moves={ticker: f"{rng.randrange(-300_000, 300_000)}e-6" for ticker in tickers})
    moved = {m.perpetual_id: shocked(m.perpetual, m.ticker, shock) for m in chain}
    book = Book(chain, max_subaccounts=400, max_positions=400 * held, indexed=True)
    twin = Chain.sample("v9")
    for ticker in tickers:
        twin[ticker].set_oracle_price_integer(moved[twin[ticker].perpetual_id].price)
    below = 0
    for number, distance in enumerate(range(-6 * held, 6 * held + 1)):
        sizes = {t: rng.randrange(1, 10**11) * rng.choice((side, side, -side)) for t in tickers}
        there = Subaccount(
            twin, "dydx1edge", number, usdc="0",
            positions=[
                Position(twin[t], quantums=q, funding_index=twin[t].funding_index) for t, q in sizes.items()
            ],
        )  # fmt: skip
        usdc = f"{distance - (there.risk.nc - there.risk.mmr)}e-6"
        held_here = [
            Position(chain[t], quantums=q, funding_index=chain[t].funding_index) for t, q in sizes.items()
        ]
        book.add(Subaccount(chain, "dydx1edge", number, usdc=usdc, positions=held_here))
        below += distance < 0
    assert count_liquidatable(book, [shock]) == [below] == [stress(book, [shock])[0].liquidatable]


def test_an_executor_shares_scenarios_and_pages() -> None:
    """Few scenarios go page by page, many one by one; the sums are the same."""
    book = generated(3_000, 6)
    few = [Shock(moves="-0.2"), Shock(moves="0.2", funding_rate="0.01")]
    many = [Shock(moves=f"{i - 20}e-2") for i in range(40)]
    with ThreadPoolExecutor(2) as executor:
        for shocks in (few, many):
            assert stress(book, shocks, executor=executor) == stress(book, shocks)
            assert count_liquidatable(book, shocks, executor=executor) == count_liquidatable(book, shocks)


def test_scenarios_follow_the_chain() -> None:
    """Moves and factors are of the prices of the moment; explicit prices stay."""
    book = generated(500, 7)
    price = book.chain["BTC-USD"].oracle_price.integer
    scenarios = Scenarios.of(book.chain, [Shock(moves="-0.5"), Shock(prices={"BTC-USD": 17})])
    assert scenarios.resolved(0).price[0] == price // 2
    book.apply_block(price_integers={"BTC-USD": 3 * price})
    assert scenarios.resolved(0).price[0] == 3 * price // 2
    assert scenarios.resolved(1).price[0] == 17


@pytest.mark.parametrize("seed", range(6))
def test_arrays_and_plain_integers_are_the_same_markets(seed: int) -> None:
    """Of each scenario; where 64 bits do not hold a market its columns say so."""
    for wild in (False, True):
        model = walked(seed, 20, wild=wild)
        shocks = [random_shock(random.Random(seed), model.chain, prices_only=i % 2 == 0) for i in range(8)]
        for shock, markets in zip(shocks, Scenarios.of(model.chain, shocks), strict=True):
            plain = markets.plain()
            for place, market in enumerate(model.chain):
                supposed = plain[market.perpetual_id]
                assert supposed == shocked(market.perpetual, market.ticker, shock)
                if markets.holds[place]:
                    assert (
                        markets.price[place],
                        markets.initial_margin_ppm[place],
                        markets.maintenance_fraction_ppm[place],
                        markets.open_interest[place],
                        market.funding_index + int(markets.index_change[place]),
                    ) == (
                        supposed.price,
                        supposed.initial_margin_ppm,
                        supposed.maintenance_fraction_ppm,
                        supposed.open_interest,
                        supposed.funding_index,
                    )


def test_a_grid_combines_each_with_each() -> None:
    chain = Chain.sample("v9")
    prices = [Shock(f"{i}", moves=f"{i}e-1") for i in range(-3, 3)]
    funding = [Shock("calm"), Shock("spike", funding_rate="0.01", moves="0.5")]
    grid = Scenarios.grid(chain, prices, funding)
    assert grid.names[:3] == ("-3 calm", "-3 spike", "-2 calm")
    assert len(grid) == 12
    book = generated(300, 3)
    book_grid = Scenarios.grid(book.chain, prices, funding)
    both = Shock(moves="0.5", funding_rate="0.01")
    assert row(stress(book, book_grid)[1]) == row(stress(book, [both])[0])
    assert row(stress(book, book_grid)[0]) == row(stress(book, [prices[0]])[0])


def test_correlated_moves_follow_their_factors() -> None:
    """One factor, loadings of 1, 2 and 0: log returns in that proportion, to the millionth."""
    chain = Chain.sample("v9")
    loadings = np.zeros((len(chain), 1))
    loadings[0], loadings[1] = 1.0, 2.0
    factors = np.random.default_rng(4).normal(0, 0.1, (50, 1))
    for factor, markets in zip(factors[:, 0], Scenarios.correlated(chain, factors, loadings), strict=True):
        for place, loading in enumerate(loadings[:, 0]):
            price = list(chain)[place].oracle_price.integer
            ppm = round(float(np.exp(loading * factor)) * 10**6)
            assert abs(int(markets.price[place]) - price * ppm // 10**6) <= price // 10**6 + 1


def test_a_book_that_its_chain_left_is_refused() -> None:
    book = generated(50, 1)
    book.chain["BTC-USD"].set_oracle_price("1")
    with pytest.raises(StaleError):
        stress(book, [Shock()])
    book.catch_up()
    assert stress(book, [Shock()])[0].accounts == 50


def test_a_writer_is_refused_while_scenarios_run() -> None:
    """And may write afterwards, also when the run failed."""
    book = generated(50, 1)
    refused: list[type[BaseException]] = []

    class Broken:
        def submit(self, call: Callable[[], object], /) -> Any:
            try:
                book.update(next(iter(book)), usdc="1")
            except WriterError as error:
                refused.append(type(error))
            raise KeyError("it broke")

    with pytest.raises(KeyError):
        stress(book, [Shock(), Shock()], executor=Broken())
    assert refused == [WriterError]
    book.update(next(iter(book)), usdc="1")


def test_results_say_how_good_they_are() -> None:
    """The height of the oldest input; never better than an estimate, and a sample stays one."""
    chain = Chain.sample("v9")
    for indexed in (False, True):
        book = Book(chain, max_subaccounts=3, max_positions=3, indexed=indexed)
        book.add(Subaccount(chain, "dydx1a", 0, usdc="1", height=7))
        book.add(Subaccount(chain, "dydx1b", 0, usdc="1", height=9))
        assert (stress(book, [Shock()])[0].height, stress(book, [Shock()])[0].basis) == (7, "estimate")
        book.add(Subaccount(chain, "dydx1c", 0, usdc="1", positions={"BTC-USD": "0.001"}))
        result = stress(book, [Shock()])[0]
        assert (result.height, result.basis) == (None, "sample")


@pytest.mark.parametrize(
    ("named", "argument"),
    [
        ({"moves": "-1"}, "moves"),
        ({"moves": "0.0000001"}, "moves"),
        ({"moves": 0.5}, "moves"),
        ({"prices": {"BTC-USD": 0}}, "prices['BTC-USD']"),
        ({"initial_margin": "-1"}, "initial_margin"),
        ({"max_leverage": 0}, "max_leverage"),
        ({"open_interest": "-0.5"}, "open_interest"),
        ({"funding_rate": "x"}, "funding_rate"),
        ({"funding_hours": -1}, "funding_hours"),
    ],
)
def test_a_wrong_shock_is_refused_by_name(named: dict[str, Any], argument: str) -> None:
    with pytest.raises(InputError) as refused:
        Scenarios.of(Chain.sample("v9"), [Shock(**named)])
    assert refused.value.argument == argument


def test_scenarios_of_another_chain_or_market_are_refused() -> None:
    book = generated(5, 1)
    with pytest.raises(InputError):
        stress(book, Scenarios.of(Chain.sample("v9"), [Shock()]))
    with pytest.raises(UnknownMarketError):
        stress(book, [Shock(moves={"NONE-USD": "0.1"})])
    with pytest.raises(InputError):
        Scenarios(book.chain, np.ones((2, 3), np.int64))
    with pytest.raises(InputError):
        Scenarios(book.chain, np.zeros((1, len(book.chain)), np.int64))
    with pytest.raises(InputError):
        stress("book", [Shock()])  # type: ignore[arg-type]
