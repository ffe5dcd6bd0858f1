/* Net collateral and both margins of every account, exact: slices (slices.pxd) through the arithmetic of columns.h.
 *
 * A lane's positions are added up in registers, so nothing is scattered into accounts. Each position goes the way
 * that columns.h proves: estimate in double, settle with the integer remainder; a lane with a position outside of
 * the fast range is reported and left to 128-bit integers. Parts are below 2**50.1 and a row has at most 256
 * positions: sums fit. The answer of an empty lane means nothing.
 */
#ifndef DYDX_PERF_EXACT_SCAN_H
#define DYDX_PERF_EXACT_SCAN_H

#include "simd.h"

typedef struct {
    const int64_t *amount; /* per slot */
    const uint16_t *side;  /* per slot */
    const margin_market_t *markets;
} exact_columns_t;

/* Where the answers go: eight values a slice, and a bit for each lane that 128-bit integers must compute. */
typedef struct {
    int64_t *nc, *imr, *mmr;
    uint8_t *slow;
} exact_out_t;

/* The eight lanes of each of `slices` slices from `octet` on. */
typedef void (*exact_scan_t)(
    const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out);

static inline unsigned exact_position(
    const margin_market_t *market, int64_t quantums, int64_t *nc, int64_t *imr, int64_t *mmr)
{
    double estimate = (double)quantums * (double)market->oracle_price / (double)(int64_t)market->divisor;
    uint32_t ppm = market->initial_margin_ppm, fraction = market->maintenance_fraction_ppm;
    uint32_t scaled = market->scaled_initial_margin_ppm;
    if (fabs(estimate) >= COLUMNS_FAST_LIMIT || (ppm | scaled | fraction) >= (1u << 21))
        return 1;
    int64_t e = dp_nearest(estimate);
    int64_t r = dp_remainder_wrapping(quantums, (int64_t)market->oracle_price, e, market->divisor);
    int64_t net = quantums < 0 ? e + (r > 0) : e - (r < 0);
    uint64_t n = dp_magnitude_i64(net);
    *nc += net;
    *imr += (int64_t)dp_mul_ppm_ceil_64(n, scaled);
    *mmr += (int64_t)dp_mul_ppm_ceil_64(dp_mul_ppm_ceil_64(n, ppm), fraction);
    return 0;
}

static inline void exact_scan_plain(
    const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out)
{
    const int64_t *amount = c->amount + (size_t)octet * 8;
    const uint16_t *side = c->side + (size_t)octet * 8;
    for (uint32_t slice = 0; slice < slices; slice++) {
        size_t first = (size_t)slice * 8;
        unsigned lanes = 0;
        for (int lane = 0; lane < 8; lane++) {
            int64_t nc = amount[lane], imr = 0, mmr = 0;
            for (uint32_t position = 1; position <= capacity; position++) {
                size_t slot = (size_t)position * 8 + (size_t)lane;
                if (amount[slot])
                    lanes |= exact_position(c->markets + (side[slot] >> 1), amount[slot], &nc, &imr, &mmr) << lane;
            }
            out->nc[first + (size_t)lane] = nc;
            out->imr[first + (size_t)lane] = imr;
            out->mmr[first + (size_t)lane] = mmr;
        }
        out->slow[slice] = (uint8_t)lanes;
        amount += (size_t)(capacity + 1) * 8;
        side += (size_t)(capacity + 1) * 8;
    }
}

#if defined(__x86_64__)

#define AVX512 __attribute__((target("avx512f,avx512dq,avx2")))

AVX512 static inline __m512i exact_two_markets_512(const exact_columns_t *c, unsigned a, unsigned b)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(c->markets + (a >> 1)));
    __m256i high = _mm256_loadu_si256((const __m256i *)(c->markets + (b >> 1)));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* As load_markets_512. */
AVX512 static inline margin_markets_512_t exact_markets_512(const exact_columns_t *c, const uint16_t *s)
{
    __m512i a = exact_two_markets_512(c, s[0], s[2]), b = exact_two_markets_512(c, s[1], s[3]);
    __m512i d = exact_two_markets_512(c, s[4], s[6]), e = exact_two_markets_512(c, s[5], s[7]);
    __m512i price_ppm_a = _mm512_unpacklo_epi64(a, b), price_ppm_d = _mm512_unpacklo_epi64(d, e);
    __m512i divisor_fraction_a = _mm512_unpackhi_epi64(a, b), divisor_fraction_d = _mm512_unpackhi_epi64(d, e);
    margin_markets_512_t markets = {
        _mm512_shuffle_i64x2(price_ppm_a, price_ppm_d, 0x88),
        _mm512_shuffle_i64x2(divisor_fraction_a, divisor_fraction_d, 0x88),
        _mm512_shuffle_i64x2(price_ppm_a, price_ppm_d, 0xdd),
        _mm512_shuffle_i64x2(divisor_fraction_a, divisor_fraction_d, 0xdd)};
    return markets;
}

AVX512 static inline void exact_scan_avx512(
    const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out)
{
    const int64_t *amount = c->amount + (size_t)octet * 8;
    const uint16_t *side = c->side + (size_t)octet * 8;
    const __m512i zero = _mm512_setzero_si512();
    for (uint32_t slice = 0; slice < slices; slice++) {
        size_t first_lane = (size_t)slice * 8;
        __m512i nc = _mm512_loadu_si512(amount), imr = zero, mmr = zero;
        __mmask8 all = 0xff;
        for (uint32_t position = 0; position < capacity; position++) {
            amount += 8;
            side += 8;
            margin_markets_512_t markets = exact_markets_512(c, side);
            __m512i price = markets.price, divisor = markets.divisor;
            __m512i base = _mm512_and_si512(markets.ppm, _mm512_set1_epi64(0xffffffff));
            __m512i quantums = _mm512_loadu_si512(amount);
            __m512d product = _mm512_mul_pd(_mm512_cvtepi64_pd(quantums), _mm512_cvtepi64_pd(price));
            __m512d estimate = _mm512_div_pd(product, _mm512_cvtepi64_pd(divisor));
            __m512i e = _mm512_cvtpd_epi64(estimate);
            __m512i r = _mm512_sub_epi64(_mm512_mullo_epi64(quantums, price), _mm512_mullo_epi64(e, divisor));
            __mmask8 shorts = _mm512_movepi64_mask(quantums), empty = _mm512_cmpeq_epi64_mask(quantums, zero);
            __mmask8 fast = (__mmask8)(below_limit_512(estimate) & ~_mm512_movepi64_mask(price));
            __m512i net = subtract_one_512(e, (__mmask8)(_mm512_movepi64_mask(r) & ~shorts));
            net = add_one_512(net, (__mmask8)(_mm512_cmpgt_epi64_mask(r, zero) & shorts));
            __m512i n = _mm512_abs_epi64(net);
            __m512i initial = mul_ppm_ceil_512(n, _mm512_srli_epi64(markets.ppm, 32), &fast);
            __m512i first = mul_ppm_ceil_512(n, base, &fast);
            __m512i maintenance = mul_ppm_ceil_512(first, markets.fraction, &fast);
            all &= (__mmask8)(fast | empty);
            nc = _mm512_mask_add_epi64(nc, (__mmask8)~empty, nc, net);
            imr = _mm512_mask_add_epi64(imr, (__mmask8)~empty, imr, initial);
            mmr = _mm512_mask_add_epi64(mmr, (__mmask8)~empty, mmr, maintenance);
        }
        amount += 8;
        side += 8;
        _mm512_storeu_si512(out->nc + first_lane, nc);
        _mm512_storeu_si512(out->imr + first_lane, imr);
        _mm512_storeu_si512(out->mmr + first_lane, mmr);
        out->slow[slice] = (uint8_t)~all;
    }
}

#undef AVX512
#define AVX2 __attribute__((target("avx2")))

/* Four market rows as four columns, as load_markets_256. */
AVX2 static inline margin_markets_256_t exact_markets_256(const exact_columns_t *c, const uint16_t *s)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(c->markets + (s[0] >> 1)));
    __m256i b = _mm256_loadu_si256((const __m256i *)(c->markets + (s[1] >> 1)));
    __m256i d = _mm256_loadu_si256((const __m256i *)(c->markets + (s[2] >> 1)));
    __m256i e = _mm256_loadu_si256((const __m256i *)(c->markets + (s[3] >> 1)));
    __m256i price_ppm_a = _mm256_unpacklo_epi64(a, b), price_ppm_d = _mm256_unpacklo_epi64(d, e);
    __m256i divisor_fraction_a = _mm256_unpackhi_epi64(a, b), divisor_fraction_d = _mm256_unpackhi_epi64(d, e);
    margin_markets_256_t markets = {
        _mm256_permute2x128_si256(price_ppm_a, price_ppm_d, 0x20),
        _mm256_permute2x128_si256(divisor_fraction_a, divisor_fraction_d, 0x20),
        _mm256_permute2x128_si256(price_ppm_a, price_ppm_d, 0x31),
        _mm256_permute2x128_si256(divisor_fraction_a, divisor_fraction_d, 0x31)};
    return markets;
}

/* Half a slice: four lanes. Returns the slow ones. */
AVX2 static inline unsigned exact_half_256(
    const exact_columns_t *c, const int64_t *amount, const uint16_t *side, uint32_t capacity, const exact_out_t *out,
    size_t lane)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i nc = load_256(amount), imr = zero, mmr = zero, wrong = zero;
    for (uint32_t position = 0; position < capacity; position++) {
        amount += 8;
        side += 8;
        margin_markets_256_t markets = exact_markets_256(c, side);
        __m256i price = markets.price, divisor = markets.divisor;
        __m256i base = _mm256_and_si256(markets.ppm, _mm256_set1_epi64x(0xffffffff));
        __m256i quantums = load_256(amount), empty = _mm256_cmpeq_epi64(quantums, zero);
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
        __m256i initial = mul_ppm_ceil_256(n, _mm256_srli_epi64(markets.ppm, 32), &fast);
        __m256i first = mul_ppm_ceil_256(n, base, &fast);
        __m256i maintenance = mul_ppm_ceil_256(first, markets.fraction, &fast);
        __m256i slow = _mm256_or_si256(price, _mm256_xor_si256(_mm256_castpd_si256(fast), _mm256_set1_epi64x(-1)));
        wrong = _mm256_or_si256(wrong, _mm256_andnot_si256(empty, slow));
        nc = _mm256_add_epi64(nc, _mm256_andnot_si256(empty, net));
        imr = _mm256_add_epi64(imr, _mm256_andnot_si256(empty, initial));
        mmr = _mm256_add_epi64(mmr, _mm256_andnot_si256(empty, maintenance));
    }
    store_256(out->nc + lane, nc);
    store_256(out->imr + lane, imr);
    store_256(out->mmr + lane, mmr);
    return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(wrong));
}

AVX2 static inline void exact_scan_avx2(
    const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out)
{
    for (uint32_t slice = 0; slice < slices; slice++, octet += capacity + 1) {
        const int64_t *amount = c->amount + (size_t)octet * 8;
        const uint16_t *side = c->side + (size_t)octet * 8;
        size_t lane = (size_t)slice * 8;
        unsigned low = exact_half_256(c, amount, side, capacity, out, lane);
        unsigned high = exact_half_256(c, amount + 4, side + 4, capacity, out, lane + 4);
        out->slow[slice] = (uint8_t)(low | high << 4);
    }
}

#undef AVX2
#endif

typedef struct {
    const char *name;
    exact_scan_t scan;
} exact_path_t;

#define EXACT_MAX_PATHS 3

/* The paths this processor has, fastest first; returns how many. */
static inline int exact_paths(exact_path_t paths[EXACT_MAX_PATHS])
{
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx2"))
        paths[count++] = (exact_path_t){"avx512", exact_scan_avx512};
    if (__builtin_cpu_supports("avx2"))
        paths[count++] = (exact_path_t){"avx2", exact_scan_avx2};
#endif
    paths[count++] = (exact_path_t){"plain", exact_scan_plain};
    return count;
}

#endif
