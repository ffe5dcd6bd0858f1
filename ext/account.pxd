# The object door: a table of markets, an account on it, and the frozen risk that comes out.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.structs cimport market_t, position_t, risk_t


cdef class MarketTable:
    cdef market_t *rows
    cdef size_t count
    cdef size_t capacity
    cdef uint64_t version           # grows with every change of any row
    cdef int64_t block_height       # block of the newest state; -1: not known
    cdef readonly object time       # when that block was made; None: not known

    cdef size_t checked(self, object index) except? 0


cdef class Risk:
    cdef risk_t c
    cdef object integers            # (nc, imr, mmr) where 128 bits do not hold them, else None
    cdef int64_t block_height       # of the oldest input; -1: not known
    cdef uint32_t basis_code
    cdef readonly object time


cdef class OraclePrice:
    cdef readonly uint64_t integer
    cdef readonly int32_t exponent  # USDC for one coin = integer * 10**exponent


cdef class Account:
    cdef readonly MarketTable table
    cdef dict row_of                # name of a market -> row of its position; not shown: it is trusted
    cdef position_t *rows
    cdef size_t count
    cdef int64_t usdc_quantums
    cdef bint wide                  # an amount does not fit the C fields: plain integers only
    cdef uint64_t version
    cdef uint64_t seen_table_version
    cdef uint64_t seen_version
    cdef Risk cached
    cdef int64_t own_height
    cdef uint32_t own_basis

    cdef Risk compute(self)
