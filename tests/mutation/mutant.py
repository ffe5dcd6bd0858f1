"""A mutant: one small change of one source file, and how it is named in reports and lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import unified_diff


@dataclass(frozen=True, slots=True)
class Edit:
    """Text that stands at [start, end) of a file, and what replaces it."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit. File, function, line and change name it, whatever stands elsewhere in the file."""

    file: str
    function: str  # innermost named function; "" outside of functions
    line: str  # without the blanks around it
    change: str  # "< -> <=", followed by " #2" for the second such on the line
    edit: Edit
    number: int = 0  # value of the switch that makes the kernels take it

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the mutant."""
        return self.file, self.function, self.line, self.change

    def applied(self, source: str) -> str:
        """The source with the change in it."""
        return source[: self.edit.start] + self.edit.text + source[self.edit.end :]

    def diff(self, source: str) -> str:
        """The change as a unified diff with one line around it."""
        before, after = source.splitlines(), self.applied(source).splitlines()
        lines = list(unified_diff(before, after, self.file, self.file, lineterm="", n=1))
        return "\n".join(lines)


def named(source: str, file: str, edits: Iterable[tuple[str, Edit]]) -> list[Mutant]:
    """Return the mutants of a file, named; `edits` are pairs of function and edit."""
    mutants = []
    seen: Counter[tuple[str, str, str]] = Counter()
    for function, edit in sorted(edits, key=lambda pair: (pair[1].start, pair[1].end, pair[1].text)):
        first = source.rfind("\n", 0, edit.start) + 1
        last = source.find("\n", edit.start)
        line = source[first : last if last >= 0 else len(source)].strip()
        after = re.sub(r"__import__\([^)]*\)\.", "", edit.text)
        change = f"{' '.join(source[edit.start : edit.end].split())} -> {after or 'nothing'}"
        seen[function, line, change] += 1
        nth = seen[function, line, change]
        mutants.append(Mutant(file, function, line, change if nth == 1 else f"{change} #{nth}", edit))
    return mutants


def numbered(mutants: Iterable[Mutant]) -> list[Mutant]:
    """Return the mutants with the switch's values from 1 on."""
    return [replace(mutant, number=number) for number, mutant in enumerate(mutants, 1)]
