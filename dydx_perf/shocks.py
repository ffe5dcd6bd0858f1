"""Scenarios: what is supposed of the markets of a chain, one by one or as arrays.

A `Shock` is one scenario in words: prices, margin fractions, open interest, funding. `Scenarios` holds many
of them as integer arrays, one row for each scenario and one column for each market of the chain, in the
chain's order. They are relative to the chain where they say so (moves, factors, rates), and are resolved
against it when they are used: the same scenarios follow the market.

Roundings, all of integers: a moved price is ``price * ppm // 1_000_000``, at least 1 and at most 2**64 - 1;
an initial margin fraction times a factor is rounded up and stops at 100 %; an open interest times a factor is
rounded down; a funding index grows as the chain computes it. The result is a market as the chain could have
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dydx_perf.errors import InputError
from dydx_perf.exact.funding import funding_index_delta
from dydx_perf.market import ONE_MILLION, UINT64_MAX, Amount, checked_integer
from dydx_perf.units import to_decimal, to_fixed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dydx_perf.chain import Chain
    from dydx_perf.exact.state import Perpetual

__all__ = ["Scenarios", "Shock", "SupposedMarkets"]

SECONDS_PER_HOUR = 3600
MOST_FACTOR = 10**12  # ppm: a million times
#: largest absolute funding index that the columns of an indexed book hold
MOST_INDEX = 2**61


@dataclass(frozen=True, slots=True)
class Shock:
    """One scenario. What is not named stays as it is; each value is of all markets, or a mapping by ticker.

    Attributes
    ----------
    name : str
        Shown with the result.
    moves : str, int, Decimal or mapping, optional
        Price moves: "-0.3" is down by 30 %. Whole millionths, above -1.
    prices : mapping of ticker to int, optional
        Price integers; they count before `moves`.
    initial_margin : str, int, Decimal or mapping, optional
        Factor on the initial margin fraction of the tier, whole millionths. The maintenance margin is a
        fraction of it and moves along, as when the chain changes a tier in a volatile hour. Stops at 100 %.
    max_leverage : int or mapping, optional
        No initial margin fraction below its reciprocal, rounded up to a millionth.
    open_interest : str, int, Decimal or mapping, optional
        Factor on the open interest, which scales the initial margin alone.
    funding_rate : str, int, Decimal or mapping, optional
        Rate for 8 hours that everybody pays for `funding_hours`, at the chain's prices of now: "0.001" is 0.1
        %, from longs to shorts. Whole millionths.
    funding_hours : int
    """

    name: str = ""
    moves: Amount | Mapping[str, Amount] | None = None
    prices: Mapping[str, int] = field(default_factory=dict)
    initial_margin: Amount | Mapping[str, Amount] | None = None
    max_leverage: int | Mapping[str, int] | None = None
    open_interest: Amount | Mapping[str, Amount] | None = None
    funding_rate: Amount | Mapping[str, Amount] | None = None
    funding_hours: int = 1


@dataclass(frozen=True, slots=True)
class SupposedMarkets:
    """The markets of a chain in one scenario: arrays as the kernel takes them, and plain integers."""

    price: NDArray[np.uint64]
    initial_margin_ppm: NDArray[np.uint32]
    maintenance_fraction_ppm: NDArray[np.uint32]
    open_interest: NDArray[np.int64]
    index_change: NDArray[np.int64]
    holds: NDArray[np.uint8]  # 0: a value is past its column
    plain: Callable[[], dict[int, Perpetual]]

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the kernel takes, in its order."""
        return (
            self.price,
            self.initial_margin_ppm,
            self.maintenance_fraction_ppm,
            self.open_interest,
            self.index_change,
            self.holds,
        )


class Scenarios:
    """Many scenarios on the markets of one chain.

    Parameters
    ----------
    chain : Chain
    price_ppm : int64 array [scenario, market]
        Of the price now; 1,000,000: as it is. Above zero.
    prices : uint64 array [scenario, market], optional
        Price integers, which count before `price_ppm`; 0: none.
    initial_margin_ppm : int64 array [scenario, market], optional
        Factor on the tier's initial margin fraction.
    least_initial_margin_ppm : int64 array [scenario, market], optional
        No initial margin fraction below it: 0 to 1,000,000.
    open_interest_ppm : int64 array [scenario, market], optional
        Factor on the open interest.
    funding_ppm : int64 array [scenario, market], optional
        Rate for 8 hours.
    funding_hours : int64 array [scenario], optional
        For how long; by default 1.
    names : sequence of str, optional
        By default their numbers.

    Raises
    ------
    InputError
        Wrong dtype, shape or value.

    Notes
    -----
    The arrays are copied. Markets that come to the chain later stay as they are in every scenario.
    """

    def __init__(
        self,
        chain: Chain,
        price_ppm: NDArray[np.int64],
        *,
        prices: NDArray[np.uint64] | None = None,
        initial_margin_ppm: NDArray[np.int64] | None = None,
        least_initial_margin_ppm: NDArray[np.int64] | None = None,
        open_interest_ppm: NDArray[np.int64] | None = None,
        funding_ppm: NDArray[np.int64] | None = None,
        funding_hours: NDArray[np.int64] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        import numpy as np

        self._chain = chain
        count, markets = len(price_ppm), len(chain)

        def checked(argument: str, given: Any, default: int, lowest: int, highest: int) -> Any:
            if given is None:
                return None
            wanted = "uint64" if argument == "prices" else "int64"
            if not isinstance(given, np.ndarray) or given.dtype != wanted or given.shape != (count, markets):
                raise InputError(
                    argument, given, f"an array of {wanted}, {count} scenarios x {markets} markets"
                )
            if given.size and not lowest <= int(given.min()) <= int(given.max()) <= highest:
                raise InputError(argument, given, f"values of {lowest} to {highest}")
            return None if (given == default).all() else given.copy()

        self._count = count
        self._price_ppm = checked("price_ppm", price_ppm, ONE_MILLION, 1, MOST_FACTOR)
        self._prices = checked("prices", prices, 0, 0, UINT64_MAX)
        self._margin = checked("initial_margin_ppm", initial_margin_ppm, ONE_MILLION, 0, MOST_FACTOR)
        self._least = checked("least_initial_margin_ppm", least_initial_margin_ppm, 0, 0, ONE_MILLION)
        self._interest = checked("open_interest_ppm", open_interest_ppm, ONE_MILLION, 0, MOST_FACTOR)
        self._funding = checked("funding_ppm", funding_ppm, 0, -(10**9), 10**9)
        hours: Any = np.ones(count, np.int64) if funding_hours is None else funding_hours
        if not isinstance(hours, np.ndarray) or hours.dtype != "int64" or hours.shape != (count,):
            raise InputError("funding_hours", hours, f"an array of int64, {count} scenarios")
        if count and not 0 <= int(hours.min()) <= int(hours.max()) <= 24 * 366:
            raise InputError("funding_hours", hours, "0 to 8784 hours")
        self._hours = hours.tolist()
        self._names = tuple(str(i) for i in range(count)) if names is None else tuple(names)
        if len(self._names) != count:
            raise InputError("names", len(self._names), f"{count} names, one for each scenario")

    @classmethod
    def of(cls, chain: Chain, shocks: Iterable[Shock]) -> Scenarios:
        """Take shocks, in their order."""
        import numpy as np

        given = list(shocks)
        shape = len(given), len(chain)
        columns: dict[str, Any] = {
            "price_ppm": np.full(shape, ONE_MILLION, np.int64),
            "prices": np.zeros(shape, np.uint64),
            "initial_margin_ppm": np.full(shape, ONE_MILLION, np.int64),
            "least_initial_margin_ppm": np.zeros(shape, np.int64),
            "open_interest_ppm": np.full(shape, ONE_MILLION, np.int64),
            "funding_ppm": np.zeros(shape, np.int64),
        }
        for row, shock in enumerate(given):
            if not isinstance(shock, Shock):
                raise InputError("shocks", shock, "Shock objects")
            for name, value, least in (
                ("moves", shock.moves, 1 - ONE_MILLION),
                ("initial_margin", shock.initial_margin, 0),
                ("open_interest", shock.open_interest, 0),
                ("funding_rate", shock.funding_rate, -(10**9)),
            ):
                column = columns[AS_COLUMN[name]][row]
                for place, amount in by_place(chain, name, value):
                    ppm = to_fixed(name, amount, 6)
                    if not least <= ppm <= MOST_FACTOR:
                        bounds = f"{to_decimal(least, -6)} to {to_decimal(MOST_FACTOR, -6)}"
                        raise InputError(name, amount, bounds)
                    column[place] = ONE_MILLION + ppm if name == "moves" else ppm
            for ticker, price in shock.prices.items():
                columns["prices"][row][chain[ticker]._index] = checked_integer(
                    f"prices[{ticker!r}]", price, 1, UINT64_MAX
                )
            for place, leverage in by_place(chain, "max_leverage", shock.max_leverage):
                checked_integer("max_leverage", leverage, 1, ONE_MILLION)
                columns["least_initial_margin_ppm"][row][place] = -(-ONE_MILLION // leverage)
        hours = np.array(
            [checked_integer("funding_hours", s.funding_hours, 0, 24 * 366) for s in given], np.int64
        )
        return cls(
            chain, **columns, funding_hours=hours, names=[s.name or str(i) for i, s in enumerate(given)]
        )

    @classmethod
    def grid(cls, chain: Chain, first: Sequence[Shock], second: Sequence[Shock]) -> Scenarios:
        """Combine each shock of `first` with each of `second`, row by row: scenario ``i * len(second) + j``.

        What is named in both counts as in `second`.
        """
        combined = []
        for one in first:
            for other in second:
                default = Shock()
                changed = {
                    name: getattr(other, name)
                    for name in Shock.__dataclass_fields__
                    if name != "name" and getattr(other, name) != getattr(default, name)
                }
                combined.append(replace(one, **changed, name=f"{one.name} {other.name}".strip()))
        return cls.of(chain, combined)

    @classmethod
    def correlated(
        cls, chain: Chain, factors: NDArray[np.float64], loadings: NDArray[np.float64]
    ) -> Scenarios:
        """Draw price moves from factors: the log return of market m in s is ``factors[s] @ loadings[m]``.

        Parameters
        ----------
        factors : float64 array [scenario, factor]
            For example ``numpy.random.default_rng(seed).normal(0, 0.05, (1000, 1))``.
        loadings : float64 array [market, factor]
            In the chain's order of markets.

        Notes
        -----
        Floats draw the scenario; it is then kept in whole millionths, at least 1, and all that follows is
        exact.
        """
        import numpy as np

        factors, loadings = np.asarray(factors, np.float64), np.asarray(loadings, np.float64)
        if factors.ndim != 2 or not np.isfinite(factors).all():
            raise InputError("factors", factors, "finite numbers, [scenario, factor]")
        if loadings.shape != (len(chain), factors.shape[1]) or not np.isfinite(loadings).all():
            raise InputError("loadings", loadings, f"{len(chain)} markets x {factors.shape[1]} factors")
        returns = np.clip(factors @ loadings.T, -13.8, 13.8)
        return cls(chain, np.maximum(np.rint(np.exp(returns) * ONE_MILLION), 1).astype(np.int64))

    @classmethod
    def simulated(
        cls, chain: Chain, covariance: NDArray[np.float64], count: int, generator: np.random.Generator
    ) -> Scenarios:
        """Draw normal log returns of a covariance, without drift.

        Parameters
        ----------
        covariance : float64 array [market, market]
            Of the log returns over the horizon, in the chain's order of markets.
        count : int
        generator : numpy.random.Generator
            The same seed draws the same scenarios.
        """
        import numpy as np

        checked_integer("count", count, 1, 10_000_000)
        given = np.asarray(covariance, np.float64)
        if given.shape != (len(chain), len(chain)) or not np.isfinite(given).all():
            raise InputError("covariance", covariance, f"finite numbers, {len(chain)} x {len(chain)} markets")
        values, vectors = np.linalg.eigh((given + given.T) / 2)
        if not np.allclose(given, given.T) or values.min() < -1e-9 * max(values.max(), 1e-300):
            raise InputError("covariance", covariance, "symmetric, and of no negative variance")
        loadings = vectors * np.sqrt(np.maximum(values, 0.0))
        return cls.correlated(chain, generator.standard_normal((count, len(chain))), loadings)

    @classmethod
    def historical(
        cls,
        chain: Chain,
        prices: NDArray[np.uint64],
        *,
        tickers: Sequence[str] | None = None,
        horizon: int = 1,
    ) -> Scenarios:
        """Repeat what prices did: scenario t moves each market by ``prices[t + horizon] / prices[t]``.

        Parameters
        ----------
        prices : uint64 array [time, market]
            Price integers above zero, below 2**43, oldest first.
        tickers : sequence of str, optional
            Of the columns; by default the chain's markets in their order. The others stay as they are.
        horizon : int
            Steps between the two prices. Scenarios overlap where it is above 1.

        Notes
        -----
        A move is kept in whole millionths, toward zero, at least 1.
        """
        import numpy as np

        names = list(chain.tickers if tickers is None else tickers)
        checked_integer("horizon", horizon, 1, 1_000_000)
        given: Any = prices
        wanted = f"an array of uint64, times x {len(names)} markets"
        if not isinstance(given, np.ndarray) or given.dtype != "uint64" or given.shape[1:] != (len(names),):
            raise InputError("prices", given, wanted)
        if prices.size and not 1 <= int(prices.min()) <= int(prices.max()) < 2**43:
            raise InputError("prices", prices, "price integers of 1 to 2**43 - 1")
        moves = np.maximum(prices[horizon:] * np.uint64(ONE_MILLION) // prices[:-horizon], 1)
        if moves.size and int(moves.max()) > MOST_FACTOR:
            raise InputError("prices", prices, "moves of at most a million times")
        price_ppm = np.full((len(moves), len(chain)), ONE_MILLION, np.int64)
        for column, ticker in enumerate(names):
            price_ppm[:, chain[ticker]._index] = moves[:, column]
        return cls(chain, price_ppm)

    # -- what they are

    @property
    def chain(self) -> Chain:
        """The chain that they are resolved against."""
        return self._chain

    @property
    def names(self) -> tuple[str, ...]:
        """One for each scenario."""
        return self._names

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SupposedMarkets]:
        base = self.base()
        return (self.resolved(i, base) for i in range(self._count))

    def base(self) -> MarketsNow:
        """Return the markets as they are now, to resolve many scenarios against."""
        return MarketsNow([market.perpetual for market in self._chain])

    def resolved(self, scenario: int, base: MarketsNow | None = None) -> SupposedMarkets:
        """Return the markets of one scenario, all of the chain's.

        Parameters
        ----------
        scenario : int
            From 0.
        base : MarketsNow, optional
            What `base` gives, to read it once for many scenarios.
        """
        now = self.base() if base is None else base
        rows = [
            None if column is None else column[scenario]
            for column in (
                self._price_ppm, self._prices, self._margin, self._least, self._interest, self._funding,
            )
        ]  # fmt: skip

        def plain() -> list[Perpetual]:
            values = [None if row is None else row.tolist() for row in rows]
            hours = self._hours[scenario]
            return [supposed(p, values, place, hours) for place, p in enumerate(now.perpetuals)]

        if all(row is None for row in rows[2:]):
            price = now.moved_prices(rows[0], rows[1])
            if price is not None:
                return SupposedMarkets(
                    price,
                    now.initial_margin_ppm,
                    now.maintenance_fraction_ppm,
                    now.open_interest,
                    now.unchanged,
                    now.holds,
                    lambda: {p.perpetual_id: p for p in plain()},
                )
        moved = MarketsNow(plain())
        funding = zip(moved.perpetuals, now.perpetuals, strict=True)
        grown = [new.funding_index - old.funding_index for new, old in funding]
        holds = moved.holds & now.holds
        return SupposedMarkets(
            moved.price,
            moved.initial_margin_ppm,
            moved.maintenance_fraction_ppm,
            moved.open_interest,
            as_column(grown, "i8", holds),
            holds,
            lambda: {p.perpetual_id: p for p in moved.perpetuals},
        )


class MarketsNow:
    """Markets as columns, and whether the columns hold them; a column has 0 where they do not."""

    def __init__(self, perpetuals: list[Perpetual]) -> None:
        import numpy as np

        self.perpetuals = perpetuals
        self.holds = np.array(
            [
                abs(p.funding_index) < MOST_INDEX and p.open_interest < 2**63 and p.initial_margin_ppm < 2**32
                for p in perpetuals
            ],
            "u1",
        )
        self.price = as_column([p.price for p in perpetuals], "u8", self.holds)
        self.initial_margin_ppm = as_column([p.initial_margin_ppm for p in perpetuals], "u4", self.holds)
        self.maintenance_fraction_ppm = as_column(
            [p.maintenance_fraction_ppm for p in perpetuals], "u4", self.holds
        )
        self.open_interest = as_column([p.open_interest for p in perpetuals], "i8", self.holds)
        self.unchanged = np.zeros(len(perpetuals), np.int64)
        self.highest = int(self.price.max()) if len(perpetuals) else 0

    def moved_prices(self, price_ppm: Any, prices: Any) -> Any:
        """Prices of a scenario as a column; None where 64 bits do not hold a product."""
        import numpy as np

        price = self.price
        if price_ppm is not None:
            if self.highest * int(price_ppm.max()) >= 2**63:
                return None
            moved = price.copy()
            known = len(price_ppm)
            moved[:known] = np.maximum(price[:known] * price_ppm.astype("u8") // np.uint64(ONE_MILLION), 1)
            moved[price == 0] = 0
            price = moved
        if prices is not None:
            price = price.copy()
            given = np.flatnonzero(prices)
            price[given] = prices[given]
            price[self.holds == 0] = 0
        return price


def as_column(values: Sequence[int], dtype: str, holds: Any) -> Any:
    """Return integers as an array, 0 where the columns do not hold a market."""
    import numpy as np

    return np.array([value if held else 0 for value, held in zip(values, holds, strict=True)], dtype)


AS_COLUMN = {
    "moves": "price_ppm",
    "initial_margin": "initial_margin_ppm",
    "open_interest": "open_interest_ppm",
    "funding_rate": "funding_ppm",
}


def by_place(chain: Chain, argument: str, value: Any) -> list[tuple[int, Any]]:
    """Return (place of the market, value) of a value for all, or of a mapping."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(chain[ticker]._index, one) for ticker, one in value.items()]
    return [(place, value) for place in range(len(chain))]


def supposed(perpetual: Perpetual, rows: Sequence[Any], place: int, hours: int) -> Perpetual:
    """Return a market with what a scenario says of it."""
    price_ppm, price, margin, least, interest, funding = (
        None if row is None or place >= len(row) else row[place] for row in rows
    )
    changed: dict[str, Any] = {}
    if price:
        changed["price"] = price
    elif price_ppm is not None and price_ppm != ONE_MILLION and perpetual.price:
        changed["price"] = min(max(perpetual.price * price_ppm // ONE_MILLION, 1), UINT64_MAX)
    fraction = perpetual.initial_margin_ppm
    if margin is not None and margin != ONE_MILLION:
        fraction = min(-(-fraction * margin // ONE_MILLION), ONE_MILLION)
    if least and fraction < least:
        fraction = least
    if fraction != perpetual.initial_margin_ppm:
        changed["initial_margin_ppm"] = fraction
    if interest is not None and interest != ONE_MILLION:
        changed["open_interest"] = perpetual.open_interest * interest // ONE_MILLION
    if funding:
        grown = funding_index_delta(perpetual, funding, hours * SECONDS_PER_HOUR)
        changed["funding_index"] = perpetual.funding_index + grown
    return replace(perpetual, **changed) if changed else perpetual
