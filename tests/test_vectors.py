"""The chain's own vectors: every row identical, by plain integers and by kernels; every damage noticed."""

import copy
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dydx_perf.kernel import COMPILED
from dydx_perf.verify import (
    KERNEL_FUNCTIONS,
    Engines,
    main,
    shipped_vectors,
    vector_files,
    verify_file,
    verify_row,
)
from dydx_perf.verify.answers import ANSWERS

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DYDX_PERF_SHARED", ROOT.parent / "shared")) / "vectors"

SHIPPED_FILES = vector_files(shipped_vectors())
SHARED_FILES = vector_files(SHARED) if SHARED.is_dir() else []

# Percent of the shipped rows of each function that the kernels answer, as measured. The rest are amounts past
# the C types (the vectors go to hundreds of bits) and rows that the chain refuses: no kernel answers those.
ANSWERED_PERCENT = {
    "base_to_quote_quantums": 80,
    "quote_to_base_quantums": 77,
    "big_mul_ppm": 90,
    "big_int_mul_ppm": 87,
    "int64_mul_ppm": 97,
    "big_div_ceil": 79,
    "big_div_floor": 79,
    "big_int_mul_pow10": 71,
    "big_rat_round": 83,
    "big_int_round_to_multiple": 43,
    "fill_amount_to_quote_quantums": 100,
    "median_int32": 99,
    "avg_int32": 100,
    "convert_asset_to_coin": 79,
    "position_risk": 60,
    "subaccount_risk": 33,
    "risk_cmp": 64,
    "settle_position": 61,
    "settle_subaccount": 42,
    "is_valid_state_transition": 60,
    "can_update_subaccounts": 57,
    "update_subaccounts": 44,
    "max_withdrawable": 69,
    "add_order_to_orderbook_collateral_check": 80,
    "update_leverage": 56,
    "max_abs_funding_clamp_ppm": 98,
    "get_funding_index_delta": 99,
    "process_premium_votes_into_samples": 95,
    "funding_tick": 87,
    "validate_premium_vote": 79,
    "funding_hour": 100,
    "get_bankruptcy_price_in_quote_quantums": 48,
    "get_fillable_price": 51,
    "convert_fillable_price_to_subticks": 96,
    "liquidation_order": 50,
    "get_liquidation_insurance_fund_delta": 47,
    "deleveraging_quote_quantums_delta": 55,
}
# Of the rows with every amount below this, and which the chain does not refuse, kernels answer four in five
# (others end before any margin rule).
MODERATE = 2**60
ANSWERED_OF_MODERATE = 0.8

Row = dict[str, Any]


def rows_of(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def first_rows() -> list[Row]:
    """The first answered row of each function with a rich input, and the first that the chain refuses."""
    answered: dict[str, Row] = {}
    refused: dict[str, Row] = {}
    for path in SHIPPED_FILES:
        for row in rows_of(path):
            chosen = refused if "err" in row["out"] else answered
            chosen.setdefault(row["fn"], row)
    return [*answered.values(), *refused.values()]


ROWS = first_rows()
ANSWERED = [row for row in ROWS if "err" not in row["out"]]
REFUSED = [row for row in ROWS if "err" in row["out"]]


def named(rows: list[Row]) -> list[Any]:
    return [pytest.param(row, id=row["fn"]) for row in rows]


def identical(row: Row) -> bool:
    return verify_row(json.dumps(row)) is None


# --- the proof


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=f"{path.parent.name}-{path.name}") for path in SHIPPED_FILES]
    + [pytest.param(path, id=f"shared-{path.name}") for path in SHARED_FILES],
)
def test_every_row_is_identical(path):
    """The chain's integers, failures included; the kernels agree wherever they answer."""
    report = verify_file(path)
    assert report.reasons == []
    assert report.identical == report.rows > 0


def test_every_function_of_the_vectors_is_shipped():
    """49 functions; one appears in the protocol's own tables only, which are not shipped."""
    shipped = {row["fn"] for row in ROWS}
    assert len(ANSWERS) == 49
    assert set(ANSWERS) - shipped == {"get_net_collateral_and_margin_requirements"}
    assert shipped <= set(ANSWERS)
    assert set(ANSWERED_PERCENT) | {"get_net_collateral_and_margin_requirements"} == (
        KERNEL_FUNCTIONS if COMPILED else set(ANSWERED_PERCENT) | set(ANSWERS) - shipped
    )


def is_moderate(value: object) -> bool:
    """Whether every amount inside lies below the bound."""
    if isinstance(value, dict):
        return all(map(is_moderate, value.values()))
    if isinstance(value, list):
        return all(map(is_moderate, value))
    if isinstance(value, str) and value.removeprefix("-").isdigit():
        return abs(int(value)) < MODERATE
    return True


def test_kernels_answer_their_share_of_the_rows():
    """Declining is no way to be right: what kernels answer is measured, and real amounts are theirs."""
    engines = Engines()
    moderate, answered = dict.fromkeys(ANSWERED_PERCENT, 0), dict.fromkeys(ANSWERED_PERCENT, 0)
    for path in SHIPPED_FILES:
        for row in rows_of(path):
            one = Engines()
            assert verify_row(json.dumps(row), one) is None
            engines.exact += one.exact
            engines.kernel += one.kernel
            if row["fn"] in moderate and is_moderate(row) and "err" not in row["out"]:
                moderate[row["fn"]] += 1
                answered[row["fn"]] += one.kernel[row["fn"]]
    if not COMPILED:
        assert not engines.kernel.total()
        return
    for function, percent in ANSWERED_PERCENT.items():
        assert engines.kernel[function] * 100 >= engines.exact[function] * percent, function
        assert answered[function] >= moderate[function] * ANSWERED_OF_MODERATE, function


# --- damaged rows


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each member of objects and lists stands, at any depth."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, member in members:
        yield (*path, name)
        yield from places(member, (*path, name))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def changed(row: Row, path: tuple[Any, ...], new: Any) -> Row:
    """A copy of the row with another value in one place."""
    other = copy.deepcopy(row)
    at(other, path[:-1])[path[-1]] = new
    return other


def without(row: Row, path: tuple[Any, ...]) -> Row:
    """A copy of the row that lacks one member."""
    other = copy.deepcopy(row)
    del at(other, path[:-1])[path[-1]]
    return other


def renamed(row: Row, path: tuple[Any, ...]) -> Row:
    """A copy of the row with one member under another name."""
    other = copy.deepcopy(row)
    holder = at(other, path[:-1])
    holder["not_" + path[-1]] = holder.pop(path[-1])
    return other


def is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.removeprefix("-").isdigit()
    return isinstance(value, int) and not isinstance(value, bool)


def flipped(value: Any) -> Any:
    """The number with its last digit changed."""
    digit = (int(str(value)[-1]) + 1) % 10
    text = f"{str(value)[:-1]}{digit}"
    return text if isinstance(value, str) else int(text)


# Left out of `in`, these mean what no leverage, no order book, no default and no change mean.
OPTIONAL = {"leverage", "clob_pair", "default_funding_ppm", "quote_balance_delta"}


@pytest.mark.parametrize("row", named(ANSWERED))
def test_a_changed_digit_of_the_answer_is_noticed(row):
    """Each number of the answer, one by one."""
    assert identical(row)
    for path in places(row["out"]):
        value = at(row["out"], path)
        if is_number(value):
            assert not identical(changed(row, ("out", *path), flipped(value))), path
        elif isinstance(value, bool):
            assert not identical(changed(row, ("out", *path), not value)), path


# One input on which the whole answer hangs; any digit of it matters.
DECIDING = {
    "big_div_floor": ("a", {"a": "706", "b": "7"}, {"result": "100"}),
    "big_int_mul_ppm": ("val", {"val": "3000000", "ppm": 1_000_000}, {"result": "3000000"}),
    "big_int32_clamp": ("n", {"n": "5", "lower_bound": 0, "upper_bound": 9}, {"result": 5}),
    "avg_int32": ("nums", {"nums": [7]}, {"result": 7}),
    "settle_position": (
        "quantums",
        {"quantums": "-3", "position_funding_index": "0", "perpetual_funding_index": "1000000"},
        {
            "net_settlement_ppm": "3000000",
            "new_funding_index": "1000000",
            "usdc_delta": "3",
            "funding_payment": "-3",
        },
    ),
}


@pytest.mark.parametrize("function", DECIDING)
def test_a_changed_digit_of_the_input_is_noticed(function):
    """The answer is computed from the input alone, so it no longer fits."""
    name, given, out = DECIDING[function]
    row = {"fn": function, "in": given, "out": out}
    assert identical(row)
    value = [flipped(given[name][0])] if isinstance(given[name], list) else flipped(given[name])
    assert not identical(changed(row, ("in", name), value))


@pytest.mark.parametrize("row", named(ANSWERED))
def test_no_changed_input_breaks_the_verdict(row):
    """Each number of the input, one by one: identical or not, never an exception."""
    for path in places(row["in"]):
        value = at(row["in"], path)
        if is_number(value):
            verify_row(json.dumps(changed(row, ("in", *path), flipped(value))))


@pytest.mark.parametrize("row", named(ROWS))
def test_a_member_missing_added_or_renamed_is_noticed(row):
    """At any depth of input and answer, and of the row itself."""
    for part in ("in", "out"):
        for path in places(row[part]):
            if isinstance(path[-1], int):
                continue
            if part == "out" or path[-1] not in OPTIONAL:
                assert not identical(without(row, (part, *path))), path
            assert not identical(renamed(row, (part, *path))), path
        objects = [path for path in places(row[part]) if isinstance(at(row[part], path), dict)]
        for path in [(), *objects]:
            assert not identical(changed(row, (part, *path, "surplus"), None)), path
    for name in ("fn", "in", "out"):
        assert not identical(without(row, (name,)))
        assert not identical(renamed(row, (name,)))
    assert not identical({**row, "surplus": 1})


@pytest.mark.parametrize("row", named(ROWS))
def test_a_wrong_json_type_is_noticed(row):
    """A text for a number, a number for a text, 1.0 for 1, 1 for true; null, a list or an object."""
    for part in ("in", "out"):
        for path in places(row[part]):
            value = at(row[part], path)
            others: list[Any] = [[value], {"value": value}]
            if value is not None:
                others.append(None)
            if isinstance(value, bool):
                others += [int(value), str(value).lower()]
            elif isinstance(value, str):
                others += [int(value)] if is_number(value) else [1]
            elif isinstance(value, int):
                others += [str(value), float(value), True]
            for other in others:
                if (part, path[-1], other) == ("in", "builder_fee_ppm", None):
                    continue  # null is a value there: no builder
                if part == "in" and path[-1] == "negative_tnc_seen_block" and other is None:
                    continue  # and there: none seen
                assert not identical(changed(row, (part, *path), other)), (path, other)


@pytest.mark.parametrize("row", named(REFUSED))
def test_another_failure_is_noticed(row):
    """Error for panic, panic for error, another name, another code or none."""
    out = row["out"]
    kind = "panic" if out["err_kind"] == "error" else "error"
    assert identical(row)
    assert not identical({**row, "out": {**out, "err_kind": kind}})
    assert not identical({**row, "out": {**out, "err": out["err"] + "x"}})
    assert not identical({**row, "out": {**out, "err_code": "clob/1"}})
    assert not identical({**row, "out": {}})


ROW = {"fn": "big_div_floor", "in": {"a": "7", "b": "2"}, "out": {"result": "3"}}
TEXT = json.dumps(ROW)

DAMAGED_LINES = {
    "blank": "",
    "spaces": "   ",
    "not JSON": "{",
    "no object": "[]",
    "text": '"row"',
    "two rows in a line": TEXT + TEXT,
    "trailing garbage": TEXT + " x",
    "duplicate fn": TEXT.replace('"fn"', '"fn": "big_div_floor", "fn"'),
    "duplicate member of the input": TEXT.replace('"a"', '"a": "7", "a"'),
    "duplicate member of the answer": TEXT.replace('"result"', '"result": "3", "result"'),
    "NaN": TEXT.replace('"7"', "NaN"),
    "NaN in the answer": TEXT.replace('"3"', "NaN"),
    "infinity": TEXT.replace('"7"', "-Infinity"),
    "unknown function": TEXT.replace("big_div_floor", "big_div_round"),
    "function of Python": TEXT.replace("big_div_floor", "__class__"),
    "no function name": TEXT.replace('"big_div_floor"', "[1]"),
    "tag that is no text": TEXT.replace('"in"', '"tag": 5, "in"'),
    "leading zero": TEXT.replace('"7"', '"07"'),
    "plus sign": TEXT.replace('"7"', '"+7"'),
    "underscore": TEXT.replace('"7"', '"0_7"'),
    "space": TEXT.replace('"7"', '" 7"'),
    "other digits": TEXT.replace('"7"', '"٧"'),
    "minus zero": TEXT.replace('"7"', '"-0"'),
    "exponent": TEXT.replace('"7"', '"7e0"'),
    "hexadecimal": TEXT.replace('"7"', '"0x7"'),
    "a number of a million digits": TEXT.replace('"7"', f'"{"7" * 10**6}"'),
    "a JSON number of a million digits": TEXT.replace('"7"', "7" * 10**6),
    "a deep nest": "[" * 10**5,
    "an exponent past all bounds": json.dumps(
        {"fn": "big_int_mul_pow10", "in": {"input": "1", "exponent": 10**9, "round_up": True}, "out": {}}
    ),
    "an exponent far below": json.dumps(
        {"fn": "big_int_mul_pow10", "in": {"input": "1", "exponent": -(10**9), "round_up": True}, "out": {}}
    ),
    "a count past all bounds": json.dumps(
        {
            "fn": "process_premium_votes_into_samples",
            "in": {
                "perpetual_ids": [1],
                "premium_votes": {"num_premiums": 2**31, "all_market_premiums": []},
                "premium_samples": {"num_premiums": 0, "all_market_premiums": []},
                "min_num_votes_per_sample": 15,
            },
            "out": {},
        }
    ),
}


@pytest.mark.parametrize("name", DAMAGED_LINES)
def test_a_damaged_line_is_noticed(name, tmp_path, capsys):
    """It counts as one row that is not identical; the rows around it stay what they are."""
    assert verify_row(DAMAGED_LINES[name]) is not None
    (tmp_path / "damaged.jsonl").write_text(f"{TEXT}\n{DAMAGED_LINES[name]}\n{TEXT}\n", "utf-8")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "damaged.jsonl: 2 of 3 identical\ntotal: 2 of 3 identical\n"


GOOD = gzip.compress(f"{TEXT}\n".encode() * 1000)

DAMAGED_FILES = {
    "empty.jsonl": b"",
    "empty.jsonl.gz": b"",
    "empty-stream.jsonl.gz": gzip.compress(b""),
    "truncated.jsonl.gz": GOOD[: len(GOOD) // 2],
    "short-of-its-sum.jsonl.gz": GOOD[:-4],
    "garbage-behind.jsonl.gz": GOOD + b"garbage",
    "no-gzip.jsonl.gz": TEXT.encode(),
    "flipped.jsonl.gz": GOOD[:-8] + bytes([GOOD[-8] ^ 1]) + GOOD[-7:],
    "latin-1.jsonl": TEXT.encode().replace(b"in", b"\xe9n"),
    "utf-16.jsonl": TEXT.encode("utf-16"),
    "zeros.jsonl": b"\0" * 1000,
    "blank-line-behind.jsonl": f"{TEXT}\n\n".encode(),
}


@pytest.mark.parametrize("name", DAMAGED_FILES)
def test_a_damaged_file_is_noticed(name, tmp_path, capsys):
    """Whatever can be read is counted, and the exit status is 1."""
    (tmp_path / name).write_bytes(DAMAGED_FILES[name])
    (tmp_path / "sound.jsonl").write_text(TEXT)
    assert main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "sound.jsonl: 1 of 1 identical" in lines


def test_rows_of_the_protocols_own_tables_may_leave_fields_out():
    """Only their tag allows it, and what stands there must be right."""
    row = next(row for row in ANSWERED if row["fn"] == "position_risk")
    less = {**row, "out": {"nc": row["out"]["nc"]}}
    assert not identical(less)
    assert identical({**less, "tag": "repo_test: case"})
    assert not identical({**less, "tag": "repo_test", "out": {"nc": flipped(row["out"]["nc"])}})
    assert not identical({**less, "tag": "repo_test", "out": {}})


# --- the command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small sound files and a note that is none."""
    (tmp_path / "b.jsonl").write_text(f"{TEXT}\n{TEXT}\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "README.md").write_text("no vectors here")
    return tmp_path


@pytest.mark.parametrize("command", [["dydx_perf", "verify"], ["dydx_perf.verify"]])
def test_both_commands_print_one_line_for_each_file_and_a_total(command, folder):
    """Exit status 0, nothing on stderr, files by name."""
    done = run("-m", *command, str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "a.jsonl.gz: 1 of 1 identical",
        "b.jsonl: 2 of 2 identical",
        "total: 3 of 3 identical",
    ]


def test_a_row_that_differs_is_told_and_fails_the_command(folder):
    """Exit status 1, the reason with file and line on stderr."""
    (folder / "b.jsonl").write_text(f"{TEXT}\n{TEXT.replace('3', '4')}\n")
    done = run("-m", "dydx_perf", "verify", str(folder))
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == ["b.jsonl: 1 of 2 identical", "total: 2 of 3 identical"]
    assert done.stderr.startswith("b.jsonl:2: result: '3' is not the chain's '4'")


def test_without_a_folder_the_shipped_vectors_are_verified(capsys):
    """All of them, each with its line."""
    assert main([]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [path.name for path in SHIPPED_FILES]
    rows = sum(1 for path in SHIPPED_FILES for _ in rows_of(path))
    assert total == f"total: {rows} of {rows} identical"


def test_several_folders_and_single_files(folder, capsys):
    """What is named is verified, in that order."""
    assert main([str(folder / "b.jsonl"), str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "total: 5 of 5 identical"


def test_a_folder_that_is_missing_or_has_no_vectors_is_refused(tmp_path):
    """Nothing to verify is no success: the error names the folder."""
    for wrong in (tmp_path / "missing", tmp_path):
        done = run("-m", "dydx_perf.verify", str(wrong))
        assert done.returncode == 2
        assert done.stdout == ""
        assert str(wrong)[:20] in done.stderr


def test_engines_say_who_answered(folder, capsys):
    """After the total, one line per function."""
    assert main(["--engines", str(folder)]) == 0
    kernel = "kernel 3" if COMPILED else "no kernel"
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "total: 3 of 3 identical",
        f"big_div_floor: exact 3, {kernel}",
    ]
