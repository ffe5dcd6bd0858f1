/* The columns of columns.h with vectors.
 *
 * Each function is the twin of the plain one and stands on the same proof (columns.h). Lanes outside the fast
 * range are computed again by the 128-bit row functions, the rows after the last full vector by plain C.
 * Functions are compiled for their instructions one by one (target attributes), so the module itself runs on
 * any processor of its architecture; columns_paths() lists what this one has, fastest first.
 */
#ifndef DYDX_PERF_SIMD_H
#define DYDX_PERF_SIMD_H

#include "lanes.h"

typedef struct {
    const char *name;
    size_t (*funding_payments)(const funding_columns_t *, size_t row, size_t end);
    size_t (*unrealized_pnl)(const pnl_columns_t *, size_t row, size_t end);
    size_t (*margin_requirements)(const margin_columns_t *, size_t row, size_t end);
} columns_path_t;

#define COLUMNS_MAX_PATHS 3

#if defined(__x86_64__)

/* ================================ AVX-512 F + DQ: eight rows ================================ */

#define AVX512 __attribute__((target("avx512f,avx512dq,avx2")))

AVX512 static inline __m512i load_512(const int64_t *at) { return _mm512_loadu_si512(at); }
AVX512 static inline __m512i gather_512(__m256i market, const void *table)
{
    return _mm512_i32gather_epi64(market, table, 8);
}

/* Eight market rows: price, divisor, the tier's fraction with the scaled one above it, maintenance fraction. */
AVX512 static inline lanes_512_t load_markets_512(const margin_columns_t *c, size_t row)
{
    const margin_market_t *m = c->markets;
    const uint32_t *n = c->market + row;
    return lanes_512(m + n[0], m + n[1], m + n[2], m + n[3], m + n[4], m + n[5], m + n[6], m + n[7]);
}

/* Lanes with a - b * 10**6 > 0, where a = x * y; of a value below 2**31 the low 32 bits tell. */
AVX512 static inline __mmask8 above_millions_512(__m512i x, __m512i y, __m512i e)
{
    __m512i r = _mm512_sub_epi64(_mm512_mul_epu32(x, y), _mm512_mul_epu32(e, _mm512_set1_epi64(1000000)));
    return _mm512_cmpgt_epi64_mask(_mm512_slli_epi64(r, 32), _mm512_setzero_si512());
}

AVX512 static inline __m512i add_one_512(__m512i e, __mmask8 lanes)
{
    return _mm512_mask_add_epi64(e, lanes, e, _mm512_set1_epi64(1));
}

AVX512 static inline __m512i subtract_one_512(__m512i e, __mmask8 lanes)
{
    return _mm512_mask_sub_epi64(e, lanes, e, _mm512_set1_epi64(1));
}

AVX512 static inline __mmask8 below_limit_512(__m512d estimate)
{
    return _mm512_cmp_pd_mask(_mm512_abs_pd(estimate), _mm512_set1_pd(COLUMNS_FAST_LIMIT), _CMP_LT_OQ);
}

/* ceil(value * ppm / 1e6); lanes past the limit are taken out of *fast. */
AVX512 static inline __m512i mul_ppm_ceil_512(__m512i value, __m512i ppm, __mmask8 *fast)
{
    __m512d product = _mm512_mul_pd(_mm512_cvtepi64_pd(value), _mm512_cvtepi64_pd(ppm));
    __m512d estimate = _mm512_mul_pd(product, _mm512_set1_pd(1e-6));
    __m512i e = _mm512_cvtpd_epi64(estimate);
    *fast &= below_limit_512(estimate);
    return add_one_512(e, above_millions_512(value, ppm, e));
}

AVX512 static inline size_t funding_payments_avx512(const funding_columns_t *c, size_t row, size_t end)
{
    for (; row + 8 <= end; row += 8) {
        __m256i market = _mm256_loadu_si256((const __m256i *)(c->market + row));
        __m512i current = gather_512(market, c->current_funding_index);
        __m512i own = load_512(c->funding_index + row), quantums = load_512(c->quantums + row);
        __m512i difference = _mm512_sub_epi64(current, own);
        /* a subtraction wrapped where the operands' signs differ and the result's is not the first's */
        __m512i wrapped = _mm512_and_si512(_mm512_xor_si512(current, own), _mm512_xor_si512(current, difference));
        __m512d product = _mm512_mul_pd(_mm512_cvtepi64_pd(difference), _mm512_cvtepi64_pd(quantums));
        __m512d estimate = _mm512_mul_pd(product, _mm512_set1_pd(1e-6));
        __m512i e = _mm512_cvtpd_epi64(estimate);
        unsigned slow = (uint8_t)(_mm512_movepi64_mask(wrapped) | ~below_limit_512(estimate));
        _mm512_storeu_si512(c->payment + row, add_one_512(e, above_millions_512(difference, quantums, e)));
        for (; slow; slow &= slow - 1) {
            size_t lane = row + (size_t)__builtin_ctz(slow);
            if (funding_payment_row(c, lane))
                return lane;
        }
    }
    return funding_payments_plain(c, row, end);
}

AVX512 static inline size_t unrealized_pnl_avx512(const pnl_columns_t *c, size_t row, size_t end)
{
    for (; row + 8 <= end; row += 8) {
        __m256i market = _mm256_loadu_si256((const __m256i *)(c->market + row));
        __m512i price = gather_512(market, c->oracle_price), divisor = gather_512(market, c->divisor);
        __m512i entry = load_512(c->entry_price + row), quantums = load_512(c->quantums + row);
        __m512i gain = _mm512_sub_epi64(price, entry);
        /* price below 2**63 minus entry wraps only where entry and the result are both negative */
        __m512i wrapped = _mm512_or_si512(price, _mm512_and_si512(entry, gain));
        __m512d product = _mm512_mul_pd(_mm512_cvtepi64_pd(quantums), _mm512_cvtepi64_pd(gain));
        __m512d estimate = _mm512_div_pd(product, _mm512_cvtepi64_pd(divisor));
        __m512i e = _mm512_cvtpd_epi64(estimate);
        __m512i r = _mm512_sub_epi64(_mm512_mullo_epi64(quantums, gain), _mm512_mullo_epi64(e, divisor));
        __mmask8 below = _mm512_movepi64_mask(r);
        unsigned slow = (uint8_t)(_mm512_movepi64_mask(wrapped) | ~below_limit_512(estimate));
        _mm512_storeu_si512(c->quotient + row, subtract_one_512(e, below));
        _mm512_storeu_si512(c->remainder + row, _mm512_mask_add_epi64(r, below, r, divisor));
        for (; slow; slow &= slow - 1) {
            size_t lane = row + (size_t)__builtin_ctz(slow);
            if (unrealized_pnl_row(c, lane))
                return lane;
        }
    }
    return unrealized_pnl_plain(c, row, end);
}

AVX512 static inline size_t margin_requirements_avx512(const margin_columns_t *c, size_t row, size_t end)
{
    for (; row + 8 <= end; row += 8) {
        lanes_512_t markets = load_markets_512(c, row);
        __m512i price = markets.a, divisor = markets.b;
        __m512i base = _mm512_and_si512(markets.c, _mm512_set1_epi64(0xffffffff));
        __m512i quantums = load_512(c->quantums + row), zero = _mm512_setzero_si512();
        __m512d product = _mm512_mul_pd(_mm512_cvtepi64_pd(quantums), _mm512_cvtepi64_pd(price));
        __m512d estimate = _mm512_div_pd(product, _mm512_cvtepi64_pd(divisor));
        __m512i e = _mm512_cvtpd_epi64(estimate);
        __m512i r = _mm512_sub_epi64(_mm512_mullo_epi64(quantums, price), _mm512_mullo_epi64(e, divisor));
        __mmask8 shorts = _mm512_movepi64_mask(quantums);
        __mmask8 fast = (__mmask8)(below_limit_512(estimate) & ~_mm512_movepi64_mask(price));
        __m512i net = subtract_one_512(e, (__mmask8)(_mm512_movepi64_mask(r) & ~shorts));
        net = add_one_512(net, (__mmask8)(_mm512_cmpgt_epi64_mask(r, zero) & shorts));
        __m512i n = _mm512_abs_epi64(net);
        __m512i initial = mul_ppm_ceil_512(n, _mm512_srli_epi64(markets.c, 32), &fast);
        __m512i first = mul_ppm_ceil_512(n, base, &fast);
        __m512i maintenance = mul_ppm_ceil_512(first, markets.d, &fast);
        _mm512_storeu_si512(c->net_notional + row, net);
        _mm512_storeu_si512(c->initial_margin + row, initial);
        _mm512_storeu_si512(c->maintenance_margin + row, maintenance);
        for (unsigned slow = (uint8_t)~fast; slow; slow &= slow - 1) {
            size_t lane = row + (size_t)__builtin_ctz(slow);
            if (margin_requirements_row(c, lane))
                return lane;
        }
    }
    return margin_requirements_plain(c, row, end);
}

/* ================================ AVX2: four rows ================================ */

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i gather_256(__m128i market, const void *table)
{
    return _mm256_i32gather_epi64((const long long *)table, market, 8);
}

AVX2 static inline lanes_256_t load_markets_256(const margin_columns_t *c, size_t row)
{
    const margin_market_t *m = c->markets;
    const uint32_t *n = c->market + row;
    return lanes_256(m + n[0], m + n[1], m + n[2], m + n[3]);
}

/* int64 to the nearest double. With v = high * 2**32 + low (high signed): the halves are planted into the low
 * bits of 2**84 (plus 2**63, so that high is unsigned) and of 2**52, both exact; taking 2**84 + 2**63 + 2**52
 * off the first leaves high * 2**32 - 2**52, a multiple of 2**32 below 2**64, exact; the last sum is v and
 * rounds once. */
AVX2 static inline __m256d to_double_256(__m256i v)
{
    __m256i high = _mm256_xor_si256(_mm256_srli_epi64(v, 32), _mm256_set1_epi64x(0x4530000080000000));
    __m256i low = _mm256_blend_epi32(v, _mm256_set1_epi64x(0x4330000000000000), 0xaa);
    __m256d rest = _mm256_sub_pd(_mm256_castsi256_pd(high), _mm256_set1_pd(0x1p84 + 0x1p63 + 0x1p52));
    return _mm256_add_pd(rest, _mm256_castsi256_pd(low));
}

/* Exact for 0 <= v < 2**52. */
AVX2 static inline __m256d small_to_double_256(__m256i v)
{
    __m256d two52 = _mm256_set1_pd(0x1p52);
    return _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(v, _mm256_castpd_si256(two52))), two52);
}

/* The nearest integer, for |estimate| < 2**51; elsewhere some integer, and the lane is slow. */
AVX2 static inline __m256i nearest_256(__m256d estimate)
{
    __m256d rounder = _mm256_set1_pd(COLUMNS_ROUNDER);
    return _mm256_sub_epi64(
        _mm256_castpd_si256(_mm256_add_pd(estimate, rounder)), _mm256_castpd_si256(rounder));
}

/* Low 64 bits of a * b: low * low, plus the two cross products shifted up. */
AVX2 static inline __m256i mul_low_256(__m256i a, __m256i b)
{
    __m256i cross = _mm256_mullo_epi32(a, _mm256_shuffle_epi32(b, 0xb1)); /* al*bh, ah*bl */
    __m256i sum = _mm256_add_epi32(cross, _mm256_srli_epi64(cross, 32));
    return _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_slli_epi64(sum, 32));
}

/* All ones in the lanes with a - b * 10**6 > 0, where a = x * y; see above_millions_512. */
AVX2 static inline __m256i above_millions_256(__m256i x, __m256i y, __m256i e)
{
    __m256i r = _mm256_sub_epi64(_mm256_mul_epu32(x, y), _mm256_mul_epu32(e, _mm256_set1_epi64x(1000000)));
    return _mm256_cmpgt_epi64(_mm256_slli_epi64(r, 32), _mm256_setzero_si256());
}

AVX2 static inline __m256d below_limit_256(__m256d estimate)
{
    __m256d magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), estimate);
    return _mm256_cmp_pd(magnitude, _mm256_set1_pd(COLUMNS_FAST_LIMIT), _CMP_LT_OQ);
}

/* One bit for each lane that is slow: its sign bit is set in `wrapped` or clear in `fast`. */
AVX2 static inline unsigned slow_lanes_256(__m256i wrapped, __m256d fast)
{
    return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(wrapped)) | (~(unsigned)_mm256_movemask_pd(fast) & 15u);
}

AVX2 static inline __m256i mul_ppm_ceil_256(__m256i value, __m256i ppm, __m256d *fast)
{
    __m256d product = _mm256_mul_pd(small_to_double_256(value), small_to_double_256(ppm));
    __m256d estimate = _mm256_mul_pd(product, _mm256_set1_pd(1e-6));
    __m256i e = nearest_256(estimate);
    *fast = _mm256_and_pd(*fast, below_limit_256(estimate));
    return _mm256_sub_epi64(e, above_millions_256(value, ppm, e));
}

AVX2 static inline size_t funding_payments_avx2(const funding_columns_t *c, size_t row, size_t end)
{
    for (; row + 4 <= end; row += 4) {
        __m128i market = _mm_loadu_si128((const __m128i *)(c->market + row));
        __m256i current = gather_256(market, c->current_funding_index);
        __m256i own = lanes_load_256(c->funding_index + row), quantums = lanes_load_256(c->quantums + row);
        __m256i difference = _mm256_sub_epi64(current, own);
        __m256i wrapped = _mm256_and_si256(_mm256_xor_si256(current, own), _mm256_xor_si256(current, difference));
        __m256d product = _mm256_mul_pd(to_double_256(difference), to_double_256(quantums));
        __m256d estimate = _mm256_mul_pd(product, _mm256_set1_pd(1e-6));
        __m256i e = nearest_256(estimate);
        lanes_store_256(c->payment + row, _mm256_sub_epi64(e, above_millions_256(difference, quantums, e)));
        for (unsigned slow = slow_lanes_256(wrapped, below_limit_256(estimate)); slow; slow &= slow - 1) {
            size_t lane = row + (size_t)__builtin_ctz(slow);
            if (funding_payment_row(c, lane))
                return lane;
        }
    }
    return funding_payments_plain(c, row, end);
}

AVX2 static inline size_t unrealized_pnl_avx2(const pnl_columns_t *c, size_t row, size_t end)
{
    for (; row + 4 <= end; row += 4) {
        __m128i market = _mm_loadu_si128((const __m128i *)(c->market + row));
        __m256i price = gather_256(market, c->oracle_price), divisor = gather_256(market, c->divisor);
        __m256i entry = lanes_load_256(c->entry_price + row), quantums = lanes_load_256(c->quantums + row);
        __m256i gain = _mm256_sub_epi64(price, entry);
        __m256i wrapped = _mm256_or_si256(price, _mm256_and_si256(entry, gain));
        __m256d product = _mm256_mul_pd(to_double_256(quantums), to_double_256(gain));
        __m256d estimate = _mm256_div_pd(product, to_double_256(divisor));
        __m256i e = nearest_256(estimate);
        __m256i r = _mm256_sub_epi64(mul_low_256(quantums, gain), mul_low_256(e, divisor));
        __m256i below = _mm256_cmpgt_epi64(_mm256_setzero_si256(), r);
        lanes_store_256(c->quotient + row, _mm256_add_epi64(e, below));
        lanes_store_256(c->remainder + row, _mm256_add_epi64(r, _mm256_and_si256(below, divisor)));
        for (unsigned slow = slow_lanes_256(wrapped, below_limit_256(estimate)); slow; slow &= slow - 1) {
            size_t lane = row + (size_t)__builtin_ctz(slow);
            if (unrealized_pnl_row(c, lane))
                return lane;
        }
    }
    return unrealized_pnl_plain(c, row, end);
}

AVX2 static inline size_t margin_requirements_avx2(const margin_columns_t *c, size_t row, size_t end)
{
    for (; row + 4 <= end; row += 4) {
        lanes_256_t markets = load_markets_256(c, row);
        __m256i price = markets.a, divisor = markets.b;
        __m256i base = _mm256_and_si256(markets.c, _mm256_set1_epi64x(0xffffffff));
        __m256i quantums = lanes_load_256(c->quantums + row), zero = _mm256_setzero_si256();
        __m256d product = _mm256_mul_pd(to_double_256(quantums), to_double_256(price));
        __m256d estimate = _mm256_div_pd(product, to_double_256(divisor));
        __m256i e = nearest_256(estimate);
        __m256i r = _mm256_sub_epi64(mul_low_256(quantums, price), mul_low_256(e, divisor));
        __m256i shorts = _mm256_cmpgt_epi64(zero, quantums);
        __m256d fast = below_limit_256(estimate);
        __m256i net = _mm256_add_epi64(e, _mm256_andnot_si256(shorts, _mm256_cmpgt_epi64(zero, r)));
        net = _mm256_sub_epi64(net, _mm256_and_si256(shorts, _mm256_cmpgt_epi64(r, zero)));
        __m256i sign = _mm256_cmpgt_epi64(zero, net);
        __m256i n = _mm256_sub_epi64(_mm256_xor_si256(net, sign), sign);
        __m256i initial = mul_ppm_ceil_256(n, _mm256_srli_epi64(markets.c, 32), &fast);
        __m256i first = mul_ppm_ceil_256(n, base, &fast);
        __m256i maintenance = mul_ppm_ceil_256(first, markets.d, &fast);
        lanes_store_256(c->net_notional + row, net);
        lanes_store_256(c->initial_margin + row, initial);
        lanes_store_256(c->maintenance_margin + row, maintenance);
        for (unsigned slow = slow_lanes_256(price, fast); slow; slow &= slow - 1) {
            size_t lane = row + (size_t)__builtin_ctz(slow);
            if (margin_requirements_row(c, lane))
                return lane;
        }
    }
    return margin_requirements_plain(c, row, end);
}

#undef AVX512
#undef AVX2
#endif

/* The paths this processor has, fastest first; returns how many. */
static inline int columns_paths(columns_path_t paths[COLUMNS_MAX_PATHS])
{
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx2"))
        paths[count++] = (columns_path_t){
            "avx512", funding_payments_avx512, unrealized_pnl_avx512, margin_requirements_avx512};
    if (__builtin_cpu_supports("avx2"))
        paths[count++] =
            (columns_path_t){"avx2", funding_payments_avx2, unrealized_pnl_avx2, margin_requirements_avx2};
#endif
    paths[count++] =
        (columns_path_t){"plain", funding_payments_plain, unrealized_pnl_plain, margin_requirements_plain};
    return count;
}

#endif
