"""A fixed number of rows, the newest in place of the oldest; the newest n always lie in one piece.

Every row is written twice, `capacity` cells apart. So the newest n rows are n cells in a row wherever the ring has
turned to, and a view of them needs no copy.

Hazards: a view is of live memory. It shows what it showed until ``capacity - n + 1`` more rows are appended; then
its oldest row is overwritten. A view keeps the ring's memory alive.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_WRITABLE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint64_t

from dydx_perf.errors import CapacityError, InputError

cdef enum:
    MAX_COLUMNS = 16
    MAX_CAPACITY = 1 << 30

#: kind of a column -> dtype of its view
DTYPES = {"q": "int64", "Q": "uint64", "d": "float64"}


cdef union cell_t:
    int64_t q
    uint64_t Q
    double d


cdef class Ring:
    """Rows of columns of 8 bytes.

    Parameters
    ----------
    capacity : int
        Rows that are kept.
    kinds : str
        One letter per column: q (int64), Q (uint64), d (float64).
    """

    cdef cell_t *cells               # column after column, 2 * capacity each
    cdef readonly size_t capacity
    cdef readonly str kinds
    cdef readonly uint64_t appended  # rows, since the beginning
    cdef size_t columns
    cdef char kind[MAX_COLUMNS]
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

    def __cinit__(self, capacity, str kinds not None):
        cdef size_t i
        self.cells = NULL
        if not isinstance(capacity, int) or isinstance(capacity, bool) or not 1 <= capacity <= MAX_CAPACITY:
            raise InputError("capacity", capacity, f"an int of 1 to {MAX_CAPACITY}")
        if not 1 <= len(kinds) <= MAX_COLUMNS or not set(kinds) <= DTYPES.keys():
            raise InputError("kinds", kinds, f"1 to {MAX_COLUMNS} of the letters q, Q, d")
        self.capacity = capacity
        self.kinds = kinds
        self.columns = len(kinds)
        for i in range(self.columns):
            self.kind[i] = ord(kinds[i])
        self.shape[0] = self.nbytes
        self.strides[0] = 1
        self.cells = <cell_t *>PyMem_RawCalloc(2 * self.capacity * self.columns, sizeof(cell_t))
        if self.cells == NULL:
            raise CapacityError(f"no memory for a ring of {self.nbytes} bytes")

    def __dealloc__(self):
        PyMem_RawFree(self.cells)

    def __len__(self):
        return min(self.appended, self.capacity)

    @property
    def nbytes(self):
        """Bytes of all columns."""
        return 2 * self.capacity * self.columns * sizeof(cell_t)

    def append(self, *values):
        """Write one row, a value per column; nothing is written when one does not fit (OverflowError)."""
        cdef cell_t row[MAX_COLUMNS]
        cdef size_t i, place
        if <size_t>len(values) != self.columns:
            raise InputError("values", values, f"{self.columns} values")
        for i in range(self.columns):
            if self.kind[i] == b"q":
                row[i].q = PyNumber_Index(values[i])
            elif self.kind[i] == b"Q":
                row[i].Q = PyNumber_Index(values[i])
            else:
                row[i].d = values[i]
        place = <size_t>(self.appended % self.capacity)
        for i in range(self.columns):
            self.cells[2 * self.capacity * i + place] = row[i]
            self.cells[2 * self.capacity * i + place + self.capacity] = row[i]
        self.appended += 1

    def view(self, column, count=None):
        """Read-only NumPy array of the newest `count` values of a column, oldest first, without a copy."""
        import numpy

        cdef size_t place
        if not isinstance(column, int) or not 0 <= column < <object>self.columns:
            raise InputError("column", column, f"an int of 0 to {self.columns - 1}")
        if count is None:
            count = len(self)
        if not isinstance(count, int) or not 0 <= count <= len(self):
            raise InputError("count", count, f"an int of 0 to {len(self)}, the rows there are")
        if count == 0:
            return numpy.empty(0, dtype=DTYPES[self.kinds[column]])
        place = <size_t>((self.appended - 1) % self.capacity) + 1 + self.capacity - <size_t>count
        return numpy.frombuffer(
            self, dtype=DTYPES[self.kinds[column]], count=count,
            offset=(2 * self.capacity * <size_t>column + place) * sizeof(cell_t))

    def __getbuffer__(self, Py_buffer *view, int flags):
        """All cells as bytes, read-only."""
        if flags & PyBUF_WRITABLE:
            raise BufferError("a ring is written by append only")
        view.buf = self.cells
        view.obj = self
        view.len = self.nbytes
        view.readonly = 1
        view.itemsize = 1
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = "B"
        view.ndim = 1
        view.shape = self.shape
        view.strides = self.strides
        view.suboffsets = NULL
        view.internal = NULL
