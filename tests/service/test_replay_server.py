"""A recording played back over real sockets (C9, C10)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from venue_peers import ACCOUNT, block, fall, frame, snapshot, until, update

from dydx_perf.errors import ChecksumError, ConnectError, SnapshotError
from dydx_perf.recording import Frame, RecordingWriter
from dydx_perf.service.playback import Playback
from dydx_perf.service.replay import ReplayServer, serve

BOOK = ("v4_orderbook", "ETH-USD")
HEIGHT = {"channel": "v4_block_height"}


class Client:
    """A plain client that keeps what it got."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.got: list[dict[str, Any]] = []

    async def read(self) -> None:
        async for message in self.socket:
            self.got.append(json.loads(message.data))

    async def subscribe(self, **what: Any) -> None:
        await self.socket.send_json({"type": "subscribe", **what})

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.got]

    def heights(self) -> list[str]:
        return [
            message["contents"]["blockHeight"] for message in self.got if message["type"] == "channel_data"
        ]


@contextlib.asynccontextmanager
async def client_of(server: ReplayServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.websocket) as socket:
        client = Client(socket)
        reading = asyncio.create_task(client.read())
        try:
            yield client
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_a_recording_is_played_in_its_order_with_numbers_of_the_connection() -> None:
    """Snapshot, updates, own connection id, numbers that grow by one."""
    async with serve(Playback.of_frames(fall()), pace="unpaced") as server, client_of(server) as client:
        await client.subscribe(**HEIGHT)
        await until(lambda: client.heights() == ["102", "103", "104", "105", "106"])
        await server.finished.wait()
    assert client.kinds()[:2] == ["connected", "subscribed"]
    assert [message["message_id"] for message in client.got] == [0, 1, 2, 3, 4, 5, 6]
    assert len({message["connection_id"] for message in client.got}) == 1
    assert client.got[1]["id"] == "v4_block_height"


async def test_the_contents_keep_their_digits() -> None:
    """What was recorded is not parsed and written anew."""
    text = b'{"type":"subscribed","connection_id":"c","message_id":1,"channel":"v4_trades","id":"ETH-USD",'
    text += b'"contents":{"trades":[{"price":"1.10","n":1.0e2 ,"x":"\\u00e9"}]}}'
    async with (
        serve(Playback.of_frames([Frame(0, "received", data=text)]), pace="unpaced") as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.websocket) as socket,
    ):
        await socket.receive()
        await socket.send_json({"type": "subscribe", "channel": "v4_trades", "id": "ETH-USD"})
        answer = (await socket.receive()).data
    assert answer.partition('"contents":')[2] == '{"trades":[{"price":"1.10","n":1.0e2 ,"x":"\\u00e9"}]}}'


async def test_a_client_that_comes_later_stands_where_the_recording_stands() -> None:
    """The snapshot, then every update since."""
    playback = Playback.of_frames(fall())
    async with serve(playback, pace="stepwise") as server, client_of(server) as first:
        await first.subscribe(**HEIGHT)
        await until(lambda: len(first.got) == 1)
        await server.advance(8)
        await until(lambda: first.heights() == ["102", "103"])
        async with client_of(server) as second:
            await second.subscribe(**HEIGHT)
            await until(lambda: second.heights() == ["102", "103"])
            await server.advance(1_000)
            await until(lambda: second.heights() == first.heights() == ["102", "103", "104", "105", "106"])
    assert second.got[1]["contents"]["height"] == "101"


async def test_a_subscribe_waits_for_its_snapshot() -> None:
    """As it waited for the venue's own fetch; numbers of other messages are larger meanwhile."""
    frames = [
        snapshot(0, "v4_block_height", "v4_block_height", {"height": "1", "time": "t"}),
        block(1, 2),
        snapshot(2, *BOOK, {"bids": [], "asks": []}),
    ]
    async with serve(Playback.of_frames(frames), pace="stepwise") as server, client_of(server) as client:
        await client.subscribe(channel=BOOK[0], id=BOOK[1])
        await client.subscribe(**HEIGHT)
        await server.advance(2)
        await until(lambda: len(client.got) == 3)
        await server.advance(1)
        await until(lambda: len(client.got) == 4)
    assert [(message["type"], message["message_id"]) for message in client.got[1:]] == [
        ("subscribed", 2),
        ("channel_data", 3),
        ("subscribed", 1),
    ]


async def test_what_was_not_recorded_cannot_be_fetched() -> None:
    """And what the venue refused is refused in its words."""
    refused = {
        "type": "error",
        "message": "Because this address …",
        "channel": "v4_subaccounts",
        "id": "dydx1/7",
    }
    frames = [*fall(), frame(600, {**refused, "connection_id": "c", "message_id": 9})]
    async with serve(Playback.of_frames(frames), pace="stepwise") as server, client_of(server) as client:
        await client.subscribe(channel="v4_subaccounts", id="dydx1/1")
        await client.subscribe(channel="v4_subaccounts", id="dydx1/7")
        await client.subscribe(channel="v4_trades", id="NOPE-USD")
        await until(lambda: len(client.got) == 4)
    assert [message["message"] for message in client.got[1:]] == [
        "Internal error, could not fetch data for subscription: v4_subaccounts.",
        "Because this address …",
        "Invalid subscription id for channel: (v4_trades-NOPE-USD)",
    ]


async def test_a_recorded_close_closes_the_clients_and_they_get_the_next_snapshot() -> None:
    """With the recorded code and reason; what was lost between is not made up."""
    frames = [
        *fall(),
        Frame(int(600e6), "closed", 0, name="restart", code=1012),
        snapshot(700, "v4_block_height", "v4_block_height", {"height": "200", "time": "t"}, 1),
    ]
    async with serve(Playback.of_frames(frames), pace="stepwise") as server:
        async with client_of(server) as client:
            await client.subscribe(**HEIGHT)
            await until(lambda: client.got)
            await server.advance(len(frames) - 3)
            await until(lambda: client.socket.closed)
            assert client.socket.close_code == 1012
        async with client_of(server) as client:
            await client.subscribe(**HEIGHT)
            await server.advance(1)
            await until(lambda: len(client.got) == 2)
    assert client.got[1]["contents"]["height"] == "200"


async def test_a_recorded_renewal_is_a_gap_for_clients() -> None:
    """The recorder took a new snapshot because it had lost something: so do they."""
    frames = [
        snapshot(0, *BOOK, {"bids": [], "asks": []}),
        snapshot(1, *BOOK, {"bids": [], "asks": []}),
        update(2, *BOOK, {"bids": [["1", "1"]]}),
    ]
    async with serve(Playback.of_frames(frames), pace="stepwise") as server, client_of(server) as client:
        await client.subscribe(channel=BOOK[0], id=BOOK[1])
        await server.advance(1)
        await until(lambda: len(client.got) == 2)
        await server.advance(2)
        await until(lambda: len(client.got) == 3)
    assert [message["message_id"] for message in client.got] == [0, 1, 3]


async def test_garbage_is_played_as_it_was() -> None:
    """A frame that could not be read is part of what came."""
    frames = [
        snapshot(0, "v4_block_height", "v4_block_height", {"height": "1", "time": "t"}),
        Frame(1, "received", data=b'{"type":"channel_da'),
    ]
    async with (
        serve(Playback.of_frames(frames), pace="unpaced") as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.websocket) as socket,
    ):
        await socket.receive()
        await socket.send_json({"type": "subscribe", **HEIGHT})
        await socket.receive()
        assert (await socket.receive()).data == '{"type":"channel_da'


async def test_the_pace_is_the_recorded_one_times_the_speed() -> None:
    """0.5 s of recording at ten times its pace take 0.05 s at least."""
    loop = asyncio.get_running_loop()
    async with serve(Playback.of_frames(fall()), speed=10.0) as server, client_of(server) as client:
        await client.subscribe(**HEIGHT)
        begin = loop.time()
        await server.finished.wait()
        assert loop.time() - begin >= 0.045


async def test_a_client_that_floods_is_closed_as_the_venue_does() -> None:
    async with serve(Playback.of_frames(fall()), pace="stepwise") as server, client_of(server) as client:
        for _ in range(3):
            await client.socket.send_str("not json")
        await until(lambda: client.socket.closed)
    assert client.socket.close_code == 1008


async def test_rest_is_answered_by_path_as_of_where_the_recording_stands() -> None:
    """The last answer up to now, or the first; what was not asked is 501."""

    def answered(at: float, path: str, body: bytes, status: int = 200) -> Frame:
        return Frame(int(at * 1e6), "rest", 0, path, b"reconcile", body, status)

    frames = [*fall(), answered(600, "/height?a=1", b"[1]"), answered(700, "/height?a=1", b"[2]", 404)]
    async with (
        serve(Playback.of_frames(frames), pace="stepwise") as server,
        aiohttp.ClientSession() as session,
    ):

        async def ask(path: str) -> tuple[int, bytes]:
            async with session.get(server.rest + path) as response:
                return response.status, await response.read()

        assert await ask("/height?a=1") == (200, b"[1]")
        await server.advance(1_000)
        assert await ask("/height?a=1") == (404, b"[2]")
        assert (await ask("/height"))[0] == 501


async def test_stepwise_play_is_driven_over_http() -> None:
    async with (
        serve(Playback.of_frames(fall()), pace="stepwise") as server,
        aiohttp.ClientSession() as session,
    ):
        base = server.rest.removesuffix("/v4")
        async with session.post(f"{base}/replay/step", params={"items": "4"}) as response:
            assert await response.json() == {"played": 4, "position": 4, "items": len(server.playback.items)}
        async with session.post(f"{base}/replay/step", params={"items": "x"}) as response:
            assert response.status == 400
        async with session.get(f"{base}/replay") as response:
            assert (await response.json())["position"] == 4
    async with (
        serve(Playback.of_frames(fall())) as server,
        aiohttp.ClientSession() as session,
        session.post(server.rest.removesuffix("/v4") + "/replay/step") as response,
    ):
        assert response.status == 409


async def test_a_client_that_does_not_read_holds_unpaced_play_back_and_nobody_is_skipped() -> None:
    """Memory is bounded; when it reads again it gets every message."""
    many = 20_000
    frames = [snapshot(0, "v4_block_height", "v4_block_height", {"height": "0", "time": "t" * 500})]
    frames += [block(place, place) for place in range(1, many)]
    async with (
        serve(Playback.of_frames(frames), pace="unpaced") as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.websocket) as socket,
    ):
        await socket.receive()
        await socket.send_json({"type": "subscribe", **HEIGHT})
        got = [json.loads((await socket.receive()).data)["message_id"] for _ in range(many)]
    assert got == list(range(1, many + 1))


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    async with serve(Playback.of_frames(fall())) as server:
        port = int(server.rest.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConnectError, match=str(port)):
            async with serve(Playback.of_frames(fall()), port=port):
                pass


def test_a_file_is_read_whole_and_its_damage_is_said(tmp_path: Path) -> None:
    """A cut tail costs its last block; a file without anything in it is refused."""
    path = tmp_path / "a.dydxfeed"
    with RecordingWriter(path, about={"network": "made up"}, block_bytes=400) as writer:
        for one in fall():
            writer.append(one)
    whole = Playback.of_file(path)
    assert (whole.damage, whole.about["network"]) == ([], "made up")
    assert whole.subscriptions()["v4_subaccounts"] == (f"{ACCOUNT}/0",)
    path.write_bytes(path.read_bytes()[:-1])
    cut = Playback.of_file(path)
    assert len(cut.items) < len(whole.items)
    assert cut.damage
    path.write_bytes(b"nothing of ours")
    with pytest.raises(SnapshotError):
        Playback.of_file(path)
    path.unlink()
    RecordingWriter(path).close()
    with pytest.raises((SnapshotError, ChecksumError)):
        Playback.of_file(path)
