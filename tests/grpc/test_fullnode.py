"""A full node's stream as v4-proto builds its messages: what is final, signs, snapshots (C3, C11)."""

from __future__ import annotations

from typing import Any

import pytest
from node_answers import ADDRESS, answers
from node_stream_cases import (
    ALICE,
    MAKER,
    H,
    Message,
    answer,
    filled,
    liquidated,
    live,
    only,
    session,
    snapshot,
)
from stream_samples import SAMPLES, constructed, recorded
from v4_proto.dydxprotocol.clob.query_pb2 import (
    StreamOrderbookUpdatesRequest,
)

from dydx_perf import Book, Chain, FrameError, InputError
from dydx_perf.errors import ObserverError
from dydx_perf.feeds.events import (
    AccountSnapshot,
    AskNode,
    BlockSeen,
    FillSeen,
    LiquidationSeen,
    LiquidationTried,
    OrderChanged,
    Reconnect,
    Send,
    Subscribed,
    TradeSeen,
    TrustChanged,
)
from dydx_perf.feeds.fullnode import FullNodeSession
from dydx_perf.feeds.node_stream import NodeDeadlines, StreamSubscription

# -- the request


def test_the_request_asks_for_books_accounts_and_prices_and_never_for_the_nodes_filter() -> None:
    """Field 4 can kill the node: no request has it, whatever is subscribed to."""
    for books in ((), ("BTC-USD",), ("BTC-USD", "ETH-USD", "BOME-USD")):
        for accounts in ((), (ALICE,), (ALICE, (ADDRESS, 128_000))):
            for prices in (None, ("ETH-USD",)):
                made = session(subscription=StreamSubscription(accounts, books, prices))
                (send,) = made.start(0)
                assert isinstance(send, Send)
                request = StreamOrderbookUpdatesRequest.FromString(send.data)
                assert request.SerializeToString() == send.data
                assert "filter_orders_by_subaccount_id" not in [f.name for f, _ in request.ListFields()]
                assert list(request.market_ids) == ([0, 1, 38] if prices is None else [1])
                assert [(one.owner, one.number) for one in request.subaccount_ids] == list(accounts)
                assert list(request.clob_pair_id) == [made.book.chain[name].clob_pair_id for name in books]


def test_no_stream_is_without_a_pulse() -> None:
    """At least one price is asked for: prices change in almost every block."""
    with pytest.raises(InputError, match="pulse"):
        session(subscription=StreamSubscription((ALICE,), (), ()))
    with pytest.raises(InputError, match="market_ids"):
        session(subscription=StreamSubscription((ALICE,), (), ("DOGE-USD",)))


# -- snapshots


def test_an_account_is_unknown_until_snapshot_and_sign_are_there() -> None:
    """Never empty, and never safe, before."""
    made = session()
    assert made.risk(*ALICE, 0).verdict == "unknown"
    made.start(0)
    assert set(made.risk(*ALICE, 0).doubts) == {"no_snapshot", "disconnected"}
    events = made.receive(snapshot().data(), 1)
    assert only(events, Subscribed)
    assert only(events, AccountSnapshot) == [AccountSnapshot(*ALICE, H, True)]
    assert only(events, AskNode) == [AskNode((ALICE,), True, "snapshot")]
    watched = made.risk(*ALICE, 1)
    assert (watched.verdict, watched.doubts, watched.risk) == ("unknown", ("unknown_sign",), None)
    events = made.node_answered(answer(), 2)
    assert TrustChanged(f"account {ADDRESS}/0", (), ("unknown_sign",)) in events
    watched = made.risk(*ALICE, 2)
    assert (watched.verdict, watched.basis, watched.height, watched.bound) == ("safe", "chain", H, None)
    assert watched.risk == answer().subaccount(*ALICE, answer().chain()).risk


def test_what_comes_before_the_snapshot_is_dropped() -> None:
    """Deltas of the running block are of a state that is not known."""
    made = session()
    made.start(0)
    early = Message().place(H - 1, 0, 1, 1, 10**9, 3_000_000_000).price(H, 1, 77, -6).account(H, 5, {1: 7})
    assert made.receive(early.data(), 0.1) == []
    assert made.height is None
    assert "disconnected" in made.risk(*ALICE, 0.2).doubts
    made.receive(snapshot().data(), 1)
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_103_400_000
    book = made.order_book("ETH-USD")
    assert book is not None
    assert len(book) == 1


def test_a_repeated_snapshot_replaces_the_books_and_confirms_the_accounts() -> None:
    """The same balance again needs no new sign: nothing changed since."""
    made = live()
    made.receive(Message().place(H, 0, 5, 2, 10**9, 3_200_000_000).data(), 2)
    book = made.order_book("ETH-USD")
    assert book is not None
    assert len(book) == 2
    made.receive(snapshot(H + 5).data(), 3)
    assert len(book) == 1
    assert made.risk(*ALICE, 3).verdict == "safe"
    made.receive(snapshot(H + 6, usdc=9).data(), 4)
    assert made.risk(*ALICE, 4).doubts == ("unknown_sign",)


def test_after_a_new_connection_a_sign_is_asked_for_again() -> None:
    """The same number may be another balance."""
    made = live()
    (event, *_) = made.disconnected(2, 14, "unavailable")
    assert event == Reconnect("unavailable (status 14)", 0.5)
    assert "disconnected" in made.risk(*ALICE, 2).doubts
    made.start(3)
    assert {"disconnected", "no_snapshot"} <= set(made.risk(*ALICE, 3).doubts)
    assert made.receive(Message().price(H + 1, 1, 5, -6).data(), 3) == []
    made.receive(snapshot(H + 2).data(), 4)
    assert made.risk(*ALICE, 4).doubts == ("unknown_sign",)
    made.node_answered(answer(H + 2), 5)
    assert made.risk(*ALICE, 5).verdict == "safe"


def test_an_account_that_came_to_be_between_subscription_and_snapshot_waits_for_a_node() -> None:
    """A delta without a snapshot starts from nothing only if a node agrees."""
    made = session()
    made.start(0)
    without = Message().price(H, 1, 3_103_400_000, -6, mode=102)
    made.receive(without.data(), 1)
    assert made.risk(*ALICE, 1).doubts == ("no_snapshot",)
    made.receive(Message().account(H + 1, 500, {}).data(), 2)
    assert made.risk(*ALICE, 2).doubts == ("no_snapshot",)
    made.node_answered(answer(H, 0, 0), 2)
    assert "no_snapshot" in made.risk(*ALICE, 2).doubts  # older than what the stream has seen
    made.node_answered(answer(H + 1, 500, 0), 3)
    assert made.risk(*ALICE, 3).verdict == "safe"
    assert made.book[ALICE].nc == 500


# -- what is final


def test_only_what_the_chain_has_decided_moves_prices_and_positions() -> None:
    """An optimistic one is passed over, whatever it says."""
    made = live()
    for mode in (0, 1, 2, 3, 4, 100, 101):
        made.receive(Message().price(H, 1, 77, -6, mode=mode).account(H, 1, {1: 5}, mode=mode).data(), 2)
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_103_400_000
    assert made.risk(*ALICE, 2).verdict == "safe"
    events = made.receive(Message().price(H + 1, 1, 3_104_100_000, -6).data(), 2)
    assert only(events, BlockSeen) == [BlockSeen(H + 1, "")]
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_104_100_000
    assert made.height == H + 1


def test_a_price_past_the_funding_index_makes_an_estimate_with_a_bound() -> None:
    """A funding tick may lie between them; the next answer makes it the chain's again."""
    made = live()
    made.receive(Message().price(H + 1, 1, 3_104_100_000, -6).data(), 2)
    watched = made.risk(*ALICE, 2)
    assert (watched.verdict, watched.basis) == ("safe", "estimate")
    assert watched.bound is not None
    assert watched.bound.quote_quantums
    later = made.risk(*ALICE, 3 * 3600).bound  # two whole hours after the answer, and one more
    assert later is not None
    assert later.quote_quantums == 3 * watched.bound.quote_quantums


def test_a_price_is_of_the_price_market_and_not_of_the_perpetual() -> None:
    """BOME-USD is perpetual 35 and has the price market 38."""
    made = live()
    made.receive(Message().price(H + 1, 38, 8_000_000_000, -12).price(H + 1, 35, 1, -6).data(), 2)
    assert made.book.chain["BOME-USD"].oracle_price.integer == 8_000_000_000


def test_a_price_in_finer_units_than_the_books_is_in_doubt() -> None:
    """Nothing is rounded; coarser units are no question."""
    made = live()
    made.receive(Message().price(H + 1, 1, 31_041, -1).data(), 2)
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_104_100_000
    made.receive(Message().price(H + 2, 1, 31_041_000_001, -7).data(), 2)
    assert made.risk(*ALICE, 2).doubts == ("no_price",)
    made.receive(Message().price(H + 3, 1, 31_041_000_000, -7).data(), 2)
    assert made.risk(*ALICE, 2).verdict == "safe"


# -- signs


def test_a_changed_balance_keeps_the_last_whole_state_until_a_node_answers() -> None:
    """Whatever the sign was before."""
    made = live()
    before = made.book[ALICE]
    events = made.receive(Message().account(H + 1, 4_588_452_830, {1: 18 * 10**8}).data(), 2)
    assert only(events, AskNode) == [AskNode((ALICE,), False, "unknown_sign")]
    watched = made.risk(*ALICE, 2)
    assert (watched.verdict, watched.doubts, watched.risk) == ("unknown", ("unknown_sign",), before)
    assert watched.bound is None or watched.bound.quote_quantums is None
    made.node_answered(answer(H), 3)  # of before the change: decides nothing
    assert made.risk(*ALICE, 3).doubts == ("unknown_sign",)
    made.node_answered(answer(H + 1, -4_588_452_830, 18 * 10**8), 4)
    assert made.risk(*ALICE, 4).verdict == "safe"
    assert made.book.subaccount(ALICE).usdc_quantums == -4_588_452_830


def test_a_question_that_nobody_answers_is_asked_again() -> None:
    """At its deadline, not before."""
    made = live(deadlines=NodeDeadlines(ask_again=5, silence=100, halt=100))
    made.receive(Message().account(H + 1, 7, {}).data(), 2)
    assert made.next_deadline == 7
    assert made.tick(6.9) == []
    assert only(made.tick(7), AskNode) == [AskNode((ALICE,), False, "unknown_sign")]
    assert made.next_deadline == 12


def test_a_balance_of_zero_needs_no_sign() -> None:
    """Nothing borrowed and nothing owned: the stream alone tells it all, but for leverage."""
    made = live()
    events = made.receive(Message().account(H + 1, 0, {1: 0}).data(), 2)
    assert only(events, AskNode) == []
    watched = made.risk(*ALICE, 2)
    assert (watched.verdict, watched.basis, watched.doubts) == ("safe", "estimate", ())
    assert made.book[ALICE].nc == 0
    assert watched.bound is not None
    assert watched.bound.quote_quantums == 0


def test_positions_alone_keep_the_sign() -> None:
    """The balance did not change: it is not among what changed."""
    made = live()
    made.receive(Message().account(H + 1, None, {1: 9 * 10**8}).data(), 2)
    assert made.risk(*ALICE, 2).verdict == "safe"
    held = made.book.subaccount(ALICE)
    assert (held.usdc_quantums, held.positions["ETH-USD"].quantums) == (-2_104_651_550, 9 * 10**8)


def test_an_answer_ahead_of_its_stream_holds_what_comes_after() -> None:
    """Updates up to its height are in it already; the next one counts."""
    made = live()
    made.node_answered(answer(H + 3, -7, 5), 2)
    made.receive(Message().account(H + 1, 900, {1: 8 * 10**8}).price(H + 1, 1, 3_100_000_000, -6).data(), 3)
    assert made.risk(*ALICE, 3).verdict == "safe"
    assert made.book.subaccount(ALICE).usdc_quantums == -7
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_100_000_000
    made.receive(Message().account(H + 4, 0, {1: 6}).data(), 4)
    assert made.book.subaccount(ALICE).positions["ETH-USD"].quantums == 6


def test_a_node_and_its_stream_that_contradict_each_other_are_not_trusted() -> None:
    """An update was lost: doubt, and a new connection."""
    made = live()
    made.receive(Message().price(H + 2, 1, 3_103_400_000, -6).data(), 2)
    events = made.node_answered(answer(H + 1, -5, 10**9), 3)
    assert only(events, Reconnect)
    assert {"not_reconciled", "disconnected"} <= set(made.risk(*ALICE, 3).doubts)
    made.start(4)
    made.receive(snapshot(H + 3, usdc=5).data(), 5)
    made.node_answered(answer(H + 3, -5, 10**9), 6)
    assert made.risk(*ALICE, 6).verdict == "safe"


def test_answers_of_no_known_height_decide_nothing() -> None:
    """They could be of before the change."""
    made = session()
    made.start(0)
    made.receive(snapshot().data(), 1)
    made.node_answered(answer(None), 2)  # type: ignore[arg-type]
    assert made.risk(*ALICE, 2).doubts == ("unknown_sign",)


def test_a_position_in_an_unknown_market_is_asked_for_with_the_markets() -> None:
    """The account is unknown until a node tells of the market."""
    made = live()
    events = made.receive(Message().account(H + 1, 0, {77: 5}).data(), 2)
    assert only(events, AskNode) == [AskNode((ALICE,), True, "unknown_market")]
    assert made.risk(*ALICE, 2).verdict == "unknown"


# -- order books and fills


def test_the_books_take_every_mode_as_it_comes_and_fills_may_be_taken_back() -> None:
    """Amounts are absolute, so a reverted fill heals itself."""
    made = live()
    book = made.order_book("ETH-USD")
    assert book is not None
    key = (*MAKER, 900, 0, 1)

    def left() -> int:
        found = book.queues.order(key)
        assert found is not None
        return found[2] - found[3]

    assert left() == 12 * 10**8
    events = made.receive(filled(H, 0, 2 * 10**8, 2 * 10**8).data(), 2)
    assert left() == 10**9
    assert only(events, FillSeen) == only(events, TradeSeen) == []
    back = Message()
    update = back.book(H + 1, 7).updates.add().order_update
    update.order_id.subaccount_id.owner, update.order_id.client_id = MAKER[0], 900
    update.order_id.clob_pair_id, update.total_filled_quantums = 1, 0
    made.receive(back.data(), 2)
    assert left() == 12 * 10**8
    gone = Message()
    removed = gone.book(H + 1, 102).updates.add().order_remove
    removed.removed_order_id.CopyFrom(update.order_id)
    made.receive(gone.data(), 2)
    assert book.queues.order(key) is None


def test_fills_count_when_the_chain_has_decided_them() -> None:
    """For watched accounts, by the maker's price; as trades, for the books subscribed to."""
    made = live()
    events = made.receive(filled(H + 1, 7, 2 * 10**8, 2 * 10**8).data(), 2)
    (fill,) = only(events, FillSeen)
    assert (fill.address, fill.ticker, fill.side, str(fill.size), str(fill.price)) == (
        ADDRESS,
        "ETH-USD",
        "SELL",
        "0.200000000",
        "3103.000000",
    )
    (trade,) = only(events, TradeSeen)
    assert (trade.side, trade.trade_id, trade.kind) == ("SELL", f"{H + 1}/0", "LIMIT")


def test_orders_of_watched_accounts_are_told_and_those_of_others_are_not() -> None:
    """Filtered here, by the key of the order."""
    made = live()
    events = made.receive(Message().place(H, 0, 4, 1, 10**9, 3_000_000_000).data(), 2)
    assert only(events, OrderChanged) == []
    events = made.receive(Message().place(H, 0, 5, 1, 10**9, 3_000_000_000, name=ALICE).data(), 2)
    assert only(events, OrderChanged) == [
        OrderChanged(*ALICE, f"{ADDRESS}/0/5/0/1", "ETH-USD", "BEST_EFFORT_OPENED")
    ]


@pytest.mark.parametrize("deleveraging", [False, True])
def test_liquidations_are_told_of_watched_accounts_or_of_all(deleveraging: bool) -> None:
    """With what was filled, which may be less than was offered."""
    kind = "deleveraging" if deleveraging else "liquidation"
    made = live()
    events = made.receive(liquidated(H + 1, ALICE, deleveraging=deleveraging).data(), 2)
    assert only(events, LiquidationSeen) == [LiquidationSeen(*ALICE, "ETH-USD", kind, 5 * 10**8, H + 1)]
    other = liquidated(H + 2, ("dydx1other", 3), deleveraging=deleveraging).data()
    assert only(made.receive(other, 2), LiquidationSeen) == []
    all_of_them = live(every_liquidation=True)
    (seen,) = only(all_of_them.receive(other, 2), LiquidationSeen)
    assert (seen.address, seen.number) == ("dydx1other", 3)


def test_a_liquidation_that_a_node_only_tried_is_told_as_that() -> None:
    """The one public sign of an attempt that found no taker."""
    made = live()
    tried = Message()
    order = tried.update(H, 102).taker_order
    order.liquidation_order.liquidation_info.subaccount_id.owner = ADDRESS
    order.liquidation_order.liquidation_info.perpetual_id = 1
    order.liquidation_order.quantums, order.liquidation_order.subticks = 5, 7
    order.taker_order_status.order_status = 5
    assert only(made.receive(tried.data(), 2), LiquidationTried) == [
        LiquidationTried(*ALICE, "ETH-USD", 5, 7, 5, H)
    ]


# -- what goes wrong


def test_a_silent_stream_is_given_up() -> None:
    """A node that drops a subscription says nothing, and the call stays open."""
    made = live(deadlines=NodeDeadlines(silence=6))
    assert made.next_deadline == 7
    made.tick(6.9)
    assert made.risk(*ALICE, 6.9).verdict == "safe"
    events = made.tick(7)
    assert only(events, Reconnect) == [Reconnect("silent", 0.5)]
    assert {"silent", "disconnected"} <= set(made.risk(*ALICE, 7).doubts)
    assert made.next_deadline is None
    made.start(8)
    assert "silent" not in made.risk(*ALICE, 8).doubts
    assert only(made.tick(14), Reconnect) == [Reconnect("silent", 1.0)]


def test_a_stream_behind_another_source_is_given_up() -> None:
    """By more blocks than are allowed."""
    made = live(deadlines=NodeDeadlines(lag_blocks=3))
    assert made.source_height(H + 3, 2) == []
    events = made.source_height(H + 4, 2)
    assert only(events, Reconnect) == [Reconnect("lagging", 0.5)]
    assert "lagging" in made.risk(*ALICE, 2).doubts


def test_a_chain_that_makes_no_block_is_halted() -> None:
    """Though messages come; the next block lifts it."""
    made = live(deadlines=NodeDeadlines(halt=10, silence=100))
    made.receive(Message().place(H, 0, 7, 1, 10**9, 3_000_000_000).data(), 11)
    assert made.risk(*ALICE, 11).doubts == ("halted_chain",)
    made.receive(Message().price(H + 1, 1, 3_103_400_000, -6).data(), 12)
    assert made.risk(*ALICE, 12).verdict == "safe"


def test_a_block_before_the_last_one_is_out_of_order() -> None:
    """Nothing of it is applied."""
    made = live()
    made.receive(Message().price(H + 2, 1, 3_103_400_001, -6).data(), 2)
    events = made.receive(Message().price(H + 3, 1, 5, -6).price(H + 1, 1, 6, -6).data(), 3)
    assert only(events, Reconnect)
    assert "wrong_order" in made.risk(*ALICE, 3).doubts
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_103_400_001
    assert made.height == H + 2


BAD = [
    Message().price(H + 1, 1, 3_000_000_000, -6).place(H + 1, 7, 1, 0, 5, 5),
    Message().price(H + 1, 1, 3_000_000_000, -6).place(H + 1, 7, 1, 1, 5, 5, name=("", 0)),
    Message().price(H + 1, 1, 3_000_000_000, -6).price(H + 1, 0, 0, -5),
    Message().price(H + 1, 1, 3_000_000_000, -6).price(H + 1, 0, 7, 40),
]


@pytest.mark.parametrize("data", [*(one.data() for one in BAD), BAD[0].data()[:-1], b"\xff"])
def test_a_message_that_cannot_be_is_refused_whole(data: bytes) -> None:
    """Nothing of it is applied; the stream is given up."""
    made = live()
    before = made.book[ALICE]
    with pytest.raises(FrameError):
        made.receive(data, 2)
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_103_400_000
    assert made.book[ALICE] == before
    assert made.next_deadline == 2
    assert only(made.tick(2), Reconnect) == [Reconnect("a message that cannot be read", 0.5)]
    assert "disconnected" in made.risk(*ALICE, 2).doubts
    assert made.receive(snapshot().data(), 2) == []  # a message that was on its way


def test_an_unverified_version_takes_trust_away() -> None:
    """The node runs arithmetic that was not compared."""
    made = live()
    bodies = answers(version={"application_version": {"version": "10.0.0"}})
    made.node_answered(answer(bodies=bodies), 2)
    assert "unverified_protocol" in made.risk(*ALICE, 2).doubts


def test_a_market_whose_price_is_not_subscribed_to_is_stale() -> None:
    """Its price would never move."""
    made = live(subscription=StreamSubscription((ALICE,), (), ("BTC-USD",)))
    assert "stale_oracle" in made.risk(*ALICE, 1).doubts


def test_crossings_are_those_of_the_state_after_the_block() -> None:
    """A line that is crossed there and back within one message is no event."""
    made = session()
    made.start(0)
    made.receive(snapshot(usdc=2_900_000_000).data(), 1)
    made.node_answered(answer(H, -2_900_000_000), 1)
    down = made.receive(Message().price(H + 1, 1, 3_000_100_000, -6).data(), 2)
    assert [event.below for event in down if hasattr(event, "below")] == [True]
    both = Message().account(H + 2, 0, {1: 10**9}).price(H + 2, 1, 3_000_000, -6).data()
    assert [event.below for event in made.receive(both, 3) if hasattr(event, "below")] == [False]


def test_an_observer_that_raises_does_not_stop_the_message() -> None:
    """It is told after everything was applied; the events come with the next call."""
    made = session()
    made.start(0)
    made.receive(snapshot(usdc=2_900_000_000).data(), 1)
    made.node_answered(answer(H, -2_900_000_000), 1)

    def observer(crossing: Any) -> None:
        raise RuntimeError("no")

    made.book.watch(ALICE, observer)
    with pytest.raises(ObserverError):
        made.receive(Message().price(H + 1, 1, 3_000_100_000, -6).data(), 2)
    assert made.height == H + 1
    events = made.tick(2)
    assert only(events, BlockSeen)


def test_time_never_goes_back() -> None:
    """By any door."""
    made = session()
    made.start(5)
    for call in (
        lambda: made.receive(b"", 4),
        lambda: made.tick(float("nan")),
        lambda: made.disconnected(True),
        lambda: made.source_height(3, 4.9),
    ):
        with pytest.raises(InputError, match="now"):
            call()


if SAMPLES is not None:

    def test_the_recorded_stream_builds_the_books_of_two_markets() -> None:
        """Six messages come before the snapshot; then 35 messages, uncrossed, over two blocks."""
        chain: Chain = Chain.sample("v9")
        book = Book(chain, max_subaccounts=1, max_positions=1)
        made = FullNodeSession(
            StreamSubscription((), ("BTC-USD", "ETH-USD")),
            into=book,
            market_ids={"BTC-USD": 0, "ETH-USD": 1},
        )
        made.start(recorded()[0][0] - 1)
        heights = []
        for place, (time, message) in enumerate(recorded()):
            events = made.receive(message, time)
            heights += [event.height for event in only(events, BlockSeen)]
            assert (made.height is None) == (place < 6)
        assert heights == sorted(set(heights))
        for ticker in ("BTC-USD", "ETH-USD"):
            orders = made.order_book(ticker)
            assert orders is not None
            assert not orders.queues.not_whole
            bid, ask = orders.queues.best(True), orders.queues.best(False)
            assert bid is not None
            assert ask is not None
            assert bid[0] < ask[0]
            assert len(orders) > 1000

    def test_the_constructed_stream_tells_what_it_says() -> None:
        """Snapshot, optimistic fill, block, liquidation and deleveraging, a short and a replacement."""
        made = session(every_liquidation=True)
        made.start(0)
        messages = constructed()
        made.receive(messages["snapshot"], 1)
        made.node_answered(answer(66_624_143), 1)
        assert made.risk(*ALICE, 1).verdict == "safe"
        assert only(made.receive(messages["optimistic_check_tx"], 2), FillSeen) == []
        events = made.receive(messages["finalize_block"], 3)
        assert [(fill.ticker, str(fill.size)) for fill in only(events, FillSeen)] == [
            ("ETH-USD", "0.800000000")
        ]
        assert made.risk(*ALICE, 3).doubts == ("unknown_sign",)
        made.node_answered(answer(66_624_144, -4_588_452_830, 18 * 10**8), 4)
        held = made.book.subaccount(ALICE)
        assert (held.usdc_quantums, held.positions["ETH-USD"].quantums) == (-4_588_452_830, 18 * 10**8)
        events = made.receive(messages["liquidation_and_deleveraging"], 5)
        assert [(seen.kind, seen.base_quantums) for seen in only(events, LiquidationSeen)] == [
            ("liquidation", 18 * 10**8),
            ("deleveraging", 5 * 10**8),
        ]
        assert only(events, LiquidationTried)
        made.receive(messages["short_position_and_replace"], 6)
