/* What the book of accounts needs of C beyond fixed.h. */
#ifndef DYDX_PERF_BOOK_H
#define DYDX_PERF_BOOK_H

#include <stddef.h>
#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* No slot, no place, no block, no threshold. */
#define DP_NOWHERE 0xffffffffu

/* Sum of two 64-bit values; 1 when it does not fit. */
static inline int dp_add_i64(int64_t a, int64_t b, int64_t *out) { return __builtin_add_overflow(a, b, out); }

/* Products of less with 2**21 fit 64 bits; as quote quantums 8.8 million USDC. */
#define DP_SMALL_VALUE ((uint64_t)1 << 43)

/* value * ppm / 1e6 toward plus infinity; value < 2**43 and ppm <= 2**21, so that the product fits. */
static inline uint64_t dp_mul_ppm_ceil_43(uint64_t value, uint32_t ppm) { return (value * ppm + 999999u) / 1000000u; }

/* Magnitude of a value, and a magnitude below 2**63 with the sign of another value. Longs and shorts come in no
 * order: a branch on the sign would be guessed wrong every other time. */
static inline uint64_t dp_size_of(int64_t value)
{
    uint64_t mask = (uint64_t)(value >> 63);
    return ((uint64_t)value ^ mask) - mask;
}

static inline int64_t dp_with_sign_of(int64_t sign, int64_t magnitude)
{
    int64_t mask = sign >> 63;
    return (magnitude ^ mask) - mask;
}

/* Ask for a line that is read and written soon. */
static inline void dp_prefetch(const void *address) { __builtin_prefetch(address, 1); }

/* Ask for large pages: a walk that jumps between accounts otherwise waits for address translation. A wish only. */
static inline void dp_prefer_large_pages(void *start, size_t size)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t page = 4096, first = ((uintptr_t)start + page - 1) & ~(page - 1), end = ((uintptr_t)start + size) & ~(page - 1);
    if (first < end)
        (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)start;
    (void)size;
#endif
}

#endif
