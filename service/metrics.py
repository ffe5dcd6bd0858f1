"""Figures of the service for Prometheus; the frame path counts in plain integers, read when somebody asks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import dydx_perf

if TYPE_CHECKING:
    from dydx_perf.service.watch import Watch

__all__ = ["CONTENT_TYPE", "Counts", "Latency", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: upper bounds in nanoseconds: 1 us to 1 s
BOUNDS = [int(1_000 * factor * 10**power) for power in range(6) for factor in (1, 2, 5)] + [10**9]


class Latency:
    """A histogram of nanoseconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0

    def add(self, nanoseconds: int) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, nanoseconds)] += 1
        self.total += nanoseconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound in seconds, how many are within it)."""
        filled, below = [], 0
        for bound, count in zip([*BOUNDS, None], self.counts, strict=True):
            below += count
            filled.append(("+Inf" if bound is None else repr(bound / 1e9), float(below)))
        return filled


@dataclass(slots=True)
class Counts:
    """What the feed did.

    Attributes
    ----------
    handling : Latency
        From the moment a frame is handed over to the moment all that follows from it is done.
    """

    frames: int = 0
    bytes: int = 0
    sent: int = 0
    bad_frames: int = 0
    connects: int = 0
    failed_connects: int = 0
    reconnects: int = 0
    events: dict[str, int] = field(default_factory=dict)
    handling: Latency = field(default_factory=Latency)


class Metrics(Collector):
    """All figures of one service, in a registry of its own."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return them as Prometheus reads them."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Read every figure."""
        counts, watch = self._watch.counts, self._watch
        yield InfoMetricFamily("dydx_perf_build", "Version.", {"version": dydx_perf.__version__})
        counters: list[tuple[str, str, int]] = [
            ("frames", "Frames received.", counts.frames),
            ("frame_bytes", "Bytes of frames received.", counts.bytes),
            ("frames_sent", "Frames sent.", counts.sent),
            ("bad_frames", "Frames that could not be read.", counts.bad_frames),
            ("connects", "Connections made.", counts.connects),
            ("failed_connects", "Connections that did not come about.", counts.failed_connects),
            ("reconnects", "Connections that ended and were to be made anew.", counts.reconnects),
            ("stream_events", "Risk events told to readers.", watch.broadcast.sent),
            ("stream_drops", "Readers let go because they fell behind.", watch.broadcast.dropped),
            ("rest_requests", "Requests to the indexer's REST interface.", watch.rest_statistics.requests),
            ("rest_failures", "Of these, without a usable answer.", watch.rest_statistics.failures),
            ("rest_refusals", "Requests not made: the indexer is left alone.", watch.rest_statistics.refused),
        ]
        if watch.recorder is not None:
            counters += [
                ("recorded_frames", "Frames handed to the recorder.", watch.recorder.frames),
                ("unrecorded_frames", "Frames left out of the recording.", watch.recorder.left_out),
            ]
        for name, text, value in counters:
            yield CounterMetricFamily(f"dydx_perf_{name}", text, value=value)
        yield _labelled(CounterMetricFamily, "events", "Events of the sessions.", "kind", counts.events)
        outcomes = {str(outcome): count for outcome, count in watch.proof.counts.items()}
        text = "Liquidations and answers of a node, by how they had been shown before."
        yield _labelled(CounterMetricFamily, "proof", text, "outcome", outcomes)
        summary = watch.summary()
        yield _labelled(GaugeMetricFamily, "accounts", "Accounts by verdict.", "verdict", summary.verdicts)
        yield _labelled(GaugeMetricFamily, "doubts", "Accounts under a doubt.", "doubt", summary.doubts)
        gauges: list[tuple[str, str, float]] = [
            ("ready", "Whether every account's figures may be trusted.", float(not summary.unready)),
            ("connections", "Connections that are open.", watch.open_connections),
            ("stream_readers", "Streams that are open.", len(watch.broadcast)),
            ("height", "Block of the newest input.", watch.height or 0),
        ]
        for name, text, number in gauges:
            yield GaugeMetricFamily(f"dydx_perf_{name}", text, value=number)
        text = "From a frame's arrival to the end of all that follows from it."
        yield _histogram("handling", text, counts.handling)
        if watch.config.whole_chain.enabled:
            yield from self._chain()

    def _chain(self) -> Iterator[Metric]:
        """Read what is of the whole chain."""
        feed = self._watch.chain_feed
        if feed is None:
            return
        counts, standing = feed.counts, feed.standing()
        counters: list[tuple[str, str, int]] = [
            ("pages", "Pages of all accounts taken.", counts.pages),
            ("passes", "Walks through all pages.", counts.passes),
            ("bad_pages", "Pages and stream messages that could not be read.", counts.bad_pages),
            ("failures", "Questions that were not answered.", counts.failures),
            ("reconnects", "Streams that ended and were to be made anew.", counts.reconnects),
            ("blocks", "Blocks that streams told of.", counts.blocks),
            ("crossings", "Edges: accounts that became, or stopped being, liquidatable.", counts.crossings),
            ("asked", "Accounts asked for because a stream told a change.", counts.asked),
            ("contradictions", "Answers that were not what a stream had said.", counts.contradictions),
        ]
        for name, text, value in counters:
            yield CounterMetricFamily(f"dydx_perf_chain_{name}", text, value=value)
        used = feed.whole.book.used if feed.is_loaded else {"subaccounts": 0, "positions": 0}
        gauges: list[tuple[str, str, float]] = [
            ("trusted", "Whether nothing of the whole is in doubt.", float(not standing.doubts)),
            ("height", "Block that it is the state of.", standing.height or 0),
            ("age_seconds", "Since that block came.", math.nan if standing.age is None else standing.age),
            ("subaccounts", "Accounts in the book.", used["subaccounts"]),
            ("positions", "Positions in the book.", used["positions"]),
            ("accounts_in_doubt", "Accounts in doubt of their own.", standing.accounts_in_doubt),
        ]
        for name, text, number in gauges:
            yield GaugeMetricFamily(f"dydx_perf_chain_{name}", text, value=number)
        text = "From a block's bytes to the verdict of every account that it moved, but of those in doubt."
        yield _histogram("chain_verdict", text, counts.verdict)
        text = "From the question about an account in doubt to its verdict."
        yield _histogram("chain_doubt", text, counts.doubt)


def _histogram(name: str, text: str, latency: Latency) -> Metric:
    return HistogramMetricFamily(
        f"dydx_perf_{name}_seconds", text, buckets=latency.buckets(), sum_value=latency.total / 1e9
    )


def _labelled(
    family: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    label: str,
    values: dict[str, int],
) -> Metric:
    made = family(f"dydx_perf_{name}", text, labels=[label])
    for value, count in sorted(values.items()):
        made.add_metric([value], count)
    return made
