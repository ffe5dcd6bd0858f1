"""What a node answered, written into a recording and read out of it again as one picture.

A question is a note of how many answers it has, and each answer after a note of the height that it told. All
of it is written where the session was told, so that a replay tells it at that time and between the same
frames. A question that is torn, as by a damaged block, is never told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dydx_perf.errors import InputError
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import NodeQuery, queries
from dydx_perf.feeds.replay import NODE_HEIGHT, NODE_PICTURE
from dydx_perf.recording import Frame

__all__ = ["RecordedAnswers", "answer_frames"]


def answer_frames(
    time: int, answers: Sequence[tuple[NodeQuery, bytes]], height: int | None, connection: int = 0
) -> list[Frame]:
    """Return what to write of the answers to one question.

    Parameters
    ----------
    time : int
        Nanoseconds at which the session is told of them: ``seconds(time)`` is its `now`.
    answers : sequence of (NodeQuery, bytes)
        All of a picture's, in the order in which it took them.
    height : int or None
        That every answer told.
    connection : int
    """
    count, told = b"%d" % len(answers), b"" if height is None else b"%d" % height
    frames = [Frame(time, "note", connection, NODE_PICTURE, data=count)]
    for query, answer in answers:
        frames.append(Frame(time, "note", connection, NODE_HEIGHT, data=told))
        frames.append(Frame(time, "unary", connection, query.method, query.request, answer, 0))
    return frames


class RecordedAnswers:
    """The pictures of a recording's questions: what `replay` takes as its `picture`.

    Parameters
    ----------
    accounts : iterable of (address, number)
        Every account that was asked about.
    pools : iterable of (perpetual id, is isolated)
        Every pool that was; see `queries`.
    """

    def __init__(
        self, accounts: Iterable[tuple[str, int]] = (), *, pools: Iterable[tuple[int, bool]] = ()
    ) -> None:
        asked = queries(accounts, parameters=True, pools=pools)
        self._queries = {(query.method, query.request): query for query in asked}
        self._open: dict[int, _Question] = {}  # by connection

    def __call__(self, frame: Frame) -> NodePicture | None:
        """Take a note or an answer; return the picture with the last answer of its question.

        Raises
        ------
        InputError
            It answers what is not asked about these accounts and pools.
        FrameError
            It cannot be read.
        """
        question = self._open.get(frame.connection)
        if frame.kind == "note":
            if frame.name == NODE_PICTURE and frame.data.isdigit():
                self._open[frame.connection] = _Question(int(frame.data), self._queries)
            elif frame.name == NODE_HEIGHT and question is not None:
                question.height = int(frame.data) if frame.data.isdigit() else None
            return None
        if question is None:
            return None
        question.take(frame)
        if question.missing:
            return None
        del self._open[frame.connection]
        return question.picture


class _Question:
    """Answers of one question so far."""

    def __init__(self, missing: int, known: dict[tuple[str, bytes], NodeQuery]) -> None:
        self.missing = missing
        self.height: int | None = None
        self.picture = NodePicture()
        self._known = dict(known)

    def take(self, frame: Frame) -> None:
        query = self._known.get((frame.name, frame.request))
        if query is None:
            raise InputError("frame", frame.name, "an answer about the accounts and pools that are given")
        following = self.picture.answer(query, frame.data, height=self.height)
        if following is not None:
            self._known[following.method, following.request] = following
        self.missing -= 1
