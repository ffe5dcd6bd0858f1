"""Python door of the arithmetic: the chain's roundings on 128 bits, and the 256-bit operations beneath.

Every function returns None where 128 bits (256 in the last four) do not hold the case, or where the chain
itself refuses it; `dydx_perf.exact.arith` answers those.

What stays in plain integers only, and why: `clamp` is two comparisons, which Python makes as fast; rationals
(price as a level of the book, mean price, distance from the oracle price) are kept in lowest terms, and no
kernel decides by them; asset_to_coin is the bank's business, twice `mul_pow10_floor`.
"""

from libc.stdint cimport int32_t, uint64_t

from dydx_perf.ext.fixed cimport (
    add_256,
    compare_256,
    div_256,
    div_ceil_signed,
    div_floor_signed,
    fits_i64,
    i128_to_object,
    mul_256_u,
    mul_div_floor as fixed_mul_div_floor,
    mul_pow10_ceil as fixed_mul_pow10_ceil,
    mul_pow10_floor as fixed_mul_pow10_floor,
    mul_ppm_ceil_signed,
    mul_ppm_floor as fixed_mul_ppm_floor,
    object_to_i128,
    object_to_power,
    object_to_u64,
    object_to_u128,
    object_to_u256,
    sub_256,
    u128_to_object,
    u256,
    u256_to_object,
)


def base_to_quote_quantums_trunc(quantums, atomic_resolution, price, exponent):
    """Notional in quote quantums: quantums * price * 10**(exponent + atomic_resolution + 6) toward zero."""
    cdef i128 size = 0
    cdef i128 value = 0
    cdef uint64_t oracle_price = 0
    cdef int32_t power = 0
    if not (
        object_to_i128(quantums, &size)
        and object_to_u64(price, &oracle_price)
        and object_to_power(exponent + atomic_resolution + 6, &power)
    ):
        return None
    if base_to_quote_trunc(size, oracle_price, power, &value) != STATUS_OK:
        return None
    return i128_to_object(value)


def quote_to_base_quantums_trunc(quote_quantums, atomic_resolution, price, exponent):
    """The size that quote quantums buy at the oracle price, toward zero."""
    cdef i128 amount = 0
    cdef i128 size = 0
    cdef uint64_t oracle_price = 0
    cdef int32_t power = 0
    if not (
        object_to_i128(quote_quantums, &amount)
        and object_to_u64(price, &oracle_price)
        and object_to_power(exponent + atomic_resolution + 6, &power)
    ):
        return None
    if quote_to_base_trunc(amount, oracle_price, power, &size) != STATUS_OK:
        return None
    return i128_to_object(size)


def fill_amount_to_quote_quantums_floor(subticks, base_quantums, quantum_conversion_exponent):
    """What a fill costs: subticks * base_quantums * 10**quantum_conversion_exponent, floored."""
    cdef uint64_t level = 0
    cdef uint64_t size = 0
    cdef u128 value = 0
    cdef int32_t power = 0
    if not (
        object_to_u64(subticks, &level)
        and object_to_u64(base_quantums, &size)
        and object_to_power(quantum_conversion_exponent, &power)
    ):
        return None
    return u128_to_object(value) if fill_to_quote_floor(level, size, power, &value) == STATUS_OK else None


def mul_ppm_floor(value, ppm):
    """value * ppm / 1e6 toward minus infinity."""
    cdef i128 a = 0
    cdef i128 b = 0
    if not object_to_i128(value, &a) or not object_to_i128(ppm, &b) or fixed_mul_ppm_floor(a, b, &a):
        return None
    return i128_to_object(a)


def mul_ppm_ceil(value, ppm):
    """value * ppm / 1e6 toward plus infinity."""
    cdef i128 a = 0
    cdef i128 b = 0
    if not object_to_i128(value, &a) or not object_to_i128(ppm, &b) or mul_ppm_ceil_signed(a, b, &a):
        return None
    return i128_to_object(a)


def int64_mul_ppm_floor(value, ppm):
    """value * ppm / 1e6 toward minus infinity, when the answer fits an int64 (else the chain panics)."""
    cdef i128 a = 0
    cdef i128 b = 0
    if not object_to_i128(value, &a) or not object_to_i128(ppm, &b) or fixed_mul_ppm_floor(a, b, &a):
        return None
    return i128_to_object(a) if fits_i64(a) else None


def div_floor(num, den):
    """num / den toward minus infinity, of any signs."""
    cdef i128 a = 0
    cdef i128 b = 0
    if not object_to_i128(num, &a) or not object_to_i128(den, &b) or div_floor_signed(a, b, &a):
        return None
    return i128_to_object(a)


def div_ceil(num, den):
    """num / den toward plus infinity, of any signs."""
    cdef i128 a = 0
    cdef i128 b = 0
    if not object_to_i128(num, &a) or not object_to_i128(den, &b) or div_ceil_signed(a, b, &a):
        return None
    return i128_to_object(a)


def mul_pow10_floor(value, exponent):
    """value * 10**exponent toward minus infinity."""
    cdef i128 a = 0
    cdef int32_t power = 0
    if not (object_to_i128(value, &a) and object_to_power(exponent, &power)):
        return None
    if fixed_mul_pow10_floor(a, power, &a):
        return None
    return i128_to_object(a)


def mul_pow10_ceil(value, exponent):
    """value * 10**exponent toward plus infinity."""
    cdef i128 a = 0
    cdef int32_t power = 0
    if not (object_to_i128(value, &a) and object_to_power(exponent, &power)):
        return None
    if fixed_mul_pow10_ceil(a, power, &a):
        return None
    return i128_to_object(a)


def round_to_multiple(value, multiple, round_up):
    """Nearest multiple at or above (`round_up`) or at or below `value`; the chain refuses one below 1."""
    cdef i128 a = 0
    cdef i128 m = 0
    cdef status_t status
    if not object_to_i128(value, &a) or not object_to_i128(multiple, &m) or m <= 0:
        return None
    status = round_to_multiple_ceil(a, m, &a) if round_up else round_to_multiple_floor(a, m, &a)
    return i128_to_object(a) if status == STATUS_OK else None


def mul_div_floor(a, b, den):
    """a * b / den toward minus infinity with den > 0, the product in 256 bits."""
    cdef i128 x = 0
    cdef i128 y = 0
    cdef i128 d = 0
    if not (object_to_i128(a, &x) and object_to_i128(b, &y) and object_to_i128(den, &d)) or d <= 0:
        return None
    return i128_to_object(x) if not fixed_mul_div_floor(x, y, d, &x) else None


def divmod_256(num, den):
    """(quotient, remainder) of magnitudes of 256 bits."""
    cdef u256 n
    cdef u256 d
    cdef u256 remainder
    if not object_to_u256(num, &n) or not object_to_u256(den, &d) or den == 0:
        return None
    n = div_256(n, d, &remainder)
    return u256_to_object(n), u256_to_object(remainder)


def mul_256(a, b):
    """The product of a magnitude of 256 bits and one of 128."""
    cdef u256 x
    cdef u128 y = 0
    if not object_to_u256(a, &x) or not object_to_u128(b, &y) or mul_256_u(x, y, &x):
        return None
    return u256_to_object(x)


def sum_difference_order_256(a, b):
    """(a + b, a - b, order: -1, 0 or 1) of magnitudes of 256 bits; None in place of what does not fit."""
    cdef u256 x
    cdef u256 y
    cdef u256 total
    cdef u256 difference
    if not object_to_u256(a, &x) or not object_to_u256(b, &y):
        return None
    return (
        None if add_256(x, y, &total) else u256_to_object(total),
        None if sub_256(x, y, &difference) else u256_to_object(difference),
        compare_256(x, y),
    )
