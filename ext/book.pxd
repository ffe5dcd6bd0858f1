# The book's objects.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from dydx_perf.ext.account cimport MarketTable, Risk
from dydx_perf.ext.book_columns cimport COLUMNS, column_t
from dydx_perf.ext.book_rows cimport book_t
from dydx_perf.ext.structs cimport risk_t


cdef class BookStore:
    cdef book_t c
    cdef void *arena
    cdef column_t columns[COLUMNS]
    cdef readonly size_t nbytes
    cdef readonly MarketTable table
    cdef readonly object exact       # (name, usdc, positions, beyond) -> (nc, imr, mmr), for ACCOUNT_WIDE
    cdef dict wide                   # slot -> Risk of an ACCOUNT_WIDE
    cdef readonly dict slots         # (address, number) -> slot
    cdef readonly list names         # slot -> (address, number), None
    cdef list pending                # crossings found and not yet returned
    cdef uint64_t seen_version       # of the table
    cdef int64_t block_height
    cdef readonly object time
    cdef readonly bint writing
    cdef uint64_t sequence           # of the changes begun
    # thresholds, by number; a free one links to the next free one
    cdef readonly uint32_t max_thresholds
    cdef uint32_t thresholds         # in use
    cdef uint32_t fresh_threshold
    cdef uint32_t free_threshold
    cdef int64_t *numerator
    cdef int64_t *denominator
    cdef uint32_t *next_threshold
    cdef uint8_t *below              # as last reported

    cdef void place_columns(self, char *arena) noexcept
    cdef int require_fresh(self) except -1
    cdef uint32_t slot_of(self, object account) except? 0xffffffff
    cdef bint read_risk(self, uint32_t slot, risk_t *out) noexcept
    cdef Risk risk_at(self, uint32_t slot)
    cdef void catch_up(self) noexcept
    cdef int settle(self) except -1
    cdef int report(self, uint32_t slot) except -1
    cdef int note(self, uint32_t slot, object threshold, bint below) except -1
    cdef int write(
        self, uint32_t slot, object usdc, list rows, int64_t height, uint32_t basis, bint beyond
    ) except -1
    cdef uint32_t open(self, tuple name, int64_t height, uint32_t basis) except? 0xffffffff
    cdef void drop_threshold(self, uint32_t slot, uint32_t threshold) noexcept
