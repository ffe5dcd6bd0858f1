# Checked 128-bit integers.  Table of contents of fixed.h, and the two ways between them and Python.
#
# i128 and u128 are declared as 64-bit types because Cython knows no wider ones: they must never become Python
# objects by themselves (i128_to_object does it), nor be divided with an operator.

from cpython.number cimport PyNumber_Index
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "dydx_perf/ext/fixed.h" nogil:
    ctypedef long long i128 "dp_i128"
    ctypedef unsigned long long u128 "dp_u128"

    ctypedef struct u256 "dp_u256":
        u128 high
        u128 low

    const u128 I128_MAX "(dp_u128)DP_I128_MAX"

    u128 pow10 "dp_pow10"(uint32_t n)

    # 1 when the result does not fit
    int add "dp_add"(i128 a, i128 b, i128 *out)
    int sub "dp_sub"(i128 a, i128 b, i128 *out)
    int mul "dp_mul"(i128 a, i128 b, i128 *out)
    int mul_u "dp_mul_u"(u128 a, u128 b, u128 *out)
    int sub_i64 "dp_sub_i64"(int64_t a, int64_t b, int64_t *out)
    int to_signed "dp_signed"(u128 magnitude, bint negative, i128 *out)
    int mul_ppm_ceil "dp_mul_ppm_ceil"(u128 value, uint32_t ppm, u128 *out)
    int mul_ppm_floor "dp_mul_ppm_floor"(i128 value, i128 ppm, i128 *out)
    int mul_ppm_ceil_signed "dp_mul_ppm_ceil_signed"(i128 value, i128 ppm, i128 *out)
    int mul_pow10_trunc "dp_mul_pow10_trunc"(u128 value, int32_t power, u128 *out)
    int mul_pow10_floor "dp_mul_pow10_floor"(i128 value, int32_t power, i128 *out)
    int mul_pow10_ceil "dp_mul_pow10_ceil"(i128 value, int32_t power, i128 *out)
    int div_floor_signed "dp_div_floor_signed"(i128 a, i128 b, i128 *out)
    int div_ceil_signed "dp_div_ceil_signed"(i128 a, i128 b, i128 *out)
    int mul_div_floor "dp_mul_div_floor"(i128 a, i128 b, i128 c, i128 *out)
    int add_256 "dp_add_256"(u256 a, u256 b, u256 *out)
    int sub_256 "dp_sub_256"(u256 a, u256 b, u256 *out)
    int mul_256_u "dp_mul_256_u"(u256 a, u128 b, u256 *out)

    # always exact within the domain that fixed.h states
    i128 mul_i64 "dp_mul_i64"(int64_t a, int64_t b)
    u128 magnitude "dp_magnitude"(i128 a)
    uint64_t magnitude_i64 "dp_magnitude_i64"(int64_t a)
    bint fits_i64 "dp_fits_i64"(i128 a)
    i128 div_floor "dp_div_floor"(i128 a, i128 b)
    i128 div_ceil "dp_div_ceil"(i128 a, i128 b)
    i128 div_trunc "dp_div_trunc"(i128 a, i128 b)
    u128 div_trunc_u "dp_div_trunc_u"(u128 a, u128 b)
    u128 div_ceil_u "dp_div_ceil_u"(u128 a, u128 b)
    i128 million_floor "dp_million_floor"(i128 value)
    uint64_t mul_ppm_ceil_64 "dp_mul_ppm_ceil_64"(uint64_t value, uint32_t ppm)
    uint64_t scale_trunc "dp_scale_trunc"(
        uint64_t quantums, uint64_t multiplier, uint64_t divisor, uint64_t whole, uint64_t fraction)
    void prepare_scale "dp_prepare_scale"(
        uint64_t multiplier, uint64_t divisor, uint64_t *whole, uint64_t *fraction)
    int64_t fast_limit "dp_fast_limit"(uint64_t multiplier, uint64_t divisor)
    int compare_products "dp_compare_products"(i128 a, i128 b, i128 c, i128 d)
    u256 mul_256 "dp_mul_256"(u128 x, u128 y)
    u256 div_256 "dp_div_256"(u256 n, u256 d, u256 *remainder)
    int compare_256 "dp_compare_256"(u256 a, u256 b)


cdef inline object i128_to_object(i128 value):
    """A Python int of any 128-bit value."""
    if fits_i64(value):
        return <int64_t>value
    # Shifts and masks through unsigned halves; the high half carries the sign.
    return (<object>(<int64_t>(value >> 64)) << 64) | <object>(<uint64_t>value)


cdef inline object u128_to_object(u128 value):
    """A Python int of any unsigned 128-bit value."""
    return (<object>(<uint64_t>(value >> 64)) << 64) | <object>(<uint64_t>value)


cdef inline bint object_to_i128(object value, i128 *out) except -1:
    """Store a Python int; False when it does not fit 128 bits."""
    cdef int64_t high
    if not -(1 << 127) <= value < (1 << 127):
        return False
    high = value >> 64
    # through unsigned halves: C does not define the left shift of a negative value
    out[0] = <i128>((<u128>(<uint64_t>high) << 64) | <u128>(<uint64_t>(value & 0xFFFFFFFFFFFFFFFF)))
    return True


cdef inline bint object_to_u128(object value, u128 *out) except -1:
    """Store a Python int; False when it is negative or does not fit 128 bits."""
    if not 0 <= value < (1 << 128):
        return False
    out[0] = (<u128>(<uint64_t>(value >> 64)) << 64) | <u128>(<uint64_t>(value & 0xFFFFFFFFFFFFFFFF))
    return True


cdef inline bint object_to_u256(object value, u256 *out) except -1:
    """Store a Python int; False when it is negative or does not fit 256 bits."""
    if not 0 <= value < (1 << 256):
        return False
    object_to_u128(value >> 128, &out.high)
    return object_to_u128(value & ((1 << 128) - 1), &out.low)


cdef inline object u256_to_object(u256 value):
    """A Python int of any unsigned 256-bit value."""
    return (u128_to_object(value.high) << 128) | u128_to_object(value.low)


cdef inline bint object_to_power(object value, int32_t *out) except -1:
    """Store a power of ten that may be negated; False past a million either way."""
    if not -1000000 <= value <= 1000000:
        return False
    out[0] = PyNumber_Index(value)  # a float would be cut, not refused
    return True


cdef inline bint object_to_u32(object value, uint32_t *out) except -1:
    """Store a Python int; False when it is negative or does not fit 32 bits."""
    if not 0 <= value < (1 << 32):
        return False
    out[0] = PyNumber_Index(value)  # a float would be cut, not refused
    return True


cdef inline bint object_to_i32(object value, int32_t *out) except -1:
    """Store a Python int; False when it does not fit 32 bits."""
    if not -(1 << 31) <= value < (1 << 31):
        return False
    out[0] = PyNumber_Index(value)  # a float would be cut, not refused
    return True


cdef inline bint object_to_i64(object value, int64_t *out) except -1:
    """Store a Python int; False when it does not fit 64 bits."""
    if not -(1 << 63) <= value < (1 << 63):
        return False
    out[0] = PyNumber_Index(value)  # a float would be cut, not refused
    return True


cdef inline bint object_to_u64(object value, uint64_t *out) except -1:
    """Store a Python int; False when it is negative or does not fit 64 bits."""
    if not 0 <= value < (1 << 64):
        return False
    out[0] = PyNumber_Index(value)  # a float would be cut, not refused
    return True
