"""A recording as a venue that answers: snapshots, updates and answers by what they are of, in recorded order.

A client that comes in the middle gets the last snapshot of what it asks for and every update since, so that
it stands where the recording stands. Where the recorded connection ended, the clients' end, too; where its
owner took a new snapshot of something on the same connection, clients miss a number and are to do the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from dydx_perf.errors import SnapshotError
from dydx_perf.feeds.replay import NODE_HEIGHT
from dydx_perf.feeds.subscriptions import Key, key_of
from dydx_perf.recording import Frame, RecordingReader
from dydx_perf.service.venue import Envelope, rest_of

__all__ = ["Item", "Playback"]

Kind = Literal["snapshot", "update", "raw", "close", "rest", "unary", "stream"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of the recording that clients see.

    Attributes
    ----------
    time : int
        Nanoseconds of the recorder's clock.
    key : (str, str)
        (channel, id); of REST (path, ""); of a node (method, "").
    type : str
        Of a message with data.
    rest : bytes
        What follows a message's number; a body; a node's message.
    request : bytes
        Of a node's query.
    height : int or None
        That the node's answer told.
    """

    time: int
    kind: Kind
    connection: int = 0
    key: Key = ("", "")
    type: str = ""
    rest: bytes = b""
    request: bytes = b""
    code: int | None = None
    reason: str = ""
    height: int | None = None


@dataclass(slots=True)
class Playback:
    """What a recording holds, and how far it has been played.

    Attributes
    ----------
    items : list of Item
    position : int
        Number of items that were played.
    damage : list of str
        What of the recording could not be read.
    """

    items: list[Item]
    about: dict[str, str] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    position: int = 0
    _live: dict[Key, list[Item]] = field(default_factory=dict)
    _last: dict[Key, int] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _node_height: int | None = None
    _refusals: dict[Key, str] = field(default_factory=dict)
    _answers: dict[tuple[str, str, bytes], list[int]] = field(default_factory=dict)

    @staticmethod
    def of_file(path: str | os.PathLike[str]) -> Playback:
        """Read a recording whole; damage is skipped, and said in `damage`.

        Raises
        ------
        SnapshotError
            It is no recording, or holds nothing that a client would see.
        """
        with RecordingReader(path, resynchronise=True) as reader:
            made = Playback.of_frames(reader)
            made.about = dict(reader.about)
            made.damage = [str(one) for one in reader.damage]
        if not made.items:
            raise SnapshotError("the recording holds nothing that was received")
        return made

    @staticmethod
    def of_frames(frames: Iterable[Frame]) -> Playback:
        """Take frames in the order in which they came."""
        made = Playback([])
        for frame in frames:
            made._take(frame)
        for place, item in enumerate(made.items):
            if item.kind == "snapshot":
                made._last[item.key] = place
            if item.kind in ("snapshot", "update"):
                made._names.add(item.key[1].partition("/")[0])
            if item.kind in ("rest", "unary"):
                made._answers.setdefault((item.kind, item.key[0], item.request), []).append(place)
        return made

    def _take(self, frame: Frame) -> None:
        time, connection = frame.time, frame.connection
        match frame.kind:
            case "received":
                self._take_message(frame)
            case "closed":
                self.items.append(Item(time, "close", connection, code=frame.code, reason=frame.name))
            case "rest":  # its request is why it was asked
                self.items.append(
                    Item(time, "rest", connection, (frame.name, ""), "", frame.data, code=frame.code)
                )
            case "unary" | "stream":
                height, self._node_height = self._node_height, None
                key = frame.name, ""
                self.items.append(
                    Item(
                        time,
                        frame.kind,
                        connection,
                        key,
                        rest=frame.data,
                        request=frame.request,
                        code=frame.code,
                        height=height,
                    )
                )
            case "note" if frame.name == NODE_HEIGHT and frame.data.isdigit():
                self._node_height = int(frame.data)
            case _:
                pass

    def _take_message(self, frame: Frame) -> None:
        time, connection = frame.time, frame.connection
        try:
            envelope = msgspec.json.decode(frame.data, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.items.append(Item(time, "raw", connection, rest=frame.data))
            return
        key = key_of(envelope.channel, envelope.id)
        match envelope.type:
            case "subscribed":
                self.items.append(Item(time, "snapshot", connection, key, "subscribed", rest_of(envelope)))
            case "channel_data" | "channel_batch_data":
                self.items.append(Item(time, "update", connection, key, envelope.type, rest_of(envelope)))
            case "error" if envelope.channel:
                self._refusals[key] = envelope.message
            case "connected" | "unsubscribed" | "error" | "pong":
                pass
            case _:
                self.items.append(Item(time, "raw", connection, rest=frame.data))

    @property
    def is_over(self) -> bool:
        """Whether all of it was played."""
        return self.position >= len(self.items)

    def step(self) -> Item:
        """Play one item."""
        item = self.items[self.position]
        self.position += 1
        if item.kind == "snapshot":
            self._live[item.key] = [item]
        elif item.kind == "update" and item.key in self._live:
            self._live[item.key].append(item)
        elif item.kind == "close":
            self._live = {
                key: played for key, played in self._live.items() if played[0].connection != item.connection
            }
        return item

    def keys_of(self, connection: int) -> set[Key]:
        """Return what a recorded connection carries now."""
        return {key for key, played in self._live.items() if played[0].connection == connection}

    def played(self, key: Key) -> list[Item]:
        """Return the last snapshot of a subscription and the updates since; none: it has none now."""
        return list(self._live.get(key, ()))

    def has_later(self, key: Key) -> bool:
        """Whether a snapshot of it is still to come."""
        return self._last.get(key, -1) >= self.position

    def subscriptions(self) -> dict[str, tuple[str, ...]]:
        """Return the ids of what was recorded, by channel."""
        found: dict[str, list[str]] = {}
        for channel, name in self._last:
            found.setdefault(channel, []).append(name)
        return {channel: tuple(names) for channel, names in found.items()}

    def refusal(self, key: Key) -> str:
        """Return what the venue itself answered to this subscription, when that was an error."""
        return self._refusals.get(key, "")

    def is_known(self, channel: str, name: str) -> bool:
        """Whether the recording has heard of a ticker."""
        return name.partition("/")[0] in self._names or (channel, name) in self._refusals

    def answer(self, kind: Literal["rest", "unary"], name: str, request: bytes = b"") -> Item | None:
        """Return the answer that was last given to a question up to now, or the first one."""
        places = self._answers.get((kind, name, request), [])
        given = [place for place in places if place < self.position]
        return self.items[given[-1] if given else places[0]] if places else None
