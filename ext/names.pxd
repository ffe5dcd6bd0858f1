# Names of many accounts in fixed memory: 32 bytes each, and a hash table.  Not part of the struct ABI.

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    NAME_BYTES = 28

# An address of dYdX (dydx1 and 38 characters of bech32) takes 24 bytes, five bits a character; any other of up to
# 27 ASCII characters stands as it is; what is longer is kept as a Python object, and `bytes` says so.
cdef struct name_t:
    uint8_t bytes[NAME_BYTES]   # [0]: how the rest is to be read, see names.pyx
    uint32_t number


cdef class NameTable:
    cdef name_t *names           # by slot; of a free slot all zero
    cdef uint32_t *buckets       # slot + 1; 0: free
    cdef readonly uint32_t capacity
    cdef uint32_t mask
    cdef uint32_t count
    cdef dict long_slots         # (address, number) -> slot, of long addresses
    cdef dict long_names         # slot -> (address, number)

    cdef uint32_t find(self, object name) except? 0xfffffffe
    cdef int put(self, uint32_t slot, tuple name) except -1
    cdef int drop(self, uint32_t slot) except -1
    cdef tuple name(self, uint32_t slot)
    cdef uint32_t bucket_of(self, const name_t *name) noexcept


cdef class NameCopies:
    cdef name_t *names
    cdef Py_ssize_t length
    cdef dict long_names         # place -> (address, number)

    cdef int put(self, Py_ssize_t place, NameTable table, uint32_t slot) except -1
