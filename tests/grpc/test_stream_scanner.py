"""The scanner of stream responses and v4-proto agree on every message, and on what is none (C3)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stream_judge import StreamOrderbookUpdatesResponse, encoded, expected, fill_at_random, unknown_field
from stream_samples import SAMPLES, constructed, recorded

from dydx_perf import FrameError
from dydx_perf.ext.stream import StreamScanner

GROUP = "a group, of which no message here has any"
COUNTS = "as many fill amounts as orders were expected"
#: what this scanner refuses though v4-proto would not
STRICTER = {GROUP, COUNTS}


SCANNER = StreamScanner()


def scanned(data: bytes) -> list[tuple[Any, ...]]:
    SCANNER.scan(data)
    found = [
        (*head, sorted(records, key=lambda record: record[0]) if head[2] != 3 else records)
        for *head, records in SCANNER.updates()
    ]
    SCANNER.release()
    return found


def judged(data: bytes) -> list[tuple[Any, ...]] | None:
    try:
        response = StreamOrderbookUpdatesResponse.FromString(data)
    except DecodeError:
        return None
    try:
        return expected(response)
    except ValueError:  # orders and amounts that do not pair
        return [(COUNTS,)]


def outcome(data: bytes) -> list[tuple[Any, ...]] | FrameError:
    try:
        return scanned(data)
    except FrameError as refused:
        return refused


def agree(data: bytes) -> bool:
    """Hold the scanner to v4-proto on any bytes; tell whether they were a message."""
    answer, found = judged(data), outcome(data)
    if isinstance(found, FrameError):
        assert found.place is not None
        assert 0 <= found.place <= len(data)
        assert answer is None or found.reason in STRICTER, (data.hex(), found)
        assert len(SCANNER) == SCANNER.record_count == 0
        return False
    assert answer == found, data.hex()
    return True


def response(seed: int, density: float = 0.7) -> StreamOrderbookUpdatesResponse:
    source = random.Random(seed)
    made = StreamOrderbookUpdatesResponse()
    while not made.updates:
        fill_at_random(made, source, density)
    return made


if SAMPLES is not None:

    def test_every_recorded_message_reads_as_v4_proto_reads_it() -> None:
        """35 messages of mainnet, one of 404 KB."""
        messages = [message for _, message in recorded()]
        assert len(messages) == 35
        assert all(agree(message) for message in messages)

    def test_every_constructed_message_reads_as_v4_proto_reads_it() -> None:
        """Every kind of update."""
        assert all(agree(message) for message in constructed().values())

    @pytest.mark.parametrize("message", constructed().values(), ids=constructed())
    def test_a_constructed_message_cut_at_every_byte_or_with_a_bit_turned_is_judged_alike(
        message: bytes,
    ) -> None:
        """Whatever comes of it, both say the same."""
        for length in range(len(message)):
            agree(message[:length])
        source = random.Random(len(message))
        for place in range(len(message)):
            changed = bytearray(message)
            changed[place] ^= 1 << source.randrange(8)
            agree(bytes(changed))


@given(st.integers(0, 2**32), st.sampled_from([0.3, 0.7, 1.0]))
def test_messages_with_any_fields_read_as_v4_proto_reads_them(seed: int, density: float) -> None:
    """All fields at random: defaults, negative numbers, numbers at the ends of their types."""
    assert agree(response(seed, density).SerializeToString())


@given(st.integers(0, 2**32))
def test_messages_of_another_writer_read_as_v4_proto_reads_them(seed: int) -> None:
    """Fields in any order and twice, unpacked lists, long varints and fields that are not known."""
    source = random.Random(seed)
    agree(encoded(response(seed), source))


@given(st.integers(0, 2**32))
def test_parts_that_come_twice_are_merged_as_v4_proto_merges_them(seed: int) -> None:
    """Two messages one after the other are one, down to the last oneof."""
    source = random.Random(seed)
    halves = [encoded(response(seed + i).updates[0], source) for i in range(2)]
    joined = b"".join(halves)
    length = len(joined)
    prefix = bytearray(b"\x0a")
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    agree(bytes(prefix) + joined)


@given(st.integers(0, 2**32), st.data())
def test_damaged_messages_are_judged_alike(seed: int, data: st.DataObject) -> None:
    """Bytes flipped, cut, put in, taken out: no crash, and the same verdict."""
    message = bytearray(response(seed, 0.5).SerializeToString())
    source = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(message)) if message else 0
        match source.randrange(4):
            case 0 if message:
                message[place] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
            case 1:
                del message[place:]
            case 2:
                message[place:place] = source.randbytes(source.randint(1, 4))
            case _:
                del message[place : place + source.randint(1, 3)]
    agree(bytes(message))


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_a_message_cut_at_every_byte_is_judged_alike(seed: int) -> None:
    """Each offset, not a few."""
    message = response(seed, 0.6).SerializeToString()[:600]
    for length in range(len(message) + 1):
        agree(message[:length])


@given(st.binary(max_size=64))
@example(b"")
@example(b"\x0a\x00")
@example(b"\x0b\x0c")  # a group
@example(b"\x0a\x02\x0b\x0c")
@example(b"\x00\x00")  # field number 0
@example(b"\x0e\x00")  # wire type 6
@example(b"\x08" + b"\x80" * 9 + b"\x01")
@example(b"\x08" + b"\x80" * 9 + b"\x7f")  # bits past 64
@example(b"\x08" + b"\x80" * 10 + b"\x01")  # eleven bytes
@example(b"\x88\x80\x80\x80\x80\x01\x00")  # a tag of six bytes
@example(b"\x88\x80\x80\x80\x10\x00")  # a tag past 32 bits
@example(b"\x88\x80\x80\x80\x00\x00")  # a tag longer than needed
@example(b"\x0a\x80\x80\x80\x80\x10")  # a length past 32 bits
@example(b"\x0a\xff\xff\xff\xff\x0f")
@example(b"\x0a\x80\x80\x80\x80\x80\x00")
def test_any_bytes_are_judged_alike(data: bytes) -> None:
    """The scanner refuses what v4-proto refuses, and what it says it refuses besides."""
    agree(data)


TEXT = [
    ("dydx1", True),
    ("é", True),
    ("\U0010ffff", True),
    (b"\xff", False),
    (b"\xc0\x80", False),
    (b"\xed\xa0\x80", False),
    (b"\xf4\x90\x80\x80", False),
    (b"\xe2\x82", False),
    (b"abcdefgh\x80", False),
    (b"\xf0\x80\x80\x80", False),
    (b"\xe0\x80\x80", False),
]


@pytest.mark.parametrize(("text", "allowed"), TEXT)
def test_addresses_are_utf8_or_refused(text: str | bytes, allowed: bool) -> None:
    """Overlong forms, surrogates and cut characters are none."""
    raw = text.encode() if isinstance(text, str) else text
    who = b"\x0a" + bytes([len(raw)]) + raw
    body = b"\x0a" + bytes([len(who)]) + who
    update = b"\x32" + bytes([len(body)]) + body
    assert agree(b"\x0a" + bytes([len(update)]) + update) is allowed


def test_what_is_refused_names_the_place() -> None:
    """The offset of the byte at which reading stopped."""
    cases = {
        b"\x0a\x05\x08": ("a length past the end of the message around it", 1),
        b"\x0a\x01\x08": ("the message ends within a field", 3),
        b"\x0a\x02\x0b\x0c": (GROUP, 2),
        b"\x0a\x02\x0e\x00": ("a field number of 0 or a wire type that is none", 2),
    }
    for data, (reason, place) in cases.items():
        with pytest.raises(FrameError) as refused:
            SCANNER.scan(data)
        assert (refused.value.reason, refused.value.place) == (reason, place)


def test_nothing_of_a_message_is_given_out_when_its_last_byte_is_wrong() -> None:
    """A whole message, then half a field: no update and no record."""
    good = response(3).SerializeToString()
    assert SCANNER.scan(good)
    with pytest.raises(FrameError):
        SCANNER.scan(good + b"\x0a\x03\x08")
    assert (len(SCANNER), SCANNER.record_count, SCANNER.updates()) == (0, 0, [])


def test_orders_and_fill_amounts_that_do_not_pair_are_refused() -> None:
    """v4-proto would let them pass, and nobody could say which amount is whose."""
    made = StreamOrderbookUpdatesResponse()
    made.updates.add().order_fill.orders.add()
    with pytest.raises(FrameError, match=COUNTS):
        SCANNER.scan(made.SerializeToString())
    made.updates[0].order_fill.fill_amounts.extend([1, 2])
    with pytest.raises(FrameError, match=COUNTS):
        SCANNER.scan(made.SerializeToString())


def test_a_message_with_more_records_than_allowed_is_refused_whole() -> None:
    """The room that a message may take is bounded by the reader, not by the sender."""
    made = StreamOrderbookUpdatesResponse()
    made.updates.add().orderbook_update.updates.extend(
        [made.updates[0].orderbook_update.updates.add() for _ in range(200)]
    )
    small = StreamScanner(max_records=100)
    with pytest.raises(FrameError, match="more records"):
        small.scan(made.SerializeToString())
    assert len(small) == 0
    assert SCANNER.scan(made.SerializeToString()) == 1


def test_unknown_fields_of_every_wire_type_are_passed_over() -> None:
    """At each level of a message."""
    source = random.Random(8)
    for seed in range(200):
        agree(unknown_field(source) + response(seed).SerializeToString() + unknown_field(source))
