"""Watched accounts: what the indexer tells of them goes into the book, and the rest of it is kept here.

Sizes and balances stand in the book. Positions in markets that are not known cannot: they wait here, and
the account is under a doubt meanwhile. What the indexer computes itself (equity, entry prices, its profit
and loss) is kept as it was said, beside ours.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from dydx_perf.book import Book
from dydx_perf.errors import CapacityError, InputError, ObserverError
from dydx_perf.feeds.account_messages import AccountBody, AccountUpdate, FillRow, OrderRow, PositionRow
from dydx_perf.feeds.book_rows import held_rows, held_usdc, put_account
from dydx_perf.feeds.events import (
    AccountSnapshot,
    Event,
    FillSeen,
    LiquidationSeen,
    OrderChanged,
    TransferSeen,
)
from dydx_perf.feeds.orders import OpenOrders, OrderStep
from dydx_perf.feeds.trust import Doubts
from dydx_perf.observers import Name
from dydx_perf.units import size_to_base_quantums

__all__ = ["Accounts", "WatchedAccount", "account_subject", "market_subject"]

#: fills whose ids are kept, of each account, so that none is told twice
MAX_FILLS = 10_000
LIQUIDATIONS = {"LIQUIDATED": "liquidation", "DELEVERAGED": "deleveraging"}
#: doubts of an account that a whole new state answers
ANSWERED = ("no_snapshot", "gap", "wrong_order", "not_reconciled", "unknown_sign", "over_capacity")


def account_subject(name: Name) -> str:
    """Return the subject of doubts about an account."""
    return f"account {name[0]}/{name[1]}"


def market_subject(ticker: str) -> str:
    """Return the subject of doubts about a market."""
    return f"market {ticker}"


@dataclass(slots=True, eq=False)
class WatchedAccount:
    """What is known of an account beside the book's row of it.

    Attributes
    ----------
    exists : bool
        False: the venue has never heard of it.
    height : int or None
        Block of the newest state that was applied.
    floor : int
        What is of a block before this one is older than what is held.
    event_height : int
        Block of the newest event that is in it; -1: not known.
    chain_height : int
        Block of the last answer of a node; what is of that block or before it is in it.
    confirm_after : int or None
        Its snapshot awaits an independent answer of a later block than this; None: it awaits none.
    confirmed_at : float
        When its state was last said or confirmed, in the caller's time.
    reconciled_at : float or None
        When an independent answer last agreed with it, since its snapshot.
    is_whole_answer : bool
        Whether its state is that of a snapshot or a REST answer, and not of an update.
    block_time : str
        Time of the chain at `confirmed_at`.
    positions : dict of ticker to PositionRow
        As the indexer last told them.
    equity, free_collateral : Decimal or None
        The indexer's own, of its last whole answer, at `reported_height`.
    unplaced : dict of ticker to Decimal
        Sizes in markets that are not known.
    """

    name: Name
    exists: bool = False
    height: int | None = None
    floor: int = -1
    event_height: int = -1
    chain_height: int = -1
    confirm_after: int | None = None
    confirmed_at: float = 0.0
    reconciled_at: float | None = None
    is_whole_answer: bool = True
    block_time: str = ""
    positions: dict[str, PositionRow] = field(default_factory=dict)
    equity: Decimal | None = None
    free_collateral: Decimal | None = None
    reported_height: int | None = None
    unplaced: dict[str, Decimal] = field(default_factory=dict)
    orders: OpenOrders = field(default_factory=OpenOrders)
    fills: deque[FillRow] = field(default_factory=lambda: deque(maxlen=100))
    trading_reward: Decimal | None = None
    source: Literal["indexer", "node"] = "indexer"
    _fill_ids: OrderedDict[str, None] = field(default_factory=OrderedDict)

    @property
    def newest(self) -> int:
        """Block of the newest event that is known of; an answer from before it is too old."""
        return self.event_height if self.event_height >= 0 else self.floor

    def is_new_fill(self, fill_id: str) -> bool:
        """Note a fill; whether it was not seen before."""
        if fill_id in self._fill_ids:
            return False
        self._fill_ids[fill_id] = None
        if len(self._fill_ids) > MAX_FILLS:
            self._fill_ids.popitem(last=False)
        return True


class Accounts:
    """All watched accounts of a session.

    Parameters
    ----------
    book : Book
    doubts : Doubts
    """

    def __init__(self, book: Book, doubts: Doubts) -> None:
        self._book = book
        self._doubts = doubts
        self._held: dict[Name, WatchedAccount] = {}
        #: errors of observers, raised once the message is applied
        self.observer_errors: list[ObserverError] = []

    def __iter__(self) -> Iterator[WatchedAccount]:
        return iter(tuple(self._held.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __getitem__(self, name: Name) -> WatchedAccount:
        return self._held[name]

    def get(self, name: Name) -> WatchedAccount | None:
        """Return an account, or None."""
        return self._held.get(name)

    def __len__(self) -> int:
        return len(self._held)

    # -- doubts

    def is_doubted(self, name: Name) -> bool:
        """Whether something of an account is in doubt."""
        return bool(self._doubts.of([account_subject(name)]))

    def doubt(self, name: Name, code: str) -> None:
        """Put an account under a doubt, until its next whole state."""
        self._doubts.raise_(account_subject(name), code)

    def tickers(self, account: WatchedAccount) -> list[str]:
        """Markets in which an account holds a position."""
        held = [ticker for ticker, (size, _) in held_rows(self._book, account.name).items() if size]
        return [*held, *account.unplaced]

    # -- checks, before anything is applied

    def quantums(self, ticker: str, size: Decimal, path: str) -> int | None:
        """Return a size in base quantums; None: its market is not known."""
        if ticker not in self._book.chain:
            return None
        return size_to_base_quantums(size, self._book.chain[ticker].atomic_resolution, f"{path}.size")

    def check(self, rows: Iterable[PositionRow], path: str) -> None:
        """Refuse a size that its market cannot hold."""
        for row in rows:
            self.quantums(row.ticker, row.size, path)

    # -- whole states

    def apply_body(
        self,
        name: Name,
        body: AccountBody | None,
        floor: int | None,
        now: float,
        block_time: str,
        *,
        confirm_after: int | None = None,
    ) -> list[Event]:
        """Replace an account's state whole: by a snapshot, or by what REST answered.

        Parameters
        ----------
        name : (address, number)
        body : AccountBody or None
            None: the venue does not know it.
        floor : int or None
            The message's own lower bound of the height.
        confirm_after : int or None
            Where an independent answer has yet to agree: the newest block that is known of.
        """
        account = self._held.setdefault(name, WatchedAccount(name))
        account.exists = body is not None
        account.positions, account.unplaced = {}, {}
        account.equity = account.free_collateral = account.reported_height = None
        height = floor
        usdc, sizes = 0, dict[str, int]()
        if body is not None:
            height = floor if body.height is None else body.height
            account.equity, account.free_collateral = body.equity, body.free_collateral
            account.reported_height = height
            usdc = body.usdc_quantums
            for row in body.positions:
                account.positions[row.ticker] = row
                self._place(account, row, sizes)
        account.height = height
        account.floor = -1 if height is None else height
        account.event_height = -1 if body is None or body.updated_height is None else body.updated_height
        account.is_whole_answer = True
        account.chain_height, account.source = -1, "indexer"
        account.confirmed_at, account.block_time, account.reconciled_at = now, block_time, None
        for code in ANSWERED:
            self._doubts.lift(account_subject(name), code)
        self.await_answer(account, confirm_after)
        events: list[Event] = [AccountSnapshot(*name, height, account.exists)]
        return events + self._write(account, usdc, sizes)

    def await_answer(self, account: WatchedAccount, confirm_after: int | None) -> None:
        """Put an account under a doubt until an answer of a later block than this agrees; None: none."""
        account.confirm_after = None if confirm_after is None else max(confirm_after, account.floor)
        if confirm_after is not None:
            self.doubt(account.name, "not_reconciled")

    def settle(self, name: Name, body: AccountBody) -> list[Event]:
        """Take the balance of an answer that agrees but for funding: it is settled to the answer's block."""
        account = self._held[name]
        sizes = {ticker: size for ticker, (size, _) in held_rows(self._book, name).items()}
        account.is_whole_answer = True
        if body.height is not None and (account.height is None or body.height > account.height):
            account.height = body.height
        return self._write(account, body.usdc_quantums, sizes)

    def confirm(self, name: Name, body: AccountBody | None, now: float, block_time: str) -> None:
        """Note that an independent answer agreed, and what it says of the indexer's own figures."""
        account = self._held[name]
        account.confirmed_at = account.reconciled_at = now
        account.confirm_after = None
        self._doubts.lift(account_subject(name), "not_reconciled")
        account.block_time = block_time
        if body is not None:
            account.equity, account.free_collateral = body.equity, body.free_collateral
            account.reported_height = body.height
            for row in body.positions:
                held = account.positions.get(row.ticker)
                position_id = "" if held is None else held.position_id
                account.positions[row.ticker] = replace(row, position_id=position_id)

    def answered(self, name: Name, exists: bool, height: int, now: float, block_time: str) -> bool:
        """Note that the book has an account as a node answered it at a height.

        Returns
        -------
        bool
            False: the answer may be from before messages that were lost with the snapshot.
        """
        account = self._held[name]
        is_later = account.confirm_after is None or height > account.confirm_after
        account.exists = account.exists or exists
        account.height, account.chain_height, account.source = height, height, "node"
        account.confirmed_at = now
        if is_later:
            account.reconciled_at, account.confirm_after = now, None
            self._doubts.lift(account_subject(name), "not_reconciled")
        account.block_time = block_time
        account.unplaced = {}
        chain = self._book.chain
        is_isolated = any(chain[ticker].is_isolated for ticker in self.tickers(account))
        self._doubts.set(account_subject(name), "isolated_pool", is_isolated)
        return is_later

    def apply_orders(self, name: Name, orders: Iterable[OrderRow]) -> list[Event]:
        """Replace the open orders of an account."""
        account = self._held[name]
        return [order_event(name, step) for step in account.orders.replace(orders)]

    def _place(self, account: WatchedAccount, row: PositionRow, sizes: dict[str, int]) -> None:
        quantums = self.quantums(row.ticker, row.size, row.ticker)
        account.unplaced.pop(row.ticker, None)
        if quantums is not None:
            sizes[row.ticker] = quantums
        elif row.size:
            account.unplaced[row.ticker] = row.size

    def _write(self, account: WatchedAccount, usdc: int, sizes: dict[str, int]) -> list[Event]:
        """Put an account into the book, whole, and say what of it cannot be there."""
        subject = account_subject(account.name)
        self._doubts.set(subject, "unknown_market", bool(account.unplaced))
        chain = self._book.chain
        isolated = any(size and chain[ticker].is_isolated for ticker, size in sizes.items())
        self._doubts.set(subject, "isolated_pool", isolated)
        try:
            return list(put_account(self._book, account.name, usdc, sizes, account.height))
        except CapacityError:
            self._doubts.raise_(subject, "over_capacity")
            return []
        except ObserverError as error:
            self.observer_errors.append(error)
            return list(error.crossings)

    # -- updates

    def begin(self, name: Name, confirm_after: int | None) -> None:
        """Know an account that no snapshot had, from its first update on."""
        account = self._held[name] = WatchedAccount(name)
        self.await_answer(account, confirm_after)

    def apply(self, name: Name, update: AccountUpdate, now: float, block_time: str) -> list[Event]:
        """Apply one update to an account that has had its snapshot."""
        account = self._held[name]
        account.exists = True
        events: list[Event] = []
        says_state = bool(update.positions) or update.usdc_quantums is not None
        is_old = update.height is not None and (
            update.height < account.floor or update.height <= account.chain_height
        )
        if says_state and not is_old:
            events += self._apply_state(account, update, now, block_time)
        if update.trading_reward is not None:
            account.trading_reward = update.trading_reward
        before_snapshot = update.height is not None and update.height < account.floor
        for order in update.orders:
            step = account.orders.apply(order, is_old=before_snapshot)
            if step is not None:
                events.append(order_event(name, step))
        for fill in update.fills:
            if account.is_new_fill(fill.fill_id):
                events += self._fill_events(account, fill)
        if update.transfer is not None:
            transfer = update.transfer
            events.append(TransferSeen(*name, transfer.amount, transfer.kind, transfer.height))
        return events

    def _apply_state(
        self, account: WatchedAccount, update: AccountUpdate, now: float, block_time: str
    ) -> list[Event]:
        rows = held_rows(self._book, account.name)
        sizes = {ticker: size for ticker, (size, _) in rows.items()}
        for row in update.positions:
            held = account.positions.get(row.ticker)
            if row.status != "OPEN" and is_other_position(held, row):
                continue  # it closed before the one that is held was opened
            account.positions[row.ticker] = row
            self._place(account, row, sizes)
        usdc = update.usdc_quantums
        if update.height is not None:
            account.height = update.height
            account.floor = max(account.floor, update.height)
            account.event_height = update.height
        account.is_whole_answer = False
        account.source = "indexer"
        account.confirmed_at, account.block_time = now, block_time
        return self._write(account, held_usdc(self._book, account.name) if usdc is None else usdc, sizes)

    def took(self, name: Name, rows: Iterable[PositionRow], height: int, now: float, block_time: str) -> None:
        """Note an update that is in the book already: sizes of open positions and balance, at a height."""
        account = self._held[name]
        for row in rows:
            account.positions[row.ticker] = row
        account.height = account.floor = account.event_height = height
        account.is_whole_answer, account.source = False, "indexer"
        account.confirmed_at, account.block_time = now, block_time

    def _fill_events(self, account: WatchedAccount, fill: FillRow) -> Iterator[Event]:
        account.fills.append(fill)
        name = account.name
        yield FillSeen(
            *name,
            fill.fill_id,
            fill.ticker,
            fill.side,
            fill.size,
            fill.price,
            fill.fee,
            fill.kind,
            fill.height,
        )
        kind = LIQUIDATIONS.get(fill.kind)
        try:
            quantums = self.quantums(fill.ticker, fill.size, "fill") if kind else None
        except InputError:  # a fill of a market whose scale is not the one we know: its size has no integer
            quantums = None
        if kind is not None and quantums is not None:
            yield LiquidationSeen(*name, fill.ticker, kind, quantums, fill.height)

    # -- what follows from elsewhere

    def market_came(self, ticker: str) -> list[Event]:
        """Put positions into the book that waited for a market to be known."""
        events: list[Event] = []
        for account in self:
            if ticker not in account.unplaced:
                continue
            sizes = {held: size for held, (size, _) in held_rows(self._book, account.name).items()}
            try:
                quantums = self.quantums(ticker, account.unplaced[ticker], ticker)
            except InputError:  # the market counts in units that this size does not fit
                continue
            if quantums is not None:
                del account.unplaced[ticker]
                sizes[ticker] = quantums
            events += self._write(account, held_usdc(self._book, account.name), sizes)
        return events

    def expire_orders(self, height: int) -> list[Event]:
        """End the short-term orders whose last block has passed."""
        return [order_event(account.name, step) for account in self for step in account.orders.expire(height)]

    def forget(self, name: Name) -> list[Event]:
        """Watch an account no more; it leaves the book."""
        account = self._held.pop(name, None)
        self._doubts.forget(account_subject(name))
        if account is None or name not in self._book:
            return []
        return list(self._book.remove(name))


def is_other_position(held: PositionRow | None, row: PositionRow) -> bool:
    """Whether a closed position is not the one that is open now, but one before it."""
    return (
        held is not None
        and held.status == "OPEN"
        and bool(held.position_id)
        and bool(row.position_id)
        and held.position_id != row.position_id
    )


def order_event(name: Name, step: OrderStep) -> OrderChanged:
    """Return the event of an order's step."""
    return OrderChanged(*name, step.order.order_id, step.order.ticker, step.status, step.reason)
