"""The shipped data files say what their sources say, and the indexer's own figures follow from them.

Only Decimal and int are used here, nothing of the library: these are checks of the data alone.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from decimal import Context, Decimal, Inexact, localcontext
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
TOOLS = TESTS / "tools"


Record = dict[str, Any]


def data_folder() -> Path:
    """Find the data of the dydx_perf in use without importing it: these checks need no compiled module."""
    spec = importlib.util.find_spec("dydx_perf")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data"


DATA = data_folder()
V9 = json.loads((DATA / "v9.json").read_text(encoding="ascii"))
RECORDED = json.loads((DATA / "recorded_accounts.json").read_text(encoding="ascii"))

MARKETS_BY_SET: dict[str, dict[str, Record]] = {
    market_set["name"]: {
        record["ticker"]: record
        for record in (dict(zip(market_set["columns"], row, strict=True)) for row in market_set["rows"])
    }
    for market_set in RECORDED["market_sets"]
}
ALL_RECORDED_MARKETS = [market for markets in MARKETS_BY_SET.values() for market in markets.values()]
SUBACCOUNTS = [(account, one) for account in RECORDED["accounts"] for one in account["subaccounts"]]
POSITIONS = [(account, position) for account, one in SUBACCOUNTS for position in one["positions"]]

with_subaccounts = pytest.mark.parametrize(
    ("account", "subaccount"),
    SUBACCOUNTS,
    ids=[
        f"{account['address'][:10]}-{account['date']}-{subaccount['subaccount_number']}"
        for account, subaccount in SUBACCOUNTS
    ],
)

# No digit may be lost: an inexact product or sum raises instead of rounding.
EXACT = Context(prec=200, traps=[Inexact])


def shared_folder() -> Path | None:
    """Find the folder with the original samples and vectors, beside the repository or where told."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = Path(told) if told else TESTS.parent.parent / "shared"
    return folder if (folder / "samples").is_dir() and (folder / "vectors").is_dir() else None


def shipped_vectors() -> list[Path]:
    return sorted((DATA / "vectors").glob("*.jsonl.gz"))


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().splitlines()


# --- recorded accounts ---


@with_subaccounts
def test_equity_and_free_collateral_are_the_indexers_digit_for_digit(
    account: Record, subaccount: Record
) -> None:
    """USDC + sum(value) is the equity; less sum(|value| * initial margin fraction), the free collateral."""
    markets = MARKETS_BY_SET[account["market_set"]]
    with localcontext(EXACT):
        equity = Decimal(subaccount["usdc"])
        margin = Decimal(0)
        for position in subaccount["positions"]:
            value = Decimal(position["size"]) * Decimal(position["oracle_price"])
            equity += value
            margin += abs(value) * Decimal(markets[position["ticker"]]["initial_margin_fraction"])
        assert equity == Decimal(subaccount["equity"])
        assert equity - margin == Decimal(subaccount["free_collateral"])


@with_subaccounts
def test_integers_give_the_same_equity_as_the_texts(account: Record, subaccount: Record) -> None:
    """Base quantums and oracle price integers, scaled by their exponents, give the reported equity."""
    markets = MARKETS_BY_SET[account["market_set"]]
    with localcontext(EXACT):
        equity = Decimal(subaccount["usdc_quote_quantums"]).scaleb(-6)
        for position in subaccount["positions"]:
            market = markets[position["ticker"]]
            product = int(position["base_quantums"]) * int(position["oracle_price_integer"])
            equity += Decimal(product).scaleb(market["atomic_resolution"] + market["price_exponent"])
        assert equity == Decimal(subaccount["equity"])


def test_parents_are_the_sums_of_their_children() -> None:
    """A parent's equity and free collateral are the plain sums over its subaccounts."""
    parents = [account for account in RECORDED["accounts"] if "parent_equity" in account]
    assert len(parents) >= 2
    for account in parents:
        children = account["subaccounts"]
        assert sum(Decimal(child["equity"]) for child in children) == Decimal(account["parent_equity"])
        free_collateral = sum(Decimal(child["free_collateral"]) for child in children)
        assert free_collateral == Decimal(account["parent_free_collateral"])


def test_unrealized_pnl_is_size_times_oracle_price_less_entry_price() -> None:
    """Every position's unrealizedPnl comes out digit for digit from its size and prices."""
    with localcontext(EXACT):
        for _, position in POSITIONS:
            gain = Decimal(position["oracle_price"]) - Decimal(position["entry_price"])
            assert Decimal(position["size"]) * gain == Decimal(position["unrealized_pnl"]), position["ticker"]


def test_realized_pnl_is_what_was_closed_plus_funding() -> None:
    """It is side * (exit price - entry price) * sum closed + net funding, the indexer's rule at that time."""
    closed = 0
    with localcontext(EXACT):
        for _, position in POSITIONS:
            expected = Decimal(position["net_funding"])
            if position["exit_price"] is not None:
                closed += 1
                side = 1 if Decimal(position["size"]) > 0 else -1
                gain = Decimal(position["exit_price"]) - Decimal(position["entry_price"])
                expected += side * gain * Decimal(position["sum_close"])
            assert expected == Decimal(position["realized_pnl"]), position["ticker"]
    assert closed > 20


def test_recorded_prices_are_those_of_the_market_set() -> None:
    """Prices called recorded stand in the market set; those called derived are all from another moment."""
    sources = set()
    for account, position in POSITIONS:
        recorded = MARKETS_BY_SET[account["market_set"]][position["ticker"]]["oracle_price"]
        source = account["oracle_price_source"]
        sources.add(source)
        assert source in ("recorded", "derived from unrealizedPnl")
        assert (position["oracle_price"] == recorded) == (source == "recorded")
    assert len(sources) == 2


def test_sizes_are_whole_steps_and_carry_the_side() -> None:
    """Sizes are exact multiples of the step, and both sides and signs of USDC occur."""
    for account, position in POSITIONS:
        market = MARKETS_BY_SET[account["market_set"]][position["ticker"]]
        base_quantums = int(position["base_quantums"])
        with localcontext(EXACT):
            assert Decimal(base_quantums).scaleb(market["atomic_resolution"]) == Decimal(position["size"])
        assert base_quantums != 0
        assert base_quantums % int(market["step_base_quantums"]) == 0
    assert {int(position["base_quantums"]) > 0 for _, position in POSITIONS} == {True, False}
    assert {int(one["usdc_quote_quantums"]) < 0 for _, one in SUBACCOUNTS} == {True, False}


def test_prices_have_no_more_decimals_than_their_exponent() -> None:
    """Every oracle price, of sets and of positions, is its integer times 10^price_exponent exactly."""
    rows = [(market["price_exponent"], market) for market in ALL_RECORDED_MARKETS]
    for account, position in POSITIONS:
        rows.append((MARKETS_BY_SET[account["market_set"]][position["ticker"]]["price_exponent"], position))
    with localcontext(EXACT):
        for exponent, row in rows:
            assert 0 < int(row["oracle_price_integer"]) < 2**64
            price = Decimal(row["oracle_price_integer"]).scaleb(exponent)
            assert price == Decimal(row["oracle_price"]), row["ticker"]


def test_recorded_margins_are_whole_ppm() -> None:
    """Margin fractions agree with their ppm, and open interest with its base quantums, in every market."""
    with localcontext(EXACT):
        for market in ALL_RECORDED_MARKETS:
            initial = Decimal(market["initial_margin_ppm"])
            assert Decimal(market["initial_margin_fraction"]) == initial.scaleb(-6)
            maintenance = (initial * market["maintenance_fraction_ppm"]).scaleb(-12)
            assert Decimal(market["maintenance_margin_fraction"]) == maintenance
            quantums = Decimal(market["open_interest_base_quantums"])
            assert quantums.scaleb(market["atomic_resolution"]) == Decimal(market["open_interest"])
            assert market["market_type"] in ("cross", "isolated", None)
            assert (market["open_interest_lower_cap"] is None) == (market["open_interest_upper_cap"] is None)


def test_accounts_name_only_known_markets_and_their_origin() -> None:
    """No position is in an unknown market; every account and set says where and when it is from."""
    names = {market_set["name"] for market_set in RECORDED["market_sets"]}
    for account in RECORDED["accounts"]:
        assert account["market_set"] in names
        held = {position["ticker"] for one in account["subaccounts"] for position in one["positions"]}
        assert held <= MARKETS_BY_SET[account["market_set"]].keys()
    for origin in (*RECORDED["accounts"], *RECORDED["market_sets"]):
        assert origin["network"] in ("dydx-mainnet-1", "test network")
        assert all(origin[key] for key in ("network_basis", "date", "recorded"))
        assert origin["height"] is not None or "height_note" in origin or "rows" in origin
    mainnet = [account for account in RECORDED["accounts"] if account["network"] == "dydx-mainnet-1"]
    assert len(mainnet) == 3
    assert max(len(one["positions"]) for account in mainnet for one in account["subaccounts"]) == 42


# --- sample parameters ---


def test_sample_says_that_it_is_a_sample() -> None:
    """The file calls itself a sample and names source, version and format."""
    assert V9["sample"]["kind"].startswith("sample")
    assert V9["sample"]["name"] == "v9"
    assert V9["sample"]["source"]
    assert V9["format"]["name"] == "dydx_perf chain parameters"
    assert V9["format"]["version"] == 1


def test_sample_markets_are_distinct_and_their_tiers_resolve() -> None:
    """Tickers and ids occur once, every liquidity tier exists, and both market types are there."""
    markets = V9["markets"]
    tiers = {tier["id"] for tier in V9["liquidity_tiers"]}
    assert len(markets) == 35
    assert len(tiers) == len(V9["liquidity_tiers"]) == 7
    for key in ("ticker", "perpetual_id", "clob_pair_id", "price_market_id"):
        assert len({market[key] for market in markets}) == len(markets)
    assert {market["liquidity_tier"] for market in markets} <= tiers
    isolated = [market["ticker"] for market in markets if market["market_type"] == "isolated"]
    assert isolated == ["EIGEN-USD", "BOME-USD"]
    assert {market["market_type"] for market in markets} == {"cross", "isolated"}


def test_sample_integers_fit_their_chain_types() -> None:
    """64-bit figures are decimal texts in range, 32-bit figures JSON numbers in range."""
    for market in V9["markets"]:
        for key in ("oracle_price_integer", "step_base_quantums"):
            assert market[key] == str(int(market[key]))
            assert 0 < int(market[key]) < 2**64
        for key in ("perpetual_id", "clob_pair_id", "price_market_id"):
            assert market[key] in range(2**32)
        for key in ("subticks_per_tick", "min_price_change_ppm"):
            assert market[key] in range(1, 2**32)
        for key in ("atomic_resolution", "price_exponent", "quantum_conversion_exponent"):
            assert market[key] in range(-32, 33)
        assert type(market["default_funding_ppm"]) is int
    for tier in V9["liquidity_tiers"]:
        assert 0 < tier["initial_margin_ppm"] <= 1_000_000
        assert 0 < tier["maintenance_fraction_ppm"] <= 1_000_000
        lower, upper = int(tier["open_interest_lower_cap"]), int(tier["open_interest_upper_cap"])
        assert (lower, upper) == (0, 0) or 0 < lower < upper
        assert int(tier["impact_notional"]) > 0


def test_sample_protocol_parameters_are_the_documented_ones() -> None:
    """The protocol-wide figures are those of the market reference."""
    assert V9["perpetuals_params"] == {
        "funding_rate_clamp_factor_ppm": 6_000_000,
        "min_num_votes_per_sample": 15,
        "premium_vote_clamp_factor_ppm": 60_000_000,
    }
    assert V9["liquidations_config"] == {
        "max_liquidation_fee_ppm": 15_000,
        "min_position_notional_liquidated": "1000000000",
        "max_position_portion_liquidated_ppm": 100_000,
        "max_notional_liquidated": "100000000000",
        "max_quantums_insurance_lost": "1000000000000",
        "bankruptcy_adjustment_ppm": 1_000_000,
        "spread_to_maintenance_margin_ratio_ppm": 1_500_000,
    }
    durations = {epoch["name"]: epoch["duration"] for epoch in V9["epochs"]}
    assert durations == {"funding-sample": 60, "funding-tick": 3600, "stats-epoch": 3600}
    assert [tier["taker_fee_ppm"] for tier in V9["fee_tiers"]] == [500, 450, 400, 350, 300, *[250] * 4]
    assert {tier["maker_fee_ppm"] for tier in V9["fee_tiers"]} == {-110}
    assert [tier["limit"] for tier in V9["short_term_order_equity_tiers"]] == [0, 1, 5, 10, 100, 1000]
    assert [tier["limit"] for tier in V9["stateful_order_equity_tiers"]] == [0, 1, 5, 10, 100, 200]
    short_term = V9["block_rate_limits"]["max_short_term_orders_and_cancels_per_n_blocks"]
    assert short_term == [{"limit": 400, "num_blocks": 1}]


def test_data_files_are_small_and_hold_no_floats() -> None:
    """Each JSON file is under 60 KB, ASCII, and has no number with a fraction."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} would be read as a float")

    for name in ("v9.json", "recorded_accounts.json"):
        content = (DATA / name).read_bytes()
        assert len(content) < 60_000
        json.loads(content.decode("ascii"), parse_float=refuse)


# --- vectors ---


def test_shipped_vectors_cover_every_function() -> None:
    """Ten files and 48 functions, with rows that must fail in every file, at the size meant for a wheel."""
    files = shipped_vectors()
    assert len(files) == 10
    assert "repo_tests.jsonl.gz" not in {file.name for file in files}
    assert 250_000 < sum(file.stat().st_size for file in files) < 450_000
    functions = set()
    for file in files:
        lines = lines_of(file)
        assert len(set(lines)) == len(lines)
        functions |= {json.loads(line)["fn"] for line in lines}
        assert any('"err":' in line for line in lines), file.name
    assert len(functions) == 48


def test_shipped_vectors_carry_no_time_in_their_header() -> None:
    """The gzip headers hold neither a time nor a file name, so equal rows give equal files."""
    for file in shipped_vectors():
        header = file.read_bytes()[:8]
        assert header[:3] == b"\x1f\x8b\x08"
        assert header[3] == 0
        assert header[4:8] == bytes(4)


# --- against the originals, where they are ---

SHARED = shared_folder()

if SHARED is not None:
    SAMPLES, VECTORS = SHARED / "samples", SHARED / "vectors"

    def run_tool(name: str, source: Path, out: Path) -> None:
        subprocess.run([sys.executable, str(TOOLS / name), str(source), str(out)], check=True)

    def errors_and_results(value: Any) -> set[str]:
        """Give every error object and every ``result`` inside an answer."""
        found: set[str] = set()
        if isinstance(value, dict):
            if "err" in value:
                found.add(json.dumps([value.get(key) for key in ("err", "err_kind", "err_code")]))
            for key, child in value.items():
                if key == "result" and isinstance(child, str) and not child.lstrip("-").isdigit():
                    found.add(f"result {child}")
                found |= errors_and_results(child)
        elif isinstance(value, list):
            for child in value:
                found |= errors_and_results(child)
        return found

    def kinds_of_rows(lines: list[str]) -> set[tuple[str, str]]:
        kinds: set[tuple[str, str]] = set()
        for line in lines:
            row = json.loads(line)
            kinds.add((row["fn"], f"tag {row.get('tag', '')}"))
            kinds |= {(row["fn"], found) for found in errors_and_results(row["out"])}
        return kinds

    def test_data_files_are_what_the_tool_makes_of_the_samples(tmp_path: Path) -> None:
        """Running make_data.py on the samples gives the shipped files, byte for byte."""
        run_tool("make_data.py", SAMPLES, tmp_path)
        for name in ("v9.json", "recorded_accounts.json"):
            assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), name

    def test_vectors_are_what_the_tool_selects(tmp_path: Path) -> None:
        """Running select_vectors.py gives the shipped rows; compression itself may differ between zlibs."""
        run_tool("select_vectors.py", VECTORS, tmp_path)
        selected = sorted(path.name for path in tmp_path.iterdir())
        assert selected == [path.name for path in shipped_vectors()]
        for path in shipped_vectors():
            assert lines_of(tmp_path / path.name) == lines_of(path), path.name

    @pytest.mark.parametrize("path", shipped_vectors(), ids=lambda path: path.name)
    def test_vectors_are_rows_of_their_source_and_keep_every_kind(path: Path) -> None:
        """Each shipped row is a row of the source file; no function, tag, error or result is lost."""
        shipped, source = lines_of(path), lines_of(VECTORS / path.name)
        assert set(shipped) <= set(source)
        assert kinds_of_rows(shipped) == kinds_of_rows(source)
