"""A node's stream from bytes to numbers, and on to books and risk: against v4-proto with its fields read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dydx_perf import Book, Chain, Market
from dydx_perf.ext.stream import PRICE, StreamScanner
from dydx_perf.feeds.fullnode import FullNodeSession
from dydx_perf.feeds.node_stream import StreamSubscription

query_pb2 = pytest.importorskip("v4_proto.dydxprotocol.clob.query_pb2")
UNIT = "a message"
CALLS = 200
OWNER = "dydx1q869gyjwanxhw5xdgfg67pg3y8gjeuzth6u6zl"
#: of one update of one record
GOAL_NS = 150


def price(response: Any, market: int) -> None:
    body = response.updates.add(block_height=66_624_144, exec_mode=7).price_update
    body.market_id = body.price.id = market
    body.price.exponent, body.price.price = -6, 3_104_100_000 + market


def order(response: Any, client: int) -> None:
    update = response.updates.add(block_height=66_624_144)
    body = update.orderbook_update.updates.add().order_update
    body.order_id.subaccount_id.owner, body.order_id.client_id = OWNER, client
    body.order_id.clob_pair_id, body.total_filled_quantums = 1, 10**8 + client


def account(response: Any, number: int) -> None:
    body = response.updates.add(block_height=66_624_144, exec_mode=7).subaccount_update
    body.subaccount_id.owner, body.subaccount_id.number = OWNER, number
    for perpetual in range(3):
        body.updated_perpetual_positions.add(perpetual_id=perpetual, quantums=-(10**9) * number)
    body.updated_asset_positions.add(quantums=4_588_452_830 + number)


MESSAGES: dict[str, tuple[Callable[[Any, int], None], int]] = {
    "1 price": (price, 1),
    "1 order update": (order, 1),
    "20 order updates": (order, 20),
    "10 subaccounts x 3 positions": (account, 10),
    "300 prices": (price, 300),
}


def built(name: str) -> bytes:
    make, count = MESSAGES[name]
    response = query_pb2.StreamOrderbookUpdatesResponse()
    for number in range(count):
        make(response, number)
    data: bytes = response.SerializeToString()
    return data


def fields(data: bytes) -> list[tuple[Any, ...]]:
    """Read with v4-proto what risk and books need."""
    found: list[tuple[Any, ...]] = []
    for update in query_pb2.StreamOrderbookUpdatesResponse.FromString(data).updates:
        kind = update.WhichOneof("update_message")
        if kind == "price_update":
            body = update.price_update
            found.append((PRICE, body.market_id, body.price.id, body.price.exponent, body.price.price))
        elif kind == "orderbook_update":
            for one in update.orderbook_update.updates:
                body = one.order_update
                key = body.order_id
                who = key.subaccount_id
                found.append(
                    (
                        3,
                        (who.owner, who.number, key.client_id, key.order_flags, key.clob_pair_id),
                        body.total_filled_quantums,
                    )
                )
        else:
            body = update.subaccount_update
            found.append((9, body.subaccount_id.owner, body.subaccount_id.number))
            found += [(10, one.perpetual_id, one.quantums) for one in body.updated_perpetual_positions]
            found += [(11, one.asset_id, one.quantums) for one in body.updated_asset_positions]
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_scan(row: Callable[..., None], name: str) -> None:
    """Bytes to C records, all of the message checked."""
    data, scanner = built(name), StreamScanner()
    scanner.scan(data)
    assert [record for *_, records in scanner.updates() for record in records] == fields(data)

    def run() -> None:
        for _ in range(CALLS):
            scanner.scan(data)

    goal = GOAL_NS if name.startswith("1 ") else None
    row(f"Stream: {name}", "scan", UNIT, run, CALLS, "exact", ours=True, goal_ns=goal)


@pytest.mark.parametrize("name", MESSAGES)
def test_tuples(row: Callable[..., None], name: str) -> None:
    """Bytes to Python tuples of every field."""
    data, scanner = built(name), StreamScanner()

    def run() -> None:
        for _ in range(CALLS):
            scanner.scan(data)
            scanner.updates()

    row(f"Stream: {name}", "scan and updates()", UNIT, run, CALLS, "exact")


@pytest.mark.parametrize("name", MESSAGES)
def test_from_string(row: Callable[..., None], name: str) -> None:
    """What v4-proto's own parser takes to build its message."""
    data = built(name)
    parse = query_pb2.StreamOrderbookUpdatesResponse.FromString

    def run() -> None:
        for _ in range(CALLS):
            parse(data)

    row(f"Stream: {name}", "v4-proto FromString", UNIT, run, CALLS, "no field read")


@pytest.mark.parametrize("name", MESSAGES)
def test_from_string_and_fields(row: Callable[..., None], name: str) -> None:
    """And to read the fields from it, as a user would."""
    data = built(name)

    def run() -> None:
        for _ in range(CALLS // 10):
            fields(data)

    row(f"Stream: {name}", "v4-proto, fields read", UNIT, run, CALLS // 10, "exact")


# -- to books and risk

SECTION = "A node's stream, with the exact risk of 20 positions after every message"
MARKETS = 20
WATCHED = ("dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art", 0)
HEIGHT = 66_624_144
FEED = 20_000


def stream(count: int) -> list[bytes]:
    """Orders placed, filled and removed, prices and sizes of positions, over blocks of 200 messages."""
    made = []
    for number in range(count):
        response = query_pb2.StreamOrderbookUpdatesResponse()
        height, market = HEIGHT + number // 200, number * 7 % MARKETS
        match number % 10:
            case 0 | 1 | 2:
                body = response.updates.add(block_height=height, exec_mode=7).price_update
                body.market_id = body.price.id = market
                body.price.exponent, body.price.price = -6, 3_104_100_000 + number % 997 * 1_000
            case 3:
                body = response.updates.add(block_height=height, exec_mode=7).subaccount_update
                body.subaccount_id.owner = WATCHED[0]
                body.updated_perpetual_positions.add(
                    perpetual_id=market, quantums=10**8 + number % 991 * 10**6
                )
            case 4 | 5 | 6:
                update = response.updates.add(block_height=height).orderbook_update.updates.add().order_place
                key = update.order.order_id
                key.subaccount_id.owner, key.client_id, key.clob_pair_id = OWNER, number % 5_000, market % 4
                update.order.side, update.order.quantums = 1 + number % 2, 10**9
                update.order.subticks = 3_000_000 + (number % 2) * 100_000 + number % 50 * 1_000
                update.placement_status = 1
            case 7 | 8:
                order = response.updates.add(block_height=height).orderbook_update.updates.add().order_update
                key = order.order_id
                key.subaccount_id.owner, key.client_id = OWNER, (number - 4) % 5_000
                key.clob_pair_id, order.total_filled_quantums = (number - 4) * 7 % MARKETS % 4, 10**8
            case _:
                gone = response.updates.add(block_height=height).orderbook_update.updates.add().order_remove
                key = gone.removed_order_id
                key.subaccount_id.owner, key.client_id = OWNER, (number - 5) % 5_000
                key.clob_pair_id = (number - 5) * 7 % MARKETS % 4
        data: bytes = response.SerializeToString()
        made.append(data)
    return made


def first_message() -> bytes:
    """Snapshot of empty books, of an account with 20 positions and no balance, and of the prices."""
    response = query_pb2.StreamOrderbookUpdatesResponse()
    books = response.updates.add(block_height=HEIGHT, exec_mode=102).orderbook_update
    books.snapshot = True
    body = response.updates.add(block_height=HEIGHT, exec_mode=102).subaccount_update
    body.snapshot, body.subaccount_id.owner = True, WATCHED[0]
    for market in range(MARKETS):
        body.updated_perpetual_positions.add(perpetual_id=market, quantums=10**8)
        one = response.updates.add(block_height=HEIGHT, exec_mode=102).price_update
        one.snapshot, one.market_id, one.price.id = True, market, market
        one.price.exponent, one.price.price = -6, 3_104_100_000
    data: bytes = response.SerializeToString()
    return data


class Session:
    """The public session on a book."""

    def __init__(self) -> None:
        chain = Chain(
            [
                Market(
                    f"M{number}-USD",
                    perpetual_id=number,
                    clob_pair_id=number,
                    atomic_resolution=-9,
                    price_exponent=-6,
                    oracle_price="3104.1",
                    initial_margin_ppm=50_000,
                    maintenance_fraction_ppm=600_000,
                )
                for number in range(MARKETS)
            ]
        )
        self.book = Book(chain, max_subaccounts=4, max_positions=64)
        self.session = FullNodeSession(
            StreamSubscription((WATCHED,), tuple(f"M{number}-USD" for number in range(4))),
            into=self.book,
            market_ids={market.ticker: market.perpetual_id for market in chain},
        )
        self.connect()

    def connect(self) -> None:
        self.session.disconnected(1000.0)
        self.session.start(1000.0)
        self.session._height = None
        self.session.receive(first_message(), 1000.0)
        self.session.tick(1000.0)

    def run(self, messages: list[bytes]) -> None:
        receive, book, handle = self.session.receive, self.book, self.book.handle(WATCHED)
        for message in messages:
            receive(message, 1000.0)
            book[handle]


class Fields:
    """What a user would write: v4-proto's messages, dictionaries, and the figures of what changed."""

    def __init__(self) -> None:
        self.prices = dict.fromkeys(range(MARKETS), 3_104_100_000)
        self.sizes = dict.fromkeys(range(MARKETS), 10**8)
        self.orders: dict[Any, list[int]] = {}
        self.figures: dict[int, tuple[int, int, int]] = {}
        self.sums = [0, 0, 0]
        for market in range(MARKETS):
            self.compute(market)

    def compute(self, market: int) -> None:
        quantums = self.sizes[market]
        value = abs(quantums) * self.prices[market] // 10**9
        margin = -(-value * 50_000 // 10**6)
        new = (value if quantums > 0 else -value, margin, -(-margin * 600_000 // 10**6))
        old = self.figures.get(market, (0, 0, 0))
        for place in range(3):
            self.sums[place] += new[place] - old[place]
        self.figures[market] = new

    def receive(self, data: bytes) -> None:
        for update in query_pb2.StreamOrderbookUpdatesResponse.FromString(data).updates:
            kind = update.WhichOneof("update_message")
            if kind == "price_update" and update.exec_mode == 7:
                self.prices[update.price_update.market_id] = update.price_update.price.price
                self.compute(update.price_update.market_id)
            elif kind == "subaccount_update" and update.exec_mode == 7:
                for one in update.subaccount_update.updated_perpetual_positions:
                    self.sizes[one.perpetual_id] = one.quantums
                    self.compute(one.perpetual_id)
            elif kind == "orderbook_update":
                for one in update.orderbook_update.updates:
                    self.order(one)

    def order(self, one: Any) -> None:
        match one.WhichOneof("update_message"):
            case "order_place":
                order = one.order_place.order
                self.orders[self.key(order.order_id)] = [order.side, order.subticks, order.quantums, 0]
            case "order_update":
                held = self.orders.get(self.key(one.order_update.order_id))
                if held is not None:
                    held[3] = one.order_update.total_filled_quantums
            case "order_remove":
                self.orders.pop(self.key(one.order_remove.removed_order_id), None)

    @staticmethod
    def key(order_id: Any) -> tuple[Any, ...]:
        who = order_id.subaccount_id
        return who.owner, who.number, order_id.client_id, order_id.order_flags, order_id.clob_pair_id

    def risk(self) -> tuple[int, int, int]:
        return self.sums[0], self.sums[1], self.sums[2]


def test_receive(row: Callable[..., None]) -> None:
    """Bytes to decode to book to exact risk: each message goes the short way."""
    messages, ours, plain = stream(FEED), Session(), Fields()
    for message in messages:
        ours.session.receive(message, 1000.0)
        plain.receive(message)
        risk = ours.book[WATCHED]
        assert (risk.nc, risk.imr, risk.mmr) == plain.risk()
    assert ours.session._hot.feed.messages == FEED
    for pair in range(4):
        book = ours.session.order_book(f"M{pair}-USD")
        assert book is not None
        assert len(book) == sum(key[4] == pair for key in plain.orders)

    def run() -> None:
        ours.connect()
        ours.run(messages)

    row(
        SECTION, "FullNodeSession and Book", UNIT, run, FEED, "exact, checked whole", ours=True, goal_ns=1_000
    )


def test_receive_by_fields(row: Callable[..., None]) -> None:
    """The same with v4-proto and dictionaries; no levels of the order books are kept."""
    messages = stream(FEED // 10)

    def run() -> None:
        one = Fields()
        for message in messages:
            one.receive(message)
            one.risk()

    row(SECTION, "v4-proto, fields read, ints", UNIT, run, FEED // 10, "exact, no levels")
