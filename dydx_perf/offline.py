"""`explain` and `scan`: accounts of a file, shown on the screen or as JSON.

Exit status, of both: 2 where the input is wrong, with the reason on stderr and nothing done. Of `scan`: 1
where an account is liquidatable, else 0. Of `explain`: 1 where a difference is not accounted for, else 0.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, TypeVar

from dydx_perf.account_files import AccountFile, read_accounts
from dydx_perf.errors import DydxPerfError, InputError
from dydx_perf.units import quote_quantums_to_usdc

if TYPE_CHECKING:
    from dydx_perf.kernel import OraclePrice, Risk
    from dydx_perf.subaccount import Subaccount

__all__ = ["explain", "scan"]

T = TypeVar("T")

SCAN_FORMAT = {"name": "dydx_perf scan", "version": 1}
FEWEST_WITH_PROGRESS = 500
ADDRESS_SHOWN = 16
LIQUIDATABLE, UNDER_WATER, BELOW_INITIAL, SAFE = (
    "LIQUIDATABLE",
    "under water",
    "below initial margin",
    "safe",
)
FILE_HELP = """\
FILE is one of
  an answer of the indexer, saved: a subaccount, a parent subaccount or an address, by REST or as the first
    message of a WebSocket subscription; it needs --markets, a saved /v4/perpetualMarkets answer of its time
  recorded accounts in this project's own format
  accounts of your own in TOML (or JSON):

    chain = "v9"              # the shipped sample, or a markets file beside this one: "markets.json"
    [prices]                  # optional, instead of the chain's
    BTC-USD = "66000"
    [[accounts]]
    address = "main"
    usdc = "-25000"
    [accounts.positions]
    BTC-USD = "0.5"
"""


NODE_HELP = """

dydx-perf scan --node HOST[:PORT] reads every account of the chain instead (scan --node HOST --help)."""


@dataclass(frozen=True, slots=True)
class ScanRow:
    """One account of a scan."""

    account: Subaccount
    risk: Risk
    nearest: tuple[str, OraclePrice | str, Fraction] | None  # ticker, price, move from the oracle price

    @property
    def verdict(self) -> str:
        """Liquidatable, in debt without a margin, below the initial margin, or safe."""
        if self.risk.is_liquidatable:
            return LIQUIDATABLE
        if self.risk.nc < 0:
            return UNDER_WATER
        return SAFE if self.risk.is_initial_collateralized else BELOW_INITIAL


def nearest_liquidation(account: Subaccount) -> tuple[str, OraclePrice | str, Fraction] | None:
    """Find the liquidation price that the smallest move of an oracle price reaches, others held."""
    positions = account.positions
    found: tuple[str, OraclePrice | str, Fraction] | None = None
    for ticker, price in account.liquidation_prices.items():
        if isinstance(price, str):
            if price == "NEVER":
                continue
            move = Fraction(0)
        else:
            move = Fraction(price.integer, positions[ticker].market.perpetual.price) - 1
        if found is None or abs(move) < abs(found[2]):
            found = ticker, price, move
    return found


def ranked(accounts: Iterable[Subaccount]) -> list[ScanRow]:
    """Evaluate the accounts and put them in the chain's order, the riskiest first."""
    rows = [ScanRow(account, account.risk, nearest_liquidation(account)) for account in accounts]

    def order(one: ScanRow, other: ScanRow) -> int:
        return other.risk.is_riskier_than(one.risk) - one.risk.is_riskier_than(other.risk)

    return sorted(rows, key=cmp_to_key(order))


def progress(items: Sequence[T], what: str) -> Iterator[T]:
    """Go through many items and count them on stderr, where somebody looks at it."""
    if len(items) < FEWEST_WITH_PROGRESS or not sys.stderr.isatty():
        yield from items
        return
    step = max(len(items) // 100, 1)
    for done, item in enumerate(items):
        if done % step == 0:
            sys.stderr.write(f"\r{what}: {done:,} of {len(items):,}")
            sys.stderr.flush()
        yield item
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()


# -- the verbs


def explain(arguments: Sequence[str]) -> int:
    """Show the chain's, the indexer's and the web app's figures of accounts, and why they differ."""
    parser = parser_of("explain", explain)
    parser.add_argument(
        "--subaccount", metavar="ADDRESS/NUMBER", help="this one only; without it, all of the file"
    )
    return run(parser, arguments, explain_file)


def scan(arguments: Sequence[str]) -> int:
    """List accounts with their risk and nearest liquidation price, the riskiest first."""
    parser = parser_of("scan", scan)
    parser.add_argument(
        "--top", metavar="N", type=at_least_one, help="list only the N riskiest; all are counted"
    )
    return run(parser, arguments, scan_file)


def parser_of(verb: str, function: Callable[[Sequence[str]], int]) -> argparse.ArgumentParser:
    """Return a parser with what both verbs take."""
    statuses = {
        "explain": "Exit status: 0; 1 if a difference is not accounted for; 2 if the input is wrong.",
        "scan": "Exit status: 0; 1 if an account is liquidatable; 2 if the input is wrong.",
        "stress": "Exit status: 0; 1 if an account is liquidatable in a scenario; 2 if the input is wrong.",
    }
    parser = argparse.ArgumentParser(
        prog=f"dydx-perf {verb}",
        description=(function.__doc__ or "").strip(),
        epilog=f"{FILE_HELP}\n{statuses[verb]}{NODE_HELP if verb == 'scan' else ''}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="accounts, see below")
    parser.add_argument("--markets", metavar="FILE", help="the indexer's perpetualMarkets answer, saved")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser


def at_least_one(text: str) -> int:
    """Read a count."""
    if not text.isascii() or not text.isdigit() or not int(text[:20]) > 0:
        raise argparse.ArgumentTypeError("a number of 1 or more")
    return int(text[:20])


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str],
    work: Callable[[argparse.Namespace, AccountFile], int],
) -> int:
    """Read the file, do the work; errors of the input are a message and status 2."""
    options = parser.parse_args(arguments)
    try:
        status = work(options, read_accounts(options.file, options.markets))
        sys.stdout.flush()
    except DydxPerfError as refused:
        print(f"{parser.prog}: {refused}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def write_json(document: dict[str, Any]) -> None:
    """Write a document for programs."""
    json.dump(document, sys.stdout, indent=1)
    print()


def note(read: AccountFile) -> None:
    """Say on stderr what had to be settled in reading."""
    for remark in read.notes:
        print(f"note: {remark}", file=sys.stderr)


def explain_file(options: argparse.Namespace, read: AccountFile) -> int:
    """Explain the accounts of a file."""
    accounts = read.accounts
    if options.subaccount is not None:
        accounts = tuple(a for a in accounts if f"{a.address}/{a.number}" == options.subaccount)
        if not accounts:
            known = ", ".join(f"{a.address}/{a.number}" for a in read.accounts[:5]) or "none"
            more = f" and {len(read.accounts) - 5} more" if len(read.accounts) > 5 else ""
            raise InputError("--subaccount", options.subaccount, f"one of the file: {known}{more}")
    note(read)
    complete = True
    documents = []
    for place, account in enumerate(progress(accounts, "explained")):
        explanation = account.explain()
        complete = complete and explanation.is_complete
        if options.json:
            documents.append(explanation.to_dict())
        else:
            print(f"\n\n{explanation}" if place else explanation)
    if options.json:
        write_json({"explanations": documents, "notes": list(read.notes)})
    elif not accounts:
        print("no accounts in the file")
    return 0 if complete else 1


def scan_file(options: argparse.Namespace, read: AccountFile) -> int:
    """List the accounts of a file."""
    rows = ranked(progress(read.accounts, "evaluated"))
    liquidatable = sum(row.risk.is_liquidatable for row in rows)
    shown = rows[: options.top]
    note(read)
    if options.json:
        write_json(
            {
                "format": dict(SCAN_FORMAT),
                "accounts": [scan_entry(row) for row in shown],
                "total": len(rows),
                "liquidatable": liquidatable,
                "notes": list(read.notes),
            }
        )
    else:
        for line in scan_lines(shown):
            print(line)
        hidden = f", {len(rows) - len(shown)} not shown" if len(shown) < len(rows) else ""
        print(f"accounts: {len(rows)}, liquidatable: {liquidatable}{hidden}")
    return 1 if liquidatable else 0


# -- as JSON, as a table


def scan_entry(row: ScanRow) -> dict[str, Any]:
    """Return an account as plain values: USDC as decimal texts, integers of the chain as texts."""
    risk = row.risk
    nearest = None
    if row.nearest is not None:
        ticker, price, move = row.nearest
        nearest = {
            "market": ticker,
            "price": str(price),
            "price_integer": None if isinstance(price, str) else str(price.integer),
            "oracle_price": str(row.account.positions[ticker].market.oracle_price),
            "move": str(move),
        }
    return {
        "address": row.account.address,
        "number": row.account.number,
        "positions": len(row.account.positions),
        "net_collateral": f"{risk.net_collateral_usdc:f}",
        "initial_margin_requirement": f"{risk.initial_margin_requirement_usdc:f}",
        "maintenance_margin_requirement": f"{risk.maintenance_margin_requirement_usdc:f}",
        "distance": f"{quote_quantums_to_usdc(risk.distance):f}",
        "verdict": row.verdict,
        "is_liquidatable": risk.is_liquidatable,
        "nearest_liquidation": nearest,
        "basis": risk.basis,
        "height": risk.height,
    }


def scan_lines(rows: Sequence[ScanRow]) -> Iterator[str]:
    """Yield a table."""
    if not rows:
        return
    head = (
        "account", "net collateral", "initial margin", "maint. margin", "distance", "verdict",
        "nearest liquidation price",
    )  # fmt: skip
    lines = [head, *(scan_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        left = (0, 5, 6)
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def scan_cells(row: ScanRow) -> tuple[str, ...]:
    """Return the cells of one account."""
    risk = row.risk
    address = row.account.address
    if len(address) > ADDRESS_SHOWN:
        address = f"{address[: ADDRESS_SHOWN - 5]}…{address[-4:]}"
    nearest = "none"
    if row.nearest is not None:
        ticker, price, move = row.nearest
        nearest = f"{ticker} {price}" + ("" if isinstance(price, str) else f" ({float(move):+.2%})")
    return (
        f"{address}/{row.account.number}",
        dollars(risk.nc),
        dollars(risk.imr),
        dollars(risk.mmr),
        dollars(risk.distance),
        row.verdict,
        nearest,
    )


def dollars(quote_quantums: int) -> str:
    """Write USDC to the cent, half to even: for reading, JSON has all digits."""
    return f"{quote_quantums_to_usdc(quote_quantums):,.2f}"
