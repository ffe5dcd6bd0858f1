"""Order books of a session, each on its market as soon as that is known."""

from __future__ import annotations

from collections.abc import Iterable

from dydx_perf.chain import Chain
from dydx_perf.feeds.trades import Level
from dydx_perf.orderbook import OrderBook

__all__ = ["OrderBooks"]

#: messages that wait for their market; after more of them a new snapshot is asked for
MAX_WAITING = 10_000

Message = tuple[bool, list[tuple[list[Level], list[Level]]], float]


class OrderBooks:
    """Order books by ticker.

    Parameters
    ----------
    chain : Chain
        Has the markets, sooner or later.
    refresh : float
        Seconds after which a book is subscribed to anew: the venue deletes levels without a message.
    """

    def __init__(self, chain: Chain, refresh: float) -> None:
        self._chain = chain
        self._refresh = refresh
        self._books: dict[str, OrderBook] = {}
        self._waiting: dict[str, list[Message]] = {}
        self._due: dict[str, float] = {}

    def get(self, ticker: str) -> OrderBook | None:
        """Return a book; None: it has had no snapshot, or its market is not known."""
        return self._books.get(ticker)

    def apply(
        self, ticker: str, parts: list[tuple[list[Level], list[Level]]], now: float, *, is_snapshot: bool
    ) -> None:
        """Apply a message of one element or several.

        Raises
        ------
        InputError
            A level that the market cannot have; nothing was applied.
        """
        if is_snapshot:
            self._due[ticker] = now + self._refresh
        if ticker not in self._chain:
            waiting = self._waiting.setdefault(ticker, [])
            waiting.append((is_snapshot, parts, now))
            if len(waiting) > MAX_WAITING:
                self._waiting[ticker] = []
                self._due[ticker] = now
            return
        book = self._books.get(ticker)
        if book is None:
            book = OrderBook(self._chain[ticker])
        if is_snapshot:
            book.replace(*parts[0], time=now)
            self._books[ticker] = book
            return
        read = [[(True, bids), (False, asks)] for bids, asks in parts]
        elements = [
            [(is_bid, *book.read_level(*level)) for is_bid, levels in sides for level in levels]
            for sides in read
        ]
        for levels in elements:
            book.next_arrival(time=now)
            for level in levels:
                book.levels.set_level(*level)

    def market_came(self, ticker: str) -> None:
        """Apply what waited for its market; what that market cannot have asks for a new snapshot."""
        messages = self._waiting.pop(ticker, [])
        if messages and not messages[0][0]:
            self._due[ticker] = messages[-1][2]  # the snapshot before them was given up
            return
        for is_snapshot, parts, now in messages:
            self.apply(ticker, parts, now, is_snapshot=is_snapshot)

    def lost(self, ticker: str) -> None:
        """Say that messages were lost: the book is not whole until the next snapshot."""
        self._waiting.pop(ticker, None)
        if ticker in self._books:
            self._books[ticker].mark_gap()

    def forget(self, ticker: str) -> None:
        """Keep a book no more."""
        for held in (self._books, self._waiting, self._due):
            held.pop(ticker, None)

    def due(self, now: float) -> Iterable[str]:
        """Return the books that are to be subscribed to anew, each once."""
        for ticker, at in list(self._due.items()):
            if at <= now:
                self._due[ticker] = now + self._refresh
                yield ticker

    @property
    def next_deadline(self) -> float | None:
        """When `due` has one."""
        return min(self._due.values(), default=None)
