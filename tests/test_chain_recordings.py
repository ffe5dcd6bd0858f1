"""Chains from the shipped sample, and from recordings and published parameters where they are (A10)."""

from __future__ import annotations

import base64
import copy
import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dydx_perf import Chain, FeeTier, InputError, Market, ProtocolParameters
from dydx_perf.documents import Field
from dydx_perf.parameters import BlockRateLimits, EquityTier, RateLimit

PROPERTIES = [name for name in dir(Market) if isinstance(getattr(Market, name), property)]


def properties(chain: Chain) -> list[dict[str, Any]]:
    """Return all that can be read of the markets."""
    return [{name: getattr(one, name) for name in PROPERTIES} for one in chain]


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


# --- the sample ---


def test_the_sample_says_that_it_is_one() -> None:
    sample = Chain.sample("v9")
    assert len(sample) == 35
    assert (sample.basis, sample.height, sample.time, sample.without_price) == ("sample", None, None, ())
    assert {one.basis for one in sample} == {"sample"}
    assert sample.description == "sample v9: sample parameters: not those of a live chain"


def test_the_sample_has_the_tiers_and_prices_of_v9() -> None:
    """Some rows of the published tables, by hand."""
    sample = Chain.sample("v9")
    btc, pepe, eigen = sample["BTC-USD"], sample["PEPE-USD"], sample["EIGEN-USD"]
    assert (btc.initial_margin_fraction, btc.maintenance_margin_fraction) == (
        Decimal("0.02"),
        Decimal("0.012"),
    )
    assert btc.oracle_price.decimal == Decimal("28688.19524")
    assert (pepe.atomic_resolution, pepe.price_exponent, pepe.clob_pair.subticks_per_tick) == (
        1,
        -16,
        1_000_000,
    )
    assert (pepe.initial_margin_ppm, pepe.perpetual.open_interest_upper_cap) == (100_000, 50_000_000_000_000)
    assert (eigen.perpetual_id, eigen.clob_pair_id, eigen.is_isolated) == (300, 300, True)
    assert (eigen.default_funding_ppm, btc.default_funding_ppm) == (0, 100)
    assert [one.ticker for one in sample if one.is_isolated] == ["EIGEN-USD", "BOME-USD"]
    assert len(sample.parameters.fee_tiers) == 9
    assert sample.parameters.fee_tiers[5] == FeeTier("6", 125_000_000_000_000, 5_000, 0, -110, 250)
    assert sample.parameters.stateful_order_equity_tiers[2] == EquityTier(100_000_000, 5)
    assert sample.parameters.short_term_order_equity_tiers[-1] == EquityTier(100_000_000_000, 1000)
    assert sample.parameters.block_rate_limits == BlockRateLimits(
        (RateLimit(400, 1),), (RateLimit(2, 1), RateLimit(20, 100))
    )
    of_the_sample = ("fee_tiers", "stateful_order_equity_tiers", "short_term_order_equity_tiers")
    assert sample.parameters == ProtocolParameters(
        block_rate_limits=sample.parameters.block_rate_limits,
        **{name: getattr(sample.parameters, name) for name in of_the_sample},
    )


@pytest.mark.parametrize("name", ["v8", "", "V9", None, 9, ["v9"], "../v9"])
def test_an_unknown_sample_is_refused(name: Any) -> None:
    with pytest.raises(InputError) as refused:
        Chain.sample(name)
    assert refused.value.argument == "name"


# --- recordings, where they are ---


def shared_samples() -> Path | None:
    """Find the recorded samples, beside the repository or where told."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = (Path(told) if told else Path(__file__).resolve().parents[2] / "shared") / "samples"
    return folder if (folder / "markets.json").is_file() else None


SAMPLES = shared_samples()

if SAMPLES is not None:
    SETS = json.loads((SAMPLES / "markets.json").read_text("utf-8"))["sets"]
    GENESIS_SETS = [name for name, one in SETS.items() if "liquidity_tiers" in one]
    INDEXER_SETS = [name for name in SETS if name not in GENESIS_SETS]

    def genesis_of(one: dict[str, Any]) -> dict[str, Any]:
        """Put a set of parameters back into the shape of the document it was taken from."""
        return {
            "chain_id": one["chain_id"],
            "initial_height": "1",
            "app_state": {
                "prices": {
                    "market_prices": [
                        {
                            "id": row["market_id"],
                            "exponent": row["price_exponent"],
                            "price": row["genesis_price"],
                        }
                        for row in one["markets"]
                    ]
                },
                "perpetuals": {
                    "perpetuals": [
                        {
                            "params": {
                                "id": row["perpetual_id"],
                                "ticker": row["ticker"],
                                "market_id": row["market_id"],
                                "atomic_resolution": row["atomic_resolution"],
                                "default_funding_ppm": row["default_funding_ppm"],
                                "liquidity_tier": row["liquidity_tier"],
                                # Some rows say in brackets that the field did not exist yet.
                                "market_type": None
                                if "implicit" in row["market_type"]
                                else row["market_type"],
                            },
                            "funding_index": "0",
                        }
                        for row in one["markets"]
                    ],
                    "liquidity_tiers": one["liquidity_tiers"],
                    "params": one["perpetuals_params"],
                },
                "clob": {
                    "clob_pairs": [
                        {
                            "id": row["clob_pair_id"],
                            "perpetual_clob_metadata": {"perpetual_id": row["perpetual_id"]},
                            "step_base_quantums": row["step_base_quantums"],
                            "subticks_per_tick": row["subticks_per_tick"],
                            "quantum_conversion_exponent": row["quantum_conversion_exponent"],
                            "status": row["status"],
                        }
                        for row in one["markets"]
                    ],
                    "liquidations_config": one["liquidations_config"],
                    "equity_tier_limit_config": one["equity_tier_limit_config"],
                    "block_rate_limit_config": one["block_rate_limit_config"],
                },
                "feetiers": {"params": one["fee_params"]},
            },
        }

    def test_there_are_five_sets_of_markets() -> None:
        assert (len(GENESIS_SETS), len(INDEXER_SETS)) == (3, 2)

    @pytest.mark.parametrize("name", GENESIS_SETS)
    def test_a_set_of_genesis_parameters_gives_the_figures_derived_there(name: str) -> None:
        """Step, tick, price and margin fractions, which the set derives in its own way."""
        one = SETS[name]
        chain = Chain.from_genesis(genesis_of(one))
        assert (len(chain), chain.basis, chain.height) == (len(one["markets"]), "chain", 0)
        for row in one["markets"]:
            made, derived = chain[row["ticker"]], row["derived"]
            assert made.step_size == Decimal(derived["step_size"])
            assert made.tick_size == Decimal(derived["tick_size"])
            assert made.oracle_price.decimal == Decimal(derived["genesis_oracle_price"])
            assert made.initial_margin_fraction == Decimal(derived["base_initial_margin_fraction"])
            assert made.maintenance_margin_fraction == Decimal(derived["maintenance_margin_fraction"])
            assert f"STATUS_{made.status}" == row["status"]
        assert len(chain.parameters.fee_tiers) == 9
        least = one["liquidations_config"]["position_block_limits"]["min_position_notional_liquidated"]
        assert chain.parameters.liquidations.min_position_notional_liquidated == least

    def test_the_mainnet_genesis_has_the_default_parameters() -> None:
        """All but the tiers and rate limits, of which there is no default: they are those of the document."""
        one = SETS["mainnet_genesis_2023_10"]
        made = Chain.from_genesis(genesis_of(one)).parameters
        assert (
            replace(
                made,
                fee_tiers=(),
                stateful_order_equity_tiers=(),
                short_term_order_equity_tiers=(),
                block_rate_limits=BlockRateLimits(),
            )
            == ProtocolParameters()
        )
        for kind in ("stateful", "short_term"):
            assert [
                (str(tier.net_collateral_required), tier.limit)
                for tier in getattr(made, f"{kind}_order_equity_tiers")
            ] == [
                (tier["usd_tnc_required"], tier["limit"])
                for tier in one["equity_tier_limit_config"][f"{kind}_order_equity_tiers"]
            ]
        limits = one["block_rate_limit_config"]["max_stateful_orders_per_n_blocks"]
        assert made.block_rate_limits.stateful_orders == tuple(RateLimit(**limit) for limit in limits)

    def test_the_shipped_sample_is_the_set_of_v9() -> None:
        """All but where it is from, and the status, which the sample does not ship."""
        there = Chain.from_genesis(genesis_of(SETS["sample_pregenesis_v9"]))
        apart = ("height", "basis", "status", "clob_pair", "perpetual")
        assert [without(one, *apart) for one in properties(there)] == [
            without(one, *apart) for one in properties(Chain.sample("v9"))
        ]
        assert there.parameters == Chain.sample("v9").parameters

    RECORDED_LISTS = [
        ("rest/perpetualMarkets.recorded-2024-04.json", 66),
        ("rest/perpetualMarkets.recorded-2025-12.json", 3),
        ("ws/recorded/v4_markets.subscribed.2023-11.json", 33),
        ("ws/recorded/v4_markets.subscribed.2024-04.json", 66),
        ("ws/constructed/v4_markets.batched.jsonl", 3),
        ("ws/constructed/v4_markets.unbatched.jsonl", 3),
    ]

    def market_list(name: str) -> dict[str, Any]:
        """Return the market list of a REST answer, a message, or the first snapshot of a transcript."""
        assert SAMPLES is not None
        text = (SAMPLES / name).read_text("utf-8")
        if name.endswith(".jsonl"):
            lines = (json.loads(line).get("msg", {}) for line in text.splitlines())
            return next(line["contents"] for line in lines if line.get("type") == "subscribed")
        document = json.loads(text)
        return document.get("contents", document)

    def assert_as_listed(chain: Chain, rows: list[dict[str, Any]]) -> None:
        """Compare the markets' own derived figures with the texts of the list."""
        assert (chain.basis, chain.without_price) == ("estimate", ())
        assert chain.tickers == tuple(row["ticker"] for row in rows)
        for made, row in zip(chain, rows, strict=True):
            assert made.oracle_price.decimal == Decimal(row["oraclePrice"])
            assert made.price_exponent == -15 - row["atomicResolution"]
            assert made.initial_margin_fraction == Decimal(row["initialMarginFraction"])
            assert made.maintenance_margin_fraction == Decimal(row["maintenanceMarginFraction"])
            coins = Decimal(made.open_interest).scaleb(made.atomic_resolution)
            assert coins == Decimal(row["openInterest"])
            assert (made.step_size, made.tick_size) == (Decimal(row["stepSize"]), Decimal(row["tickSize"]))
            assert made.status == row["status"]
            assert made.is_isolated == (row.get("marketType") == "ISOLATED")
            upper = Decimal(made.perpetual.open_interest_upper_cap).scaleb(-6)
            assert upper == Decimal(row.get("openInterestUpperCap", "0"))

    @pytest.mark.parametrize(("name", "count"), RECORDED_LISTS)
    def test_a_recorded_market_list_comes_out_as_it_is(name: str, count: int) -> None:
        document = market_list(name)
        rows = list(document["markets"].values())
        for row in rows:
            if name.startswith("ws/constructed"):
                # Its BOME step and tick are sizes of the transcript, not those of its quantums.
                row["stepSize"] = str(Decimal(row["stepBaseQuantums"]).scaleb(row["atomicResolution"]))
        assert len(rows) == count
        assert_as_listed(Chain.from_indexer(document), rows)

    @pytest.mark.parametrize("name", INDEXER_SETS)
    def test_a_set_of_indexer_parameters_comes_out_as_it_is(name: str) -> None:
        rows = SETS[name]["markets"]
        assert_as_listed(Chain.from_indexer({row["ticker"]: row for row in rows}), rows)

    VECTORS = json.loads((SAMPLES / "grpc" / "serializable_int_vectors.json").read_text("utf-8"))

    @pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["hex"] or "empty")
    def test_recorded_integers_in_bytes_are_read(row: dict[str, str]) -> None:
        data = bytes.fromhex(row["hex"])
        assert Field("x", data).serialized_integer().value == int(row["value"])
        assert base64.b64decode(row["base64"]) == data

    UNARY = {
        row["method"].rsplit("/", 1)[1]: row
        for row in map(
            json.loads, (SAMPLES / "grpc" / "constructed_unary.jsonl").read_text("utf-8").splitlines()
        )
    }
    ABSENT_IS = {
        "perpetuals": {"id": 0, "market_id": 0, "liquidity_tier": 0, "default_funding_ppm": 0},
        "liquidity_tiers": {"id": 0, "open_interest_lower_cap": 0, "open_interest_upper_cap": 0},
        "market_prices": {"id": 0},
        "clob_pairs": {},
    }

    def unary() -> dict[str, Any]:
        """Return the unary answers as plain objects, with the zeros that proto3's JSON leaves out."""

        def answer(method: str, field: str) -> Any:
            return UNARY[method]["response_json_proto3"][field]

        perpetuals = copy.deepcopy(answer("AllPerpetuals", "perpetual"))
        for perpetual in perpetuals:
            perpetual["params"] = ABSENT_IS["perpetuals"] | perpetual["params"]
            for name in ("funding_index", "open_interest"):
                perpetual[name] = base64.b64decode(perpetual[name])
        lists = {
            "perpetuals": perpetuals,
            "liquidity_tiers": answer("AllLiquidityTiers", "liquidity_tiers"),
            "market_prices": answer("AllMarketPrices", "market_prices"),
            "clob_pairs": answer("ClobPairAll", "clob_pair"),
        }
        return {
            name: [objects_of(ABSENT_IS[name] | row if name != "perpetuals" else row) for row in rows]
            for name, rows in lists.items()
        } | {
            "liquidations_config": objects_of(answer("LiquidationsConfiguration", "liquidations_config")),
            "perpetuals_params": objects_of(answer("Params", "params")),
        }

    def objects_of(value: Any) -> Any:
        if isinstance(value, dict):
            return SimpleNamespace(**{key: objects_of(part) for key, part in value.items()})
        return value

    def assert_unary(given: dict[str, Any]) -> None:
        """The third perpetual's price was not answered: it is named; without it the rest is a chain."""
        with pytest.raises(
            InputError, match=r"perpetuals\[2\].params.market_id: 38 .*market_prices.*BOME-USD"
        ):
            Chain.from_node(**given, height=66_624_143)
        given["perpetuals"] = list(given["perpetuals"])[:2]
        chain = Chain.from_node(**given, height=66_624_143)
        btc, eth = chain
        assert (chain.basis, chain.height) == ("chain", 66_624_143)
        assert btc.oracle_price.decimal == Decimal("89931.52")
        assert (btc.funding_index, btc.open_interest) == (9_876_543, 3_817_348_000_000)
        assert (eth.funding_index, eth.open_interest) == (-1_234_567, 7_457_108_000_000)
        assert (eth.clob_pair_id, eth.step_size, eth.status) == (1, Decimal("0.001"), "ACTIVE")
        assert btc.status == "INITIALIZING"  # its clob pair was not answered either
        assert (eth.initial_margin_ppm, eth.maintenance_fraction_ppm) == (20_000, 600_000)
        assert chain.parameters == ProtocolParameters()

    def test_constructed_unary_answers_give_a_chain() -> None:
        assert_unary(unary())

    try:
        from v4_proto.dydxprotocol.clob import query_pb2 as clob_queries
        from v4_proto.dydxprotocol.perpetuals import query_pb2 as perpetuals_queries
        from v4_proto.dydxprotocol.prices import query_pb2 as prices_queries
    except ModuleNotFoundError:
        HAS_V4_PROTO = False
    else:
        HAS_V4_PROTO = True

    if HAS_V4_PROTO:

        def test_constructed_unary_answers_in_bytes_give_a_chain() -> None:
            """Decoded by v4-proto from what a node would send."""

            def answer(method: str, module: Any) -> Any:
                kind = UNARY[method]["response_type"].rsplit(".", 1)[1]
                return getattr(module, kind).FromString(base64.b64decode(UNARY[method]["response_base64"]))

            assert_unary(
                {
                    "perpetuals": answer("AllPerpetuals", perpetuals_queries).perpetual,
                    "liquidity_tiers": answer("AllLiquidityTiers", perpetuals_queries).liquidity_tiers,
                    "market_prices": answer("AllMarketPrices", prices_queries).market_prices,
                    "clob_pairs": answer("ClobPairAll", clob_queries).clob_pair,
                    "liquidations_config": answer(
                        "LiquidationsConfiguration", clob_queries
                    ).liquidations_config,
                    "perpetuals_params": answer("Params", perpetuals_queries).params,
                }
            )
