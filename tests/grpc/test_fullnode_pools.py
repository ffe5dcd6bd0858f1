"""Pools, funds, parameters and the other side of a deleveraging, as a full node tells them (C11)."""

from __future__ import annotations

from typing import Any

from node_answers import answers
from node_stream_cases import ALICE, MAKER, H, Message, answer, liquidated, live, only

from dydx_perf.feeds.events import FillSeen, LiquidationSeen, MarketChanged
from dydx_perf.feeds.node import Gate
from dydx_perf.feeds.node_stream import NodeDeadlines, StreamSubscription


def with_market(price: str = "3103400000", **changed: Any) -> dict[str, Any]:
    """Bodies in which ETH-USD is another in one respect."""
    bodies = answers()
    for params, name in (
        (bodies["perpetuals"]["perpetual"][1]["params"], "market_type"),
        (bodies["clob_pairs"]["clob_pair"][1], "status"),
        (bodies["clob_pairs"]["clob_pair"][1], "subticks_per_tick"),
        (bodies["market_prices"]["market_prices"][1], "exponent"),
    ):
        if name in changed:
            params[name] = changed[name]
    bodies["market_prices"]["market_prices"][1]["price"] = price
    return bodies


def funded(amount: int, height: int = H + 1) -> Any:
    found = answer(height)
    found._answers.whole["fund", ("insurance_fund",)] = amount
    return found


def test_a_fund_that_cannot_pay_the_deficit_is_noticed() -> None:
    """An empty one always, another one only below what the account owes; one that nobody asked for, never."""
    made = live()
    assert "insurance_fund_low" not in made.risk(*ALICE, 1).notices
    made.node_answered(funded(0), 2)
    assert "insurance_fund_low" in made.risk(*ALICE, 2).notices
    made.node_answered(funded(10**6), 3)
    assert "insurance_fund_low" not in made.risk(*ALICE, 3).notices
    made.receive(Message().price(H + 2, 1, 2_000_000_000, -6).data(), 4)
    deficit = -made.book[ALICE].nc
    assert deficit > 10**6
    assert "insurance_fund_low" in made.risk(*ALICE, 4).notices
    made.node_answered(funded(deficit, H + 2), 5)
    made.receive(Message().price(H + 3, 1, 2_000_000_000, -6).data(), 6)
    deficit = -made.book[ALICE].nc
    made.node_answered(funded(deficit - 1, H + 2), 7)
    assert "insurance_fund_low" in made.risk(*ALICE, 7).notices
    made.node_answered(funded(deficit, H + 2), 8)
    assert "insurance_fund_low" not in made.risk(*ALICE, 8).notices


def test_a_market_that_became_isolated_takes_its_pool_with_it_and_back() -> None:
    """Type, order book and status are the chain's after an answer; the notice of a change ends."""
    made = live(deadlines=NodeDeadlines(notice=50, silence=1000, halt=1000))
    bodies = with_market(
        market_type="PERPETUAL_MARKET_TYPE_ISOLATED", subticks_per_tick=7, status="STATUS_PAUSED"
    )
    events = made.node_answered(answer(H + 1, bodies=bodies), 2)
    (changed,) = only(events, MarketChanged)
    assert {"is_isolated", "status"} <= set(changed.changes)
    market = made.book.chain["ETH-USD"]
    assert (market.is_isolated, market.status, market.clob_pair.subticks_per_tick) == (True, "PAUSED", 7)
    assert {"isolated_pool", "not_active", "parameters_changed"} <= set(made.risk(*ALICE, 2).notices)
    made.tick(52)
    assert "parameters_changed" not in made.risk(*ALICE, 52).notices
    made.node_answered(answer(H + 2), 53)
    assert set(made.risk(*ALICE, 53).notices) == {"parameters_changed"}
    assert not market.is_isolated


def test_blocked_withdrawals_end_with_the_block_that_says_so() -> None:
    """Without another answer."""
    made = live()
    found = answer(H + 1)
    found._answers.whole["gate", (0,)] = Gate(H - 10, 0, H + 3)
    made.node_answered(found, 2)
    assert "withdrawals_blocked" in made.risk(*ALICE, 2).notices
    made.receive(Message().price(H + 3, 1, 3_104_100_000, -6).data(), 3)
    assert "withdrawals_blocked" not in made.risk(*ALICE, 3).notices


def test_another_order_book_by_the_same_name_is_an_unknown_market() -> None:
    """Nothing of it is taken over."""
    made = live()
    bodies = answers()
    bodies["clob_pairs"]["clob_pair"][1]["id"] = 77
    made.node_answered(answer(H + 1, bodies=bodies), 2)
    assert made.risk(*ALICE, 2).doubts == ("unknown_market",)
    made.node_answered(answer(H + 2), 3)
    assert made.risk(*ALICE, 3).verdict == "safe"


def test_a_price_exponent_that_changed_is_told_once() -> None:
    """The price goes into the book's own units, exactly."""
    made = live()
    bodies = with_market("31034000000", exponent=-7)
    assert len(only(made.node_answered(answer(H + 1, bodies=bodies), 2), MarketChanged)) == 1
    assert only(made.node_answered(answer(H + 2, bodies=bodies), 3), MarketChanged) == []
    assert made.book.chain["ETH-USD"].oracle_price.integer == 3_103_400_000
    assert made.risk(*ALICE, 3).verdict == "safe"


def test_the_other_side_of_a_deleveraging_is_told() -> None:
    """The chain closed it at a price that the stream does not tell."""
    made = live(subscription=StreamSubscription((ALICE, MAKER), ("ETH-USD",)))
    events = made.receive(liquidated(H + 1, ("dydx1other", 3), deleveraging=True).data(), 2)
    assert only(events, LiquidationSeen) == [
        LiquidationSeen(*MAKER, "ETH-USD", "offsetting", 5 * 10**8, H + 1)
    ]
    assert only(events, FillSeen) == []


def test_a_position_whose_order_book_is_not_subscribed_to_is_noticed() -> None:
    """The node sends no fills of it; without any order book it sends all."""
    for books, seen in ((("BTC-USD",), True), (("ETH-USD",), False), ((), False)):
        made = live(subscription=StreamSubscription((ALICE,), books))
        assert ("fills_not_seen" in made.risk(*ALICE, 1).notices) is seen
