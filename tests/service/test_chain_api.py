"""The service's whole-chain mode over real sockets: a node behind it, HTTP in front (B5, B11, D2, D3, D4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import aiohttp
import msgspec
import pytest
from generated_node import INDICES, START, Account, GeneratedNode, generated, serving
from prometheus_client.parser import text_string_to_metric_families
from venue_peers import until

from dydx_perf.errors import ConfigError
from dydx_perf.ladder import liquidation_ladder
from dydx_perf.next_block import next_liquidations
from dydx_perf.service import app
from dydx_perf.service.chain_answers import AtRiskAnswer, LadderAnswer, NextAnswer
from dydx_perf.service.chain_feed import settings_of
from dydx_perf.service.config import Config, load
from dydx_perf.service.watch import Watch

PATHS = ("/v1/at-risk", "/v1/ladder/BTC-USD", "/v1/liquidations/next")
KINDS: dict[str, type[Any]] = dict(zip(PATHS, (AtRiskAnswer, LadderAnswer, NextAnswer), strict=True))


def settings(node: str, **more: object) -> Config:
    """Only the whole chain, of a node of this machine."""
    keys: dict[str, object] = {
        "whole_chain.enabled": True,
        "whole_chain.node": node,
        "whole_chain.tls": False,
        "whole_chain.timeout": 2.0,
        "whole_chain.accounts_per_stream": 300,
        "api.port": 0,
    }
    return load(flags=keys | more)


@dataclass
class Service:
    """A service, and a client of it."""

    watch: Watch
    base: str
    client: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client.get(self.base + path) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def typed(self, path: str) -> Any:
        """An answer checked against its type, unknown keys included."""
        status, body = await self.get(path)
        assert status == 200, body
        kind = KINDS[path.partition("?")[0]]
        assert set(body) == {field.encode_name for field in msgspec.structs.fields(kind)}
        return msgspec.convert(body, kind)

    async def ready(self) -> None:
        await until(lambda: self.watch.unready() == [], 20.0)

    async def metrics(self) -> dict[str, float]:
        async with self.client.get(f"{self.base}/metrics") as response:
            text = await response.text()
        return {
            f"{sample.name}{sample.labels.get('le', '')}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@contextlib.asynccontextmanager
async def service(config: Config) -> AsyncIterator[Service]:
    watch = Watch(config)
    async with app.serve(watch, config.api) as base, aiohttp.ClientSession() as client:
        task = asyncio.create_task(watch.run())
        try:
            yield Service(watch, base, client)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_nothing_is_known_and_nothing_ready_before_all_pages_came() -> None:
    """Answers say so, with nulls and no account; afterwards they are known, and the service is ready."""
    node = GeneratedNode(generated(600), page_limit=100)
    node.pages_until_cut = 3
    async with serving(node) as host, service(settings(host)) as running:
        await until(
            lambda: running.watch.chain_feed is not None and running.watch.chain_feed.counts.pages == 3
        )
        risk, ladder, following = [await running.typed(path) for path in PATHS]
        for answer in (risk, ladder, following):
            assert (answer.state, answer.complete, answer.height) == ("unknown", False, None)
            assert [doubt.code for doubt in answer.doubts] == ["incomplete"]
        assert (risk.liquidatable, risk.accounts, ladder.steps, following.orders) == (None, [], None, None)
        status, body = await running.get("/readyz")
        assert status == 503
        assert body["reasons"][0].startswith("whole chain: incomplete")
        node.pages_until_cut = None
        await running.ready()
        risk = await running.typed("/v1/at-risk")
        assert (risk.state, risk.complete, risk.subaccounts) == ("known", True, 600)
        assert (await running.get("/readyz"))[0] == 200
        assert len((await running.get("/v1/markets"))[1]["markets"]) == 3


async def test_at_risk_ladder_and_next_block_are_those_of_the_book() -> None:
    """Figures and order; what they are of, and how old."""
    node = GeneratedNode(generated(800), page_limit=200)
    async with serving(node) as host, service(settings(host)) as running:
        await running.ready()
        feed = running.watch.chain_feed
        assert feed is not None
        book = feed.whole.book
        risk = await running.typed("/v1/at-risk?count=7")
        ranked = book.at_risk(7)
        assert [(row.address, row.number) for row in risk.accounts] == [row[:2] for row in ranked]
        assert [int(row.net_collateral_quantums) for row in risk.accounts] == [row.risk.nc for row in ranked]
        assert {row.verdict for row in risk.accounts} == {"liquidatable"}
        assert risk.liquidatable == len(book.liquidatable()) > 10
        assert (risk.height, risk.basis, risk.accounts_in_doubt) == (START, "chain", 0)
        assert 0 <= risk.age < 60
        first = risk.accounts[0]
        worth = sum(
            Fraction(abs(quantums) * node.prices[market][1], 10 ** (15, 15)[market])
            for market, (quantums, _) in node.accounts[first.address, first.number].positions.items()
        )
        assert Fraction(first.notional) == worth
        ladder = await running.typed("/v1/ladder/BTC-USD?steps=5&reach=200")
        wanted = liquidation_ladder(book, "BTC-USD", steps=5, reach_permille=200)
        assert ladder.oracle_price == "89931.52000"
        assert [row.long_accounts for row in ladder.steps] == [step.long_accounts for step in wanted]
        assert [row.short_notional for row in ladder.steps] == [
            f"{row['short_notional']:f}" for row in wanted.in_units()
        ]
        assert max(row.long_accounts for row in ladder.steps) > 10
        following = await running.typed("/v1/liquidations/next?attempts=9")
        expected = next_liquidations(book, max_attempts=9)
        assert following.attempts == 9
        assert following.chance == f"9/{len(book.liquidatable())}"
        assert [(row.address, row.market) for row in following.orders] == [
            (row.address, row.market) for row in expected.orders
        ]
        assert {row.side for row in following.orders} == {"BUY", "SELL"}


async def test_a_block_is_in_the_next_answer_and_its_time_is_measured() -> None:
    """The histogram counts blocks from their bytes to the verdicts; one in doubt is "unknown" until asked."""
    node = GeneratedNode(generated(500), page_limit=100)
    async with serving(node) as host, service(settings(host)) as running:
        await running.ready()
        before = await running.metrics()
        name = [*node.accounts][4]
        node.block({name: Account(-8 * 10**9, {0: (10**9, INDICES[0])})}, {0: 8_000_000_000})
        feed = running.watch.chain_feed
        assert feed is not None
        await until(lambda: feed.standing().height == START + 1 and not feed.whole.pending)
        after = await running.metrics()
        streams = len(node.readers)
        assert after["dydx_perf_chain_verdict_seconds_count"] == (
            before["dydx_perf_chain_verdict_seconds_count"] + streams
        )
        assert after["dydx_perf_chain_verdict_seconds_sum"] > before["dydx_perf_chain_verdict_seconds_sum"]
        assert after["dydx_perf_chain_doubt_seconds_count"] >= 1
        assert after["dydx_perf_chain_height"] == START + 1
        assert (after["dydx_perf_chain_subaccounts"], after["dydx_perf_chain_trusted"]) == (500, 1)
        await asyncio.sleep(0.5)  # an answer is kept for that long
        risk = await running.typed("/v1/at-risk?count=500")
        assert risk.height == START + 1
        found = next(row for row in risk.accounts if (row.address, row.number) == name)
        assert found.verdict == "liquidatable"
        feed.whole.changed(name, START + 5, False, {}, 1)
        await asyncio.sleep(0.5)
        risk = await running.typed("/v1/at-risk?count=500")
        found = next(row for row in risk.accounts if (row.address, row.number) == name)
        assert (found.verdict, [doubt.code for doubt in found.doubts]) == ("unknown", ["unknown_sign"])
        assert (risk.accounts_in_doubt, risk.liquidatable) == (1, len(feed.whole.book.liquidatable()) - 1)
        following = await running.typed("/v1/liquidations/next")
        assert name not in {(row.address, row.number) for row in following.orders}


async def test_a_killed_node_makes_everything_unknown_until_it_is_back() -> None:
    """The last figures stay, every verdict is "unknown", counts are null, and the service is not ready."""
    node = GeneratedNode(generated(500), page_limit=100)
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        host = await first.enter_async_context(serving(node))
        running = await stack.enter_async_context(service(settings(host)))
        await running.ready()
        await first.aclose()
        await until(lambda: bool(running.watch.unready()))
        risk = await running.typed("/v1/at-risk?count=3")
        assert (risk.state, risk.complete, risk.liquidatable, risk.basis) == (
            "unknown",
            True,
            None,
            "estimate",
        )
        assert {row.verdict for row in risk.accounts} == {"unknown"}
        assert "disconnected" in {doubt.code for doubt in risk.doubts}
        assert (await running.metrics())["dydx_perf_chain_trusted"] == 0
        node.block({[*node.accounts][3]: Account(5)})
        await stack.enter_async_context(serving(node, int(host.rpartition(":")[2])))
        await running.ready()
        risk = await running.typed("/v1/at-risk?count=4")
        assert (risk.state, risk.height) == ("known", START + 1)


async def test_a_chain_that_does_not_fit_is_said_and_the_service_goes_on() -> None:
    node = GeneratedNode(generated(500), page_limit=100)
    config = settings("127.0.0.1:1", **{"whole_chain.max_subaccounts": 120})
    async with serving(node) as host:
        config = msgspec.structs.replace(
            config, whole_chain=msgspec.structs.replace(config.whole_chain, node=host)
        )
        async with service(config) as running:
            await until(lambda: any("over_capacity" in reason for reason in running.watch.unready()))
            reason = next(one for one in running.watch.unready() if "over_capacity" in one)
            assert "max_subaccounts" in reason
            risk = await running.typed("/v1/at-risk")
            assert [doubt.code for doubt in risk.doubts] == ["incomplete", "over_capacity"]
            assert (await running.get("/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/at-risk?count=1001", 400, "from 0 to 1000"),
        ("/v1/at-risk?count=-1", 400, "count"),
        ("/v1/at-risk?top=3", 400, "'top' is nothing"),
        ("/v1/ladder/BTC-USD?steps=1", 400, "from 2 to 201"),
        ("/v1/ladder/DOGE-USD", 404, "DOGE-USD"),
        ("/v1/liquidations/next?attempts=x", 400, "attempts"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_a_sentence(path: str, status: int, said: str) -> None:
    node = GeneratedNode(generated(60), page_limit=100)
    async with serving(node) as host, service(settings(host)) as running:
        await running.ready()
        found, body = await running.get(path)
    assert found == status
    assert said in body["error"]


async def test_too_many_liquidatable_accounts_are_not_worked_out_while_everything_waits() -> None:
    node = GeneratedNode(generated(5_000), page_limit=1_000)
    node.prices[0] = (-5, 8_993_152)
    node.price_states[START] = dict(node.prices)
    async with serving(node) as host, service(settings(host)) as running:
        await running.ready()
        status, body = await running.get("/v1/liquidations/next")
    assert status == 503
    assert "1,000 are worked out here" in body["error"]


async def test_without_the_mode_its_paths_are_not_found() -> None:
    """And nothing of it is in the metrics."""
    config = load(flags={"network": "own", "indexer.websocket": "ws://127.0.0.1:9/ws", "api.port": 0,
                         "indexer.rest": "http://127.0.0.1:9"})  # fmt: skip
    async with service(config) as running:
        for path in PATHS:
            status, body = await running.get(path)
            assert status == 404
            assert "whole_chain.enabled" in body["error"]
        assert not [name for name in await running.metrics() if "chain" in name]


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"whole_chain.enabled": True}, "whole_chain.node"),
        ({"whole_chain.node": "no port"}, "whole_chain.node"),
        ({"whole_chain.every": 0.0}, "whole_chain.every"),
        ({"whole_chain.max_subaccounts": -1}, "whole_chain.max_subaccounts"),
        ({"whole_chain.accounts_per_stream": 10**6}, "whole_chain.accounts_per_stream"),
        ({"whole_chain.enabled": "maybe"}, "whole_chain.enabled"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key(keys: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(flags=keys)
    assert refused.value.key == key


def test_the_node_of_the_whole_chain_is_that_of_the_queries_unless_it_has_its_own() -> None:
    """Room of 0 is left to the first page."""
    shared = load(flags={"whole_chain.enabled": True, "node.grpc": "a:1", "node.tls": False})
    assert (shared.chain_node.grpc, shared.chain_node.tls) == ("a:1", False)
    own = load(flags={"whole_chain.enabled": True, "node.grpc": "a:1", "whole_chain.node": "b:2"})
    assert (own.chain_node.grpc, own.chain_node.tls) == ("b:2", True)
    assert settings_of(own.whole_chain).max_subaccounts is None
    assert not own.watches_indexer
