"""Subaccount: its figures against `dydx_perf.exact`, the chain's own results, and plain fractions."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from chain_rows import account_of_row, rows
from faces import (
    CHOSEN_PPM,
    FEWER,
    HIGHEST_PRICE,
    PRICES,
    Plan,
    each_face,
    figures,
    integers_of_any_size,
    market_of,
    near_margin,
    plans,
    refused,
    ticker,
    tiers,
)
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.exact.state import (
    ClobPair,
    Perpetual,
    PerpetualPosition,
    RiskState,
)
from dydx_perf.units import to_decimal

BTC = Perpetual(
    0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0, clob_pair=ClobPair(1_000_000, 100_000, -9)
)
ETH = Perpetual(
    1, -9, 3_500_000_000, -6, 0, 0, 20_000, 600_000, 0, 0, clob_pair=ClobPair(1_000_000, 100_000, -9)
)
TINY = Perpetual(2, 0, 1, -6, 0, 0, 1_000_000, 1_000_000, 0, 0, clob_pair=ClobPair(1, 1, -9))


# -- risk


@FEWER
@each_face
@given(plan=plans())
def test_risk_is_the_models_at_any_size(face: Any, plan: Plan) -> None:
    account = plan.account(face)
    assert figures(account.risk) == plan.risk
    assert figures(account.evaluate()) == plan.risk
    assert account.exact_risk() == (plan.risk.nc, plan.risk.imr, plan.risk.mmr)
    assert account.state == replace(plan.state, leverage={k: v for k, v in plan.leverage.items() if v})


@each_face
def test_the_sums_of_a_huge_position_and_many_ordinary_ones_do_not_wrap(face: Any) -> None:
    """One position near 2**127 by the 128-bit path, then more by the 64-bit path than is left below it."""
    plan = Plan(
        {0: replace(BTC, atomic_resolution=-6, exponent=0, price=HIGHEST_PRICE, initial_margin_ppm=0)}
    )
    plan.positions[0] = PerpetualPosition(0, 2**63 - 1, 0)
    for number in range(1, 9):
        plan.perpetuals[number] = replace(plan.perpetuals[0], perpetual_id=number, price=1)
        plan.positions[number] = PerpetualPosition(number, 2**62, 0)
    assert plan.risk.nc > 2**127
    assert figures(plan.account(face).risk) == plan.risk
    short = replace(plan, positions={k: replace(p, quantums=-p.quantums) for k, p in plan.positions.items()})
    assert short.risk.nc < -(2**127)
    assert figures(short.account(face).risk) == short.risk


CHANGES = st.one_of(
    st.tuples(st.just("price"), PRICES),
    st.tuples(st.just("funding"), integers_of_any_size()),
    st.tuples(st.just("open interest"), integers_of_any_size().map(abs)),
    st.tuples(st.just("tier"), tiers()),
    st.tuples(st.just("usdc"), integers_of_any_size(250)),
    st.tuples(
        st.just("position"),
        st.tuples(integers_of_any_size(), integers_of_any_size(), st.just(0) | integers_of_any_size()),
    ),
    st.tuples(st.just("close"), st.none()),
    st.tuples(st.just("leverage"), CHOSEN_PPM),
)


def change(face: Any, plan: Plan, account: Any, number: int, kind: str, value: Any) -> None:
    """Make one change on the face and on the plan."""
    market, perpetual = account.chain[number], plan.perpetuals[number]
    if kind == "price":
        market.set_oracle_price_integer(value)
        plan.perpetuals[number] = replace(perpetual, price=value)
    elif kind == "funding":
        market.set_funding_index(value)
        plan.perpetuals[number] = replace(perpetual, funding_index=value)
    elif kind == "open interest":
        market.set_open_interest(value)
        plan.perpetuals[number] = replace(perpetual, open_interest=value)
    elif kind == "tier":
        market.set_liquidity_tier(**value)
        plan.perpetuals[number] = replace(perpetual, **value)
    elif kind == "usdc":
        account.set_usdc(to_decimal(value, -6))
        plan.usdc = value
    elif kind == "leverage":
        account.set_leverage(ticker(number), value)
        plan.leverage[number] = value
    elif kind == "position":
        quantums, index, balance = value
        given = face.Position(market, quantums=quantums, funding_index=index, quote_balance=balance)
        account.set_position(ticker(number), given)
        plan.positions[number] = PerpetualPosition(number, quantums, index, balance)
        if quantums == 0 == balance:
            del plan.positions[number]
    elif number in plan.positions:
        account.close_position(ticker(number))
        del plan.positions[number]


@FEWER
@each_face
@given(
    plan=plans(most=3),
    changes=st.lists(st.tuples(st.integers(0, 2), CHANGES, st.booleans()), min_size=1, max_size=8),
)
def test_after_any_changes_the_remembered_risk_is_a_fresh_one(
    face: Any, plan: Plan, changes: list[tuple[int, tuple[str, Any], bool]]
) -> None:
    account = plan.account(face)
    for number, (kind, value), reads in changes:
        change(face, plan, account, number % len(plan.perpetuals), kind, value)
        if reads:
            assert figures(account.risk) == plan.risk
    assert figures(account.risk) == figures(account.risk) == figures(account.evaluate()) == plan.risk
    assert account.state.perpetual_positions == plan.state.perpetual_positions
    assert {p.ticker: p.custom_imf_ppm for p in account.positions.values() if p.custom_imf_ppm} == {
        ticker(number): ppm for number, ppm in plan.leverage.items() if ppm and number in plan.positions
    }


@each_face
def test_every_row_of_the_chains_risk_is_reproduced(face: Any) -> None:
    replayed = refused_rows = 0
    for row in rows("subaccount_risk", "subaccount_risk"):
        account = account_of_row(face, row["in"])
        if account is None:
            refused_rows += 1
            continue
        out, risk = row["out"], account.risk
        assert figures(risk) == RiskState(int(out["nc"]), int(out["imr"]), int(out["mmr"])), row
        for flag in ("is_initial_collateralized", "is_maintenance_collateralized", "is_liquidatable"):
            assert getattr(risk, flag) is out[flag]
        replayed += 1
    assert replayed > 60
    assert refused_rows < replayed


# -- liquidation price


def liquidatable_at(account: Any, number: int, price: int) -> bool:
    """By full evaluation: set the price on the chain and look."""
    market = account.chain[number]
    before = market.perpetual.price
    market.set_oracle_price_integer(price)
    answer = account.risk.is_liquidatable
    market.set_oracle_price_integer(before)
    assert answer is (account.risk.is_liquidatable if price == before else answer)
    return bool(answer)


def check_liquidation_price(face: Any, plan: Plan, account: Any, number: int, more: list[int]) -> str:
    """The definition, price by price; returns which answer it was."""
    found = account.liquidation_price(ticker(number))
    is_long = plan.positions[number].quantums > 0

    def at(price: int) -> bool:
        answer = liquidatable_at(account, number, price)
        model = plan.risk_at(number, price)
        assert answer is (model.mmr > 0 and model.mmr > model.nc)
        return answer

    probes = {1, 2, plan.perpetuals[number].price, HIGHEST_PRICE - 1, HIGHEST_PRICE, *more}
    if found == face.NEVER:
        assert not any(at(price) for price in probes)
        return "never"
    if found == face.ALWAYS:
        assert at(HIGHEST_PRICE if is_long else 1)
        return "always"
    assert type(found) is face.OraclePrice
    assert found.exponent == plan.perpetuals[number].exponent
    price = found.integer
    assert 1 <= price <= HIGHEST_PRICE
    assert at(price)
    if is_long:
        assert price < HIGHEST_PRICE
        beyond = {price + 1, *(probe for probe in probes if probe > price)}
    else:
        assert price > 1
        beyond = {price - 1, *(probe for probe in probes if probe < price)}
    assert not any(at(probe) for probe in beyond)
    return "long" if is_long else "short"


@FEWER
@each_face
@given(plan=near_margin(), more=st.lists(PRICES, max_size=3))
def test_liquidation_price_by_full_evaluation_at_it_and_beside_it(
    face: Any, plan: Plan, more: list[int]
) -> None:
    account = plan.account(face)
    for number in plan.positions:
        check_liquidation_price(face, plan, account, number, more)


@FEWER
@each_face
@given(plan=plans(most=2), more=st.lists(PRICES, max_size=2))
def test_liquidation_price_at_any_size(face: Any, plan: Plan, more: list[int]) -> None:
    account = plan.account(face)
    for number, position in plan.positions.items():
        if position.quantums:
            check_liquidation_price(face, plan, account, number, more)
    assert set(account.liquidation_prices) == {ticker(n) for n, p in plan.positions.items() if p.quantums}


LONG = {0: PerpetualPosition(0, 10_000_000_000, 0)}  # 1 BTC
SHORT = {0: PerpetualPosition(0, -10_000_000_000, 0)}
BOTH = {**LONG, 1: PerpetualPosition(1, -10_000_000_000, 0)}  # and 10 ETH short
ONE_COIN = {2: PerpetualPosition(2, 1, 0)}  # worth one quote quantum
ISOLATED = replace(BTC, market_type=2)


@pytest.mark.parametrize(
    ("kind", "perpetual", "positions", "usdc"),
    [
        ("long", BTC, LONG, -60_000_000_000),
        ("long", ISOLATED, LONG, -60_000_000_000),
        ("short", BTC, SHORT, 80_000_000_000),
        ("short", ISOLATED, SHORT, 80_000_000_000),
        ("long", BTC, BOTH, -20_000_000_000),
        ("long", BTC, LONG, -70_000_000_000),  # liquidatable already, the price is above
        ("short", BTC, SHORT, 60_000_000_000),  # and below
        ("never", BTC, LONG, 0),
        ("never", BTC, LONG, 10**15),
        ("never", replace(BTC, initial_margin_ppm=0), LONG, -(10**15)),
        ("always", BTC, SHORT, -1),
        ("always", BTC, LONG, -(10**30)),
        ("never", replace(TINY, initial_margin_ppm=0), ONE_COIN, -5),
        ("always", TINY, ONE_COIN, -1),  # a margin of 100 %: no price covers a debt
        ("never", TINY, ONE_COIN, 0),
        ("long", replace(TINY, maintenance_fraction_ppm=1), ONE_COIN, -1),
        ("long", replace(TINY, maintenance_fraction_ppm=1), ONE_COIN, -2),
        ("always", TINY, {2: PerpetualPosition(2, -1, 0)}, 1),
        ("short", TINY, {2: PerpetualPosition(2, -1, 0)}, 2),
        (
            "short",
            replace(TINY, exponent=-12),
            {2: PerpetualPosition(2, -1, 0)},
            0,
        ),  # worth nothing below 10**6
        ("never", replace(TINY, exponent=-32), {2: PerpetualPosition(2, -1, 0)}, 0),  # worth nothing at all
    ],
)
@each_face
def test_kinds_of_liquidation_prices(
    face: Any, kind: str, perpetual: Perpetual, positions: dict[int, PerpetualPosition], usdc: int
) -> None:
    plan = Plan({p.perpetual_id: p for p in (BTC, ETH, TINY)}, usdc, positions)
    number = min(positions)
    plan.perpetuals[number] = perpetual
    account = plan.account(face)
    assert check_liquidation_price(face, plan, account, number, [3, 10**6, 10**9]) == kind
    for other in positions:
        check_liquidation_price(face, plan, account, other, [10**9])


@each_face
def test_liquidation_price_of_one_coin_by_hand(face: Any) -> None:
    """1 BTC bought for 60,000 borrowed dollars, margin 2 % of 60 %: liquidatable below 60,000 / 0.988."""
    plan = Plan({0: BTC}, -60_000_000_000, LONG)
    price = plan.account(face).liquidation_price("M0-USD")
    bound = Fraction(60_000) / (1 - Fraction(12, 1000))
    assert price.decimal < bound < price.decimal + Decimal("0.00002")
    assert str(price) == "60728.74493"
    assert price.integer == 6_072_874_493


@each_face
def test_a_market_without_a_position_has_no_liquidation_price(face: Any) -> None:
    account = Plan({0: BTC, 1: ETH}, 5, {0: PerpetualPosition(0, 0, 0, 7)}).account(face)
    with refused(face, "InputError", "market"):
        account.liquidation_price("M1-USD")
    with refused(face, "InputError", "market"):
        account.liquidation_price("M0-USD")  # held, of size 0
    unknown: Any
    for unknown in ("SOL-USD", "", 7, None, [], 1.0, True, "M1-USD " * 10**4):
        with refused(face, "UnknownMarketError"):
            account.liquidation_price(unknown)
    assert account.liquidation_prices == {}


@each_face
def test_an_account_without_positions(face: Any) -> None:
    account = face.Subaccount(face.Chain(), "dydx1empty", usdc="-1.5")
    assert figures(account.risk) == RiskState(-1_500_000, 0, 0)
    assert not account.risk.is_liquidatable
    assert (account.equity, account.free_collateral) == (Decimal("-1.5"), Decimal("-1.5"))
    assert (account.leverage, account.margin_usage) == (None, None)
    assert account.positions == account.leverage_choices == account.liquidation_prices == {}


# -- the indexer's figures, by fractions


@FEWER
@each_face
@given(plan=plans(bits=100))
def test_equity_and_free_collateral_are_exact(face: Any, plan: Plan) -> None:
    with localcontext(prec=5):  # the caller's context is nobody's business
        account = plan.account(face)
        equity, free = account.equity, account.free_collateral
        shown, unsettled = account.usdc_shown, account.unsettled_funding
    funding = value = margin = Fraction(0)
    for number, position in plan.positions.items():
        perpetual = plan.perpetuals[number]
        worth = (
            position.quantums
            * perpetual.price
            * Fraction(10) ** (perpetual.atomic_resolution + perpetual.exponent)
        )
        funding += Fraction((position.funding_index - perpetual.funding_index) * position.quantums, 10**12)
        value += worth
        margin += abs(worth) * Fraction(perpetual.initial_margin_ppm, 10**6)
    assert Fraction(unsettled) == funding
    assert Fraction(shown) == Fraction(plan.usdc, 10**6) + funding
    assert Fraction(equity) == Fraction(plan.usdc, 10**6) + funding + value
    assert Fraction(free) == Fraction(equity) - margin
    assert Fraction(account.usdc) == Fraction(plan.usdc, 10**6)
    assert account.usdc_quantums == plan.usdc


@each_face
def test_the_web_apps_figures(face: Any) -> None:
    chain = Plan({0: BTC, 1: ETH}).chain(face)
    account = face.Subaccount(chain, "a", 129, usdc="-47012.5", positions={"M0-USD": "1"})
    assert account.equity == 20_000
    assert account.leverage == Decimal("3.350625")  # 67012.5 / 20000
    assert account.margin_usage == Decimal("0.0670125")  # a fiftieth of 67012.5, of 20000
    assert account.free_collateral == Decimal("18659.75")
    assert account.buying_power("M1-USD") == Decimal("932987.5")
    account.set_leverage("M0-USD", 500_000)
    assert account.leverage_choices == {"M0-USD": 500_000}
    assert account.free_collateral == Decimal("18659.75")  # the indexer does not know the choice
    assert account.buying_power("M1-USD") == 0
    assert account.margin_usage == 1
    assert account.risk.imr == 67_012_500_000 // 2
    account.set_usdc("-70000")
    assert (account.leverage, account.margin_usage) == (None, None)
    assert account.equity == Decimal("-2987.5")
    assert (account.number, account.parent_number, account.address) == (129, 1, "a")


# -- heights and basis


def provenance(thing: Any) -> tuple[Any, Any]:
    return thing.height, thing.basis


@each_face
def test_the_oldest_input_and_the_weakest_basis_hold(face: Any) -> None:
    chain = Plan({0: BTC, 1: ETH, 2: TINY}).chain(face)
    chain.set_block(100, "noon")
    for number in (0, 1):
        for name, value in (("oracle_price_integer", 5), ("funding_index", 0), ("open_interest", 0)):
            getattr(chain[number], f"set_{name}")(value, height=100)
        chain[number].set_liquidity_tier(
            initial_margin_ppm=1, maintenance_fraction_ppm=1, open_interest_lower_cap=0,
            open_interest_upper_cap=0, height=100,
        )  # fmt: skip
    account = face.Subaccount(chain, "a", positions={"M0-USD": 1, "M1-USD": 1}, height=105)
    assert provenance(account) == (105, "chain")
    assert provenance(account.risk) == (100, "chain")
    assert account.risk.time == "noon"
    chain["M0-USD"].set_oracle_price_integer(6, height=99)
    assert provenance(account.risk) == (99, "chain")
    chain["M0-USD"].set_oracle_price_integer(6, height=101)
    assert provenance(account.risk) == (100, "chain")  # its funding index is the oldest now
    chain["M1-USD"].set_funding_index(0, height=100, basis="estimate")
    assert provenance(account.risk) == (100, "estimate")
    chain["M1-USD"].set_open_interest(0, height=100, basis="sample")
    assert provenance(account.risk) == (100, "sample")
    chain["M0-USD"].set_open_interest(0)
    assert provenance(account.risk) == (None, "sample")
    account.close_position("M0-USD", height=105)
    assert provenance(account.risk) == (100, "sample")
    account.close_position("M1-USD", height=105)
    assert provenance(account.risk) == (105, "chain")
    chain["M2-USD"].set_oracle_price_integer(3, height=1)  # not held: it does not count
    assert provenance(account.risk) == (105, "chain")


@each_face
def test_a_change_without_a_height_makes_an_account_an_estimate(face: Any) -> None:
    chain = face.Chain([market_of(face, p, height=100, basis="chain") for p in (BTC, ETH)], height=100)
    changes = {
        "set_usdc": ("5",),
        "set_position": ("M0-USD", "2"),
        "set_leverage": ("M0-USD", 50_000),
        "close_position": ("M0-USD",),
    }
    for name, arguments in changes.items():
        account = face.Subaccount(chain, "a", usdc=1, positions={"M0-USD": 1}, height=105)
        assert provenance(account.risk) == (100, "chain")
        getattr(account, name)(*arguments)
        assert provenance(account) == (None, "estimate")
        assert provenance(account.risk) == (None, "estimate")
        if name != "close_position":
            getattr(account, name)(*arguments, height=106)
            assert provenance(account) == (105, "chain")
            getattr(account, name)(*arguments, height=99, basis="sample")
            assert provenance(account.risk) == (99, "sample")
        account.set_block(107)
        assert account.height == 107


@each_face
def test_unknown_heights_are_none(face: Any) -> None:
    chain = Plan({0: BTC}).chain(face)
    account = face.Subaccount(chain, "a", usdc=1)
    assert provenance(account.risk) == provenance(account) == (None, "estimate")
    account.set_position("M0-USD", 1)
    account.set_block(7)
    assert provenance(account) == (7, "estimate")
    assert provenance(account.risk) == (None, "estimate")  # the market's is not known
    chain.set_block(6)
    assert provenance(account.risk) == (6, "estimate")
    assert face.Subaccount(chain, "a", basis="sample").risk.basis == "sample"
