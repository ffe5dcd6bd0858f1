/* QuerySubaccountAllResponse: a page of all subaccounts, one pass from bytes to rows.
 *
 * A number past int64 stays where it is in the message: `wide` names the place of its bytes. An account twice in
 * one market, or with two USDC balances, is refused: the chain keeps neither. So is one in more than 4096 markets.
 */
#ifndef DYDX_PERF_SUBACCOUNT_PAGE_H
#define DYDX_PERF_SUBACCOUNT_PAGE_H

#include <stdlib.h>

#include "dydx_perf/ext/protobuf.h"

#define PAGE_MOST_POSITIONS 4096 /* of one account: bounds the search for a market twice */

/* An integer in bytes: its value where that fits, else the place of the bytes; at 0 there is always a tag. */
typedef struct {
    int64_t value;
    uint32_t wide_at, wide_length;
} page_integer_t;

typedef struct {
    uint32_t owner_at, owner_length;
    uint32_t number;
    uint32_t is_wide;      /* a number of it does not fit int64 */
    uint32_t other_assets; /* balances that are not USDC */
    uint32_t has_usdc;
    page_integer_t usdc;
    size_t first, count; /* of its positions */
} page_account_t;

typedef struct {
    uint32_t perpetual_id;
    page_integer_t quantums, funding_index, quote_balance;
} page_position_t;

typedef struct {
    wire_refusal_t refusal;
    const uint8_t *start;
    page_account_t *accounts;
    size_t account_count, account_room;
    page_position_t *positions;
    size_t position_count, position_room;
    const uint8_t *next_key, *next_key_end;
    uint64_t total;
} page_t;

static inline int page_grow(page_t *page, void **array, size_t *room, size_t count, size_t size) {
    size_t wanted = *room ? *room * 2 : 128;
    void *grown;
    if (count < *room) return 1;
    grown = realloc(*array, wanted * size);
    if (!grown) return wire_refuse(&page->refusal, WIRE_NO_MEMORY, page->start) != NULL;
    *array = grown;
    *room = wanted;
    return 1;
}

#define EACH_PAGE_FIELD(page, p, end, field)                                                                 \
    for (wire_field_t field; (p) < (end);)                                                                   \
        if (!((p) = wire_field(&(page)->refusal, (p), (end), &field))) return 0;                             \
        else

static int page_integer(page_t *page, const wire_field_t *field, page_integer_t *out) {
    out->wide_at = out->wide_length = 0;
    switch (wire_integer(field->data, field->end, &out->value)) {
    case INTEGER_FITS: return 1;
    case INTEGER_WIDE:
        out->value = 0;
        out->wide_at = (uint32_t)(field->data - page->start);
        out->wide_length = (uint32_t)(field->end - field->data);
        return 1;
    default: return wire_refuse(&page->refusal, WIRE_INTEGER, field->data) != NULL;
    }
}

static int page_id(page_t *page, const uint8_t *p, const uint8_t *end, page_account_t *account) {
    EACH_PAGE_FIELD(page, p, end, field) {
        if (field.tag == WIRE_TAG_OF(1, WIRE_BYTES)) {
            if (!wire_text(&page->refusal, &field)) return 0;
            account->owner_at = (uint32_t)(field.data - page->start);
            account->owner_length = (uint32_t)(field.end - field.data);
        } else if (field.tag == WIRE_TAG_OF(2, WIRE_VALUE)) {
            account->number = (uint32_t)field.value;
        }
    }
    return 1;
}

static int page_asset(page_t *page, const uint8_t *p, const uint8_t *end, page_account_t *account) {
    const uint8_t *first = p;
    page_integer_t quantums = {0, 0, 0};
    uint32_t asset_id = 0;
    EACH_PAGE_FIELD(page, p, end, field) {
        if (field.tag == WIRE_TAG_OF(1, WIRE_VALUE)) asset_id = (uint32_t)field.value;
        else if (field.tag == WIRE_TAG_OF(2, WIRE_BYTES) && !page_integer(page, &field, &quantums)) return 0;
    }
    if (asset_id != 0) {
        account->other_assets++;
        return 1;
    }
    if (account->has_usdc) return wire_refuse(&page->refusal, WIRE_REPEATED, first) != NULL;
    account->has_usdc = 1;
    account->usdc = quantums;
    account->is_wide |= quantums.wide_length != 0;
    return 1;
}

static int page_position(page_t *page, const uint8_t *p, const uint8_t *end, page_account_t *account) {
    const uint8_t *first = p;
    page_position_t *position;
    if (page->position_count - account->first >= PAGE_MOST_POSITIONS)
        return wire_refuse(&page->refusal, WIRE_TOO_MANY, first) != NULL;
    if (!page_grow(page, (void **)&page->positions, &page->position_room, page->position_count,
                   sizeof *page->positions))
        return 0;
    position = &page->positions[page->position_count++];
    memset(position, 0, sizeof *position);
    EACH_PAGE_FIELD(page, p, end, field) {
        int done = 1;
        switch (field.tag) {
        case WIRE_TAG_OF(1, WIRE_VALUE): position->perpetual_id = (uint32_t)field.value; break;
        case WIRE_TAG_OF(2, WIRE_BYTES): done = page_integer(page, &field, &position->quantums); break;
        case WIRE_TAG_OF(3, WIRE_BYTES): done = page_integer(page, &field, &position->funding_index); break;
        case WIRE_TAG_OF(4, WIRE_BYTES): done = page_integer(page, &field, &position->quote_balance); break;
        default: break;
        }
        if (!done) return 0;
    }
    account->is_wide |= position->quantums.wide_length || position->funding_index.wide_length ||
                        position->quote_balance.wide_length;
    for (size_t i = account->first; i + 1 < page->position_count; i++)
        if (page->positions[i].perpetual_id == position->perpetual_id)
            return wire_refuse(&page->refusal, WIRE_REPEATED, first) != NULL;
    return 1;
}

static int page_account(page_t *page, const uint8_t *p, const uint8_t *end) {
    page_account_t *account;
    if (!page_grow(page, (void **)&page->accounts, &page->account_room, page->account_count,
                   sizeof *page->accounts))
        return 0;
    account = &page->accounts[page->account_count++];
    memset(account, 0, sizeof *account);
    account->first = page->position_count;
    EACH_PAGE_FIELD(page, p, end, field) {
        int done = 1;
        switch (field.tag) {
        case WIRE_TAG_OF(1, WIRE_BYTES): done = page_id(page, field.data, field.end, account); break;
        case WIRE_TAG_OF(2, WIRE_BYTES): done = page_asset(page, field.data, field.end, account); break;
        case WIRE_TAG_OF(3, WIRE_BYTES): done = page_position(page, field.data, field.end, account); break;
        default: break;
        }
        if (!done) return 0;
    }
    account->count = page->position_count - account->first;
    return 1;
}

static int page_pagination(page_t *page, const uint8_t *p, const uint8_t *end) {
    EACH_PAGE_FIELD(page, p, end, field) {
        if (field.tag == WIRE_TAG_OF(1, WIRE_BYTES)) {
            page->next_key = field.data;
            page->next_key_end = field.end;
        } else if (field.tag == WIRE_TAG_OF(2, WIRE_VALUE)) {
            page->total = field.value;
        }
    }
    return 1;
}

/* Scans one page. 1: all of it is in the arrays; 0: `refusal` says why not. */
static inline int page_scan(page_t *page, const uint8_t *data, size_t length) {
    const uint8_t *p = data, *end = data + length;
    page->refusal.status = WIRE_OK;
    page->start = data;
    page->account_count = page->position_count = 0;
    page->next_key = page->next_key_end = data;
    page->total = 0;
    EACH_PAGE_FIELD(page, p, end, field) {
        if (field.tag == WIRE_TAG_OF(1, WIRE_BYTES)) {
            if (!page_account(page, field.data, field.end)) return 0;
        } else if (field.tag == WIRE_TAG_OF(2, WIRE_BYTES) && !page_pagination(page, field.data, field.end)) {
            return 0;
        }
    }
    return 1;
}

#endif
