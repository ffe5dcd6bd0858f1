# What the stores of many accounts have in common.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from dydx_perf.ext.account cimport MarketTable, Risk
from dydx_perf.ext.crossings cimport Crossings, CrossingSource
from dydx_perf.ext.structs cimport position_t, risk_t


cdef class AccountStore(CrossingSource):
    cdef readonly MarketTable table
    cdef readonly object exact       # (name, usdc, positions, beyond) -> (nc, imr, mmr)
    cdef Crossings pending           # found and not yet returned; None
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
    cdef uint32_t *first_threshold   # per slot; NOWHERE
    cdef int64_t *numerator
    cdef int64_t *denominator
    cdef uint32_t *next_threshold
    cdef uint8_t *below              # as last reported

    # what each kind of store does in its own way
    cdef uint32_t fresh_slots(self) noexcept                      # slots that were ever used are below
    cdef bint is_used(self, uint32_t slot) noexcept
    cdef uint32_t generation_at(self, uint32_t slot) noexcept
    cdef uint32_t slot_named(self, object name) except? 0xffffffff   # NOWHERE: there is none
    cdef bint read_risk(self, uint32_t slot, risk_t *out) noexcept   # False: only risk_at tells
    cdef Risk risk_at(self, uint32_t slot)
    cdef void mark_watched(self, uint32_t slot, bint watched) noexcept
    cdef int settle(self) except -1                               # decide anew, note the crossings in `pending`

    # for what changes numbers only, and an account of which the columns hold all
    cdef bint is_plain(self, uint32_t slot) noexcept
    cdef int64_t held_quantums(self, uint32_t slot, uint32_t market) noexcept   # 0: none
    cdef int resize(
        self, uint32_t slot, const int64_t *usdc, const position_t *given, size_t count, int64_t height,
        uint32_t basis
    ) except -1

    cdef void place_thresholds(self, char *arena) noexcept
    cdef int require_fresh(self) except -1
    cdef uint32_t slot_of(self, object account) except? 0xffffffff
    cdef bint is_plain_integers(self, uint32_t slot) noexcept     # its figures are to be made at once
    cdef int note(self, uint32_t slot, int64_t numerator, int64_t denominator, bint below) except -1
    cdef int keep_crossings(self) except -1
    cdef Crossings take_pending(self)
    cdef object tell_pending(self, object observers)
    cdef int report_thresholds(self, uint32_t slot) except -1
    cdef void drop_threshold(self, uint32_t slot, uint32_t threshold) noexcept

cdef uint32_t checked_thresholds(object max_thresholds) except? 0xffffffff
cdef size_t threshold_bytes(uint32_t max_thresholds) noexcept
