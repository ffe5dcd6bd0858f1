"""Tell every reader every risk event, in order; a reader that falls behind is let go, never skipped.

Risk events are never merged or left out: a reader either has all of them up to now, or is told that it was
dropped, and begins again from the present state.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

from dydx_perf.errors import CapacityError

__all__ = ["Broadcast", "Reader"]


class Reader:
    """One who listens: iterate to get each message; `fell_behind` tells why the iteration ended."""

    def __init__(self, room: int) -> None:
        self.fell_behind = False
        self._room = room
        self._waiting: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self._is_open

    def put(self, message: bytes) -> bool:
        """Hand a message over; False: there is no room, and the reader was let go."""
        if len(self._waiting) >= self._room:
            self.fell_behind = True
            self.close()
            return False
        self._waiting.append(message)
        self._changed.set()
        return True

    def close(self) -> None:
        """End the iteration after what waits."""
        self._is_open = False
        self._changed.set()

    async def next(self, timeout: float) -> bytes | None:
        """Return the next message; None: nothing came for so long, or the reader is closed and has all."""
        if not self._waiting and self._is_open:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
        return self._waiting.popleft() if self._waiting else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._waiting or self._is_open:
            if (message := await self.next(3_600.0)) is not None:
                yield message


class Broadcast:
    """All readers.

    Parameters
    ----------
    readers : int
        How many at a time.
    room : int
        Messages that a reader may be behind.

    Attributes
    ----------
    sent, dropped : int
        Messages that were told, and readers that were let go.
    """

    def __init__(self, readers: int, room: int) -> None:
        self.sent = self.dropped = 0
        self._most = readers
        self._room = room
        self._readers: set[Reader] = set()
        self._is_open = True

    def __len__(self) -> int:
        return len(self._readers)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Reader]:
        """Listen from now on, while the block lasts.

        Raises
        ------
        CapacityError
            As many listen as may.
        """
        if len(self._readers) >= self._most or not self._is_open:
            raise CapacityError(f"{self._most} streams are open, as many as may be")
        reader = Reader(self._room)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def put(self, message: bytes) -> None:
        """Tell everybody."""
        self.sent += 1
        for reader in [*self._readers]:
            if not reader.put(message):
                self._readers.discard(reader)
                self.dropped += 1

    def close(self) -> None:
        """Let everybody go after what waits; nobody new comes in."""
        self._is_open = False
        for reader in self._readers:
            reader.close()
