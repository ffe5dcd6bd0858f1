"""A full node's stream without a socket: messages with their times go in, events and requests come out.

Hazards: one thread uses a session and the book it feeds. `receive` reads the message while it is called and
keeps nothing of its buffer. What an error is raised for has been accounted for: the events that follow from
it come with the next call, and `next_deadline` says that one is due at once.

Two kinds of updates come in one stream. What the chain has decided (exec_mode 7) moves positions and prices
and counts as a fill. What this node alone believes (0, 102) moves its order books, and nothing else.
Snapshots come as 102 and are the state after the block.

A stream tells a balance without its sign. After each change the account is under the doubt "unknown_sign",
and keeps its last whole state, until a node answers at that height or later: the sign is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from dydx_perf.book import Book, nothing
from dydx_perf.book_inputs import block_steps
from dydx_perf.errors import FrameError, InputError
from dydx_perf.exact.versions import is_verified_version
from dydx_perf.ext.stream import (
    ORDER_BOOK,
    ORDER_FILL,
    PRICE_UPDATE,
    SUBACCOUNT_UPDATE,
    TAKER_ORDER,
    StreamScanner,
)
from dydx_perf.feeds.accounts import account_subject, market_subject
from dydx_perf.feeds.book_rows import held_rows
from dydx_perf.feeds.book_writer import BookWriter
from dydx_perf.feeds.bounds import funding_per_tick
from dydx_perf.feeds.events import (
    AskNode,
    BlockSeen,
    Event,
    MarketChanged,
    Reconnect,
    Send,
    Subscribed,
)
from dydx_perf.feeds.node import OTHER_MARKET, Applied, NodePicture
from dydx_perf.feeds.node_fills import NodeFills, apply_order
from dydx_perf.feeds.node_path import NodePath
from dydx_perf.feeds.node_stream import (
    NodeDeadlines,
    StreamSubscription,
    Update,
    check_updates,
    is_time,
)
from dydx_perf.feeds.pools import CROSS_POOL, Pools
from dydx_perf.feeds.streamed_accounts import StreamedAccount, StreamedAccounts
from dydx_perf.feeds.trust import Bound, Doubts, WatchedRisk
from dydx_perf.observers import Name
from dydx_perf.orderbook import OrderQueueBook

__all__ = ["FullNodeSession", "StreamedAccount"]

FEED, CHAIN = "feed", "chain"
FINAL = 7  # exec_mode of what the chain has decided
HOUR = 3600
FINAL_SETTLEMENT = "FINAL_SETTLEMENT"


class FullNodeSession:
    """What one stream of a full node tells, kept in a book.

    Parameters
    ----------
    subscription : StreamSubscription
    into : Book
        Takes accounts and prices; its chain has the markets, from a node's answers.
    market_ids : mapping of ticker to int
        The price market of each perpetual (`NodePicture.market_ids`).
    deadlines : NodeDeadlines
    every_liquidation : bool
        Tell liquidations and deleveragings of all accounts, not only of those watched.
    max_orders : int
        Room of each order book, taken once.
    max_records : int
        Records that one message may have.
    """

    def __init__(
        self,
        subscription: StreamSubscription,
        *,
        into: Book,
        market_ids: Mapping[str, int],
        deadlines: NodeDeadlines | None = None,
        every_liquidation: bool = False,
        max_orders: int = 16_384,
        max_records: int = 1 << 20,
    ) -> None:
        if not isinstance(subscription, StreamSubscription):
            raise InputError("subscription", subscription, "a StreamSubscription")
        if not isinstance(into, Book):
            raise InputError("into", into, "a Book")
        self._book = into
        self._request = subscription.request(into.chain, market_ids)
        self._deadlines = NodeDeadlines() if deadlines is None else deadlines
        self._prices = set(market_ids if subscription.prices is None else subscription.prices)
        self._tickers = {market_ids[ticker]: ticker for ticker in self._prices if ticker in into.chain}
        self._scanner = StreamScanner(max_records=max_records)
        self.doubts = Doubts()
        self._writer = BookWriter()
        self._accounts = self._streamed(subscription)
        self._books = {
            into.chain[ticker].clob_pair_id: OrderQueueBook(into.chain[ticker], max_orders=max_orders)
            for ticker in subscription.order_books
        }
        self._fills = NodeFills(into.chain, self._accounts, set(self._books), every_liquidation)
        self._hot = NodePath(into, self._scanner, self._accounts, self._books, self._tickers)
        self._receive = self._hot.receive
        self._out: list[Event] = []
        self._now = -math.inf
        self._phase: Literal["closed", "waiting", "live"] = "closed"
        self._failures = 0
        self._heard_at = self._block_at = -math.inf
        self._height: int | None = None
        self._price_heights: dict[str, int] = {}
        self._priced: set[str] = set()  # tickers whose price came on this connection
        self._picture_height = -1
        self._picture_at = -math.inf
        self._ask_all_at = -math.inf
        self._pools = Pools(into.chain, self.doubts)
        self._told: dict[str, Mapping[str, tuple[Any, Any]]] = {}  # changes pointed out last, by ticker
        self._notices: dict[str, float] = {}  # until when, by ticker
        self.doubts.raise_(FEED, "disconnected")
        for name in self._accounts:
            self.doubts.raise_(account_subject(name), "no_snapshot")
        self._note_states()
        self.doubts.changes()  # what a new session doubts is no change

    def _streamed(self, subscription: StreamSubscription) -> StreamedAccounts:
        """Return what keeps the accounts that it tells of."""
        return StreamedAccounts(subscription.accounts, self._book, self.doubts)

    # -- the connection

    def start(self, now: float) -> list[Event]:
        """Begin with a new stream: returns its one request."""
        self._clock(now)
        self._phase = "waiting"
        self._accounts.begin()
        self._heard_at = now
        self._block_at = now if self._block_at == -math.inf else self._block_at
        self._ask_all_at = -math.inf
        self._priced.clear()
        for code in ("silent", "wrong_order", "lagging"):
            self.doubts.lift(FEED, code)
        return self._take([Send(self._request)])

    def disconnected(self, now: float, code: int | None = None, reason: str = "") -> list[Event]:
        """Say that the stream ended; returns when to make the next one."""
        self._clock(now)
        status = "" if code is None else f" (status {code})"
        self._drop(f"{reason or 'the stream ended'}{status}")
        return self._take()

    def _drop(self, reason: str) -> None:
        """Give this stream up."""
        if self._phase == "closed":
            return
        self._phase = "closed"
        self.doubts.raise_(FEED, "disconnected")
        for book in self._books.values():
            book.mark_gap()
        delay = min(self._deadlines.retry * 2 ** min(self._failures, 20), self._deadlines.longest_retry)
        self._failures += 1
        self._out.append(Reconnect(reason, delay))

    def receive(self, message: bytes | bytearray | memoryview, now: float) -> Sequence[Event]:
        """Take a message that came.

        Parameters
        ----------
        message : bytes, bytearray or memoryview
            One `StreamOrderbookUpdatesResponse`.
        now : float
            When it came, in seconds of a clock that never goes back.

        Raises
        ------
        FrameError
            It, or what it says, cannot be read. Nothing of it was applied, and the stream is given up.
        CapacityError
            There is no memory to read it; the same.
        ObserverError
            Observers of the book raised; the message was applied.
        WriterError
            The book is being changed, as within an observer. Nothing was taken: give the message again.

        Notes
        -----
        What a message changes of the book, prices and accounts, is one change: its edges, and what observers
        see, are those of the state after the block.
        """
        events = self._receive(message, now)
        if events is not None:
            return events
        self._clock(now)
        if self._phase == "closed":
            return self._take()
        self._book._without_crossings(nothing)  # refused here, before anything of the message is applied
        self._heard_at = now
        try:
            self._scanner.scan(message)
            try:
                updates = self._scanner.updates()
            finally:
                self._scanner.release()
            check_updates(updates)
        except (FrameError, MemoryError):
            self._drop("a message that cannot be read")
            raise
        self.doubts.lift(FEED, "silent")
        if self._phase == "waiting":
            first = next((i for i, update in enumerate(updates) if update[3]), len(updates))
            updates = updates[first:]  # what comes before the snapshot is of a state that is not known
            if not updates:
                return self._take()
        if not self._is_in_order(updates):
            self.doubts.raise_(FEED, "wrong_order")
            self._drop("blocks in the wrong order")
            return self._take()
        if self._phase == "waiting":
            self._go_live(now)
        self._apply(updates, now)
        self._pools.watch(self._height)
        self._watch(now)
        return self._take()

    def _go_live(self, now: float) -> None:
        self._phase = "live"
        self._failures = 0
        self._block_at = now
        self.doubts.lift(FEED, "disconnected")
        self._out.append(Subscribed("stream", ""))

    @property
    def next_deadline(self) -> float | None:
        """When `tick` is to be called if nothing came before; None: never, as long as nothing comes."""
        self._sync()
        if self._out or self._writer.has_error:
            return self._now
        if self._phase == "closed":
            return None
        due = [self._heard_at + self._deadlines.silence, *self._notices.values()]
        if self._phase == "live":
            due.append(self._ask_all_at)
            if self._accounts.ask_at is not None:
                due.append(self._accounts.ask_at)
        if not self.doubts.holds(CHAIN, "halted_chain"):
            due.append(self._block_at + self._deadlines.halt)
        return max(min(due), self._now)

    def tick(self, now: float) -> list[Event]:
        """Do what is due: give up a silent stream, ask again what nobody answered."""
        self._clock(now)
        self._watch(now)
        if self._phase != "closed" and now >= self._heard_at + self._deadlines.silence:
            self.doubts.raise_(FEED, "silent")
            self._drop("silent")
        return self._take()

    def source_height(self, height: int, now: float) -> list[Event]:
        """Say at which height another source is: a stream that is far behind it is given up."""
        self._clock(now)
        self._compare_heights(height)
        return self._take()

    def _compare_heights(self, height: int) -> None:
        if self._phase != "live" or self._height is None:
            return
        behind = height - self._height > self._deadlines.lag_blocks
        self.doubts.set(FEED, "lagging", behind)
        if behind:
            self._drop("lagging")

    # -- what comes

    def _apply(self, updates: Sequence[Update], now: float) -> None:
        prices: dict[str, int] = {}
        opened: set[int] = set()
        is_new_snapshot = True
        for height, mode, body, is_snapshot, records in updates:
            if mode == FINAL:
                if height != self._height:
                    self._out.append(BlockSeen(height, ""))
                self._note_height(height, now)
            if body == ORDER_BOOK:
                if is_snapshot and is_new_snapshot:  # one for all order books together
                    is_new_snapshot = False
                    self._note_height(height, now)
                    for book in self._books.values():
                        book.begin_snapshot(time=now, height=height)
                    opened = set(self._books)
                self._book_orders(height, opened, records, now)
            elif body == ORDER_FILL:
                self._filled(height, opened, records, now)
                if mode == FINAL:
                    self._out += self._fills.final(height, records)
            elif body == TAKER_ORDER:
                self._out += self._fills.tried(height, records)
            elif body == SUBACCOUNT_UPDATE and (mode == FINAL or is_snapshot):
                self._note_height(height, now)
                self._out += self._accounts.update(height, is_snapshot, records, now)
            elif body == PRICE_UPDATE and (mode == FINAL or is_snapshot):
                self._price(height, records[0], prices)
        plan = self._book._plan()
        self._accounts.plan(plan, now)
        if prices or len(plan):
            steps = block_steps(self._book.chain, price_integers=prices, height=self._height or 0)
            self._writer.write(lambda: self._book._change_together(steps, plan))
        if len(plan):
            self._note_pools()

    def _is_in_order(self, updates: Sequence[Update]) -> bool:
        """Whether no block that the chain has decided comes before one that was told already."""
        last = -1 if self._height is None or self._phase != "live" else self._height
        for height, mode, *_ in updates:
            if mode == FINAL:
                if height < last:
                    return False
                last = height
        return True

    def _note_height(self, height: int, now: float) -> None:
        if self._height is None or height > self._height:
            self._height = height
            self._block_at = now
            self.doubts.lift(CHAIN, "halted_chain")

    def _book_orders(self, height: int, opened: set[int], records: list[tuple[Any, ...]], now: float) -> None:
        """Apply order updates of any mode as they come; each carries absolute values."""
        for record in records:
            if record[0] == 0:
                continue
            key = record[1]
            book = self._opened(key[4], height, opened, now)
            if book is not None:
                apply_order(book, record)
        self._out += self._fills.orders(records)

    def _filled(self, height: int, opened: set[int], records: list[tuple[Any, ...]], now: float) -> None:
        for key, amount in self._fills.states(records):
            book = self._opened(key[4], height, opened, now)
            if book is not None:
                book.queues.set_filled(key, amount)

    def _opened(self, pair: int, height: int, opened: set[int], now: float) -> OrderQueueBook | None:
        book = self._books.get(pair)
        if book is not None and pair not in opened:
            opened.add(pair)
            book.next_arrival(time=now, height=height)
        return book

    def _price(self, height: int, record: tuple[Any, ...], prices: dict[str, int]) -> None:
        _, market_id, _, exponent, integer = record
        ticker = self._tickers.get(market_id)
        if ticker is None:
            return
        self._note_price(ticker, height)
        shift = exponent - self._book.chain[ticker].price_exponent
        subject = market_subject(ticker)
        if shift >= 0 and integer * 10**shift < 2**64:
            prices[ticker] = integer * 10**shift
        elif shift < 0 and integer % 10**-shift == 0:
            prices[ticker] = integer // 10**-shift
        else:  # finer than the book's own units: its price there is not today's
            prices.pop(ticker, None)
        self.doubts.set(subject, "no_price", ticker not in prices)
        self._hot.withhold(ticker, ticker not in prices)

    def _note_price(self, ticker: str, height: int) -> None:
        self._price_heights[ticker] = height
        self._priced.add(ticker)
        if self._height is None:
            self._height = height

    def node_answered(self, picture: NodePicture, now: float) -> list[Event]:
        """Take a node's answers: what they decide of accounts at their height, or of older ones, holds.

        Answers without a height decide nothing; an account that the stream changed after that height is asked
        for again.
        """
        self._clock(now)
        if picture.version is not None:
            self.doubts.set(CHAIN, "unverified_protocol", not is_verified_version(picture.version))
        self._pools.take(picture)
        if picture.height is None:
            return self._take()
        height = picture.height
        names = [name for name in picture.accounts if name in self._accounts]
        current = [name for name in names if self._accounts[name].height <= height]
        applied = picture.apply_to(self._book, accounts=current, newer_prices=self._price_heights)
        self._writer.add(applied.crossings, applied.observer_errors)
        self._note_markets(applied)
        told = self._height if self._phase == "live" else None
        for name in applied.accounts:
            if not self._accounts.answered(name, height, told, now):
                self._drop("the stream's account is not the node's")
        for name, error in applied.failures.items():
            self._accounts.refused(name, error, now)
        if picture.has_markets:
            for market in self._book.chain:
                is_other = applied.refused.get(market.ticker) == OTHER_MARKET
                self.doubts.set(market_subject(market.ticker), "unknown_market", is_other)
            self._picture_height, self._picture_at = height, now
        self._note_states()
        self._pools.watch(max(height, self._height or 0))
        self._compare_heights(height)
        return self._take()

    def _note_markets(self, applied: Applied) -> None:
        """Put in doubt what of a market could not be taken over, and point out what changed, once."""
        for ticker, reason in applied.refused.items():
            if reason != OTHER_MARKET and ticker not in self._priced:
                self.doubts.raise_(market_subject(ticker), "no_price")
                self._hot.withhold(ticker, True)
        for ticker, changes in applied.changes.items():
            if self._told.get(ticker) == changes:
                continue  # of what the book cannot have: it was pointed out
            self._told[ticker] = changes
            self._notices[ticker] = self._now + self._deadlines.notice
            self.doubts.raise_(market_subject(ticker), "parameters_changed")
            self._out.append(MarketChanged(ticker, changes))

    def _note_states(self) -> None:
        """Point out markets and accounts by the state that they are in now."""
        for market in self._book.chain:
            subject, status = market_subject(market.ticker), market.status
            self.doubts.set(subject, "final_settlement", status == FINAL_SETTLEMENT)
            self.doubts.set(subject, "not_active", status not in ("ACTIVE", FINAL_SETTLEMENT))
        self._note_pools()

    def _note_pools(self) -> None:
        for name in self._accounts:
            pool = self._pools.pool_of(self._held(name))
            self.doubts.set(account_subject(name), "isolated_pool", pool != CROSS_POOL)

    def _held(self, name: Name) -> list[str]:
        """Return the tickers of an account's positions in the book."""
        return [ticker for ticker, (size, _) in held_rows(self._book, name).items() if size]

    # -- figures

    @property
    def book(self) -> Book:
        """The book it feeds."""
        return self._book

    @property
    def height(self) -> int | None:
        """The newest block that the chain has decided and the stream has told of."""
        self._sync()
        return self._height

    @property
    def accounts(self) -> list[StreamedAccount]:
        """Watched accounts."""
        self._sync()
        return list(self._accounts.values())

    def order_book(self, ticker: str) -> OrderQueueBook | None:
        """Return the order book of a market that is subscribed to, optimistic as this node sees it."""
        return self._books.get(self._book.chain[ticker].clob_pair_id)

    def risk(self, address: str, number: int, now: float) -> WatchedRisk:
        """Return the risk of an account with all that says how good it is."""
        until = self._hot.deadline
        self._clock(now)
        self._watch(now)
        if not (self._out or self._writer.has_error or self.doubts.is_changed):
            self._hot.reopen(until)  # nothing came of it
        name = address, number
        account = self._accounts.get(name)
        own = [account_subject(name), FEED, CHAIN]
        doubts = self.doubts.of(own)
        if account is None or name not in self._book:
            codes = doubts if account is not None else ("no_snapshot", *doubts)
            return WatchedRisk(address, number, None, codes, (), None, None, "estimate")
        tickers = self._held(name)
        subjects = [*own, *map(market_subject, tickers)]
        doubts = self.doubts.of(subjects)
        if not self._priced.issuperset(tickers):
            doubts = (*doubts, "stale_oracle")  # nothing here brings its price
        risk = self._book[name]
        is_exact = risk.basis == "chain" and (not tickers or self._is_current(tickers))
        return WatchedRisk(
            address,
            number,
            risk,
            tuple(dict.fromkeys(doubts)),
            self._notices_of(subjects, tickers, risk.nc),
            risk.height,
            now - account.confirmed_at,
            "chain" if is_exact else "estimate" if risk.basis == "chain" else risk.basis,
            None if is_exact else self._bound(account, bool(tickers)),
        )

    def _notices_of(self, subjects: list[str], tickers: list[str], net_collateral: int) -> tuple[str, ...]:
        found = list(self.doubts.notices_of([*subjects, self._pools.pool_of(tickers)]))
        if tickers and self._pools.is_fund_low(tickers, net_collateral):
            found.append("insurance_fund_low")
        chain = self._book.chain
        if self._books and any(chain[ticker].clob_pair_id not in self._books for ticker in tickers):
            found.append("fills_not_seen")
        return tuple(found)

    def _is_current(self, tickers: Iterable[str]) -> bool:
        """Whether the funding indices are of the block of the prices: then all of a risk is of one height."""
        self._sync()
        return all(self._price_heights.get(ticker, -1) <= self._picture_height for ticker in tickers)

    def _bound(self, account: StreamedAccount, holds: bool) -> Bound:
        """Bound the error of net collateral: all but funding indices is exact once the sign is known."""
        if account.sign is None:
            return Bound(None, (("unknown sign", 2 * account.usdc), ("missed update", None)))
        if not holds:
            return Bound(0, ())
        hours = 0 if self._picture_at == -math.inf else int((self._now - self._picture_at) // HOUR)
        tick = (1 + hours) * funding_per_tick(self._book, account.name)
        return Bound(tick, (("missed funding tick", tick),))

    # -- inside

    def _clock(self, now: float) -> None:
        """Take the time of a call, and what went the short way before it, which is closed until `_take`."""
        self._sync()
        self._hot.close()
        if not (is_time(now) and now >= self._now):
            raise InputError(
                "now", now, f"seconds of a clock that never goes back; the last were {self._now}"
            )
        self._now = now

    def _sync(self) -> None:
        """Take over what went the short way."""
        if self._hot.is_ahead:
            feed = self._hot.feed
            self._out += self._hot.sync(self._price_heights)
            self._now = self._heard_at = feed.heard_at
            if self._height is None or feed.height > self._height:
                self._height, self._block_at = feed.height, feed.block_at

    def _open(self) -> None:
        """Let messages go the short way, unless something is to be told, or would change by any message."""
        is_steady = not (self._out or self._writer.has_error or self.doubts.is_changed)
        if self._phase == "live" and is_steady and not self.doubts.holds(CHAIN, "halted_chain"):
            deadline = self.next_deadline
            assert deadline is not None
            self._hot.open(self._now, deadline, self._height, self._pools.steady_until())

    def _watch(self, now: float) -> None:
        """Do what time decides: notices that end, the halted chain, and questions."""
        for ticker in [ticker for ticker, until in self._notices.items() if until <= now]:
            del self._notices[ticker]
            self.doubts.lift(market_subject(ticker), "parameters_changed")
        if self._phase == "closed":
            return
        self.doubts.set(CHAIN, "halted_chain", now >= self._block_at + self._deadlines.halt)
        if self._phase != "live":
            return
        again = self._deadlines.ask_again
        if now >= self._ask_all_at:
            why = "periodic" if self._ask_all_at > -math.inf else "snapshot"
            self._out.append(AskNode(tuple(self._accounts), True, why))
            self._ask_all_at = now + self._deadlines.node_every
            self._accounts.put_off(now + again)
        elif self._accounts.ask_at is not None and now >= self._accounts.ask_at:
            self._out.append(self._accounts.question(now, again))

    def _take(self, events: Iterable[Event] = ()) -> list[Event]:
        crossings = self._writer.crossings()
        found = [*self._out, *events, *crossings, *self.doubts.changes()]
        self._out = []
        error = self._writer.error(crossings)
        if error is not None:
            self._out = found
            raise error
        self._open()
        return found
