"""`python -m dydx_perf show`: the main job on real accounts, then the proof.

Balances, positions and prices of real mainnet accounts as they were recorded; their risk by the chain's
rules, liquidation prices and PnL; the indexer's own figures, digit for digit; the accounts through a
market that moves; and the shipped vectors of the chain's own code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from dydx_perf.exact.state import RiskState
from dydx_perf.exact.update import max_withdrawable
from dydx_perf.kernel import COMPILED, OraclePrice
from dydx_perf.recorded import MAINNET, RecordedSubaccount, recorded_subaccounts
from dydx_perf.screen import dollars, table
from dydx_perf.units import quote_quantums_to_usdc
from dydx_perf.verify import main as verify

if TYPE_CHECKING:
    from dydx_perf.subaccount import Subaccount

__all__ = ["main"]

#: prices are moved in steps of this share of themselves
STEPS = 1_000
LARGEST_RALLY = 2 * STEPS
SHOWN_POSITIONS = 6


def label(record: RecordedSubaccount) -> str:
    """Address and number, short."""
    return f"{record.subaccount.address[:12]}…/{record.subaccount.number}"


def show_accounts(records: Sequence[RecordedSubaccount]) -> None:
    """Risk by the chain's rules."""
    print("1. Risk by the chain's rules, in USDC (the integers behind it are exact quote quantums)\n")
    table(
        ("account", "recorded", "positions", "net collateral", "initial margin", "maint. margin", "leverage"),
        (
            (
                label(record),
                record.date,
                str(len(record.subaccount.positions)),
                dollars(record.subaccount.risk.net_collateral_usdc),
                dollars(record.subaccount.risk.initial_margin_requirement_usdc),
                dollars(record.subaccount.risk.maintenance_margin_requirement_usdc),
                f"{record.subaccount.leverage or 0:.3f}x",
            )
            for record in records
        ),
    )
    print("  basis: estimate (balances and prices as the indexer reported them)\n")


def show_indexer(records: Sequence[RecordedSubaccount]) -> bool:
    """Recompute the indexer's figures and return whether each equals what it reported."""
    print("2. The indexer's own figures, recomputed digit for digit\n")
    rows = []
    all_equal = True
    for record in records:
        account = record.subaccount
        unrealized = {ticker: account.pnl(ticker).unrealized for ticker in account.positions}
        equal = (
            account.equity == record.reported_equity
            and account.free_collateral == record.reported_free_collateral
            and unrealized == record.reported_unrealized_pnl
        )
        all_equal = all_equal and equal
        pnl = sum(unrealized.values(), Decimal(0))
        rows.append(
            (
                label(record),
                f"{account.equity:f}",
                f"{record.reported_equity:f}",
                f"{account.free_collateral:f}",
                f"{record.reported_free_collateral:f}",
                dollars(pnl),
                "identical" if equal else "DIFFERENT",
            )
        )
    head = ("account", "equity", "reported", "free collateral", "reported", "unrealized PnL", "")
    table(head, rows)
    print()
    return all_equal


def show_liquidation_prices(records: Sequence[RecordedSubaccount]) -> None:
    """Liquidation prices, the nearest first."""
    print("3. Liquidation prices: the chain's own price integer, each market with the others held\n")
    rows = []
    for record in records:
        account = record.subaccount
        priced = [
            (abs(price.integer / market_price(account, ticker) - 1), ticker, price)
            for ticker, price in account.liquidation_prices.items()
            if isinstance(price, OraclePrice)
        ]
        for distance, ticker, price in sorted(priced)[:SHOWN_POSITIONS]:
            position = account.positions[ticker]
            pnl = account.pnl(ticker)
            oracle = position.market.oracle_price
            rows.append(
                (
                    label(record),
                    ticker,
                    f"{position.size.normalize():+f}",
                    str(oracle),
                    str(price),
                    str(price.integer),
                    f"{distance:.1%}" if price.integer < oracle.integer else f"+{distance:.1%}",
                    dollars(pnl.total),
                )
            )
        hidden = len(account.positions) - min(len(priced), SHOWN_POSITIONS)
        if hidden and account.positions:
            rows.append((label(record), f"and {hidden} more", "", "", "", "", "", ""))
    table(("account", "market", "size", "oracle price", "liquidated at", "integer", "away", "PnL"), rows)
    print()


def market_price(account: Subaccount, ticker: str) -> int:
    """Return the oracle price integer of a held market."""
    return account.positions[ticker].market.perpetual.price


class Crash:
    """One account's markets moved together, in exact steps of a tenth of a percent."""

    def __init__(self, account: Subaccount) -> None:
        self.account = account
        self.start = {ticker: market_price(account, ticker) for ticker in account.positions}

    def move(self, steps: int) -> None:
        """All prices at `1 + steps / 1,000` of where they started, down to the chain's integer."""
        for ticker, price in self.start.items():
            moved = max(price * (STEPS + steps) // STEPS, 1)
            self.account.chain[ticker].set_oracle_price_integer(moved, basis="estimate")

    def liquidatable_at(self, steps: int) -> bool:
        """Whether the account is liquidatable after that move."""
        self.move(steps)
        return self.account.risk.is_liquidatable

    def first(self, last: int) -> int | None:
        """Find the smallest move toward `last` at which the account is liquidatable; None: not even there.

        Found by walking, not by halving: nothing says that a portfolio gets worse all the way.
        """
        direction = 1 if last > 0 else -1
        found = next((s for s in range(0, last + direction, direction) if self.liquidatable_at(s)), None)
        self.move(0)
        return found


def show_crash(records: Sequence[RecordedSubaccount], title: str) -> None:
    """When each account becomes liquidatable while all markets fall together, or rise together."""
    print(title)
    rows = []
    for record in records:
        account = record.subaccount
        if not account.positions:
            rows.append((label(record), "no positions: never", "", "", "", ""))
            continue
        crash = Crash(account)
        largest = max(account.positions, key=lambda ticker: abs(account.positions[ticker].value))
        for name, last in (("fall", -STEPS + 1), ("rally", LARGEST_RALLY)):
            steps = crash.first(last)
            if steps is None:
                rows.append((label(record), name, f"not within {last / STEPS:+.1%}", "", "", ""))
                continue
            crash.move(steps)
            risk = account.risk
            rows.append(
                (
                    label(record),
                    name,
                    f"{steps / STEPS:+.1%}",
                    f"{largest} {account.positions[largest].market.oracle_price}",
                    dollars(risk.net_collateral_usdc),
                    dollars(risk.maintenance_margin_requirement_usdc),
                )
            )
            crash.move(0)
    table(
        ("account", "all markets", "liquidatable from", "largest position at", "net coll.", "maint. margin"),
        rows,
    )
    print()


def withdraw_all(records: Sequence[RecordedSubaccount]) -> None:
    """Each account takes out what the chain lets it: net collateral down to its initial margin."""
    for record in records:
        account = record.subaccount
        risk = account.risk
        taken = max_withdrawable(RiskState(risk.nc, risk.imr, risk.mmr))
        account.set_usdc(account.usdc - quote_quantums_to_usdc(taken))


def show_crash_of_a_book(title: str) -> None:
    """Show the book where there is one: it lives in compiled columns only."""
    if not COMPILED:
        print(f"{title}\n  left out: the book needs the compiled kernels\n")
        return
    from dydx_perf.show_book import show_book

    show_book(title)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the whole story; 0 when every figure is reproduced and every vector identical."""
    parser = argparse.ArgumentParser(prog="python -m dydx_perf show", description=__doc__.splitlines()[0])
    parser.parse_args(arguments)
    records = [record for record in recorded_subaccounts() if record.network == MAINNET]
    kernels = "compiled kernels" if COMPILED else "plain Python integers (no compiled kernels here)"
    print(f"Real dYdX mainnet accounts, as recorded; {kernels}\n")
    show_accounts(records)
    reproduced = show_indexer(records)
    show_liquidation_prices(records)
    show_crash(records, "4. The same accounts while all their markets move together\n")
    withdraw_all(records)
    show_crash(
        records,
        "5. The same accounts after each withdrew all that the chain lets it withdraw\n",
    )
    show_crash_of_a_book("6. A book of generated accounts through a crash\n")
    print("7. The chain's own results, row by row\n", flush=True)
    verified = verify([])
    if not reproduced:
        print("a figure of the indexer was not reproduced", file=sys.stderr)
    return 0 if reproduced and verified == 0 else 1
