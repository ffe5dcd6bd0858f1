"""All verbs: `python -m dydx_perf VERB`. Those of the service need its extra; the others only NumPy."""

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
    """List accounts of a file, or all of a node's (--node), the riskiest first."""
    if any(argument.partition("=")[0] == "--node" for argument in arguments):
        return service("scan", arguments)
    from dydx_perf.offline import scan as run

    return run(arguments)


def stress(arguments: Sequence[str]) -> int:
    """Say what price moves, margins and funding would do to the accounts of a file."""
    try:
        from dydx_perf.stress_verb import stress as run
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("dydx_perf."):
            raise
        print("dydx-perf stress needs the compiled kernels; this build has none", file=sys.stderr)
        return 2
    return run(arguments)


def serve(arguments: Sequence[str]) -> int:
    """Watch accounts, and answer over HTTP what their risk is."""
    return service("serve", arguments)


def watch(arguments: Sequence[str]) -> int:
    """Show the risk of accounts on the screen as it moves."""
    return service("watch", arguments)


def record(arguments: Sequence[str]) -> int:
    """Write everything that a feed sends to a file, with its time."""
    return service("record", arguments)


def replay(arguments: Sequence[str]) -> int:
    """Say what a recording holds, or play it back as the venue."""
    return service("replay", arguments)


def service(verb: str, arguments: Sequence[str]) -> int:
    """Hand a verb over to the service, where its extra is installed."""
    try:
        from dydx_perf.service.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dydx_perf."):
            print(f"dydx-perf {verb} needs the compiled kernels; this build has none", file=sys.stderr)
            return 2
        print(
            f'dydx-perf {verb} needs {error.name} of the service extra: pip install "dydx-perf[service]"',
            file=sys.stderr,
        )
        return 2
    return run([verb, *arguments])


VERBS: dict[str, Verb] = {
    verb.__name__: verb for verb in (explain, record, replay, scan, serve, show, stress, verify, watch)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="dydx-perf", description="Exact dYdX v4 risk: of files, of recordings, of live accounts."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=(verb.__doc__ or "").strip().splitlines()[0], add_help=False)
    namespace, _ = parser.parse_known_args(given[:1])
    return printing(VERBS[namespace.verb], given[1:])


if __name__ == "__main__":
    raise SystemExit(main())
