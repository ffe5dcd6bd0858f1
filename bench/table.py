"""Rows of the benchmarks, and the one table made of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"


@dataclass(frozen=True)
class Row:
    """One contender's time for one piece of work."""

    section: str
    contender: str
    unit: str  # what the time is for: a call, a position, a text
    median_ns: float
    fastest_ns: float
    answers: str
    ours: bool = False  # the row the section's ratios are against
    goal_ns: float | None = None

    def ratio(self, reference: Row) -> float:
        """How many times the reference's time this one takes."""
        return self.median_ns / reference.median_ns


@dataclass(frozen=True)
class Tail:
    """How long each call of a sequence took, worst cases too, beside what the machine did to an idle loop."""

    section: str
    sequence: str
    ns: list[int]  # each call, on the wall
    own_ns: list[int]  # each call, this thread's processor time: without what others took
    gap_ns: int  # the longest pause of a loop that did nothing, in the same minute
    answers: str

    def figures(self) -> list[str]:
        """Median, 99th percentile and longest on the wall, longest of its own time, longest idle pause."""
        calls, own = sorted(self.ns), sorted(self.own_ns)
        chosen = (calls[len(calls) // 2], calls[len(calls) * 99 // 100], calls[-1], own[-1], self.gap_ns)
        return [time_text(ns) for ns in chosen]


@dataclass
class Table:
    """All rows of a run, in the order in which they were measured, and its conditions."""

    rows: list[Row] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    conditions: dict[str, str] = field(default_factory=dict)

    def sections(self) -> dict[str, list[Row]]:
        """Rows by section."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.section, []).append(row)
        return found

    def goals(self) -> list[tuple[Row, str]]:
        """Each row that has a goal, and whether it holds, by its median."""
        return [(row, verdict(row)) for row in self.rows if row.goal_ns is not None]

    def markdown(self) -> str:
        """The whole run as Markdown."""
        lines = ["| condition | |", "| --- | --- |"]
        lines += [f"| {name} | {value} |" for name, value in self.conditions.items()]
        for section, rows in self.sections().items():
            lines += ["", f"### {section}", "", *section_lines(rows)]
        for section in dict.fromkeys(tail.section for tail in self.tails):
            lines += ["", f"### {section}", "", *tail_lines([t for t in self.tails if t.section == section])]
        lines += [
            "",
            "### Goals",
            "",
            "| | goal | median | fastest | |",
            "| --- | ---: | ---: | ---: | --- |",
        ]
        lines += [
            f"| {row.section}: {row.contender} | {time_text(row.goal_ns or 0)} | {time_text(row.median_ns)} "
            f"| {time_text(row.fastest_ns)} | {held} |"
            for row, held in self.goals()
        ]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path = FOLDER) -> None:
        """Write table.md and results.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.md").write_text(self.markdown(), "utf-8")
        (folder / "results.json").write_text(json.dumps(self.document(), indent=1) + "\n", "utf-8")

    def document(self) -> dict[str, Any]:
        """The whole run as plain values."""
        return {
            "conditions": self.conditions,
            "rows": [asdict(row) for row in self.rows],
            "tails": [asdict(tail) for tail in self.tails],
        }


def verdict(row: Row) -> str:
    """Whether the median holds the row's goal, and by how much it does not."""
    over = row.median_ns / (row.goal_ns or row.median_ns) - 1
    return "met" if over <= 0 else f"missed by {over:.0%}"


def section_lines(rows: list[Row]) -> list[str]:
    """A section as a Markdown table; ratios against its row of ours, where it has one."""
    reference = next((row for row in rows if row.ours), None)
    lines = [
        f"| | median, {rows[0].unit} | fastest | times ours | answers |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        name = f"**{row.contender}**" if row.ours else row.contender
        ratio = f"{row.ratio(reference):.3g}" if reference else ""
        lines.append(
            f"| {name} | {time_text(row.median_ns)} | {time_text(row.fastest_ns)} | {ratio} | {row.answers} |"
        )
    return lines


def tail_lines(tails: list[Tail]) -> list[str]:
    """Sequences as a Markdown table."""
    lines = [
        "| | median | p99 | longest | longest, own time | idle loop's longest pause | calls | answers |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for tail in tails:
        figures = " | ".join([*tail.figures(), str(len(tail.ns))])
        lines.append(f"| {tail.sequence} | {figures} | {tail.answers} |")
    return lines


def time_text(ns: float) -> str:
    """A duration with three digits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"
