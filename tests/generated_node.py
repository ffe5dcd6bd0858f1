"""A node with generated accounts over real gRPC: pages, queries at any height, streams, faults on command.

It knows nothing of the library but the names of its queries: answers are built by v4-proto, and the state is
plain Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from node_answers import answers, as_message, serialized
from v4_proto.cosmos.base.query.v1beta1.pagination_pb2 import PageRequest
from v4_proto.dydxprotocol.clob.query_pb2 import (
    StreamOrderbookUpdatesRequest,
    StreamOrderbookUpdatesResponse,
)
from v4_proto.dydxprotocol.subaccounts.query_pb2 import (
    QueryAllSubaccountRequest,
    QueryGetSubaccountRequest,
    QuerySubaccountAllResponse,
    QuerySubaccountResponse,
)

from dydx_perf.feeds.node_queries import NodeQuery, queries

Name = tuple[str, int]
HEIGHT_KEY = "x-cosmos-block-height"
SUBACCOUNT_ALL = "/dydxprotocol.subaccounts.Query/SubaccountAll"
SUBACCOUNT = "/dydxprotocol.subaccounts.Query/Subaccount"
STREAM = "/dydxprotocol.clob.Query/StreamOrderbookUpdates"
START = 50_000_000
#: perpetual id: price exponent, and the price of the small chain of node_answers
PRICES = {0: (-5, 8_993_152_000), 1: (-6, 3_103_400_000), 35: (-12, 7_500_000_000)}
INDICES = {0: 9_876_543, 1: -1_234_567, 35: 0}
DIGITS = "023456789acdefghjklmnpqrstuvwxyz"


@dataclass
class Account:
    """What the chain has of an account."""

    usdc: int
    positions: dict[int, tuple[int, int]] = field(default_factory=dict)  # quantums, funding index


def address(number: int) -> str:
    """An address of the length that dYdX's have."""
    source = random.Random(number)
    return "dydx1" + "".join(source.choice(DIGITS) for _ in range(38))


def generated(count: int, seed: int = 1) -> dict[Name, Account]:
    """Accounts from well margined to liquidatable; in the order of their names, as a store has them."""
    source = random.Random(seed)
    made = {}
    for number in range(count):
        account = Account(0)
        for perpetual in source.sample((0, 1), source.randrange(3)):
            notional = source.randint(10, 20_000) * 10**6
            exponent, price = PRICES[perpetual]
            resolution = (-10, -9)[perpetual]
            quantums = notional * 10 ** -(resolution + exponent + 6) // price * source.choice((1, -1))
            account.positions[perpetual] = quantums, INDICES[perpetual] - source.randint(0, 1000)
            account.usdc += (-1 if quantums > 0 else 1) * notional + int(notional * source.uniform(0.0, 0.3))
        if not account.positions:
            account.usdc = source.randint(1, 10**9)
        made[address(number + seed * 10**7), number % 3] = account
    return dict(sorted(made.items()))


class GeneratedNode(grpc.GenericRpcHandler):
    """A chain of three markets and these accounts, and what is to go wrong.

    Attributes
    ----------
    keeps : int
        Blocks whose state is kept.
    tells_height, counts, streams : bool
        Whether answers tell their height, the first page how many accounts there are, and there is a stream.
    pages_until_cut : int or None
        So many pages, then every call ends UNAVAILABLE until `mended` is set.
    garbage : list of bytes
        Answers given instead of the next pages.
    delay : float
        Seconds before each answer.
    asked : list of (method, height)
    """

    def __init__(self, accounts: dict[Name, Account], *, page_limit: int = 1_000) -> None:
        self.height = START
        self.accounts = accounts
        self.states: dict[int, dict[Name, Account]] = {START: dict(accounts)}
        self.prices = dict(PRICES)
        self.price_states = {START: dict(PRICES)}
        self.page_limit = page_limit
        self.keeps = 1_000
        self.tells_height = self.counts = self.streams = True
        self.pages_until_cut: int | None = None
        self.garbage: list[bytes] = []
        self.delay = 0.0
        self.asked: list[tuple[str, int | None]] = []
        self.readers: dict[asyncio.Queue[bytes | None], tuple[set[Name], set[int]]] = {}
        self.requests: list[StreamOrderbookUpdatesRequest] = []
        self._bodies = answers()

    # -- the chain goes on

    def block(
        self, changes: dict[Name, Account | None] | None = None, prices: dict[int, int] | None = None
    ) -> bytes:
        """Decide the next block, tell every stream, and return what one that asked for all would get."""
        self.height += 1
        for name, account in ({} if changes is None else changes).items():
            if account is None:
                self.accounts.pop(name)
            else:
                self.accounts[name] = account
        for perpetual, price in ({} if prices is None else prices).items():
            self.prices[perpetual] = self.prices[perpetual][0], price
        if changes:
            self.accounts = dict(sorted(self.accounts.items()))
        self.states[self.height] = dict(self.accounts) if changes else self.states[self.height - 1]
        self.price_states[self.height] = dict(self.prices)
        self.states.pop(self.height - self.keeps, None)
        for reader, (names, markets) in self.readers.items():
            told = {name: account for name, account in (changes or {}).items() if name in names}
            reader.put_nowait(self._message(told, markets))
        return self._message(changes or {}, set(self.prices))

    def _message(self, changes: dict[Name, Account | None], markets: set[int]) -> bytes:
        message = StreamOrderbookUpdatesResponse()
        for name, account in changes.items():
            self._account(message.updates.add(block_height=self.height, exec_mode=7), name, account, False)
        for market in sorted(markets):
            self._price(message.updates.add(block_height=self.height, exec_mode=7), market, False)
        return message.SerializeToString()

    def _account(self, update: Any, name: Name, account: Account | None, snapshot: bool) -> None:
        body = update.subaccount_update
        body.subaccount_id.owner, body.subaccount_id.number = name
        body.snapshot = snapshot
        held = {} if account is None else account.positions
        before = self.states.get(self.height - 1, {}).get(name)
        closed = () if snapshot or before is None else before.positions.keys() - held.keys()
        for perpetual, (quantums, _) in held.items():
            body.updated_perpetual_positions.add(perpetual_id=perpetual, quantums=quantums)
        for perpetual in closed:
            body.updated_perpetual_positions.add(perpetual_id=perpetual, quantums=0)
        usdc = 0 if account is None else account.usdc
        if usdc or not snapshot:
            body.updated_asset_positions.add(asset_id=0, quantums=abs(usdc))

    def _price(self, update: Any, market: int, snapshot: bool) -> None:
        body = update.price_update
        exponent, price = self.prices[market]
        body.market_id, body.snapshot = market, snapshot
        body.price.id, body.price.exponent, body.price.price = market, exponent, price

    def snapshot(self, names: list[Name], markets: list[int]) -> bytes:
        message = StreamOrderbookUpdatesResponse()
        update = message.updates.add(block_height=self.height, exec_mode=102)
        update.orderbook_update.snapshot = True
        for name in names:
            self._account(
                message.updates.add(block_height=self.height, exec_mode=102),
                name,
                self.accounts.get(name),
                True,
            )
        for market in markets:
            self._price(message.updates.add(block_height=self.height, exec_mode=102), market, True)
        return message.SerializeToString()

    def cut_streams(self) -> None:
        """End every stream, as a node that goes away does."""
        for reader in self.readers:
            reader.put_nowait(None)

    # -- what it answers

    def service(self, details: Any) -> Any:
        if details.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        method = details.method

        async def answer(request: bytes, context: Any) -> bytes:
            asked = dict(context.invocation_metadata()).get(HEIGHT_KEY)
            self.asked.append((method, None if asked is None else int(asked)))
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.pages_until_cut is not None:
                if self.pages_until_cut == 0:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the node went away")
                self.pages_until_cut -= method == SUBACCOUNT_ALL
            height = self.height if asked is None else int(asked)
            if height not in self.states:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"failed to load state at height {height}"
                )
            if self.tells_height:
                await context.send_initial_metadata([(HEIGHT_KEY, str(height))])
            if method == SUBACCOUNT_ALL:
                return self.garbage.pop(0) if self.garbage else self.page(request, height)
            if method == SUBACCOUNT:
                return self.one(request, height)
            return self._market(method, height)

        return grpc.unary_unary_rpc_method_handler(answer)

    def page(self, request: bytes, height: int) -> bytes:
        """A page of all accounts at a height, after the name that its key says."""
        wanted: PageRequest = QueryAllSubaccountRequest.FromString(request).pagination
        state = self.states[height]
        names = [*state]
        key = wanted.key.decode()
        first = 0 if not key else next((i for i, name in enumerate(names) if key_of(name) >= key), len(names))
        limit = min(wanted.limit or 100, self.page_limit)
        made = QuerySubaccountAllResponse()
        for name in names[first : first + limit]:
            fill(made.subaccount.add(), name, state[name])
        if first + limit < len(names):
            made.pagination.next_key = key_of(names[first + limit]).encode()
        if wanted.count_total and self.counts:
            made.pagination.total = len(names)
        return made.SerializeToString()

    def one(self, request: bytes, height: int) -> bytes:
        wanted = QueryGetSubaccountRequest.FromString(request)
        name = wanted.owner, wanted.number
        made = QuerySubaccountResponse()
        fill(made.subaccount, name, self.states[height].get(name, Account(0)))
        return made.SerializeToString()

    def _market(self, method: str, height: int) -> bytes:
        query = next(query for query in queries(parameters=True) if query.method == method)
        return self.market_answer(query, height)

    def market_answer(self, query: NodeQuery, height: int) -> bytes:
        body = self._bodies[query.name]
        if query.name == "market_prices":
            rows = [
                {"id": market, "exponent": exponent, "price": str(price)}
                for market, (exponent, price) in self.price_states[height].items()
            ]
            body = {"market_prices": rows}
        return bytes(as_message(query, body).SerializeToString())

    async def _stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        if not self.streams:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Not implemented")
        wanted = StreamOrderbookUpdatesRequest.FromString(request)
        assert not wanted.filter_orders_by_subaccount_id
        self.requests.append(wanted)
        names = [(one.owner, one.number) for one in wanted.subaccount_ids]
        reader: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.readers[reader] = set(names), set(wanted.market_ids)
        try:
            yield self.snapshot(names, list(wanted.market_ids))
            while (message := await reader.get()) is not None:
                yield message
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the node went away")
        finally:
            self.readers.pop(reader, None)


def key_of(name: Name) -> str:
    """The key of an account in the store."""
    return f"{name[0]}/{name[1]}"


def fill(made: Any, name: Name, account: Account) -> None:
    """Write an account as the chain's message."""
    made.id.owner, made.id.number = name
    made.margin_enabled = True
    if account.usdc:
        made.asset_positions.add(asset_id=0, quantums=serialized(account.usdc))
    for perpetual, (quantums, index) in sorted(account.positions.items()):
        made.perpetual_positions.add(
            perpetual_id=perpetual, quantums=serialized(quantums), funding_index=serialized(index)
        )


@contextlib.asynccontextmanager
async def serving(node: GeneratedNode, port: int = 0) -> AsyncIterator[str]:
    """Serve it; yields host:port."""
    options = [
        ("grpc.max_send_message_length", 1 << 28),
        ("grpc.max_receive_message_length", 10 << 20),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((node,))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(0.1)
