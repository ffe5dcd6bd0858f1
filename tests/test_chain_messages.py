"""Chains from genesis documents and a node's messages: each number, and each refusal by its path (A10)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf import Chain, FeeTier, InputError, ProtocolParameters
from dydx_perf.documents import Field

DATA = Path(__file__).parent / "data"


def genesis() -> dict[str, Any]:
    """Return a state with a cross market, an isolated one with caps, and one without an oracle price."""
    document: dict[str, Any] = json.loads((DATA / "small_genesis.json").read_text("utf-8"))
    return document


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


# --- one small state in the shapes of a genesis document and of messages ---

ENUMS = {
    "PERPETUAL_MARKET_TYPE_CROSS": 1,
    "PERPETUAL_MARKET_TYPE_ISOLATED": 2,
    "STATUS_ACTIVE": 1,
    "STATUS_FINAL_SETTLEMENT": 6,
}


def serialized(integer: int) -> bytes:
    """Return an integer in the chain's bytes, written apart from the library's reader."""
    digits = f"{abs(integer):x}" if integer else ""
    return bytes([3 if integer < 0 else 2]) + bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))


def plain(value: Any, name: str = "") -> Any:
    """Return JSON as plain objects with a message's attributes: ints, enum numbers, integers in bytes."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: plain(part, key) for key, part in value.items()})
    if isinstance(value, list):
        return [plain(part) for part in value]
    if name in ("funding_index", "open_interest"):
        return serialized(int(value))
    if isinstance(value, str) and name not in ("ticker", "name"):
        return ENUMS[value] if value in ENUMS else int(value)
    return value


def queries(state: dict[str, Any]) -> dict[str, Any]:
    """Name the parts of an app_state as `Chain.from_node` does."""
    return {
        "perpetuals": state["perpetuals"]["perpetuals"],
        "liquidity_tiers": state["perpetuals"]["liquidity_tiers"],
        "market_prices": state["prices"]["market_prices"],
        "clob_pairs": state["clob"]["clob_pairs"],
        "liquidations_config": state["clob"]["liquidations_config"],
        "perpetuals_params": state["perpetuals"]["params"],
    }


def messages(document: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(part) for name, part in queries(document["app_state"]).items()}


def assert_small_state(chain: Chain, height: int | None, basis: str) -> None:
    """Compare with what the small state above says, number by number."""
    assert chain.tickers == ("BTC-USD", "BOME-USD")
    assert chain.without_price == ("NEW-USD",)
    assert (chain.height, chain.basis) == (height, basis)
    btc, bome = chain
    assert {(one.height, one.basis) for one in chain} == {(height, basis)}
    assert (btc.perpetual_id, btc.clob_pair_id, btc.atomic_resolution, btc.price_exponent) == (0, 7, -10, -5)
    assert btc.oracle_price.integer == 8_993_152_000
    assert (btc.funding_index, btc.open_interest) == (-1_234_567, 3_817_348_000_000)
    assert (btc.initial_margin_ppm, btc.maintenance_fraction_ppm) == (20_000, 600_000)
    assert (btc.perpetual.open_interest_lower_cap, btc.perpetual.open_interest_upper_cap) == (0, 0)
    assert (btc.impact_notional, btc.default_funding_ppm, btc.is_isolated) == (10_000_000_000, 0, False)
    assert (btc.step_size, btc.tick_size, btc.status) == (Decimal("0.0001"), 1, "FINAL_SETTLEMENT")
    assert (bome.perpetual_id, bome.atomic_resolution, bome.price_exponent) == (35, -3, -12)
    assert bome.oracle_price.decimal == Decimal("0.0075")
    assert (bome.funding_index, bome.open_interest) == (123456789123456789123456789, 60_000_000_000)
    assert bome.perpetual.open_interest_lower_cap == 500_000_000_000
    assert bome.perpetual.open_interest_upper_cap == 1_000_000_000_000
    assert (bome.impact_notional, bome.default_funding_ppm, bome.is_isolated) == (2_500_000_000, -100, True)
    # No clob pair trades it: it takes no orders, and its step and tick are single units.
    assert (bome.status, bome.clob_pair_id) == ("INITIALIZING", 35)
    assert (bome.clob_pair.step_base_quantums, bome.clob_pair.subticks_per_tick) == (1, 1)
    parameters = chain.parameters
    assert parameters.funding_rate_clamp_factor_ppm == 6_000_001
    assert parameters.premium_vote_clamp_factor_ppm == 60_000_001
    assert parameters.min_num_votes_per_sample == 16
    limits = parameters.liquidations
    assert (limits.max_liquidation_fee_ppm, limits.max_position_portion_liquidated_ppm) == (15_001, 100_001)
    assert limits.min_position_notional_liquidated == 1_000_000_001
    assert limits.max_notional_liquidated == 100_000_000_001
    assert limits.max_quantums_insurance_lost == 1_000_000_000_001
    assert limits.bankruptcy_adjustment_ppm == 1_000_001
    assert limits.spread_to_maintenance_margin_ratio_ppm == 1_500_001


# --- genesis documents ---


def test_a_genesis_document_is_the_chains_state_before_its_first_block() -> None:
    chain = Chain.from_genesis(genesis())
    assert_small_state(chain, height=99, basis="chain")
    assert chain.time == "2023-10-26T17:00:00Z"
    assert chain.description == "genesis of dydx-example-1"
    assert chain.parameters.fee_tiers == (FeeTier("1", 10**12, 5_000, 10_000, -110, 500),)


def test_numbers_may_be_text_and_enums_may_be_numbers() -> None:
    """JSON carries 64 bits as text and enums by name; both ways of both give the same chain."""

    def swapped(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: swapped(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [swapped(part) for part in value]
        if name in ("ticker", "name", "chain_id", "genesis_time"):
            return value
        return str(value) if isinstance(value, int) else ENUMS[value] if value in ENUMS else int(value)

    chain = Chain.from_genesis(swapped(genesis()))
    assert_small_state(chain, height=99, basis="chain")
    assert chain.parameters == Chain.from_genesis(genesis()).parameters


@pytest.mark.parametrize(
    ("initial_height", "height"), [("1", 0), (1, 0), ("0", 0), ("71290000", 71_289_999), (None, None)]
)
def test_the_height_of_a_genesis_document_is_that_of_the_block_before(
    initial_height: Any, height: int | None
) -> None:
    """Without an initial height the document is of no known block, and so an estimate."""
    document = genesis() | {"initial_height": initial_height}
    chain = Chain.from_genesis(
        document if initial_height is not None else without(document, "initial_height")
    )
    assert (chain.height, chain.basis) == (height, "estimate" if height is None else "chain")


def test_a_genesis_document_from_before_caps_and_isolated_markets_is_read() -> None:
    """Market types are cross, open interest and caps 0; parameters that it lacks are the defaults."""
    document = genesis()
    state = document["app_state"]
    del state["feetiers"], state["clob"]["liquidations_config"], state["perpetuals"]["params"]
    for perpetual in state["perpetuals"]["perpetuals"]:
        del perpetual["params"]["market_type"], perpetual["open_interest"]
    for tier in state["perpetuals"]["liquidity_tiers"]:
        del tier["open_interest_lower_cap"], tier["open_interest_upper_cap"]
    chain = Chain.from_genesis(without(document, "chain_id", "genesis_time"))
    assert [one.is_isolated for one in chain] == [False, False]
    assert [one.open_interest for one in chain] == [0, 0]
    assert [one.perpetual.open_interest_upper_cap for one in chain] == [0, 0]
    assert chain.parameters == ProtocolParameters()
    assert (chain.time, chain.description) == (None, "genesis")


BTC_PATH = "app_state.perpetuals.perpetuals[0]"
WRONG_GENESIS: list[tuple[str, tuple[Any, ...], Any, str]] = [
    # where it stands, what is put there, and what the error calls it
    ("a float", ("perpetuals", "liquidity_tiers", 0, "initial_margin_ppm"), 2e4, "initial_margin_ppm"),
    ("a bool", ("perpetuals", "liquidity_tiers", 0, "initial_margin_ppm"), True, "initial_margin_ppm"),
    (
        "over 100 %",
        ("perpetuals", "liquidity_tiers", 0, "initial_margin_ppm"),
        1_000_001,
        "initial_margin_ppm",
    ),
    ("missing", ("perpetuals", "liquidity_tiers", 0, "initial_margin_ppm"), None, "initial_margin_ppm"),
    ("reversed", ("perpetuals", "liquidity_tiers", 1, "open_interest_lower_cap"), 10**13, "lower_cap"),
    ("a second", ("perpetuals", "liquidity_tiers", 1, "id"), 0, "liquidity_tiers[1].id"),
    ("a second", ("prices", "market_prices", 1, "id"), "5", "market_prices[1].id"),
    ("negative", ("prices", "market_prices", 0, "price"), "-1", "market_prices[0].price"),
    ("65 bits", ("prices", "market_prices", 0, "price"), str(2**64), "market_prices[0].price"),
    ("a fraction", ("prices", "market_prices", 0, "price"), "1.5", "market_prices[0].price"),
    ("over-long", ("prices", "market_prices", 0, "price"), "1" * 101, "market_prices[0].price"),
    ("too fine", ("prices", "market_prices", 0, "exponent"), -33, "market_prices[0].exponent"),
    ("no number", ("prices", "market_prices", 0, "exponent"), "-5x", "market_prices[0].exponent"),
    ("no list", ("prices", "market_prices"), {"0": {}}, "app_state.prices.market_prices"),
    ("missing", ("prices", "market_prices"), None, "app_state.prices.market_prices"),
    ("missing", ("prices",), None, "app_state.prices"),
    ("missing", ("perpetuals",), None, "app_state.perpetuals"),
    ("missing", ("clob",), None, "app_state.clob"),
    ("text", ("perpetuals", "perpetuals", 0), "BTC-USD", BTC_PATH),
    ("missing", ("perpetuals", "perpetuals", 0, "params"), None, f"{BTC_PATH}.params"),
    ("a number", ("perpetuals", "perpetuals", 0, "params", "ticker"), 5, f"{BTC_PATH}.params.ticker"),
    ("empty", ("perpetuals", "perpetuals", 0, "params", "ticker"), "", f"{BTC_PATH}.params.ticker"),
    (
        "a second",
        ("perpetuals", "perpetuals", 1, "params", "ticker"),
        "BTC-USD",
        "perpetuals[1].params.ticker",
    ),
    ("a second", ("perpetuals", "perpetuals", 1, "params", "id"), 0, "perpetuals[1].params.id"),
    ("of one unpriced", ("perpetuals", "perpetuals", 1, "params", "id"), 36, "perpetuals[2].params.id"),
    ("33 bits", ("perpetuals", "perpetuals", 1, "params", "id"), 2**32, "perpetuals[1].params.id"),
    ("unspecified", ("perpetuals", "perpetuals", 0, "params", "market_type"), 0, "params.market_type"),
    ("no name", ("perpetuals", "perpetuals", 0, "params", "market_type"), "CROSS", "params.market_type"),
    ("too fine", ("perpetuals", "perpetuals", 0, "params", "atomic_resolution"), -33, "atomic_resolution"),
    ("base64", ("perpetuals", "perpetuals", 0, "funding_index"), "Apa0Pw==", f"{BTC_PATH}.funding_index"),
    ("missing", ("perpetuals", "perpetuals", 0, "funding_index"), None, f"{BTC_PATH}.funding_index"),
    ("negative", ("perpetuals", "perpetuals", 0, "open_interest"), "-1", f"{BTC_PATH}.open_interest"),
    (
        "wrong even unpriced",
        ("perpetuals", "perpetuals", 2, "open_interest"),
        "-1",
        "perpetuals[2].open_interest",
    ),
    ("unspecified", ("clob", "clob_pairs", 0, "status"), "STATUS_UNSPECIFIED", "clob_pairs[0].status"),
    ("a step of 0", ("clob", "clob_pairs", 0, "step_base_quantums"), "0", "clob_pairs[0].step_base_quantums"),
    ("a tick of 0", ("clob", "clob_pairs", 0, "subticks_per_tick"), 0, "clob_pairs[0].subticks_per_tick"),
    ("of nothing", ("clob", "clob_pairs", 0, "perpetual_clob_metadata"), None, "[0].perpetual_clob_metadata"),
    (
        "33 bits",
        ("perpetuals", "params", "min_num_votes_per_sample"),
        2**32,
        "params.min_num_votes_per_sample",
    ),
    ("negative", ("clob", "liquidations_config", "max_liquidation_fee_ppm"), -1, "max_liquidation_fee_ppm"),
    (
        "no object",
        ("clob", "liquidations_config", "position_block_limits"),
        5,
        "config.position_block_limits",
    ),
    (
        "65 bits",
        ("feetiers", "params", "tiers", 0, "absolute_volume_requirement"),
        2**64,
        "volume_requirement",
    ),
    ("33 bits", ("feetiers", "params", "tiers", 0, "maker_fee_ppm"), 2**31, "tiers[0].maker_fee_ppm"),
    ("a number", ("feetiers", "params", "tiers", 0, "name"), 1, "tiers[0].name"),
]


@pytest.mark.parametrize(("what", "place", "value", "named"), WRONG_GENESIS)
def test_a_wrong_field_of_a_genesis_document_is_refused_by_its_path(
    what: str, place: tuple[Any, ...], value: Any, named: str
) -> None:
    """The error names the path, carries the value, and says what is allowed."""
    document = genesis()
    put(document, ("app_state", *place), value)
    with pytest.raises(InputError) as refused:
        Chain.from_genesis(document)
    assert refused.value.argument.endswith(named), what
    assert refused.value.argument.startswith("app_state.")
    if what != "of one unpriced":
        assert refused.value.value == value
    assert refused.value.allowed


@pytest.mark.parametrize(
    ("document", "argument"),
    [
        (None, "document"),
        ("genesis.json", "document"),
        ([], "document"),
        ({}, "app_state"),
        ({"app_state": []}, "app_state"),
        (genesis() | {"initial_height": "-1"}, "initial_height"),
        (genesis() | {"initial_height": 1.5}, "initial_height"),
        (genesis() | {"initial_height": 2**63}, "initial_height"),
    ],
)
def test_what_is_no_genesis_document_is_refused(document: Any, argument: str) -> None:
    with pytest.raises(InputError) as refused:
        Chain.from_genesis(document)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("field", "ticker", "wanted"),
    [("market_id", "BTC-USD", "market_prices"), ("liquidity_tier", "BTC-USD", "liquidity_tiers")],
)
def test_a_perpetual_whose_price_or_tier_is_missing_is_named_with_it(
    field: str, ticker: str, wanted: str
) -> None:
    """In a genesis document and in messages alike."""
    document = genesis()
    document["app_state"]["perpetuals"]["perpetuals"][0]["params"][field] = 77
    for make in (
        lambda: Chain.from_genesis(document),
        lambda: Chain.from_node(**messages(document), height=5),
    ):
        with pytest.raises(InputError, match=f"perpetuals\\[0\\].params.{field}: 77 .*{wanted}.*{ticker}"):
            make()


# --- messages of a node ---


def test_messages_at_a_height_are_the_chains() -> None:
    chain = Chain.from_node(**messages(genesis()), height=5, time="noon")
    assert_small_state(chain, height=5, basis="chain")
    assert (chain.time, chain.description) == ("noon", "messages of a node")


def test_messages_without_a_height_are_an_estimate() -> None:
    assert_small_state(Chain.from_node(**messages(genesis())), height=None, basis="estimate")


def test_mappings_with_the_same_names_are_read_like_messages() -> None:
    """A node's REST gateway gives the same fields as JSON."""
    assert_small_state(Chain.from_node(**queries(genesis()["app_state"]), height=5), height=5, basis="chain")


def test_any_iterables_of_messages_will_do() -> None:
    given = messages(genesis())
    lists = {name: iter(part) for name, part in given.items() if isinstance(part, list)}
    assert_small_state(Chain.from_node(**{**given, **lists}), height=None, basis="estimate")


def test_without_clob_pairs_and_configs_the_defaults_stand() -> None:
    given = without(messages(genesis()), "clob_pairs", "liquidations_config", "perpetuals_params")
    chain = Chain.from_node(**given, height=5)
    assert [(one.status, one.clob_pair_id) for one in chain] == [("ACTIVE", 0), ("ACTIVE", 35)]
    assert chain.parameters == ProtocolParameters()


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x01\x05", b"\x04\x01", b"\xff", b"2", "Ag==", "", 1.5, True, []]
)
def test_a_malformed_integer_in_bytes_is_refused(data: Any) -> None:
    given = messages(genesis())
    given["perpetuals"][1].open_interest = data
    with pytest.raises(InputError) as refused:
        Chain.from_node(**given, height=5)
    assert refused.value.argument == "perpetuals[1].open_interest"
    assert refused.value.value is data


@given(st.integers())
@example(0)
@example(-255)
@example(256)
@example(2**64)
def test_an_integer_in_bytes_is_read_whatever_its_size(integer: int) -> None:
    for data in (serialized(integer), bytearray(serialized(integer)), memoryview(serialized(integer))):
        assert Field("x", data).serialized_integer().value == integer
    assert Field("x", b"").serialized_integer().value == 0
    assert Field("x", b"\x03").serialized_integer().value == 0


@pytest.mark.parametrize(
    ("name", "value", "argument"),
    [
        ("perpetuals", None, "perpetuals"),
        ("perpetuals", SimpleNamespace(perpetual=[]), "perpetuals"),
        ("perpetuals", [None], "perpetuals[0]"),
        ("perpetuals", [SimpleNamespace()], "perpetuals[0].params"),
        ("liquidity_tiers", [1], "liquidity_tiers[0]"),
        ("liquidity_tiers", {}, "liquidity_tiers"),
        ("market_prices", b"", "market_prices"),
        ("market_prices", [], "perpetuals[0].params.market_id"),
        ("clob_pairs", None, "clob_pairs"),
        ("clob_pairs", [SimpleNamespace(id=1)], "clob_pairs[0].perpetual_clob_metadata"),
        ("liquidations_config", 5, "liquidations_config"),
        ("perpetuals_params", "x", "perpetuals_params"),
        ("height", -1, "height"),
        ("height", "5", "height"),
        ("height", True, "height"),
    ],
)
def test_a_wrong_argument_for_messages_is_refused_by_name(name: str, value: Any, argument: str) -> None:
    with pytest.raises(InputError) as refused:
        Chain.from_node(**{**messages(genesis()), name: value})
    assert refused.value.argument == argument


def test_two_clob_pairs_of_one_perpetual_are_refused() -> None:
    given = messages(genesis())
    given["clob_pairs"] = [given["clob_pairs"][0]] * 2
    with pytest.raises(InputError) as refused:
        Chain.from_node(**given)
    assert refused.value.argument == "clob_pairs[1].perpetual_clob_metadata.perpetual_id"


# --- junk in every place ---

JUNK: list[Any] = [
    None,
    True,
    1.5,
    float("nan"),
    -1,
    10**400,
    "",
    "NaN",
    "9" * 5_000,
    "\ud800",
    b"\x05",
    [],
    [None],
    {},
    {"id": 1},
    object(),
    Decimal("sNaN"),
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through every place in nested mappings and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*place, key)
        yield from places(part, (*place, key))


def put(document: Any, place: tuple[Any, ...], value: Any) -> None:
    *way, last = place
    for key in way:
        document = document[key]
    document[last] = value


def from_messages(document: dict[str, Any]) -> Chain:
    """Read a document that was spoilt after it had become plain objects' worth of values."""

    def objects(value: Any) -> Any:
        if isinstance(value, dict):
            return (
                SimpleNamespace(**value)
                if not value
                else SimpleNamespace(**{str(key): objects(part) for key, part in value.items()})
            )
        return [objects(part) for part in value] if isinstance(value, list) else value

    return Chain.from_node(**{name: objects(part) for name, part in queries(document["app_state"]).items()})


def test_junk_anywhere_is_read_or_refused_and_nothing_else() -> None:
    """Each value in turn is replaced by each kind of junk: a chain, or an InputError with a path."""
    refusals = []
    for place in places(genesis()):
        for junk in JUNK:
            spoilt = genesis()
            put(spoilt, place, junk)
            try:
                Chain.from_genesis(spoilt)
            except InputError as refused:
                refusals.append(refused)
    assert len(refusals) > 300
    assert all(refused.argument and len(str(refused)) < 600 for refused in refusals)


def test_junk_in_any_attribute_of_a_message_is_read_or_refused_and_nothing_else() -> None:
    document = genesis()
    refusals = []
    for place in places(document["app_state"]):
        if len(place) < 3 or place[0] == "feetiers":
            continue
        for junk in JUNK:
            spoilt = genesis()
            put(spoilt, ("app_state", *place), junk)
            try:
                from_messages(spoilt)
            except InputError as refused:
                refusals.append(refused)
    assert len(refusals) > 300
    assert {refused.argument.split("[")[0].split(".")[0] for refused in refusals} <= set(messages(document))


# --- v4-proto's messages, where that package is (extra grpc) ---

try:
    from google.protobuf.json_format import ParseDict
    from v4_proto.dydxprotocol.clob import query_pb2 as clob_queries
    from v4_proto.dydxprotocol.perpetuals import query_pb2 as perpetuals_queries
    from v4_proto.dydxprotocol.prices import query_pb2 as prices_queries
except ModuleNotFoundError:
    HAS_V4_PROTO = False
else:
    HAS_V4_PROTO = True

if HAS_V4_PROTO:

    def in_bytes(value: Any, name: str = "") -> Any:
        """Return proto3's own JSON, which has bytes as base64."""
        if isinstance(value, dict):
            return {key: in_bytes(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [in_bytes(part) for part in value]
        if name in ("funding_index", "open_interest"):
            return base64.b64encode(serialized(int(value))).decode()
        return value

    def v4_proto_messages() -> dict[str, Any]:
        given = in_bytes(queries(genesis()["app_state"]))
        perpetuals, prices, clob = perpetuals_queries, prices_queries, clob_queries
        return {
            "perpetuals": ParseDict(
                {"perpetual": given["perpetuals"]}, perpetuals.QueryAllPerpetualsResponse()
            ).perpetual,
            "liquidity_tiers": ParseDict(
                {"liquidity_tiers": given["liquidity_tiers"]}, perpetuals.QueryAllLiquidityTiersResponse()
            ).liquidity_tiers,
            "market_prices": ParseDict(
                {"market_prices": given["market_prices"]}, prices.QueryAllMarketPricesResponse()
            ).market_prices,
            "clob_pairs": ParseDict(
                {"clob_pair": given["clob_pairs"]}, clob.QueryClobPairAllResponse()
            ).clob_pair,
            "liquidations_config": ParseDict(
                {"liquidations_config": given["liquidations_config"]},
                clob.QueryLiquidationsConfigurationResponse(),
            ).liquidations_config,
            "perpetuals_params": ParseDict(
                {"params": given["perpetuals_params"]}, perpetuals.QueryParamsResponse()
            ).params,
        }

    def test_v4_proto_messages_give_the_same_chain() -> None:
        chain = Chain.from_node(**v4_proto_messages(), height=5)
        assert_small_state(chain, height=5, basis="chain")

    def test_parts_that_a_v4_proto_message_makes_up_are_not_taken_for_sent() -> None:
        """Protobuf gives an empty part for one that is not there; it must not pass for perpetual 0."""
        for name, argument in (
            ("clob_pairs", "clob_pairs[0].perpetual_clob_metadata"),
            ("perpetuals", "perpetuals[0].params"),
        ):
            given = v4_proto_messages()
            given[name][0].ClearField(argument.rsplit(".", 1)[1])
            with pytest.raises(InputError) as refused:
                Chain.from_node(**given, height=5)
            assert refused.value.argument == argument

    def test_a_malformed_v4_proto_message_is_refused_by_its_path() -> None:
        given = v4_proto_messages()
        given["perpetuals"][1].funding_index = b"\x07\x01"
        with pytest.raises(InputError) as refused:
            Chain.from_node(**given, height=5)
        assert refused.value.argument == "perpetuals[1].funding_index"
