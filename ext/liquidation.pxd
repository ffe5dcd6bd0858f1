# What the chain would do to one position: prices, sizes and limits of an attempt, insurance fund,
# deleveraging.
# Source: x/clob/keeper/liquidations.go and x/clob/keeper/deleveraging.go of the chain.
# The risk of the account is that of the whole settled subaccount, the position included.  Contents:
#
#   is_valid_size_delta           against the position, and not past it
#   bankruptcy_quote_floor        what closing must bring so that the account ends with nothing
#   fillable_price                exact fraction of 256 bits
#   fillable_price_to_subticks    ceil for a long, floor for a short, then whole ticks, then clamped
#   position_notional_limits      most and least of a position that one attempt may liquidate
#   limit_left                    of a block's limits
#   liquidatable_size_delta       what one attempt trades
#   insurance_fund_delta          paid into the fund, or taken from it
#   deleveraging_quote            at the oracle price or at the bankruptcy price
#
# Where the chain refuses (a delta that flips the position, a negative fillable price, a spent limit) the
# answer is STATUS_OUT_OF_RANGE as well: plain Python integers then name the refusal.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.arith cimport (
    fill_to_quote_floor,
    quote_to_base_trunc,
    round_to_multiple_floor,
)
from dydx_perf.ext.fixed cimport (
    add,
    add_256,
    compare_256,
    div_256,
    div_trunc_u,
    i128,
    magnitude,
    magnitude_i64,
    mul_256,
    mul_256_u,
    mul_div_floor,
    mul_ppm_floor,
    pow10,
    sub,
    sub_256,
    sub_i64,
    to_signed,
    u128,
    u256,
)
from dydx_perf.ext.margin cimport maintenance_margin_ceil, notional_trunc
from dydx_perf.ext.structs cimport (
    MAX_TIER_PPM,
    STATUS_DIVISION_BY_ZERO,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    market_t,
    risk_t,
    status_t,
)

cdef extern from *:
    const uint64_t UINT64_MAX

# Limits and prices of liquidations; notionals and losses in quote quantums.
cdef struct liquidations_config_t:
    uint64_t min_position_notional_liquidated
    uint64_t max_notional_liquidated
    uint64_t max_quantums_insurance_lost
    uint32_t max_liquidation_fee_ppm
    uint32_t max_position_portion_liquidated_ppm
    uint32_t bankruptcy_adjustment_ppm
    uint32_t spread_to_maintenance_margin_ratio_ppm

# The order book of a perpetual.
cdef struct clob_pair_t:
    uint64_t step_base_quantums
    uint32_t subticks_per_tick
    int32_t quantum_conversion_exponent  # quote quantums per base quantum = subticks * 10**this


cdef inline bint is_valid_size_delta(int64_t quantums, int64_t delta) noexcept nogil:
    """A delta reduces the position and does not flip it."""
    if quantums == 0 or delta == 0 or (quantums > 0) == (delta > 0):
        return False
    return magnitude_i64(delta) <= magnitude_i64(quantums)


cdef inline status_t margin_of_notional(const market_t *market, i128 value, i128 *out) noexcept nogil:
    """Maintenance margin of a signed notional."""
    cdef u128 margin = 0
    if maintenance_margin_ceil(market, magnitude(value), &margin) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    return STATUS_OUT_OF_RANGE if to_signed(margin, False, out) else STATUS_OK


cdef inline status_t bankruptcy_quote_floor(
    const market_t *market, int64_t quantums, int64_t delta, const risk_t *account, i128 *out
) noexcept nogil:
    """-(notional(q + d) - notional(q)) - floor(nc * |mmr(q + d) - mmr(q)| / account mmr); quote quantums."""
    cdef i128 before = 0
    cdef i128 after = 0
    cdef i128 margin_before = 0
    cdef i128 margin_after = 0
    cdef i128 share = 0
    if not is_valid_size_delta(quantums, delta):
        return STATUS_OUT_OF_RANGE
    if account.mmr <= 0:
        return STATUS_DIVISION_BY_ZERO if account.mmr == 0 else STATUS_OUT_OF_RANGE
    # a valid delta has the other sign: the sum fits
    if (
        notional_trunc(market, quantums, &before) != STATUS_OK
        or notional_trunc(market, quantums + delta, &after) != STATUS_OK
        or margin_of_notional(market, before, &margin_before) != STATUS_OK
        or margin_of_notional(market, after, &margin_after) != STATUS_OK
        or mul_div_floor(account.nc, <i128>magnitude(margin_after - margin_before), account.mmr, &share)
        or sub(before, after, out)
        or sub(out[0], share, out)
    ):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t fillable_price(
    const market_t *market, int64_t quantums, const risk_t *account,
    const liquidations_config_t *config, u256 *numerator, u256 *denominator
) noexcept nogil:
    """(notional - a * s * mmr) / quantums, a = clamp(BA * (1 - nc / account mmr), 0, 1); not in lowest terms.

    With a * 1e6 * account mmr = BA * (account mmr - nc) =: r, scale = 1e6 * account mmr and s in ppm:
    (|notional| * scale * 1e6 -+ r * s * mmr) / (|quantums| * scale * 1e6), minus for a long.
    """
    cdef i128 value = 0
    cdef u128 own_margin = 0
    cdef i128 room = 0
    cdef u128 scale = 0
    cdef u256 ratio
    cdef u256 whole
    cdef u256 spread
    if quantums == 0:
        return STATUS_OUT_OF_RANGE
    if account.mmr <= 0:
        return STATUS_DIVISION_BY_ZERO if account.mmr == 0 else STATUS_OUT_OF_RANGE
    if (
        notional_trunc(market, quantums, &value) != STATUS_OK
        or maintenance_margin_ceil(market, magnitude(value), &own_margin) != STATUS_OK
        or sub(account.mmr, account.nc, &room)
    ):
        return STATUS_OUT_OF_RANGE
    if room < 0:
        room = 0
    ratio = mul_256(<u128>room, config.bankruptcy_adjustment_ppm)
    whole = mul_256(<u128>account.mmr, MAX_TIER_PPM)
    if compare_256(ratio, whole) > 0:
        ratio = whole
    if ratio.high or whole.high:
        return STATUS_OUT_OF_RANGE
    scale = whole.low
    spread = mul_256(ratio.low, own_margin)
    denominator[0] = mul_256(scale, magnitude_i64(quantums))
    numerator[0] = mul_256(scale, magnitude(value))
    if (
        mul_256_u(spread, config.spread_to_maintenance_margin_ratio_ppm, &spread)
        or mul_256_u(denominator[0], MAX_TIER_PPM, denominator)
        or mul_256_u(numerator[0], MAX_TIER_PPM, numerator)
    ):
        return STATUS_OUT_OF_RANGE
    if quantums > 0:
        return STATUS_OUT_OF_RANGE if sub_256(numerator[0], spread, numerator) else STATUS_OK
    return STATUS_OUT_OF_RANGE if add_256(numerator[0], spread, numerator) else STATUS_OK


cdef inline status_t fillable_price_to_subticks(
    u256 numerator, u256 denominator, bint is_liquidating_long, const clob_pair_t *pair, uint64_t *out
) noexcept nogil:
    """A fraction > 0 or 0 of quote quantums per base quantum as a level of the book.

    Up for a long (it is sold), down for a short; to an integer and then to a tick is one rounding to a tick.
    Clamped to one tick and to the highest multiple below 2**64.
    """
    cdef int32_t power = pair.quantum_conversion_exponent
    cdef u256 ticks
    cdef u256 remainder
    cdef uint64_t highest = 0
    if denominator.high == 0 and denominator.low == 0:
        return STATUS_OUT_OF_RANGE
    if pair.subticks_per_tick == 0 or not -38 <= power <= 38:
        return STATUS_OUT_OF_RANGE
    if power < 0 and mul_256_u(numerator, pow10(<uint32_t>(-power)), &numerator):
        return STATUS_OUT_OF_RANGE
    if power > 0 and mul_256_u(denominator, pow10(<uint32_t>power), &denominator):
        return STATUS_OUT_OF_RANGE
    if mul_256_u(denominator, pair.subticks_per_tick, &denominator):
        return STATUS_OUT_OF_RANGE
    ticks = div_256(numerator, denominator, &remainder)
    highest = <uint64_t>div_trunc_u(UINT64_MAX, pair.subticks_per_tick)
    if ticks.high or ticks.low >= highest:
        out[0] = highest * pair.subticks_per_tick
        return STATUS_OK
    if is_liquidating_long and (remainder.high or remainder.low):
        ticks.low = ticks.low + 1  # at most `highest`
    out[0] = <uint64_t>ticks.low * pair.subticks_per_tick if ticks.low else pair.subticks_per_tick
    return STATUS_OK


cdef inline status_t position_notional_limits(
    i128 value, const liquidations_config_t *config, i128 *most, i128 *least
) noexcept nogil:
    """least = min(configured minimum, |notional|), most = max(least, floor(|notional| * portion))."""
    cdef i128 whole = value
    if value < 0 and sub(0, value, &whole):
        return STATUS_OUT_OF_RANGE
    least[0] = config.min_position_notional_liquidated
    if whole < least[0]:
        least[0] = whole
    if mul_ppm_floor(whole, config.max_position_portion_liquidated_ppm, most):
        return STATUS_OUT_OF_RANGE
    if most[0] < least[0]:
        most[0] = least[0]
    return STATUS_OK


cdef inline status_t limit_left(uint64_t limit, i128 used, i128 *out) noexcept nogil:
    """What a block's limit leaves; more used than the limit is refused."""
    return STATUS_OUT_OF_RANGE if sub(limit, used, out) or out[0] < 0 else STATUS_OK


cdef inline status_t liquidatable_size_delta(
    const market_t *market, int64_t quantums, const clob_pair_t *pair, const liquidations_config_t *config,
    i128 notional_left, int64_t *out
) noexcept nogil:
    """All of it, or what the smaller limit buys, in whole steps, at least one; against the position."""
    cdef i128 value = 0
    cdef i128 limit = 0
    cdef i128 least = 0
    cdef i128 size = 0
    cdef i128 held = <i128>(<u128>magnitude_i64(quantums))
    if (
        notional_trunc(market, quantums, &value) != STATUS_OK
        or position_notional_limits(value, config, &limit, &least) != STATUS_OK
    ):
        return STATUS_OUT_OF_RANGE
    if notional_left < limit:
        limit = notional_left
    if <i128>magnitude(value) <= limit or held <= <i128>pair.step_base_quantums:
        return STATUS_OUT_OF_RANGE if sub_i64(0, quantums, out) else STATUS_OK
    if (
        pair.step_base_quantums == 0
        or quote_to_base_trunc(limit, market.price, market.power, &size) != STATUS_OK
        or round_to_multiple_floor(size, pair.step_base_quantums, &size) != STATUS_OK
    ):
        return STATUS_OUT_OF_RANGE
    if size < pair.step_base_quantums:
        size = pair.step_base_quantums
    if size > held:
        size = held
    if quantums > 0:
        size = -size
    elif size > <i128>(UINT64_MAX >> 1):
        return STATUS_OUT_OF_RANGE
    out[0] = <int64_t>size
    return STATUS_OK


cdef inline status_t insurance_fund_delta(
    const market_t *market, int64_t quantums, const risk_t *account, const clob_pair_t *pair,
    const liquidations_config_t *config, bint is_buy, uint64_t fill_amount, uint64_t subticks, i128 *out
) noexcept nogil:
    """Surplus of a fill over the bankruptcy price; a positive one is paid up to the fee, floored."""
    cdef u128 cost = 0
    cdef i128 quote = 0
    cdef i128 bankruptcy = 0
    cdef i128 fee = 0
    if fill_amount > UINT64_MAX >> 1:
        return STATUS_OUT_OF_RANGE
    if (
        fill_to_quote_floor(subticks, fill_amount, pair.quantum_conversion_exponent, &cost) != STATUS_OK
        or to_signed(cost, False, &quote)
        or bankruptcy_quote_floor(
            market, quantums, <int64_t>fill_amount if is_buy else -<int64_t>fill_amount, account, &bankruptcy
        ) != STATUS_OK
        or mul_ppm_floor(quote, config.max_liquidation_fee_ppm, &fee)
        or sub(-quote if is_buy else quote, bankruptcy, out)
    ):
        return STATUS_OUT_OF_RANGE
    if out[0] > fee:
        out[0] = fee
    return STATUS_OK


cdef inline status_t deleveraging_quote(
    const market_t *market, int64_t quantums, int64_t delta, bint is_final_settlement, const risk_t *account,
    i128 *out
) noexcept nogil:
    """Of a deleveraging match: notional(-delta) in final settlement, else the bankruptcy price."""
    cdef int64_t opposite = 0
    if not is_final_settlement:
        return bankruptcy_quote_floor(market, quantums, delta, account, out)
    return STATUS_OUT_OF_RANGE if sub_i64(0, delta, &opposite) else notional_trunc(market, opposite, out)
