"""What the offline verbs print with: aligned columns, rounded dollars, and an end where nobody reads on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

__all__ = ["dollars", "printing", "table"]

NOT_PRINTED = 1


def printing(verb: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a verb and return its exit status; 1 where its output could not be written to the end.

    A reader that goes away, as `head` does, has seen what it wanted: no error to tell of; a full disk is.
    """
    try:
        status = verb(arguments)
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # of a file that the verb itself opens
            raise
        if not isinstance(error, BrokenPipeError):
            print(f"the output could not be written: {error.strerror}", file=sys.stderr)
        # what is still buffered goes nowhere, or Python would fail once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_PRINTED
    return status


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
