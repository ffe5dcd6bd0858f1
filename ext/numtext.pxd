"""Decimal text -> exact integer, for Cython callers: any thread, no GIL, no allocation."""

from libc.stdint cimport int64_t


cdef extern from "dydx_perf/ext/numtext.h" nogil:
    ctypedef enum numtext_status_t:
        NUMTEXT_OK
        NUMTEXT_MALFORMED  # not [+-] digits [. digits]
        NUMTEXT_NOT_PLAIN  # exponent notation: take a full parser
        NUMTEXT_INEXACT    # non-zero digits past the scale
        NUMTEXT_TOO_LARGE  # exact, but outside int64

    # text * 10**scale; out is written only with NUMTEXT_OK
    numtext_status_t numtext_to_fixed(const char *text, size_t length, int scale, int64_t *out) noexcept
