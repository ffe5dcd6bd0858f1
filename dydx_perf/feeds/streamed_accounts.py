"""Watched accounts as a full node's stream tells of them, and what of that may go into a book.

The stream tells signed positions and a balance without its sign, no funding index and no chosen leverage. A
balance of zero needs no sign; any other that changed waits for a node's answer at its height or a later one.
Until then the book keeps the account's last whole state, under the doubt "unknown_sign".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dydx_perf.book import Book
from dydx_perf.book_accounts import AccountsPlan
from dydx_perf.errors import CapacityError, UnknownMarketError
from dydx_perf.ext.stream import ASSET, POSITION
from dydx_perf.feeds.accounts import account_subject
from dydx_perf.feeds.book_rows import held_rows, held_usdc, plan_account
from dydx_perf.feeds.events import AccountSnapshot, AskNode, Event
from dydx_perf.feeds.trust import Doubts
from dydx_perf.observers import Name

__all__ = ["StreamedAccount", "StreamedAccounts"]

USDC = 0
#: doubts under which the book may not have what the stream says of an account
STATES = {"no_snapshot", "unknown_sign", "unknown_market", "over_capacity", "not_reconciled"}


@dataclass(slots=True, eq=False)
class StreamedAccount:
    """What the stream says of an account, beside the book's row of it.

    Attributes
    ----------
    height : int
        Block of the last thing said of it, -1: nothing yet.
    quantums : dict of perpetual id to int
        Signed sizes, as the stream has them.
    usdc : int
        The balance without its sign.
    sign : 1, -1 or None
        None: not known until a node answers.
    chain_height : int
        Block of the last node's answer that went into the book; what is of that block or before is in it.
    said_on : int
        Which connection its last snapshot came on.
    confirmed_at : float
        When its state was last said or answered, in the caller's time.
    """

    name: Name
    height: int = -1
    quantums: dict[int, int] = field(default_factory=dict)
    usdc: int = 0
    sign: Literal[1, -1] | None = None
    chain_height: int = -1
    said_on: int = 0
    confirmed_at: float = -math.inf


class StreamedAccounts(Mapping[Name, StreamedAccount]):
    """All watched accounts of a stream, and the questions about them.

    Parameters
    ----------
    names : iterable of (address, number)
    book, doubts
        Of the session.

    Attributes
    ----------
    wants_all : bool
        Whether it is to be told of accounts that are not here, too.
    """

    wants_all = False

    def __init__(self, names: Iterable[Name], book: Book, doubts: Doubts) -> None:
        self._held = {name: StreamedAccount(name) for name in names}
        self._book = book
        self._doubts = doubts
        self._whole: dict[Name, tuple[int, dict[int, int], int]] = {}  # balance, sizes, height; to be written
        self._connection = 0
        self._asked: dict[Name, None] = {}
        self._touched = dict.fromkeys(self._held)  # those of which `plain_since` may be another than before
        self._needs_markets = False
        self._ask_at: float | None = None

    def __getitem__(self, name: Name) -> StreamedAccount:
        return self._held[name]

    def __iter__(self) -> Any:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def begin(self) -> None:
        """Begin with a new connection: nothing is known of what happened in between."""
        self._connection += 1
        self._touched = dict.fromkeys(self._held)
        for account in self._held.values():
            self._doubts.raise_(account_subject(account.name), "no_snapshot")

    # -- what is taken elsewhere

    def take_touched(self) -> list[Name]:
        """Accounts of which `plain_since` may have changed since the last call."""
        names, self._touched = list(self._touched), {}
        return names

    def plain_since(self, name: Name) -> int | None:
        """Block of the newest answer of a node; None: something of the account is in doubt."""
        account = self._held[name]
        held = self._doubts.of([account_subject(name)])
        if account.sign is None or account.said_on != self._connection or not STATES.isdisjoint(held):
            return None
        return account.chain_height

    def took(self, name: Name, height: int, now: float) -> None:
        """Take note that sizes of positions changed, and are in the book; no balance needed a new sign."""
        account = self._held[name]
        chain, rows = self._book.chain, held_rows(self._book, name)
        account.quantums = {chain[ticker].perpetual_id: size for ticker, (size, _) in rows.items() if size}
        account.usdc = abs(held_usdc(self._book, name))
        if account.usdc == 0:
            account.sign = 1
        account.height, account.confirmed_at = max(account.height, height), now

    # -- questions

    def ask(self, account: StreamedAccount, code: str, now: float) -> None:
        """Put an account under a doubt that a node's answer lifts."""
        self._doubts.raise_(account_subject(account.name), code)
        self._asked[account.name] = self._touched[account.name] = None
        self._needs_markets = self._needs_markets or code == "unknown_market"
        self._ask_at = now if self._ask_at is None else min(self._ask_at, now)

    @property
    def ask_at(self) -> float | None:
        """When to ask; None: nothing is to be asked."""
        return self._ask_at if self._asked else None

    def question(self, now: float, again: float) -> AskNode:
        """Return what to ask now, and ask again after so many seconds unless it was answered."""
        self._ask_at = now + again
        codes = {code for name in self._asked for code in self._doubts.of([account_subject(name)])}
        return AskNode(tuple(self._asked), self._needs_markets, ", ".join(sorted(codes)))

    def put_off(self, until: float) -> None:
        """Say that everything was asked for just now."""
        if self._asked:
            self._ask_at = until

    # -- what the stream says

    def update(
        self, height: int, is_snapshot: bool, records: list[tuple[Any, ...]], now: float
    ) -> list[Event]:
        """Take what a block, or a snapshot after it, says of an account; of others it says nothing to us.

        What is whole then goes into the book by the next `plan`.
        """
        _, *name = records[0]
        account = self._held.get(tuple(name))
        if account is None:
            return []
        subject = account_subject(account.name)
        self._touched[account.name] = None
        is_settled = account.sign is not None and height <= account.chain_height
        is_known = account.sign is not None and account.said_on == self._connection
        events: list[Event] = []
        if is_snapshot:
            events.append(AccountSnapshot(*account.name, height, len(records) > 1))
        elif account.said_on != self._connection and not is_settled:
            # It came to be between the subscription and the snapshot: a node decides from what it starts.
            account.height = max(account.height, height)
            self.ask(account, "no_snapshot", now)
            return events
        account.height, account.confirmed_at = max(account.height, height), now
        if is_snapshot or is_settled:
            account.said_on = self._connection
            self._doubts.lift(subject, "no_snapshot")
        if not is_settled:  # else the node's answer was ahead of its stream: this is in it already
            self._change(account, is_snapshot, is_known, records[1:], now)
        return events

    def _change(
        self,
        account: StreamedAccount,
        is_snapshot: bool,
        is_known: bool,
        rows: list[tuple[Any, ...]],
        now: float,
    ) -> None:
        sizes = {market: size for kind, market, size in rows if kind == POSITION}
        balances = [amount for kind, asset, amount in rows if kind == ASSET and asset == USDC]
        held = sizes if is_snapshot else account.quantums | sizes
        held = {market: size for market, size in held.items() if size}
        if is_snapshot and not balances:
            balances = [0]
        usdc = balances[-1] if balances else account.usdc
        if is_snapshot and is_known and (held, usdc) == (account.quantums, account.usdc):
            return  # sent again, and nothing changed since
        account.quantums, account.usdc = held, usdc
        if usdc == 0:
            account.sign = 1
        elif balances:
            account.sign = None
        if account.sign is None:
            self.ask(account, "unknown_sign", now)
            return
        self._doubts.lift(account_subject(account.name), "unknown_sign")
        self._whole[account.name] = account.sign * account.usdc, held, account.height

    def plan(self, plan: AccountsPlan, now: float) -> None:
        """Plan the states that became whole since the last call, settled as they changed."""
        chain, whole = self._book.chain, self._whole
        self._whole = {}
        for name, (usdc, held, height) in whole.items():
            account, subject = self._held[name], account_subject(name)
            self._touched[name] = None
            try:
                sizes = {chain[market].ticker: size for market, size in held.items()}
                plan_account(self._book, plan, name, usdc, sizes, height)
            except UnknownMarketError:
                self.ask(account, "unknown_market", now)
            except CapacityError:
                self._doubts.raise_(subject, "over_capacity")
            else:
                self._doubts.lift(subject, "unknown_market")
                self._doubts.lift(subject, "over_capacity")

    # -- what a node answers

    def answered(self, name: Name, height: int, told_height: int | None, now: float) -> bool:
        """Hold the stream to a node's account, which the book has now; False: they contradict each other.

        Parameters
        ----------
        name : (address, number)
        height : int
            Of the answer.
        told_height : int or None
            The stream has told of every change up to this block; None: it is not live.
        now : float
        """
        account, subject = self._held[name], account_subject(name)
        self._touched[name] = None
        chain, rows = self._book.chain, held_rows(self._book, name)
        sizes = {chain[ticker].perpetual_id: size for ticker, (size, _) in rows.items() if size}
        usdc = held_usdc(self._book, name)
        is_told = account.said_on == self._connection and told_height is not None and height <= told_height
        if is_told and (account.quantums, account.usdc) != (sizes, abs(usdc)):
            self.ask(account, "not_reconciled", now)
            return False
        account.quantums, account.usdc, account.sign = sizes, abs(usdc), -1 if usdc < 0 else 1
        account.chain_height, account.confirmed_at = height, now
        if told_height is not None:  # the stream reports each change from here on
            account.said_on = self._connection
            self._doubts.lift(subject, "no_snapshot")
        for code in ("unknown_sign", "unknown_market", "over_capacity", "not_reconciled"):
            self._doubts.lift(subject, code)
        self._asked.pop(name, None)
        return True

    def refused(self, name: Name, error: Exception, now: float) -> None:
        """Take note that a node's account could not go into the book."""
        self._touched[name] = None
        if isinstance(error, UnknownMarketError):
            self.ask(self._held[name], "unknown_market", now)
        else:
            code = "over_capacity" if isinstance(error, CapacityError) else "not_reconciled"
            self._doubts.raise_(account_subject(name), code)
