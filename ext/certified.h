/* The certified scan: which accounts are liquidatable, decided in double wherever the bound lets it.
 *
 * Positions lie in slices: eight accounts of the same capacity k, interleaved. A slice is 1 + k octets of eight
 * slots; octet 0 is its head, lane i of octet 1 + j is position j of account i. At the head `amount` is the
 * account's collateral without its positions (funding settled), elsewhere base quantums; `side` elsewhere is
 * 2 * market + 1 for a short and 2 * market otherwise. Empty slots are zero; an empty lane has a collateral of
 * SLICES_EMPTY and so is never low.
 *
 * With the side of a size known, a position's part of nc - mmr is linear in the price: it is estimated by
 * rint(quantums * worth[side]), worth = price * (1 -+ ab) / D, where D = 10**-power, a = initial margin and
 * b = maintenance fraction. S = collateral + the sum, in 64 bits.
 *
 * The bound. Let v = |q| p / D, N = floor(v), M = ceil(ceil(N a) b), 0 < a, b <= 1.
 *
 *   1. Roundings of the chain. N = v - t with 0 <= t < 1, and 0 <= M - N a b < 1 + b <= 2. So the chain's part
 *      lies within (-3, 0] of the real one for a long, t (1 - ab) too much and M too little, and within
 *      (-2, 2) for a short: t (1 + ab) - (M - N a b).
 *   2. Roundings of the estimate. 10**12 -+ a b in ppm**2 is an exact double, and so is D up to 10**22; |q| and
 *      p are below 2**53. Four roundings are left (over 10**12, by D, times p, times q): less than 4.0001 units
 *      of 2**-53. Where |q worth| stays below 2**51 (slices_is_large tells of those where it may not) that is
 *      less than 1.0002, and rint adds 0.5: less than 1.51.
 *   3. Together the chain's nc - mmr lies in (S - 4.51 k, S + 3.51 k). So S > 5 k means nc > mmr, and S < -5 k
 *      means nc < mmr. Sums fit: k <= 256 parts below 2**51 and a collateral below 2**60.
 *   4. nc < mmr is liquidatable where mmr > 0: an account is solid if one of its positions is worth four quote
 *      quantums or more at every price of its market's window, for then N >= 1 and M >= 1.
 *
 * What is neither, and what is large, is for exact integers. This needs rounding to nearest and no -ffast-math;
 * a fused multiplication leaves a rounding out and the bound holds.
 */
#ifndef DYDX_PERF_CERTIFIED_H
#define DYDX_PERF_CERTIFIED_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __FAST_MATH__
#error "certified.h proves its bound for IEEE arithmetic: compile without -ffast-math"
#endif

#define SLICES_EMPTY ((int64_t)1 << 60)
#define CERTIFIED_BOUND 5          /* quote quantums a position */
#define CERTIFIED_LIMIT 0x1p51     /* of a part */
#define CERTIFIED_ROUNDER 0x1.8p52 /* adding it leaves the nearest integer in the low bits */

/* A slice that has to be looked at: lanes whose verdict is certain and new, or for exact integers. */
typedef struct {
    uint32_t octet;
    uint8_t liquidatable; /* lanes that certainly are; of a doubtful lane 0 */
    uint8_t doubtful;
} certified_t;

typedef struct {
    const int64_t *amount;  /* per slot */
    const uint16_t *side;   /* per slot */
    const uint8_t *flagged; /* per octet, at heads: lanes last found liquidatable */
    const uint8_t *solid;
    const uint8_t *large;
    const double *worth; /* per side */
} certified_columns_t;

/* `slices` slices of one capacity from `octet` on; those to be looked at go to `found`, their number is returned. */
typedef size_t (*certified_scan_t)(
    const certified_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, certified_t *found);

/* A part, the nearest integer of a double of less than 2**51. */
static inline int64_t certified_round(double part)
{
    union {
        double value;
        int64_t bits;
    } sum, rounder;
    rounder.value = CERTIFIED_ROUNDER;
    sum.value = part + rounder.value;
    return sum.bits - rounder.bits;
}

/* The lowest of some lanes; of none it means nothing. */
static inline unsigned certified_lane(unsigned lanes) { return (unsigned)__builtin_ctz(lanes); }

/* Whether a slice has to be looked at. Written in any case: in a crash no branch would be guessed right. */
static inline size_t certified_note(
    const certified_columns_t *c, uint32_t octet, unsigned low, unsigned below, certified_t *found)
{
    unsigned sure = below & c->solid[octet] & ~(unsigned)c->large[octet];
    unsigned doubtful = (low & ~sure) | c->large[octet];
    found->octet = octet;
    found->liquidatable = (uint8_t)sure;
    found->doubtful = (uint8_t)doubtful;
    return ((sure ^ c->flagged[octet]) | doubtful) != 0;
}

static inline size_t certified_scan_plain(
    const certified_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, certified_t *found)
{
    const int64_t bound = (int64_t)CERTIFIED_BOUND * capacity;
    size_t count = 0;
    for (uint32_t slice = 0; slice < slices; slice++, octet += capacity + 1) {
        const int64_t *amount = c->amount + (size_t)octet * 8;
        const uint16_t *side = c->side + (size_t)octet * 8;
        int64_t sum[8];
        unsigned low = 0, below = 0;
        for (int lane = 0; lane < 8; lane++)
            sum[lane] = amount[lane];
        for (uint32_t position = 0; position < capacity; position++) {
            amount += 8;
            side += 8;
            for (int lane = 0; lane < 8; lane++)
                sum[lane] += certified_round((double)amount[lane] * c->worth[side[lane]]);
        }
        for (int lane = 0; lane < 8; lane++) {
            low |= (unsigned)(sum[lane] <= bound) << lane;
            below |= (unsigned)(sum[lane] < -bound) << lane;
        }
        count += certified_note(c, octet, low, below, found + count);
    }
    return count;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define CERTIFIED_AHEAD 64 /* octets, of amounts one line of the cache each */

/* Ask for what comes a page later: out of memory the scan takes 2.4 ms instead of 3.1 for a million accounts. */
static inline void certified_fetch(const int64_t *amount, const uint16_t *side, uint32_t capacity)
{
    for (uint32_t octet = CERTIFIED_AHEAD; octet <= CERTIFIED_AHEAD + capacity; octet++)
        __builtin_prefetch(amount + (size_t)octet * 8);
    __builtin_prefetch(side + CERTIFIED_AHEAD * 8);
}

#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx2")))

/* Eight loads: on every processor measured they are faster than one gather. */
AVX512 static inline __m512d certified_worth_512(const double *worth, const uint16_t *side)
{
    __m128d a = _mm_loadh_pd(_mm_load_sd(worth + side[0]), worth + side[1]);
    __m128d b = _mm_loadh_pd(_mm_load_sd(worth + side[2]), worth + side[3]);
    __m128d d = _mm_loadh_pd(_mm_load_sd(worth + side[4]), worth + side[5]);
    __m128d e = _mm_loadh_pd(_mm_load_sd(worth + side[6]), worth + side[7]);
    __m256d low = _mm256_insertf128_pd(_mm256_castpd128_pd256(a), b, 1);
    __m256d high = _mm256_insertf128_pd(_mm256_castpd128_pd256(d), e, 1);
    return _mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1);
}

AVX512 static inline __m512i certified_part_512(const double *worth, const int64_t *amount, const uint16_t *side)
{
    __m512d size = _mm512_cvtepi64_pd(_mm512_loadu_si512(amount));
    return _mm512_cvtpd_epi64(_mm512_mul_pd(size, certified_worth_512(worth, side)));
}

/* Inlined for each small capacity, so that the inner loop is unrolled. */
AVX512 static inline __attribute__((always_inline)) size_t certified_slices_512(
    const certified_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, certified_t *found)
{
    const __m512i bound = _mm512_set1_epi64((int64_t)CERTIFIED_BOUND * capacity);
    const __m512i minus = _mm512_set1_epi64(-(int64_t)CERTIFIED_BOUND * capacity);
    const int64_t *amount = c->amount + (size_t)octet * 8;
    const uint16_t *side = c->side + (size_t)octet * 8;
    size_t count = 0;
    for (uint32_t slice = 0; slice < slices; slice++, octet += capacity + 1) {
        certified_fetch(amount, side, capacity);
        __m512i sum = _mm512_loadu_si512(amount);
        for (uint32_t position = 0; position < capacity; position++) {
            amount += 8;
            side += 8;
            sum = _mm512_add_epi64(sum, certified_part_512(c->worth, amount, side));
        }
        amount += 8;
        side += 8;
        unsigned low = _mm512_cmple_epi64_mask(sum, bound), below = _mm512_cmplt_epi64_mask(sum, minus);
        count += certified_note(c, octet, low, below, found + count);
    }
    return count;
}

AVX512 static inline size_t certified_scan_avx512(
    const certified_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, certified_t *found)
{
    switch (capacity) {
    case 1: return certified_slices_512(c, octet, slices, 1, found);
    case 2: return certified_slices_512(c, octet, slices, 2, found);
    case 3: return certified_slices_512(c, octet, slices, 3, found);
    case 4: return certified_slices_512(c, octet, slices, 4, found);
    default: return certified_slices_512(c, octet, slices, capacity, found);
    }
}

#undef AVX512
#define AVX2 __attribute__((target("avx2")))

/* Base quantums of less than 2**51 as doubles: planted into the low bits of the rounder. Larger ones make some
 * double, and the lane is large. */
AVX2 static inline __m256d certified_double_256(__m256i v)
{
    __m256d rounder = _mm256_set1_pd(CERTIFIED_ROUNDER);
    return _mm256_sub_pd(_mm256_castsi256_pd(_mm256_add_epi64(v, _mm256_castpd_si256(rounder))), rounder);
}

AVX2 static inline __m256i certified_part_256(const double *worth, const int64_t *amount, const uint16_t *side)
{
    __m256d rounder = _mm256_set1_pd(CERTIFIED_ROUNDER);
    __m128d a = _mm_loadh_pd(_mm_load_sd(worth + side[0]), worth + side[1]);
    __m128d b = _mm_loadh_pd(_mm_load_sd(worth + side[2]), worth + side[3]);
    __m256d of_side = _mm256_insertf128_pd(_mm256_castpd128_pd256(a), b, 1);
    __m256d part = _mm256_mul_pd(certified_double_256(_mm256_loadu_si256((const __m256i *)amount)), of_side);
    return _mm256_sub_epi64(_mm256_castpd_si256(_mm256_add_pd(part, rounder)), _mm256_castpd_si256(rounder));
}

AVX2 static inline unsigned certified_above_256(__m256i a, __m256i b, __m256i bound)
{
    unsigned low = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(a, bound)));
    return low | (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(b, bound))) << 4;
}

AVX2 static inline size_t certified_scan_avx2(
    const certified_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, certified_t *found)
{
    const __m256i bound = _mm256_set1_epi64x((int64_t)CERTIFIED_BOUND * capacity);
    const __m256i minus = _mm256_set1_epi64x(-(int64_t)CERTIFIED_BOUND * capacity - 1);
    const int64_t *amount = c->amount + (size_t)octet * 8;
    const uint16_t *side = c->side + (size_t)octet * 8;
    size_t count = 0;
    for (uint32_t slice = 0; slice < slices; slice++, octet += capacity + 1) {
        certified_fetch(amount, side, capacity);
        __m256i a = _mm256_loadu_si256((const __m256i *)amount);
        __m256i b = _mm256_loadu_si256((const __m256i *)(amount + 4));
        for (uint32_t position = 0; position < capacity; position++) {
            amount += 8;
            side += 8;
            a = _mm256_add_epi64(a, certified_part_256(c->worth, amount, side));
            b = _mm256_add_epi64(b, certified_part_256(c->worth, amount + 4, side + 4));
        }
        amount += 8;
        side += 8;
        unsigned low = ~certified_above_256(a, b, bound) & 0xffu, below = ~certified_above_256(a, b, minus) & 0xffu;
        count += certified_note(c, octet, low, below, found + count);
    }
    return count;
}

#undef AVX2
#endif

typedef struct {
    const char *name;
    certified_scan_t scan;
} certified_path_t;

#define CERTIFIED_MAX_PATHS 3

/* The paths this processor has, fastest first; returns how many. */
static inline int certified_paths(certified_path_t paths[CERTIFIED_MAX_PATHS])
{
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx2"))
        paths[count++] = (certified_path_t){"avx512", certified_scan_avx512};
    if (__builtin_cpu_supports("avx2"))
        paths[count++] = (certified_path_t){"avx2", certified_scan_avx2};
#endif
    paths[count++] = (certified_path_t){"plain", certified_scan_plain};
    return count;
}

#endif
