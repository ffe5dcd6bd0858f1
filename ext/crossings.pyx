"""What one call of a book reports: edges in flat memory, and an object of each when somebody reads it.

A crash may move a hundred thousand accounts across their line in one call, and an object takes microseconds. So the
edges are kept as they were found. Names and figures stay with the book as long as the book stays as it is, and are
copied before its next change, if the crossings are still held then: what is read is always the state after the call.

Hazards: holding the crossings of a call over the next change makes that change copy them, 0.1 us each. Arrays are
views and keep the crossings' memory alive.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_WRITABLE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.number cimport PyNumber_AsSsize_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from collections.abc import Sequence

from dydx_perf.errors import CapacityError

from dydx_perf.ext.account cimport Risk
from dydx_perf.ext.crossing cimport Crossing

cdef enum:
    FIRST_ROOM = 8        # edges
    SIEVE_BITS = 16       # of the accounts that are looked for
    MOST_SPARE = 1 << 17  # edges: 4 MB are kept for the next call, more are given back to the system

#: fields of the array `edges`, and where they lie in an edge_t
FIELDS = {
    "names": ("handle", "numerator", "denominator", "below"),
    "formats": ("i8", "i8", "i8", "?"),
    "offsets": (0, 8, 16, 24),
    "itemsize": sizeof(edge_t),
}


cdef class CrossingSource:
    """What knows the accounts of a call's edges, and keeps room for them from call to call.

    Fresh memory comes page by page, each cleared by the system: for tens of thousands of edges that takes longer than
    to find them.
    """

    def __dealloc__(self):
        PyMem_RawFree(self.spare)

    cdef void keep_spare(self, edge_t *room, Py_ssize_t edges) noexcept:
        """Take over the memory of edges that nobody holds any more."""
        if edges > MOST_SPARE or edges <= self.spare_room:
            PyMem_RawFree(room)
            return
        PyMem_RawFree(self.spare)
        self.spare = room
        self.spare_room = edges

    cdef tuple name_at(self, uint32_t slot):
        return None

    cdef bint read_figures(self, uint32_t slot, figures_t *out) noexcept:
        return False

    cdef object copied_names(self, const edge_t *edges, Py_ssize_t count):
        return None


@cython.final
@cython.no_gc_clear  # __dealloc__ needs the source
cdef class Crossings:
    """The crossings of one call, in the order they were found: a sequence that is read like a list of them.

    Each time one is read, a Crossing is made. It equals a list of equal crossings, and is pickled as a list.
    """

    def __cinit__(self):
        self.found = NULL
        self.figures = NULL

    def __init__(self):
        if type(self) is Crossings:
            raise TypeError("Crossings come from a Book")

    def __dealloc__(self):
        if self.source is not None and self.source.open_crossings == <void *>self:
            self.source.open_crossings = NULL
        if self.source is not None:
            self.source.keep_spare(self.found, self.room)
        else:
            PyMem_RawFree(self.found)
        PyMem_RawFree(self.figures)

    # -- by the store

    cdef int append(self, const edge_t *edge, Crossing made) except -1:
        """Take in one more edge; `made` where its figures are not the source's to read later."""
        cdef Py_ssize_t room
        cdef edge_t *found
        if self.room == 0 and self.source.spare != NULL:
            self.found, self.room = self.source.spare, self.source.spare_room
            self.source.spare, self.source.spare_room = NULL, 0
        if self.length == self.room:
            room = 2 * self.room if self.room else <Py_ssize_t>FIRST_ROOM
            found = <edge_t *>PyMem_RawRealloc(self.found, room * sizeof(edge_t))
            if found == NULL:
                raise CapacityError(f"no memory for {room} crossings")
            self.found = found
            self.room = room
        if made is not None:
            if self.made is None:
                self.made = {}
            self.made[self.length] = made
        self.found[self.length] = edge[0]
        self.length += 1
        return 0

    cdef int keep(self) except -1:
        """Copy what is still read from the source, which is about to change."""
        cdef figures_t *figures
        cdef Py_ssize_t i
        if self.source is None:
            return 0
        figures = <figures_t *>PyMem_RawMalloc(self.length * sizeof(figures_t))
        if figures == NULL:
            raise CapacityError(f"no memory for the figures of {self.length} crossings that are still held")
        memset(figures, 0, self.length * sizeof(figures_t))
        try:
            self.names = self.source.copied_names(self.found, self.length)
        except BaseException:
            PyMem_RawFree(figures)
            raise
        for i in range(self.length):  # of those that are made nobody asks
            self.source.read_figures(<uint32_t>(self.found[i].handle & 0xffffffff), &figures[i])
        self.figures = figures
        self.source.open_crossings = NULL
        self.source = None
        return 0

    cdef int make_all(self) except -1:
        """Make every object now: of edges that were found before a change that did not come to its end."""
        cdef Py_ssize_t i
        for i in range(self.length):
            if self.made is None:
                self.made = {}
            self.made[i] = self.crossing(i)
        return 0

    cdef Crossing crossing(self, Py_ssize_t place):
        """The object of one edge."""
        cdef const edge_t *edge = &self.found[place]
        cdef uint32_t slot = <uint32_t>(edge.handle & 0xffffffff)
        cdef figures_t figures
        cdef Crossing crossing
        cdef Risk risk
        if self.made is not None and place in self.made:
            return self.made[place]
        crossing = Crossing.__new__(Crossing)
        if self.source is None:
            figures = self.figures[place]
            crossing.address, crossing.number = self.names[place]
        elif self.source.read_figures(slot, &figures):
            crossing.address, crossing.number = self.source.name_at(slot)
        else:
            raise SystemError("the figures of a crossing are nowhere")
        crossing.handle = edge.handle
        crossing.threshold = (edge.numerator, edge.denominator) if edge.numerator else None
        crossing.below = edge.below
        risk = Risk.__new__(Risk)
        risk.c = figures.risk
        risk.block_height = figures.height
        risk.basis_code = figures.basis
        risk.time = self.time
        crossing.risk = risk
        return crossing

    # -- as a list

    def __len__(self):
        return self.length

    def __getitem__(self, place):
        cdef Py_ssize_t i
        if isinstance(place, slice):
            return [self.crossing(i) for i in range(*place.indices(self.length))]
        i = PyNumber_AsSsize_t(place, IndexError)
        if i < 0:
            i += self.length
        if not 0 <= i < self.length:
            raise IndexError(f"crossing {place} of {self.length}")
        return self.crossing(i)

    def __iter__(self):
        cdef Py_ssize_t i
        for i in range(self.length):
            yield self.crossing(i)

    def __contains__(self, crossing):
        return any([crossing == one for one in self])

    def index(self, crossing, start=0, stop=None):
        """Place of the first one that equals `crossing`."""
        return list(self).index(crossing, start, self.length if stop is None else stop)

    def count(self, crossing):
        """How many equal `crossing`."""
        return list(self).count(crossing)

    def __eq__(self, other):
        if not isinstance(other, (list, Crossings)):
            return NotImplemented
        return len(self) == len(other) and all([one == another for one, another in zip(self, other)])

    __hash__ = None

    def __repr__(self):
        return repr(list(self))

    def __reduce__(self):
        return list, (list(self),)

    # -- without objects

    def among(self, handles, /):
        """Those of the accounts in a dict or set of handles, as a list; the others are not made.

        The smaller of the two is walked through with Python objects.
        """
        cdef uint64_t sieve[1 << (SIEVE_BITS - 6)]
        cdef bint sifted = self.length > len(handles)
        cdef uint32_t low
        cdef Py_ssize_t i
        cdef list found = []
        if sifted:
            memset(sieve, 0, sizeof(sieve))
            for handle in handles:
                low = <uint32_t>(<int64_t>handle & ((1 << SIEVE_BITS) - 1))
                sieve[low >> 6] |= <uint64_t>1 << (low & 63)
        for i in range(self.length):
            low = <uint32_t>(self.found[i].handle & ((1 << SIEVE_BITS) - 1))
            if (not sifted or (sieve[low >> 6] >> (low & 63)) & 1) and self.found[i].handle in handles:
                found.append(self.crossing(i))
        return found

    @property
    def edges(self):
        """Array of one row an edge: handle, numerator and denominator of the threshold (0 for the chain's own
        rule), below. A view that cannot be written to.
        """
        import numpy

        dtype = numpy.dtype(FIELDS)
        return numpy.frombuffer(self, dtype) if self.length else numpy.zeros(0, dtype)

    @property
    def handles(self):
        """int64 array of the accounts' handles, one an edge; a view."""
        return self.edges["handle"]

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("crossings are read only")
        self.shape[0] = self.length * <Py_ssize_t>sizeof(edge_t)
        self.strides[0] = 1
        buffer.buf = self.found
        buffer.obj = self
        buffer.len = self.shape[0]
        buffer.readonly = 1
        buffer.itemsize = 1
        buffer.format = NULL
        if flags & PyBUF_FORMAT:
            buffer.format = "B"
        buffer.ndim = 1
        buffer.shape = self.shape
        buffer.strides = self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL


Sequence.register(Crossings)
