"""The HTTP interface to the whole chain: who is at risk, ladders, the next block's liquidations.

All of it is worked out in the loop's thread, which alone writes the book, and kept for a moment: a crowd of
readers costs no more than one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from dydx_perf.errors import CapacityError, UnknownMarketError
from dydx_perf.feeds.whole_chain_stream import ChainStanding, FollowedChain
from dydx_perf.service.answers import Answer
from dydx_perf.service.chain_answers import at_risk_answer, ladder_answer, next_answer
from dydx_perf.service.chain_feed import NOTHING
from dydx_perf.service.watched import Watched

__all__ = ["ChainApi"]

KEPT = 0.5  # seconds that an answer is given again
MOST_KEPT = 64
MOST_ROWS, MOST_STEPS, MOST_REACH, MOST_ATTEMPTS = 1_000, 201, 1_000, 10_000


class ChainApi:
    """Answers about the whole chain of one watch."""

    def __init__(self, watch: Watched) -> None:
        self._watch = watch
        self._kept: dict[str, tuple[float, Answer]] = {}

    def at_risk(self, request: web.Request) -> Answer:
        """Return the riskiest accounts, and what all liquidatable ones come to."""
        count = number_of(request, "count", 20, 0, MOST_ROWS)
        return self._answer(request, lambda chain, standing: at_risk_answer(chain, standing, count))

    def ladder(self, request: web.Request) -> Answer:
        """Return the liquidation ladder of a market."""
        market = request.match_info["market"]
        steps = number_of(request, "steps", 21, 2, MOST_STEPS)
        reach = number_of(request, "reach", 500, 1, MOST_REACH)
        try:
            return self._answer(
                request, lambda chain, standing: ladder_answer(chain, standing, market, steps, reach)
            )
        except UnknownMarketError:
            raise web.HTTPNotFound(text=f"{market!r} is no market of this chain") from None

    def next(self, request: web.Request) -> Answer:
        """Return what the next block may liquidate."""
        attempts = number_of(request, "attempts", 50, 0, MOST_ATTEMPTS)
        try:
            return self._answer(request, lambda chain, standing: next_answer(chain, standing, attempts))
        except CapacityError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from None

    def _answer(
        self, request: web.Request, work: Callable[[FollowedChain | None, ChainStanding], Answer]
    ) -> Answer:
        if not self._watch.config.whole_chain.enabled:
            raise web.HTTPNotFound(text="the whole chain is not watched: whole_chain.enabled is false")
        now, kept = time.monotonic(), self._kept.get(request.path_qs)
        if kept is not None and now < kept[0]:
            return kept[1]
        feed = self._watch.chain_feed
        answer = work(*((None, NOTHING) if feed is None else (feed.followed, feed.standing())))
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        if feed is not None and feed.is_loaded:
            self._kept[request.path_qs] = now + KEPT, answer
        return answer


def number_of(request: web.Request, name: str, usual: int, lowest: int, highest: int) -> int:
    """Read a whole number of a query; refuse anything else there."""
    for key in request.query:
        if key not in ("count", "steps", "reach", "attempts"):
            raise web.HTTPBadRequest(text=f"{key!r} is nothing that can be asked for")
    given = request.query.get(name, str(usual))
    if not given.isascii() or not given.isdigit() or not lowest <= int(given[:12]) <= highest:
        raise web.HTTPBadRequest(text=f"{name} is {given!r}: a whole number from {lowest} to {highest}")
    return int(given)
