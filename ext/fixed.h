/* Checked 128-bit arithmetic with the rounding in each name, and the 256 bits that two risks and a fillable price need.
 *
 * Nothing here wraps silently: what does not fit is reported by a non-zero return, and the caller hands the
 * case to plain Python integers. Signed values are dp_i128, magnitudes dp_u128. No function allocates.
 */
#ifndef DYDX_PERF_FIXED_H
#define DYDX_PERF_FIXED_H

#include <stddef.h>
#include <stdint.h>

typedef __int128 dp_i128;
typedef unsigned __int128 dp_u128;

#define DP_MILLION 1000000u
#define DP_I128_MAX ((dp_i128)(~(dp_u128)0 >> 1))
#define DP_I128_MIN (-DP_I128_MAX - 1)

/* 10**n for 0 <= n <= 38, the powers of ten of 128 bits. */
static inline dp_u128 dp_pow10(uint32_t n)
{
    static const uint64_t low[20] = {
        1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u, 10000000000u,
        100000000000u, 1000000000000u, 10000000000000u, 100000000000000u, 1000000000000000u,
        10000000000000000u, 100000000000000000u, 1000000000000000000u, 10000000000000000000u};
    return n < 20 ? (dp_u128)low[n] : (dp_u128)low[19] * low[n - 19];
}

/* Sum, difference and product; 1 when they do not fit. */
static inline int dp_add(dp_i128 a, dp_i128 b, dp_i128 *out) { return __builtin_add_overflow(a, b, out); }
static inline int dp_sub(dp_i128 a, dp_i128 b, dp_i128 *out) { return __builtin_sub_overflow(a, b, out); }
static inline int dp_mul(dp_i128 a, dp_i128 b, dp_i128 *out) { return __builtin_mul_overflow(a, b, out); }
static inline int dp_mul_u(dp_u128 a, dp_u128 b, dp_u128 *out) { return __builtin_mul_overflow(a, b, out); }
static inline int dp_sub_i64(int64_t a, int64_t b, int64_t *out) { return __builtin_sub_overflow(a, b, out); }

/* Exact product of two 64-bit values. */
static inline dp_i128 dp_mul_i64(int64_t a, int64_t b) { return (dp_i128)a * b; }

static inline dp_u128 dp_magnitude(dp_i128 a) { return a < 0 ? -(dp_u128)a : (dp_u128)a; }

static inline uint64_t dp_magnitude_i64(int64_t a) { return a < 0 ? -(uint64_t)a : (uint64_t)a; }

/* The signed value of a magnitude; 1 when it does not fit. */
static inline int dp_signed(dp_u128 magnitude, int negative, dp_i128 *out)
{
    if (magnitude > (dp_u128)DP_I128_MAX)
        return 1;
    *out = negative ? -(dp_i128)magnitude : (dp_i128)magnitude;
    return 0;
}

static inline int dp_fits_i64(dp_i128 a) { return a == (int64_t)a; }

/* a / b toward minus infinity, toward plus infinity, toward zero; b > 0. */
static inline dp_i128 dp_div_floor(dp_i128 a, dp_i128 b)
{
    if (dp_fits_i64(a) && dp_fits_i64(b)) {
        int64_t n = (int64_t)a, d = (int64_t)b, q = n / d;
        return q - (q * d > n);
    }
    dp_i128 q = a / b;
    return q - (q * b > a);
}

static inline dp_i128 dp_div_ceil(dp_i128 a, dp_i128 b)
{
    dp_i128 q = a / b;
    return q + (q * b < a);
}

static inline dp_i128 dp_div_trunc(dp_i128 a, dp_i128 b) { return a / b; }

/* The same for either sign of b; 1 when b is 0 or the quotient does not fit. */
static inline int dp_div_floor_signed(dp_i128 a, dp_i128 b, dp_i128 *out)
{
    if (b == 0 || (b == -1 && a == DP_I128_MIN))
        return 1;
    dp_i128 q = a / b, r = a - q * b;
    *out = q - (r != 0 && (r < 0) != (b < 0));
    return 0;
}

static inline int dp_div_ceil_signed(dp_i128 a, dp_i128 b, dp_i128 *out)
{
    if (b == 0 || (b == -1 && a == DP_I128_MIN))
        return 1;
    dp_i128 q = a / b, r = a - q * b;
    *out = q + (r != 0 && (r < 0) == (b < 0));
    return 0;
}

static inline dp_u128 dp_div_trunc_u(dp_u128 a, dp_u128 b)
{
    if (!((a | b) >> 64))
        return (uint64_t)a / (uint64_t)b;
    return a / b;
}

static inline dp_u128 dp_div_ceil_u(dp_u128 a, dp_u128 b)
{
    dp_u128 q = dp_div_trunc_u(a, b);
    return q + (q * b < a);
}

/* value / 1e6 toward minus infinity. */
static inline dp_i128 dp_million_floor(dp_i128 value)
{
    if (dp_fits_i64(value)) {
        int64_t n = (int64_t)value, q = n / (int64_t)DP_MILLION;
        return q - (q * (int64_t)DP_MILLION > n);
    }
    dp_i128 q = value / DP_MILLION;
    return q - (q * DP_MILLION > value);
}

/* value * ppm / 1e6 toward plus infinity; value <= 2**62 and ppm <= 2**21, so that nothing overflows:
 * with value = a * 1e6 + b the answer is a * ppm + ceil(b * ppm / 1e6), a * ppm < 2**64. */
static inline uint64_t dp_mul_ppm_ceil_64(uint64_t value, uint32_t ppm)
{
    if (__builtin_expect(value < ((uint64_t)1 << 43), 1))
        return (value * ppm + (DP_MILLION - 1)) / DP_MILLION;
    uint64_t a = value / DP_MILLION, b = value - a * DP_MILLION;
    return a * ppm + (b * ppm + (DP_MILLION - 1)) / DP_MILLION;
}

/* value * ppm / 1e6 toward plus infinity; 1 when the product does not fit. */
static inline int dp_mul_ppm_ceil(dp_u128 value, uint32_t ppm, dp_u128 *out)
{
    dp_u128 product;
    if (dp_mul_u(value, ppm, &product))
        return 1;
    *out = dp_div_ceil_u(product, DP_MILLION);
    return 0;
}

/* value * ppm / 1e6 toward minus infinity, for either sign; 1 when the product does not fit. */
static inline int dp_mul_ppm_floor(dp_i128 value, dp_i128 ppm, dp_i128 *out)
{
    dp_i128 product;
    if (dp_mul(value, ppm, &product))
        return 1;
    *out = dp_million_floor(product);
    return 0;
}

/* value * ppm / 1e6 toward plus infinity, for either sign; 1 when the product does not fit. */
static inline int dp_mul_ppm_ceil_signed(dp_i128 value, dp_i128 ppm, dp_i128 *out)
{
    dp_i128 product;
    if (dp_mul(value, ppm, &product))
        return 1;
    *out = dp_div_ceil(product, DP_MILLION);
    return 0;
}

/* value * 10**power toward minus infinity and plus infinity, for any power and either sign; 1 when it does not
 * fit. 10**39 is past every 128-bit value. */
static inline int dp_mul_pow10_floor(dp_i128 value, int32_t power, dp_i128 *out)
{
    if (value == 0 || power < -38) {
        *out = value < 0 ? -1 : 0;
        return 0;
    }
    if (power < 0) {
        *out = dp_div_floor(value, (dp_i128)dp_pow10((uint32_t)-power));
        return 0;
    }
    return power > 38 || dp_mul(value, (dp_i128)dp_pow10((uint32_t)power), out);
}

static inline int dp_mul_pow10_ceil(dp_i128 value, int32_t power, dp_i128 *out)
{
    if (value == 0 || power < -38) {
        *out = value > 0;
        return 0;
    }
    if (power < 0) {
        *out = dp_div_ceil(value, (dp_i128)dp_pow10((uint32_t)-power));
        return 0;
    }
    return power > 38 || dp_mul(value, (dp_i128)dp_pow10((uint32_t)power), out);
}

/* value * 10**power toward zero, for any power; 1 when it does not fit. */
static inline int dp_mul_pow10_trunc(dp_u128 value, int32_t power, dp_u128 *out)
{
    if (power < -38 || value == 0) {
        *out = 0; /* 10**39 is past every 128-bit value */
        return 0;
    }
    if (power < 0) {
        *out = dp_div_trunc_u(value, dp_pow10((uint32_t)-power));
        return 0;
    }
    return power > 38 || dp_mul_u(value, dp_pow10((uint32_t)power), out);
}

/* floor(quantums * multiplier / divisor) without a division; whole and fraction come from dp_prepare_scale.
 *
 * Domain: the result is at most 2**56 (see dp_fast_limit), divisor < 2**63. With
 *     multiplier / divisor = whole + f,   fraction = floor(f * 2**64),
 * quantums * fraction / 2**64 falls short of quantums * f by less than quantums / 2**64 < 1, so the estimate is
 * the answer or one less. The remainder then lies in [0, 2 * divisor) and is exact in 64 bits. */
static inline uint64_t dp_scale_trunc(
    uint64_t quantums, uint64_t multiplier, uint64_t divisor, uint64_t whole, uint64_t fraction)
{
    uint64_t estimate = quantums * whole + (uint64_t)(((dp_u128)quantums * fraction) >> 64);
    uint64_t remainder = quantums * multiplier - estimate * divisor;
    return estimate + (remainder >= divisor);
}

/* multiplier / divisor as a whole number and a fraction of 2**64, toward zero; divisor > 0. */
static inline void dp_prepare_scale(uint64_t multiplier, uint64_t divisor, uint64_t *whole, uint64_t *fraction)
{
    *whole = multiplier / divisor;
    *fraction = (uint64_t)(((dp_u128)(multiplier % divisor) << 64) / divisor);
}

/* Largest size whose scaled value is at most 2**56 (72 billion USDC), itself at most 2**62; multiplier > 0. */
static inline int64_t dp_fast_limit(uint64_t multiplier, uint64_t divisor)
{
    dp_u128 limit = ((dp_u128)1 << 56) * divisor / multiplier;
    return limit > ((dp_u128)1 << 62) ? (int64_t)1 << 62 : (int64_t)limit;
}

/* ---- 256 bits: magnitudes only, the sign is the caller's */

typedef struct {
    dp_u128 high, low;
} dp_u256;

/* Exact product of two magnitudes. */
static inline dp_u256 dp_mul_256(dp_u128 x, dp_u128 y)
{
    uint64_t x0 = (uint64_t)x, x1 = (uint64_t)(x >> 64), y0 = (uint64_t)y, y1 = (uint64_t)(y >> 64);
    dp_u128 low = (dp_u128)x0 * y0, cross = (dp_u128)x1 * y0 + (uint64_t)(low >> 64);
    dp_u128 middle = (dp_u128)x0 * y1 + (uint64_t)cross;
    dp_u256 product;
    product.low = (middle << 64) | (uint64_t)low;
    product.high = (dp_u128)x1 * y1 + (uint64_t)(cross >> 64) + (uint64_t)(middle >> 64);
    return product;
}

/* -1, 0 or 1. */
static inline int dp_compare_256(dp_u256 a, dp_u256 b)
{
    if (a.high != b.high)
        return a.high > b.high ? 1 : -1;
    return a.low == b.low ? 0 : (a.low > b.low ? 1 : -1);
}

/* Sum, difference (a >= b) and product; 1 when they do not fit. */
static inline int dp_add_256(dp_u256 a, dp_u256 b, dp_u256 *out)
{
    int carry = __builtin_add_overflow(a.low, b.low, &out->low);
    int past = __builtin_add_overflow(a.high, b.high, &out->high);
    return past | __builtin_add_overflow(out->high, (dp_u128)carry, &out->high);
}

static inline int dp_sub_256(dp_u256 a, dp_u256 b, dp_u256 *out)
{
    int borrow = __builtin_sub_overflow(a.low, b.low, &out->low);
    int below = __builtin_sub_overflow(a.high, b.high, &out->high);
    return below | __builtin_sub_overflow(out->high, (dp_u128)borrow, &out->high);
}

static inline int dp_mul_256_u(dp_u256 a, dp_u128 b, dp_u256 *out)
{
    dp_u256 low = dp_mul_256(a.low, b);
    dp_u128 high;
    if (dp_mul_u(a.high, b, &high) || __builtin_add_overflow(high, low.high, &out->high))
        return 1;
    out->low = low.low;
    return 0;
}

/* How many bits a value takes; 0 takes none. */
static inline int dp_bits_u(dp_u128 a)
{
    uint64_t high = (uint64_t)(a >> 64), low = (uint64_t)a;
    return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
}

static inline int dp_bits_256(dp_u256 a) { return a.high ? 128 + dp_bits_u(a.high) : dp_bits_u(a.low); }

static inline dp_u256 dp_shift_left_256(dp_u256 a, int bits)
{
    dp_u256 shifted = {a.high, a.low};
    if (bits >= 128) {
        shifted.high = a.low << (bits - 128);
        shifted.low = 0;
    } else if (bits > 0) {
        shifted.high = (a.high << bits) | (a.low >> (128 - bits));
        shifted.low = a.low << bits;
    }
    return shifted;
}

/* n / d toward zero, and what remains; d > 0. One step for each bit of the quotient. */
static inline dp_u256 dp_div_256(dp_u256 n, dp_u256 d, dp_u256 *remainder)
{
    dp_u256 quotient = {0, 0};
    int bits = dp_bits_256(n) - dp_bits_256(d);
    *remainder = n;
    if (bits < 0)
        return quotient;
    if (n.high == 0) {
        quotient.low = dp_div_trunc_u(n.low, d.low);
        remainder->low = n.low - quotient.low * d.low;
        return quotient;
    }
    d = dp_shift_left_256(d, bits);
    for (;; bits--) {
        quotient = dp_shift_left_256(quotient, 1);
        if (dp_compare_256(*remainder, d) >= 0) {
            (void)dp_sub_256(*remainder, d, remainder);
            quotient.low |= 1;
        }
        if (bits == 0)
            return quotient;
        d.low = (d.low >> 1) | (d.high << 127);
        d.high >>= 1;
    }
}

/* -1, 0 or 1: a * b compared with c * d, exact. */
static inline int dp_product_sign(dp_i128 a, dp_i128 b) { return (a == 0 || b == 0) ? 0 : ((a < 0) == (b < 0) ? 1 : -1); }

static inline int dp_compare_products(dp_i128 a, dp_i128 b, dp_i128 c, dp_i128 d)
{
    int left = dp_product_sign(a, b), right = dp_product_sign(c, d);
    if (left != right)
        return left > right ? 1 : -1;
    return left * dp_compare_256(
        dp_mul_256(dp_magnitude(a), dp_magnitude(b)), dp_mul_256(dp_magnitude(c), dp_magnitude(d)));
}

/* a * b / c toward minus infinity, the product in 256 bits; c > 0; 1 when the quotient does not fit. */
static inline int dp_mul_div_floor(dp_i128 a, dp_i128 b, dp_i128 c, dp_i128 *out)
{
    dp_i128 product;
    if (!dp_mul(a, b, &product)) {
        *out = dp_div_floor(product, c);
        return 0;
    }
    dp_u256 divisor = {0, (dp_u128)c}, remainder;
    dp_u256 quotient = dp_div_256(dp_mul_256(dp_magnitude(a), dp_magnitude(b)), divisor, &remainder);
    int negative = dp_product_sign(a, b) < 0;
    if (quotient.high || quotient.low > (dp_u128)DP_I128_MAX - 1)
        return 1;
    return dp_signed(quotient.low + (negative && remainder.low != 0), negative, out);
}

#endif
