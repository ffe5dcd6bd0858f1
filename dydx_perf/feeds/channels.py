"""What each channel's messages change: one reader and one writer for each kind of subscription.

A message is read whole before any of it is applied, so that one that cannot be read changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dydx_perf.book import Book
from dydx_perf.documents import Field
from dydx_perf.errors import ObserverError
from dydx_perf.feeds.account_messages import (
    AccountBody,
    OrderRow,
    height_of,
    read_bodies,
    read_orders,
    read_update,
    text_of,
)
from dydx_perf.feeds.accounts import Accounts
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.envelope import DataMessage
from dydx_perf.feeds.events import BlockSeen, Event
from dydx_perf.feeds.levels import OrderBooks
from dydx_perf.feeds.markets import MarketFeed, MarketMessage
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_answers import NodeAnswers
from dydx_perf.feeds.reconcile import Reconciler
from dydx_perf.feeds.subscriptions import (
    CandlesOf,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    Subscription,
    TradesOf,
)
from dydx_perf.feeds.trades import TradeIds, read_candles, read_levels, read_trades
from dydx_perf.feeds.trust import Doubts
from dydx_perf.observers import Name

__all__ = ["Channels", "names_of"]

Part = tuple[Mapping[str, Any], str]


def names_of(subscription: SubaccountOf | ParentSubaccountOf, accounts: Iterable[Name]) -> list[Name]:
    """Return the account that is subscribed to; of a parent also those children that are known."""
    own = (subscription.address, subscription.number)
    if isinstance(subscription, SubaccountOf):
        return [own]
    others = [
        name
        for name in accounts
        if name != own and name[0] == subscription.address and subscription.has(name[1])
    ]
    return [own, *others]


class Channels:
    """State of all channels of one session.

    Parameters
    ----------
    book, doubts, deadlines
        Of the session.
    can_fetch, can_ask_node : bool
        Which requests the caller carries out.
    tells_trades : bool
        Whether trades are events.
    confirm_snapshots : bool
        Whether a snapshot is in doubt until an independent answer agrees.
    """

    def __init__(
        self,
        book: Book,
        doubts: Doubts,
        deadlines: Deadlines,
        *,
        can_fetch: bool,
        can_ask_node: bool,
        tells_trades: bool,
        confirm_snapshots: bool,
    ) -> None:
        self._confirm_snapshots = confirm_snapshots
        self._doubts = doubts
        self._tells_trades = tells_trades
        self.accounts = Accounts(book, doubts)
        self.markets = MarketFeed(book, doubts, deadlines)
        self.reconciler = Reconciler(
            book, self.accounts, doubts, deadlines, can_fetch=can_fetch, can_ask_node=can_ask_node
        )
        self.node = NodeAnswers(book, doubts, self.accounts, self.markets)
        self.followers = [self]  # sessions whose accounts hold positions in these markets
        self.books = OrderBooks(book.chain, deadlines.refresh_book)
        self.trades: dict[str, TradeIds] = {}
        self.height: int | None = None
        self.block_time = ""
        self.block_at: float | None = None  # when the newest block came

    def stand_beside(self, pricing: Channels) -> None:
        """Take markets, and what a node says of them, from where the prices of the book come from."""
        self.node.markets = pricing.markets
        pricing.followers.append(self)
        self.followers = pricing.followers

    # -- snapshots and updates

    def snapshot(self, subscription: Subscription, contents: Mapping[str, Any], now: float) -> list[Event]:
        """Apply the contents of `subscribed`.

        Raises
        ------
        InputError
            Names the field that cannot be read; nothing was applied.
        """
        part = (contents, "contents")
        match subscription:
            case SubaccountOf() | ParentSubaccountOf():
                return self._account_snapshot(subscription, contents, now)
            case Markets():
                return self._markets([part], now, is_snapshot=True)
            case OrderBookOf():
                return self._levels(subscription.ticker, [part], now, is_snapshot=True)
            case TradesOf():
                trades = read_trades(*part, subscription.ticker)
                ids = self.trades.setdefault(subscription.ticker, TradeIds())
                new: list[Event] = [trade for trade in reversed(trades) if ids.is_new(trade.trade_id)]
                was_listed, ids.is_listed = ids.is_listed, True
                return new if was_listed and self._tells_trades else []
            case CandlesOf():
                return [*read_candles(*part, subscription.ticker, subscription.resolution)]
            case _:
                return self._blocks([part], "height", now)

    def update(self, subscription: Subscription, message: DataMessage, now: float) -> list[Event]:
        """Apply `channel_data` or `channel_batch_data`; raises like `snapshot`."""
        parts: list[Part] = [
            (contents, f"contents[{place}]" if message.batched else "contents")
            for place, contents in enumerate(message.contents)
        ]
        match subscription:
            case SubaccountOf() | ParentSubaccountOf():
                return self._account_update(subscription, parts, message.subaccount_number, now)
            case Markets():
                return self._markets(parts, now, is_snapshot=False)
            case OrderBookOf():
                return self._levels(subscription.ticker, parts, now, is_snapshot=False)
            case TradesOf():
                ids = self.trades[subscription.ticker]
                trades = [trade for part in parts for trade in read_trades(*part, subscription.ticker)]
                return [trade for trade in trades if self._tells_trades and ids.is_new(trade.trade_id)]
            case CandlesOf():
                return [
                    candle
                    for part in parts
                    for candle in read_candles(*part, subscription.ticker, subscription.resolution)
                ]
            case _:
                return self._blocks(parts, "blockHeight", now)

    def lost(self, subscription: Subscription, code: str) -> None:
        """Doubt what is held of a subscription: it is not whole any more."""
        match subscription:
            case SubaccountOf() | ParentSubaccountOf():
                for name in names_of(subscription, [account.name for account in self.accounts]):
                    self.accounts.doubt(name, code if name in self.accounts else "no_snapshot")
            case Markets():
                self.markets.lost(code)
            case OrderBookOf():
                self.books.lost(subscription.ticker)

    def forget(self, subscription: Subscription, others: Iterable[Subscription]) -> list[Event]:
        """Drop what is held of a subscription, but not the accounts that others cover."""
        events: list[Event] = []
        match subscription:
            case SubaccountOf() | ParentSubaccountOf():
                known = [account.name for account in self.accounts]
                kept = {
                    name
                    for other in others
                    if isinstance(other, (SubaccountOf, ParentSubaccountOf))
                    for name in names_of(other, known)
                }
                for name in names_of(subscription, known):
                    if name not in kept:
                        events += self.accounts.forget(name)
                        self.reconciler.forget(name)
            case Markets():
                self.markets.lost("gap")
            case OrderBookOf():
                self.books.forget(subscription.ticker)
            case TradesOf():
                self.trades.pop(subscription.ticker, None)
        return events

    def node_answered(self, picture: NodePicture, now: float) -> list[Event]:
        """Apply what a node answered; accounts that it was too old for are asked for again."""
        watched = [follower.accounts for follower in self.followers]
        events, new, too_old = self.node.apply(picture, watched, now, self.block_time)
        for name in too_old:
            self.reconciler.changed(name, now, "behind")
        return events + self._came(new)

    def _came(self, tickers: Iterable[str]) -> list[Event]:
        """Put in place what waited for markets that are known now."""
        events: list[Event] = []
        for ticker in tickers:
            for follower in self.followers:
                events += follower.accounts.market_came(ticker)
                follower.books.market_came(ticker)
        return events

    def observer_error(self) -> ObserverError | None:
        """Return what observers of the book raised since the last call, as one error."""
        errors = [*self.accounts.observer_errors, *self.markets.observer_errors]
        self.accounts.observer_errors, self.markets.observer_errors = [], []
        if len(errors) < 2:
            return errors[0] if errors else None
        return ObserverError(
            [one for error in errors for one in error.errors],
            [crossing for error in errors for crossing in error.crossings],
        )

    # -- one kind each

    def _account_snapshot(
        self, subscription: SubaccountOf | ParentSubaccountOf, contents: Mapping[str, Any], now: float
    ) -> list[Event]:
        root = Field("contents", contents)
        bodies: dict[Name, AccountBody] = {}
        for body in read_bodies(contents, "contents"):
            self._check_number(subscription, body.number, root["subaccount"])
            self.accounts.check(body.positions, "contents.subaccount")
            bodies[subscription.address, body.number] = body
        orders: dict[Name, list[OrderRow]] = {}
        for order in read_orders(contents.get("orders"), "contents.orders"):
            number = subscription.number if order.number is None else order.number
            self._check_number(subscription, number, root["orders"])
            orders.setdefault((subscription.address, number), []).append(order)
        floor = height_of(root["blockHeight"])
        known = names_of(subscription, [account.name for account in self.accounts])
        events: list[Event] = []
        for name in dict.fromkeys([*known, *bodies, *orders]):
            events += self.accounts.apply_body(
                name, bodies.get(name), floor, now, self.block_time, confirm_after=self._confirm_after
            )
            events += self.accounts.apply_orders(name, orders.get(name, []))
            self.reconciler.came(name, now)
        return events

    @property
    def _confirm_after(self) -> int | None:
        """Block after which an answer confirms what comes now; None: nothing needs to be confirmed."""
        if not self._confirm_snapshots:
            return None
        return -1 if self.height is None else self.height

    def _account_update(
        self,
        subscription: SubaccountOf | ParentSubaccountOf,
        parts: list[Part],
        number: int | None,
        now: float,
    ) -> list[Event]:
        if isinstance(subscription, SubaccountOf):
            number = subscription.number
        updates = [read_update(*part, number, subscription.address) for part in parts]
        for update, (contents, path) in zip(updates, parts, strict=True):
            self._check_number(subscription, update.number, Field(path, contents))
            self.accounts.check(update.positions, path)
        events: list[Event] = []
        for update in updates:
            name = (subscription.address, update.number)
            if name not in self.accounts:  # a child that its parent's snapshot did not have
                self.accounts.begin(name, self._confirm_after)
                self.reconciler.came(name, now)
            events += self.accounts.apply(name, update, now, self.block_time)
            if update.positions or update.usdc_quantums is not None:
                self.reconciler.changed(name, now)
        return events

    @staticmethod
    def _check_number(subscription: SubaccountOf | ParentSubaccountOf, number: int, place: Field) -> None:
        is_own = (
            subscription.has(number)
            if isinstance(subscription, ParentSubaccountOf)
            else number == subscription.number
        )
        if not is_own:
            raise place.refusal(f"rows of {subscription.id}, and not of number {number}")

    def _markets(self, parts: list[Part], now: float, *, is_snapshot: bool) -> list[Event]:
        message = MarketMessage()
        for contents, path in parts:
            message.read(contents, path)
        events, new = self.markets.apply(message, now, is_snapshot=is_snapshot)
        return events + self._came(new)

    def _levels(self, ticker: str, parts: list[Part], now: float, *, is_snapshot: bool) -> list[Event]:
        levels = [read_levels(*part) for part in parts]
        self.books.apply(ticker, levels, now, is_snapshot=is_snapshot)
        return []

    def _blocks(self, parts: list[Part], key: str, now: float) -> list[Event]:
        read: list[tuple[int, str]] = []
        for contents, path in parts:
            root = Field(path, contents)
            height = height_of(root[key])
            if height is None:
                raise root[key].refusal("a block height")
            read.append((height, text_of(root["time"])))
        events: list[Event] = []
        for height, time in read:
            if self.height is not None and height <= self.height:
                continue
            self.height, self.block_time, self.block_at = height, time, now
            events.append(BlockSeen(height, time))
            events += self.accounts.expire_orders(height)
        return events
