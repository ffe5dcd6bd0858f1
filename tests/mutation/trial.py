"""One trial in a process of its own: a hang or a crash there is a killed mutant, and no more."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

MEMORY = 6 * 2**30


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant, and by which test; `by` of a survivor is empty."""

    killed: bool
    by: str
    seconds: float


def try_out(find_difference: Callable[[], str | None], seconds: float) -> Outcome:
    """Run `find_difference` in a fork; what it names killed the mutant, and so does a silent end.

    It may use so many `seconds` of the processor, and take ten times as long.
    """
    began = time.monotonic()
    sys.stdout.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(find_difference, writer, seconds)
    os.close(writer)
    answer = _read_until(reader, began + 10 * seconds)
    os.close(reader)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    spent = time.monotonic() - began
    if answer is None:
        return Outcome(True, f"no end after {spent:.0f} s", spent)
    if answer:
        text = answer.decode(errors="replace")
        return Outcome(text != "-", "" if text == "-" else text, spent)
    return Outcome(True, f"the process ended with {os.waitstatus_to_exitcode(status)}", spent)


def _in_child(find_difference: Callable[[], str | None], writer: int, seconds: float) -> None:
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (ceil(seconds), ceil(seconds)))
        try:
            found = find_difference() or "-"
        except BaseException as error:  # noqa: BLE001  whatever a mutant raises, it was noticed
            found = f"{type(error).__name__}: {error}"[:300]
        os.write(writer, found.encode(errors="replace")[:4000])
        code = 0
    finally:
        os._exit(code)


def _read_until(reader: int, deadline: float) -> bytes | None:
    """All that is written before the other side closes; None when time is up."""
    chunks = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return None
        chunk = os.read(reader, 65536)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
