"""Faults by seed: whatever is lost, doubled, turned, cut or late, nothing wrong is called safe for long.

The rule, exactly. At any moment an account whose state in the book differs from the venue's is under a doubt,
except for what cannot be known yet: a message of that account, or of a price, was sent or withheld within the
last settling time, and nothing that came after it shows that it is missing. What the venue loses between
reading a snapshot and registering is no exception: no snapshot is trusted before REST agreed with it.

After the faults end, and the time of one repair, every account equals the venue's, without a doubt.
"""

import json

import pytest
from feed_cases import OWNER, frame, new_book, sent
from indexer_model import DECIMALS, Venue, body_of

from dydx_perf.errors import FrameError
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.events import Fetch, Reconnect
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.subscriptions import Markets, SubaccountOf

ACCOUNTS = 3
STEP = 1.0
DEADLINES = Deadlines(
    settle=2, verify_after=3, reconcile_every=10, retry=1, pulse=5, answer=6, oracle_silence=20
)
#: seconds in which a loss may stay unseen
UNSEEN = DEADLINES.settle + 2 * STEP
FAULTS = ("drop", "duplicate", "reorder", "truncate", "delay", "disconnect", "freeze")


class Client:
    """A session on a faulty wire to the model."""

    def __init__(self, seed, faults):
        self.venue = Venue(seed, ACCOUNTS)
        self.random = self.venue.random
        self.faults = faults
        self.book = new_book()
        wanted = [Markets(), *(SubaccountOf(OWNER, number) for number in range(ACCOUNTS))]
        self.session = IndexerSession(wanted, into=self.book, deadlines=DEADLINES, seed=seed)
        self.now = 1000.0
        self.connect_at = self.now
        self.delayed = []  # (when, frame)
        self.fetches = []  # (when, fetch, answer)
        self.frozen_until = 0.0
        self.wrong_since = {}
        self.troubled_at = self.now
        self.clean = False

    def handle(self, events):
        for event in events:
            if isinstance(event, Reconnect):
                self.venue.connection, self.delayed = None, []
                if event.delay == 0:
                    self.handle(self.session.disconnected(self.now, 1006))
                    continue
                self.connect_at = self.now + event.delay
            elif isinstance(event, Fetch):
                self.fetches.append((self.now + self.random.choice((0, 1)), event))
        for request in sent(events):
            if self.venue.connection is not None:
                self.venue.connection.receive(request)

    def deliver(self, data):
        if self.venue.connection is None:
            return
        try:
            self.handle(self.session.receive(data, self.now))
        except FrameError:
            self.handle(self.session.tick(self.now))

    def run(self, steps, clean=False):
        for _ in range(steps):
            self.clean = clean
            self.now += STEP
            self.step()
            self.check()

    def step(self):
        if self.venue.connection is None and self.now >= self.connect_at:
            self.venue.connect()
            self.handle(self.session.start(self.now))
        self.venue.block(quiet=self.clean)
        connection = self.venue.connection
        if connection is not None:
            frames, connection.out = connection.out, []
            due = [data for at, data in self.delayed if at <= self.now]
            self.delayed = [one for one in self.delayed if one[0] > self.now]
            for data in self.disturbed([frame(one) for one in frames]) + due:
                if self.now >= self.frozen_until:
                    self.deliver(data)
        for at, fetch in list(self.fetches):
            if at <= self.now:
                self.fetches.remove((at, fetch))
                self.answer(fetch)
        for _ in range(100):
            due = self.session.next_deadline
            if due is None or due > self.now:
                break
            self.handle(self.session.tick(self.now))
        else:
            raise AssertionError("deadlines that never end")

    def answer(self, fetch):
        if fetch.path.startswith("/orders"):
            self.handle(self.session.fetched(fetch, 200, b"[]", self.now))
            return
        if not self.clean and self.random.random() < 0.2:
            self.handle(self.session.fetched(fetch, 503, b"<html>", self.now))
            return
        number = int(fetch.path.rpartition("/")[2])
        lags = self.random.random() < 0.3
        truth = (self.venue.before if lags else self.venue.accounts)[number]
        answer = {"subaccount": body_of(number, truth, self.venue.height - lags)}
        self.handle(self.session.fetched(fetch, 200, json.dumps(answer).encode(), self.now))

    def disturbed(self, frames):
        if self.clean or not frames or self.random.random() > 0.15:
            return frames
        self.troubled_at = self.now
        fault, at = self.random.choice(self.faults), self.random.randrange(len(frames))
        if fault == "drop":
            del frames[at]
        elif fault == "duplicate":
            frames.insert(self.random.randint(at, len(frames)), frames[at])
        elif fault == "reorder":
            self.random.shuffle(frames)
        elif fault == "truncate":
            frames[at] = frames[at][: self.random.randrange(len(frames[at]))]
        elif fault == "delay":
            self.delayed.append((self.now + self.random.randint(1, 3), frames.pop(at)))
        elif fault == "disconnect":
            self.venue.connection, self.delayed = None, []
            self.handle(
                self.session.disconnected(self.now, self.random.choice((1001, 1006, 1008, 1011, 1012)))
            )
            return []
        else:
            self.frozen_until = self.now + self.random.randint(2, 12)
        return frames

    # -- what is said, against what is true

    def differs(self, number):
        truth = self.venue.accounts[number]
        name = (OWNER, number)
        if name not in self.book:
            return True
        held = self.book.subaccount(name)
        sizes = {ticker: one.quantums for ticker, one in held.positions.items()}
        wanted = {t: size * 10 ** (DECIMALS[t] - 3) for t, size in truth.sizes.items() if size}
        prices = all(
            self.book.chain[ticker].oracle_price.decimal == self.venue.prices[ticker] for ticker in wanted
        )
        return sizes != wanted or held.usdc_quantums != truth.usdc * 10_000 or not prices

    def check(self):
        for number in range(ACCOUNTS):
            said = self.session.risk(OWNER, number, self.now)
            if said.verdict == "unknown" or not self.differs(number):
                self.wrong_since.pop(number, None)
                continue
            since = self.wrong_since.setdefault(number, self.now)
            allowed = max(UNSEEN, DEADLINES.pulse + STEP)  # the wire is silent
            assert self.now - since <= allowed, (number, said, self.now - since)
            assert self.session.account(OWNER, number).reconciled_at is not None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(2))
def test_one_kind_of_fault_is_noticed_and_repaired(fault, seed):
    """Nothing wrong is safe for longer than the rule allows, and at the end all is equal and trusted."""
    client = Client(seed, (fault,))
    client.run(120)
    client.run(60, clean=True)
    settled(client)


@pytest.mark.parametrize("seed", range(100, 110))
def test_all_faults_at_once_are_noticed_and_repaired(seed):
    """As for one kind, with any of them at any time."""
    client = Client(seed, FAULTS)
    client.run(150)
    client.run(60, clean=True)
    settled(client)


def settled(client):
    for number in range(ACCOUNTS):
        assert not client.differs(number), number
        said = client.session.risk(OWNER, number, client.now)
        assert said.doubts == ()
        assert said.verdict != "unknown"
