"""The indexer's WebSocket without a socket: frames with their times go in, events and requests come out.

Hazards: one thread uses a session and the book it feeds. `receive` reads the frame while it is called and
keeps nothing of its buffer. What an error is raised for has been accounted for: the events that follow from
it come with the next call, and `next_deadline` says that one is due at once.

A number is the book's; whether it may be trusted is `risk(…).verdict`: "unknown" as long as anything is in
doubt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from dydx_perf.book import Book
from dydx_perf.errors import FrameError, InputError, ObserverError, StaleError
from dydx_perf.exact.versions import is_verified_version
from dydx_perf.feeds.accounts import WatchedAccount, account_subject, market_subject
from dydx_perf.feeds.bounds import bound_of, ticks_between
from dydx_perf.feeds.channels import Channels, names_of
from dydx_perf.feeds.connection import Connection, Line
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.envelope import (
    ConnectedMessage,
    DataMessage,
    ErrorMessage,
    Frame,
    Message,
    SubscribedMessage,
    UnsubscribedMessage,
    parse_frame,
)
from dydx_perf.feeds.events import (
    Connected,
    Event,
    Fetch,
    Reconnect,
    Subscribed,
    Unsubscribed,
    VenueRefused,
)
from dydx_perf.feeds.hot_path import HotPath
from dydx_perf.feeds.markets import MARKETS
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.reconcile import question_of
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    Subscription,
    distinct,
    key_of,
)
from dydx_perf.feeds.trust import Bound, Comparison, Doubts, WatchedRisk
from dydx_perf.observers import Name
from dydx_perf.orderbook import OrderBook

__all__ = ["Comparison", "IndexerSession"]

FEED, CHAIN = "feed", "chain"
AGES_PER_CHECK = 20  # a price is noticed by at most this share of its allowed age too late


class IndexerSession:
    """What one connection to the indexer tells, kept in a book.

    Parameters
    ----------
    subscriptions : iterable of Subscription
        See `dydx_perf.feeds.subscriptions`; `shard` spreads many over several sessions. The block height is
        subscribed to in any case: without it silence could not be told from death.
    into : Book
        Takes the accounts and, through its chain, the markets. It may start on an empty `Chain()`.
    batched : bool
        The venue collects messages for 250 ms; without it markets alone are hundreds of messages a second.
    deadlines : Deadlines
    beside : IndexerSession, optional
        The session that has the markets of the same book; where none is given and `Markets()` is not among
        the subscriptions, no account is ever safe here, unless `keeps_prices` says that the caller keeps
        the chain's prices current himself.
    can_ask_node : bool
        Whether `AskNode` requests are answered.
    can_fetch : bool
        Whether `Fetch` requests are answered; without them an estimate's bound stays open.
    tells_trades : bool
        Whether trades are events; without, they are checked and dropped.
    confirm_snapshots : bool
        Whether an account is in doubt after each snapshot until an independent answer agrees: messages are
        lost between the venue's reading and registering, and no number shows it. A caller who can neither
        fetch nor ask a node gets no verdict but "unknown" with it; without it, one that takes that gap for
        empty.
    seed : int
        Of the random part of the waits before a new connection.
    """

    def __init__(
        self,
        subscriptions: Iterable[Subscription],
        *,
        into: Book,
        batched: bool = True,
        deadlines: Deadlines | None = None,
        beside: IndexerSession | None = None,
        keeps_prices: bool = False,
        can_ask_node: bool = False,
        can_fetch: bool = True,
        tells_trades: bool = True,
        confirm_snapshots: bool = True,
        seed: int = 0,
    ) -> None:
        if not isinstance(into, Book):
            raise InputError("into", into, "a Book")
        wanted = distinct([*subscriptions, BlockHeight()])
        self._deadlines = Deadlines() if deadlines is None else deadlines
        self._book = into
        self.doubts = Doubts()
        self._connection = Connection(wanted, batched, self._deadlines, seed)
        self._channels = Channels(
            into,
            self.doubts,
            self._deadlines,
            can_fetch=can_fetch,
            can_ask_node=can_ask_node,
            tells_trades=tells_trades,
            confirm_snapshots=confirm_snapshots,
        )
        self._hot = HotPath(into, self._connection, self._channels, drops_trades=not tells_trades)
        self._receive = self._hot.receive
        self._longest = self._deadlines.node_after if can_ask_node else math.inf  # on the short way
        self._pricing: IndexerSession = self if beside is None else beside._pricing
        if beside is not None:
            if beside.book is not into:
                raise InputError("beside", beside, "a session that feeds the same book")
            self._channels.stand_beside(self._pricing._channels)
        self._out: list[Event] = []
        self._now = -math.inf
        self._ages_due = math.inf
        self.doubts.raise_(FEED, "disconnected")
        if beside is None and not keeps_prices:
            self.doubts.raise_(MARKETS, "no_snapshot")
        for one in wanted:
            self._await(one)
        self.doubts.changes()

    def _await(self, subscription: Subscription) -> None:
        """Put an account that is subscribed to under the doubt that its snapshot lifts."""
        if isinstance(subscription, (SubaccountOf, ParentSubaccountOf)):
            subject = account_subject((subscription.address, subscription.number))
            self.doubts.raise_(subject, "no_snapshot")

    # -- the connection

    def start(self, now: float) -> list[Event]:
        """Begin with a new connection: returns the frames to send on it."""
        self._clock(now)
        for line in self._connection.lines.values():
            self._channels.lost(line.subscription, "gap")
        for code in ("gap", "silent"):
            self.doubts.lift(FEED, code)
        if self._channels.block_at is None:
            self._channels.block_at = now
        self._ages_due = now + self._deadlines.oracle_age / AGES_PER_CHECK
        self._out += self._connection.start(now)
        return self._take()

    def heard(self, now: float) -> None:
        """Say that something came that is no message, such as the venue's ping: the connection lives."""
        self._clock(now)
        self._connection.heard_at = now
        self._open()

    def disconnected(self, now: float, code: int | None = None, reason: str = "") -> list[Event]:
        """Say that the connection is gone, with the venue's close code; returns when to make the next one."""
        self._clock(now)
        self.doubts.raise_(FEED, "disconnected")
        request = self._connection.lost(code)
        self._out.append(Reconnect(reason or request.reason, request.delay))
        return self._take()

    def subscribe(self, subscription: Subscription, now: float) -> list[Event]:
        """Subscribe to something more on this connection."""
        self._clock(now)
        distinct([subscription])
        if subscription.key not in self._connection.lines:
            self._await(subscription)
        self._out += self._connection.subscribe(subscription, now)
        return self._take()

    def unsubscribe(self, subscription: Subscription, now: float) -> list[Event]:
        """Subscribe to something no more: what was held of it is forgotten at once, and leaves the book."""
        self._clock(now)
        self._out += self._connection.unsubscribe(subscription, now)
        others = [line.subscription for line in self._connection.lines.values() if line.wanted]
        self._out += self._channels.forget(subscription, others)
        return self._take()

    def receive(self, frame: Frame, now: float) -> Sequence[Event]:
        """Take a frame that came.

        Parameters
        ----------
        frame : bytes, bytearray, memoryview or str
            The payload of one message of the connection.
        now : float
            When it came, in seconds of a clock that never goes back.

        Returns
        -------
        sequence of Event
            What follows from it, in order; prices and sizes that changed are no events.

        Raises
        ------
        FrameError
            The frame, or what it says, cannot be read. Nothing of it was applied, and what it was about is in
            doubt.
        ObserverError
            Observers of the book raised; the frame was applied.
        """
        try:
            taken = self._receive(frame, now)
        except ObserverError as error:
            self._hot.close()
            self._out += error.crossings
            raise
        return self._read(frame, now) if taken is None else taken

    def _read(self, frame: Frame, now: float) -> Sequence[Event]:
        """Take a frame that is more than numbers in their places."""
        self._clock(now)
        self._connection.heard_at = now
        try:
            message = parse_frame(frame)
        except FrameError:
            self.doubts.raise_(FEED, "gap")
            self._out += self._connection.reconnect("a frame that cannot be read")
            raise
        self._handle(message, now)
        self._watch(now)
        return self._take()

    def fetched(self, fetch: Fetch, status: int, body: bytes, now: float) -> list[Event]:
        """Take the answer to a `Fetch`; status 0: there was none.

        Raises
        ------
        InputError
            A session never asks for this path.
        FrameError
            The body cannot be read; nothing of it was applied.
        """
        self._clock(now)
        question = question_of(fetch)
        try:
            self._out += self._channels.reconciler.fetched(
                question, status, body, now, self._channels.block_time
            )
        except InputError as refused:
            raise FrameError(refused.allowed, None, refused.argument) from None
        return self._take()

    def node_answered(self, picture: NodePicture, now: float) -> list[Event]:
        """Take what a node answered to an `AskNode`, or unasked.

        Accounts in it are the chain's at its height, until the indexer tells of a later event of theirs;
        one of which the indexer told something later already stays as it is, and is asked for again.

        Raises
        ------
        InputError
            The picture is not whole, or says what cannot be; nothing was applied.
        """
        self._clock(now)
        self._out += self._channels.node_answered(picture, now)
        self._watch(now)
        return self._take()

    def node_seen(self, now: float, *, height: int | None = None, version: str | None = None) -> list[Event]:
        """Take a node's newest height and its version: what the indexer lags behind, what was verified."""
        self._clock(now)
        self._channels.node.seen(height, version)
        self._watch(now)
        return self._take()

    @property
    def next_deadline(self) -> float | None:
        """When `tick` is to be called if nothing came before; None: never, as long as nothing comes."""
        self._sync()
        if self._out:
            return self._now
        if not self._connection.is_open or self._connection.closing:
            return None
        channels = self._channels
        deadlines = [
            self._connection.next_deadline,
            channels.reconciler.next_deadline,
            channels.markets.next_deadline,
            self._ages_due if channels.markets.price_at else None,
            channels.books.next_deadline,
        ]
        if channels.block_at is not None and not self.doubts.holds(CHAIN, "halted_chain"):
            deadlines.append(channels.block_at + self._deadlines.halt)
        return min((at for at in deadlines if at is not None), default=None)

    def tick(self, now: float) -> list[Event]:
        """Do what is due: subscribes, comparisons, and doubts about what did not come."""
        self._clock(now)
        self._watch(now)
        if now >= self._ages_due:  # seldom: it walks over all positions
            self._ages_due = now + self._deadlines.oracle_age / AGES_PER_CHECK
            self._channels.markets.watch_ages(self._held_tickers(), now)
        connection = self._connection
        if not connection.is_open or connection.closing:
            return self._take()
        missed = connection.missed_since()
        if now >= connection.heard_at + connection.silence:
            self._out += connection.reconnect("silent")
        elif missed is not None and now >= missed + self._deadlines.settle:
            self._out += connection.reconnect("messages were lost")
        elif connection.late_answer(now):
            self._out += connection.reconnect("a subscribe was not answered")
        self._out += connection.pump(now)
        self._out += self._channels.reconciler.tick(now, self._is_live)
        for ticker in self._channels.books.due(now):
            self._out += connection.renew(connection.lines[OrderBookOf(ticker).key], now)
        return self._take()

    def _is_live(self, name: Name) -> bool:
        """Whether the subscription that has an account is live."""
        for line in self._connection.lines.values():
            one = line.subscription
            if isinstance(one, (SubaccountOf, ParentSubaccountOf)) and name in names_of(one, [name]):
                return line.phase == "live"
        return False

    # -- figures

    @property
    def book(self) -> Book:
        """The book it feeds."""
        return self._book

    @property
    def accounts(self) -> list[WatchedAccount]:
        """Accounts of which a snapshot has come."""
        self._sync()
        return list(self._channels.accounts)

    def account(self, address: str, number: int) -> WatchedAccount | None:
        """Return what is known of an account beside the book's figures; None: no snapshot has come."""
        self._sync()
        return self._channels.accounts.get((address, number))

    def market(self, ticker: str) -> Mapping[str, Any]:
        """Return the indexer's own row of a market, with its statistics; empty: none came."""
        return self._pricing._channels.markets.row(ticker)

    def order_book(self, ticker: str) -> OrderBook | None:
        """Return the order book of a market; None: no snapshot has come, or the market is not known."""
        return self._channels.books.get(ticker)

    @property
    def height(self) -> int | None:
        """The newest block that the indexer processed."""
        return self._channels.height

    def risk(self, address: str, number: int, now: float) -> WatchedRisk:
        """Return the risk of an account with all that says how good it is."""
        until = self._hot.deadline
        self._clock(now)
        self._watch(now)
        self._pricing._watch(now)
        if not self._out and not self.doubts.is_changed:
            self._hot.reopen(until)  # nothing came of it
        name = (address, number)
        account = self._channels.accounts.get(name)
        own = [account_subject(name), FEED, CHAIN]
        if account is None:
            doubts = ("no_snapshot", *self._doubts_of(own, [MARKETS]))
            return WatchedRisk(
                address, number, None, tuple(dict.fromkeys(doubts)), (), None, None, "estimate"
            )
        tickers = self._channels.accounts.tickers(account)
        self._pricing._channels.markets.watch_ages(tickers, now)
        markets = [MARKETS, *map(market_subject, tickers)]
        risk = None if account.unplaced or name not in self._book else self._book[name]
        notices = [*self.doubts.notices_of(own), *self._pricing.doubts.notices_of(markets)]
        node = self._channels.node
        notices += self.doubts.notices_of([node.pools.pool_of(tickers)])
        if risk is not None and tickers and node.pools.is_fund_low(tickers, risk.nc):
            notices.append("insurance_fund_low")
        basis = "estimate" if risk is None else risk.basis
        return WatchedRisk(
            address,
            number,
            risk,
            self._doubts_of(own, markets),
            tuple(dict.fromkeys(notices)),
            self._height_of(account, tickers),
            now - account.confirmed_at,
            basis,
            None if risk is None or basis == "chain" else self._bound_of(account, now),
        )

    def explain(self, address: str, number: int, now: float) -> Comparison:
        """Set the figures of chain, indexer and web app side by side, and the indexer's own words.

        Raises
        ------
        StaleError
            Nothing is known of the account, or it holds a position in a market that is not known.
        """
        watched = self.risk(address, number, now)
        account = self._channels.accounts.get((address, number))
        if account is None or watched.risk is None:
            raise StaleError(f"{address}/{number} has no figures: {', '.join(watched.doubts)}")
        return Comparison(
            watched,
            self._book.subaccount((address, number)).explain(),
            account.equity,
            account.free_collateral,
            account.reported_height,
        )

    def _doubts_of(self, own: list[str], markets: list[str]) -> tuple[str, ...]:
        """Return doubts of this session's subjects, and of the markets where their prices come from."""
        beside = [] if self._pricing is self else [FEED]
        return tuple(dict.fromkeys((*self.doubts.of(own), *self._pricing.doubts.of([*beside, *markets]))))

    def _height_of(self, account: WatchedAccount, tickers: list[str]) -> int | None:
        prices = self._pricing._channels.markets.price_height
        heights = [account.height, *(prices.get(ticker) for ticker in tickers)]
        known = [height for height in heights if height is not None]
        return min(known) if len(known) == len(heights) else None

    def _bound_of(self, account: WatchedAccount, now: float) -> Bound:
        return bound_of(
            self._book,
            account.name,
            is_reconciled=account.reconciled_at is not None,
            is_whole_answer=account.is_whole_answer,
            ticks=ticks_between(account.block_time, self._channels.block_time, now - account.confirmed_at),
            last_moves=self._pricing._channels.markets.last_move,
        )

    # -- inside

    def _clock(self, now: float) -> None:
        """Take the time of a call, and what went the short way before it, which is closed until `_open`."""
        self._sync()
        if self._pricing is not self:
            self._pricing._sync()
        self._hot.close()
        self._now = max(self._now, self._hot.heard_at)
        if not (is_number(now) and math.isfinite(now) and now >= self._now):
            raise InputError(
                "now", now, f"seconds of a clock that never goes back; the last were {self._now}"
            )
        self._now = now

    def _take(self) -> list[Event]:
        """Return what follows from this call, and from those before that raised."""
        events, self._out = self._out, []
        events += self.doubts.changes()
        error = self._channels.observer_error()
        if error is not None:
            self._out = events
            raise error
        self._open()
        return events

    def _sync(self) -> None:
        """Take over what went the short way."""
        for line in self._hot.sync():  # sizes and balance were read, and not what it says besides
            self._channels.lost(line.subscription, "gap")
            self._out += self._connection.renew(line, self._now, later=True)

    def _open(self) -> None:
        """Let frames go the short way, unless something is to be told or would change by any frame."""
        is_doubted = any(self.doubts.holds(FEED, code) for code in ("gap", "silent", "disconnected"))
        deadline = self.next_deadline
        if deadline is not None and not (self._out or self.doubts.is_changed or is_doubted):
            self._hot.open(self._now, min(deadline, self._now + self._longest))

    def _held_tickers(self) -> set[str]:
        """Markets in which an account of this session, or of one beside it, holds a position."""
        if self._pricing is not self:
            return set()
        return {
            ticker
            for channels in self._channels.followers
            for account in channels.accounts
            for ticker in channels.accounts.tickers(account)
        }

    def _watch(self, now: float) -> None:
        """Raise and lift the doubts that time decides."""
        connection, channels = self._connection, self._channels
        if connection.is_open:
            is_missing = connection.missed_since() is not None
            self.doubts.set(FEED, "gap", is_missing or connection.closing)
            self.doubts.set(FEED, "silent", now >= connection.heard_at + connection.silence)
        if channels.block_at is not None:
            self.doubts.set(CHAIN, "halted_chain", now >= channels.block_at + self._deadlines.halt)
        channels.markets.watch(now)
        node = channels.node
        node.watch(channels.height)
        if node.height is not None and channels.height is not None:
            behind = node.height - channels.height
            self.doubts.set(FEED, "lagging", behind > self._deadlines.lag_blocks)
        if node.version is not None:
            self.doubts.set(CHAIN, "unverified_protocol", not is_verified_version(node.version))
        if self.doubts.is_changed:
            self._hot.close()

    def _handle(self, message: Message, now: float) -> None:
        if isinstance(message, DataMessage):
            self._data(message, now)
        elif isinstance(message, SubscribedMessage):
            self._subscribed(message, now)
        elif isinstance(message, ConnectedMessage):
            self._connection.greet(message.message_id)
            self.doubts.lift(FEED, "disconnected")
            self._out.append(Connected(message.connection_id))
        elif isinstance(message, UnsubscribedMessage):
            is_over, sends = self._connection.ended(
                key_of(message.channel, message.id), message.message_id, now
            )
            self._out += sends
            if is_over:
                self._out.append(Unsubscribed(*key_of(message.channel, message.id)))
        elif isinstance(message, ErrorMessage):
            self._error(message, now)

    def _error(self, message: ErrorMessage, now: float) -> None:
        refusal, sends = self._connection.refused(message, now)
        key = key_of(message.channel, message.id) if message.channel else ("", "")
        if refusal.line is not None:
            key = refusal.line.subscription.key
        self._out.append(VenueRefused(message.message, *key))
        self._out += sends

    def _subscribed(self, message: SubscribedMessage, now: float) -> None:
        key = key_of(message.channel, message.id)
        admission, sends = self._connection.answered(key, message.message_id, now)
        self._out += sends
        if admission != "new":
            return
        line = self._connection.lines[key]
        try:
            events = self._channels.snapshot(line.subscription, message.contents, now)
        except InputError as refused:
            self._refuse(line, now, refused)
        line.failures = 0
        self._out += events
        self._out.append(Subscribed(*key))

    def _data(self, message: DataMessage, now: float) -> None:
        key = key_of(message.channel, message.id)
        if key in self._connection.lines:
            self._hot.sync_line(self._connection.lines[key])
        admission = self._connection.admit(key, message.message_id, now)
        if admission in ("repeated", "unwanted"):
            return
        line = self._connection.lines[key]
        if admission == "wrong order":
            self._channels.lost(line.subscription, "wrong_order")
            self._out += self._connection.renew(line, now)
            return
        try:
            self._out += self._channels.update(line.subscription, message, now)
        except InputError as refused:
            self._refuse(line, now, refused)

    def _refuse(self, line: Line, now: float, refused: InputError) -> NoReturn:
        """Nothing of a message was applied: what it is about is in doubt until its next snapshot."""
        self._channels.lost(line.subscription, "gap")
        self._out += self._connection.renew(line, now, later=True)
        raise FrameError(refused.allowed, None, refused.argument) from None


def is_number(value: object) -> bool:
    """Whether a value is an int or a float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
