"""The live proof of a running service, over real sockets to a venue and to a node (C14)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from node_answers import ADDRESS, HEIGHT, account, answers, as_message, leverage
from venue_peers import MOMENT, block, market, position, settings, snapshot, subaccount, until, update

from dydx_perf.feeds.node_queries import HEIGHT_KEY, USDC_DENOM, queries
from dydx_perf.recording import Frame
from dydx_perf.service import app
from dydx_perf.service.playback import Playback
from dydx_perf.service.proof import ProofAnswer
from dydx_perf.service.replay import serve
from dydx_perf.service.watch import Watch

NAME = (ADDRESS, 0)
TOLD = f"{ADDRESS}/0"
SAFE, BELOW = "-2500", "-3050"  # beside 1 ETH at 3103.4, of which 155.17 must remain
POOLS = [(0, False)]


class Node(grpc.GenericRpcHandler):
    """A node that has had one balance and has another since its newest block; pinned queries get the first.

    Attributes
    ----------
    pins : list of int
        Heights that it was asked about.
    keeps : bool
        Whether it has past blocks; without them it refuses, as a pruned node does.
    """

    def __init__(self, past: str, newest: str, newest_height: int) -> None:
        self.balances = {True: int(past) * 10**6, False: int(newest) * 10**6}
        self.height = newest_height
        self.keeps = True
        self.pins: list[int] = []
        self._queries = {
            (one.method, one.request): one for one in queries([NAME], parameters=True, pools=POOLS)
        }

    def service(self, details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            pin = int(dict(context.invocation_metadata()).get(HEIGHT_KEY, self.height))
            is_past = pin < self.height
            if is_past:
                self.pins.append(pin)
                if not self.keeps:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"failed to load state at {pin}")
            await context.send_initial_metadata([(HEIGHT_KEY, str(pin))])
            query = self._queries[details.method, request]
            told = answers(fund={"balance": {"denom": USDC_DENOM, "amount": "12345678"}})
            told["subaccount"] = account(*NAME, self.balances[is_past], {1: (10**9, -1_234_567)})
            told["leverage"] = leverage()
            return bytes(as_message(query, told[query.name]).SerializeToString())

        return grpc.unary_unary_rpc_method_handler(answer)


def feed(balance: str, *more: Frame) -> list[Frame]:
    """An account with one ETH, shown from a block on, and the blocks after it."""
    height = HEIGHT - 6
    body = {**subaccount(balance, [position("ETH-USD", "1", "3000")]), "address": ADDRESS}
    body["latestProcessedBlockHeight"] = body["updatedAtHeight"] = str(height)
    markets = {"BTC-USD": {**market("BTC-USD", "89931.52", 0), "atomicResolution": -10}}
    markets["ETH-USD"] = market("ETH-USD", "3103.4", 1)
    pulse = {"height": str(height), "time": MOMENT}
    whole = {"subaccount": body, "orders": [], "blockHeight": str(height)}
    return [
        snapshot(0, "v4_markets", None, {"markets": markets}),
        snapshot(1, "v4_block_height", "v4_block_height", pulse),
        snapshot(2, "v4_subaccounts", TOLD, whole),
        *(block(100 * after, height + after) for after in (1, 2, 3)),
        *more,
    ]


@contextlib.asynccontextmanager
async def watching(frames: list[Frame], node: Node | None = None) -> AsyncIterator[tuple[Watch, Any]]:
    """A service on a venue that has played all, and on a node; yields it and a reader of its /v1/proof."""
    async with contextlib.AsyncExitStack() as stack:
        venue = await stack.enter_async_context(serve(Playback.of_frames(frames), pace="stepwise"))
        more: dict[str, Any] = {"accounts": [TOLD], "api__port": 0}
        if node is not None:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((node,))
            place = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, 0.1)
            more |= {"node__grpc": place, "node__tls": False}
        watch = Watch(settings(venue.websocket, venue.rest, **more))
        base = await stack.enter_async_context(app.serve(watch, watch.config.api))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        task = asyncio.create_task(watch.run())

        async def proof() -> ProofAnswer:
            async with client.get(base + "/v1/proof") as response:
                return msgspec.json.decode(await response.read(), type=ProofAnswer)

        try:
            await until(lambda: any(len(one.side.pending) >= 3 for one in venue._clients))
            await venue.advance(1_000)
            yield watch, proof
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("shown", "past", "newest", "outcome"),
    [
        (BELOW, BELOW, SAFE, "confirmed"),
        (BELOW, SAFE, BELOW, "false"),
        (SAFE, BELOW, SAFE, "overlooked"),
        (SAFE, SAFE, BELOW, None),
    ],
)
async def test_a_nodes_answer_is_held_against_what_was_shown_before_it_was_asked(
    shown: str, past: str, newest: str, outcome: str | None
) -> None:
    """Its newest block, which is ahead of the venue and becomes what is shown, may say the opposite."""
    node = Node(past, newest, HEIGHT - 2)
    async with watching(feed(shown), node) as (watch, proof):
        await until(lambda: watch.risk(*NAME).basis == "chain")
        await until(lambda: len(node.pins) >= 6)  # markets and the account
        if outcome is not None:
            await until(lambda: watch.proof.counts[outcome])
        expected = dict.fromkeys(watch.proof.counts, 0) | ({} if outcome is None else {outcome: 1})
        told = await proof()
        assert watch.risk(*NAME).verdict == ("liquidatable" if newest == BELOW else "safe")
    assert set(node.pins) == {HEIGHT - 4}
    assert told.counts == expected
    assert len(told.cases) == (outcome is not None)
    for case in told.cases:
        assert (case.outcome, case.address, case.height) == (outcome, ADDRESS, HEIGHT - 4)
        assert (case.shown_verdict, case.shown_height) == (
            "liquidatable" if shown == BELOW else "safe",
            HEIGHT - 6,
        )
        assert case.inputs["USDC"] == f"{shown}.000000"
        assert case.shown is not None
        assert case.chain is not None
        assert case.chain.net_collateral == f"{3103.4 + int(past):.6f}"


async def test_a_node_without_past_blocks_proves_nothing_and_serves_all_the_same() -> None:
    """The question of the proof is refused; figures are the chain's own."""
    node = Node(BELOW, BELOW, HEIGHT - 2)
    node.keeps = False
    async with watching(feed(BELOW), node) as (watch, proof):
        await until(lambda: node.pins and watch.risk(*NAME).basis == "chain")
        assert set((await proof()).counts.values()) == {0}


@pytest.mark.parametrize(("balance", "outcome"), [(SAFE, "missed"), (BELOW, "predicted")])
async def test_a_liquidation_over_the_wire_is_predicted_or_missed(balance: str, outcome: str) -> None:
    """By what the venue itself had let be known before its block."""
    fill = {
        "id": "f",
        "side": "SELL",
        "size": "0.5",
        "price": "3000",
        "fee": "0",
        "type": "LIQUIDATED",
        "liquidity": "TAKER",
        "ticker": "ETH-USD",
        "createdAt": MOMENT,
        "createdAtHeight": str(HEIGHT - 2),
    }
    told = {"fills": [fill], "blockHeight": str(HEIGHT - 2)}
    frames = feed(balance, block(400, HEIGHT - 2), update(401, "v4_subaccounts", TOLD, told))
    async with watching(frames) as (watch, proof):
        await until(lambda: watch.proof.cases)
        answer = await proof()
    assert {name: count for name, count in answer.counts.items() if count} == {outcome: 1}
    assert answer.faults == {"missed": int(outcome == "missed"), "false": 0, "overlooked": 0}
    (case,) = answer.cases
    assert (case.outcome, case.ticker, case.height, case.shown_height) == (
        outcome,
        "ETH-USD",
        HEIGHT - 2,
        HEIGHT - 6,
    )
