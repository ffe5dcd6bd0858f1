"""The HTTP interface over real sockets: what it answers, and what it says when it cannot (D3, D4)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from venue_peers import ACCOUNT, MOMENT, block, fall, settings, until, update

from dydx_perf.errors import ConnectError
from dydx_perf.feeds.node_queries import NodeQuery
from dydx_perf.feeds.trust import DOUBTS
from dydx_perf.recording import Frame
from dydx_perf.service import app
from dydx_perf.service.answers import ErrorAnswer, ExplainAnswer, MarketsAnswer, RiskAnswer
from dydx_perf.service.playback import Playback
from dydx_perf.service.proof import ProofAnswer
from dydx_perf.service.replay import ReplayServer, serve
from dydx_perf.service.watch import Watch

RISK = f"/v1/subaccounts/{ACCOUNT}/0/risk"


@dataclass
class Running:
    """A replay server, a service on it, and a client of the service."""

    server: ReplayServer
    watch: Watch
    base: str
    client: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client.get(self.base + path) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def typed(self, path: str, kind: type[Any]) -> Any:
        """An answer checked against its type, unknown keys included."""
        async with self.client.get(self.base + path) as response:
            assert response.status == 200
            body = await response.read()
        made = msgspec.json.decode(body, type=kind)
        assert set(json.loads(body)) == {field.encode_name for field in msgspec.structs.fields(kind)}
        return made

    async def play(self, items: int = 1_000) -> None:
        await until(
            lambda: (
                self.watch.counts.sent >= 3
                and any(c.side.pending or c.side.live for c in self.server._clients)
            )
        )
        await until(
            lambda: all(len(c.side.pending | dict.fromkeys(c.side.live)) >= 3 for c in self.server._clients)
        )
        await self.server.advance(items)


@contextlib.asynccontextmanager
async def service(frames: list[Frame] | None = None, **more: Any) -> AsyncIterator[Running]:
    async with serve(Playback.of_frames(frames or fall()), pace="stepwise") as server:
        config = settings(server.websocket, server.rest, api__port=0, **more)
        watch = Watch(config)
        async with app.serve(watch, config.api) as base, aiohttp.ClientSession() as client:
            task = asyncio.create_task(watch.run())
            try:
                yield Running(server, watch, base, client)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def test_before_anything_came_nothing_is_safe() -> None:
    """The account is watched: its verdict is "unknown", not an error and never safe."""
    async with service() as running:
        assert await running.get("/healthz") == (200, {"status": "alive"})
        status, ready = await running.get("/readyz")
        assert (status, ready["ready"]) == (503, False)
        assert ACCOUNT in "".join(ready["reasons"])
        risk = await running.typed(RISK, RiskAnswer)
        assert (risk.verdict, risk.risk, risk.height, risk.age) == ("unknown", None, None, None)
        assert "no_snapshot" in {doubt.code for doubt in risk.doubts}
        assert all(doubt.text == DOUBTS[doubt.code] for doubt in risk.doubts)
        status, error = await running.get(f"/v1/subaccounts/{ACCOUNT}/0/explain")
        assert status == 503
        assert "no_snapshot" in error["error"]


async def test_the_risk_of_an_account_is_the_chains_integers_and_says_how_good_it_is() -> None:
    async with service() as running:
        await running.play()
        await until(lambda: running.watch.height == 106)
        risk = await running.typed(RISK, RiskAnswer)
        assert (risk.verdict, risk.basis, risk.height) == ("safe", "estimate", 104)
        assert risk.age is not None
        assert risk.age >= 0
        assert risk.risk is not None
        assert risk.risk.net_collateral == "460.000000"
        assert risk.risk.net_collateral_quantums == "460000000"
        assert risk.risk.maintenance_margin_requirement == "28.800000"
        assert risk.risk.distance == "431.200000"
        assert risk.bound is not None
        (position,) = risk.positions
        assert (position.ticker, position.size, position.oracle_price) == (
            "ETH-USD",
            "1.000000000",
            "960.000000",
        )
        assert position.distance is not None
        assert float(position.distance) < 0
        assert (await running.get("/readyz"))[0] == 200
        (listed,) = (await running.get("/v1/subaccounts"))[1]
        assert listed["risk"]["net_collateral"] == "460.000000"


async def test_an_account_is_explained_beside_what_the_indexer_reported() -> None:
    async with service() as running:
        await running.play()
        await until(lambda: running.watch.height == 106)
        explained = await running.typed(f"/v1/subaccounts/{ACCOUNT}/0/explain", ExplainAnswer)
    assert explained.reported.equity == "0"
    assert explained.reported.height == 101
    assert explained.explanation["format"]["name"] == "dydx_perf explanation"


async def test_the_markets_are_those_of_the_book() -> None:
    async with service() as running:
        await running.play()
        await until(lambda: running.watch.height == 106)
        markets = await running.typed("/v1/markets", MarketsAnswer)
    (eth,) = markets.markets
    assert (eth.ticker, eth.oracle_price, eth.initial_margin_fraction) == (
        "ETH-USD",
        "960.000000",
        "0.050000",
    )
    assert (eth.height, eth.basis, eth.doubts) == (None, "estimate", [])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/subaccounts/dydx1nobody/0/risk", 404),
        (f"/v1/subaccounts/{ACCOUNT}/1/risk", 404),
        (f"/v1/subaccounts/{ACCOUNT}/1/explain", 404),
        (f"/v1/subaccounts/{ACCOUNT}/one/risk", 400),
        (f"/v1/subaccounts/{ACCOUNT}/128000/risk", 400),
        (f"/v1/subaccounts/{ACCOUNT}/-1/risk", 400),
        ("/v1/nothing", 404),
        ("/", 404),
    ],
)
async def test_what_is_not_there_is_said_in_json(path: str, status: int) -> None:
    async with service() as running:
        got, answer = await running.get(path)
        assert got == status
        assert msgspec.convert(answer, ErrorAnswer).error
        async with running.client.post(running.base + RISK) as response:
            assert response.status == 405
            assert (await response.json())["error"]


async def test_the_metrics_are_prometheus_text() -> None:
    async with service() as running:
        await running.play()
        await until(lambda: running.watch.height == 106)
        async with running.client.get(f"{running.base}/metrics") as response:
            text = await response.text()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["dydx_perf_frames_total",] == running.watch.counts.frames
    assert samples["dydx_perf_accounts", "safe"] == 1
    assert samples["dydx_perf_accounts", "unknown"] == 0
    assert samples["dydx_perf_events_total", "Crossing"] == 2
    assert samples["dydx_perf_ready",] == 1
    assert samples["dydx_perf_handling_seconds_count",] == running.watch.counts.frames
    assert samples["dydx_perf_handling_seconds_bucket", "+Inf"] == running.watch.counts.frames


def read(text: bytes) -> list[tuple[str, Any]]:
    """Kind and content of each event."""
    events = []
    for part in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


async def test_the_stream_tells_a_crossing_once_and_says_how_good_it_is() -> None:
    """First the state, then each event in order; each of an account with height, age, basis and verdict."""
    async with service() as running, running.client.get(f"{running.base}/v1/stream") as response:
        assert response.content_type == "text/event-stream"
        await running.play()
        text = b""
        async with asyncio.timeout(10.0):
            while text.count(b"event: crossing") < 2:
                text += await response.content.readany()
        await asyncio.sleep(0.05)
        text += response.content.read_nowait()
    (kind, state), *events = read(text)
    assert (kind, state[0]["verdict"]) == ("state", "unknown")
    crossings = [event for kind, event in events if kind == "crossing"]
    assert [(one["below"], one["verdict"]) for one in crossings] == [(True, "liquidatable"), (False, "safe")]
    assert [one["risk"]["net_collateral"] for one in crossings] == ["20.000000", "460.000000"]
    for one in crossings:
        assert (one["address"], one["number"], one["basis"], one["threshold"]) == (
            ACCOUNT,
            0,
            "estimate",
            None,
        )
        assert one["height"] in (101, 104)
        assert one["age"] is not None
    assert "account" in [kind for kind, _ in events]


async def test_a_reader_that_falls_behind_is_told_and_dropped() -> None:
    """Nothing is left out silently, and the others go on."""
    async with service(limits__stream_queue=2) as running:
        with running.watch.broadcast.reader() as slow, running.watch.broadcast.reader() as quick:
            for place in range(3):
                running.watch.broadcast.put(b"%d" % place)
                if place < 2:
                    assert await quick.next(1.0) == b"%d" % place
            assert (slow.is_open, slow.fell_behind) == (False, True)
            assert [await slow.next(0.0) for _ in range(3)] == [b"0", b"1", None]
            assert await quick.next(1.0) == b"2"
        assert running.watch.broadcast.dropped == 1


async def test_so_many_streams_and_no_more() -> None:
    async with service(limits__streams=1) as running, running.client.get(f"{running.base}/v1/stream"):
        status, answer = await running.get("/v1/stream")
        assert (status, "as many as may be" in answer["error"]) == (503, True)


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    async with service() as running:
        port = int(running.base.rpartition(":")[2])
        with pytest.raises(ConnectError, match=str(port)):
            async with app.serve(running.watch, settings("ws://a", api__port=port).api):
                pass


async def test_stopping_ends_open_streams() -> None:
    """A reader sees the end, and stopping does not wait for it."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(aiohttp.ClientSession())
        async with service() as running:
            response = await client.get(f"{running.base}/v1/stream")
            await response.content.readany()
        async with asyncio.timeout(2.0):
            while await response.content.readany():
                pass
        assert response.content.at_eof()


async def test_a_liquidation_that_had_been_shown_is_counted_as_predicted() -> None:
    """Below the line at 104, liquidated at 105: one case, with what was shown; and in the metrics."""
    fill = {
        "id": "f", "side": "SELL", "size": "1", "price": "955", "fee": "1", "type": "LIQUIDATED",
        "liquidity": "TAKER", "ticker": "ETH-USD", "createdAt": MOMENT, "createdAtHeight": "105",
        "orderId": None, "clientMetadata": "0", "subaccountNumber": 0,
    }  # fmt: skip
    told = {"fills": [fill], "blockHeight": "105"}
    frames = [*fall()[:12], block(400, 105), update(401, "v4_subaccounts", f"{ACCOUNT}/0", told)]
    async with service(frames) as running:
        proof = await running.typed("/v1/proof", ProofAnswer)
        assert (proof.cases, set(proof.counts.values())) == ([], {0})
        await running.play()
        await until(lambda: running.watch.proof.counts["predicted"])
        proof = await running.typed("/v1/proof", ProofAnswer)
        (case,) = proof.cases
        assert proof.faults == {"missed": 0, "false": 0, "overlooked": 0}
        assert (case.outcome, case.ticker, case.height) == ("predicted", "ETH-USD", 105)
        assert (case.shown_verdict, case.shown_height) == ("liquidatable", 104)
        assert case.shown is not None
        assert case.shown.net_collateral == "20.000000"
        assert case.inputs == {"USDC": "-940.000000", "ETH-USD": "1.000000000 at 960.000000"}
        async with running.client.get(running.base + "/metrics") as response:
            text = await response.text()
        assert 'dydx_perf_proof_total{outcome="predicted"} 1.0' in text
        assert 'dydx_perf_proof_total{outcome="missed"} 0.0' in text


async def test_an_indexer_behind_its_node_is_in_doubt_and_not_ready() -> None:
    """A node that is too many blocks on takes the trust from every account, until the indexer is there."""
    async with service() as running:
        await running.play()
        await until(lambda: running.watch.height == 106 and not running.watch.unready())
        query = NodeQuery("version", (), "/a", b"", "/a")
        running.watch.node_told(query, b"", 111)
        assert (await running.get("/readyz"))[0] == 200
        running.watch.node_told(query, b"", 112)
        status, ready = await running.get("/readyz")
        assert status == 503
        assert "lagging" in "".join(ready["reasons"])
        risk = await running.typed(RISK, RiskAnswer)
        assert (risk.verdict, [doubt.code for doubt in risk.doubts]) == ("unknown", ["lagging"])
