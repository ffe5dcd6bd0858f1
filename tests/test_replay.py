"""A recording fed to an equal session gives the same states, bit for bit (C9)."""

import io
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from book_cases import BTC, ETH, A, B, book, long

from dydx_perf import Book
from dydx_perf.feeds.events import BlockSeen, Event, Fetch, Reconnect, Send
from dydx_perf.feeds.replay import replay
from dydx_perf.recording import Frame, RecordingReader, RecordingWriter, seconds


class Session:
    """A session whose state depends on every byte and on every time that it is told."""

    def __init__(self, held: Book) -> None:
        self.book = held
        self.log: list[tuple[Any, ...]] = []

    def start(self, now: float) -> Sequence[Event]:
        self.log.append(("start", now))
        return [Send(b"subscribe")]

    def receive(self, data: bytes, now: float) -> Sequence[Event]:
        message = json.loads(data)
        self.log.append(("receive", now, data))
        self.book.set_block(message["height"], now)
        return [BlockSeen(message["height"], str(now)), *self.book.apply_prices(message["prices"])]

    def tick(self, now: float) -> Sequence[Event]:
        self.log.append(("tick", now))
        return []

    def disconnected(self, now: float, code: int | None, reason: str) -> Sequence[Event]:
        self.log.append(("disconnected", now, code, reason))
        return [Reconnect(reason, now)]

    def fetched(self, fetch: Fetch, status: int, body: bytes, now: float) -> Sequence[Event]:
        self.log.append(("fetched", fetch, status, body, now))
        return [fetch]

    def node_answered(self, picture: Any, now: float) -> Sequence[Event]:
        self.log.append(("node", picture, now))
        return []


def session() -> Session:
    held = book()
    held.load([long(held, A), long(held, B, usdc="-19999")])
    return Session(held)


def lived(seed: int, writer: RecordingWriter) -> tuple[Session, list[list[Event]]]:
    """Let a session live through a random day as a recorder would: each frame written, then told."""
    rng = random.Random(seed)
    one, followed = session(), []
    time, height = 1_700_000_000_000_000_000, 10
    for _ in range(120):
        time += rng.randrange(1, 10**9)
        now = seconds(time)
        match rng.randrange(8):
            case 0:
                writer.append(Frame(time, "tick"))
                followed.append(list(one.tick(now)))
            case 1:
                code = rng.choice([None, 1006, 1008])
                writer.append(Frame(time, "closed", name="gone", code=code))
                followed.append(list(one.disconnected(now, code, "gone")))
                writer.append(Frame(time, "opened", name="wss://indexer"))
                followed.append(list(one.start(now)))
                writer.append(Frame(time, "sent", data=b"subscribe"))
            case 2:
                body = rng.randbytes(20)
                writer.append(Frame(time, "rest", 0, "/height", b"gap", body, 429))
                followed.append(list(one.fetched(Fetch("/height", "gap"), 429, body, now)))
            case _:
                height += 1
                prices = {BTC: str(rng.randrange(15_000, 25_000)), ETH: str(rng.randrange(900, 1100))}
                data = json.dumps({"height": height, "prices": prices}).encode()
                writer.append(Frame(time, "received", data=data))
                followed.append(list(one.receive(data, now)))
    return one, followed


@pytest.mark.parametrize("seed", range(6))
def test_a_replay_ends_in_the_same_book_to_the_last_bit(seed):
    """And tells the same events on the way; twice, since a replay leaves the recording as it is."""
    file = io.BytesIO()
    with RecordingWriter(file, block_bytes=1000) as writer:
        one, followed = lived(seed, writer)
    reader = RecordingReader(file)
    for _ in range(2):
        twin = session()
        told = [list(events) for frame, events in replay(reader, twin) if frame.kind != "sent"]
        assert told == followed
        assert twin.log == one.log
        assert twin.book.to_bytes() == one.book.to_bytes()
    assert any(not isinstance(event, BlockSeen) for events in followed for event in events)


def test_a_recording_of_a_replay_is_the_recording():
    """What is replayed and recorded again has the same frames."""
    file, again = io.BytesIO(), io.BytesIO()
    with RecordingWriter(file) as writer:
        lived(1, writer)
    with RecordingWriter(again) as writer:
        for frame, _ in replay(RecordingReader(file), session()):
            writer.append(frame)
    assert list(RecordingReader(again)) == list(RecordingReader(file))


def test_each_connection_has_its_session_and_others_are_passed_over():
    first, second = session(), session()
    frames = [Frame(n, "tick", n % 3) for n in range(9)] + [Frame(9, "note", 0, "subscribe")]
    told = list(replay(frames, {0: first, 1: second}))
    assert [frame for frame, _ in told] == frames
    assert [entry[1] for entry in first.log] == [0.0, 3e-9, 6e-9]
    assert [entry[1] for entry in second.log] == [1e-9, 4e-9, 7e-9]


def test_a_clock_that_went_back_is_held():
    one = session()
    list(replay([Frame(5, "tick"), Frame(3, "tick"), Frame(7, "tick")], one))
    assert [now for _, now in one.log] == [5e-9, 5e-9, 7e-9]


def test_answers_of_a_node_are_told_when_the_picture_is_complete():
    one = session()
    frames = [Frame(n, "unary", 0, "/query", b"asked", b"%d" % n) for n in range(4)]
    parts: list[bytes] = []

    def picture(frame: Frame) -> tuple[bytes, ...] | None:
        parts.append(frame.data)
        return tuple(parts) if len(parts) % 2 == 0 else None

    list(replay(frames, one, picture=picture))
    assert one.log == [("node", (b"0", b"1"), 1e-9), ("node", (b"0", b"1", b"2", b"3"), 3e-9)]
    assert [events for _, events in replay(frames, one)] == [()] * 4
    assert len(one.log) == 2
