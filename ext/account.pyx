"""The object door to the kernels.

`MarketTable` holds prepared markets side by side, `Account` the positions of one subaccount on them, `Risk`
is the frozen answer. The classes hold and check; the kernels in margin.pxd and liquidation.pxd calculate.

Hazards: an Account keeps its table alive. Neither is meant for writing from two threads at once; readers of a
Risk need no care, it never changes.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.string cimport memset

from decimal import Decimal

from dydx_perf.errors import InputError, UnknownMarketError

from dydx_perf.ext.fixed cimport i128_to_object, object_to_i64, object_to_i128, object_to_u64
from dydx_perf.ext.liquidation_price cimport (
    LIQUIDATION_AT,
    LIQUIDATION_NEVER,
    liquidation_price,
    liquidation_t,
)
from dydx_perf.ext.margin cimport (
    account_risk,
    compare_risk,
    is_initial_collateralized,
    is_liquidatable,
    is_maintenance_collateralized,
    prepare_market,
)
from dydx_perf.ext.structs cimport STATUS_OK, STATUS_OUT_OF_RANGE

BASES = ("chain", "estimate", "sample")
NEVER = "NEVER"
ALWAYS = "ALWAYS"
cdef int64_t HIGHEST_HEIGHT = 1 << 62
cdef int32_t LARGEST_EXPONENT = 32


cdef object checked_integer(argument, value):
    """`value` when it is an int and no bool."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(argument, value, "an int")
    return value


cdef int64_t checked_height(height) except? -2:
    """A block height; -1 for None."""
    if height is None:
        return -1
    if not 0 <= checked_integer("height", height) <= HIGHEST_HEIGHT:
        raise InputError("height", height, f"0 to {HIGHEST_HEIGHT}, or None")
    return height


cdef uint32_t checked_basis(basis) except? 99:
    """The place of a basis in BASES."""
    if not isinstance(basis, str) or basis not in BASES:
        raise InputError("basis", basis, " or ".join(BASES))
    return BASES.index(basis)


cdef class MarketTable:
    """Prepared markets, by index; grows at the end, never shrinks, so an index stays good.

    Rows hang in a list by the age of their last change: who knows the table up to a version finds what changed
    since from the newest on, without a walk over all of them.
    """

    def __cinit__(self):
        self.rows = NULL
        self.origins = NULL
        self.newest = NO_ROW
        self.count = 0
        self.capacity = 0
        self.version = 1
        self.block_height = -1
        self.time = None

    def __dealloc__(self):
        PyMem_Free(self.rows)
        PyMem_Free(self.origins)

    def __len__(self):
        return self.count

    cdef size_t checked(self, object index) except? 0:
        if not 0 <= index < self.count:
            raise InputError("index", index, f"0 to {self.count - 1}")
        return index

    cdef void touch(self, size_t index) noexcept:
        """Make a row the newest of the list."""
        cdef origin_t *origin = &self.origins[index]
        self.version += 1
        origin.changed = self.version
        if self.newest == index:
            return
        if origin.newer != NO_ROW:  # it is in the list, and not its first
            self.origins[origin.newer].older = origin.older
            if origin.older != NO_ROW:
                self.origins[origin.older].newer = origin.newer
        origin.newer = NO_ROW
        origin.older = self.newest
        if self.newest != NO_ROW:
            self.origins[self.newest].newer = index
        self.newest = index

    cdef void derive_source(self, size_t index) noexcept:
        """Lowest height and weakest basis of a row's inputs."""
        cdef market_t *row = &self.rows[index]
        cdef origin_t *origin = &self.origins[index]
        cdef int i
        row.height = origin.height[0]
        row.basis = origin.basis[0]
        for i in range(1, INPUTS):
            if origin.height[i] < row.height:  # -1, not known, is below every height
                row.height = origin.height[i]
            if origin.basis[i] > row.basis:
                row.basis = origin.basis[i]

    def add(self):
        """Append a market that nothing is known of yet, and return its index."""
        cdef market_t *rows
        cdef origin_t *origins
        cdef size_t capacity
        cdef int i
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 8
            rows = <market_t *>PyMem_Realloc(self.rows, capacity * sizeof(market_t))
            if rows == NULL:
                raise MemoryError
            self.rows = rows
            origins = <origin_t *>PyMem_Realloc(self.origins, capacity * sizeof(origin_t))
            if origins == NULL:
                raise MemoryError
            self.origins = origins
            self.capacity = capacity
        memset(&self.rows[self.count], 0, sizeof(market_t))
        memset(&self.origins[self.count], 0, sizeof(origin_t))
        self.rows[self.count].fast_quantums = -1
        self.rows[self.count].height = -1
        for i in range(INPUTS):
            self.origins[self.count].height[i] = -1
        self.origins[self.count].newer = self.origins[self.count].older = NO_ROW
        self.count += 1
        self.touch(self.count - 1)
        return self.count - 1

    def set(
        self, index, *, perpetual_id, atomic_resolution, exponent, price, funding_index, open_interest,
        initial_margin_ppm,
        maintenance_fraction_ppm, open_interest_lower_cap, open_interest_upper_cap, height=-1, basis=0, sources=None,
    ):
        """Replace all inputs of a market and derive the rest; False when one does not fit its C field.

        `height` is -1 for not known, `basis` a place in BASES; both of all inputs, or `sources`: (height, basis)
        of oracle price, funding index, open interest and tier. Where an input does not fit, plain integers answer.
        """
        cdef size_t place = self.checked(index)
        cdef origin_t given
        cdef market_t *row = &self.rows[place]
        cdef int i
        cdef uint32_t given_id = perpetual_id
        for i in range(INPUTS):
            given.height[i], given.basis[i] = (height, basis) if sources is None else sources[i]
        self.touch(place)
        for i in range(INPUTS):
            self.origins[place].height[i] = given.height[i]
            self.origins[place].basis[i] = given.basis[i]
        self.derive_source(place)
        row.perpetual_id = given_id
        row.in_range = 0
        row.fast_quantums = -1
        try:
            row.power = exponent + atomic_resolution + 6
            row.exponent = exponent
            row.price = price
            row.funding_index = funding_index
            row.open_interest = open_interest
            row.initial_margin_ppm = initial_margin_ppm
            row.maintenance_fraction_ppm = maintenance_fraction_ppm
            row.open_interest_lower_cap = open_interest_lower_cap
            row.open_interest_upper_cap = open_interest_upper_cap
        except OverflowError:
            return False
        return prepare_market(row) == STATUS_OK

    # -- one input of one market, without a Python object

    cdef status_t try_price(self, size_t index, uint64_t price, market_t *out) noexcept:
        """What a row becomes with another oracle price; only a row that holds all its inputs, and then does."""
        out[0] = self.rows[index]
        if not out.in_range:
            return STATUS_OUT_OF_RANGE
        out.price = price
        return prepare_market(out)

    cdef status_t try_funding_index(self, size_t index, int64_t funding_index, market_t *out) noexcept:
        """The same with another funding index, which nothing is derived from."""
        out[0] = self.rows[index]
        out.funding_index = funding_index
        return STATUS_OK if out.in_range else STATUS_OUT_OF_RANGE

    cdef status_t try_open_interest(self, size_t index, int64_t open_interest, market_t *out) noexcept:
        """The same with another open interest."""
        out[0] = self.rows[index]
        if not out.in_range:
            return STATUS_OUT_OF_RANGE
        out.open_interest = open_interest
        return prepare_market(out)

    cdef void put(
        self, size_t index, const market_t *changed, int what, int64_t height, uint32_t basis
    ) noexcept:
        """Make a row what `try_` said, and note where its input is from; the market's object reads it when asked."""
        self.rows[index] = changed[0]
        self.touch(index)
        self.origins[index].moved = self.version
        self.origins[index].height[what] = height
        self.origins[index].basis[what] = basis
        self.derive_source(index)

    def move(self, index, what, value, height, basis):
        """Change one input by its place in `sources`; False when plain Python must: it does not fit, or the row.

        Parameters
        ----------
        index : int
        what : int
            0 oracle price, 1 funding index, 2 open interest.
        value : int
        height, basis : int
            -1 for not known; a place in BASES.
        """
        cdef size_t place = self.checked(index)
        cdef market_t changed
        cdef uint64_t price = 0
        cdef int64_t amount = 0
        cdef status_t status
        if what == INPUT_ORACLE_PRICE:
            if not object_to_u64(value, &price):
                return False
            status = self.try_price(place, price, &changed)
        elif not object_to_i64(value, &amount):
            return False
        elif what == INPUT_FUNDING_INDEX:
            status = self.try_funding_index(place, amount, &changed)
        else:
            status = self.try_open_interest(place, amount, &changed)
        if status != STATUS_OK:
            return False
        self.put(place, &changed, what, height, basis)
        return True

    def moved(self, index, since):
        """(version, oracle price, funding index, open interest) of a row that `move` changed past `since`; None."""
        cdef size_t place = self.checked(index)
        cdef uint64_t known = since
        cdef uint64_t version = self.origins[place].moved
        if version == known:
            return None
        return version, self.rows[place].price, self.rows[place].funding_index, self.rows[place].open_interest

    def sources(self, index):
        """(height, basis) of each input: oracle price, funding index, open interest, tier."""
        cdef origin_t *origin = &self.origins[self.checked(index)]
        cdef int i
        return [(origin.height[i], origin.basis[i]) for i in range(<int>INPUTS)]

    def set_block(self, height, time):
        """Say as of which block the table is."""
        self.block_height = -1 if height is None else height
        self.time = time
        self.version += 1

    @property
    def height(self):
        """Block of the newest state; None: not known."""
        return None if self.block_height < 0 else self.block_height


@cython.final
@cython.freelist(64)
@cython.no_gc  # holds ints and the caller's block time: no cycle is worth a collector's visit of every risk
cdef class Risk:
    """Net collateral and margin requirements of a subaccount at one moment; never changes.

    Amounts are ints in quote quantums (1e-6 USDC); names that end in `_usdc` give the same as exact Decimals.
    `basis` says where the inputs come from ("chain", "estimate" or "sample"), `height` is the block of the
    oldest input (None where it is not known), `time` when the newest known block was made.
    """

    def __init__(self):
        raise TypeError("a Risk comes from a Subaccount")

    @staticmethod
    def from_integers(nc, imr, mmr, height=None, basis="estimate", time=None):
        """A risk of any size, from plain integers in quote quantums.

        `height` is the block it is of (None: not known), `basis` "chain", "estimate" or "sample".
        """
        checked_integer("nc", nc)
        checked_integer("imr", imr)
        checked_integer("mmr", mmr)
        return risk_of_integers(nc, imr, mmr, checked_height(height), checked_basis(basis), time)

    @property
    def nc(self):
        """Net collateral in quote quantums."""
        return i128_to_object(self.c.nc) if self.integers is None else self.integers[0]

    @property
    def imr(self):
        """Initial margin requirement in quote quantums."""
        return i128_to_object(self.c.imr) if self.integers is None else self.integers[1]

    @property
    def mmr(self):
        """Maintenance margin requirement in quote quantums."""
        return i128_to_object(self.c.mmr) if self.integers is None else self.integers[2]

    @property
    def net_collateral(self):
        """Settled USDC plus the value of all positions, in quote quantums."""
        return self.nc

    @property
    def initial_margin_requirement(self):
        """What opening, withdrawing and transferring need, in quote quantums."""
        return self.imr

    @property
    def maintenance_margin_requirement(self):
        """What keeping the positions needs, in quote quantums."""
        return self.mmr

    @property
    def net_collateral_usdc(self):
        """Net collateral in USDC, exact."""
        return Decimal(f"{self.nc}E-6")

    @property
    def initial_margin_requirement_usdc(self):
        """Initial margin requirement in USDC, exact."""
        return Decimal(f"{self.imr}E-6")

    @property
    def maintenance_margin_requirement_usdc(self):
        """Maintenance margin requirement in USDC, exact."""
        return Decimal(f"{self.mmr}E-6")

    @property
    def is_initial_collateralized(self):
        """nc >= imr: may open, withdraw and transfer."""
        return is_initial_collateralized(&self.c) if self.integers is None else self.nc >= self.imr

    @property
    def is_maintenance_collateralized(self):
        """nc >= mmr."""
        return is_maintenance_collateralized(&self.c) if self.integers is None else self.nc >= self.mmr

    @property
    def is_liquidatable(self):
        """mmr > 0 and mmr > nc: the chain may liquidate; nc equal to mmr is safe."""
        return is_liquidatable(&self.c) if self.integers is None else 0 < self.mmr > self.nc

    @property
    def height(self):
        """Block of the oldest input; None where one is not known."""
        return None if self.block_height < 0 else self.block_height

    @property
    def basis(self):
        """"chain", "estimate" or "sample": the weakest of the inputs."""
        return BASES[self.basis_code]

    @property
    def distance(self):
        """nc - mmr in quote quantums: how much value may be lost before the account is liquidatable."""
        return self.nc - self.mmr

    def is_riskier_than(self, other):
        """The chain's ordering: nc / mmr by cross multiplication, then larger mmr, then smaller nc."""
        cdef Risk risk
        if not isinstance(other, Risk):
            raise InputError("other", other, "a Risk")
        risk = <Risk>other
        if self.integers is None and risk.integers is None:
            return compare_risk(&self.c, &risk.c) > 0
        left, right = risk.nc * self.mmr, self.nc * risk.mmr
        if left != right:
            return left > right
        if self.mmr != risk.mmr:
            return self.mmr > risk.mmr
        return self.mmr == 0 and self.nc < risk.nc

    def __eq__(self, other):
        if not isinstance(other, Risk):
            return NotImplemented
        return (self.nc, self.imr, self.mmr) == (other.nc, other.imr, other.mmr)

    def __hash__(self):
        return hash((self.nc, self.imr, self.mmr))

    def __reduce__(self):
        return Risk.from_integers, (self.nc, self.imr, self.mmr, self.height, self.basis, self.time)

    def __repr__(self):
        height = "" if self.height is None else f", height={self.height}"
        return (
            f"Risk(net_collateral={self.nc}, initial_margin_requirement={self.imr}, "
            f"maintenance_margin_requirement={self.mmr}, basis={self.basis!r}{height})"
        )


cdef Risk risk_of_integers(nc, imr, mmr, int64_t height, uint32_t basis, time):
    """A risk of ints of any size."""
    cdef Risk risk = Risk.__new__(Risk)
    risk.block_height = height
    risk.basis_code = basis
    risk.time = time
    if not (
        object_to_i128(nc, &risk.c.nc)
        and object_to_i128(imr, &risk.c.imr)
        and object_to_i128(mmr, &risk.c.mmr)
    ):
        risk.integers = (nc, imr, mmr)
    return risk


@cython.final
@cython.freelist(64)
cdef class OraclePrice:
    """An oracle price: the chain's integer and its exact Decimal of USDC for one coin; never changes."""

    def __init__(self, integer, exponent):
        if not 0 <= checked_integer("integer", integer) < 1 << 64:
            raise InputError("integer", integer, "0 to 2**64 - 1")
        if not -LARGEST_EXPONENT <= checked_integer("exponent", exponent) <= LARGEST_EXPONENT:
            raise InputError("exponent", exponent, f"-{LARGEST_EXPONENT} to {LARGEST_EXPONENT}")
        self.integer = integer
        self.exponent = exponent

    @property
    def decimal(self):
        """integer * 10**exponent USDC, exact."""
        return Decimal(f"{self.integer}E{self.exponent}")

    def __eq__(self, other):
        if not isinstance(other, OraclePrice):
            return NotImplemented
        return self.integer == (<OraclePrice>other).integer and self.exponent == (<OraclePrice>other).exponent

    def __hash__(self):
        return hash((self.integer, self.exponent))

    def __reduce__(self):
        return OraclePrice, (self.integer, self.exponent)

    def __str__(self):
        return f"{self.decimal:f}"

    def __repr__(self):
        return f"OraclePrice(integer={self.integer}, decimal=Decimal('{self.decimal}'))"


cdef class Account:
    """Balance and positions of one subaccount on a table of markets.

    A subclass gives `exact_risk` and `exact_liquidation_price`, which take over where an amount passes 128
    bits.
    """

    def __cinit__(self, MarketTable table not None, *args, **kwargs):
        self.table = table
        self.row_of = {}
        self.rows = NULL
        self.version = 1
        self.seen_table_version = 0
        self.own_height = -1
        self.own_basis = 0

    def __dealloc__(self):
        PyMem_Free(self.rows)

    def write(self, usdc, positions, height=-1, basis=0):
        """Replace balance and positions, all or nothing.

        A position is (name, market index, quantums, funding index, quote balance, custom_imf_ppm). Amounts
        past the C fields make the account wide: plain integers answer for it. Arguments are the caller's to check.
        """
        cdef list given = list(positions)
        cdef size_t count = len(given)
        cdef int64_t own_height = height
        cdef uint32_t own_basis = basis
        cdef int64_t usdc_quantums = 0
        cdef bint wide = not object_to_i64(usdc, &usdc_quantums)
        cdef dict row_of = {}
        cdef position_t *row
        cdef position_t *before = self.rows
        cdef size_t i
        cdef position_t *rows = <position_t *>PyMem_Calloc(count, sizeof(position_t))
        if rows == NULL:
            raise MemoryError
        try:
            for i in range(count):
                name, market, quantums, funding_index, quote_balance, custom_imf_ppm = given[i]
                row = &rows[i]
                row.market = self.table.checked(market)
                row.custom_imf_ppm = custom_imf_ppm
                if not (
                    object_to_i64(quantums, &row.quantums)
                    and object_to_i64(funding_index, &row.funding_index)
                    and object_to_i64(quote_balance, &row.quote_balance)
                ):
                    wide = True
                row_of[name] = i
        except BaseException:
            PyMem_Free(rows)
            raise
        # Nothing fails from here on.
        self.rows = rows
        self.count = count
        self.row_of = row_of
        self.usdc_quantums = usdc_quantums
        self.wide = wide
        self.own_height = own_height
        self.own_basis = own_basis
        self.version += 1
        PyMem_Free(before)

    cdef Risk compute(self):
        cdef Risk risk
        cdef size_t i
        cdef int64_t height = self.own_height
        cdef uint32_t basis = self.own_basis
        cdef market_t *market
        for i in range(self.count):
            market = &self.table.rows[self.rows[i].market]
            if market.height < height:  # -1, not known, is below every height
                height = market.height
            if market.basis > basis:
                basis = market.basis
        risk = Risk.__new__(Risk)
        if self.wide or account_risk(
            self.table.rows, self.rows, self.count, self.usdc_quantums, &risk.c
        ) != STATUS_OK:
            nc, imr, mmr = self.exact_risk()
            return risk_of_integers(nc, imr, mmr, height, basis, self.table.time)
        risk.block_height = height
        risk.basis_code = basis
        risk.time = self.table.time
        return risk

    def exact_risk(self):
        """Return (nc, imr, mmr) by plain integers; a subclass gives it."""
        raise OverflowError("an amount of this account passes 128 bits")

    def evaluate(self):
        """Compute the risk anew, funding settled at the current indices."""
        return self.compute()

    def liquidation_price(self, market):
        """Oracle price at which the chain calls this account liquidatable, other prices held.

        For a long the highest such price integer, for a short the lowest; "NEVER" when there is none,
        "ALWAYS" when every price of that side is one. Constant time once `risk` is known.

        Parameters
        ----------
        market : str
            Ticker of a market in which the account holds a position.

        Returns
        -------
        OraclePrice or str
            The price, "NEVER" or "ALWAYS".

        Raises
        ------
        UnknownMarketError
            No such market.
        InputError
            No position in that market.
        """
        cdef Risk risk = self.risk
        cdef position_t *position
        cdef market_t *row
        cdef liquidation_t kind = LIQUIDATION_NEVER
        cdef uint64_t price = 0
        cdef OraclePrice found
        cdef object place = self.row_of.get(market) if isinstance(market, str) else None
        if place is None:
            return self.exact_liquidation_price(market)
        position = &self.rows[<size_t>place]
        row = &self.table.rows[position.market]
        if (
            self.wide
            or risk.integers is not None
            or position.quantums == 0
            or liquidation_price(row, position.quantums, &risk.c, &kind, &price) != STATUS_OK
        ):
            return self.exact_liquidation_price(market)
        if kind != LIQUIDATION_AT:
            return NEVER if kind == LIQUIDATION_NEVER else ALWAYS
        found = OraclePrice.__new__(OraclePrice)
        found.integer = price
        found.exponent = row.exponent
        return found

    def exact_liquidation_price(self, market):
        """The same by plain integers, or the refusal of a market without a position; a subclass gives it."""
        if market not in self.row_of:
            raise UnknownMarketError(market)
        raise OverflowError("an amount of this account passes 128 bits")

    @property
    def risk(self):
        """Risk as the markets and the account stand now; computed once per state."""
        cdef uint64_t version = self.version
        cdef uint64_t table_version = self.table.version
        if self.seen_version != version or self.seen_table_version != table_version:
            # exact_risk is a subclass's: should it write, what it computed is of the state before
            self.cached = self.compute()
            self.seen_version = version
            self.seen_table_version = table_version
        return self.cached
