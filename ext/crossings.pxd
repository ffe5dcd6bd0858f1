# The edges of one call, and the objects made of them when they are read.  Not part of the struct ABI.

from libc.stdint cimport int64_t, uint8_t, uint32_t

from dydx_perf.ext.crossing cimport Crossing
from dydx_perf.ext.structs cimport risk_t


# One edge of one account; also the layout of the array `Crossings.edges`.
cdef struct edge_t:
    int64_t handle         # the slot in the low 32 bits
    int64_t numerator      # of the threshold; 0: the chain's own rule
    int64_t denominator
    uint8_t below

# What a Risk is made of, but for the time.
cdef struct figures_t:
    risk_t risk
    int64_t height         # -1: not known
    uint32_t basis


cdef class CrossingSource:
    cdef void *open_crossings       # Crossings whose figures and names are still read here; NULL
    cdef edge_t *spare              # room that crossings gave back, for those of the next call; NULL
    cdef Py_ssize_t spare_room      # edges

    cdef void keep_spare(self, edge_t *room, Py_ssize_t edges) noexcept
    cdef tuple name_at(self, uint32_t slot)                                # (address, number)
    cdef bint read_figures(self, uint32_t slot, figures_t *out) noexcept   # False: only plain integers tell
    cdef object copied_names(self, const edge_t *edges, Py_ssize_t count)  # by place


cdef class Crossings:
    cdef CrossingSource source      # None: figures and names are copied
    cdef readonly object time       # of the risks
    cdef Py_ssize_t length
    cdef Py_ssize_t room
    cdef Py_ssize_t shape[1]        # of the buffer, in bytes
    cdef Py_ssize_t strides[1]
    cdef edge_t *found
    cdef figures_t *figures
    cdef object names
    cdef dict made                  # place -> Crossing, where plain integers decided

    cdef int append(self, const edge_t *edge, Crossing made) except -1
    cdef int keep(self) except -1
    cdef int make_all(self) except -1
    cdef Crossing crossing(self, Py_ssize_t place)
