# Hash of a name on the wire, for tables of our own that nobody else fills.  Not part of the struct ABI.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint32_t hash_text(const char *text, size_t length, uint32_t salt) noexcept nogil:
    """Hash of a text and a number beside it, eight bytes at a time."""
    cdef uint64_t hashed = length ^ (<uint64_t>salt << 32)
    cdef uint64_t word = 0
    while length >= 8:
        memcpy(&word, text, 8)
        hashed = (hashed ^ word) * <uint64_t>0x9e3779b97f4a7c15
        hashed ^= hashed >> 32
        text += 8
        length -= 8
    word = 0
    memcpy(&word, text, length)
    hashed = (hashed ^ word) * <uint64_t>0x9e3779b97f4a7c15
    return <uint32_t>(hashed >> 32)
