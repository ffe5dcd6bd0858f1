"""Margin kernels equal the plain integers for any size; they decline only where their documented domain ends.

Domain: prices, caps, sizes, indices and balances within the chain's own 64-bit types, fractions of at most
100 %, and amounts within 128 bits. Every genesis market and any position up to 1e15 USDC lie inside.
"""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dydx_perf.errors import ChainError
from dydx_perf.exact import margin as exact
from dydx_perf.exact.arith import MAX_INT64, MIN_INT64
from dydx_perf.exact.state import AssetPosition, Perpetual, PerpetualPosition, RiskState, SubaccountState
from dydx_perf.ext import margin
from dydx_perf.ext.account import Account, MarketTable

MILLION = 10**6
BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0)
# atomic resolution, price exponent of genesis markets: BTC, ETH, LINK, SOL, DOGE, SHIB, and the extremes
GENESIS = [(-10, -5), (-9, -6), (-6, -9), (-7, -8), (-4, -11), (1, -16), (-12, -3), (2, -17)]

edges = st.builds(
    lambda bits, step, sign: sign * ((1 << bits) + step),
    st.sampled_from([0, 1, 20, 43, 61, 62, 63, 64, 90, 126, 127, 128]),
    st.integers(-1, 1),
    st.sampled_from([-1, 1]),
)
any_size = st.one_of(st.integers(-(2**130), 2**130), st.integers(MIN_INT64, MAX_INT64), edges)
int64 = st.one_of(
    st.integers(MIN_INT64, MAX_INT64), st.integers(-(10**12), 10**12), st.sampled_from([MIN_INT64, MAX_INT64])
)
uint64 = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 10**12), st.sampled_from([0, 1, 2**64 - 1]))
fractions = st.one_of(st.integers(0, MILLION), st.sampled_from([0, 1, MILLION - 1, MILLION]))
wild_fractions = st.one_of(fractions, st.integers(0, 2**32 - 1))


def perpetuals(ppm=fractions, open_interest=int64):
    """Markets whose fields fit the chain's own types."""
    return st.builds(
        Perpetual,
        perpetual_id=st.integers(0, 2**32 - 1),
        atomic_resolution=st.integers(-20, 5),
        price=uint64,
        exponent=st.integers(-25, 5),
        funding_index=int64,
        open_interest=open_interest,
        initial_margin_ppm=ppm,
        maintenance_fraction_ppm=ppm,
        open_interest_lower_cap=uint64,
        open_interest_upper_cap=uint64,
    )


def outcome(model, *arguments):
    """What the model answers; None where the chain fails."""
    try:
        return model(*arguments)
    except ChainError:
        return None


def figures(risk: RiskState) -> tuple[int, int, int]:
    return risk.nc, risk.imr, risk.mmr


def fast_quantums(perpetual: Perpetual) -> int:
    """Largest size of the 64-bit path: value and size at most 2**62."""
    power = perpetual.exponent + perpetual.atomic_resolution + 6
    multiplier, divisor = perpetual.price * 10 ** max(power, 0), 10 ** max(-power, 0)
    return min(2**62, 2**62 * divisor // multiplier)


@given(perpetuals(wild_fractions, any_size), any_size, any_size, st.integers(0, 2**32 - 1))
@example(BTC, 0, 0, 0)
@example(BTC, 2**62, 0, 0)
@example(replace(BTC, price=1), 2**62 + 1, 0, 2**21 + 1)
@example(replace(BTC, price=2**64 - 1), -(2**63), -(2**63), 2**32 - 1)
@example(replace(BTC, price=2**64 - 1, exponent=5), MAX_INT64, 0, 0)
@example(replace(BTC, initial_margin_ppm=MILLION, maintenance_fraction_ppm=MILLION), 3, 0, MILLION)
def test_position_risk_of_any_size(perpetual, quantums, quote_balance, custom_imf_ppm):
    """Both paths give the model's integers or decline; where the chain fails they decline."""
    expected = outcome(exact.position_risk, perpetual, quantums, quote_balance, custom_imf_ppm)
    for wide in (False, True):
        answer = margin.position_risk(perpetual, quantums, quote_balance, custom_imf_ppm, wide=wide)
        assert answer is None or answer == figures(expected)


@given(
    st.sampled_from(GENESIS),
    st.integers(1, 2**63 - 1),
    fractions,
    fractions,
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.sampled_from([-1, 1]),
    st.integers(0, 10**21),
    int64,
    st.integers(0, 2**32 - 1),
)
def test_real_markets_are_never_declined(
    units, price, initial, maintenance, lower, span, sign, notional, quote_balance, custom_imf_ppm
):
    """Any size worth up to 1e15 USDC (1e21 quote quantums) is answered, at any uint64 price."""
    resolution, exponent = units
    perpetual = Perpetual(
        0, resolution, price, exponent, 0, 10**15, initial, maintenance, lower, lower + span
    )
    power = exponent + resolution + 6
    quantums = sign * min(notional * 10 ** max(-power, 0) // (price * 10 ** max(power, 0)), MAX_INT64)
    answer = margin.position_risk(perpetual, quantums, quote_balance, custom_imf_ppm)
    assert answer == figures(exact.position_risk(perpetual, quantums, quote_balance, custom_imf_ppm))
    assert margin.notional(perpetual, quantums) == exact.notional(perpetual, quantums)


@given(perpetuals(open_interest=st.integers(0, 10**6)), st.integers(-3, 3), st.sampled_from([-1, 1]))
@example(BTC, 0, 1)
@example(BTC, 1, -1)
@example(replace(BTC, price=1), 0, 1)
@example(replace(BTC, price=2**64 - 1, exponent=-25), 1, -1)
@example(replace(BTC, price=10**18, exponent=-3), 1, 1)
def test_where_the_64_bit_path_ends(perpetual, step, sign):
    """At the last size of the fast path, and around it, both paths and the model are one."""
    assume(perpetual.price > 0)
    quantums = sign * min(max(fast_quantums(perpetual) + step, 0), MAX_INT64)
    expected = figures(exact.position_risk(perpetual, quantums))
    assert margin.position_risk(perpetual, quantums) == expected
    assert margin.position_risk(perpetual, quantums, wide=True) == expected


@given(
    st.integers(1, 2**62),
    fractions,
    fractions,
    st.one_of(st.integers(0, 2**21 + 1), st.integers(0, 2**32 - 1)),
)
@example(2**43 - 1, MILLION, MILLION, 2**21)
@example(2**43, MILLION, MILLION, 2**21)
@example(2**43 + 1, 999_999, 999_999, 2**21 + 1)
@example(2**62, MILLION, MILLION, 2**21)
@example(2**62, 1, 1, 2**21 + 1)
@example(1, 1, 1, 0)
def test_margins_around_the_multiplication_without_division(notional, initial, maintenance, custom_imf_ppm):
    """A market whose notional is its size: ceilings are exact on both sides of 2**43 and at 2**62."""
    perpetual = Perpetual(0, -6, 1, 0, 0, 0, initial, maintenance, 0, 0)
    expected = figures(exact.position_risk(perpetual, -notional, 0, custom_imf_ppm))
    assert margin.position_risk(perpetual, -notional, 0, custom_imf_ppm) == expected


@given(perpetuals(wild_fractions), st.integers(-2, 2), st.booleans())
@example(replace(BTC, open_interest=10**10, open_interest_lower_cap=0, open_interest_upper_cap=1), 0, True)
def test_initial_margin_scaled_by_open_interest(perpetual, step, at_upper):
    """At, below and above each cap; caps that a validation would refuse included."""
    value = exact.notional(perpetual, perpetual.open_interest)
    cap = min(max(value + step, 0), 2**64 - 1)
    name = "open_interest_upper_cap" if at_upper else "open_interest_lower_cap"
    perpetual = replace(perpetual, **{name: cap})
    expected = outcome(exact.adjusted_initial_margin_ppm, perpetual, value)
    answer = margin.scaled_initial_margin_ppm(perpetual)
    if abs(value) < 2**127 and expected is not None:
        assert answer == expected
    else:
        assert answer is None or answer == expected


risks = st.builds(RiskState, any_size, any_size, any_size)
near_risks = st.builds(RiskState, st.integers(-3, 3), st.integers(0, 3), st.integers(0, 3))
huge_risks = st.builds(
    RiskState,
    st.sampled_from([2**127 - 1, -(2**127), 2**126, 0]),
    st.just(0),
    st.sampled_from([2**127 - 1, 2**126, 0]),
)


@given(st.one_of(risks, near_risks, huge_risks), st.one_of(risks, near_risks, huge_risks))
def test_order_flags_and_transition(a, b):
    """Comparison in 256 bits, the three questions and the verdict; they decline past 128 bits only."""
    fits = all(-(2**127) <= value < 2**127 for risk in (a, b) for value in figures(risk))
    if not fits:
        assert margin.risk_order(a, b) is None
        assert margin.transition(a, b) is None
        return
    assert margin.risk_order(a, b) == exact.compare_risk(a, b)
    assert margin.transition(a, b) == exact.state_transition(a, b)
    assert margin.risk_flags(a) == (
        exact.is_initial_collateralized(a),
        exact.is_maintenance_collateralized(a),
        exact.is_liquidatable(a),
    )


def account_on(perpetuals, subaccount: SubaccountState) -> Account:
    """The object door to the account kernel."""
    table = MarketTable()
    rows = []
    for position in subaccount.perpetual_positions:
        perpetual = perpetuals[position.perpetual_id]
        index = table.add()
        table.set(
            index,
            perpetual_id=perpetual.perpetual_id,
            atomic_resolution=perpetual.atomic_resolution,
            exponent=perpetual.exponent,
            price=perpetual.price,
            funding_index=perpetual.funding_index,
            open_interest=perpetual.open_interest,
            initial_margin_ppm=perpetual.initial_margin_ppm,
            maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
            open_interest_lower_cap=perpetual.open_interest_lower_cap,
            open_interest_upper_cap=perpetual.open_interest_upper_cap,
            height=7,
            basis=0,
        )
        custom = subaccount.leverage.get(position.perpetual_id, 0)
        rows.append(
            (
                str(index),
                index,
                position.quantums,
                position.funding_index,
                position.quote_balance,
                custom,
            )
        )
    account = Account(table)
    account.write(sum(asset.quantums for asset in subaccount.asset_positions), rows)
    return account


@st.composite
def accounts(draw, sizes, most=12):
    """Markets and a subaccount that holds one position in each."""
    markets = draw(st.lists(perpetuals(open_interest=st.integers(0, 10**9)), max_size=most))
    markets = [replace(market, perpetual_id=place) for place, market in enumerate(markets)]
    positions = tuple(
        PerpetualPosition(market.perpetual_id, draw(sizes), draw(sizes), draw(sizes)) for market in markets
    )
    leverage = {market.perpetual_id: draw(st.integers(0, 2 * MILLION)) for market in markets[::2]}
    assets = (AssetPosition(0, draw(sizes)),)
    return dict(enumerate(markets)), SubaccountState(assets, positions, leverage)


@given(accounts(st.integers(-(10**14), 10**14)))
def test_account_risk_is_the_sum_that_the_chain_makes(case):
    """Settled once over the sum, then every position and its own leverage added."""
    perpetuals, subaccount = case
    small = {place: replace(p, funding_index=p.funding_index % 10**12) for place, p in perpetuals.items()}
    expected = outcome(exact.subaccount_risk, small, subaccount)
    assume(expected is not None)
    try:
        risk = account_on(small, subaccount).evaluate()
    except OverflowError:
        assert max(map(abs, figures(expected))) >= 2**90 or any(p.price > 2**50 for p in small.values())
        return
    assert (risk.nc, risk.imr, risk.mmr) == figures(expected)
    assert risk.is_liquidatable == exact.is_liquidatable(expected)


@given(accounts(any_size, most=4))
def test_an_account_of_any_size_is_answered_right_or_handed_over(case):
    """An amount past the C fields is never answered wrong: the subclass's plain integers are asked."""
    perpetuals, subaccount = case
    expected = outcome(exact.subaccount_risk, perpetuals, subaccount)
    assume(expected is not None)
    try:
        risk = account_on(perpetuals, subaccount).evaluate()
    except OverflowError:
        return
    assert (risk.nc, risk.imr, risk.mmr) == figures(expected)


@pytest.mark.parametrize("count", [0, 1, 4, 20, 60])
def test_account_risk_of_many_positions(count):
    """The kernel adds up sixty positions as it does one."""
    markets = {place: replace(BTC, perpetual_id=place, funding_index=place * 977) for place in range(count)}
    positions = tuple(
        PerpetualPosition(place, (-1) ** place * (10**10 + place), place * 31, place - 5) for place in markets
    )
    subaccount = SubaccountState((AssetPosition(0, 25_000 * MILLION),), positions)
    risk = account_on(markets, subaccount).evaluate()
    assert (risk.nc, risk.imr, risk.mmr) == figures(exact.subaccount_risk(markets, subaccount))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", 2**64),
        ("funding_index", 2**63),
        ("open_interest", -(2**63) - 1),
        ("open_interest_lower_cap", 2**64),
        ("open_interest_upper_cap", 2**64),
    ],
)
def test_a_field_past_its_type_declines(field, value):
    """The documented end of the domain: one past the C type of a market's field."""
    assert margin.position_risk(BTC, 1) is not None
    assert margin.position_risk(replace(BTC, **{field: value}), 1) is None
    assert margin.scaled_initial_margin_ppm(replace(BTC, **{field: value})) is None


@pytest.mark.parametrize(("quantums", "quote_balance"), [(2**63, 0), (-(2**63) - 1, 0), (1, 2**63)])
def test_a_position_past_int64_declines(quantums, quote_balance):
    """The documented end of the domain: one past int64."""
    assert margin.position_risk(BTC, quantums, quote_balance) is None
