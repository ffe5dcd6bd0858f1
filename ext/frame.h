/* One indexer frame to flat records, in one pass: no allocation, no float, nothing read past `length`.
 *
 *   data message of a known channel  -> header and records          everything else -> handed over
 *
 * A frame is handed over (FRAME_HANDED_OVER) where anything stands in it that this scanner does not read: another
 * type of message, an escape, a byte past ASCII, a number with an exponent, a field that is null or of another
 * type, a market whose scale is needed and not known, the same key twice, more records than there is room for. A
 * full parser then reads it, or refuses it. What is skipped is checked as well (strings, numbers, brackets,
 * keys), so a frame that is taken here is one that the full parser takes too.
 *
 * Header and records stand only when the whole frame was read; until then they hold nothing.
 *
 *   A  memory and places      B  tokens      C  keys      D  numbers      E  markets      F  rows      G  frames
 */
#ifndef DYDX_PERF_FRAME_H
#define DYDX_PERF_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "numtext.h"

#define FRAME_NO_MARKET 0xffffffffu
#define FRAME_MAX_LENGTH (64u << 20) /* places are 32 bits */
#define FRAME_MAX_DEPTH 16
#define FRAME_MAX_TEXT 100 /* characters of a number, as in the full parser */
#define FRAME_MULTIPLIER 0x301ba9880a3efb81ull /* found by trial, for what `frame_hash` says */
#define FRAME_MAX_WALKS 64 /* how often a frame's keys may be compared one by one */

typedef enum { FRAME_OK = 0, FRAME_HANDED_OVER = 1 } frame_status_t;

typedef enum {
    FRAME_MARKETS = 0,
    FRAME_ORDERBOOK = 1,
    FRAME_TRADES = 2,
    FRAME_SUBACCOUNTS = 3,
    FRAME_PARENT_SUBACCOUNTS = 4,
    FRAME_BLOCK_HEIGHT = 5,
    FRAME_NO_CHANNEL = 255
} frame_channel_t;

typedef enum {
    FRAME_ORACLE = 0,
    FRAME_LEVEL = 1,
    FRAME_TRADE = 2,
    FRAME_POSITION = 3,
    FRAME_ASSET = 4,
    FRAME_BLOCK = 5
} frame_kind_t;

typedef enum {
    FRAME_NO_SIDE = 0,
    FRAME_BID = 1,
    FRAME_ASK = 2,
    FRAME_BUY = 3,
    FRAME_SELL = 4,
    FRAME_LONG = 5,
    FRAME_SHORT = 6
} frame_side_t;

typedef enum {
    FRAME_NO_STATUS = 0,
    FRAME_OPEN = 1, /* of a position */
    FRAME_CLOSED = 2,
    FRAME_LIQUIDATED_POSITION = 3,
    FRAME_LIMIT = 4, /* type of a trade */
    FRAME_LIQUIDATED = 5,
    FRAME_DELEVERAGED = 6,
    FRAME_TWAP_SUBORDER = 7
} frame_row_status_t;

/* What else stood in the contents, which no record is made of. */
enum {
    FRAME_ALSO_ORDERS = 1,
    FRAME_ALSO_FILLS = 2,
    FRAME_ALSO_TRANSFERS = 4,
    FRAME_ALSO_REWARD = 8,
    FRAME_ALSO_OTHER = 16,         /* keys that are not known */
    FRAME_ALSO_UNKNOWN_MARKET = 32 /* an oracle price whose pair is not registered: its record has no price */
};

typedef struct {
    int64_t price;        /* in 10**price_exponent USDC, above 0; 0: it has none */
    int64_t size;         /* base quantums, of a position signed; of an asset quote quantums, a debt below 0 */
    int64_t height;       /* block of the event; -1: it says none */
    uint32_t market;      /* as registered; FRAME_NO_MARKET: asset, block, or an oracle price that nobody registered */
    int32_t number;       /* oracle: id of the price's market; position, asset: subaccount number; -1: says none */
    uint32_t element;     /* which of the contents it stood in */
    uint32_t name_offset; /* ticker of an oracle price or position, symbol of an asset, id of a trade */
    uint32_t name_length;
    uint32_t text_offset; /* position, asset, trade: the row's own JSON; oracle: the price as written */
    uint32_t text_length;
    uint8_t kind;   /* frame_kind_t */
    uint8_t side;   /* frame_side_t */
    uint8_t status; /* frame_row_status_t */
} frame_record_t;

typedef struct {
    int64_t message_id;
    int64_t block_height;      /* highest that the contents name as theirs; -1: none */
    int32_t subaccount_number; /* of the frame itself, on v4_parent_subaccounts; -1: says none */
    uint32_t market;           /* that the id names, on v4_orderbook and v4_trades; else FRAME_NO_MARKET */
    uint32_t records;
    uint32_t elements; /* of the contents; 1 where it is no batch */
    uint32_t id_offset;
    uint32_t id_length; /* 0: it has none */
    uint32_t version_offset;
    uint32_t version_length;
    uint32_t also;   /* FRAME_ALSO_* */
    uint8_t channel; /* frame_channel_t */
    uint8_t batched;
} frame_header_t;

/* One place of the table of tickers; an empty one has name_length 0. */
typedef struct {
    uint32_t hash;
    uint32_t market;
    uint32_t name_offset;
    uint32_t name_length;
    int32_t price_scale; /* decimals of a price integer: -price_exponent */
    int32_t size_scale;  /* decimals of base quantums: -atomic_resolution */
} frame_market_t;

typedef struct {
    /* the last frame */
    frame_header_t header;
    frame_record_t *records;
    uint32_t capacity;
    /* tickers: open addressing, a power of two of places, at most half of them taken */
    frame_market_t *markets;
    uint32_t market_mask;
    const char *names;
    /* while a frame is read */
    const char *start;
    const char *end;
    const frame_market_t *market; /* of the frame's id */
    uint32_t count;
    uint32_t walks;
} frame_scanner_t;

/* ================================ B  tokens ================================
 *
 * A function takes the place it starts at and returns the place after what it read; NULL hands the frame over.
 */

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

/* ================================ C  keys ================================
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

/* ================================ D  numbers ================================ */

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

/* ================================ E  markets ================================ */

static inline const frame_market_t *frame_find_market(const frame_scanner_t *f, const frame_text_t *name)
{
    uint32_t hash = (uint32_t)(frame_hash(name->at, name->length, f->end) >> 32), place = hash;
    for (;; place++) {
        const frame_market_t *market = &f->markets[place & f->market_mask];
        if (market->name_length == 0) return NULL;
        if (market->hash == hash && market->name_length == name->length &&
            !memcmp(f->names + market->name_offset, name->at, name->length))
            return market;
    }
}

/* ================================ F  rows ================================ */

/* The next record, with all that it may lack; NULL: no room. */
static inline frame_record_t *frame_append(frame_scanner_t *f, frame_kind_t kind, uint32_t element)
{
    frame_record_t *record;
    if (f->count == f->capacity) return NULL;
    record = &f->records[f->count++];
    memset(record, 0, sizeof(*record));
    record->height = record->number = -1;
    record->market = FRAME_NO_MARKET;
    record->element = element;
    record->kind = (uint8_t)kind;
    return record;
}

static inline void frame_set_name(const frame_scanner_t *f, frame_record_t *record, const frame_text_t *name)
{
    record->name_offset = (uint32_t)(name->at - f->start);
    record->name_length = (uint32_t)name->length;
}

static inline void frame_set_text(const frame_scanner_t *f, frame_record_t *record, const char *at, const char *end)
{
    record->text_offset = (uint32_t)(at - f->start);
    record->text_length = (uint32_t)(end - at);
}

static inline const char *frame_read_number(const frame_scanner_t *f, const char *at, frame_record_t *record)
{
    int64_t value = 0;
    at = frame_read_natural(f, at, INT32_MAX, &value);
    record->number = (int32_t)value;
    return at;
}

/* The price of a pair that nobody registered: a decimal above zero, kept as it is written. */
__attribute__((noinline, unused)) static int frame_is_price(const frame_text_t *text)
{
    int64_t value = 1;
    numtext_status_t status = numtext_to_fixed(text->at, text->length, 0, &value);
    return text->length <= FRAME_MAX_TEXT && text->at[0] != '-' && value != 0 &&
           (status == NUMTEXT_OK || status == NUMTEXT_INEXACT || status == NUMTEXT_TOO_LARGE);
}

static inline const char *
frame_read_oracle(frame_scanner_t *f, const char *at, const frame_text_t *ticker, uint32_t element)
{
    frame_keys_t keys = {at, {0, 0, 0, 0}};
    frame_text_t key, price = {NULL, 0};
    const frame_market_t *market = frame_find_market(f, ticker);
    frame_record_t *record = frame_append(f, FRAME_ORACLE, element);
    int more;
    if (!record) return NULL;
    frame_set_name(f, record, ticker);
    for (more = frame_enter(f, &at, '{', '}'); more > 0; more = frame_more(f, &at, '}')) {
        at = frame_read_key(f, &keys, at, &key);
        if (!at) return NULL;
        if (FRAME_IS(key, "oraclePrice")) at = frame_read_text(f, at, &price);
        else if (FRAME_IS(key, "effectiveAtHeight")) at = frame_read_height(f, at, &record->height);
        else if (FRAME_IS(key, "marketId")) at = frame_read_number(f, at, record);
        else at = frame_skip_value(f, at, 4);
        if (!at) return NULL;
    }
    if (more || !price.at) return NULL;
    frame_set_text(f, record, price.at, price.at + price.length);
    if (!market) {
        if (!frame_is_price(&price)) return NULL;
        f->header.also |= FRAME_ALSO_UNKNOWN_MARKET;
        return at;
    }
    record->market = market->market;
    if (!frame_read_decimal(f, price.at - 1, market->price_scale, &record->price) || record->price <= 0) return NULL;
    return at;
}

static inline const char *frame_read_oracles(frame_scanner_t *f, const char *at, uint32_t element)
{
    frame_keys_t keys = {at, {0, 0, 0, 0}};
    frame_text_t ticker;
    int more;
    for (more = frame_enter(f, &at, '{', '}'); more > 0; more = frame_more(f, &at, '}')) {
        at = frame_read_key(f, &keys, at, &ticker);
        if (at) at = frame_read_oracle(f, at, &ticker, element);
        if (!at) return NULL;
    }
    return more ? NULL : at;
}

/* [["price","size"], ...] */
static inline const char *frame_read_levels(frame_scanner_t *f, const char *at, frame_side_t side, uint32_t element)
{
    const frame_market_t *market = f->market;
    int more;
    for (more = frame_enter(f, &at, '[', ']'); more > 0; more = frame_more(f, &at, ']')) {
        frame_record_t *record = frame_append(f, FRAME_LEVEL, element);
        if (!record || frame_enter(f, &at, '[', ']') <= 0) return NULL;
        record->market = market->market;
        record->side = (uint8_t)side;
        at = frame_read_decimal(f, at, market->price_scale, &record->price);
        if (!at || frame_more(f, &at, ']') <= 0) return NULL;
        at = frame_read_decimal(f, at, market->size_scale, &record->size);
        if (!at || frame_more(f, &at, ']') != 0 || record->price <= 0 || record->size < 0) return NULL;
    }
    return more ? NULL : at;
}

/* {"bids":[["price","size"]]} or the same of asks, as the server writes nearly all; NULL: read it the long way. */
static inline const char *frame_read_plain_level(frame_scanner_t *f, const char *at)
{
    const frame_market_t *market = f->market;
    frame_record_t *record;
    int is_ask;
    if (f->end - at < 24) return NULL;
    is_ask = !memcmp(at, "{\"asks\":", 8); /* no branch: the sides come in no order */
    if (!(is_ask | !memcmp(at, "{\"bids\":", 8)) || memcmp(at + 8, "[[", 2)) return NULL;
    record = frame_append(f, FRAME_LEVEL, f->header.elements);
    if (!record) return NULL;
    record->market = market->market;
    record->side = (uint8_t)(FRAME_BID + is_ask);
    at = frame_read_decimal(f, at + 10, market->price_scale, &record->price);
    if (at) at = frame_peek(f, at) == ',' ? frame_read_decimal(f, at + 1, market->size_scale, &record->size) : NULL;
    if (at && f->end - at > 3 && !memcmp(at, "]]}", 3) && record->price > 0 && record->size >= 0) {
        f->header.elements++;
        return at + 3;
    }
    f->count--;
    return NULL;
}

static inline uint8_t frame_trade_type(const frame_text_t *text)
{
    if (FRAME_IS(*text, "LIMIT")) return FRAME_LIMIT;
    if (FRAME_IS(*text, "LIQUIDATED")) return FRAME_LIQUIDATED;
    if (FRAME_IS(*text, "DELEVERAGED")) return FRAME_DELEVERAGED;
    return FRAME_IS(*text, "TWAP_SUBORDER") ? FRAME_TWAP_SUBORDER : FRAME_NO_STATUS;
}

static inline const char *frame_read_trade(frame_scanner_t *f, const char *at, uint32_t element)
{
    const char *start = at;
    frame_keys_t keys = {at, {0, 0, 0, 0}};
    frame_text_t key, text;
    const frame_market_t *market = f->market;
    frame_record_t *record = frame_append(f, FRAME_TRADE, element);
    int more;
    if (!record) return NULL;
    record->market = market->market;
    record->size = -1;
    for (more = frame_enter(f, &at, '{', '}'); more > 0; more = frame_more(f, &at, '}')) {
        at = frame_read_key(f, &keys, at, &key);
        if (!at) return NULL;
        if (FRAME_IS(key, "id")) {
            at = frame_read_text(f, at, &text);
            if (at) frame_set_name(f, record, &text);
        } else if (FRAME_IS(key, "size")) {
            at = frame_read_decimal(f, at, market->size_scale, &record->size);
        } else if (FRAME_IS(key, "price")) {
            at = frame_read_decimal(f, at, market->price_scale, &record->price);
        } else if (FRAME_IS(key, "side")) {
            at = frame_read_text(f, at, &text);
            if (!at) return NULL;
            record->side = FRAME_IS(text, "BUY") ? FRAME_BUY : FRAME_IS(text, "SELL") ? FRAME_SELL : FRAME_NO_SIDE;
        } else if (FRAME_IS(key, "type")) {
            at = frame_read_text(f, at, &text);
            if (!at) return NULL;
            record->status = frame_trade_type(&text);
            if (record->status == FRAME_NO_STATUS) return NULL;
        } else {
            at = frame_skip_value(f, at, 4);
        }
        if (!at) return NULL;
    }
    if (more || record->price <= 0 || record->size < 0 || record->side == FRAME_NO_SIDE) return NULL;
    frame_set_text(f, record, start, at);
    return at;
}

static inline uint8_t frame_direction(const frame_text_t *text)
{
    return FRAME_IS(*text, "LONG") ? FRAME_LONG : FRAME_IS(*text, "SHORT") ? FRAME_SHORT : FRAME_NO_SIDE;
}

static inline uint8_t frame_position_status(const frame_text_t *text)
{
    if (FRAME_IS(*text, "OPEN")) return FRAME_OPEN;
    if (FRAME_IS(*text, "CLOSED")) return FRAME_CLOSED;
    return FRAME_IS(*text, "LIQUIDATED") ? FRAME_LIQUIDATED_POSITION : FRAME_NO_STATUS;
}

/* A position (its size signed, in base quantums of its market) or a balance (its sign is its side, in 10**-6). */
static inline const char *frame_read_holding(frame_scanner_t *f, const char *at, frame_kind_t kind, uint32_t element)
{
    const char *start = at;
    frame_keys_t keys = {at, {0, 0, 0, 0}};
    frame_text_t key, text, size = {NULL, 0}, name = {NULL, 0}, asset = {NULL, 0};
    frame_record_t *record = frame_append(f, kind, element);
    int is_position = kind == FRAME_POSITION, more, scale = 6;
    if (!record) return NULL;
    for (more = frame_enter(f, &at, '{', '}'); more > 0; more = frame_more(f, &at, '}')) {
        at = frame_read_key(f, &keys, at, &key);
        if (!at) return NULL;
        switch (key.length) {
        case 4:
            if (FRAME_IS(key, "size")) {
                at = frame_read_text(f, at, &size);
            } else if (FRAME_IS(key, "side")) {
                at = frame_read_text(f, at, &text);
                if (!at) return NULL;
                record->side = frame_direction(&text);
            } else {
                at = frame_skip_value(f, at, 4);
            }
            break;
        case 6:
            if (is_position && FRAME_IS(key, "market")) {
                at = frame_read_text(f, at, &name);
            } else if (is_position && FRAME_IS(key, "status")) {
                at = frame_read_text(f, at, &text);
                if (!at) return NULL;
                record->status = frame_position_status(&text);
            } else if (!is_position && FRAME_IS(key, "symbol")) {
                at = frame_read_text(f, at, &name);
            } else {
                at = frame_skip_value(f, at, 4);
            }
            break;
        case 7:
            at = !is_position && FRAME_IS(key, "assetId") ? frame_read_text(f, at, &asset) : frame_skip_value(f, at, 4);
            break;
        case 16:
            at = FRAME_IS(key, "subaccountNumber") ? frame_read_number(f, at, record) : frame_skip_value(f, at, 4);
            break;
        default: at = frame_skip_value(f, at, 4);
        }
        if (!at) return NULL;
    }
    if (more || !size.at || !name.at || record->side == FRAME_NO_SIDE) return NULL;
    if (is_position) {
        const frame_market_t *market = frame_find_market(f, &name);
        if (!market || record->status == FRAME_NO_STATUS) return NULL;
        record->market = market->market;
        scale = market->size_scale;
    } else if (!asset.at || !FRAME_IS(asset, "0")) {
        return NULL;
    }
    if (!frame_read_decimal(f, size.at - 1, scale, &record->size)) return NULL;
    if (!is_position) {
        if (record->size < 0) return NULL;
        if (record->side == FRAME_SHORT) record->size = -record->size;
    } else if (record->size && (record->size < 0) != (record->side == FRAME_SHORT)) {
        return NULL;
    }
    frame_set_name(f, record, &name);
    frame_set_text(f, record, start, at);
    return at;
}

/* [{...}, ...] of trades, positions or balances. */
static inline const char *frame_read_rows(frame_scanner_t *f, const char *at, frame_kind_t kind, uint32_t element)
{
    int more;
    for (more = frame_enter(f, &at, '[', ']'); more > 0; more = frame_more(f, &at, ']')) {
        at = kind == FRAME_TRADE ? frame_read_trade(f, at, element) : frame_read_holding(f, at, kind, element);
        if (!at) return NULL;
    }
    return more ? NULL : at;
}

/* ================================ G  frames ================================ */

/* What the contents hold under a key that is not the block's height. */
static inline const char *
frame_read_part(frame_scanner_t *f, const char *at, const frame_text_t *key, uint32_t element)
{
    uint32_t also = FRAME_ALSO_OTHER;
    switch (f->header.channel) {
    case FRAME_MARKETS:
        if (FRAME_IS(*key, "oraclePrices")) return frame_read_oracles(f, at, element);
        if (FRAME_IS(*key, "trading")) return NULL;
        break;
    case FRAME_ORDERBOOK:
        if (FRAME_IS(*key, "bids")) return frame_read_levels(f, at, FRAME_BID, element);
        if (FRAME_IS(*key, "asks")) return frame_read_levels(f, at, FRAME_ASK, element);
        break;
    case FRAME_TRADES:
        if (FRAME_IS(*key, "trades")) return frame_read_rows(f, at, FRAME_TRADE, element);
        break;
    case FRAME_SUBACCOUNTS:
    case FRAME_PARENT_SUBACCOUNTS:
        if (FRAME_IS(*key, "perpetualPositions")) return frame_read_rows(f, at, FRAME_POSITION, element);
        if (FRAME_IS(*key, "assetPositions")) return frame_read_rows(f, at, FRAME_ASSET, element);
        if (FRAME_IS(*key, "orders")) also = FRAME_ALSO_ORDERS;
        else if (FRAME_IS(*key, "fills")) also = FRAME_ALSO_FILLS;
        else if (FRAME_IS(*key, "transfers")) also = FRAME_ALSO_TRANSFERS;
        else if (FRAME_IS(*key, "tradingReward")) also = FRAME_ALSO_REWARD;
        break;
    default: also = 0; /* of a block: its time */
    }
    f->header.also |= also;
    return frame_skip_value(f, at, 3);
}

/* One update: the object of a channel_data, or one of a batch. */
static inline const char *frame_read_element(frame_scanner_t *f, const char *at)
{
    frame_keys_t keys = {at, {0, 0, 0, 0}};
    frame_text_t key;
    uint32_t first = f->count, element = f->header.elements++;
    int64_t height = -1;
    int more;
    for (more = frame_enter(f, &at, '{', '}'); more > 0; more = frame_more(f, &at, '}')) {
        at = frame_read_key(f, &keys, at, &key);
        if (!at) return NULL;
        at = FRAME_IS(key, "blockHeight") ? frame_read_height(f, at, &height) : frame_read_part(f, at, &key, element);
        if (!at) return NULL;
    }
    if (more) return NULL;
    if (f->header.channel == FRAME_BLOCK_HEIGHT) {
        frame_record_t *record = frame_append(f, FRAME_BLOCK, element);
        if (!record || height < 0) return NULL;
        record->height = height;
    } else if (f->header.channel == FRAME_SUBACCOUNTS || f->header.channel == FRAME_PARENT_SUBACCOUNTS) {
        for (; first < f->count; first++) f->records[first].height = height;
    }
    if (height > f->header.block_height) f->header.block_height = height;
    return at;
}

static inline const char *frame_read_contents(frame_scanner_t *f, const char *at)
{
    int more;
    if (frame_peek(f, at) == '{') return frame_read_element(f, at);
    f->header.batched = 1;
    for (more = frame_enter(f, &at, '[', ']'); more > 0; more = frame_more(f, &at, ']')) {
        const char *next = f->header.channel == FRAME_ORDERBOOK ? frame_read_plain_level(f, at) : NULL;
        at = next ? next : frame_read_element(f, at);
        if (!at) return NULL;
    }
    return more ? NULL : at;
}

static inline uint8_t frame_channel(const frame_text_t *text)
{
    switch (text->length) {
    case 9: return FRAME_IS(*text, "v4_trades") ? FRAME_TRADES : FRAME_NO_CHANNEL;
    case 10: return FRAME_IS(*text, "v4_markets") ? FRAME_MARKETS : FRAME_NO_CHANNEL;
    case 12: return FRAME_IS(*text, "v4_orderbook") ? FRAME_ORDERBOOK : FRAME_NO_CHANNEL;
    case 14: return FRAME_IS(*text, "v4_subaccounts") ? FRAME_SUBACCOUNTS : FRAME_NO_CHANNEL;
    case 15: return FRAME_IS(*text, "v4_block_height") ? FRAME_BLOCK_HEIGHT : FRAME_NO_CHANNEL;
    case 21: return FRAME_IS(*text, "v4_parent_subaccounts") ? FRAME_PARENT_SUBACCOUNTS : FRAME_NO_CHANNEL;
    default: return FRAME_NO_CHANNEL;
    }
}

/* Whether the contents can be read: the channel is known, and the market where its scale is needed. */
static inline int frame_knows_channel(frame_scanner_t *f, const frame_text_t *id)
{
    if (f->header.channel == FRAME_NO_CHANNEL) return 0;
    if (f->header.channel != FRAME_ORDERBOOK && f->header.channel != FRAME_TRADES) return 1;
    if (!id->at) return 0;
    f->market = frame_find_market(f, id);
    if (!f->market) return 0;
    f->header.market = f->market->market;
    return 1;
}

/* Read the frame; FRAME_OK: all of it is in header and records. Contents that come before the channel or the id
 * are checked at first sight and read at the end. */
static inline frame_status_t frame_scan(frame_scanner_t *f, const char *data, size_t length)
{
    const char *at = data, *later = NULL;
    frame_text_t key, text, id = {NULL, 0}, version = {data, 0};
    frame_keys_t keys;
    int64_t number = -1;
    int more, is_batch = -1, has_contents = 0;

    memset(&f->header, 0, sizeof(f->header));
    f->header.message_id = f->header.block_height = -1;
    f->header.market = FRAME_NO_MARKET;
    f->header.channel = FRAME_NO_CHANNEL;
    f->count = f->walks = 0;
    if (length > FRAME_MAX_LENGTH) return FRAME_HANDED_OVER;
    f->start = data;
    f->end = data + length;

    at = frame_blanks(f, at);
    keys = (frame_keys_t){at, {0, 0, 0, 0}};
    for (more = frame_enter(f, &at, '{', '}'); more > 0; more = frame_more(f, &at, '}')) {
        at = frame_read_key(f, &keys, at, &key);
        if (!at) return FRAME_HANDED_OVER;
        if (FRAME_IS(key, "type")) {
            at = frame_read_text(f, at, &text);
            if (!at) return FRAME_HANDED_OVER;
            is_batch = FRAME_IS(text, "channel_batch_data");
            if (!is_batch && !FRAME_IS(text, "channel_data")) return FRAME_HANDED_OVER;
        } else if (FRAME_IS(key, "message_id")) {
            at = frame_read_natural(f, at, INT64_MAX, &f->header.message_id);
        } else if (FRAME_IS(key, "id")) {
            at = frame_read_text(f, at, &id);
        } else if (FRAME_IS(key, "channel")) {
            at = frame_read_text(f, at, &text);
            if (!at) return FRAME_HANDED_OVER;
            f->header.channel = frame_channel(&text);
            if (f->header.channel == FRAME_NO_CHANNEL) return FRAME_HANDED_OVER;
        } else if (FRAME_IS(key, "version")) {
            at = frame_read_text(f, at, &version);
        } else if (FRAME_IS(key, "contents")) {
            has_contents = 1;
            if (frame_knows_channel(f, &id)) {
                at = frame_read_contents(f, at);
            } else {
                later = at;
                at = frame_skip_value(f, at, 1);
            }
        } else if (FRAME_IS(key, "subaccountNumber")) {
            at = frame_read_natural(f, at, INT32_MAX, &number);
        } else {
            at = frame_skip_value(f, at, 1);
        }
        if (!at) return FRAME_HANDED_OVER;
    }
    if (more || frame_blanks(f, at) != f->end || is_batch < 0 || !has_contents || f->header.message_id < 0)
        return FRAME_HANDED_OVER;
    if (later && (!frame_knows_channel(f, &id) || !frame_read_contents(f, later))) return FRAME_HANDED_OVER;
    if (f->header.batched != is_batch) return FRAME_HANDED_OVER;

    if (id.at) {
        f->header.id_offset = (uint32_t)(id.at - data);
        f->header.id_length = (uint32_t)id.length;
    }
    f->header.version_offset = (uint32_t)(version.at - data);
    f->header.version_length = (uint32_t)version.length;
    f->header.subaccount_number = (int32_t)number;
    f->header.records = f->count;
    return FRAME_OK;
}

#endif
