"""The venue's quirks, one test each: numbers, snapshots, subscriptions, the end of a connection."""

import json

import pytest
from feed_cases import MARKETS_BODY, OWNER, Wire, body, frame, kinds, position, sent, snapshot, usdc
from quirk_cases import ACCOUNT, ID, fill, held, live, order, risk, update

from dydx_perf.errors import FrameError
from dydx_perf.feeds.events import Fetch, Reconnect
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
