/* JSON as the indexer writes it: texts, brackets, keys, numbers. Nothing here knows a channel.
 *
 * A function takes the place it starts at and returns the place after what it read; NULL hands the frame over.
 * Nothing is read past the scanner's `end`.
 */
#ifndef DYDX_PERF_FRAME_TOKENS_H
#define DYDX_PERF_FRAME_TOKENS_H

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "frame_records.h"
#include "numtext.h"

#define FRAME_MAX_DEPTH 16
#define FRAME_MAX_TEXT 100 /* characters of a number, as in the full parser */
#define FRAME_MULTIPLIER 0x301ba9880a3efb81ull /* found by trial, for what `frame_hash` says */
#define FRAME_MAX_WALKS 64 /* how often a frame's keys may be compared one by one */

/* ================================ tokens ================================ */

typedef struct {
    const char *at;
    size_t length;
} frame_text_t;

/* Eight bytes, the first one lowest. */
static inline uint64_t frame_load8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

#define FRAME_BYTES(byte) (0x0101010101010101ull * (byte))

/* The byte at a place; 0, which stands nowhere in a frame, past the end. */
static inline char frame_peek(const frame_scanner_t *f, const char *at) { return at < f->end ? *at : 0; }

static inline const char *frame_blanks(const frame_scanner_t *f, const char *at)
{
    while (at < f->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    return at;
}

/* The first byte that is not plain text: a quote, a backslash, a control character, one past ASCII; or the end.
 * Subtracting 1 (or 32) sets the high bit of a byte that was 0 (or below 32) and had none; a borrow can set one
 * too many, but only above a byte that is one itself, so the lowest is right. */
static inline const char *frame_text_end(const frame_scanner_t *f, const char *at)
{
    for (; f->end - at >= 8; at += 8) {
        uint64_t word = frame_load8(at);
        uint64_t stops = (word | ((word ^ FRAME_BYTES('"')) - FRAME_BYTES(1)) |
                          ((word ^ FRAME_BYTES('\\')) - FRAME_BYTES(1)) | (word - FRAME_BYTES(' '))) &
                         FRAME_BYTES(0x80);
        if (stops) return at + (__builtin_ctzll(stops) >> 3);
    }
    for (; at < f->end; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ' || (unsigned char)*at >= 0x80) break;
    return at;
}

static inline const char *frame_read_text(const frame_scanner_t *f, const char *at, frame_text_t *text)
{
    const char *stop;
    if (frame_peek(f, at) != '"') return NULL;
    stop = frame_text_end(f, ++at);
    if (frame_peek(f, stop) != '"') return NULL;
    text->at = at;
    text->length = (size_t)(stop - at);
    return stop + 1;
}

/* Past an opening bracket: 1 and *at on the first element, 0 and *at past the closing one, -1: neither. */
static inline int frame_enter(const frame_scanner_t *f, const char **at, char open, char close)
{
    if (frame_peek(f, *at) != open) return -1;
    *at = frame_blanks(f, *at + 1);
    if (frame_peek(f, *at) != close) return 1;
    ++*at;
    return 0;
}

/* After an element: 1 and *at on the next one, 0 and *at past the closing bracket, -1: neither. */
static inline int frame_more(const frame_scanner_t *f, const char **at, char close)
{
    char mark = frame_peek(f, *at);
    if (mark != ',' && mark != close) {
        *at = frame_blanks(f, *at);
        mark = frame_peek(f, *at);
        if (mark != ',' && mark != close) return -1;
    }
    ++*at;
    if (mark == close) return 0;
    if (frame_peek(f, *at) <= ' ') *at = frame_blanks(f, *at);
    return 1;
}

/* ================================ keys ================================
 *
 * The full parser refuses a key that comes twice in one object. Here each key sets one of 256 bits; where its bit
 * is set already, the keys before it are compared one by one.
 */

typedef struct {
    const char *start; /* of the object */
    uint64_t seen[4];
} frame_keys_t;

/* A hash of first and last eight bytes and the length. Its top byte tells all keys of each object of the venue's
 * schema apart. */
static inline uint64_t frame_hash(const char *at, size_t length, const char *end)
{
    uint64_t first = 0, last = 0;
    if (length >= 8) {
        first = frame_load8(at);
        last = frame_load8(at + length - 8);
    } else if (end - at >= 8) {
        if (length) first = frame_load8(at) & (~0ull >> (64 - 8 * length));
    } else {
        for (size_t i = 0; i < length; i++) first |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
    first = (first ^ (last << 21 | last >> 43)) + length;
    return (first ^ first >> 32) * FRAME_MULTIPLIER;
}

/* Whether a key stands among those before it in an object that was checked as far as that. */
__attribute__((noinline, unused)) static int
frame_repeats(frame_scanner_t *f, const char *start, const frame_text_t *key)
{
    const char *at = start, *stop;
    int depth = 0;
    if (++f->walks > FRAME_MAX_WALKS) return 1;
    for (; at < key->at - 1; at++) {
        if (*at == '{' || *at == '[') depth++;
        else if (*at == '}' || *at == ']') depth--;
        else if (*at == '"') {
            stop = frame_text_end(f, at + 1);
            if (depth == 1 && (size_t)(stop - at - 1) == key->length && !memcmp(at + 1, key->at, key->length) &&
                frame_peek(f, frame_blanks(f, stop + 1)) == ':')
                return 1;
            at = stop;
        }
    }
    return 0;
}

/* Read a key and go to its value. */
static inline const char *frame_read_key(frame_scanner_t *f, frame_keys_t *keys, const char *at, frame_text_t *key)
{
    uint64_t hash, bit;
    at = frame_read_text(f, at, key);
    if (!at) return NULL;
    hash = frame_hash(key->at, key->length, f->end);
    bit = 1ull << (hash >> 56 & 63);
    if (keys->seen[hash >> 62] & bit && frame_repeats(f, keys->start, key)) return NULL;
    keys->seen[hash >> 62] |= bit;
    if (frame_peek(f, at) != ':') {
        at = frame_blanks(f, at);
        if (frame_peek(f, at) != ':') return NULL;
    }
    at++;
    return frame_peek(f, at) <= ' ' ? frame_blanks(f, at) : at;
}

static inline int frame_is(const frame_text_t *text, const char *word, size_t length)
{
    return text->length == length && !memcmp(text->at, word, length);
}
#define FRAME_IS(text, word) frame_is(&(text), "" word, sizeof(word) - 1)

static const char *frame_skip(frame_scanner_t *f, const char *at, int depth);

/* An integer, a decimal without exponent, true, false or null. */
static inline const char *frame_skip_scalar(const frame_scanner_t *f, const char *at)
{
    const char *first = at;
    size_t room = (size_t)(f->end - at);
    switch (frame_peek(f, at)) {
    case 't': return room >= 4 && !memcmp(at, "true", 4) ? at + 4 : NULL;
    case 'n': return room >= 4 && !memcmp(at, "null", 4) ? at + 4 : NULL;
    case 'f': return room >= 5 && !memcmp(at, "false", 5) ? at + 5 : NULL;
    default: break;
    }
    if (*at == '-') at++;
    if (frame_peek(f, at) == '0') {
        at++;
    } else {
        const char *digits = at;
        while (at < f->end && numtext_digit(*at) <= 9) at++;
        if (at == digits) return NULL;
    }
    if (frame_peek(f, at) == '.') {
        const char *digits = ++at;
        while (at < f->end && numtext_digit(*at) <= 9) at++;
        if (at == digits) return NULL;
    }
    return at - first <= FRAME_MAX_TEXT ? at : NULL; /* what follows has to be a comma or a bracket */
}

/* Past any value, which is checked. */
static inline const char *frame_skip_value(frame_scanner_t *f, const char *at, int depth)
{
    frame_text_t text;
    char mark = frame_peek(f, at);
    if (mark == '"') return frame_read_text(f, at, &text);
    if (mark == '{' || mark == '[') return frame_skip(f, at, depth + 1);
    return at < f->end ? frame_skip_scalar(f, at) : NULL;
}

__attribute__((unused)) static const char *frame_skip(frame_scanner_t *f, const char *at, int depth)
{
    frame_keys_t keys = {at, {0, 0, 0, 0}};
    frame_text_t key;
    int is_object = *at == '{', more;
    char close = is_object ? '}' : ']';
    if (depth > FRAME_MAX_DEPTH) return NULL;
    for (more = frame_enter(f, &at, *at, close); more > 0; more = frame_more(f, &at, close)) {
        if (is_object) at = frame_read_key(f, &keys, at, &key);
        if (at) at = frame_skip_value(f, at, depth);
        if (!at) return NULL;
    }
    return more ? NULL : at;
}

/* ================================ numbers ================================ */

/* A JSON integer of at most `most` (below 10**18). */
static inline const char *frame_read_natural(const frame_scanner_t *f, const char *at, int64_t most, int64_t *out)
{
    const char *first = at;
    int64_t value = 0;
    for (; at < f->end && numtext_digit(*at) <= 9; at++) {
        if (at - first >= 18) return NULL;
        value = value * 10 + numtext_digit(*at);
    }
    if (at == first || (*first == '0' && at - first > 1) || value > most) return NULL;
    *out = value;
    return at;
}

/* A height: digits in quotes. */
static inline const char *frame_read_height(const frame_scanner_t *f, const char *at, int64_t *out)
{
    const char *first;
    int64_t value = 0;
    if (frame_peek(f, at) != '"') return NULL;
    first = ++at;
    for (; at < f->end && numtext_digit(*at) <= 9; at++) {
        if (at - first >= 18) return NULL;
        value = value * 10 + numtext_digit(*at);
    }
    if (at == first || frame_peek(f, at) != '"') return NULL;
    *out = value;
    return at + 1;
}

/* Sixteen bytes: one bit for each that is a quote, one for each that is no digit. SSE2 is part of x86-64. */
#if defined(__SSE2__) && !defined(FRAME_PLAIN)
static inline void frame_marks(const char *at, unsigned *quotes, unsigned *points)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    /* '0' to '9' become the ten lowest signed bytes */
    __m128i moved = _mm_add_epi8(bytes, _mm_set1_epi8((char)(0x80 - '0')));
    *quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    *points = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(moved, _mm_set1_epi8(-128 + 9)));
}
#else
/* The product gathers the high bits of the bytes in its top byte, lowest first. */
static inline unsigned frame_high_bits(uint64_t word)
{
    return (unsigned)(((word & FRAME_BYTES(0x80)) >> 7) * 0x0102040810204080ull >> 56);
}

/* No carry leaves a byte: each sum is of seven bits and a constant below 2**7. */
static inline void frame_marks(const char *at, unsigned *quotes, unsigned *points)
{
    *quotes = *points = 0;
    for (unsigned half = 0; half < 16; half += 8) {
        uint64_t word = frame_load8(at + half), quote = word ^ FRAME_BYTES('"'), digit = word ^ FRAME_BYTES('0');
        quote |= (quote & FRAME_BYTES(0x7f)) + FRAME_BYTES(0x7f);
        digit |= (digit & FRAME_BYTES(0x7f)) + FRAME_BYTES(0x76);
        *quotes |= frame_high_bits(~quote) << half;
        *points |= frame_high_bits(digit) << half;
    }
}
#endif

/* The number of the lowest `count` digits of a word, 1 to 8: moved up, so that zeros come first, then added in
 * pairs, fours and eights. */
static inline uint64_t frame_digits(uint64_t word, unsigned count)
{
    word = (word ^ FRAME_BYTES('0')) << 8 * (8 - count);
    word = word * 10 + (word >> 8);
    return ((word & 0x000000ff000000ffull) * (100 + (1000000ull << 32)) +
            (word >> 16 & 0x000000ff000000ffull) * (1 + (10000ull << 32))) >> 32;
}

/* Any text: its end, then numtext's walk. */
__attribute__((noinline, unused)) static const char *
frame_read_long_decimal(const frame_scanner_t *f, const char *at, int scale, int64_t *out)
{
    frame_text_t text;
    at = frame_read_text(f, at, &text);
    if (!at || text.length > FRAME_MAX_TEXT) return NULL;
    return numtext_to_fixed(text.at, text.length, scale, out) == NUMTEXT_OK ? at : NULL;
}

/* A decimal in quotes, times 10**scale, exact. Up to 15 characters are read at once; to have a point or none is
 * no branch, for the two come in no order. */
static inline const char *frame_read_decimal(const frame_scanner_t *f, const char *at, int scale, int64_t *out)
{
    const char *first = at + 1;
    uint64_t low, high, magnitude;
    unsigned quotes, points, length, whole, has_point, decimals;
    int64_t value;
    if (f->end - at < 26 || *at != '"') return frame_read_long_decimal(f, at, scale, out);
    frame_marks(first, &quotes, &points);
    length = (unsigned)__builtin_ctz(quotes | 1u << 16);
    whole = (unsigned)__builtin_ctz(points | 1u << 16);
    has_point = whole < length;
    decimals = length - whole - has_point;
    points &= (1u << length) - 1;
    if ((whole - 1 > 7) | (decimals < has_point) | (decimals > 8) | (length == 16) | ((points & (points - 1)) != 0) |
        (has_point & (first[whole & 15] != '.')) | ((unsigned)scale - decimals > 18))
        return frame_read_long_decimal(f, at, scale, out);
    low = frame_load8(first);
    high = frame_load8(first + whole + has_point);
    if (whole + decimals <= 8) {
        /* the decimals go where the point was; what lies above them is not read */
        if (has_point) low = (low & ((1ull << 8 * whole) - 1)) | high << 8 * whole;
        magnitude = frame_digits(low, whole + decimals);
    } else {
        magnitude = frame_digits(low, whole) * NUMTEXT_POW10[decimals] + frame_digits(high, decimals);
    }
    if (__builtin_mul_overflow((int64_t)magnitude, (int64_t)NUMTEXT_POW10[scale - (int)decimals], &value))
        return NULL;
    *out = value;
    return first + length + 1;
}

#endif
