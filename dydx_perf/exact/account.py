"""Plain Python twin of `dydx_perf.ext.account`, for builds without 128-bit integers.

Same names, same answers, no speed. A subclass gives `exact_risk` and `exact_liquidation_price`.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn, Self

from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.exact.margin import compare_risk, is_initial_collateralized, is_liquidatable
from dydx_perf.exact.margin import is_maintenance_collateralized as is_maintenance_covered
from dydx_perf.exact.state import RiskState

BASES = ("chain", "estimate", "sample")
NEVER = "NEVER"
ALWAYS = "ALWAYS"


class MarketTable:
    """Where each market's inputs come from; the inputs themselves stay with the markets."""

    def __init__(self) -> None:
        self.provenance: list[tuple[int, int]] = []  # (height, basis)
        self.version = 1
        self.height: int | None = None
        self.time: object = None

    def __len__(self) -> int:
        return len(self.provenance)

    def checked(self, index: int) -> int:
        """`index` if there is such a market."""
        if not 0 <= index < len(self.provenance):
            raise InputError("index", index, f"0 to {len(self.provenance) - 1}")
        return index

    def add(self) -> int:
        """Append a market and return its index."""
        self.provenance.append((-1, 0))
        self.version += 1
        return len(self.provenance) - 1

    def set(self, index: int, *, height: int, basis: int, **inputs: int) -> bool:
        """Note a change of a market."""
        self.provenance[self.checked(index)] = (height, basis)
        self.version += 1
        return True

    def set_price(self, index: int, price: int, height: int, basis: int) -> bool:
        """Note a change of a market's price."""
        return self.set(index, height=height, basis=basis)

    def set_block(self, height: int | None, time: object) -> None:
        """Say as of which block the table is."""
        self.height = height
        self.time = time
        self.version += 1


class Risk:
    """Net collateral and margin requirements of a subaccount at one moment; never changes."""

    __slots__ = ("_basis_code", "_height", "_state", "time")

    _state: RiskState
    _height: int
    _basis_code: int
    time: object

    def __init__(self) -> None:
        raise TypeError("a Risk comes from a Subaccount")

    @staticmethod
    def from_integers(
        nc: int, imr: int, mmr: int, height: int = -1, basis: int = 1, time: object = None
    ) -> "Risk":
        """A risk of any size, from plain integers."""
        risk = Risk.__new__(Risk)
        for name, value in (
            ("_state", RiskState(nc, imr, mmr)),
            ("_height", height),
            ("_basis_code", basis),
            ("time", time),
        ):
            object.__setattr__(risk, name, value)
        return risk

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Risk never changes; {name} cannot be set")

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
        """Nc >= imr: may open, withdraw and transfer."""
        return is_initial_collateralized(self._state)

    @property
    def is_maintenance_collateralized(self) -> bool:
        """Nc >= mmr."""
        return is_maintenance_covered(self._state)

    @property
    def is_liquidatable(self) -> bool:
        """Mmr > 0 and mmr > nc: the chain may liquidate; nc equal to mmr is safe."""
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
    def distance(self) -> int:
        """Nc - mmr in quote quantums: how much value may be lost before the account is liquidatable."""
        return self.nc - self.mmr

    def is_riskier_than(self, other: "Risk") -> bool:
        """The chain's ordering of two risks."""
        return compare_risk(self._state, other._state) > 0

    def __eq__(self, other: object) -> bool:
        return self._state == other._state if isinstance(other, Risk) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.nc, self.imr, self.mmr))

    def __reduce__(self) -> tuple[Any, ...]:
        return Risk.from_integers, (self.nc, self.imr, self.mmr, self._height, self._basis_code, self.time)

    def __repr__(self) -> str:
        height = "" if self.height is None else f", height={self.height}"
        return (
            f"Risk(net_collateral={self.nc}, initial_margin_requirement={self.imr}, "
            f"maintenance_margin_requirement={self.mmr}, basis={self.basis!r}{height})"
        )


class OraclePrice:
    """An oracle price: the chain's integer, and the same as an exact Decimal of USDC for one coin."""

    __slots__ = ("exponent", "integer")

    def __init__(self, integer: int, exponent: int) -> None:
        self.integer = integer
        self.exponent = exponent

    @property
    def decimal(self) -> Decimal:
        """Integer * 10**exponent USDC, exact."""
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

    table: MarketTable
    row_of: dict[str, int]

    def __new__(cls, table: MarketTable, *args: object, **kwargs: object) -> Self:
        """Make an empty account, before any __init__ checks anything."""
        account = super().__new__(cls)
        account.table = table
        account.row_of = {}
        account._rows = []
        account._height = -1
        account._basis = 0
        return account

    _rows: list[int]
    _height: int
    _basis: int

    def write(
        self,
        usdc: int,
        positions: Iterable[tuple[str, int, int, int, int, int]],
        height: int = -1,
        basis: int = 0,
    ) -> None:
        """Note which markets the account holds."""
        rows = list(positions)
        self.row_of = {row[0]: place for place, row in enumerate(rows)}
        self._rows = [self.table.checked(row[1]) for row in rows]
        self._height, self._basis = height, basis

    def exact_risk(self) -> tuple[int, int, int]:
        """(nc, imr, mmr); a subclass gives it."""
        raise TypeError("a subclass gives exact_risk")

    def exact_liquidation_price(self, market: str) -> OraclePrice | str:
        """The liquidation price; a subclass gives it."""
        raise TypeError("a subclass gives exact_liquidation_price")

    def evaluate(self) -> Risk:
        """Compute the risk, funding settled at the current indices."""
        provenance = [self.table.provenance[row] for row in self._rows]
        height = min([self._height, *(height for height, _ in provenance)])
        basis = max([self._basis, *(basis for _, basis in provenance)])
        return Risk.from_integers(*self.exact_risk(), height, basis, self.table.time)

    @property
    def risk(self) -> Risk:
        """Risk as the markets and the account stand now."""
        return self.evaluate()

    def liquidation_price(self, market: str) -> OraclePrice | str:
        """Oracle price at which the chain calls this account liquidatable, other prices held."""
        if market not in self.row_of:
            raise UnknownMarketError(market)
        return self.exact_liquidation_price(market)
