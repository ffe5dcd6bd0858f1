"""A node's protobuf messages to exact integers: the stream's responses, and pages of all subaccounts.

A message is read in one pass and wholly before anything of it is given out; what is refused leaves nothing.
Nothing here needs the messages' own classes: those are what the tests hold it to.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from dydx_perf.errors import CapacityError, FrameError, InputError

cdef extern from "dydx_perf/ext/subaccount_page.h" nogil:
    ctypedef struct page_integer_t:
        int64_t value
        uint32_t wide_at, wide_length

    ctypedef struct page_account_t:
        uint32_t owner_at, owner_length
        uint32_t number
        uint32_t is_wide
        uint32_t other_assets
        page_integer_t usdc
        size_t first, count

    ctypedef struct page_position_t:
        uint32_t perpetual_id
        page_integer_t quantums
        page_integer_t funding_index
        page_integer_t quote_balance

    ctypedef struct page_t:
        wire_refusal_t refusal
        const uint8_t *start
        page_account_t *accounts
        size_t account_count
        page_position_t *positions
        size_t position_count
        const uint8_t *next_key
        const uint8_t *next_key_end
        uint64_t total

    bint page_scan(page_t *page, const uint8_t *data, size_t length) noexcept


# -- names of what is given out

ORDER_PLACE, ORDER_REMOVE, ORDER_UPDATE, ORDER_REPLACE, MATCH, FILL = 1, 2, 3, 4, 5, 6
ORDER_STATE, TAKER, SUBACCOUNT, POSITION, ASSET, PRICE = 7, 8, 9, 10, 11, 12
MATCH_ORDERS, MATCH_LIQUIDATION, MATCH_DELEVERAGING = 1, 2, 3
ORDER_BOOK, ORDER_FILL, TAKER_ORDER, SUBACCOUNT_UPDATE, PRICE_UPDATE = 3, 4, 5, 6, 7

cdef tuple REASONS = (
    "",
    "the message ends within a field",
    "a varint has more bits than its kind",
    "a field number of 0 or a wire type that is none",
    "a group, of which no message here has any",
    "a length past the end of the message around it",
    "text that is not UTF-8",
    "an integer in bytes whose first byte is neither 02 nor 03",
    "as many fill amounts as orders were expected",
    "more records than a message may have here",
    "",
    "a market or USDC twice in one account",
)


cdef size_t checked_length(const Py_buffer *view, size_t most) except? 0:
    """Refuse what no venue sends before it is looked at."""
    if <size_t>view.len > most:
        raise FrameError(f"a message of at most {most} bytes")
    return <size_t>view.len


cdef object refused(const wire_refusal_t *refusal, const uint8_t *start):
    """Return the error of a refusal."""
    if refusal.status == WIRE_NO_MEMORY:
        return CapacityError("there is no memory for the records of a message")
    return FrameError(REASONS[<int>refusal.status], refusal.at - start)


cdef class StreamScanner:
    """Scan responses of `StreamOrderbookUpdates`, one after another.

    Hazards: between `scan` and `release` it holds the buffer that it was given, and reads names from it: the
    bytes must not change meanwhile. One thread at a time.

    Parameters
    ----------
    max_records : int
        Records that one message may have: about two for each order of a snapshot.
    max_bytes : int
        Of one message.
    """

    def __cinit__(self, *, size_t max_records=1 << 20, size_t max_bytes=1 << 28):
        memset(&self.s, 0, sizeof(stream_t))
        self.held = False
        if not 1 <= max_records < <size_t>1 << 31:
            raise InputError("max_records", max_records, f"1 to {(1 << 31) - 1}")
        if not 1 <= max_bytes < <size_t>1 << 32:
            raise InputError("max_bytes", max_bytes, f"1 to {(1 << 32) - 1}")
        self.s.most = max_records
        self.max_bytes = max_bytes

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)
        free(self.s.records)
        free(self.s.updates)
        free(self.s.amounts)

    def scan(self, data, /):
        """Scan one response and return how many updates it has.

        Parameters
        ----------
        data : bytes, bytearray or memoryview

        Raises
        ------
        FrameError
            With the place; then the scanner is empty.
        CapacityError
            There is no memory for its records.
        """
        cdef size_t length
        cdef bint whole
        self.release()
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)
        self.held = True
        try:
            length = checked_length(&self.view, self.max_bytes)
            whole = stream_scan(&self.s, <const uint8_t *>self.view.buf, length)
            if not whole:
                raise refused(&self.s.refusal, self.s.start)
        except BaseException:
            self.release()
            raise
        return self.s.update_count

    cpdef release(self):
        """Forget the message and let its buffer go."""
        self.s.count = self.s.update_count = 0
        if self.held:
            self.held = False
            PyBuffer_Release(&self.view)

    def __len__(self):
        return self.s.update_count

    @property
    def record_count(self):
        """Records of the message."""
        return self.s.count

    cdef str address(self, const stream_key_t *key):
        return PyUnicode_DecodeUTF8(<const char *>self.s.start + key.owner_at, key.owner_length, NULL)

    cdef tuple key(self, const stream_key_t *key):
        return self.address(key), key.number, key.client_id, key.order_flags, key.clob_pair_id

    cdef tuple record(self, const stream_record_t *r):
        if r.kind == RECORD_PRICE:
            return PRICE, r.market, r.price_id, r.exponent, r.subticks
        if r.kind == RECORD_UPDATE:
            return ORDER_UPDATE, self.key(&r.key), r.amount
        if r.kind == RECORD_PLACE or r.kind == RECORD_REPLACE:
            return (
                r.kind, self.key(&r.key), r.side, r.quantums, r.subticks, r.status, r.good_til,
                r.is_good_til_time != 0, r.time_in_force, r.reduce_only != 0,
                self.key(&r.other) if r.kind == RECORD_REPLACE else None,
            )
        if r.kind == RECORD_REMOVE:
            return ORDER_REMOVE, self.key(&r.key), r.reason, r.status
        if r.kind == RECORD_POSITION:
            return POSITION, r.market, <int64_t>r.quantums
        if r.kind == RECORD_ASSET:
            return ASSET, r.market, r.quantums
        if r.kind == RECORD_SUBACCOUNT:
            return SUBACCOUNT, self.address(&r.key), r.key.number
        if r.kind == RECORD_FILL:
            return FILL, self.key(&r.key), r.amount
        if r.kind == RECORD_STATE:
            return (
                ORDER_STATE, self.key(&r.key), r.side, r.quantums, r.subticks, r.amount, r.good_til,
                r.is_good_til_time != 0, r.time_in_force, r.reduce_only != 0,
            )
        if r.kind == RECORD_MATCH:
            return MATCH, r.match, self.key(&r.key), r.market, r.quantums, r.side, r.is_final_settlement != 0
        if r.kind == RECORD_TAKER:
            return (
                TAKER, r.match, self.key(&r.key), r.market, r.side, r.quantums, r.subticks, <uint32_t>r.status,
                r.amount, r.optimistic,
            )
        return (r.kind,)

    def header(self, size_t update, /):
        """Return height, exec_mode, body and whether it is a snapshot, of one update."""
        if update >= self.s.update_count:
            raise IndexError(update)
        cdef stream_update_t *u = &self.s.updates[update]
        return u.block_height, u.exec_mode, u.body, u.snapshot != 0

    def records(self, size_t update, /):
        """Return the records of one update as tuples, each led by its kind; see the stub for their parts."""
        if update >= self.s.update_count:
            raise IndexError(update)
        cdef stream_update_t *u = &self.s.updates[update]
        cdef size_t i
        cdef list found = []
        for i in range(u.first, u.first + u.count):
            found.append(self.record(&self.s.records[i]))
        return found

    def updates(self):
        """Return all updates: (height, exec_mode, body, snapshot, records)."""
        return [(*self.header(i), self.records(i)) for i in range(self.s.update_count)]


# -- pages of all subaccounts


cdef object integer(const page_t *page, const page_integer_t *given):
    """Return an integer of any size."""
    cdef const uint8_t *first
    if not given.wide_length:
        return given.value
    first = page.start + given.wide_at
    magnitude = int.from_bytes(PyBytes_FromStringAndSize(<const char *>first + 1, given.wide_length - 1), "big")
    return -magnitude if first[0] == 3 else magnitude


@cython.final
cdef class SubaccountPage:
    """Subaccounts of a page of `SubaccountAll`, as columns that `Book.load_columns` takes.

    Accounts with a number past 64 bits, or with collateral that is not USDC, stand in `beside` instead.
    """

    cdef readonly list addresses, numbers, beside
    cdef readonly object usdc, account, perpetual_id, quantums, funding_index, quote_balance, next_key, total

    def __repr__(self):
        return f"SubaccountPage({len(self.addresses)} accounts, {len(self.account)} positions)"


def scan_subaccounts(data, /, *, size_t max_bytes=1 << 28):
    """Read a `QuerySubaccountAllResponse`.

    Parameters
    ----------
    data : bytes, bytearray or memoryview

    Returns
    -------
    SubaccountPage

    Raises
    ------
    FrameError
        With the place.
    """
    cdef Py_buffer view
    cdef page_t page
    cdef SubaccountPage result
    if not 1 <= max_bytes < <size_t>1 << 32:
        raise InputError("max_bytes", max_bytes, f"1 to {(1 << 32) - 1}")
    memset(&page, 0, sizeof(page_t))
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not page_scan(&page, <const uint8_t *>view.buf, checked_length(&view, max_bytes)):
            raise refused(&page.refusal, page.start)
        result = filled(&page)
    finally:
        PyBuffer_Release(&view)
        free(page.accounts)
        free(page.positions)
    return result


cdef SubaccountPage filled(const page_t *page):
    """Copy a page into columns."""
    import numpy as np

    cdef SubaccountPage result = SubaccountPage.__new__(SubaccountPage)
    cdef size_t i, j, accounts = 0, positions = 0, row = 0, place = 0
    cdef const page_account_t *account
    cdef const page_position_t *position
    for i in range(page.account_count):
        if not page.accounts[i].is_wide and not page.accounts[i].other_assets:
            accounts += 1
            positions += page.accounts[i].count
    result.addresses, result.numbers, result.beside = [], [], []
    result.usdc = np.empty(accounts, np.int64)
    result.account = np.empty(positions, np.uint32)
    result.perpetual_id = np.empty(positions, np.uint32)
    result.quantums = np.empty(positions, np.int64)
    result.funding_index = np.empty(positions, np.int64)
    result.quote_balance = np.empty(positions, np.int64)
    cdef int64_t[::1] usdc = result.usdc
    cdef uint32_t[::1] owner = result.account
    cdef uint32_t[::1] perpetual_id = result.perpetual_id
    cdef int64_t[::1] quantums = result.quantums
    cdef int64_t[::1] funding_index = result.funding_index
    cdef int64_t[::1] quote_balance = result.quote_balance
    for i in range(page.account_count):
        account = &page.accounts[i]
        address = PyUnicode_DecodeUTF8(
            <const char *>page.start + account.owner_at, account.owner_length, NULL
        )
        if account.is_wide or account.other_assets:
            result.beside.append((
                address, account.number, integer(page, &account.usdc), account.other_assets,
                [
                    (
                        page.positions[j].perpetual_id,
                        integer(page, &page.positions[j].quantums),
                        integer(page, &page.positions[j].funding_index),
                        integer(page, &page.positions[j].quote_balance),
                    )
                    for j in range(account.first, account.first + account.count)
                ],
            ))
            continue
        result.addresses.append(address)
        result.numbers.append(account.number)
        usdc[row] = account.usdc.value
        for j in range(account.first, account.first + account.count):
            position = &page.positions[j]
            owner[place] = <uint32_t>row
            perpetual_id[place] = position.perpetual_id
            quantums[place] = position.quantums.value
            funding_index[place] = position.funding_index.value
            quote_balance[place] = position.quote_balance.value
            place += 1
        row += 1
    result.next_key = PyBytes_FromStringAndSize(
        <const char *>page.next_key, page.next_key_end - page.next_key
    )
    result.total = page.total
    return result


def read_integer(data, /):
    """Return an integer of any size from the chain's bytes: 02 (>= 0) or 03 (< 0), then the magnitude.

    Raises
    ------
    FrameError
        The first byte is another.
    """
    cdef Py_buffer view
    cdef page_t page
    cdef page_integer_t wide
    cdef int64_t value = 0
    cdef integer_bytes_t found
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        found = wire_integer(<const uint8_t *>view.buf, <const uint8_t *>view.buf + view.len, &value)
        if found == INTEGER_FITS:
            return value
        if found == INTEGER_MALFORMED:
            raise FrameError(REASONS[7], 0)
        page.start = <const uint8_t *>view.buf
        wide.wide_at, wide.wide_length = 0, <uint32_t>view.len
        return integer(&page, &wide)
    finally:
        PyBuffer_Release(&view)
