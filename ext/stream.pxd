"""A node's messages -> C records, for Cython callers: `stream_scan` needs no GIL; see stream.h for the fields."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "dydx_perf/ext/protobuf.h" nogil:
    ctypedef enum wire_status_t:
        WIRE_OK
        WIRE_NO_MEMORY
        WIRE_TOO_MANY

    ctypedef struct wire_refusal_t:
        wire_status_t status
        const uint8_t *at

    ctypedef enum integer_bytes_t:
        INTEGER_FITS       # *out is written
        INTEGER_WIDE       # past int64
        INTEGER_MALFORMED  # the first byte is neither 02 nor 03

    integer_bytes_t wire_integer(const uint8_t *p, const uint8_t *end, int64_t *out) noexcept


cdef extern from "dydx_perf/ext/stream.h" nogil:
    enum:
        RECORD_NOTHING
        RECORD_PLACE "ORDER_PLACE"
        RECORD_REMOVE "ORDER_REMOVE"
        RECORD_UPDATE "ORDER_UPDATE"
        RECORD_REPLACE "ORDER_REPLACE"
        RECORD_MATCH "MATCH"
        RECORD_FILL "FILL"
        RECORD_STATE "ORDER_STATE"
        RECORD_TAKER "TAKER"
        RECORD_SUBACCOUNT "SUBACCOUNT"
        RECORD_POSITION "POSITION"
        RECORD_ASSET "ASSET"
        RECORD_PRICE "PRICE"
        TRIED_LIQUIDATION "MATCH_LIQUIDATION"
        UPDATE_ORDER_BOOK
        UPDATE_FILL
        UPDATE_TAKER
        UPDATE_SUBACCOUNT
        UPDATE_PRICE

    ctypedef struct stream_key_t:
        uint32_t owner_at, owner_length
        uint32_t number
        uint32_t client_id
        uint32_t order_flags
        uint32_t clob_pair_id

    ctypedef struct stream_record_t:
        stream_key_t key
        stream_key_t other
        uint64_t quantums
        uint64_t subticks
        uint64_t amount
        uint64_t optimistic
        uint32_t kind
        uint32_t update
        uint32_t market
        uint32_t price_id
        int32_t exponent
        int32_t side
        int32_t status
        int32_t reason
        uint32_t good_til
        int32_t time_in_force
        uint8_t is_good_til_time
        uint8_t reduce_only
        uint8_t is_final_settlement
        uint8_t match

    ctypedef struct stream_update_t:
        uint32_t block_height
        uint32_t exec_mode
        uint32_t body
        uint32_t snapshot
        size_t first, count

    ctypedef struct stream_t:
        wire_refusal_t refusal
        const uint8_t *start
        stream_record_t *records
        size_t count, room, most
        stream_update_t *updates
        size_t update_count, update_room
        uint64_t *amounts

    bint stream_scan(stream_t *s, const uint8_t *data, size_t length) noexcept


cdef class StreamScanner:
    cdef stream_t s
    cdef Py_buffer view
    cdef bint held
    cdef readonly size_t max_bytes

    cpdef release(self)
    cdef str address(self, const stream_key_t *key)
    cdef tuple key(self, const stream_key_t *key)
    cdef tuple record(self, const stream_record_t *record)
