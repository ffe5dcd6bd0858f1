# Frames that change numbers only, from bytes to the book without a Python object.  Not part of the struct ABI.
#
# (a) A frame is taken whole or not at all: everything is checked before anything is changed, and what is not plain
#     is left to the caller, with nothing changed and nothing noted.
# (b) Only the next message of the connection is taken; any other number is the caller's to judge.
# (c) Oracle prices of one block are one change of the book, and so is each element of an account's frame: who
#     crosses a line between two of them is told.
# (d) Of an account only its balance and sizes of positions that it has change here. What opens, closes or turns a
#     position is the caller's.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from dydx_perf.ext.feed_lines cimport FeedLines, line_t
from dydx_perf.ext.frame cimport frame_header_t, frame_record_t
from dydx_perf.ext.structs cimport market_t, position_t

cdef enum:
    MAX_RECORDS = 1024        # of a frame that is taken here


cdef class HotFeed(FeedLines):
    cdef readonly object observers     # (crossings) -> errors of observers
    cdef public int64_t message_id     # the newest of the connection; -1: none
    cdef public double heard_at        # when the newest frame that was taken here came
    cdef public double deadline        # from then on the caller takes every frame
    cdef public int64_t block_height   # newest on v4_block_height that was taken here; -1: none
    cdef readonly uint64_t frames      # taken here
    cdef readonly uint64_t handed_over
    cdef uint64_t looked_at            # frames; tells one from the next
    # room for what one frame says
    cdef market_t *prepared
    cdef int64_t *level_prices
    cdef position_t positions[MAX_RECORDS]

    cdef uint32_t find_line(self, const frame_header_t *header, const char *data) noexcept
    cdef bint check_prices(self, const frame_header_t *header, const frame_record_t *records) noexcept
    cdef bint check_levels(self, const frame_header_t *header, const frame_record_t *records) noexcept
    cdef uint32_t check_account(
        self, const frame_header_t *header, const frame_record_t *records, const char *data, const line_t *line
    ) noexcept
    cdef int put_prices(self, const frame_header_t *header, const frame_record_t *records, double now) except -1
    cdef void put_levels(self, const frame_header_t *header, const frame_record_t *records, double now) noexcept
    cdef int put_account(
        self, const frame_header_t *header, const frame_record_t *records, uint32_t place, double now
    ) except -1
    cdef int keep(
        self, const frame_header_t *header, const frame_record_t *records, uint32_t place, object frame
    ) except -1
    cdef object take(self, object frame, const char *data, size_t length, double now)
    cdef object change(
        self, const frame_header_t *header, const frame_record_t *records, uint32_t place, double now
    )
