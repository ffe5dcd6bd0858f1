/* StreamOrderbookUpdatesResponse: one pass from bytes to flat records, and none of them before the last byte.
 *
 * A response is a list of updates, each with a height, a phase of the block (exec_mode) and one of five bodies.
 * An update becomes a `stream_update_t`; what its body lists becomes records that stand one after another:
 *
 *   body               records, in this order
 *   orderbook_update   ORDER_PLACE, ORDER_REMOVE, ORDER_UPDATE, ORDER_REPLACE as they come
 *   order_fill         MATCH, then as they come FILL for each maker and ORDER_STATE for each order
 *   taker_order        TAKER
 *   subaccount_update  SUBACCOUNT, then POSITION and ASSET as they come
 *   price_update       PRICE
 *
 * Protocol buffers let a field that is no list come again: of a number or text the last counts, messages are
 * merged, and of fields of which only one may be set (oneof) the last drops the others. Readers below take the
 * struct that they fill as it is, which is the merge, and clear it where a oneof turns.
 *
 * Two rules are stricter than the schema: no groups, and as many fill amounts as orders.
 *
 * A name in a record is a place in the message: it is good for as long as the message's bytes are.
 */
#ifndef DYDX_PERF_STREAM_H
#define DYDX_PERF_STREAM_H

#include <stdlib.h>

#include "dydx_perf/ext/protobuf.h"

typedef enum {
    RECORD_NOTHING = 0,
    ORDER_PLACE = 1, /* numbers of off-chain updates' variants */
    ORDER_REMOVE = 2,
    ORDER_UPDATE = 3,
    ORDER_REPLACE = 4,
    MATCH = 5,
    FILL = 6,
    ORDER_STATE = 7,
    TAKER = 8,
    SUBACCOUNT = 9,
    POSITION = 10,
    ASSET = 11,
    PRICE = 12
} stream_kind_t;

typedef enum { MATCH_NONE = 0, MATCH_ORDERS = 1, MATCH_LIQUIDATION = 2, MATCH_DELEVERAGING = 3 } stream_match_t;

typedef enum {
    UPDATE_NOTHING = 0,
    UPDATE_ORDER_BOOK = 3, /* field numbers of the bodies */
    UPDATE_FILL = 4,
    UPDATE_TAKER = 5,
    UPDATE_SUBACCOUNT = 6,
    UPDATE_PRICE = 7
} stream_body_t;

/* The whole key of an order; a subaccount where only a subaccount is named. */
typedef struct {
    uint32_t owner_at, owner_length; /* address: place in the message, bytes */
    uint32_t number;
    uint32_t client_id;
    uint32_t order_flags; /* 0 short-term, 32 conditional, 64 long-term, 128 TWAP, 256 TWAP suborder */
    uint32_t clob_pair_id;
} stream_key_t;

typedef struct {
    stream_key_t key;   /* order; MATCH: taker, or the liquidated subaccount; SUBACCOUNT and its rows: whose */
    stream_key_t other; /* ORDER_REPLACE: the order that goes */
    uint64_t quantums;  /* size of an order or a match; ASSET: without its sign; POSITION: bits of an int64 */
    uint64_t subticks;  /* price of an order; PRICE: the price integer */
    uint64_t amount;    /* ORDER_UPDATE, ORDER_STATE: filled in all; FILL: of this match; TAKER: remaining */
    uint64_t optimistic; /* TAKER: filled in this node's view */
    uint32_t kind;
    uint32_t update;     /* index of its stream_update_t */
    uint32_t market;     /* POSITION, MATCH: perpetual; ASSET: asset; PRICE: market of the price */
    uint32_t price_id;   /* PRICE: id within the price itself, the same market */
    int32_t exponent;    /* PRICE */
    int32_t side;        /* 1 buy, 2 sell, 0 not said */
    int32_t status;      /* of the order's placement or removal; TAKER: order_status, unsigned */
    int32_t reason;      /* ORDER_REMOVE */
    uint32_t good_til;   /* block, or seconds where `is_good_til_time` */
    int32_t time_in_force; /* 0, 1 IOC, 2 post-only, 3 fill or kill */
    uint8_t is_good_til_time, reduce_only, is_final_settlement;
    uint8_t match; /* MATCH, FILL: stream_match_t; TAKER: MATCH_LIQUIDATION for a liquidation's */
} stream_record_t;

typedef struct {
    uint32_t block_height;
    uint32_t exec_mode;
    uint32_t body; /* stream_body_t */
    uint32_t snapshot;
    size_t first, count; /* of its records */
} stream_update_t;

/* What one response holds; the arrays are kept from one to the next. */
typedef struct {
    wire_refusal_t refusal;
    const uint8_t *start;
    stream_record_t *records;
    size_t count, room, most; /* `most`: records that one response may have */
    stream_update_t *updates;
    size_t update_count, update_room;
    uint64_t *amounts; /* of the fill under way */
    size_t amount_count, amount_room;
} stream_t;

/* Room for one more of an array, doubled where it is full. */
static inline int stream_grow(stream_t *s, void **array, size_t *room, size_t count, size_t size) {
    size_t wanted = *room ? *room * 2 : 64;
    void *grown;
    if (count < *room) return 1;
    if (count >= s->most) return wire_refuse(&s->refusal, WIRE_TOO_MANY, s->start) != NULL;
    grown = realloc(*array, wanted * size);
    if (!grown) return wire_refuse(&s->refusal, WIRE_NO_MEMORY, s->start) != NULL;
    *array = grown;
    *room = wanted;
    return 1;
}

static inline stream_record_t *stream_add(stream_t *s, uint32_t kind) {
    stream_record_t *record;
    if (!stream_grow(s, (void **)&s->records, &s->room, s->count, sizeof *s->records)) return NULL;
    record = &s->records[s->count++];
    memset(record, 0, sizeof *record);
    record->kind = kind;
    record->update = (uint32_t)(s->update_count - 1);
    return record;
}

/* Walks the fields of a message: `field` is set for each, a refusal leaves the function with 0. */
#define EACH_FIELD(s, p, end, field)                                                                         \
    for (wire_field_t field; (p) < (end);)                                                                   \
        if (!((p) = wire_field(&(s)->refusal, (p), (end), &field))) return 0;                                \
        else

#define NUMBER(n) WIRE_TAG_OF(n, WIRE_VALUE)
#define FIXED32(n) WIRE_TAG_OF(n, WIRE_FOUR)
#define PART(n) WIRE_TAG_OF(n, WIRE_BYTES)
#define TEXT_OF(n) (1u << (n))

/* -- what stands in several messages */

static int scan_subaccount_id(stream_t *s, const uint8_t *p, const uint8_t *end, stream_key_t *key) {
    EACH_FIELD(s, p, end, field) {
        if (field.tag == PART(1)) {
            if (!wire_text(&s->refusal, &field)) return 0;
            key->owner_at = (uint32_t)(field.data - s->start);
            key->owner_length = (uint32_t)(field.end - field.data);
        } else if (field.tag == NUMBER(2)) {
            key->number = (uint32_t)field.value;
        }
    }
    return 1;
}

static int scan_order_id(stream_t *s, const uint8_t *p, const uint8_t *end, stream_key_t *key) {
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1):
            if (!scan_subaccount_id(s, field.data, field.end, key)) return 0;
            break;
        case FIXED32(2): key->client_id = (uint32_t)field.value; break;
        case NUMBER(3): key->order_flags = (uint32_t)field.value; break;
        case NUMBER(4): key->clob_pair_id = (uint32_t)field.value; break;
        default: break;
        }
    }
    return 1;
}

/* Order and IndexerOrder: the same up to field 11, then one has in 12 to 14 what the other has elsewhere. */
typedef enum { ORDER_OF_CHAIN, ORDER_OF_INDEXER } order_schema_t;

static int scan_order(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record,
                      order_schema_t schema) {
    const uint32_t router = PART(schema == ORDER_OF_INDEXER ? 13 : 14);
    const uint32_t builder = PART(schema == ORDER_OF_INDEXER ? 12 : 13);
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1):
            if (!scan_order_id(s, field.data, field.end, &record->key)) return 0;
            break;
        case NUMBER(2): record->side = (int32_t)(uint32_t)field.value; break;
        case NUMBER(3): record->quantums = field.value; break;
        case NUMBER(4): record->subticks = field.value; break;
        case NUMBER(5):
        case FIXED32(6):
            record->good_til = (uint32_t)field.value;
            record->is_good_til_time = field.tag == FIXED32(6);
            break;
        case NUMBER(7): record->time_in_force = (int32_t)(uint32_t)field.value; break;
        case NUMBER(8): record->reduce_only = field.value != 0; break;
        case PART(12):
        case PART(13):
        case PART(14):
            if (field.tag == router) {
                if (!wire_text(&s->refusal, &field)) return 0;
            } else if (!wire_walk(&s->refusal, field.data, field.end, field.tag == builder ? TEXT_OF(1) : 0)) {
                return 0;
            }
            break;
        default: break;
        }
    }
    return 1;
}

/* -- the order book */

static int scan_order_place(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record) {
    EACH_FIELD(s, p, end, field) {
        if (field.tag == PART(1)) {
            if (!scan_order(s, field.data, field.end, record, ORDER_OF_INDEXER)) return 0;
        } else if (field.tag == NUMBER(2)) {
            record->status = (int32_t)(uint32_t)field.value;
        } else if (field.tag == PART(3) && !wire_walk(&s->refusal, field.data, field.end, 0)) {
            return 0;
        }
    }
    return 1;
}

static int scan_order_remove(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record) {
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1):
            if (!scan_order_id(s, field.data, field.end, &record->key)) return 0;
            break;
        case NUMBER(2): record->reason = (int32_t)(uint32_t)field.value; break;
        case NUMBER(3): record->status = (int32_t)(uint32_t)field.value; break;
        case PART(4):
            if (!wire_walk(&s->refusal, field.data, field.end, 0)) return 0;
            break;
        default: break;
        }
    }
    return 1;
}

static int scan_order_update(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record) {
    EACH_FIELD(s, p, end, field) {
        if (field.tag == PART(1)) {
            if (!scan_order_id(s, field.data, field.end, &record->key)) return 0;
        } else if (field.tag == NUMBER(2)) {
            record->amount = field.value;
        }
    }
    return 1;
}

static int scan_order_replace(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record) {
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1):
            if (!scan_order_id(s, field.data, field.end, &record->other)) return 0;
            break;
        case PART(2):
            if (!scan_order(s, field.data, field.end, record, ORDER_OF_INDEXER)) return 0;
            break;
        case NUMBER(3): record->status = (int32_t)(uint32_t)field.value; break;
        case PART(4):
            if (!wire_walk(&s->refusal, field.data, field.end, 0)) return 0;
            break;
        default: break;
        }
    }
    return 1;
}

static int scan_off_chain_update(stream_t *s, const uint8_t *p, const uint8_t *end) {
    stream_record_t *record = stream_add(s, RECORD_NOTHING);
    if (!record) return 0;
    EACH_FIELD(s, p, end, field) {
        const uint32_t variant = field.tag >> 3, update = record->update;
        int done;
        if ((field.tag & 7) != WIRE_BYTES || variant > ORDER_REPLACE) continue;
        if (record->kind != variant && record->kind != RECORD_NOTHING) {
            memset(record, 0, sizeof *record);
            record->update = update;
        }
        record->kind = variant;
        switch (variant) {
        case ORDER_PLACE: done = scan_order_place(s, field.data, field.end, record); break;
        case ORDER_REMOVE: done = scan_order_remove(s, field.data, field.end, record); break;
        case ORDER_UPDATE: done = scan_order_update(s, field.data, field.end, record); break;
        default: done = scan_order_replace(s, field.data, field.end, record); break;
        }
        if (!done) return 0;
    }
    return 1;
}

static int scan_order_book(stream_t *s, const uint8_t *p, const uint8_t *end, stream_update_t *update) {
    EACH_FIELD(s, p, end, field) {
        if (field.tag == NUMBER(1)) {
            update->snapshot = field.value != 0;
        } else if (field.tag == PART(2) && !scan_off_chain_update(s, field.data, field.end)) {
            return 0;
        }
    }
    return 1;
}

/* -- fills */

/* A maker's fill: of orders and liquidations {amount, order}, of deleveragings {subaccount, amount}. */
static int scan_fill(stream_t *s, const uint8_t *p, const uint8_t *end, stream_match_t match) {
    stream_record_t *record = stream_add(s, FILL);
    if (!record) return 0;
    record->match = (uint8_t)match;
    if (match == MATCH_DELEVERAGING) {
        EACH_FIELD(s, p, end, field) {
            if (field.tag == PART(1)) {
                if (!scan_subaccount_id(s, field.data, field.end, &record->key)) return 0;
            } else if (field.tag == NUMBER(2)) {
                record->amount = field.value;
            }
        }
        return 1;
    }
    EACH_FIELD(s, p, end, field) {
        if (field.tag == NUMBER(1)) {
            record->amount = field.value;
        } else if (field.tag == PART(2) && !scan_order_id(s, field.data, field.end, &record->key)) {
            return 0;
        }
    }
    return 1;
}

static int scan_match_orders(stream_t *s, const uint8_t *p, const uint8_t *end, size_t at) {
    EACH_FIELD(s, p, end, field) {
        if (field.tag == PART(1)) {
            if (!scan_order_id(s, field.data, field.end, &s->records[at].key)) return 0;
        } else if (field.tag == PART(2) && !scan_fill(s, field.data, field.end, MATCH_ORDERS)) {
            return 0;
        }
    }
    return 1;
}

static int scan_match_liquidation(stream_t *s, const uint8_t *p, const uint8_t *end, size_t at) {
    EACH_FIELD(s, p, end, field) {
        stream_record_t *record = &s->records[at]; /* found anew each time: a fill may move the records */
        switch (field.tag) {
        case PART(1):
            if (!scan_subaccount_id(s, field.data, field.end, &record->key)) return 0;
            break;
        case NUMBER(2): record->key.clob_pair_id = (uint32_t)field.value; break;
        case NUMBER(3): record->market = (uint32_t)field.value; break;
        case NUMBER(4): record->quantums = field.value; break;
        case NUMBER(5): record->side = field.value != 0 ? 1 : 2; break;
        case PART(6):
            if (!scan_fill(s, field.data, field.end, MATCH_LIQUIDATION)) return 0;
            break;
        default: break;
        }
    }
    return 1;
}

static int scan_match_deleveraging(stream_t *s, const uint8_t *p, const uint8_t *end, size_t at) {
    EACH_FIELD(s, p, end, field) {
        stream_record_t *record = &s->records[at];
        switch (field.tag) {
        case PART(1):
            if (!scan_subaccount_id(s, field.data, field.end, &record->key)) return 0;
            break;
        case NUMBER(2): record->market = (uint32_t)field.value; break;
        case PART(3):
            if (!scan_fill(s, field.data, field.end, MATCH_DELEVERAGING)) return 0;
            break;
        case NUMBER(4): record->is_final_settlement = field.value != 0; break;
        default: break;
        }
    }
    return 1;
}

/* Drops the FILLs from `first` on and moves what is between them together. */
static void drop_fills(stream_t *s, size_t first) {
    size_t kept = first;
    for (size_t i = first; i < s->count; i++)
        if (s->records[i].kind != FILL) s->records[kept++] = s->records[i];
    s->count = kept;
}

static int scan_clob_match(stream_t *s, const uint8_t *p, const uint8_t *end, size_t at) {
    EACH_FIELD(s, p, end, field) {
        const uint32_t variant = field.tag >> 3;
        int done;
        if ((field.tag & 7) != WIRE_BYTES || variant > MATCH_DELEVERAGING) continue;
        if (s->records[at].match != variant) {
            const uint32_t update = s->records[at].update;
            if (s->records[at].match != MATCH_NONE) drop_fills(s, at);
            memset(&s->records[at], 0, sizeof s->records[at]);
            s->records[at].kind = MATCH;
            s->records[at].update = update;
            s->records[at].match = (uint8_t)variant;
            if (variant == MATCH_LIQUIDATION) s->records[at].side = 2;
        }
        switch (variant) {
        case MATCH_ORDERS: done = scan_match_orders(s, field.data, field.end, at); break;
        case MATCH_LIQUIDATION: done = scan_match_liquidation(s, field.data, field.end, at); break;
        default: done = scan_match_deleveraging(s, field.data, field.end, at); break;
        }
        if (!done) return 0;
    }
    return 1;
}

static int add_amount(stream_t *s, uint64_t amount) {
    if (!stream_grow(s, (void **)&s->amounts, &s->amount_room, s->amount_count, sizeof *s->amounts)) return 0;
    s->amounts[s->amount_count++] = amount;
    return 1;
}

/* The MATCH of an update is made with its body, so its place is that of the update's first record. */
static int scan_order_fill(stream_t *s, const uint8_t *p, const uint8_t *end, size_t at) {
    EACH_FIELD(s, p, end, field) {
        stream_record_t *record;
        switch (field.tag) {
        case PART(1):
            if (!scan_clob_match(s, field.data, field.end, at)) return 0;
            break;
        case PART(2):
            if (!(record = stream_add(s, ORDER_STATE))) return 0;
            if (!scan_order(s, field.data, field.end, record, ORDER_OF_CHAIN)) return 0;
            break;
        case NUMBER(3):
            if (!add_amount(s, field.value)) return 0;
            break;
        case PART(3):
            for (uint64_t amount; field.data < field.end;) {
                if (!(field.data = wire_varint(&s->refusal, field.data, field.end, 10, &amount))) return 0;
                if (!add_amount(s, amount)) return 0;
            }
            break;
        default: break;
        }
    }
    return 1;
}

/* Gives each order of a fill its amount, as listed. */
static int pair_amounts(stream_t *s, const stream_update_t *update, const uint8_t *end) {
    size_t paired = 0;
    for (size_t i = update->first; i < s->count; i++) {
        if (s->records[i].kind != ORDER_STATE) continue;
        if (paired == s->amount_count) return wire_refuse(&s->refusal, WIRE_COUNTS, end) != NULL;
        s->records[i].amount = s->amounts[paired++];
    }
    return paired == s->amount_count || wire_refuse(&s->refusal, WIRE_COUNTS, end) != NULL;
}

/* -- taker orders */

static int scan_liquidation_order(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record) {
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1): {
            const uint8_t *q = field.data;
            EACH_FIELD(s, q, field.end, inner) {
                if (inner.tag == PART(1)) {
                    if (!scan_subaccount_id(s, inner.data, inner.end, &record->key)) return 0;
                } else if (inner.tag == NUMBER(2)) {
                    record->market = (uint32_t)inner.value;
                }
            }
            break;
        }
        case NUMBER(2): record->key.clob_pair_id = (uint32_t)field.value; break;
        case NUMBER(3): record->side = field.value != 0 ? 1 : 2; break;
        case NUMBER(4): record->quantums = field.value; break;
        case NUMBER(5): record->subticks = field.value; break;
        default: break;
        }
    }
    return 1;
}

/* The status stands beside the oneof of the two kinds of orders, and stays where that turns. */
static void turn_taker(stream_record_t *record, stream_match_t match) {
    stream_record_t cleared = {.kind = TAKER,
                               .update = record->update,
                               .status = record->status,
                               .amount = record->amount,
                               .optimistic = record->optimistic,
                               .match = (uint8_t)match,
                               .side = match == MATCH_LIQUIDATION ? 2 : 0};
    if (record->match != match) *record = cleared;
}

static int scan_taker_order(stream_t *s, const uint8_t *p, const uint8_t *end, stream_record_t *record) {
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1):
            turn_taker(record, MATCH_ORDERS);
            if (!scan_order(s, field.data, field.end, record, ORDER_OF_CHAIN)) return 0;
            break;
        case PART(2):
            turn_taker(record, MATCH_LIQUIDATION);
            if (!scan_liquidation_order(s, field.data, field.end, record)) return 0;
            break;
        case PART(3): {
            const uint8_t *q = field.data;
            EACH_FIELD(s, q, field.end, inner) {
                switch (inner.tag) {
                case NUMBER(1): record->status = (int32_t)(uint32_t)inner.value; break;
                case NUMBER(2): record->amount = inner.value; break;
                case NUMBER(3): record->optimistic = inner.value; break;
                default: break;
                }
            }
            break;
        }
        default: break;
        }
    }
    return 1;
}

/* -- subaccounts and prices */

static int scan_subaccount(stream_t *s, const uint8_t *p, const uint8_t *end, stream_update_t *update) {
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case PART(1):
            if (!scan_subaccount_id(s, field.data, field.end, &s->records[update->first].key)) return 0;
            break;
        case PART(2):
        case PART(3): { /* int64 and uint64 have the same varint */
            stream_record_t *record = stream_add(s, field.tag == PART(2) ? POSITION : ASSET);
            const uint8_t *q = field.data;
            if (!record) return 0;
            EACH_FIELD(s, q, field.end, inner) {
                if (inner.tag == NUMBER(1)) record->market = (uint32_t)inner.value;
                else if (inner.tag == NUMBER(2)) record->quantums = inner.value;
            }
            break;
        }
        case NUMBER(4): update->snapshot = field.value != 0; break;
        default: break;
        }
    }
    return 1;
}

static int scan_price(stream_t *s, const uint8_t *p, const uint8_t *end, stream_update_t *update) {
    stream_record_t *record = &s->records[update->first];
    EACH_FIELD(s, p, end, field) {
        switch (field.tag) {
        case NUMBER(1): record->market = (uint32_t)field.value; break;
        case PART(2): {
            const uint8_t *q = field.data;
            EACH_FIELD(s, q, field.end, inner) {
                switch (inner.tag) {
                case NUMBER(1): record->price_id = (uint32_t)inner.value; break;
                case NUMBER(2): record->exponent = wire_zigzag32(inner.value); break;
                case NUMBER(3): record->subticks = inner.value; break;
                default: break;
                }
            }
            break;
        }
        case NUMBER(3): update->snapshot = field.value != 0; break;
        default: break;
        }
    }
    return 1;
}

/* -- the whole */

/* Another body than before drops what that one listed; the same one again adds to it. */
static int open_body(stream_t *s, stream_update_t *update, uint32_t body) {
    static const uint8_t leading[] = {[UPDATE_FILL] = MATCH,
                                      [UPDATE_TAKER] = TAKER,
                                      [UPDATE_SUBACCOUNT] = SUBACCOUNT,
                                      [UPDATE_PRICE] = PRICE};
    if (update->body == body) return 1;
    update->body = body;
    update->snapshot = 0;
    s->count = update->first;
    s->amount_count = 0;
    return leading[body] == RECORD_NOTHING || stream_add(s, leading[body]) != NULL;
}

static int scan_update(stream_t *s, const uint8_t *p, const uint8_t *end) {
    stream_update_t *update;
    if (!stream_grow(s, (void **)&s->updates, &s->update_room, s->update_count, sizeof *s->updates)) return 0;
    update = &s->updates[s->update_count++];
    memset(update, 0, sizeof *update);
    update->first = s->count;
    s->amount_count = 0;
    EACH_FIELD(s, p, end, field) {
        const uint32_t body = field.tag >> 3;
        int done;
        if ((field.tag & 7) != WIRE_BYTES || body < UPDATE_ORDER_BOOK || body > UPDATE_PRICE) {
            if (field.tag == NUMBER(1)) update->block_height = (uint32_t)field.value;
            else if (field.tag == NUMBER(2)) update->exec_mode = (uint32_t)field.value;
            continue;
        }
        if (!open_body(s, update, body)) return 0;
        switch (body) {
        case UPDATE_ORDER_BOOK: done = scan_order_book(s, field.data, field.end, update); break;
        case UPDATE_FILL: done = scan_order_fill(s, field.data, field.end, update->first); break;
        case UPDATE_TAKER:
            done = scan_taker_order(s, field.data, field.end, &s->records[update->first]);
            break;
        case UPDATE_SUBACCOUNT: done = scan_subaccount(s, field.data, field.end, update); break;
        default: done = scan_price(s, field.data, field.end, update); break;
        }
        if (!done) return 0;
    }
    update->count = s->count - update->first;
    return update->body != UPDATE_FILL || pair_amounts(s, update, end);
}

/* Scans one response. 1: records and updates hold all of it; 0: `refusal` says why not, and there are none. */
static inline int stream_scan(stream_t *s, const uint8_t *data, size_t length) {
    const uint8_t *p = data, *end = data + length;
    s->refusal.status = WIRE_OK;
    s->start = data;
    s->count = s->update_count = s->amount_count = 0;
    while (p < end) {
        wire_field_t field;
        if (!(p = wire_field(&s->refusal, p, end, &field)) ||
            (field.tag == PART(1) && !scan_update(s, field.data, field.end))) {
            s->count = s->update_count = 0;
            return 0;
        }
    }
    return 1;
}

#endif
