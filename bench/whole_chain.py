"""A whole chain over real gRPC: a node of generated accounts in one process, `ChainFeed` in another.

    python -P bench/whole_chain.py [ACCOUNTS] [BLOCKS]

Everybody is read in pages of 1,000, followed by streams, and moved by blocks: all prices each time, and some
accounts. In the end the book is held against the accounts, and against a rescan. What is told goes into
docs/whole-chain.md by hand.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import books
import grpc
import numpy as np
from conditions import conditions, load
from node_answers import answers, as_message

from dydx_perf.feeds.node_queries import HEIGHT_KEY, queries
from dydx_perf.feeds.wire import message as within
from dydx_perf.feeds.wire import number
from dydx_perf.service.chain_feed import ChainFeed, ChainSettings
from dydx_perf.service.config import Node
from dydx_perf.service.node import node_queries

PAGE = 1_000
START = 50_000_000
CHANGED = 100  # accounts a block
BLOCK = 0.65  # seconds
DIGITS = str.maketrans("0123456789", "qpzry9x8gf")


def names(accounts: int) -> list[str]:
    """Addresses of the chain's alphabet."""
    return ["dydx1" + f"{row:038d}".translate(DIGITS) for row in range(accounts)]


def serialized(integer: int) -> bytes:
    magnitude = abs(integer)
    return bytes([3 if integer < 0 else 2]) + magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")


# ---- the node


class GeneratedNode(grpc.GenericRpcHandler):
    """Pages are encoded once, and anew when one that a block changed is asked for."""

    def __init__(self, accounts: int) -> None:
        self.height = START
        self.given = books.given(accounts)
        self.addresses = names(accounts)
        self.place = {address: row for row, address in enumerate(self.addresses)}
        self.usdc = self.given.usdc.tolist()
        self.first = np.searchsorted(self.given.account, np.arange(accounts + 1)).tolist()
        self.perpetuals = self.given.perpetual_id.tolist()
        self.quantums = self.given.quantums.tolist()
        self.prices = [market.oracle_price.integer for market in books.chain()]
        self.indices = [market.funding_index for market in books.chain()]
        self.random = np.random.default_rng(7)
        self.readers: dict[asyncio.Queue[bytes], tuple[set[int], list[int]]] = {}
        self.cut = 0
        self.snapshots = [self.snapshot(row) for row in range(accounts)]
        self.pages = [self.encoded(at) for at in range(0, accounts, PAGE)]
        self.stale: set[int] = set()

    def encoded(self, first: int) -> bytes:
        from v4_proto.dydxprotocol.subaccounts.query_pb2 import QuerySubaccountAllResponse

        made = QuerySubaccountAllResponse()
        for row in range(first, min(first + PAGE, len(self.usdc))):
            self.fill(made.subaccount.add(), row)
        if first + PAGE < len(self.usdc):
            made.pagination.next_key = str(first + PAGE).encode()
        if not first:
            made.pagination.total = len(self.usdc)
        return made.SerializeToString()

    def fill(self, made: Any, row: int) -> None:
        made.id.owner = self.addresses[row]
        made.margin_enabled = True
        if self.usdc[row]:
            made.asset_positions.add(asset_id=0, quantums=serialized(self.usdc[row]))
        for place in range(self.first[row], self.first[row + 1]):
            made.perpetual_positions.add(
                perpetual_id=self.perpetuals[place],
                quantums=serialized(self.quantums[place]),
                funding_index=serialized(self.indices[self.perpetuals[place]]),
            )

    def page(self, request: bytes) -> bytes:
        from v4_proto.dydxprotocol.subaccounts.query_pb2 import QueryAllSubaccountRequest

        place = int(QueryAllSubaccountRequest.FromString(request).pagination.key or b"0") // PAGE
        if place in self.stale:
            self.stale.discard(place)
            self.pages[place] = self.encoded(place * PAGE)
        return self.pages[place]

    def one(self, request: bytes) -> bytes:
        from v4_proto.dydxprotocol.subaccounts.query_pb2 import (
            QueryGetSubaccountRequest,
            QuerySubaccountResponse,
        )

        made = QuerySubaccountResponse()
        self.fill(made.subaccount, self.place[QueryGetSubaccountRequest.FromString(request).owner])
        return made.SerializeToString()

    def markets(self, method: str) -> bytes:
        import v4_proto.dydxprotocol.clob.query_pb2 as clob
        import v4_proto.dydxprotocol.perpetuals.query_pb2 as perpetuals
        import v4_proto.dydxprotocol.prices.query_pb2 as prices

        name = method.rpartition("/")[2]
        if name == "AllPerpetuals":
            made: Any = perpetuals.QueryAllPerpetualsResponse()
            for market in books.chain():
                one = made.perpetual.add()
                own = market.perpetual_id
                one.params.id = one.params.market_id = one.params.liquidity_tier = own
                one.params.ticker, one.params.atomic_resolution = market.ticker, market.atomic_resolution
                one.params.market_type = 1
                one.funding_index = serialized(market.funding_index)
                one.open_interest = serialized(market.open_interest)
        elif name == "AllLiquidityTiers":
            made = perpetuals.QueryAllLiquidityTiersResponse()
            for market in books.chain():
                made.liquidity_tiers.add(
                    id=market.perpetual_id,
                    name=market.ticker,
                    initial_margin_ppm=market.initial_margin_ppm,
                    maintenance_fraction_ppm=market.maintenance_fraction_ppm,
                    impact_notional=10**10,
                    open_interest_lower_cap=market.perpetual.open_interest_lower_cap,
                    open_interest_upper_cap=market.perpetual.open_interest_upper_cap,
                )
        elif name == "AllMarketPrices":
            made = prices.QueryAllMarketPricesResponse()
            for market, price in zip(books.chain(), self.prices, strict=True):
                made.market_prices.add(id=market.perpetual_id, exponent=market.price_exponent, price=price)
        elif name == "ClobPairAll":
            made = clob.QueryClobPairAllResponse()
            for market in books.chain():
                one = made.clob_pair.add(
                    id=market.perpetual_id,
                    step_base_quantums=1_000_000,
                    subticks_per_tick=100_000,
                    quantum_conversion_exponent=-9,
                    status=1,
                )
                one.perpetual_clob_metadata.perpetual_id = market.perpetual_id
        else:
            query = next(one for one in queries(parameters=True) if one.method == method)
            made = as_message(query, answers()[query.name])
        return made.SerializeToString()

    def service(self, details: Any) -> Any:
        method = details.method
        if method.endswith("StreamOrderbookUpdates"):
            return grpc.unary_stream_rpc_method_handler(self.stream)

        async def answer(request: bytes, context: Any) -> bytes:
            if self.cut and method.endswith("SubaccountAll"):
                self.cut -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            await context.send_initial_metadata([(HEIGHT_KEY, str(self.height))])
            if method.endswith("SubaccountAll"):
                return self.page(request)
            return self.one(request) if method.endswith("/Subaccount") else self.markets(method)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        from v4_proto.dydxprotocol.clob.query_pb2 import (
            StreamOrderbookUpdatesRequest,
            StreamOrderbookUpdatesResponse,
        )

        wanted = StreamOrderbookUpdatesRequest.FromString(request)
        rows = [self.place[one.owner] for one in wanted.subaccount_ids]
        markets = list(wanted.market_ids)
        message = StreamOrderbookUpdatesResponse()
        for market in markets:
            self.priced(message, market, 102)
        head = number(1, self.height) + number(2, 102)
        every = b"".join(within(1, head + self.snapshots[row]) for row in rows)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.readers[queue] = set(rows), markets
        yield every + message.SerializeToString()
        while True:
            yield await queue.get()

    def snapshot(self, row: int) -> bytes:
        """What a snapshot says of an account, as the field of an update."""
        from v4_proto.dydxprotocol.clob.query_pb2 import StreamOrderbookUpdatesResponse

        made = StreamOrderbookUpdatesResponse()
        self.told(made, row, 102)
        return within(6, made.updates[0].subaccount_update.SerializeToString())

    def told(self, message: Any, row: int, mode: int) -> None:
        body = message.updates.add(block_height=self.height, exec_mode=mode).subaccount_update
        body.subaccount_id.owner, body.snapshot = self.addresses[row], mode == 102
        for place in range(self.first[row], self.first[row + 1]):
            body.updated_perpetual_positions.add(
                perpetual_id=self.perpetuals[place], quantums=self.quantums[place]
            )
        body.updated_asset_positions.add(asset_id=0, quantums=abs(self.usdc[row]))

    def priced(self, message: Any, market: int, mode: int) -> None:
        body = message.updates.add(block_height=self.height, exec_mode=mode).price_update
        body.market_id, body.snapshot = market, mode == 102
        body.price.id, body.price.exponent, body.price.price = market, -6, self.prices[market]

    def block(self, move: float) -> None:
        """All prices move by about so much, and some accounts deposit or withdraw."""
        from v4_proto.dydxprotocol.clob.query_pb2 import StreamOrderbookUpdatesResponse

        self.height += 1
        moves = self.random.normal(0, move, len(self.prices))
        self.prices = [max(int(p * (1 + m)), 1) for p, m in zip(self.prices, moves, strict=True)]
        changed = self.random.integers(0, len(self.usdc), CHANGED).tolist()
        for row in changed:
            self.usdc[row] += int(self.random.integers(-(10**7), 10**7))
            self.stale.add(row // PAGE)
            self.snapshots[row] = self.snapshot(row)
        for queue, (rows, markets) in self.readers.items():
            message = StreamOrderbookUpdatesResponse()
            for row in dict.fromkeys(changed):
                if row in rows:
                    self.told(message, row, 7)
            for market in markets:
                self.priced(message, market, 7)
            queue.put_nowait(message.SerializeToString())


async def serve(accounts: int) -> None:
    """Serve it, and do what comes on stdin: block MOVE, cut N, state."""
    node = GeneratedNode(accounts)
    server = grpc.aio.server(
        options=[("grpc.max_send_message_length", 1 << 28), ("grpc.max_receive_message_length", 10 << 20)]
    )
    server.add_generic_rpc_handlers((node,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what, _, value = line.strip().partition(" ")
        if what == "block":
            node.block(float(value))
        elif what == "cut":
            node.cut = int(value)
        else:
            np.save(value, np.array(node.usdc, np.int64))
        print(node.height, flush=True)
    await server.stop(0)


# ---- who reads it


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def quantile(of: list[float], part: float) -> float:
    return sorted(of)[min(int(len(of) * part), len(of) - 1)]


async def measure(accounts: int, blocks: int) -> None:
    """Load, follow, move, and check."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", __file__, "--serve", str(accounts),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None

    async def tell(line: str) -> int:
        child.stdin.write(f"{line}\n".encode())  # type: ignore[union-attr]
        return int(await child.stdout.readline())  # type: ignore[union-attr]

    port = int(await child.stdout.readline())
    before = resident()
    async with node_queries(Node(grpc=f"127.0.0.1:{port}", tls=False, timeout=30.0), lambda *_: None) as node:
        feed = ChainFeed(node, ChainSettings(every=10_000.0))
        wall, used = time.perf_counter(), time.process_time()
        followed = await feed.load()
        wall, used = time.perf_counter() - wall, time.process_time() - used
        whole = followed.whole
        assert whole.done is not None
        done = whole.done
        print(
            f"load: {done.accounts:,} accounts, {done.positions:,} positions, {done.pages:,} pages, "
            f"{whole.done.bytes / 1e6:,.1f} MB in {wall:.2f} s ({whole.done.pages / wall:,.0f} pages/s), "
            f"{used:.2f} s of our processor; resident {(resident() - before) / 1e6:,.0f} MB more, "
            f"of them the book {whole.book.memory / 1e6:,.0f} MB"
        )
        tended = time.process_time()
        whole.book.tend(1 << 30)
        print(f"index: {time.process_time() - tended:.2f} s of our processor to build, once")
        keeping = asyncio.create_task(feed.keep())
        began = time.perf_counter()
        while not followed.sessions or feed.standing().doubts:
            await tell("block 0")
            await asyncio.sleep(BLOCK)
        assert whole.done is not None
        print(
            f"follow: {len(followed.sessions)} streams, trusted after {time.perf_counter() - began:.1f} s, "
            f"resident {(resident() - before) / 1e6:,.0f} MB more; "
            f"{len(whole.book.liquidatable()):,} liquidatable"
        )
        for kind, move, count in (("calm", 0.0005, blocks), ("crash", 0.02, max(blocks // 6, 1))):
            await moved(feed, tell, kind, move, count)
        print(f"bytes to verdict, all streams: {buckets(feed)}; asked for {feed.counts.asked:,} accounts")
        await tell("cut 5")
        passes, failures = feed.counts.passes, feed.counts.failures
        for session in followed.sessions[:1]:
            feed._cuts[session].set_result(0.1)
        began = time.perf_counter()
        while feed.counts.passes == passes or feed.standing().doubts:
            await tell("block 0.0005")
            await asyncio.sleep(BLOCK)
        print(
            f"a stream made anew and 5 pages refused ({feed.counts.failures - failures} times tried again): "
            f"trusted after {time.perf_counter() - began:.1f} s"
        )
        while feed.whole.pending:
            await asyncio.sleep(0.05)
        await checked(feed, tell)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    child.stdin.close()
    await child.wait()


async def moved(feed: ChainFeed, tell: Any, kind: str, move: float, count: int) -> None:
    """Let blocks come, and take the time from each block's bytes to its verdicts."""
    times: list[float] = []
    edges = feed.counts.crossings
    add = feed.counts.verdict.add

    def noted(nanoseconds: int) -> None:
        times.append(nanoseconds / 1e6)
        add(nanoseconds)

    feed.counts.verdict.add = noted  # type: ignore[method-assign]
    slowest: list[float] = []
    for _ in range(count):
        held = len(times)
        height = await tell(f"block {move}")
        began = time.perf_counter()
        while feed.standing().height != height or feed.whole.pending:
            await asyncio.sleep(0.001)
        slowest.append((time.perf_counter() - began) * 1e3)
        assert len(times) > held
        feed.whole.book.tend(20_000)
        await asyncio.sleep(max(BLOCK / 4 - slowest[-1] / 1e3, 0))
    feed.counts.verdict.add = add  # type: ignore[method-assign]
    print(
        f"{kind}: {count} blocks of {len(books.chain())} prices and {CHANGED} accounts, "
        f"{feed.counts.crossings - edges:,} edges; bytes to verdicts: median "
        f"{quantile(times, 0.5):.3f} ms, p99 {quantile(times, 0.99):.2f}, worst {max(times):.2f}; until "
        f"nobody is in doubt: median {quantile(slowest, 0.5):.0f} ms, worst {max(slowest):.0f}"
    )


def buckets(feed: ChainFeed) -> str:
    """Parts of all messages within some bounds."""
    told = dict(feed.counts.verdict.buckets())
    return ", ".join(
        f"{told[b] / told['+Inf']:.2%} within {float(b) * 1e3:g} ms" for b in ("0.001", "0.005", "0.02")
    )


async def checked(feed: ChainFeed, tell: Any) -> None:
    """Hold every balance against the node's, and every verdict against a rescan."""
    path = Path("build") / f"whole_chain_{os.getpid()}.npy"
    path.parent.mkdir(exist_ok=True)
    await tell(f"state {path}")
    theirs = np.load(path).tolist()
    path.unlink()
    book = feed.whole.book
    for row, address in enumerate(names(len(theirs))):
        slot = book._store.slots.get((address, 0))
        assert slot is not None
        assert book._store.inputs(slot)[0] == theirs[row]
    verdicts = book.liquidatable()
    assert book.rescan() == []
    assert book.liquidatable() == verdicts
    print(f"checked: {len(theirs):,} balances are the node's, {len(verdicts):,} verdicts those of a rescan")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        for key, value in conditions().items():
            print(f"{key}: {value}")
        print(f"load: {load()}")
        asyncio.run(
            measure(*(int(given) for given in (*sys.argv[1:3], *("1000000", "60")[len(sys.argv) - 1 :])))
        )
