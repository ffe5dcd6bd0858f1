"""Choose the representative rows of the chain vectors that ship in the package.

    python tests/tools/select_vectors.py VECTORS OUT

VECTORS is a folder of ``*.jsonl.gz``; OUT receives files of the same names with some of their rows,
byte for byte and in their order. ``repo_tests.jsonl.gz`` is left out: its rows mirror the protocol's
own test tables.

Two rules, both free of chance. First every *trait* of every function is covered: each tag, each error
with its kind and code at each place of the answer, each word, truth value and null, each sign and zero
of each number, each of its magnitudes in steps of 32 bits, its smallest and its largest value, and the
shortest and longest of each list. The rarest trait is served first, by the shortest row that has it.
Then each function is filled up by rows evenly spread over its rows.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LEFT_OUT = {"repo_tests.jsonl.gz"}

# What each function gets besides the rows that cover its traits, as far as it has rows: the largest of
# SPREAD_ROWS, one row of SPREAD_STEP, and as many as reach LEAST_BYTES (before compression) in all.
SPREAD_ROWS = 45
SPREAD_STEP = 25
LEAST_BYTES = 22_000

MAGNITUDE_STEP_BITS = 32
INTEGER = re.compile(r"-?[0-9]+")

Trait = tuple[str, ...]


def numbers_and_words(value: Any, place: str) -> Iterator[tuple[str, int | None, str]]:
    """Walk a row and give (place, number or None, word) of every leaf; list positions share a place."""
    if isinstance(value, dict):
        if "err" in value:
            # Name, kind and code together: the same name may be an error here and a panic there.
            yield place, None, json.dumps([value["err"], value.get("err_kind"), value.get("err_code")])
        for key, child in value.items():
            yield from numbers_and_words(child, f"{place}.{key}")
    elif isinstance(value, list):
        yield f"{place}#", len(value), ""
        for child in value:
            yield from numbers_and_words(child, f"{place}[]")
    elif isinstance(value, bool) or value is None:
        yield place, None, json.dumps(value)
    elif isinstance(value, int):
        yield place, value, ""
    elif INTEGER.fullmatch(value):
        yield place, int(value), ""
    else:
        yield place, None, value


def traits_of(row: dict[str, Any]) -> tuple[set[Trait], dict[str, set[int]]]:
    """Give the traits one row has by itself, and its numbers by place for the extremes of its function."""
    traits: set[Trait] = {("tag", row.get("tag", ""))}
    numbers: dict[str, set[int]] = {}
    for place, number, word in numbers_and_words({"in": row["in"], "out": row["out"]}, ""):
        if number is None:
            traits.add(("word", place, word))
            continue
        sign = (number > 0) - (number < 0)
        traits.add(("magnitude", place, str(sign), str(abs(number).bit_length() // MAGNITUDE_STEP_BITS)))
        numbers.setdefault(place, set()).add(number)
    return traits, numbers


def covering_rows(lines: list[str]) -> set[int]:
    """Give the indexes of rows that together have every trait of one function's rows."""
    rows_with: dict[Trait, list[int]] = {}
    extremes: dict[str, dict[str, tuple[int, int]]] = {}
    for index, line in enumerate(lines):
        traits, numbers = traits_of(json.loads(line))
        for trait in traits:
            rows_with.setdefault(trait, []).append(index)
        for place, values in numbers.items():
            best = extremes.setdefault(place, {})
            for name, candidate in (("largest", max(values, key=abs)), ("smallest", min(values, key=abs))):
                size = abs(candidate) if name == "smallest" else -abs(candidate)
                # The first row wins a tie, so the choice does not depend on anything but the order.
                if name not in best or size < best[name][0]:
                    best[name] = (size, index)
    for place, best in extremes.items():
        for name, (_, index) in best.items():
            rows_with[(name, place)] = [index]

    traits_by_row: dict[int, list[Trait]] = {}
    for trait, indexes in rows_with.items():
        for index in indexes:
            traits_by_row.setdefault(index, []).append(trait)
    chosen: set[int] = set()
    covered: set[Trait] = set()
    for trait in sorted(rows_with, key=lambda one: (len(rows_with[one]), one)):
        if trait not in covered:
            index = min(rows_with[trait], key=lambda one: (len(lines[one]), one))
            chosen.add(index)
            covered.update(traits_by_row[index])
    return chosen


def selected_rows(lines: list[str]) -> set[int]:
    """Give the covering rows of one function and an even spread of the others."""
    chosen = covering_rows(lines)
    others = [index for index in range(len(lines)) if index not in chosen]
    if not others:
        return chosen
    mean = sum(len(lines[index]) for index in others) / len(others)
    room = LEAST_BYTES - sum(len(lines[index]) for index in chosen)
    wanted = min(len(others), max(SPREAD_ROWS, len(lines) // SPREAD_STEP, int(room / mean)))
    return chosen | {others[step * len(others) // wanted] for step in range(wanted)}


def select(source: Path) -> list[str]:
    """Give the chosen lines of one file, in their order."""
    with gzip.open(source, "rt", encoding="utf-8", newline="\n") as file:
        # Some rows stand in the source more than once; the first is enough.
        lines = list(dict.fromkeys(file.read().splitlines()))
    by_function: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        by_function.setdefault(json.loads(line)["fn"], []).append(index)
    chosen: set[int] = set()
    for indexes in by_function.values():
        chosen.update(indexes[one] for one in selected_rows([lines[index] for index in indexes]))
    return [lines[index] for index in sorted(chosen)]


def write_gzip(path: Path, lines: list[str]) -> None:
    """Write lines without a time or a name in the header: equal rows give equal bytes."""
    text = "".join(line + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0))


def main(arguments: list[str]) -> int:
    """Write the chosen rows of every file; the exit code is 2 when the call is wrong."""
    if len(arguments) != 2:
        print("usage: select_vectors.py VECTORS OUT", file=sys.stderr)
        return 2
    vectors, out = Path(arguments[0]), Path(arguments[1])
    out.mkdir(parents=True, exist_ok=True)
    for source in sorted(vectors.glob("*.jsonl.gz")):
        if source.name not in LEFT_OUT:
            write_gzip(out / source.name, select(source))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
