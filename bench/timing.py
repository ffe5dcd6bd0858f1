"""How a time is taken: rounds of a few milliseconds, each divided by its calls.

The clock is this process's processor time: everything measured here is the work of one thread, so on an idle
machine it is the time on the wall, and on a shared one a neighbour's turn does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter_ns, process_time, thread_time_ns
from typing import Any

ROUND_SECONDS = 0.002
ROW_SECONDS = 0.6
FEWEST_ROUNDS, MOST_ROUNDS = 5, 200


def timed(benchmark: Any, run: Callable[[], object], calls: int) -> tuple[float, float]:
    """Median and fastest of one call in ns, where `run` makes `calls` of them."""
    run()
    start = process_time()
    run()
    once = process_time() - start
    iterations = max(1, round(ROUND_SECONDS / once))
    rounds = round(ROW_SECONDS / (iterations * once))
    benchmark.pedantic(
        run,
        rounds=min(max(rounds, FEWEST_ROUNDS), MOST_ROUNDS),
        iterations=iterations,
        warmup_rounds=2,
    )
    stats = benchmark.stats.stats
    return stats.median / calls * 1e9, stats.min / calls * 1e9


def fastest(run: Callable[[], object], others: Callable[[], object], rounds: int = 15) -> tuple[float, float]:
    """Fastest round of each of two, in turn, so that a busy moment meets both."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for place, work in enumerate((run, others)):
            start = process_time()
            work()
            best[place] = min(best[place], process_time() - start)
    return best[0], best[1]


def timed_calls(calls: Iterable[Callable[[], object]]) -> tuple[list[int], list[int]]:
    """Time of each call in ns: on the wall, and of this thread's own. What makes the calls is not timed."""
    ns, own_ns = [], []
    for call in calls:
        own = thread_time_ns()
        start = perf_counter_ns()
        call()
        end = perf_counter_ns()
        own_ns.append(thread_time_ns() - own)
        ns.append(end - start)
    return ns, own_ns


def longest_pause(ns: int) -> int:
    """The longest time between two looks at the clock of a loop that does nothing else, in ns.

    It runs for at least a fifth of a second: what it finds the machine does to anybody.
    """
    longest = 0
    now = perf_counter_ns()
    end = now + max(ns, 200_000_000)
    while now < end:
        last, now = now, perf_counter_ns()
        if now - last > longest:
            longest = now - last
    return longest
