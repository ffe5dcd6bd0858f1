"""Forecasts against exact evaluation: move the funding index, close at the price, end the hour, and look."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from faces import FEWER, Plan, market_of, near_margin, refused
from hypothesis import assume, given
from hypothesis import strategies as st

import dydx_perf
from dydx_perf import Chain, Position, ProtocolParameters, Subaccount
from dydx_perf.exact import funding, margin
from dydx_perf.exact.state import Perpetual
from dydx_perf.forecast import (
    LARGEST_HORIZON,
    break_even_price,
    funding_cost,
    hours_until_funding_liquidates,
    next_funding_rate,
)
from dydx_perf.recorded import recorded_subaccounts

BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0)
RATES = st.one_of(st.integers(-2000, 2000), st.integers(-(10**6), 10**6), st.just(0))
MONEY = st.decimals(-(10**6), 10**6, places=6, allow_nan=False)
FEES = st.integers(-1000, 5000)


def ticked(account: Subaccount, rates: dict[str, int], ticks: int) -> bool:
    """Whether the chain calls the account liquidatable after so many funding ticks; by plain integers."""
    perpetuals = {}
    for ticker, position in account.positions.items():
        perpetual = position.market.perpetual
        delta = funding.funding_index_delta(perpetual, rates[ticker], 3600)
        perpetuals[perpetual.perpetual_id] = replace(
            perpetual, funding_index=perpetual.funding_index + ticks * delta
        )
    return margin.is_liquidatable(margin.subaccount_risk(perpetuals, account.state))


def check_hours(account: Subaccount, rates: dict[str, int]) -> int | None:
    """Check the forecast at the tick it names and the one before; without one, very far out."""
    hours = hours_until_funding_liquidates(account, rates).value
    if hours is None:
        assert not any(ticked(account, rates, ticks) for ticks in (0, 1, 10, 10**6, 10**30))
    else:
        assert ticked(account, rates, hours)
        assert hours == 0 or not ticked(account, rates, hours - 1)
    return hours


@given(near_margin(), st.data())
def test_hours_until_funding_liquidates_is_the_first_such_tick(plan: Plan, data: st.DataObject) -> None:
    """Liquidatable at tick k and not at k - 1, by the plain integers on a moved funding index."""
    account = plan.account(dydx_perf)
    rates = {ticker: data.draw(RATES) for ticker in account.chain.tickers}
    check_hours(account, rates)


@given(near_margin(most=2), st.data())
@FEWER
def test_every_tick_before_is_safe(plan: Plan, data: st.DataObject) -> None:
    """The account itself, its chain's index moved tick by tick, is safe until the hour that was named."""
    account = plan.account(dydx_perf)
    rates = {ticker: data.draw(st.integers(-(10**6), 10**6)) for ticker in account.chain.tickers}
    hours = hours_until_funding_liquidates(account, rates).value
    for tick in range(40):
        assert account.risk.is_liquidatable == (tick == hours)
        if tick == hours:
            return
        for market in account.chain:
            delta = funding.funding_index_delta(market.perpetual, rates[market.ticker], 3600)
            market.set_funding_index(market.funding_index + delta)


@pytest.mark.parametrize("rate", [-100_000, -125, 0, 125, 5_000, 100_000])
def test_the_recorded_accounts_last_as_long_as_forecast(rate: int) -> None:
    for record in recorded_subaccounts():
        account = record.subaccount
        check_hours(account, dict.fromkeys(account.positions, rate))


def long_account(**arguments: Any) -> Subaccount:
    chain = Chain([market_of(dydx_perf, BTC)])
    return Subaccount(chain, "a", usdc="-6000", positions={"M0-USD": "0.1"}, **arguments)


def test_hours_of_an_account_known_by_hand() -> None:
    """620.835 USDC above its margin, 0.1 x 67012.5 x 0.01 / 8 a tick: 8.3765625, 74.1 ticks."""
    account = long_account()
    assert hours_until_funding_liquidates(account, {"M0-USD": 10_000}).value == 75
    assert hours_until_funding_liquidates(account, {"M0-USD": -10_000}).value is None
    account.set_usdc("-6620.835")  # exactly its margin: safe, until the first tick
    assert not account.risk.is_liquidatable
    assert hours_until_funding_liquidates(account, {"M0-USD": 10_000}).value == 1
    # too little to move the index
    assert hours_until_funding_liquidates(account, {"M0-USD": 1}).value is None
    account.set_usdc("-6620.835001")
    assert hours_until_funding_liquidates(account, {"M0-USD": -10_000}).value == 0


def test_hours_refuse_what_they_cannot_know() -> None:
    account = long_account()
    for rates in ({}, [("M0-USD", 1)], {"M0-USD": 0.01}, {"M0-USD": True}, {"M0-USD": 2**31}):
        with refused(dydx_perf, "InputError"):
            hours_until_funding_liquidates(account, rates)  # type: ignore[arg-type]
    with refused(dydx_perf, "UnknownMarketError"):
        hours_until_funding_liquidates(account, {"M0-USD": 1, "TYPO-USD": 1})
    account.set_position("M0-USD", 0)
    assert hours_until_funding_liquidates(account, {}).value is None


def test_a_position_of_size_zero_needs_no_rate() -> None:
    chain = Chain([market_of(dydx_perf, BTC)])
    account = Subaccount(chain, "a", positions=[Position(chain["M0-USD"], 0, quote_balance=5)])
    assert hours_until_funding_liquidates(account, {}).value is None


@given(
    quantums=st.integers(-(10**15), 10**15),
    price=st.integers(1, 10**12),
    rate=RATES,
    hours=st.integers(0, 1000),
)
def test_funding_cost_is_what_the_chain_settles(quantums: int, price: int, rate: int, hours: int) -> None:
    """Move the index tick by tick, settle the position alone: USDC changes by the cost."""
    chain = Chain([market_of(dydx_perf, replace(BTC, price=price))])
    market = chain["M0-USD"]
    position = Position(market, quantums=quantums)
    cost = funding_cost(position, rate, hours).value
    market.set_funding_index(hours * funding.funding_index_delta(market.perpetual, rate, 3600))
    assert cost == -funding.settlement_floor(position.unsettled_funding_ppm)
    assert funding_cost(Position(market, quantums=quantums), rate, 0).value == 0


def test_funding_cost_known_by_hand() -> None:
    """0.08 % in 8 hours: 0.01 % an hour of 6701.25 USDC, for a day; the index is truncated."""
    position = long_account().positions["M0-USD"]
    forecast = funding_cost(position, 800, 24)
    assert forecast.value == 16_080_000
    assert any("oracle price" in assumption for assumption in forecast.assumes)
    assert funding_cost(position, -800, 24).value == -16_080_000
    for hours in (-1, LARGEST_HORIZON + 1, 1.5, "24"):
        with refused(dydx_perf, "InputError", "hours"):
            funding_cost(position, 800, hours)  # type: ignore[arg-type]
    with refused(dydx_perf, "InputError", "rate_ppm"):
        funding_cost(position, 2**31, 1)


@given(
    quantums=st.integers(-(10**14), 10**14).filter(bool),
    entry=st.decimals("0.00001", 10**6, places=5),
    realized=MONEY,
    received=MONEY,
    index=st.integers(-(10**9), 10**9),
    closing=FEES,
    opening=FEES,
)
def test_closing_at_the_break_even_price_leaves_nothing(
    quantums: int,
    entry: Decimal,
    realized: Decimal,
    received: Decimal,
    index: int,
    closing: int,
    opening: int,
) -> None:
    """Proceeds less cost, fees of both fills, and what was earned before add up to zero, exactly."""
    chain = Chain([market_of(dydx_perf, BTC)])
    position = Position(
        chain["M0-USD"], quantums=quantums, funding_index=index, entry_price=entry, realized_pnl=realized,
        net_funding=received,
    )  # fmt: skip
    price = break_even_price(position, closing_fee_ppm=closing, opening_fee_ppm=opening).value
    size = Fraction(quantums, 10**10)
    assume(size)
    due = Fraction(index * quantums, 10**12)

    def left(price: Fraction) -> Fraction:
        fees = abs(size) * (price * closing + Fraction(entry) * opening) / 10**6
        return size * (price - Fraction(entry)) - fees + Fraction(realized) + Fraction(received) + due

    if price is not None:
        assert price > 0
        assert left(price) == 0
    else:  # left is a straight line: of one sign at all prices above zero
        assert left(Fraction(1, 10**30)) * size > 0
        assert left(Fraction(10**30)) * size > 0


def test_break_even_known_by_hand() -> None:
    chain = Chain([market_of(dydx_perf, BTC)])
    long = Position(chain["M0-USD"], "0.1", entry_price="60000")
    assert break_even_price(long).value == 60_000
    assert break_even_price(long, closing_fee_ppm=500).value == Fraction(60_000) / Fraction("0.9995")
    both = break_even_price(long, closing_fee_ppm=500, opening_fee_ppm=500)
    assert both.value == Fraction("60030") / Fraction("0.9995")
    short = Position(chain["M0-USD"], "-0.1", entry_price="60000")
    assert break_even_price(short, closing_fee_ppm=500).value == Fraction(60_000) / Fraction("1.0005")
    assert break_even_price(Position(chain["M0-USD"], 0, entry_price="1")).value is None
    rich = Position(chain["M0-USD"], "0.1", entry_price="60000", realized_pnl="6000")
    assert break_even_price(rich).value is None
    with refused(dydx_perf, "InputError", "position"):
        break_even_price(Position(chain["M0-USD"], "1"))
    for fee in ("closing_fee_ppm", "opening_fee_ppm"):
        for value in (10**6, -(10**6), 0.5):
            with refused(dydx_perf, "InputError", fee):
                break_even_price(long, **{fee: value})


@given(
    samples=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=60),
    default=st.integers(-1000, 1000),
    initial=st.integers(0, 10**6),
    fraction=st.integers(0, 10**6),
)
def test_the_next_rate_is_what_the_chain_would_set_now(
    samples: list[int], default: int, initial: int, fraction: int
) -> None:
    """End the hour as it stands: the chain's own tick on the samples in its store has this rate."""
    perpetual = replace(
        BTC, default_funding_ppm=default, initial_margin_ppm=initial, maintenance_fraction_ppm=fraction
    )
    chain = Chain([dydx_perf.Market(
        "M0-USD", perpetual_id=0, atomic_resolution=-10, price_exponent=-5, oracle_price="67012.5",
        initial_margin_ppm=initial, maintenance_fraction_ppm=fraction, default_funding_ppm=default,
    )])  # fmt: skip
    parameters = ProtocolParameters()
    forecast = next_funding_rate(chain["M0-USD"], samples, parameters).value
    store = funding.PremiumStore(len(samples), {0: tuple(sample for sample in samples if sample)})
    rate, _ = funding.funding_tick(perpetual, store, 3600, 60, parameters.funding_rate_clamp_factor_ppm)
    assert forecast.chain_ppm == rate
    assert forecast.chain_annualised == Decimal(rate) * 3 * 365 / 10**6
    hourly = (Fraction(sum(samples), len(samples)) + default) / 8 / 10**6
    assert forecast.indexer_rate == hourly
    assert forecast.indexer_annualised == hourly * 24 * 365


def test_the_next_rate_refuses_no_samples() -> None:
    market = Chain([market_of(dydx_perf, BTC)])["M0-USD"]
    for samples in ([], [0] * 61, "12", 5, [0.5], [2**31], [True]):
        with refused(dydx_perf, "InputError"):
            next_funding_rate(market, samples, ProtocolParameters())  # type: ignore[arg-type]


def test_every_forecast_says_what_it_assumes() -> None:
    account = long_account()
    position = Position(account.chain["M0-USD"], "1", entry_price="1")
    for forecast in (
        break_even_price(position),
        funding_cost(position, 1, 1),
        hours_until_funding_liquidates(account, {"M0-USD": 1}),
        next_funding_rate(account.chain["M0-USD"], [1], ProtocolParameters()),
    ):
        assert forecast.assumes
        assert all(isinstance(text, str) and len(text) > 10 for text in forecast.assumes)
