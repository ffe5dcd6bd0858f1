"""Plain Python twin of `dydx_perf.ext.account`, for builds without 128-bit integers.

Same names, same answers, no speed. A subclass gives `exact_risk` and `exact_liquidation_price`.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NoReturn, Self, final

from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.exact.arith import MAX_UINT64
from dydx_perf.exact.margin import compare_risk, is_initial_collateralized, is_liquidatable
from dydx_perf.exact.margin import is_maintenance_collateralized as is_maintenance_covered
from dydx_perf.exact.state import RiskState

BASES = ("chain", "estimate", "sample")
NEVER = "NEVER"
ALWAYS = "ALWAYS"
#: nothing decides an order faster than the plain integers of `dydx_perf.exact.whatif` here
OrderDecision = Placement = decide_order = None


INPUTS = 4  # oracle price, funding index, open interest, tier
HIGHEST_HEIGHT = 1 << 62
LARGEST_EXPONENT = 32


def checked_integer(argument: str, value: object) -> int:
    """`value` when it is an int and no bool."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(argument, value, "an int")
    return value


def checked_height(height: object) -> int:
    """A block height; -1 for None."""
    if height is None:
        return -1
    checked = checked_integer("height", height)
    if not 0 <= checked <= HIGHEST_HEIGHT:
        raise InputError("height", height, f"0 to {HIGHEST_HEIGHT}, or None")
    return checked


def checked_basis(basis: object) -> int:
    """The place of a basis in BASES."""
    if not isinstance(basis, str) or basis not in BASES:
        raise InputError("basis", basis, " or ".join(BASES))
    return BASES.index(basis)


class MarketTable:
    """Where each market's inputs come from; the inputs themselves stay with the markets."""

    def __init__(self) -> None:
        self._sources: list[tuple[int, int]] = []  # (height, basis), the lowest and the weakest
        self._inputs: list[tuple[tuple[int, int], ...]] = []  # (height, basis) of each input
        self._height: int | None = None
        self._time: object = None

    def __len__(self) -> int:
        return len(self._sources)

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle 'MarketTable' object")

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self._sources):
            raise InputError("index", index, f"0 to {len(self._sources) - 1}")
        return index

    def add(self) -> int:
        """Append a market and return its index."""
        self._sources.append((-1, 0))
        self._inputs.append(((-1, 0),) * INPUTS)
        return len(self._sources) - 1

    def set(
        self,
        index: int,
        *,
        height: int = -1,
        basis: int = 0,
        sources: Sequence[tuple[int, int]] | None = None,
        **inputs: int,
    ) -> bool:
        """Note a change of a market; always in range."""
        given = ((height, basis),) * INPUTS if sources is None else tuple(sources)
        self._inputs[self._checked(index)] = given
        self._sources[index] = min(one for one, _ in given), max(one for _, one in given)
        return True

    def move(self, index: int, what: int, value: int, height: int, basis: int) -> bool:
        """Leave every change to the market itself."""
        self._checked(index)
        return False

    def moved(self, index: int, since: int) -> None:
        """Nothing changes past a market."""
        self._checked(index)

    def sources(self, index: int) -> list[tuple[int, int]]:
        """(height, basis) of each input: oracle price, funding index, open interest, tier."""
        return list(self._inputs[self._checked(index)])

    def set_block(self, height: int | None, time: object) -> None:
        """Say as of which block the table is."""
        self._height = height
        self._time = time

    @property
    def height(self) -> int | None:
        """Block of the newest state; None: not known."""
        return self._height

    @property
    def time(self) -> object:
        """When that block was made; None: not known."""
        return self._time


@final
class Risk:
    """Net collateral and margin requirements of a subaccount at one moment; never changes."""

    __slots__ = ("_basis_code", "_height", "_state", "_time")

    _state: RiskState
    _height: int
    _basis_code: int
    _time: object

    def __init__(self) -> None:
        raise TypeError("a Risk comes from a Subaccount")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'Risk' is not an acceptable base type")

    @staticmethod
    def from_integers(
        nc: int,
        imr: int,
        mmr: int,
        height: int | None = None,
        basis: str = "estimate",
        time: object = None,
    ) -> "Risk":
        """A risk of any size, from plain integers in quote quantums."""
        for name, value in (("nc", nc), ("imr", imr), ("mmr", mmr)):
            checked_integer(name, value)
        risk = Risk.__new__(Risk)
        for name, kept in (
            ("_state", RiskState(nc, imr, mmr)),
            ("_height", checked_height(height)),
            ("_basis_code", checked_basis(basis)),
            ("_time", time),
        ):
            object.__setattr__(risk, name, kept)
        return risk

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Risk never changes; {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Risk never changes; {name} cannot be deleted")

    @property
    def nc(self) -> int:
        """Net collateral in quote quantums."""
        return self._state.nc

    @property
    def imr(self) -> int:
        """Initial margin requirement in quote quantums."""
        return self._state.imr

    @property
    def mmr(self) -> int:
        """Maintenance margin requirement in quote quantums."""
        return self._state.mmr

    net_collateral = nc
    initial_margin_requirement = imr
    maintenance_margin_requirement = mmr

    @property
    def net_collateral_usdc(self) -> Decimal:
        """Net collateral in USDC, exact."""
        return Decimal(f"{self.nc}E-6")

    @property
    def initial_margin_requirement_usdc(self) -> Decimal:
        """Initial margin requirement in USDC, exact."""
        return Decimal(f"{self.imr}E-6")

    @property
    def maintenance_margin_requirement_usdc(self) -> Decimal:
        """Maintenance margin requirement in USDC, exact."""
        return Decimal(f"{self.mmr}E-6")

    @property
    def is_initial_collateralized(self) -> bool:
        """`nc >= imr`: may open, withdraw and transfer."""
        return is_initial_collateralized(self._state)

    @property
    def is_maintenance_collateralized(self) -> bool:
        """`nc >= mmr`."""
        return is_maintenance_covered(self._state)

    @property
    def is_liquidatable(self) -> bool:
        """`mmr > 0 and mmr > nc`: the chain may liquidate; nc equal to mmr is safe."""
        return is_liquidatable(self._state)

    @property
    def height(self) -> int | None:
        """Block of the oldest input; None where one is not known."""
        return None if self._height < 0 else self._height

    @property
    def basis(self) -> str:
        """Where the inputs are from: chain, estimate or sample, the weakest of them."""
        return BASES[self._basis_code]

    @property
    def time(self) -> object:
        """When the newest known block was made."""
        return self._time

    @property
    def distance(self) -> int:
        """`nc - mmr` in quote quantums: how much value may be lost before the account is liquidatable."""
        return self.nc - self.mmr

    def is_riskier_than(self, other: "Risk") -> bool:
        """The chain's ordering of two risks."""
        if not isinstance(other, Risk):
            raise InputError("other", other, "a Risk")
        return compare_risk(self._state, other._state) > 0

    def __eq__(self, other: object) -> bool:
        return self._state == other._state if isinstance(other, Risk) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.nc, self.imr, self.mmr))

    def __reduce__(self) -> tuple[Any, ...]:
        return Risk.from_integers, (self.nc, self.imr, self.mmr, self.height, self.basis, self.time)

    def __repr__(self) -> str:
        height = "" if self.height is None else f", height={self.height}"
        return (
            f"Risk(net_collateral={self.nc}, initial_margin_requirement={self.imr}, "
            f"maintenance_margin_requirement={self.mmr}, basis={self.basis!r}{height})"
        )


@final
class OraclePrice:
    """An oracle price: the chain's integer, and the same as an exact Decimal; never changes."""

    __slots__ = ("_exponent", "_integer")

    _integer: int
    _exponent: int

    def __init__(self, integer: int, exponent: int) -> None:
        if not 0 <= checked_integer("integer", integer) <= MAX_UINT64:
            raise InputError("integer", integer, "0 to 2**64 - 1")
        if not -LARGEST_EXPONENT <= checked_integer("exponent", exponent) <= LARGEST_EXPONENT:
            raise InputError("exponent", exponent, f"-{LARGEST_EXPONENT} to {LARGEST_EXPONENT}")
        object.__setattr__(self, "_integer", integer)
        object.__setattr__(self, "_exponent", exponent)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'OraclePrice' is not an acceptable base type")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an OraclePrice never changes; {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an OraclePrice never changes; {name} cannot be deleted")

    @property
    def integer(self) -> int:
        """The chain's integer."""
        return self._integer

    @property
    def exponent(self) -> int:
        """USDC for one coin = integer * 10**exponent."""
        return self._exponent

    @property
    def decimal(self) -> Decimal:
        """`integer * 10**exponent` USDC, exact."""
        return Decimal(f"{self.integer}E{self.exponent}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OraclePrice):
            return NotImplemented
        return (self.integer, self.exponent) == (other.integer, other.exponent)

    def __hash__(self) -> int:
        return hash((self.integer, self.exponent))

    def __reduce__(self) -> tuple[Any, ...]:
        return OraclePrice, (self.integer, self.exponent)

    def __str__(self) -> str:
        return f"{self.decimal:f}"

    def __repr__(self) -> str:
        return f"OraclePrice(integer={self.integer}, decimal=Decimal('{self.decimal}'))"


class Account:
    """Balance and positions of one subaccount on a table of markets."""

    # Two underscores: a subclass's own names cannot meet these.
    __table: MarketTable
    __markets: dict[str, int]  # name of a market -> its index
    __source: tuple[int, int]

    def __new__(cls, table: MarketTable, *args: object, **kwargs: object) -> Self:
        """Make an empty account, before any __init__ checks anything."""
        if not isinstance(table, MarketTable):
            raise TypeError(f"table is no MarketTable but a {type(table).__name__}")
        account = super().__new__(cls)
        account.__table = table
        account.__markets = {}
        account.__source = (-1, 0)
        return account

    @property
    def table(self) -> MarketTable:
        """The markets it is on."""
        return self.__table

    def write(
        self,
        usdc: int,
        positions: Iterable[tuple[str, int, int, int, int, int]],
        height: int = -1,
        basis: int = 0,
    ) -> None:
        """Note which markets the account holds."""
        held = {row[0]: self.__table._checked(row[1]) for row in positions}
        self.__markets, self.__source = held, (height, basis)

    def exact_risk(self) -> tuple[int, int, int]:
        """(nc, imr, mmr); a subclass gives it."""
        raise TypeError("a subclass gives exact_risk")

    def exact_liquidation_price(self, market: str) -> OraclePrice | str:
        """The liquidation price, or the refusal of a market without a position; a subclass gives it."""
        if market not in self.__markets:
            raise UnknownMarketError(market)
        raise TypeError("a subclass gives exact_liquidation_price")

    def evaluate(self) -> Risk:
        """Compute the risk, funding settled at the current indices."""
        sources = [self.__source, *(self.__table._sources[index] for index in self.__markets.values())]
        height = min(height for height, _ in sources)
        basis = max(basis for _, basis in sources)
        nc, imr, mmr = self.exact_risk()
        return Risk.from_integers(
            nc, imr, mmr, None if height < 0 else height, BASES[basis], self.__table.time
        )

    @property
    def risk(self) -> Risk:
        """Risk as the markets and the account stand now."""
        return self.evaluate()

    def liquidation_price(self, market: str) -> OraclePrice | str:
        """Oracle price at which the chain calls this account liquidatable, other prices held."""
        return self.exact_liquidation_price(market)
