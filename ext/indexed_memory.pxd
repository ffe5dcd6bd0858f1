# Memory of an indexed book.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.indexed_rows cimport indexed_t
from dydx_perf.ext.names cimport NameTable


cdef class IndexedMemory(AccountStore):
    cdef indexed_t b
    cdef void *arena
    cdef readonly size_t nbytes
    cdef readonly NameTable names
    cdef dict outside                # slot -> (usdc, rows), or None where the face knows the inputs
    cdef set wide                    # slots of inside accounts that 128 bits did not hold when last looked at
    cdef dict extra                  # slot -> {market: (quote balance, custom_imf_ppm)}
    cdef set watched                 # slots that have thresholds
    cdef bint moved                  # a price or a fraction changed since the index was last brought in step

    cdef int64_t quote_balances(self, uint32_t slot) except? -1
    cdef object usdc_of(self, uint32_t slot)
    cdef list rows_of(self, uint32_t slot)
