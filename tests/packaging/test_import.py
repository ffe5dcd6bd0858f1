"""Importing the package is cheap and brings in neither NumPy nor anything that could do I/O."""

import subprocess
import sys
from statistics import median

# NumPy itself takes about 0.1 s, so that this share keeps us below 0.05 s; a ratio does not know how busy the
# machine is. Time of the processor, not of the clock on the wall.
LARGEST_SHARE = 0.5

TIMED = """
from time import process_time
start = process_time()
import numpy
between = process_time()
import dydx_perf
print((process_time() - between) / (between - start))
"""


def run_python(code: str) -> str:
    """Run `code` in a fresh interpreter and return what it printed."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_import_takes_less_than_half_of_numpys_own():
    """The median of nine fresh interpreters."""
    assert median(float(run_python(TIMED)) for _ in range(9)) < LARGEST_SHARE


def test_import_brings_in_nothing_heavy():
    """NumPy waits until columns are asked for; event loops and sockets never come."""
    loaded = set(run_python("import sys, dydx_perf; print(*sys.modules)").split())
    assert "dydx_perf" in loaded
    assert (
        loaded & {"numpy", "asyncio", "socket", "ssl", "threading", "multiprocessing", "importlib.metadata"}
        == set()
    )


def test_feeds_export_each_name_and_load_none_before_it_is_asked_for():
    """One import gives a caller the sessions and their words; it costs nothing by itself."""
    told = run_python(
        "import sys, dydx_perf.feeds as feeds\n"
        "print(*[name for name in sys.modules if name.startswith('dydx_perf.feeds.')])\n"
        "print(*[name for name in feeds.__all__ if getattr(feeds, name) is None])"
    )
    assert told.split() == []
