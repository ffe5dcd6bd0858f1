# What an order would do to an account: the chain's two verdicts, from the account's risk, in constant time.
# Source: x/clob/keeper/orders.go, x/clob/keeper/process_single_match.go, x/subaccounts/keeper/subaccount.go and
# x/subaccounts/lib/oimf.go of the chain.  Contents:
#
#   fill_order                    value and fees of an order filled in full at one price
#   match_open_interest_delta     by how much a match changes the long side
#   decide_fill                   risk before and after the fill, and the chain's word

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.arith cimport fill_to_quote_floor
from dydx_perf.ext.fixed cimport add, i128, mul_ppm_ceil_signed, sub, to_signed, u128
from dydx_perf.ext.margin cimport (
    TRANSITION_NEWLY_UNDERCOLLATERALIZED,
    TRANSITION_SUCCESS,
    add_positions_risk,
    is_initial_collateralized,
    scaled_initial_margin_floor,
    state_transition,
    transition_t,
)
from dydx_perf.ext.structs cimport STATUS_OK, STATUS_OUT_OF_RANGE, market_t, position_t, risk_t, status_t

cdef enum verdict_t:
    VERDICT_SUCCESS = 0
    VERDICT_NEWLY_UNDERCOLLATERALIZED = 1
    VERDICT_STILL_UNDERCOLLATERALIZED = 2
    VERDICT_VIOLATES_ISOLATED = 3

# An order filled in full at one price.  Base and quote quantums; a negative fee is a rebate.
cdef struct fill_t:
    int64_t base_delta                   # signed: above zero for a buy
    i128 quote_quantums                  # value, never negative
    i128 fee
    i128 builder_fee
    i128 usdc_delta                      # what the fill adds to the balance, fees included

# A verdict and the two risks that it compares.
cdef struct decision_t:
    fill_t fill
    int64_t open_interest_delta          # base quantums
    risk_t before
    risk_t after
    verdict_t verdict


cdef inline status_t fill_order(
    bint is_buy,
    int64_t base_quantums,
    uint64_t subticks,
    int32_t conversion_exponent,
    int32_t fee_ppm,
    uint32_t builder_fee_ppm,
    bint builder_fee_on_base,
    fill_t *out,
) noexcept nogil:
    """Value floored; each fee rounded up, the builder's of the base amount or of the value; size above zero."""
    cdef u128 value = 0
    cdef i128 taxed
    out.base_delta = base_quantums if is_buy else -base_quantums
    if fill_to_quote_floor(subticks, <uint64_t>base_quantums, conversion_exponent, &value) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if to_signed(value, False, &out.quote_quantums):
        return STATUS_OUT_OF_RANGE
    taxed = base_quantums if builder_fee_on_base else out.quote_quantums
    if mul_ppm_ceil_signed(out.quote_quantums, fee_ppm, &out.fee):
        return STATUS_OUT_OF_RANGE
    if mul_ppm_ceil_signed(taxed, builder_fee_ppm, &out.builder_fee):
        return STATUS_OUT_OF_RANGE
    out.usdc_delta = -out.quote_quantums if is_buy else out.quote_quantums
    if sub(out.usdc_delta, out.fee, &out.usdc_delta) or sub(out.usdc_delta, out.builder_fee, &out.usdc_delta):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline i128 long_side(i128 quantums) noexcept nogil:
    """What a position adds to open interest."""
    return quantums if quantums > 0 else 0


cdef inline status_t match_open_interest_delta(
    int64_t held, int64_t counterparty, int64_t base_delta, int64_t *out
) noexcept nogil:
    """Sum over both sides of max(after, 0) - max(before, 0); the other side takes -base_delta."""
    cdef i128 own = long_side(<i128>held + base_delta) - long_side(held)
    cdef i128 other = long_side(<i128>counterparty - base_delta) - long_side(counterparty)
    cdef i128 delta = own + other
    out[0] = <int64_t>delta
    return STATUS_OK if delta == out[0] else STATUS_OUT_OF_RANGE


cdef inline status_t move_risk(
    const risk_t *risk, const risk_t *taken, const risk_t *given, i128 usdc_delta, risk_t *out
) noexcept nogil:
    """risk - taken + given, and a change of the balance."""
    if sub(risk.nc, taken.nc, &out.nc) or add(out.nc, given.nc, &out.nc) or add(out.nc, usdc_delta, &out.nc):
        return STATUS_OUT_OF_RANGE
    if sub(risk.imr, taken.imr, &out.imr) or add(out.imr, given.imr, &out.imr):
        return STATUS_OUT_OF_RANGE
    if sub(risk.mmr, taken.mmr, &out.mmr) or add(out.mmr, given.mmr, &out.mmr):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t risk_of_size(
    const market_t *market, int64_t quantums, uint32_t custom_imf_ppm, risk_t *out
) noexcept nogil:
    """Risk of one settled position, on the path that holds it."""
    cdef position_t position
    position.quantums = quantums
    position.funding_index = 0
    position.quote_balance = 0
    position.market = 0
    position.custom_imf_ppm = custom_imf_ppm
    out.nc = out.imr = out.mmr = 0
    return add_positions_risk(market, &position, 1, out)


cdef inline status_t decide_fill(
    const market_t *market,
    const risk_t *risk,
    int64_t held,
    uint32_t custom_imf_ppm,
    bint violates_isolated,
    decision_t *out,
) noexcept nogil:
    """Verdict on out.fill, which changes open interest by out.open_interest_delta before both risks.

    `risk` is the account's, funding settled, with the market as it is: only the position in this market and the
    balance move, so what the others add stays in it. Out of range also where open interest would fall below
    zero: that refusal is plain integers' to tell.
    """
    cdef market_t changed
    cdef const market_t *then = market
    cdef risk_t own
    cdef risk_t current
    cdef risk_t new
    cdef i128 after = <i128>held + out.fill.base_delta
    cdef i128 open_interest = <i128>market.open_interest + out.open_interest_delta
    cdef transition_t word
    if not market.in_range or after != <int64_t>after:
        return STATUS_OUT_OF_RANGE
    if open_interest != <int64_t>open_interest or open_interest < 0:
        return STATUS_OUT_OF_RANGE
    if risk_of_size(market, held, custom_imf_ppm, &own) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    current = own
    if out.open_interest_delta != 0:
        changed = market[0]
        then = &changed
        changed.open_interest = <int64_t>open_interest
        if scaled_initial_margin_floor(&changed, &changed.scaled_initial_margin_ppm) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        if changed.scaled_initial_margin_ppm != market.scaled_initial_margin_ppm and risk_of_size(
            &changed, held, custom_imf_ppm, &current
        ) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
    if risk_of_size(then, <int64_t>after, custom_imf_ppm, &new) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if move_risk(risk, &own, &current, 0, &out.before) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if move_risk(risk, &own, &new, out.fill.usdc_delta, &out.after) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    out.verdict = VERDICT_SUCCESS
    if violates_isolated:
        out.verdict = VERDICT_VIOLATES_ISOLATED
    elif not is_initial_collateralized(&out.after):
        word = state_transition(&out.before, &out.after)
        if word == TRANSITION_NEWLY_UNDERCOLLATERALIZED:
            out.verdict = VERDICT_NEWLY_UNDERCOLLATERALIZED
        elif word != TRANSITION_SUCCESS:
            out.verdict = VERDICT_STILL_UNDERCOLLATERALIZED
    return STATUS_OK
