"""Value at risk and expected shortfall equal plain NumPy's, on profits that are exact (B10)."""

import os
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scenario_cases import random_shock, shocked_risks, walked

from dydx_perf import Book, Chain, InputError, UnknownSubaccountError
from dydx_perf.exact.margin import subaccount_risk
from dydx_perf.generated import generated_accounts
from dydx_perf.shocks import Scenarios, Shock
from dydx_perf.value_at_risk import profit_and_loss, value_at_risk

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


@pytest.mark.parametrize("seed", range(12))
def test_measures_equal_those_of_numpy(seed: int) -> None:
    """The quantile that NumPy calls inverted_cdf; the mean of the tail, exact where no scenario is cut."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 300))
    profits = rng.integers(-(10**9), 10**9, count)
    for level in ("0.01", "0.5", "0.9", "0.95", "0.99", "0.999"):
        found = value_at_risk(profits.tolist(), level)
        losses = np.sort(-profits)
        assert found.value_at_risk == np.quantile(losses, float(level), method="inverted_cdf")
        assert found.worst == losses[-1]
        beyond = Fraction(level) * count
        if beyond.denominator == 1:
            assert found.expected_shortfall == Fraction(int(losses[int(beyond) :].sum()), count - int(beyond))
        tail = np.quantile(losses, np.linspace(float(level), 1, 20_001)[1:], method="inverted_cdf").mean()
        assert float(found.expected_shortfall) == pytest.approx(tail, rel=2e-3, abs=2e6)
        assert found.expected_shortfall >= found.value_at_risk


def test_a_level_that_cuts_a_scenario_counts_its_part() -> None:
    """Of four losses 1, 2, 3, 10 the worst 30 % are 10 whole and a fifth of 3: (10 + 0.2 * 3) / 1.2."""
    found = value_at_risk([-1, -2, -3, -10], "0.7")
    assert found.value_at_risk == 3
    assert found.expected_shortfall == (10 + Fraction(1, 5) * 3) / Fraction(6, 5)
    assert found.value_at_risk_usdc == Decimal("0.000003")
    assert value_at_risk([5], "0.99").expected_shortfall == value_at_risk([5], "0.99").value_at_risk == -5


@pytest.mark.parametrize("seed", range(100 if DEEP else 4))
@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("indexed", [True, False])
def test_profits_equal_every_account_one_by_one(seed: int, wild: bool, indexed: bool) -> None:
    """Of single accounts, of some and of the whole book; any size, any scenario."""
    model = walked(seed, 40, wild=wild, indexed=indexed)
    rng = random.Random(seed)
    shocks = [random_shock(rng, model.chain) for _ in range(6)]
    now = {name: model.exact(account).nc for name, account in model.accounts.items()}
    then = [shocked_risks(model, shock)[1] for shock in shocks]
    gains = [{name: risks[name].nc - now[name] for name in now} for risks in then]
    assert profit_and_loss(model.book, shocks) == [sum(gain.values()) for gain in gains]
    for name in now:
        assert profit_and_loss(model.book, shocks, [name]) == [gain[name] for gain in gains]
    some = rng.sample(list(now), min(3, len(now)))
    handles = [model.book.handle(name) for name in some]
    assert profit_and_loss(model.book, shocks, handles) == [sum(g[n] for n in some) for g in gains]
    model.compare()


def book_of(count: int) -> Book:
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=count, max_positions=9 * count, indexed=True)
    generated_accounts(chain, count, seed=1).load_into(book)
    return book


def test_history_repeats_itself() -> None:
    """Each scenario is one step of the past, as a move; plain floats agree to their rounding."""
    book = book_of(300)
    tickers = ["BTC-USD", "ETH-USD"]
    rng = np.random.default_rng(2)
    walk = np.exp(np.cumsum(rng.normal(0, 0.03, (251, 2)), axis=0))
    prices = (walk * np.array([6e9, 3e9])).astype(np.uint64)
    scenarios = Scenarios.historical(book.chain, prices, tickers=tickers)
    assert len(scenarios) == 250
    profits = profit_and_loss(book, scenarios)
    gross = [0.0, 0.0]
    for name in book:
        for place, ticker in enumerate(tickers):
            position = book.subaccount(name).positions.get(ticker)
            gross[place] += float(position.notional) if position else 0.0
    moves = prices[1:].astype(float) / prices[:-1] - 1
    expected = moves @ np.array(gross)
    assert np.allclose(profits, expected, rtol=1e-4, atol=np.abs(expected).max() * 1e-4)
    weekly = Scenarios.historical(book.chain, prices, tickers=tickers, horizon=5)
    assert len(weekly) == 246
    base = book.chain["BTC-USD"].oracle_price.integer
    assert weekly.resolved(0).price[0] == base * (int(prices[5, 0]) * 10**6 // int(prices[0, 0])) // 10**6


def test_a_seed_draws_the_same_scenarios_with_the_covariance_asked_for() -> None:
    """Perfectly correlated markets move together; a market without variance stays."""
    book = book_of(100)
    chain = book.chain
    deviation = np.zeros(len(chain))
    deviation[0], deviation[1] = 0.05, 0.1
    covariance = np.outer(deviation, deviation)
    one, other = (Scenarios.simulated(chain, covariance, 2_000, np.random.default_rng(7)) for _ in range(2))
    assert profit_and_loss(book, one) == profit_and_loss(book, other)
    moves = np.array([[int(m.price[0]), int(m.price[1]), int(m.price[2])] for m in one], float)
    base = np.array([market.oracle_price.integer for market in list(chain)[:3]], float)
    returns = np.log(moves / base)
    assert np.std(returns[:, 0]) == pytest.approx(0.05, rel=0.1)
    assert np.corrcoef(returns[:, 0], returns[:, 1])[0, 1] > 0.999
    assert (returns[:, 2] == 0).all()


def test_profit_is_the_fall_of_the_net_collateral_alone() -> None:
    """Margins do not enter; no scenario that moves nothing gains anything."""
    model = walked(4, 30)
    shocks = [Shock(), Shock(initial_margin="2", max_leverage=2)]
    assert profit_and_loss(model.book, shocks) == [0, 0]
    name = next(iter(model.accounts))
    perpetuals = {m.perpetual_id: m.perpetual for m in model.chain}
    assert subaccount_risk(perpetuals, model.book.subaccount(name).state).nc == model.book[name].nc


@pytest.mark.parametrize("level", ["0", "1", "1.5", "x", 0.99, None, "-0.1", "1/0"])
def test_a_wrong_level_is_refused(level: Any) -> None:
    with pytest.raises(InputError) as refused:
        value_at_risk([1, 2], level)
    assert refused.value.argument == "level"


def test_wrong_questions_are_refused() -> None:
    book = book_of(5)
    chain = book.chain
    with pytest.raises(InputError):
        value_at_risk([])
    with pytest.raises(UnknownSubaccountError):
        profit_and_loss(book, [Shock()], [("nobody", 0)])
    with pytest.raises(InputError):
        Scenarios.historical(chain, np.zeros((3, len(chain)), np.uint64))
    with pytest.raises(InputError):
        Scenarios.historical(chain, np.ones((3, 1), np.uint64))
    with pytest.raises(InputError):
        Scenarios.simulated(chain, -np.eye(len(chain)), 3, np.random.default_rng(1))
    with pytest.raises(InputError):
        Scenarios.simulated(chain, np.eye(2), 3, np.random.default_rng(1))
    with pytest.raises(InputError):
        Scenarios.correlated(chain, np.full((2, 1), np.nan), np.ones((len(chain), 1)))
