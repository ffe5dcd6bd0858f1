/* Net collateral and both margins of every account, exact: slices (slices.pxd) through integers that doubles hold.
 *
 * A lane's positions are added up in registers, so nothing is scattered into accounts. A market is a row of 32
 * bytes for each side, a short's price and worth negative, so that sizes need no magnitude.
 *
 *   1. e, the nearest integer of q * worth, worth = p / D.       One of n = floor(q p / D) and its neighbours.
 *   2. r = q p - e D.  n = e - (r < 0).                           Integers; the low 32 bits of r tell its sign.
 *   3. a, the nearest integer of n / 1e6.  b = n - a * 1e6.       Exact.
 *   4. ceil(n x / 1e6) = a x + ceil(b x / 1e6) for a whole a.     The first product and the sum are exact.
 *   5. ceil(b x / 1e6) is the nearest integer of b x / 1e6 + 0.4999995.
 *
 * The proof. |q p / D| < 2**49 by the test on the estimate, D <= 10**9, p < 2**63, every x <= 2**20 (EXACT_MAX_PPM).
 * u = 2**-53.
 *
 *   1. Five roundings at most (q, p, their quotient's by D, which is exact, the product; one spare): the estimate
 *      is off by less than 5.01 u 2**49 < 0.32, and e by less than 0.82. So |r| < 0.82 D < 2**31, and n is e or
 *      one less.
 *   3. n <= 2**49. Adding COLUMNS_ROUNDER leaves the nearest integer of n * 1e-6, whose own rounding is below
 *      2**-23: |b| <= 500001. a * 1e6 and n - a * 1e6 are integers below 2**50: exact.
 *   4. a x <= 2**29.1 * 2**20, and the whole value is below 2**49.2: exact, and exact beside COLUMNS_ROUNDER.
 *      The second ceiling starts from a value below 2**49.2 in the same way; it stays below 2**49.4.
 *   5. b x is an integer. With b x = k 1e6 + j, 0 <= j < 1e6, the exact sum is k + 0.5 + (j - 0.5) 1e-6: nearest
 *      to k for j = 0, to k + 1 for j >= 1, and 5e-7 or more away from where that changes. It is below 2**20, and
 *      four roundings of it (1e-6, b * 1e-6, the product, the sum) are off by less than 2**-30.
 *
 * A fused multiplication leaves a rounding out and every bound holds; rounding is to nearest. A lane that holds
 * a position outside of these limits is reported and left to 128-bit integers; so is one with a position in a market
 * outside of them, whose worth is so large that any size fails the test. Sums fit: a row has at most 256 positions.
 * The answer of an empty lane means nothing.
 */
#ifndef DYDX_PERF_EXACT_SCAN_H
#define DYDX_PERF_EXACT_SCAN_H

#include "lanes.h"

#define EXACT_MAX_DIVISOR 1000000000u
#define EXACT_MAX_PPM (1u << 20)
#define EXACT_NEVER 0x1p1000           /* worth of a market outside of the limits; times an empty slot it is 0 */
#define EXACT_MILLIONTH 1e-6
#define EXACT_UP 0.4999995             /* half, less half a millionth */
#define EXACT_ROUNDER_BITS 0x4338000000000000 /* of COLUMNS_ROUNDER: beside it the low bits of a sum are an integer */

/* One side of a market as vectors read it. A part per million of at most 2**20 is a double whose lower half is
 * zero: the upper half is kept, in either half of 64 bits. */
typedef struct {
    double worth;       /* of a base quantum; of a short below zero */
    uint32_t price;     /* low bits; of a short those of -price */
    uint32_t fraction;  /* maintenance, upper half of a double */
    uint32_t initial;   /* the tier's own, upper half of a double */
    uint32_t scaled;    /* by open interest, upper half of a double */
    uint32_t divisor;
    uint32_t zero;
} exact_side_t;

/* The same as plain C reads it: parts per million are integers. */
typedef struct {
    double worth;
    uint32_t price, divisor;
    uint32_t initial, scaled, fraction;
    uint32_t zero;
} exact_plain_side_t;

typedef struct {
    const int64_t *amount; /* per slot */
    const uint16_t *side;  /* per slot: 2 * market, + 1 for a short */
    const exact_side_t *sides;
    const exact_plain_side_t *plain_sides;
} exact_columns_t;

/* Where the answers go: eight values a slice, and a bit for each lane that 128-bit integers must compute. */
typedef struct {
    int64_t *nc, *imr, *mmr;
    uint8_t *slow;
} exact_out_t;

/* The eight lanes of each of `slices` slices from `octet` on. */
typedef void (*exact_scan_t)(
    const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out);

static inline uint64_t exact_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Both sides of a market; `sides` and `plain` have room for two. */
static inline void exact_sides(const margin_market_t *market, exact_side_t *sides, exact_plain_side_t *plain)
{
    uint32_t initial = market->initial_margin_ppm, scaled = market->scaled_initial_margin_ppm;
    uint32_t fraction = market->maintenance_fraction_ppm, price = (uint32_t)market->oracle_price;
    int fits = market->divisor - 1 < EXACT_MAX_DIVISOR && !(market->oracle_price >> 63) && initial <= EXACT_MAX_PPM &&
        scaled <= EXACT_MAX_PPM && fraction <= EXACT_MAX_PPM;
    uint32_t divisor = fits ? (uint32_t)market->divisor : 1;
    double worth = fits ? (double)market->oracle_price / (double)market->divisor : EXACT_NEVER;
    for (int is_short = 0; is_short < 2; is_short++) {
        sides[is_short] = (exact_side_t){
            worth, price, (uint32_t)(exact_bits(fraction) >> 32), (uint32_t)(exact_bits(initial) >> 32),
            (uint32_t)(exact_bits(scaled) >> 32), divisor, 0};
        plain[is_short] = (exact_plain_side_t){worth, price, divisor, initial, scaled, fraction, 0};
        worth = -worth;
        price = 0u - price;
    }
}

/* One position; returns the estimate of its value, which the caller compares with the limit. In plain C products
 * by reciprocals are fewer instructions than steps 3 to 5. */
static inline double exact_position(
    const exact_plain_side_t *side, int64_t quantums, uint64_t *nc, uint64_t *imr, uint64_t *mmr)
{
    double estimate = (double)quantums * side->worth;
    uint64_t bits = exact_bits(estimate + COLUMNS_ROUNDER), mask = (uint64_t)(quantums >> 63);
    uint32_t r = (uint32_t)(uint64_t)quantums * side->price - (uint32_t)bits * side->divisor;
    uint64_t n = bits - (r >> 31) - EXACT_ROUNDER_BITS;
    *nc += (n ^ mask) - mask;
    *imr += dp_mul_ppm_ceil_64(n, side->scaled);
    *mmr += dp_mul_ppm_ceil_64(dp_mul_ppm_ceil_64(n, side->initial), side->fraction);
    return estimate;
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
            uint64_t nc = (uint64_t)amount[lane], imr = 0, mmr = 0; /* of a slow lane they may wrap */
            double largest = 0;
            for (uint32_t position = 1; position <= capacity; position++) {
                size_t slot = (size_t)position * 8 + (size_t)lane;
                double estimate = exact_position(c->plain_sides + side[slot], amount[slot], &nc, &imr, &mmr);
                largest = estimate > largest ? estimate : largest;
            }
            out->nc[first + (size_t)lane] = (int64_t)nc;
            out->imr[first + (size_t)lane] = (int64_t)imr;
            out->mmr[first + (size_t)lane] = (int64_t)mmr;
            lanes |= (unsigned)!(largest < COLUMNS_FAST_LIMIT) << lane;
        }
        out->slow[slice] = (uint8_t)lanes;
        amount += (size_t)(capacity + 1) * 8;
        side += (size_t)(capacity + 1) * 8;
    }
}

#if defined(__x86_64__)

#define AVX512 __attribute__((target("avx512f,avx512dq,avx2,fma")))

/* Integer part of a millionth of an integer, and what is left of it in millionths. */
typedef struct {
    __m512d a, millionths;
} exact_split_512_t;

AVX512 static inline exact_split_512_t exact_split_512(__m512d value)
{
    const __m512d rounder = _mm512_set1_pd(COLUMNS_ROUNDER), millionth = _mm512_set1_pd(EXACT_MILLIONTH);
    __m512d a = _mm512_sub_pd(_mm512_fmadd_pd(value, millionth, rounder), rounder);
    __m512d b = _mm512_fnmadd_pd(a, _mm512_set1_pd(1e6), value);
    exact_split_512_t split = {a, _mm512_mul_pd(b, millionth)};
    return split;
}

AVX512 static inline __m512d exact_ppm_ceil_512(exact_split_512_t value, __m512d ppm)
{
    __m512d up = _mm512_fmadd_pd(value.millionths, ppm, _mm512_set1_pd(EXACT_UP));
    return _mm512_fmadd_pd(value.a, ppm, _mm512_add_pd(up, _mm512_set1_pd(COLUMNS_ROUNDER)));
}

AVX512 static inline void exact_scan_avx512(
    const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out)
{
    const int64_t *amount = c->amount + (size_t)octet * 8;
    const uint16_t *side = c->side + (size_t)octet * 8;
    const __m512i zero = _mm512_setzero_si512(), rounder_bits = _mm512_set1_epi64(EXACT_ROUNDER_BITS);
    const __m512i upper = _mm512_set1_epi64((long long)0xffffffff00000000), one = _mm512_set1_epi64(1);
    const __m512d rounder = _mm512_set1_pd(COLUMNS_ROUNDER);
    /* what each position adds too much */
    const __m512i bias = _mm512_set1_epi64((long long)(capacity * (uint64_t)EXACT_ROUNDER_BITS));
    for (uint32_t slice = 0; slice < slices; slice++) {
        size_t lane = (size_t)slice * 8;
        __m512i nc = _mm512_loadu_si512(amount), below = zero, imr = zero, mmr = zero;
        __m512d largest = _mm512_setzero_pd();
        for (uint32_t position = 0; position < capacity; position++) {
            amount += 8;
            side += 8;
            const exact_side_t *s = c->sides;
            lanes_512_t rows = lanes_512(
                s + side[0], s + side[1], s + side[2], s + side[3], s + side[4], s + side[5], s + side[6],
                s + side[7]);
            __m512i quantums = _mm512_loadu_si512(amount);
            __m512d estimate = _mm512_mul_pd(_mm512_cvtepi64_pd(quantums), _mm512_castsi512_pd(rows.a));
            largest = _mm512_max_pd(largest, estimate);
            __m512i sum = _mm512_castpd_si512(_mm512_add_pd(estimate, rounder));
            __m512i r = _mm512_sub_epi64(_mm512_mul_epu32(quantums, rows.b), _mm512_mul_epu32(sum, rows.d));
            sum = _mm512_mask_sub_epi64(sum, _mm512_movepi64_mask(_mm512_slli_epi64(r, 32)), sum, one);
            __m512i n = _mm512_sub_epi64(sum, rounder_bits);
            nc = _mm512_add_epi64(nc, n);
            below = _mm512_mask_add_epi64(below, _mm512_movepi64_mask(quantums), below, n);
            exact_split_512_t value = exact_split_512(_mm512_sub_pd(_mm512_castsi512_pd(sum), rounder));
            __m512d scaled = _mm512_castsi512_pd(_mm512_and_si512(rows.c, upper));
            imr = _mm512_add_epi64(imr, _mm512_castpd_si512(exact_ppm_ceil_512(value, scaled)));
            __m512d initial = _mm512_castsi512_pd(_mm512_slli_epi64(rows.c, 32));
            exact_split_512_t first = exact_split_512(_mm512_sub_pd(exact_ppm_ceil_512(value, initial), rounder));
            __m512d fraction = _mm512_castsi512_pd(_mm512_and_si512(rows.b, upper));
            mmr = _mm512_add_epi64(mmr, _mm512_castpd_si512(exact_ppm_ceil_512(first, fraction)));
        }
        amount += 8;
        side += 8;
        _mm512_storeu_si512(out->nc + lane, _mm512_sub_epi64(nc, _mm512_add_epi64(below, below)));
        _mm512_storeu_si512(out->imr + lane, _mm512_sub_epi64(imr, bias));
        _mm512_storeu_si512(out->mmr + lane, _mm512_sub_epi64(mmr, bias));
        out->slow[slice] = (uint8_t)~_mm512_cmp_pd_mask(largest, _mm512_set1_pd(COLUMNS_FAST_LIMIT), _CMP_LT_OQ);
    }
}

#undef AVX512
#define AVX2 __attribute__((target("avx2,fma")))

typedef struct {
    __m256d a, millionths;
} exact_split_256_t;

AVX2 static inline exact_split_256_t exact_split_256(__m256d value)
{
    const __m256d rounder = _mm256_set1_pd(COLUMNS_ROUNDER), millionth = _mm256_set1_pd(EXACT_MILLIONTH);
    __m256d a = _mm256_sub_pd(_mm256_fmadd_pd(value, millionth, rounder), rounder);
    __m256d b = _mm256_fnmadd_pd(a, _mm256_set1_pd(1e6), value);
    exact_split_256_t split = {a, _mm256_mul_pd(b, millionth)};
    return split;
}

AVX2 static inline __m256d exact_ppm_ceil_256(exact_split_256_t value, __m256d ppm)
{
    __m256d up = _mm256_fmadd_pd(value.millionths, ppm, _mm256_set1_pd(EXACT_UP));
    return _mm256_fmadd_pd(value.a, ppm, _mm256_add_pd(up, _mm256_set1_pd(COLUMNS_ROUNDER)));
}

/* Half a slice: four lanes. Returns the slow ones. A size is made a double by adding COLUMNS_ROUNDER's bits, for
 * sizes below 2**51; a larger one leaves other bits at the top, and its lane is slow. */
AVX2 static inline unsigned exact_half_256(
    const exact_columns_t *c, const int64_t *amount, const uint16_t *side, uint32_t capacity, const exact_out_t *out,
    size_t lane)
{
    const __m256i zero = _mm256_setzero_si256(), rounder_bits = _mm256_set1_epi64x(EXACT_ROUNDER_BITS);
    const __m256i upper = _mm256_set1_epi64x((long long)0xffffffff00000000);
    const __m256d rounder = _mm256_set1_pd(COLUMNS_ROUNDER);
    const __m256i bias = _mm256_set1_epi64x((long long)(capacity * (uint64_t)EXACT_ROUNDER_BITS));
    __m256i nc = lanes_load_256(amount), imr = zero, mmr = zero, large = zero;
    __m256d largest = _mm256_setzero_pd();
    for (uint32_t position = 0; position < capacity; position++) {
        amount += 8;
        side += 8;
        const exact_side_t *s = c->sides;
        lanes_256_t rows = lanes_256(s + side[0], s + side[1], s + side[2], s + side[3]);
        __m256i quantums = lanes_load_256(amount), planted = _mm256_add_epi64(quantums, rounder_bits);
        large = _mm256_or_si256(large, _mm256_xor_si256(planted, rounder_bits));
        __m256d size = _mm256_sub_pd(_mm256_castsi256_pd(planted), rounder);
        __m256d estimate = _mm256_mul_pd(size, _mm256_castsi256_pd(rows.a));
        largest = _mm256_max_pd(largest, estimate);
        __m256i sum = _mm256_castpd_si256(_mm256_add_pd(estimate, rounder));
        __m256i r = _mm256_sub_epi32(_mm256_mul_epu32(quantums, rows.b), _mm256_mul_epu32(sum, rows.d));
        sum = _mm256_add_epi64(sum, _mm256_srai_epi32(_mm256_shuffle_epi32(r, 0xa0), 31));
        __m256i n = _mm256_sub_epi64(sum, rounder_bits), shorts = _mm256_cmpgt_epi64(zero, quantums);
        nc = _mm256_add_epi64(nc, _mm256_sub_epi64(_mm256_xor_si256(n, shorts), shorts));
        exact_split_256_t value = exact_split_256(_mm256_sub_pd(_mm256_castsi256_pd(sum), rounder));
        __m256d scaled = _mm256_castsi256_pd(_mm256_and_si256(rows.c, upper));
        imr = _mm256_add_epi64(imr, _mm256_castpd_si256(exact_ppm_ceil_256(value, scaled)));
        __m256d initial = _mm256_castsi256_pd(_mm256_slli_epi64(rows.c, 32));
        exact_split_256_t first = exact_split_256(_mm256_sub_pd(exact_ppm_ceil_256(value, initial), rounder));
        __m256d fraction = _mm256_castsi256_pd(_mm256_and_si256(rows.b, upper));
        mmr = _mm256_add_epi64(mmr, _mm256_castpd_si256(exact_ppm_ceil_256(first, fraction)));
    }
    lanes_store_256(out->nc + lane, nc);
    lanes_store_256(out->imr + lane, _mm256_sub_epi64(imr, bias));
    lanes_store_256(out->mmr + lane, _mm256_sub_epi64(mmr, bias));
    __m256d fast = _mm256_cmp_pd(largest, _mm256_set1_pd(COLUMNS_FAST_LIMIT), _CMP_LT_OQ);
    __m256i small = _mm256_cmpeq_epi64(_mm256_srli_epi64(large, 52), zero);
    return ~(unsigned)_mm256_movemask_pd(_mm256_and_pd(fast, _mm256_castsi256_pd(small))) & 15u;
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
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        paths[count++] = (exact_path_t){"avx512", exact_scan_avx512};
    if (avx2)
        paths[count++] = (exact_path_t){"avx2", exact_scan_avx2};
#endif
    paths[count++] = (exact_path_t){"plain", exact_scan_plain};
    return count;
}

#endif
