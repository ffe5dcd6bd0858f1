/* Decimal text to an exact integer. No float, no allocation, no locale, nothing read past `length`.
 *
 *   value = text * 10**scale          scale = decimals kept; negative: trailing integer digits dropped
 *
 * Grammar: [+-] digits [. digits], digits on at least one side of the point, ASCII only, no blanks.
 * Rounding: none. A digit that the scale would drop must be zero, otherwise NUMTEXT_INEXACT.
 *
 * A venue's price or size has at most 19 digits, so one pass reads it into 64 bits and looks at each
 * character once; longer text is walked a second time, by then known to be well formed.
 */
#ifndef DYDX_PERF_NUMTEXT_H
#define DYDX_PERF_NUMTEXT_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    NUMTEXT_OK = 0,
    NUMTEXT_MALFORMED = 1, /* not the grammar above */
    NUMTEXT_NOT_PLAIN = 2, /* number followed by e or E: the rest was not looked at, a full parser must */
    NUMTEXT_INEXACT = 3,   /* well formed, but non-zero digits lie past the scale */
    NUMTEXT_TOO_LARGE = 4  /* well formed and exact, but outside int64 */
} numtext_status_t;

/* 10**19 is the largest power of ten below 2**64. */
static const uint64_t NUMTEXT_POW10[20] = {
    1ull, 10ull, 100ull, 1000ull, 10000ull, 100000ull, 1000000ull, 10000000ull, 100000000ull, 1000000000ull,
    10000000000ull, 100000000000ull, 1000000000000ull, 10000000000000ull, 100000000000000ull,
    1000000000000000ull, 10000000000000000ull, 100000000000000000ull, 1000000000000000000ull,
    10000000000000000000ull};

#define NUMTEXT_MAX_DIGITS 19 /* any 19 digits fit uint64 */

static inline unsigned numtext_digit(char c) { return (unsigned)(unsigned char)c - '0'; } /* > 9: no digit */

/* magnitude and sign -> int64; -2**63 has a magnitude that int64 itself lacks. */
static inline numtext_status_t numtext_signed(uint64_t magnitude, int negative, int64_t *out) {
    if (magnitude > (uint64_t)INT64_MAX + (uint64_t)negative) return NUMTEXT_TOO_LARGE;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return NUMTEXT_OK;
}

/* The second walk, for more than 19 digits: text[0..length) is known to be digits with at most one point.
 * Keeps `keep` digits counted from the first (may be negative or past the last). */
__attribute__((noinline, unused)) static numtext_status_t
numtext_long(const char *text, size_t length, int64_t keep, int negative, int64_t *out) {
    uint64_t magnitude = 0;
    int64_t seen = 0;
    int too_large = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = numtext_digit(text[i]);
        if (digit > 9) continue; /* the point */
        if (seen++ < keep) {
            too_large |= __builtin_mul_overflow(magnitude, (uint64_t)10, &magnitude);
            too_large |= __builtin_add_overflow(magnitude, (uint64_t)digit, &magnitude);
        } else if (digit != 0) {
            return NUMTEXT_INEXACT;
        }
    }
    if (too_large) return NUMTEXT_TOO_LARGE;
    if (magnitude == 0) keep = seen; /* zero stays zero at any scale */
    for (; seen < keep; seen++)
        if (__builtin_mul_overflow(magnitude, (uint64_t)10, &magnitude)) return NUMTEXT_TOO_LARGE;
    return numtext_signed(magnitude, negative, out);
}

/* text * 10**scale as an exact int64. `*out` is written only with NUMTEXT_OK.
 * Where several apply, the status is the first of MALFORMED, NOT_PLAIN, INEXACT, TOO_LARGE. */
static inline numtext_status_t numtext_to_fixed(const char *text, size_t length, int scale, int64_t *out) {
    const char *at = text, *end = text + length, *first, *point;
    uint64_t magnitude = 0; /* wraps past 19 digits and is then not used */
    int64_t digits, decimals = 0, shift;
    int negative = 0;
    unsigned digit;

    if (at < end && (*at == '-' || *at == '+')) negative = *at++ == '-';
    first = at;
    for (; at < end && (digit = numtext_digit(*at)) <= 9; at++) magnitude = magnitude * 10 + digit;
    digits = at - first;
    if (at < end && *at == '.') {
        point = at++;
        for (; at < end && (digit = numtext_digit(*at)) <= 9; at++) magnitude = magnitude * 10 + digit;
        decimals = at - point - 1;
        digits += decimals;
    }
    if (digits == 0) return NUMTEXT_MALFORMED;
    if (at < end) return *at == 'e' || *at == 'E' ? NUMTEXT_NOT_PLAIN : NUMTEXT_MALFORMED;

    shift = (int64_t)scale - decimals;
    if (digits > NUMTEXT_MAX_DIGITS) return numtext_long(first, (size_t)(end - first), digits + shift, negative, out);
    if (magnitude == 0) {
        *out = 0;
        return NUMTEXT_OK;
    }
    if (shift >= 0) {
        if (shift > NUMTEXT_MAX_DIGITS || __builtin_mul_overflow(magnitude, NUMTEXT_POW10[shift], &magnitude))
            return NUMTEXT_TOO_LARGE;
    } else {
        /* at most 19 digits, not all zero: they cannot end in 20 zeros */
        uint64_t kept;
        if (shift < -NUMTEXT_MAX_DIGITS) return NUMTEXT_INEXACT;
        kept = magnitude / NUMTEXT_POW10[-shift];
        if (kept * NUMTEXT_POW10[-shift] != magnitude) return NUMTEXT_INEXACT;
        magnitude = kept;
    }
    return numtext_signed(magnitude, negative, out);
}

#endif
