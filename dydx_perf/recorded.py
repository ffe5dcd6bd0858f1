"""Real accounts as the indexer reported them on recorded days, with the markets of those days.

Figures of `data/recorded_accounts.json`: what they are and where they are from stands in the file. The prices
are the indexer's, so the basis is "estimate".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any

from dydx_perf.chain import Chain
from dydx_perf.exact.decimals import subtract
from dydx_perf.market import Market
from dydx_perf.position import Position
from dydx_perf.subaccount import Subaccount

__all__ = [
    "FORMAT_NAME",
    "MAINNET",
    "RecordedSubaccount",
    "recorded_subaccounts",
    "subaccounts_of_recording",
]

MAINNET = "dydx-mainnet-1"
FORMAT_NAME = "dydx_perf recorded accounts"


@dataclass(frozen=True, slots=True)
class RecordedSubaccount:
    """A subaccount on the chain of its day, and what the indexer said of it."""

    subaccount: Subaccount
    name: str
    network: str
    date: str
    height: int | None
    oracle_price_source: str | None
    reported_equity: Decimal
    reported_free_collateral: Decimal
    reported_unrealized_pnl: dict[str, Decimal]


def recorded_subaccounts() -> list[RecordedSubaccount]:
    """All recorded subaccounts that ship, each on a chain of its own."""
    text = (files("dydx_perf.data") / "recorded_accounts.json").read_text("utf-8")
    return subaccounts_of_recording(json.loads(text))


def subaccounts_of_recording(document: dict[str, Any]) -> list[RecordedSubaccount]:
    """All subaccounts of a document of this format, each on a chain of its own."""
    market_sets = {
        market_set["name"]: {
            row[0]: dict(zip(market_set["columns"], row, strict=True)) for row in market_set["rows"]
        }
        for market_set in document["market_sets"]
    }
    return [
        recorded_subaccount(account, row, market_sets[account["market_set"]])
        for account in document["accounts"]
        for row in account["subaccounts"]
    ]


def recorded_subaccount(
    account: dict[str, Any], row: dict[str, Any], markets: dict[str, dict[str, Any]]
) -> RecordedSubaccount:
    """One row of the file."""
    chain = Chain(
        (
            recorded_market(markets[position["ticker"]], position["oracle_price"])
            for position in row["positions"]
        ),
        description=f"{account['network']}, markets recorded {account['date']}",
    )
    subaccount = Subaccount(
        chain,
        account["address"],
        row["subaccount_number"],
        usdc=row["usdc"],
        positions=[
            Position(
                chain[position["ticker"]],
                position["size"],
                entry_price=position["entry_price"],
                realized_pnl=realized_without_funding(position),
                net_funding=position["net_funding"],
            )
            for position in row["positions"]
        ],
    )
    return RecordedSubaccount(
        subaccount,
        account["name"],
        account["network"],
        account["date"],
        account["height"],
        account["oracle_price_source"],
        Decimal(row["equity"]),
        Decimal(row["free_collateral"]),
        {position["ticker"]: Decimal(position["unrealized_pnl"]) for position in row["positions"]},
    )


def realized_without_funding(position: dict[str, Any]) -> Decimal:
    """Realized PnL by today's rule: these recordings are older and hold the funding in it (and no fees)."""
    return subtract(Decimal(position["realized_pnl"]), Decimal(position["net_funding"]))


def recorded_market(row: dict[str, Any], oracle_price: str) -> Market:
    """Return a market of the file at the price of the account's moment."""
    return Market(
        row["ticker"],
        perpetual_id=row["clob_pair_id"],  # equal in the genesis files; the indexer gives no perpetual id
        clob_pair_id=row["clob_pair_id"],
        atomic_resolution=row["atomic_resolution"],
        price_exponent=row["price_exponent"],
        oracle_price=oracle_price,
        initial_margin_ppm=row["initial_margin_ppm"],
        maintenance_fraction_ppm=row["maintenance_fraction_ppm"],
        open_interest=int(row["open_interest_base_quantums"]),
        open_interest_lower_cap=int(row["open_interest_lower_cap"] or 0),
        open_interest_upper_cap=int(row["open_interest_upper_cap"] or 0),
        market_type="isolated" if row["market_type"] == "isolated" else "cross",
        step_base_quantums=int(row["step_base_quantums"]),
        subticks_per_tick=row["subticks_per_tick"],
        quantum_conversion_exponent=row["quantum_conversion_exponent"],
    )
