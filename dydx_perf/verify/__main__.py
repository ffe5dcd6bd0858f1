"""`python -m dydx_perf.verify DIR`."""

from dydx_perf.verify import main

raise SystemExit(main())
