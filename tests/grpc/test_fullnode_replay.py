"""A recorded stream of a full node, told to an equal session, gives the same states, bit for bit (C9)."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from typing import Any

import pytest
from node_answers import account, answers, as_message, leverage
from node_stream_cases import ALICE, H, Message, filled, liquidated, session, snapshot

from dydx_perf.errors import FeedError, FrameError, InputError
from dydx_perf.feeds.events import AskNode, Event
from dydx_perf.feeds.fullnode import FullNodeSession
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import NodeQuery, queries
from dydx_perf.feeds.node_stream import METHOD
from dydx_perf.feeds.recorded_answers import RecordedAnswers, answer_frames
from dydx_perf.feeds.replay import replay
from dydx_perf.recording import Frame, RecordingReader, RecordingWriter, seconds

START = 1_700_000_000_000_000_000


def answered(usdc: int, eth: int, *, markets: bool) -> list[tuple[NodeQuery, bytes]]:
    """A node's answers about the account, as bytes."""
    held = {
        "subaccount": account(*ALICE, usdc, {1: (eth, -1_234_567)} if eth else {}),
        "leverage": leverage(pair_1=150_000),
    }
    told = {**answers(), **held}
    return [
        (query, as_message(query, told[query.name]).SerializeToString())
        for query in queries((ALICE,), markets=markets, parameters=markets)
    ]


class Life:
    """A session that is told what it is told at the times that are written down."""

    def __init__(self, file: io.BytesIO) -> None:
        self.writer = RecordingWriter(file, block_bytes=2_000)
        self.session = session()
        self.followed: list[list[Event]] = []
        self.refused: list[bytes] = []
        self.asked: list[AskNode] = []
        self.time, self.height = START, H
        self.usdc, self.eth = -2_104_651_550, 10**9

    @property
    def now(self) -> float:
        return seconds(self.time)

    def note(self, events: Sequence[Event]) -> None:
        self.followed.append(list(events))
        self.asked += [event for event in events if isinstance(event, AskNode)]

    def start(self) -> None:
        self.writer.append(Frame(self.time, "opened", name=METHOD))
        self.note(self.session.start(self.now))
        self.take(snapshot(self.height, abs(self.usdc), self.eth).data())

    def take(self, message: bytes) -> None:
        self.writer.append(Frame(self.time, "stream", 0, METHOD, b"", message))
        try:
            self.note(self.session.receive(message, self.now))
        except FrameError:
            self.refused.append(message)

    def tick(self) -> None:
        self.writer.append(Frame(self.time, "tick"))
        self.note(self.session.tick(self.now))

    def end(self) -> None:
        self.writer.append(Frame(self.time, "closed", name="unavailable", code=14))
        self.note(self.session.disconnected(self.now, 14, "unavailable"))

    def answer(self, ask: AskNode, height: int | None) -> None:
        told, picture = answered(self.usdc, self.eth, markets=ask.markets), NodePicture()
        for query, answer in told:
            assert picture.answer(query, answer, height=height) is None
        for frame in answer_frames(self.time, told, height):
            self.writer.append(frame)
        self.note(self.session.node_answered(picture, self.now))

    def go_on(self, rng: random.Random, turns: int) -> None:
        """Prices, accounts, fills, optimistic updates, silence, garbage, answers and lost connections."""
        self.start()
        for _ in range(turns):
            due = self.session.next_deadline
            self.time += rng.choice((10**6, 10**8, 10**9, 9 * 10**9 if rng.random() < 0.1 else 10**7))
            if due is not None and self.now >= due:
                self.tick()
            if self.session._phase == "closed":
                self.start()
            pick = rng.random()
            if self.asked and pick < 0.5:
                self.answer(self.asked.pop(), rng.choice((self.height,) * 5 + (self.height - 2, None)))
                self.asked.clear()
            elif pick < 0.03:
                self.end()
            elif pick < 0.06:
                self.take(b"\xff\xff")
            else:
                self.block(rng)
            self.session.risk(*ALICE, self.now)  # reading a figure between two frames changes nothing

    def block(self, rng: random.Random) -> None:
        self.height += 1
        made = Message().price(self.height, 1, rng.randrange(10**9, 4 * 10**9), -6)
        pick = rng.random()
        if pick < 0.25:
            self.usdc, self.eth = rng.choice((0, -(10**9), 3 * 10**9)), rng.choice((0, 10**9, -(10**9)))
            made.account(self.height, abs(self.usdc), {1: self.eth})
        elif pick < 0.4:
            self.eth += 10**6
            made.account(self.height, None, {1: self.eth})
        elif pick < 0.5:
            made = liquidated(self.height, ALICE, deleveraging=rng.random() < 0.5)
        elif pick < 0.6:
            made = filled(self.height, rng.choice((0, 7)), 10**8, 2 * 10**8)
        elif pick < 0.8:
            price = rng.randrange(29_000, 32_000) * 10**5
            made.place(self.height, rng.choice((0, 102)), rng.randrange(9), rng.choice((1, 2)), 10**9, price)
        self.take(made.data())

    def state(self) -> list[Any]:
        return state(self.session, self.now)


def state(one: FullNodeSession, now: float) -> list[Any]:
    """All that can be asked of a session."""
    orders = one.order_book("ETH-USD")
    assert orders is not None
    return [
        one.book.to_bytes(),
        one.risk(*ALICE, now),
        one.height,
        one.next_deadline,
        [[part.tolist() for part in orders.queues.levels(side)] for side in (True, False)],
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_session_of_a_full_node_lives_the_same_life_again(seed: int) -> None:
    """Twice: the same events, refusals, risk, orders, and the book equal to the last bit."""
    file = io.BytesIO()
    life = Life(file)
    life.go_on(random.Random(seed), 150)
    life.writer.close()
    for _ in range(2):
        twin, refused, followed = session(), [], []

        def refuse(frame: Frame, error: FeedError, refused: list[bytes] = refused) -> None:
            refused.append(frame.data)

        picture = RecordedAnswers([ALICE])
        for _, events in replay(RecordingReader(file), twin, picture=picture, refused=refuse):
            followed.append(list(events))
        assert [events for events in followed if events] == [events for events in life.followed if events]
        assert refused == life.refused
        assert state(twin, life.now) == life.state()
    kinds = {type(event).__name__ for events in life.followed for event in events}
    assert {"Send", "Subscribed", "BlockSeen", "AskNode", "Crossing", "TrustChanged", "Reconnect"} <= kinds
    assert life.refused


def test_without_the_nodes_answers_a_replay_ends_elsewhere() -> None:
    """A test of the test: signs come from answers alone."""
    file = io.BytesIO()
    life = Life(file)
    life.start()
    life.answer(life.asked.pop(), H)
    life.writer.close()
    twin = session()
    list(replay(RecordingReader(file), twin))
    assert life.session.risk(*ALICE, life.now).verdict == "safe"
    assert twin.risk(*ALICE, life.now).doubts == ("unknown_sign",)


# ---- answers in a recording


def test_a_question_is_told_with_its_last_answer_and_at_its_height() -> None:
    told = answered(-7, 5, markets=True)
    frames = answer_frames(9, told, H)
    picture = RecordedAnswers([ALICE])
    found = [picture(frame) for frame in frames]
    assert found[:-1] == [None] * (len(frames) - 1)
    last = found[-1]
    assert last is not None
    assert (last.height, last.missing([ALICE]), {frame.time for frame in frames}) == (H, (), {9})
    assert picture(frames[-1]._replace(name="/other")) is None  # an answer of no question


def test_a_torn_question_is_never_told() -> None:
    """What a damaged block took away is not made up by the next question's answers."""
    first, second = (answer_frames(0, answered(usdc, 5, markets=False), H) for usdc in (-7, -8))
    picture = RecordedAnswers([ALICE])
    found = [picture(frame) for frame in [*first[:-1], *second]]
    assert [one is not None for one in found] == [False] * (len(found) - 1) + [True]
    last = found[-1]
    assert last is not None
    assert last.accounts == (ALICE,)


def test_connections_do_not_share_a_question() -> None:
    told = answered(-7, 5, markets=False)
    both = [answer_frames(0, told, H + number, number) for number in (0, 1)]
    picture = RecordedAnswers([ALICE])
    found = [picture(frame) for pair in zip(*both, strict=True) for frame in pair]
    assert [one.height for one in found if one is not None] == [H, H + 1]


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    picture = RecordedAnswers([])
    *notes, answer = answer_frames(0, answered(-7, 5, markets=False), H)[:3]
    assert [picture(note) for note in notes] == [None, None]
    with pytest.raises(InputError, match="Subaccount"):
        picture(answer)
