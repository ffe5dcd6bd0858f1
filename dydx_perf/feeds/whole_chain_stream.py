"""A whole chain kept current by a full node's streams, and how good its figures are.

A stream tells only of accounts that it was asked for, and a request has a limit: so there are several, each
with a part of all accounts. An account that comes to be is found by the next pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dydx_perf.book import Book
from dydx_perf.errors import InputError
from dydx_perf.ext.stream import ASSET, POSITION
from dydx_perf.feeds.accounts import market_subject
from dydx_perf.feeds.book_rows import held_rows
from dydx_perf.feeds.events import Event
from dydx_perf.feeds.fullnode import CHAIN, FEED, FullNodeSession
from dydx_perf.feeds.node_stream import NodeDeadlines, StreamSubscription
from dydx_perf.feeds.streamed_accounts import USDC, StreamedAccounts
from dydx_perf.feeds.trust import Doubts, Verdict
from dydx_perf.feeds.whole_chain import WholeChain
from dydx_perf.kernel import Risk
from dydx_perf.market import checked_integer
from dydx_perf.observers import Name

__all__ = ["ChainStanding", "FollowedChain", "WholeChainSession"]

#: accounts of one stream: their request is 2.5 MB, of the 10 MB that a node takes
ACCOUNTS_PER_STREAM = 50_000
#: seconds that a node may take for the snapshot of so many, beside the silence that is borne of any stream
SNAPSHOT_TIME = 30.0


class ToldAccounts(StreamedAccounts):
    """What one stream tells of accounts goes to the whole chain, which asks about it on its own.

    Attributes
    ----------
    since : int or None
        Block of this connection's first snapshot; None: it has not come.
    """

    wants_all = True

    def __init__(self, whole: WholeChain, book: Book, doubts: Doubts) -> None:
        super().__init__((), book, doubts)
        self._every = whole
        self.since: int | None = None

    def begin(self) -> None:
        """Begin with a new connection."""
        self.since = None

    def update(
        self, height: int, is_snapshot: bool, records: list[tuple[Any, ...]], now: float
    ) -> list[Event]:
        """Take what a block, or a snapshot after it, says of an account."""
        if is_snapshot and self.since is None:
            self.since = height
        _, address, number = records[0]
        sizes = {market: size for kind, market, size in records[1:] if kind == POSITION}
        balances = [amount for kind, asset, amount in records[1:] if kind == ASSET and asset == USDC]
        self._every.changed((address, number), height, is_snapshot, sizes, balances[-1] if balances else None)
        return []


class WholeChainSession(FullNodeSession):
    """One of the streams; `FullNodeSession` without accounts of its own."""

    def __init__(
        self,
        whole: WholeChain,
        subscription: StreamSubscription,
        *,
        market_ids: Mapping[str, int],
        deadlines: NodeDeadlines | None = None,
    ) -> None:
        self._whole = whole
        super().__init__(
            subscription, into=whole.book, market_ids=market_ids, deadlines=deadlines, max_orders=64
        )

    def _streamed(self, subscription: StreamSubscription) -> StreamedAccounts:
        self.told = ToldAccounts(self._whole, self.book, self.doubts)
        return self.told

    def start(self, now: float) -> list[Event]:
        """Begin with a new stream, whose first snapshot may be long in the making."""
        events = super().start(now)
        self._heard_at = now + SNAPSHOT_TIME
        return events

    @property
    def trouble(self) -> tuple[str, ...]:
        """Doubts of the stream and of the chain."""
        return self.doubts.of([FEED, CHAIN])

    @property
    def has_current_markets(self) -> bool:
        """Whether a node's answer about the markets is as new as the prices."""
        return self._is_current(self.book.chain.tickers)

    def age(self, now: float) -> float:
        """Seconds since its newest block came."""
        self._sync()
        return now - self._block_at

    def contradicted(self, now: float) -> list[Event]:
        """Give the stream up: a node's account is not what it said."""
        self._clock(now)
        self._drop("the stream's account is not the node's")
        return self._take()


@dataclass(frozen=True, slots=True)
class ChainStanding:
    """How good the figures of a whole chain are.

    Attributes
    ----------
    doubts : tuple of str
        Codes of `dydx_perf.feeds.trust.DOUBTS` that hold for all of it: with one, every verdict is "unknown".
    height : int or None
        Block that it is the state of.
    heights : (int, int) or None
        Of the lowest and the highest page of the last pass.
    age : float or None
        Seconds since that was the newest that there was.
    basis : str
        "chain" where every input of net collateral and maintenance margin is of `height`, else "estimate".
    accounts_in_doubt : int
        Accounts that are in doubt for reasons of their own.
    """

    doubts: tuple[str, ...]
    height: int | None
    heights: tuple[int, int] | None
    age: float | None
    basis: str
    accounts_in_doubt: int

    @property
    def is_complete(self) -> bool:
        """Whether a pass came to its end."""
        return "incomplete" not in self.doubts


class FollowedChain:
    """A whole chain with the streams that it has, and what may be said of an account.

    Parameters
    ----------
    whole : WholeChain
    market_height : int, optional
        Block of the markets that the chain was made with.
    oldest : float
        Seconds that a pass may be old where no stream follows.
    """

    def __init__(self, whole: WholeChain, market_height: int | None, *, oldest: float = 120.0) -> None:
        self.whole = whole
        self.market_height = market_height
        self.oldest = oldest
        self.sessions: list[WholeChainSession] = []

    def subscriptions(self, per_stream: int = ACCOUNTS_PER_STREAM) -> list[StreamSubscription]:
        """Divide accounts that no stream tells of yet: one subscription a stream.

        All prices come with the first of all, one price as a pulse with the others.

        A request without an order book would bring those of every market, so each names one, the least held.
        """
        checked_integer("per_stream", per_stream, 1, 10**7)
        chain, book = self.whole.chain, self.whole.book
        names = self.whole.untold()
        tickers = sorted(chain.tickers, key=lambda ticker: (book.holders(ticker), ticker))
        if not tickers:
            raise InputError("chain", chain, "a chain with a market")
        quiet, pulse = (tickers[0],), (tickers[-1],)
        parts = [names[at : at + per_stream] for at in range(0, len(names), per_stream)]
        if not parts and not self.sessions:
            parts = [[]]
        return [
            StreamSubscription(tuple(part), quiet, pulse if place or self.sessions else None)
            for place, part in enumerate(parts)
        ]

    def follow(
        self,
        subscription: StreamSubscription,
        market_ids: Mapping[str, int],
        deadlines: NodeDeadlines | None = None,
    ) -> WholeChainSession:
        """Make the session of one more stream."""
        session = WholeChainSession(self.whole, subscription, market_ids=market_ids, deadlines=deadlines)
        self.whole.tell(subscription.accounts)
        self.sessions.append(session)
        return session

    @property
    def needs_pass(self) -> bool:
        """Whether a pass is needed: none came yet, or a stream began after the last one."""
        whole = self.whole
        if whole.done is None:
            return True
        since = self._since()
        return since is not None and (whole.done.low is None or whole.done.low < since)

    def _since(self) -> int | None:
        """Block from which on every stream tells of each change; None: not all of them do."""
        begun = [session.told.since for session in self.sessions]
        found = [since for since in begun if since is not None]
        return max(found) if found and len(found) == len(begun) else None

    def standing(self, now: float) -> ChainStanding:
        """Return how good the figures are now."""
        whole, done = self.whole, self.whole.done
        pending = len(whole.pending)
        if done is None:
            return ChainStanding(("incomplete",), None, None, None, "estimate", pending)
        heights = None if done.low is None or done.high is None else (done.low, done.high)
        if not self.sessions:
            age = now - done.began_at
            is_exact = done.is_of_one_height and done.low == self.market_height
            doubts = ("old_picture",) if age > self.oldest else ()
            basis = "chain" if is_exact else "estimate"
            return ChainStanding(doubts, done.low, heights, age, basis, pending)
        codes = dict.fromkeys(code for session in self.sessions for code in session.trouble)
        if not codes and self.needs_pass:
            codes = dict.fromkeys(("not_reconciled",))
        told = [session.height for session in self.sessions]
        height = min((height for height in told if height is not None), default=None)
        is_exact = not codes and self.sessions[0].has_current_markets
        return ChainStanding(
            tuple(codes),
            height,
            heights,
            max((session.age(now) for session in self.sessions), default=None),
            "chain" if is_exact else "estimate",
            pending,
        )

    def doubts_of(self, name: Name) -> tuple[str, ...]:
        """Return the doubts of one account, and of the markets that it holds."""
        pending = self.whole.pending.get(name)
        found = () if pending is None else (pending.code,)
        if not self.sessions:
            return found
        held: Sequence[str] = [
            ticker for ticker, (size, _) in held_rows(self.whole.book, name).items() if size
        ]
        return (*found, *self.sessions[0].doubts.of([market_subject(ticker) for ticker in held]))

    def verdict(self, name: Name, risk: Risk, standing: ChainStanding) -> Verdict:
        """Say of an account what may be said: "unknown" where anything is in doubt."""
        if standing.doubts or self.doubts_of(name):
            return "unknown"
        return "liquidatable" if risk.is_liquidatable else "safe"
