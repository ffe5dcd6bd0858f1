"""Python door of the liquidation kernels.

Every function returns None where 128 bits (256 for a fillable price) do not hold the case, or where the chain
itself refuses it; `dydx_perf.exact.liquidation` answers those and names the refusal. `account_risk` is the
risk of the whole settled account, the position included.
"""

from dydx_perf.ext.fixed cimport i128_to_object, object_to_i64, object_to_i128, object_to_u64, object_to_u256
from dydx_perf.ext.liquidation_price cimport (
    LIQUIDATION_AT,
    LIQUIDATION_NEVER,
    liquidation_price,
    liquidation_t,
)
from dydx_perf.ext.margin cimport read_market, read_risk

KINDS = ("AT", "NEVER", "ALWAYS")


cdef bint read_config(object config, liquidations_config_t *out) except -1:
    """Fill the limits from an object with the chain's field names; False when one does not fit."""
    if not (
        object_to_u64(config.min_position_notional_liquidated, &out.min_position_notional_liquidated)
        and object_to_u64(config.max_notional_liquidated, &out.max_notional_liquidated)
        and object_to_u64(config.max_quantums_insurance_lost, &out.max_quantums_insurance_lost)
    ):
        return False
    out.max_liquidation_fee_ppm = config.max_liquidation_fee_ppm
    out.max_position_portion_liquidated_ppm = config.max_position_portion_liquidated_ppm
    out.bankruptcy_adjustment_ppm = config.bankruptcy_adjustment_ppm
    out.spread_to_maintenance_margin_ratio_ppm = config.spread_to_maintenance_margin_ratio_ppm
    return True


cdef bint read_clob_pair(object pair, clob_pair_t *out) except -1:
    """Fill an order book's units; False when one does not fit."""
    if not object_to_u64(pair.step_base_quantums, &out.step_base_quantums):
        return False
    out.subticks_per_tick = pair.subticks_per_tick
    out.quantum_conversion_exponent = pair.quantum_conversion_exponent
    return True


def position_liquidation_price(perpetual, quantums, account_risk):
    """(kind, price integer or None): the oracle price at which the chain calls the account liquidatable."""
    cdef market_t market
    cdef risk_t risk
    cdef int64_t size = 0
    cdef liquidation_t kind = LIQUIDATION_NEVER
    cdef uint64_t price = 0
    if not (
        read_market(perpetual, &market) and read_risk(account_risk, &risk) and object_to_i64(quantums, &size)
    ):
        return None
    if size == 0 or liquidation_price(&market, size, &risk, &kind, &price) != STATUS_OK:
        return None
    return KINDS[kind], price if kind == LIQUIDATION_AT else None


def bankruptcy_quote_quantums(perpetual, quantums, delta_quantums, account_risk):
    """Quote quantums that closing `delta_quantums` must bring so that the account ends with nothing."""
    cdef market_t market
    cdef risk_t risk
    cdef int64_t size = 0
    cdef int64_t delta = 0
    cdef i128 quote = 0
    if not (
        read_market(perpetual, &market)
        and read_risk(account_risk, &risk)
        and object_to_i64(quantums, &size)
        and object_to_i64(delta_quantums, &delta)
    ) or bankruptcy_quote_floor(&market, size, delta, &risk, &quote) != STATUS_OK:
        return None
    return i128_to_object(quote)


def fillable_subticks(perpetual, quantums, account_risk, clob_pair, config):
    """Limit of the liquidation order as a level of the book: up for a long, down for a short, clamped."""
    cdef market_t market
    cdef risk_t risk
    cdef clob_pair_t pair
    cdef liquidations_config_t limits
    cdef int64_t size = 0
    cdef u256 num
    cdef u256 den
    cdef uint64_t subticks = 0
    if not (
        read_market(perpetual, &market)
        and read_risk(account_risk, &risk)
        and read_clob_pair(clob_pair, &pair)
        and read_config(config, &limits)
        and object_to_i64(quantums, &size)
    ) or fillable_price(&market, size, &risk, &limits, &num, &den) != STATUS_OK:
        return None
    return subticks if fillable_price_to_subticks(num, den, size > 0, &pair, &subticks) == STATUS_OK else None


def price_to_subticks(num, den, is_liquidating_long, subticks_per_tick, quantum_conversion_exponent):
    """A fillable price num / den (at most 256 bits each) as a level of the book."""
    cdef clob_pair_t pair
    cdef u256 numerator
    cdef u256 denominator
    cdef uint64_t subticks = 0
    if not object_to_u256(num, &numerator) or not object_to_u256(den, &denominator):
        return None
    pair.step_base_quantums = 1
    pair.subticks_per_tick = subticks_per_tick
    pair.quantum_conversion_exponent = quantum_conversion_exponent
    if fillable_price_to_subticks(numerator, denominator, is_liquidating_long, &pair, &subticks) != STATUS_OK:
        return None
    return subticks


def notional_limits(perpetual, quantums, config):
    """(most, least) of a position's notional that one attempt may liquidate, in quote quantums."""
    cdef market_t market
    cdef liquidations_config_t limits
    cdef int64_t size = 0
    cdef i128 value = 0
    cdef i128 least = 0
    if not (
        read_market(perpetual, &market) and read_config(config, &limits) and object_to_i64(quantums, &size)
    ) or notional_trunc(&market, size, &value) != STATUS_OK:
        return None
    if position_notional_limits(value, &limits, &value, &least) != STATUS_OK:
        return None
    return i128_to_object(value), i128_to_object(least)


def block_limits_left(config, notional_liquidated, quantums_insurance_lost):
    """(notional, insurance lost) that a block's limits leave; each None where the chain refuses it."""
    cdef liquidations_config_t limits
    cdef i128 used = 0
    cdef i128 left = 0
    if not read_config(config, &limits):
        return None
    notional = lost = None
    if object_to_i128(notional_liquidated, &used) and limit_left(
        limits.max_notional_liquidated, used, &left
    ) == STATUS_OK:
        notional = i128_to_object(left)
    if object_to_i128(quantums_insurance_lost, &used) and limit_left(
        limits.max_quantums_insurance_lost, used, &left
    ) == STATUS_OK:
        lost = i128_to_object(left)
    return notional, lost


def size_delta(perpetual, quantums, clob_pair, config, notional_left):
    """Signed base quantums that one attempt trades; `notional_left` is left of the block's limit."""
    cdef market_t market
    cdef clob_pair_t pair
    cdef liquidations_config_t limits
    cdef int64_t size = 0
    cdef int64_t delta = 0
    cdef i128 left = 0
    if not (
        read_market(perpetual, &market)
        and read_clob_pair(clob_pair, &pair)
        and read_config(config, &limits)
        and object_to_i64(quantums, &size)
        and object_to_i128(notional_left, &left)
    ) or liquidatable_size_delta(&market, size, &pair, &limits, left, &delta) != STATUS_OK:
        return None
    return delta


def fund_delta(perpetual, quantums, account_risk, clob_pair, config, is_buy, fill_amount, subticks):
    """Quote quantums that a fill pays into the insurance fund (positive) or takes out of it (negative)."""
    cdef market_t market
    cdef risk_t risk
    cdef clob_pair_t pair
    cdef liquidations_config_t limits
    cdef int64_t size = 0
    cdef uint64_t fill = 0
    cdef uint64_t level = 0
    cdef i128 delta = 0
    if not (
        read_market(perpetual, &market)
        and read_risk(account_risk, &risk)
        and read_clob_pair(clob_pair, &pair)
        and read_config(config, &limits)
        and object_to_i64(quantums, &size)
        and object_to_u64(fill_amount, &fill)
        and object_to_u64(subticks, &level)
    ) or insurance_fund_delta(&market, size, &risk, &pair, &limits, is_buy, fill, level, &delta) != STATUS_OK:
        return None
    return i128_to_object(delta)


def deleveraging_quote_quantums(perpetual, quantums, delta_quantums, is_final_settlement, account_risk):
    """Quote quantums of a deleveraging match, as seen by the liquidated account."""
    cdef market_t market
    cdef risk_t risk
    cdef int64_t size = 0
    cdef int64_t delta = 0
    cdef i128 quote = 0
    if not (
        read_market(perpetual, &market)
        and read_risk(account_risk, &risk)
        and object_to_i64(quantums, &size)
        and object_to_i64(delta_quantums, &delta)
    ) or deleveraging_quote(&market, size, delta, is_final_settlement, &risk, &quote) != STATUS_OK:
        return None
    return i128_to_object(quote)
