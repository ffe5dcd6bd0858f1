"""The venue's quirks, one test each: what it says of accounts, of markets, and in the order book."""

import json
from decimal import Decimal

import pytest
from feed_cases import ETH, MARKET, MARKETS_BODY, OWNER, Wire, body, kinds, position, snapshot, usdc
from quirk_cases import ACCOUNT, ID, UUID, fill, held, live, order, risk, update

from dydx_perf.errors import FrameError
from dydx_perf.feeds.events import Fetch, FillSeen, TransferSeen
from dydx_perf.feeds.subscriptions import Markets, OrderBookOf, ParentSubaccountOf

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
