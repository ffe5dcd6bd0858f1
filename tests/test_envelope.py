"""The full parser of the indexer's frames: what it takes, what it refuses, and where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import FrameError, InputError
from dydx_perf.feeds.envelope import (
    MAX_FRAME_BYTES,
    ConnectedMessage,
    DataMessage,
    ErrorMessage,
    NumberText,
    PongMessage,
    SubscribedMessage,
    UnsubscribedMessage,
    parse_frame,
)


def frame(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


DATA = {
    "type": "channel_data",
    "connection_id": "c",
    "message_id": 3,
    "channel": "v4_markets",
    "contents": {},
}


def refusal(data: bytes | str) -> tuple[str, int | None, str]:
    with pytest.raises(FrameError) as refused:
        parse_frame(data)
    return refused.value.reason, refused.value.place, refused.value.field


def test_each_type_of_message_is_read() -> None:
    assert parse_frame(frame(type="connected", connection_id="c", message_id=0)) == ConnectedMessage("c", 0)
    assert parse_frame(
        frame(
            type="subscribed", connection_id="c", message_id=1, channel="v4_markets", contents={"markets": {}}
        )
    ) == SubscribedMessage("v4_markets", "", 1, {"markets": {}})
    assert parse_frame(
        frame(type="unsubscribed", message_id=5, channel="v4_orderbook", id="ETH-USD")
    ) == UnsubscribedMessage("v4_orderbook", "ETH-USD", 5)
    assert parse_frame(frame(**DATA, version="1.0.0")) == DataMessage(
        "v4_markets", "", 3, "1.0.0", [{}], False, None
    )
    assert parse_frame(
        frame(
            **{**DATA, "type": "channel_batch_data", "contents": [{"a": 1}, {}], "id": "i"},
            subaccountNumber=128,
        )
    ) == DataMessage("v4_markets", "i", 3, "", [{"a": 1}, {}], True, 128)
    assert parse_frame(frame(type="error", message="no")) == ErrorMessage("no", "", "", -1)
    assert parse_frame(
        frame(type="error", message="no", message_id=4, channel="v4_trades", id="X")
    ) == ErrorMessage("no", "v4_trades", "X", 4)
    assert parse_frame(frame(type="pong", connection_id="c", message_id=9)) == PongMessage()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: data.decode()])
def test_every_kind_of_buffer_is_read(kind: Any) -> None:
    assert parse_frame(kind(frame(**DATA, version="é"))) == DataMessage(
        "v4_markets", "", 3, "é", [{}], False, None
    )


def test_a_view_with_gaps_is_read_as_its_bytes() -> None:
    """A memoryview need not be contiguous."""
    data = frame(type="pong")
    spread = bytes(byte for one in data for byte in (one, 0))
    assert parse_frame(memoryview(spread)[::2]) == PongMessage()


def test_no_number_becomes_a_float() -> None:
    """Points and exponents stay text; integers are ints."""
    data = b'{"type":"channel_data","message_id":1,"channel":"c","contents":{"a":0.1,"b":1E3,"c":-7}}'
    message = parse_frame(data)
    assert isinstance(message, DataMessage)
    [contents] = message.contents
    assert contents == {"a": "0.1", "b": "1E3", "c": -7}
    assert [type(value) for value in contents.values()] == [NumberText, NumberText, int]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ("expecting value", 0, "")),
        (b"not json", ("expecting value", 0, "")),
        (b"{", ("expecting property name enclosed in double quotes", 1, "")),
        (b'{"type":"pong"} x', ("extra data", 16, "")),
        (b'{"type":"pong"', ("expecting ',' delimiter", 14, "")),
        (b'{"type":"p\nong"}', ("invalid control character at", 10, "")),
        ('{"é":"ö" x'.encode(), ("expecting ',' delimiter", 11, "")),
        (b'{"type":"\xff"}', ("not UTF-8", 9, "")),
        (b'\xef\xbb\xbf{"type":"pong"}', ("expecting value", 0, "")),
        ('{"é":"\ud800"}', ("half of a surrogate pair", 7, "")),
        (rb'{"type":"pong","a":"\ud800"}', ("half of a surrogate pair", None, "")),
        (b'{"a":"NaN","b":NaN}', ("NaN is no JSON", 15, "")),
        (b'{"a":-Infinity}', ("-Infinity is no JSON", 5, "")),
        (b'{"a":{"b":1,"c":2,"b":1}}', ("the same key twice in an object", None, "b")),
        (b'{"a":' + b"1" * 101 + b"}", ("a number of more than 100 characters", 5, "")),
        (b'{"a":"\xc3\xa9","b":0.' + b"1" * 100 + b"}", ("a number of more than 100 characters", 14, "")),
        (b"[]", ("an object was expected", 0, "")),
        (b"null", ("an object was expected", 0, "")),
        (b"[" * 100_000 + b"]" * 100_000, ("nested too deep", None, "")),
        (b'{"a":' * 100_000, ("nested too deep", None, "")),
    ],
)
def test_what_is_no_frame_is_refused_with_its_place(
    data: bytes | str, expected: tuple[str, int | None, str]
) -> None:
    reason, place, field = refusal(data)
    assert (reason.lower(), place, field) == (expected[0].lower(), *expected[1:])


def test_a_frame_longer_than_the_limit_is_refused_unread() -> None:
    assert refusal(b" " * (MAX_FRAME_BYTES + 1)) == (
        f"longer than {MAX_FRAME_BYTES} bytes",
        MAX_FRAME_BYTES,
        "",
    )


@pytest.mark.parametrize("wrong", [None, 5, [b"{}"]])
def test_what_is_no_buffer_is_the_callers_mistake(wrong: Any) -> None:
    with pytest.raises(InputError, match="data"):
        parse_frame(wrong)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"type": None}, "type"),
        ({"type": 1}, "type"),
        ({"type": "hello"}, "type"),
        ({"message_id": None}, "message_id"),
        ({"message_id": -1}, "message_id"),
        ({"message_id": True}, "message_id"),
        ({"message_id": 1.0}, "message_id"),
        ({"message_id": 2**63}, "message_id"),
        ({"message_id": "3"}, "message_id"),
        ({"channel": None}, "channel"),
        ({"channel": 1.5}, "channel"),
        ({"id": 5}, "id"),
        ({"version": 2.5}, "version"),
        ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"subaccountNumber": -1}, "subaccountNumber"),
        ({"subaccountNumber": "0"}, "subaccountNumber"),
        ({"subaccountNumber": 2**31}, "subaccountNumber"),
        ({"type": "channel_batch_data"}, "contents"),
        ({"type": "channel_batch_data", "contents": [{}, []]}, "contents[1]"),
        ({"type": "subscribed", "contents": [{}]}, "contents"),
        ({"type": "unsubscribed", "id": []}, "id"),
        ({"type": "error"}, "message"),
        ({"type": "error", "message": "no", "message_id": "x"}, "message_id"),
        ({"type": "connected", "message_id": None}, "message_id"),
        ({"type": "connected", "connection_id": 7}, "connection_id"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(changed: dict[str, Any], field: str) -> None:
    _, place, named = refusal(frame(**{**DATA, **changed}))
    assert (place, named) == (None, field)


def test_a_type_that_is_not_known_is_named() -> None:
    assert refusal(frame(type="channel_moved"))[0] == "unknown type of message: 'channel_moved'"


def test_nulls_and_keys_that_are_not_known_are_left_alone() -> None:
    known = parse_frame(frame(**DATA))
    assert parse_frame(frame(**DATA, id=None, version=None, subaccountNumber=None, new={"x": [1]})) == known


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_frame(data)
    except FrameError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*DATA, "id", "version", "subaccountNumber", "message"]), json_values))
def test_any_object_is_read_or_refused_by_field(fields: dict[str, Any]) -> None:
    refused = None
    try:
        parse_frame(frame(**fields))
    except FrameError as error:
        refused = error
    assert refused is None or refused.field
