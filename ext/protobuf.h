/* Protocol buffers' wire format: one field at a time out of a buffer, nothing read past its end.
 *
 *   field = tag, value       tag = field number << 3 | wire type, a varint of 32 bits
 *   wire types: 0 varint (at most 64 bits), 1 eight bytes, 2 length and so many bytes, 5 four bytes
 *
 * A message is known by the tags it expects: a field of another number or of another wire type than the schema's
 * is skipped by its wire type, as every parser does. Groups (3, 4) are of an older schema language, no message
 * here has any, and they are refused even where they could be skipped. So are wire types 6 and 7, the field
 * number 0, a varint past its bits, a length past the end, and text that is not UTF-8.
 *
 * What is refused is put down in a `wire_refusal_t` with its place; the readers then return NULL.
 */
#ifndef DYDX_PERF_PROTOBUF_H
#define DYDX_PERF_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum {
    WIRE_OK = 0,
    WIRE_TRUNCATED = 1, /* the buffer, or the message around it, ends within a field */
    WIRE_VARINT = 2,    /* more bits than its kind holds */
    WIRE_TAG = 3,       /* field number 0, or a wire type that is none */
    WIRE_GROUP = 4,
    WIRE_LENGTH = 5, /* a length past the end of the message around it */
    WIRE_UTF8 = 6,
    WIRE_INTEGER = 7, /* integer in bytes: the first is neither 02 nor 03 */
    WIRE_COUNTS = 8,  /* fill amounts and orders that do not pair */
    WIRE_TOO_MANY = 9,
    WIRE_NO_MEMORY = 10,
    WIRE_REPEATED = 11 /* what may be listed once is listed twice */
} wire_status_t;

typedef struct {
    wire_status_t status;
    const uint8_t *at;
} wire_refusal_t;

/* A field as it stands; data and end of a length-delimited one, else value. */
typedef struct {
    uint32_t tag;
    uint64_t value;
    const uint8_t *data, *end;
} wire_field_t;

enum { WIRE_VALUE = 0, WIRE_EIGHT = 1, WIRE_BYTES = 2, WIRE_START_GROUP = 3, WIRE_END_GROUP = 4, WIRE_FOUR = 5 };

#define WIRE_TAG_OF(number, type) ((uint32_t)(number) << 3 | (type))

__attribute__((noinline, cold, unused)) static const uint8_t *wire_refuse(wire_refusal_t *refusal,
                                                                          wire_status_t status,
                                                                          const uint8_t *at) {
    refusal->status = status;
    refusal->at = at;
    return NULL;
}

/* A varint of two bytes or more, up to `bytes` of them; bits past 64 are dropped, as everywhere. */
__attribute__((noinline, unused)) static const uint8_t *wire_long_varint(wire_refusal_t *refusal,
                                                                         const uint8_t *p, const uint8_t *end,
                                                                         int bytes, uint64_t *value) {
    const uint8_t *first = p;
    uint64_t read = 0;
    for (int i = 0; i < bytes; i++) {
        if (p >= end) return wire_refuse(refusal, WIRE_TRUNCATED, p);
        read |= (uint64_t)(*p & 0x7f) << (7 * i);
        if (!(*p++ & 0x80)) {
            *value = read;
            return p;
        }
    }
    return wire_refuse(refusal, WIRE_VARINT, first);
}

static inline const uint8_t *wire_varint(wire_refusal_t *refusal, const uint8_t *p, const uint8_t *end,
                                         int bytes, uint64_t *value) {
    if (p < end && *p < 0x80) {
        *value = *p;
        return p + 1;
    }
    return wire_long_varint(refusal, p, end, bytes, value);
}

/* The field at p, which is below end; returns where the next one starts. */
static inline const uint8_t *wire_field(wire_refusal_t *refusal, const uint8_t *p, const uint8_t *end,
                                        wire_field_t *field) {
    const uint8_t *first = p;
    uint64_t read;
    if (!(p = wire_varint(refusal, p, end, 5, &read))) return NULL;
    if (read > UINT32_MAX) return wire_refuse(refusal, WIRE_VARINT, first);
    if (read < 8) return wire_refuse(refusal, WIRE_TAG, first);
    field->tag = (uint32_t)read;
    switch (read & 7) {
    case WIRE_VALUE: return wire_varint(refusal, p, end, 10, &field->value);
    case WIRE_BYTES:
        first = p;
        if (!(p = wire_varint(refusal, p, end, 5, &read))) return NULL;
        if (read > (uint64_t)(end - p)) return wire_refuse(refusal, WIRE_LENGTH, first);
        field->data = p;
        return field->end = p + read;
    case WIRE_FOUR: {
        uint32_t four;
        if (end - p < 4) return wire_refuse(refusal, WIRE_TRUNCATED, end);
        memcpy(&four, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        four = __builtin_bswap32(four);
#endif
        field->value = four;
        return p + 4;
    }
    case WIRE_EIGHT: /* no message here has any */
        if (end - p < 8) return wire_refuse(refusal, WIRE_TRUNCATED, end);
        return p + 8;
    case WIRE_START_GROUP:
    case WIRE_END_GROUP: return wire_refuse(refusal, WIRE_GROUP, first);
    default: return wire_refuse(refusal, WIRE_TAG, first);
    }
}

/* sint32: zigzag of the low 32 bits. */
static inline int32_t wire_zigzag32(uint64_t value) {
    uint32_t bits = (uint32_t)value;
    return (int32_t)((bits >> 1) ^ (0u - (bits & 1)));
}

/* Text past ASCII: no surrogate, nothing longer than needed, nothing above U+10FFFF. */
__attribute__((noinline, unused)) static int wire_is_utf8(const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        uint32_t lead = *p++, more, lowest, point;
        if (lead < 0x80) continue;
        if (lead >= 0xc2 && lead <= 0xdf) more = 1, lowest = 0x80, point = lead & 0x1f;
        else if ((lead & 0xf0) == 0xe0) more = 2, lowest = 0x800, point = lead & 0x0f;
        else if (lead >= 0xf0 && lead <= 0xf4) more = 3, lowest = 0x10000, point = lead & 0x07;
        else return 0;
        for (; more; more--) {
            if (p >= end || (*p & 0xc0) != 0x80) return 0;
            point = point << 6 | (*p++ & 0x3f);
        }
        if (point < lowest || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
    }
    return 1;
}

/* A text field, eight bytes of ASCII at a time. */
static inline int wire_text(wire_refusal_t *refusal, const wire_field_t *field) {
    const uint8_t *p = field->data;
    uint64_t eight, high = 0;
    for (; field->end - p >= 8; p += 8) {
        memcpy(&eight, p, 8);
        high |= eight;
    }
    for (; p < field->end; p++) high |= *p;
    if (!(high & 0x8080808080808080ull) || wire_is_utf8(field->data, field->end)) return 1;
    wire_refuse(refusal, WIRE_UTF8, field->data);
    return 0;
}

/* A message of which nothing is kept and that has no messages within; bit n of `texts`: field n is text. */
__attribute__((noinline, unused)) static int wire_walk(wire_refusal_t *refusal, const uint8_t *p,
                                                       const uint8_t *end, uint32_t texts) {
    wire_field_t field;
    while (p < end) {
        if (!(p = wire_field(refusal, p, end, &field))) return 0;
        if ((field.tag & 7) == WIRE_BYTES && field.tag >> 3 < 32 && (texts >> (field.tag >> 3) & 1) &&
            !wire_text(refusal, &field))
            return 0;
    }
    return 1;
}

typedef enum { INTEGER_FITS, INTEGER_WIDE, INTEGER_MALFORMED } integer_bytes_t;

/* The chain's integer in bytes: 02 (>= 0) or 03 (< 0), then the magnitude, highest byte first; nothing is 0.
 * *out is written only where it fits. */
static inline integer_bytes_t wire_integer(const uint8_t *p, const uint8_t *end, int64_t *out) {
    uint64_t magnitude = 0;
    int negative;
    if (p == end) {
        *out = 0;
        return INTEGER_FITS;
    }
    if (*p != 2 && *p != 3) return INTEGER_MALFORMED;
    negative = *p++ == 3;
    while (p < end && *p == 0) p++;
    if (end - p > 8) return INTEGER_WIDE;
    for (; p < end; p++) magnitude = magnitude << 8 | *p;
    if (magnitude > (uint64_t)INT64_MAX + (uint64_t)negative) return INTEGER_WIDE;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return INTEGER_FITS;
}

#endif
