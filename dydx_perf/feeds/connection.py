"""One connection to the indexer: which subscriptions live on it, and whether a message was lost.

The venue counts its messages, one by one for each connection. The number of an answer to a subscribe is
reserved when the request arrives, but the answer is sent when its snapshot was fetched: so a number may be
missing for a while without a loss. At most one is, for each subscribe that waits for an answer and was sent
before the number was missed; every other missing number is a lost message. Within one subscription numbers
only grow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.envelope import ErrorMessage
from dydx_perf.feeds.events import Reconnect, Send
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    Key,
    Subscription,
    key_of,
    subscribe_frame,
    unsubscribe_frame,
)

__all__ = ["Admission", "Connection", "Line", "Refusal"]

Admission = Literal["new", "repeated", "unwanted", "wrong order"]

#: a third subscribe to one id within this many seconds closes the connection
WINDOW = 1.0
MAX_MISSING = 100_000
#: of waits before a new connection, in seconds
SHORTEST_WAIT, LONGEST_WAIT = 0.5, 30.0
RATE_LIMITED, RESTARTING = 1008, 1012
COULD_NOT_FETCH = "Internal error, could not fetch data for subscription"
ALREADY = "Invalid subscribe message: already subscribed"


@dataclass(slots=True, eq=False)
class Line:
    """One subscription on the connection.

    Attributes
    ----------
    phase : str
        "waiting" to be sent; "asked"; "live"; "ending", an unsubscribe is on its way; "refused" for good.
    due : float
        When it may be sent.
    last_id : int
        Number of its newest message.
    """

    subscription: Subscription
    phase: Literal["waiting", "asked", "live", "ending", "refused"] = "waiting"
    wanted: bool = True
    due: float = 0.0
    asked_at: float = 0.0
    last_id: int = -1
    failures: int = 0
    sent: list[float] = field(default_factory=list)  # times of the last two subscribes


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an error of the venue is about.

    Attributes
    ----------
    line : Line or None
        None: of no subscription, or of one that cannot be told.
    is_final : bool
        It is not asked again on this connection.
    """

    line: Line | None
    is_final: bool


class Connection:
    """Message numbers and subscriptions of one connection, from its start to its end.

    Parameters
    ----------
    subscriptions : iterable of Subscription
    batched : bool
    deadlines : Deadlines
    seed : int
        Of the random part of the waits before a new connection.
    """

    def __init__(
        self, subscriptions: Iterable[Subscription], batched: bool, deadlines: Deadlines, seed: int
    ) -> None:
        self.deadlines = deadlines
        self.lines = {one.key: Line(one) for one in subscriptions}
        self.is_open = False
        self.greeted = False
        self.closing = False  # a Reconnect was requested
        self.heard_at = 0.0
        self._batched = batched
        self._random = random.Random(seed)
        self._pace = deadlines.pace
        self._next_send = 0.0
        self._highest = -1
        self._missing: dict[int, float] = {}
        self._attempts = 0

    # -- from start to end

    def start(self, now: float) -> list[Send]:
        """Begin with a new connection: everything is subscribed to anew."""
        self.is_open, self.greeted, self.closing = True, False, False
        self.heard_at, self._next_send = now, now
        self._highest, self._missing = -1, {}
        self.lines = {
            key: Line(line.subscription, due=now) for key, line in self.lines.items() if line.wanted
        }
        return self.pump(now)

    def greet(self, message_id: int) -> None:
        """Take the first message's number, from which the venue counts."""
        self.greeted = True
        self._highest, self._missing = message_id, {}

    def lost(self, code: int | None) -> Reconnect:
        """Take the end of the connection; return when to make the next one."""
        self.is_open, self.greeted, self.closing = False, False, True
        self._pace = self.deadlines.pace_after_limit if code == RATE_LIMITED else self.deadlines.pace
        most = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** min(self._attempts, 10))
        delay = self._random.uniform(SHORTEST_WAIT if code in (RATE_LIMITED, RESTARTING) else 0.0, most)
        if code == RATE_LIMITED:
            delay += WINDOW
        self._attempts += 1
        return Reconnect(f"closed with code {code}" if code is not None else "connection lost", delay)

    def reconnect(self, reason: str) -> list[Reconnect]:
        """Ask for a new connection, once."""
        if self.closing or not self.is_open:
            return []
        self.closing = True
        return [Reconnect(reason, 0.0)]

    # -- numbers

    def _note(self, message_id: int, now: float) -> bool:
        """Note a number; whether it was not seen before."""
        if message_id > self._highest:
            first = max(self._highest + 1, message_id - MAX_MISSING)
            self._missing.update(dict.fromkeys(range(first, message_id), now))
            self._highest = message_id
            return True
        return self._missing.pop(message_id, None) is not None

    def admit(self, key: Key, message_id: int, now: float) -> Admission:
        """Note the number of a message with data, and tell whether to apply it."""
        if not self._note(message_id, now):
            return "repeated"
        line = self.lines.get(key)
        if line is None or line.phase != "live" or not line.wanted:
            return "unwanted"
        if message_id < line.last_id:
            return "wrong order"
        line.last_id = message_id
        return "new"

    @property
    def highest(self) -> int:
        """The highest number that came; -1: none did."""
        return self._highest

    def caught_up(self, message_id: int, now: float) -> None:
        """Note messages up to a number, each the next of the one before, as `admit` would have."""
        self._highest, self.heard_at = message_id, now

    def missed_since(self) -> float | None:
        """Since when a number is missing that no waiting subscribe can explain; None: none is."""
        if not self._missing:
            return None
        asked = sorted(line.asked_at for line in self.lines.values() if line.phase == "asked")
        explained = 0
        for since in sorted(self._missing.values()):
            if explained < len(asked) and asked[explained] <= since:
                explained += 1
            else:
                return since
        return None

    # -- subscriptions

    def subscribe(self, subscription: Subscription, now: float) -> list[Send]:
        """Want a subscription; nothing happens where it is wanted already."""
        line = self.lines.setdefault(subscription.key, Line(subscription, due=now))
        line.wanted = True
        return self.pump(now)

    def unsubscribe(self, subscription: Subscription, now: float) -> list[Send]:
        """Want it no more. Until its subscribe is answered the venue would not cancel: that is waited for."""
        line = self.lines.get(subscription.key)
        if line is None:
            return []
        line.wanted = False
        if line.phase in ("waiting", "refused") or not self.is_open:
            del self.lines[subscription.key]
        return self._end(line) if line.phase == "live" else []

    def renew(self, line: Line, now: float, *, later: bool = False) -> list[Send]:
        """End a live subscription to ask for it anew, at once or later: only that brings a snapshot."""
        if line.phase != "live":
            return []
        if later:
            line.due = now + self._wait(line)
        return self._end(line)

    def _end(self, line: Line) -> list[Send]:
        line.phase = "ending"
        return [Send(unsubscribe_frame(line.subscription))]

    def answered(self, key: Key, message_id: int, now: float) -> tuple[Admission, list[Send]]:
        """Take `subscribed`: tell whether to apply its snapshot."""
        if not self._note(message_id, now):
            return "repeated", []
        line = self.lines.get(key)
        if line is None:
            return "unwanted", []
        self._attempts = 0
        line.phase, line.last_id = "live", message_id
        return ("new", []) if line.wanted else ("unwanted", self._end(line))

    def ended(self, key: Key, message_id: int, now: float) -> tuple[bool, list[Send]]:
        """Take `unsubscribed`: tell whether the subscription is over as was wanted."""
        if not self._note(message_id, now):
            return False, []
        line = self.lines.get(key)
        if line is None or line.phase != "ending":
            return False, []
        if line.wanted:
            line.phase, line.due = "waiting", max(line.due, now)
            return False, self.pump(now)
        del self.lines[key]
        return True, []

    def failed(self, line: Line, now: float) -> None:
        """Ask again later, each time twice as long, on a line that has no snapshot now."""
        line.phase, line.due = "waiting", now + self._wait(line)

    def _wait(self, line: Line) -> float:
        doubled: int = 1 << min(line.failures, 20)
        line.failures += 1
        return min(self.deadlines.longest_retry, self.deadlines.retry * doubled)

    def refused(self, message: ErrorMessage, now: float) -> tuple[Refusal, list[Send]]:
        """Take an error: find the subscription it is about, and decide whether to ask again.

        Errors before the reservation of a number repeat one; those after it use up the reserved number, by
        which the request is found where the text does not name it.
        """
        place = sum(1 for missing in self._missing if missing < message.message_id)
        reserved = message.message_id >= 0 and self._note(message.message_id, now)
        line = self._refused_line(message, place if reserved else None)
        if line is None:
            return Refusal(None, False), []
        if not line.wanted:
            del self.lines[line.subscription.key]
            return Refusal(line, True), []
        if message.message.startswith(COULD_NOT_FETCH) or message.message == "Internal error":
            self.failed(line, now)
            return Refusal(line, False), []
        if message.message.startswith(ALREADY):
            line.phase = "live"
            return Refusal(line, False), self._end(line)
        line.phase = "refused"
        return Refusal(line, True), []

    def _refused_line(self, message: ErrorMessage, place: int | None) -> Line | None:
        asked = sorted(
            (line for line in self.lines.values() if line.phase == "asked"), key=lambda line: line.asked_at
        )
        if message.channel:
            line = self.lines.get(key_of(message.channel, message.id))
            return line if line in asked else None
        for line in asked:
            channel, line_id = line.subscription.key
            if f"({channel}-{line_id or channel})" in message.message:
                return line
        of_channel = [line for line in asked if _names(message.message, line.subscription.channel)]
        if place is not None and place < len(asked) and (asked[place] in of_channel or not of_channel):
            return asked[place]
        return of_channel[0] if of_channel else None

    # -- time

    def pump(self, now: float) -> list[Send]:
        """Send what is due."""
        sent: list[Send] = []
        if not self.is_open or self.closing:
            return sent
        for line in self.lines.values():
            if line.phase != "waiting" or self._due(line) > now:
                continue
            line.phase, line.asked_at = "asked", now
            line.sent = [*line.sent[-1:], now]
            self._next_send = now + self._pace
            sent.append(Send(subscribe_frame(line.subscription, self._batched)))
        return sent

    def _due(self, line: Line) -> float:
        due = max(line.due, self._next_send)
        return max(due, line.sent[0] + WINDOW * 1.05) if len(line.sent) == 2 else due

    def late_answer(self, now: float) -> bool:
        """Whether a subscribe has waited too long for its answer."""
        return any(
            line.phase == "asked" and now >= line.asked_at + self.deadlines.answer
            for line in self.lines.values()
        )

    @property
    def silence(self) -> float:
        """How long nothing may come at all."""
        line = self.lines.get(BlockHeight().key)
        return self.deadlines.pulse if line is not None and line.phase == "live" else self.deadlines.silence

    @property
    def next_deadline(self) -> float | None:
        """When `tick` has something to do for the connection; None: never."""
        if not self.is_open or self.closing:
            return None
        deadlines = [self.heard_at + self.silence]
        if (missed := self.missed_since()) is not None:
            deadlines.append(missed + self.deadlines.settle)
        for line in self.lines.values():
            if line.phase == "waiting":
                deadlines.append(self._due(line))
            elif line.phase == "asked":
                deadlines.append(line.asked_at + self.deadlines.answer)
        return min(deadlines)


def _names(message: str, channel: str) -> bool:
    """Whether a text names a channel, and no longer one that starts the same."""
    before, found, after = message.partition(channel)
    return bool(found) and not (before[-1:] + after[:1]).replace("-", "").isalnum()
