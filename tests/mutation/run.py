"""Alter each rounding, comparison and constant of the exact core in turn; some test must fail for each.

    python tests/mutation/run.py [--files PATTERN ...] [--sample N [--seed S]] [--list] [--jobs N]

Exit status 0 when every mutant is killed, or listed in equivalent.toml with a proof that no answer changes.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TESTS = HERE.parent
sys.path.insert(0, str(HERE))

import battery  # noqa: E402
import equivalent  # noqa: E402
import scratch  # noqa: E402
from kernel_sites import kernel_mutants  # noqa: E402
from mutant import Edit, Mutant, numbered  # noqa: E402
from python_sites import python_mutants  # noqa: E402
from trial import Outcome, try_out  # noqa: E402

#: what has no figures of its own: the package's list, the twin that only holds values
SKIPPED = ("dydx_perf/exact/__init__.py", "dydx_perf/exact/account.py")
#: processor's seconds of a trial: a mutant that needs so many times what the right code needs, hangs
PATIENCE, LEAST_SECONDS, FIRST_SECONDS = 3.0, 5.0, 300.0

Trial = Callable[[Mutant, float], Outcome]


def sources() -> dict[str, str]:
    """Text of every file to be altered, by its path from the root."""
    paths = [*ROOT.glob("dydx_perf/exact/*.py"), *ROOT.glob("ext/*.h"), *ROOT.glob("ext/*.pxd")]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(paths)}
    return {name: text for name, text in texts.items() if name not in SKIPPED}


def mutants_of(name: str, text: str) -> list[Mutant]:
    """All mutants of a file."""
    return python_mutants(text, name) if name.endswith(".py") else kernel_mutants(text, name)


# ---- plain integers: an import hook gives the altered module to a process that has imported nothing of ours


class AlteredModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module of the package another source."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, f"altered {self.name}", "exec"), module.__dict__)


def installed_package(texts: dict[str, str]) -> Path:
    """Folder of the installed package, whose exact integers must be the ones altered here."""
    found = importlib.util.find_spec("dydx_perf")
    if found is None or found.origin is None:
        raise SystemExit("dydx_perf is not installed here: run `make mutate`")
    package = Path(found.origin).parent
    for name, text in texts.items():
        if name.endswith(".py") and (package.parent / name).read_text() != text:
            raise SystemExit(f"the installed {name} is not this folder's: run `make mutate`")
    return package


def exact_trial(texts: dict[str, str], rows: Sequence[battery.Row], recent: battery.Recent) -> Trial:
    """How a mutant of the plain integers is tried."""

    def trial(mutant: Mutant, seconds: float) -> Outcome:
        source = texts[mutant.file]
        altered = mutant.applied(source)
        module = mutant.file.removesuffix(".py").replace("/", ".")

        def difference() -> str | None:
            sys.meta_path.insert(0, AlteredModule(module, altered))
            ordered = (row for _, row in recent.first([(row.name, row) for row in rows]))
            files = battery.files_of(TESTS, battery.tests_of(mutant.file, TESTS))
            return battery.exact_difference(ordered) or battery.pytest_difference(ROOT, files, recent)

        return try_out(difference, seconds)

    return trial


# ---- kernels: one build that holds all mutants, forks of one process that has collected all tests


def kernel_trials(
    mutants: Sequence[Mutant],
    texts: dict[str, str],
    folder: Path,
    rows: Sequence[battery.Row],
    report: Callable[[Sequence[Mutant], Trial, battery.Recent], None],
) -> None:
    """Build all mutants, and report on each."""
    began = time.monotonic()
    refused = scratch.built(ROOT, folder, mutants)
    switch = scratch.switch(folder)
    print(f"built {len(mutants)} mutants of the kernels in {time.monotonic() - began:.0f} s", flush=True)
    sys.path.insert(0, str(folder))
    recent = battery.Recent()

    def with_tests(collected: battery.Collected) -> None:
        def trial(mutant: Mutant, seconds: float) -> Outcome:
            if mutant.number in refused:
                return Outcome(True, "the compiler", 0.0)

            def difference() -> str | None:
                switch.value = mutant.number
                ordered = (row for _, row in recent.first([(row.name, row) for row in rows]))
                patterns = battery.tests_of(mutant.file, TESTS)
                return battery.kernel_difference(ordered) or collected.difference(patterns, recent)

            outcome = try_out(difference, seconds)
            if outcome.killed:
                return outcome
            files = battery.files_of(TESTS, battery.tests_of(mutant.file, TESTS))
            if scratch.fresh_difference(ROOT, folder, mutant.number, files):
                return Outcome(True, "at import", outcome.seconds)
            return outcome

        report(mutants, trial, recent)

    patterns = {pattern for mutant in mutants for pattern in battery.tests_of(mutant.file, TESTS)}
    plugin = battery.Collected(with_tests)
    files = battery.files_of(TESTS, patterns)
    code = battery.pytest.main(battery.arguments(ROOT, files), plugins=[plugin])
    if not plugin.items:
        raise SystemExit(f"the tests of the kernels cannot be collected: {code}")


# ---- report


class Report:
    """Counts, survivors, and the lines that say so."""

    def __init__(self, texts: dict[str, str], proofs: dict[equivalent.Key, str], jobs: int) -> None:
        self.texts = texts
        self.proofs = proofs
        self.jobs = jobs
        self.survivors: list[Mutant] = []
        self.tried = 0
        self.listed = 0

    def run(self, mutants: Sequence[Mutant], trial: Trial, recent: battery.Recent) -> None:
        """Try all mutants, file by file, after showing that the battery passes without one."""
        for file in dict.fromkeys(mutant.file for mutant in mutants):
            own = [mutant for mutant in mutants if mutant.file == file]
            seconds = self.unaltered(file, trial)
            counted = [mutant for mutant in own if not equivalent.proof_of(mutant, self.proofs)]
            killed = 0
            began = time.monotonic()
            for mutant, outcome in outcomes(counted, trial, seconds, self.jobs):
                if outcome.killed:
                    killed += 1
                    recent.found(outcome.by)
                else:
                    self.survivors.append(mutant)
                    print(f"survived: {mutant.function}\n{mutant.diff(self.texts[file])}", flush=True)
            equal = len(own) - len(counted)
            self.tried += len(counted)
            self.listed += equal
            spent = time.monotonic() - began
            figures = f"{killed} of {len(counted)} mutants killed"
            print(f"{file}: {figures} ({equal} equivalent, listed; {spent:.0f} s)", flush=True)

    def unaltered(self, file: str, trial: Trial) -> float:
        """Return how many seconds a trial may take; end where it fails without any change.

        Everything would count as killed then.
        """
        outcome = trial(Mutant(file, "", "", "", Edit(0, 0, "")), FIRST_SECONDS)
        if outcome.killed:
            raise SystemExit(f"{file} unaltered fails: {outcome.by}")
        return max(PATIENCE * outcome.seconds, LEAST_SECONDS)

    def total(self) -> int:
        """Print the total; the exit status."""
        killed = self.tried - len(self.survivors)
        print(f"total: {killed} of {self.tried} mutants killed ({self.listed} equivalent, listed)")
        return 1 if self.survivors else 0


_trial: Callable[[Mutant], Outcome] | None = None


def _try(mutant: Mutant) -> Outcome:
    assert _trial is not None
    return _trial(mutant)


def outcomes(
    mutants: Sequence[Mutant], trial: Trial, seconds: float, jobs: int
) -> Iterator[tuple[Mutant, Outcome]]:
    """Each mutant with its outcome, in order."""
    if jobs == 1:
        for mutant in mutants:
            yield mutant, trial(mutant, seconds)
        return
    global _trial
    _trial = partial(trial, seconds=seconds)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from zip(mutants, pool.imap(_try, mutants), strict=True)


def main() -> int:
    """Choose the mutants, try them, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--files", nargs="+", default=["*"], help="patterns of paths, for example ext/* or */arith.py"
    )
    parser.add_argument("--sample", type=int, help="only so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--list", action="store_true", help="name the mutants and try none")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--scratch", type=Path, default=ROOT / "build" / "mutation", help="folder to build in"
    )
    options = parser.parse_args()

    texts = sources()
    everything = [mutant for name, text in texts.items() for mutant in mutants_of(name, text)]
    proofs = equivalent.listed()
    gone = equivalent.stale(proofs, everything)
    if gone:
        print("listed as equivalent, but no longer there:", *gone, sep="\n  ", file=sys.stderr)
        return 2
    chosen = [m for m in everything if any(fnmatch(m.file, pattern) for pattern in options.files)]
    if options.sample is not None:
        drawn = [m for m in chosen if not equivalent.proof_of(m, proofs)]
        chosen = sorted(
            random.Random(options.seed).sample(drawn, min(options.sample, len(drawn))),
            key=lambda m: (m.file, m.edit.start),
        )
    if options.list:
        for mutant in chosen:
            print(f"{mutant.file} | {mutant.function} | {mutant.line} | {mutant.change}")
        return 0
    if not chosen:
        print("no mutants in these files", file=sys.stderr)
        return 2

    report = Report(texts, proofs, options.jobs)
    rows = battery.vector_rows(installed_package(texts) / "data" / "vectors")
    exact = [mutant for mutant in chosen if mutant.file.endswith(".py")]
    kernels = numbered(mutant for mutant in chosen if not mutant.file.endswith(".py"))
    if exact:
        recent = battery.Recent()
        report.run(exact, exact_trial(texts, rows, recent), recent)
    if kernels:
        kernel_trials(kernels, texts, options.scratch, rows, report.run)
    return report.total()


if __name__ == "__main__":
    raise SystemExit(main())
