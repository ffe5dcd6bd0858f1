"""Live subscriptions of one connection, their accounts and order books, as `HotFeed` finds them.

Hazards: one thread uses it. Frames of accounts are held until they are asked for or a newer one takes their place.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from dydx_perf.errors import InputError

from dydx_perf.ext.account cimport INPUT_ORACLE_PRICE
from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.depth cimport Depth
from dydx_perf.ext.fixed cimport pow10
from dydx_perf.ext.frame cimport (
    FRAME_BLOCK_HEIGHT,
    FRAME_MARKETS,
    FRAME_NO_CHANNEL,
    FRAME_ORDERBOOK,
    FRAME_PARENT_SUBACCOUNTS,
    FRAME_SUBACCOUNTS,
    FRAME_TRADES,
    FrameScanner,
)
from dydx_perf.ext.text_hash cimport hash_text

#: name of a channel -> its code
CHANNELS = {
    "v4_markets": FRAME_MARKETS,
    "v4_orderbook": FRAME_ORDERBOOK,
    "v4_trades": FRAME_TRADES,
    "v4_subaccounts": FRAME_SUBACCOUNTS,
    "v4_parent_subaccounts": FRAME_PARENT_SUBACCOUNTS,
    "v4_block_height": FRAME_BLOCK_HEIGHT,
}


cdef class FeedLines:
    """What may be taken, and where it goes.

    Parameters
    ----------
    store : BookStore or IndexedStore
        Its table is the chain that oracle prices go to.
    scanner : FrameScanner
        Markets are registered under their index in the table.
    """

    def __cinit__(self, AccountStore store not None, FrameScanner scanner not None, *args):
        cdef uint32_t i
        self.market_capacity = store.capacity["markets"]
        self.quotes = NULL
        self.lines = NULL
        self.accounts = NULL
        self.places = NULL
        self.store = store
        self.table = store.table
        self.scanner = scanner
        self.markets_line = self.blocks_line = self.free_account = NO_LINE
        self.line_of = {}
        self.ids = []
        self.kept = []
        self.depths = [None] * self.market_capacity
        self.quotes = <quote_t *>PyMem_Calloc(self.market_capacity, sizeof(quote_t))
        if self.quotes == NULL:
            raise MemoryError
        for i in range(self.market_capacity):
            self.quotes[i].book_line = self.quotes[i].trades_line = NO_LINE
        self.index_lines()

    def __dealloc__(self):
        PyMem_Free(self.quotes)
        PyMem_Free(self.lines)
        PyMem_Free(self.accounts)
        PyMem_Free(self.places)

    # -- what the caller says

    def route(self, channel, line_id, last_id, *, depth=None, price_power=0):
        """A subscription is live: take its frames here.

        Parameters
        ----------
        channel, line_id : str
            The id of an order book or of trades is a ticker that the scanner knows.
        last_id : int
            Number of the newest message on it.
        depth : Depth, optional
            Of an order book.
        price_power : int
            Prices of the order book are those on the wire, as the scanner counts them, times 10**price_power.
        """
        cdef uint8_t code = CHANNELS[channel]
        cdef uint32_t market = 0
        cdef int32_t power = price_power
        cdef Depth book
        cdef uint32_t place
        if not -18 <= power <= 18:
            raise InputError("price_power", price_power, "-18 to 18")
        if code == FRAME_ORDERBOOK or code == FRAME_TRADES:
            if line_id not in self.scanner.scales:
                raise InputError("line_id", line_id, "a market that the scanner knows")
            market = self.scanner.scales[line_id][0]
            if market >= self.market_capacity:
                raise InputError("line_id", line_id, "a market that the book has a row for")
        book = depth
        place = self.line(channel, line_id)
        self.lines[place].last_id = last_id
        self.lines[place].live = True
        if code == FRAME_ORDERBOOK:
            self.depths[market] = book
            self.quotes[market].depth = NULL if book is None else &book.c
            self.quotes[market].multiplier = <uint64_t>pow10(<uint32_t>power) if power > 0 else 1
            self.quotes[market].divisor = <uint64_t>pow10(<uint32_t>-power) if power < 0 else 1
            self.quotes[market].book_line = place
        elif code == FRAME_TRADES:
            self.quotes[market].trades_line = place
        elif code == FRAME_MARKETS:
            self.markets_line = place
        elif code == FRAME_BLOCK_HEIGHT:
            self.blocks_line = place

    def unroute(self, channel, line_id):
        """Take no more frames of a subscription; its accounts are forgotten."""
        cdef object found = self.line_of.pop((channel, line_id), None)
        cdef uint32_t place, account, i
        if found is None:
            return
        place = found
        while self.lines[place].account != NO_LINE:
            account = self.lines[place].account
            self.lines[place].account = self.accounts[account].next
            self.accounts[account].next = self.free_account
            self.free_account = account
            self.kept[account] = None
        self.lines[place].live = False
        self.lines[place].channel = FRAME_NO_CHANNEL
        self.ids[place] = None
        for i in range(self.market_capacity):
            if self.quotes[i].book_line == place:
                self.quotes[i].book_line = NO_LINE
                self.quotes[i].depth = NULL
                self.depths[i] = None
            if self.quotes[i].trades_line == place:
                self.quotes[i].trades_line = NO_LINE
        if self.markets_line == place:
            self.markets_line = NO_LINE
        if self.blocks_line == place:
            self.blocks_line = NO_LINE
        self.index_lines()

    def route_account(self, channel, line_id, number, handle, floor):
        """Take rows of an account that a subscription tells of, of blocks from `floor` on.

        Parameters
        ----------
        channel, line_id : str
            Of a subaccount, or of a parent.
        number : int
        handle : int
            Of the account in the book.
        floor : int
            Lowest block of an event that is not in the book yet.
        """
        cdef uint32_t line = self.line(channel, line_id)
        cdef uint32_t place = self.lines[line].account
        cdef account_t *grown
        cdef uint32_t capacity
        cdef int32_t wanted = number
        cdef int64_t named = handle
        cdef int64_t lowest = floor
        while place != NO_LINE and self.accounts[place].number != wanted:
            place = self.accounts[place].next
        if place == NO_LINE:
            place = self.free_account
            if place != NO_LINE:
                self.free_account = self.accounts[place].next
            else:
                if self.account_count == self.account_capacity:
                    capacity = 2 * self.account_capacity if self.account_capacity else 4
                    grown = <account_t *>PyMem_Realloc(self.accounts, capacity * sizeof(account_t))
                    if grown == NULL:
                        raise MemoryError
                    self.accounts = grown
                    self.account_capacity = capacity
                place = self.account_count
                self.kept.append(None)
                self.account_count += 1
            memset(&self.accounts[place], 0, sizeof(account_t))
            self.accounts[place].number = wanted
            self.accounts[place].next = self.lines[line].account
            self.lines[line].account = place
        if self.kept[place] is None:
            self.kept[place] = [None] * MAX_KEPT
        self.accounts[place].handle = named
        self.accounts[place].floor = lowest

    def withhold_price(self, market, withheld):
        """Leave oracle prices of a market, by its index, to the caller; or take them again."""
        cdef uint32_t index = market
        if index < self.market_capacity:
            self.quotes[index].withheld = bool(withheld)

    # -- what was taken

    def last_id(self, channel, line_id):
        """Number of the newest message on a subscription; -1: it is not routed."""
        cdef object found = self.line_of.get((channel, line_id))
        return -1 if found is None else self.lines[<uint32_t>found].last_id

    def take_prices(self):
        """Oracle prices taken here since the last call, the newest of each market.

        Returns
        -------
        list of (market index, time it came, by how much the price integer moved, block)
        """
        cdef uint32_t i
        cdef list found = []
        for i in range(self.market_capacity):
            if self.quotes[i].is_new:
                self.quotes[i].is_new = False
                found.append((
                    i, self.quotes[i].heard, self.quotes[i].last_move,
                    self.table.origins[i].height[<int>INPUT_ORACLE_PRICE],
                ))
        return found

    def take_accounts(self):
        """Accounts that were told of here since the last call, the first one first, and the frames kept of them.

        Returns
        -------
        list of (channel, id, number, block of the newest event, time it came, time the first one came, frames)
            Frames are the last for each market, [(market index, frame)], oldest first; they are kept no longer.
        """
        cdef uint32_t place, i
        cdef account_t *account
        cdef list found = []
        for (channel, line_id), line in self.line_of.items():
            place = self.lines[<uint32_t>line].account
            while place != NO_LINE:
                account = &self.accounts[place]
                if account.is_new:
                    kept = self.kept[place]
                    frames = sorted([
                        (account.rows[i].arrival, account.rows[i].market, i) for i in range(account.kept)
                        if kept[i] is not None
                    ])
                    found.append((account.since, (
                        channel, line_id, account.number, account.floor, account.heard, account.first_heard,
                        [(market, kept[row]) for _, market, row in frames],
                    )))
                    account.is_new = False
                    account.kept = 0
                    self.kept[place] = [None] * MAX_KEPT
                place = account.next
        return [told for _, told in sorted(found)]

    # -- places

    cdef uint32_t line(self, object channel, object line_id) except? 0xffffffff:
        """Line of a subscription, made when there is none."""
        cdef object found = self.line_of.get((channel, line_id))
        cdef uint8_t code = CHANNELS[channel]
        cdef line_t *grown
        cdef uint32_t place
        cdef uint32_t capacity
        if found is not None:
            return found
        encoded = line_id.encode()
        address, _, number = line_id.partition("/")
        of_account = code == FRAME_SUBACCOUNTS or code == FRAME_PARENT_SUBACCOUNTS
        if of_account and not (number.isascii() and number.isdigit() and len(number) < 10):
            raise InputError("line_id", line_id, "address/number")
        for place in range(self.line_count):
            if self.lines[place].channel == FRAME_NO_CHANNEL:
                break
        else:
            if self.line_count == self.line_capacity:
                capacity = 2 * self.line_capacity if self.line_capacity else 16
                grown = <line_t *>PyMem_Realloc(self.lines, capacity * sizeof(line_t))
                if grown == NULL:
                    raise MemoryError
                self.lines = grown
                self.line_capacity = capacity
            place = self.line_count
            self.ids.append(None)
            self.line_count += 1
        memset(&self.lines[place], 0, sizeof(line_t))
        self.ids[place] = encoded
        self.lines[place].id = PyBytes_AS_STRING(encoded)
        self.lines[place].id_length = <uint32_t>len(encoded)
        self.lines[place].address_length = <uint32_t>len(address.encode())
        self.lines[place].number = int(number) if of_account else -1
        self.lines[place].channel = code
        self.lines[place].account = NO_LINE
        self.line_of[channel, line_id] = place
        self.index_lines()
        return place

    cdef int index_lines(self) except -1:
        """Make the table of hashes anew, at most half of it taken."""
        cdef uint32_t size = 16
        cdef uint32_t place, hashed
        cdef uint32_t *places
        while size < 2 * self.line_count:
            size *= 2
        places = <uint32_t *>PyMem_Realloc(self.places, size * sizeof(uint32_t))
        if places == NULL:
            raise MemoryError
        self.places = places
        self.place_mask = size - 1
        for place in range(size):
            places[place] = NO_LINE
        for place in range(self.line_count):
            if self.lines[place].channel != FRAME_NO_CHANNEL:
                hashed = hash_text(self.lines[place].id, self.lines[place].id_length, self.lines[place].channel)
                self.lines[place].next = places[hashed & self.place_mask]
                places[hashed & self.place_mask] = place
        return 0
