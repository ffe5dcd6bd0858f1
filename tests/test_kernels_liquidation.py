"""Liquidation kernels equal the plain integers; a case that the chain refuses is never answered."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dydx_perf.errors import ChainError
from dydx_perf.exact import liquidation as exact
from dydx_perf.exact.arith import MAX_INT64, MAX_UINT64, MIN_INT64
from dydx_perf.exact.margin import notional, subaccount_risk
from dydx_perf.exact.state import (
    AssetPosition,
    ClobPair,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.ext import liquidation

MILLION = 10**6
PAIR = ClobPair(1_000_000, 100_000, -9)
BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0, clob_pair=PAIR)
CONFIG = exact.LiquidationsConfig(15_000, 10**9, 100_000, 10**11, 10**12, MILLION, 1_500_000)

fractions = st.one_of(st.integers(0, MILLION), st.sampled_from([0, 1, 50_000, MILLION]))
sizes = st.one_of(
    st.integers(-(10**13), 10**13),
    st.integers(MIN_INT64, MAX_INT64),
    st.sampled_from([MIN_INT64, MAX_INT64, 1]),
)
shares = st.fractions(0, 1)
configs = st.builds(
    exact.LiquidationsConfig,
    st.integers(1, MILLION),
    st.integers(1, 2**64 - 1),
    st.integers(1, MILLION),
    st.one_of(st.integers(1, 2**64 - 1), st.integers(1, 10**12)),
    st.integers(1, 2**64 - 1),
    st.one_of(st.just(MILLION), st.integers(MILLION, 2**32 - 1)),
    st.one_of(st.just(1_500_000), st.integers(1, 2**32 - 1)),
)
pairs = st.builds(
    ClobPair,
    st.one_of(st.sampled_from([1, 10, 10**6, 10**10]), st.integers(1, 2**64 - 1)),
    st.one_of(st.sampled_from([1, 10**5]), st.integers(1, 2**32 - 1)),
    st.integers(-12, 4),
)


@st.composite
def cases(draw):
    """A position whose account lies around its maintenance margin, or anywhere; perhaps another beside it."""
    perpetual = Perpetual(
        0,
        draw(st.integers(-12, 0)),
        draw(st.one_of(st.integers(0, 10**12), st.integers(0, MAX_UINT64))),
        draw(st.integers(-12, 2)),
        draw(st.integers(-(10**9), 10**9)),
        0,
        draw(fractions),
        draw(fractions),
        0,
        0,
        clob_pair=draw(pairs),
    )
    size = draw(sizes)
    value = notional(perpetual, size)
    near = -value + abs(value) * draw(st.integers(-300_000, 300_000)) // MILLION + draw(st.integers(-2, 2))
    usdc = draw(st.one_of(st.just(near), st.integers(-(10**18), 10**18)))
    positions = (
        PerpetualPosition(0, size, perpetual.funding_index),
        PerpetualPosition(7, draw(st.integers(-(10**12), 10**12)), 3),
    )
    account = SubaccountState((AssetPosition(0, usdc),), positions[: draw(st.integers(1, 2))])
    used = draw(st.one_of(st.just(0), st.integers(0, 2**64)))
    info = exact.LiquidationInfo((), used, draw(st.one_of(st.just(0), st.integers(0, 2**64))))
    return exact.Liquidation({0: perpetual, 7: replace(BTC, perpetual_id=7)}, account, 0, draw(configs), info)


def outcome(model, *arguments):
    """What the model answers; None where the chain fails."""
    try:
        return model(*arguments)
    except ChainError:
        return None


def delta_of(size: int, share: Fraction, step: int) -> int:
    """A part of the position, against it; one step more may be too much or nothing."""
    part = int(abs(size) * share) + step
    return part if size < 0 else -part


def agree(kernel, expected, in_range: bool) -> None:
    """Equal, or declined where that is allowed; never an answer where the chain has none."""
    assert kernel == expected or (kernel is None and not in_range)


def is_moderate(case: exact.Liquidation, *amounts: int) -> bool:
    """Whether the documented domain surely holds the case: every amount below 2**62."""
    figures = (case.risk.nc, case.risk.imr, case.risk.mmr, notional(case.perpetual, case.size), *amounts)
    return all(abs(figure) < 2**62 for figure in figures)


@given(cases(), shares, st.integers(-1, 1))
@example(exact.Liquidation({0: BTC}, SubaccountState((), ()), 0, CONFIG), Fraction(1), 0)
def test_bankruptcy_price_and_deleveraging(case, share, step):
    """Differences of rounded values, and one floor; a delta that does not reduce the position is refused."""
    risk, size = case.risk, case.size
    delta = delta_of(size, share, step)
    in_range = is_moderate(case, delta)
    quote = liquidation.bankruptcy_quote_quantums(case.perpetual, size, delta, risk)
    agree(quote, outcome(exact.bankruptcy_price_quote_quantums, case, delta), in_range)
    for is_final_settlement in (False, True):
        quote = liquidation.deleveraging_quote_quantums(
            case.perpetual, size, delta, is_final_settlement, risk
        )
        expected = outcome(exact.deleveraging_quote_quantums, case, delta, is_final_settlement)
        agree(quote, expected, in_range)


@given(cases())
def test_fillable_price_as_a_level_of_the_book(case):
    """The exact fraction in 256 bits, rounded once to a tick and clamped."""
    expected = outcome(lambda: exact.fillable_subticks(case, exact.fillable_price(case, -case.size)))
    answer = liquidation.fillable_subticks(case.perpetual, case.size, case.risk, case.clob_pair, case.config)
    # 60 bits each of notional, margin and account margin, 20 and 32 of the fractions: within 256
    agree(answer, expected, is_moderate(case) and abs(case.size) < 2**50)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("room", [-1, 0, 1, 2, 10**6])
@pytest.mark.parametrize("adjustment", [MILLION, MILLION + 1, 2**32 - 1])
def test_fillable_price_where_the_adjustment_is_clamped(sign, room, adjustment):
    """At nc = mmr the adjustment begins, at its upper end it is one: at, before and after each."""
    config = replace(CONFIG, bankruptcy_adjustment_ppm=adjustment)
    size = sign * 10**10
    for missing in (0, room, exact.maintenance_margin(BTC, abs(notional(BTC, size))) + room):
        mmr = exact.maintenance_margin(BTC, abs(notional(BTC, size)))
        account = SubaccountState(
            (AssetPosition(0, mmr - missing - notional(BTC, size)),), (PerpetualPosition(0, size, 0),)
        )
        case = exact.Liquidation({0: BTC}, account, 0, config)
        expected = exact.fillable_subticks(case, exact.fillable_price(case, -size))
        assert liquidation.fillable_subticks(BTC, size, case.risk, PAIR, config) == expected


big = st.one_of(st.integers(0, 2**200), st.integers(0, 10**12))


@given(
    big,
    st.one_of(st.integers(1, 2**120), st.integers(1, 100)),
    st.booleans(),
    st.one_of(st.sampled_from([1, 3, 10**5, 2**32 - 1]), st.integers(1, 2**32 - 1)),
    st.integers(-15, 15),
)
@example(0, 1, True, 5, 0)
@example(0, 1, False, 5, 0)
@example(5, 1, True, 5, 0)
@example(6, 1, True, 5, 0)
@example(9, 1, False, 5, 0)
@example(51, 10, True, 5, 0)
@example(MAX_UINT64, 1, True, 1, 0)
@example(MAX_UINT64 + 1, 1, True, 1, 0)
@example(MAX_UINT64 - 1, 1, True, 7, 0)
@example(2 * MAX_UINT64 - 1, 2, True, 1, 0)
@example(2**250, 1, False, 3, 0)
def test_conversion_to_ticks(num, den, is_long, tick, power):
    """Ceil for a long, floor for a short, whole ticks, clamped to the first and the last."""
    answer = liquidation.price_to_subticks(num, den, is_long, tick, power)
    expected = exact.fillable_price_to_subticks((num, den), is_long, tick, power)
    fits = num * 10 ** max(-power, 0) < 2**256 and den * 10 ** max(power, 0) * tick < 2**256
    assert answer == (expected if fits else None)


@given(cases())
def test_limits_and_size_of_an_attempt(case):
    """Notional limits, what the block leaves, and the size in whole steps."""
    perpetual, size, config, info = case.perpetual, case.size, case.config, case.info
    in_range = is_moderate(case)
    agree(
        liquidation.notional_limits(perpetual, size, config),
        outcome(exact.position_notional_limits, case),
        in_range,
    )
    left = liquidation.block_limits_left(config, info.notional_liquidated, info.quantums_insurance_lost)
    assert left == (
        outcome(exact.subaccount_max_notional_liquidatable, case),
        outcome(exact.subaccount_max_insurance_lost, case),
    )
    if left[0] is None:
        return
    answer = liquidation.size_delta(perpetual, size, case.clob_pair, config, left[0])
    agree(answer, outcome(exact.liquidatable_size_delta, case), in_range and abs(size) < 2**62)


@given(cases(), shares, st.integers(-1, 1), st.integers(500_000, 1_500_000), st.booleans())
def test_insurance_fund_delta(case, share, step, distance_ppm, swap):
    """Surplus over the bankruptcy price, up to the fee; a loss in full."""
    size = case.size
    delta = delta_of(size, share, step)
    assume(delta)
    value = Fraction(abs(notional(case.perpetual, size)), abs(size) or 1) * distance_ppm / MILLION
    subticks = min(int(value * Fraction(10) ** -case.clob_pair.quantum_conversion_exponent), MAX_UINT64)
    is_buy = (delta > 0) != (swap and step == 0)
    answer = liquidation.fund_delta(
        case.perpetual, size, case.risk, case.clob_pair, case.config, is_buy, abs(delta), subticks
    )
    expected = outcome(exact.insurance_fund_delta, case, is_buy, abs(delta), subticks)
    agree(answer, expected, is_moderate(case, delta, subticks) and abs(delta) < 2**60)


@given(
    st.sampled_from([1, -1]),
    st.integers(1, 10**15),
    st.integers(0, 200_000),
    st.sampled_from([(-10, -5), (-9, -6), (-6, -9), (1, -16), (-12, -3)]),
    st.integers(10**5, 10**13),
)
def test_real_liquidations_are_never_declined(sign, dollars, shortfall_ppm, units, price):
    """Any genesis-like market, any position up to 1e15 USDC, around and below the maintenance margin."""
    perpetual = replace(BTC, atomic_resolution=units[0], exponent=units[1], price=price)
    power = units[0] + units[1] + 6
    size = sign * min(int(dollars * MILLION / Fraction(10) ** power / price), MAX_INT64)
    assume(size)
    value = notional(perpetual, size)
    usdc = -value + abs(value) * 15_000 // MILLION - abs(value) * shortfall_ppm // MILLION
    account = SubaccountState((AssetPosition(0, usdc),), (PerpetualPosition(0, size, 0),))
    case = exact.Liquidation({0: perpetual}, account, 0, CONFIG)
    risk = case.risk
    assume(risk.mmr > 0)
    delta = exact.liquidatable_size_delta(case)
    assert liquidation.size_delta(perpetual, size, PAIR, CONFIG, CONFIG.max_notional_liquidated) == delta
    assert liquidation.bankruptcy_quote_quantums(
        perpetual, size, delta, risk
    ) == exact.bankruptcy_price_quote_quantums(case, delta)
    assert liquidation.fillable_subticks(perpetual, size, risk, PAIR, CONFIG) == outcome(
        lambda: exact.fillable_subticks(case, exact.fillable_price(case, delta))
    )


@pytest.mark.parametrize(
    "account_risk",
    [RiskState(0, 0, 2**127), RiskState(-(2**127) - 1, 0, 1), RiskState(5, 0, 0), RiskState(5, 0, -1)],
)
def test_an_account_without_margin_or_past_128_bits_is_declined(account_risk):
    """A zero margin is the chain's division by zero."""
    assert liquidation.bankruptcy_quote_quantums(BTC, 10, -10, account_risk) is None
    assert liquidation.fillable_subticks(BTC, 10, account_risk, PAIR, CONFIG) is None


@pytest.mark.parametrize("size", [0, 2**63, -(2**63) - 1])
def test_a_size_that_is_none_or_past_int64_is_declined(size):
    """There is nothing to liquidate, or no C field holds it."""
    risk = subaccount_risk({0: BTC}, SubaccountState((), (PerpetualPosition(0, 10**9, 0),)))
    assert liquidation.bankruptcy_quote_quantums(BTC, size, -size, risk) is None
    assert liquidation.fillable_subticks(BTC, size, risk, PAIR, CONFIG) is None
