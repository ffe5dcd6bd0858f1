"""The verb `stress`: accounts of a file under price moves, on the screen or as JSON.

Exit status: 2 where the input is wrong, with the reason on stderr and nothing done; 1 where an account is
liquidatable in one of the scenarios, else 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from dydx_perf.account_files import AccountFile
from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.errors import InputError
from dydx_perf.kernel import BASES
from dydx_perf.offline import note, parser_of, run, write_json
from dydx_perf.screen import dollars, table
from dydx_perf.shocks import Shock
from dydx_perf.stress import SUMS, StressResult
from dydx_perf.stress import stress as stressed
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import quote_quantums_to_usdc

__all__ = ["stress"]

STRESS_FORMAT = {"name": "dydx_perf stress", "version": 1}
MOVES = "-0.5,-0.3,-0.2,-0.1,-0.05,0,0.05,0.1,0.2,0.3,0.5"
COUNTS = SUMS[:4]


def stress(arguments: Sequence[str]) -> int:
    """Say what price moves, margins and funding would do to the accounts of a file."""
    parser = parser_of("stress", stress)
    parser.add_argument(
        "--moves",
        metavar="LIST",
        default=MOVES,
        help="price moves, each a scenario: -0.2 is down by 20 %% (write --moves=-0.2,0.2)",
    )
    parser.add_argument("--market", metavar="TICKER", help="move this market only; without it, all of them")
    parser.add_argument("--initial-margin", metavar="FACTOR", help="on the initial margin of every market")
    parser.add_argument("--max-leverage", metavar="N", type=int, help="no market allows more")
    parser.add_argument("--funding-rate", metavar="RATE", help="for 8 hours, which longs pay to shorts")
    parser.add_argument("--funding-hours", metavar="N", type=int, default=1, help="for how long")
    return run(parser, arguments, stress_file)


def shocks_of(options: argparse.Namespace) -> list[Shock]:
    """Return one scenario for each move."""
    shocks = []
    for move in options.moves.split(","):
        one = move.strip()
        shocks.append(
            Shock(
                one,
                moves=one if options.market is None else {options.market: one},
                initial_margin=options.initial_margin,
                max_leverage=options.max_leverage,
                funding_rate=options.funding_rate,
                funding_hours=options.funding_hours,
            )
        )
    return shocks


def stress_file(options: argparse.Namespace, read: AccountFile) -> int:
    """Stress the accounts of a file."""
    shocks = shocks_of(options)
    results = added_up(read.accounts, shocks, options.market)
    note(read)
    if options.json:
        write_json(
            {
                "format": dict(STRESS_FORMAT),
                "accounts": len(read.accounts),
                "scenarios": [entry(result) for result in results],
                "notes": list(read.notes),
            }
        )
    else:
        head = (
            "move",
            "liquidatable",
            "below zero",
            "net collateral",
            "maint. margin",
            "at risk",
            "bad debt",
        )
        table(head, [cells(result) for result in results])
        if results:
            print(f"accounts: {results[0].accounts}, basis: {results[0].basis}")
    return 1 if any(result.liquidatable for result in results) else 0


def added_up(
    accounts: Iterable[Subaccount], shocks: Sequence[Shock], market: str | None
) -> list[StressResult]:
    """Stress the accounts of each chain, and add up what the scenarios have in common."""
    by_chain: dict[int, tuple[Chain, list[Subaccount]]] = {}
    for account in accounts:
        by_chain.setdefault(id(account.chain), (account.chain, []))[1].append(account)
    parts = []
    for chain, held in by_chain.values():
        if market is not None and market not in chain:
            raise InputError("--market", market, f"a market of the file: {', '.join(chain.tickers[:5])}")
        positions = sum(len(account.positions) for account in held)
        leverage = sum(len(account.leverage_choices) for account in held)
        book = Book(chain, max_subaccounts=len(held), max_positions=positions + leverage)
        book.load(held)
        parts.append(stressed(book, shocks))
    return [together(of_one) for of_one in zip(*parts, strict=True)]


def together(results: Sequence[StressResult]) -> StressResult:
    """Add results of one scenario up; the oldest height and the weakest basis hold for all."""
    sums = {name: sum(getattr(result, name) for result in results) for name in SUMS}
    heights = [result.height for result in results]
    known = [height for height in heights if height is not None]
    return StressResult(
        name=results[0].name,
        **sums,
        height=min(known) if len(known) == len(heights) else None,
        basis=max((result.basis for result in results), key=BASES.index),
    )


def entry(result: StressResult) -> dict[str, Any]:
    """Return a scenario as plain values: counts, and USDC as decimal texts."""
    figures = {name: getattr(result, name) for name in SUMS}
    money = {name: f"{quote_quantums_to_usdc(figures[name]):f}" for name in SUMS if name not in COUNTS}
    return {
        "move": result.name,
        **{name: figures[name] for name in COUNTS},
        **money,
        "basis": result.basis,
        "height": result.height,
    }


def cells(result: StressResult) -> tuple[str, ...]:
    """Return the cells of one scenario."""
    sums = (
        result.net_collateral,
        result.maintenance_margin,
        result.notional_at_risk,
        result.bad_debt,
    )
    return (
        result.name,
        f"{result.liquidatable:,}",
        f"{result.below_zero:,}",
        *(dollars(quote_quantums_to_usdc(value)) for value in sums),
    )
