"""A perpetual market: its parameters, its oracle price, its funding index, and where they are from.

Amounts enter as text, int or Decimal and are kept as the chain's integers. A change is checked whole before
anything is changed.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, NoReturn, TypedDict

from dydx_perf.errors import InputError
from dydx_perf.exact.margin import adjusted_initial_margin_ppm, notional
from dydx_perf.exact.state import MARKET_TYPE_CROSS, MARKET_TYPE_ISOLATED, ClobPair, Perpetual
from dydx_perf.kernel import BASES, MarketTable, OraclePrice
from dydx_perf.units import (
    base_quantums_to_size,
    price_to_price_integer,
    subticks_to_price,
    to_decimal,
)

__all__ = ["Amount", "Basis", "Market"]

Amount = str | int | Decimal
Basis = Literal["chain", "estimate", "sample"]

#: what of a market comes from somewhere and has a height and a basis of its own
INPUTS = ("oracle_price", "funding_index", "open_interest", "liquidity_tier")
#: the integers among them, and their names in Perpetual
FIELDS = {"oracle_price": "price", "funding_index": "funding_index", "open_interest": "open_interest"}
ONE_MILLION = 1_000_000
UINT32_MAX, UINT64_MAX = 2**32 - 1, 2**64 - 1
MAX_HEIGHT = 2**62
#: an amount of the chain has far fewer bits; what is derived from amounts below this stays printable
MAX_AMOUNT = 2**4096
MAX_TICKER = 64  # characters
STATUSES = (
    "ACTIVE", "PAUSED", "CANCEL_ONLY", "POST_ONLY", "INITIALIZING", "FINAL_SETTLEMENT",
)  # fmt: skip


def checked_integer(argument: str, value: object, lowest: int | None, highest: int | None) -> int:
    """`value` when it is an int within its bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(argument, value, "an int")
    if lowest is not None and highest is not None:
        allowed = f"{lowest} to {highest}"
    elif lowest is not None and value < lowest:
        allowed = f"at least {lowest}"
    else:
        allowed = "an int of at most 4096 bits"
    lowest = -MAX_AMOUNT if lowest is None else lowest
    highest = MAX_AMOUNT if highest is None else highest
    if not lowest <= value <= highest:
        raise InputError(argument, value, allowed)
    return value


def checked_choice(argument: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value` when it is one of these texts."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(argument, value, " or ".join(choices))
    return value


def is_ticker(ticker: object) -> bool:
    """Tell whether `ticker` is a text that a market may have for a name."""
    return isinstance(ticker, str) and 0 < len(ticker) <= MAX_TICKER


def checked_basis(basis: object) -> int:
    """Return the place of `basis` in BASES."""
    return BASES.index(checked_choice("basis", basis, BASES))


def checked_height(height: object) -> int:
    """Return a block height, -1 for None."""
    return -1 if height is None else checked_integer("height", height, 0, MAX_HEIGHT)


def checked_source(height: object, basis: object) -> tuple[int, int]:
    """Return height and basis as numbers; by default "chain" with a height, "estimate" without."""
    checked = checked_height(height)
    if basis is None:
        return checked, checked_basis("estimate" if height is None else "chain")
    code = checked_basis(basis)
    if basis == "chain" and height is None:
        raise InputError("basis", basis, "chain only with the height of the block that had the value")
    return checked, code


class _Tier(TypedDict):
    initial_margin_ppm: int
    maintenance_fraction_ppm: int
    open_interest_lower_cap: int
    open_interest_upper_cap: int


class Market:
    """One perpetual market of a `Chain`.

    Parameters
    ----------
    ticker : str
        For example "BTC-USD".
    perpetual_id : int
        The chain's number of the perpetual.
    atomic_resolution : int
        One base quantum is 10**atomic_resolution coins.
    price_exponent : int
        The oracle price is an integer times 10**price_exponent USDC for one coin.
    oracle_price : str, int or Decimal
        USDC for one coin, above zero, exact at that exponent.
    initial_margin_ppm, maintenance_fraction_ppm : int
        Of the liquidity tier; at most 1,000,000.
    open_interest : int
        Base quantums of the long side.
    open_interest_lower_cap, open_interest_upper_cap : int
        Quote quantums between which the initial margin grows to 100 %; upper 0: it does not.
    funding_index : int
        Cumulative ppm of a quote quantum for each base quantum.
    market_type : "cross" or "isolated"
    step_base_quantums, subticks_per_tick, quantum_conversion_exponent, status
        Of the order book.
    default_funding_ppm : int
        Added to every funding rate, ppm per 8 hours.
    impact_notional : int
        Quote quantums for which the impact prices are measured.
    clob_pair_id : int, optional
        Number of the order book; the perpetual's own number if not given.
    height : int, optional
        Block of these values.
    basis : "chain", "estimate" or "sample"
        Where they are from. Only values of the chain itself, at a known height, are "chain".

    Raises
    ------
    InputError
        Names the argument, its value and what is allowed.
    """

    def __init__(
        self,
        ticker: str,
        *,
        perpetual_id: int,
        atomic_resolution: int,
        price_exponent: int,
        oracle_price: Amount,
        initial_margin_ppm: int,
        maintenance_fraction_ppm: int,
        open_interest: int = 0,
        open_interest_lower_cap: int = 0,
        open_interest_upper_cap: int = 0,
        funding_index: int = 0,
        market_type: Literal["cross", "isolated"] = "cross",
        default_funding_ppm: int = 0,
        step_base_quantums: int = 1,
        subticks_per_tick: int = 1,
        quantum_conversion_exponent: int = -9,
        status: str = "ACTIVE",
        impact_notional: int = 0,
        clob_pair_id: int | None = None,
        height: int | None = None,
        basis: Basis = "estimate",
    ) -> None:
        if not is_ticker(ticker):
            raise InputError("ticker", ticker, "a text of 1 to 64 characters, like BTC-USD")
        checked_choice("market_type", market_type, ("cross", "isolated"))
        checked_choice("status", status, STATUSES)
        checked_integer("price_exponent", price_exponent, -32, 32)
        checked_integer("perpetual_id", perpetual_id, 0, UINT32_MAX)
        self._ticker = ticker
        self._clob_pair_id = checked_integer(
            "clob_pair_id", perpetual_id if clob_pair_id is None else clob_pair_id, 0, UINT32_MAX
        )
        self._impact_notional = checked_integer("impact_notional", impact_notional, 0, UINT64_MAX)
        perpetual = Perpetual(
            perpetual_id=perpetual_id,
            atomic_resolution=checked_integer("atomic_resolution", atomic_resolution, -32, 32),
            price=self._checked_price("oracle_price", oracle_price, price_exponent),
            exponent=price_exponent,
            funding_index=checked_integer("funding_index", funding_index, None, None),
            open_interest=checked_integer("open_interest", open_interest, 0, None),
            **self._checked_tier(
                initial_margin_ppm,
                maintenance_fraction_ppm,
                open_interest_lower_cap,
                open_interest_upper_cap,
            ),
            market_type=MARKET_TYPE_ISOLATED if market_type == "isolated" else MARKET_TYPE_CROSS,
            default_funding_ppm=checked_integer(
                "default_funding_ppm", default_funding_ppm, -(2**31), 2**31 - 1
            ),
            clob_pair=ClobPair(
                checked_integer("step_base_quantums", step_base_quantums, 1, UINT64_MAX),
                checked_integer("subticks_per_tick", subticks_per_tick, 1, UINT32_MAX),
                checked_integer("quantum_conversion_exponent", quantum_conversion_exponent, -32, 32),
                status,
            ),
        )
        checked_basis(basis)
        #: the integers as this object set them, and up to which move of the table's row they hold
        self._known: tuple[int, Perpetual] = (0, perpetual)
        #: the integers after a later move, and what they are made from
        self._seen: tuple[tuple[int, Perpetual], int, Perpetual] = (self._known, 0, perpetual)
        #: what `dydx_perf.explain` made of the plain integers, and of which
        self._explained: tuple[Perpetual, Any] | None = None
        self._given_sources = (checked_source(height, basis),) * len(INPUTS)
        self._table: MarketTable | None = None
        self._index = -1

    @staticmethod
    def _checked_price(argument: str, value: Amount, exponent: int) -> int:
        price = price_to_price_integer(value, exponent, argument)
        if price == 0:
            raise InputError(
                argument, value, f"{to_decimal(1, exponent):f} to {to_decimal(UINT64_MAX, exponent):f}"
            )
        return price

    @staticmethod
    def _checked_tier(initial: int, fraction: int, lower: int, upper: int) -> _Tier:
        checked_integer("open_interest_lower_cap", lower, 0, UINT64_MAX)
        checked_integer("open_interest_upper_cap", upper, 0, UINT64_MAX)
        if upper and lower > upper:
            raise InputError("open_interest_lower_cap", lower, f"0 to the upper cap, {upper} quote quantums")
        return {
            "initial_margin_ppm": checked_integer("initial_margin_ppm", initial, 0, ONE_MILLION),
            "maintenance_fraction_ppm": checked_integer("maintenance_fraction_ppm", fraction, 0, ONE_MILLION),
            "open_interest_lower_cap": lower,
            "open_interest_upper_cap": upper,
        }

    # -- the table of a chain

    def _enter(self, table: MarketTable) -> None:
        """Become a row of `table`."""
        self._check_free()
        self._index = table.add()  # may run out of memory: then this market is in no chain still
        self._table = table
        self._write()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Market belongs to its chain and is not copied or pickled; its perpetual is")

    def _check_free(self) -> None:
        if self._table is not None:
            raise InputError("market", self._ticker, "a market that is in no chain yet")

    @property
    def perpetual(self) -> Perpetual:
        """The plain integers, as `dydx_perf.exact` takes them."""
        known = self._known
        moved = None if self._table is None else self._table.moved(self._index, known[0])
        if moved is None:
            return known[1]
        seen = self._seen  # read once: another thread may put a later one in its place
        if seen[0] is known and seen[1] == moved[0]:
            return seen[2]
        version, price, funding_index, open_interest = moved
        perpetual = replace(known[1], price=price, funding_index=funding_index, open_interest=open_interest)
        self._seen = (known, version, perpetual)
        return perpetual

    def _sources(self) -> dict[str, tuple[int, int]]:
        """Height and basis of each input; with a table, the table's."""
        given = self._given_sources if self._table is None else self._table.sources(self._index)
        return dict(zip(INPUTS, given, strict=True))

    def _write(self) -> None:
        """Make the table's row what is known here; a market without a table has none."""
        if self._table is None:
            return
        p = self._known[1]
        self._table.set(
            self._index,
            perpetual_id=p.perpetual_id,
            atomic_resolution=p.atomic_resolution,
            exponent=p.exponent,
            price=p.price,
            funding_index=p.funding_index,
            open_interest=p.open_interest,
            initial_margin_ppm=p.initial_margin_ppm,
            maintenance_fraction_ppm=p.maintenance_fraction_ppm,
            open_interest_lower_cap=p.open_interest_lower_cap,
            open_interest_upper_cap=p.open_interest_upper_cap,
            sources=self._given_sources,
        )

    def _set_integer(self, name: str, value: int, source: tuple[int, int]) -> None:
        """Set one checked input of a single value with its source, and bring the table up to date."""
        if self._table is not None and self._table.move(self._index, INPUTS.index(name), value, *source):
            return
        fields: dict[str, Any] = {FIELDS[name]: value}  # what a row of the table does not hold
        self._replace(replace(self.perpetual, **fields), {**self._sources(), name: source})

    def _know(self, perpetual: Perpetual) -> None:
        """Take these integers as they are now, whatever moved the table's row before."""
        moved = None if self._table is None else self._table.moved(self._index, 0)
        self._known = (0 if moved is None else moved[0], perpetual)

    def _replace(self, perpetual: Perpetual, sources: dict[str, tuple[int, int]]) -> None:
        """Take these integers and where they are from, and write both to the table."""
        self._know(perpetual)
        self._given_sources = tuple(sources.values())
        self._write()

    def _confirm(self, height: int) -> None:
        """Every input still holds at `height`."""
        sources = {name: (height, basis) for name, (_, basis) in self._sources().items()}
        self._replace(self.perpetual, sources)

    # -- changes

    def set_oracle_price(
        self, oracle_price: Amount, *, height: int | None = None, basis: Basis | None = None
    ) -> None:
        """Set the oracle price in USDC for one coin.

        Parameters
        ----------
        oracle_price : str, int or Decimal
            Above zero and exact at the market's exponent. A float is refused.
        height : int, optional
            Block at which the chain had this price.
        basis : "chain", "estimate" or "sample", optional
            Where the price is from; by default "chain" with a height and "estimate" without.
        """
        price = self._checked_price("oracle_price", oracle_price, self._known[1].exponent)
        self._set_integer("oracle_price", price, checked_source(height, basis))

    def set_oracle_price_integer(
        self, price: int, *, height: int | None = None, basis: Basis | None = None
    ) -> None:
        """Set the oracle price as the chain's integer, 1 to 2**64 - 1."""
        checked_integer("price", price, 1, UINT64_MAX)
        self._set_integer("oracle_price", price, checked_source(height, basis))

    def set_funding_index(
        self, funding_index: int, *, height: int | None = None, basis: Basis | None = None
    ) -> None:
        """Set the cumulative funding index, any int."""
        checked_integer("funding_index", funding_index, None, None)
        self._set_integer("funding_index", funding_index, checked_source(height, basis))

    def set_open_interest(
        self, open_interest: int, *, height: int | None = None, basis: Basis | None = None
    ) -> None:
        """Set the open interest of the long side in base quantums."""
        checked_integer("open_interest", open_interest, 0, None)
        self._set_integer("open_interest", open_interest, checked_source(height, basis))

    def set_liquidity_tier(
        self,
        *,
        initial_margin_ppm: int,
        maintenance_fraction_ppm: int,
        open_interest_lower_cap: int,
        open_interest_upper_cap: int,
        height: int | None = None,
        basis: Basis | None = None,
    ) -> None:
        """Set the four margin parameters of the liquidity tier together."""
        tier = self._checked_tier(
            initial_margin_ppm, maintenance_fraction_ppm, open_interest_lower_cap, open_interest_upper_cap
        )
        source = checked_source(height, basis)
        self._replace(replace(self.perpetual, **tier), {**self._sources(), "liquidity_tier": source})

    def set_order_book(
        self,
        *,
        step_base_quantums: int | None = None,
        subticks_per_tick: int | None = None,
        quantum_conversion_exponent: int | None = None,
        status: str | None = None,
    ) -> None:
        """Set what is named of the order book: step, tick, status. Risk does not depend on it."""
        given = {
            "step_base_quantums": (step_base_quantums, UINT64_MAX),
            "subticks_per_tick": (subticks_per_tick, UINT32_MAX),
        }
        changed: dict[str, Any] = {
            name: checked_integer(name, value, 1, highest)
            for name, (value, highest) in given.items()
            if value is not None
        }
        if quantum_conversion_exponent is not None:
            changed["quantum_conversion_exponent"] = checked_integer(
                "quantum_conversion_exponent", quantum_conversion_exponent, -32, 32
            )
        if status is not None:
            changed["status"] = checked_choice("status", status, STATUSES)
        self._know(replace(self.perpetual, clob_pair=replace(self.clob_pair, **changed)))

    def set_market_type(self, market_type: Literal["cross", "isolated"]) -> None:
        """Say that the chain made an isolated market a cross one, or the other way round."""
        checked_choice("market_type", market_type, ("cross", "isolated"))
        code = MARKET_TYPE_ISOLATED if market_type == "isolated" else MARKET_TYPE_CROSS
        self._know(replace(self.perpetual, market_type=code))

    # -- what it is

    @property
    def ticker(self) -> str:
        """For example "BTC-USD"."""
        return self._ticker

    @property
    def perpetual_id(self) -> int:
        """The chain's number of the perpetual."""
        return self._known[1].perpetual_id

    @property
    def clob_pair_id(self) -> int:
        """The chain's number of the order book."""
        return self._clob_pair_id

    @property
    def clob_pair(self) -> ClobPair:
        """Step, tick and status of the order book."""
        pair = self._known[1].clob_pair
        assert pair is not None
        return pair

    @property
    def atomic_resolution(self) -> int:
        """One base quantum is 10**atomic_resolution coins."""
        return self._known[1].atomic_resolution

    @property
    def price_exponent(self) -> int:
        """The oracle price integer counts 10**price_exponent USDC."""
        return self._known[1].exponent

    @property
    def is_isolated(self) -> bool:
        """Whether a subaccount in this market may hold no other."""
        return self._known[1].market_type == MARKET_TYPE_ISOLATED

    @property
    def oracle_price(self) -> OraclePrice:
        """The chain's price integer and its exact Decimal."""
        return OraclePrice(self.perpetual.price, self.price_exponent)

    @property
    def funding_index(self) -> int:
        """Cumulative ppm of a quote quantum for each base quantum."""
        return self.perpetual.funding_index

    @property
    def open_interest(self) -> int:
        """Base quantums of the long side."""
        return self.perpetual.open_interest

    @property
    def open_interest_notional(self) -> int:
        """Value of the open interest at the oracle price in quote quantums, toward zero."""
        return notional(self.perpetual, self.perpetual.open_interest)

    @property
    def initial_margin_ppm(self) -> int:
        """Initial margin fraction of the tier."""
        return self._known[1].initial_margin_ppm

    @property
    def scaled_initial_margin_ppm(self) -> int:
        """Initial margin fraction as the chain uses it now: scaled by open interest, floored."""
        return adjusted_initial_margin_ppm(self.perpetual, self.open_interest_notional)

    @property
    def maintenance_fraction_ppm(self) -> int:
        """Maintenance margin as a fraction of the unscaled initial margin."""
        return self._known[1].maintenance_fraction_ppm

    @property
    def initial_margin_fraction(self) -> Decimal:
        """Initial margin fraction of the tier, as the indexer reports it."""
        return to_decimal(self.initial_margin_ppm, -6)

    @property
    def maintenance_margin_fraction(self) -> Decimal:
        """Initial margin fraction times maintenance fraction, as the indexer reports it."""
        return to_decimal(self.initial_margin_ppm * self.maintenance_fraction_ppm, -12)

    @property
    def default_funding_ppm(self) -> int:
        """Added to every funding rate, ppm per 8 hours."""
        return self._known[1].default_funding_ppm

    @property
    def impact_notional(self) -> int:
        """Quote quantums for which the impact prices are measured."""
        return self._impact_notional

    @property
    def step_size(self) -> Decimal:
        """Smallest order size step in coins."""
        return base_quantums_to_size(self.clob_pair.step_base_quantums, self.atomic_resolution)

    @property
    def tick_size(self) -> Decimal:
        """Smallest order price step in USDC."""
        pair = self.clob_pair
        return subticks_to_price(
            pair.subticks_per_tick, self.atomic_resolution, pair.quantum_conversion_exponent
        )

    @property
    def status(self) -> str:
        """Of the order book, for example "ACTIVE"."""
        return self.clob_pair.status

    @property
    def height(self) -> int | None:
        """Block of the oldest of price, funding index, open interest and tier; None: one is not known."""
        height = min(height for height, _ in self._sources().values())
        return None if height < 0 else height

    @property
    def basis(self) -> str:
        """Where the inputs are from: chain, estimate or sample, the weakest of them."""
        return BASES[max(basis for _, basis in self._sources().values())]

    def __repr__(self) -> str:
        return f"Market({self._ticker!r}, oracle_price={str(self.oracle_price)!r}, basis={self.basis!r})"
