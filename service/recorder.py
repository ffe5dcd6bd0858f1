"""Record what comes in and what goes out, off the loop's thread, so that a slow disk delays no frame.

When the disk is so slow that the queue is full, frames are left out of the recording, and the recording says
how many: what the service shows does not suffer.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

from dydx_perf.recording import Frame, RecordingWriter

__all__ = ["Recorder", "recorder"]

FLUSH = 1.0  # seconds after which a block is written, full or not


class Recorder:
    """Take frames from the loop's thread and write them in another one.

    Attributes
    ----------
    left_out : int
        Frames that the queue had no room for.
    error : OSError or None
        Why nothing is written any more.
    """

    def __init__(self, writer: RecordingWriter, room: int) -> None:
        self.left_out = 0
        self.frames = 0
        self.error: OSError | None = None
        self._said = 0
        self._writer = writer
        self._queue: queue.Queue[Frame | None] = queue.Queue(room)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def append(self, frame: Frame) -> None:
        """Hand a frame over; its data must be bytes of its own."""
        if self.error is not None:
            self.left_out += 1
            return
        try:
            if self.left_out > self._said:
                note = f"{self.left_out} frames left out: the disk is too slow"
                self._queue.put_nowait(Frame(frame.time, "note", name="left out", data=note.encode()))
                self._said = self.left_out
            self._queue.put_nowait(frame)
            self.frames += 1
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Write what is left."""
        self._queue.put(None)
        self._thread.join()
        with contextlib.suppress(OSError):
            self._writer.close()

    def _write(self) -> None:
        unflushed = False
        while True:
            try:
                frame = self._queue.get(timeout=FLUSH if unflushed else None)
                if frame is None:
                    return
                if self.error is None:
                    self._writer.append(frame)
                    unflushed = True
            except queue.Empty:
                self._flush()
                unflushed = False
            except OSError as error:
                self.error = error

    def _flush(self) -> None:
        try:
            self._writer.flush()
        except OSError as error:
            self.error = error


@contextlib.contextmanager
def recorder(file: str, room: int, about: Callable[[], dict[str, str]]) -> Iterator[Recorder | None]:
    """Append to a file while the block lasts; nothing where `file` is empty."""
    if not file:
        yield None
        return
    made = Recorder(RecordingWriter(file, about=about()), room)
    try:
        yield made
    finally:
        made.close()
