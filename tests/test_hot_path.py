"""A session with its short way and one without: nobody can tell them apart, but by the clock (C4, C11)."""

import json
from dataclasses import asdict
from random import Random
from typing import Any

import feed_cases
import pytest
from feed_cases import ETH, MARKET, OWNER, new_book, position, snapshot, usdc
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dydx_perf.errors import FrameError, InputError, ObserverError
from dydx_perf.feeds.events import Reconnect, TradeSeen
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    TradesOf,
)

TICKERS = [f"M{n}-USD" for n in range(6)]
OTHER = "dydx1qyqszqgpqyqszqgpqyqszqgpqyqszqgp5v5t5q"
BODY = {
    "markets": {
        ticker: {
            **MARKET,
            "ticker": ticker,
            "clobPairId": str(n),
            "oraclePrice": str(50 + n),
            "atomicResolution": -6 - n % 3,
        }
        for n, ticker in enumerate(TICKERS)
    }
}
ACCOUNTS = {(OWNER, 0): SubaccountOf(OWNER, 0), (OWNER, 129): ParentSubaccountOf(OWNER, 1)}
WANTED = (Markets(), *ACCOUNTS.values(), OrderBookOf(TICKERS[0]), TradesOf(TICKERS[0]))
TIME = "2026-01-01T00:00:00.000Z"


class Wire(feed_cases.Wire):
    """A venue that writes no blanks, as the real one does."""

    def say(self, message: dict[str, Any], number: int | None = None) -> list[Any]:
        if number is None:
            self.number += 1
            number = self.number
        data = json.dumps({**message, "message_id": number}, separators=(",", ":")).encode()
        events = list(self.session.receive(data, self.now))
        self.events += events
        return events


def without_short_way(wire: Wire) -> None:
    """Every frame goes the long way."""
    wire.session._receive = lambda frame, now: None


def rows(name: tuple[str, int], *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows with their owner first, as the venue writes them."""
    return [{"address": name[0], "subaccountNumber": name[1], **row} for row in rows]


class Pair:
    """Two sessions that hear the same; after each step they are compared."""

    def __init__(self, *, indexed: bool = False, **options: Any) -> None:
        self.hot, self.slow = (Wire(*WANTED, book=new_book(indexed=indexed), **options) for _ in range(2))
        without_short_way(self.slow)
        self.both("start")

    def both(self, name: str, *args: Any, **named: Any) -> Any:
        """Call a method of both wires, or of both sessions, and compare what comes of it."""
        found = []
        for wire in (self.hot, self.slow):
            target = wire if hasattr(wire, name) else wire.session
            try:
                found.append(getattr(target, name)(*args, **named))
            except (FrameError, ObserverError) as error:
                found.append((type(error), str(error)))
        assert found[0] == found[1], (name, args)
        return found[0]

    def snapshots(self) -> None:
        """Answer every subscribe."""
        self.both("subscribed", "v4_markets", None, BODY)
        held = [position(ticker, str((-1) ** n * (n + 1))) for n, ticker in enumerate(TICKERS[:4])]
        self.both("subscribed", "v4_subaccounts", f"{OWNER}/0", snapshot(balance=usdc("30"), positions=held))
        child = snapshot(129, balance=usdc("9", "SHORT"), positions=[position(TICKERS[1], "0.2")])
        children = {"childSubaccounts": [child["subaccount"]], "address": OWNER, "parentSubaccountNumber": 1}
        parent = {"subaccount": children, "orders": [], "blockHeight": "100"}
        self.both("subscribed", "v4_parent_subaccounts", f"{OWNER}/1", parent)
        levels = {"bids": [{"price": "49", "size": "3"}], "asks": [{"price": "51", "size": "3"}]}
        self.both("subscribed", "v4_orderbook", TICKERS[0], levels)
        self.both("subscribed", "v4_trades", TICKERS[0], {"trades": []})
        self.both("heights")

    def state(self, wire: Wire) -> tuple[Any, ...]:
        """Everything that can be asked for."""
        session, markets = wire.session, wire.session._channels.markets
        book = session.order_book(TICKERS[0])
        return (
            session.next_deadline,
            [{**asdict(account), "orders": None} for account in session.accounts],
            [session.risk(*name, wire.now) for name in ACCOUNTS],
            (markets.price_at, markets.price_height, markets.last_move, markets.heard_at),
            {key: (line.phase, line.last_id) for key, line in session._connection.lines.items()}
            if session is self.slow.session
            else self.lines(wire),
            session._connection._highest,
            session._connection.heard_at,
            wire.book.to_bytes(),
            book is not None and (book.not_whole, book.levels.counts, book.levels.arrival, book.levels.top()),
        )

    def lines(self, wire: Wire) -> dict[Any, Any]:
        """Lines with the numbers that the short way would tell."""
        lines = wire.session._connection.lines
        for line in lines.values():
            wire.session._hot.sync_line(line)
        return {key: (line.phase, line.last_id) for key, line in lines.items()}

    def compare(self) -> None:
        assert self.state(self.hot) == self.state(self.slow)

    @property
    def taken(self) -> int:
        return self.hot.session._hot.feed.frames


class Venue:
    """Steps of a connection by seed."""

    def __init__(self, seed: int, pair: Pair) -> None:
        self.random, self.pair, self.height = Random(seed), pair, 101

    def step(self) -> None:
        """Send something, let time pass, or fail."""
        self.height += self.random.random() < 0.2
        kinds = (self.price, self.level, self.account, self.trade, self.block, self.wait, self.lose, self.end)
        self.random.choices(kinds, (40, 20, 30, 4, 6, 4, 1, 1))[0]()

    def price(self) -> None:
        ticker = self.random.choice([*TICKERS, "NEW-USD"] if self.random.random() < 0.1 else TICKERS)
        value = self.random.choice(("49.5", "52.25", "1.5", "50.000000000000001"))
        height = self.height - self.random.choices((0, 2), (9, 1))[0]
        price = {"oraclePrice": value, "effectiveAt": TIME, "effectiveAtHeight": str(height), "marketId": 1}
        self.pair.both("data", "v4_markets", None, [{"oraclePrices": {ticker: price}}])

    def level(self) -> None:
        size = self.random.choice(("0", "1.5", "2"))
        level = [[self.random.choice(("49", "50.5", "50.0000001")), size]]
        contents = {self.random.choice(("bids", "asks")): level}
        self.pair.both("data", "v4_orderbook", TICKERS[0], [contents])

    def account(self) -> None:
        name = self.random.choice(list(ACCOUNTS))
        held = TICKERS[1:2] if name[1] else TICKERS[:4]
        sizes = {ticker: (-1) ** n * self.random.randrange(1, 5) for n, ticker in enumerate(held)}
        if self.random.random() < 0.1:
            sizes[self.random.choice(TICKERS)] = self.random.choice((0, -1, 1))
        chosen = self.random.sample(list(sizes), min(len(sizes), 2))
        entry = str(self.random.randrange(100))
        contents = {
            "perpetualPositions": rows(
                name, *(position(t, str(sizes[t]), entryPrice=entry, positionId=f"p{t}") for t in chosen)
            ),
            "assetPositions": rows(name, usdc(str(self.random.randrange(1, 50)))),
            "blockHeight": str(self.height - self.random.choices((0, 5), (9, 1))[0]),
        }
        if self.random.random() < 0.1:
            contents["tradingReward"] = {"tradingReward": "1", "createdAtHeight": "1", "createdAt": TIME}
        one = ACCOUNTS[name]
        more = {"subaccountNumber": name[1]} if name[1] else {}
        self.pair.both("data", one.channel, one.id, [contents], **more)

    def trade(self) -> None:
        trade = {
            "id": f"{self.random.randrange(99):024x}",
            "size": "1",
            "price": "50",
            "side": "BUY",
            "createdAt": TIME,
        }
        self.pair.both("data", "v4_trades", TICKERS[0], [{"trades": [{**trade, "type": "LIMIT"}]}])

    def block(self) -> None:
        self.height += 1
        self.pair.both("block", self.height)

    def wait(self) -> None:
        self.pair.both("wait", self.random.choice((0.5, 3.0, 12.0, 700.0)))
        self.pair.both("block", self.height)

    def lose(self) -> None:
        for wire in (self.pair.hot, self.pair.slow):
            wire.number += 1

    def end(self) -> None:
        now = self.pair.hot.now
        self.pair.both("disconnected", now, 1006, "")
        self.pair.both("start")
        self.pair.snapshots()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), tells=st.booleans(), asks=st.booleans(), indexed=st.booleans())
@example(seed=0, tells=True, asks=True, indexed=False)
@example(seed=0, tells=False, asks=True, indexed=True)
def test_a_session_with_and_without_its_short_way_are_the_same(
    seed: int, tells: bool, asks: bool, indexed: bool
) -> None:
    """Events, errors, deadlines, risks, accounts, order books, doubts: after every step, whatever happens."""
    pair = Pair(tells_trades=tells, can_ask_node=asks, indexed=indexed)
    pair.snapshots()
    venue = Venue(seed, pair)
    for _ in range(60):
        venue.step()
        if venue.random.random() < 0.5:
            pair.compare()
    pair.compare()


@pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])
def test_most_steps_go_the_short_way(indexed: bool) -> None:
    """What the comparison above compares is not empty."""
    taken = 0
    for seed in range(8):
        pair = Pair(tells_trades=False, indexed=indexed)
        pair.snapshots()
        venue = Venue(seed, pair)
        for _ in range(60):
            venue.step()
        taken += pair.taken
    assert taken > 150


def live(**options: Any) -> Wire:
    """A session on two markets with one account, all live."""
    wire = Wire(*options.pop("wanted", (Markets(), SubaccountOf(OWNER, 0))), **options)
    wire.start()
    wire.subscribed("v4_markets", None, {"markets": {"BTC-USD": MARKET, "ETH-USD": ETH}})
    held = snapshot(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")])
    wire.subscribed("v4_subaccounts", f"{OWNER}/0", held)
    wire.heights()
    return wire


def told(value: str, height: int = 101) -> list[dict[str, Any]]:
    return [{"oraclePrices": {"BTC-USD": {"oraclePrice": value, "effectiveAtHeight": str(height)}}}]


def test_figures_that_nobody_reads_until_asked_are_refused_when_they_are_read() -> None:
    """The size counted; as the rest cannot be read the account is in doubt, and is asked for anew."""
    wire = live()
    row = position("BTC-USD", "0.2", entryPrice="many")
    contents = {"perpetualPositions": rows((OWNER, 0), row), "blockHeight": "101"}
    assert wire.data("v4_subaccounts", f"{OWNER}/0", contents) == []
    assert wire.session._hot.feed.frames == 1
    risk = wire.session.risk(OWNER, 0, wire.now)
    assert (risk.verdict, risk.doubts) == ("unknown", ("gap",))
    assert wire.session.next_deadline == wire.now
    events = wire.session.tick(wire.now)
    assert b"unsubscribe" in events[0].data


def test_observers_that_raise_stop_nothing() -> None:
    """The error comes from the frame, its crossings with the next call, which is due at once."""
    wire = live()

    def hear(crossing: Any) -> None:
        raise ValueError("no")

    wire.book.watch((OWNER, 0), hear)
    wire.data(
        "v4_subaccounts",
        f"{OWNER}/0",
        {"assetPositions": rows((OWNER, 0), usdc("8890", "SHORT")), "blockHeight": "101"},
    )
    with pytest.raises(ObserverError):
        wire.data("v4_markets", None, told("89000"))
    assert wire.session.next_deadline == wire.now
    assert [event.below for event in wire.session.tick(wire.now)] == [True]
    assert wire.session._hot.feed.frames == 2


def test_a_risk_leaves_the_short_way_open() -> None:
    """Asking after each frame costs no frame its way."""
    wire = live()
    for place in range(10):
        assert wire.data("v4_markets", None, told(str(90_000 + place))) == []
        assert wire.session.risk(OWNER, 0, wire.now).verdict == "safe"
    assert wire.session._hot.feed.frames == 10


def test_what_is_due_is_never_passed_over() -> None:
    """From its time on every frame is read the long way."""
    wire = live()
    wire.data("v4_markets", None, told("90001"))
    wire.now = wire.session.next_deadline
    wire.data("v4_markets", None, told("90002"))
    assert wire.session._hot.feed.frames == 1
    wire.now += 60
    for _ in range(2):
        wire.data("v4_markets", None, told("90003"))
    assert wire.session.risk(OWNER, 0, wire.now).doubts == ("halted_chain",)


def test_a_time_that_cannot_be_is_refused_as_ever() -> None:
    """Also where the frame would have gone the short way."""
    for now in (999.0, True, None, float("nan"), "1000", 10**400):
        wire = live()
        wire.data("v4_markets", None, told("90001"))
        with pytest.raises((InputError, OverflowError)):
            wire.session.receive(b"{}", now)  # type: ignore[arg-type]


def test_trades_are_told_or_dropped_as_was_said() -> None:
    """Dropped ones are read no further than to know that they are trades."""
    trade = {"id": "0" * 24, "size": "1", "price": "90000", "side": "BUY", "createdAt": TIME, "type": "LIMIT"}
    for tells in (True, False):
        wire = live(wanted=(Markets(), SubaccountOf(OWNER, 0), TradesOf("BTC-USD")), tells_trades=tells)
        wire.subscribed("v4_trades", "BTC-USD", {"trades": []})
        events = wire.data("v4_trades", "BTC-USD", {"trades": [trade]})
        assert [type(event) for event in events] == [TradeSeen] * tells
        assert wire.session._hot.feed.frames == (not tells)


def test_sessions_on_one_book_read_what_the_others_took() -> None:
    """The prices of one are the ages, heights and bounds of the other's accounts."""
    book = new_book()
    prices = Wire(Markets(), book=book)
    prices.start()
    prices.subscribed("v4_markets", None, {"markets": {"BTC-USD": MARKET, "ETH-USD": ETH}})
    prices.heights()
    beside = Wire(SubaccountOf(OWNER, 0), book=book, beside=prices.session)
    beside.start()
    held = snapshot(balance=usdc("1000"), positions=[position("BTC-USD", "0.1")])
    beside.subscribed("v4_subaccounts", f"{OWNER}/0", held)
    beside.heights()
    assert prices.data("v4_markets", None, told("90001", 150)) == []
    assert prices.session._hot.feed.frames == 1
    contents = {"assetPositions": rows((OWNER, 0), usdc("7")), "blockHeight": "200"}
    assert beside.data("v4_subaccounts", f"{OWNER}/0", contents) == []
    assert beside.session._hot.feed.frames == 1
    risk = beside.session.risk(OWNER, 0, beside.now)
    assert risk.height == 150
    assert risk.risk is not None
    assert risk.risk.nc == 7_000_000 + 9_000_100_000


def test_a_frame_after_the_end_of_a_connection_goes_the_long_way() -> None:
    """Nothing is taken before a new greeting and snapshots."""
    wire = live()
    wire.data("v4_markets", None, told("90001"))
    assert isinstance(wire.session.disconnected(wire.now)[0], Reconnect)
    wire.data("v4_markets", None, told("90002"))
    assert wire.session._hot.feed.frames == 1
    assert BlockHeight().key in wire.session._connection.lines
