# One edge of one account.  Not part of the struct ABI.

from dydx_perf.ext.account cimport Risk


cdef class Crossing:
    cdef readonly object handle
    cdef readonly object address
    cdef readonly object number
    cdef readonly object threshold   # None: the chain's rule; (numerator, denominator)
    cdef readonly bint below
    cdef readonly Risk risk
