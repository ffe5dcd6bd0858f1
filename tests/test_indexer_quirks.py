"""The venue's quirks, one test each: what it sends that a simple client would take for something else."""

import json
from decimal import Decimal

import pytest
from feed_cases import (
    ETH,
    MARKET,
    MARKETS_BODY,
    OWNER,
    Wire,
    body,
    frame,
    kinds,
    position,
    sent,
    snapshot,
    usdc,
)

from dydx_perf.errors import FrameError
from dydx_perf.feeds.events import Fetch, FillSeen, Reconnect, TransferSeen
from dydx_perf.feeds.subscriptions import (
    CHANNEL_LIMITS,
    BlockHeight,
    CandlesOf,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    TradesOf,
    shard,
)

ACCOUNT = SubaccountOf(OWNER, 0)
ID = f"{OWNER}/0"
UUID = "f8ea3d41-5dff-5421-bb4d-3001ce0ee8a5"


def live(*more, contents=None, **options):
    """A session with markets and one account, all answered; 1000 USDC and 0.1 BTC by default."""
    wire = Wire(Markets(), ACCOUNT, *more, **options)
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    held = snapshot(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")])
    wire.subscribed("v4_subaccounts", ID, held if contents is None else contents)
    wire.heights()
    return wire


def update(wire, **contents):
    """One update of the account."""
    return wire.data("v4_subaccounts", ID, [contents])


def risk(wire):
    return wire.session.risk(OWNER, 0, wire.now)


def held(wire):
    """Sizes and balance as the book has them."""
    account = wire.book.subaccount((OWNER, 0))
    return {ticker: str(one.size.normalize()) for ticker, one in account.positions.items()}, str(account.usdc)


def order(order_id=UUID, status="BEST_EFFORT_OPENED", **more):
    return {
        "id": order_id, "clientId": "11", "clobPairId": "0", "side": "BUY", "size": "1", "price": "3104",
        "status": status, "type": "LIMIT", "timeInForce": "GTT", "postOnly": False, "reduceOnly": False,
        "orderFlags": "0", "goodTilBlock": "110", "ticker": "BTC-USD", "clientMetadata": "0", **more,
    }  # fmt: skip


def fill(fill_id="a", kind="LIMIT", **more):
    return {
        "id": fill_id, "side": "BUY", "size": "0.1", "price": "90000", "fee": "1", "type": kind,
        "liquidity": "TAKER", "ticker": "BTC-USD", "createdAtHeight": "101", **more,
    }  # fmt: skip


# ---- numbers of messages


def test_non_monotonic_message_id():
    """An answer to a subscribe carries the number reserved for it, after larger ones: nothing is lost."""
    wire = Wire(OrderBookOf("ETH-USD"))
    wire.start()
    wire.subscribed("v4_block_height", "v4_block_height", {"height": "5", "time": "t"}, number=2)
    wire.data("v4_block_height", "v4_block_height", {"blockHeight": "6", "time": "t"}, number=3)
    assert wire.session.doubts.of(["feed"]) == ()
    wire.subscribed("v4_orderbook", "ETH-USD", {"bids": [], "asks": []}, number=1)
    wire.data("v4_orderbook", "ETH-USD", {"asks": [["3103.2", "0"]]}, number=4)
    assert wire.session.doubts.of(["feed"]) == ()
    wire.wait(5)
    assert "Reconnect" not in kinds(wire.events)


def test_a_missing_number_beyond_the_reserved_ones_is_a_loss():
    """More numbers are missing than subscribes wait: all is in doubt at once, reconnected after a while."""
    wire = live(can_fetch=False)
    wire.number += 1  # a message that never came
    update(wire, blockHeight="101")
    assert risk(wire).doubts == ("gap",)
    assert "Reconnect" not in kinds(wire.wait(1.9))
    assert "Reconnect" in kinds(wire.wait(0.2))


def test_a_message_that_was_only_late_lifts_the_doubt():
    """A number that comes within the time to settle, of another subscription, is no loss."""
    wire = live(can_fetch=False)
    late = wire.number + 1
    wire.number += 1
    update(wire, assetPositions=[usdc("5")], blockHeight="101")
    assert risk(wire).verdict == "unknown"
    wire.data("v4_block_height", "v4_block_height", [{"blockHeight": "101", "time": "t"}], number=late)
    assert risk(wire).verdict == "safe"
    assert "Reconnect" not in kinds(wire.wait(5))


def test_wrong_order_within_one_subscription():
    """An older message of an account after a younger one is not applied; a new snapshot is asked for."""
    wire = live(can_fetch=False)
    late = wire.number + 1
    wire.number += 1
    update(wire, assetPositions=[usdc("5")], blockHeight="101")
    events = wire.data(
        "v4_subaccounts", ID, [{"assetPositions": [usdc("7")], "blockHeight": "101"}], number=late
    )
    assert held(wire)[1] == "5.000000"
    assert risk(wire).doubts == ("wrong_order",)
    assert sent(events) == [{"type": "unsubscribe", "channel": "v4_subaccounts", "id": ID}]
    (again,) = sent(
        wire.say({"type": "unsubscribed", "connection_id": "c", "channel": "v4_subaccounts", "id": ID})
    )
    assert (again["type"], again["id"]) == ("subscribe", ID)
    wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("7"), height=102))
    assert risk(wire).verdict == "safe"


def test_error_messages_repeating_an_id():
    """An error from before the reservation carries a number that was there already; it is told, too."""
    wire = live()
    for message in ("Invalid message: could not parse", "Invalid id: undefined"):
        events = wire.say({"type": "error", "message": message, "connection_id": "c"}, number=wire.number)
        assert [event.message for event in events] == [message]
    update(wire, assetPositions=[usdc("5")], blockHeight="101")
    assert risk(wire).verdict == "safe"


def test_duplicate_messages():
    """The same frame twice changes nothing; a fill that comes under another number is told once."""
    wire = live()
    contents = {"fills": [fill()], "assetPositions": [usdc("5")], "blockHeight": "101"}
    assert kinds(update(wire, **contents)) == ["FillSeen"]
    assert wire.data("v4_subaccounts", ID, [contents], number=wire.number) == []
    assert update(wire, **contents) == []
    update(wire, assetPositions=[usdc("6")], blockHeight="102")
    assert update(wire, **contents) == []  # delivered again, long after
    assert held(wire)[1] == "6.000000"


# ---- snapshots


def test_an_update_before_its_snapshot_leaves_the_account_unknown():
    """What comes for an account without a snapshot is not taken for its whole state."""
    wire = Wire(Markets(), ACCOUNT)
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.data("v4_subaccounts", ID, [{"assetPositions": [usdc("5")], "blockHeight": "101"}])
    assert (risk(wire).verdict, risk(wire).risk) == ("unknown", None)
    assert "no_snapshot" in risk(wire).doubts
    assert (OWNER, 0) not in wire.book


def test_snapshot_gap():
    """A snapshot that missed an event is in doubt from the start, and replaced at REST's second word."""
    wire = live(confirm_snapshots=True)
    truth = body(balance=usdc("400"), positions=[position("BTC-USD", "0.2")], height=110, updated=101)
    fetches = [event for event in wire.wait(5) if isinstance(event, Fetch)]
    assert [one.path.split("?")[0] for one in fetches] == [
        f"/addresses/{OWNER}/subaccountNumber/0",
        "/orders",
    ]
    answer = json.dumps({"subaccount": truth}).encode()
    assert risk(wire).bound.quote_quantums is None
    assert risk(wire).doubts == ("not_reconciled",)
    wire.session.fetched(fetches[0], 200, answer, wire.now)
    assert risk(wire).doubts == ("not_reconciled",)
    wire.session.heard(wire.now)
    again = [event for event in wire.wait(2) if isinstance(event, Fetch)]
    events = wire.session.fetched(again[0], 200, answer, wire.now)
    assert "AccountSnapshot" in kinds(events)
    assert held(wire) == ({"BTC-USD": "0.2"}, "400.000000")
    assert risk(wire).doubts == ()
    assert risk(wire).bound.quote_quantums is not None


def test_rest_that_lags_says_nothing():
    """An answer from before our newest event neither confirms nor contradicts."""
    wire = live()
    update(wire, assetPositions=[usdc("5")], blockHeight="101")
    (fetch, _) = [event for event in wire.wait(5) if isinstance(event, Fetch)]
    old = {
        "subaccount": body(
            balance=usdc("1000"), positions=[position("BTC-USD", "0.1")], height=100, updated=90
        )
    }
    assert wire.session.fetched(fetch, 200, json.dumps(old).encode(), wire.now) == []
    assert (risk(wire).doubts, risk(wire).bound.quote_quantums) == ((), None)
    assert [event for event in wire.wait(2) if isinstance(event, Fetch)]


def test_shared_batch_buffer_older_than_the_snapshot():
    """What was collected before we joined does not undo the snapshot; its own block is applied."""
    wire = live()
    events = wire.data(
        "v4_subaccounts",
        ID,
        [
            {
                "perpetualPositions": [position("BTC-USD", "9")],
                "assetPositions": [usdc("9")],
                "blockHeight": "98",
            },
            {
                "orders": [order("old", "OPEN", orderFlags="64", createdAtHeight="97", goodTilBlock=None)],
                "blockHeight": "98",
            },
            {"orders": [order("short")], "blockHeight": "98"},
            {"fills": [fill("f", createdAtHeight="98")], "blockHeight": "98"},
        ],
    )  # fmt: skip
    assert held(wire) == ({"BTC-USD": "0.1"}, "1000.000000")
    assert kinds(events) == ["OrderChanged", "FillSeen"]
    assert [one.order_id for one in wire.session.account(OWNER, 0).orders] == ["short"]
    update(wire, assetPositions=[usdc("7")], blockHeight="100")
    assert held(wire)[1] == "7.000000"


def test_empty_snapshot_of_an_unknown_subaccount_then_its_first_deposit():
    """`{}` is a known nothing; the deposit that follows is the account's first state."""
    wire = live(contents={})
    account = wire.session.account(OWNER, 0)
    assert (account.exists, risk(wire).verdict, risk(wire).risk.nc) == (False, "safe", 0)
    update(wire, assetPositions=[usdc("25")], blockHeight="199")
    assert (account.exists, risk(wire).risk.nc, account.height) == (True, 25_000_000, 199)


# ---- accounts


def test_entry_price_zero_then_corrected():
    """The first message of a new position has entry price 0: none is known until its fill is booked."""
    wire = live()
    update(
        wire, perpetualPositions=[position("ETH-USD", "1", entryPrice="0", sumOpen="0")], blockHeight="101"
    )
    assert wire.session.account(OWNER, 0).positions["ETH-USD"].entry_price is None
    update(
        wire,
        perpetualPositions=[position("ETH-USD", "1", entryPrice="3103.1")],
        fills=[fill()],
        blockHeight="101",
    )
    assert wire.session.account(OWNER, 0).positions["ETH-USD"].entry_price == Decimal("3103.1")


def test_flip_accounting():
    """One message closes the old position and opens the new one; a late word of the old one is ignored."""
    wire = live()
    closed = position("BTC-USD", "0", positionId="old")
    update(
        wire,
        perpetualPositions=[
            closed,
            position("BTC-USD", "-0.3", positionId="new", entryPrice="0", sumOpen="0"),
        ],
        assetPositions=[usdc("37000")],
        blockHeight="101",
    )
    assert held(wire) == ({"BTC-USD": "-0.3"}, "37000.000000")
    update(wire, perpetualPositions=[closed], blockHeight="101")
    assert held(wire)[0] == {"BTC-USD": "-0.3"}
    update(wire, perpetualPositions=[position("BTC-USD", "0", positionId="new")], blockHeight="102")
    assert held(wire)[0] == {}


def test_unsettled_funding_is_never_pushed():
    """After a funding tick no message comes: the bound grows with the hours, until REST tells the balance."""
    wire = live()
    (fetch, _) = [event for event in wire.wait(5) if isinstance(event, Fetch)]
    same = {"subaccount": body(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")], updated=90)}
    wire.session.fetched(fetch, 200, json.dumps(same).encode(), wire.now)
    before = risk(wire).bound
    wire.block(101, "2025-12-08T18:00:01.000Z")
    after = risk(wire).bound
    per_tick = dict(before.causes)["tick block"]
    assert (
        per_tick >= 9_000_000_000 * 6 * 8 // 1000 // 8
    )  # notional, clamp factor, IMF - MMF, an hour of eight
    assert after.quote_quantums == before.quote_quantums + 2 * per_tick
    (fetch, *_) = [event for event in wire.wait(60) if isinstance(event, Fetch)] or [fetch]
    paid = {
        "subaccount": body(
            balance=usdc("999.1234567"), positions=[position("BTC-USD", "0.1")], updated=90, height=101
        )
    }
    wire.session.fetched(fetch, 200, json.dumps(paid).encode(), wire.now)
    assert held(wire)[1] == "999.123456"
    assert wire.session.doubts.of([f"account {ID}"]) == ()


def test_short_balance_sign_and_zero_balance_as_short():
    """A debt has side SHORT and an absolute size; a zero balance is SHORT 0; more decimals are floored."""
    wire = live()
    update(wire, assetPositions=[usdc("12.5", "SHORT")], blockHeight="101")
    assert held(wire)[1] == "-12.500000"
    update(wire, assetPositions=[usdc("0", "SHORT")], blockHeight="102")
    assert held(wire)[1] == "0.000000"
    wire = live(contents=snapshot(balance=usdc("0.0000001", "SHORT")))
    assert held(wire)[1] == "-0.000001"


def test_transfers_stripped_leave_only_a_block_height():
    """A transfer between members of one parent is taken out: an element with nothing but its height."""
    wire = Wire(Markets(), ParentSubaccountOf(OWNER, 0))
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    children = {
        "address": OWNER,
        "parentSubaccountNumber": 0,
        "equity": "0",
        "freeCollateral": "0",
        "childSubaccounts": [body(0, balance=usdc("10"))],
    }
    wire.subscribed("v4_parent_subaccounts", ID, {"subaccount": children, "orders": [], "blockHeight": "100"})
    contents = [
        {"assetPositions": [{**usdc("19.6"), "subaccountNumber": 384}], "blockHeight": "101"},
        {"blockHeight": "101"},
    ]
    assert wire.data("v4_parent_subaccounts", ID, contents, subaccountNumber=384) == []
    assert wire.book.subaccount((OWNER, 384)).usdc == Decimal("19.6")
    assert wire.book.subaccount((OWNER, 0)).usdc == 10
    with pytest.raises(FrameError):
        wire.data("v4_parent_subaccounts", ID, [{"blockHeight": "101"}], subaccountNumber=385)


def test_a_transfer_is_one_object_and_moves_no_balance_itself():
    """The balance comes in its own message; the transfer says how much came or went."""
    wire = live()
    transfer = {
        "sender": {"address": OWNER, "subaccountNumber": 0},
        "recipient": {"address": "x"},
        "symbol": "USDC",
        "size": "120",
        "type": "WITHDRAWAL",
        "createdAtHeight": "101",
    }
    (event,) = update(wire, transfers=transfer, blockHeight="101")
    assert event == TransferSeen(OWNER, 0, Decimal(-120), "WITHDRAWAL", 101)
    assert held(wire)[1] == "1000.000000"


def test_missing_keys_and_nulls_are_the_same():
    """A removal of an unknown order has a handful of keys; another producer writes null for the rest."""
    wire = live()
    update(
        wire,
        orders=[order(triggerPrice=None, totalFilled=None, goodTilBlockTime=None)],
        perpetualPositions=None,
    )
    events = update(
        wire,
        orders=[
            {
                "id": UUID,
                "clientId": "11",
                "status": "CANCELED",
                "orderFlags": "0",
                "ticker": "BTC-USD",
                "removalReason": "ORDER_REMOVAL_REASON_EXPIRED",
            }
        ],
    )
    assert (events[0].status, events[0].reason, events[0].ticker) == ("CANCELED", "EXPIRED", "BTC-USD")
    assert len(wire.session.account(OWNER, 0).orders) == 0


def test_a_best_effort_cancel_may_still_fill():
    """A cancelled short-term order stays until its last block has passed; a late open is ignored."""
    wire = live()
    orders = wire.session.account(OWNER, 0).orders
    update(wire, orders=[order()])
    update(wire, orders=[order(status="BEST_EFFORT_CANCELED", totalOptimisticFilled="0.4")])
    assert orders.remaining(UUID) == Decimal("0.6")
    update(wire, orders=[order()])
    assert orders[UUID].status == "BEST_EFFORT_CANCELED"
    wire.block(110)
    assert UUID in orders
    assert [event.status for event in wire.block(111) if hasattr(event, "order_id")] == ["CANCELED"]
    update(wire, orders=[order()])
    assert UUID not in orders
    update(wire, orders=[order(goodTilBlock="130")])  # placed once more
    assert UUID in orders


def test_an_order_may_be_opened_after_its_fill():
    """On-chain and off-chain messages have no common order: an order that is filled stays filled."""
    wire = live()
    update(
        wire,
        fills=[fill()],
        orders=[order(status="FILLED", totalFilled="1", updatedAtHeight="101")],
        blockHeight="101",
    )
    assert update(wire, orders=[order()], blockHeight="100") == []
    assert len(wire.session.account(OWNER, 0).orders) == 0


def test_a_liquidation_is_told_once():
    """A fill LIQUIDATED or DELEVERAGED is a fill and a liquidation; the maker's side is only a fill."""
    wire = live()
    events = update(
        wire,
        fills=[
            fill("1", "LIQUIDATED"),
            fill("2", "DELEVERAGED"),
            fill("3", "LIQUIDATION"),
            fill("1", "LIQUIDATED"),
        ],
    )
    assert kinds(events) == ["FillSeen", "LiquidationSeen", "FillSeen", "LiquidationSeen", "FillSeen"]
    assert [event.base_quantums for event in events if not isinstance(event, FillSeen)] == [10**9, 10**9]
    assert [event.kind for event in events if not isinstance(event, FillSeen)] == [
        "liquidation",
        "deleveraging",
    ]


# ---- markets


def oracle(price, height="101", ticker="BTC-USD"):
    return {"oraclePrices": {ticker: {"oraclePrice": price, "effectiveAtHeight": height, "marketId": 0}}}


def test_an_oracle_price_of_a_pair_without_a_perpetual():
    """It is no market and moves nothing."""
    wire = live()
    assert wire.data("v4_markets", None, [oracle("1.02", ticker="NOPERP-USD")]) == []
    assert "NOPERP-USD" not in wire.book.chain
    assert risk(wire).verdict == "safe"


NEW = {
    "id": "301", "clobPairId": "301", "ticker": "NEW-USD", "marketId": 301, "status": "INITIALIZING",
    "quantumConversionExponent": -9, "atomicResolution": -5, "subticksPerTick": 1000000,
    "stepBaseQuantums": 1000000, "marketType": "CROSS", "initialMarginFraction": "0.2",
    "maintenanceMarginFraction": "0.1", "openInterestLowerCap": "500000", "openInterestUpperCap": "1000000",
}  # fmt: skip


def test_a_trading_row_introduces_a_new_market():
    """It has no price yet; a position in it is unknown until the price comes, and then is in the book."""
    wire = live()
    assert kinds(wire.data("v4_markets", None, [{"trading": {"NEW-USD": NEW}}])) == ["TrustChanged"]
    assert "NEW-USD" not in wire.book.chain
    update(wire, perpetualPositions=[position("NEW-USD", "10")], blockHeight="101")
    assert (risk(wire).risk, risk(wire).doubts) == (None, ("unknown_market",))
    events = wire.data("v4_markets", None, [oracle("2.5", ticker="NEW-USD")])
    assert "MarketChanged" in kinds(events)
    assert risk(wire).doubts == ()
    assert held(wire)[0] == {"BTC-USD": "0.1", "NEW-USD": "1E+1"}
    assert risk(wire).risk.nc == 1_000_000_000 + 9_000_000_000 + 25_000_000


def test_a_changed_parameter_is_noticed_and_a_statistic_is_not():
    """Tier, caps, status and type: an event with both values, a notice for a while, and the risk follows."""
    wire = live()
    row = {"trades24H": 5, "nextFundingRate": "0.1", "priceChange24H": "1"}
    assert wire.data("v4_markets", None, [{"trading": {"BTC-USD": row}}]) == []
    assert wire.session.market("BTC-USD")["trades24H"] == 5
    row = {
        "initialMarginFraction": "0.05",
        "maintenanceMarginFraction": "0.03",
        "status": "FINAL_SETTLEMENT",
        "marketType": "ISOLATED",
    }
    (*_, changed) = [
        event
        for event in wire.data("v4_markets", None, [{"trading": {"BTC-USD": row}}])
        if hasattr(event, "changes")
    ]
    assert changed.changes == {
        "initial_margin_ppm": (20_000, 50_000),
        "status": ("ACTIVE", "FINAL_SETTLEMENT"),
        "market_type": ("cross", "isolated"),
    }
    assert risk(wire).risk.mmr == 270_000_000
    assert {"parameters_changed", "final_settlement"} <= set(risk(wire).notices)


def test_an_older_price_does_not_replace_a_newer_one():
    """A batch collected before the last price was seen is behind it."""
    wire = live()
    wire.data("v4_markets", None, [oracle("91000", "105")])
    wire.data("v4_markets", None, [oracle("80000", "104")])
    assert wire.book.chain["BTC-USD"].oracle_price.decimal == 91000


def test_a_market_that_cannot_be_read_is_unknown_and_the_others_are_as_they_were():
    """One row with margins that the chain could not have does not spoil the list."""
    wire = Wire(Markets(), ACCOUNT)
    wire.start()
    wire.subscribed(
        "v4_markets", None, {"markets": {"BTC-USD": MARKET, "ETH-USD": {**ETH, "initialMarginFraction": "7"}}}
    )
    wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("1"), positions=[position("ETH-USD", "1")]))
    assert "BTC-USD" in wire.book.chain
    assert set(risk(wire).doubts) == {"unknown_market"}


# ---- the book


def test_crossed_book():
    """Bids at or above asks stay as they were told; what is read leaves out the older of the two."""
    wire = live(OrderBookOf("BTC-USD"))
    levels = {"bids": [{"price": "90000", "size": "1"}], "asks": [{"price": "90010", "size": "1"}]}
    wire.subscribed("v4_orderbook", "BTC-USD", levels)
    wire.data("v4_orderbook", "BTC-USD", [{"bids": [["90020", "0.7"]]}])
    book = wire.session.order_book("BTC-USD")
    assert (book.best_bid.price, book.best_ask) == (90020, None)
    wire.data("v4_orderbook", "BTC-USD", [{"bids": [["90020", "0"]]}, {"asks": [["90030", "2"]]}])
    assert (book.best_bid.price, book.best_ask.price) == (90000, 90010)


def test_an_order_book_before_its_market():
    """Levels wait until the market says in what units they are."""
    wire = Wire(OrderBookOf("BTC-USD"), Markets())
    wire.start()
    wire.subscribed("v4_orderbook", "BTC-USD", {"bids": [{"price": "1", "size": "2"}], "asks": []})
    wire.data("v4_orderbook", "BTC-USD", {"bids": [["2", "1"]]})
    assert wire.session.order_book("BTC-USD") is None
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    assert wire.session.order_book("BTC-USD").best_bid.price == 2


# ---- subscriptions


def test_unsubscribe_that_does_not_cancel():
    """An unsubscribe would not cancel a subscribe that waits for its answer: it is sent after that."""
    wire = Wire(Markets(), ACCOUNT)
    wire.start()
    assert sent(wire.session.unsubscribe(ACCOUNT, wire.now)) == []
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    events = wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("1")))
    assert sent(events) == [{"type": "unsubscribe", "channel": "v4_subaccounts", "id": ID}]
    assert update(wire, assetPositions=[usdc("5")], blockHeight="101") == []
    assert (OWNER, 0) not in wire.book
    (over,) = wire.say({"type": "unsubscribed", "connection_id": "c", "channel": "v4_subaccounts", "id": ID})
    assert (over.channel, over.id) == ("v4_subaccounts", ID)


def test_wanted_again_before_the_first_answer():
    """Given up and wanted again while the answer is on its way: one subscribe, and its snapshot counts."""
    wire = Wire(ACCOUNT)
    wire.start()
    assert sent(wire.session.unsubscribe(ACCOUNT, wire.now)) == []
    assert sent(wire.session.subscribe(ACCOUNT, wire.now)) == []
    wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("1")))
    assert wire.session.account(OWNER, 0).exists


def test_already_subscribed_is_answered_by_subscribing_anew():
    """The venue keeps a subscription of which we have no snapshot: it is ended, and asked for again."""
    wire = Wire(ACCOUNT)
    wire.start()
    wire.number += 1
    error = f"Invalid subscribe message: already subscribed (v4_subaccounts-{ID})"
    events = wire.say(
        {"type": "error", "message": error, "connection_id": "c", "channel": "v4_subaccounts", "id": ID},
        number=wire.number,
    )
    assert [one["type"] for one in sent(events)] == ["unsubscribe"]
    events = wire.say({"type": "unsubscribed", "connection_id": "c", "channel": "v4_subaccounts", "id": ID})
    assert [one["type"] for one in sent(events)] == ["subscribe"]


def test_subscribe_errors_with_and_without_channel_and_id():
    """Each finds its subscription: by its keys, by its text, by its reserved number; some are tried again."""
    other = SubaccountOf(OWNER, 1)
    wire = Wire(ACCOUNT, other, TradesOf("NOPE-USD"), CandlesOf("BTC-USD", "1MIN"))
    wire.start()
    wire.heights()
    text = "Invalid subscription id for channel: (v4_trades-NOPE-USD)"
    wire.say({"type": "error", "message": text, "connection_id": "c"}, number=4)
    assert (wire.events[-1].channel, wire.events[-1].id) == ("v4_trades", "NOPE-USD")
    text = "Internal error, could not fetch data for subscription: v4_subaccounts"  # an older server's
    wire.say({"type": "error", "message": text, "connection_id": "c"}, number=3)
    assert wire.events[-1].id == f"{OWNER}/1"
    text = "Because this address appears to be a resident of"
    wire.say(
        {"type": "error", "message": text, "connection_id": "c", "channel": "v4_subaccounts", "id": ID},
        number=2,
    )
    text = "Per-connection subscription limit reached for v4_candles (limit=32)."
    wire.say({"type": "error", "message": text, "connection_id": "c"}, number=5)
    assert wire.events[-1].id == "BTC-USD/1MIN"
    assert wire.session.doubts.of(["feed"]) == ()
    assert sent(wire.wait(0.9)) == []
    assert [one["id"] for one in sent(wire.wait(0.2))] == [f"{OWNER}/1"]
    assert sent(wire.wait(8)) == []
    assert wire.session.risk(OWNER, 0, wire.now).verdict == "unknown"


def test_a_third_subscribe_to_one_id_waits_out_the_window():
    """Two attempts a second for each id; the rest wait, whoever asks for them."""
    wire = live(can_fetch=False)
    for _ in range(3):
        wire.session.unsubscribe(ACCOUNT, wire.now)
        wire.session.subscribe(ACCOUNT, wire.now)
        events = wire.say(
            {"type": "unsubscribed", "connection_id": "c", "channel": "v4_subaccounts", "id": ID}
        )
        if not sent(events):
            break
        wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("1")))
    else:
        raise AssertionError("three subscribes within a second")
    assert sent(wire.wait(0.9)) == []
    assert len(sent(wire.wait(0.3))) == 1


def test_distinct_ids_are_subscribed_at_once_and_paced_after_a_1008():
    """Different ids share no budget; when the venue closed for its rate limit all the same, two a second."""
    wire = Wire(*(SubaccountOf(OWNER, number) for number in range(20)))
    assert len(wire.start()) == 21
    (again,) = wire.session.disconnected(wire.now, 1008, '{"message":"Rate limited"}')[:1]
    assert isinstance(again, Reconnect)
    assert again.delay >= 1
    wire.now += again.delay
    assert len(wire.start()) == 1
    assert len(sent(wire.wait(2.05))) == 4
    wire.session.disconnected(wire.now, 1006)
    assert len(wire.start()) == 21


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 4000, None])
def test_close_codes(code):
    """Whatever the code, all is in doubt, and a new connection is asked for after a wait that grows."""
    wire = live()
    delays = []
    for _ in range(8):
        events = wire.session.disconnected(wire.now, code, "")
        (request,) = [event for event in events if isinstance(event, Reconnect)]
        delays.append(request.delay)
        assert "disconnected" in risk(wire).doubts
        wire.now += request.delay
        wire.session.start(wire.now)
    assert all(0 <= delay <= 30 for delay in delays)
    assert max(delays[4:]) > 0.5
    if code == 1012:
        assert min(delays) >= 0.5
    wire.number = -1
    wire.say({"type": "connected", "connection_id": "d"})
    wire.heights(120)
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    assert risk(wire).doubts == ("gap",)
    wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("3"), height=119))
    assert (risk(wire).doubts, held(wire)) == ((), ({}, "3.000000"))


def test_silent_loss():
    """The last message is lost and nothing follows: the next of any subscription shows it."""
    wire = live(can_fetch=False)
    wire.number += 1  # lost
    wire.now += 5
    assert risk(wire).verdict == "safe"  # it cannot be known yet
    wire.block(101)
    assert risk(wire).verdict == "unknown"


def test_json_ping_is_ignored_by_the_venue_and_never_sent():
    """Liveness is the height and the venue's own pings; an old server's pong changes nothing."""
    wire = live()
    wire.wait(300)
    assert all(one["type"] in ("subscribe", "unsubscribe") for one in sent(wire.events))
    wire = live()
    wire.session.receive(b'{"type":"pong","connection_id":"c","message_id":1}', wire.now)
    assert risk(wire).verdict == "safe"


def test_pings_keep_a_quiet_connection_alive():
    """Without the height nothing may come for long; the venue's ping is life, if not of the chain."""
    wire = Wire(ACCOUNT, can_fetch=False)
    wire.start()
    wire.subscribed("v4_subaccounts", ID, {})
    wire.say(
        {"type": "error", "message": "Invalid channel: v4_block_height", "connection_id": "c"},
        number=wire.number,
    )
    for _ in range(5):
        wire.wait(30)
        wire.session.heard(wire.now)
    assert "Reconnect" not in kinds(wire.events)
    assert "halted_chain" in wire.session.doubts.of(["chain"])


@pytest.mark.parametrize(
    ("channel", "make"),
    [
        ("v4_subaccounts", lambda i: SubaccountOf(OWNER, i)),
        ("v4_parent_subaccounts", lambda i: ParentSubaccountOf(OWNER, i % 128)),
        ("v4_orderbook", lambda i: OrderBookOf(f"M{i}-USD")),
        ("v4_trades", lambda i: TradesOf(f"M{i}-USD")),
        ("v4_candles", lambda i: CandlesOf(f"M{i}-USD", "1DAY")),
    ],
)
def test_per_channel_limits_sharded_over_connections(channel, make):
    """No connection has more of a channel than the venue takes; each has the height; all is there once."""
    wanted = [make(i) for i in range(600)]
    shards = shard([*wanted, *wanted, Markets(), BlockHeight()])
    counts = [sum(one.channel == channel for one in part) for part in shards]
    assert max(counts) <= CHANNEL_LIMITS[channel]
    assert len(counts) == -(-len(set(wanted)) // CHANNEL_LIMITS[channel])
    assert sum(counts) == len(set(wanted))
    assert all(part.count(BlockHeight()) == 1 for part in shards)
    assert sum(Markets() in part for part in shards) == 1


def test_a_damaged_frame_is_refused_with_its_place_and_nothing_is_safe_after_it():
    """Half a frame: an error that says where, a doubt on everything, a request to connect again."""
    wire = live()
    with pytest.raises(FrameError) as error:
        wire.session.receive(frame({"type": "channel_data"})[:-3], wire.now)
    assert error.value.place is not None
    assert risk(wire).doubts == ("gap",)
    assert wire.session.next_deadline == wire.now
    assert "Reconnect" in kinds(wire.session.tick(wire.now))


def test_contents_that_cannot_be_are_refused_whole():
    """The second element is wrong: the first is not applied, and a new snapshot is asked for."""
    wire = live(can_fetch=False)
    with pytest.raises(FrameError, match=r"contents\[1\]\.assetPositions\[0\]\.side"):
        wire.data(
            "v4_subaccounts", ID, [{"assetPositions": [usdc("5")]}, {"assetPositions": [usdc("6", "UP")]}]
        )
    assert held(wire)[1] == "1000.000000"
    assert risk(wire).doubts == ("gap",)
    assert [one["type"] for one in sent(wire.session.tick(wire.now))] == ["unsubscribe"]
