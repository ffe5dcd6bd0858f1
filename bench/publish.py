"""Put the last table of `make bench` into docs/performance.md: python3 bench/publish.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "build" / "bench" / "table.md"
PAGE = ROOT / "docs" / "performance.md"
FIRST, LAST = (f"<!-- {mark}: build/bench/table.md -->\n" for mark in ("begin", "end"))


def main() -> None:
    """Replace what stands between the marks."""
    before, begin, rest = PAGE.read_text("utf-8").partition(FIRST)
    _, end, after = rest.partition(LAST)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no marks {FIRST.strip()} and {LAST.strip()}")
    PAGE.write_text(f"{before}{FIRST}\n{TABLE.read_text('utf-8')}\n{LAST}{after}", "utf-8")


if __name__ == "__main__":
    main()
