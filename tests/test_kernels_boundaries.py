"""The kernels at edges that random examples seldom meet: each was found by `make mutate`.

Expectations come from the plain integers, but for which cases a kernel answers itself.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from dydx_perf.exact import arith as exact_arith
from dydx_perf.exact import liquidation as exact_liquidation
from dydx_perf.exact import margin as exact_margin
from dydx_perf.exact.liquidation import Liquidation, LiquidationsConfig
from dydx_perf.exact.liquidation_price import liquidation_price as exact_liquidation_price
from dydx_perf.exact.state import (
    AssetPosition,
    ClobPair,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.ext import arith, funding, liquidation, margin, pnl
from dydx_perf.ext.account import Account, MarketTable

MILLION = 10**6
LARGEST, SMALLEST = 2**127 - 1, -(2**127)
#: one quantum is worth one quote quantum
PAR = Perpetual(0, -6, 1, 0, 0, 0, 20_000, 600_000, 0, 0)

Position = tuple[int, int, int, int]  # quantums, own funding index, quote balance, custom_imf_ppm


def account(perpetual: Perpetual, usdc: int, positions: list[Position]) -> tuple[Account, SubaccountState]:
    """An account with each position in a market of its own, like `perpetual`, for both arithmetics."""
    table = MarketTable()
    rows = []
    for place, (quantums, funding_index, quote_balance, custom_imf_ppm) in enumerate(positions):
        index = table.add()
        table.set(
            index,
            perpetual_id=place,
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
        rows.append((str(place), index, quantums, funding_index, quote_balance, custom_imf_ppm))
    made = Account(table)
    made.write(usdc, rows)
    state = SubaccountState(
        (AssetPosition(0, usdc),),
        tuple(
            PerpetualPosition(place, q, index, quote) for place, (q, index, quote, _) in enumerate(positions)
        ),
        {place: custom for place, (_, _, _, custom) in enumerate(positions)},
    )
    return made, state


def assert_same_risk(perpetual: Perpetual, usdc: int, positions: list[Position]) -> None:
    made, state = account(perpetual, usdc, positions)
    perpetuals = {place: replace(perpetual, perpetual_id=place) for place in range(len(positions))}
    expected = exact_margin.subaccount_risk(perpetuals, state)
    risk = made.evaluate()
    assert (risk.nc, risk.imr, risk.mmr) == (expected.nc, expected.imr, expected.mmr)


def test_the_layout_of_the_structs_has_its_version() -> None:
    """Cython callers ask for it: a changed struct is a new version."""
    assert margin.ABI_VERSION == 1


# ---- arithmetic


@pytest.mark.parametrize("power", [-40, -39, -38, -37, -1, 0, 1, 37, 38, 39, 40])
@pytest.mark.parametrize("value", [0, 1, -1, 5, -5, 10**38, -(10**38), LARGEST, SMALLEST])
def test_every_power_of_ten_of_128_bits(value: int, power: int) -> None:
    """A value of the range is answered, and one past it declined; 10**39 is past every one."""
    for kernel, model in (
        (arith.mul_pow10_floor, exact_arith.mul_pow10_floor),
        (arith.mul_pow10_ceil, exact_arith.mul_pow10_ceil),
    ):
        expected = model(value, power)
        answered = (expected == 0 or power <= 38) and SMALLEST <= expected <= LARGEST
        assert kernel(value, power) == (expected if answered else None)


@pytest.mark.parametrize("power", [-40, -39, -38, -1, 0, 1, 37, 38, 39, 1000])
@pytest.mark.parametrize(
    ("subticks", "quantums"), [(0, 1), (1, 1), (3, 3), (10**19, 10**19), (2**64 - 1, 2**64 - 1)]
)
def test_every_power_of_ten_of_a_fill(subticks: int, quantums: int, power: int) -> None:
    expected = exact_arith.fill_amount_to_quote_quantums_floor(subticks, quantums, power)
    answered = (expected == 0 or power <= 38) and expected < 2**128
    kernel = arith.fill_amount_to_quote_quantums_floor(subticks, quantums, power)
    assert kernel == (expected if answered else None)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_notional_keeps_its_sign_and_its_127_bits(sign: int) -> None:
    assert arith.base_to_quote_quantums_trunc(sign, -6, 7, 0) == 7 * sign
    assert arith.base_to_quote_quantums_trunc(sign * LARGEST, -6, 1, 0) == sign * LARGEST
    assert arith.base_to_quote_quantums_trunc(sign * LARGEST, -6, 1, -38) == sign
    assert arith.base_to_quote_quantums_trunc(sign * LARGEST, -6, 1, -39) == 0
    assert arith.base_to_quote_quantums_trunc(sign * 2**64, -6, 2**63, 0) is None  # 2**127 is one too many
    assert arith.quote_to_base_quantums_trunc(sign, -6, 1, 0) == sign
    assert arith.quote_to_base_quantums_trunc(sign * 2**64, -6, 1, -19) is None


def test_a_share_of_a_product_is_answered_to_the_last_bit() -> None:
    assert arith.mul_div_floor(SMALLEST, -1, 2) == 2**126
    assert arith.mul_div_floor(LARGEST - 1, 3, 3) == LARGEST - 1
    assert arith.mul_div_floor(1 - LARGEST, 3, 3) == 1 - LARGEST
    assert arith.mul_div_floor(2**126, 4, 1) is None
    assert arith.mul_div_floor(-(2**126), 4, 1) is None


def test_what_does_not_fit_its_type_is_declined() -> None:
    for value in (-1, 2**128, 2**129):
        assert arith.mul_256(5, value) is None
    assert arith.mul_256(5, 2**128 - 1) == 5 * (2**128 - 1)
    for value in (-1, 2**256):
        assert arith.divmod_256(value, 5) is None
        assert arith.divmod_256(5, value) is None
    for price in (-1, 2**64):
        assert arith.base_to_quote_quantums_trunc(1, -6, price, 0) is None
    for power in (10**6, -(10**6)):
        assert arith.mul_pow10_floor(0, power) == 0
    for power in (10**6 + 1, -(10**6) - 1):
        assert arith.mul_pow10_floor(0, power) is None
        assert arith.mul_pow10_floor(1, power) is None
    for default_ppm in (2**31, -(2**31) - 1, 2**32):
        assert funding.indexer_next_rate([1], default_ppm) is None
    for default_ppm in (2**31 - 1, -(2**31)):
        assert funding.indexer_next_rate([0], default_ppm) is not None


# ---- funding


def test_the_largest_rate_of_32_bits_is_the_last_one() -> None:
    """One more stops the chain."""
    perpetual = replace(PAR, initial_margin_ppm=MILLION, maintenance_fraction_ppm=0)
    for default_ppm, expected in ((-1, 2**31 - 2), (0, 2**31 - 1), (1, None)):
        at = replace(perpetual, default_funding_ppm=default_ppm)
        assert funding.rate_ppm(at, [2**31 - 1], 1, 2**32 - 1) == expected


def test_as_many_premiums_are_counted_as_64_bits_can_add() -> None:
    for count, expected in ((2**30 - 1, 0), (2**30, 0), (2**30 + 1, None)):
        for values in ([5], []):
            assert funding.median(values, count) == expected
            assert funding.mean(values, count) == expected


# ---- the 64-bit path


@pytest.mark.parametrize("ppm", [0, 1, 2, 999_999, MILLION])
@pytest.mark.parametrize("value", [0, 1, 2**43 - 1, 2**43, 9 * 10**12 + 1, 9 * 10**12 + 999_999, 2**56])
def test_shares_of_values_around_2_to_the_43(value: int, ppm: int) -> None:
    """From 2**43 on a share is made of two parts; one ppm of one quantum is rounded up there, too."""
    perpetual = replace(PAR, initial_margin_ppm=ppm)
    risk = exact_margin.position_risk(perpetual, value)
    assert margin.position_risk(perpetual, value) == (risk.nc, risk.imr, risk.mmr)


@pytest.mark.parametrize("custom_imf_ppm", [2**21 - 1, 2**21, 2**21 + 1, 2**22 - 1, 2**22, 2**32 - 1])
@pytest.mark.parametrize("value", [1, 2**42, 2**43 - 1, 2**43, 2**55, 2**56 - 1, 2**56, 2**56 + 1])
def test_chosen_fractions_around_2_to_the_21(value: int, custom_imf_ppm: int) -> None:
    """A fraction past 2**21 would pass 64 bits with a value of 43."""
    risk = exact_margin.position_risk(PAR, value, 0, custom_imf_ppm)
    assert margin.position_risk(PAR, value, 0, custom_imf_ppm) == (risk.nc, risk.imr, risk.mmr)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 129])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("perpetual", "size"),
    [
        (PAR, 2**56 - 1),
        (PAR, 2**56),
        (PAR, 2**57 - 1),
        (PAR, 2**57),
        # 31 / 1000 is just below 2**-5: the largest size of this market lies between 2**61 and 2**62
        (replace(PAR, price=31, exponent=-3), 2**62),
        (replace(PAR, price=31, exponent=-3), 2**61),
    ],
)
def test_sums_of_many_large_positions(perpetual: Perpetual, size: int, sign: int, count: int) -> None:
    """At most 64 values of at most 2**56, and margins of 2.1 times that, are added in 64 bits."""
    assert_same_risk(perpetual, 0, [(sign * size, 0, 0, 2**21)] * count)


def test_markets_whose_multiplier_passes_64_bits() -> None:
    """The second one's multiplier passes 128 bits and would come out below 2**64."""
    for price, exponent in ((2 * 10**18, 1), (10_208_471_007_628_153_904, 20), (2**64 - 1, 19), (1, 20)):
        perpetual = replace(PAR, price=price, exponent=exponent)
        for size in (1, -1, 3):
            risk = exact_margin.position_risk(perpetual, size)
            expected = (risk.nc, risk.imr, risk.mmr)
            assert margin.position_risk(perpetual, size) in (
                (None, expected) if risk.imr >= 2**96 else (expected,)
            )


@pytest.mark.parametrize("ppm", [MILLION, MILLION + 1, 2**21, 2**32 - 1])
@pytest.mark.parametrize("size", [1, -1, 2**42, 2**43, 2**56])
def test_tiers_of_100_percent_and_more(size: int, ppm: int) -> None:
    for tier in (replace(PAR, initial_margin_ppm=ppm), replace(PAR, maintenance_fraction_ppm=ppm)):
        risk = exact_margin.position_risk(tier, size)
        for wide in (False, True):
            assert margin.position_risk(tier, size, wide=wide) == (risk.nc, risk.imr, risk.mmr)


@pytest.mark.parametrize("base", [20_000, 999_999, MILLION])
@pytest.mark.parametrize("open_interest", [-(2**63), -2, -1, 0, 1, 2, 3, 4, 5, 6])
def test_open_interest_around_the_caps(open_interest: int, base: int) -> None:
    tier = replace(PAR, initial_margin_ppm=base, open_interest=open_interest, price=7)
    tier = replace(tier, open_interest_lower_cap=14, open_interest_upper_cap=35)
    value = exact_margin.notional(tier, open_interest)
    assert margin.scaled_initial_margin_ppm(tier) == exact_margin.adjusted_initial_margin_ppm(tier, value)


def test_a_market_that_the_chain_refuses_is_left_to_plain_integers() -> None:
    """A tier past 100 % between its caps; nothing of an earlier market may be used from its row."""
    tier = replace(PAR, initial_margin_ppm=MILLION + 1, open_interest=4)
    tier = replace(tier, open_interest_lower_cap=3, open_interest_upper_cap=5)
    made, _ = account(tier, 5, [(1, 0, 0, 0)])
    with pytest.raises(OverflowError):  # a Subaccount asks plain integers there
        made.evaluate()


# ---- settlement


@pytest.mark.parametrize("ppm", [-MILLION - 1, -MILLION, -1, 0, 1, MILLION - 1, MILLION, MILLION + 1])
def test_the_sum_of_all_settlements_is_floored_once(ppm: int) -> None:
    """Exactly at a whole quantum, and one millionth of it on either side."""
    assert_same_risk(PAR, 0, [(1, ppm, 0, 0)])
    assert_same_risk(PAR, 0, [(1, ppm - 3, 0, 0), (3, 1, 0, 0)])


# ---- the order of two risks


def test_the_order_of_small_risks() -> None:
    """Every pair of small ones, 0 and -1 among them: their products are what is compared."""
    risks = [RiskState(nc, 0, mmr) for nc in (-2, -1, 0, 1, 2, 10) for mmr in (0, 1, 2, 10)]
    for a in risks:
        for b in risks:
            assert margin.risk_order(a, b) == exact_margin.compare_risk(a, b)


# ---- liquidation

PAIR = ClobPair(1, 10, 0)
CONFIG = LiquidationsConfig(5_000, 1_000, MILLION, 100, 50, MILLION, 100_000)


def held(
    size: int, usdc: int, perpetual: Perpetual = PAR, config: LiquidationsConfig = CONFIG
) -> Liquidation:
    at = replace(perpetual, clob_pair=PAIR)
    state = SubaccountState((AssetPosition(0, usdc),), (PerpetualPosition(0, size, 0),))
    return Liquidation({0: at}, state, 0, config)


@pytest.mark.parametrize("size", [-3, -2, -1, 1, 2, 3])
def test_positions_of_one_quantum_have_all_figures_of_a_liquidation(size: int) -> None:
    """Answered, and not only declined: their sign and their smallness matter in every condition."""
    at = held(size, -size)
    risk, market = at.risk, at.perpetual
    quote = exact_liquidation.bankruptcy_price_quote_quantums(at, -size)
    assert liquidation.bankruptcy_quote_quantums(market, size, -size, risk) == quote
    price = exact_liquidation.fillable_price(at, -size)
    subticks = exact_liquidation.fillable_subticks(at, price)
    assert liquidation.fillable_subticks(market, size, risk, PAIR, CONFIG) == subticks
    limits = exact_liquidation.position_notional_limits(at)
    assert liquidation.notional_limits(market, size, CONFIG) == limits
    delta = exact_liquidation.liquidatable_size_delta(at)
    assert liquidation.size_delta(market, size, PAIR, CONFIG, 100) == delta
    fund = exact_liquidation.insurance_fund_delta(at, size < 0, abs(size), 20)
    assert liquidation.fund_delta(market, size, risk, PAIR, CONFIG, size < 0, abs(size), 20) == fund


@pytest.mark.parametrize("size", [1000, -1000])
@pytest.mark.parametrize("left", [0, 1, 99, 100, 101, 999, 1000, 1001])
def test_what_is_left_of_a_block_limit_is_traded(size: int, left: int) -> None:
    small = replace(CONFIG, min_position_notional_liquidated=1, max_position_portion_liquidated_ppm=MILLION)
    at = held(size, 0, config=replace(small, max_notional_liquidated=left))
    delta = exact_liquidation.liquidatable_size_delta(at)
    assert liquidation.size_delta(at.perpetual, size, PAIR, small, left) == delta


def test_without_a_step_or_a_tick_everything_is_declined() -> None:
    at = held(1000, 0)
    assert liquidation.size_delta(at.perpetual, 1000, replace(PAIR, step_base_quantums=0), CONFIG, 5) is None
    no_tick = replace(PAIR, subticks_per_tick=0)
    assert liquidation.fillable_subticks(at.perpetual, 1000, at.risk, no_tick, CONFIG) is None
    assert liquidation.price_to_subticks(5, 1, True, 0, 0) is None


def test_the_largest_sizes_of_an_attempt() -> None:
    whole = replace(CONFIG, max_position_portion_liquidated_ppm=MILLION)
    assert liquidation.size_delta(PAR, -(2**63), PAIR, whole, 2**63 - 1) == 2**63 - 1
    assert liquidation.size_delta(PAR, -(2**63), PAIR, whole, 2**63) is None
    at = held(2**63 - 1, 0)
    risk = at.risk
    for fill, subticks in ((2**63 - 1, 1), (2**62, 1)):
        fund = exact_liquidation.insurance_fund_delta(at, False, fill, subticks)
        delta = liquidation.fund_delta(at.perpetual, 2**63 - 1, risk, PAIR, CONFIG, False, fill, subticks)
        assert delta == fund
    for fill in (2**63, 2**63 + 5, 2**64 - 1):
        for is_buy in (True, False):
            assert liquidation.fund_delta(PAR, 2**63 - 1, risk, PAIR, CONFIG, is_buy, fill, 1) is None


def test_limits_of_a_block_can_be_used_up_but_not_passed() -> None:
    assert liquidation.block_limits_left(CONFIG, 99, 49) == (1, 1)
    assert liquidation.block_limits_left(CONFIG, 100, 50) == (0, 0)
    assert liquidation.block_limits_left(CONFIG, 101, 51) == (None, None)


def test_a_fillable_price_whose_scale_passes_128_bits_is_declined_or_right() -> None:
    """The account's margin times a million is past 128 bits while the adjustment is small."""
    at = held(1000, 0)
    for mmr in (2**108, 2**110 + 12345):
        risk = RiskState(mmr - 5, mmr, mmr)
        assert liquidation.fillable_subticks(at.perpetual, 1000, risk, PAIR, CONFIG) in (None, 10)


@pytest.mark.parametrize("exponent", [-39, -38, -37, -1, 0, 1, 37, 38, 39])
@pytest.mark.parametrize(("num", "den"), [(1, 1), (3, 2), (10**40, 3), (2**130, 2**128), (1, 10**40), (0, 7)])
@pytest.mark.parametrize("is_long", [True, False])
def test_levels_of_fillable_prices_at_every_power_of_ten(
    num: int, den: int, is_long: bool, exponent: int
) -> None:
    expected = exact_liquidation.fillable_price_to_subticks((num, den), is_long, 10, exponent)
    fits = num * 10 ** max(-exponent, 0) < 2**256 and den * 10 ** (1 + max(exponent, 0)) < 2**256
    answered = -38 <= exponent <= 38 and fits
    assert liquidation.price_to_subticks(num, den, is_long, 10, exponent) == (expected if answered else None)


def test_a_denominator_of_zero_has_no_level() -> None:
    for num in (0, 5, 2**200):
        assert liquidation.price_to_subticks(num, 0, True, 10, 0) is None


@pytest.mark.parametrize("is_long", [True, False])
def test_the_highest_level_of_the_book(is_long: bool) -> None:
    highest = (2**64 - 1) // 10 * 10
    for num in (highest - 10, highest - 9, highest - 1, highest, highest + 1, highest + 5, 2**64, 2**200):
        expected = exact_liquidation.fillable_price_to_subticks((num, 1), is_long, 10, 0)
        assert liquidation.price_to_subticks(num, 1, is_long, 10, 0) == expected


# ---- liquidation price


def test_a_bound_past_127_bits_is_declined() -> None:
    for nc, mmr in ((SMALLEST + 1, LARGEST), (SMALLEST + 5, LARGEST), (LARGEST, 0)):
        for size in (1, -1):
            answer = liquidation.position_liquidation_price(PAR, size, RiskState(nc, mmr, mmr))
            assert answer is None or abs(nc - mmr) < 2**127


def same_liquidation_price(
    perpetual: Perpetual, size: int, usdc: int, other: int = 0, answered: bool = True
) -> None:
    """As the plain integers say; `other` is a second position, whose first quantum has a margin of one."""
    perpetuals = {0: perpetual, 1: replace(PAR, perpetual_id=1)}
    positions = (PerpetualPosition(0, size, 0), *([PerpetualPosition(1, other, 0)] if other else []))
    state = SubaccountState((AssetPosition(0, usdc),), positions)
    risk = exact_margin.subaccount_risk(perpetuals, state)
    answer = liquidation.position_liquidation_price(perpetual, size, risk)
    if answer is None:
        assert not answered
    else:
        expected = exact_liquidation_price(perpetuals, state, 0)
        assert (answer[0] if answer[1] is None else answer[1]) == expected


@pytest.mark.parametrize("other", [0, 1, -1, 30])
@pytest.mark.parametrize("usdc", range(-4, 5))
@pytest.mark.parametrize("size", [-3, -1, 1, 3])
def test_liquidation_prices_of_a_few_quantums(size: int, usdc: int, other: int) -> None:
    """Every tier with and without a margin, beside another position with a margin of one, or with none."""
    for initial in (0, 1, 500_000, MILLION):
        for fraction in (0, 1, MILLION):
            for exponent in (-1, 0, 1):
                tier = replace(PAR, exponent=exponent, price=3)
                tier = replace(tier, initial_margin_ppm=initial, maintenance_fraction_ppm=fraction)
                same_liquidation_price(tier, size, usdc, other)


def test_the_highest_price_of_all_is_a_liquidation_price() -> None:
    half = replace(PAR, initial_margin_ppm=500_000, maintenance_fraction_ppm=MILLION)
    for past in (-2, -1, 0, 1):
        same_liquidation_price(half, -1, 2**64 - 1 + 2**63 + past)


def test_a_boundary_at_the_end_of_127_bits_is_declined_or_right() -> None:
    """Its upper bracket overflows, its lower one does not, and two quantums move the price."""
    tier = replace(PAR, initial_margin_ppm=121_773, maintenance_fraction_ppm=999_983)
    for past in range(-1, 4):
        usdc = (2**127 - 1) // 10**12 + past
        same_liquidation_price(tier, -9_222_607_433_957_507_350, usdc, answered=False)


@pytest.mark.parametrize("power", [-40, -39, 38, 39, 40])
@pytest.mark.parametrize("size", [2, 2**62, -2, -(2**62)])
def test_a_market_without_a_price_is_declined_where_its_scale_passes_127_bits(size: int, power: int) -> None:
    risk = RiskState(5, 0, 0)
    unpriced = replace(PAR, price=0, exponent=power)
    assert liquidation.position_liquidation_price(unpriced, size, risk) is None


@pytest.mark.parametrize("usdc", [-(2**66), -5, 0, 5, 2**66])
@pytest.mark.parametrize("size", [2**33, -(2**33), 2**40, -(2**40)])
def test_notionals_of_whole_multiples_of_2_to_the_66(size: int, usdc: int) -> None:
    for price in (2**33, 2**26, 2**63):
        same_liquidation_price(replace(PAR, price=price), size, usdc)


@pytest.mark.parametrize(
    ("power", "size", "usdc"),
    [(power, size, usdc) for power in (37, 38) for size in (1, -1) for usdc in (-5, 5)]
    + [(power, -1, -5) for power in (-38, -37)],
)
def test_liquidation_prices_at_every_power_of_ten(power: int, size: int, usdc: int) -> None:
    tier = replace(PAR, exponent=power, initial_margin_ppm=1, maintenance_fraction_ppm=1)
    same_liquidation_price(tier, size, usdc)


# ---- the indexer's figures


@pytest.mark.parametrize("other", [-7, -1, 0, 1])
@pytest.mark.parametrize("power", [-7, -2, -1, 0, 1])
def test_positions_of_different_decimals_add_up(power: int, other: int) -> None:
    """One quantum each, at a price of 3 and a fraction of 2 %, with 5 ppm of funding; not a digit is lost."""
    markets = [replace(PAR, price=3, exponent=exponent, funding_index=-5) for exponent in (power, other)]
    answer = pnl.equity_and_free_collateral(11, [(market, 1, 0) for market in markets])
    assert answer is not None
    equity, free, digits = answer
    values = [Fraction(3) * Fraction(10) ** exponent for exponent in (power, other)]
    unit = Fraction(10) ** (6 - digits)
    assert equity * unit == 11 + sum(values) + Fraction(10, MILLION)
    assert free * unit == equity * unit - sum(values) / 50


def test_an_account_whose_sums_pass_128_bits_is_declined() -> None:
    market = replace(PAR, price=2**60, exponent=10)
    one = [(market, 1, 0)]
    assert pnl.equity_and_free_collateral(0, one) is not None
    assert pnl.equity_and_free_collateral(0, [(market, 2**20, 0), *one]) is None
    assert pnl.equity_and_free_collateral(0, [*one, (market, 2**20, 0)]) is None
