"""`python -m dydx_perf.verify DIR`."""

import sys

from dydx_perf.screen import printing
from dydx_perf.verify import main

if __name__ == "__main__":
    raise SystemExit(printing(main, sys.argv[1:]))
