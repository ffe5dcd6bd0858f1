"""What a node's message, or its answer, changes of a book is one change (B3, C3)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from node_answers import ADDRESS, account, leverage, picture
from node_stream_cases import ALICE, H, Message, answer, live, session, snapshot

from dydx_perf import Book
from dydx_perf.errors import WriterError
from dydx_perf.feeds.fullnode import FullNodeSession
from dydx_perf.feeds.node_stream import StreamSubscription

BOB, CAROL = (ADDRESS, 1), ("dydx1carol", 0)
NAMES = (ALICE, BOB, CAROL)


class Witness:
    """Looks at the whole book whenever it is told of a crossing."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.seen: list[tuple[Any, Any, Any]] = []

    def hear(self, crossing: Any) -> None:
        self.seen.append((crossing, figures(self.book), self.book.chain["ETH-USD"].oracle_price))


def figures(book: Book) -> dict[Any, Any]:
    return {name: book[name] for name in book}


def liquidatable(book: Book) -> set[Any]:
    return {name for name in book if book.subaccount(name).risk.is_liquidatable}


def test_an_edge_within_a_message_is_seen_by_nobody() -> None:
    """An account that would be liquidatable at the old price, or before its other half, is not."""
    made = session()
    made.start(0)
    made.receive(snapshot(usdc=0, eth=10**9).data(), 1)
    witness = Witness(made.book)
    made.book.watch(ALICE, witness.hear)
    # Its debts first, in BTC at the price of before; then the price; then the rest of its positions.
    crowded = Message().account(H + 1, 0, {0: -(10**9), 1: 10**9}).price(H + 1, 0, 1_000, -5)
    crowded.account(H + 1, 0, {0: 0})
    events = made.receive(crowded.data(), 2)
    assert witness.seen == []
    assert [event for event in events if hasattr(event, "below")] == []
    down = Message().account(H + 2, 0, {1: -(10**9)}).price(H + 2, 1, 3_000_000_000, -6)
    made.receive(down.data(), 3)
    ((crossing, seen, price),) = witness.seen
    assert crossing.below
    assert seen == figures(made.book)
    assert price.integer == 3_000_000_000


@pytest.mark.parametrize("seed", range(20))
def test_crossings_are_the_difference_of_two_whole_looks(seed: int) -> None:
    """Whatever a message says of three accounts and two prices, and in which order."""
    rng = random.Random(seed)
    made = session(subscription=StreamSubscription(NAMES, ("ETH-USD",)))
    made.start(0)
    first = snapshot(usdc=0)
    for name in (BOB, CAROL):
        first.account(H, 0, {}, mode=102, name=name)
    made.receive(first.data(), 1)
    witness = Witness(made.book)
    for name in NAMES:
        made.book.watch(name, witness.hear)
    edges = 0
    for height in range(H + 1, H + 40):
        message = Message()
        for _ in range(rng.randint(1, 6)):
            if rng.random() < 0.5:
                sizes = {
                    market: rng.randint(-3, 3) * 10**8 for market in rng.sample((0, 1), rng.randint(1, 2))
                }
                message.account(height, rng.choice((None, 0)), sizes, name=rng.choice(NAMES))
            else:
                message.price(height, *rng.choice(((0, 10 ** rng.randint(7, 11), -5), (1, 10**9, -6))))
        before = liquidatable(made.book)
        witness.seen.clear()
        events = [event for event in made.receive(message.data(), 2) if hasattr(event, "below")]
        after = liquidatable(made.book)
        assert {(c.address, c.number): c.below for c in events} == {
            name: name in after for name in before ^ after
        }
        assert [crossing for crossing, *_ in witness.seen] == events
        assert all(seen == figures(made.book) for _, seen, _ in witness.seen)
        edges += len(events)
    assert edges > 5


def test_a_message_given_from_within_an_observer_changes_nothing() -> None:
    """The book is being changed; the same message is taken afterwards."""
    made = session()
    made.start(0)
    made.receive(snapshot(usdc=0).data(), 1)
    orders = made.order_book("ETH-USD")
    assert orders is not None
    second = Message().place(H + 2, 0, 5, 1, 10**9, 3_000_000_000).price(H + 2, 1, 77, -6).data()
    refused: list[Exception] = []

    def hear(crossing: Any) -> None:
        before = len(orders), orders.queues.arrival, made.height, figures(made.book)
        with pytest.raises(WriterError) as caught:
            made.receive(second, 2)
        assert before == (len(orders), orders.queues.arrival, made.height, figures(made.book))
        refused.append(caught.value)

    made.book.watch(ALICE, hear)
    made.receive(Message().account(H + 1, 0, {1: -(10**9)}).data(), 2)
    assert len(refused) == 1
    assert made.next_deadline is not None  # the stream was not given up
    made.receive(second, 3)
    assert made.height == H + 2
    assert len(orders) == 2
    assert "disconnected" not in made.risk(*ALICE, 3).doubts


def test_an_account_that_does_not_fit_stops_neither_the_others_nor_the_prices() -> None:
    """It is in doubt, and comes in by the next message for which there is room."""
    chain = picture(height=H - 50).chain()
    book = Book(chain, max_subaccounts=3, max_positions=2)
    made = FullNodeSession(StreamSubscription(NAMES), into=book, market_ids={"BTC-USD": 0, "ETH-USD": 1})
    made.start(0)
    first = Message().price(H, 1, 3_103_400_000, -6, mode=102)
    for name in NAMES:
        first.account(H, 0, {}, mode=102, name=name)
    made.receive(first.data(), 1)
    crowd = Message().account(H + 1, 0, {0: 1, 1: 1}).account(H + 1, 0, {1: 7}, name=BOB)
    made.receive(crowd.price(H + 1, 1, 3_000_000_000, -6).data(), 2)
    assert chain["ETH-USD"].oracle_price.integer == 3_000_000_000
    assert book.subaccount(ALICE).positions.keys() == {"BTC-USD", "ETH-USD"}
    assert "over_capacity" in made.risk(*BOB, 2).doubts
    assert made.risk(*BOB, 2).verdict == "unknown"
    assert not book.subaccount(BOB).positions
    room = Message().account(H + 2, 0, {0: 0, 1: 0}).account(H + 2, 0, {1: 7}, name=BOB)
    made.receive(room.data(), 3)
    assert "over_capacity" not in made.risk(*BOB, 3).doubts
    assert book.subaccount(BOB).positions["ETH-USD"].quantums == 7


def test_a_nodes_answer_is_one_change() -> None:
    """Prices and accounts of one height: nobody sees the new price with the old account."""
    made = live()
    witness = Witness(made.book)
    made.book.watch(ALICE, witness.hear)
    debt = account(*ALICE, -(10**9), {1: (10**9, -1_234_567)})
    high = answer(H + 1, -(10**9))
    assert high.accounts == (ALICE,)
    made.node_answered(picture({ALICE: (debt, leverage())}, height=H + 1), 2)
    assert witness.seen == []
    broke = picture({ALICE: (account(*ALICE, -(10**12), {1: (10**9, -1_234_567)}), leverage())}, height=H + 2)
    made.node_answered(broke, 3)
    ((crossing, seen, _),) = witness.seen
    assert crossing.below
    assert seen == figures(made.book)
