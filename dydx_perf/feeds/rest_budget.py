"""How often the indexer's REST interface may be asked: so many requests in any stretch of ten seconds.

The venue counts each client address in buckets of their own: 100 requests in 10 seconds, 1000 for candles.
When its window begins is not known, so a limit holds for every stretch of that length: no burst at the end of
one meets a burst at the start of the next. Times are seconds of the caller's clock.
"""

from __future__ import annotations

import re
from collections import deque

from dydx_perf.errors import InputError
from dydx_perf.market import checked_integer

__all__ = ["RateLimit", "RestBudget", "bucket_of"]

WINDOW = 10.0  # seconds
LIMITS = {
    "default": 100,
    "orders": 100,
    "fills": 100,
    "sparklines": 100,
    "historical-pnl": 100,
    "pnl": 100,
    "fundingPayments": 100,
    "candles": 1000,
}


def bucket_of(path: str) -> str:
    """Return the bucket in which the venue counts a path."""
    match = re.match(r"/([\w-]+)", path)
    return match[1] if match and match[1] in LIMITS else "default"


class RateLimit:
    """At most `limit` in any `window` seconds.

    Parameters
    ----------
    limit : int
    window : float
    """

    def __init__(self, limit: int, window: float = WINDOW) -> None:
        self.limit = checked_integer("limit", limit, 1, 1_000_000)
        if not 0 < window < float("inf"):
            raise InputError("window", window, "seconds above zero")
        self.window = window
        self._taken: deque[float] = deque(maxlen=limit)
        self._held_until = float("-inf")

    def wait(self, now: float) -> float:
        """Return the seconds until the next may go; 0.0: now."""
        wait = self._held_until - now
        if len(self._taken) == self.limit:
            wait = max(wait, self._taken[0] + self.window - now)
        return max(wait, 0.0)

    def take(self, now: float) -> bool:
        """Count one if it may go now, and tell."""
        if self.wait(now) > 0.0:
            return False
        self._taken.append(now)
        return True

    def hold(self, seconds: float, now: float) -> None:
        """Let nothing go for some seconds: the venue has said so."""
        self._held_until = max(self._held_until, now + max(seconds, 0.0))


class RestBudget:
    """The venue's limits, bucket by bucket, less a margin.

    Parameters
    ----------
    share : float
        How much of each limit is used: others may ask from the same client address.
    """

    def __init__(self, share: float = 0.8) -> None:
        if not 0 < share <= 1:
            raise InputError("share", share, "above 0, at most 1")
        self.limits = {bucket: RateLimit(max(int(limit * share), 1)) for bucket, limit in LIMITS.items()}

    def wait(self, path: str, now: float) -> float:
        """Return the seconds until this path may be asked; 0.0: now."""
        return self.limits[bucket_of(path)].wait(now)

    def take(self, path: str, now: float) -> bool:
        """Count a request of this path if it may go now, and tell."""
        return self.limits[bucket_of(path)].take(now)

    def refused(self, path: str, retry_after: float | None, now: float) -> None:
        """Hear of a 429: nothing goes for as long as the venue said, or for a whole window."""
        self.limits[bucket_of(path)].hold(WINDOW if retry_after is None else retry_after, now)
