# The indexer's figures as exact integers: unrealized profit of a position, equity and free collateral of an
# account.
# Decimals of the indexer have no rounding in these sums; a fixed number of decimal digits holds them whole.
# The chain decides by other numbers (margin.pxd): here funding is not floored and the tier's own fraction is
# not scaled.
# Contents:
#
#   unrealized_pnl_floor      quotient and remainder
#   indexer_digits            decimal digits past a quote quantum that a position needs
#   add_indexer_position      value, funding and initial margin of one position
#   indexer_account           equity and free collateral

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint64_t

from dydx_perf.ext.fixed cimport (
    add,
    div_floor,
    i128,
    magnitude,
    mul,
    mul_i64,
    mul_pow10_floor,
    sub,
    to_signed,
    u128,
)
from dydx_perf.ext.settle cimport settlement_ppm
from dydx_perf.ext.structs cimport (
    STATUS_DIVISION_BY_ZERO,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    market_t,
    position_t,
    status_t,
)

cdef enum:
    PPM_DIGITS = 6


cdef inline status_t unrealized_pnl_floor(
    int64_t quantums, int64_t entry_price, uint64_t oracle_price, uint64_t divisor, i128 *quotient, uint64_t
    *remainder
) noexcept nogil:
    """quantums * (oracle_price - entry_price) = quotient * divisor + remainder, 0 <= remainder < divisor.

    Both prices in one unit, finer than the oracle's own where an entry price needs it; the quotient in quote
    quantums.
    """
    cdef i128 product = 0
    if divisor == 0:
        return STATUS_DIVISION_BY_ZERO
    if sub(oracle_price, entry_price, &product) or mul(product, quantums, &product):
        return STATUS_OUT_OF_RANGE
    quotient[0] = div_floor(product, divisor)
    # modulo 2**128, as quotient * divisor may lie below -2**127: what the floor left is below the divisor
    remainder[0] = <uint64_t>(<u128>product - <u128>quotient[0] * divisor)
    return STATUS_OK


cdef inline int32_t indexer_digits(const market_t *market) noexcept nogil:
    """A value needs -power digits, its margin (and a funding index) six more."""
    return PPM_DIGITS - market.power if market.power < 0 else PPM_DIGITS


cdef inline status_t add_indexer_position(
    const market_t *market, const position_t *position, int32_t digits, i128 *equity, i128 *margin
) noexcept nogil:
    """Add value and unsettled funding to `equity`, |value| * initial_margin_ppm to `margin`.

    Unit: 10**-digits quote quantums, digits at least indexer_digits(market), so that nothing is rounded.
    """
    cdef i128 value = 0
    cdef i128 funding = 0
    cdef i128 own = 0
    if not market.in_range or market.power > 38 or digits > 76:
        return STATUS_OUT_OF_RANGE
    if (
        mul(position.quantums, market.price, &value)
        or to_signed(magnitude(value), False, &own)
        or mul(own, market.initial_margin_ppm, &own)
        or mul_pow10_floor(value, digits + market.power, &value)
        or mul_pow10_floor(own, digits + market.power - PPM_DIGITS, &own)
        or settlement_ppm(
            position.quantums, position.funding_index, market.funding_index, &funding) != STATUS_OK
        or mul_pow10_floor(funding, digits - PPM_DIGITS, &funding)
        or add(equity[0], value, equity)
        or add(equity[0], funding, equity)
        or add(margin[0], own, margin)
    ):
        return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t indexer_account(
    const market_t *markets, const position_t *positions, size_t count, int64_t usdc, int32_t digits,
    i128 *equity, i128 *free_collateral
) noexcept nogil:
    """usdc + funding + values, and that less the initial margins; unit 10**-digits quote quantums."""
    cdef i128 margin = 0
    cdef size_t i
    if mul_pow10_floor(usdc, digits, equity):
        return STATUS_OUT_OF_RANGE
    for i in range(count):
        if add_indexer_position(
            &markets[positions[i].market], &positions[i], digits, equity, &margin
        ) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
    return STATUS_OUT_OF_RANGE if sub(equity[0], margin, free_collateral) else STATUS_OK
