"""The short way of a frame into the book: the same as the slow one, or nothing at all (C4)."""

import gc
import json
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hot_feed_cases import ACCOUNTS, ALICE, BLOCK, BOB, CHILD, TICKERS, Hot, Side, Venue
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dydx_perf import Position, Risk
from dydx_perf.errors import InputError, ObserverError, WriterError
from dydx_perf.ext.depth import Depth
from dydx_perf.ext.hot_feed import HotFeed
from dydx_perf.feeds.envelope import DataMessage, parse_frame

M0, M1 = TICKERS[:2]
LINE = ACCOUNTS[ALICE]


def frame(channel: str, contents: Any, message_id: int = 1, **more: Any) -> bytes:
    kind = "channel_batch_data" if isinstance(contents, list) else "channel_data"
    message = {"type": kind, "connection_id": "c", "message_id": message_id, "channel": channel}
    return json.dumps(
        {**message, "version": "1.0.0", "contents": contents, **more}, separators=(",", ":")
    ).encode()


both_books = pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])


def price(
    value: str = "10.5", ticker: str = M0, height: int | None = BLOCK + 1, message_id: int = 1
) -> bytes:
    row = {"oraclePrice": value} | ({} if height is None else {"effectiveAtHeight": str(height)})
    return frame("v4_markets", {"oraclePrices": {ticker: row}}, message_id)


def level(value: str = "10.5", size: str = "1", ticker: str = M0, side: str = "bids") -> bytes:
    return frame("v4_orderbook", {side: [[value, size]]}, id=ticker)


def position(size: str = "1.25", ticker: str = M0, **other: Any) -> dict[str, Any]:
    side = "SHORT" if size.startswith("-") else "LONG"
    owner = {"address": ALICE[0], "subaccountNumber": 0}
    return {**owner, "market": ticker, "side": side, "status": "OPEN", "size": size, **other}


def usdc(size: str = "100", side: str = "LONG") -> dict[str, Any]:
    owner = {"address": ALICE[0], "subaccountNumber": 0}
    return {**owner, "assetId": "0", "symbol": "USDC", "side": side, "size": size}


def update(*rows: dict[str, Any], height: int | None = BLOCK + 1, message_id: int = 1, **more: Any) -> bytes:
    contents: dict[str, Any] = {
        "perpetualPositions": [row for row in rows if "market" in row],
        "assetPositions": [row for row in rows if "assetId" in row],
        **({} if height is None else {"blockHeight": str(height)}),
        **more,
    }
    return frame(LINE[0], contents, message_id, id=LINE[1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), indexed=st.booleans())
@example(seed=0, indexed=False)
@example(seed=0, indexed=True)
def test_the_short_way_is_the_slow_way_after_every_frame(seed: int, indexed: bool) -> None:
    """Book, order books, heights and crossings are the same, whatever is handed over in between."""
    hot, slow = Hot(indexed=indexed), Side(indexed=indexed)
    venue = Venue(seed, slow)
    for now, received in enumerate(venue.frames(80)):
        message = parse_frame(received)
        assert isinstance(message, DataMessage)
        assert hot.receive(received, float(now)) == slow.apply(message, float(now)), received
        assert hot.state() == slow.state(), received
    assert hot.taken + hot.feed.handed_over == 80
    assert hot.feed.frames == hot.taken > 30


@both_books
def test_most_frames_take_the_short_way_and_all_kinds_of_crossings_are_told(indexed: bool) -> None:
    """What the comparison above compares is not empty."""
    taken, seen = 0, set[tuple[str, bool]]()
    for seed in range(12):
        hot = Hot(indexed=indexed)
        for now, received in enumerate(Venue(seed, hot).frames(80)):
            before = hot.taken
            crossings = hot.receive(received, float(now))
            if hot.taken > before:
                taken += 1
                seen |= {(crossing.address, crossing.below) for crossing in crossings}
    assert taken > 600
    assert {below for _, below in seen} == {True, False}


# -- what is left to the caller


def changed_past_the_book(hot: Hot) -> None:
    hot.book.chain[M1].set_oracle_price("18")


def without_account(hot: Hot) -> None:
    hot.book.remove(ALICE)


def wide(hot: Hot) -> None:
    hot.book.update(ALICE, positions=[Position(hot.book.chain[M0], quantums=2**100)])


def nothing(_: Hot) -> None: ...


def full(hot: Hot) -> None:
    hot.depths[M0].replace([(n, 1) for n in range(1, 65)], [], 0.0)


def heavy(hot: Hot) -> None:
    hot.depths[M0].replace([(1, 2**63 - 2)], [], 0.0)


def market_past_64_bits(hot: Hot) -> None:
    hot.book.chain[M0].set_funding_index(2**70)
    hot.book.catch_up()


LEFT: dict[str, tuple[bytes | str | memoryview, Callable[[Hot], None]]] = {
    "no JSON": (b"{", nothing),
    "another number": (price(message_id=2), nothing),
    "a number that was there": (price(message_id=0), nothing),
    "the caller's time": (price(), lambda hot: setattr(hot.feed, "deadline", 1.0)),
    "a clock that went back": (price(), lambda hot: setattr(hot.feed, "heard_at", 1.5)),
    "no such line": (frame("v4_trades", {"trades": []}, id="M9-USD"), nothing),
    "no line of that account": (
        frame("v4_subaccounts", {"perpetualPositions": []}, id="dydx1carol/0"),
        nothing,
    ),
    "a line that ended": (price(), lambda hot: hot.feed.unroute("v4_markets", "")),
    "an older price": (price(height=BLOCK - 1), nothing),
    "a price of no block": (price(height=None), nothing),
    "a price withheld": (price(), lambda hot: hot.feed.withhold_price(0, True)),
    "a pair that is no market": (price(ticker="NONE-USD"), nothing),
    "a price too fine": (price("10.0000000001"), nothing),
    "a market of plain integers": (price(), market_past_64_bits),
    "one market twice in a block": (
        frame(
            "v4_markets",
            [{"oraclePrices": {M0: {"oraclePrice": p, "effectiveAtHeight": "1001"}}} for p in ("10", "11")],
        ),
        nothing,
    ),
    "statistics": (frame("v4_markets", {"trading": {M0: {"trades24H": 3}}}), nothing),
    "an order book that is not whole": (level(), lambda hot: hot.depths[M0].mark_gap()),
    "an order book without room": (level(), full),
    "an order book past its sums": (level(), heavy),
    "no order book": (level(), lambda hot: hot.feed.route("v4_orderbook", M0, 0)),
    "a level too fine": (
        level("10.5"),
        lambda hot: hot.feed.route("v4_orderbook", M0, 0, depth=hot.depths[M0], price_power=-9),
    ),
    "a level too large": (
        level("10.5"),
        lambda hot: hot.feed.route("v4_orderbook", M0, 0, depth=hot.depths[M0], price_power=18),
    ),
    "a position that is not held": (update(position(ticker="M10-USD")), nothing),
    "a position that closes": (update(position("0", status="CLOSED")), nothing),
    "an open one of nothing": (update(position("0")), nothing),
    "a position that turned": (update(position("-1.25")), nothing),
    "one market twice": (update(position("1"), position("2")), nothing),
    "an older event": (update(usdc(), height=BLOCK - 1), nothing),
    "an event of no block": (update(usdc(), height=None), nothing),
    "another owner": (update(position(address="dydx1carol")), nothing),
    "an owner of a longer name": (update(position(address="dydx1alice2")), nothing),
    "another number of that owner": (update(position(subaccountNumber=1)), nothing),
    "orders": (update(usdc(), orders=[]), nothing),
    "fills": (update(usdc(), fills=[]), nothing),
    "a transfer": (update(usdc(), transfers={}), nothing),
    "a child that is not known": (
        frame("v4_parent_subaccounts", {}, id="dydx1alice/0", subaccountNumber=256),
        nothing,
    ),
    "no child": (frame("v4_parent_subaccounts", {}, id="dydx1alice/0"), nothing),
    "an account that is gone": (update(usdc()), without_account),
    "an account of plain integers": (update(usdc()), wide),
    "a chain that was changed past the book": (update(usdc()), changed_past_the_book),
    "text past ASCII": (price().decode().replace('"c"', '"é"'), nothing),
    "half a surrogate pair": ("\ud800", nothing),
    "a view with gaps": (memoryview(price() + price())[::2], nothing),
}


@both_books
@pytest.mark.parametrize("what", LEFT)
def test_what_is_not_plain_is_left_to_the_caller_and_changes_nothing(what: str, indexed: bool) -> None:
    """None, and neither book nor order books nor what was noted of the connection moved."""
    received, prepare = LEFT[what]
    hot = Hot(indexed=indexed)
    prepare(hot)
    stale = what == "a chain that was changed past the book"

    def state() -> tuple[Any, ...]:
        noted = (hot.feed.message_id, hot.feed.heard_at, hot.feed.frames)
        market = hot.book.chain[M0].perpetual, hot.book.chain[M0]._sources()
        return (*noted, hot.feed.last_id("v4_markets", ""), market, () if stale else hot.state())

    before = state()
    assert hot.feed.receive(received, 1.0) is None
    assert state() == before
    assert hot.feed.handed_over == 1
    assert hot.feed.take_accounts() == hot.feed.take_prices() == []


@pytest.mark.parametrize("received", [1, None, [], object()])
def test_what_is_no_frame_is_left_to_the_caller(received: Any) -> None:
    """He says what is wrong with it."""
    hot = Hot()
    assert hot.feed.receive(received, 1.0) is None
    assert hot.feed.handed_over == 1


def test_the_first_frame_of_each_kind_is_left_until_the_caller_gave_a_deadline() -> None:
    """A feed that nobody set up takes nothing."""
    hot = Hot()
    assert HotFeed(hot.book._store, hot.feed.scanner, list).receive(price(message_id=0), 1.0) is None


# -- what is taken


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: data.decode()])
def test_a_frame_may_be_any_buffer_or_text(kind: Callable[[bytes], Any]) -> None:
    """The answer is the same empty tuple."""
    hot = Hot()
    assert hot.feed.receive(kind(price()), 1.0) is hot.feed.receive(kind(price("11", message_id=2)), 2.0)
    assert hot.book.chain[M0].oracle_price.decimal == 11
    assert (hot.feed.message_id, hot.feed.heard_at, hot.feed.frames) == (2, 2.0, 2)
    assert hot.feed.last_id("v4_markets", "") == 2


def test_a_price_is_noted_with_its_time_and_its_move() -> None:
    """Both are of the last change; the market names its block, and an estimate."""
    hot = Hot()
    assert hot.feed.take_prices() == []
    before = hot.book.chain[M0].oracle_price.integer
    hot.feed.receive(price("10.5"), 1.0)
    after = hot.book.chain[M0].oracle_price.integer
    assert hot.feed.take_prices() == [(0, 1.0, after - before, BLOCK + 1)]
    hot.feed.receive(price("10", height=BLOCK + 5, message_id=2), 3.0)
    assert hot.feed.take_prices() == [(0, 3.0, after - before, BLOCK + 5)]
    assert hot.feed.take_prices() == []
    assert hot.book.chain[M0]._sources()["oracle_price"] == (BLOCK + 5, 1)
    assert hot.book.chain[M0].height == BLOCK


def test_prices_of_two_blocks_are_two_changes() -> None:
    """Who is below the line between them is told, twice."""
    hot = Hot()
    contents = [
        {"oraclePrices": {M0: {"oraclePrice": value, "effectiveAtHeight": str(height)}}}
        for value, height in (("1", BLOCK + 1), ("10", BLOCK + 2))
    ]
    found = hot.feed.receive(frame("v4_markets", contents), 1.0)
    assert found is not None
    assert [(crossing.address, crossing.below) for crossing in found if crossing.address == BOB[0]] == [
        (BOB[0], True),
        (BOB[0], False),
    ]


def test_levels_go_to_the_scale_of_the_order_book() -> None:
    """Times a power of ten, or divided by one without a remainder."""
    for power, expected in ((0, 10_500_000_000), (3, 10_500_000_000_000), (-8, 105)):
        hot = Hot()
        hot.feed.route("v4_orderbook", M0, 0, depth=hot.depths[M0], price_power=power)
        assert hot.feed.receive(level(), 1.0) == ()
        assert hot.depths[M0].best(True) == (expected, 1_000_000)


def test_what_an_account_is_told_of_is_kept_until_somebody_asks() -> None:
    """The last frame for each market, oldest first; a buffer that can change is copied."""
    hot = Hot()
    first = update(position("1.5"), position("-2.5", M1))
    second = bytearray(update(position("1.75"), usdc("7", "SHORT"), message_id=2))
    third = update(usdc("6"), message_id=3, height=BLOCK + 9)
    for now, received in enumerate((first, second, third)):
        assert hot.feed.receive(received, float(now)) == ()
    kept = bytes(second)
    second[:] = b" " * len(second)
    assert hot.feed.take_accounts() == [(*LINE, 0, BLOCK + 9, 2.0, 0.0, [(1, first), (0, kept)])]
    assert hot.feed.take_accounts() == []
    assert hot.book._store.inputs(hot.book._store.slot(ALICE))[0] == 6_000_000


@both_books
def test_every_position_is_settled_when_the_account_is_told_of(indexed: bool) -> None:
    """As the chain does: all indices are the markets' own; the height is the event's, the basis estimate."""
    hot = Hot(indexed=indexed)
    hot.book.apply_block(funding_indices=dict.fromkeys(TICKERS, 77_777))
    assert hot.feed.receive(update(usdc("5")), 1.0) == ()
    _, rows, height, basis = hot.book._store.inputs(hot.book._store.slot(ALICE))
    assert {row[2] for row in rows} == {77_777}
    assert (height, basis) == (BLOCK + 1, 1)


def test_heights_are_noted() -> None:
    """The newest that came."""
    hot = Hot()
    received = frame("v4_block_height", {"blockHeight": "1234", "time": ""}, id="v4_block_height")
    assert hot.feed.receive(received, 1.0) == ()
    assert hot.feed.block_height == 1234


# -- observers, writers, threads


def test_observers_hear_of_a_crossing_before_the_caller_does() -> None:
    """What they raise comes as one error when the frame is applied; within, nobody else changes the book."""
    hot = Hot()
    heard = []

    def hear(crossing: Any) -> None:
        heard.append((crossing.below, hot.feed.receive(price("10", message_id=2), 1.0)))
        with pytest.raises(WriterError):
            hot.book.catch_up()
        if crossing.below:
            raise ValueError("no")

    hot.book.watch(BOB, hear)
    with pytest.raises(ObserverError) as raised:
        hot.feed.receive(price("1"), 1.0)
    assert heard == [(True, None)]
    assert [crossing.address for crossing in raised.value.crossings].count(BOB[0]) == 1
    assert hot.book[BOB].is_liquidatable
    assert hot.feed.message_id == 1
    assert hot.feed.receive(price("10", message_id=2), 1.0) != ()
    assert heard[1:] == [(False, None)]


def test_another_thread_reads_a_state_between_two_frames() -> None:
    """Two markets move together: no reader sees one of them alone."""
    hot = Hot()
    contents: list[list[Any]] = [
        [
            {
                "oraclePrices": {
                    t: {"oraclePrice": p, "effectiveAtHeight": str(BLOCK + 1)} for t, p in pair.items()
                }
            }
        ]
        for pair in ({M0: "10.5", M1: "16.5"}, {M0: "10", M1: "17"})
    ]
    states = set[Risk]()
    for message_id in range(1, 5):
        assert hot.feed.receive(frame("v4_markets", contents[message_id % 2], message_id), 1.0) == ()
        states.add(hot.book[BOB])
    assert len(states) == 2
    seen, wrong, done = set[Risk](), list[Risk](), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(risk := hot.book[BOB])
            if risk not in states:
                wrong.append(risk)

    readers = [threading.Thread(target=read) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for reader in readers:
            reader.start()
        for message_id in range(5, 20_000):
            hot.feed.receive(frame("v4_markets", contents[message_id % 2], message_id), 1.0)
            if message_id > 5_000 and len(seen) == 2:
                break
    finally:
        done.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(interval)
    assert (seen, wrong) == (states, [])


@both_books
def test_a_size_alone_leaves_the_balance_as_it_was(indexed: bool) -> None:
    """Not as it would be with the funding that was due: of that the venue tells with the balance."""
    hot = Hot(indexed=indexed)
    hot.book.apply_block(funding_indices=dict.fromkeys(TICKERS, 77_777_777))
    assert hot.book[ALICE].net_collateral != hot.book.subaccount(ALICE).usdc_quantums
    assert hot.feed.receive(update(position("1.5")), 1.0) is not None
    usdc_quantums, rows, _, _ = hot.book._store.inputs(hot.book._store.slot(ALICE))
    assert (usdc_quantums, rows[0][1]) == (-9_000_000, 1_500_000)


@both_books
def test_a_balance_past_the_columns_is_right_too(indexed: bool) -> None:
    """Told the short way it is kept, and the frame after it finds the account."""
    hot, slow = Hot(indexed=indexed), Side(indexed=indexed)
    for place, balance in enumerate(("900000000000", "7"), start=1):
        received = update(usdc(balance), message_id=place, height=BLOCK + place)
        message = parse_frame(received)
        assert isinstance(message, DataMessage)
        assert hot.receive(received, float(place)) == slow.apply(message, float(place))
        assert hot.state() == slow.state()
        assert hot.book._store.inputs(hot.book._store.slot(ALICE))[0] == int(balance) * 10**6
    assert hot.taken == (1 if indexed else 2)


@both_books
def test_nothing_is_allocated_for_a_frame(indexed: bool) -> None:
    """100,000 frames of all kinds: no block of memory more than before, and none in between."""
    hot = Hot(indexed=indexed)
    frames = [
        price("10.5", message_id=1),
        frame("v4_orderbook", {"bids": [["10.5", "1"], ["10.25", "0"]]}, 2, id=M0),
        frame("v4_trades", {"trades": []}, 3, id=M0),
        update(position("1.5"), usdc("7"), message_id=4),
        price("9.5", ticker=M1, message_id=5),
    ]
    receive = hot.feed.receive

    def run(rounds: int) -> None:
        for _ in range(rounds):
            hot.feed.message_id = 0
            for received in frames:
                receive(received, 1.0)

    run(100)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        run(20_000)
        assert sys.getallocatedblocks() - before < 10
        tracemalloc.start()
        run(100)
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        run(2_000)
        after, peak = tracemalloc.get_traced_memory()
        assert after - held < 500
        assert peak - held < 1_000
    finally:
        tracemalloc.stop()
        gc.enable()
    assert hot.feed.handed_over == 0
    assert hot.feed.frames == 5 * 22_200


# -- lines


def test_lines_and_accounts_come_and_go() -> None:
    """Of many accounts each is found; the place of one that went is the next one's."""
    hot = Hot()
    alice = hot.book.handle(ALICE)
    for n in range(300):
        hot.feed.route("v4_subaccounts", f"dydx1more{n}/{n}", -1)
        hot.feed.route_account("v4_subaccounts", f"dydx1more{n}/{n}", n, alice, BLOCK)
    for n in range(0, 300, 2):
        hot.feed.unroute("v4_subaccounts", f"dydx1more{n}/{n}")
        hot.feed.unroute("v4_subaccounts", f"dydx1more{n}/{n}")
    for n in range(0, 300, 4):
        hot.feed.route("v4_subaccounts", f"dydx1new{n}/7", -1)
        hot.feed.route_account("v4_subaccounts", f"dydx1new{n}/7", 7, alice, BLOCK)
    message_id = 0
    for n in range(300):
        for owner, number, there in (
            (f"dydx1more{n}", n, n % 2 == 1),
            (f"dydx1new{n}", 7, n % 4 == 0),
        ):
            row = {**usdc(), "address": owner, "subaccountNumber": number}
            received = frame(
                "v4_subaccounts",
                {"assetPositions": [row], "blockHeight": "2000"},
                message_id + 1,
                id=f"{owner}/{number}",
            )
            assert (hot.feed.receive(received, 1.0) == ()) is there, (owner, number)
            message_id += there
    assert hot.feed.receive(update(usdc(), height=2001, message_id=message_id + 1), 1.0) == ()
    assert hot.feed.last_id("v4_subaccounts", "dydx1more0/0") == -1
    told = {line_id for _, line_id, *_ in hot.feed.take_accounts()}
    assert len(told) == 150 + 75 + 1


def test_every_child_of_a_parent_is_found() -> None:
    """By the number that the frame says, none by the id alone."""
    hot = Hot()
    bob = hot.book.handle(BOB)
    for child in (256, 384):
        hot.feed.route_account(*ACCOUNTS[CHILD], child, bob, BLOCK)
    for message_id, child in enumerate((384, 256, 128), 1):
        row = {**usdc(f"{child}"), "subaccountNumber": child}
        contents = {"assetPositions": [row], "blockHeight": f"{BLOCK + message_id}"}
        received = frame(
            "v4_parent_subaccounts", contents, message_id, id="dydx1alice/0", subaccountNumber=child
        )
        assert hot.feed.receive(received, 1.0) is not None
        assert hot.feed.take_accounts() == [(*ACCOUNTS[CHILD], child, BLOCK + message_id, 1.0, 1.0, [])]


@pytest.mark.parametrize(
    ("channel", "line_id", "more", "argument"),
    [
        ("v4_orderbook", "NONE-USD", {}, "line_id"),
        ("v4_trades", "NONE-USD", {}, "line_id"),
        ("v4_orderbook", M0, {"price_power": 19}, "price_power"),
        ("v4_orderbook", M0, {"price_power": -19}, "price_power"),
        ("v4_subaccounts", "dydx1a", {}, "line_id"),
        ("v4_subaccounts", "dydx1a/x", {}, "line_id"),
        ("v4_subaccounts", "dydx1a/1234567890", {}, "line_id"),
    ],
)
def test_a_line_that_cannot_be_is_refused(channel: str, line_id: str, more: Any, argument: str) -> None:
    """With the argument's name."""
    with pytest.raises(InputError) as refused:
        Hot().feed.route(channel, line_id, 0, **more)
    assert refused.value.argument == argument


def test_a_market_past_the_rows_of_the_book_is_refused() -> None:
    """Its order book and trades are the caller's."""
    hot = Hot()
    hot.feed.scanner.register_market("FAR-USD", 10**6, -5, -10)
    for channel in ("v4_orderbook", "v4_trades"):
        with pytest.raises(InputError):
            hot.feed.route(channel, "FAR-USD", 0, depth=Depth(4))
    assert hot.feed.receive(price(ticker="FAR-USD"), 1.0) is None
    hot.feed.withhold_price(10**6, True)
