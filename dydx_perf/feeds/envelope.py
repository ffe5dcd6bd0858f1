"""Frames of the indexer's WebSocket, read whole and strictly: the parser for all that the scanner hands over.

One frame is one JSON object in UTF-8. Nothing becomes a float: a number that has a point or an exponent
stays its text (`NumberText`). What JSON leaves open is refused: a key twice in one object, NaN and Infinity,
half of a surrogate pair. Keys that are not known are left alone, so that a newer server can be read; a type
of message that is not known is refused by name, for nobody can say what it changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from dydx_perf.errors import FrameError, InputError

__all__ = [
    "MAX_FRAME_BYTES",
    "ConnectedMessage",
    "DataMessage",
    "ErrorMessage",
    "Frame",
    "Message",
    "NumberText",
    "PongMessage",
    "SubscribedMessage",
    "UnsubscribedMessage",
    "parse_frame",
]

#: The largest snapshot is some hundred KB; what is longer than this is not the venue.
MAX_FRAME_BYTES = 64 << 20
_MAX_NUMBER = 100  # characters; the cost of a number must not be the sender's choice
_MAX_ID = 2**63 - 1
_MAX_SUBACCOUNT = 2**31 - 1

Frame: TypeAlias = bytes | bytearray | memoryview | str


class NumberText(str):
    """A JSON number with a point or an exponent, as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ConnectedMessage:
    """The first message of a connection."""

    connection_id: str
    message_id: int


@dataclass(frozen=True, slots=True)
class SubscribedMessage:
    """The answer to a subscribe, with the snapshot: the body of a REST answer."""

    channel: str
    id: str
    message_id: int
    contents: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnsubscribedMessage:
    """The answer to an unsubscribe."""

    channel: str
    id: str
    message_id: int


@dataclass(frozen=True, slots=True)
class DataMessage:
    """Updates of one subscription, oldest first.

    Attributes
    ----------
    channel, id : str
        The id is empty where the channel has none.
    message_id : int
    version : str
        Empty where the server said none.
    contents : list of dict
        One for each update, of a batch or not.
    batched : bool
    subaccount_number : int or None
        Which child it is about, on ``v4_parent_subaccounts``.
    """

    channel: str
    id: str
    message_id: int
    version: str
    contents: list[dict[str, Any]]
    batched: bool
    subaccount_number: int | None


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """A refusal in the server's words; channel and id empty, message_id -1, where it names none."""

    message: str
    channel: str
    id: str
    message_id: int


@dataclass(frozen=True, slots=True)
class PongMessage:
    """The answer of older servers to a ping."""


Message: TypeAlias = (
    ConnectedMessage | SubscribedMessage | UnsubscribedMessage | DataMessage | ErrorMessage | PongMessage
)


def parse_frame(data: Frame) -> Message:
    """Read one frame.

    Parameters
    ----------
    data : bytes, bytearray, memoryview or str
        The frame's payload, at most 64 MiB.

    Returns
    -------
    Message

    Raises
    ------
    FrameError
        With the byte at which reading stopped, or with the field that cannot be what it is.
    InputError
        `data` is none of these types.
    """
    frame = _object(_decoded(data))
    kind = _text(frame, "type")
    reader = _READERS.get(kind)
    if reader is None:
        raise FrameError(f"unknown type of message: {kind[:60]!r}", field="type")
    return reader(frame)


# -- JSON


def _decoded(data: Frame) -> str:
    """Return the frame as text, of which every character can be written in UTF-8."""
    if not isinstance(data, (bytes, bytearray, memoryview, str)):
        raise InputError("data", data, "bytes, bytearray, memoryview or str")
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"longer than {MAX_FRAME_BYTES} bytes", place=MAX_FRAME_BYTES)
    try:
        if isinstance(data, str):
            data.encode("utf-8")
            return data
        return str(data.tobytes() if isinstance(data, memoryview) else data, "utf-8")
    except UnicodeDecodeError as error:
        raise FrameError("not UTF-8", place=error.start) from None
    except UnicodeEncodeError as error:
        raise FrameError("half of a surrogate pair", place=_bytes_before(error.object, error.start)) from None


class _RefusedError(Exception):
    """A hook's refusal, until the place is known: (reason, field, pattern of the token)."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError("the same key twice in an object", key, "")
            seen.add(key)
    return made


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise _RefusedError(f"a number of more than {_MAX_NUMBER} characters", "", re.escape(text))
    return int(text)


def _number(text: str) -> NumberText:
    if len(text) > _MAX_NUMBER:
        raise _RefusedError(f"a number of more than {_MAX_NUMBER} characters", "", re.escape(text))
    return NumberText(text)


def _constant(name: str) -> None:
    raise _RefusedError(f"{name} is no JSON", "", re.escape(name))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_number, parse_int=_integer, parse_constant=_constant, strict=True
)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def _object(text: str) -> dict[str, Any]:
    """Read the text as one JSON object."""
    try:
        made = _DECODER.decode(text)
        if _HALF_PAIR.search(text):
            json.dumps(made, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise FrameError(_sentence(error.msg), place=_bytes_before(text, error.pos)) from None
    except _RefusedError as error:
        reason, field, token = error.args
        raise FrameError(reason, place=_place_of(text, token), field=field[:60]) from None
    except UnicodeEncodeError:
        raise FrameError("half of a surrogate pair", place=_place_of(text, "")) from None
    except RecursionError:
        raise FrameError("nested too deep") from None
    if not isinstance(made, dict):
        raise FrameError("an object was expected", place=0)
    return made


def _sentence(reason: str) -> str:
    """Return the decoder's words in the voice of the other refusals."""
    return reason[:1].lower() + reason[1:]


def _bytes_before(text: str, position: int) -> int:
    """Turn a place in the text into one in the frame's bytes."""
    return len(text[:position].encode("utf-8", "surrogatepass"))


def _place_of(text: str, token: str) -> int | None:
    """Find a token that is not part of a string; None where the place cannot be told."""
    if token:
        for found in re.finditer(rf'"(?:[^"\\]|\\.)*"|({token})', text):
            if found[1]:
                return _bytes_before(text, found.start())
    return None


# -- fields


def _text(frame: dict[str, Any], key: str) -> str:
    """Return a text that has to be there."""
    value = frame.get(key)
    if type(value) is not str:
        raise FrameError("a string was expected", field=key)
    return value


def _optional_text(frame: dict[str, Any], key: str) -> str:
    """Return a text; empty where it is missing or null."""
    return "" if frame.get(key) is None else _text(frame, key)


def _natural(frame: dict[str, Any], key: str, most: int) -> int:
    value = frame.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise FrameError(f"an integer from 0 to {most} was expected", field=key)
    return value


def _contents(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FrameError("an object was expected", field=field)
    return value


# -- messages


def _connected(frame: dict[str, Any]) -> ConnectedMessage:
    return ConnectedMessage(_optional_text(frame, "connection_id"), _natural(frame, "message_id", _MAX_ID))


def _subscribed(frame: dict[str, Any]) -> SubscribedMessage:
    return SubscribedMessage(
        _text(frame, "channel"),
        _optional_text(frame, "id"),
        _natural(frame, "message_id", _MAX_ID),
        _contents(frame.get("contents"), "contents"),
    )


def _unsubscribed(frame: dict[str, Any]) -> UnsubscribedMessage:
    return UnsubscribedMessage(
        _text(frame, "channel"), _optional_text(frame, "id"), _natural(frame, "message_id", _MAX_ID)
    )


def _data(frame: dict[str, Any]) -> DataMessage:
    return _message(frame, [_contents(frame.get("contents"), "contents")], batched=False)


def _batch(frame: dict[str, Any]) -> DataMessage:
    contents = frame.get("contents")
    if not isinstance(contents, list):
        raise FrameError("a list was expected", field="contents")
    for place, element in enumerate(contents):
        _contents(element, f"contents[{place}]")
    return _message(frame, contents, batched=True)


def _message(frame: dict[str, Any], contents: list[dict[str, Any]], *, batched: bool) -> DataMessage:
    number = None
    if frame.get("subaccountNumber") is not None:
        number = _natural(frame, "subaccountNumber", _MAX_SUBACCOUNT)
    return DataMessage(
        _text(frame, "channel"),
        _optional_text(frame, "id"),
        _natural(frame, "message_id", _MAX_ID),
        _optional_text(frame, "version"),
        contents,
        batched,
        number,
    )


def _error(frame: dict[str, Any]) -> ErrorMessage:
    return ErrorMessage(
        _text(frame, "message"),
        _optional_text(frame, "channel"),
        _optional_text(frame, "id"),
        -1 if frame.get("message_id") is None else _natural(frame, "message_id", _MAX_ID),
    )


def _pong(_: dict[str, Any]) -> PongMessage:
    return PongMessage()


_READERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "connected": _connected,
    "subscribed": _subscribed,
    "unsubscribed": _unsubscribed,
    "channel_data": _data,
    "channel_batch_data": _batch,
    "error": _error,
    "pong": _pong,
}
