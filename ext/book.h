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
