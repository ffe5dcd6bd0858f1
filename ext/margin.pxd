# Margin and risk of a position and of an account, the ordering of two risks, the state transition rule.
# Source: x/perpetuals/lib/lib.go, x/perpetuals/types/liquidity_tier.go, lib/margin/risk.go and
# x/subaccounts/lib/updates.go of the chain.  Contents:
#
#   prepare_market                derived fields of a market, after any of its inputs changed
#   notional_trunc                signed value of a size, toward zero
#   scaled_initial_margin_floor   initial margin fraction scaled by open interest
#   maintenance_margin_ceil       two ceilings
#   is_fast                       whether the 64-bit path holds a position
#   abs_notional_fast, maintenance_margin_fast
#   add_position_risk_wide        one position on the 128-bit path
#   add_positions_risk            some positions, each on whichever path holds it
#   account_risk                  settle, then add up
#   is_*                          the chain's three questions
#   compare_risk                  which of two is riskier
#   state_transition              verdict on an update below the initial margin

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.fixed cimport (
    add,
    compare_products,
    div_trunc_u,
    fast_limit,
    i128,
    magnitude_i64,
    mul_pow10_trunc,
    mul_ppm_ceil,
    mul_ppm_ceil_64,
    mul_u,
    pow10,
    prepare_scale,
    scale_trunc,
    to_signed,
    u128,
)
from dydx_perf.ext.settle cimport account_settlement_floor
from dydx_perf.ext.structs cimport (
    MAX_FAST_PPM,
    MAX_TIER_PPM,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    market_t,
    position_t,
    risk_t,
    status_t,
)

cdef enum:
    POSITIONS_AT_ONCE = 64

cdef enum transition_t:
    TRANSITION_SUCCESS = 0
    TRANSITION_NEWLY_UNDERCOLLATERALIZED = 1
    TRANSITION_STILL_UNDERCOLLATERALIZED = 2


cdef inline status_t abs_notional_trunc(
    uint64_t quantums, uint64_t price, int32_t power, u128 *out
) noexcept nogil:
    """quantums * price * 10**power toward zero, of magnitudes."""
    cdef u128 product = <u128>quantums * price
    return STATUS_OUT_OF_RANGE if mul_pow10_trunc(product, power, out) else STATUS_OK


cdef inline status_t notional_trunc(const market_t *market, int64_t quantums, i128 *out) noexcept nogil:
    """Signed value of a size at the oracle price, in quote quantums, toward zero."""
    cdef u128 value = 0
    if not market.in_range or abs_notional_trunc(
        magnitude_i64(quantums), market.price, market.power, &value
    ) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    return STATUS_OUT_OF_RANGE if to_signed(value, quantums < 0, out) else STATUS_OK


cdef inline status_t scaled_initial_margin_floor(const market_t *market, uint32_t *out) noexcept nogil:
    """Base at or below the lower cap, 100 % at or above the upper, floored in between; upper cap 0: base.

    A base above 100 % fails on the chain in the middle branch only; here it is out of range there.
    """
    cdef uint32_t base = market.initial_margin_ppm
    cdef u128 value = 0
    cdef u128 scaled = 0
    if abs_notional_trunc(
        magnitude_i64(market.open_interest), market.price, market.power, &value
    ) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if market.open_interest < 0:
        value = 0
    if market.open_interest_upper_cap == 0 or value <= market.open_interest_lower_cap:
        out[0] = base
    elif value >= market.open_interest_upper_cap:
        out[0] = MAX_TIER_PPM
    elif base > MAX_TIER_PPM:
        return STATUS_OUT_OF_RANGE
    else:
        # value < upper cap < 2**64 and the factor is at most 1e6: no overflow.
        scaled = (MAX_TIER_PPM - base) * (value - market.open_interest_lower_cap)
        scaled = div_trunc_u(scaled, market.open_interest_upper_cap - market.open_interest_lower_cap)
        out[0] = base + <uint32_t>scaled
    return STATUS_OK


cdef inline status_t prepare_market(market_t *market) noexcept nogil:
    """Derive what is prepared from the inputs; sizes past fast_quantums go the 128-bit path."""
    cdef u128 multiplier = 0
    market.fast_quantums = -1
    market.in_range = 0
    if scaled_initial_margin_floor(market, &market.scaled_initial_margin_ppm) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    market.in_range = 1
    if market.price == 0 or market.power < -18 or market.power > 19:
        return STATUS_OK
    if market.initial_margin_ppm > MAX_TIER_PPM or market.maintenance_fraction_ppm > MAX_TIER_PPM:
        return STATUS_OK
    multiplier = market.price
    if market.power > 0:
        multiplier = multiplier * pow10(<uint32_t>market.power)
    if multiplier >> 64:
        return STATUS_OK
    market.multiplier = <uint64_t>multiplier
    market.divisor = <uint64_t>pow10(<uint32_t>(-market.power)) if market.power < 0 else 1
    prepare_scale(market.multiplier, market.divisor, &market.whole, &market.fraction)
    market.fast_quantums = fast_limit(market.multiplier, market.divisor)
    return STATUS_OK


cdef inline status_t maintenance_margin_ceil(const market_t *market, u128 value, u128 *out) noexcept nogil:
    """Of an absolute notional: ceil of the unscaled initial margin, then ceil of its maintenance fraction."""
    cdef u128 base = 0
    if mul_ppm_ceil(value, market.initial_margin_ppm, &base):
        return STATUS_OUT_OF_RANGE
    return STATUS_OUT_OF_RANGE if mul_ppm_ceil(base, market.maintenance_fraction_ppm, out) else STATUS_OK


cdef inline uint32_t initial_margin_ppm(const market_t *market, uint32_t custom_imf_ppm) noexcept nogil:
    """The larger of the scaled fraction and the subaccount's own."""
    cdef uint32_t scaled = market.scaled_initial_margin_ppm
    return custom_imf_ppm if custom_imf_ppm > scaled else scaled


cdef inline bint is_fast(const market_t *market, const position_t *position) noexcept nogil:
    """Whether the 64-bit path holds the position."""
    return (
        -market.fast_quantums <= position.quantums <= market.fast_quantums
        and position.custom_imf_ppm <= MAX_FAST_PPM
    )


cdef inline uint64_t abs_notional_fast(const market_t *market, int64_t quantums) noexcept nogil:
    """Absolute value of a size that is_fast, in quote quantums, toward zero; at most 2**56."""
    return scale_trunc(
        magnitude_i64(quantums), market.multiplier, market.divisor, market.whole, market.fraction)


cdef inline uint64_t maintenance_margin_fast(const market_t *market, uint64_t value) noexcept nogil:
    """Two ceilings of an absolute notional of at most 2**62; fractions of at most 100 %."""
    return mul_ppm_ceil_64(
        mul_ppm_ceil_64(value, market.initial_margin_ppm), market.maintenance_fraction_ppm)


cdef inline status_t add_position_risk_wide(
    const market_t *market, int64_t quantums, uint32_t custom_imf_ppm, risk_t *sum
) noexcept nogil:
    """Add one position of any size; out of range where 128 bits do not hold it."""
    cdef i128 value = 0
    cdef u128 imr = 0
    cdef u128 mmr = 0
    cdef i128 margin = 0
    if notional_trunc(market, quantums, &value) != STATUS_OK or add(sum.nc, value, &sum.nc):
        return STATUS_OUT_OF_RANGE
    if quantums < 0:
        value = -value
    if mul_ppm_ceil(<u128>value, initial_margin_ppm(market, custom_imf_ppm), &imr):
        return STATUS_OUT_OF_RANGE
    if to_signed(imr, False, &margin) or add(sum.imr, margin, &sum.imr):
        return STATUS_OUT_OF_RANGE
    if maintenance_margin_ceil(market, <u128>value, &mmr) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if to_signed(mmr, False, &margin) or add(sum.mmr, margin, &sum.mmr):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t add_positions_risk(
    const market_t *markets, const position_t *positions, size_t count, risk_t *sum
) noexcept nogil:
    """Add at most POSITIONS_AT_ONCE settled positions, each on the path that holds it.

    A value of the 64-bit path is at most 2**56 and its margin at most 2.1 times that: 64 of them fit 64 bits.
    """
    cdef int64_t nc = 0
    cdef uint64_t imr = 0
    cdef uint64_t mmr = 0
    cdef uint64_t value
    cdef size_t i
    cdef const position_t *position
    cdef const market_t *market
    for i in range(count):
        position = &positions[i]
        market = &markets[position.market]
        if is_fast(market, position):
            value = abs_notional_fast(market, position.quantums)
            nc += -<int64_t>value if position.quantums < 0 else <int64_t>value
            imr += mul_ppm_ceil_64(value, initial_margin_ppm(market, position.custom_imf_ppm))
            mmr += maintenance_margin_fast(market, value)
        elif add_position_risk_wide(market, position.quantums, position.custom_imf_ppm, sum) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        if position.quote_balance != 0 and add(sum.nc, position.quote_balance, &sum.nc):
            return STATUS_OUT_OF_RANGE
    if add(sum.nc, nc, &sum.nc) or add(sum.imr, imr, &sum.imr) or add(sum.mmr, mmr, &sum.mmr):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t account_risk(
    const market_t *markets, const position_t *positions, size_t count, int64_t usdc, risk_t *out
) noexcept nogil:
    """Net collateral, initial and maintenance margin requirement of an account, funding settled."""
    cdef i128 settlement = 0
    cdef size_t done = 0
    cdef size_t part
    out.imr = 0
    out.mmr = 0
    if account_settlement_floor(markets, positions, count, &settlement) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if add(usdc, settlement, &out.nc):
        return STATUS_OUT_OF_RANGE
    while done < count:
        part = count - done
        if part > POSITIONS_AT_ONCE:
            part = POSITIONS_AT_ONCE
        if add_positions_risk(markets, &positions[done], part, out) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        done += part
    return STATUS_OK


cdef inline bint is_initial_collateralized(const risk_t *risk) noexcept nogil:
    """nc >= imr."""
    return risk.nc >= risk.imr


cdef inline bint is_maintenance_collateralized(const risk_t *risk) noexcept nogil:
    """nc >= mmr."""
    return risk.nc >= risk.mmr


cdef inline bint is_liquidatable(const risk_t *risk) noexcept nogil:
    """mmr > 0 and mmr > nc, strictly."""
    return risk.mmr > 0 and risk.mmr > risk.nc


cdef inline int compare_risk(const risk_t *a, const risk_t *b) noexcept nogil:
    """1 when a is riskier, -1 when b is: nc / mmr by 256-bit cross products, then mmr, then nc."""
    cdef int order = compare_products(b.nc, a.mmr, a.nc, b.mmr)
    if order != 0:
        return order
    if a.mmr != b.mmr:
        return 1 if a.mmr > b.mmr else -1
    if a.mmr == 0 and a.nc != b.nc:
        return 1 if a.nc < b.nc else -1
    return 0


cdef inline transition_t state_transition(const risk_t *current, const risk_t *new) noexcept nogil:
    """Verdict on an update that leaves nc below imr."""
    cdef transition_t refused = (
        TRANSITION_NEWLY_UNDERCOLLATERALIZED
        if is_initial_collateralized(current)
        else TRANSITION_STILL_UNDERCOLLATERALIZED
    )
    if new.mmr > current.mmr:
        return refused
    if current.mmr == 0 or new.mmr == 0:
        return TRANSITION_SUCCESS if current.mmr == new.mmr and new.nc > current.nc else refused
    return refused if compare_risk(new, current) > 0 else TRANSITION_SUCCESS


# Implemented in margin.pyx: Python objects in, structs out.  Not part of the struct ABI.
cdef bint read_market(object perpetual, market_t *market) except -1
cdef bint read_risk(object risk, risk_t *out) except -1
