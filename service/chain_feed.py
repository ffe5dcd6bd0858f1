"""A whole chain over a node's gRPC: pages, streams, and questions about what changed.

Nothing here decides anything: `dydx_perf.feeds.whole_chain` and `whole_chain_stream` do. A connection that is
lost is tried again with growing pauses, and a pass goes on from the page that it was at.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dydx_perf.errors import CapacityError, ConnectError, FrameError, InputError
from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.events import AskNode, BlockSeen, Event, Reconnect, Send
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import account_queries
from dydx_perf.feeds.node_stream import METHOD
from dydx_perf.feeds.whole_chain import WholeChain
from dydx_perf.feeds.whole_chain_stream import ChainStanding, FollowedChain, WholeChainSession
from dydx_perf.observers import Name
from dydx_perf.service.config import WholeChain as WholeChainConfig
from dydx_perf.service.metrics import Latency
from dydx_perf.service.node import NodeError, NodeQueries

__all__ = ["NOTHING", "ChainCounts", "ChainFeed", "ChainSettings", "settings_of"]

log = logging.getLogger("dydx_perf")

T = TypeVar("T")

PAGE_TIMEOUT = 60.0  # seconds; the first page counts all accounts
ASKS_AT_ONCE = 8
#: answers about the height that a node gives when it does not keep it
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "UNKNOWN", "INTERNAL"}
REFUSED_TIMES = 3  # until a pass goes on at another height
#: so many accounts in doubt are settled faster by a pass than one by one
FLOOD, FLOOD_SHARE = 2_000, 50


#: what is known before anything came
NOTHING = ChainStanding(("incomplete",), None, None, None, "estimate", 0)


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """How a chain is read.

    Attributes
    ----------
    max_subaccounts, max_positions : int or None
        Room; None: as the first page lets expect.
    stream : bool
        Whether to follow the node's stream; else passes alone keep it current.
    every : float
        Seconds from one pass to the next.
    per_stream : int
        Accounts of one stream.
    first_delay, longest_delay : float
        Seconds before something is tried again; doubled, with jitter.
    patience : float
        Seconds without an answer after which markets and pages are given up.
    """

    max_subaccounts: int | None = None
    max_positions: int | None = None
    stream: bool = True
    every: float = 60.0
    per_stream: int = 50_000
    first_delay: float = 0.5
    longest_delay: float = 30.0
    patience: float = math.inf


@dataclass(slots=True)
class ChainCounts:
    """What happened.

    Attributes
    ----------
    verdict : Latency
        From a block's bytes to every account's verdict.
    doubt : Latency
        From the moment an account is asked for to the moment that its verdict holds again.
    """

    pages: int = 0
    passes: int = 0
    bad_pages: int = 0
    failures: int = 0
    reconnects: int = 0
    blocks: int = 0
    crossings: int = 0
    asked: int = 0
    contradictions: int = 0
    verdict: Latency = field(default_factory=Latency)
    doubt: Latency = field(default_factory=Latency)


def settings_of(config: WholeChainConfig) -> ChainSettings:
    """Return the settings of a service's whole chain."""
    return ChainSettings(
        max_subaccounts=config.max_subaccounts or None,
        max_positions=config.max_positions or None,
        stream=config.stream,
        every=config.every,
        per_stream=config.accounts_per_stream,
    )


class ChainFeed:
    """Read a whole chain, and keep it.

    Parameters
    ----------
    node : NodeQueries
    settings : ChainSettings
    on_page : callable, optional
        Called after each page.

    Attributes
    ----------
    followed : FollowedChain or None
        None until the markets came.
    trouble : str
        What went wrong last, "" while nothing is wrong.
    """

    def __init__(
        self,
        node: NodeQueries,
        settings: ChainSettings | None = None,
        on_page: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = ChainSettings() if settings is None else settings
        self.counts = ChainCounts()
        self.followed: FollowedChain | None = None
        self.trouble = ""
        self.is_too_large = False
        self._answered_at = self.now
        self.version: str | None = None
        self._node = node
        self._on_page = on_page
        self._market_ids: dict[str, int] = {}
        self._wanted = asyncio.Event()  # somebody is to be asked for
        self._due = asyncio.Event()  # a pass may be due
        self._cuts: dict[WholeChainSession, asyncio.Future[float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> float:
        """The sessions' time."""
        return time.monotonic()

    @property
    def whole(self) -> WholeChain:
        """The chain.

        Raises
        ------
        InputError
            Its markets did not come yet.
        """
        if self.followed is None:
            raise InputError("whole", None, "a chain, which there is when its markets came")
        return self.followed.whole

    def standing(self) -> ChainStanding:
        """Return how good the figures are now."""
        standing = NOTHING if self.followed is None else self.followed.standing(self.now)
        if self.is_too_large:
            return replace(standing, doubts=(*standing.doubts, "over_capacity"))
        return standing

    def unready(self) -> list[str]:
        """Return what keeps its figures from being trusted."""
        trouble = f" ({self.trouble})" if self.trouble else ""
        return [f"whole chain: {code}{trouble}" for code in self.standing().doubts]

    @property
    def is_loaded(self) -> bool:
        """Whether all pages came once."""
        return self.followed is not None and self.followed.whole.is_loaded

    # -- loading

    async def run(self) -> None:
        """Load and keep it until cancelled; one that does not fit is said, and left."""
        try:
            await self.load()
        except CapacityError as error:
            self.trouble, self.is_too_large = str(error), True
            log.error("whole chain: %s", error)
            return
        await self.keep()

    async def load(self) -> FollowedChain:
        """Ask for markets and all accounts at one height; tries again until both came.

        Raises
        ------
        CapacityError
            More accounts than there is room for.
        """
        picture = await self._again(self._markets)
        settings = self.settings
        whole = WholeChain(
            picture.chain(), max_subaccounts=settings.max_subaccounts, max_positions=settings.max_positions
        )
        self._market_ids = picture.market_ids
        self.followed = FollowedChain(whole, picture.height, oldest=3 * settings.every)
        await self._pass(picture.height)
        return self.followed

    async def _markets(self) -> NodePicture:
        picture = await self._node.ask(AskNode((), True, "whole chain"))
        self.version = picture.version
        if not picture.has_markets:
            raise InputError("picture", picture.missing(), "all markets")
        return picture

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it until it is done."""
        attempts = 0
        while True:
            try:
                done = await work()
            except (ConnectError, FrameError, InputError) as error:
                attempts += 1
                await self._pause(str(error), attempts)
            else:
                self._answered_at, self.trouble = self.now, ""
                return done

    async def _pause(self, why: str, attempts: int) -> None:
        self.trouble = why
        self.counts.failures += 1
        if self.now - self._answered_at > self.settings.patience:
            raise ConnectError(f"no answer for {self.settings.patience:g} s: {why}")
        self._on_page()
        log.warning("whole chain: %s", why)
        longest = min(self.settings.first_delay * 2 ** min(attempts - 1, 20), self.settings.longest_delay)
        await asyncio.sleep(longest * (0.5 + random.random() / 2))

    async def _pass(self, height: int | None = None) -> None:
        """Ask for all pages, from wherever the last answer left off."""
        whole, counts = self.whole, self.counts
        whole.begin(self.now, height)
        attempts = refusals = 0
        while (query := whole.query) is not None:
            try:
                data, told = await self._node.one(query, whole.pin, PAGE_TIMEOUT)
                crossings = whole.page(data, told)
            except (NodeError, FrameError) as error:
                attempts += 1
                counts.bad_pages += isinstance(error, FrameError)
                refusals += isinstance(error, NodeError) and error.code in REFUSALS
                if refusals >= REFUSED_TIMES and whole.pin is not None:
                    log.warning("whole chain: block %d is not kept; going on at newer ones", whole.pin)
                    whole.unpin()
                await self._pause(str(error), attempts)
                continue
            attempts = refusals = 0
            self._answered_at, self.trouble = self.now, ""
            counts.pages += 1
            counts.crossings += len(crossings)
            self._on_page()
        counts.passes += 1

    # -- keeping

    async def keep(self) -> None:
        """Keep it current until cancelled; `load` was done."""
        try:
            async with asyncio.TaskGroup() as group:
                if self.settings.stream:
                    self._follow_new(group)
                group.create_task(self._passes(group))
                group.create_task(self._ask_on())
        finally:
            for task in self._tasks:
                task.cancel()

    def _follow_new(self, group: asyncio.TaskGroup) -> None:
        """Open streams for accounts that no stream tells of yet."""
        followed = self.followed
        assert followed is not None
        for subscription in followed.subscriptions(self.settings.per_stream):
            session = followed.follow(subscription, self._market_ids)
            group.create_task(self._stream(session))

    async def _passes(self, group: asyncio.TaskGroup) -> None:
        followed = self.followed
        assert followed is not None
        while True:
            if not self._is_due():
                self._due.clear()
                wait = self._next_pass() - self.now
                try:
                    async with asyncio.timeout(max(wait, 0.05)):
                        await self._due.wait()
                except TimeoutError:
                    pass
                continue
            height = None
            if not followed.sessions:
                picture = await self._again(self._markets)
                picture.apply_to(self.whole.book)
                followed.market_height = height = picture.height
                self._market_ids = picture.market_ids
            await self._pass(height)
            if followed.sessions:
                self._follow_new(group)

    def _next_pass(self) -> float:
        done = self.whole.done
        return self.now if done is None else done.began_at + self.settings.every

    def _is_due(self) -> bool:
        followed, whole = self.followed, self.whole
        assert followed is not None
        flood = max(FLOOD, len(whole.book) // FLOOD_SHARE)
        return followed.needs_pass or len(whole.pending) > flood or self.now >= self._next_pass()

    # -- streams

    async def _stream(self, session: WholeChainSession) -> None:
        """Hold one stream, again and again."""
        followed = self.followed
        assert followed is not None
        while True:
            delay = await self._streamed(session)
            if delay is None:
                followed.sessions.remove(session)
                return
            self.counts.reconnects += 1
            await asyncio.sleep(delay)

    async def _streamed(self, session: WholeChainSession) -> float | None:
        """Hold one connection to its end; returns seconds until the next, None: the node has no stream."""
        request = next(event.data for event in session.start(self.now) if isinstance(event, Send))
        call = self._node.stream(METHOD, request)
        reading = asyncio.ensure_future(call.read())
        cut: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._cuts[session] = cut
        try:
            while True:
                due = session.next_deadline
                wait = None if due is None else max(due - self.now, 0)
                await asyncio.wait({reading, cut}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if cut.done():
                    return cut.result()
                events: Sequence[Event]
                if not reading.done():
                    events = session.tick(self.now)
                else:
                    message = reading.result() if reading.exception() is None else None
                    if not isinstance(message, bytes):
                        end = await self._node.stream_end(call)
                        self.trouble = str(end)
                        log.warning("whole chain's stream: %s", end)
                        if end.code == "UNIMPLEMENTED":
                            return None
                        events = session.disconnected(self.now, None, end.code)
                    else:
                        events = self._received(session, message)
                        reading = asyncio.ensure_future(call.read())
                delay = self._carry_out(session, events)
                if delay is not None:
                    return delay
        finally:
            reading.cancel()
            call.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            session.disconnected(self.now, None, "stopped")

    def _received(self, session: WholeChainSession, message: bytes) -> Sequence[Event]:
        """Hand a block over, and take the time until every verdict is there."""
        begin = time.perf_counter_ns()
        try:
            events = session.receive(message, self.now)
        except FrameError as error:
            self.counts.bad_pages += 1
            log.warning("whole chain's stream: %s", error)
            return session.tick(self.now)
        if any(isinstance(event, BlockSeen) for event in events):
            self.counts.verdict.add(time.perf_counter_ns() - begin)
            self.counts.blocks += 1
        return events

    def _carry_out(self, session: WholeChainSession, events: Sequence[Event]) -> float | None:
        """Do what a session asks for; returns when to connect anew."""
        followed = self.followed
        assert followed is not None
        delay: float | None = None
        for event in events:
            if isinstance(event, Reconnect):
                log.warning("whole chain's stream is made anew: %s", event.reason)
                delay = event.delay
            elif isinstance(event, AskNode):
                if session is followed.sessions[0]:
                    self._later(self._ask_markets(session))
            elif isinstance(event, Crossing):
                self.counts.crossings += 1
        if self.whole.pending:
            self._wanted.set()
        self._due.set()
        return delay

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_markets(self, session: WholeChainSession) -> None:
        try:
            picture = await self._markets()
            session.node_answered(picture, self.now)
        except (ConnectError, FrameError, InputError) as error:
            log.warning("whole chain: %s", error)

    # -- accounts in doubt

    async def _ask_on(self) -> None:
        """Ask for accounts that a stream told a change of."""
        attempts = 0
        while True:
            names = self.whole.asks(ASKS_AT_ONCE)
            if not names:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            settled = await asyncio.gather(*(self._answer(name) for name in names))
            attempts = 0 if any(settled) else attempts + 1
            if attempts:
                await asyncio.sleep(min(0.02 * 2**attempts, self.settings.longest_delay))

    async def _answer(self, name: Name) -> bool:
        """Ask for one account; returns whether it is in doubt no more."""
        begin = time.perf_counter_ns()
        self.counts.asked += 1
        try:
            data, height = await self._node.one(account_queries(*name)[0], None)
            crossings, agrees = self.whole.answered(name, data, height)
        except (ConnectError, FrameError) as error:
            log.warning("whole chain: %s", error)
            self.whole.unanswered(name)
            return False
        self.counts.crossings += len(crossings)
        if not agrees:
            self.counts.contradictions += 1
            assert self.followed is not None
            for session in self.followed.sessions:
                delay = self._carry_out(session, session.contradicted(self.now))
                if delay is not None and not self._cuts[session].done():
                    self._cuts[session].set_result(delay)
        if name in self.whole.pending:
            return False
        self.counts.doubt.add(time.perf_counter_ns() - begin)
        return True
