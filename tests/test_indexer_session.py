"""A session from its first frame to its last: snapshots, updates, silence, the end of a connection."""

from decimal import Decimal

from feed_cases import MARKETS_BODY, OWNER, Wire, position, sent, snapshot, usdc

from dydx_perf.feeds.subscriptions import Markets, OrderBookOf, SubaccountOf


def live(*more, **options):
    """A session on BTC-USD and ETH-USD with one account, all live."""
    wire = Wire(Markets(), SubaccountOf(OWNER, 0), *more, **options)
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.subscribed(
        "v4_subaccounts", f"{OWNER}/0", snapshot(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")])
    )
    wire.heights()
    return wire


def test_a_session_says_what_it_wants_and_gets_a_state():
    """Markets, an account and its update: the book has what the frames say, and nothing is in doubt."""
    wire = Wire(Markets(), SubaccountOf(OWNER, 0), OrderBookOf("BTC-USD"))
    asked = wire.start()
    assert [one.get("channel") for one in asked] == [
        "v4_markets", "v4_subaccounts", "v4_orderbook", "v4_block_height",
    ]  # fmt: skip
    assert all(one["batched"] for one in asked)
    assert wire.session.risk(OWNER, 0, wire.now).verdict == "unknown"
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.subscribed(
        "v4_subaccounts", f"{OWNER}/0", snapshot(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")])
    )
    wire.subscribed("v4_orderbook", "BTC-USD", {"bids": [{"price": "1", "size": "2"}], "asks": []})
    wire.heights()
    risk = wire.session.risk(OWNER, 0, wire.now)
    assert (risk.verdict, risk.doubts, risk.basis) == ("safe", (), "estimate")
    assert risk.risk.nc == 1_000_000_000 + 9_000_000_000
    wire.data(
        "v4_subaccounts",
        f"{OWNER}/0",
        [
            {
                "perpetualPositions": [position("BTC-USD", "-0.2")],
                "assetPositions": [usdc("500.5", "SHORT")],
                "blockHeight": "101",
            }
        ],
    )
    assert wire.session.risk(OWNER, 0, wire.now).risk.nc == -500_500_000 - 18_000_000_000
    assert wire.session.account(OWNER, 0).positions["BTC-USD"].size == Decimal("-0.2")
    assert wire.session.account(OWNER, 0).height == 101


def test_prices_move_the_risk_and_are_no_event():
    """An oracle price of a held market changes net collateral; only crossings are told."""
    wire = live()
    events = wire.data(
        "v4_markets",
        None,
        [{"oraclePrices": {"BTC-USD": {"oraclePrice": "91000", "effectiveAtHeight": "101", "marketId": 0}}}],
    )
    assert events == []
    assert wire.session.risk(OWNER, 0, wire.now).risk.nc == 1_000_000_000 + 9_100_000_000


def test_silence_ends_in_a_request_to_connect_again():
    """Nothing for the pulse's time: the account is unknown, and one Reconnect is asked for."""
    wire = live(can_fetch=False)
    events = wire.wait(10)
    assert [type(event).__name__ for event in events].count("Reconnect") == 1
    assert "silent" in wire.session.risk(OWNER, 0, wire.now).doubts
    assert sent(wire.session.start(wire.now))
