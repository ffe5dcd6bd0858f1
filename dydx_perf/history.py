"""The last rows of each market, in fixed memory: prices, funding index, open interest; views without a copy.

Hazards: a column is a view of live memory, to be read before the ring has turned once more (`History.column`
says when). One thread appends; readers on others see whole rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dydx_perf.chain import Chain
from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.ext.ring import Ring
from dydx_perf.market import UINT64_MAX, Market, checked_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["History"]

#: name -> kind: q is int64, Q is uint64
COLUMNS = {
    "height": "q",  # block; -1: not known
    "time": "q",  # as the caller counts it, for example nanoseconds; 0 if not given
    "oracle_price": "Q",  # the chain's integer
    "mark_price": "Q",  # in the same unit; 0: none was given
    "funding_index": "q",
    "open_interest": "q",  # base quantums
}
KINDS = "".join(COLUMNS.values())
PLACE = {name: place for place, name in enumerate(COLUMNS)}


class History:
    """Rings of the same size for markets of a chain.

    Parameters
    ----------
    chain : Chain
    capacity : int
        Rows kept per market.
    markets : iterable of str, optional
        Tickers; by default all that the chain has now.

    Raises
    ------
    CapacityError
        There is no memory for it.
    """

    def __init__(self, chain: Chain, capacity: int, *, markets: Iterable[str] | None = None) -> None:
        if not isinstance(chain, Chain):
            raise InputError("chain", chain, "a Chain")
        tickers = chain.tickers if markets is None else [chain[ticker].ticker for ticker in markets]
        self._chain = chain
        self._capacity = capacity
        self._rings = {ticker: Ring(capacity, KINDS) for ticker in tickers}

    @staticmethod
    def memory_needed(capacity: int, markets: int) -> int:
        """Bytes for so many rows of so many markets; each row is kept twice."""
        return 2 * 8 * len(COLUMNS) * capacity * markets

    def append(self, market: str, *, time: int = 0, mark_price: int = 0) -> None:
        """Write one row of a market as it is now, in place of the oldest; the memory stays what it is.

        Parameters
        ----------
        market : str
            Ticker.
        time : int
            The caller's own count; nothing here reads a clock.
        mark_price : int
            An estimate by the caller, in the unit of the oracle price; the chain has none.

        Raises
        ------
        InputError
            A value does not fit 64 bits; nothing was written.
        """
        self._ring(market).append(*row_of(self._chain[market], time, mark_price))

    def record(self, *, time: int = 0) -> None:
        """Write one row of every market, all or none."""
        rows = [(ring, row_of(self._chain[ticker], time, 0)) for ticker, ring in self._rings.items()]
        for ring, row in rows:
            ring.append(*row)

    def column(self, market: str, name: str, count: int | None = None) -> NDArray[Any]:
        """Return the newest values of a column, oldest first: a read-only NumPy view, nothing is copied.

        It shows the same values until ``capacity - count + 1`` more rows of the market are written; then they
        are overwritten one by one. Copy what is to stay.

        Parameters
        ----------
        market : str
            Ticker.
        name : "height", "time", "oracle_price", "mark_price", "funding_index" or "open_interest"
        count : int, optional
            By default all there are.
        """
        if name not in PLACE:
            raise InputError("name", name, ", ".join(COLUMNS))
        return self._ring(market).view(PLACE[name], count)

    def frame(self, market: str, count: int | None = None) -> Any:
        """Return a pandas DataFrame of the newest rows, a copy; prices stay the chain's integers.

        A price is so many times ``10**frame.attrs["price_exponent"]`` USDC. pandas is imported here only.
        """
        pandas = import_module("pandas")
        columns = {name: self.column(market, name, count).copy() for name in COLUMNS}
        frame = pandas.DataFrame(columns)
        frame.attrs["market"] = market
        frame.attrs["price_exponent"] = self._chain[market].price_exponent
        return frame

    def __len__(self) -> int:
        return len(self._rings)

    def rows(self, market: str) -> int:
        """Return how many rows of a market there are, at most the capacity."""
        return len(self._ring(market))

    @property
    def capacity(self) -> int:
        """Rows kept per market."""
        return self._capacity

    @property
    def memory(self) -> int:
        """Bytes of all rings."""
        return sum(ring.nbytes for ring in self._rings.values())

    def _ring(self, market: str) -> Ring:
        ring = self._rings.get(market)
        if ring is None:
            raise UnknownMarketError(market)
        return ring


def row_of(market: Market, time: int, mark_price: int) -> tuple[int, int, int, int, int, int]:
    """Return a market's row, every value of which fits its column."""
    perpetual = market.perpetual
    values = (
        -1 if market.height is None else market.height,
        checked_integer("time", time, -(2**63), 2**63 - 1),
        perpetual.price,
        checked_integer("mark_price", mark_price, 0, UINT64_MAX),
        perpetual.funding_index,
        perpetual.open_interest,
    )
    for name in ("funding_index", "open_interest"):
        value = values[PLACE[name]]
        if not -(2**63) <= value < 2**63:
            raise InputError(name, value, "of at most 64 bits in a history")
    return values
