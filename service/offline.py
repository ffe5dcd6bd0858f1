"""A recording run through sessions without a socket, as fast as they go, and where it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.errors import FeedError
from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.live_proof import LiveProof
from dydx_perf.feeds.replay import NODE_HEIGHT, replay
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    Subscription,
)
from dydx_perf.feeds.trust import WatchedRisk
from dydx_perf.recording import Frame, seconds
from dydx_perf.service.proof import proof_of
from dydx_perf.service.venue import Envelope

__all__ = ["Outcome", "run"]

MAX_MARKETS = 1_024
MAX_POSITIONS = 65_536


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a recording ends.

    Attributes
    ----------
    frames : int
        Frames and answers that sessions were told of.
    refused : int
        Of these, those that could not be read.
    took : float
        Seconds.
    risks : list of WatchedRisk
        Of every account of which a snapshot came, as of the last frame.
    """

    frames: int
    refused: int
    crossings: int
    took: float
    risks: list[WatchedRisk]
    proof: LiveProof


def run(frames: Iterable[Frame]) -> Outcome:
    """Tell sessions, one a connection, everything that was recorded.

    They watch what the recording has snapshots of. What a node answered is left out: figures are estimates.
    """
    kept = list(frames)
    wanted = _subscriptions(kept)
    accounts = sum(
        isinstance(one, (SubaccountOf, ParentSubaccountOf)) for part in wanted.values() for one in part
    )
    book = Book(
        Chain(description="as the recording reports it"),
        max_subaccounts=64 + 1_024 * accounts,
        max_positions=MAX_POSITIONS,
        max_markets=MAX_MARKETS,
    )
    sessions: dict[int, IndexerSession] = {}
    pricing: IndexerSession | None = None
    for connection, part in sorted(wanted.items(), key=lambda pair: Markets() not in pair[1]):
        sessions[connection] = session = IndexerSession(part, into=book, beside=pricing)
        pricing = pricing or session
    proof, refused, crossings, told, now = proof_of(book), 0, 0, 0, 0.0

    def risk(address: str, number: int) -> WatchedRisk:
        holder = next((one for one in sessions.values() if one.account(address, number)), pricing)
        assert holder is not None
        return holder.risk(address, number, now)

    def refuse(frame: Frame, error: FeedError) -> None:
        nonlocal refused
        refused += 1

    begin = time.perf_counter()
    for frame, events in replay(kept, sessions, refused=refuse):
        now = max(now, seconds(frame.time))
        told += frame.kind in ("received", "rest")
        if frame.kind == "note" and frame.name == NODE_HEIGHT:
            with suppress(ValueError):
                for session in sessions.values():
                    session.node_seen(now, height=int(frame.data))
        if events:
            crossings += sum(isinstance(event, Crossing) for event in events)
            proof.take(events, risk, height=sessions[frame.connection].height, place=told)
    took = time.perf_counter() - begin
    names = dict.fromkeys(account.name for session in sessions.values() for account in session.accounts)
    return Outcome(told, refused, crossings, took, [risk(*name) for name in names], proof)


def _subscriptions(frames: Iterable[Frame]) -> Mapping[int, list[Subscription]]:
    """Return what each recorded connection was subscribed to: what snapshots came of."""
    found: dict[int, dict[Subscription, None]] = {}
    for connection, envelope in _snapshots(frames):
        one = _subscription(envelope)
        if one is not None:
            found.setdefault(connection, {})[one] = None
    return {connection: list(part) for connection, part in found.items()}


def _snapshots(frames: Iterable[Frame]) -> Iterator[tuple[int, Envelope]]:
    for frame in frames:
        if frame.kind == "received" and b'"subscribed"' in frame.data:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                envelope = msgspec.json.decode(frame.data, type=Envelope)
                if envelope.type == "subscribed":
                    yield frame.connection, envelope


def _subscription(envelope: Envelope) -> Subscription | None:
    name = envelope.id or ""
    address, _, number = name.rpartition("/")
    match envelope.channel:
        case "v4_markets":
            return Markets()
        case "v4_block_height":
            return BlockHeight()
        case "v4_subaccounts":
            return SubaccountOf(address, int(number))
        case "v4_parent_subaccounts":
            return ParentSubaccountOf(address, int(number))
        case "v4_orderbook":
            return OrderBookOf(name)
        case _:
            return None
