"""Which public source each input of each figure comes from, how fresh and how exact: the docs show the table.

A figure is the chain's (basis "chain") where every input of it is, at one height. Otherwise it is an
estimate, and `BOUNDS` names what its net collateral may be off by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BOUNDS", "FIGURES", "FRESHNESS", "INPUTS", "Input", "Source", "Way", "markdown", "sources_of"]

PIPE = "\\|"  # within a cell of a table

Source = Literal["indexer websocket", "indexer rest", "node query", "node stream"]


@dataclass(frozen=True, slots=True)
class Way:
    """How one source gives one input.

    Attributes
    ----------
    field : str
        Where it stands in the source's words.
    exact : bool
        Whether the chain's integer comes out of it without loss.
    at_height : bool
        Whether its block is known: only then can a figure made of it be the chain's.
    note : str
        What it lacks.
    """

    field: str
    exact: bool = True
    at_height: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a risk, and the sources that have it; a source that is not listed does not have it."""

    name: str
    ways: dict[Source, Way]


INPUTS = (
    Input(
        "position size",
        {
            "indexer websocket": Way("perpetualPositions.size", at_height=True),
            "indexer rest": Way("openPerpetualPositions.size", note="no height of its own"),
            "node query": Way("Subaccount.perpetual_positions.quantums", at_height=True),
            "node stream": Way("updated_perpetual_positions.quantums", at_height=True),
        },
    ),
    Input(
        "USDC balance",
        {
            "indexer websocket": Way("assetPositions.size and side", at_height=True),
            "indexer rest": Way(
                "assetPositions.size and side",
                note="unsettled funding is in it; floored it is the settled one",
            ),
            "node query": Way("Subaccount.asset_positions.quantums", at_height=True),
            "node stream": Way(
                "updated_asset_positions.quantums", exact=False, at_height=True, note="its sign is lost"
            ),
        },
    ),
    Input(
        "funding index of the position",
        {
            "node query": Way("Subaccount.perpetual_positions.funding_index", at_height=True),
        },
    ),
    Input(
        "funding index of the market",
        {
            "indexer rest": Way("fundingPayments.fundingIndex", note="of markets held at the tick; a job"),
            "node query": Way("Perpetual.funding_index", at_height=True),
        },
    ),
    Input(
        "oracle price",
        {
            "indexer websocket": Way("oraclePrices.oraclePrice", at_height=True, note="below 10**15 units"),
            "indexer rest": Way("perpetualMarkets.oraclePrice", note="no height; a cache of a second"),
            "node query": Way("MarketPrice.price and exponent", at_height=True),
            "node stream": Way("price_update.price", at_height=True),
        },
    ),
    Input(
        "liquidity tier",
        {
            "indexer websocket": Way("initialMarginFraction, maintenanceMarginFraction, caps"),
            "indexer rest": Way("initialMarginFraction, maintenanceMarginFraction, caps"),
            "node query": Way("AllLiquidityTiers", at_height=True),
        },
    ),
    Input(
        "open interest",
        {
            "indexer websocket": Way("trading.openInterest", note="a job each 30 s, of an unknown height"),
            "indexer rest": Way(
                "perpetualMarkets.openInterest", note="a job each 30 s, of an unknown height"
            ),
            "node query": Way("Perpetual.open_interest", at_height=True),
        },
    ),
    Input("chosen leverage", {"node query": Way("Leverage.custom_imf_ppm", at_height=True)}),
    Input(
        "liquidations configuration",
        {"node query": Way("LiquidationsConfiguration", at_height=True)},
    ),
    Input(
        "equity and fee tiers, rate limits",
        {
            "node query": Way(
                "EquityTierLimitConfiguration, PerpetualFeeParams, BlockRateLimitConfiguration",
                at_height=True,
            )
        },
    ),
    Input(
        "insurance fund, withdrawal gate",
        {
            "node query": Way("bank Balance, GetWithdrawalAndTransfersBlockedInfo", at_height=True),
        },
    ),
    Input(
        "open orders",
        {
            "indexer websocket": Way("orders", exact=False, note="best effort"),
            "indexer rest": Way("orders", exact=False, note="best effort"),
            "node stream": Way("orderbook_update", exact=False, note="this node's view"),
        },
    ),
)

_COLLATERAL = (
    "position size",
    "USDC balance",
    "funding index of the position",
    "funding index of the market",
    "oracle price",
)

#: what each figure is computed from
FIGURES: dict[str, tuple[str, ...]] = {
    "net collateral": _COLLATERAL,
    "maintenance margin requirement": ("position size", "oracle price", "liquidity tier"),
    "liquidatable, liquidation price": (*_COLLATERAL, "liquidity tier"),
    "initial margin requirement": (
        "position size",
        "oracle price",
        "liquidity tier",
        "open interest",
        "chosen leverage",
    ),
    "free collateral, previews": (*_COLLATERAL, "liquidity tier", "open interest", "chosen leverage"),
    "size and price of a liquidation": (*_COLLATERAL, "liquidity tier", "liquidations configuration"),
    "room for orders, fees": (
        *_COLLATERAL,
        "equity and fee tiers, rate limits",
        "open orders",
    ),
    "withdrawals allowed": ("insurance fund, withdrawal gate",),
}

FRESHNESS: dict[Source, str] = {
    "indexer websocket": "the block and some 100 ms, up to 250 ms more if batched; can lose messages",
    "indexer rest": "the processed height, the replica's lag and a cache of a second; not of one height",
    "node query": "the provider's newest height when asked, or the one that was asked for",
    "node stream": "the block itself, as this node committed it",
}

#: cause of an error of net collateral, and its bound
BOUNDS: dict[str, str] = {
    "price age": "Σ |size| · |last change of the price|",
    "missed funding tick": "per tick and position |size| · price · 6 · (initial − maintenance fraction) / 8",
    "tick block": "one such payment, for a REST or snapshot state of a tick's block, until the next update",
    "unknown sign": "2 · |balance|; the verdict is unknown until a node answers",
    "missed update": "none, until compared with REST or a node: the bound is open before that",
    "stale open interest, unknown leverage": "nothing; initial margin lies between base and whole",
}


def sources_of(figure: str) -> dict[str, tuple[Source, ...]]:
    """Return the sources of each input of a figure that give it exactly and at a known height.

    One that is empty in the indexer's columns alone is why such a figure is an estimate.
    """
    by_name = {one.name: one for one in INPUTS}
    return {
        name: tuple(source for source, way in by_name[name].ways.items() if way.exact and way.at_height)
        for name in FIGURES[figure]
    }


def markdown() -> str:
    """Write the tables as they stand in the documentation."""
    columns: tuple[Source, ...] = tuple(FRESHNESS)
    lines = [f"| input | {' | '.join(columns)} |", f"| --- {'| --- ' * len(columns)}|"]
    for one in INPUTS:
        lines.append(f"| {one.name} | {' | '.join(cell(one.ways.get(source)) for source in columns)} |")
    lines += ["", "| figure | computed from |", "| --- | --- |"]
    lines += [f"| {figure} | {'; '.join(inputs)} |" for figure, inputs in FIGURES.items()]
    lines += ["", "| source | age |", "| --- | --- |"]
    lines += [f"| {source} | {age} |" for source, age in FRESHNESS.items()]
    lines += ["", "| cause | bound of the error of net collateral |", "| --- | --- |"]
    lines += [f"| {cause} | {bound.replace('|', PIPE)} |" for cause, bound in BOUNDS.items()]
    return "\n".join(lines) + "\n"


def cell(way: Way | None) -> str:
    """Write one way: exact at a height in bold."""
    if way is None:
        return "–"
    field = f"**`{way.field}`**" if way.exact and way.at_height else f"`{way.field}`"
    return f"{field}; {way.note}" if way.note else field
