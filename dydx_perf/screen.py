"""What the offline verbs print with: aligned columns and rounded dollars. Display only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

__all__ = ["dollars", "table"]


def dollars(amount: Decimal) -> str:
    """Return cents: enough on the screen."""
    return f"{amount:,.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns under their names; the first to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        print("  " + "  ".join(cells).rstrip())
