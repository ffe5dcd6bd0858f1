# The indexed book's store.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.fixed cimport i128
from dydx_perf.ext.indexed_accounts cimport IndexedAccounts
from dydx_perf.ext.structs cimport market_t


cdef class IndexedStore(IndexedAccounts):
    cdef int catch_up(self) except -1
    cdef int leave_market(self, uint32_t market) except -1
    cdef int come_back(self) except -1
    cdef int settle_holders(self, size_t first, bint everybody, dict leaving) except -1
    cdef int settle_market(self, uint32_t market, int64_t funding_index, dict leaving) except -1
    cdef int settle_all(self, dict leaving) except -1
    cdef int settle_row(self, uint32_t head, i128 before, i128 after, dict leaving) except -1
    cdef int take_market(self, uint32_t market, const market_t *changed) except -1
    cdef int ask(self) except -1
    cdef int decide(self, uint32_t slot) except -1
    cdef int report(self, uint32_t slot) except -1
