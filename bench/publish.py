"""Put the last table of `make bench` into docs/performance.md: python3 bench/publish.py [PART].

The page has a place for the whole and one for each part that is measured by itself, as after
`make bench ARGS="-k 'preview or explain or test_book'"`: the part "decisions".
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "build" / "bench" / "table.md"
PAGE = ROOT / "docs" / "performance.md"
WHOLE = "build/bench/table.md"


def main(part: str = WHOLE) -> None:
    """Replace what stands between the marks of a part."""
    first, last = f"<!-- begin: {part} -->\n", f"<!-- end: {part} -->\n"
    page = PAGE.read_text("utf-8")
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no marks {first.strip()} and {last.strip()}")
    PAGE.write_text(f"{before}{first}\n{TABLE.read_text('utf-8')}\n{last}{after}", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
