"""`python -m dydx_perf.verify DIR`."""

from dydx_perf.verify import main

if __name__ == "__main__":
    raise SystemExit(main())
