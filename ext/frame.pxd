"""Indexer frames for Cython callers: bytes to C records, no GIL needed, nothing allocated.

    if scanner.scan(data, length) == FRAME_OK:
        header = &scanner.c.header
        for i in range(header.records): record = &scanner.c.records[i]

Hazards: header and records are those of the last frame, hold only after FRAME_OK and until the next call.
`*_offset` count bytes from `data`, which has to be kept for as long as they are used. One thread at a time.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef extern from "dydx_perf/ext/frame.h" nogil:
    enum:
        FRAME_NO_MARKET
        FRAME_MAX_LENGTH

    ctypedef enum frame_status_t:
        FRAME_OK
        FRAME_HANDED_OVER     # a full parser has to read it

    ctypedef enum frame_channel_t:
        FRAME_MARKETS
        FRAME_ORDERBOOK
        FRAME_TRADES
        FRAME_SUBACCOUNTS
        FRAME_PARENT_SUBACCOUNTS
        FRAME_BLOCK_HEIGHT
        FRAME_NO_CHANNEL

    ctypedef enum frame_kind_t:
        FRAME_ORACLE          # market, name, number, price, height, text
        FRAME_LEVEL           # market, side bid or ask, price, size: 0 takes the level away
        FRAME_TRADE           # market, name (its id), side of the taker, status, price, size, text
        FRAME_POSITION        # market, name, side, status, number, size (signed), height, text
        FRAME_ASSET           # name, side, number, size (signed), height, text: USDC only
        FRAME_BLOCK           # height

    ctypedef enum frame_side_t:
        FRAME_NO_SIDE
        FRAME_BID
        FRAME_ASK
        FRAME_BUY
        FRAME_SELL
        FRAME_LONG
        FRAME_SHORT

    ctypedef enum frame_row_status_t:
        FRAME_NO_STATUS
        FRAME_OPEN            # of a position
        FRAME_CLOSED
        FRAME_LIQUIDATED_POSITION
        FRAME_LIMIT           # type of a trade
        FRAME_LIQUIDATED
        FRAME_DELEVERAGED
        FRAME_TWAP_SUBORDER

    enum:                     # bits of header.also: what else stood in the contents
        FRAME_ALSO_ORDERS
        FRAME_ALSO_FILLS
        FRAME_ALSO_TRANSFERS
        FRAME_ALSO_REWARD
        FRAME_ALSO_OTHER      # keys that are not known
        FRAME_ALSO_UNKNOWN_MARKET  # an oracle price of a pair that is not registered

    ctypedef struct frame_record_t:
        int64_t price         # in 10**price_exponent USDC, above 0; 0: it has none
        int64_t size          # base quantums, of a position signed; of an asset quote quantums, a debt below 0
        int64_t height        # block of the event; -1: it says none
        uint32_t market       # as registered; FRAME_NO_MARKET: asset, block, oracle price of an unknown pair
        int32_t number        # oracle: id of the price's market; position, asset: subaccount number; -1: none
        uint32_t element      # which of the contents it stood in
        uint32_t name_offset  # ticker of an oracle price or position, symbol of an asset, id of a trade
        uint32_t name_length
        uint32_t text_offset  # position, asset, trade: the row's own JSON; oracle: the price as written
        uint32_t text_length
        uint8_t kind          # frame_kind_t
        uint8_t side          # frame_side_t
        uint8_t status        # frame_row_status_t

    ctypedef struct frame_header_t:
        int64_t message_id
        int64_t block_height       # highest that the contents name as theirs; -1: none
        int32_t subaccount_number  # of the frame itself, on v4_parent_subaccounts; -1: none
        uint32_t market            # that the id names, on v4_orderbook and v4_trades; else FRAME_NO_MARKET
        uint32_t records
        uint32_t elements          # of the contents; 1 where it is no batch
        uint32_t id_offset
        uint32_t id_length         # 0: it has none
        uint32_t version_offset
        uint32_t version_length
        uint32_t also              # FRAME_ALSO_*
        uint8_t channel            # frame_channel_t
        uint8_t batched

    ctypedef struct frame_market_t:
        uint32_t hash
        uint32_t market
        uint32_t name_offset
        uint32_t name_length
        int32_t price_scale
        int32_t size_scale

    ctypedef struct frame_scanner_t:
        frame_header_t header
        frame_record_t *records
        uint32_t capacity
        frame_market_t *markets
        uint32_t market_mask
        const char *names


cdef class FrameScanner:
    cdef frame_scanner_t c
    cdef readonly dict scales           # ticker -> (market, price_exponent, atomic_resolution)
    cdef bytes names                    # of all markets, one after the other
    cdef bytes last                     # what Python read last, for `records`

    cdef int scan(self, const char *data, size_t length) noexcept nogil  # FRAME_OK or FRAME_HANDED_OVER
    cdef int scan_object(self, object frame) except -1  # the same of bytes, bytearray, memoryview or str
    cdef int place_markets(self, dict scales) except -1
    cdef str text(self, uint32_t offset, uint32_t length)
    cdef tuple record(self, uint32_t place)
