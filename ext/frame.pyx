"""Indexer frames to flat records of exact integers, in one pass.

The C functions in ``frame.h`` read a frame; here are its memory, the table of markets, and the way to look at
the result from Python. What is handed over is read by ``dydx_perf.feeds.envelope`` and ``records``, to the same
records.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.unicode cimport PyUnicode_Check
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from collections import namedtuple

from dydx_perf.errors import CapacityError, InputError

cdef extern from "Python.h" nogil:
    bint PyUnicode_IS_ASCII(object text) noexcept
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "dydx_perf/ext/frame.h" nogil:
    frame_status_t frame_scan(frame_scanner_t *scanner, const char *data, size_t length) noexcept
    uint64_t frame_hash(const char *at, size_t length, const char *end) noexcept


cdef enum:
    MAX_RECORDS = 1 << 24
    MAX_SCALE = 100        # magnitude

CHANNELS = (
    "v4_markets", "v4_orderbook", "v4_trades", "v4_subaccounts", "v4_parent_subaccounts", "v4_block_height",
)
KINDS = ("oracle", "level", "trade", "position", "asset", "block")
SIDES = ("", "bid", "ask", "BUY", "SELL", "LONG", "SHORT")
STATUSES = ("", "OPEN", "CLOSED", "LIQUIDATED", "LIMIT", "LIQUIDATED", "DELEVERAGED", "TWAP_SUBORDER")
ALSO = (
    (FRAME_ALSO_ORDERS, "orders"),
    (FRAME_ALSO_FILLS, "fills"),
    (FRAME_ALSO_TRANSFERS, "transfers"),
    (FRAME_ALSO_REWARD, "tradingReward"),
    (FRAME_ALSO_OTHER, "other"),
)

FrameHeader = namedtuple(
    "FrameHeader",
    "channel id message_id version batched subaccount_number elements block_height also records",
)


cdef class FrameScanner:
    """Read frames of data into records that were allocated once.

    Parameters
    ----------
    max_records : int, optional
        Room for the records of one frame; a frame that has more is handed over.
    """

    def __cinit__(self, max_records=8192):
        if not isinstance(max_records, int) or isinstance(max_records, bool) or not 1 <= max_records <= MAX_RECORDS:
            raise InputError("max_records", max_records, f"1 to {MAX_RECORDS}")
        self.scales = {}
        self.names = b""
        self.last = b""
        self.c.capacity = max_records
        self.c.records = <frame_record_t *>PyMem_RawCalloc(max_records, sizeof(frame_record_t))
        self.c.markets = <frame_market_t *>PyMem_RawCalloc(2, sizeof(frame_market_t))
        self.c.market_mask = 1
        self.c.names = PyBytes_AS_STRING(self.names)
        if self.c.records == NULL or self.c.markets == NULL:
            raise CapacityError(f"no memory for {max_records} records")

    def __dealloc__(self):
        PyMem_RawFree(self.c.records)
        PyMem_RawFree(self.c.markets)

    def register_market(self, ticker, market, price_exponent, atomic_resolution):
        """Tell a market's number and scales; again for the same ticker replaces them.

        Parameters
        ----------
        ticker : str
            In ASCII.
        market : int
            What its records carry, 0 to 2**32 - 2.
        price_exponent, atomic_resolution : int
            Power of ten of one unit of its prices and sizes, -100 to 100.
        """
        if not isinstance(ticker, str) or not ticker or not ticker.isascii():
            raise InputError("ticker", ticker, "a name in ASCII")
        check("market", market, 0, FRAME_NO_MARKET - 1)
        check("price_exponent", price_exponent, -MAX_SCALE, MAX_SCALE)
        check("atomic_resolution", atomic_resolution, -MAX_SCALE, MAX_SCALE)
        scales = {**self.scales, ticker: (market, price_exponent, atomic_resolution)}
        self.place_markets(scales)
        self.scales = scales

    cdef int place_markets(self, dict scales) except -1:
        """Make the table anew, and change nothing where there is no memory for it."""
        cdef uint32_t places = 2, place, offset = 0
        cdef frame_market_t *markets
        cdef frame_market_t *old = self.c.markets
        cdef bytes names = "".join(scales).encode("ascii")
        cdef const char *text = PyBytes_AS_STRING(names)
        cdef const char *end = text + len(names)
        while places < 2 * len(scales):
            places *= 2
        markets = <frame_market_t *>PyMem_RawCalloc(places, sizeof(frame_market_t))
        if markets == NULL:
            raise CapacityError(f"no memory for {len(scales)} markets")
        for ticker, (market, price_exponent, atomic_resolution) in scales.items():
            hash = <uint32_t>(frame_hash(text + offset, len(ticker), end) >> 32)
            place = hash & (places - 1)
            while markets[place].name_length != 0:
                place = (place + 1) & (places - 1)
            markets[place] = frame_market_t(
                hash, market, offset, <uint32_t>len(ticker), -price_exponent, -atomic_resolution
            )
            offset += <uint32_t>len(ticker)
        self.c.markets = markets
        self.c.market_mask = places - 1
        self.c.names = text
        self.names = names
        PyMem_RawFree(old)
        return 0

    cdef int scan(self, const char *data, size_t length) noexcept nogil:
        return frame_scan(&self.c, data, length)

    cdef int scan_object(self, object frame) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t length = 0
        cdef const char *data
        cdef int status
        if PyBytes_Check(frame):
            return frame_scan(&self.c, PyBytes_AS_STRING(frame), <size_t>PyBytes_GET_SIZE(frame))
        if PyUnicode_Check(frame):
            if not PyUnicode_IS_ASCII(frame):
                return FRAME_HANDED_OVER
            data = PyUnicode_AsUTF8AndSize(frame, &length)
            return frame_scan(&self.c, data, <size_t>length)
        if not isinstance(frame, (bytearray, memoryview)):
            raise InputError("frame", frame, "bytes, bytearray, memoryview or str")
        if isinstance(frame, memoryview) and not frame.c_contiguous:
            return FRAME_HANDED_OVER
        PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
        status = frame_scan(&self.c, <const char *>view.buf, <size_t>view.len)
        PyBuffer_Release(&view)
        return status

    def read(self, frame, /):
        """Read a frame; None where it is handed over to a full parser.

        Parameters
        ----------
        frame : bytes, bytearray, memoryview or str

        Returns
        -------
        FrameHeader or None
        """
        cdef frame_header_t *header = &self.c.header
        self.last = b""
        if self.scan_object(frame) != FRAME_OK:
            return None
        self.last = frame.encode("ascii") if isinstance(frame, str) else bytes(frame)
        return FrameHeader(
            CHANNELS[header.channel],
            self.text(header.id_offset, header.id_length),
            header.message_id,
            self.text(header.version_offset, header.version_length),
            bool(header.batched),
            None if header.subaccount_number < 0 else header.subaccount_number,
            header.elements,
            header.block_height,
            frozenset(name for bit, name in ALSO if header.also & bit),
            header.records,
        )

    def records(self):
        """Return the records of the frame read last, each a tuple that equals `dydx_perf.feeds.records.Record`."""
        if not self.last:
            return []
        return [self.record(i) for i in range(self.c.header.records)]

    cdef str text(self, uint32_t offset, uint32_t length):
        return self.last[offset:offset + length].decode("ascii")

    cdef tuple record(self, uint32_t place):
        cdef frame_record_t *r = &self.c.records[place]
        unknown = r.kind == FRAME_ORACLE and r.market == FRAME_NO_MARKET
        return (
            KINDS[r.kind],
            r.element,
            -1 if r.market == FRAME_NO_MARKET else r.market,
            self.text(r.name_offset, r.name_length),
            SIDES[r.side],
            STATUSES[r.status],
            r.number,
            r.price if r.price else None,
            None if r.kind == FRAME_ORACLE or r.kind == FRAME_BLOCK else r.size,
            r.height,
            "unknown_market" if unknown else "exact",
            (self.text(r.text_offset, r.text_length), "") if unknown else (),
        )


cdef int check(str argument, value, int64_t least, int64_t most) except -1:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(argument, value, f"{least} to {most}")
    return 0
