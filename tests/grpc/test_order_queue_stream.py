"""A node's book by order, its stream read by v4-proto: equal to a list of orders after each message (C8)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from v4_proto.dydxprotocol.clob.query_pb2 import StreamOrderbookUpdatesResponse

from dydx_perf import Chain
from dydx_perf.orderbook import OrderBook, OrderKey, OrderQueueBook

BUY = 1


class PlainBook:
    """The slow twin: the orders of one market by id, in order of arrival."""

    def __init__(self) -> None:
        self.orders: dict[OrderKey, list[Any]] = {}

    def place(self, key: OrderKey, is_bid: bool, subticks: int, quantums: int) -> None:
        self.orders.pop(key, None)
        self.orders[key] = [is_bid, subticks, quantums, 0]

    def set_filled(self, key: OrderKey, filled: int) -> None:
        if key in self.orders:
            self.orders[key][3] = filled

    def levels(self, is_bid: bool) -> list[tuple[int, int, int]]:
        found: dict[int, list[int]] = {}
        for side, subticks, quantums, filled in self.orders.values():
            if side == is_bid and filled < quantums:
                level = found.setdefault(subticks, [0, 0])
                level[0] += quantums - filled
                level[1] += 1
        return [(price, *found[price]) for price in sorted(found, reverse=is_bid)]

    def queue(self, is_bid: bool, subticks: int) -> list[OrderKey]:
        return [key for key, order in self.orders.items() if order[:2] == [is_bid, subticks]]


def key_of(order_id: Any) -> OrderKey:
    owner = order_id.subaccount_id
    return OrderKey(
        owner.owner, owner.number, order_id.client_id, order_id.order_flags, order_id.clob_pair_id
    )


def apply_update(update: Any, books: dict[int, tuple[OrderQueueBook, PlainBook]]) -> None:
    """One OffChainUpdateV1 to both books of its market."""
    kind = update.WhichOneof("update_message")
    if kind in ("order_place", "order_replace"):
        placed = getattr(update, kind)
        key, order = key_of(placed.order.order_id), placed.order
        book, plain = books[key.clob_pair_id]
        side = "bid" if order.side == BUY else "ask"
        if kind == "order_place":
            assert book.place(key, side, subticks=order.subticks, quantums=order.quantums)
        else:
            old = key_of(placed.old_order_id)
            plain.orders.pop(old, None)
            assert book.replace(old, key, side, subticks=order.subticks, quantums=order.quantums)
        plain.place(key, order.side == BUY, order.subticks, order.quantums)
    elif kind == "order_update":
        key = key_of(update.order_update.order_id)
        book, plain = books[key.clob_pair_id]
        assert book.set_filled(key, update.order_update.total_filled_quantums) == (key in plain.orders)
        plain.set_filled(key, update.order_update.total_filled_quantums)
    else:
        key = key_of(update.order_remove.removed_order_id)
        book, plain = books[key.clob_pair_id]
        assert book.remove(key) == (plain.orders.pop(key, None) is not None)


def apply_message(message: Any, books: dict[int, tuple[OrderQueueBook, PlainBook]], time: float) -> None:
    """Apply all updates of a message, of every execution mode, as they come."""
    for update in message.updates:
        for book, _ in books.values():
            book.next_arrival(time=time, height=update.block_height)
        kind = update.WhichOneof("update_message")
        if kind == "orderbook_update":
            if update.orderbook_update.snapshot:
                for book, plain in books.values():
                    book.begin_snapshot(time=time, height=update.block_height)
                    plain.orders.clear()
            for one in update.orderbook_update.updates:
                apply_update(one, books)
        elif kind == "order_fill":
            for order, filled in zip(update.order_fill.orders, update.order_fill.fill_amounts, strict=True):
                key = key_of(order.order_id)
                book, plain = books[key.clob_pair_id]
                assert book.set_filled(key, filled) == (key in plain.orders)
                plain.set_filled(key, filled)


def require_equal(book: OrderQueueBook, plain: PlainBook) -> None:
    """Levels, and the queue at every best price."""
    assert len(book) == len(plain.orders)
    for is_bid in (True, False):
        levels = plain.levels(is_bid)
        arrays = book.queues.levels(is_bid)
        assert list(zip(*(array.tolist() for array in arrays), strict=True)) == levels
        for price, _, _ in levels[:20]:
            queue = [OrderKey(*key) for key, *_ in book.queues.queue(is_bid, price)]
            assert queue == plain.queue(is_bid, price)


def both(*pairs: int) -> dict[int, tuple[OrderQueueBook, PlainBook]]:
    markets = {market.clob_pair_id: market for market in Chain.sample("v9")}
    return {pair: (OrderQueueBook(markets[pair]), PlainBook()) for pair in pairs}


def shared_samples() -> Path | None:
    """Find the recorded samples, beside the repository or where told."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = (Path(told) if told else Path(__file__).resolve().parents[3] / "shared") / "samples"
    return folder if (folder / "markets.json").is_file() else None


SAMPLES = shared_samples()

if SAMPLES is not None:
    GRPC = SAMPLES / "grpc"

    def recorded() -> Iterator[tuple[float, Any]]:
        """Yield time in seconds and message of the mainnet recording."""
        data = (GRPC / "recorded_stream.bin").read_bytes()
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at + 6 : at + 10], "big")
            message = StreamOrderbookUpdatesResponse()
            message.ParseFromString(data[at + 10 : at + 10 + length])
            yield int.from_bytes(data[at : at + 6], "big") / 1000, message
            at += 10 + length

    def test_the_recorded_books_of_a_node_equal_a_list_of_orders_after_each_message() -> None:
        """Bitcoin and ether; no book is whole before the snapshot, none crosses after it."""
        books = both(0, 1)
        count = 0
        for time, message in recorded():
            apply_message(message, books, time)
            for book, plain in books.values():
                require_equal(book, plain)
                assert (book.time, book.height) == (time, message.updates[-1].block_height)
                if count < 6:
                    assert book.not_whole == ("no_snapshot",)
                    continue
                assert book.not_whole == ()
                assert not book.is_crossed
                assert book.mid_price is not None
            count += 1
        assert count == 35
        bitcoin, ether = (books[pair][0] for pair in (0, 1))
        assert bitcoin.mid_price is not None
        assert ether.mid_price is not None
        assert 99_000 < bitcoin.mid_price < 101_000
        assert 3_000 < ether.mid_price < 4_500
        assert bitcoin.queues.refused == ether.queues.refused == 0

    def test_the_recorded_books_by_level_are_those_by_order() -> None:
        """A book by level fed with the sums: same mid, same depth; the impact price within 1 ppm."""
        books = both(0, 1)
        for time, message in recorded():
            apply_message(message, books, time)
        for book, _ in books.values():
            by_level = OrderBook(book.market)
            sides = [
                list(zip(*(array.tolist() for array in book.queues.levels(bids)[:2]), strict=True))
                for bids in (True, False)
            ]
            assert by_level.levels.replace(sides[0], sides[1], 0.0)
            assert (by_level.mid_price, by_level.spread) == (book.mid_price, book.spread)
            for side in ("bid", "ask"):
                worst = (book.bids() if side == "bid" else book.asks())[-1].price
                assert by_level.depth_to(side, worst) == book.depth_to(side, worst)
                ours, theirs = by_level.impact_price(side), book.impact_price(side)
                assert ours is not None
                assert theirs is not None
                assert abs(ours.price / theirs.price - 1) * 10**6 < 1

    def constructed() -> Iterator[Any]:
        """Yield the messages with every kind of update."""
        data = (GRPC / "constructed_stream.bin").read_bytes()
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            message = StreamOrderbookUpdatesResponse()
            message.ParseFromString(data[at + 4 : at + 4 + length])
            yield message
            at += 4 + length

    def test_every_kind_of_update_is_applied() -> None:
        """Place, remove, update and replace, fills and liquidations, on a message of each."""
        books = both(*[market.clob_pair_id for market in Chain.sample("v9")])
        for message in constructed():
            apply_message(message, books, 1.0)
            for book, plain in books.values():
                require_equal(book, plain)
