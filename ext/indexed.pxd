# The indexed book's store.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.fixed cimport i128
from dydx_perf.ext.indexed_memory cimport IndexedMemory
from dydx_perf.ext.structs cimport market_t


cdef class IndexedStore(IndexedMemory):
    cdef int catch_up(self) except -1
    cdef int leave_market(self, uint32_t market) except -1
    cdef int come_back(self) except -1
    cdef int settle_holders(self, size_t first, bint everybody, dict leaving) except -1
    cdef int settle_market(self, uint32_t market, int64_t funding_index, dict leaving) except -1
    cdef int settle_all(self, dict leaving) except -1
    cdef int settle_row(self, uint32_t head, i128 before, i128 after, dict leaving) except -1
    cdef int take_market(self, uint32_t market, const market_t *changed) except -1
    cdef int ask(self) except -1
    cdef void set_source(self, uint32_t slot, int64_t height, uint32_t basis) noexcept
    cdef int decide(self, uint32_t slot) except -1
    cdef int report(self, uint32_t slot) except -1
    cdef uint32_t open(self, tuple name, int64_t height, uint32_t basis) except? 0xffffffff
    cdef void set_position(self, uint32_t slot, uint32_t market, int64_t quantums, int64_t funding_index) noexcept
    cdef void close_positions(self, uint32_t slot) noexcept
    cdef bint settle_inside(self, uint32_t slot, object usdc) except -1
    cdef int leave(self, uint32_t slot, object usdc, object rows) except -1
    cdef int write(self, uint32_t slot, object usdc, list rows, bint beyond) except -1
