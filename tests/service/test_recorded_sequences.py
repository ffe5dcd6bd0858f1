"""Recorded mainnet messages, served over real sockets and watched: the state is what they say (C1, C9).

Defined where the recordings are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from frame_cases import shared_samples
from venue_peers import market, price, settings, snapshot, until, update

from dydx_perf.recorded import recorded_subaccounts
from dydx_perf.recording import Frame
from dydx_perf.service.playback import Playback
from dydx_perf.service.replay import ReplayServer, serve
from dydx_perf.service.watch import Watch

SAMPLES = shared_samples()
OPEN = {"OPEN", "BEST_EFFORT_OPENED", "UNTRIGGERED", "BEST_EFFORT_CANCELED"}


def recorded(name: str) -> Any:
    assert SAMPLES is not None
    return json.loads((SAMPLES / "ws" / "recorded" / name).read_text())


def received(at: float, message: dict[str, Any]) -> Frame:
    """A message as it was recorded, with the keys that older recordings lack."""
    return Frame(int(at * 1e6), "received", data=json.dumps(message).encode())


def pulse(height: str) -> Frame:
    contents = {"height": height, "time": "2024-05-06T00:00:00.000Z"}
    return snapshot(0, "v4_block_height", "v4_block_height", contents)


def prices_of(address: str, number: int, date: str) -> list[dict[str, Any]]:
    """Oracle prices of the moment at which an account was recorded."""
    (record,) = [
        one
        for one in recorded_subaccounts()
        if (one.subaccount.address, one.subaccount.number, one.date) == (address, number, date)
    ]
    return [
        price(ticker, f"{position.market.oracle_price.decimal:f}", 1)
        for ticker, position in record.subaccount.positions.items()
    ]


@contextlib.asynccontextmanager
async def watched(
    frames: list[Frame], transport: str, **what: Any
) -> AsyncIterator[tuple[Watch, ReplayServer]]:
    """Serve frames step by step, and watch what they are of."""
    async with serve(Playback.of_frames(frames), pace="stepwise") as server:
        watch = Watch(settings(server.websocket, server.rest, indexer__transport=transport, **what))
        task = asyncio.create_task(watch.run())
        try:
            await until(lambda: any(client.side.pending for client in server._clients))
            yield watch, server
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def play(watch: Watch, server: ReplayServer, items: int) -> None:
    """Play, and wait until all of it was handled."""
    await server.advance(items)

    def is_handled() -> bool:
        sent = sum(client.side._number + 1 for client in server._clients)
        return all(not client.waiting for client in server._clients) and watch.counts.frames >= sent

    await until(is_handled)


def check_figures(watch: Watch, body: dict[str, Any]) -> None:
    """Equity and free collateral by the indexer's formulas, digit for digit what it reported."""
    name = body["address"], body["subaccountNumber"]
    account = watch.book.subaccount(name)
    assert account.equity == Decimal(body["equity"])
    assert account.free_collateral == Decimal(body["freeCollateral"])
    held = {ticker: position.size for ticker, position in account.positions.items()}
    assert held == {ticker: Decimal(row["size"]) for ticker, row in body["openPerpetualPositions"].items()}
    kept = watch.feed_of(*name).session.account(*name)
    assert kept is not None
    assert kept.equity == Decimal(body["equity"])


if SAMPLES is not None:
    BOTH = pytest.mark.parametrize("transport", ["picows", "aiohttp"])

    @BOTH
    async def test_a_market_maker_and_its_orders(transport: str) -> None:
        """42 positions, digit for digit; open orders as a plain fold of the batches has them."""
        first = recorded("v4_subaccounts.subscribed.many_orders.json")
        body, address = first["contents"]["subaccount"], first["contents"]["subaccount"]["address"]
        batches = [recorded(f"v4_subaccounts.channel_batch_data.{number}.json") for number in (1, 2, 3, 4)]
        markets = recorded("v4_markets.subscribed.2024-04.json")["contents"]
        frames = [
            snapshot(0, "v4_markets", None, markets),
            pulse("1"),
            received(1, first),
            update(2, "v4_markets", None, prices_of(address, 0, "2024-05-06")),
            *(received(3 + place, batch) for place, batch in enumerate(batches)),
        ]
        async with watched(frames, transport, accounts=[f"{address}/0"]) as (watch, server):
            await play(watch, server, 4)
            check_figures(watch, body)
            orders = {one["id"]: one["status"] for one in first["contents"]["orders"]}
            kept = watch.feeds[0].session.account(address, 0)
            assert kept is not None
            for batch in batches:
                await play(watch, server, 1)
                for contents in batch["contents"]:
                    orders |= {one["id"]: one["status"] for one in contents.get("orders", [])}
                alive = {name for name, status in orders.items() if status in OPEN}
                assert {order.order_id for order in kept.orders} == alive
            assert len(kept.orders) > 25
            assert watch.risk(address, 0).verdict == "safe"
            assert watch.counts.bad_frames == 0

    @BOTH
    async def test_an_account_at_the_prices_of_the_market_message(transport: str) -> None:
        """Two longs, with every price from the recorded list of markets."""
        first = recorded("v4_subaccounts.subscribed.position.json")
        body = first["contents"]["subaccount"]
        frames = [
            snapshot(0, "v4_markets", None, recorded("v4_markets.subscribed.2023-11.json")["contents"]),
            pulse("1"),
            snapshot(1, "v4_subaccounts", f"{body['address']}/0", first["contents"]),
        ]
        async with watched(frames, transport, accounts=[f"{body['address']}/0"]) as (watch, server):
            await play(watch, server, 3)
            check_figures(watch, body)

    @BOTH
    async def test_the_children_of_a_parent(transport: str) -> None:
        """The child's USDC is negative, its position isolated; each child has figures of its own."""
        first = recorded("v4_parent_subaccounts.subscribed.isolated_position.json")
        whole = first["contents"]["subaccount"]
        address = whole["address"]
        frames = [
            snapshot(0, "v4_markets", None, recorded("v4_markets.subscribed.2024-04.json")["contents"]),
            pulse("1"),
            update(1, "v4_markets", None, prices_of(address, 128, "2024-06-21")),
            snapshot(2, "v4_parent_subaccounts", f"{address}/0", first["contents"]),
        ]
        nobody = {"accounts": [], "parents": [f"{address}/0"]}
        async with watched(frames, transport, **nobody) as (watch, server):
            await play(watch, server, 4)
            assert watch.accounts() == [(address, 0), (address, 128)]
            for body in whole["childSubaccounts"]:
                check_figures(watch, body)
            assert watch.verdicts()["safe"] == 2

    @BOTH
    async def test_an_order_book(transport: str) -> None:
        """Eight messages on a snapshot, level by level, against a plain fold of them."""
        first = recorded("v4_orderbook.subscribed.ETH-USD.json")
        ether = {**market("ETH-USD", "1576", 1), "tickSize": "0.001", "stepSize": "0.000001"}
        ether["stepBaseQuantums"] = 1_000
        path = SAMPLES / "ws" / "recorded" / "v4_orderbook.channel_batch_data.ETH-USD.jsonl"
        batches = [json.loads(line) for line in path.read_text().splitlines()]
        frames = [
            # the book is of a network whose tick was finer
            snapshot(0, "v4_markets", None, {"markets": {"ETH-USD": {**ether, "subticksPerTick": 1_000}}}),
            pulse("1"),
            received(1, first),
            *(received(2 + place, batch) for place, batch in enumerate(batches)),
        ]
        sides = {
            side: {Decimal(row["price"]): Decimal(row["size"]) for row in first["contents"][side]}
            for side in ("bids", "asks")
        }
        for batch in batches:
            for contents in batch["contents"]:
                for side, levels in contents.items():
                    sides[side] |= {Decimal(level): Decimal(size) for level, size in levels}
        left = {side: {p: s for p, s in levels.items() if s} for side, levels in sides.items()}
        async with watched(frames, transport, accounts=[], order_books=["ETH-USD"]) as (watch, server):
            await play(watch, server, len(frames))
            book = watch.feeds[0].session.order_book("ETH-USD")
            assert book is not None
            assert book.not_whole == ()
            bids = [(level.price, level.size) for level in book.bids()]
            asks = [(level.price, level.size) for level in book.asks()]
        assert bids[0][0] < asks[0][0]
        # what is left out is what crosses: the top of either side, and nothing below it
        assert dict(bids) == {level: size for level, size in left["bids"].items() if level <= bids[0][0]}
        assert dict(asks) == {level: size for level, size in left["asks"].items() if level >= asks[0][0]}
