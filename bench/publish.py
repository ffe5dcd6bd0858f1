"""Put the last table of `make bench` into docs/performance.md: python3 bench/publish.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "build" / "bench" / "table.md"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- begin: build/bench/table.md -->\n", "<!-- end: build/bench/table.md -->\n"


def main() -> None:
    """Replace what stands between the marks."""
    page = PAGE.read_text("utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has lost its marks {BEGIN.strip()} and {END.strip()}")
    PAGE.write_text(f"{before}{BEGIN}\n{TABLE.read_text('utf-8')}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
