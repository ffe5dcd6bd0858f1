"""Feed sessions what was recorded, at the times at which it came: the same states, bit for bit.

Nothing sleeps: who wants the recorded pace waits between the frames that `replay` yields. A session of the
same subscriptions on an equal book goes through the states of the recorded one if the recorder wrote each
frame in the order in which it told the session, told it the frame's own `seconds`, and wrote each tick and
each ping, too. What was subscribed to later stands in notes of the recorder's own, to be carried out as they
come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from dydx_perf.errors import FeedError
from dydx_perf.feeds.events import Event, Fetch
from dydx_perf.recording import Frame, seconds

__all__ = ["NODE_HEIGHT", "NODE_PICTURE", "ReplayedSession", "replay"]

#: name of the note before a node's answer: the height that its metadata told
NODE_HEIGHT = "node height"
#: name of the note before the answers to one question: how many there are
NODE_PICTURE = "node picture"


class ReplayedSession(Protocol):
    """What a recording is fed to; a method is needed only where a frame of its kind comes."""

    def start(self, now: float) -> Sequence[Event]:
        """Hear of a new connection."""

    def receive(self, data: bytes, /, now: float) -> Sequence[Event]:
        """Take a frame or a message."""

    def tick(self, now: float) -> Sequence[Event]:
        """Hear the time."""

    def heard(self, now: float) -> None:
        """Hear of what is no message."""

    def disconnected(self, now: float, code: int | None, reason: str) -> Sequence[Event]:
        """Hear of a connection's end."""

    def fetched(self, fetch: Fetch, status: int, body: bytes, now: float) -> Sequence[Event]:
        """Take the answer to a query of REST."""

    def node_answered(self, picture: Any, now: float) -> Sequence[Event]:
        """Take what a node answered."""


def replay(
    frames: Iterable[Frame],
    sessions: ReplayedSession | Mapping[int, ReplayedSession],
    *,
    picture: Callable[[Frame], Any] | None = None,
    refused: Callable[[Frame, FeedError], None] | None = None,
) -> Iterator[tuple[Frame, Sequence[Event]]]:
    """Tell the sessions what was recorded, frame by frame, and yield each with what followed from it.

    Parameters
    ----------
    frames : iterable of Frame
        A `RecordingReader`.
    sessions : ReplayedSession, or mapping of connection number to ReplayedSession
        One for all connections, or one for each; frames of other connections are yielded without events.
    picture : callable, optional
        Given each note and each unary answer of a node, returns what `node_answered` takes once it is
        complete, before that None: `RecordedAnswers`. Without it a node's answers are yielded without events.
    refused : callable
        Given a frame and what the session raised for it, as it did when it was recorded; the replay goes on.
        Without it the error is raised, and the replay ends.

    Yields
    ------
    (Frame, sequence of Event)
        Sent frames and notes have no events. A clock that went back is held at its latest time.
    """
    now = float("-inf")
    for frame in frames:
        now = max(now, seconds(frame.time))
        session = sessions.get(frame.connection) if isinstance(sessions, Mapping) else sessions
        events: Sequence[Event] = ()
        if session is not None:
            try:
                events = _told(session, frame, now, picture)
            except FeedError as error:
                if refused is None:
                    raise
                refused(frame, error)
        yield frame, events


def _told(
    session: ReplayedSession, frame: Frame, now: float, picture: Callable[[Frame], Any] | None
) -> Sequence[Event]:
    """Tell a session of one frame."""
    match frame.kind:
        case "received" | "stream":
            return session.receive(frame.data, now)
        case "tick":
            return session.tick(now)
        case "ping":
            session.heard(now)
            return ()
        case "opened":
            return session.start(now)
        case "closed":
            return session.disconnected(now, frame.code, frame.name)
        case "rest":
            fetch = Fetch(frame.name, frame.request.decode())
            return session.fetched(fetch, frame.code or 0, frame.data, now)
        case "unary" | "note" if picture is not None:
            answer = picture(frame)
            return () if answer is None else session.node_answered(answer, now)
        case _:
            return ()
