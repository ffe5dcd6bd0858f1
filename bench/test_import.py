"""What importing costs, in time and in memory, each in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from table import Row

PROCESSES = 15
SECTION = "Import, in fresh processes with warm files"

#: prints seconds of processor time, then bytes of resident memory that the import added
PROBE = """
import os, sys
from time import process_time
{before}
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
memory = resident() if sys.platform == "linux" else 0
start = process_time()
{imported}
seconds = process_time() - start
print(seconds, (resident() if sys.platform == "linux" else 0) - memory)
"""

FIRST_RISK = """
import dydx_perf
chain = dydx_perf.Chain.sample("v9")
held = {"BTC-USD": "0.8", "ETH-USD": "-12"}
dydx_perf.Subaccount(chain, "dydx1", 0, usdc="25000", positions=held).risk
"""

CASES = {
    "import dydx_perf, NumPy being there": ("import numpy", "import dydx_perf"),
    "import dydx_perf alone: it leaves NumPy out": ("", "import dydx_perf"),
    "import dydx_perf.ext.columns after it, NumPy being there": (
        "import numpy, dydx_perf",
        "import dydx_perf.ext.columns",
    ),
    "from nothing to the first risk": ("", FIRST_RISK),
    "import decimal": ("", "import decimal"),
    "import numpy": ("", "import numpy"),
}


def probe(before: str, imported: str) -> tuple[float, int]:
    """Seconds and bytes of one fresh process."""
    code = PROBE.format(before=before, imported=imported)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    seconds, size = done.stdout.split()
    return float(seconds), int(size)


def test_import(benchmark, table):
    """Cases in turn, so that a busy moment meets them all; pytest-benchmark clocks a whole round."""
    found: dict[str, list[tuple[float, int]]] = {case: [] for case in CASES}

    def every_case() -> None:
        for case, (before, imported) in CASES.items():
            found[case].append(probe(before, imported))

    every_case()
    for measured in found.values():
        measured.clear()
    benchmark.group = SECTION
    benchmark.pedantic(every_case, rounds=PROCESSES, iterations=1)
    for case, measured in found.items():
        seconds = [s for s, _ in measured]
        size = median(size for _, size in measured)
        ours = case == next(iter(CASES))
        table.rows.append(
            Row(
                SECTION, case, "a process", median(seconds) * 1e9, min(seconds) * 1e9,
                f"{size / 2**20:.1f} MiB of memory", ours=ours, goal_ns=5e6 if ours else None,
            )
        )  # fmt: skip
