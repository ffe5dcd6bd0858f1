"""Run test files on a build of all mutants, one of them on from the first import: `ROOT SCRATCH FILE ...`.

Some code runs at import only (tables, constants that Python sees); a fork comes too late for that.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import battery
import scratch

if __name__ == "__main__":
    root, folder, *files = map(Path, sys.argv[1:])
    scratch.switch(folder)
    sys.path.insert(0, str(folder))
    raise SystemExit(battery.pytest_difference(root, files, battery.Recent()) is not None)
