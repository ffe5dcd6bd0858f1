"""Previews of orders: both of the chain's verdicts in C, and the moment they were reached of.

An `OrderDecision` holds a copy of all that it looked at, so whatever is asked of it later is of that moment.
What the kernel does not decide (amounts past its fields, orders that never get to collateral) is plain integers'.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.account cimport Account, MarketTable, Risk
from dydx_perf.ext.fixed cimport i128_to_object
from dydx_perf.ext.structs cimport STATUS_OK, market_t, position_t, risk_t
from dydx_perf.ext.whatif cimport (
    VERDICT_SUCCESS,
    decide_fill,
    decision_t,
    fill_order,
    match_open_interest_delta,
)

RESULTS = (
    "Success",
    "NewlyUndercollateralized",
    "StillUndercollateralized",
    "ViolatesIsolatedSubaccountConstraints",
)
cdef uint64_t LARGEST_SIZE = (1 << 63) - 1


@cython.final
cdef class Placement:
    """An order in the integers of its market, checked: nothing of it is refused but for position or collateral.

    Amounts are the caller's to check; base quantums past 63 bits are an OverflowError.
    """

    cdef readonly MarketTable table
    cdef size_t index
    cdef int64_t base_quantums
    cdef uint64_t step_base_quantums
    cdef uint64_t subticks
    cdef uint64_t fill_subticks
    cdef int32_t conversion_exponent
    cdef uint32_t builder_fee_ppm
    cdef bint is_buy
    cdef bint is_maker          # matches as a maker
    cdef bint rests             # enters the book
    cdef bint reduce_only
    cdef bint is_isolated

    def __init__(
        self, MarketTable table not None, index, clob_pair, *, is_buy, base_quantums, subticks, fill_subticks,
        builder_fee_ppm, post_only, immediate_or_cancel, reduce_only, is_isolated,
    ):
        self.index = table.checked(index)
        self.table = table
        self.base_quantums = base_quantums
        self.step_base_quantums = clob_pair.step_base_quantums
        self.subticks = subticks
        self.fill_subticks = fill_subticks
        self.conversion_exponent = clob_pair.quantum_conversion_exponent
        self.builder_fee_ppm = builder_fee_ppm
        self.is_buy = is_buy
        self.is_maker = post_only
        self.rests = not immediate_or_cancel
        self.reduce_only = reduce_only
        self.is_isolated = is_isolated


@cython.final
@cython.freelist(16)
cdef class OrderDecision:
    """Two verdicts and the moment they are of; never changes.

    `chain`, `order`, `fee_tier` and `counterparty_quantums` are the caller's, `leverage` the fractions that the
    account had chosen by ticker, `time` when the newest known block was made. `scenario` is the caller's to keep
    what it has made of all this.
    """

    cdef readonly object chain
    cdef readonly object order
    cdef readonly object fee_tier
    cdef readonly object counterparty_quantums
    cdef readonly object leverage
    cdef readonly object time
    cdef public object scenario
    cdef dict row_of
    cdef position_t *positions
    cdef market_t *markets              # one for each position, the order's own last
    cdef size_t count
    cdef int64_t usdc_quantums
    cdef int64_t own_height
    cdef uint32_t own_basis
    cdef size_t place                   # of the position in the order's market; count: there is none
    cdef bint rests
    cdef decision_t resting
    cdef decision_t matching

    def __init__(self):
        raise TypeError("an OrderDecision comes from decide_order")

    def __dealloc__(self):
        PyMem_Free(self.markets)  # the positions lie behind them

    @property
    def passes(self):
        """Whether both checks that apply let the order through."""
        return self.matching.verdict == VERDICT_SUCCESS and (
            not self.rests or self.resting.verdict == VERDICT_SUCCESS
        )

    @property
    def names(self):
        """Tickers of the positions, in their order."""
        return tuple(self.row_of)

    @property
    def source(self):
        """(height, place in BASES) of balance and positions; height -1 for not known."""
        return self.own_height, self.own_basis

    @property
    def usdc(self):
        """Balance in quote quantums, funding not settled."""
        return self.usdc_quantums

    def position_rows(self):
        """Return (perpetual id, quantums, funding index, quote balance) of each position."""
        cdef size_t i
        return [
            (
                self.markets[i].perpetual_id,
                self.positions[i].quantums,
                self.positions[i].funding_index,
                self.positions[i].quote_balance,
            )
            for i in range(self.count)
        ]

    def market_rows(self):
        """Return what may change of the market of each position, and of the order's market at the end.

        (price, funding index, open interest, initial margin and maintenance fraction in ppm, lower and upper cap
        of open interest, height, place in BASES); height -1 for not known.
        """
        cdef size_t i
        cdef market_t *row
        rows = []
        for i in range(self.count + 1):
            row = &self.markets[i]
            rows.append(
                (
                    row.price,
                    row.funding_index,
                    row.open_interest,
                    row.initial_margin_ppm,
                    row.maintenance_fraction_ppm,
                    row.open_interest_lower_cap,
                    row.open_interest_upper_cap,
                    row.height,
                    row.basis,
                )
            )
        return rows

    def verdict(self, bint resting):
        """Return one verdict, or None for an order that never rests.

        (result, risk before, risk after, value, fee, builder's fee, change of USDC, change of open interest,
        position afterwards); quote and base quantums.
        """
        cdef decision_t *made = &self.resting if resting else &self.matching
        cdef int64_t held = self.positions[self.place].quantums if self.place < self.count else 0
        if resting and not self.rests:
            return None
        return (
            RESULTS[<size_t>made.verdict],
            self.risk_of(&made.before, held + made.fill.base_delta),
            self.risk_of(&made.after, held + made.fill.base_delta),
            i128_to_object(made.fill.quote_quantums),
            i128_to_object(made.fill.fee),
            i128_to_object(made.fill.builder_fee),
            i128_to_object(made.fill.usdc_delta),
            made.open_interest_delta,
            held + made.fill.base_delta,
        )

    cdef Risk risk_of(self, const risk_t *amounts, int64_t after):
        """A risk with the sources of what is held afterwards, `after` of it in the order's market."""
        cdef Risk risk = Risk.__new__(Risk)
        cdef int64_t height = self.own_height
        cdef uint32_t basis = self.own_basis
        cdef size_t i
        cdef market_t *market
        for i in range(self.count + 1):
            # at its own place and, of a new position, at the end; what is closed for good is held no more
            if i == self.place:
                if after == 0 and (i == self.count or self.positions[i].quote_balance == 0):
                    continue
            elif i == self.count:
                continue
            market = &self.markets[i]
            if market.height < height:
                height = market.height
            if market.basis > basis:
                basis = market.basis
        risk.c = amounts[0]
        risk.block_height = height
        risk.basis_code = basis
        risk.time = self.time
        return risk


def decide_order(
    Account account not None, Placement placement not None, chain, order, fee_tier, counterparty_quantums,
    dict leverage not None, bint holds_isolated,
):
    """Decide both checks of an order on the account as it stands; None where plain integers have to.

    Parameters
    ----------
    account : Account
    placement : Placement
        Of `order`, on the account's own table.
    chain, order : object
        Kept for the caller; of the order its `ticker` is read.
    fee_tier : object
        With `maker_fee_ppm` and `taker_fee_ppm` of 32 bits.
    counterparty_quantums : int
        Position of the other side of a match, signed base quantums of 64 bits.
    leverage : dict of ticker to int
        Chosen initial margin fractions in ppm; kept, not copied.
    holds_isolated : bool
        Whether the account's one position is in an isolated market.
    """
    cdef Risk risk = account.cached  # looked up where it stands, else asked for
    cdef OrderDecision made
    cdef market_t *market = &placement.table.rows[placement.index]
    cdef size_t count = account.count
    cdef size_t place = count
    cdef size_t i
    cdef int64_t held = 0
    cdef int64_t filled = placement.base_quantums
    cdef uint32_t custom_imf_ppm
    cdef bint violates_isolated
    cdef int32_t maker_fee_ppm = fee_tier.maker_fee_ppm
    cdef int32_t taker_fee_ppm = fee_tier.taker_fee_ppm
    cdef int64_t other = counterparty_quantums
    cdef char *memory
    if account.seen_version != account.version or account.seen_table_version != account.table.version:
        risk = account.risk
    if account.wide or risk.integers is not None or not market.in_range or placement.table is not account.table:
        return None
    for i in range(count):
        if not account.table.rows[account.rows[i].market].in_range:  # its row is not all there: no copy of it
            return None
        if account.rows[i].market == placement.index:
            place = i
            held = account.rows[i].quantums
    if placement.reduce_only:
        # against the position, cut down to it, in whole steps; else it is refused
        if held >= 0 if placement.is_buy else held <= 0:
            return None
        if held < -<int64_t>LARGEST_SIZE:
            return None
        filled = min(filled, -held if held < 0 else held)
        if <uint64_t>filled % placement.step_base_quantums:
            return None
    if place < count:
        custom_imf_ppm = account.rows[place].custom_imf_ppm
    else:
        custom_imf_ppm = leverage.get(order.ticker, 0)
    violates_isolated = (placement.is_isolated or holds_isolated) and count > 0 and place == count
    made = OrderDecision.__new__(OrderDecision)
    made.rests = placement.rests
    if made.rests:
        made.resting.open_interest_delta = 0
        if fill_order(
            placement.is_buy, placement.base_quantums, placement.subticks, placement.conversion_exponent,
            maker_fee_ppm, placement.builder_fee_ppm, True, &made.resting.fill,
        ) != STATUS_OK:
            return None
        if decide_fill(market, &risk.c, held, custom_imf_ppm, violates_isolated, &made.resting) != STATUS_OK:
            return None
    if fill_order(
        placement.is_buy, filled, placement.fill_subticks, placement.conversion_exponent,
        maker_fee_ppm if placement.is_maker else taker_fee_ppm, placement.builder_fee_ppm, False,
        &made.matching.fill,
    ) != STATUS_OK:
        return None
    if match_open_interest_delta(
        held, other, made.matching.fill.base_delta, &made.matching.open_interest_delta
    ) != STATUS_OK:
        return None
    if decide_fill(market, &risk.c, held, custom_imf_ppm, violates_isolated, &made.matching) != STATUS_OK:
        return None
    # one piece of memory, the wider structs first
    memory = <char *>PyMem_Malloc((count + 1) * sizeof(market_t) + count * sizeof(position_t))
    if memory == NULL:
        raise MemoryError
    made.markets = <market_t *>memory
    made.positions = <position_t *>(memory + (count + 1) * sizeof(market_t))
    for i in range(count):
        made.positions[i] = account.rows[i]
        made.markets[i] = account.table.rows[account.rows[i].market]
    made.markets[count] = market[0]
    made.count = count
    made.place = place
    made.row_of = account.row_of
    made.usdc_quantums = account.usdc_quantums
    made.own_height = account.own_height
    made.own_basis = account.own_basis
    made.time = account.table.time
    made.leverage = leverage
    made.chain = chain
    made.order = order
    made.fee_tier = fee_tier
    made.counterparty_quantums = counterparty_quantums
    return made
