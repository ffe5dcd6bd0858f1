"""How a recording lies in its file: frames, packed into blocks that are whole or not there.

Version 1: 8 bytes ``DYDXFEED``, then version, length of the header and a CRC-32 of all of it (4 bytes each,
little-endian), the header in JSON, and the blocks. A block: 8 bytes of marker, number of its first frame (8),
of its frames (4), length as stored (4) and before compression (4), CRC-32 of what is stored (4) and of the 32
bytes before (4); then the frames, compressed. Both CRCs start from the file's own salt, so that a recording
which was itself received and recorded is not mistaken for blocks of the outer one. A frame: kind (1), time in
nanoseconds (8), connection (4), code (4), lengths of name (4), request (4) and data (4), these three.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Literal, NamedTuple, get_args

from dydx_perf.errors import ChecksumError, InputError, SnapshotError, VersionError

__all__ = [
    "Blocks",
    "Damage",
    "Frame",
    "FrameKind",
    "frames_of",
    "packed_block",
    "packed_frame",
    "packed_header",
]

FrameKind = Literal[
    "received", "sent", "opened", "closed", "rest", "unary", "stream", "tick", "note", "ping"
]  # fmt: skip

KINDS: tuple[FrameKind, ...] = get_args(FrameKind)
CODES = {kind: code for code, kind in enumerate(KINDS)}

MAGIC = b"DYDXFEED"
VERSION = 1
START = struct.Struct("<8sIII")
MARKER = b"\xf1BLOCK\r\n"  # no JSON and no text in UTF-8 holds it
BLOCK = struct.Struct("<8sQIIIII")
FRAME = struct.Struct("<BqIiIII")
CRC = struct.Struct("<I")
NO_CODE = -(2**31)

#: bytes of a block before compression, and so of a frame: what a reader has to hold
MAX_BLOCK = 32 * 1024 * 1024
MAX_HEADER = 1024 * 1024
#: what compressed data may be longer than what it is of
SPARE = 1024 * 1024
SEARCHED = 1024 * 1024  # bytes looked through at a time


class Frame(NamedTuple):
    """One thing that came, was sent or happened.

    Attributes
    ----------
    time : int
        Nanoseconds of the recorder's clock when it came.
    kind : str
        "received" or "sent": a frame of a WebSocket, in `data`. "opened": a connection; `name` is the
        address. "closed": `code` is the close code and `name` the reason. "ping": something came that is no
        message. "rest": `name` is the path, `request` why it was asked, `code` the status and `data` the
        body. "unary": `name` is the method, `request` and `data` the messages, `code` the status. "stream":
        `name` is the method, `data` a message. "tick": the session was told the time. "note": `name` and
        `data` are the caller's own.
    connection : int
        Number of the connection, 0 to 2**32 - 1.
    name : str
    request, data : bytes
    code : int or None
        Above -2**31, at most 2**31 - 1.
    """

    time: int
    kind: FrameKind
    connection: int = 0
    name: str = ""
    request: bytes = b""
    data: bytes = b""
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a recording that could not be read.

    Attributes
    ----------
    start, length : int
        Bytes of the file; a length of 0: whole blocks are missing, or came again.
    after_frame : int
        Number of frames before it.
    lost : int or None
        Number of frames that were in it; None where nothing that follows tells.
    reason : str
    """

    start: int
    length: int
    after_frame: int
    lost: int | None
    reason: str

    def __str__(self) -> str:
        lost = "" if self.lost is None else f", {self.lost} frames lost"
        return f"{self.length} bytes at {self.start}, after {self.after_frame} frames{lost}: {self.reason}"


def packed_frame(frame: Frame) -> bytes:
    """Return a frame as it lies in a block.

    Raises
    ------
    InputError
        A value that the format cannot hold.
    """
    time, kind, connection, name, request, data, code = frame
    if code == NO_CODE:
        raise InputError("code", code, f"above {NO_CODE}")
    try:
        label = name.encode()
        head = FRAME.pack(
            CODES[kind],
            time,
            connection,
            NO_CODE if code is None else code,
            len(label),
            len(request),
            len(data),
        )
        packed = b"".join((head, label, request, data))
    except (struct.error, KeyError, TypeError, AttributeError, UnicodeEncodeError) as error:
        raise InputError("frame", frame, f"a Frame that can be recorded ({error})") from None
    if len(packed) > MAX_BLOCK:
        raise InputError("frame", frame, f"at most {MAX_BLOCK} bytes")
    return packed


def packed_header(about: Mapping[str, str], salt: int) -> bytes:
    """Return how a recording begins."""
    header = json.dumps({"salt": salt, "about": about}).encode()
    if len(header) > MAX_HEADER:
        raise InputError("about", about, f"at most {MAX_HEADER} bytes")
    front = START.pack(MAGIC, VERSION, len(header), 0)[:-4]
    return front + CRC.pack(zlib.crc32(header, zlib.crc32(front))) + header


def packed_block(stored: bytes, first: int, count: int, raw: int, salt: int) -> bytes:
    """Return a block of compressed frames."""
    head = BLOCK.pack(MARKER, first, count, len(stored), raw, zlib.crc32(stored, salt), 0)[:-4]
    return head + CRC.pack(zlib.crc32(head, salt)) + stored


# ---- blocks


class Block(NamedTuple):
    """The head of a block, and where it lies."""

    start: int
    first: int
    frame_count: int
    stored: int
    raw: int
    crc: int

    @property
    def end(self) -> int:
        return self.start + BLOCK.size + self.stored


class UnreadableError(Exception):
    """Say why there is no whole block at a place."""


class Blocks:
    """The header and the blocks of a recording, checked; frames stay compressed."""

    def __init__(self, file: BinaryIO, max_block: int) -> None:
        self.file = file
        self.max_block = max_block
        self.size = file.seek(0, io.SEEK_END)
        start = self.read(0, START.size)
        if start[: len(MAGIC)] != MAGIC:
            raise SnapshotError(f"{getattr(file, 'name', 'this')} is no recording")
        if len(start) < START.size:
            raise ChecksumError("the recording's header is cut short")
        _, version, length, crc = START.unpack(start)
        if version > VERSION:
            raise VersionError(f"this recording has version {version}; this release knows up to {VERSION}")
        if length > MAX_HEADER:
            raise ChecksumError("the recording's header is damaged")
        header = self.read(START.size, length)
        if len(header) < length:
            raise ChecksumError("the recording's header is cut short")
        if zlib.crc32(header, zlib.crc32(start[:-4])) != crc:
            raise ChecksumError("the recording's header is damaged")
        try:
            document = json.loads(header)
            self.salt = int(document["salt"])
            self.about: dict[str, str] = {str(key): str(text) for key, text in document["about"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotError(f"the recording's header does not hold together: {error!r}") from error
        self.begin = START.size + length

    def read(self, place: int, length: int) -> bytes:
        """Return the bytes at a place, fewer at the end of the file."""
        self.file.seek(place)
        parts = []
        while length > 0 and (part := self.file.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def whole(self, place: int) -> tuple[Block, bytes]:
        """Return the block at a place with what it stores; UnreadableError where there is none."""
        head = self.read(place, BLOCK.size)
        if len(head) < BLOCK.size:
            raise UnreadableError("the file ends within the head of a block")
        marker, first, count, stored, raw, crc, head_crc = BLOCK.unpack(head)
        if marker != MARKER or zlib.crc32(head[:-4], self.salt) != head_crc:
            raise UnreadableError("the head of a block is damaged")
        block = Block(place, first, count, stored, raw, crc)
        if raw > self.max_block or stored > raw + SPARE:
            raise SnapshotError(f"a block of {raw} bytes; at most {self.max_block} are taken")
        data = self.read(place + BLOCK.size, stored)
        if len(data) < stored:
            raise UnreadableError("the file ends within a block")
        if zlib.crc32(data, self.salt) != crc:
            raise UnreadableError("a block is damaged")
        return block, data

    def next_whole(self, place: int) -> int | None:
        """Return where the first whole block at or after a place begins; None where none follows."""
        while place < self.size:
            window = self.read(place, SEARCHED)
            at = window.find(MARKER)
            while at >= 0:
                try:
                    self.whole(place + at)
                except (UnreadableError, SnapshotError):
                    at = window.find(MARKER, at + 1)
                else:
                    return place + at
            if len(window) < SEARCHED:
                return None
            place += SEARCHED - len(MARKER) + 1
        return None

    def walk(self, resynchronise: bool, damages: list[Damage]) -> Iterator[tuple[Block, bytes]]:
        """Yield every whole block in order; what lies between them goes into `damages`."""
        place, frames = self.begin, 0
        while place < self.size:
            try:
                block, data = self.whole(place)
                start, reason = place, "blocks are missing"
            except UnreadableError as unreadable:
                start, reason = place, str(unreadable)
                after = self.next_whole(place + 1)
                if after is None:
                    damages.append(Damage(place, self.size - place, frames, None, reason))
                    return
                block, data = self.whole(after)
            place = block.end
            if block.first == frames and block.start == start:
                frames += block.frame_count
                yield block, data
                continue
            again = block.first < frames
            damage = Damage(
                start,
                block.start - start,
                frames,
                None if again else block.first - frames,
                "a block comes again" if again else reason,
            )
            if not resynchronise:
                raise ChecksumError(f"the recording is damaged: {damage}")
            damages.append(damage)
            if not again:
                frames = block.first + block.frame_count
                yield block, data


def unpacked(block: Block, data: bytes) -> bytes:
    """Return a block's frames as they were before compression, and not a byte more than its head says."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, block.raw + 1)
    except zlib.error as error:
        raise SnapshotError(f"a block that cannot be decompressed: {error}") from error
    if len(raw) != block.raw or not inflate.eof or inflate.unused_data:
        raise SnapshotError(f"a block of {block.raw} bytes has another length")
    return raw


def frames_of(block: Block, data: bytes) -> Iterator[Frame]:
    """Yield the frames of a block."""
    raw = unpacked(block, data)
    place = 0
    for _ in range(block.frame_count):
        try:
            kind, time, connection, code, *lengths = FRAME.unpack_from(raw, place)
            ends = [place + FRAME.size]
            for length in lengths:
                ends.append(ends[-1] + length)
            if ends[-1] > len(raw):
                raise ValueError("a frame is longer than its block")
            name, request, content = (raw[a:b] for a, b in pairwise(ends))
            place = ends[-1]
            frame = Frame(
                time,
                KINDS[kind],
                connection,
                name.decode(),
                request,
                content,
                None if code == NO_CODE else code,
            )
        except (struct.error, IndexError, ValueError) as error:
            raise SnapshotError(f"a block that does not hold together: {error}") from error
        yield frame
    if place != len(raw):
        raise SnapshotError(f"a block has {len(raw) - place} bytes too many")
