# The book's objects.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.book_columns cimport COLUMNS, column_t
from dydx_perf.ext.book_rows cimport book_t


cdef class BookStore(AccountStore):
    cdef book_t c
    cdef void *arena
    cdef column_t columns[COLUMNS]
    cdef readonly size_t nbytes
    cdef dict wide                   # slot -> Risk of an ACCOUNT_WIDE
    cdef readonly dict slots         # (address, number) -> slot
    cdef readonly list names         # slot -> (address, number), None

    cdef void place_columns(self, char *arena) noexcept
    cdef void catch_up(self) noexcept
    cdef int report(self, uint32_t slot) except -1
    cdef void read_source(self, uint32_t slot, int64_t *oldest, uint32_t *weakest) noexcept
    cdef int write(
        self, uint32_t slot, object usdc, list rows, int64_t height, uint32_t basis, bint beyond
    ) except -1
    cdef uint32_t open(self, tuple name, int64_t height, uint32_t basis) except? 0xffffffff
