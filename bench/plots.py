"""Draw what the last `make bench` measured: python3 bench/plots.py, with matplotlib from the extra `plots`.

Of each size of book one picture of its tails: median, 99th percentile and longest call of every sequence,
beside the longest pause that an idle loop saw in the same minute. And one of each section of contenders.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
#: name, marker and colour of each figure of a sequence
MARKS = (("median", "o", "tab:blue"), ("p99", "s", "tab:orange"), ("longest", "D", "tab:red"))


def draw_tails(section: str, tails: list[dict[str, Any]], folder: Path) -> Path:
    """One picture of the sequences of one book."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.45 * len(tails) + 1.8), layout="constrained")
    axes = figure.subplots()
    places = range(len(tails))
    values: dict[str, list[float]] = {name: [] for name, *_ in MARKS}
    for tail in tails:
        ns = sorted(tail["ns"])
        values["median"].append(ns[len(ns) // 2] / 1e6)
        values["p99"].append(ns[len(ns) * 99 // 100] / 1e6)
        values["longest"].append(ns[-1] / 1e6)
    for name, marker, colour in MARKS:
        axes.plot(values[name], places, marker, color=colour, label=name)
    own = [max(tail["own_ns"]) / 1e6 for tail in tails]
    axes.plot(own, places, "d", color="tab:red", fillstyle="none", label="longest, its own time")
    gaps = [tail["gap_ns"] / 1e6 for tail in tails]
    axes.plot(gaps, places, "|", color="grey", markersize=14, label="longest pause of an idle loop")
    axes.axvline(4.0, color="lightgrey", zorder=0)
    axes.set(xscale="log", xlabel="ms", title=section)
    axes.set_yticks(places, [tail["sequence"] for tail in tails])
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=5, frameon=False)
    return saved(figure, section, folder)


def draw_rows(section: str, rows: list[dict[str, Any]], folder: Path) -> Path:
    """One picture of the contenders of one section."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.4 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        [row["contender"] for row in rows],
        [row["median_ns"] / 1e6 for row in rows],
        color=["tab:blue" if row["ours"] else "lightsteelblue" for row in rows],
    )
    axes.set(xscale="log", xlabel=f"ms, {rows[0]['unit']}", title=section)
    axes.invert_yaxis()
    return saved(figure, section, folder)


def saved(figure: Any, section: str, folder: Path) -> Path:
    """Save a figure under its section's name."""
    path = folder / f"{re.sub('[^a-z0-9]+', '-', section.lower()).strip('-')}.png"
    figure.savefig(path, dpi=120)
    return path


def grouped(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By section."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        sections.setdefault(one["section"], []).append(one)
    return sections


def main(folder: Path = FOLDER) -> None:
    """Draw every section that has something to compare, and say where it is."""
    results = folder / "results.json"
    if not results.exists():
        raise SystemExit(f"{results} is not there: run `make bench` first")
    document = json.loads(results.read_text("utf-8"))
    for section, tails in grouped(document["tails"]).items():
        print(draw_tails(section, tails, folder))
    for section, rows in grouped(document["rows"]).items():
        if len(rows) > 1:
            print(draw_rows(section, rows, folder))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
