# The other roundings, and sums for differences, under names that no kernel uses.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.fixed cimport i128, u128, u256


cdef extern from *:
    """
    #include "dydx_perf/ext/fixed.h"
    #include "dydx_perf/ext/roundings.h"

    static inline int mut_mul_div_ceil(dp_i128 a, dp_i128 b, dp_i128 c, dp_i128 *out)
    {
        if (a == DP_I128_MIN || dp_mul_div_floor(-a, b, c, out))
            return 1;
        *out = -*out;
        return 0;
    }
    """


cdef extern from "dydx_perf/ext/fixed.h" nogil:
    int mut_add "dp_add"(i128 a, i128 b, i128 *out)
    int mut_sub "dp_sub"(i128 a, i128 b, i128 *out)
    int mut_add_256 "dp_add_256"(u256 a, u256 b, u256 *out)
    int mut_sub_256 "dp_sub_256"(u256 a, u256 b, u256 *out)
    i128 mut_div_floor "dp_div_floor"(i128 a, i128 b)
    i128 mut_div_ceil "dp_div_ceil"(i128 a, i128 b)
    i128 mut_div_trunc "dp_div_trunc"(i128 a, i128 b)
    int mut_mul_ppm_ceil_signed "dp_mul_ppm_ceil_signed"(i128 value, i128 ppm, i128 *out)
    int mut_mul_pow10_floor "dp_mul_pow10_floor"(i128 value, int32_t power, i128 *out)
    int mut_mul_pow10_ceil "dp_mul_pow10_ceil"(i128 value, int32_t power, i128 *out)


cdef extern from * nogil:
    int dp_mutant
    u128 mut_div_ceil_u(u128 a, u128 b)
    i128 mut_million_ceil(i128 value)
    uint64_t mut_mul_ppm_floor_64(uint64_t value, uint32_t ppm)
    int mut_mul_ppm_floor_u(u128 value, uint32_t ppm, u128 *out)
    int mut_mul_pow10_ceil_u(u128 value, int32_t power, u128 *out)
    int mut_mul_div_ceil(i128 a, i128 b, i128 c, i128 *out)
    int mut_round_to_multiple_ceil(i128 value, i128 multiple, i128 *out)
    int mut_round_to_multiple_floor(i128 value, i128 multiple, i128 *out)
    uint64_t mut_scale_ceil(
        uint64_t quantums, uint64_t multiplier, uint64_t divisor, uint64_t whole, uint64_t fraction)
