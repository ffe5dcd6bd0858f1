"""The short way of a node's messages: `NodeFeed` takes what changes numbers only; here both are kept in step.

Between two messages that the session reads itself nothing else changes: what is in doubt, which account needs
a sign, when something is due. After each call the session says here what may be taken until the next one, and
before it acts it takes over what was taken. Closed, as it is at first, the short way takes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from dydx_perf.book import Book
from dydx_perf.ext.node_feed import NodeFeed
from dydx_perf.ext.stream import StreamScanner
from dydx_perf.feeds.events import BlockSeen, Event
from dydx_perf.feeds.streamed_accounts import StreamedAccounts
from dydx_perf.kernel import BASES
from dydx_perf.orderbook import OrderQueueBook

__all__ = ["NodePath"]

CHAIN = BASES.index("chain")
NO_BLOCK = -1
ANY_BLOCK = 2**62


def block_seen(height: int) -> BlockSeen:
    """Tell of a block; a stream does not say when it was made."""
    return BlockSeen(height, "")


class NodePath:
    """What may go the short way, and what went it.

    Parameters
    ----------
    book : Book
    scanner : StreamScanner
    accounts : StreamedAccounts
    books : mapping of clob pair to OrderQueueBook
    tickers : mapping of price market to ticker
    """

    def __init__(
        self,
        book: Book,
        scanner: StreamScanner,
        accounts: StreamedAccounts,
        books: Mapping[int, OrderQueueBook],
        tickers: Mapping[int, str],
    ) -> None:
        self.feed = NodeFeed(book._store, scanner, book._observers.call, block_seen, CHAIN)
        self.feed.leaves_accounts = accounts.wants_all
        self.receive = self.feed.receive
        self._book = book
        self._accounts = accounts
        self._tickers = dict(tickers)
        self._ids = {ticker: market_id for market_id, ticker in tickers.items()}
        self._registered = 0
        self._taken = 0  # messages of which everything was taken over
        self._names = list(accounts)
        self._places = {name: self.feed.add_account(*name) for name in self._names}
        for pair, one in books.items():
            self.feed.route_book(pair, one.queues)
        for ticker in self._ids:
            self.withhold(ticker, False)

    @property
    def deadline(self) -> float:
        """From when on nothing is taken."""
        return self.feed.deadline

    @property
    def is_ahead(self) -> bool:
        """Whether messages were taken since the last `sync`."""
        return self.feed.messages != self._taken

    def withhold(self, ticker: str, withheld: bool) -> None:
        """Leave the prices of a market to the session, or no longer."""
        if ticker in self._ids:
            market = self._book.chain[ticker]
            self.feed.route_price(self._ids[ticker], market._index, market.price_exponent, not withheld)

    def close(self) -> None:
        """Take nothing until `open` or `reopen`."""
        self.feed.deadline = -math.inf

    def reopen(self, deadline: float) -> None:
        """Go on as before a `close` since which nothing changed."""
        self.feed.deadline = deadline

    def sync(self, price_heights: dict[str, int]) -> list[Event]:
        """Take over what was taken; return events that observers kept from being told."""
        feed = self.feed
        self._taken = feed.messages
        for market_id, height in feed.take_prices():
            price_heights[self._tickers[market_id]] = height
        for place, height, heard_at in feed.take_accounts():
            self._accounts.took(self._names[place], height, heard_at)
        untold: list[Event] = feed.take_untold()
        return untold

    def open(self, now: float, deadline: float, height: int | None, steady_until: int | None) -> None:
        """Say what may be taken from now on until something is due.

        Parameters
        ----------
        now, deadline : float
        height : int or None
            Newest block that the chain has decided.
        steady_until : int or None
            Blocks past it change more than numbers.
        """
        self._register()
        self._route(self._accounts.take_touched())
        feed = self.feed
        feed.height = NO_BLOCK if height is None else height
        feed.last_height = ANY_BLOCK if steady_until is None else steady_until
        feed.heard_at = now
        feed.deadline = deadline

    def _register(self) -> None:
        """Tell of markets that came."""
        if len(self._book.chain) != self._registered:
            for market in self._book.chain:
                self.feed.route_perpetual(market.perpetual_id, market._index)
            self._registered = len(self._book.chain)

    def _route(self, names: Iterable[tuple[str, int]]) -> None:
        """Say which accounts are plain now."""
        for name in names:
            floor = self._accounts.plain_since(name)
            if floor is None or name not in self._book:
                self.feed.route_account(self._places[name], 0, 0, False)
            else:
                self.feed.route_account(self._places[name], self._book.handle(name), floor, True)
