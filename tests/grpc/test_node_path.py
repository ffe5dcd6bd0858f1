"""A node's messages go a short way or a long one, and nobody can tell which (C3, C4)."""

from __future__ import annotations

import gc
import os
import random
import sys
from typing import Any

import pytest
from node_answers import ADDRESS, account, leverage, picture
from node_stream_cases import ALICE, IDS, MAKER, H, Message, filled, liquidated, set_order, snapshot

from dydx_perf import Book, FrameError
from dydx_perf.errors import ObserverError
from dydx_perf.feeds.fullnode import FullNodeSession
from dydx_perf.feeds.node_stream import StreamSubscription

BOB = (ADDRESS, 1)
NAMES = (ALICE, BOB)
# A long search by hand: make test DYDX_PERF_EXAMPLES=deep ARGS="-k node_path".
DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


def nothing(message: object, now: object) -> None:
    """The short way of a session that has none."""


class Side:
    """A session, its book, and who watches it."""

    def __init__(self, is_short: bool, indexed: bool) -> None:
        chain = picture(height=H - 50).chain()
        self.book = Book(chain, max_subaccounts=4, max_positions=40, indexed=indexed)
        self.session = FullNodeSession(
            StreamSubscription(NAMES, ("ETH-USD",)), into=self.book, market_ids=IDS, max_orders=12
        )
        if not is_short:
            self.session._receive = nothing  # type: ignore[assignment]
        self.heard: list[str] = []
        self.raises = False

    def hear(self, crossing: Any) -> None:
        self.heard.append(repr(crossing))
        if self.raises:
            raise RuntimeError("no")

    def call(self, name: str, *args: Any) -> Any:
        """What a call gives, or raises."""
        try:
            return list(getattr(self.session, name)(*args))
        except FrameError as error:
            return repr(error)
        except ObserverError as error:
            return [repr(error), list(error.crossings)]

    def state(self, now: float) -> list[Any]:
        session, orders = self.session, self.session.order_book("ETH-USD")
        assert orders is not None
        queues = orders.queues
        return [
            self.book.to_bytes(),
            [session.risk(*name, now) for name in NAMES],
            session.height,
            session.next_deadline,
            [
                (one.name, one.height, one.quantums, one.usdc, one.sign, one.chain_height, one.confirmed_at)
                for one in session.accounts
            ],
            session._price_heights,
            [queues.orders_of(*name) for name in (*NAMES, MAKER)],
            [[part.tolist() for part in queues.levels(side)] for side in (True, False)],
            (queues.arrival, queues.time, queues.height, queues.unknown, queues.refused, queues.placed_again),
            queues.not_whole,
            self.heard,
        ]


def some_message(rng: random.Random, height: int) -> Message:
    """A message of a few updates, most of them of the kinds that are many."""
    if rng.random() < 0.03:
        return snapshot(height, usdc=rng.choice((0, 7)))
    if rng.random() < 0.05:
        return rng.choice(
            (
                filled(height, rng.choice((0, 7, 102)), 10**8, 2 * 10**8),
                liquidated(height, rng.choice((ALICE, MAKER)), deleveraging=rng.random() < 0.5),
            )
        )
    made = Message()
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind, mode = rng.random(), rng.choice((7, 7, 7, 0, 102))
        at = height if rng.random() < 0.995 else height + rng.choice((-1, 1))
        if kind < 0.3:
            market, exponent = rng.choice(((0, -5), (1, -6), (38, -12), (77, -6), (1, -7), (2**20, -6)))
            exponent = exponent if rng.random() < 0.98 else rng.choice((-1, -33))
            price = rng.choice(
                (10 ** rng.randint(5, 12), rng.getrandbits(34), 0 if rng.random() < 0.02 else 1)
            )
            made.price(at, market, price, exponent, mode=mode if mode != 102 else 0)
        elif kind < 0.6:
            sizes = {
                market: rng.choice((0, 1, -1, 10**9, -(10**8), 2**63 - 1)) if rng.random() < 0.2 else -(10**9)
                for market in rng.sample((0, 1, 35, 99), rng.choice((0, 1, 1, 2)))
                if market != 99 or rng.random() < 0.05
            }
            usdc = rng.choice((None, None, None, 0, rng.getrandbits(34)))
            name = rng.choice((ALICE, BOB, MAKER))
            made.account(at, usdc, sizes, mode=mode if mode != 102 else 0, name=name)
        else:
            body = made.book(at, mode).updates.add()
            client, who = rng.randint(1, 14), ALICE if rng.random() < 0.03 else MAKER
            side, price = rng.choice((1, 2) * 60 + (3,)), rng.randint(1, 4) * 100_000
            size = rng.choice((10**6, 10**9, 2**63 - 1, 2**64 - 1))
            pick = rng.random()
            if pick < 0.5:
                set_order(body.order_place.order, client, side, size, price, who)
                body.order_place.placement_status = 1
            elif pick < 0.75:
                order = body.order_update
                order.order_id.subaccount_id.owner = who[0]
                order.order_id.client_id, order.order_id.clob_pair_id = (
                    client,
                    rng.choice((1, 1, 1, 0, 2**20)),
                )
                order.total_filled_quantums = rng.choice((0, 10**5, 2**64 - 1))
            elif pick < 0.9:
                order_id = body.order_remove.removed_order_id
                order_id.subaccount_id.owner, order_id.client_id, order_id.clob_pair_id = who[0], client, 1
            elif pick < 0.97:
                set_order(body.order_replace.order, client, side, size, price, who)
                old = body.order_replace.old_order_id
                old.subaccount_id.owner, old.client_id, old.clob_pair_id = MAKER[0], client + 1, 1
    return made


def some_answer(rng: random.Random, height: int) -> Any:
    """A node's answer about some accounts and all markets; now and then about none, or of long ago."""
    names = rng.sample(NAMES, rng.randint(0, 2))
    held = {
        name: (
            account(*name, rng.choice((0, -(10**9), 10**10)), dict.fromkeys((0, 1), (-(10**9), -5))),
            leverage(),
        )
        for name in names
    }
    return picture(held, height=height + rng.choice((0, 0, 1, -3)))


@pytest.mark.parametrize("seed", range(2_000 if DEEP else 24))
def test_two_sessions_of_which_one_has_no_short_way_are_the_same(seed: int) -> None:
    """Events, books, risks, deadlines and what observers heard, after any sequence of calls."""
    rng = random.Random(seed)
    short, long = sides = [Side(is_short, seed % 3 == 2) for is_short in (True, False)]
    height, now = H, 0.0

    def both(name: str, *args: Any) -> None:
        first, second = (side.call(name, *args) for side in sides)
        assert repr(first) == repr(second), (name, args)

    both("start", now)
    both("receive", snapshot(height, usdc=0).data(), now)
    for _ in range(150):
        now += rng.choice((0, 0.01, 0.5, 3))
        height += rng.random() < 0.5
        pick = rng.random()
        if long.session._phase == "closed" and pick < 0.5:
            both("start", now)
            both("receive", snapshot(height, usdc=rng.choice((0, 5))).data(), now)
        elif pick < 0.8:
            message = some_message(rng, height).data()
            if rng.random() < 0.01:
                message = message[:-1]
            both("receive", rng.choice((bytes, bytearray, memoryview))(message), now)
        elif pick < 0.88:
            both("node_answered", some_answer(rng, height), now)
        elif pick < 0.92:
            both("tick", now)
        elif pick < 0.94:
            for side in sides:
                side.raises = rng.random() < 0.3 if side is short else short.raises
        elif pick < 0.96:
            for side in sides:
                for name in NAMES:
                    if name in side.book:
                        side.book.watch(name, side.hear)
        elif pick < 0.97 and ALICE in short.book:
            for side in sides:
                side.book.remove(ALICE)
        elif pick < 0.98:
            for side in sides:
                side.book.chain["BTC-USD"].set_oracle_price_integer(9_000_000_000)
            if rng.random() < 0.5:
                both("receive", some_message(rng, height).data(), now)
            assert [repr(c) for c in short.book.catch_up()] == [repr(c) for c in long.book.catch_up()]
        else:
            both("disconnected", now)
        if rng.random() < 0.3:
            assert short.state(now) == long.state(now)
    assert short.state(now) == long.state(now)
    assert long.session._hot.feed.messages == 0
    assert short.session._hot.feed.messages > 5


def test_most_messages_of_a_quiet_account_go_the_short_way() -> None:
    """A test of the test: prices, orders and sizes of positions are all taken there."""
    side = Side(is_short=True, indexed=False)
    session, feed = side.session, side.session._hot.feed
    session.start(0)
    session.receive(snapshot(usdc=0).data(), 1)
    first = Message().account(H, 0, {}, mode=102, name=BOB)
    session.receive(first.data(), 1)
    plain = [
        Message().price(H + 1, 1, 3_104_000_000, -6).price(H + 1, 0, 9_000_000_000, -5),
        Message().place(H + 1, 0, 5, 1, 10**9, 3_000_000_000),
        Message().account(H + 1, None, {1: 7 * 10**8}),
        Message().account(H + 2, 0, {1: 6 * 10**8}).price(H + 2, 1, 3_105_000_000, -6),
        filled(H + 2, 0, 10**8, 10**8),
    ]
    for count, message in enumerate(plain, 1):
        session.receive(message.data(), 2)
        assert feed.messages == count
    assert side.book.subaccount(ALICE).positions["ETH-USD"].quantums == 6 * 10**8
    assert session.height == H + 2
    orders = session.order_book("ETH-USD")
    assert orders is not None
    assert len(orders) == 2
    for message in (
        Message().account(H + 3, 5, {}),
        Message().account(H + 3, None, {0: 5}),
        Message().place(H + 3, 0, 5, 1, 10**9, 3_000_000_000, name=ALICE),
        Message().price(H + 3, 1, 31_050, -1),
        filled(H + 3, 7, 10**8, 10**8),
    ):
        session.receive(message.data(), 3)
        assert feed.messages == len(plain)


def test_nothing_is_allocated_for_a_message_of_a_block_that_was_told() -> None:
    """20,000 rounds of all kinds and the risk after each: no block of memory more than before."""
    side = Side(is_short=True, indexed=False)
    session = side.session
    session.start(0)
    session.receive(snapshot(usdc=0).data(), 1)
    messages = [
        Message().price(H, 1, 3_104_000_000, -6).price(H, 0, 9_000_000_000, -5).data(),
        Message().place(H, 0, 5, 1, 10**9, 3_000_000_000).data(),
        Message().account(H, None, {1: 7 * 10**8}).data(),
        filled(H, 0, 10**8, 10**8).data(),
    ]
    session.receive(Message().price(H, 1, 3_104_000_000, -6).data(), 1.0)
    receive, book, handle = session.receive, side.book, side.book.handle(ALICE)

    def run(rounds: int) -> None:
        for _ in range(rounds):
            for message in messages:
                receive(message, 1.0)
                book[handle]

    run(100)
    taken = session._hot.feed.messages
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        run(20_000)
        assert sys.getallocatedblocks() - before < 10
    finally:
        gc.enable()
    assert session._hot.feed.messages - taken == 80_000
