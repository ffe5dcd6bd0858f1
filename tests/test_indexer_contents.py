"""Contents that are not what they should be, of every channel: refused whole, or read (C1, C3)."""

import copy

from feed_cases import MARKET, MARKETS_BODY, OWNER, Wire, body, position, snapshot, usdc
from hypothesis import given, settings
from hypothesis import strategies as st

from dydx_perf.errors import FrameError
from dydx_perf.feeds.subscriptions import (
    CandlesOf,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    TradesOf,
)

ID, PARENT = f"{OWNER}/0", f"{OWNER}/1"
ORDER = {
    "id": "x", "clientId": "1", "clobPairId": "0", "side": "BUY", "size": "1", "price": "5", "status": "OPEN",
    "type": "LIMIT", "timeInForce": "GTT", "orderFlags": "64", "ticker": "BTC-USD", "createdAtHeight": "5",
}  # fmt: skip
FILL = {
    "id": "a", "side": "BUY", "size": "0.1", "price": "90000", "fee": "1", "type": "LIQUIDATED",
    "liquidity": "TAKER", "ticker": "BTC-USD", "createdAtHeight": "101",
}  # fmt: skip
TRANSFER = {
    "sender": {"address": OWNER, "subaccountNumber": 0}, "recipient": {"address": "x"}, "symbol": "USDC",
    "size": "120", "type": "WITHDRAWAL", "createdAtHeight": "101",
}  # fmt: skip
CANDLE = {
    "startedAt": "2025-12-08T16:12:00.000Z", "ticker": "BTC-USD", "resolution": "1MIN", "low": "1",
    "high": "2", "open": "1", "close": "2", "baseTokenVolume": "3", "usdVolume": "4", "trades": 5,
    "startingOpenInterest": "6",
}  # fmt: skip
TRADE = {
    "id": "t", "side": "BUY", "size": "1", "price": "90000", "type": "LIMIT",
    "createdAt": "2025-12-08T16:12:00.000Z", "createdAtHeight": "101",
}  # fmt: skip
UPDATE = {
    "perpetualPositions": [position("BTC-USD", "-0.2"), position("ETH-USD", "1")],
    "assetPositions": [usdc("500.5", "SHORT")],
    "orders": [ORDER],
    "fills": [FILL],
    "transfers": TRANSFER,
    "tradingReward": {"tradingReward": "0.1", "createdAtHeight": "101"},
    "blockHeight": "101",
}
HELD = snapshot(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")], orders=[ORDER])
CHILDREN = {
    "subaccount": {
        "address": OWNER,
        "parentSubaccountNumber": 1,
        "childSubaccounts": [body(number, balance=usdc("10")) for number in (1, 129)],
    },
    "orders": [],
    "blockHeight": "100",
}
LEVELS = {"bids": [{"price": "89999", "size": "2"}], "asks": [{"price": "90001", "size": "1"}]}
PRICE = {"oraclePrice": "91000", "effectiveAtHeight": "101", "marketId": 0}
HEIGHT = {"height": "100", "time": "2025-12-08T16:12:00.210Z"}
#: channel, id, the snapshot, updates
CHANNELS = [
    ("v4_markets", None, MARKETS_BODY, [
        {"oraclePrices": {"BTC-USD": PRICE, "ETH-USD": PRICE}},
        {"trading": {"BTC-USD": {**MARKET, "initialMarginFraction": "0.05"}}},
    ]),
    ("v4_block_height", "v4_block_height", HEIGHT, [{"blockHeight": "101", "time": HEIGHT["time"]}]),
    ("v4_subaccounts", ID, HELD, [UPDATE]),
    ("v4_parent_subaccounts", PARENT, CHILDREN, [UPDATE]),
    ("v4_orderbook", "BTC-USD", LEVELS, [{"bids": [["89998", "1"]], "asks": [["90001", "0"]]}]),
    ("v4_trades", "BTC-USD", {"trades": [TRADE]}, [{"trades": [{**TRADE, "id": "u"}]}]),
    ("v4_candles", "BTC-USD/1MIN", {"candles": [CANDLE]}, [CANDLE]),
]  # fmt: skip
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.sampled_from(
        [
            "",
            "-",
            "NaN",
            "Infinity",
            "1e9",
            "1e999999",
            "-0",
            "0.1",
            "9" * 40,
            "-" + "9" * 400,
            "NOPE-USD",
            "٣",
            "\0",
        ]
    ),
    st.sampled_from([[], {}, [[]], [None], {"": None}, [["1"]], [["1", "2", "3"]], {"BTC-USD": {}}]),
)


def places(value, path=()):
    """Every place in a JSON value, the whole one included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


@st.composite
def mutated(draw, value):
    """A value with one to three places removed, replaced, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        if not path:
            continue
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        key = path[-1]
        match draw(st.sampled_from(["remove", "replace", "replace", "double", "rename"])):
            case "remove":
                del holder[key]
            case "double" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["NOPE-USD", "", "size", "market"]))] = holder.pop(key)
            case _:
                holder[key] = copy.deepcopy(draw(STRANGE))
    return value


def live():
    """All channels live, with an account and a parent's children in the book."""
    wire = Wire(
        Markets(), SubaccountOf(OWNER, 0), ParentSubaccountOf(OWNER, 1), OrderBookOf("BTC-USD"),
        TradesOf("BTC-USD"), CandlesOf("BTC-USD", "1MIN"),
    )  # fmt: skip
    wire.start()
    for channel, name, contents, _ in CHANNELS:
        wire.subscribed(channel, name, contents)
    return wire


def order_book(wire):
    """All levels as they were told, whether or not the book is whole."""
    stored = wire.session.order_book("BTC-USD").levels.stored
    return [array.tolist() for is_bid in (True, False) for array in stored(is_bid)]


def told(wire, tell):
    """Tell something: a refusal leaves book, order book and account as they were; True: it was read."""
    account = wire.session.account(OWNER, 0)
    before = wire.book.to_bytes(), order_book(wire), dict(account.positions), account.height
    try:
        tell()
    except FrameError:
        assert (wire.book.to_bytes(), order_book(wire), account.positions, account.height) == before
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_updates_are_refused_whole_or_read(data):
    """Only FrameError or events; after a refusal nothing is half applied, and the session goes on."""
    wire = live()
    channel, name, _, updates = data.draw(st.sampled_from(CHANNELS))
    contents = data.draw(mutated(copy.deepcopy(updates) + updates[: data.draw(st.integers(0, 1))]))
    more = {"subaccountNumber": 129} if "parent" in channel else {}
    told(wire, lambda: wire.data(channel, name, contents, **more))
    wire.session.tick(wire.now)
    wire.session.risk(OWNER, 0, wire.now)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_snapshots_are_refused_whole_or_read(data):
    """A second snapshot, of a new connection: as for updates."""
    wire = live()
    wire.session.disconnected(wire.now, 1006)
    wire.start()
    at = data.draw(st.sampled_from(range(len(CHANNELS))))
    for channel, name, contents, _ in CHANNELS[:at]:
        wire.subscribed(channel, name, contents)
    channel, name, contents, _ = CHANNELS[at]
    contents = data.draw(mutated(contents))
    if not told(wire, lambda: wire.subscribed(channel, name, contents)) and channel == "v4_subaccounts":
        assert wire.session.risk(OWNER, 0, wire.now).verdict == "unknown"
    wire.session.tick(wire.now)


def test_what_is_mutated_is_read_as_it_is():
    """No channel's own words are refused, so that a refusal is of the mutation."""
    wire = live()
    for channel, name, _, updates in CHANNELS:
        more = {"subaccountNumber": 129} if "parent" in channel else {}
        assert told(wire, lambda: wire.data(channel, name, updates, **more))  # noqa: B023 - called at once
