"""Liquidation: bankruptcy and fillable price, sizes and limits of an attempt, insurance fund, deleveraging.

Sources: `x/clob/keeper/liquidations.go` and `deleveraging.go`, `x/clob/types/liquidations_config.go`.
The subaccount is settled first; TNC and TMMR are its net collateral and maintenance margin.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dydx_perf.exact.arith import (
    MAX_UINT64,
    ONE_MILLION,
    Rational,
    clamp,
    div_floor,
    fill_amount_to_quote_quantums_floor,
    mul_ppm_floor,
    price_to_subticks,
    quote_to_base_quantums_trunc,
    rational_mul_pow10,
    reduced,
    round_to_multiple,
)
from dydx_perf.exact.margin import is_liquidatable, maintenance_margin, notional, subaccount_risk
from dydx_perf.exact.sentinels import error, panic
from dydx_perf.exact.state import (
    USDC_ASSET_ID,
    ClobPair,
    LiquidationInfo,
    LiquidationsConfig,
    Perpetual,
    RiskState,
    SubaccountState,
)
from dydx_perf.exact.update import MATCH, AssetUpdate, PerpetualUpdate, Update, Updated, update_subaccounts

NOTHING_LIQUIDATED = LiquidationInfo()


@dataclass(frozen=True, slots=True)
class Liquidation:
    """One position of one subaccount, looked at for liquidation."""

    perpetuals: Mapping[int, Perpetual]
    subaccount: SubaccountState
    perpetual_id: int
    config: LiquidationsConfig
    info: LiquidationInfo = NOTHING_LIQUIDATED

    @property
    def perpetual(self) -> Perpetual:
        """The perpetual of the position."""
        if self.perpetual_id not in self.perpetuals:
            raise error("ErrPerpetualDoesNotExist")
        return self.perpetuals[self.perpetual_id]

    @property
    def clob_pair(self) -> ClobPair:
        """The order book of the perpetual."""
        clob_pair = self.perpetual.clob_pair
        if clob_pair is None:
            raise error("ErrPerpetualDoesNotExist")
        return clob_pair

    @property
    def size(self) -> int:
        """Signed base quantums of the position, 0 without one."""
        held = self.subaccount.perpetual_positions
        return sum(p.quantums for p in held if p.perpetual_id == self.perpetual_id)

    @property
    def risk(self) -> RiskState:
        """Risk of the whole settled subaccount."""
        return subaccount_risk(self.perpetuals, self.subaccount)

    @property
    def abs_notional(self) -> int:
        """Notional of the position without its sign."""
        return abs(notional(self.perpetual, self.size))


def check_size_delta(size: int, delta: int) -> None:
    """A delta must reduce the position and not flip it."""
    if size == 0 or delta == 0 or (size > 0) == (delta > 0) or abs(delta) > abs(size):
        raise error("ErrInvalidPerpetualPositionSizeDelta")


def bankruptcy_price_quote_quantums(liquidation: Liquidation, delta: int) -> int:
    """Quote quantums that closing `delta` must bring so that the account ends with nothing.

    Differences are of rounded values. The account need not be liquidatable.
    """
    size = liquidation.size
    check_size_delta(size, delta)
    risk = liquidation.risk
    perpetual = liquidation.perpetual
    before, after = notional(perpetual, size), notional(perpetual, size + delta)
    margin_change = abs(
        maintenance_margin(perpetual, abs(after)) - maintenance_margin(perpetual, abs(before))
    )
    return -(after - before) - div_floor(risk.nc * margin_change, risk.mmr)


def fillable_price(liquidation: Liquidation, delta: int) -> Rational:
    """Limit price of the liquidation order, quote quantums per base quantum; `delta` is checked only."""
    size = liquidation.size
    check_size_delta(size, delta)
    risk = liquidation.risk
    if risk.mmr == 0:
        raise panic("division by zero")
    config, perpetual = liquidation.config, liquidation.perpetual
    adjustment = Fraction(config.bankruptcy_adjustment_ppm, ONE_MILLION) * (1 - Fraction(risk.nc, risk.mmr))
    adjustment = max(Fraction(0), min(adjustment, Fraction(1)))
    spread = Fraction(config.spread_to_maintenance_margin_ratio_ppm, ONE_MILLION)
    position_notional = notional(perpetual, size)
    position_margin = maintenance_margin(perpetual, abs(position_notional))
    price = (position_notional - adjustment * spread * position_margin) / size
    if price < 0:
        raise panic("GetFillablePrice: Calculated fillable price is negative")
    return price.numerator, price.denominator


def fillable_price_to_subticks(
    price: Rational, is_liquidating_long: bool, clob_pair_subticks_per_tick: int, conversion_exponent: int
) -> int:
    """The fillable price as a valid level of the book: up for a long (a sell), down for a short."""
    if price[0] < 0:
        raise panic("ConvertFillablePriceToSubticks: FillablePrice should not be negative")
    num, den = rational_mul_pow10(price[0], price[1], -conversion_exponent)
    subticks = -(-num // den) if is_liquidating_long else num // den
    subticks = round_to_multiple(subticks, clob_pair_subticks_per_tick, is_liquidating_long)
    highest = MAX_UINT64 // clob_pair_subticks_per_tick * clob_pair_subticks_per_tick
    return clamp(subticks, clob_pair_subticks_per_tick, highest)


def fillable_subticks(liquidation: Liquidation, price: Rational) -> int:
    """`fillable_price_to_subticks` of the position's own book."""
    pair = liquidation.clob_pair
    return fillable_price_to_subticks(
        price, liquidation.size > 0, pair.subticks_per_tick, pair.quantum_conversion_exponent
    )


def position_notional_limits(liquidation: Liquidation) -> tuple[int, int]:
    """(most, least) of a position's notional that one attempt may liquidate."""
    config = liquidation.config
    whole = liquidation.abs_notional
    least = min(config.min_position_notional_liquidated, whole)
    return max(least, mul_ppm_floor(whole, config.max_position_portion_liquidated_ppm)), least


def check_not_liquidated(liquidation: Liquidation) -> None:
    """A perpetual is liquidated at most once per subaccount and block."""
    if liquidation.perpetual_id in liquidation.info.perpetuals_liquidated:
        raise error("ErrSubaccountHasLiquidatedPerpetual")


def subaccount_max_notional_liquidatable(liquidation: Liquidation) -> int:
    """What the block limit of the subaccount leaves."""
    check_not_liquidated(liquidation)
    left = liquidation.config.max_notional_liquidated - liquidation.info.notional_liquidated
    if left < 0:
        raise panic("ErrLiquidationExceedsSubaccountMaxNotionalLiquidated")
    return left


def subaccount_max_insurance_lost(liquidation: Liquidation) -> int:
    """What the block limit of insurance lost leaves."""
    check_not_liquidated(liquidation)
    left = liquidation.config.max_quantums_insurance_lost - liquidation.info.quantums_insurance_lost
    if left < 0:
        raise panic("ErrLiquidationExceedsSubaccountMaxInsuranceLost")
    return left


def liquidatable_size_delta(liquidation: Liquidation) -> int:
    """Signed base quantums that one attempt trades; against the position."""
    size, step = liquidation.size, liquidation.clob_pair.step_base_quantums
    most, _ = position_notional_limits(liquidation)
    limit = min(most, subaccount_max_notional_liquidatable(liquidation))
    if liquidation.abs_notional <= limit or abs(size) <= step:
        return -size
    perpetual = liquidation.perpetual
    quantums = quote_to_base_quantums_trunc(
        limit, perpetual.atomic_resolution, perpetual.price, perpetual.exponent
    )
    quantums = clamp(round_to_multiple(quantums, step, False), step, abs(size))
    return -quantums if size > 0 else quantums


@dataclass(frozen=True, slots=True)
class LiquidationOrder:
    """The order the chain would build; the distance from the oracle price sorts the orders of a block."""

    is_buy: bool
    base_quantums: int
    subticks: int
    distance_from_oracle_price: Rational


def liquidation_order(liquidation: Liquidation) -> LiquidationOrder:
    """The order for this position, whether or not the account is liquidatable now."""
    delta = liquidatable_size_delta(liquidation)
    subticks = fillable_subticks(liquidation, fillable_price(liquidation, delta))
    perpetual = liquidation.perpetual
    num, den = price_to_subticks(
        perpetual.price,
        perpetual.exponent,
        perpetual.atomic_resolution,
        liquidation.clob_pair.quantum_conversion_exponent,
    )
    return LiquidationOrder(
        is_buy=delta > 0,
        base_quantums=abs(delta) % 2**64,
        subticks=subticks,
        distance_from_oracle_price=reduced(abs(subticks * den - num), num),
    )


def insurance_fund_delta(liquidation: Liquidation, is_buy: bool, fill_amount: int, subticks: int) -> int:
    """What a fill pays into the insurance fund (positive) or takes out of it (negative)."""
    if fill_amount == 0:
        raise error("ErrInvalidQuantumsForInsuranceFundDeltaCalculation")
    quote = fill_amount_to_quote_quantums_floor(
        subticks, fill_amount, liquidation.clob_pair.quantum_conversion_exponent
    )
    delta = fill_amount if is_buy else -fill_amount
    surplus = (-quote if is_buy else quote) - bankruptcy_price_quote_quantums(liquidation, delta)
    if surplus <= 0:
        return surplus
    return min(mul_ppm_floor(quote, liquidation.config.max_liquidation_fee_ppm), surplus)


def is_valid_insurance_fund_delta(insurance_fund_balance: int, delta: int) -> bool:
    """The fund pays in full or not at all."""
    return delta >= 0 or insurance_fund_balance + delta >= 0


def check_block_limits(liquidation: Liquidation, fill_amount: int, fund_delta: int) -> None:
    """Refuse a fill that goes past the subaccount's limits of this block."""
    if abs(notional(liquidation.perpetual, fill_amount)) > subaccount_max_notional_liquidatable(liquidation):
        raise error("ErrLiquidationExceedsSubaccountMaxNotionalLiquidated")
    if fund_delta < 0 and -fund_delta > subaccount_max_insurance_lost(liquidation):
        raise error("ErrLiquidationExceedsSubaccountMaxInsuranceLost")


def can_deleverage(liquidation: Liquidation) -> tuple[bool, bool]:
    """(at the bankruptcy price, at the oracle price)."""
    negative = liquidation.risk.nc < 0
    final_settlement = liquidation.clob_pair.status == "FINAL_SETTLEMENT"
    return negative, not negative and final_settlement


def deleveraging_quote_quantums(liquidation: Liquidation, delta: int, is_final_settlement: bool) -> int:
    """Quote quantums of a deleveraging match, as seen by the liquidated account."""
    if is_final_settlement:
        return notional(liquidation.perpetual, -delta)
    return bankruptcy_price_quote_quantums(liquidation, delta)


def process_deleveraging(
    perpetuals: Mapping[int, Perpetual],
    subaccounts: Sequence[SubaccountState],
    perpetual_id: int,
    delta_base_quantums: int,
    delta_quote_quantums: int,
) -> Updated:
    """Match the liquidated (first) with the offsetting (second) subaccount."""
    signs = (1, -1)
    for subaccount, sign in zip(subaccounts, signs, strict=True):
        size = sum(p.quantums for p in subaccount.perpetual_positions if p.perpetual_id == perpetual_id)
        check_size_delta(size, sign * delta_base_quantums)
    updates = [
        Update(
            index,
            (AssetUpdate(USDC_ASSET_ID, sign * delta_quote_quantums),),
            (PerpetualUpdate(perpetual_id, sign * delta_base_quantums),),
        )
        for index, sign in enumerate(signs)
    ]
    updated = update_subaccounts(perpetuals, subaccounts, updates, MATCH)
    if not updated.verdicts.success:
        raise error("ErrFailedToUpdateSubaccounts")
    return updated


def position_to_liquidate(
    perpetual_ids: Sequence[int], liquidated: Collection[int], index_offset: int
) -> int:
    """First position from `index_offset` on, going round, that was not liquidated in this block."""
    for step in range(len(perpetual_ids)):
        perpetual_id = perpetual_ids[(index_offset + step) % len(perpetual_ids)]
        if perpetual_id not in liquidated:
            return perpetual_id
    raise error("ErrNoPerpetualPositionsToLiquidate")


def check_liquidations_config(config: LiquidationsConfig) -> None:
    """Refuse what the chain refuses as a configuration."""
    valid = (
        0 < config.max_liquidation_fee_ppm <= ONE_MILLION
        and 0 < config.max_position_portion_liquidated_ppm <= ONE_MILLION
        and config.min_position_notional_liquidated > 0
        and config.max_notional_liquidated > 0
        and config.max_quantums_insurance_lost > 0
        and config.bankruptcy_adjustment_ppm >= ONE_MILLION
        and config.spread_to_maintenance_margin_ratio_ppm > 0
    )
    if not valid:
        raise error("ErrInvalidLiquidationsConfig")


__all__ = [
    "Liquidation",
    "LiquidationInfo",
    "LiquidationOrder",
    "LiquidationsConfig",
    "bankruptcy_price_quote_quantums",
    "can_deleverage",
    "check_block_limits",
    "check_liquidations_config",
    "check_size_delta",
    "deleveraging_quote_quantums",
    "fillable_price",
    "fillable_price_to_subticks",
    "fillable_subticks",
    "insurance_fund_delta",
    "is_liquidatable",
    "is_valid_insurance_fund_delta",
    "liquidatable_size_delta",
    "liquidation_order",
    "position_notional_limits",
    "position_to_liquidate",
    "process_deleveraging",
    "subaccount_max_insurance_lost",
    "subaccount_max_notional_liquidatable",
]
