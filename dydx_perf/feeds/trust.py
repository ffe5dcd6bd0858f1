"""What makes figures untrustworthy, and the rule that follows: unknown is never safe.

A doubt is a code with a subject: the whole feed, the chain, one market or one account. An account is under
every doubt of its own, of the feed and chain, and of each market in which it holds a position. What is worth
showing and takes no trust away (a changed parameter, blocked withdrawals) is a notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from dydx_perf.feeds.events import TrustChanged
from dydx_perf.kernel import Risk

if TYPE_CHECKING:
    from dydx_perf.explain import Explanation

__all__ = ["DOUBTS", "NOTICES", "Bound", "Comparison", "Doubts", "Verdict", "WatchedRisk"]

Verdict = Literal["safe", "liquidatable", "unknown"]

#: what takes trust away, as a sentence
DOUBTS = {
    "no_snapshot": "no snapshot of it has come yet",
    "gap": "messages were lost; a new snapshot is awaited",
    "wrong_order": "messages came in an order that the source does not send",
    "silent": "nothing has come for longer than the source is ever silent",
    "disconnected": "there is no connection",
    "halted_chain": "no block has come for longer than the chain is ever silent",
    "lagging": "the source is more blocks behind another one than is allowed",
    "stale_oracle": "its oracle price is older than is allowed",
    "unknown_market": "a position is in a market that is not known",
    "no_price": "it has no oracle price",
    "unverified_protocol": "the chain runs a version whose arithmetic was not verified",
    "not_reconciled": "no independent answer agrees yet with what the source's messages added up to",
    "unknown_sign": "the sign of its balance is not known until a query answers",
    "over_capacity": "the book has no room for it",
    "incomplete": "not all of its pages have come yet",
    "old_picture": "it was last asked for longer ago than is allowed",
    "other_collateral": "it holds collateral that is not USDC, which has no value here",
}

#: what is shown and takes no trust away
NOTICES = {
    "parameters_changed": "a parameter of the market changed",
    "final_settlement": "the market is in final settlement",
    "not_active": "the order book of the market is not active",
    "withdrawals_blocked": "the chain blocks withdrawals and transfers of its collateral pool",
    "insurance_fund_low": "the insurance fund of its market cannot pay what is at stake",
    "isolated_pool": "its collateral lies in the pool of an isolated market",
    "fills_not_seen": "fills and liquidations of a market that it holds are not among what is subscribed to",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """How far an estimate may be off.

    Attributes
    ----------
    quote_quantums : int or None
        Largest possible error of net collateral; None: unbounded.
    causes : tuple of (str, int or None)
        What adds up to it.
    """

    quote_quantums: int | None
    causes: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class WatchedRisk:
    """The risk of an account as a feed has it, with all that says how good it is.

    Attributes
    ----------
    risk : Risk or None
        None while nothing is known. With doubts it is the last known state, not today's.
    doubts, notices : tuple of str
        Codes of DOUBTS and NOTICES.
    height : int or None
        Block of the oldest input.
    age : float or None
        Seconds since the account's inputs were last confirmed.
    basis : str
        "chain", "estimate" or "sample".
    bound : Bound or None
        Of an estimate; None where the basis is "chain" or nothing is known.
    """

    address: str
    number: int
    risk: Risk | None
    doubts: tuple[str, ...]
    notices: tuple[str, ...]
    height: int | None
    age: float | None
    basis: str
    bound: Bound | None = None

    @property
    def verdict(self) -> Verdict:
        """What may be said: "safe" or "liquidatable" only where nothing is in doubt, else "unknown"."""
        if self.risk is None or self.doubts:
            return "unknown"
        return "liquidatable" if self.risk.is_liquidatable else "safe"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known of an account from all sides, of one moment.

    Attributes
    ----------
    watched : WatchedRisk
        Our figures, and what is in doubt of them.
    explanation : Explanation
        Chain, indexer and web app from the same inputs, each difference with its reason.
    equity, free_collateral : Decimal or None
        What the indexer itself said last, in USDC; it never tells them but in a whole answer.
    reported_height : int or None
        Block of that answer.
    """

    watched: WatchedRisk
    explanation: Explanation
    equity: Decimal | None
    free_collateral: Decimal | None
    reported_height: int | None


class Doubts:
    """Doubts and notices by subject, and what changed of them since `changes` was last asked."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, None]] = {}
        self._before: dict[str, tuple[str, ...]] = {}

    def raise_(self, subject: str, code: str) -> None:
        """Put a subject under a doubt or a notice."""
        if code not in DOUBTS and code not in NOTICES:
            raise KeyError(code)
        held = self._held.setdefault(subject, {})
        if code not in held:
            self._before.setdefault(subject, tuple(held))
            held[code] = None

    def lift(self, subject: str, code: str) -> None:
        """Take a doubt or a notice away; nothing happens where there was none."""
        held = self._held.get(subject, {})
        if code in held:
            self._before.setdefault(subject, tuple(held))
            del held[code]

    def set(self, subject: str, code: str, holds: bool) -> None:
        """Raise or lift."""
        (self.raise_ if holds else self.lift)(subject, code)

    def forget(self, subject: str) -> None:
        """Drop a subject with all that is said of it."""
        held = self._held.pop(subject, {})
        if held:
            self._before.setdefault(subject, tuple(held))

    def of(self, subjects: Iterable[str]) -> tuple[str, ...]:
        """Doubts of several subjects, each code once."""
        return tuple(
            dict.fromkeys(code for one in subjects for code in self._held.get(one, ()) if code in DOUBTS)
        )

    def notices_of(self, subjects: Iterable[str]) -> tuple[str, ...]:
        """Notices of several subjects, each code once."""
        return tuple(
            dict.fromkeys(code for one in subjects for code in self._held.get(one, ()) if code in NOTICES)
        )

    def holds(self, subject: str, code: str) -> bool:
        """Whether a subject is under this doubt or notice."""
        return code in self._held.get(subject, ())

    def subjects(self) -> list[str]:
        """Return the subjects of which something is in doubt."""
        return [subject for subject, held in self._held.items() if any(code in DOUBTS for code in held)]

    @property
    def is_changed(self) -> bool:
        """Whether something changed since `changes` was last asked."""
        return bool(self._before)

    def changes(self) -> list[TrustChanged]:
        """Return what changed since the last call, one event a subject."""
        changed = [
            TrustChanged(subject, tuple(self._held.get(subject, ())), before)
            for subject, before in self._before.items()
            if tuple(self._held.get(subject, ())) != before
        ]
        self._before = {}
        return changed
