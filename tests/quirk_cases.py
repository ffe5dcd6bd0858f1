"""An account that is live at a venue played by hand, and what the venue tells of it."""

from feed_cases import MARKETS_BODY, OWNER, Wire, position, snapshot, usdc

from dydx_perf.feeds.subscriptions import Markets, SubaccountOf

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
