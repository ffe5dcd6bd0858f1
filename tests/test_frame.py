"""The scanner of indexer frames: the same as the full parser and the plain records, or handed over."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from frame_cases import CORPUS, SCANNER, judge, own_frames, scanner, shared_frames, taken
from frame_makers import damaged, frame, written
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import InputError
from dydx_perf.ext.frame import FrameScanner

OWN = dict(own_frames())
seeds = st.integers(0, 2**63)


# -- samples

HANDED_OVER = {
    *("markets:4", "markets:6", "markets:7", "orderbook:5", "orderbook:6"),
    *("other:1", "other:2", "other:3", "other:4", "subaccounts:6", "trades:3"),
    *("spelling:3", "spelling:4", "spelling:5", "spelling:6", "spelling:8", "spelling:9"),
}


@pytest.mark.parametrize("name", OWN)
def test_own_samples_are_taken_but_for_those_named(name: str) -> None:
    """Handed over: other types and channels, statistics, markets and spellings that are not known here."""
    assert taken(OWN[name]) == (name not in HANDED_OVER)


SHARED = dict(shared_frames())

if SHARED:

    @pytest.mark.parametrize("name", SHARED)
    def test_a_shared_sample_is_handed_over_or_the_same(name: str) -> None:
        taken(SHARED[name])

    def test_most_shared_data_frames_are_taken() -> None:
        data = [one for one in SHARED.values() if b'"channel_' in one]
        assert sum(taken(one) for one in data) > 0.8 * len(data)


@pytest.mark.parametrize("name", OWN)
def test_a_frame_cut_anywhere_is_handed_over(name: str) -> None:
    data = OWN[name].strip()
    for length in range(len(data)):
        assert not taken(data[:length])
        assert SCANNER.records() == []


@pytest.mark.parametrize("name", sorted(set(OWN) - HANDED_OVER))
def test_a_frame_with_any_byte_changed_is_handed_over_or_the_same(name: str) -> None:
    random = Random(name)
    data = OWN[name]
    for place in range(len(data)):
        for byte in (*random.sample(range(256), 6), *b'"{}[],:\\0 -'):
            taken(data[:place] + bytes([byte]) + data[place + 1 :])


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name[:12])
def test_what_the_fuzzer_found_stays_found(path: Path) -> None:
    judge(path.read_bytes())


# -- made-up frames


@given(seeds)
def test_frames_of_the_schema_are_handed_over_or_the_same(seed: int) -> None:
    random = Random(seed)
    taken(written(random, frame(random)))


@given(seeds)
def test_damaged_frames_are_handed_over_or_the_same(seed: int) -> None:
    random = Random(seed)
    data = written(random, frame(random))
    for _ in range(20):
        taken(damaged(random, data))


@given(seeds)
def test_a_damaged_sample_is_handed_over_or_the_same(seed: int) -> None:
    random = Random(seed)
    data = random.choice(list(OWN.values()))
    for _ in range(20):
        taken(damaged(random, data))


def test_many_of_the_made_up_frames_are_taken() -> None:
    """The two properties above are not empty."""
    random = Random(4)
    frames = [written(random, frame(random)) for _ in range(400)]
    assert sum(taken(one) for one in frames) > 100
    assert sum(taken(damaged(random, one)) for one in frames) > 20


@given(st.binary(max_size=80))
def test_any_bytes_are_handed_over(data: bytes) -> None:
    assert not taken(data)


# -- what hands over

LEVEL = b'{"type":"channel_data","message_id":1,"id":"ETH-USD","channel":"v4_orderbook","contents":%s}'


def level(contents: bytes) -> bytes:
    return LEVEL % contents


def batch(contents: bytes) -> bytes:
    return level(b"[%s]" % contents).replace(b"channel_data", b"channel_batch_data")


def test_the_plainest_frame_is_taken() -> None:
    assert taken(level(b'{"bids":[["3311.9","2.5"]]}'))


@pytest.mark.parametrize(
    "contents",
    [
        b'{"bids":[["3311.9","2.5"]],"bids":[]}',
        b'{"bids":[["3311.9","2.5"]],"x":{"a":1,"b":2,"a":1}}',
        b'{"bids":[["3311.9","2.5"]],}',
        b'{"bids":[["3311.9","2.5"],]}',
        b'{"bids":[["3311.9","2.5"]] "x":1}',
        b'{"bids":[["3311.9","2.5",]]}',
        b'{"bids":[["3311.9"]]}',
        b'{"bids":[[]]}',
        b'{"bids":[["3311.9","-1"]]}',
        b'{"bids":[["0","1"]]}',
        b'{"bids":[["3311.9","2.5000000001"]]}',
        b'{"bids":[["3311.9","99999999999"]]}',
        b'{"bids":[["3311.9","2.5"]],"x":tru}',
        b'{"bids":[["3311.9","2.5"]],"x":NaN}',
        b'{"bids":[["3311.9","2.5"]],"x":-Infinity}',
        b'{"bids":[["3311.9","2.5"]],"x":01}',
        b'{"bids":[["3311.9","2.5"]],"x":1.}',
        b'{"bids":[["3311.9","2.5"]],"x":.1}',
        b'{"bids":[["3311.9","2.5"]],"x":-}',
        b'{"bids":[["3311.9","2.5"]],"x":+1}',
        b'{"bids":[["3311.9","2.5"]],"x":1e3}',
        b'{"bids":[["3311.9","2.5"]],"x":[1 2]}',
        b'{"bids":[["3311.9","2.5"]],"x":{"a"}}',
        b'{"bids":[["3311.9","2.5"]],"x":{"a":}}',
        b'{"bids":[["3311.9","2.5"]],"x":{a:1}}',
        b'{"bids":[["3311.9","2.5"]],"x":[}',
        b'{"bids":[["3311.9","2.5"]],"x":"a\nb"}',
        b'{"bids":[["3311.9","2.5"]],"x":"\\u0041"}',
        b'{"bids":[["3311.9","2.5"]],"x":"\xc3\xa9"}',
        b'{"bids":[["3311.9","2.5"]],"x":"\xff"}',
        b'{"bids":[["3311.9","2.5"]],"x":' + b"1" * 101 + b"}",
        b'{"bids":[["3311.9","2.5"]],"x":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"bids":[["' + b"0" * 100 + b'1","2.5"]]}',
        b'{"bids":null}',
        b'[{"bids":[]}]',
        b"null",
        b'{"bids":[["3311.9","2.5"]]}} ,',
    ],
)
def test_what_is_not_read_hands_over(contents: bytes) -> None:
    assert not taken(level(contents))
    assert not taken(batch(contents))
    assert not taken(batch(b'{"asks":[["1","1"]]},' + contents))


@pytest.mark.parametrize(
    "contents",
    [
        b'{"bids":[["3311.9","2.5"]],"x":[0,-0.5,true,false,null,"",{},[],[[]],{"a":{"b":[1]}}]}',
        b'{"bids":[["3311.9000","9223372036.854775807"]]}',
        b'{"bids":[["3311.9","2.5"]],"x":' + b"[" * 8 + b"]" * 8 + b"}",
        b'{"bids":[["3311.9","2.5"]],"x":' + b"1" * 100 + b"}",
        b'{"bids":[["' + b"0" * 99 + b'1","2.5"]]}',
        b'{"bids":[["3311.9","2.5"]],"x":{"a":"b","b":"a","c":{"a":1,"c":2}}}',
        b'{ "bids" : [ [ "3311.9" , "2.5" ] , [ "1" , "0" ] ] }\n\t ',
    ],
)
def test_what_is_read_past(contents: bytes) -> None:
    assert taken(level(contents))
    assert taken(batch(contents))
    assert taken(batch(b'{"asks":[["1","1"]]},' + contents + b',{"bids":[["2","0"]]}'))


def test_a_key_twice_hands_over_wherever_it_stands() -> None:
    """In objects that are read, in objects that are skipped, among few keys and among many."""
    for count in (2, 8, 40, 60):
        row = {f"key{i}": i for i in range(count)}
        text = json.dumps(row)
        assert taken(level(b'{"bids":[],"x":%s}' % text.encode()))
        for repeated in (0, count // 2, count - 1):
            doubled = f'{text[:-1]},"key{repeated}":1}}'
            assert not taken(level(b'{"bids":[],"x":%s}' % doubled.encode()))
    for name in sorted(set(OWN) - HANDED_OVER):
        data = OWN[name].decode()
        for key in ("type", "message_id", "contents", "channel", "id", "connection_id"):
            assert not taken(f'{data.rstrip()[:-1]},"{key}":1}}'.encode()) or f'"{key}"' not in data


def test_more_keys_than_are_compared_hand_over() -> None:
    """The cost of a frame does not grow with the square of its keys."""
    many = json.dumps({f"key{i}": i for i in range(20_000)}).encode()
    assert not taken(level(b'{"bids":[],"x":%s}' % many))


def test_the_contents_may_come_first() -> None:
    data = json.loads(level(b'{"bids":[["3311.9","2.5"]]}'))
    for order in (list(data), list(data)[::-1], ["contents", "id", "channel", "type", "message_id"]):
        assert taken(json.dumps({key: data[key] for key in order}).encode())


@pytest.mark.parametrize("missing", ["type", "message_id", "id", "channel", "contents"])
def test_a_frame_that_lacks_what_is_needed_hands_over(missing: str) -> None:
    data = json.loads(level(b'{"bids":[]}'))
    del data[missing]
    assert not taken(json.dumps(data).encode())


@pytest.mark.parametrize(
    "message_id", ["-1", "01", "1.0", "1e0", '"1"', "true", "null", "9223372036854775807", "1" * 19]
)
def test_a_message_id_that_is_no_small_natural_number_hands_over(message_id: str) -> None:
    assert not taken(level(b"{}").replace(b'"message_id":1', f'"message_id":{message_id}'.encode()))
    assert taken(level(b"{}").replace(b'"message_id":1', b'"message_id":' + b"9" * 18))


# -- room and markets


def test_more_records_than_there_is_room_for_hand_over() -> None:
    small = scanner(max_records=3)
    rows = [["1", "1"]] * 4
    assert not taken(level(json.dumps({"bids": rows}).encode()), small)
    assert taken(level(json.dumps({"bids": rows[:3]}).encode()), small)


def test_after_a_frame_that_was_handed_over_there_are_no_records() -> None:
    """Half a frame is never given out."""
    assert taken(level(b'{"bids":[["1","1"]]}'))
    assert SCANNER.records() != []
    assert SCANNER.read(level(b'{"bids":[["1","1"]],"asks":[["1",null]]}')) is None
    assert SCANNER.records() == []


def test_markets_can_be_registered_by_the_thousand_and_again() -> None:
    one = FrameScanner()
    for number in range(3000):
        one.register_market(f"T{number}-USD", number, -6, -9)
    for number in (0, 1, 1234, 2999):
        data = level(b'{"bids":[["1","2"]]}').replace(b"ETH-USD", f"T{number}-USD".encode())
        assert one.read(data) is not None
        assert one.records() == [("level", 0, number, "", "bid", "", -1, 10**6, 2 * 10**9, -1, "exact", ())]
    one.register_market("T7-USD", 9000, -1, 0)
    assert one.scales["T7-USD"] == (9000, -1, 0)
    assert one.read(level(b'{"bids":[["1","2"]]}').replace(b"ETH-USD", b"T7-USD")) is not None
    assert one.records()[0][2:9] == (9000, "", "bid", "", -1, 10, 2)


def test_a_scanner_without_markets_takes_what_needs_none() -> None:
    none = FrameScanner()
    assert taken(OWN["subaccounts:8"], none)
    assert taken(OWN["markets:1"], none)
    assert not taken(OWN["orderbook:1"], none)


def test_tickers_of_every_length_are_told_apart() -> None:
    one = FrameScanner()
    names = ["X" * length for length in range(1, 80)]
    for number, name in enumerate(names):
        one.register_market(name, number, 0, 0)
    for number, name in enumerate(names):
        assert one.read(level(b'{"asks":[["1","2"]]}').replace(b"ETH-USD", name.encode())) is not None
        assert one.records()[0][2] == number
    assert one.read(level(b'{"asks":[["1","2"]]}').replace(b"ETH-USD", b"X" * 80)) is None


def test_a_scale_of_any_size_is_exact_or_handed_over() -> None:
    one = FrameScanner()
    for exponent in (-100, -40, -19, -18, -7, -1, 0, 1, 7, 100):
        one.register_market("ETH-USD", 0, exponent, 0)
        for text in ("1", "0.1", "70000000", "1234567.1234567", "0.0000001", "9999999.9999999"):
            data = level(f'{{"bids":[["{text}","0"]]}}'.encode())
            whole, _, decimals = text.partition(".")
            value = int(whole + decimals) * 10**200 // 10 ** (200 + exponent + len(decimals))
            exact = int(whole + decimals) * 10**200 % 10 ** (200 + exponent + len(decimals)) == 0
            if exact and value < 2**63:
                assert one.read(data) is not None
                assert one.records()[0][7] == value
            else:
                assert one.read(data) is None


# -- buffers


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: data.decode("ascii")])
def test_every_kind_of_buffer_is_read(kind: Any) -> None:
    assert taken(kind(OWN["markets:2"]))


def test_a_view_with_gaps_and_text_past_ascii_hand_over() -> None:
    data = OWN["markets:2"]
    spread = bytes(byte for one in data for byte in (one, 0))
    assert SCANNER.read(memoryview(spread)[::2]) is None
    assert SCANNER.read(data.decode().replace("EUR-USD", "ÉUR-USD")) is None


def test_a_view_into_a_larger_buffer_is_read_to_its_end() -> None:
    """Digits and quotes that lie behind the end are not looked at."""
    data = OWN["orderbook:1"]
    around = memoryview(b"9" * 9 + data + b'9"]]}}' * 4)
    assert taken(around[9 : 9 + len(data)])
    for cut in range(1, 30):
        assert not taken(around[9 : 9 + len(data) - cut])


@pytest.mark.parametrize("wrong", [None, 5, [b"{}"]])
def test_what_is_no_buffer_is_the_callers_mistake(wrong: Any) -> None:
    with pytest.raises(InputError, match="frame"):
        SCANNER.read(wrong)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("", 0, 0, 0), "ticker"),
        (("É-USD", 0, 0, 0), "ticker"),
        ((b"X", 0, 0, 0), "ticker"),
        (("X", -1, 0, 0), "market"),
        (("X", 2**32 - 1, 0, 0), "market"),
        (("X", True, 0, 0), "market"),
        (("X", 0, 101, 0), "price_exponent"),
        (("X", 0, 0, -101), "atomic_resolution"),
        (("X", 0, 0, 2**70), "atomic_resolution"),
    ],
)
def test_a_market_that_cannot_be_is_refused(arguments: Any, name: str) -> None:
    one = FrameScanner()
    with pytest.raises(InputError) as refused:
        one.register_market(*arguments)
    assert refused.value.argument == name
    assert one.scales == {}


@pytest.mark.parametrize("wrong", [0, -1, 2**24 + 1, True, "8"])
def test_room_for_records_is_checked(wrong: Any) -> None:
    with pytest.raises(InputError, match="max_records"):
        FrameScanner(wrong)
