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
 * Here is the grammar of the channels: markets, rows, frames. `frame_records.h` has the memory, `frame_tokens.h`
 * texts, keys and numbers.
 */
#ifndef DYDX_PERF_FRAME_H
#define DYDX_PERF_FRAME_H

#include "frame_tokens.h"

/* ================================ markets ================================ */

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

/* ================================ rows ================================ */

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

/* ================================ frames ================================ */

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
