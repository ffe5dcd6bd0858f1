"""The loop around the sessions: sockets, queries and time on one side, a book and risk events on the other.

One task a connection. What a session asks for is done here; what it says goes to the readers. A frame is
handled at once where it arrives, in the loop's thread, which alone writes the book.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dydx_perf.errors import (
    CapacityError,
    ConnectError,
    FrameError,
    InputError,
    UnknownSubaccountError,
)
from dydx_perf.feeds.events import AskNode, BlockSeen, Event, Fetch, Reconnect, Send
from dydx_perf.feeds.node_queries import PERPETUALS_PARAMS
from dydx_perf.feeds.replay import NODE_HEIGHT
from dydx_perf.feeds.trust import WatchedRisk
from dydx_perf.recording import Frame, seconds
from dydx_perf.service import answers
from dydx_perf.service.broadcast import Broadcast
from dydx_perf.service.chain_feed import ChainFeed, settings_of
from dydx_perf.service.config import Config
from dydx_perf.service.connect import Connection, connection
from dydx_perf.service.metrics import Counts
from dydx_perf.service.proof import proof_of, prove
from dydx_perf.service.recorder import Recorder
from dydx_perf.service.rest import RestClient, RestStatistics
from dydx_perf.service.watched import Feed, Watched

if TYPE_CHECKING:
    from dydx_perf.feeds.node_queries import NodeQuery
    from dydx_perf.service.node import NodeQueries

__all__ = ["Watch"]

log = logging.getLogger("dydx_perf")

NO_ANSWER = 0  # status of a query that nobody answered


class Watch(Watched):
    """Everything that is watched, kept up over sockets.

    Parameters
    ----------
    config : Config
    recorder : Recorder, optional
        Gets every frame, answer and tick.

    Attributes
    ----------
    book : Book
        Written by this object only.
    broadcast : Broadcast
        Risk events, each as it goes over the wire.
    counts : Counts
    proof : LiveProof
        Liquidations that were seen, held against what was shown before.
    """

    def __init__(self, config: Config, recorder: Recorder | None = None) -> None:
        super().__init__(config)
        self.recorder = recorder
        self.counts = Counts()
        self.proof = proof_of(self.book)
        self.broadcast = Broadcast(config.limits.streams, config.limits.stream_queue)
        self.rest_statistics = RestStatistics()
        self._rest: RestClient | None = None
        self._node: NodeQueries | None = None
        self._failure: asyncio.Future[None] | None = None
        self._on_event: list[Callable[[Event], None]] = []

    def on_event(self, observer: Callable[[Event], None]) -> None:
        """Have every event told to a function of the same process."""
        self._on_event.append(observer)

    # -- running

    async def run(self) -> None:
        """Watch until cancelled."""
        limits, liveness = self.config.limits, self.config.liveness
        self._failure = asyncio.get_running_loop().create_future()
        async with contextlib.AsyncExitStack() as stack:
            self._rest = await stack.enter_async_context(
                RestClient(
                    self.config.rest,
                    share=limits.rest_share,
                    concurrency=limits.rest_concurrency,
                    waiting=limits.rest_waiting,
                    timeout=liveness.rest_timeout,
                    attempts=liveness.attempts,
                    first_delay=liveness.first_delay,
                    longest_delay=liveness.longest_delay,
                    max_answer_bytes=limits.max_answer_bytes,
                )
            )
            self.rest_statistics = self._rest.statistics
            if self.config.node.grpc:
                from dydx_perf.service.node import node_queries

                self._node = await stack.enter_async_context(node_queries(self.config.node, self.node_told))
            stack.callback(self.broadcast.close)
            async with asyncio.TaskGroup() as group:
                for feed in self.feeds if self.config.watches_indexer else ():
                    group.create_task(self._keep(feed), name=f"feed {feed.number}")
                if self._node is not None and self.config.watches_indexer:
                    group.create_task(self._keep_node_height(self._node), name="node height")
                if self.config.whole_chain.enabled:
                    group.create_task(self._keep_chain(), name="whole chain")
                group.create_task(_raised_by(self._failure), name="failures")

    async def _keep_chain(self) -> None:
        """Keep every account of the chain."""
        from dydx_perf.service.node import node_queries

        async with node_queries(self.config.chain_node, lambda *_: None) as queries:
            self.chain_feed = ChainFeed(queries, settings_of(self.config.whole_chain), self.changed)
            await self.chain_feed.run()

    async def _keep(self, feed: Feed) -> None:
        """Connect, again and again."""
        try:
            while True:
                code, reason, what = await self._connected(feed)
                self.counts.reconnects += 1
                feed.delay = self.config.liveness.first_delay
                at = self.clock.nanoseconds()
                self._record(Frame(at, "closed", feed.number, name=reason, code=code))
                self._carry_out(feed, feed.session.disconnected(seconds(at), code=code, reason=reason))
                self._rearm(feed)
                log.warning("connection %d %s; next try in %.1f s", feed.number, what, feed.delay)
                await asyncio.sleep(feed.delay)
        finally:
            feed.session.disconnected(self.now, None, "stopped")  # nobody watches any more
            self.changed()
            self._set_timer(feed, None)
            for task in feed.tasks:
                task.cancel()
            await asyncio.gather(*feed.tasks, return_exceptions=True)

    async def _connected(self, feed: Feed) -> tuple[int | None, str, str]:
        """Hold one connection from its beginning to its end; return code, reason, and how to say it."""
        config = self.config
        try:
            async with connection(
                config.websocket,
                _Receiver(self, feed),
                transport=config.indexer.transport,
                timeout=config.liveness.connect_timeout,
                max_frame_bytes=config.limits.max_frame_bytes,
            ) as wire:
                closed = await wire.closed()
            code = "" if closed.code is None else f" (close code {closed.code})"
            reason = closed.reason or "closed without a reason"
            return closed.code, closed.reason, f"ended: {config.websocket}: {reason}{code}"
        except ConnectError as error:
            self.counts.failed_connects += 1
            return None, str(error), f"failed: {error}"
        finally:
            feed.wire = None
            self.changed()

    def opened(self, feed: Feed, wire: Connection) -> None:
        """Let a session begin with a new connection."""
        feed.wire = wire
        self.counts.connects += 1
        log.info("connection %d: %s", feed.number, self.config.websocket)
        at = self.clock.nanoseconds()
        self._record(Frame(at, "opened", feed.number, name=self.config.websocket))
        self._carry_out(feed, feed.session.start(seconds(at)))
        self._rearm(feed)

    # -- a session's turns

    def receive(self, feed: Feed, data: bytes | memoryview) -> None:
        """Hand a frame to its session, and do what follows."""
        begin = time.perf_counter_ns()
        counts = self.counts
        counts.frames += 1
        counts.bytes += len(data)
        at = self.clock.nanoseconds()
        if self.recorder is not None:
            self.recorder.append(Frame(at, "received", feed.number, data=bytes(data)))
        try:
            events = feed.session.receive(data, seconds(at))
        except FrameError as error:
            counts.bad_frames += 1
            log.warning("connection %d: %s", feed.number, error)
            self._tell("refused", {"connection": feed.number, "reason": str(error)})
            self._rearm(feed)  # what follows from it is due at once
        else:
            if events:
                self._carry_out(feed, events)
                self._rearm(feed)
        counts.handling.add(time.perf_counter_ns() - begin)

    def pinged(self, feed: Feed) -> None:
        """Let a session hear that the peer is there."""
        at = self.clock.nanoseconds()
        self._record(Frame(at, "ping", feed.number))
        feed.session.heard(seconds(at))

    def _handle(self, feed: Feed, turn: Callable[[float], Sequence[Event]]) -> None:
        """Let a session have a turn that is not a frame."""
        self._carry_out(feed, turn(self.now))
        self._rearm(feed)

    def _carry_out(self, feed: Feed, events: Sequence[Event]) -> None:
        """Do what a session asks for, and tell what it says."""
        self.changed()
        self.proof.take(events, self.risk, height=feed.session.height, place=self._place)
        for event in events:
            if isinstance(event, Send):
                self._send(feed, event.data)
            elif isinstance(event, Fetch):
                self._later(feed, self._fetch(feed, event))
            elif isinstance(event, AskNode):
                self._later(feed, self._ask(feed, event))
            elif isinstance(event, Reconnect):
                feed.delay = event.delay
                if feed.wire is not None:
                    log.warning("connection %d is made anew: %s", feed.number, event.reason)
                    self._cut(feed)
            else:
                self._say(event)

    def _send(self, feed: Feed, data: bytes) -> None:
        if feed.wire is not None:
            self.counts.sent += 1
            self._record(Frame(self.clock.nanoseconds(), "sent", feed.number, data=data))
            feed.wire.send(data)

    def _cut(self, feed: Feed) -> None:
        """Cut the connection; the loop that holds it goes on from there."""
        if feed.wire is not None:
            feed.wire.abort()

    def _say(self, event: Event) -> None:
        kind = type(event).__name__
        self.counts.events[kind] = self.counts.events.get(kind, 0) + 1
        for observer in self._on_event:
            observer(event)
        if not isinstance(event, BlockSeen):
            told = answers.told(event, self._risk_or_none)
            if told is not None:
                self._tell(*told)

    def _tell(self, kind: str, what: object) -> None:
        self.broadcast.put(answers.server_sent(self.broadcast.sent + 1, kind, what))

    def _risk_or_none(self, address: str, number: int) -> WatchedRisk | None:
        try:
            return self.risk(address, number)
        except UnknownSubaccountError:
            return None

    def _record(self, frame: Frame) -> None:
        if self.recorder is not None:
            self.recorder.append(frame)

    def node_told(self, query: NodeQuery, answer: bytes, height: int | None) -> None:
        """Record a node's answer after the height that it told, which every session is measured by."""
        at = self.clock.nanoseconds()
        if height is not None:
            self._node_is_at(height, at)
        self._record(Frame(at, "unary", 0, query.method, query.request, answer, 0))

    def _node_is_at(self, height: int, at: int) -> None:
        self._record(Frame(at, "note", 0, name=NODE_HEIGHT, data=str(height).encode()))
        for feed in self.feeds:
            self._carry_out(feed, feed.session.node_seen(seconds(at), height=height))
            self._rearm(feed)

    async def _keep_node_height(self, node: NodeQueries) -> None:
        """Ask a node for its height, again and again; say it once when it stops answering, or begins to."""
        every, is_silent = self.config.node.height_every, False
        while True:
            try:
                _, height = await node.one(PERPETUALS_PARAMS, None)
            except ConnectError as error:
                if not is_silent:
                    where = self.config.node.grpc
                    log.warning("node %s tells no height: %s; next try in %.1f s", where, error, every)
                is_silent = True
            else:
                if is_silent:
                    log.info("node %s answers again", self.config.node.grpc)
                is_silent = False
                if height is not None:
                    self._node_is_at(height, self.clock.nanoseconds())
            await asyncio.sleep(every)

    # -- time

    def _rearm(self, feed: Feed) -> None:
        """Wake for the next deadline; a deadline that moved on is noticed when the timer fires."""
        due = feed.session.next_deadline
        if due is not None and due >= feed.timer_at:
            return
        self._set_timer(feed, due)

    def _set_timer(self, feed: Feed, due: float | None) -> None:
        if feed.timer is not None:
            feed.timer.cancel()
        feed.timer, feed.timer_at = None, float("inf")
        if due is not None:
            feed.timer_at = due
            later = asyncio.get_running_loop().call_later
            feed.timer = later(max(0.0, due - self.now), self._tick, feed)

    def _tick(self, feed: Feed) -> None:
        feed.timer, feed.timer_at = None, float("inf")
        at = self.clock.nanoseconds()
        due = feed.session.next_deadline
        if due is not None and seconds(at) >= due:
            self._record(Frame(at, "tick", feed.number))
            try:
                self._carry_out(feed, feed.session.tick(seconds(at)))
            except Exception as error:  # noqa: BLE001 - ends `run`: a timer has nobody above it
                self._fail(error)
                return
        self._rearm(feed)

    def _fail(self, error: Exception) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    # -- queries

    def _later(self, feed: Feed, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        feed.tasks.add(task)
        task.add_done_callback(lambda done: self._done(feed, done))

    def _done(self, feed: Feed, task: asyncio.Task[None]) -> None:
        feed.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            assert isinstance(error, Exception)
            self._fail(error)

    async def _fetch(self, feed: Feed, fetch: Fetch) -> None:
        assert self._rest is not None
        try:
            answer = await self._rest.get(fetch.path)
            status, body = answer.status, answer.body
        except (ConnectError, CapacityError) as error:
            log.warning("%s: %s", fetch.why, error)
            status, body = NO_ANSWER, b""
        at = self.clock.nanoseconds()
        self._record(
            Frame(
                at, "rest", feed.number, name=fetch.path, request=fetch.why.encode(), data=body, code=status
            )
        )
        try:
            events = feed.session.fetched(fetch, status, body, seconds(at))
        except FrameError as error:
            self.counts.bad_frames += 1
            log.warning("%s: %s", fetch.path, error)
        else:
            self._carry_out(feed, events)
        self._rearm(feed)

    async def _ask(self, feed: Feed, ask: AskNode) -> None:
        if self._node is None:
            return
        question = self.proof.asked(ask.accounts)  # before the answers become what is shown
        try:
            picture = await self._node.ask(ask, self._pools())
            self._handle(feed, partial(feed.session.node_answered, picture))
            if picture.version is not None:
                for each in self.feeds:
                    self._handle(each, partial(each.session.node_seen, version=picture.version))
        except (ConnectError, FrameError, InputError) as error:
            log.warning(
                "node %s, asked about %d accounts: %s", self.config.node.grpc, len(ask.accounts), error
            )
            return
        try:
            await prove(self.proof, question, self._node.one, self._place)
        except (ConnectError, FrameError, InputError) as error:
            log.info("node, asked about block %d for the proof: %s", question.height, error)

    @property
    def _place(self) -> int | None:
        return None if self.recorder is None else self.recorder.frames

    def _pools(self) -> list[tuple[int, bool]]:
        """Return the collateral pools that matter: of all cross markets, and of each isolated one held."""
        markets = list(self.book.chain)
        pools = [(market.perpetual_id, False) for market in markets if not market.is_isolated][:1]
        held: set[str] = set()
        for name in self.accounts():
            with contextlib.suppress(UnknownSubaccountError):
                held.update(self.book.subaccount(name).positions)
        return pools + [(m.perpetual_id, True) for m in markets if m.is_isolated and m.ticker in held]


class _Receiver:
    """The socket's way into the watch."""

    def __init__(self, watch: Watch, feed: Feed) -> None:
        self._watch = watch
        self._feed = feed

    def opened(self, wire: Connection) -> None:
        self._watch.opened(self._feed, wire)

    def frame(self, data: bytes | memoryview) -> None:
        self._watch.receive(self._feed, data)

    def pinged(self) -> None:
        self._watch.pinged(self._feed)


async def _raised_by(failure: asyncio.Future[None]) -> None:
    """Wait for what a timer or a query raised."""
    await failure
