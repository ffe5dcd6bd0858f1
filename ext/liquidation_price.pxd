# Liquidation price of a position, in constant time from the risk of its account.
#
# Definition (ours; the chain has no such number).  Other prices are held, funding is settled at the current
# index.  For a long: the highest oracle price integer at which the chain calls the account liquidatable; for
# a short the lowest.  NEVER when there is none, ALWAYS when it is the last price integer on that side
# (2**64 - 1 for a long, 1 for a short).  The domain is 1 to 2**64 - 1: the chain refuses a price of 0.
#
# Method.  With n the absolute notional, M(n) = ceil(ceil(n * i) * f) its maintenance margin (i, f <= 1), and
# A, B the net collateral and margin of everything else, the account is liquidatable when B + M > 0 and
#     long   n - M(n) < B - A          short   n + M(n) > A - B
# n - M(n) never falls and n + M(n) always rises with n (M grows by 0 or 1 with each quantum), and
#     n * g <= M(n) < n * g + 2   with g = i * f,
# so real arithmetic brackets the boundary within (2 + 1) / (1 - g) quantums; bisection settles it with the
# chain's own roundings, and an integer division turns the boundary of n into one of the price.

from libc.stdint cimport int64_t, uint64_t

from dydx_perf.ext.fixed cimport (
    add,
    div_ceil,
    div_floor,
    i128,
    magnitude,
    magnitude_i64,
    mul,
    mul_ppm_ceil_64,
    mul_u,
    pow10,
    sub,
    to_signed,
    u128,
)
from dydx_perf.ext.margin cimport maintenance_margin_ceil, notional_trunc
from dydx_perf.ext.structs cimport (
    MAX_TIER_PPM,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    market_t,
    risk_t,
    status_t,
)

cdef enum liquidation_t:
    LIQUIDATION_AT = 0
    LIQUIDATION_NEVER = 1
    LIQUIDATION_ALWAYS = 2

cdef extern from *:
    """
    #define DP_PPM_SQUARED ((dp_i128)1000000000000)
    """
    const i128 PPM_SQUARED "DP_PPM_SQUARED"
    const uint64_t UINT64_MAX


cdef inline status_t margin_of(const market_t *market, i128 value, i128 *out) noexcept nogil:
    """M(n): maintenance margin of an absolute notional."""
    cdef u128 margin = 0
    if value >> 62 == 0:
        out[0] = mul_ppm_ceil_64(
            mul_ppm_ceil_64(<uint64_t>value, market.initial_margin_ppm), market.maintenance_fraction_ppm)
        return STATUS_OK
    if maintenance_margin_ceil(market, <u128>value, &margin) != STATUS_OK or to_signed(margin, False, out):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t price_scale(
    const market_t *market, int64_t quantums, u128 *numerator, u128 *denominator
) noexcept nogil:
    """Absolute notional = price * numerator / denominator, toward zero."""
    numerator[0] = magnitude_i64(quantums)
    denominator[0] = 1
    if market.power > 38 or market.power < -38:
        return STATUS_OUT_OF_RANGE
    if market.power < 0:
        denominator[0] = pow10(<unsigned int>(-market.power))
        return STATUS_OK
    if mul_u(numerator[0], pow10(<unsigned int>market.power), numerator) or numerator[0] >> 127:
        return STATUS_OUT_OF_RANGE  # it is a divisor, and a divisor is signed
    return STATUS_OK


cdef inline status_t highest_notional_below(const market_t *market, i128 bound, i128 *out) noexcept nogil:
    """Largest n with n - M(n) < bound; bound > 0 and a margin fraction below 100 %."""
    cdef i128 left = PPM_SQUARED - <i128>market.initial_margin_ppm * market.maintenance_fraction_ppm
    cdef i128 low = 0
    cdef i128 high = 0
    cdef i128 middle = 0
    cdef i128 margin = 0
    # n * (1 - g) <= bound - 1 suffices, n * (1 - g) - 2 < bound - 1 is necessary
    if mul(bound - 1, PPM_SQUARED, &low) or mul(bound + 1, PPM_SQUARED, &high):
        return STATUS_OUT_OF_RANGE
    low = div_floor(low, left)
    high = div_ceil(high, left)
    while low < high:
        middle = low + ((high - low + 1) >> 1)
        if margin_of(market, middle, &margin) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        if middle - margin < bound:
            low = middle
        else:
            high = middle - 1
    out[0] = low
    return STATUS_OK


cdef inline status_t lowest_notional_above(const market_t *market, i128 bound, i128 *out) noexcept nogil:
    """Smallest n >= 0 with n + M(n) > bound."""
    cdef i128 whole = PPM_SQUARED + <i128>market.initial_margin_ppm * market.maintenance_fraction_ppm
    cdef i128 low = 0
    cdef i128 high = 0
    cdef i128 middle = 0
    cdef i128 margin = 0
    out[0] = 0
    if bound < 0:
        return STATUS_OK
    # n * (1 + g) > bound suffices, n * (1 + g) + 2 > bound is necessary
    if mul(bound, PPM_SQUARED, &high) or mul(bound - 2, PPM_SQUARED, &low):
        return STATUS_OUT_OF_RANGE
    high = div_floor(high, whole) + 1
    low = 0 if low < 0 else div_floor(low, whole)
    while low < high:
        middle = low + ((high - low) >> 1)
        if margin_of(market, middle, &margin) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        if middle + margin > bound:
            high = middle
        else:
            low = middle + 1
    out[0] = low
    return STATUS_OK


cdef inline status_t has_margin_at(
    const market_t *market, i128 other_margin, u128 numerator, u128 denominator, uint64_t price, bint *out
) noexcept nogil:
    """Whether the account has a maintenance margin at `price`: without one nothing is liquidated."""
    cdef u128 scaled = 0
    out[0] = other_margin > 0
    if out[0] or market.initial_margin_ppm == 0 or market.maintenance_fraction_ppm == 0:
        return STATUS_OK
    if mul_u(numerator, price, &scaled):
        return STATUS_OUT_OF_RANGE
    out[0] = scaled >= denominator  # a notional of 1 has a margin of 1
    return STATUS_OK


cdef inline status_t long_liquidation_price(
    const market_t *market, i128 other_margin, i128 bound, u128 numerator, u128 denominator,
    liquidation_t *kind, uint64_t *price
) noexcept nogil:
    """Highest price with n - M(n) < bound that has a margin."""
    cdef i128 value = 0
    cdef i128 cost = 0
    cdef u128 highest = UINT64_MAX
    cdef bint has_margin = False
    kind[0] = LIQUIDATION_NEVER
    if bound <= 0:
        return STATUS_OK
    if <i128>market.initial_margin_ppm * market.maintenance_fraction_ppm < PPM_SQUARED:
        if highest_notional_below(market, bound, &value) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        # notional at most `value`: price * numerator < (value + 1) * denominator
        if add(value, 1, &value) or mul(value, <i128>denominator, &cost):
            return STATUS_OUT_OF_RANGE
        cost = div_floor(cost - 1, <i128>numerator)
        if cost < UINT64_MAX:
            highest = <u128>cost
    if highest == 0:
        return STATUS_OK
    if has_margin_at(
        market, other_margin, numerator, denominator, <uint64_t>highest, &has_margin
    ) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if has_margin:
        price[0] = <uint64_t>highest
        kind[0] = LIQUIDATION_ALWAYS if highest == UINT64_MAX else LIQUIDATION_AT
    return STATUS_OK


cdef inline status_t short_liquidation_price(
    const market_t *market, i128 other_margin, i128 bound, u128 numerator, u128 denominator,
    liquidation_t *kind, uint64_t *price
) noexcept nogil:
    """Lowest price with n + M(n) > bound that has a margin."""
    cdef i128 value = 0
    cdef i128 cost = 0
    kind[0] = LIQUIDATION_NEVER
    if other_margin == 0 and (market.initial_margin_ppm == 0 or market.maintenance_fraction_ppm == 0):
        return STATUS_OK
    if lowest_notional_above(market, bound, &value) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if value == 0 and other_margin == 0:
        value = 1  # the first notional with a margin
    if mul(value, <i128>denominator, &cost):
        return STATUS_OUT_OF_RANGE
    cost = div_ceil(cost, <i128>numerator)
    if cost > UINT64_MAX:
        return STATUS_OK
    price[0] = 1 if cost < 1 else <uint64_t>cost
    kind[0] = LIQUIDATION_ALWAYS if cost <= 1 else LIQUIDATION_AT
    return STATUS_OK


cdef inline status_t liquidation_price(
    const market_t *market, int64_t quantums, const risk_t *account, liquidation_t *kind, uint64_t *price
) noexcept nogil:
    """Liquidation price of a non-zero position whose account, it included, has this risk."""
    cdef i128 value = 0
    cdef i128 margin = 0
    cdef i128 other_collateral = 0
    cdef i128 other_margin = 0
    cdef i128 bound = 0
    cdef u128 numerator = 0
    cdef u128 denominator = 0
    if market.initial_margin_ppm > MAX_TIER_PPM or market.maintenance_fraction_ppm > MAX_TIER_PPM:
        return STATUS_OUT_OF_RANGE
    if notional_trunc(market, quantums, &value) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if margin_of(market, <i128>magnitude(value), &margin) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if price_scale(market, quantums, &numerator, &denominator) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if sub(account.nc, value, &other_collateral) or sub(account.mmr, margin, &other_margin):
        return STATUS_OUT_OF_RANGE
    if quantums > 0:
        if sub(other_margin, other_collateral, &bound) or add(bound, 1, &margin):
            return STATUS_OUT_OF_RANGE
        return long_liquidation_price(market, other_margin, bound, numerator, denominator, kind, price)
    if sub(other_collateral, other_margin, &bound):
        return STATUS_OUT_OF_RANGE
    return short_liquidation_price(market, other_margin, bound, numerator, denominator, kind, price)
