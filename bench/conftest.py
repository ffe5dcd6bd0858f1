"""Collect the rows of a run into one table, shown at the end and written to build/bench."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The files beside this one, at the end: never the source folder, which would hide the installed package.
sys.path.append(str(Path(__file__).resolve().parent))

from conditions import conditions, load, numba_is_there
from table import FOLDER, Row, Table, Tail
from timing import longest_pause, timed, timed_calls

TABLE, LOAD = pytest.StashKey[Table](), pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Start an empty table."""
    config.stash[TABLE] = Table()
    config.stash[LOAD] = load()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the guard out of a run of benchmarks: it is none, `make ratios` runs it."""
    if collection_path.name == "test_ratios.py" and config.getoption("benchmark_only", False):
        return True
    return None


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """The table of this run."""
    return request.config.stash[TABLE]


@pytest.fixture
def row(benchmark: Any, table: Table) -> Callable[..., None]:
    """Time `run` and add a row; `calls` of them are made by one `run`."""

    def measure(
        section: str,
        contender: str,
        unit: str,
        run: Callable[[], object],
        calls: int,
        answers: str,
        *,
        ours: bool = False,
        goal_ns: float | None = None,
    ) -> None:
        benchmark.group = section
        median, fastest = timed(benchmark, run, calls)
        table.rows.append(Row(section, contender, unit, median, fastest, answers, ours, goal_ns))

    return measure


@pytest.fixture
def tail(benchmark: Any, table: Table) -> Callable[..., None]:
    """Time each call of a sequence and add it as a tail; an idle loop runs as long right after it."""

    def measure(
        section: str, sequence: str, calls: Iterable[Callable[[], object]], answers: Callable[[], str]
    ) -> None:
        benchmark.group = section
        ns, own_ns = benchmark.pedantic(timed_calls, (calls,), rounds=1)
        table.tails.append(Tail(section, sequence, ns, own_ns, longest_pause(sum(ns)), answers()))

    return measure


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Write the table, unless nothing was measured."""
    yield
    table = session.config.stash[TABLE]
    if table.rows or table.tails:
        table.conditions = {
            **conditions(),
            "clock": str(session.config.getoption("benchmark_timer")),
            "load before and after": f"{session.config.stash[LOAD]}; {load()}",
        }
        table.write()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the table."""
    table = config.stash[TABLE]
    if table.rows or table.tails:
        terminalreporter.write_sep("=", "times: medians of rounds, ratios within this run")
        terminalreporter.write_line(table.markdown())
        if not numba_is_there():
            terminalreporter.write_line("Numba cannot be imported: its rows are left out")
        terminalreporter.write_line(f"written to {FOLDER}/table.md and results.json")
