"""Servers that misbehave, and recordings made by hand, for the tests of the service."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from dydx_perf.recording import Frame
from dydx_perf.service.config import Config, load

ACCOUNT = "dydx18p7nz5rqezkyscdz9pv9rchnsesjyjjyfe92t3"

MOMENT = "2024-05-06T00:00:00.000Z"

Peer = Callable[[web.WebSocketResponse], Awaitable[None]]


@contextlib.asynccontextmanager
async def http_server(*routes: web.RouteDef, port: int = 0) -> AsyncIterator[str]:
    """Serve routes on a free port; yields host:port."""
    application = web.Application()
    application.router.add_routes(list(routes))
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def websocket_server(peer: Peer, port: int = 0) -> AsyncIterator[str]:
    """Serve one behaviour to every client; yields the address."""

    async def accept(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0, compress=False)
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError):
            await peer(socket)
        return socket

    async with http_server(web.get("/v4/ws", accept), port=port) as place:
        yield f"ws://{place}/v4/ws"


class Proxy:
    """A TCP proxy that can cut its connections, hold bytes back, or go silent.

    Attributes
    ----------
    accepted : int
        Connections so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.accepted = 0
        self.address = ""
        self.chunk = 65_536
        self.pause = 0.0
        self._target = host, port
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def silence(self) -> None:
        """Keep connections open and let nothing through."""
        self._flows.clear()

    def resume(self) -> None:
        """Let bytes through again."""
        self._flows.set()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(self.chunk):
                await self._flows.wait()
                if self.pause:
                    await asyncio.sleep(self.pause)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers -= both
            for one in both:
                one.transport.abort()


@contextlib.asynccontextmanager
async def proxy_to(address: str) -> AsyncIterator[Proxy]:
    """Stand between a client and ``ws://host:port/…``."""
    scheme, _, rest = address.partition("://")
    place, _, path = rest.partition("/")
    host, _, port = place.partition(":")
    proxy = Proxy(host, int(port))
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.address = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/{path}"
    try:
        yield proxy
    finally:
        proxy.resume()
        server.close()
        proxy.cut()
        await server.wait_closed()


async def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until something holds; fail when it does not in time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


def settings(websocket: str, rest: str = "http://127.0.0.1:9/v4", **more: Any) -> Config:
    """Settings of a test: quick to give up, quick to come back; snapshots are trusted without REST."""
    flags = {
        "network": "own",
        "accounts": [f"{ACCOUNT}/0"],
        "indexer.websocket": websocket,
        "indexer.rest": rest,
        "liveness.connect_timeout": 2.0,
        "liveness.first_delay": 0.01,
        "liveness.longest_delay": 0.05,
        "liveness.confirm_snapshots": False,
        "liveness.pulse": 60.0,
        "liveness.halt": 60.0,
        "liveness.oracle_silence": 60.0,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return load(flags=flags)


# ---- recordings by hand


def frame(milliseconds: float, message: dict[str, Any], connection: int = 0) -> Frame:
    """A received message."""
    return Frame(int(milliseconds * 1e6), "received", connection, data=json.dumps(message).encode())


def snapshot(at: float, channel: str, name: str | None, contents: Any, connection: int = 0) -> Frame:
    named = {} if name is None else {"id": name}
    message = {"type": "subscribed", "connection_id": "c", "message_id": 1, "channel": channel, **named}
    return frame(at, {**message, "contents": contents}, connection)


def update(
    at: float, channel: str, name: str | None, contents: Any, connection: int = 0, **more: Any
) -> Frame:
    """A message with data: a batch where contents is a list."""
    kind = "channel_batch_data" if isinstance(contents, list) else "channel_data"
    named = {} if name is None else {"id": name}
    message = {"type": kind, "connection_id": "c", "message_id": 2, **named, "channel": channel}
    return frame(at, {**message, "version": "1.0.0", "contents": contents, **more}, connection)


def market(ticker: str, price: str, number: int = 0) -> dict[str, Any]:
    """A row of perpetualMarkets."""
    return {
        "clobPairId": str(number),
        "ticker": ticker,
        "status": "ACTIVE",
        "oraclePrice": price,
        "priceChange24H": "0",
        "volume24H": "0",
        "trades24H": 0,
        "nextFundingRate": "0.0000125",
        "initialMarginFraction": "0.05",
        "maintenanceMarginFraction": "0.03",
        "openInterest": "100",
        "atomicResolution": -9,
        "quantumConversionExponent": -9,
        "tickSize": "0.1",
        "stepSize": "0.001",
        "stepBaseQuantums": 1_000_000,
        "subticksPerTick": 100_000,
        "marketType": "CROSS",
        "openInterestLowerCap": "0",
        "openInterestUpperCap": "0",
        "baseOpenInterest": "100",
        "defaultFundingRate1H": "0",
    }


def position(ticker: str, size: str, entry: str) -> dict[str, Any]:
    """An open position of a snapshot."""
    return {
        "market": ticker,
        "status": "OPEN",
        "side": "SHORT" if size.startswith("-") else "LONG",
        "size": size,
        "maxSize": size,
        "entryPrice": entry,
        "exitPrice": None,
        "realizedPnl": "0",
        "unrealizedPnl": "0",
        "createdAt": "2024-05-03T06:41:44.214Z",
        "createdAtHeight": "100",
        "closedAt": None,
        "sumOpen": size.lstrip("-"),
        "sumClose": "0",
        "netFunding": "0",
        "subaccountNumber": 0,
    }


def subaccount(usdc: str, positions: list[dict[str, Any]], number: int = 0) -> dict[str, Any]:
    """A subaccount as REST gives it."""
    return {
        "address": ACCOUNT,
        "subaccountNumber": number,
        "equity": "0",
        "freeCollateral": "0",
        "openPerpetualPositions": {one["market"]: one for one in positions},
        "assetPositions": {
            "USDC": {
                "size": usdc.lstrip("-"),
                "symbol": "USDC",
                "side": "SHORT" if usdc.startswith("-") else "LONG",
                "assetId": "0",
                "subaccountNumber": number,
            }
        },
        "marginEnabled": True,
        "updatedAtHeight": "100",
        "latestProcessedBlockHeight": "101",
    }


def price(ticker: str, value: str, height: int) -> dict[str, Any]:
    """Contents of one oracle price."""
    row = {"oraclePrice": value, "effectiveAt": MOMENT, "effectiveAtHeight": str(height)}
    return {"oraclePrices": {ticker: {**row, "marketId": 0}}}


def fall() -> list[Frame]:
    """An account that becomes liquidatable when ETH falls below 969.07, at 300 ms; saved at 400 ms."""
    name = f"{ACCOUNT}/0"
    held = subaccount("-940", [position("ETH-USD", "1", "1000")])
    saved = [{"assetPositions": [usdc("-500")], "blockHeight": "105"}]
    return [
        Frame(0, "opened", 0, name="ws://recorded"),
        frame(1, {"type": "connected", "connection_id": "c", "message_id": 0}),
        snapshot(2, "v4_markets", None, {"markets": {"ETH-USD": market("ETH-USD", "1000", 1)}}),
        snapshot(
            3, "v4_block_height", "v4_block_height", {"height": "101", "time": "2024-05-06T00:00:00.000Z"}
        ),
        snapshot(4, "v4_subaccounts", name, {"subaccount": held, "orders": [], "blockHeight": "101"}),
        snapshot(5, "v4_orderbook", "ETH-USD", {"bids": [{"price": "999", "size": "1"}], "asks": []}),
        block(100, 102),
        update(101, "v4_markets", None, [price("ETH-USD", "990", 102)]),
        block(200, 103),
        update(201, "v4_markets", None, [price("ETH-USD", "980", 103)]),
        block(300, 104),
        update(301, "v4_markets", None, [price("ETH-USD", "960", 104)]),
        block(400, 105),
        update(401, "v4_subaccounts", name, saved),
        block(500, 106),
    ]


def block(at: float, height: int) -> Frame:
    contents = {"blockHeight": str(height), "time": "2024-05-06T00:00:01.000Z"}
    return update(at, "v4_block_height", "v4_block_height", contents)


def usdc(amount: str) -> dict[str, Any]:
    """An asset update."""
    return {
        "address": ACCOUNT,
        "subaccountNumber": 0,
        "positionId": "p",
        "assetId": "0",
        "symbol": "USDC",
        "side": "SHORT" if amount.startswith("-") else "LONG",
        "size": amount.lstrip("-"),
    }
