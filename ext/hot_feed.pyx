"""The indexer's frames that change numbers only: from bytes to the book, nothing allocated.

`receive` takes a frame whole and returns what crossed a line, or returns None and has done nothing: then the
caller reads the frame with the full parser. It takes oracle prices, levels of order books, trades (which it drops),
heights, and sizes and balances of accounts that are in the book, all of them on subscriptions that were routed.

Hazards: one thread uses a feed, the book and the order books it fills. Frames of accounts are kept until they are
asked for or a newer one takes their place; of a buffer that can change, a copy.
"""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stddef cimport size_t
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from dydx_perf.ext.account cimport INPUT_ORACLE_PRICE
from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.depth cimport ASK, BID, depth_t, next_arrival, set_level
from dydx_perf.ext.feed_lines cimport MAX_KEPT, NO_HEIGHT, NO_LINE, account_t, line_t, quote_t
from dydx_perf.ext.fixed cimport mul_u, u128
from dydx_perf.ext.frame cimport (
    FRAME_ASK,
    FRAME_ASSET,
    FRAME_BLOCK_HEIGHT,
    FRAME_MARKETS,
    FRAME_OK,
    FRAME_OPEN,
    FRAME_ORDERBOOK,
    FRAME_PARENT_SUBACCOUNTS,
    FRAME_POSITION,
    FRAME_SUBACCOUNTS,
    FRAME_TRADES,
    FrameScanner,
    frame_header_t,
    frame_record_t,
)
from dydx_perf.ext.structs cimport STATUS_OK, market_t
from dydx_perf.ext.text_hash cimport hash_text


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef double NEVER = float("-inf")
cdef tuple NOTHING = ()
#: place of "estimate" in BASES: what the indexer says of prices and accounts
cdef enum:
    ESTIMATE = 1
#: how the row of an account begins
cdef bytes OWNER = b'{"address":"'


cdef class HotFeed:
    """Takes the frames of one connection that need no Python objects.

    Parameters
    ----------
    store : BookStore or IndexedStore
        Its table is the chain that oracle prices go to.
    scanner : FrameScanner
        Markets are registered under their index in the table.
    observers : callable
        ``observers(crossings)`` tells the book's observers and returns what they raised.
    """

    def __cinit__(self, AccountStore store not None, FrameScanner scanner not None, observers):
        self.prepared = NULL
        self.level_prices = NULL
        self.observers = observers
        self.message_id = NO_HEIGHT
        self.block_height = NO_HEIGHT
        self.heard_at = NEVER
        self.deadline = NEVER
        self.prepared = <market_t *>PyMem_Calloc(MAX_RECORDS, sizeof(market_t))
        self.level_prices = <int64_t *>PyMem_Calloc(MAX_RECORDS, sizeof(int64_t))
        if self.prepared == NULL or self.level_prices == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.prepared)
        PyMem_Free(self.level_prices)

    # -- a frame

    def receive(self, frame, now):
        """Take a frame.

        Parameters
        ----------
        frame : bytes, bytearray, memoryview or str
        now : float
            The caller's clock.

        Returns
        -------
        tuple or Crossings or None
            Empty: it was taken. None: the caller has to read it; nothing was changed.

        Raises
        ------
        ObserverError
            The frame was taken, and observers raised.
        """
        cdef Py_buffer view
        cdef Py_ssize_t length = 0
        cdef const char *data
        cdef double at = 0
        if PyFloat_CheckExact(now):
            at = PyFloat_AS_DOUBLE(now)
            if PyBytes_CheckExact(frame):
                return self.take(frame, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), at)
        try:
            if type(now) is int:
                at = now
            elif type(now) is not float:
                raise TypeError("no time")
            if PyUnicode_CheckExact(frame):
                data = PyUnicode_AsUTF8AndSize(frame, &length)
                return self.take(frame, data, length, at)
            if not PyObject_CheckBuffer(frame):
                raise TypeError("no frame")
            PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
        except (TypeError, OverflowError, BufferError, UnicodeError):  # the caller says what is wrong
            self.handed_over += 1
            return None
        try:
            return self.take(None, <const char *>view.buf, view.len, at)
        finally:
            PyBuffer_Release(&view)

    cdef object take(self, object frame, const char *data, size_t length, double now):
        """Check a frame, then apply it. `frame` holds its bytes and never changes; None: copy them to keep them."""
        cdef const frame_header_t *header = &self.scanner.c.header
        cdef const frame_record_t *records = self.scanner.c.records
        cdef uint32_t place
        cdef uint32_t account = NO_LINE
        cdef line_t *line
        cdef bint changes = False
        cdef bint fits
        self.handed_over += 1  # until it is taken
        if (
            not self.heard_at <= now < self.deadline
            or self.scanner.scan(data, length) != FRAME_OK
            or header.message_id != self.message_id + 1
            or header.also
            or header.records > MAX_RECORDS
        ):
            return None
        place = self.find_line(header, data)
        if place == NO_LINE:
            return None
        line = &self.lines[place]
        self.looked_at += 1
        if header.channel == FRAME_ORDERBOOK:
            fits = self.check_levels(header, records)
        elif header.channel == FRAME_MARKETS:
            changes = True
            fits = self.check_prices(header, records)
        elif header.channel == FRAME_SUBACCOUNTS or header.channel == FRAME_PARENT_SUBACCOUNTS:
            changes = True
            account = self.check_account(header, records, data, line)
            fits = account != NO_LINE
        else:
            fits = True
        if not fits or (changes and self.store.writing):
            return None
        if account != NO_LINE:
            if frame is None:
                frame = PyBytes_FromStringAndSize(data, length)
            self.keep(header, records, account, frame)
        # Nothing is refused from here on.
        self.handed_over -= 1
        self.frames += 1
        self.message_id = line.last_id = header.message_id
        self.heard_at = now
        if changes:
            return self.change(header, records, account, now)
        if header.channel == FRAME_ORDERBOOK:
            self.put_levels(header, records, now)
        elif header.channel == FRAME_BLOCK_HEIGHT:
            self.block_height = header.block_height
        return NOTHING

    cdef object change(
        self, const frame_header_t *header, const frame_record_t *records, uint32_t place, double now
    ):
        """Change the book as its writer, tell its observers, return the crossings."""
        self.store.writing = True
        try:
            if place == NO_LINE:
                self.put_prices(header, records, now)
            else:
                self.put_account(header, records, place, now)
            return self.store.tell_pending(self.observers)
        finally:
            self.store.writing = False

    cdef uint32_t find_line(self, const frame_header_t *header, const char *data) noexcept:
        """Line of a frame, where the caller said that it is live; NO_LINE."""
        cdef uint32_t place = NO_LINE
        if header.channel == FRAME_ORDERBOOK:
            if header.market < self.market_capacity:
                place = self.quotes[header.market].book_line
        elif header.channel == FRAME_TRADES:
            if header.market < self.market_capacity:
                place = self.quotes[header.market].trades_line
        elif header.channel == FRAME_MARKETS:
            place = self.markets_line
        elif header.channel == FRAME_BLOCK_HEIGHT:
            place = self.blocks_line
        else:
            place = self.places[
                hash_text(data + header.id_offset, header.id_length, header.channel) & self.place_mask]
            while place != NO_LINE and not (
                self.lines[place].id_length == header.id_length
                and self.lines[place].channel == header.channel
                and memcmp(self.lines[place].id, data + header.id_offset, header.id_length) == 0
            ):
                place = self.lines[place].next
        return place if place != NO_LINE and self.lines[place].live else NO_LINE

    # -- oracle prices

    cdef bint check_prices(self, const frame_header_t *header, const frame_record_t *records) noexcept:
        """Whether each price is of a market that holds it, not withheld, and not older than what is known.

        A frame that names a market twice for one block is left to the caller, too.
        """
        cdef uint32_t i
        cdef uint32_t market
        cdef quote_t *quote
        for i in range(header.records):
            market = records[i].market
            if market >= self.market_capacity or market >= self.table.count:
                return False
            quote = &self.quotes[market]
            if (
                quote.withheld
                or records[i].price <= 0
                or records[i].height < 0
                or records[i].height < self.table.origins[market].height[<int>INPUT_ORACLE_PRICE]
                or (quote.seen == self.looked_at and records[i].height <= quote.seen_height)
                or self.table.try_price(market, <uint64_t>records[i].price, &self.prepared[i]) != STATUS_OK
            ):
                return False
            quote.seen = self.looked_at
            quote.seen_height = records[i].height
        return True

    cdef int put_prices(self, const frame_header_t *header, const frame_record_t *records, double now) except -1:
        """Write prices; those of one block are one change."""
        cdef uint32_t i
        cdef quote_t *quote
        cdef uint64_t before
        self.store.keep_crossings()
        self.store.sequence += 1
        for i in range(header.records):
            if i and records[i].height != records[i - 1].height:
                self.store.settle()
                self.store.keep_crossings()
                self.store.sequence += 1
            quote = &self.quotes[records[i].market]
            before = self.table.rows[records[i].market].price
            quote.last_move = (
                self.prepared[i].price - before if self.prepared[i].price > before
                else before - self.prepared[i].price)
            quote.heard = now
            quote.is_new = True
            self.table.put(
                records[i].market, &self.prepared[i], <int>INPUT_ORACLE_PRICE, records[i].height, <uint32_t>ESTIMATE)
        self.store.settle()
        return 0

    # -- levels of an order book

    cdef bint check_levels(self, const frame_header_t *header, const frame_record_t *records) noexcept:
        """Whether the order book is whole and has room for every level, at a price of its own scale."""
        cdef quote_t *quote = &self.quotes[header.market]
        cdef uint32_t i
        cdef int side
        cdef u128 price = 0
        cdef int64_t room[2]
        if quote.depth == NULL or quote.depth.not_whole:
            return False
        for side in range(2):
            if header.records > quote.depth.sides[side].capacity - quote.depth.sides[side].count:
                return False
            room[side] = INT64_MAX - quote.depth.sides[side].total
        for i in range(header.records):
            if records[i].price <= 0 or records[i].size < 0:
                return False
            price = records[i].price
            if quote.multiplier != 1 and mul_u(price, quote.multiplier, &price):
                return False
            if quote.divisor != 1:
                if price % quote.divisor:
                    return False
                price = price / quote.divisor
            side = ASK if records[i].side == FRAME_ASK else BID
            if price > <u128>INT64_MAX or records[i].size > room[side]:
                return False
            room[side] -= records[i].size
            self.level_prices[i] = <int64_t>price
        return True

    cdef void put_levels(self, const frame_header_t *header, const frame_record_t *records, double now) noexcept:
        """Set the levels; what stood in one element is of one age."""
        cdef depth_t *depth = self.quotes[header.market].depth
        cdef uint32_t i
        for i in range(header.records):
            if i == 0 or records[i].element != records[i - 1].element:
                next_arrival(depth, now)
            set_level(depth, ASK if records[i].side == FRAME_ASK else BID, self.level_prices[i], records[i].size)

    # -- accounts

    cdef uint32_t check_account(
        self, const frame_header_t *header, const frame_record_t *records, const char *data, const line_t *line
    ) noexcept:
        """Account of a frame whose every row is of it, no older than what is held, and of a position it has.

        NO_LINE: the frame is not to be taken here. Quantums and markets stand in `positions`, by record.
        """
        cdef int32_t number = line.number
        cdef uint32_t place = line.account
        cdef uint32_t slot, i, j
        cdef int64_t height, held
        cdef account_t *account
        if header.channel == FRAME_PARENT_SUBACCOUNTS:
            number = header.subaccount_number
        elif header.subaccount_number >= 0 and header.subaccount_number != number:
            return NO_LINE
        while place != NO_LINE and self.accounts[place].number != number:
            place = self.accounts[place].next
        if place == NO_LINE:
            return NO_LINE
        account = &self.accounts[place]
        slot = <uint32_t>(account.handle & 0xffffffff)
        if (
            self.store.seen_version != self.table.version
            or slot >= self.store.fresh_slots()
            or self.store.generation_at(slot) != account.handle >> 32
            or not self.store.is_plain(slot)
        ):
            return NO_LINE
        height = account.floor
        for i in range(header.records):
            if (
                records[i].height < 0
                or records[i].height < height
                or (records[i].number >= 0 and records[i].number != number)
                or records[i].text_length <= <size_t>PyBytes_GET_SIZE(OWNER) + line.address_length
                or memcmp(data + records[i].text_offset, PyBytes_AS_STRING(OWNER), PyBytes_GET_SIZE(OWNER)) != 0
                or memcmp(
                    data + records[i].text_offset + PyBytes_GET_SIZE(OWNER), line.id, line.address_length) != 0
                or data[records[i].text_offset + PyBytes_GET_SIZE(OWNER) + line.address_length] != b'"'
            ):
                return NO_LINE
            height = records[i].height
            if records[i].kind == FRAME_ASSET:
                continue
            if records[i].kind != FRAME_POSITION or records[i].status != FRAME_OPEN or records[i].size == 0:
                return NO_LINE
            if records[i].market >= self.market_capacity:
                return NO_LINE
            held = self.store.held_quantums(slot, records[i].market)
            if held == 0:
                return NO_LINE
            if (held < 0) != (records[i].size < 0):
                return NO_LINE  # it was closed and opened anew, and that was not told
            self.positions[i].market = records[i].market
            self.positions[i].quantums = records[i].size
            for j in range(account.kept):
                if account.rows[j].market == records[i].market:
                    break
            else:
                # A place is taken already now: what is kept of it may stay empty.
                if account.kept == MAX_KEPT:
                    return NO_LINE
                account.rows[account.kept].market = records[i].market
                account.rows[account.kept].arrival = 0
                account.kept += 1
            j = i
            while j and records[j - 1].element == records[i].element:
                j -= 1
                if records[j].kind == FRAME_POSITION and records[j].market == records[i].market:
                    return NO_LINE
        return place

    cdef int keep(
        self, const frame_header_t *header, const frame_record_t *records, uint32_t place, object frame
    ) except -1:
        """Keep the frame for each market that it tells of."""
        cdef account_t *account = &self.accounts[place]
        cdef list kept = self.kept[place]
        cdef uint32_t i, j
        for i in range(header.records):
            if records[i].kind == FRAME_POSITION:
                for j in range(account.kept):
                    if account.rows[j].market == records[i].market:
                        account.rows[j].arrival = self.looked_at
                        kept[j] = frame
                        break
        return 0

    cdef int put_account(
        self, const frame_header_t *header, const frame_record_t *records, uint32_t place, double now
    ) except -1:
        """Write balance and sizes; each element is one change."""
        cdef account_t *account = &self.accounts[place]
        cdef uint32_t slot = <uint32_t>(account.handle & 0xffffffff)
        cdef uint32_t i = 0
        cdef uint32_t first, count
        cdef const int64_t *usdc
        if not account.is_new:
            account.since = self.looked_at
            account.first_heard = now
        account.heard = now
        account.is_new = True
        while i < header.records:
            first = i
            count = 0
            usdc = NULL
            while i < header.records and records[i].element == records[first].element:
                if records[i].kind == FRAME_ASSET:
                    usdc = &records[i].size
                else:
                    self.positions[first + count] = self.positions[i]
                    count += 1
                i += 1
            account.floor = records[first].height
            self.store.keep_crossings()
            self.store.sequence += 1
            self.store.resize(slot, usdc, &self.positions[first], count, account.floor, <uint32_t>ESTIMATE)
            self.store.settle()
        return 0
