"""Figures of the service for Prometheus; the frame path counts in plain integers, read when somebody asks."""

from __future__ import annotations

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
        yield HistogramMetricFamily(
            "dydx_perf_handling_seconds",
            "From a frame's arrival to the end of all that follows from it.",
            buckets=counts.handling.buckets(),
            sum_value=counts.handling.total / 1e9,
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
