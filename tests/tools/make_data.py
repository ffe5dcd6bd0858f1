"""Make the two JSON data files of the package from a folder of samples.

    python tests/tools/make_data.py SAMPLES OUT

SAMPLES is the folder with ``markets.json``, ``ws/recorded`` and ``rest``; OUT receives ``v9.json``
(sample parameters) and ``recorded_accounts.json`` (accounts as an indexer reported them, each beside
the markets it belongs to). The result depends on SAMPLES alone: no clock, no environment, and the
same bytes every time. Every figure is an integer or the recorded text; no float is ever formed.

Each conversion to integers is exact or the tool stops: a price with more decimals than its exponent
allows, a size that is no whole number of base quantums, an account whose own equity or free
collateral does not come out, all end the run with the market's or the account's name.
"""

from __future__ import annotations

import json
import sys
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from pathlib import Path
from typing import Any

# Exact or an exception: no product or difference in this file may lose a digit.
EXACT = Context(prec=200, traps=[Inexact])

Record = dict[str, Any]

QUOTE_QUANTUMS_PER_USDC_EXPONENT = 6
PPM_EXPONENT = 6

V9_FORMAT = {
    "name": "dydx_perf chain parameters",
    "version": 1,
    "integers": "32-bit integers are JSON numbers; 64-bit and larger ones are decimal strings",
    "units": {
        "..._ppm": "parts per million; funding rates per 8 hours",
        "..._notional, ..._cap, ..._notional_liquidated, ..._insurance_lost": "quote quantums, 1e-6 USDC",
        "usd_tnc_required, absolute_volume_requirement": "quote quantums, 1e-6 USDC",
        "open_interest_upper_cap": "0: no scaling by open interest",
        "atomic_resolution": "1 base quantum is 10^atomic_resolution of the coin",
        "oracle_price_integer": "USDC for one coin is oracle_price_integer * 10^price_exponent",
        "step_base_quantums": "base quantums; every order size is a multiple",
        "subticks_per_tick": "USDC = subticks * 10^(quantum_conversion_exponent - 6 - atomic_resolution)",
        "next_tick, duration": "seconds",
        "market_type": "cross or isolated",
    },
}

RECORDED_FORMAT = {
    "name": "dydx_perf recorded accounts",
    "version": 1,
    "text": "decimal texts are the indexer's own digits; integers of 64 bits and more are decimal strings",
    "market_sets": "one set a recording; each row holds the values of columns in that order",
    "units": {
        "initial_margin_fraction, maintenance_margin_fraction": "base values, as reported",
        "maintenance_fraction_ppm": "maintenance over initial margin fraction",
        "oracle_price": "USDC for one coin",
        "oracle_price_integer": "oracle_price / 10^price_exponent, exact",
        "price_exponent": "-15 - atomic_resolution, as in every market of the genesis files (not in an "
        "indexer's answer); no recorded price has more decimals than it allows",
        "open_interest": "coins, at the time of the market set (not of an account recorded on another day)",
        "open_interest_lower_cap, open_interest_upper_cap": "quote quantums; null: not in the recording",
        "market_type": "cross or isolated; null: not in the recording",
        "usdc": "USDC as the indexer shows it, signed; it already contains the unsettled funding of the "
        "positions, so give a position the funding index of its market",
        "size, max_size, sum_open, sum_close": "coins; size and max_size signed",
        "base_quantums": "size / 10^atomic_resolution, exact",
        "equity, free_collateral, unrealized_pnl, net_funding": "USDC, as reported",
        "realized_pnl": "USDC, as reported, by the rule before October 2025 (funding in it, fees not): "
        "side * (exit_price - entry_price) * sum_close + net_funding",
        "perpetual_id": "not in an indexer's answer; equals clob_pair_id in the genesis files",
    },
    "market_set": "the set whose parameters reproduce the account's free collateral",
    "oracle_price_source": "recorded: the price is that of the market set. derived from unrealizedPnl: the "
    "market message of that moment is not recorded; oracle_price = entry_price + unrealized_pnl / size; "
    "equity and free collateral still check it independently. null: the account holds no position",
    "network": "dydx-mainnet-1, or test network with the reason in network_basis",
}

# What the recordings themselves do not say, with the reason for each word.
MARKET_SETS: list[Record] = [
    {
        "name": "test-2023-11",
        "network": "test network",
        "network_basis": "recorded on 2023-11-06; mainnet's markets became active on 2023-11-13",
        "date": "2023-11-06",
        "height": None,
        "recorded": "ws/recorded/v4_markets.subscribed.2023-11.json",
        "also_recorded": [],
    },
    {
        "name": "mainnet-2024-04",
        "network": "dydx-mainnet-1",
        "network_basis": "the recording's own description; its daily volumes",
        "date": "2024-04",
        "height": None,
        "recorded": "ws/recorded/v4_markets.subscribed.2024-04.json",
        "also_recorded": ["rest/perpetualMarkets.recorded-2024-04.json"],
    },
    {
        "name": "mainnet-2025-12",
        "network": "dydx-mainnet-1",
        "network_basis": "the recording's own description; heights recorded with it",
        "date": "2025-12-08",
        "height": None,
        "height_note": "recorded within seconds of height 66624132",
        "recorded": "rest/perpetualMarkets.recorded-2025-12.json",
        "also_recorded": [],
    },
]

MAINNET_BY_HEIGHT = "dates and heights of its positions lie on mainnet's (14961006 on 2024-05-06)"

ACCOUNTS: list[Record] = [
    {
        "name": "market maker, 42 positions",
        "network": "dydx-mainnet-1",
        "network_basis": MAINNET_BY_HEIGHT,
        "date": "2024-05-06",
        "height": None,
        "height_note": "its short-term orders are good until blocks 14968036 to 14968042",
        "recorded": "ws/recorded/v4_subaccounts.subscribed.many_orders.json",
        "also_recorded": [],
        "market_set": "mainnet-2024-04",
        "oracle_price_source": "derived from unrealizedPnl",
    },
    {
        "name": "parent with a leveraged child, USDC of the child negative",
        "network": "dydx-mainnet-1",
        "network_basis": MAINNET_BY_HEIGHT,
        "date": "2024-06-21",
        "height": 18642087,
        "recorded": "ws/recorded/v4_parent_subaccounts.subscribed.isolated_position.json",
        "also_recorded": [
            "ws/recorded/v4_parent_subaccounts.subscribed.isolated_and_open_orders.json",
            "rest/parentSubaccount.from-recorded-ws.json",
        ],
        "market_set": "mainnet-2024-04",
        "oracle_price_source": "derived from unrealizedPnl",
    },
    {
        "name": "USDC only",
        "network": "dydx-mainnet-1",
        "network_basis": "the recording's own description; height 66624141 on 2025-12-08",
        "date": "2025-12-08",
        "height": 66624141,
        "recorded": "rest/subaccount.recorded.json",
        "also_recorded": [],
        "market_set": "mainnet-2025-12",
        "oracle_price_source": None,
    },
    {
        "name": "two small longs without a liquidation price",
        "network": "test network",
        "network_basis": "holds positions on 2023-11-06; mainnet's markets became active on 2023-11-13",
        "date": "2023-11-06",
        "height": None,
        "height_note": "its last position was opened at height 1204080",
        "recorded": "ws/recorded/v4_subaccounts.subscribed.position.json",
        "also_recorded": [],
        "market_set": "test-2023-11",
        "oracle_price_source": "recorded",
    },
    {
        "name": "parent with one child in use",
        "network": "test network",
        "network_basis": "height 304483 on 2024-05-14, when mainnet stood near 15.6 million",
        "date": "2024-05-14",
        "height": None,
        "height_note": "its last order was placed at height 304912",
        "recorded": "ws/recorded/v4_parent_subaccounts.subscribed.json",
        "also_recorded": ["rest/address.recorded.json"],
        "market_set": "mainnet-2024-04",
        "oracle_price_source": "derived from unrealizedPnl",
    },
    {
        "name": "parent with five children, two of them empty",
        "network": "test network",
        "network_basis": "height 13959584 on 2024-06-07, when mainnet stood near 17.4 million",
        "date": "2024-06-07",
        "height": 13989984,
        "recorded": "ws/recorded/v4_parent_subaccounts.subscribed.multiple_pending.json",
        "also_recorded": [],
        "market_set": "mainnet-2024-04",
        "oracle_price_source": "derived from unrealizedPnl",
    },
]

FEE_TIER_KEYS = [
    "name", "absolute_volume_requirement", "total_volume_share_requirement_ppm",
    "maker_volume_share_requirement_ppm", "maker_fee_ppm", "taker_fee_ppm",
]  # fmt: skip
EPOCH_KEYS = ["name", "next_tick", "duration"]
MARKET_COLUMNS = [
    "ticker", "clob_pair_id", "atomic_resolution", "price_exponent", "quantum_conversion_exponent",
    "step_base_quantums", "subticks_per_tick", "initial_margin_fraction", "maintenance_margin_fraction",
    "initial_margin_ppm", "maintenance_fraction_ppm", "market_type", "oracle_price", "oracle_price_integer",
    "open_interest", "open_interest_base_quantums", "open_interest_lower_cap", "open_interest_upper_cap",
]  # fmt: skip


def read_json(path: Path) -> Any:
    """Read a JSON file; a number with a fraction is refused, because it would become a float."""

    def refuse(text: str) -> None:
        raise SystemExit(f"{path.name}: {text}: a fraction must be text, not a JSON number")

    return json.loads(path.read_text(encoding="utf-8"), parse_float=refuse)


def scaled_integer(text: str, exponent: int, what: str) -> int:
    """Give text * 10^exponent as an integer; the run ends when it is none."""
    value = Fraction(text) * Fraction(10) ** exponent
    if value.denominator != 1:
        raise SystemExit(f"{what}: {text} is not a whole number of 1e{-exponent}")
    return value.numerator


def decimal_text(value: Fraction, what: str) -> str:
    """Write an exact quotient as plain decimal text; the run ends when it has no finite digits."""
    try:
        quotient = EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))
    except Inexact:
        raise SystemExit(f"{what}: {value} is not a finite decimal") from None
    text = format(quotient, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def contents_of(path: Path) -> Any:
    """Give the body of a recording: the contents of a WebSocket message, or a REST answer."""
    document = read_json(path)
    return document.get("contents", document)


# --- sample parameters ---


def sample_parameters(samples: Path) -> Record:
    """Put the sample genesis of protocol v9 into the project's own format."""
    source = read_json(samples / "markets.json")["sets"]["sample_pregenesis_v9"]
    liquidations = source["liquidations_config"]
    position_limits = liquidations["position_block_limits"]
    subaccount_limits = liquidations["subaccount_block_limits"]
    fillable = liquidations["fillable_price_config"]
    rate_limits = source["block_rate_limit_config"]
    equity_tiers = source["equity_tier_limit_config"]
    return {
        "format": V9_FORMAT,
        "sample": {
            "name": "v9",
            "kind": "sample parameters: not those of a live chain",
            "source": source["source_file"],
            "protocol_version": "v9.x",
            "chain_id": source["chain_id"],
            "prices": "the sample's genesis prices, of no particular day; open interest and funding index 0",
        },
        "perpetuals_params": source["perpetuals_params"],
        "liquidations_config": {
            "max_liquidation_fee_ppm": liquidations["max_liquidation_fee_ppm"],
            "min_position_notional_liquidated": str(position_limits["min_position_notional_liquidated"]),
            "max_position_portion_liquidated_ppm": position_limits["max_position_portion_liquidated_ppm"],
            "max_notional_liquidated": str(subaccount_limits["max_notional_liquidated"]),
            "max_quantums_insurance_lost": str(subaccount_limits["max_quantums_insurance_lost"]),
            "bankruptcy_adjustment_ppm": fillable["bankruptcy_adjustment_ppm"],
            "spread_to_maintenance_margin_ratio_ppm": fillable["spread_to_maintenance_margin_ratio_ppm"],
        },
        "fee_tiers": [{key: tier[key] for key in FEE_TIER_KEYS} for tier in source["fee_params"]["tiers"]],
        "short_term_order_equity_tiers": equity_tiers["short_term_order_equity_tiers"],
        "stateful_order_equity_tiers": equity_tiers["stateful_order_equity_tiers"],
        "block_rate_limits": {name: rate_limits[name] for name in sorted(rate_limits)},
        "epochs": [{key: epoch[key] for key in EPOCH_KEYS} for epoch in source["epochs"]],
        "liquidity_tiers": [
            {
                "id": tier["id"],
                "name": tier["name"],
                "initial_margin_ppm": tier["initial_margin_ppm"],
                "maintenance_fraction_ppm": tier["maintenance_fraction_ppm"],
                "impact_notional": str(tier["impact_notional"]),
                "open_interest_lower_cap": str(tier["open_interest_lower_cap"]),
                "open_interest_upper_cap": str(tier["open_interest_upper_cap"]),
            }
            for tier in source["liquidity_tiers"]
        ],
        "markets": [sample_market(market) for market in source["markets"]],
    }


def sample_market(market: Record) -> Record:
    """Give one market's record: 64-bit integers as text, the market type as one word."""
    return {
        "ticker": market["ticker"],
        "perpetual_id": market["perpetual_id"],
        "clob_pair_id": market["clob_pair_id"],
        "price_market_id": market["market_id"],
        "market_type": market["market_type"].removeprefix("PERPETUAL_MARKET_TYPE_").lower(),
        "liquidity_tier": market["liquidity_tier"],
        "atomic_resolution": market["atomic_resolution"],
        "price_exponent": market["price_exponent"],
        "oracle_price_integer": str(market["genesis_price"]),
        "default_funding_ppm": market["default_funding_ppm"],
        "quantum_conversion_exponent": market["quantum_conversion_exponent"],
        "step_base_quantums": str(market["step_base_quantums"]),
        "subticks_per_tick": market["subticks_per_tick"],
        "min_price_change_ppm": market["min_price_change_ppm"],
    }


# --- recorded accounts ---


def recorded_market(market: Record) -> Record:
    """Give one market of an indexer's answer, with the chain's integers beside the reported text."""
    ticker = market["ticker"]
    atomic_resolution = market["atomicResolution"]
    price_exponent = -15 - atomic_resolution
    conversion = market["quantumConversionExponent"]
    tick_exponent = conversion - QUOTE_QUANTUMS_PER_USDC_EXPONENT - atomic_resolution
    if scaled_integer(market["stepSize"], -atomic_resolution, ticker) != market["stepBaseQuantums"]:
        raise SystemExit(f"{ticker}: stepSize and stepBaseQuantums disagree")
    if scaled_integer(market["tickSize"], -tick_exponent, ticker) != market["subticksPerTick"]:
        raise SystemExit(f"{ticker}: tickSize and subticksPerTick disagree")
    initial, maintenance = market["initialMarginFraction"], market["maintenanceMarginFraction"]
    initial_margin_ppm = scaled_integer(initial, PPM_EXPONENT, ticker)
    fraction_ppm = Fraction(maintenance) / Fraction(initial) * 10**PPM_EXPONENT
    if fraction_ppm.denominator != 1:
        raise SystemExit(f"{ticker}: {maintenance} of {initial} is not a whole number of ppm")
    caps = [
        None if market.get(key) is None
        else str(scaled_integer(market[key], QUOTE_QUANTUMS_PER_USDC_EXPONENT, ticker))
        for key in ("openInterestLowerCap", "openInterestUpperCap")
    ]  # fmt: skip
    return {
        "ticker": ticker,
        "clob_pair_id": int(market["clobPairId"]),
        "atomic_resolution": atomic_resolution,
        "price_exponent": price_exponent,
        "quantum_conversion_exponent": conversion,
        "step_base_quantums": str(market["stepBaseQuantums"]),
        "subticks_per_tick": market["subticksPerTick"],
        "initial_margin_fraction": initial,
        "maintenance_margin_fraction": maintenance,
        "initial_margin_ppm": initial_margin_ppm,
        "maintenance_fraction_ppm": fraction_ppm.numerator,
        "market_type": market["marketType"].lower() if "marketType" in market else None,
        "oracle_price": market["oraclePrice"],
        "oracle_price_integer": str(scaled_integer(market["oraclePrice"], -price_exponent, ticker)),
        "open_interest": market["openInterest"],
        "open_interest_base_quantums": str(
            scaled_integer(market["openInterest"], -atomic_resolution, ticker)
        ),
        "open_interest_lower_cap": caps[0],
        "open_interest_upper_cap": caps[1],
    }


def recorded_position(position: Record, market: Record, source: str | None) -> Record:
    """Give one open position: the indexer's texts, and size and oracle price as the chain's integers."""
    ticker = position["market"]
    gain_per_coin = Fraction(position["unrealizedPnl"]) / Fraction(position["size"])
    derived = Fraction(position["entryPrice"]) + gain_per_coin
    if source == "recorded":
        oracle_price = market["oracle_price"]
        if Fraction(oracle_price) != derived:
            raise SystemExit(f"{ticker}: the recorded oracle price does not give the recorded unrealizedPnl")
    else:
        oracle_price = decimal_text(derived, ticker)
    return {
        "ticker": ticker,
        "size": position["size"],
        "base_quantums": str(scaled_integer(position["size"], -market["atomic_resolution"], ticker)),
        "oracle_price": oracle_price,
        "oracle_price_integer": str(scaled_integer(oracle_price, -market["price_exponent"], ticker)),
        "entry_price": position["entryPrice"],
        "exit_price": position["exitPrice"],
        "sum_open": position["sumOpen"],
        "sum_close": position["sumClose"],
        "max_size": position["maxSize"],
        "unrealized_pnl": position["unrealizedPnl"],
        "realized_pnl": position["realizedPnl"],
        "net_funding": position["netFunding"],
        "created_at": position["createdAt"],
        "created_at_height": int(position["createdAtHeight"]),
    }


def recorded_subaccount(body: Record, markets: dict[str, Record], source: str | None) -> Record:
    """Give one subaccount, having checked that its own equity and free collateral come out exactly."""
    what = f"{body['address']}/{body['subaccountNumber']}"
    usdc = "0"
    for asset in body["assetPositions"].values():
        if asset["symbol"] != "USDC":
            raise SystemExit(f"{what}: an asset other than USDC")
        usdc = asset["size"] if asset["side"] == "LONG" else "-" + asset["size"]
    positions = [
        recorded_position(position, markets[ticker], source)
        for ticker, position in body["openPerpetualPositions"].items()
    ]
    equity = Fraction(usdc)
    initial_margin = Fraction(0)
    for position in positions:
        value = Fraction(position["size"]) * Fraction(position["oracle_price"])
        equity += value
        initial_margin += abs(value) * Fraction(markets[position["ticker"]]["initial_margin_fraction"])
    if equity != Fraction(body["equity"]) or equity - initial_margin != Fraction(body["freeCollateral"]):
        raise SystemExit(f"{what}: equity or free collateral is not reproduced")
    return {
        "subaccount_number": body["subaccountNumber"],
        "usdc": usdc,
        "usdc_quote_quantums": str(scaled_integer(usdc, QUOTE_QUANTUMS_PER_USDC_EXPONENT, what)),
        "equity": body["equity"],
        "free_collateral": body["freeCollateral"],
        "positions": positions,
    }


def subaccounts_of(contents: Record) -> tuple[list[Record], Record | None]:
    """Give the subaccounts of a recording and, when it has one, the parent with the sums."""
    if "subaccounts" in contents:
        return contents["subaccounts"], None
    body = contents["subaccount"]
    return (body["childSubaccounts"], body) if "childSubaccounts" in body else ([body], None)


def recorded_account(samples: Path, facts: Record, markets: dict[str, Record]) -> Record:
    """Give one account with all its subaccounts; every recording of it must say the same."""
    contents = contents_of(samples / facts["recorded"])
    bodies, parent = subaccounts_of(contents)
    for other in facts["also_recorded"]:
        if subaccounts_of(contents_of(samples / other))[0] != bodies:
            raise SystemExit(f"{other} differs from {facts['recorded']}")
    height = contents.get("blockHeight") or bodies[0].get("latestProcessedBlockHeight")
    if (None if height is None else int(height)) != facts["height"]:
        raise SystemExit(f"{facts['recorded']}: recorded at height {height}, not {facts['height']}")
    account = {"address": bodies[0]["address"], **facts}
    if parent is not None:
        account["parent_equity"] = parent["equity"]
        account["parent_free_collateral"] = parent["freeCollateral"]
    source = facts["oracle_price_source"]
    account["subaccounts"] = [recorded_subaccount(body, markets, source) for body in bodies]
    return account


def recorded_accounts(samples: Path) -> Record:
    """Put every recorded account, and the market sets they need, into the project's own format."""
    market_sets = []
    markets_by_set: dict[str, dict[str, Record]] = {}
    for facts in MARKET_SETS:
        markets = contents_of(samples / facts["recorded"])["markets"]
        for other in facts["also_recorded"]:
            if contents_of(samples / other)["markets"] != markets:
                raise SystemExit(f"{other} differs from {facts['recorded']}")
        records = [recorded_market(market) for market in markets.values()]
        markets_by_set[facts["name"]] = {record["ticker"]: record for record in records}
        rows = [[record[column] for column in MARKET_COLUMNS] for record in records]
        market_sets.append({**facts, "columns": MARKET_COLUMNS, "rows": rows})
    accounts = [recorded_account(samples, facts, markets_by_set[facts["market_set"]]) for facts in ACCOUNTS]
    return {"format": RECORDED_FORMAT, "market_sets": market_sets, "accounts": accounts}


# --- layout ---


def json_lines(value: Any, indent: int = 0, spread: bool = False) -> str:
    """Write JSON with one record a line: what holds no further container takes a single line."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not children or not (spread or any(isinstance(child, dict | list) for child in children)):
        return json.dumps(value, ensure_ascii=True)
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        # The format's own description reads as prose: one key a line all the way down.
        parts = [
            f"{json.dumps(key)}: {json_lines(child, indent + 1, spread or key == 'format')}"
            for key, child in value.items()
        ]
        opening, closing = "{", "}"
    else:
        parts = [json_lines(child, indent + 1, spread) for child in value]
        opening, closing = "[", "]"
    inside = f",\n{pad}".join(parts)
    return f"{opening}\n{pad}{inside}\n{' ' * indent}{closing}"


def main(arguments: list[str]) -> int:
    """Write both files; the exit code is 2 when the call is wrong."""
    if len(arguments) != 2:
        print("usage: make_data.py SAMPLES OUT", file=sys.stderr)
        return 2
    samples, out = Path(arguments[0]), Path(arguments[1])
    out.mkdir(parents=True, exist_ok=True)
    documents = {"v9.json": sample_parameters(samples), "recorded_accounts.json": recorded_accounts(samples)}
    for name, document in documents.items():
        (out / name).write_text(json_lines(document) + "\n", encoding="ascii", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
