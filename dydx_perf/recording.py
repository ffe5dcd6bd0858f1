"""Everything that a feed received, with its time, in a file that a crash leaves readable.

A recording grows by blocks, and a block is whole or not there. What was flushed is never lost by a crash of
the process; whether it survives one of the machine is the writer's `sync`. A damaged tail is what a crash
leaves: reading stops before it and says so. Damage elsewhere is a `ChecksumError`, or is skipped and said
where `resynchronise` is asked for. `dydx_perf.recording_format` has the format.
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self, cast, get_args

from dydx_perf.errors import InputError, WriterError
from dydx_perf.recording_format import (
    MAX_BLOCK,
    Blocks,
    Damage,
    Frame,
    FrameKind,
    frames_of,
    packed_block,
    packed_frame,
    packed_header,
)

if sys.platform != "win32":
    import fcntl

__all__ = ["Damage", "Frame", "FrameKind", "RecordingReader", "RecordingWriter", "Sync", "seconds"]

Sync = Literal["never", "flush", "block"]


def seconds(time: int) -> float:
    """Return nanoseconds as the float of seconds that a session is given, live and in a replay alike."""
    return time / 1_000_000_000


# ---- reading


def _check_integer(argument: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise InputError(argument, value, f"{lowest} to {highest}")


def _checked_file(argument: str, file: object, words: tuple[str, ...]) -> BinaryIO:
    for word in words:
        if not getattr(file, word, bool)():
            raise InputError(argument, file, f"a path, or a binary file that is {', '.join(words)}")
    if isinstance(file, io.TextIOBase):
        raise InputError(argument, file, "a binary file")
    return cast(BinaryIO, file)


class _File:
    """A file that was opened here is closed here."""

    def __init__(self, file: BinaryIO, owns: bool) -> None:
        self._file = file
        self._owns = owns

    def close(self) -> None:
        if self._owns:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RecordingReader(_File):
    """The frames of a recording, in the order in which they were written.

    Iterating holds one block at a time, and may begin again as often as wanted. A file that is still being
    written may be read up to its last whole block.

    Parameters
    ----------
    source : path or seekable binary file
    resynchronise : bool
        Whether damage in the middle is skipped up to the next whole block and said in `damage`, instead of a
        `ChecksumError`.
    max_block_bytes : int
        Largest block that is decompressed: what reading may hold.

    Attributes
    ----------
    about : mapping of str to str
        What the writer said of the recording.
    damage : list of Damage
        What the iteration under way, or the last one, could not read so far.

    Raises
    ------
    SnapshotError
        The file is no recording, or a block is larger than allowed.
    VersionError
        A newer release wrote it.
    ChecksumError
        It is damaged elsewhere than at its end.
    """

    about: Mapping[str, str]
    damage: list[Damage]

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        resynchronise: bool = False,
        max_block_bytes: int = MAX_BLOCK,
    ) -> None:
        _check_integer("max_block_bytes", max_block_bytes, 1, MAX_BLOCK)
        if isinstance(source, str | os.PathLike):
            super().__init__(cast(BinaryIO, io.FileIO(os.fspath(source))), True)
        else:
            super().__init__(_checked_file("source", source, ("readable", "seekable")), False)
        self._resynchronise = resynchronise
        self.damage = []
        try:
            self._blocks = Blocks(self._file, max_block_bytes)
        except BaseException:
            self.close()
            raise
        self.about = self._blocks.about

    def __iter__(self) -> Iterator[Frame]:
        self.damage = damage = list[Damage]()
        self._blocks.size = self._file.seek(0, io.SEEK_END)
        for block, data in self._blocks.walk(self._resynchronise, damage):
            yield from frames_of(block, data)


# ---- writing


class RecordingWriter(_File):
    """Append frames to a recording, a new one or one that is there.

    One that is there goes on after its last whole block; `cut` says what was cut off. A full disk loses
    nothing that was appended: the call raises, and may be tried again.

    Parameters
    ----------
    target : path, or binary file that reads, writes and seeks
        A path is locked against other writers where the system can.
    about : mapping of str to str, optional
        What a reader is told; of a recording that is there, its own stays.
    block_bytes : int
        A block is written when it holds this many bytes before compression, at most 32 MiB.
    level : int
        Of the compression, 0 to 9.
    sync : "never", "flush" or "block"
        Whether the disk is waited for: never, in `flush` and `close`, or after every block.

    Attributes
    ----------
    cut : Damage or None
        The damaged tail that was cut off when the file was opened.

    Raises
    ------
    InputError, WriterError, SnapshotError, VersionError, ChecksumError
        ChecksumError also where damage lies before whole blocks: nothing is appended there.
    """

    cut: Damage | None

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        about: Mapping[str, str] | None = None,
        block_bytes: int = 256 * 1024,
        level: int = 3,
        sync: Sync = "never",
    ) -> None:
        _check_integer("block_bytes", block_bytes, 1, MAX_BLOCK)
        _check_integer("level", level, 0, 9)
        if sync not in get_args(Sync):
            raise InputError("sync", sync, " or ".join(get_args(Sync)))
        said = {} if about is None else dict(about)
        if not all(isinstance(word, str) for pair in said.items() for word in pair):
            raise InputError("about", about, "a mapping of text to text")
        self._block_bytes, self._level, self._sync = block_bytes, level, sync
        self.cut = None
        if isinstance(target, str | os.PathLike):
            descriptor = os.open(target, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            super().__init__(cast(BinaryIO, io.FileIO(descriptor, "r+b")), True)
            try:
                _lock(descriptor, target)
                self._open(said)
                if sync != "never":
                    _sync_folder(Path(target))
            except BaseException:
                self._file.close()
                raise
        else:
            super().__init__(_checked_file("target", target, ("readable", "writable", "seekable")), False)
            if "a" in str(getattr(target, "mode", "")):
                raise InputError("target", target, "a file that is not open for appending: use r+b or w+b")
            if sync != "never" and not _has_number(target):
                raise InputError("sync", sync, "never, for a file that the system does not know")
            self._open(said)
        self._begin_block()

    def _open(self, about: dict[str, str]) -> None:
        """Find the end of what is there, or begin."""
        self._written = 0  # frames in whole blocks
        if not self._file.seek(0, io.SEEK_END):
            self._salt, self._end = int.from_bytes(os.urandom(4), "little"), 0
            try:
                self._write(packed_header(about, self._salt))
            except OSError:
                self._file.truncate(0)
                raise
            return
        blocks = Blocks(self._file, MAX_BLOCK)
        damages: list[Damage] = []
        self._salt, self._end = blocks.salt, blocks.begin
        for block, _ in blocks.walk(False, damages):
            self._end, self._written = block.end, block.first + block.frame_count
        if damages:
            (self.cut,) = damages
            self._file.truncate(self._end)

    @property
    def frames(self) -> int:
        """Number of frames, those not yet flushed included."""
        return self._written + self._count

    @property
    def size(self) -> int:
        """Bytes of the file up to the end of its last whole block."""
        return self._end

    def append(self, frame: Frame) -> None:
        """Add a frame; a full block is written first.

        Raises
        ------
        InputError
            A value that the format cannot hold.
        OSError
            The block before could not be written: this frame was not added.
        """
        packed = packed_frame(frame)
        if self._count and (self._raw + len(packed) > self._block_bytes or self._block):
            self._write_block()
            if self._sync == "block":
                os.fsync(self._file.fileno())
        if stored := self._deflate.compress(packed):
            self._stored.append(stored)
        self._raw += len(packed)
        self._count += 1

    def flush(self) -> None:
        """Write what was appended as a whole block; see `sync` for whether the disk is waited for."""
        if self._count:
            self._write_block()
        if self._sync != "never":
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush, and close the file if it was opened here."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            super().close()

    def _begin_block(self) -> None:
        self._deflate = zlib.compressobj(self._level)
        self._stored: list[bytes] = []
        self._raw = self._count = 0
        self._block = b""  # the finished block while it could not be written

    def _write_block(self) -> None:
        if not self._block:
            stored = b"".join([*self._stored, self._deflate.flush()])
            self._block = packed_block(stored, self._written, self._count, self._raw, self._salt)
        self._write(self._block)
        self._written += self._count
        self._begin_block()

    def _write(self, data: bytes) -> None:
        """Write at the end of the last whole block, which moves only when all of it was taken."""
        self._file.seek(self._end)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._file.flush()
        self._end += len(data)


def _has_number(file: BinaryIO) -> bool:
    try:
        file.fileno()
    except OSError:
        return False
    return True


def _lock(descriptor: int, path: object) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WriterError(f"another writer records into {path}") from None


def _sync_folder(path: Path) -> None:
    """Wait until the disk has the file's name, too."""
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
