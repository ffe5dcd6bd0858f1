"""Independent answers against what the messages added up to.

The venue registers a subscription after it read the snapshot: what happened between is lost, and no number
is missing. So a snapshot is in doubt until it was compared with REST a moment later, and every account is
compared from time to time. An answer that differs puts the account under a doubt; when a second one, a
moment later, still differs and is not older than what we hold, it takes over. An answer that is behind our
messages says nothing, nor does one of a snapshot that was asked for before it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dydx_perf.book import Book
from dydx_perf.documents import Field
from dydx_perf.errors import FrameError, InputError
from dydx_perf.feeds.account_messages import AccountBody, OrderRow, read_body, read_orders
from dydx_perf.feeds.accounts import Accounts, WatchedAccount, account_subject, order_event
from dydx_perf.feeds.book_rows import held_rows, held_usdc
from dydx_perf.feeds.bounds import funding_per_tick, ticks_between
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.events import AskNode, Event, Fetch
from dydx_perf.feeds.orders import OPEN_STATUSES
from dydx_perf.feeds.rest_paths import MAX_LIMIT, STILL_OPEN, orders_path, subaccount_path
from dydx_perf.feeds.trust import Doubts
from dydx_perf.observers import Name

__all__ = ["Question", "Reconciler", "question_of"]

#: between two comparisons of two requests each: 80 % of the 100 in 10 seconds that the venue allows
SPACING = 0.25
#: after which a question counts as never answered
GIVEN_UP = 60.0
#: accounts that a node is asked for at once
NODE_BATCH = 50


@dataclass(frozen=True, slots=True)
class Question:
    """What a path asks for: an account, or the list of its open orders."""

    name: Name
    is_orders: bool


STATE_PATH = re.compile(r"/addresses/([^/?&=]+)/subaccountNumber/([0-9]{1,9})", re.ASCII)
ORDERS_PATH = re.compile(
    r"/orders\?address=([^/?&=]+)&subaccountNumber=([0-9]{1,9})"
    rf"&status={','.join(STILL_OPEN)}&limit={MAX_LIMIT}",
    re.ASCII,
)


def question_of(fetch: Fetch) -> Question:
    """Return what a session asked with a request.

    Raises
    ------
    InputError
        No session asks for this path.
    """
    for pattern, is_orders in ((STATE_PATH, False), (ORDERS_PATH, True)):
        found = pattern.fullmatch(fetch.path)
        if found is not None:
            return Question((found[1], int(found[2])), is_orders)
    raise InputError(
        "fetch", fetch.path, "a request of the session: /addresses/…/subaccountNumber/… or /orders?address=…"
    )


@dataclass(slots=True)
class Check:
    """When an account is compared next, and what is under way."""

    since: float
    due: float
    is_suspect: bool = False
    absent: set[str] = field(default_factory=set)  # orders that the last list did not have


class Reconciler:
    """Comparisons of a session's accounts.

    Parameters
    ----------
    book, accounts, doubts, deadlines
        Of the session.
    can_fetch, can_ask_node : bool
        Which requests the caller carries out.
    """

    def __init__(
        self,
        book: Book,
        accounts: Accounts,
        doubts: Doubts,
        deadlines: Deadlines,
        *,
        can_fetch: bool,
        can_ask_node: bool,
    ) -> None:
        self._book = book
        self._accounts = accounts
        self._doubts = doubts
        self._deadlines = deadlines
        self._can_fetch = can_fetch
        self._can_ask_node = can_ask_node
        self._checks: dict[Name, Check] = {}
        self._asked: dict[Name, list[float]] = {}  # when what is not answered was asked
        self._next_fetch = 0.0
        self._asks: dict[Name, str] = {}
        self._ask_due: float | None = None
        self._ask_all_due: float | None = None

    # -- what asks for a comparison

    def came(self, name: Name, now: float) -> None:
        """Take note that a snapshot of an account came."""
        if self._can_fetch:
            self._checks[name] = Check(now, now + self._deadlines.verify_after)
        self.changed(name, now, "snapshot")
        if self._can_ask_node and self._ask_all_due is None:
            self._ask_all_due = now + self._deadlines.node_after

    def changed(self, name: Name, now: float, why: str = "update") -> None:
        """Take note that an account's figures are the indexer's again."""
        if self._can_ask_node:
            self._asks.setdefault(name, why)
            if self._ask_due is None:
                self._ask_due = now + self._deadlines.node_after

    def suspect(self, name: Name, now: float) -> None:
        """Something differs: compare soon."""
        check = self._checks.get(name)
        if check is not None:
            check.due = min(check.due, now)

    def forget(self, name: Name) -> None:
        """Compare an account no more."""
        self._checks.pop(name, None)
        self._asks.pop(name, None)

    # -- time

    def tick(self, now: float, is_live: Callable[[Name], bool]) -> list[Event]:
        """Return the requests that are due."""
        requests: list[Event] = []
        due = [(name, check) for name, check in self._checks.items() if check.due <= now]
        for name, check in sorted(due, key=lambda one: one[1].due):
            if self._next_fetch > now:
                break
            if not is_live(name):
                check.due = now + self._deadlines.verify_after
                continue
            check.due = now + self._deadlines.reconcile_every
            self._next_fetch = max(now, self._next_fetch) + SPACING
            address, number = name
            asked = self._asked.get(name, [])
            self._asked[name] = [*(at for at in asked if at > now - GIVEN_UP), now]
            why = "differs" if check.is_suspect else "reconcile"
            requests.append(Fetch(subaccount_path(address, number), why))
            orders = orders_path(address, number, statuses=STILL_OPEN, limit=MAX_LIMIT)
            requests.append(Fetch(orders, "orders"))
        return requests + self._node_requests(now)

    def _node_requests(self, now: float) -> list[Event]:
        if self._ask_all_due is not None and self._ask_all_due <= now:
            self._ask_all_due = now + self._deadlines.node_every
            self._ask_due, self._asks = None, {}
            names = [account.name for account in self._accounts]
            parts = [tuple(names[at : at + NODE_BATCH]) for at in range(0, len(names), NODE_BATCH)] or [()]
            return [AskNode(part, part is parts[0], "periodic") for part in parts]
        if self._ask_due is not None and self._ask_due <= now:
            names = list(self._asks)
            why = ", ".join(sorted(set(self._asks.values())))
            self._ask_due, self._asks = None, {}
            return [
                AskNode(tuple(names[at : at + NODE_BATCH]), False, why)
                for at in range(0, len(names), NODE_BATCH)
            ]
        return []

    @property
    def next_deadline(self) -> float | None:
        """When `tick` has something to ask for."""
        deadlines = [at for at in (self._ask_due, self._ask_all_due) if at is not None]
        if self._checks:
            due = min(check.due for check in self._checks.values())
            deadlines.append(max(due, self._next_fetch))
        return min(deadlines, default=None)

    # -- answers

    def fetched(
        self, question: Question, status: int, body: bytes, now: float, block_time: str
    ) -> list[Event]:
        """Take the answer to a request.

        Raises
        ------
        FrameError
            A body with status 200 that cannot be read.
        """
        name = question.name
        asked_at = None if question.is_orders else self._asked_at(name)
        check = self._checks.get(name)
        account = self._accounts.get(name)
        if check is None or account is None:
            return []
        if status not in (200, 404):
            check.due = min(check.due, now + self._deadlines.verify_after)
            return []
        document = decoded(body) if status == 200 else None
        if question.is_orders:
            rows = [] if document is None else read_orders(document, "orders")
            return self._compare_orders(account, check, rows)
        read = None if document is None else read_body(Field("body", document)["subaccount"])
        if read is not None:
            self._accounts.check(read.positions, "body.subaccount")
        if self._is_behind(account, check, read, asked_at):
            check.due = min(check.due, now + self._deadlines.verify_after)
            return []
        return self._compare(account, check, read, now, block_time)

    def _asked_at(self, name: Name) -> float | None:
        """When the oldest question without an answer was asked: no answer is taken for a younger one's."""
        asked = self._asked.get(name)
        if not asked:
            return None
        oldest = asked.pop(0)
        if not asked:
            del self._asked[name]
        return oldest

    @staticmethod
    def _is_behind(
        account: WatchedAccount, check: Check, body: AccountBody | None, asked_at: float | None
    ) -> bool:
        """Whether an answer may lack what our messages told, or what was lost with the snapshot."""
        theirs = -1 if body is None or body.updated_height is None else body.updated_height
        if theirs < account.event_height:
            return True
        if account.confirm_after is None:
            return False
        if asked_at is None or asked_at <= check.since:
            return True
        return body is not None and body.height is not None and body.height <= account.confirm_after

    def _compare(
        self, account: WatchedAccount, check: Check, body: AccountBody | None, now: float, block_time: str
    ) -> list[Event]:
        events: list[Event] = []
        if not self._differs(account, body, now, block_time):
            check.is_suspect = False
            if body is not None and body.usdc_quantums != held_usdc(self._book, account.name):
                events = self._accounts.settle(account.name, body)
            self._accounts.confirm(account.name, body, now, block_time)
            return events
        if not check.is_suspect:
            check.is_suspect = True
            check.due = now + self._deadlines.settle
            self._doubts.raise_(account_subject(account.name), "not_reconciled")
            return []
        check.is_suspect = False
        events = self._accounts.apply_body(account.name, body, None, now, block_time)
        self._accounts.confirm(account.name, body, now, block_time)
        self.changed(account.name, now, "repaired")
        return events

    def _differs(
        self, account: WatchedAccount, body: AccountBody | None, now: float, block_time: str
    ) -> bool:
        held: dict[str, Any] = {
            ticker: size for ticker, (size, _) in held_rows(self._book, account.name).items() if size
        }
        held |= dict(account.unplaced)
        theirs: dict[str, Any] = {}
        for row in () if body is None else body.positions:
            quantums = self._accounts.quantums(row.ticker, row.size, "body")
            theirs[row.ticker] = row.size if quantums is None else quantums
        if held != theirs or self._doubts.holds(account_subject(account.name), "over_capacity"):
            return True
        ticks = 1 + ticks_between(account.block_time, block_time, now - account.confirmed_at)
        allowed = ticks * funding_per_tick(self._book, account.name)
        ours = held_usdc(self._book, account.name)
        return abs((0 if body is None else body.usdc_quantums) - ours) > allowed

    def _compare_orders(self, account: WatchedAccount, check: Check, rows: list[OrderRow]) -> list[Event]:
        """Open what we did not know; end what two lists in a row did not have."""
        held = account.orders
        steps = [held.apply(row) for row in rows if row.status in OPEN_STATUSES or row.order_id in held]
        listed = {row.order_id for row in rows}
        absent = {
            order.order_id
            for order in account.orders
            if order.order_id not in listed and order.status != "BEST_EFFORT_CANCELED"
        }
        steps += account.orders.drop(absent & check.absent)
        check.absent = absent
        return [order_event(account.name, step) for step in steps if step is not None]


def decoded(body: bytes) -> Any:
    """Read a JSON body without a float: numbers with a point stay text."""
    try:
        return json.loads(body, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"no JSON: {error}", getattr(error, "pos", None), "body") from None


def _refuse(constant: str) -> Mapping[str, Any]:
    raise ValueError(f"{constant} is no JSON")
