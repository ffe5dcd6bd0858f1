"""What is watched, and what is known of it: sessions, a book, and figures that say how good they are."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.errors import UnknownSubaccountError
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    Subscription,
    shard,
)
from dydx_perf.feeds.trust import WatchedRisk
from dydx_perf.recording import seconds
from dydx_perf.service import answers
from dydx_perf.service.chain_feed import ChainFeed
from dydx_perf.service.config import PARENTS, Config, pairs
from dydx_perf.service.connect import Connection
from dydx_perf.subaccount import PARENT_SUBACCOUNTS

__all__ = ["Clock", "Feed", "Summary", "Watched", "deadlines", "subscriptions"]

MAX_MARKETS = 1_024
SUMMARY_AGE = 0.2  # seconds that a summary holds while no event comes


class Clock:
    """Nanoseconds of the wall as it stood at the start, counted on by a clock that never goes back."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def nanoseconds(self) -> int:
        """Return the time."""
        return self._offset + time.monotonic_ns()


def subscriptions(config: Config) -> list[list[Subscription]]:
    """Return what is subscribed to, one list a connection."""
    return shard(
        [
            Markets(),
            *(SubaccountOf(*pair) for pair in pairs("accounts", config.accounts)),
            *(ParentSubaccountOf(*pair) for pair in pairs("parents", config.parents, PARENTS)),
            *(OrderBookOf(ticker) for ticker in config.order_books),
            BlockHeight(),
        ]
    )


def deadlines(config: Config) -> Deadlines:
    """Return how long the sessions wait for what."""
    liveness = config.liveness
    return Deadlines(
        settle=liveness.settle,
        answer=liveness.answer,
        silence=liveness.silence,
        pulse=liveness.pulse,
        halt=liveness.halt,
        oracle_silence=liveness.oracle_silence,
        oracle_age=liveness.oracle_age,
        verify_after=liveness.verify_after,
        reconcile_every=liveness.reconcile_every,
    )


@dataclass(eq=False)
class Feed:
    """A session with its connection, while there is one."""

    number: int
    subscriptions: list[Subscription]
    session: IndexerSession
    wire: Connection | None = None
    timer: asyncio.TimerHandle | None = None
    timer_at: float = float("inf")
    delay: float = 0.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Summary:
    """All accounts in one walk.

    Attributes
    ----------
    verdicts, doubts : dict of str to int
        Accounts by verdict, and by doubt.
    unready : list of str
        What keeps figures from being trusted; empty: the service is ready.
    """

    verdicts: dict[str, int]
    doubts: dict[str, int]
    unready: list[str]


class Watched:
    """Sessions and the book that they feed, and what is known from them.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    book : Book
    clock : Clock
    feeds : list of Feed
        One a connection.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock()
        self.book = Book(
            Chain(description=f"{config.network}, as the indexer reports it"),
            max_subaccounts=config.limits.max_subaccounts,
            max_positions=config.limits.max_positions,
            max_markets=MAX_MARKETS,
        )
        self.feeds: list[Feed] = []
        for number, part in enumerate(subscriptions(config)):
            session = IndexerSession(
                part,
                into=self.book,
                batched=config.indexer.batched,
                deadlines=deadlines(config),
                beside=self.feeds[0].session if self.feeds else None,
                can_ask_node=bool(config.node.grpc),
                confirm_snapshots=config.liveness.confirm_snapshots,
                seed=random.getrandbits(32),
            )
            self.feeds.append(Feed(number, part, session))
        self._configured = pairs("accounts", config.accounts)
        self._feeds: dict[tuple[str, int], Feed] = {}
        self._parents: dict[tuple[str, int], Feed] = {}
        for feed in self.feeds:
            for subscription in feed.subscriptions:
                if isinstance(subscription, SubaccountOf):
                    self._feeds[subscription.address, subscription.number] = feed
                elif isinstance(subscription, ParentSubaccountOf):
                    self._parents[subscription.address, subscription.number] = feed
        self.chain_feed: ChainFeed | None = None  # from `run` on, where the whole chain is asked for
        self._summary: Summary | None = None
        self._summary_until = 0.0

    @property
    def now(self) -> float:
        """The sessions' time."""
        return seconds(self.clock.nanoseconds())

    @property
    def open_connections(self) -> int:
        """Connections that are open."""
        return sum(feed.wire is not None for feed in self.feeds)

    @property
    def height(self) -> int | None:
        """Block of the newest input."""
        return max((feed.session.height or 0 for feed in self.feeds), default=0) or None

    def accounts(self) -> list[tuple[str, int]]:
        """Return what is watched: what was asked for, and the children that were found."""
        found = dict.fromkeys(self._configured)
        for feed in self.feeds:
            found.update(dict.fromkeys(account.name for account in feed.session.accounts))
        return list(found)

    def feed_of(self, address: str, number: int) -> Feed:
        """Return who watches an account.

        Raises
        ------
        UnknownSubaccountError
            Nobody does.
        """
        feed = self._feeds.get((address, number)) or self._parents.get((address, number % PARENT_SUBACCOUNTS))
        if feed is None:
            raise UnknownSubaccountError((address, number))
        return feed

    def risk(self, address: str, number: int) -> WatchedRisk:
        """Return the risk of an account now, with all that says how good it is.

        Raises
        ------
        UnknownSubaccountError
            It is not watched.
        """
        return self.feed_of(address, number).session.risk(address, number, self.now)

    def explain(self, address: str, number: int) -> answers.ExplainAnswer:
        """Return the three sources' figures of an account, and why they differ."""
        return answers.explain_answer(
            self.risk(address, number),
            self.book.subaccount((address, number)).explain(),
            self.feed_of(address, number).session.account(address, number),
        )

    @property
    def shown_chain(self) -> Chain:
        """The markets to show: the indexer's, or the node's where the whole chain is all that is watched."""
        feed = self.chain_feed
        if self.config.watches_indexer or feed is None or feed.followed is None:
            return self.book.chain
        return feed.whole.chain

    def standing_of(self, ticker: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return doubts and notices of a market."""
        doubts = self.feeds[0].session.doubts
        subjects = [f"market {ticker}"]
        return doubts.of(subjects), doubts.notices_of(subjects)

    def risks(self) -> Iterator[WatchedRisk]:
        """Yield the risk of every watched account."""
        for address, number in self.accounts():
            yield self.risk(address, number)

    def changed(self) -> None:
        """Have all accounts looked at again when somebody asks next."""
        self._summary = None

    def summary(self) -> Summary:
        """Return what all accounts come to; walked anew after an event, or when it is old."""
        now = self.now
        if self._summary is None or now >= self._summary_until:
            self._summary, self._summary_until = self._summarized(), now + SUMMARY_AGE
        return self._summary

    def _summarized(self) -> Summary:
        verdicts = {"safe": 0, "liquidatable": 0, "unknown": 0}
        doubts: Counter[str] = Counter()
        unready = [
            f"connection {feed.number}: not open"
            for feed in self.feeds
            if feed.wire is None and self.config.watches_indexer
        ]
        unready += self._unready_chain()
        for risk in self.risks():
            verdicts[risk.verdict] += 1
            doubts.update(risk.doubts)
            if risk.verdict == "unknown":
                why = ", ".join(risk.doubts) or "nothing is known yet"
                unready.append(f"account {risk.address}/{risk.number}: {why}")
        return Summary(verdicts, dict(doubts), unready)

    def _unready_chain(self) -> list[str]:
        if not self.config.whole_chain.enabled:
            return []
        return ["whole chain: incomplete"] if self.chain_feed is None else self.chain_feed.unready()

    def verdicts(self) -> dict[str, int]:
        """Count accounts by verdict."""
        return self.summary().verdicts

    def doubts(self) -> dict[str, int]:
        """Count accounts by doubt."""
        return self.summary().doubts

    def unready(self) -> list[str]:
        """Return what keeps figures from being trusted; nothing: the service is ready."""
        return self.summary().unready
