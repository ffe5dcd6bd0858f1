"""How long a feed waits for what, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dydx_perf.errors import InputError

__all__ = ["Deadlines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds, unless a name says otherwise.

    Attributes
    ----------
    settle : float
        How long a missing message may be on its way before it counts as lost.
    answer : float
        Until a subscribe must be answered; the venue gives up after 5.
    silence, pulse : float
        Until a connection is dead when nothing comes at all: without, and with, a subscription to the height.
    halt : float
        Until the chain counts as halted when no new block comes.
    oracle_silence, oracle_age : float
        Until prices are stale: when no price of any market comes; when none of this one market does. A price
        that does not change is not sent.
    lag_blocks : int
        Blocks that the indexer may be behind a node.
    retry, longest_retry : float
        Before a subscribe that failed is tried again; doubled each time up to the longest.
    pace, pace_after_limit : float
        Between subscribes of different ids: as a rule, and after the venue closed with code 1008.
    verify_after, reconcile_every : float
        Until a snapshot is first compared with what REST answers (and again, where the answer says nothing),
        and from then on. Answers may be a second old: one that is asked for sooner may say nothing.
    node_after, node_every : float
        Until a node is asked after an account changed, and in any case.
    refresh_book : float
        Until an order book is subscribed to anew: the venue deletes levels without a message.
    notice : float
        How long a changed parameter is pointed out.
    """

    settle: float = 2.0
    answer: float = 10.0
    silence: float = 40.0
    pulse: float = 10.0
    halt: float = 15.0
    oracle_silence: float = 15.0
    oracle_age: float = 600.0
    lag_blocks: int = 5
    retry: float = 1.0
    longest_retry: float = 30.0
    pace: float = 0.0
    pace_after_limit: float = 0.5
    verify_after: float = 2.0
    reconcile_every: float = 60.0
    node_after: float = 1.0
    node_every: float = 30.0
    refresh_book: float = 300.0
    notice: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name in ("pace", "pace_after_limit", "lag_blocks") else 1e-6
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not lowest <= value <= 1_000_000_000
            ):
                raise InputError(field.name, value, "a number above zero")
