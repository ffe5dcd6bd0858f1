/* What a frame of the indexer becomes: a header, flat records, and the scanner's memory around them.
 *
 * Header and records stand only when the whole frame was read; until then they hold nothing.
 */
#ifndef DYDX_PERF_FRAME_RECORDS_H
#define DYDX_PERF_FRAME_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_NO_MARKET 0xffffffffu
#define FRAME_MAX_LENGTH (64u << 20) /* places are 32 bits */

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

#endif
