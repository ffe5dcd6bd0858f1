"""A node's messages that change numbers only: from bytes to the book, nothing allocated.

`receive` takes a message whole and returns what crossed a line, or returns None and has done nothing: then the caller
reads the message with tuples. It takes oracle prices, orders placed, filled, replaced and removed, fills of the node's
own view, and sizes of accounts whose balance needs no new sign; each where it was routed.

Hazards: one thread uses a feed, the book and the order books it fills.
"""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stddef cimport size_t
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from dydx_perf.errors import InputError, ObserverError

from dydx_perf.ext.account cimport INPUT_ORACLE_PRICE
from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.order_queue cimport (
    MAX_OWNER,
    QUEUE_ASK,
    QUEUE_BID,
    OrderQueues,
    make_order_key,
    order_key_t,
    order_queue_t,
    place_order,
    remove_order,
    set_filled,
)
from dydx_perf.ext.stream cimport (
    RECORD_ASSET,
    RECORD_NOTHING,
    RECORD_POSITION,
    RECORD_REMOVE,
    RECORD_REPLACE,
    RECORD_STATE,
    RECORD_UPDATE,
    TRIED_LIQUIDATION,
    UPDATE_FILL,
    UPDATE_ORDER_BOOK,
    UPDATE_PRICE,
    UPDATE_SUBACCOUNT,
    UPDATE_TAKER,
    StreamScanner,
    stream_key_t,
    stream_record_t,
    stream_scan,
    stream_t,
    stream_update_t,
)
from dydx_perf.ext.structs cimport STATUS_OK, position_t
from dydx_perf.ext.text_hash cimport hash_text

cdef double NEVER = float("-inf")
cdef tuple NOTHING = ()
cdef enum:
    FINAL = 7                 # exec_mode of what the chain has decided
    BUY = 1
    SELL = 2
    MAX_EXPONENT = 32
    USDC = 0
    ESTIMATE = 1              # place in BASES: the stream tells no funding index


cdef inline int64_t wire_amount(uint64_t amount) noexcept nogil:
    """A price or a size; -1, which no order may have, where int64 does not hold it."""
    return <int64_t>amount if amount <= <uint64_t>INT64_MAX else -1


cdef class NodeFeed:
    """Takes the messages of one stream that need no Python objects.

    Parameters
    ----------
    store : BookStore or IndexedStore
        Its table is the chain that oracle prices go to.
    scanner : StreamScanner
    observers : callable
        ``observers(crossings)`` tells the book's observers and returns what they raised.
    block_seen : callable
        ``block_seen(height)`` makes the event of a new block.
    basis : int
        Place in BASES of the prices.
    """

    def __cinit__(self, AccountStore store not None, StreamScanner scanner not None, observers, block_seen, basis):
        self.store = store
        self.table = store.table
        self.scanner = scanner
        self.observers = observers
        self.block_seen = block_seen
        self.basis = basis
        self.heard_at = self.deadline = self.block_at = NEVER
        self.height = -1
        self.last_height = -1
        self.new_prices = self.new_accounts = NOBODY
        self.untold, self.owners, self.queues = [], [], {}
        self.prices = <node_price_t *>PyMem_Calloc(MAX_IDS, sizeof(node_price_t))
        self.perpetuals = <uint32_t *>PyMem_Calloc(MAX_IDS, sizeof(uint32_t))
        self.books = <node_book_t *>PyMem_Calloc(MAX_IDS, sizeof(node_book_t))
        if self.prices == NULL or self.perpetuals == NULL or self.books == NULL:
            raise MemoryError
        self.index_accounts()

    def __dealloc__(self):
        PyMem_Free(self.prices)
        PyMem_Free(self.perpetuals)
        PyMem_Free(self.books)
        PyMem_Free(self.accounts)
        PyMem_Free(self.places)

    # -- what the caller says

    def route_price(self, market_id, index, exponent, plain):
        """Prices of a price market go to a row of the table; not `plain`: they are left to the caller.

        Parameters
        ----------
        market_id, index, exponent : int
            The exponent is that of the row's price; a price of another one is left to the caller.
        plain : bool
        """
        cdef node_price_t *price
        if not 0 <= market_id < MAX_IDS:
            return  # messages that have it are left to the caller
        price = &self.prices[<uint32_t>market_id]
        price.market = index
        price.exponent = exponent
        price.state = PRICE_PLAIN if plain else PRICE_LEFT

    def route_perpetual(self, perpetual_id, index):
        """A perpetual is a row of the table."""
        if 0 <= perpetual_id < MAX_IDS:
            self.perpetuals[<uint32_t>perpetual_id] = index + 1

    def route_book(self, pair, OrderQueues queues not None):
        """Orders of a book go there."""
        if not 0 <= pair < MAX_IDS:
            raise InputError("pair", pair, f"0 to {MAX_IDS - 1}")
        self.queues[pair] = queues
        self.books[<uint32_t>pair].queue = &queues.c

    def add_account(self, str owner not None, number):
        """Watch one more account, left to the caller until it is routed; returns its place."""
        cdef node_account_t *grown
        cdef node_account_t *account
        cdef uint32_t capacity
        if self.account_count == self.account_capacity:
            capacity = 2 * self.account_capacity + 8
            grown = <node_account_t *>PyMem_Realloc(self.accounts, capacity * sizeof(node_account_t))
            if grown == NULL:
                raise MemoryError
            self.accounts = grown
            self.account_capacity = capacity
        held = owner.encode()
        self.owners.append(held)
        account = &self.accounts[self.account_count]
        account.owner = PyBytes_AS_STRING(held)
        account.owner_length = <uint32_t>PyBytes_GET_SIZE(held)
        account.number = number
        account.is_plain = account.is_new = False
        account.height = -1
        self.account_count += 1
        self.index_accounts()
        return self.account_count - 1

    def route_account(self, uint32_t place, handle, floor, plain):
        """The book has the state of an account, signed and as of block `floor`; not `plain`: leave it."""
        if place >= self.account_count:
            raise IndexError(place)
        self.accounts[place].handle = handle
        self.accounts[place].floor = floor
        self.accounts[place].is_plain = bool(plain)

    cdef int index_accounts(self) except -1:
        """Find accounts by their hashes; the table is at most half full."""
        cdef uint32_t wanted = 16
        cdef uint32_t i, first
        cdef uint32_t *place
        cdef uint32_t *grown
        first = self.account_count - 1 if self.account_count else 0
        while wanted < 2 * self.account_count:
            wanted *= 2
        if self.places == NULL or wanted != self.place_mask + 1:
            grown = <uint32_t *>PyMem_Realloc(self.places, wanted * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError
            self.places = grown
            self.place_mask = wanted - 1
            for i in range(wanted):
                self.places[i] = NOBODY
            first = 0
        for i in range(first, self.account_count):
            place = &self.places[
                hash_text(self.accounts[i].owner, self.accounts[i].owner_length, self.accounts[i].number)
                & self.place_mask]
            self.accounts[i].next = place[0]
            place[0] = i
        return 0

    # -- what was taken

    def take_prices(self):
        """Ids of price markets whose prices were taken since the last call, and the block of each."""
        cdef list found = []
        while self.new_prices != NOBODY:
            found.append((self.new_prices, self.prices[self.new_prices].height))
            self.prices[self.new_prices].is_new = False
            self.new_prices = self.prices[self.new_prices].next_new
        return found

    def take_accounts(self):
        """(place, height, when) of accounts that were taken since the last call."""
        cdef list found = []
        cdef node_account_t *account
        while self.new_accounts != NOBODY:
            account = &self.accounts[self.new_accounts]
            found.append((self.new_accounts, account.height, account.heard))
            account.is_new = False
            self.new_accounts = account.next_new
        return found

    def take_untold(self):
        """Events of messages whose observers raised."""
        untold, self.untold = self.untold, []
        return untold

    # -- a message

    def receive(self, message, now):
        """Take a message.

        Parameters
        ----------
        message : bytes, bytearray or memoryview
        now : float
            The caller's clock.

        Returns
        -------
        tuple, Crossings, list of events or None
            Empty: it was taken. None: the caller has to read it; nothing was changed.

        Raises
        ------
        ObserverError
            The message was taken, and observers raised; its events are `take_untold`'s.
        """
        cdef Py_buffer view
        if not PyFloat_CheckExact(now):
            if type(now) is not int or not -(1 << 53) < now < 1 << 53:
                self.handed_over += 1
                return None
            now = float(now)
        if PyBytes_CheckExact(message):
            return self.take(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), PyFloat_AS_DOUBLE(now))
        if not PyObject_CheckBuffer(message):  # the caller says what is wrong
            self.handed_over += 1
            return None
        try:
            PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
        except BufferError:
            self.handed_over += 1
            return None
        try:
            return self.take(<const char *>view.buf, view.len, PyFloat_AS_DOUBLE(now))
        finally:
            PyBuffer_Release(&view)

    cdef object take(self, const char *data, size_t length, double now):
        """Check a message, then apply it; the scanner holds nothing of it afterwards."""
        if self.scanner.held:
            self.handed_over += 1
            return None
        try:
            return self.apply(data, length, now)
        finally:
            self.scanner.s.count = self.scanner.s.update_count = 0

    cdef object apply(self, const char *data, size_t length, double now):
        cdef stream_t *s = &self.scanner.s
        cdef const stream_update_t *update
        cdef list events = None
        cdef size_t i, j
        self.handed_over += 1  # until it is taken
        if (
            not self.heard_at <= now < self.deadline
            or length > self.scanner.max_bytes
            or self.store.writing
            or not stream_scan(s, <const uint8_t *>data, length)
        ):
            return None
        self.looked_at += 1
        if not self.check():
            return None
        # Nothing is refused from here on.
        self.handed_over -= 1
        self.messages += 1
        self.heard_at = now
        for i in range(s.update_count):
            update = &s.updates[i]
            if update.exec_mode == FINAL and update.block_height > self.height:
                self.height = update.block_height
                self.block_at = now
                if events is None:
                    events = []
                events.append(self.block_seen(self.height))
            if update.body == UPDATE_ORDER_BOOK or (update.body == UPDATE_FILL and update.exec_mode != FINAL):
                for j in range(update.first, update.first + update.count):
                    self.put_order(&s.records[j], update.block_height, now)
        if self.changes:
            try:
                crossings = self.change(now)
            except ObserverError as error:
                self.untold += (events or []) + list(error.crossings)
                self.deadline = NEVER  # the caller's next call tells them
                raise
            if len(crossings):
                if events is None:
                    return crossings
                events.extend(crossings)
        return NOTHING if events is None else events

    # -- whether it is plain

    cdef bint check(self) noexcept:
        """Whether each update is one that needs no object, and none comes before a block that was told."""
        cdef const stream_t *s = &self.scanner.s
        cdef const stream_update_t *update
        cdef int64_t last = self.height
        cdef uint32_t prices = 0
        cdef size_t i
        cdef bint final
        self.changes = 0
        for i in range(s.update_count):
            update = &s.updates[i]
            final = update.exec_mode == FINAL
            if update.snapshot:
                return False
            if final:
                if not last <= update.block_height <= self.last_height:
                    return False
                last = update.block_height
            if update.body == UPDATE_PRICE:
                if prices == MAX_PRICES or not self.check_price(update, prices):
                    return False
                prices += 1
            elif update.body == UPDATE_SUBACCOUNT:
                if final and not self.check_account(update):
                    return False
            elif update.body == UPDATE_ORDER_BOOK:
                if not self.check_orders(update):
                    return False
            elif update.body == UPDATE_FILL:
                if final or not self.check_states(update):
                    return False
            elif update.body == UPDATE_TAKER:
                if s.records[update.first].match == TRIED_LIQUIDATION:
                    return False
        return True

    cdef bint check_owner(self, const stream_key_t *key) noexcept:
        """Whether an order may have this owner."""
        cdef const uint8_t *owner = self.scanner.s.start + key.owner_at
        cdef uint32_t i
        cdef uint8_t wrong = 0
        if not 0 < key.owner_length <= MAX_OWNER:
            return False
        for i in range(key.owner_length):
            wrong |= (owner[i] - 1) & 0x80 | owner[i] & 0x80
        return wrong == 0

    cdef uint32_t find_account(self, const stream_key_t *key) noexcept:
        """Place of a watched account, NOBODY."""
        cdef const char *owner = <const char *>self.scanner.s.start + key.owner_at
        cdef uint32_t place
        if self.account_count == 0:
            return NOBODY
        place = self.places[hash_text(owner, key.owner_length, key.number) & self.place_mask]
        while place != NOBODY and not (
            self.accounts[place].number == key.number
            and self.accounts[place].owner_length == key.owner_length
            and memcmp(self.accounts[place].owner, owner, key.owner_length) == 0
        ):
            place = self.accounts[place].next
        return place

    cdef bint check_orders(self, const stream_update_t *update) noexcept:
        """Whether all orders may be, and none that comes or goes is of somebody watched."""
        cdef const stream_record_t *record
        cdef size_t i
        for i in range(update.first, update.first + update.count):
            record = &self.scanner.s.records[i]
            if record.kind == RECORD_NOTHING:
                continue
            if not self.check_owner(&record.key) or record.key.clob_pair_id >= MAX_IDS:
                return False
            if record.kind == RECORD_UPDATE:
                continue
            if self.find_account(&record.key) != NOBODY:
                return False
            if record.kind != RECORD_REMOVE and record.side != BUY and record.side != SELL:
                return False
            if record.kind == RECORD_REPLACE:
                if not self.check_owner(&record.other) or self.find_account(&record.other) != NOBODY:
                    return False
        return True

    cdef bint check_states(self, const stream_update_t *update) noexcept:
        """Whether the orders of a fill may be."""
        cdef const stream_record_t *record
        cdef size_t i
        for i in range(update.first, update.first + update.count):
            record = &self.scanner.s.records[i]
            if record.kind == RECORD_STATE and (
                not self.check_owner(&record.key)
                or record.key.clob_pair_id >= MAX_IDS
                or (record.side != BUY and record.side != SELL)
            ):
                return False
        return True

    cdef bint check_price(self, const stream_update_t *update, uint32_t prices) noexcept:
        """Whether a price is one, and where it counts, of the row's own units; then it is prepared."""
        cdef const stream_record_t *record = &self.scanner.s.records[update.first]
        cdef const node_price_t *price
        if record.subticks == 0 or not -MAX_EXPONENT <= record.exponent <= MAX_EXPONENT or record.market >= MAX_IDS:
            return False
        price = &self.prices[record.market]
        if update.exec_mode != FINAL or price.state == PRICE_IGNORED:
            return True
        self.changes += 1
        return (
            price.state == PRICE_PLAIN
            and record.exponent == price.exponent
            and price.market < self.table.count
            and self.table.try_price(price.market, record.subticks, &self.prepared[prices]) == STATUS_OK
        )

    cdef bint check_account(self, const stream_update_t *update) noexcept:
        """Whether an account is nobody's, or plain: sizes of positions that it has, no balance that needs a sign."""
        cdef const stream_record_t *record = &self.scanner.s.records[update.first]
        cdef uint32_t place = self.find_account(&record.key)
        cdef const node_account_t *account
        cdef uint32_t slot
        cdef size_t i
        if self.leaves_accounts:
            return False
        if place == NOBODY:
            return True
        account = &self.accounts[place]
        if not account.is_plain or update.block_height <= account.floor:
            return False
        slot = <uint32_t>(account.handle & 0xffffffff)
        if (
            self.store.seen_version != self.table.version
            or update.count > MAX_POSITIONS
            or slot >= self.store.fresh_slots()
            or self.store.generation_at(slot) != account.handle >> 32
            or not self.store.is_plain(slot)
        ):
            return False
        for i in range(update.first + 1, update.first + update.count):
            record = &self.scanner.s.records[i]
            if record.kind == RECORD_ASSET:
                if record.market == USDC and record.quantums != 0:
                    return False
                continue
            if record.quantums == 0 or record.market >= MAX_IDS or self.perpetuals[record.market] == 0:
                return False
            if self.store.held_quantums(slot, self.perpetuals[record.market] - 1) == 0:
                return False
        self.changes += 1
        return True

    # -- orders

    cdef order_queue_t *opened(self, uint32_t pair, int64_t height, double now) noexcept:
        """The order book of a pair, with this message begun in it; NULL."""
        cdef node_book_t *book = &self.books[pair]
        if book.queue != NULL and book.seen != self.looked_at:
            book.seen = self.looked_at
            book.queue.arrival += 1
            book.queue.time = now
            book.queue.height = height
        return book.queue

    cdef void put_order(self, const stream_record_t *record, int64_t height, double now) noexcept:
        """Apply one record of an order; each carries absolute values."""
        cdef const char *start = <const char *>self.scanner.s.start
        cdef order_queue_t *queue
        cdef order_key_t key, other
        if record.kind == RECORD_NOTHING or record.kind > RECORD_REPLACE and record.kind != RECORD_STATE:
            return
        queue = self.opened(record.key.clob_pair_id, height, now)
        if queue == NULL:
            return
        make_order_key(
            start + record.key.owner_at, record.key.owner_length, record.key.number, record.key.client_id,
            record.key.order_flags, record.key.clob_pair_id, &key)
        if record.kind == RECORD_UPDATE or record.kind == RECORD_STATE:
            set_filled(queue, &key, record.amount)
            return
        if record.kind == RECORD_REMOVE:
            remove_order(queue, &key)
            return
        if record.kind == RECORD_REPLACE:
            make_order_key(
                start + record.other.owner_at, record.other.owner_length, record.other.number,
                record.other.client_id, record.other.order_flags, record.other.clob_pair_id, &other)
            remove_order(queue, &other)
        place_order(
            queue, &key, QUEUE_BID if record.side == BUY else QUEUE_ASK, wire_amount(record.subticks),
            wire_amount(record.quantums))

    # -- the book

    cdef object change(self, double now):
        """Change the book as its writer, once, tell its observers, return the crossings."""
        cdef const stream_t *s = &self.scanner.s
        cdef size_t i
        self.store.keep_crossings()
        self.store.writing = True
        try:
            self.store.sequence += 1
            self.put_prices()
            for i in range(s.update_count):
                if s.updates[i].body == UPDATE_SUBACCOUNT and s.updates[i].exec_mode == FINAL:
                    self.put_account(&s.updates[i], now)
            self.store.settle()
            return self.store.tell_pending(self.observers)
        finally:
            self.store.writing = False

    cdef void put_prices(self) noexcept:
        """Write prices that the chain has decided."""
        cdef const stream_t *s = &self.scanner.s
        cdef const stream_record_t *record
        cdef node_price_t *price
        cdef uint32_t prices = 0
        cdef size_t i
        for i in range(s.update_count):
            if s.updates[i].body != UPDATE_PRICE:
                continue
            record = &s.records[s.updates[i].first]
            price = &self.prices[record.market]
            if s.updates[i].exec_mode == FINAL and price.state == PRICE_PLAIN:
                if not price.is_new:
                    price.is_new = True
                    price.next_new = self.new_prices
                    self.new_prices = record.market
                price.height = s.updates[i].block_height
                self.table.put(
                    price.market, &self.prepared[prices], <int>INPUT_ORACLE_PRICE, self.height, self.basis)
            prices += 1

    cdef int put_account(self, const stream_update_t *update, double now) except -1:
        """Write sizes, and the balance that became zero."""
        cdef const stream_record_t *record = &self.scanner.s.records[update.first]
        cdef uint32_t place = self.find_account(&record.key)
        cdef node_account_t *account
        cdef position_t positions[MAX_POSITIONS]
        cdef uint32_t slot
        cdef uint32_t count = 0
        cdef int64_t zero = 0
        cdef const int64_t *usdc = NULL
        cdef size_t i
        if place == NOBODY:
            return 0
        account = &self.accounts[place]
        slot = <uint32_t>(account.handle & 0xffffffff)
        for i in range(update.first + 1, update.first + update.count):
            record = &self.scanner.s.records[i]
            if record.kind == RECORD_POSITION:
                positions[count].market = self.perpetuals[record.market] - 1
                positions[count].quantums = <int64_t>record.quantums
                count += 1
            elif record.market == USDC:
                usdc = &zero
        if update.block_height > account.height:
            account.height = update.block_height
        account.heard = now
        if not account.is_new:
            account.is_new = True
            account.next_new = self.new_accounts
            self.new_accounts = place
        self.store.resize(slot, usdc, positions, count, account.height, <uint32_t>ESTIMATE)
        return 0
