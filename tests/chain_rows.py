"""Rows of the chain's own results, as accounts on a face."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

import pytest
from faces import market_of, ticker

from dydx_perf.exact.state import ClobPair, Perpetual
from dydx_perf.units import to_decimal


def rows(name: str, function: str) -> list[dict[str, Any]]:
    with gzip.open(str(files("dydx_perf.data") / "vectors" / f"{name}.jsonl.gz"), "rt") as lines:
        return [row for row in map(json.loads, lines) if row["fn"] == function]


def account_of_row(face: Any, given: dict[str, Any], config: Any = None) -> Any:
    """The account of a row; None where the row holds what the face refuses, for a reason checked here."""
    perpetuals = {}
    for market in given["markets"]:
        pair = market.get("clob_pair")
        perpetuals[market["perpetual_id"]] = Perpetual(
            perpetual_id=market["perpetual_id"],
            atomic_resolution=market["atomic_resolution"],
            price=int(market["price"]),
            exponent=market["exponent"],
            funding_index=int(market["funding_index"]),
            open_interest=int(market["open_interest"]),
            initial_margin_ppm=market["initial_margin_ppm"],
            maintenance_fraction_ppm=market["maintenance_fraction_ppm"],
            open_interest_lower_cap=int(market["open_interest_lower_cap"]),
            open_interest_upper_cap=int(market["open_interest_upper_cap"]),
            market_type=market["market_type"],
            clob_pair=pair
            and ClobPair(
                int(pair["step_base_quantums"]),
                pair["subticks_per_tick"],
                pair["quantum_conversion_exponent"],
                pair["status"],
            ),
        )
    state = given["subaccount"]
    held = [p["perpetual_id"] for p in state["perpetual_positions"]]
    cannot_be = (
        any(
            p.price == 0
            or p.initial_margin_ppm > 10**6
            or p.maintenance_fraction_ppm > 10**6
            or 0 < p.open_interest_upper_cap < p.open_interest_lower_cap
            or p.open_interest < 0
            for p in perpetuals.values()
        )
        or any(asset["asset_id"] != 0 for asset in state["asset_positions"])
        or not set(held) <= set(perpetuals)
        or (len(held) > 1 and any(perpetuals[number].market_type == 2 for number in held))
    )

    def build() -> Any:
        parameters = None if config is None else face.ProtocolParameters(liquidations=config)
        chain = face.Chain([market_of(face, p) for p in perpetuals.values()], parameters=parameters)
        return face.Subaccount(
            chain,
            "dydx1row",
            usdc=to_decimal(sum(int(asset["quantums"]) for asset in state["asset_positions"]), -6),
            positions=[
                face.Position(
                    chain[p["perpetual_id"]],
                    quantums=int(p["quantums"]),
                    funding_index=int(p["funding_index"]),
                    quote_balance=int(p["quote_balance"]),
                )
                for p in state["perpetual_positions"]
            ],
            leverage={  # one of a market that does not exist raises nobody's requirement
                ticker(chosen["perpetual_id"]): chosen["custom_imf_ppm"]
                for chosen in state.get("leverage", [])
                if chosen["perpetual_id"] in perpetuals
            },
        )

    if not cannot_be:
        return build()
    if any(asset["asset_id"] != 0 for asset in state["asset_positions"]):
        return None  # the face has no place for other assets
    with pytest.raises(face.DydxPerfError):
        build()
    return None
