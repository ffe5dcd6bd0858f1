# Accounts of an indexed book.  Not part of the struct ABI.

from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.indexed_memory cimport IndexedMemory


cdef class IndexedAccounts(IndexedMemory):
    cdef void set_source(self, uint32_t slot, int64_t height, uint32_t basis) noexcept
    cdef uint32_t open(self, tuple name, int64_t height, uint32_t basis) except? 0xffffffff
    cdef void set_position(self, uint32_t slot, uint32_t market, int64_t quantums, int64_t funding_index) noexcept
    cdef void close_positions(self, uint32_t slot) noexcept
    cdef bint settle_inside(self, uint32_t slot, object usdc) except -1
    cdef int leave(self, uint32_t slot, object usdc, object rows) except -1
    cdef int write(self, uint32_t slot, object usdc, list rows, bint beyond) except -1
