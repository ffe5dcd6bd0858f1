"""The plain integers at edges that no vector of the chain has: each was found by `make mutate`.

Expectations are written out, or follow from the definition in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from decimal import Decimal

import pytest

from dydx_perf.errors import ChainError
from dydx_perf.exact import arith, decimals, funding, indexer, liquidation, margin, premium, state, update
from dydx_perf.exact.liquidation import Liquidation, LiquidationInfo, LiquidationsConfig
from dydx_perf.exact.liquidation_price import NEVER, liquidation_price
from dydx_perf.exact.premium import BookOrder, PremiumTerms
from dydx_perf.exact.state import AssetPosition, ClobPair, Perpetual, PerpetualPosition, SubaccountState
from dydx_perf.exact.update import AssetUpdate, BlockState, PerpetualUpdate, Update

MILLION = 10**6
PAR = Perpetual(7, -6, 1, 0, 0, 0, MILLION, 0, 0, 0)


@contextmanager
def refused(name: str) -> Iterator[None]:
    with pytest.raises(ChainError) as caught:
        yield
    assert caught.value.chain_name == name


# ---- arith


def test_the_bounds_of_the_integer_types() -> None:
    assert (arith.MIN_INT32, arith.MAX_INT32) == (-2147483648, 2147483647)
    assert (arith.MIN_INT64, arith.MAX_INT64) == (-9223372036854775808, 9223372036854775807)
    assert arith.MAX_UINT64 == 18446744073709551615


@pytest.mark.parametrize("den", [-7, -2, -1, 1, 2, 7])
@pytest.mark.parametrize("num", [-14, -7, -3, -1, 0, 1, 3, 7, 14])
def test_division_of_small_numbers_of_any_sign(num: int, den: int) -> None:
    exact = Decimal(num) / Decimal(den)
    assert arith.div_trunc(num, den) == int(exact)
    assert arith.div_floor(num, den) == exact.__floor__()
    assert arith.div_ceil(num, den) == exact.__ceil__()
    lowest, positive = arith.reduced(num, den)
    assert (lowest * den, positive > 0) == (num * positive, True)


def test_a_fraction_is_in_lowest_terms_and_its_sign_is_above() -> None:
    assert arith.reduced(-3, -6) == (1, 2)
    assert arith.reduced(3, -6) == (-1, 2)
    assert arith.reduced(0, -6) == (0, 1)


@pytest.mark.parametrize("divide", [arith.reduced, arith.div_trunc, arith.div_floor, arith.div_ceil])
def test_a_divisor_of_zero_is_the_chains_panic(divide: Callable[[int, int], object]) -> None:
    with refused("division by zero"):
        divide(1, 0)


@pytest.mark.parametrize(("exponent", "floor", "ceil", "trunc"), [(-1, -2, -1, -1), (0, -15, -15, -15)])
def test_powers_of_ten_around_zero(exponent: int, floor: int, ceil: int, trunc: int) -> None:
    assert arith.mul_pow10_floor(-15, exponent) == floor
    assert arith.mul_pow10_ceil(-15, exponent) == ceil
    assert arith.mul_pow10_trunc(-15, exponent) == trunc


@pytest.mark.parametrize("round_up", [True, False])
@pytest.mark.parametrize("multiple", [0, -1])
def test_a_multiple_below_one_is_refused_by_name(multiple: int, round_up: bool) -> None:
    with refused("BigIntRoundToMultiple: multiple must be positive"):
        arith.round_to_multiple(5, multiple, round_up)


def test_bounds_that_cross_give_the_upper_one_unless_the_value_lies_below_the_lower() -> None:
    assert [arith.clamp(value, 5, 3) for value in (2, 4, 5, 6)] == [5, 5, 3, 3]


def test_a_debt_buys_and_costs_toward_the_named_side() -> None:
    assert arith.quote_to_base_quantums_trunc(-1, -5, 1, 0) == 0  # -0.1
    assert arith.quote_to_base_quantums_trunc(-15, -5, 1, 0) == -1
    assert arith.fill_amount_to_quote_quantums_floor(1, -1, -1) == -1
    assert arith.asset_to_coin(-15, -6, -5) == (-2, -20)


# ---- decimals and indexer


def test_a_quotient_of_minus_one() -> None:
    assert decimals.divide_half_away(Decimal(1), Decimal(-1), 0) == -1
    assert decimals.divide_half_away(Decimal(-1), Decimal(-1), 0) == 1


def test_a_small_debt_is_a_short_entry() -> None:
    assert indexer.usdc_entry(Decimal("-0.5")) == ("SHORT", Decimal("0.5"))
    assert indexer.usdc_entry(Decimal("0.5")) == ("LONG", Decimal("0.5"))


# ---- funding


@pytest.mark.parametrize(
    ("ppm", "usdc"), [(-MILLION - 1, -2), (-MILLION, -1), (-1, -1), (0, 0), (MILLION - 1, 0), (MILLION, 1)]
)
def test_a_settlement_is_floored_at_the_whole_quantum(ppm: int, usdc: int) -> None:
    position = PerpetualPosition(7, 1, ppm)
    settled = funding.settle_subaccount({7: 0}, SubaccountState((), (position,)))
    assert settled.usdc == usdc
    assert settled.subaccount.asset_positions == ((AssetPosition(0, usdc),) if usdc else ())


def test_no_sample_is_removed_however_many_there_are() -> None:
    samples = [0] * 499_999 + [500_000]
    assert funding.funding_rate_ppm(PAR, samples, 2**31) == 1


def test_the_largest_rate_of_32_bits_passes() -> None:
    assert funding.funding_rate_ppm(PAR, [arith.MAX_INT32], 2**32 - 1) == arith.MAX_INT32


# ---- liquidation

NOTHING_YET = LiquidationInfo()
CONFIG = LiquidationsConfig(5_000, 1_000, 1_000_000, 100, 50, 1_000_000, 1_000_000)


def held(size: int, usdc: int = 0, info: LiquidationInfo = NOTHING_YET) -> Liquidation:
    """A position at a price of one, whose maintenance margin is all of its value."""
    perpetual = Perpetual(7, -6, 1, 0, 0, 0, MILLION, MILLION, 0, 0, clob_pair=ClobPair(1, 10, -1))
    state = SubaccountState((AssetPosition(0, usdc),), (PerpetualPosition(7, size, 0),))
    return Liquidation({7: perpetual}, state, 7, CONFIG, info)


def test_nothing_is_liquidated_before_the_first_liquidation() -> None:
    assert LiquidationInfo() == LiquidationInfo((), 0, 0)
    assert (LiquidationInfo().notional_liquidated, LiquidationInfo().quantums_insurance_lost) == (0, 0)


def test_a_position_of_one_quantum_can_be_closed() -> None:
    for size in (1, -1):
        liquidation.check_size_delta(size, -size)
        for delta in (size, 0, -2 * size):
            with refused("ErrInvalidPerpetualPositionSizeDelta"):
                liquidation.check_size_delta(size, delta)
        with refused("ErrInvalidPerpetualPositionSizeDelta"):
            liquidation.check_size_delta(0, size)


def test_a_fillable_price_of_nothing_is_a_price() -> None:
    assert liquidation.fillable_price(held(100, usdc=-100), -100) == (0, 1)
    assert liquidation.fillable_price(held(-100, usdc=100), 100) == (2, 1)


def test_a_negative_fillable_price_is_no_level() -> None:
    with refused("ConvertFillablePriceToSubticks: FillablePrice should not be negative"):
        liquidation.fillable_price_to_subticks((-1, 1), True, 10, 0)
    assert liquidation.fillable_price_to_subticks((0, 1), True, 10, 0) == 10


def test_a_sale_of_one_quantum_rounds_up_and_a_purchase_down() -> None:
    assert liquidation.fillable_subticks(held(1), (3, 2)) == 20
    assert liquidation.fillable_subticks(held(-1), (3, 2)) == 10


@pytest.mark.parametrize(
    ("left", "used", "name"),
    [
        (liquidation.subaccount_max_notional_liquidatable, (99, 0), "MaxNotionalLiquidated"),
        (liquidation.subaccount_max_insurance_lost, (0, 49), "MaxInsuranceLost"),
    ],
)
def test_a_block_limit_can_be_used_up_but_not_passed(
    left: Callable[[Liquidation], int], used: tuple[int, int], name: str
) -> None:
    one = (used[0] > 0, used[1] > 0)
    for more, expected in ((0, 1), (1, 0)):
        info = LiquidationInfo((), used[0] + more * one[0], used[1] + more * one[1])
        assert left(held(5, info=info)) == expected
    with refused(f"ErrLiquidationExceedsSubaccount{name}"):
        left(held(5, info=LiquidationInfo((), used[0] + 2 * one[0], used[1] + 2 * one[1])))


def test_an_order_of_one_quantum_is_on_the_other_side() -> None:
    for size in (1, -1):
        order = liquidation.liquidation_order(held(size, usdc=-size))
        assert (order.is_buy, order.base_quantums) == (size < 0, 1)


def test_the_insurance_fund_pays_in_full_or_not_at_all() -> None:
    valid = liquidation.is_valid_insurance_fund_delta
    assert [valid(5, delta) for delta in (-6, -5, -4, 0, 1)] == [False, True, True, True, True]
    assert [valid(0, delta) for delta in (-1, 0)] == [False, True]
    assert [valid(-5, delta) for delta in (-1, 0, 1)] == [False, True, True]


def test_a_fill_may_use_up_both_limits_of_a_block() -> None:
    at = held(200)
    liquidation.check_block_limits(at, 100, -50)
    for fill in (101, -101):
        with refused("ErrLiquidationExceedsSubaccountMaxNotionalLiquidated"):
            liquidation.check_block_limits(at, fill, -50)
    with refused("ErrLiquidationExceedsSubaccountMaxInsuranceLost"):
        liquidation.check_block_limits(at, 100, -51)


@pytest.mark.parametrize("field", [field.name for field in fields(LiquidationsConfig)])
def test_every_limit_of_a_configuration_has_its_own_bounds(field: str) -> None:
    lowest = MILLION if field == "bankruptcy_adjustment_ppm" else 1
    shares = ("max_liquidation_fee_ppm", "max_position_portion_liquidated_ppm")
    values = {lowest - 1: False, lowest: True, MILLION: True, MILLION + 1: field not in shares}
    for value, valid in values.items():
        changed = replace(CONFIG, **{field: value})
        if valid:
            liquidation.check_liquidations_config(changed)
        else:
            with refused("ErrInvalidLiquidationsConfig"):
                liquidation.check_liquidations_config(changed)


# ---- liquidation price


@pytest.mark.parametrize(
    ("size", "usdc", "price"),
    [
        (1, -1, 1),  # n = 1 has a margin of 1 and leaves nothing
        (1, 0, NEVER),
        (-1, 3, 3),
        (-1, arith.MAX_UINT64 + 2**63 - 1, arith.MAX_UINT64),
        (-1, arith.MAX_UINT64 + 2**63, NEVER),
    ],
)
def test_the_first_and_the_last_price_are_liquidation_prices(size: int, usdc: int, price: int | str) -> None:
    half = replace(PAR, initial_margin_ppm=500_000, maintenance_fraction_ppm=MILLION)
    account = SubaccountState((AssetPosition(0, usdc),), (PerpetualPosition(7, size, 0),))
    assert liquidation_price({7: half}, account, 7) == price


# ---- margin and state


def test_a_tier_past_100_percent_is_refused_only_between_the_caps() -> None:
    tier = replace(PAR, initial_margin_ppm=MILLION + 1, open_interest_lower_cap=3, open_interest_upper_cap=5)
    assert margin.adjusted_initial_margin_ppm(tier, 3) == MILLION + 1
    with refused("ErrInitialMarginPpmExceedsMax"):
        margin.adjusted_initial_margin_ppm(tier, 4)
    assert margin.adjusted_initial_margin_ppm(tier, 5) == MILLION


def test_without_a_tier_fraction_or_a_chosen_one_there_is_no_margin() -> None:
    assert margin.initial_margin(replace(PAR, initial_margin_ppm=0), MILLION) == 0
    assert margin.position_risk(replace(PAR, initial_margin_ppm=0), MILLION).imr == 0


@pytest.mark.parametrize(
    ("quantums", "name"),
    [
        (-2, "ErrNotImplementedMargin"),
        (-1, "ErrNotImplementedMargin"),
        (1, "ErrNotImplementedMulticollateral"),
        (2, "ErrNotImplementedMulticollateral"),
    ],
)
def test_any_amount_of_another_asset_is_refused(quantums: int, name: str) -> None:
    none = SubaccountState((AssetPosition(0, 5), AssetPosition(1, 0)))
    assert margin.settled_subaccount_risk({}, none, {}).nc == 5
    with refused(name):
        margin.settled_subaccount_risk({}, SubaccountState((AssetPosition(1, quantums),)), {})


def test_what_is_not_said_of_a_position_or_a_block_is_nothing() -> None:
    assert PerpetualPosition(7, 1, 0).quote_balance == 0
    assert BlockState() == BlockState(0, None, 0, 0)
    assert (state.MARKET_TYPE_CROSS, state.MARKET_TYPE_ISOLATED) == (1, 2)  # as in the chain's messages


# ---- updates


@pytest.mark.parametrize(("height", "blocked"), [(100, True), (149, True), (150, False)])
def test_withdrawals_are_blocked_for_fifty_blocks(height: int, blocked: bool) -> None:
    for seen in (BlockState(height, 100), BlockState(height, None, 100, 1), BlockState(height, 1, 100, 1)):
        assert update.are_withdrawals_blocked(seen) is blocked
    assert not update.are_withdrawals_blocked(BlockState(height, None, 100, 0))
    with refused("current block is less than the last block seen"):
        update.are_withdrawals_blocked(BlockState(99, 100))


@pytest.mark.parametrize("asset_id", [0, 1, 2, 3])
def test_four_assets_are_known(asset_id: int) -> None:
    change = Update(0, (AssetUpdate(asset_id, 0),))
    update.check_updatable({}, change)
    with refused("ErrAssetDoesNotExist"):
        update.check_updatable({}, Update(0, (AssetUpdate(asset_id + 4, 0),)))


def test_open_interest_may_become_zero_and_no_less() -> None:
    assert [update.modified_open_interest(5, delta) for delta in (-5, -4, 0)] == [0, 1, 5]
    with refused("ErrOpenInterestWouldBecomeNegative"):
        update.modified_open_interest(5, -6)


@pytest.mark.parametrize("open_interest", [0, 1])
def test_a_match_may_close_all_of_the_open_interest_and_no_more(open_interest: int) -> None:
    """Both accounts close one quantum; the book of open interest may lag behind."""
    perpetual = replace(PAR, open_interest=open_interest)
    accounts = [
        SubaccountState((AssetPosition(0, 100),), (PerpetualPosition(7, size, 0),)) for size in (1, -1)
    ]
    updates = [Update(i, (), (PerpetualUpdate(7, delta),)) for i, delta in ((0, -1), (1, 1))]
    if open_interest == 0:
        with refused("ErrCannotModifyPerpOpenInterestForOIMF"):
            update.update_subaccounts({7: perpetual}, accounts, updates, update.MATCH)
    else:
        updated = update.update_subaccounts({7: perpetual}, accounts, updates, update.MATCH)
        assert updated.open_interest == {7: 0}


def test_the_tiers_own_fraction_can_be_chosen_as_leverage() -> None:
    tier = replace(PAR, initial_margin_ppm=20_000)
    account = SubaccountState((AssetPosition(0, 5),))
    assert update.update_leverage({7: tier}, account, {7: 20_000}) == {7: 20_000}
    with refused("ErrLeverageExceedsMaximum"):
        update.update_leverage({7: tier}, account, {7: 19_999})


# ---- premium


def test_liquidity_of_exactly_the_impact_notional_is_enough() -> None:
    side = [BookOrder(True, 10, 3), BookOrder(True, 5, 4)]
    assert premium.impact_price_subticks(side, 50, 0) == (50, 7)
    assert premium.impact_price_subticks(side, 51, 0) is None


def test_the_best_orders_of_both_sides_must_not_cross() -> None:
    terms = PremiumTerms(10, 0, -6, -6, 1, 1000, 0)
    bids = [BookOrder(True, price, 1) for price in (8, 12)]
    asks = [BookOrder(False, price, 1) for price in (20, 11)]
    with refused("GetPricePremium: crossing orderbook"):
        premium.price_premium_ppm(terms, bids + asks)
    assert premium.price_premium_ppm(terms, bids[:1] + asks) == 0
