"""Names of many accounts, (address, number), in fixed memory."""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from dydx_perf.errors import CapacityError

from dydx_perf.ext.book_rows cimport NOWHERE

cdef bytes CHARSET = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
cdef bytes PREFIX = b"dydx1"
cdef enum:
    PACKED = 0xff        # bytes[1:25]: 38 characters of bech32
    LONG = 0xfe          # bytes[1:5]: nothing; the table's dicts have it
    PACKED_CHARACTERS = 38
    PREFIX_CHARACTERS = 5

cdef uint8_t VALUE_OF[256]


cdef void fill_values() noexcept:
    cdef int i
    memset(VALUE_OF, 0xff, sizeof(VALUE_OF))
    for i in range(32):
        VALUE_OF[<uint8_t>CHARSET[i]] = <uint8_t>i


fill_values()


cdef bint pack(const uint8_t *text, uint8_t *out) noexcept:
    """Five bits of each of 38 characters; False where one is no bech32."""
    cdef uint32_t bits = 0, held = 0, i, place = 0
    for i in range(<uint32_t>PACKED_CHARACTERS):
        if VALUE_OF[text[i]] == 0xff:
            return False
        bits = (bits << 5) | VALUE_OF[text[i]]
        held += 5
        if held >= 8:
            held -= 8
            out[place] = <uint8_t>(bits >> held)
            place += 1
    out[place] = <uint8_t>(bits << (8 - held))
    return True


cdef bytes unpacked(const uint8_t *packed):
    cdef uint8_t text[PACKED_CHARACTERS]
    cdef const uint8_t *characters = CHARSET
    cdef uint32_t bits = 0, held = 0, i, place = 0
    for i in range(<uint32_t>PACKED_CHARACTERS):
        if held < 5:
            bits = (bits << 8) | packed[place]
            place += 1
            held += 8
        held -= 5
        text[i] = characters[(bits >> held) & 31]
    return PREFIX + text[:PACKED_CHARACTERS]


cdef bint encode(object name, name_t *out) except -1:
    """Write a name of (str, int); False where it takes a Python object, or is none."""
    cdef bytes text
    cdef Py_ssize_t length
    memset(out, 0, sizeof(name_t))
    if not isinstance(name, tuple) or len(name) != 2:
        return False
    address, number = name
    if not isinstance(address, str) or not isinstance(number, int) or not 0 <= number < (1 << 32):
        return False
    if not (<str>address).isascii():
        return False
    text = (<str>address).encode("ascii")
    length = len(text)
    out.number = number
    if length == PREFIX_CHARACTERS + PACKED_CHARACTERS and text.startswith(PREFIX) and pack(
        <const uint8_t *>text + PREFIX_CHARACTERS, &out.bytes[1]
    ):
        out.bytes[0] = PACKED
        return True
    if not 0 < length < NAME_BYTES:
        return False
    memset(out.bytes, 0, NAME_BYTES)
    out.bytes[0] = <uint8_t>length
    memcpy(&out.bytes[1], <const char *>text, length)
    return True


cdef tuple decoded(const name_t *name):
    """(address, number) of what is not kept as an object; None of nothing."""
    cdef bytes text
    if name.bytes[0] == 0:
        return None
    if name.bytes[0] == PACKED:
        text = unpacked(&name.bytes[1])
    else:
        text = (<const char *>&name.bytes[1])[:name.bytes[0]]
    return text.decode("ascii"), name.number


cdef extern from *:
    """
    #define DP_HASH_SEED 0x9e3779b97f4a7c15ull
    #define DP_HASH_FACTOR 0xff51afd7ed558ccdull
    """
    const uint64_t HASH_SEED "DP_HASH_SEED"
    const uint64_t HASH_FACTOR "DP_HASH_FACTOR"


cdef uint64_t hash_of(const name_t *name) noexcept:
    """Mix the four words of a name; each bit of it moves the low bits."""
    cdef const uint64_t *words = <const uint64_t *>name
    cdef uint64_t hashed = HASH_SEED
    cdef int i
    for i in range(4):
        hashed = (hashed ^ words[i]) * HASH_FACTOR
        hashed ^= hashed >> 32
    return hashed


cdef class NameTable:
    """Names by slot, and slots by name.

    Parameters
    ----------
    capacity : int
        Slots; each name takes 32 bytes, and its place in the hash table 8 to 16.
    """

    def __cinit__(self, uint32_t capacity):
        cdef uint32_t size = 8
        self.names = NULL
        self.buckets = NULL
        while size < 2 * <uint64_t>capacity:
            size <<= 1
        self.capacity = capacity
        self.mask = size - 1
        self.long_slots = {}
        self.long_names = {}
        self.names = <name_t *>PyMem_RawCalloc(capacity if capacity else 1, sizeof(name_t))
        self.buckets = <uint32_t *>PyMem_RawCalloc(size, sizeof(uint32_t))
        if self.names == NULL or self.buckets == NULL:
            raise CapacityError(f"no memory for {capacity} names")
        # Touched now, so that the pages are there and not promised.
        memset(self.names, 0, capacity * sizeof(name_t))
        memset(self.buckets, 0, size * sizeof(uint32_t))

    def __dealloc__(self):
        PyMem_RawFree(self.names)
        PyMem_RawFree(self.buckets)

    def __len__(self):
        return self.count

    @staticmethod
    def bytes_needed(uint32_t capacity):
        """Bytes of a table of so many slots."""
        size = 8
        while size < 2 * <uint64_t>capacity:
            size <<= 1
        return capacity * sizeof(name_t) + size * sizeof(uint32_t)

    cdef uint32_t bucket_of(self, const name_t *name) noexcept:
        """The bucket that holds a name, or the free one where it would go."""
        cdef uint32_t bucket = <uint32_t>hash_of(name) & self.mask
        while self.buckets[bucket] and memcmp(
            &self.names[self.buckets[bucket] - 1], name, sizeof(name_t)
        ) != 0:
            bucket = (bucket + 1) & self.mask
        return bucket

    cdef uint32_t find(self, object name) except? 0xfffffffe:
        """Slot of a name; NOWHERE."""
        cdef name_t encoded
        if encode(name, &encoded):
            return self.buckets[self.bucket_of(&encoded)] - <uint32_t>1
        try:
            return self.long_slots.get(name, NOWHERE)
        except TypeError:  # what cannot be hashed is no name either
            return NOWHERE

    cdef int put(self, uint32_t slot, tuple name) except -1:
        """Name a free slot; the name is not in the table yet."""
        cdef name_t encoded
        if encode(name, &encoded):
            self.buckets[self.bucket_of(&encoded)] = slot + 1
            self.names[slot] = encoded
        else:
            self.long_slots[name] = slot
            self.long_names[slot] = name
            self.names[slot].bytes[0] = LONG
        self.count += 1
        return 0

    cdef int drop(self, uint32_t slot) except -1:
        """Forget the name of a slot."""
        cdef uint32_t hole, bucket, home
        self.count -= 1
        if self.names[slot].bytes[0] == LONG:
            del self.long_slots[self.long_names.pop(slot)]
            memset(&self.names[slot], 0, sizeof(name_t))
            return 0
        hole = bucket = self.bucket_of(&self.names[slot])
        while True:  # whoever was pushed past the hole moves up into it
            bucket = (bucket + 1) & self.mask
            if not self.buckets[bucket]:
                break
            home = <uint32_t>hash_of(&self.names[self.buckets[bucket] - 1]) & self.mask
            if ((bucket - home) & self.mask) >= ((bucket - hole) & self.mask):
                self.buckets[hole] = self.buckets[bucket]
                hole = bucket
        self.buckets[hole] = 0
        memset(&self.names[slot], 0, sizeof(name_t))
        return 0

    cdef tuple name(self, uint32_t slot):
        """(address, number) of a slot; None of a free one."""
        if self.names[slot].bytes[0] == LONG:
            return self.long_names[slot]
        return decoded(&self.names[slot])

    # -- as BookStore's dict and list

    def get(self, name, default=None):
        """Slot of a name."""
        cdef uint32_t slot = self.find(name)
        return default if slot == NOWHERE else slot

    def slot(self, name):
        """Slot of a name that is in the table."""
        cdef uint32_t slot = self.find(name)
        if slot == NOWHERE:
            raise KeyError(name)
        return slot

    def __contains__(self, name):
        return self.find(name) != NOWHERE

    def __getitem__(self, int64_t slot):
        if not 0 <= slot < self.capacity:
            raise IndexError(slot)
        return self.name(<uint32_t>slot)

    def __iter__(self):
        cdef uint32_t slot
        for slot in range(self.capacity):
            if self.names[slot].bytes[0]:
                yield self.name(slot)


cdef class NameCopies:
    """Names of some slots of a table, as they were when they were copied.

    Parameters
    ----------
    length : int
    """

    def __cinit__(self, Py_ssize_t length):
        self.names = <name_t *>PyMem_RawCalloc(length if length else 1, sizeof(name_t))
        if self.names == NULL:
            raise CapacityError(f"no memory for {length} names")
        self.length = length
        self.long_names = {}

    def __dealloc__(self):
        PyMem_RawFree(self.names)

    cdef int put(self, Py_ssize_t place, NameTable table, uint32_t slot) except -1:
        """Copy the name of a slot."""
        self.names[place] = table.names[slot]
        if table.names[slot].bytes[0] == LONG:
            self.long_names[place] = table.long_names[slot]
        return 0

    def __len__(self):
        return self.length

    def __getitem__(self, Py_ssize_t place):
        if not 0 <= place < self.length:
            raise IndexError(place)
        if self.names[place].bytes[0] == LONG:
            return self.long_names[place]
        return decoded(&self.names[place])
