# The object door: a table of markets, an account on it, and the frozen risk that comes out.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.structs cimport market_t, position_t, risk_t, status_t


# What of a market comes from somewhere, with a height and a basis of its own.
cdef enum:
    INPUT_ORACLE_PRICE = 0
    INPUT_FUNDING_INDEX = 1
    INPUT_OPEN_INTEREST = 2
    INPUT_LIQUIDITY_TIER = 3
    INPUTS = 4

# Where a market's inputs are from, and when its row changed. The lowest height and the weakest basis stand in the
# row itself.
cdef struct origin_t:
    int64_t height[INPUTS]          # -1: not known
    uint32_t basis[INPUTS]
    uint64_t changed                # version of the table that the last change of the row made
    uint64_t moved                  # the last one by `put`, past the market's Python object; 0: never
    size_t older                    # row that changed before this one; NO_ROW
    size_t newer

cdef enum:
    NO_ROW = 0xffffffff


cdef class MarketTable:
    cdef market_t *rows
    cdef origin_t *origins          # beside the rows
    cdef size_t newest              # row that changed last, the start of the list by age; NO_ROW
    cdef size_t count
    cdef size_t capacity
    cdef uint64_t version           # grows with every change of any row
    cdef int64_t block_height       # block of the newest state; -1: not known
    cdef readonly object time       # when that block was made; None: not known

    cdef size_t checked(self, object index) except? 0
    cdef void touch(self, size_t index) noexcept
    cdef void derive_source(self, size_t index) noexcept
    cdef status_t try_price(self, size_t index, uint64_t price, market_t *out) noexcept
    cdef status_t try_funding_index(self, size_t index, int64_t funding_index, market_t *out) noexcept
    cdef status_t try_open_interest(self, size_t index, int64_t open_interest, market_t *out) noexcept
    cdef void put(self, size_t index, const market_t *changed, int what, int64_t height, uint32_t basis) noexcept


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
