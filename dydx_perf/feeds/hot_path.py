"""The short way of a session's frames: `HotFeed` takes what changes numbers only; here both are kept in step.

Between two frames that the session reads itself nothing else changes: which subscriptions are live, what is
in doubt, when something is due. So after each call the session says here what may be taken until the next
one, and before it acts it takes over what was taken. Closed, as it is at first, the short way takes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dydx_perf.book import Book
from dydx_perf.errors import FrameError, InputError
from dydx_perf.ext.frame import FrameScanner
from dydx_perf.ext.hot_feed import HotFeed
from dydx_perf.feeds.account_messages import PositionRow, read_update
from dydx_perf.feeds.channels import Channels, names_of
from dydx_perf.feeds.connection import Connection, Line
from dydx_perf.feeds.envelope import DataMessage, parse_frame
from dydx_perf.feeds.markets import MARKETS
from dydx_perf.feeds.subscriptions import (
    Key,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    TradesOf,
)
from dydx_perf.observers import Name
from dydx_perf.orderbook import OrderBook
from dydx_perf.units import subticks_to_price

__all__ = ["HotPath"]

#: how a subject of doubts about a market begins
MARKET = "market "


class HotPath:
    """What may go the short way, and what went it.

    Parameters
    ----------
    book : Book
    connection : Connection
    channels : Channels
        Of the session.
    drops_trades : bool
        Trades are no events: they are checked and dropped.

    Attributes
    ----------
    feed : HotFeed
    receive : callable
        Takes a frame and its time; returns None where the session has to read it.
    """

    def __init__(
        self,
        book: Book,
        connection: Connection,
        channels: Channels,
        *,
        drops_trades: bool,
    ) -> None:
        self.feed = HotFeed(book._store, FrameScanner(), book._observers.call)
        self.receive = self.feed.receive
        self._book = book
        self._connection = connection
        self._channels = channels
        self._drops_trades = drops_trades
        self._registered = 0
        self._taken = 0  # frames of which everything was taken over
        self._routed: dict[Key, object] = {}
        self._routed_accounts: dict[tuple[Key, int], tuple[int, int]] = {}
        self._withheld = set[str]()

    # -- what was taken

    @property
    def deadline(self) -> float:
        """From when on nothing is taken."""
        return self.feed.deadline

    @property
    def heard_at(self) -> float:
        """When the newest frame that was taken came."""
        return self.feed.heard_at

    def close(self) -> None:
        """Take nothing until `open` or `reopen`."""
        self.feed.deadline = -math.inf

    def reopen(self, deadline: float) -> None:
        """Go on as before a `close` since which nothing changed."""
        self.feed.deadline = deadline

    def sync(self) -> list[Line]:
        """Take over what was taken; return the lines of frames whose other figures cannot be read."""
        feed = self.feed
        if feed.frames == self._taken:
            return []
        self._taken = feed.frames
        self._connection.caught_up(feed.message_id, feed.heard_at)
        tickers = self._book.chain.tickers
        for index, heard_at, move, height in feed.take_prices():
            self._channels.markets.took(tickers[index], height, move, heard_at)
        unreadable = []
        for channel, line_id, number, height, heard_at, first_at, frames in feed.take_accounts():
            line = self._connection.lines[channel, line_id]
            one = line.subscription
            assert isinstance(one, (SubaccountOf, ParentSubaccountOf))
            self._routed_accounts[one.key, number] = (self._routed_accounts[one.key, number][0], height)
            try:
                rows = [
                    row
                    for index, frame in frames
                    for row in self._rows(frame, one, number)
                    if row.ticker == tickers[index]
                ]
            except (FrameError, InputError):
                unreadable.append(line)
                rows = []
            name = one.address, number
            self._channels.accounts.took(name, rows, height, heard_at, self._channels.block_time)
            self._channels.reconciler.changed(name, first_at)
        return unreadable

    @staticmethod
    def _rows(
        frame: bytes | str, one: SubaccountOf | ParentSubaccountOf, number: int
    ) -> Iterator[PositionRow]:
        """Read the positions of a frame."""
        message = parse_frame(frame)
        assert isinstance(message, DataMessage)
        for contents in message.contents:
            yield from read_update(contents, "contents", number, one.address).positions

    def sync_line(self, line: Line) -> None:
        """Take over the number of the newest message that was taken of a line."""
        line.last_id = max(line.last_id, self.feed.last_id(*line.subscription.key))

    # -- what may be taken

    def open(self, now: float, deadline: float) -> None:
        """Say what may be taken from now on until something is due."""
        self._register()
        live = dict(self._targets())
        for key in self._routed.keys() - live.keys():
            self.feed.unroute(*key)
            for place in [place for place in self._routed_accounts if place[0] == key]:
                del self._routed_accounts[place]
        for key, target in live.items():
            if key not in self._routed or self._routed[key] != target:
                self._route(key, target)
        self._routed = live
        names = [account.name for account in self._channels.accounts]
        for key in live:
            self._route_accounts(self._connection.lines[key], names)
        self._withhold()
        self.feed.message_id = self._connection.highest
        self.feed.heard_at = now
        self.feed.deadline = deadline

    def _register(self) -> None:
        """Tell the scanner of markets that came."""
        if len(self._book.chain) == self._registered:
            return
        for index, market in enumerate(self._book.chain):
            if market.ticker.isascii():
                self.feed.scanner.register_market(
                    market.ticker, index, market.price_exponent, market.atomic_resolution
                )
        self._registered = len(self._book.chain)

    def _targets(self) -> Iterator[tuple[Key, object]]:
        """Yield lines that may be taken, and where they go."""
        channels = self._channels
        for line in self._connection.lines.values():
            if line.phase != "live" or not line.wanted:
                continue
            match line.subscription:
                case SubaccountOf() | ParentSubaccountOf() as one:
                    yield one.key, None
                case Markets() as one if not channels.markets.doubts.of([MARKETS]):
                    yield one.key, None
                case TradesOf() as one if self._drops_trades and self._has_row(one.ticker):
                    yield one.key, None
                case OrderBookOf() as one if self._has_row(one.ticker):
                    book = channels.books.get(one.ticker)
                    if book is not None:
                        yield one.key, (book, self._price_power(one.ticker))

    def _has_row(self, ticker: str) -> bool:
        """Whether the book has a row of a market, and the scanner knows it."""
        return ticker in self.feed.scanner.scales and (
            self._book.chain[ticker]._index < self._book.capacity["markets"]
        )

    def _price_power(self, ticker: str) -> int:
        """Power of ten between a unit of the oracle price and a subtick."""
        market = self._book.chain[ticker]
        subtick = subticks_to_price(1, market.atomic_resolution, market.clob_pair.quantum_conversion_exponent)
        return market.price_exponent - subtick.adjusted()

    def _route(self, key: Key, target: object) -> None:
        last_id = self._connection.lines[key].last_id
        if isinstance(target, tuple):
            book, power = target
            assert isinstance(book, OrderBook)
            self.feed.route(*key, last_id, depth=book.levels, price_power=power)
        else:
            self.feed.route(*key, last_id)

    def _route_accounts(self, line: Line, names: list[Name]) -> None:
        """Route accounts of a line of which nothing is in doubt; no frame is new enough for the others."""
        one = line.subscription
        if not isinstance(one, (SubaccountOf, ParentSubaccountOf)):
            return
        accounts = self._channels.accounts
        for name in names_of(one, names):
            account = accounts.get(name)
            if account is None:
                continue
            is_plain = (
                account.exists
                and not account.unplaced
                and name in self._book
                and not accounts.is_doubted(name)
            )
            floor = max(account.floor, account.chain_height + 1, 0) if is_plain else 2**62
            place = (one.key, name[1])
            said = (self._book.handle(name) if name in self._book else 0, floor)
            held = self._routed_accounts.get(place)
            if held != said and (is_plain or held is not None):
                self.feed.route_account(*one.key, name[1], *said)
                self._routed_accounts[place] = said

    def _withhold(self) -> None:
        """Leave prices of markets to the session that lift a doubt."""
        doubted = {
            subject.removeprefix(MARKET)
            for subject in self._channels.markets.doubts.subjects()
            if subject.startswith(MARKET)
        }
        chain = self._book.chain
        for ticker in doubted ^ self._withheld:
            if ticker in chain:
                self.feed.withhold_price(chain[ticker]._index, ticker in doubted)
        self._withheld = {ticker for ticker in doubted if ticker in chain}
