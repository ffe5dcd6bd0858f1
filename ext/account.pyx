"""The object door to the kernels.

`MarketTable` holds prepared markets side by side, `Account` the positions of one subaccount on them, `Risk` is
the frozen answer. The classes hold and check; the kernels in margin.pxd and liquidation.pxd calculate.

Hazards: an Account keeps its table alive. Neither is meant for writing from two threads at once; readers of a
Risk need no care, it never changes.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memset

from decimal import Decimal

from dydx_perf.errors import InputError, UnknownMarketError

from dydx_perf.ext.fixed cimport i128_to_object, object_to_i64, object_to_i128
from dydx_perf.ext.liquidation_price cimport (
    LIQUIDATION_ALWAYS,
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
from dydx_perf.ext.structs cimport STATUS_OK

BASES = ("chain", "estimate", "sample")
NEVER = "NEVER"
ALWAYS = "ALWAYS"


cdef class MarketTable:
    """Prepared markets, by index; grows at the end, never shrinks, so an index stays good."""

    def __cinit__(self):
        self.rows = NULL
        self.count = 0
        self.capacity = 0
        self.version = 1
        self.block_height = -1
        self.time = None

    def __dealloc__(self):
        PyMem_Free(self.rows)

    def __len__(self):
        return self.count

    cdef size_t checked(self, object index) except? 0:
        if not 0 <= index < self.count:
            raise InputError("index", index, f"0 to {self.count - 1}")
        return index

    def add(self):
        """Append a market that nothing is known of yet, and return its index."""
        cdef market_t *rows
        cdef size_t capacity
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 8
            rows = <market_t *>PyMem_Realloc(self.rows, capacity * sizeof(market_t))
            if rows == NULL:
                raise MemoryError
            self.rows = rows
            self.capacity = capacity
        memset(&self.rows[self.count], 0, sizeof(market_t))
        self.rows[self.count].fast_quantums = -1
        self.rows[self.count].height = -1
        self.count += 1
        self.version += 1
        return self.count - 1

    def set(
        self, index, *, perpetual_id, atomic_resolution, exponent, price, funding_index, open_interest, initial_margin_ppm,
        maintenance_fraction_ppm, open_interest_lower_cap, open_interest_upper_cap, height, basis,
    ):
        """Replace all inputs of a market and derive the rest; False when one does not fit its C field."""
        cdef market_t *row = &self.rows[self.checked(index)]
        self.version += 1
        row.perpetual_id = perpetual_id
        row.basis = basis
        row.height = height
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

    def set_price(self, index, price, height, basis):
        """Replace the oracle price integer of a market; False when it does not fit."""
        cdef market_t *row = &self.rows[self.checked(index)]
        self.version += 1
        row.height = height
        row.basis = basis
        if not row.in_range:
            return False
        row.price = price
        return prepare_market(row) == STATUS_OK

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
cdef class Risk:
    """Net collateral and margin requirements of a subaccount at one moment; never changes.

    Amounts are ints in quote quantums (1e-6 USDC); the names that end in `_usdc` give the same as exact Decimals.
    `basis` says where the inputs come from ("chain", "estimate" or "sample"), `height` is the block of the oldest
    input (None where it is not known), `time` when the newest known block was made.
    """

    def __init__(self):
        raise TypeError("a Risk comes from a Subaccount")

    @staticmethod
    def from_integers(nc, imr, mmr, height=-1, basis=1, time=None):
        """A risk of any size, from plain integers."""
        cdef Risk risk = Risk.__new__(Risk)
        risk.block_height = height
        risk.basis_code = basis
        risk.time = time
        if not (
            object_to_i128(nc, &risk.c.nc) and object_to_i128(imr, &risk.c.imr) and object_to_i128(mmr, &risk.c.mmr)
        ):
            risk.integers = (nc, imr, mmr)
        return risk

    @property
    def nc(self):
        return i128_to_object(self.c.nc) if self.integers is None else self.integers[0]

    @property
    def imr(self):
        return i128_to_object(self.c.imr) if self.integers is None else self.integers[1]

    @property
    def mmr(self):
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

    def is_riskier_than(self, Risk other not None):
        """The chain's ordering: nc / mmr by cross multiplication, then the larger mmr, then the smaller nc."""
        if self.integers is None and other.integers is None:
            return compare_risk(&self.c, &other.c) > 0
        left, right = other.nc * self.mmr, self.nc * other.mmr
        if left != right:
            return left > right
        if self.mmr != other.mmr:
            return self.mmr > other.mmr
        return self.mmr == 0 and self.nc < other.nc

    def __eq__(self, other):
        if not isinstance(other, Risk):
            return NotImplemented
        return (self.nc, self.imr, self.mmr) == (other.nc, other.imr, other.mmr)

    def __hash__(self):
        return hash((self.nc, self.imr, self.mmr))

    def __reduce__(self):
        return Risk.from_integers, (self.nc, self.imr, self.mmr, self.block_height, self.basis_code, self.time)

    def __repr__(self):
        height = "" if self.height is None else f", height={self.height}"
        return (
            f"Risk(net_collateral={self.nc}, initial_margin_requirement={self.imr}, "
            f"maintenance_margin_requirement={self.mmr}, basis={self.basis!r}{height})"
        )


@cython.final
@cython.freelist(64)
cdef class OraclePrice:
    """An oracle price: the chain's integer, and the same as an exact Decimal of USDC for one coin."""

    def __init__(self, integer, exponent):
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

    A subclass gives `exact_risk` and `exact_liquidation_price`, which take over where an amount passes 128 bits.
    """

    def __cinit__(self, MarketTable table not None, *args, **kwargs):
        self.table = table
        self.rows = NULL
        self.version = 1
        self.seen_table_version = 0
        self.own_height = -1
        self.own_basis = 0

    def __dealloc__(self):
        PyMem_Free(self.rows)

    def write(self, usdc, positions, height=-1, basis=0):
        """Replace balance and positions.

        A position is (name, market index, quantums, funding index, quote balance, custom_imf_ppm). Amounts past
        the C fields make the account wide: plain integers answer for it. Arguments are the caller's to check.
        """
        cdef size_t needed = len(positions)
        cdef position_t *rows
        if needed > self.capacity:
            rows = <position_t *>PyMem_Realloc(self.rows, needed * sizeof(position_t))
            if rows == NULL:
                raise MemoryError
            self.rows = rows
            self.capacity = needed
        self.version += 1
        self.own_height = height
        self.own_basis = basis
        self.count = 0
        self.row_of = {}
        self.wide = not object_to_i64(usdc, &self.usdc_quantums)
        for name, market, quantums, funding_index, quote_balance, custom_imf_ppm in positions:
            self.row_of[name] = self.count
            self.rows[self.count].market = self.table.checked(market)
            self.rows[self.count].custom_imf_ppm = custom_imf_ppm
            if not (
                object_to_i64(quantums, &self.rows[self.count].quantums)
                and object_to_i64(funding_index, &self.rows[self.count].funding_index)
                and object_to_i64(quote_balance, &self.rows[self.count].quote_balance)
            ):
                self.wide = True
            self.count += 1

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
        if self.wide or account_risk(self.table.rows, self.rows, self.count, self.usdc_quantums, &risk.c) != STATUS_OK:
            nc, imr, mmr = self.exact_risk()
            return Risk.from_integers(nc, imr, mmr, height, basis, self.table.time)
        risk.block_height = height
        risk.basis_code = basis
        risk.time = self.table.time
        return risk

    def exact_risk(self):
        """(nc, imr, mmr) by plain integers; a subclass gives it."""
        raise OverflowError("an amount of this account passes 128 bits")

    def evaluate(self):
        """Compute the risk anew, funding settled at the current indices."""
        return self.compute()

    def liquidation_price(self, market):
        """Oracle price at which the chain calls this account liquidatable, other prices held.

        For a long the highest such price integer, for a short the lowest; "NEVER" when there is none, "ALWAYS"
        when every price of that side is one. Constant time once `risk` is known.

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
            No position in that market.
        """
        cdef Risk risk = self.risk
        cdef position_t *position
        cdef market_t *row
        cdef liquidation_t kind = LIQUIDATION_NEVER
        cdef uint64_t price = 0
        cdef OraclePrice found
        cdef object place = self.row_of.get(market)
        if place is None:
            raise UnknownMarketError(market)
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
        """The same by plain integers; a subclass gives it."""
        raise OverflowError("an amount of this account passes 128 bits")

    @property
    def risk(self):
        """Risk as the markets and the account stand now; computed once per state."""
        if self.seen_version != self.version or self.seen_table_version != self.table.version:
            self.cached = self.compute()
            self.seen_version = self.version
            self.seen_table_version = self.table.version
        return self.cached
