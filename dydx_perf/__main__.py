"""Offline verbs: `python -m dydx_perf VERB`."""

import argparse
import sys
from collections.abc import Callable, Sequence

from dydx_perf.screen import printing

Verb = Callable[[Sequence[str]], int]


def verify(arguments: Sequence[str]) -> int:
    """Compare this installation with results of the chain's own code."""
    from dydx_perf.verify import main as run

    return run(arguments)


def show(arguments: Sequence[str]) -> int:
    """Show real mainnet accounts: risk, liquidation prices, PnL, a crash, and the proof."""
    from dydx_perf.show import main as run

    return run(arguments)


def explain(arguments: Sequence[str]) -> int:
    """Show the chain's, the indexer's and the web app's figures of accounts, and why they differ."""
    from dydx_perf.offline import explain as run

    return run(arguments)


def scan(arguments: Sequence[str]) -> int:
    """List accounts of a file, the riskiest first."""
    from dydx_perf.offline import scan as run

    return run(arguments)


VERBS: dict[str, Verb] = {"explain": explain, "scan": scan, "show": show, "verify": verify}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="dydx-perf", description="Exact dYdX v4 risk, offline.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=(verb.__doc__ or "").strip().splitlines()[0], add_help=False)
    namespace, _ = parser.parse_known_args(given[:1])
    return printing(VERBS[namespace.verb], given[1:])


if __name__ == "__main__":
    raise SystemExit(main())
