# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Loops in C around the installed kernels, and empty calls: what is left of a time when Python is taken away.

An outside consumer of the package: it is compiled by the benchmarks against the installed headers.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, strtod

from dydx_perf.ext.depth cimport ASK, BID, Depth, best_price, next_arrival, set_level, uncross, view_t
from dydx_perf.ext.fixed cimport i128_to_object
from dydx_perf.ext.frame cimport FRAME_OK, FrameScanner
from dydx_perf.ext.liquidation_price cimport (
    LIQUIDATION_AT,
    LIQUIDATION_NEVER,
    liquidation_price,
    liquidation_t,
)
from dydx_perf.ext.margin cimport account_risk, compare_risk, prepare_market, state_transition
from dydx_perf.ext.numtext cimport NUMTEXT_OK, numtext_to_fixed
from dydx_perf.ext.structs cimport STATUS_OK, market_t, position_t, risk_t


cdef class EmptyAccount:
    """Called as an account is, and does nothing."""

    def nothing(self):
        return None

    def new_object(self):
        return EmptyAnswer.__new__(EmptyAnswer)


@cython.final
@cython.freelist(64)
cdef class EmptyAnswer:
    """As large as a Risk."""

    cdef int64_t words[10]
    cdef object time
    cdef tuple integers


cdef class Texts:
    """Texts side by side in memory, each ended by a zero as strtod wants it."""

    cdef bytes characters
    cdef size_t count
    cdef size_t *starts
    cdef int scale

    def __cinit__(self, texts, int scale):
        cdef size_t i, at = 0
        self.count = len(texts)
        self.scale = scale
        self.characters = b"".join(text + b"\0" for text in texts)
        self.starts = <size_t *>malloc((self.count + 1) * sizeof(size_t))
        if self.starts == NULL:
            raise MemoryError
        for i in range(self.count):
            self.starts[i] = at
            at += len(texts[i]) + 1
        self.starts[self.count] = at

    def __dealloc__(self):
        free(self.starts)

    def values(self):
        """Every text as an exact integer."""
        cdef const char *characters = self.characters
        cdef int64_t value = 0
        cdef size_t i
        found = []
        for i in range(self.count):
            if numtext_to_fixed(
                characters + self.starts[i], self.starts[i + 1] - self.starts[i] - 1, self.scale, &value
            ) != NUMTEXT_OK:
                raise ValueError(i)
            found.append(value)
        return found

    def parse_all(self):
        """Parse every text once; a sum keeps the compiler from leaving the work out."""
        cdef const char *characters = self.characters
        cdef int64_t value = 0, total = 0
        cdef size_t i
        for i in range(self.count):
            if numtext_to_fixed(
                characters + self.starts[i], self.starts[i + 1] - self.starts[i] - 1, self.scale, &value
            ) != NUMTEXT_OK:
                raise ValueError(i)
            total ^= value
        return total

    def strtod_all(self):
        """The same by the C library, in double."""
        cdef const char *characters = self.characters
        cdef double total = 0.0
        cdef size_t i
        for i in range(self.count):
            total += strtod(characters + self.starts[i], NULL)
        return total


cdef class Frames:
    """Frames side by side in memory, as a socket's buffer has them."""

    cdef FrameScanner scanner
    cdef bytes characters
    cdef size_t count
    cdef size_t *starts

    def __cinit__(self, FrameScanner scanner, frames):
        cdef size_t i, at = 0
        self.scanner = scanner
        self.count = len(frames)
        self.characters = b"".join(frames)
        self.starts = <size_t *>malloc((self.count + 1) * sizeof(size_t))
        if self.starts == NULL:
            raise MemoryError
        for i in range(self.count):
            self.starts[i] = at
            at += len(frames[i])
        self.starts[self.count] = at

    def __dealloc__(self):
        free(self.starts)

    def scan_all(self):
        """Scan every frame once; a sum over the records is what comes of it."""
        cdef const char *characters = self.characters
        cdef int64_t total = 0
        cdef size_t i, j
        for i in range(self.count):
            if self.scanner.scan(characters + self.starts[i], self.starts[i + 1] - self.starts[i]) != FRAME_OK:
                raise ValueError(i)
            for j in range(self.scanner.c.header.records):
                total ^= self.scanner.c.records[j].price ^ self.scanner.c.records[j].size
        return total


cdef class Accounts:
    """Accounts of equal size on one table of prepared markets."""

    cdef market_t *markets
    cdef position_t *positions
    cdef int64_t *usdc
    cdef risk_t *risks
    cdef size_t market_count, count, size

    def __cinit__(self, perpetuals, states):
        cdef size_t i, j
        self.market_count = len(perpetuals)
        self.count = len(states)
        self.size = len(states[0].perpetual_positions)
        self.markets = <market_t *>malloc(self.market_count * sizeof(market_t))
        self.positions = <position_t *>malloc(self.count * self.size * sizeof(position_t))
        self.usdc = <int64_t *>malloc(self.count * sizeof(int64_t))
        self.risks = <risk_t *>malloc(self.count * sizeof(risk_t))
        if self.markets == NULL or self.positions == NULL or self.usdc == NULL or self.risks == NULL:
            raise MemoryError
        place = {}
        for i, perpetual in enumerate(perpetuals):
            place[perpetual.perpetual_id] = i
            self.markets[i] = market_t(
                price=perpetual.price, power=perpetual.exponent + perpetual.atomic_resolution + 6,
                initial_margin_ppm=perpetual.initial_margin_ppm,
                maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
                funding_index=perpetual.funding_index, open_interest=perpetual.open_interest,
                open_interest_lower_cap=perpetual.open_interest_lower_cap,
                open_interest_upper_cap=perpetual.open_interest_upper_cap, height=-1, in_range=1,
            )
            if prepare_market(&self.markets[i]) != STATUS_OK:
                raise ValueError(perpetual)
        for i, state in enumerate(states):
            self.usdc[i] = state.asset_positions[0].quantums
            for j, position in enumerate(state.perpetual_positions):
                self.positions[i * self.size + j] = position_t(
                    quantums=position.quantums, funding_index=position.funding_index,
                    quote_balance=position.quote_balance, market=place[position.perpetual_id],
                    custom_imf_ppm=state.leverage.get(position.perpetual_id, 0),
                )

    def __dealloc__(self):
        free(self.markets)
        free(self.positions)
        free(self.usdc)
        free(self.risks)

    def evaluate_all(self):
        """The risk of every account."""
        cdef size_t i
        for i in range(self.count):
            if account_risk(
                self.markets, self.positions + i * self.size, self.size, self.usdc[i], &self.risks[i]
            ) != STATUS_OK:
                raise ValueError(i)

    def risk(self, size_t i):
        """(nc, imr, mmr) of the last `evaluate_all`."""
        return (
            i128_to_object(self.risks[i].nc), i128_to_object(self.risks[i].imr), i128_to_object(self.risks[i].mmr)
        )

    def compare_all(self):
        """Each risk against the next one: how many are riskier."""
        cdef size_t i
        cdef int riskier = 0
        for i in range(self.count):
            riskier += compare_risk(&self.risks[i], &self.risks[(i + 1) % self.count]) > 0
        return riskier

    def transition_all(self):
        """Each risk as an update of the one before: how many of them the chain lets pass."""
        cdef size_t i
        cdef int passing = 0
        for i in range(self.count):
            passing += state_transition(&self.risks[i], &self.risks[(i + 1) % self.count]) == 0
        return passing

    def liquidation_prices(self):
        """Liquidation price of the first position of every account; the prices, or what stands in their place."""
        cdef size_t i
        cdef position_t *position
        cdef liquidation_t kind
        cdef uint64_t price = 0
        found = []
        for i in range(self.count):
            position = self.positions + i * self.size
            if liquidation_price(
                &self.markets[position.market], position.quantums, &self.risks[i], &kind, &price
            ) != STATUS_OK:
                raise ValueError(i)
            found.append(
                price if kind == LIQUIDATION_AT else "NEVER" if kind == LIQUIDATION_NEVER else "ALWAYS"
            )
        return found

    def liquidation_prices_all(self):
        """The same without making anything of them."""
        cdef size_t i
        cdef position_t *position
        cdef liquidation_t kind
        cdef uint64_t price = 0, total = 0
        for i in range(self.count):
            position = self.positions + i * self.size
            if liquidation_price(
                &self.markets[position.market], position.quantums, &self.risks[i], &kind, &price
            ) != STATUS_OK:
                raise ValueError(i)
            total ^= price
        return total


cdef struct change_t:
    int64_t price
    int64_t size
    int side


cdef class Changes:
    """Changes of an order book by price level, and the book."""

    cdef Depth depth
    cdef change_t *changes
    cdef size_t count

    def __cinit__(self, Depth depth not None, changes):
        cdef size_t i
        self.depth = depth
        self.count = len(changes)
        self.changes = <change_t *>malloc(self.count * sizeof(change_t))
        if self.changes == NULL:
            raise MemoryError
        for i, (is_bid, price, size) in enumerate(changes):
            self.changes[i] = change_t(price=price, size=size, side=BID if is_bid else ASK)

    def __dealloc__(self):
        free(self.changes)

    def apply_all(self):
        """Every change, each an arrival of its own."""
        cdef size_t i
        for i in range(self.count):
            next_arrival(&self.depth.c, 0.0)
            if set_level(
                &self.depth.c, self.changes[i].side, self.changes[i].price, self.changes[i].size
            ) != STATUS_OK:
                raise ValueError(i)

    def apply_and_read_all(self):
        """Every change, and after each the best prices of the uncrossed view; their sum."""
        cdef size_t i
        cdef view_t view
        cdef int64_t total = 0
        for i in range(self.count):
            next_arrival(&self.depth.c, 0.0)
            if set_level(
                &self.depth.c, self.changes[i].side, self.changes[i].price, self.changes[i].size
            ) != STATUS_OK:
                raise ValueError(i)
            uncross(&self.depth.c, &view)
            total += best_price(&self.depth.c, &view, BID) + best_price(&self.depth.c, &view, ASK)
        return total
