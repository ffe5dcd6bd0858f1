"""The indexer's side of its WebSocket: numbers, errors, limits (C1)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dydx_perf.feeds.subscriptions import key_of
from dydx_perf.service.venue import Close, Envelope, Subscribe, VenueSide, rest_of


def side() -> VenueSide:
    made = VenueSide("id", lambda channel, name: name.startswith(("ETH-USD", "BTC-USD")))
    made.greeting()
    return made


def sent(made: VenueSide, now: float = 0.0, **message: Any) -> list[Any]:
    """What follows from a message; answers as documents."""
    replies = made.receive(json.dumps(message).encode(), now)
    return [json.loads(reply) if isinstance(reply, bytes) else reply for reply in replies]


def text(message: str, number: int, **more: str) -> dict[str, Any]:
    return {"type": "error", "message": message, "connection_id": "id", "message_id": number, **more}


def test_the_greeting_is_the_first_message() -> None:
    assert json.loads(VenueSide("id", lambda *_: True).greeting()) == {
        "type": "connected",
        "connection_id": "id",
        "message_id": 0,
    }


def test_a_number_is_reserved_when_the_subscribe_arrives() -> None:
    """The answer may come after messages with larger numbers."""
    made = side()
    assert sent(made, type="subscribe", channel="v4_orderbook", id="ETH-USD") == [
        Subscribe(("v4_orderbook", "ETH-USD"), 1)
    ]
    assert json.loads(made.data("channel_data", b'"contents":{}}'))["message_id"] == 2
    answer = json.loads(made.subscribed(("v4_orderbook", "ETH-USD"), b'"contents":{}}'))
    assert (answer["type"], answer["message_id"]) == ("subscribed", 1)
    assert made.live == {("v4_orderbook", "ETH-USD")}


def test_an_unsubscribe_before_the_answer_cancels_nothing() -> None:
    """It is answered at once, and the subscription comes to life all the same."""
    made = side()
    sent(made, type="subscribe", channel="v4_orderbook", id="ETH-USD")
    (answer,) = sent(made, type="unsubscribe", channel="v4_orderbook", id="ETH-USD")
    assert (answer["type"], answer["id"], answer["message_id"]) == ("unsubscribed", "ETH-USD", 2)
    made.subscribed(("v4_orderbook", "ETH-USD"), b'"contents":{}}')
    assert made.live
    sent(made, type="unsubscribe", channel="v4_orderbook", id="ETH-USD")
    assert not made.live


def test_a_channel_with_one_subscription_has_no_id() -> None:
    """Its key is the same with and without the id that the venue writes."""
    made = side()
    assert sent(made, type="subscribe", channel="v4_markets") == [Subscribe(("v4_markets", ""), 1)]
    made.subscribed(("v4_markets", ""), b'"contents":{}}')
    (answer,) = sent(made, type="unsubscribe", channel="v4_markets")
    assert "id" not in answer
    assert key_of("v4_block_height", "v4_block_height") == key_of("v4_block_height", None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not json", "Invalid message: could not parse"),
        (b"\xff", "Invalid message: could not parse"),
        (b"{}", "Invalid message: type is required"),
        (b'{"type":"hello"}', "Invalid message type: hello"),
        (b'{"type":"subscribe"}', "Invalid subscribe message: channel is required"),
        (b'{"type":"unsubscribe"}', "Invalid subscribe message: channel is required"),
        (b'{"type":"subscribe","channel":"v4_nope"}', "Invalid channel: v4_nope"),
        (b'{"type":"subscribe","channel":"v4_trades"}', "Invalid id: undefined"),
        (b'{"type":"subscribe","channel":"v4_trades","id":7}', "Invalid id: 7"),
        (b"null", "Internal error"),
    ],
)
def test_an_error_before_the_reservation_repeats_the_number(data: bytes, message: str) -> None:
    (answer,) = side().receive(data, 0.0)
    assert isinstance(answer, bytes)
    assert json.loads(answer) == text(message, 0)


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("v4_trades", "NOPE-USD"),
        ("v4_subaccounts", "dydx1"),
        ("v4_subaccounts", "dydx1/128000"),
        ("v4_subaccounts", "dydx1/x"),
        ("v4_parent_subaccounts", "dydx1/128"),
        ("v4_candles", "ETH-USD/2MINS"),
        ("v4_candles", "NOPE-USD/1MIN"),
    ],
)
def test_an_id_that_cannot_be_is_refused_with_a_number_of_its_own(channel: str, name: str) -> None:
    message = f"Invalid subscription id for channel: ({channel}-{name})"
    assert sent(side(), type="subscribe", channel=channel, id=name) == [text(message, 1)]


def test_a_second_subscribe_is_refused() -> None:
    made = side()
    named = {"channel": "v4_trades", "id": "ETH-USD"}
    sent(made, type="subscribe", **named)
    message = "Invalid subscribe message: already subscribed (v4_trades-ETH-USD)"
    assert sent(made, type="subscribe", **named) == [text(message, 2, **named)]


def test_a_snapshot_that_cannot_be_had_is_an_error_and_frees_the_place() -> None:
    made = side()
    key = ("v4_trades", "ETH-USD")
    sent(made, type="subscribe", channel=key[0], id=key[1])
    message = "Internal error, could not fetch data for subscription: v4_trades."
    assert json.loads(made.could_not_fetch(key)) == text(message, 1, channel=key[0], id=key[1])
    assert sent(made, 2.0, type="subscribe", channel=key[0], id=key[1]) == [Subscribe(key, 2)]


def test_the_third_subscribe_to_one_id_within_a_second_closes() -> None:
    """Distinct ids do not share the budget, and the next second is another."""
    made = side()
    for place in range(30):
        assert sent(made, type="subscribe", channel="v4_subaccounts", id=f"dydx1/{place}")
    named = {"type": "subscribe", "channel": "v4_trades", "id": "ETH-USD"}
    sent(made, 5.0, **named)
    sent(made, 5.9, **named)
    sent(made, 6.0, **named)
    sent(made, 6.1, **named)
    error, close = sent(made, 6.2, **named)
    assert error["message"] == (
        "Too many subscribe attempts for channel v4_trades-ETH-USD. Please  reconnect and try again."
    )
    assert close == Close(1008, '{"message":"Rate limited"}')


def test_the_third_invalid_message_within_a_second_closes() -> None:
    made = side()
    made.receive(b"x", 0.0)
    made.receive(b"x", 0.5)
    *_, close = made.receive(b"x", 0.9)
    assert close == Close(1008, '{"message":"Rate limited"}')


def test_a_channel_takes_so_many_subscriptions() -> None:
    made = side()
    for place in range(256):
        sent(made, type="subscribe", channel="v4_subaccounts", id=f"dydx1/{place}")
    message = "Per-connection subscription limit reached for v4_subaccounts (limit=256)."
    assert sent(made, type="subscribe", channel="v4_subaccounts", id="dydx1/999") == [text(message, 257)]


def test_a_ping_in_json_is_ignored() -> None:
    assert sent(side(), type="ping") == []


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"subscribed","connection_id":"id","message_id":1,"channel":"v4_markets","contents":{"a":1.50}}',
        (
            b'{"type":"channel_data","connection_id":"id","message_id":1,"id":"A","channel":"v4_trades",'
            b'"version":"2.1.0","contents":{"x":"1.10"}}'
        ),
        (
            b'{"type":"channel_batch_data","connection_id":"id","message_id":1,"id":"A/0",'
            b'"channel":"v4_parent_subaccounts","version":"3.0.0","contents":[{}],"subaccountNumber":128}'
        ),
    ],
)
def test_a_message_is_written_as_the_venue_writes_it(message: bytes) -> None:
    """Same keys, same order, the contents' own digits; only connection and number are the connection's."""
    envelope = msgspec.json.decode(message, type=Envelope)
    made = VenueSide("id", lambda *_: True)
    made.greeting()
    assert made.data(envelope.type, rest_of(envelope)) == message
