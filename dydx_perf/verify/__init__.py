"""Run vector files through the installed package: are our integers the chain's.

A row counts as identical only when every answer computed from its input equals the chain's, names
and kinds of failures included: the whole answer of the plain integers, and all that the compiled kernels
compute of it. A line, function or field that is not understood counts as not identical, and so does the
unreadable rest of a damaged file.
"""

import argparse
import gzip
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from dydx_perf.errors import ChainError, InputError
from dydx_perf.kernel import COMPILED
from dydx_perf.verify.answers import ANSWERS
from dydx_perf.verify.exact_amounts import Answer, chain_error_out
from dydx_perf.verify.fields import Fields, NotUnderstoodError

__all__ = ["FileReport", "main", "shipped_vectors", "vector_files", "verify_file", "verify_row"]

SUFFIXES = (".jsonl.gz", ".jsonl")
#: only rows of the protocol's own test tables may leave fields out of their answer
PARTIAL_TAG = "repo_test"
REASONS_KEPT = 5
LONGEST_LINE = 64 * 2**20


#: function and input of a row -> members of the answer that kernels compute, None where they decline
KernelAnswer = Callable[[str, object], Answer | None]


def no_kernels(function: str, members: object) -> Answer | None:
    """Decline everything: a build without compiled modules."""
    return None


kernel_answer: KernelAnswer = no_kernels
KERNEL_FUNCTIONS: frozenset[str] = frozenset()
if COMPILED:
    from dydx_perf.verify.kernels import KERNELS, kernel_answer

    KERNEL_FUNCTIONS = frozenset(KERNELS)


@dataclass
class Engines:
    """How many rows of each function the plain integers answered, and how many the kernels."""

    exact: Counter[str] = field(default_factory=Counter)
    kernel: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """One line per function."""
        for function, rows in self.exact.items():
            kernel = f"kernel {self.kernel[function]}" if function in KERNEL_FUNCTIONS else "no kernel"
            yield f"{function}: exact {rows}, {kernel}"


@dataclass
class FileReport:
    """How many rows of a file are identical, and the first reasons why others are not."""

    name: str
    rows: int = 0
    identical: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """All rows identical, and at least one there."""
        return 0 < self.rows == self.identical

    def count(self, reason: str | None) -> None:
        """Add one row; `reason` says why it is not identical."""
        self.rows += 1
        if reason is None:
            self.identical += 1
        elif len(self.reasons) < REASONS_KEPT:
            self.reasons.append(f"{self.name}:{self.rows}: {reason}")


def shipped_vectors() -> Path:
    """Return the vectors inside the package."""
    return Path(str(files("dydx_perf.data") / "vectors"))


def vector_files(folder: Path) -> list[Path]:
    """Vector files of `folder`, by name; a single file is itself."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError("DIR", str(folder), "an existing folder of .jsonl.gz or .jsonl files")
    found = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
    if not found:
        raise InputError("DIR", str(folder), "a folder with at least one .jsonl.gz or .jsonl file")
    return found


def verify_file(path: Path, engines: Engines | None = None) -> FileReport:
    """Compare every row of one file; `engines` counts who answered."""
    report = FileReport(path.name)
    try:
        for line in read_lines(path):
            report.count(verify_row(line, engines))
    except (OSError, EOFError, zlib.error) as damage:
        report.count(f"the file cannot be read from here on: {damage}")
    if report.rows == 0:
        report.reasons.append(f"{path.name}: the file has no rows")
    return report


def read_lines(path: Path) -> Iterator[bytes]:
    """Lines without their line ends, one at a time."""
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "rb") as stream:
        while line := stream.readline(LONGEST_LINE):
            yield line.removesuffix(b"\n")


def verify_row(line: bytes | str, engines: Engines | None = None) -> str | None:
    """None when the row is identical, else the reason why it is not."""
    try:
        row = parse_row(line)
        answer, part = answer_row(row)
    except NotUnderstoodError as reason:
        return str(reason)
    if engines is not None:
        engines.exact[row["fn"]] += 1
        engines.kernel[row["fn"]] += part is not None
    partial = str(row.get("tag", "")).startswith(PARTIAL_TAG)
    return compare(answer, row["out"], partial) or compare_part(part or {}, row["out"], partial)


def parse_row(line: bytes | str) -> dict[str, Any]:
    """Return the row of a line, each of its four members of the right type."""
    try:
        # json itself would guess other encodings
        text = line if isinstance(line, str) else line.decode("utf-8")
        row = json.loads(text, object_pairs_hook=unique_members, parse_constant=no_constant)
    except (ValueError, RecursionError) as reason:
        raise NotUnderstoodError(f"not JSON: {reason}") from None
    if not isinstance(row, dict) or not {"fn", "in", "out"} <= row.keys() <= {"fn", "tag", "in", "out"}:
        raise NotUnderstoodError("a row has fn, in, out and perhaps tag")
    if not isinstance(row.get("tag", ""), str) or not isinstance(row["out"], dict):
        raise NotUnderstoodError("tag is a text, out an object")
    return row


def unique_members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; a name that stands there twice is refused."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise NotUnderstoodError(f"{name} stands there twice")
        members[name] = value
    return members


def no_constant(name: str) -> None:
    """NaN and the infinities are no JSON."""
    raise NotUnderstoodError(f"{name} is not a number")


def answer_row(row: dict[str, Any]) -> tuple[Answer, Answer | None]:
    """Return what `exact` answers to the row's input, and what the kernels do."""
    function = ANSWERS.get(row["fn"]) if isinstance(row["fn"], str) else None
    if function is None:
        raise NotUnderstoodError(f"unknown function {row['fn']!r:.60}")
    fields = Fields(row["in"])
    part: Answer | None = None
    try:
        if row["fn"] in KERNEL_FUNCTIONS:
            part = kernel_answer(row["fn"], row["in"])
        answer = function(fields)
    except ChainError as refusal:
        answer = chain_error_out(refusal)
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as failure:
        raise NotUnderstoodError(f"no answer: {type(failure).__name__}: {failure}") from failure
    fields.done()
    return answer, part


def compare(answer: dict[str, Any], expected: dict[str, Any], partial: bool) -> str | None:
    """None when `answer` says all that `expected` says, and nothing else."""
    shared = answer
    if partial and expected:
        shared = {name: value for name, value in answer.items() if name in expected}
    if same(shared, expected):
        return None
    name = next((n for n in {**shared, **expected} if not same(shared.get(n), expected.get(n))), "out")
    return f"{name}: {shared.get(name)!r:.120} is not the chain's {expected.get(name)!r:.120}"


def compare_part(part: Answer, expected: dict[str, Any], partial: bool) -> str | None:
    """None when the chain's answer holds every member of `part`."""
    for name, value in part.items():
        if partial and name not in expected:
            continue
        if not contains(expected.get(name), value):
            return f"{name}: {value!r:.120} of a kernel is not the chain's {expected.get(name)!r:.120}"
    return None


def contains(whole: Any, part: Any) -> bool:
    """Whether each member of `part`, at any depth of objects, is the same in `whole`."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and contains(whole[name], part[name]) for name in part)
    return same(whole, part)


def same(a: Any, b: Any) -> bool:
    """Equal in value and in JSON type (1, 1.0 and true are three things)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print `FILE: n of n identical` per file and a total; 0 only when every row is identical."""
    parser = argparse.ArgumentParser(
        prog="python -m dydx_perf verify",
        description="Compare this installation with results of the chain's own code, row by row.",
    )
    parser.add_argument(
        "folders",
        metavar="DIR",
        nargs="*",
        type=Path,
        help="folders (or files) of vectors; the shipped ones if none",
    )
    parser.add_argument(
        "--engines",
        action="store_true",
        help="say at the end how many rows of each function a kernel answered",
    )
    options = parser.parse_args(arguments)
    folders = options.folders or [shipped_vectors()]
    engines = Engines()
    try:
        paths = [path for folder in folders for path in vector_files(folder)]
    except InputError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    reports = []
    for path in paths:
        report = verify_file(path, engines)
        reports.append(report)
        print(f"{report.name}: {report.identical} of {report.rows} identical", flush=True)
        for reason in report.reasons:
            print(reason, file=sys.stderr)
    identical, rows = sum(r.identical for r in reports), sum(r.rows for r in reports)
    print(f"total: {identical} of {rows} identical")
    if options.engines:
        print(*engines.lines(), sep="\n")
    return 0 if all(report.ok for report in reports) else 1
