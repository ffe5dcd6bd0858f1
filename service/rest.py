"""The indexer's REST interface: within its rate limits, tried again, given up in time.

An answer is whatever the indexer said, 404 included: it may be the truth. Tried again are no answer at all,
429 and 5xx, after a random share of a delay that doubles (full jitter), or after as long as the answer asks
for. When several requests in a row came to nothing, the venue is left alone for a while: requests fail at
once until a probe has gone through.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from dydx_perf.errors import CapacityError, ConnectError
from dydx_perf.feeds.rest_budget import RestBudget, bucket_of

__all__ = ["Answer", "Breaker", "RestClient", "RestStatistics"]

LONGEST_HOLD = 60.0  # seconds that an answer may ask to wait for
FAILURES = 5  # in a row, until the venue is left alone
#: worth another try; 501 is not: the server has no such thing
RETRIED = frozenset({429, 500, *range(502, 600)})
CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes


class Breaker:
    """Leave a venue alone after failures in a row, for a time that doubles while probes fail, too."""

    def __init__(self, failures: int, first: float, longest: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._first, self._longest = first, longest
        self._clock = clock
        self._count = 0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests fail at once."""
        return self._clock() < self._until

    def succeeded(self) -> None:
        """Take note of an answer."""
        self._count, self._until = 0, 0.0

    def failed(self) -> None:
        """Take note of no answer."""
        self._count += 1
        if self._count >= self._limit:
            doubled = self._first * 2.0 ** min(self._count - self._limit, 30)
            self._until = self._clock() + min(self._longest, doubled)


@dataclass(slots=True)
class RestStatistics:
    """What was asked and what came of it."""

    requests: int = 0
    failures: int = 0
    refused: int = 0
    statuses: dict[int, int] = field(default_factory=dict)


class RestClient:
    """GET of the indexer, one answer a call.

    Parameters
    ----------
    base : str
        Address below which paths lie.
    share : float
        How much of the venue's rate limits is used.
    concurrency, waiting : int
        Requests at a time, and how many may wait for their turn.
    timeout : float
        Seconds for one try.
    attempts : int
        Tries of one request.
    first_delay, longest_delay : float
        Bounds of the wait before the next try, and of how long the venue is left alone.
    max_answer_bytes : int
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        base: str,
        *,
        share: float = 0.8,
        concurrency: int = 4,
        waiting: int = 1_024,
        timeout: float = 5.0,
        attempts: int = 4,
        first_delay: float = 0.5,
        longest_delay: float = 30.0,
        max_answer_bytes: int = 16 * 1024 * 1024,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        clock = clock or asyncio.get_running_loop().time
        self.statistics = RestStatistics()
        self._base = base.rstrip("/")
        self._clock = clock
        self._budget = RestBudget(share)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # first come, first served
        self._breaker = Breaker(FAILURES, first_delay, longest_delay, clock)
        self._places = asyncio.Semaphore(concurrency)
        self._room = concurrency + waiting
        self._attempts = attempts
        self._delays = first_delay, longest_delay
        self._jitter = jitter
        self._max_answer_bytes = max_answer_bytes
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            connector=aiohttp.TCPConnector(limit=concurrency),
            headers={"Accept": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str) -> Answer:
        """Ask for a path below the base address, with its query.

        Raises
        ------
        ConnectError
            No answer within the tries, or the venue is being left alone.
        CapacityError
            Too many requests wait already.
        """
        if self._room == 0:
            raise CapacityError(f"{path}: too many requests wait for their turn")
        self._room -= 1
        try:
            async with self._places:
                return await self._ask(path)
        finally:
            self._room += 1

    async def _ask(self, path: str) -> Answer:
        reason = ""
        for attempt in range(self._attempts):
            if attempt:
                first, longest = self._delays
                await asyncio.sleep(self._jitter() * min(longest, first * 2.0**attempt))
            if self._breaker.is_open:
                self.statistics.refused += 1
                raise ConnectError(f"{path}: {reason or 'the indexer failed often and is left alone'}")
            await self._turn(path)
            self.statistics.requests += 1
            try:
                answer, headers = await self._get(path)
            except (OSError, TimeoutError, aiohttp.ClientError) as error:
                reason = str(error).strip() or type(error).__name__
            else:
                self.statistics.statuses[answer.status] = self.statistics.statuses.get(answer.status, 0) + 1
                if answer.status not in RETRIED:
                    self._breaker.succeeded()
                    return answer
                reason = f"status {answer.status}"
                if answer.status == 429:
                    self._budget.refused(path, _asked_to_wait(headers), self._clock())
                    continue  # it is there, and busy
            self.statistics.failures += 1
            self._breaker.failed()
        raise ConnectError(f"{path}: {reason} after {self._attempts} tries")

    async def _turn(self, path: str) -> None:
        """Wait until the venue's limits let this path be asked."""
        async with self._turns[bucket_of(path)]:
            while not self._budget.take(path, self._clock()):
                await asyncio.sleep(self._budget.wait(path, self._clock()))

    async def _get(self, path: str) -> tuple[Answer, Mapping[str, str]]:
        async with self._session.get(self._base + path, allow_redirects=False) as response:
            parts: list[bytes] = []
            room = self._max_answer_bytes
            async for chunk in response.content.iter_chunked(CHUNK):
                room -= len(chunk)
                if room < 0:
                    raise aiohttp.ClientPayloadError(f"more than {self._max_answer_bytes} bytes")
                parts.append(chunk)
            return Answer(response.status, b"".join(parts)), response.headers


def _asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After, which the indexer gives in milliseconds; None: it does not say."""
    given = headers.get("Retry-After", "")
    return min(LONGEST_HOLD, int(given) / 1_000) if given.isdecimal() and len(given) < 10 else None
