# The chain's roundings on whole amounts, where a kernel needs them.  Source: lib/quantums.go, x/clob/types.
# Contents:
#
#   base_to_quote_trunc           value of a size, toward zero
#   quote_to_base_trunc           size that an amount buys, toward zero
#   fill_to_quote_floor           cost of a fill
#   round_to_multiple_floor/ceil  whole steps and ticks

from libc.stdint cimport int32_t, uint64_t

from dydx_perf.ext.fixed cimport (
    div_ceil as div_positive_ceil,
    div_floor as div_positive_floor,
    div_trunc_u,
    i128,
    magnitude,
    mul,
    mul_pow10_trunc,
    mul_u,
    to_signed,
    u128,
)
from dydx_perf.ext.structs cimport STATUS_DIVISION_BY_ZERO, STATUS_OK, STATUS_OUT_OF_RANGE, status_t


cdef inline status_t base_to_quote_trunc(
    i128 quantums, uint64_t price, int32_t power, i128 *out
) noexcept nogil:
    """quantums * price * 10**power toward zero; power is exponent + atomic_resolution + 6."""
    cdef u128 value = 0
    if mul_u(magnitude(quantums), price, &value) or mul_pow10_trunc(value, power, &value):
        return STATUS_OUT_OF_RANGE
    return STATUS_OUT_OF_RANGE if to_signed(value, quantums < 0, out) else STATUS_OK


cdef inline status_t quote_to_base_trunc(
    i128 quote_quantums, uint64_t price, int32_t power, i128 *out
) noexcept nogil:
    """quote_quantums * 10**-power / price toward zero, by two truncations that equal one; |power| < 2**31."""
    cdef u128 value = 0
    if price == 0:
        return STATUS_DIVISION_BY_ZERO
    if mul_pow10_trunc(magnitude(quote_quantums), -power, &value):
        return STATUS_OUT_OF_RANGE
    return STATUS_OUT_OF_RANGE if to_signed(div_trunc_u(value, price), quote_quantums < 0, out) else STATUS_OK


cdef inline status_t fill_to_quote_floor(
    uint64_t subticks, uint64_t base_quantums, int32_t conversion_exponent, u128 *out
) noexcept nogil:
    """subticks * base_quantums * 10**conversion_exponent, floored."""
    cdef u128 product = <u128>subticks * base_quantums
    return STATUS_OUT_OF_RANGE if mul_pow10_trunc(product, conversion_exponent, out) else STATUS_OK


cdef inline status_t round_to_multiple_floor(i128 value, i128 multiple, i128 *out) noexcept nogil:
    """Largest multiple at or below `value`; multiple > 0."""
    return STATUS_OUT_OF_RANGE if mul(div_positive_floor(value, multiple), multiple, out) else STATUS_OK


cdef inline status_t round_to_multiple_ceil(i128 value, i128 multiple, i128 *out) noexcept nogil:
    """Smallest multiple at or above `value`; multiple > 0."""
    return STATUS_OUT_OF_RANGE if mul(div_positive_ceil(value, multiple), multiple, out) else STATUS_OK
