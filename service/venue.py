"""The indexer's side of its WebSocket: what it answers to what a client sends, without a socket.

Numbers are reserved when a subscribe arrives and sent when its snapshot is there; an unsubscribe before that
is answered and cancels nothing; limits and error texts are the indexer's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from dydx_perf.feeds.subscriptions import CHANNEL_LIMITS, RESOLUTIONS, SINGLE, Key, key_of

__all__ = ["Close", "Envelope", "Subscribe", "VenueSide", "rest_of"]

RATE_LIMITED = '{"message":"Rate limited"}'
MOST, WINDOW = 2, 1.0  # subscribes of one id, or invalid messages, within so many seconds


class Envelope(msgspec.Struct, frozen=True):
    """A message of the indexer; its contents stay text."""

    type: str
    channel: str = ""
    id: str | None = None
    version: str | None = None
    contents: msgspec.Raw = msgspec.Raw(b"")
    subaccountNumber: int | None = None  # noqa: N815 - the wire's name
    message: str = ""


class Request(msgspec.Struct, frozen=True):
    """What a client sends; wrong types are found later, as the indexer does."""

    type: object = None
    channel: object = None
    id: object = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A subscription is wanted: answer with `subscribed` or `could_not_fetch`."""

    key: Key
    message_id: int


@dataclass(frozen=True, slots=True)
class Close:
    """The connection is to be closed."""

    code: int
    reason: str


@dataclass(slots=True)
class Window:
    """Count within one second from the first."""

    begin: float = float("-inf")
    count: int = 0

    def is_over(self, now: float) -> bool:
        """Count one more, and tell whether that is too many."""
        if now - self.begin >= WINDOW:
            self.begin, self.count = now, 0
        self.count += 1
        return self.count > MOST


def rest_of(envelope: Envelope) -> bytes:
    """Return what follows the number in a message with data, in the order in which the indexer writes it."""
    text = msgspec.json.encode
    parts = []
    if envelope.id is not None and envelope.type != "subscribed":
        parts.append(b'"id":' + text(envelope.id))
    parts.append(b'"channel":' + text(envelope.channel))
    if envelope.id is not None and envelope.type == "subscribed":
        parts.append(b'"id":' + text(envelope.id))
    if envelope.version is not None:
        parts.append(b'"version":' + text(envelope.version))
    parts.append(b'"contents":' + bytes(envelope.contents))
    if envelope.subaccountNumber is not None:
        parts.append(b'"subaccountNumber":%d' % envelope.subaccountNumber)
    return b",".join(parts) + b"}"


@dataclass(slots=True)
class VenueSide:
    """One connection as the indexer sees it.

    Attributes
    ----------
    connection_id : str
    is_known : callable of (channel, id)
        Whether there is such a thing to subscribe to.
    live : set of (channel, id)
        Subscriptions that were answered.
    pending : set of (channel, id)
        Those that wait for their snapshot.
    """

    connection_id: str
    is_known: Callable[[str, str], bool]
    live: set[Key] = field(default_factory=set)
    pending: dict[Key, int] = field(default_factory=dict)
    _number: int = -1
    _subscribes: dict[Key, Window] = field(default_factory=dict)
    _invalid: Window = field(default_factory=Window)

    def greeting(self) -> bytes:
        """Return the first message."""
        return self._message("connected", self.reserve())[:-1] + b"}"

    def reserve(self) -> int:
        """Return the next number."""
        self._number += 1
        return self._number

    def receive(self, data: bytes | str, now: float) -> list[bytes | Subscribe | Close]:
        """Take what a client sent, and return what follows from it, in order."""
        try:
            request = msgspec.json.decode(data, type=Request)
        except msgspec.ValidationError:
            return [self._error("Internal error", self._number)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._refuse_invalid("Invalid message: could not parse", now)
        if request.type is None:
            return self._refuse_invalid("Invalid message: type is required", now)
        if request.type == "ping":
            return []
        if request.type not in ("subscribe", "unsubscribe"):
            return self._refuse_invalid(f"Invalid message type: {request.type}", now)
        if request.channel is None:
            return [self._error("Invalid subscribe message: channel is required", self._number)]
        if not isinstance(request.channel, str) or request.channel not in CHANNEL_LIMITS:
            return [self._error(f"Invalid channel: {request.channel}", self._number)]
        channel, given = request.channel, request.id
        if channel not in SINGLE and not isinstance(given, str):
            shown = "undefined" if given is msgspec.UNSET else given
            return [self._error(f"Invalid id: {shown}", self._number)]
        named = given if isinstance(given, str) else None
        if request.type == "unsubscribe":
            return [self._unsubscribe(channel, named)]
        return self._subscribe(channel, named, now)

    def _subscribe(self, channel: str, named: str | None, now: float) -> list[bytes | Subscribe | Close]:
        key = key_of(channel, named)
        number = self.reserve()
        label = f"{channel}-{named or channel}"
        if self._subscribes.setdefault(key, Window()).is_over(now):
            text = f"Too many subscribe attempts for channel {label}. Please  reconnect and try again."
            return [self._error(text, number), Close(1008, RATE_LIMITED)]
        if not self._is_valid(key):
            return [self._error(f"Invalid subscription id for channel: ({channel}-{named})", number)]
        if key in self.live or key in self.pending:
            return [self._error(f"Invalid subscribe message: already subscribed ({label})", number, key)]
        taken = sum(held[0] == channel for held in (*self.live, *self.pending))
        if taken >= CHANNEL_LIMITS[channel]:
            text = (
                f"Per-connection subscription limit reached for {channel} (limit={CHANNEL_LIMITS[channel]})."
            )
            return [self._error(text, number)]
        self.pending[key] = number
        return [Subscribe(key, number)]

    def _is_valid(self, key: Key) -> bool:
        channel, name = key
        head, _, tail = name.partition("/")
        if channel in ("v4_subaccounts", "v4_parent_subaccounts"):
            most = 128_000 if channel == "v4_subaccounts" else 128
            return bool(head) and bool(re.fullmatch("[0-9]{1,6}", tail)) and int(tail) < most
        if channel == "v4_candles":
            return tail in RESOLUTIONS and self.is_known(channel, name)
        return channel in SINGLE or self.is_known(channel, name)

    def _unsubscribe(self, channel: str, named: str | None) -> bytes:
        self.live.discard(key_of(channel, named))
        # keys: type, connection_id, message_id, channel, id
        head = self._message("unsubscribed", self.reserve()) + b'"channel":' + msgspec.json.encode(channel)
        if named is not None and channel != "v4_markets":
            head += b',"id":' + msgspec.json.encode(named)
        return head + b"}"

    def subscribed(self, key: Key, rest: bytes) -> bytes:
        """Return the answer to a subscribe; `rest` is what `rest_of` made of a snapshot."""
        number = self.pending.pop(key)
        self.live.add(key)
        return self._message("subscribed", number) + rest

    def could_not_fetch(self, key: Key, message: str = "") -> bytes:
        """Return the error of a subscribe whose snapshot cannot be had."""
        text = message or f"Internal error, could not fetch data for subscription: {key[0]}."
        return self._error(text, self.pending.pop(key), key)

    def data(self, kind: str, rest: bytes) -> bytes:
        """Return a message with data."""
        return self._message(kind, self.reserve()) + rest

    def _message(self, kind: str, number: int) -> bytes:
        return b'{"type":"%b","connection_id":"%b","message_id":%d,' % (
            kind.encode(),
            self.connection_id.encode(),
            number,
        )

    def _refuse_invalid(self, text: str, now: float) -> list[bytes | Subscribe | Close]:
        if self._invalid.is_over(now):
            text = "Too many invalid messages. Please reconnect and try again."
            return [self._error(text, self._number), Close(1008, RATE_LIMITED)]
        return [self._error(text, self._number)]

    def _error(self, text: str, number: int, key: Key | None = None) -> bytes:
        message: dict[str, object] = {
            "type": "error",
            "message": text,
            "connection_id": self.connection_id,
            "message_id": max(number, 0),
        }
        if key is not None:
            message["channel"] = key[0]
            if key[1]:
                message["id"] = key[1]
        return msgspec.json.encode(message)
