"""The loop around the sessions, over real sockets, through every fault there is (C5, C6, C11)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from venue_peers import ACCOUNT, fall, http_server, proxy_to, settings, until, websocket_server

from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.events import Event
from dydx_perf.feeds.replay import replay
from dydx_perf.recording import Frame, RecordingReader
from dydx_perf.service.playback import Playback
from dydx_perf.service.recorder import recorder
from dydx_perf.service.replay import ReplayServer, serve
from dydx_perf.service.watch import Watch

BOTH = pytest.mark.parametrize("transport", ["picows", "aiohttp"])
NAME = (ACCOUNT, 0)


@contextlib.asynccontextmanager
async def running(watch: Watch) -> AsyncIterator[list[Event]]:
    """Run a watch while the block lasts; yields what it says."""
    events: list[Event] = []
    watch.on_event(events.append)
    task = asyncio.create_task(watch.run())
    try:
        yield events
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def is_whole(watch: Watch) -> bool:
    """Whether the account stands at the end of `fall`, and nothing is in doubt."""
    risk = watch.risk(*NAME)
    return risk.verdict == "safe" and risk.risk is not None and risk.risk.net_collateral == 460_000_000


async def subscribed(server: ReplayServer) -> None:
    """Wait until a client has subscribed to everything."""
    await until(lambda: any(len(client.side.pending) >= 3 for client in server._clients))


async def played(server: ReplayServer, watch: Watch) -> None:
    """Wait until the client has subscribed, and play all."""
    await subscribed(server)
    await server.advance(1_000)
    await until(lambda: is_whole(watch))


@BOTH
async def test_a_feed_becomes_risk_and_crossings(transport: str) -> None:
    """Liquidatable at 960, saved by the deposit; each edge is told once."""
    async with serve(Playback.of_frames(fall()), pace="stepwise") as server:
        watch = Watch(settings(server.websocket, server.rest, indexer__transport=transport))
        assert watch.risk(*NAME).verdict == "unknown"
        assert watch.unready()
        async with running(watch) as events:
            await played(server, watch)
            assert watch.unready() == []
            assert watch.verdicts() == {"safe": 1, "liquidatable": 0, "unknown": 0}
            assert watch.height == 106
            crossings = [event for event in events if isinstance(event, Crossing)]
    edges = [(crossing.below, crossing.risk.net_collateral) for crossing in crossings]
    assert edges == [(True, 20_000_000), (False, 460_000_000)]
    assert watch.risk(*NAME).verdict == "unknown"  # nobody watches any more
    assert watch.open_connections == 0


@BOTH
async def test_a_killed_connection_is_made_anew_and_the_state_is_whole_again(transport: str) -> None:
    """Nothing is safe until the new snapshot has come."""
    async with (
        serve(Playback.of_frames(fall()), pace="stepwise") as server,
        proxy_to(server.websocket) as proxy,
    ):
        watch = Watch(settings(proxy.address, server.rest, indexer__transport=transport))
        async with running(watch):
            await played(server, watch)
            proxy.cut()
            await until(lambda: watch.risk(*NAME).verdict == "unknown")
            await until(lambda: is_whole(watch))
            assert (watch.counts.connects, proxy.accepted) == (2, 2)


@BOTH
async def test_a_server_that_is_away_is_found_when_it_is_back(transport: str) -> None:
    """On the same address, some time later."""
    async with serve(Playback.of_frames(fall()), pace="stepwise") as server:
        port = int(server.rest.rpartition(":")[2].partition("/")[0])
        watch = Watch(settings(server.websocket, server.rest, indexer__transport=transport))
        stack = contextlib.AsyncExitStack()
        await stack.enter_async_context(running(watch))
        await played(server, watch)
    async with stack:
        await until(lambda: watch.counts.failed_connects >= 1)
        assert watch.risk(*NAME).verdict == "unknown"
        async with serve(Playback.of_frames(fall()), pace="stepwise", port=port) as server:
            await played(server, watch)


@BOTH
async def test_a_failed_connection_is_one_line_of_the_log(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What failed, to where, why, and when it is tried again; no traceback. So is one that ended."""
    async with http_server() as place:
        pass  # a port at which nobody is any more
    watch = Watch(settings(f"ws://{place}/v4/ws", indexer__transport=transport))
    async with running(watch):
        await until(lambda: watch.counts.failed_connects >= 2)
    lines = [record.getMessage() for record in caplog.records if record.name == "dydx_perf"]
    assert len(lines) >= 2
    for line in lines:
        assert re.fullmatch(
            rf"connection 0 failed: ws://{place}/v4/ws: Connection refused; next try in \d+\.\d s", line
        )
    caplog.clear()

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1012, message=b"restarting")

    async with websocket_server(peer) as url:
        watch = Watch(settings(url, indexer__transport=transport))
        async with running(watch):
            await until(lambda: watch.counts.reconnects >= 1 and caplog.records)
    line = caplog.records[0].getMessage()
    assert re.fullmatch(
        rf"connection 0 ended: {url}: restarting \(close code 1012\); next try in \d+\.\d s", line
    )
    assert not any(record.exc_info for record in caplog.records)


@BOTH
@pytest.mark.parametrize("code", [1008, 1012])
async def test_a_venue_that_closes_is_asked_again(transport: str, code: int) -> None:
    """Rate limited, and restarting: each a close of its own, and everything is subscribed to anew."""
    frames = [*fall(), Frame(int(600e6), "closed", 0, name="{}", code=code)]
    again = [Frame(frame.time + int(700e6), frame.kind, 1, *frame[3:]) for frame in fall()]
    async with serve(Playback.of_frames([*frames, *again]), pace="stepwise") as server:
        watch = Watch(settings(server.websocket, server.rest, indexer__transport=transport))
        async with running(watch):
            await subscribed(server)
            await server.advance(len(frames) - 2)
            await until(lambda: watch.counts.reconnects == 1)
            await subscribed(server)
            await server.advance(1_000)
            await until(lambda: is_whole(watch))


@BOTH
@pytest.mark.parametrize(
    "garbage", [b'{"type":"channel_data","connection_id":"c","message_id":', b"\x00\xff\xfe", b"[]"]
)
async def test_garbage_is_refused_said_and_repaired(transport: str, garbage: bytes) -> None:
    """A frame that cannot be read costs the connection, not the service."""
    frames = [*fall(), Frame(int(600e6), "received", data=garbage)]
    async with serve(Playback.of_frames(frames), pace="stepwise") as server:
        watch = Watch(settings(server.websocket, server.rest, indexer__transport=transport))
        async with running(watch):
            with watch.broadcast.reader() as reader:
                await subscribed(server)
                await server.advance(1_000)
                await until(lambda: watch.counts.connects == 2)
                await until(lambda: is_whole(watch))
                told = []
                while (message := await reader.next(0.0)) is not None:
                    told.append(message)
    assert watch.counts.bad_frames == 1
    assert sum(b"event: refused" in message for message in told) == 1


@BOTH
async def test_a_slow_wire_changes_nothing_but_the_time(transport: str) -> None:
    """Bytes that come a few at a time are the same messages."""
    async with (
        serve(Playback.of_frames(fall()), pace="stepwise") as server,
        proxy_to(server.websocket) as proxy,
    ):
        proxy.chunk, proxy.pause = 97, 0.0005
        watch = Watch(settings(proxy.address, server.rest, indexer__transport=transport))
        async with running(watch):
            await played(server, watch)
            assert watch.counts.connects == 1


@BOTH
async def test_a_silent_server_is_left_and_another_connection_made(transport: str) -> None:
    """Half-open: the socket stands, and nothing comes."""
    async with (
        serve(Playback.of_frames(fall()), pace="stepwise") as server,
        proxy_to(server.websocket) as proxy,
    ):
        chosen = settings(proxy.address, server.rest, indexer__transport=transport, liveness__pulse=0.3)
        watch = Watch(chosen)
        async with running(watch):
            await subscribed(server)
            await server.advance(1_000)
            proxy.silence()
            await until(lambda: watch.counts.reconnects >= 1)
            assert watch.risk(*NAME).verdict == "unknown"
            proxy.resume()
            await until(lambda: watch.counts.connects >= 2)


async def test_rest_that_is_down_keeps_the_account_honest_and_the_service_alive() -> None:
    """Without a comparison nothing is safe and the bound stays open; what came over the socket stands."""

    async def down(request: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")

    async with (
        http_server(web.get("/v4/{path:.*}", down)) as place,
        serve(Playback.of_frames(fall()), pace="stepwise") as server,
    ):
        chosen = settings(
            server.websocket,
            f"http://{place}/v4",
            liveness__verify_after=0.01,
            liveness__confirm_snapshots=True,
        )
        watch = Watch(chosen)
        async with running(watch):
            await subscribed(server)
            await server.advance(1_000)
            await until(lambda: watch.rest_statistics.failures >= 4 and watch.height == 106)
            said = watch.risk(*NAME)
            assert (said.verdict, said.doubts) == ("unknown", ("not_reconciled",))
            assert said.risk is not None
            assert said.risk.net_collateral == 460_000_000
            assert said.bound is not None
            assert said.bound.quote_quantums is None


async def test_rest_that_agrees_makes_the_account_safe_and_closes_the_bound() -> None:
    """The service asks some time after the snapshot; until a later block's answer agrees, nothing is safe."""
    held = json.loads(fall()[4].data)["contents"]["subaccount"]
    body = json.dumps({"subaccount": {**held, "latestProcessedBlockHeight": "110"}}).encode()
    paths = [
        (f"/addresses/{ACCOUNT}/subaccountNumber/0", body),
        (
            f"/orders?address={ACCOUNT}&subaccountNumber=0&status=OPEN,UNTRIGGERED,BEST_EFFORT_OPENED&limit=1000",
            b"[]",
        ),
    ]
    rest = [Frame(int(450e6), "rest", 0, path, b"", content, 200) for path, content in paths]
    async with serve(Playback.of_frames([*fall()[:8], *rest]), pace="stepwise") as server:
        chosen = settings(
            server.websocket,
            server.rest,
            liveness__verify_after=0.01,
            liveness__confirm_snapshots=True,
        )
        watch = Watch(chosen)
        told: set[tuple[str, bool]] = set()

        def note(_: Event) -> None:
            risk = watch.risk(*NAME)
            told.add((risk.verdict, risk.bound is not None and risk.bound.quote_quantums is not None))

        watch.on_event(note)
        async with running(watch):
            await subscribed(server)
            await server.advance(1_000)
            await until(lambda: watch.risk(*NAME).verdict == "safe")
            bound = watch.risk(*NAME).bound
            assert bound is not None
            assert bound.quote_quantums is not None
    assert ("unknown", False) in told
    assert ("safe", False) not in told


@BOTH
async def test_what_came_and_went_is_recorded_and_plays_the_same(transport: str, tmp_path: Any) -> None:
    """A recording of a service is one like any other: the next service stands where this one stood."""
    path = tmp_path / "a.dydxfeed"
    async with serve(Playback.of_frames(fall()), pace="stepwise") as server:
        with recorder(str(path), 1_000, lambda: {"network": "made up"}) as record:
            watch = Watch(settings(server.websocket, server.rest, indexer__transport=transport), record)
            async with running(watch):
                await played(server, watch)
    with RecordingReader(path) as reader:
        frames = list(reader)
    assert [frame.kind for frame in frames[:2]] == ["opened", "sent"]
    assert sum(frame.kind == "received" for frame in frames) == watch.counts.frames
    assert sorted(frame.time for frame in frames) == [frame.time for frame in frames]
    async with serve(Playback.of_file(path), pace="unpaced") as server:
        second = Watch(settings(server.websocket, server.rest, indexer__transport=transport))
        async with running(second):
            await until(lambda: is_whole(second))


@BOTH
async def test_a_ping_is_recorded_as_it_was_heard(transport: str, tmp_path: Any) -> None:
    """A session waits longer after one: without it a replay would give the connection up sooner."""

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"!")
        async for _ in socket:
            pass

    path = tmp_path / "a.dydxfeed"
    async with websocket_server(peer) as url:
        with recorder(str(path), 1_000, lambda: {"network": "made up"}) as record:
            watch = Watch(settings(url, indexer__transport=transport, liveness__silence=5.0), record)
            due: list[float | None] = []
            async with running(watch):
                await until(lambda: record.frames >= 3)
                due.append(watch.feeds[0].session.next_deadline)
    with RecordingReader(path) as reader:
        frames = list(reader)
    (ping,) = [frame for frame in frames if frame.kind == "ping"]
    twin, deaf = (Watch(watch.config).feeds[0].session for _ in range(2))
    list(replay(frames[: frames.index(ping) + 1], twin))
    list(replay(frames[: frames.index(ping)], deaf))
    assert due == [twin.next_deadline]
    assert due != [deaf.next_deadline]


async def test_every_connection_is_subscribed_within_the_venues_limits() -> None:
    """More accounts than one connection takes are spread over two."""
    sockets: list[int] = []

    async def peer(socket: web.WebSocketResponse) -> None:
        sockets.append(0)
        place = len(sockets) - 1
        async for message in socket:
            if message.type is WSMsgType.TEXT and json.loads(message.data)["channel"] == "v4_subaccounts":
                sockets[place] += 1

    names = [f"{ACCOUNT}/{number}" for number in range(300)]
    async with websocket_server(peer) as url:
        watch = Watch(settings(url, accounts=names))
        async with running(watch):
            await until(lambda: sum(sockets) == 300)
    assert sorted(sockets) == [44, 256]


async def test_a_stopped_watch_leaves_nothing_behind() -> None:
    """No task, no timer: the loop has only ours."""
    async with serve(Playback.of_frames(fall()), pace="stepwise") as server:
        before = asyncio.all_tasks()
        watch = Watch(settings(server.websocket, server.rest))
        async with running(watch):
            await played(server, watch)
        await until(lambda: not server._clients)
        assert asyncio.all_tasks() <= before
    assert all(feed.timer is None and not feed.tasks for feed in watch.feeds)
