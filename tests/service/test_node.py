"""A node's queries over a real gRPC channel, and what the service makes of the answers (C3, C12)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from node_answers import ADDRESS, HEIGHT, account, answers, as_message, leverage
from venue_peers import market, position, settings, snapshot, subaccount, until, update

from dydx_perf.errors import ConnectError, FrameError
from dydx_perf.feeds.events import AskNode
from dydx_perf.feeds.node_queries import HEIGHT_KEY, USDC_DENOM, NodeQuery, queries
from dydx_perf.feeds.replay import NODE_HEIGHT
from dydx_perf.recording import Frame
from dydx_perf.service.config import Node
from dydx_perf.service.node import NodeQueries, node_queries
from dydx_perf.service.playback import Playback
from dydx_perf.service.replay import serve
from dydx_perf.service.watch import Watch

NAME = (ADDRESS, 0)
ASK = AskNode((NAME,), True, "periodic")
POOLS = [(0, False)]
HELD = account(*NAME, 1_000_000_000, {1: (10**9, -1_234_567)})


def answered(query: NodeQuery) -> bytes:
    """The answer of a small chain to one query."""
    told: dict[str, Any] = answers(fund={"balance": {"denom": USDC_DENOM, "amount": "12345678"}})
    body = {"subaccount": HELD, "leverage": leverage()}.get(query.name) or told[query.name]
    return bytes(as_message(query, body).SerializeToString())


def asked() -> tuple[NodeQuery, ...]:
    return queries([NAME], parameters=True, pools=POOLS)


class Chain(grpc.GenericRpcHandler):
    """A node that answers, notes what it was asked, and can be told to misbehave."""

    def __init__(self) -> None:
        self.heights: list[str | None] = []
        self.height = HEIGHT
        self.broken: dict[str, bytes] = {}
        self.delay = 0.0
        self.refuses = False
        self.methods: list[str] = []
        self._answers = {(query.method, query.request): answered(query) for query in asked()}

    def service(self, details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            self.heights.append(dict(context.invocation_metadata()).get(HEIGHT_KEY))
            self.methods.append(details.method)
            await asyncio.sleep(self.delay)
            if self.refuses:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "down\nfor now")
            await context.send_initial_metadata([(HEIGHT_KEY, str(self.height))])
            if details.method in self.broken:
                return self.broken[details.method]
            return self._answers[details.method, request]

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest_asyncio.fixture
async def chain() -> AsyncIterator[tuple[Chain, str]]:
    node, server = Chain(), grpc.aio.server()
    server.add_generic_rpc_handlers((node,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield node, f"127.0.0.1:{port}"
    finally:
        await server.stop(0.1)


def open_node(place: str, record: Any = lambda *_: None, timeout: float = 5.0) -> Any:
    return node_queries(Node(grpc=place, tls=False, timeout=timeout), record)


async def test_the_first_answers_height_is_that_of_all_others(chain: tuple[Chain, str]) -> None:
    """Everything is there, and every query after the first was pinned."""
    node, place = chain
    recorded: list[tuple[str, int | None]] = []
    async with open_node(place, lambda query, _, height: recorded.append((query.name, height))) as client:
        picture = await client.ask(ASK, POOLS)
    assert (picture.height, picture.missing([NAME])) == (HEIGHT, ())
    assert picture.version == "9.6.1"
    assert node.heights[0] is None
    assert set(node.heights[1:]) == {str(HEIGHT)}
    assert len(recorded) == len(asked())
    assert {height for _, height in recorded} == {HEIGHT}


async def test_nothing_to_ask_asks_nothing(chain: tuple[Chain, str]) -> None:
    node, place = chain
    async with open_node(place) as client:
        assert (await client.ask(AskNode((), False, ""))).accounts == ()
    assert node.heights == []


async def test_what_cannot_be_read_is_a_frame_error(chain: tuple[Chain, str]) -> None:
    node, place = chain
    node.broken["/dydxprotocol.prices.Query/AllMarketPrices"] = b"\xff\xff"
    async with open_node(place) as client:
        with pytest.raises(FrameError):
            await client.ask(ASK, POOLS)


@pytest.mark.parametrize("case", ["away", "slow"])
async def test_a_node_that_does_not_answer_is_a_connect_error(chain: tuple[Chain, str], case: str) -> None:
    """Said with the method and the status."""
    node, place = chain
    node.delay = 5.0 if case == "slow" else 0.0
    place = place if case == "slow" else "127.0.0.1:1"
    async with open_node(place, timeout=0.2) as client:
        assert isinstance(client, NodeQueries)
        with pytest.raises(ConnectError, match=r"AllPerpetuals: (UNAVAILABLE|DEADLINE_EXCEEDED)"):
            await client.ask(ASK, POOLS)


def recorded(height: int) -> list[Frame]:
    """Socket and node of one recording: the indexer at a height, the node at its own."""
    body = {**subaccount("1000", [position("ETH-USD", "1", "3000")]), "address": ADDRESS}
    body["latestProcessedBlockHeight"] = body["updatedAtHeight"] = str(height)
    markets = {"BTC-USD": {**market("BTC-USD", "89931.52", 0), "atomicResolution": -10}}
    markets["ETH-USD"] = market("ETH-USD", "3103.4", 1)
    pulse = {"height": str(height), "time": "2025-12-08T12:00:00.000Z"}
    whole = {"subaccount": body, "orders": [], "blockHeight": str(height)}
    frames = [
        snapshot(0, "v4_markets", None, {"markets": markets}),
        snapshot(1, "v4_block_height", "v4_block_height", pulse),
        snapshot(2, "v4_subaccounts", f"{ADDRESS}/0", whole),
    ]
    for query in asked():
        frames.append(Frame(3_000_000, "note", 0, NODE_HEIGHT, data=str(HEIGHT).encode()))
        frames.append(Frame(3_000_000, "unary", 0, query.method, query.request, answered(query), 0))
    return frames


async def test_a_service_with_a_node_has_the_chains_own_figures() -> None:
    """Socket, REST and node of one replayed recording: basis "chain", at the node's height."""
    async with serve(Playback.of_frames(recorded(HEIGHT - 5)), pace="unpaced") as server:
        more = {"accounts": [f"{ADDRESS}/0"], "node__grpc": server.grpc, "node__tls": False}
        watch = Watch(settings(server.websocket, server.rest, **more))
        task = asyncio.create_task(watch.run())
        try:
            await until(lambda: watch.risk(*NAME).basis == "chain")
            risk = watch.risk(*NAME)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert (risk.height, risk.bound, risk.verdict) == (HEIGHT, None, "safe")
    assert risk.risk is not None
    assert risk.risk.net_collateral == 1_000_000_000 + 3_103_400_000


async def test_an_indexer_behind_its_node_is_lagging_until_it_is_there() -> None:
    """More blocks than allowed: nothing is trusted, and why is said; the next blocks lift it."""
    pulse = {"blockHeight": str(HEIGHT - 5), "time": "2025-12-08T12:00:01.000Z"}
    frames = [*recorded(HEIGHT - 6), update(500, "v4_block_height", "v4_block_height", pulse)]
    playback = Playback.of_frames(frames)
    async with serve(playback, pace="stepwise") as server:
        more = {"accounts": [f"{ADDRESS}/0"], "node__grpc": server.grpc, "node__tls": False}
        watch = Watch(settings(server.websocket, server.rest, **more))
        task = asyncio.create_task(watch.run())
        try:
            await until(lambda: any(len(client.side.pending) >= 3 for client in server._clients))
            await server.advance(len(playback.items) - 1)
            await until(lambda: watch.risk(*NAME).doubts == ("lagging",))
            assert watch.risk(*NAME).verdict == "unknown"
            assert watch.unready() == [f"account {ADDRESS}/0: lagging"]
            await server.advance(1)
            await until(lambda: watch.unready() == [])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def watching(place: str) -> AsyncIterator[Watch]:
    """A service that stands at the venue's last block, and asks this node for its height all the time."""
    async with serve(Playback.of_frames(recorded(HEIGHT - 1)[:3]), pace="unpaced") as server:
        more = {"accounts": [f"{ADDRESS}/0"], "node__grpc": place, "node__tls": False}
        watch = Watch(settings(server.websocket, server.rest, node__height_every=0.05, **more))
        task = asyncio.create_task(watch.run())
        try:
            await until(lambda: watch.height == HEIGHT - 1)
            yield watch
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_the_lag_is_seen_though_nothing_is_asked(chain: tuple[Chain, str]) -> None:
    """The node's height is asked for by itself, long before its answers are wanted again."""
    node, place = chain
    async with watching(place) as watch:
        await until(lambda: watch.risk(*NAME).basis == "chain")
        questions = [method for method in node.methods if "Subaccount" in method]
        assert watch.risk(*NAME).doubts == ()
        node.height = HEIGHT + 5
        await until(lambda: watch.risk(*NAME).doubts == ("lagging",))
        assert [method for method in node.methods if "Subaccount" in method] == questions


async def test_a_node_that_tells_no_height_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line with place, reason and next try, however often it is asked; one when it is back."""
    caplog.set_level(logging.INFO, "dydx_perf")

    def told(what: str) -> list[str]:
        return [record.getMessage() for record in caplog.records if what in record.getMessage()]

    node, server = Chain(), grpc.aio.server()
    server.add_generic_rpc_handlers((node,))
    place = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    node.refuses = True
    await server.start()
    try:
        async with watching(place):
            await until(lambda: len(node.heights) > 4 and told("tells no height"))
            node.refuses = False
            await until(lambda: told("answers again"))
    finally:
        await server.stop(0.1)
    (line,) = told("tells no height")
    assert line == (
        f"node {place} tells no height: /dydxprotocol.perpetuals.Query/Params: UNAVAILABLE: down for now; "
        "next try in 0.1 s"
    )
    assert told("answers again") == [f"node {place} answers again"]
    assert not any(record.exc_info for record in caplog.records)
