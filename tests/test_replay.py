"""A recording fed to an equal session gives the same states, bit for bit (C9)."""

import io
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from book_cases import BTC, ETH, A, B, book, long
from feed_cases import MARKETS_BODY, OWNER, Wire, frame, new_book, position, snapshot, usdc

from dydx_perf import Book
from dydx_perf.errors import FeedError, FrameError
from dydx_perf.feeds.events import BlockSeen, Event, Fetch, Reconnect, Send
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.replay import replay
from dydx_perf.feeds.subscriptions import Markets, SubaccountOf
from dydx_perf.recording import Frame, FrameKind, RecordingReader, RecordingWriter, seconds


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

    def heard(self, now: float) -> None:
        self.log.append(("heard", now))

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
        match rng.randrange(9):
            case 0:
                writer.append(Frame(time, "tick"))
                followed.append(list(one.tick(now)))
            case 3:
                writer.append(Frame(time, "ping"))
                one.heard(now)
                followed.append([])
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


# ---- the indexer's own session


class RecordedWire(Wire):
    """A wire that writes down what it tells its session, and tells it the recorded times."""

    def __init__(self, writer: RecordingWriter) -> None:
        self.writer = writer
        super().__init__(Markets(), SubaccountOf(OWNER, 0), seed=3, confirm_snapshots=True)

    def note(self, kind: FrameKind, data: bytes = b"", **more: Any) -> float:
        self.time = max(getattr(self, "time", 0), round(self.now * 10**9)) + 1
        self.writer.append(Frame(self.time, kind, data=data, **more))
        self.now = seconds(self.time)
        return self.now

    def say(self, message: dict[str, Any], number: int | None = None) -> list[Event]:
        if number is None:
            self.number += 1
            number = self.number
        data = frame({**message, "message_id": number})
        events = list(self.session.receive(data, self.note("received", data)))
        self.events += events
        return events

    def start(self) -> list[dict[str, Any]]:
        self.events += self.session.start(self.note("opened", name="wss://indexer"))
        self.number = -1
        self.say({"type": "connected", "connection_id": "c"})
        return []

    def live(self, rng: random.Random) -> None:
        """A life with prices, updates, silence, garbage, answers and a lost connection."""
        self.start()
        self.subscribed("v4_markets", None, MARKETS_BODY)
        held = snapshot(balance=usdc("8000", "SHORT"), positions=[position(BTC, "0.1")])
        self.subscribed("v4_subaccounts", f"{OWNER}/0", held)
        self.heights()
        for height in range(101, 160):
            self.now += rng.random()
            match rng.randrange(8):
                case 0:
                    self.events += self.session.tick(self.note("tick"))
                case 1:
                    self.session.heard(self.note("ping"))
                case 2:
                    self.block(height)
                case 3:
                    for ask in [event for event in self.events if isinstance(event, Fetch)][-1:]:
                        now = self.note("rest", b"{}", name=ask.path, request=ask.why.encode(), code=500)
                        self.events += self.session.fetched(ask, 500, b"{}", now)
                case 4:
                    rows = [position(BTC, str(rng.randrange(-9, 9) / 100))]
                    self.data(
                        "v4_subaccounts",
                        f"{OWNER}/0",
                        [{"perpetualPositions": rows, "blockHeight": str(height)}],
                    )
                case _:
                    price = {
                        "oraclePrice": str(rng.randrange(70000, 95000)),
                        "effectiveAtHeight": str(height),
                    }
                    self.data("v4_markets", None, [{"oraclePrices": {BTC: price | {"marketId": 0}}}])
        with pytest.raises(FrameError):
            self.session.receive(b"garbage", self.note("received", b"garbage"))
        self.events += self.session.tick(self.note("tick"))
        self.events += self.session.disconnected(self.note("closed", name="lost", code=1006), 1006, "lost")


@pytest.mark.parametrize("seed", range(6))
def test_a_session_of_the_indexer_lives_the_same_life_again(seed):
    """Twice: the same events, the same doubts, the same risk, and the book equal to the last bit."""
    file = io.BytesIO()
    with RecordingWriter(file, block_bytes=2000) as writer:
        wire = RecordedWire(writer)
        wire.live(random.Random(seed))
    for _ in range(2):
        twin = IndexerSession([Markets(), SubaccountOf(OWNER, 0)], into=new_book(), seed=3)
        refusals: list[bytes] = []

        def refused(one: Frame, error: FeedError, refusals: list[bytes] = refusals) -> None:
            refusals.append(one.data)

        events: list[Event] = []
        for _, told in replay(RecordingReader(file), twin, refused=refused):
            events += told
        assert events == wire.events
        assert refusals == [b"garbage"]
        assert twin.book.to_bytes() == wire.book.to_bytes()
        assert twin.next_deadline == wire.session.next_deadline
        assert twin.risk(OWNER, 0, wire.now) == wire.session.risk(OWNER, 0, wire.now)
    with pytest.raises(FrameError):
        list(replay(RecordingReader(file), IndexerSession([Markets()], into=new_book())))
