"""Responses of a full node's stream under construction, and a session that they go to."""

from __future__ import annotations

from typing import Any

from node_answers import ADDRESS, HEIGHT, account, leverage, picture
from v4_proto.dydxprotocol.clob.query_pb2 import StreamOrderbookUpdatesResponse

from dydx_perf import Book
from dydx_perf.feeds.fullnode import FullNodeSession
from dydx_perf.feeds.node_stream import StreamSubscription

ALICE, MAKER = (ADDRESS, 0), ("dydx1q869gyjwanxhw5xdgfg67pg3y8gjeuzth6u6zl", 0)
IDS = {"BTC-USD": 0, "ETH-USD": 1, "BOME-USD": 38}
H = HEIGHT


class Message:
    """A response under construction."""

    def __init__(self) -> None:
        self.response = StreamOrderbookUpdatesResponse()

    def update(self, height: int, mode: int) -> Any:
        return self.response.updates.add(block_height=height, exec_mode=mode)

    def price(self, height: int, market: int, price: int, exponent: int, *, mode: int = 7) -> Message:
        body = self.update(height, mode).price_update
        body.market_id, body.snapshot = market, mode == 102
        body.price.id, body.price.price, body.price.exponent = market, price, exponent
        return self

    def account(
        self,
        height: int,
        usdc: int | None,
        positions: dict[int, int],
        *,
        mode: int = 7,
        name: tuple[str, int] = ALICE,
    ) -> Message:
        body = self.update(height, mode).subaccount_update
        body.subaccount_id.owner, body.subaccount_id.number = name
        body.snapshot = mode == 102
        for perpetual, quantums in positions.items():
            body.updated_perpetual_positions.add(perpetual_id=perpetual, quantums=quantums)
        if usdc is not None:
            body.updated_asset_positions.add(asset_id=0, quantums=usdc)
        return self

    def book(self, height: int, mode: int, *, snapshot: bool = False) -> Any:
        body = self.update(height, mode).orderbook_update
        body.snapshot = snapshot
        body.SetInParent()
        return body

    def place(
        self,
        height: int,
        mode: int,
        client: int,
        side: int,
        quantums: int,
        subticks: int,
        *,
        snapshot: bool = False,
        name: tuple[str, int] = MAKER,
    ) -> Message:
        body = self.book(height, mode, snapshot=snapshot)
        placed = body.updates.add().order_place
        set_order(placed.order, client, side, quantums, subticks, name)
        placed.placement_status = 1
        return self

    def data(self) -> bytes:
        return self.response.SerializeToString()


def set_order(
    order: Any, client: int, side: int, quantums: int, subticks: int, name: tuple[str, int] = MAKER
) -> None:
    order.order_id.subaccount_id.owner, order.order_id.subaccount_id.number = name
    order.order_id.client_id, order.order_id.clob_pair_id = client, 1
    order.side, order.quantums, order.subticks = side, quantums, subticks


def snapshot(height: int = H, usdc: int = 2_104_651_550, eth: int = 10**9) -> Message:
    """A whole snapshot: books, the account, prices."""
    made = Message().place(height, 102, 900, 1, 12 * 10**8, 3_103_000_000, snapshot=True)
    made.account(height, usdc, {1: eth} if eth else {}, mode=102)
    return (
        made.price(height, 0, 8_993_152_000, -5, mode=102)
        .price(height, 1, 3_103_400_000, -6, mode=102)
        .price(height, 38, 7_500_000_000, -12, mode=102)
    )


def answer(height: int = H, usdc: int = -2_104_651_550, eth: int = 10**9, **more: Any) -> Any:
    body = account(*ALICE, usdc, {1: (eth, -1_234_567)} if eth else {})
    return picture({ALICE: (body, leverage())}, height=height, **more)


def session(**options: Any) -> FullNodeSession:
    chain = picture(height=H - 50).chain()
    book = Book(chain, max_subaccounts=4, max_positions=40)
    subscription = options.pop("subscription", StreamSubscription((ALICE,), ("ETH-USD",)))
    return FullNodeSession(subscription, into=book, market_ids=IDS, **options)


def live(**options: Any) -> FullNodeSession:
    """A session after its snapshot and a node's answer."""
    made = session(**options)
    made.start(0)
    made.receive(snapshot().data(), 1)
    made.node_answered(answer(), 1)
    return made


def only(events: Any, kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def filled(height: int, mode: int, amount: int, total: int) -> Message:
    made = Message()
    fill = made.update(height, mode).order_fill
    match = fill.clob_match.match_orders
    set_order(fill.orders.add(), 900, 1, 12 * 10**8, 3_103_000_000)
    set_order(fill.orders.add(), 11, 2, amount, 3_100_000_000, ALICE)
    fill.fill_amounts.extend([total, amount])
    match.taker_order_id.CopyFrom(fill.orders[1].order_id)
    match.fills.add(fill_amount=amount).maker_order_id.CopyFrom(fill.orders[0].order_id)
    return made


def liquidated(height: int, name: tuple[str, int], *, deleveraging: bool = False) -> Message:
    made = Message()
    fill = made.update(height, 7).order_fill
    if deleveraging:
        match = fill.clob_match.match_perpetual_deleveraging
        match.fills.add(fill_amount=5 * 10**8).offsetting_subaccount_id.owner = MAKER[0]
    else:
        match = fill.clob_match.match_perpetual_liquidation
        match.clob_pair_id, match.total_size = 1, 18 * 10**8
        set_order(fill.orders.add(), 900, 1, 2 * 10**9, 3_010_000_000)
        fill.fill_amounts.append(5 * 10**8)
        match.fills.add(fill_amount=5 * 10**8).maker_order_id.CopyFrom(fill.orders[0].order_id)
    match.liquidated.owner, match.liquidated.number = name
    match.perpetual_id = 1
    return made
