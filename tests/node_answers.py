"""A small chain as a node's REST gateway tells of it: BTC-USD, ETH-USD (cross), BOME-USD (isolated)."""

from __future__ import annotations

import base64
import copy
from importlib import import_module
from typing import Any

from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_messages import RESPONSES
from dydx_perf.feeds.node_queries import NodeQuery, queries

__all__ = ["ADDRESS", "HEIGHT", "account", "answers", "as_message", "leverage", "picture"]

ADDRESS = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"
HEIGHT = 66_624_143


def perpetual(number: int, ticker: str, resolution: int, tier: int, **more: Any) -> dict[str, Any]:
    params = {
        "id": number,
        "ticker": ticker,
        "market_id": number,
        "atomic_resolution": resolution,
        "default_funding_ppm": 0,
        "liquidity_tier": tier,
        "market_type": more.pop("market_type", "PERPETUAL_MARKET_TYPE_CROSS"),
    }
    return {"params": params, **more}


def pair(number: int, perpetual_id: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "perpetual_clob_metadata": {"perpetual_id": perpetual_id},
        "step_base_quantums": "1000000",
        "subticks_per_tick": 100000,
        "quantum_conversion_exponent": -9,
        "status": "STATUS_ACTIVE",
        **more,
    }


def tier(number: int, initial: int, fraction: int, lower: str, upper: str) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"tier {number}",
        "initial_margin_ppm": initial,
        "maintenance_fraction_ppm": fraction,
        "impact_notional": "10000000000",
        "open_interest_lower_cap": lower,
        "open_interest_upper_cap": upper,
    }


BODIES: dict[str, Any] = {
    "perpetuals": {
        "perpetual": [
            perpetual(0, "BTC-USD", -10, 0, funding_index="9876543", open_interest="3817348000000"),
            perpetual(1, "ETH-USD", -9, 1, funding_index="-1234567", open_interest="7453128000000"),
            perpetual(
                35,
                "BOME-USD",
                -3,
                4,
                funding_index="0",
                open_interest="60000000000",
                market_type="PERPETUAL_MARKET_TYPE_ISOLATED",
            ),
        ],
        "pagination": {"next_key": None, "total": "3"},
    },
    "liquidity_tiers": {
        "liquidity_tiers": [
            tier(0, 20_000, 600_000, "0", "0"),
            tier(1, 100_000, 500_000, "20000000000000", "50000000000000"),
            tier(4, 50_000, 600_000, "500000000000", "1000000000000"),
        ]
    },
    "market_prices": {
        "market_prices": [
            {"id": 0, "exponent": -5, "price": "8993152000"},
            {"id": 1, "exponent": -6, "price": "3103400000"},
            {"id": 35, "exponent": -12, "price": "7500000000"},
        ]
    },
    "clob_pairs": {"clob_pair": [pair(0, 0), pair(1, 1), pair(35, 35)]},
    "perpetuals_params": {
        "params": {
            "funding_rate_clamp_factor_ppm": 6_000_001,
            "premium_vote_clamp_factor_ppm": 60_000_000,
            "min_num_votes_per_sample": 15,
        }
    },
    "liquidations_config": {
        "liquidations_config": {
            "max_liquidation_fee_ppm": 15_001,
            "position_block_limits": {
                "min_position_notional_liquidated": "1000000000",
                "max_position_portion_liquidated_ppm": 100_000,
            },
            "subaccount_block_limits": {
                "max_notional_liquidated": "100000000000",
                "max_quantums_insurance_lost": "1000000000000",
            },
            "fillable_price_config": {
                "bankruptcy_adjustment_ppm": 1_000_000,
                "spread_to_maintenance_margin_ratio_ppm": 1_500_000,
            },
        }
    },
    "equity_tiers": {
        "equity_tier_limit_config": {
            "short_term_order_equity_tiers": [],
            "stateful_order_equity_tiers": [
                {"usd_tnc_required": "0", "limit": 0},
                {"usd_tnc_required": "20000000", "limit": 10},
            ],
        }
    },
    "rate_limits": {
        "block_rate_limit_config": {
            "max_short_term_orders_and_cancels_per_n_blocks": [{"num_blocks": 5, "limit": 4000}]
        }
    },
    "fee_tiers": {
        "params": {
            "tiers": [
                {
                    "name": "1",
                    "absolute_volume_requirement": "0",
                    "total_volume_share_requirement_ppm": 0,
                    "maker_volume_share_requirement_ppm": 0,
                    "maker_fee_ppm": -110,
                    "taker_fee_ppm": 500,
                }
            ]
        }
    },
    "gate": {
        "negative_tnc_subaccount_seen_at_block": HEIGHT - 10,
        "chain_outage_seen_at_block": 0,
        "withdrawals_and_transfers_unblocked_at_block": HEIGHT + 40,
    },
    "version": {"application_version": {"version": "9.6.1"}},
}


def account(address: str, number: int, usdc: int, positions: dict[int, tuple[int, int]]) -> dict[str, Any]:
    """A Subaccount answer: positions are {perpetual id: (quantums, funding index)}."""
    return {
        "subaccount": {
            "id": {"owner": address, "number": number},
            "asset_positions": [{"asset_id": 0, "quantums": str(usdc), "index": "0"}] if usdc else [],
            "perpetual_positions": [
                {
                    "perpetual_id": perpetual_id,
                    "quantums": str(quantums),
                    "funding_index": str(index),
                    "quote_balance": "0",
                }
                for perpetual_id, (quantums, index) in positions.items()
            ],
            "margin_enabled": True,
        }
    }


def leverage(**chosen: int) -> dict[str, Any]:
    """A Leverage answer: ``pair_1=100_000``."""
    return {
        "clob_pair_leverage": [
            {"clob_pair_id": int(name.removeprefix("pair_")), "custom_imf_ppm": ppm}
            for name, ppm in chosen.items()
        ]
    }


def answers(**changed: Any) -> dict[str, Any]:
    """Answers by the name of their query; a copy that a test may alter."""
    return copy.deepcopy({**BODIES, **changed})


def picture(
    accounts: dict[tuple[str, int], tuple[dict[str, Any], dict[str, Any] | None]] | None = None,
    *,
    height: int | None = HEIGHT,
    markets: bool = True,
    bodies: dict[str, Any] | None = None,
) -> NodePicture:
    """A picture of these answers: accounts are {name: (Subaccount, Leverage)}."""
    made, given = NodePicture(), {} if accounts is None else accounts
    told = answers() if bodies is None else bodies
    for query in queries(given, markets=markets, parameters=markets):
        if query.name in ("subaccount", "leverage"):
            body = given[query.subject][query.name == "leverage"]  # type: ignore[index]
            if body is None:
                continue
        else:
            body = told[query.name]
        assert made.answer(query, body, height=height) is None
    return made


def serialized(integer: int) -> bytes:
    magnitude = abs(integer)
    return bytes([3 if integer < 0 else 2]) + magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")


BYTES_FIELDS = {"funding_index", "open_interest", "quantums", "quote_balance", "usd_tnc_required"}


def as_message(query: NodeQuery, body: Any) -> Any:
    """Turn the gateway's mapping into the message that it stands for."""
    from google.protobuf.json_format import ParseDict

    def in_bytes(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: in_bytes(part, key) for key, part in value.items() if part is not None}
        if isinstance(value, list):
            return [in_bytes(part) for part in value]
        if name in BYTES_FIELDS and isinstance(value, str):
            return base64.b64encode(serialized(int(value))).decode()
        return value

    module, name = RESPONSES[query.name]
    return ParseDict(in_bytes(body), getattr(import_module(f"v4_proto.{module}"), name)())
