"""A whole chain over real gRPC: loaded, followed, and what goes wrong on the way (B4, C3, C5, D1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from generated_node import INDICES, START, STREAM, SUBACCOUNT_ALL, Account, GeneratedNode, generated, serving
from venue_peers import until
from verb_processes import called, line_with, run

from dydx_perf.errors import CapacityError, ConfigError, ConnectError
from dydx_perf.service.chain_feed import ChainFeed, ChainSettings
from dydx_perf.service.chain_scan import node_of
from dydx_perf.service.config import Node
from dydx_perf.service.node import node_queries

QUICK = {"first_delay": 0.01, "longest_delay": 0.05, "per_stream": 300, "every": 3_600.0}


@contextlib.asynccontextmanager
async def feed_of(host: str, **more: Any) -> AsyncIterator[ChainFeed]:
    """A feed with a channel of its own, kept while the block lasts once `load` was called by the test."""
    async with node_queries(Node(grpc=host, tls=False, timeout=2.0), lambda *_: None) as queries:
        yield ChainFeed(queries, ChainSettings(**{**QUICK, **more}))


@contextlib.asynccontextmanager
async def kept(feed: ChainFeed) -> AsyncIterator[ChainFeed]:
    await feed.load()
    task = asyncio.create_task(feed.keep())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_trusted(feed: ChainFeed) -> bool:
    return not feed.standing().doubts


def assert_is(feed: ChainFeed, node: GeneratedNode) -> None:
    """Every account in the book is as the node has it now, nobody else is, and nobody is in doubt."""
    book = feed.whole.book
    assert feed.whole.pending == {}
    assert set(book) == set(node.accounts)
    indices = [market.perpetual_id for market in book.chain]
    for name, account in node.accounts.items():
        usdc, rows, _, _ = book._inputs(book._store.slot(name), name)
        held = {indices[row[0]]: row[1:3] for row in rows if row[1]}
        assert (usdc, held) == (account.usdc, account.positions), name
    assert book.chain["BTC-USD"].oracle_price.integer == node.prices[0][1]


async def test_all_pages_come_at_the_height_of_the_markets() -> None:
    """Every question about accounts and markets asks for the first answer's block."""
    node = GeneratedNode(generated(2_500), page_limit=400)
    async with serving(node) as host, feed_of(host) as feed:
        followed = await feed.load()
        assert_is(feed, node)
        standing = followed.standing(feed.now)
    assert (standing.height, standing.heights, standing.basis) == (START, (START, START), "chain")
    assert standing.doubts == ()
    assert [height for method, height in node.asked if method == SUBACCOUNT_ALL] == [START] * 7
    assert feed.counts.pages == 7


async def test_a_node_that_goes_away_within_the_pages_is_asked_on_from_there() -> None:
    """No page comes twice, and a restarted server finds the feed at the page where it was."""
    node = GeneratedNode(generated(1_000), page_limit=100)
    node.pages_until_cut = 4
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        host = await first.enter_async_context(serving(node))
        feed = await stack.enter_async_context(feed_of(host))
        loading = asyncio.create_task(feed.load())
        await until(lambda: feed.counts.failures >= 2)
        assert feed.standing().doubts == ("incomplete",)
        assert "UNAVAILABLE" in feed.trouble
        await first.aclose()
        node.pages_until_cut = None
        await asyncio.sleep(0.05)
        await stack.enter_async_context(serving(node, int(host.rpartition(":")[2])))
        await asyncio.wait_for(loading, 20.0)
        assert_is(feed, node)
    assert feed.counts.pages == 10
    assert feed.trouble == ""


async def test_a_page_of_noise_and_a_slow_one_are_asked_for_again() -> None:
    """Noise is counted; an answer that takes too long is given up at the time that was set."""
    node = GeneratedNode(generated(500), page_limit=100)
    node.garbage = [b"\xff\xff", b"<html>"]
    async with serving(node) as host, feed_of(host) as feed:
        await feed.load()
        assert_is(feed, node)
    assert (feed.counts.bad_pages, feed.counts.pages) == (2, 5)
    node.delay = 0.5
    async with serving(node) as host, feed_of(host, patience=0.2) as feed:
        feed._node._timeout = 0.1
        with pytest.raises(ConnectError, match="DEADLINE_EXCEEDED"):
            await feed.load()


async def test_a_height_that_is_not_kept_any_more_is_left_for_the_newest() -> None:
    """The pages' heights are said, and the result is an estimate."""
    node = GeneratedNode(generated(500), page_limit=100)
    node.pages_until_cut = 2
    async with serving(node) as host, feed_of(host) as feed:
        loading = asyncio.create_task(feed.load())
        await until(lambda: feed.counts.failures >= 1)
        node.keeps = 1
        node.block({})
        node.pages_until_cut = None
        followed = await asyncio.wait_for(loading, 20.0)
        standing = followed.standing(feed.now)
    assert (standing.heights, standing.basis) == ((START, START + 1), "estimate")


async def test_more_accounts_than_there_is_room_for_end_it() -> None:
    """Trying again would not help."""
    node = GeneratedNode(generated(500), page_limit=100)
    async with serving(node) as host, feed_of(host, max_subaccounts=120) as feed:
        with pytest.raises(CapacityError, match="max_subaccounts"):
            await asyncio.wait_for(feed.load(), 10.0)


async def test_streams_keep_every_account_and_nothing_is_trusted_before_a_pass_after_them() -> None:
    """Changes, prices, newcomers: the book is the node's after each; time from bytes to verdict is taken."""
    node = GeneratedNode(generated(1_000), page_limit=200)
    async with serving(node) as host, feed_of(host) as feed:
        node.block()  # the streams begin later than the first pass
        async with kept(feed):
            await until(lambda: len(node.readers) == 4)
            node.block()
            await until(lambda: is_trusted(feed))
            assert feed.whole.done is not None
            assert (feed.whole.done.low or 0) >= START + 1
            assert_is(feed, node)
            names = [*node.accounts]
            for place in range(20):
                node.block(
                    {
                        names[7 * place]: Account(-(10**9) * place, {0: (10**9, INDICES[0])}),
                        names[7 * place + 1]: Account(10**6 * place),
                    },
                    {0: 8_993_152_000 - 10**8 * place},
                )
                await asyncio.sleep(0.005)
            await until(lambda: feed.standing().height == node.height and not feed.whole.pending)
            assert_is(feed, node)
            assert is_trusted(feed)
            assert feed.counts.asked >= 39
            assert (feed.counts.reconnects, feed.counts.contradictions) == (0, 0)
            assert sum(feed.counts.verdict.counts) == feed.counts.blocks >= 20 * 4


async def test_a_stream_that_is_cut_leaves_nothing_trusted_until_a_pass_after_the_next_one() -> None:
    """What changed meanwhile is found by it."""
    node = GeneratedNode(generated(600), page_limit=200)
    async with serving(node) as host, feed_of(host) as feed, kept(feed):
        await until(lambda: len(node.readers) == 2 and is_trusted(feed))
        passes = feed.counts.passes
        node.cut_streams()
        await until(lambda: not is_trusted(feed))
        assert "disconnected" in feed.standing().doubts
        names = [*node.accounts]
        node.block({names[5]: Account(77), names[6]: None, ("dydx1new", 0): Account(5)})
        await until(lambda: is_trusted(feed))
        assert feed.counts.passes > passes
        assert feed.counts.reconnects >= 2
        await until(lambda: not feed.whole.pending)
        assert_is(feed, node)


async def test_a_killed_and_restarted_node_is_followed_again() -> None:
    """All of it: channel, streams, pages."""
    node = GeneratedNode(generated(600), page_limit=200)
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        host = await first.enter_async_context(serving(node))
        feed = await stack.enter_async_context(feed_of(host))
        await stack.enter_async_context(kept(feed))
        await until(lambda: len(node.readers) == 2 and is_trusted(feed))
        await first.aclose()
        await until(lambda: not is_trusted(feed))
        node.block({[*node.accounts][9]: Account(1)})
        await stack.enter_async_context(serving(node, int(host.rpartition(":")[2])))
        await until(lambda: is_trusted(feed), 20.0)
        assert_is(feed, node)


async def test_a_contradiction_makes_every_stream_anew() -> None:
    """What the stream says of a block is not what the node has of it."""
    node = GeneratedNode(generated(300), page_limit=200)
    async with serving(node) as host, feed_of(host) as feed, kept(feed):
        await until(lambda: len(node.readers) == 1 and is_trusted(feed))
        name = [*node.accounts][3]
        node.block({name: Account(10**9)})
        node.states[node.height][name] = Account(10**9 + 1)
        node.accounts[name] = Account(10**9 + 1)
        await until(lambda: feed.counts.contradictions == 1)
        await until(lambda: len(node.requests) == 2 and is_trusted(feed))
        assert_is(feed, node)


async def test_noise_on_a_stream_makes_it_anew() -> None:
    node = GeneratedNode(generated(300), page_limit=200)
    async with serving(node) as host, feed_of(host) as feed, kept(feed):
        await until(lambda: len(node.readers) == 1 and is_trusted(feed))
        for reader in node.readers:
            reader.put_nowait(b"\xff\xff\xff")
        await until(lambda: len(node.requests) == 2 and is_trusted(feed))
        assert feed.counts.bad_pages == 1


async def test_a_node_without_streams_is_asked_again_and_again() -> None:
    """Each picture is of one block, and says how old it is."""
    node = GeneratedNode(generated(300), page_limit=200)
    node.streams = False
    async with serving(node) as host, feed_of(host, every=0.2) as feed, kept(feed):
        node.block({[*node.accounts][3]: Account(12)}, {0: 7_000_000_000})
        await until(lambda: feed.standing().height == node.height)
        await until(lambda: feed.standing().basis == "chain")
        assert feed.followed is not None
        assert feed.followed.sessions == []
        assert_is(feed, node)
        assert feed.followed.standing(feed.now + 10.0).doubts == ("old_picture",)


async def test_the_first_stream_alone_brings_all_prices() -> None:
    """The others have one as a pulse; no request filters at the node."""
    node = GeneratedNode(generated(700), page_limit=200)
    async with serving(node) as host, feed_of(host) as feed, kept(feed):
        await until(lambda: len(node.requests) == 3)
    assert sorted(len(one.market_ids) for one in node.requests) == [1, 1, 3]
    assert {tuple(one.clob_pair_id) for one in node.requests} == {(35,)}
    assert sum(len(one.subaccount_ids) for one in node.requests) == 700
    assert STREAM.endswith("StreamOrderbookUpdates")


@pytest.mark.parametrize(
    ("given", "tls", "grpc", "is_tls"),
    [
        ("node.example", None, "node.example:9090", False),
        ("node.example:443", None, "node.example:443", True),
        ("node.example:443", False, "node.example:443", False),
        ("[::1]:9090", True, "[::1]:9090", True),
    ],
)
def test_a_node_is_named_with_or_without_a_port(
    given: str, tls: bool | None, grpc: str, is_tls: bool
) -> None:
    node = node_of(given, tls, 1.0)
    assert (node.grpc, node.tls) == (grpc, is_tls)


@pytest.mark.parametrize("given", ["", "a b", "host:", "host:0", "host:99999", "http://host:1", "a:b:c"])
def test_what_names_no_node_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="HOST"):
        node_of(given, None, 1.0)


async def test_the_verb_lists_who_is_at_risk_and_says_of_which_block() -> None:
    """As a table with progress lines on stderr, and as JSON with every digit."""
    node = GeneratedNode(generated(1_500), page_limit=100)
    async with serving(node) as host:
        status, out, err = await run("scan", "--node", host, "--top", "3")
        assert (status, err) == (0, "")
        assert f"1,500 accounts with {feed_positions(node):,} positions at block {START}" in out
        assert out.count("liquidatable") >= 4
        status, out, err = await run("scan", "--node", host, "--top", "5", "--json")
    told = json.loads(out)
    assert (status, told["complete"], told["doubts"], told["basis"]) == (0, True, [], "chain")
    assert (told["subaccounts"], told["height"], len(told["accounts"])) == (1_500, START, 5)
    assert told["liquidatable"] > 5
    first = told["accounts"][0]
    assert first["verdict"] == "liquidatable"
    account = node.accounts[first["address"], first["number"]]
    assert first["positions"] == len(account.positions)
    assert int(first["net_collateral_quantums"]) < int(first["maintenance_margin_requirement_quantums"])


def feed_positions(node: GeneratedNode) -> int:
    return sum(len(account.positions) for account in node.accounts.values())


async def test_the_verb_follows_the_chain_until_it_is_stopped() -> None:
    """One line of JSON each time that it went on; SIGINT ends it with status 0."""
    node = GeneratedNode(generated(400), page_limit=100)
    async with serving(node) as host, called("scan", "--node", host, "--json", "--follow") as process:
        await line_with(process.stdout, '"complete":true')
        await until(lambda: len(node.readers) == 1)
        node.block({}, {0: 4_000_000_000})
        line = json.loads(await line_with(process.stdout, f'"height":{node.height}'))
        assert line["liquidatable"] > 50
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20.0) == 0
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()


async def test_the_verb_gives_up_with_a_sentence() -> None:
    """Nobody there: status 1; a setting that is wrong: 2."""
    status, _, err = await run("scan", "--node", "127.0.0.1:1", "--patience", "0.2")
    assert status == 1
    assert "no answer for 0.2 s" in err
    assert "Traceback" not in err
    status, _, err = await run("scan", "--node", "http://x")
    assert status == 2
    assert "--node" in err
