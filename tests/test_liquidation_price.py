"""The liquidation price is proved where it stands: the whole account is evaluated there and one price away.

The kernel's closed form knows no bisection over prices, `dydx_perf.exact.liquidation_price` no closed form.
"""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dydx_perf.exact.arith import MAX_INT64, MAX_UINT64
from dydx_perf.exact.liquidation_price import ALWAYS, NEVER, liquidation_price, risk_at_price
from dydx_perf.exact.margin import is_liquidatable, notional, subaccount_risk
from dydx_perf.exact.state import (
    MARKET_TYPE_ISOLATED,
    AssetPosition,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.ext import liquidation

MILLION = 10**6
BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0)
# a price of 1 is one quote quantum for one base quantum
UNIT = Perpetual(0, -6, 1000, 0, 0, 0, 50_000, 600_000, 0, 0)
GENESIS = [(-10, -5), (-9, -6), (-6, -9), (-7, -8), (-4, -11), (1, -16), (-12, -3)]


def held(usdc: int, *positions: tuple[int, int]) -> SubaccountState:
    """A subaccount with (perpetual, size) positions."""
    return SubaccountState(
        (AssetPosition(0, usdc),),
        tuple(PerpetualPosition(perpetual_id, size, 0) for perpetual_id, size in positions),
    )


def kernel_price(perpetuals, account: SubaccountState) -> int | str | None:
    """The kernel's answer for the first position."""
    position = account.perpetual_positions[0]
    risk = subaccount_risk(perpetuals, account)
    answer = liquidation.position_liquidation_price(
        perpetuals[position.perpetual_id], position.quantums, risk
    )
    if answer is None:
        return None
    kind, price = answer
    return price if kind == "AT" else kind


def assert_boundary(perpetuals, account: SubaccountState, price: int | str) -> None:
    """Liquidatable at the price and not one beyond it; NEVER and ALWAYS at the ends of the domain."""
    position = account.perpetual_positions[0]

    def liquidatable(at: int) -> bool:
        return is_liquidatable(risk_at_price(perpetuals, account, position.perpetual_id, at))

    last = MAX_UINT64 if position.quantums > 0 else 1
    if price == ALWAYS:
        assert liquidatable(last)
    elif price == NEVER:
        assert not liquidatable(last)
        assert not liquidatable(MAX_UINT64 + 1 - last)
    else:
        assert isinstance(price, int)
        assert 1 <= price <= MAX_UINT64
        assert liquidatable(price)
        assert not liquidatable(price + 1 if position.quantums > 0 else price - 1)


def assert_proved(perpetuals, account: SubaccountState) -> int | str:
    """The kernel's answer is the model's and holds by full evaluation."""
    price = kernel_price(perpetuals, account)
    assert price is not None
    assert price == liquidation_price(perpetuals, account, account.perpetual_positions[0].perpetual_id)
    assert_boundary(perpetuals, account, price)
    return price


fractions = st.one_of(st.integers(0, MILLION), st.sampled_from([0, 1, 50_000, 999_999, MILLION]))


@st.composite
def real_accounts(draw):
    """Genesis-like markets, up to 1e15 USDC a position, the account around its margin or anywhere."""
    count = draw(st.integers(1, 5))
    perpetuals, positions = {}, []
    for place in range(count):
        resolution, exponent = draw(st.sampled_from(GENESIS))
        initial, maintenance = draw(fractions), draw(fractions)
        perpetuals[place] = replace(
            BTC,
            perpetual_id=place,
            atomic_resolution=resolution,
            exponent=exponent,
            price=draw(st.integers(1, 10**13)),
            initial_margin_ppm=initial,
            maintenance_fraction_ppm=maintenance,
        )
        dollars = draw(st.integers(1, 10**15)) if draw(st.booleans()) else draw(st.integers(1, 10**4))
        size = min(dollars * 10**15 // perpetuals[place].price + 1, MAX_INT64)
        positions.append((place, size * draw(st.sampled_from([-1, 1]))))
    account = held(0, *positions)
    risk = subaccount_risk(perpetuals, account)
    reach = max(risk.mmr, 10)
    usdc = -risk.nc + draw(
        st.one_of(st.integers(-3, 3), st.integers(-reach, 3 * reach), st.integers(-(10**18), 10**18))
    )
    assume(abs(usdc) <= MAX_INT64)
    return perpetuals, held(usdc, *positions)


@given(real_accounts())
def test_real_accounts_are_answered_and_proved(case):
    """Long and short, one position and many, healthy and liquidatable: never declined, always proved."""
    assert_proved(*case)


@given(
    st.one_of(st.sampled_from([1, 2, 3, 5, 7]), st.integers(1, 1000)),
    st.sampled_from([-1, 1]),
    st.integers(-60, 60),
    fractions,
    fractions,
    st.integers(-12, 0),
    st.integers(0, 60),
)
@example(1, 1, -1, MILLION, MILLION, -6, 0)
@example(1, -1, 1, MILLION, MILLION, -6, 0)
@example(3, 1, 0, 0, MILLION, -6, 1)
@example(3, -1, 0, MILLION, 0, -6, 1)
@example(7, 1, -40, 999_999, MILLION, -7, 0)
def test_rounding_near_zero(size, sign, usdc, initial, maintenance, resolution, other):
    """Sizes and balances of a few quantums, where one rounding moves the boundary; margins of 0 and 100 %."""
    perpetual = replace(
        UNIT,
        atomic_resolution=resolution,
        initial_margin_ppm=initial,
        maintenance_fraction_ppm=maintenance,
    )
    perpetuals = {0: perpetual, 1: replace(UNIT, perpetual_id=1, price=1)}
    positions = [(0, sign * size)] + [(1, other)] * bool(other)
    assert_proved(perpetuals, held(usdc, *positions))


@given(
    st.integers(-(2**63), MAX_INT64).filter(bool),
    st.integers(1, MAX_UINT64),
    st.integers(-25, 12),
    fractions,
    fractions,
    st.integers(-(2**70), 2**70),
    st.integers(0, 2**66),
)
@example(MAX_INT64, MAX_UINT64, 0, MILLION, MILLION, 0, 0)
@example(-(2**63), MAX_UINT64, 0, 0, 0, 0, 1)
@example(1, 1, -25, 20_000, 600_000, 0, 0)
@example(-1, 1, 12, 20_000, 600_000, 0, 0)
def test_any_size_is_right_or_handed_over(size, price, exponent, initial, maintenance, usdc, margin):
    """Whatever the amounts: the account's boundary, or no answer; `margin` is of other positions."""
    perpetual = replace(
        BTC, price=price, exponent=exponent, initial_margin_ppm=initial, maintenance_fraction_ppm=maintenance
    )
    # a market whose notional and maintenance margin are its size
    other = Perpetual(1, -6, 1, 0, 0, 0, MILLION, MILLION, 0, 0)
    positions = [(0, size)] + [(1, -margin)] * bool(margin)
    perpetuals, account = {0: perpetual, 1: other}, held(usdc + margin, *positions)
    answer = kernel_price(perpetuals, account)
    if answer is not None:
        assert answer == liquidation_price(perpetuals, account, 0)
        assert_boundary(perpetuals, account, answer)


def test_a_long_is_liquidated_below_its_price():
    """1 BTC bought with 20 000 USDC borrowed: at 1.2 % maintenance the price is 20 000 / 0.988."""
    account = held(-20_000 * MILLION, (0, 10**10))
    assert assert_proved({0: BTC}, account) == 2_024_291_497
    assert pytest.approx(20_242.91497, abs=0.00001) == 20_000 / 0.988


def test_a_short_is_liquidated_above_its_price():
    """1 BTC sold, 100 000 USDC held: at 1.2 % maintenance the price is 100 000 / 1.012."""
    account = held(100_000 * MILLION, (0, -(10**10)))
    assert assert_proved({0: BTC}, account) == 9_881_422_925
    assert pytest.approx(98_814.22925, abs=0.00001) == 100_000 / 1.012


def test_an_isolated_position_depends_on_its_own_market_only():
    """The only position of its subaccount: the margin of others is zero, the formula the same."""
    isolated = replace(BTC, market_type=MARKET_TYPE_ISOLATED, initial_margin_ppm=100_000)
    assert assert_proved({0: isolated}, held(-(10**9), (0, 10**9))) > 0


@pytest.mark.parametrize(("size", "beyond"), [(10**10, 1), (-(10**10), -1)])
def test_an_account_already_liquidatable_is_told_where_it_recovers(size, beyond):
    """The price then lies on the other side of the present one: above it for a long, below it for a short."""
    value = notional(BTC, size)
    account = held(-value + abs(value) // 1000, (0, size))
    assert is_liquidatable(subaccount_risk({0: BTC}, account))
    assert (assert_proved({0: BTC}, account) - BTC.price) * beyond > 0


def test_a_long_covered_by_cash_is_never_liquidated():
    """Without debt a price of one takes nothing that is owed."""
    assert assert_proved({0: BTC}, held(10**6, (0, 10**10))) == NEVER


def test_a_short_that_no_price_reaches_is_never_liquidated():
    """One base quantum short against a fortune: 2**64 - 1 is not enough."""
    assert assert_proved({0: BTC}, held(10**18, (0, -1))) == NEVER


def test_a_market_without_margin_never_liquidates_alone():
    """No maintenance margin, no liquidation, however deep the debt."""
    free = replace(BTC, maintenance_fraction_ppm=0)
    assert assert_proved({0: free}, held(-(10**15), (0, 10**10))) == NEVER
    assert assert_proved({0: free}, held(-(10**15), (0, -(10**10)))) == NEVER


def test_a_debt_that_no_price_covers_always_liquidates():
    """One base quantum long against a debt past every price of it."""
    assert assert_proved({0: BTC}, held(-(10**18), (0, 1))) == ALWAYS


def test_a_short_in_debt_always_liquidates():
    """Less than nothing, and something owed: liquidatable at a price of one."""
    assert assert_proved({0: BTC}, held(-(10**6), (0, -(10**10)))) == ALWAYS


def test_a_margin_of_the_whole_value_frees_no_long_in_debt():
    """At 100 % margin a higher price adds as much margin as value."""
    whole = replace(BTC, initial_margin_ppm=MILLION, maintenance_fraction_ppm=MILLION)
    assert assert_proved({0: whole}, held(-1, (0, 10**10))) == ALWAYS
    assert assert_proved({0: whole}, held(0, (0, 10**10))) == NEVER


def test_equality_of_collateral_and_margin_is_safe():
    """Nc = mmr at a price and not at the one below: the boundary is the one below."""
    perpetual = replace(UNIT, initial_margin_ppm=MILLION, maintenance_fraction_ppm=500_000)
    account = held(-500, (0, 1))
    at = risk_at_price({0: perpetual}, account, 0, 1000)
    assert at.nc == at.mmr == 500
    assert assert_proved({0: perpetual}, account) == 999


@pytest.mark.parametrize("count", [2, 20, 60])
def test_many_positions(count):
    """Each of many positions has its own price, all others held."""
    perpetuals = {
        place: replace(
            BTC, perpetual_id=place, price=BTC.price // (place + 1), initial_margin_ppm=20_000 + place
        )
        for place in range(count)
    }
    positions = [(place, (-1) ** place * (10**9 + place)) for place in range(count)]
    risk = subaccount_risk(perpetuals, held(0, *positions))
    for place in (0, 1, count - 1):
        ordered = [positions[place], *positions[:place], *positions[place + 1 :]]
        assert_proved(perpetuals, held(-risk.nc + 2 * risk.mmr, *ordered))


@pytest.mark.parametrize(
    ("perpetual", "size", "risk"),
    [
        (BTC, 0, RiskState(0, 0, 0)),
        (BTC, 2**63, RiskState(0, 0, 0)),
        (BTC, 1, RiskState(2**127, 0, 0)),
        (BTC, 1, RiskState(0, 0, -(2**127) - 1)),
        (replace(BTC, initial_margin_ppm=MILLION + 1), 1, RiskState(0, 0, 0)),
        (replace(BTC, maintenance_fraction_ppm=MILLION + 1), 1, RiskState(0, 0, 0)),
        (replace(BTC, exponent=-60), 1, RiskState(0, 0, 0)),
    ],
)
def test_what_is_outside_the_domain_is_handed_over(perpetual, size, risk):
    """No position, amounts past their C types, a margin past 100 % (no boundary of the closed form)."""
    assert liquidation.position_liquidation_price(perpetual, size, risk) is None
