"""Serve a recording on loopback as the indexer's WebSocket and REST and a node's gRPC.

The same client code runs on it as on the venue. It plays at the recorded pace, faster, as fast as clients
take it, or step by step.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec
from aiohttp import WSMsgType, web

from dydx_perf.errors import ConnectError
from dydx_perf.feeds.subscriptions import Key
from dydx_perf.service.playback import Item, Playback
from dydx_perf.service.venue import Close, Subscribe, VenueSide

if TYPE_CHECKING:
    from dydx_perf.service.replay_node import NodeServer

__all__ = ["Pace", "ReplayServer", "serve"]

Pace = Literal["recorded", "unpaced", "stepwise"]

PING_EVERY, PONG_WITHIN = 30.0, 10.0
FETCH_WITHIN = 5.0  # seconds that the indexer waits for a snapshot
MOST_WAITING = 4_096  # messages of a client that does not read; unpaced play waits, recorded play cuts it off
END_OF_SEND = 4000
LACKING = {"errors": [{"msg": "the recording has no answer to this"}]}


@dataclass(eq=False, slots=True)
class Client:
    """One WebSocket of a client."""

    side: VenueSide
    socket: web.WebSocketResponse
    waiting: deque[bytes | Close] = field(default_factory=deque)
    has_more: asyncio.Event = field(default_factory=asyncio.Event)
    has_room: asyncio.Event = field(default_factory=asyncio.Event)
    timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    pong: asyncio.TimerHandle | None = None

    def put(self, message: bytes | Close) -> None:
        """Have something sent after all that waits."""
        self.waiting.append(message)
        self.has_more.set()
        if len(self.waiting) >= MOST_WAITING:
            self.has_room.clear()

    async def send(self) -> None:
        """Send what waits, until the connection is to be closed."""
        while True:
            await self.has_more.wait()
            while self.waiting:
                message = self.waiting.popleft()
                if isinstance(message, Close):
                    self.has_room.set()
                    await self.socket.close(code=message.code, message=message.reason.encode())
                    return
                await self.socket.send_frame(message, WSMsgType.TEXT)
                if len(self.waiting) < MOST_WAITING // 2:
                    self.has_room.set()
            self.has_more.clear()


class ReplayServer:
    """A playback with sockets; make one with `serve`.

    Attributes
    ----------
    websocket, rest, grpc : str
        Where it answers; `grpc` is empty where the grpc extra is missing or nothing of a node was recorded.
    finished : asyncio.Event
        Set when all was played.
    """

    def __init__(self, playback: Playback, pace: Pace, speed: float) -> None:
        self.playback = playback
        self.websocket = self.rest = self.grpc = ""
        self.finished = asyncio.Event()
        self._pace = pace
        self._speed = speed
        self._clients: set[Client] = set()
        self._begun = asyncio.Event()
        self._node: NodeServer | None = None

    # -- playing

    async def play(self) -> None:
        """Play from the first subscribe on; returns when all was played."""
        await self._begun.wait()
        if self._pace != "stepwise":
            loop = asyncio.get_running_loop()
            begin, first = loop.time(), self._next_time()
            while not self.playback.is_over:
                if self._pace == "recorded":
                    due = begin + (self._next_time() - first) / 1e9 / self._speed
                    if (delay := due - loop.time()) > 0:
                        await asyncio.sleep(delay)
                else:
                    await self._room()
                self._step()
        await self.finished.wait()

    async def advance(self, items: int) -> int:
        """Play so many items, in stepwise play; return how many there were."""
        self._begun.set()
        played = 0
        while played < items and not self.playback.is_over:
            await self._room()
            self._step()
            played += 1
        return played

    def _next_time(self) -> int:
        return self.playback.items[self.playback.position].time

    async def _room(self) -> None:
        """Wait until every client has read enough, and let them run."""
        await asyncio.sleep(0)
        for client in [*self._clients]:
            await client.has_room.wait()

    def _step(self) -> None:
        ending = self.playback
        item = ending.items[ending.position]
        carried = ending.keys_of(item.connection) if item.kind == "close" else set()
        ending.step()
        if item.kind == "snapshot":
            for client in self._clients:
                if item.key in client.side.pending:
                    self._answer(client, item.key)
                elif item.key in client.side.live:
                    client.side.reserve()  # clients miss a number, and take the new snapshot
        elif item.kind == "update":
            for client in self._clients:
                if item.key in client.side.live:
                    self._put(client, client.side.data(item.type, item.rest))
        elif item.kind == "raw":
            for client in self._clients:
                self._put(client, item.rest)
        elif item.kind == "close":
            for client in self._clients:
                if carried & (client.side.live | client.side.pending.keys()):
                    client.put(Close(item.code or 1001, item.reason))
        elif item.kind == "stream" and self._node is not None:
            self._node.play(item)
        if ending.is_over:
            self.finished.set()

    def _put(self, client: Client, message: bytes) -> None:
        if len(client.waiting) >= 2 * MOST_WAITING:
            client.waiting.clear()
            client.put(Close(END_OF_SEND, "the client does not read"))
        else:
            client.put(message)

    # -- clients

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Speak the indexer's protocol with one client."""
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0, compress=False, timeout=1.0)
        await socket.prepare(request)
        client = Client(VenueSide(str(uuid.uuid4()), self.playback.is_known), socket)
        client.has_room.set()
        client.put(client.side.greeting())
        self._clients.add(client)
        tasks = [asyncio.create_task(client.send()), asyncio.create_task(self._ping(client))]
        try:
            await self._listen(client)
        finally:
            self._clients.discard(client)
            client.has_room.set()
            for timer in (*client.timers.values(), *([client.pong] if client.pong else ())):
                timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def _listen(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        async for message in client.socket:
            if message.type is WSMsgType.PING:
                await client.socket.pong(message.data)
            elif message.type is WSMsgType.PONG and client.pong is not None:
                client.pong.cancel()
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                for reply in client.side.receive(message.data, loop.time()):
                    if isinstance(reply, Subscribe):
                        self._subscribe(client, reply.key)
                    else:
                        client.put(reply)

    def _subscribe(self, client: Client, key: Key) -> None:
        self._begun.set()
        if self.playback.played(key):
            self._answer(client, key)
        elif self.playback.has_later(key):
            later = asyncio.get_running_loop().call_later
            client.timers[key] = later(FETCH_WITHIN, self._give_up, client, key)
        else:
            client.put(client.side.could_not_fetch(key, self.playback.refusal(key)))

    def _give_up(self, client: Client, key: Key) -> None:
        if key in client.side.pending:
            client.put(client.side.could_not_fetch(key))

    def _answer(self, client: Client, key: Key) -> None:
        """Send the snapshot, and all that came after it."""
        if timer := client.timers.pop(key, None):
            timer.cancel()
        snapshot, *updates = self.playback.played(key)
        client.put(client.side.subscribed(key, snapshot.rest))
        for update in updates:
            client.put(client.side.data(update.type, update.rest))

    async def _ping(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(PING_EVERY)
                client.pong = loop.call_later(PONG_WITHIN, client.put, Close(1011, "Heartbeat timeout"))
                await client.socket.ping()

    # -- answers

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a GET of the indexer's REST interface as it was answered."""
        path = request.raw_path.removeprefix("/v4")
        item = self.playback.answer("rest", path)
        if item is None:
            return web.json_response(LACKING, status=501, dumps=_text)
        return web.Response(body=item.rest, status=item.code or 200, content_type="application/json")

    async def step(self, request: web.Request) -> web.Response:
        """Play some items: ``POST /replay/step?items=1``."""
        if self._pace != "stepwise":
            return web.json_response({"error": "the replay is not stepwise"}, status=409, dumps=_text)
        text = request.query.get("items", "1")
        if not text.isdecimal() or len(text) > 9:
            return web.json_response({"error": "items: a whole number"}, status=400, dumps=_text)
        played = await self.advance(int(text))
        return web.json_response({"played": played, **self._progress()}, dumps=_text)

    async def position(self, request: web.Request) -> web.Response:
        """Tell how far it is: ``GET /replay``."""
        return web.json_response(self._progress(), dumps=_text)

    def _progress(self) -> dict[str, int]:
        return {"position": self.playback.position, "items": len(self.playback.items)}

    def close_clients(self) -> None:
        """Tell every client that the service restarts."""
        for client in self._clients:
            client.put(Close(1012, '{"message":"Service restarting"}'))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _has_node(items: list[Item]) -> bool:
    return any(item.kind in ("unary", "stream") for item in items)


@contextlib.asynccontextmanager
async def serve(
    playback: Playback,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    grpc_port: int = 0,
    pace: Pace = "recorded",
    speed: float = 1.0,
) -> AsyncIterator[ReplayServer]:
    """Serve a playback while the block lasts.

    Parameters
    ----------
    playback : Playback
    host : str
    port, grpc_port : int
        0: any that is free.
    pace : "recorded", "unpaced" or "stepwise"
        "unpaced": as fast as the clients read.
    speed : float
        How many times the recorded pace.

    Raises
    ------
    ConnectError
        The port is taken.
    """
    server = ReplayServer(playback, pace, speed)
    application = web.Application()
    application.router.add_get("/v4/ws", server.accept)
    application.router.add_get("/replay", server.position)
    application.router.add_post("/replay/step", server.step)
    application.router.add_get("/v4/{path:.*}", server.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, handle_signals=False)
    await runner.setup()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        stack.callback(server.close_clients)
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except OSError as error:
            raise ConnectError(f"{host}:{port}: {error.strerror or error}") from None
        place = f"{host}:{runner.addresses[0][1]}"
        server.websocket, server.rest = f"ws://{place}/v4/ws", f"http://{place}/v4"
        if _has_node(playback.items):
            from dydx_perf.service.replay_node import serve_node

            server._node = await stack.enter_async_context(serve_node(playback, host, grpc_port))
            server.grpc = server._node.address
        playing = asyncio.create_task(server.play())
        try:
            yield server
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
