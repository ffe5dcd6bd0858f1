"""What a mutant is tried with: the chain's own results, row by row, then the tests of its subject.

Everything stops at the first difference. What found the last differences is tried first.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

PROFILE = "mutation"
#: fixed examples: the same mutants survive in every run
settings.register_profile(
    PROFILE,
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
os.environ["DYDX_PERF_EXAMPLES"] = PROFILE

#: tests of a file, as patterns of names in tests/; * stands for the file's own name
TESTS: dict[str, tuple[str, ...]] = {
    "dydx_perf/exact/decimals.py": ("test_exact*.py", "test_indexer*.py", "test_ledger.py"),
    "dydx_perf/exact/explanation.py": ("test_explain*.py",),
    "dydx_perf/exact/indexer.py": ("test_exact*.py", "test_indexer*.py", "test_ledger.py"),
    "dydx_perf/exact/ledger.py": ("test_ledger.py",),
    "dydx_perf/exact/margin.py": ("test_exact*.py", "test_kernels_margin.py", "test_risk.py"),
    "dydx_perf/exact/search.py": ("test_max_order.py", "test_rescue.py"),
    "dydx_perf/exact/trades.py": ("test_max_order.py", "test_rescue.py"),
    "dydx_perf/exact/whatif.py": ("test_preview.py", "test_worst_case.py", "test_max_order.py"),
    "dydx_perf/exact/worst_fills.py": ("test_worst_case.py",),
    "dydx_perf/exact/": ("test_exact*.py", "test_kernels_{stem}.py", "test_{stem}*.py"),
    "ext/book": ("test_book*.py",),
    "ext/crossing.pxd": ("test_book*.py",),
    "ext/columns.h": ("test_columns*.py",),
    "ext/fixed.": ("test_kernels*.py", "test_columns*.py"),
    "ext/liquidation_price.pxd": ("test_liquidation_price.py", "test_kernels_[bl]*.py"),
    "ext/margin.pxd": ("test_kernels_[bm]*.py", "test_risk.py"),
    "ext/numtext.h": ("test_numtext*.py",),
    "ext/settle.pxd": ("test_kernels_[bfm]*.py",),
    "ext/simd.h": ("test_columns*.py",),
    "ext/structs.pxd": ("test_kernels_[bfm]*.py",),
    "ext/whatif.pxd": ("test_preview*.py",),
    "ext/": ("test_kernels_{stem}*.py", "test_{stem}*.py", "test_kernels_b*.py"),
}
EVERYTHING = ("test_*.py",)


def tests_of(file: str, tests: Path) -> tuple[str, ...]:
    """Patterns of the names of a file's tests: of the longest beginning of its path that is listed.

    All tests, where none is named after the file.
    """
    longest = max((name for name in TESTS if file.startswith(name)), key=len)
    patterns = tuple(pattern.format(stem=Path(file).stem) for pattern in TESTS[longest])
    named_after = [new for new, old in zip(patterns, TESTS[longest], strict=True) if new != old]
    if (named_after and not files_of(tests, named_after)) or not files_of(tests, patterns):
        return EVERYTHING
    return patterns


def files_of(tests: Path, patterns: Iterable[str]) -> list[Path]:
    """Test files with these patterns."""
    return sorted({path for pattern in patterns for path in tests.glob(pattern)})


@dataclass
class Recent:
    """What found differences, the latest first."""

    names: list[str] = field(default_factory=list)

    def found(self, name: str) -> None:
        """Note what found a difference."""
        name = name.partition("\n")[0]
        if name in self.names:
            self.names.remove(name)
        self.names.insert(0, name)

    def first(self, named: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """The pairs of name and thing, in this order, the rest as it was."""
        place = {name: index for index, name in enumerate(self.names)}
        return iter(sorted(named, key=lambda pair: place.get(pair[0], len(place))))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the vectors: `FILE:LINE`, and what stands there."""

    name: str
    content: dict[str, Any]


def vector_rows(folder: Path) -> list[Row]:
    """All rows, the first of every function first: a difference is then found early."""
    by_function: dict[str, list[Row]] = defaultdict(list)
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                by_function[row["fn"]].append(Row(f"{path.name}:{number}", row))
    rounds = max(map(len, by_function.values()))
    return [rows[turn] for turn in range(rounds) for rows in by_function.values() if turn < len(rows)]


def exact_difference(rows: Iterable[Row]) -> str | None:
    """The first row that the plain integers answer otherwise than the chain."""
    from dydx_perf import verify

    verify.KERNEL_FUNCTIONS = frozenset()  # this is about the plain integers
    for row in rows:
        try:
            answer, _ = verify.answer_row(row.content)
        except verify.NotUnderstoodError:
            return row.name
        partial = str(row.content.get("tag", "")).startswith(verify.PARTIAL_TAG)
        if verify.compare(answer, row.content["out"], partial) is not None:
            return row.name
    return None


def kernel_difference(rows: Iterable[Row]) -> str | None:
    """The first row that a kernel answers otherwise than the chain."""
    from dydx_perf import verify

    for row in rows:
        if row.content["fn"] in verify.KERNEL_FUNCTIONS:
            part = verify.kernel_answer(row.content["fn"], row.content["in"]) or {}
            if verify.compare_part(part, row.content["out"], False) is not None:
                return row.name
    return None


class FirstFailure:
    """pytest plugin: order by `recent`, and the name of the first test that failed."""

    def __init__(self, recent: Recent) -> None:
        self.recent = recent
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for _, item in self.recent.first([(item.nodeid, item) for item in items])]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def arguments(root: Path, files: Sequence[Path]) -> list[str]:
    """Of pytest, for these files: as the project runs them, in silence."""
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:terminal"]
    options += ["-p", "no:faulthandler", "-o", "addopts=--import-mode=importlib"]
    # hypothesis is here before pytest is
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return [*options, "-c", str(root / "pyproject.toml"), "--rootdir", str(root), *map(str, files)]


def pytest_difference(root: Path, files: Sequence[Path], recent: Recent) -> str | None:
    """The first test that fails; None when all pass."""
    first = FirstFailure(recent)
    code = pytest.main(arguments(root, files), plugins=[first])
    if code == pytest.ExitCode.OK:
        return None
    return first.failed or f"pytest ended with {code}"


class Collected:
    """pytest plugin: instead of running the collected tests, hand them to `run`."""

    def __init__(self, run: Callable[[Collected], None]) -> None:
        self.run = run
        self.items: list[pytest.Item] = []
        self.failed = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        self.items = session.items
        self.run(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def difference(self, patterns: Iterable[str], recent: Recent) -> str | None:
        """The first test of files with these patterns that fails; None when all pass."""
        patterns = tuple(patterns)
        chosen = [i for i in self.items if any(fnmatch(i.path.name, pattern) for pattern in patterns)]
        for _, item in recent.first([(item.nodeid, item) for item in chosen]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self.failed:
                return self.failed
        return None
