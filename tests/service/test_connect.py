"""The WebSocket client over real sockets; picows and aiohttp behave alike (C3, C5)."""

from __future__ import annotations

import asyncio
import os

import pytest
from aiohttp import WSMsgType, web
from venue_peers import http_server, proxy_to, until, websocket_server

from dydx_perf.errors import ConnectError
from dydx_perf.service.connect import Closed, Connection, chosen_transport, connection

BOTH = pytest.mark.parametrize("transport", ["picows", "aiohttp"])
OPTIONS = {"timeout": 5.0, "max_frame_bytes": 1 << 20}


class Heard:
    """What a receiver was told; frames are copied, as their memory does not last."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.pings = 0

    def opened(self, wire: Connection) -> None:
        assert not self.frames

    def frame(self, data: bytes | memoryview) -> None:
        self.frames.append(bytes(data))

    def pinged(self) -> None:
        self.pings += 1


@BOTH
async def test_messages_arrive_whole_and_in_order_and_so_do_ours(transport: str) -> None:
    """Short and long ones, both ways."""
    echoed: list[str] = []

    async def peer(socket: web.WebSocketResponse) -> None:
        for text in ("{}", "x" * 100_000, "é"):
            await socket.send_str(text)
        async for message in socket:
            echoed.append(message.data)

    class Greeting(Heard):
        def opened(self, wire: Connection) -> None:
            assert not self.frames
            wire.send(b"first")

    heard = Greeting()
    async with (
        websocket_server(peer) as url,
        connection(url, heard, transport=transport, **OPTIONS) as wire,
    ):
        for text in (b'{"a":1}', b'{"b":2}', b'{"c":3}'):
            wire.send(text)
        await until(lambda: len(heard.frames) == 3 and len(echoed) == 4)
    assert heard.frames == [b"{}", b"x" * 100_000, "é".encode()]
    assert echoed == ["first", '{"a":1}', '{"b":2}', '{"c":3}']


@BOTH
async def test_fragments_are_put_together(transport: str) -> None:
    """A message in several frames is told once, whole, and a ping between them is answered."""
    pongs: list[bytes] = []

    async def peer(socket: web.WebSocketResponse) -> None:
        wire = socket._req.transport
        wire.write(b"\x01\x03abc" + b"\x89\x01!" + b"\x00\x03def" + b"\x80\x01g")
        async for message in socket:
            if message.type is WSMsgType.PONG:
                pongs.append(bytes(message.data))

    heard = Heard()
    async with websocket_server(peer) as url, connection(url, heard, transport=transport, **OPTIONS):
        await until(lambda: heard.frames and pongs)
    assert heard.frames == [b"abcdefg"]
    assert (heard.pings, pongs) == (1, [b"!"])


@BOTH
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1008, '{"message":"Rate limited"}'),
        (1012, '{"message":"Service restarting"}'),
        (4000, "a send failed"),
    ],
)
async def test_the_code_and_the_reason_of_a_close_are_told(transport: str, code: int, reason: str) -> None:
    """The session decides by them when to come back."""

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.close(code=code, message=reason.encode())

    async with (
        websocket_server(peer) as url,
        connection(url, Heard(), transport=transport, **OPTIONS) as wire,
    ):
        assert await wire.closed() == Closed(code, reason)


@BOTH
async def test_a_cut_connection_ends_without_a_code(transport: str) -> None:
    """A reset on the way is no close of the venue's."""

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.send_str("{}")
        await socket.receive()

    heard = Heard()
    async with (
        websocket_server(peer) as url,
        proxy_to(url) as proxy,
        connection(proxy.address, heard, transport=transport, **OPTIONS) as wire,
    ):
        await until(lambda: heard.frames)
        proxy.cut()
        assert (await wire.closed()).code is None
        wire.send(b"{}")  # nobody is there: nothing happens


@BOTH
async def test_aborting_does_not_wait_for_a_peer_that_is_silent(transport: str) -> None:
    """A half-open connection is cut from our side at once."""

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.send_str("{}")
        await socket.receive()

    heard = Heard()
    async with (
        websocket_server(peer) as url,
        proxy_to(url) as proxy,
        connection(proxy.address, heard, transport=transport, **OPTIONS) as wire,
    ):
        await until(lambda: heard.frames)
        proxy.silence()
        async with asyncio.timeout(1.0):
            wire.abort()
            assert (await wire.closed()).code is None


@BOTH
async def test_a_message_that_is_too_long_ends_the_connection(transport: str) -> None:
    """Memory is bounded, whoever sends, in one frame or in many."""

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(os.urandom(200_000))
        await socket.receive()

    async def fragments(socket: web.WebSocketResponse) -> None:
        piece = b"\x7e\x80\x00" + bytes(0x8000)
        wire = socket._req.transport
        wire.write(b"\x02" + piece + b"".join(b"\x00" + piece for _ in range(5)))
        await socket.receive()

    for behaviour in (peer, fragments):
        heard = Heard()
        async with (
            websocket_server(behaviour) as url,
            connection(url, heard, transport=transport, timeout=5.0, max_frame_bytes=100_000) as wire,
        ):
            closed = await wire.closed()
        assert closed.code in (1002, 1009)
        assert heard.frames == []


@BOTH
@pytest.mark.parametrize("wire_bytes", [b"\x80\x01g", b"\x01\x01a\x81\x01b"])
async def test_fragments_out_of_order_end_the_connection(transport: str, wire_bytes: bytes) -> None:
    """A continuation of nothing, and a new message within another."""

    async def peer(socket: web.WebSocketResponse) -> None:
        socket._req.transport.write(wire_bytes)
        await socket.receive()

    heard = Heard()
    async with (
        websocket_server(peer) as url,
        connection(url, heard, transport=transport, **OPTIONS) as wire,
    ):
        closed = await wire.closed()
    assert closed.code == 1002
    assert heard.frames == []


@BOTH
async def test_bytes_that_are_no_websocket_end_the_connection(transport: str) -> None:
    """Garbage below the protocol is a close with a code of ours, never a crash."""

    async def peer(socket: web.WebSocketResponse) -> None:
        socket._req.transport.write(b"\xff\xff\xff\xff this is not a frame")
        await asyncio.sleep(0.2)

    heard = Heard()
    async with (
        websocket_server(peer) as url,
        connection(url, heard, transport=transport, **OPTIONS) as wire,
    ):
        closed = await wire.closed()
    assert closed.code == 1002
    assert heard.frames == []


@BOTH
async def test_what_a_receiver_raises_comes_out_of_the_connection(transport: str) -> None:
    """A defect of ours is not taken for one of the network."""

    class Broken(Heard):
        def frame(self, data: bytes | memoryview) -> None:
            raise ZeroDivisionError("a defect")

    async def peer(socket: web.WebSocketResponse) -> None:
        await socket.send_str("{}")
        await socket.receive()

    async with (
        websocket_server(peer) as url,
        connection(url, Broken(), transport=transport, **OPTIONS) as wire,
    ):
        with pytest.raises(ZeroDivisionError):
            await wire.closed()


@BOTH
async def test_nobody_there_is_a_connect_error(transport: str) -> None:
    """Refused, not a WebSocket, and no answer in time: each is said with the address."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectError, match=f":{port}"):
        async with connection(
            f"ws://127.0.0.1:{port}/", Heard(), transport=transport, timeout=0.2, max_frame_bytes=1_000
        ):
            pass
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectError, match=f":{port}"):
        async with connection(f"ws://127.0.0.1:{port}/", Heard(), transport=transport, **OPTIONS):
            pass


@BOTH
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("nobody", "Connection refused"),
        ("silent", "no answer within 0.2 s"),
        ("page", "answered 502 in place of a WebSocket"),
        ("name", "the host's name has no address"),
    ],
)
async def test_why_no_connection_came_about_is_said_in_a_few_words(
    transport: str, case: str, reason: str
) -> None:
    """One line with the address, the same whichever transport it is."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if case == "page":
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops")
            await reader.read()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v4/ws"
    if case == "nobody":
        server.close()
        await server.wait_closed()
    if case == "name":
        url = "ws://nowhere.invalid/v4/ws"
    with pytest.raises(ConnectError) as refused:
        async with connection(url, Heard(), transport=transport, timeout=0.2, max_frame_bytes=1_000):
            pass
    server.close()
    said = str(refused.value)
    assert said.startswith(f"{url}: {reason}")
    assert "\n" not in said
    assert len(said) < 120


@BOTH
async def test_another_answer_than_an_upgrade_is_a_connect_error(transport: str) -> None:
    """A proxy's page in place of the venue."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>Bad gateway</html>", status=502)

    async with http_server(web.get("/v4/ws", page)) as place:
        with pytest.raises(ConnectError, match="502"):
            async with connection(f"ws://{place}/v4/ws", Heard(), transport=transport, **OPTIONS):
                pass


def test_the_transport_is_picows_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it aiohttp's is taken, and asking for it by name is an error."""
    assert chosen_transport("auto") == "picows"
    monkeypatch.setattr("dydx_perf.service.connect.find_spec", lambda name: None)
    assert chosen_transport("auto") == "aiohttp"
    with pytest.raises(ConnectError):
        chosen_transport("picows")
