"""A node's stream from bytes to numbers: the scanner against v4-proto, alone and with its fields read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dydx_perf.ext.stream import PRICE, StreamScanner

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
