/* Rows of 32 bytes as columns of vectors: how the vector kernels read what they need of a market.
 *
 * Eight gathers would each take as many loads as reading the rows whole; so each row is loaded once, and shuffles
 * make columns of them. Functions are compiled for their instructions one by one (target attributes).
 */
#ifndef DYDX_PERF_LANES_H
#define DYDX_PERF_LANES_H

#include "columns.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512dq,avx2")))

/* Eight rows of four 64-bit words: the first words of all in `a`, and so on. */
typedef struct {
    __m512i a, b, c, d;
} lanes_512_t;

AVX512 static inline __m512i lanes_two_rows_512(const void *row, const void *other)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)row), high = _mm256_loadu_si256((const __m256i *)other);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Unpacking pairs rows 0 1, 2 3 in one vector and 4 5, 6 7 in the other; the 128-bit shuffles collect a column. */
AVX512 static inline lanes_512_t lanes_512(
    const void *r0, const void *r1, const void *r2, const void *r3, const void *r4, const void *r5, const void *r6,
    const void *r7)
{
    __m512i even = lanes_two_rows_512(r0, r2), odd = lanes_two_rows_512(r1, r3);
    __m512i later_even = lanes_two_rows_512(r4, r6), later_odd = lanes_two_rows_512(r5, r7);
    __m512i a_c = _mm512_unpacklo_epi64(even, odd), later_a_c = _mm512_unpacklo_epi64(later_even, later_odd);
    __m512i b_d = _mm512_unpackhi_epi64(even, odd), later_b_d = _mm512_unpackhi_epi64(later_even, later_odd);
    lanes_512_t lanes = {
        _mm512_shuffle_i64x2(a_c, later_a_c, 0x88),
        _mm512_shuffle_i64x2(b_d, later_b_d, 0x88),
        _mm512_shuffle_i64x2(a_c, later_a_c, 0xdd),
        _mm512_shuffle_i64x2(b_d, later_b_d, 0xdd)};
    return lanes;
}

#undef AVX512
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i lanes_load_256(const int64_t *at) { return _mm256_loadu_si256((const __m256i *)at); }
AVX2 static inline void lanes_store_256(int64_t *at, __m256i value) { _mm256_storeu_si256((__m256i *)at, value); }

/* Four rows of four 64-bit words. */
typedef struct {
    __m256i a, b, c, d;
} lanes_256_t;

/* Half a row and half of the row after next. */
AVX2 static inline __m256i lanes_two_halves_256(const void *row, const void *other, int half)
{
    __m128i low = _mm_loadu_si128((const __m128i *)row + half), high = _mm_loadu_si128((const __m128i *)other + half);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

AVX2 static inline lanes_256_t lanes_256(const void *r0, const void *r1, const void *r2, const void *r3)
{
    __m256i even = lanes_two_halves_256(r0, r2, 0), odd = lanes_two_halves_256(r1, r3, 0);
    __m256i later_even = lanes_two_halves_256(r0, r2, 1), later_odd = lanes_two_halves_256(r1, r3, 1);
    lanes_256_t lanes = {
        _mm256_unpacklo_epi64(even, odd), _mm256_unpackhi_epi64(even, odd),
        _mm256_unpacklo_epi64(later_even, later_odd), _mm256_unpackhi_epi64(later_even, later_odd)};
    return lanes;
}

#undef AVX2
#endif

#endif
