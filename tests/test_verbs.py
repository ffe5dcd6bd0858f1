"""The verbs explain and scan, as people call them: processes, files, exit statuses, JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dydx_perf import Chain, InputError, Position, Subaccount, offline
from dydx_perf.account_files import read_accounts
from dydx_perf.recorded import recorded_subaccounts

RECORDED = str(files("dydx_perf.data") / "recorded_accounts.json")
MARKETS = Path(__file__).parent / "data" / "small_market_list.json"

OWN = """\
chain = "v9"

[prices]
BTC-USD = 66000.5

[[accounts]]
address = "main"
usdc = "-25000"
leverage = { BTC-USD = 100_000 }
positions = { BTC-USD = 0.5, ETH-USD = { size = "-2", entry_price = "3100", funding_index = -5 } }

[[accounts]]
address = "broke"
number = 3
usdc = -33_000
[accounts.positions]
BTC-USD = "0.5"
SOL-USD = "0"

[[accounts]]
address = "cash"
usdc = "5"
"""


def run(*arguments: str | Path, module: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a verb in a process of its own."""
    command = [sys.executable, "-P", "-m", "dydx_perf"]
    if not module:
        command = [str(Path(sys.executable).parent / "dydx-perf")]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def refusal(*arguments: str | Path) -> str:
    """Run a verb that refuses its input: status 2, one line on stderr, nothing on stdout."""
    done = run(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN, "utf-8")
    return path


def own_accounts() -> list[Subaccount]:
    """The same accounts without a file."""
    chain = Chain.sample("v9")
    chain["BTC-USD"].set_oracle_price("66000.5")
    broke = Subaccount(chain, "broke", 3, usdc="-33000", positions={"BTC-USD": "0.5"})
    sizes = {"BTC-USD": "0.5"}
    main = Subaccount(chain, "main", usdc="-25000", positions=sizes, leverage={"BTC-USD": 100_000})
    main.set_position("ETH-USD", Position(chain["ETH-USD"], "-2", funding_index=-5))
    return [broke, main, Subaccount(chain, "cash", usdc="5")]


def market_list(**prices: str | None) -> dict[str, Any]:
    """A markets file of two markets."""
    rows: dict[str, dict[str, Any]] = {
        "BTC-USD": {"clobPairId": "0", "atomicResolution": -10, "oraclePrice": "67012.5"},
        "ETH-USD": {"clobPairId": "1", "atomicResolution": -9, "oraclePrice": "3103.01"},
    }
    for ticker, row in rows.items():
        row |= {
            "ticker": ticker, "status": "ACTIVE", "initialMarginFraction": "0.02", "subticksPerTick": 1,
            "maintenanceMarginFraction": "0.012", "openInterest": "0", "quantumConversionExponent": -9,
            "stepBaseQuantums": 1,
        }  # fmt: skip
        if ticker in prices:
            row["oraclePrice"] = prices[ticker]
    return {"markets": rows}


def indexer_subaccount(number: int = 0, usdc: str = "2104.65155", **change: Any) -> dict[str, Any]:
    """A subaccount as the indexer answers."""
    return {
        "address": "dydx1test",
        "subaccountNumber": number,
        "equity": "998.35845",
        "openPerpetualPositions": {
            "ETH-USD": {
                "market": "ETH-USD", "side": "LONG", "size": "1", "entryPrice": "3103.1", "exitPrice": None,
                "realizedPnl": "-1.55155", "netFunding": "0",
            }
        },
        "assetPositions": {"USDC": {"size": usdc, "symbol": "USDC", "side": "SHORT"}},
        **change,
    }  # fmt: skip


def saved(folder: Path, name: str, document: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(document), "utf-8")
    return path


# -- scan


def test_scan_lists_accounts_riskiest_first(own: Path) -> None:
    """Status 1 for there is a liquidatable one; the table has the library's own figures."""
    done = run("scan", own)
    assert (done.returncode, done.stderr) == (1, "")
    head, *lines, total = done.stdout.splitlines()
    assert head.split("  ")[0] == "account"
    assert [line.split("/")[0] for line in lines] == ["broke", "main", "cash"]
    assert total == "accounts: 3, liquidatable: 1"
    for line, account in zip(lines, own_accounts(), strict=True):
        cells = line.split()
        assert cells[0] == f"{account.address}/{account.number}"
        risk = account.risk
        assert cells[1:5] == [
            f"{Decimal(amount) / 10**6:,.2f}" for amount in (risk.nc, risk.imr, risk.mmr, risk.distance)
        ]
    assert "LIQUIDATABLE" in lines[0]
    price = own_accounts()[1].liquidation_price("BTC-USD")
    assert f"BTC-USD {price} (-12.07%)" in lines[1]
    assert lines[2].endswith("none")
    assert max(map(len, done.stdout.splitlines())) <= 130


def test_scan_as_json(own: Path) -> None:
    """What programs read: texts of exact amounts, and all accounts counted where only some are shown."""
    document = json.loads(run("scan", own, "--json").stdout)
    assert document["format"] == {"name": "dydx_perf scan", "version": 1}
    assert (document["total"], document["liquidatable"], document["notes"]) == (3, 1, [])
    for entry, account in zip(document["accounts"], own_accounts(), strict=True):
        risk = account.risk
        assert (entry["address"], entry["number"]) == (account.address, account.number)
        for name in (
            "net_collateral",
            "initial_margin_requirement",
            "maintenance_margin_requirement",
            "distance",
        ):
            assert Decimal(entry[name]) * 10**6 == getattr(risk, name)
        assert entry["is_liquidatable"] == risk.is_liquidatable
        assert (entry["basis"], entry["height"]) == (risk.basis, None)
        nearest = entry["nearest_liquidation"]
        if account.positions:
            price = account.liquidation_prices[nearest["market"]]
            assert (nearest["price"], nearest["price_integer"]) == (str(price), str(price.integer))  # type: ignore[union-attr]
            moved = Decimal(nearest["price"]) / Decimal(nearest["oracle_price"]) - 1
            assert abs(Decimal(float(Fraction(nearest["move"]))) - moved) < Decimal("1e-12")
        else:
            assert nearest is None
    assert [entry["verdict"] for entry in document["accounts"]] == ["LIQUIDATABLE", "safe", "safe"]
    done = run("scan", own, "--json", "--top", "2")
    top = json.loads(done.stdout)
    assert done.returncode == 1
    assert top["accounts"] == document["accounts"][:2]
    assert (top["total"], top["liquidatable"]) == (3, 1)
    assert "accounts: 3, liquidatable: 1, 2 not shown" in run("scan", own, "--top", "1").stdout


def test_scan_of_the_recorded_accounts() -> None:
    """All of them, none liquidatable: status 0."""
    done = run("scan", RECORDED, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    entries = json.loads(done.stdout)["accounts"]
    assert len(entries) == len(recorded_subaccounts())
    assert entries[0]["nearest_liquidation"]["market"] == "BTC-USD"


def test_verdicts_and_order() -> None:
    """In the chain's order; a debt without any margin comes first, though it is not liquidated."""
    chain = Chain.sample("v9")
    worth = chain["BTC-USD"].oracle_price.decimal / 2
    accounts = [Subaccount(chain, "debt", usdc="-1"), Subaccount(chain, "empty")]
    for name, share in (("safe", "0.9"), ("low", "0.985"), ("poor", "0.995"), ("gone", "1.1")):
        usdc = -(worth * Decimal(share)).quantize(Decimal("0.000001"))
        accounts.append(Subaccount(chain, name, usdc=usdc, positions={"BTC-USD": "0.5"}))
    rows = offline.ranked(accounts)
    assert [(row.account.address, row.verdict) for row in rows] == [
        ("debt", "under water"),
        ("gone", "LIQUIDATABLE"),
        ("poor", "LIQUIDATABLE"),
        ("low", "below initial margin"),
        ("safe", "safe"),
        ("empty", "safe"),
    ]
    for before, after in pairwise(rows):
        assert not after.risk.is_riskier_than(before.risk)


# -- explain


def test_explain_prints_what_the_library_says(own: Path) -> None:
    done = run("explain", own, "--subaccount", "main/0")
    assert (done.returncode, done.stderr) == (0, "")
    account = next(a for a in read_accounts(own).accounts if a.address == "main")
    assert done.stdout == f"{account.explain()}\n"
    everything = run("explain", own).stdout
    assert everything == "\n\n\n".join(str(a.explain()) for a in read_accounts(own).accounts) + "\n"


def test_explain_as_json(own: Path) -> None:
    document = json.loads(run("explain", own, "--json").stdout)
    assert document["explanations"] == [a.explain().to_dict() for a in read_accounts(own).accounts]
    assert document["notes"] == []
    one = json.loads(run("explain", own, "--json", "--subaccount", "broke/3").stdout)
    assert one["explanations"] == document["explanations"][1:2]


# -- answers of the indexer


@pytest.mark.parametrize(
    "wrap",
    [
        lambda body: body,
        lambda body: {"subaccount": body},
        lambda body: {"subaccounts": [body], "totalTradingRewards": "0"},
        lambda body: {"subaccount": {"parentSubaccountNumber": 0, "childSubaccounts": [body]}},
        lambda body: {"type": "subscribed", "contents": {"subaccount": body, "orders": []}},
    ],
    ids=["body", "subaccount", "address", "parent", "websocket"],
)
@pytest.mark.parametrize("markets", ["answer", "websocket"])
def test_every_shape_of_an_answer_is_read(tmp_path: Path, wrap: Any, markets: str) -> None:
    """As saved from REST or from a subscription's first message, the markets too."""
    listed = market_list() if markets == "answer" else {"type": "subscribed", "contents": market_list()}
    listed_in = saved(tmp_path, "markets.json", listed)
    read = read_accounts(saved(tmp_path, "a.json", wrap(indexer_subaccount())), listed_in)
    (account,) = read.accounts
    assert read.notes == ()
    assert (account.address, account.number, account.height) == ("dydx1test", 0, None)
    assert account.equity == Decimal("998.35845")
    position = account.positions["ETH-USD"]
    assert (position.size, position.entry_price, position.realized_pnl) == (
        1,
        Decimal("3103.1"),
        Decimal("-1.55155"),
    )


def test_scan_of_an_answer(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.json", {"subaccounts": [indexer_subaccount(), indexer_subaccount(128, "2100")]})
    done = run("scan", path, "--markets", saved(tmp_path, "m.json", market_list()), "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert [entry["number"] for entry in document["accounts"]] == [0, 128]
    (remark,) = document["notes"]
    assert remark.startswith("dydx1test/128: equity was reported as 998.35845 and is 1003.01")
    assert f"note: {remark}" in done.stderr


def test_digits_past_a_quote_quantum_are_floored_and_said(tmp_path: Path) -> None:
    """The indexer's USDC contains unsettled funding; the chain floors it, of a debt, too."""
    markets = saved(tmp_path, "m.json", market_list())
    read = read_accounts(saved(tmp_path, "a.json", indexer_subaccount(usdc="1.0000001")), markets)
    assert read.accounts[0].usdc_quantums == -1_000_001
    assert "USDC -1.000000100000 counts as -1.000001" in read.notes[0]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"openPerpetualPositions": {"DOGE-USD": {"size": "1", "side": "LONG"}}}, "DOGE-USD"),
        ({"openPerpetualPositions": {"ETH-USD": {"size": "-1", "side": "LONG"}}}, "size"),
        ({"openPerpetualPositions": {"ETH-USD": {"size": "1e-10", "side": "LONG"}}}, "size"),
        ({"openPerpetualPositions": {"ETH-USD": {"size": "NaN", "side": "LONG"}}}, "size"),
        ({"openPerpetualPositions": {"ETH-USD": {"size": "1", "side": "UP"}}}, "side"),
        ({"openPerpetualPositions": [1]}, "openPerpetualPositions"),
        ({"assetPositions": {"ATOM": {"size": "1", "side": "LONG"}}}, "assetPositions"),
        ({"assetPositions": None}, "assetPositions"),
        ({"address": 5}, "address"),
        ({"subaccountNumber": -1}, "number"),
        ({"equity": "much"}, "equity"),
    ],
)
def test_a_wrong_answer_is_refused_by_its_path(tmp_path: Path, change: dict[str, Any], names: str) -> None:
    markets = saved(tmp_path, "m.json", market_list())
    path = saved(tmp_path, "a.json", {"subaccount": indexer_subaccount(**change)})
    with pytest.raises(InputError) as caught:
        read_accounts(path, markets)
    assert caught.value.argument.startswith("a.json.")
    assert names in str(caught.value)


def test_a_market_without_a_price_is_not_safe(tmp_path: Path) -> None:
    markets = saved(tmp_path, "m.json", market_list(**{"ETH-USD": None}))
    path = saved(tmp_path, "a.json", indexer_subaccount())
    assert "with an oracle price" in refusal("scan", path, "--markets", markets)


# -- what is refused


def test_wrong_files_are_refused_in_one_line(tmp_path: Path) -> None:
    """Status 2 and a line that names the file; never a traceback, nothing half done."""
    assert "No such file" in refusal("scan", tmp_path / "none.json")
    assert "can be read" in refusal("explain", tmp_path)
    for name, text in (
        ("torn.json", '{"accounts": ['),
        ("binary.json", b"\xff\xfe\x00"),
        ("deep.json", "[" * 100_000),
        ("huge.json", '{"a": ' + "9" * 5000 + "}"),
        ("twice.json", '{"accounts": [], "accounts": []}'),
        ("torn.toml", "chain = "),
        ("list.json", "[1, 2]"),
        ("number.json", "5"),
        ("nothing.json", "{}"),
        ("other.json", '{"format": {"name": "something else"}}'),
        ("empty.json", '{"format": {"name": "dydx_perf recorded accounts", "version": 1}}'),
        ("text.json", '{"contents": "text"}'),
    ):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert name in refusal("scan", path), name


def test_markets_are_asked_for_and_not_taken_twice(tmp_path: Path, own: Path) -> None:
    answer = saved(tmp_path, "a.json", indexer_subaccount())
    markets = saved(tmp_path, "m.json", market_list())
    assert "--markets" in refusal("scan", answer)
    assert "--markets" in refusal("scan", own, "--markets", markets)
    assert "--markets" in refusal("scan", RECORDED, "--markets", markets)
    assert "object with markets" in refusal("scan", answer, "--markets", answer)
    broken = market_list()
    del broken["markets"]["ETH-USD"]["status"]
    assert "m.json: markets['ETH-USD'].status" in refusal(
        "scan", answer, "--markets", saved(tmp_path, "m.json", broken)
    )


def test_an_own_file_names_its_chain_or_is_given_one(tmp_path: Path) -> None:
    saved(tmp_path, "m.json", market_list())
    account = {"address": "a", "usdc": "1", "positions": {"ETH-USD": "-1"}}
    beside = saved(tmp_path, "beside.json", {"chain": "m.json", "accounts": [account]})
    given = saved(tmp_path, "given.json", {"accounts": [account]})
    (one,), (other,) = read_accounts(beside).accounts, read_accounts(given, tmp_path / "m.json").accounts
    assert one.risk == other.risk
    assert one.chain["ETH-USD"].oracle_price.decimal == Decimal("3103.01")
    assert "chain" in refusal("scan", given)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('accounts = [{ address = "a", usd = "5" }]', "accounts[0]['usd']"),
        ('accounts = [{ usdc = "5" }]', "accounts[0].address"),
        ('accounts = [{ address = "a", usdc = "0.0000001" }]', "accounts[0].usdc"),
        ('accounts = [{ address = "a", usdc = nan }]', "accounts[0].usdc"),
        ('accounts = [{ address = "a", number = 200000 }]', "accounts[0].number"),
        ('accounts = [{ address = "a", positions = { BTC-USD = "x" } }]', "accounts[0].positions['BTC-USD']"),
        ('accounts = [{ address = "a", positions = { BTC-USD = { } } }]', "positions['BTC-USD'].size"),
        ('accounts = [{ address = "a", positions = { BTC-USD = { size = 1, leverage = 3 } } }]', "leverage"),
        (
            'accounts = [{ address = "a", positions = { BTC-USD = { size = 1, entry_price = "-1" } } }]',
            "entry_price",
        ),
        ('accounts = [{ address = "a", positions = { NONE-USD = 1 } }]', "NONE-USD"),
        ('accounts = [{ address = "a", positions = 5 }]', "accounts[0].positions"),
        ('accounts = [{ address = "a", leverage = { BTC-USD = -1 } }]', "leverage"),
        ('accounts = [{ address = "a" }, { address = "a" }]', "accounts[1]"),
        ("accounts = 5", "accounts"),
        ("accounts = []\nextra = 1", "extra"),
        ("accounts = []\nprices = { BTC-USD = 0 }", "prices['BTC-USD']"),
        ("accounts = []\nprices = { BTC-USD = true }", "prices['BTC-USD']"),
    ],
)
def test_a_wrong_own_file_is_refused_by_its_path(tmp_path: Path, line: str, names: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'chain = "v9"\n{line}\n', "utf-8")
    with pytest.raises(InputError) as caught:
        read_accounts(path)
    assert caught.value.argument.startswith("own.toml")
    assert names in str(caught.value)


def test_an_unknown_subaccount_is_refused(own: Path) -> None:
    said = refusal("explain", own, "--subaccount", "main/1")
    assert "main/0, broke/3, cash/0" in said


@pytest.mark.parametrize("top", ["0", "-1", "x", "1.5", ""])
def test_a_wrong_count_is_refused(own: Path, top: str) -> None:
    done = run("scan", own, f"--top={top}")
    assert done.returncode == 2
    assert "a number of 1 or more" in done.stderr


# -- around them


@pytest.mark.parametrize("module", [True, False], ids=["-m dydx_perf", "dydx-perf"])
def test_help_of_each_verb(own: Path, module: bool) -> None:
    """The module and the console script are the same."""
    for verb, option in (("explain", "--subaccount"), ("scan", "--top")):
        done = run(verb, "--help", module=module)
        assert (done.returncode, done.stderr) == (0, "")
        for word in (option, "--markets", "--json", "Exit status", "[[accounts]]"):
            assert word in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 110
        assert run(verb, module=module).returncode == 2
    assert run("scan", own, module=module).returncode == 1
    assert "scan" in run("--help", module=module).stdout


def test_an_example_of_the_help_is_read(tmp_path: Path) -> None:
    """The TOML that --help shows is a file of one's own."""
    text = offline.FILE_HELP.partition("own in TOML (or JSON):")[2]
    path = tmp_path / "help.toml"
    path.write_text("\n".join(line.strip() for line in text.splitlines()), "utf-8")
    (account,) = read_accounts(path).accounts
    assert account.positions["BTC-USD"].size == Decimal("0.5")


def test_a_reader_that_goes_away_is_no_error(own: Path) -> None:
    """`dydx-perf explain FILE | head`."""
    command = f'"{sys.executable}" -P -m dydx_perf explain "{own}" --json | head -c 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("{", "")


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted and wiped for long work; nothing for a file, a pipe, or little work."""
    many = list(range(2 * offline.FEWEST_WITH_PROGRESS))
    for stderr, items, is_shown in (
        (Terminal(), many, True),
        (io.StringIO(), many, False),
        (Terminal(), many[:10], False),
    ):
        monkeypatch.setattr(sys, "stderr", stderr)
        assert list(offline.progress(items, "evaluated")) == items
        assert ("evaluated: 500 of 1,000" in stderr.getvalue()) == is_shown
        assert not is_shown or stderr.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("module", ["dydx_perf", "dydx_perf.verify"])
def test_a_reader_that_goes_away_is_no_traceback(module: str) -> None:
    """As `verify | head -1` does it: the rest is not printed, nothing is said, and it is not a success."""
    arguments = ["verify"] if module == "dydx_perf" else []
    command = [sys.executable, "-P", "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait() == 1


def test_a_full_disk_is_told() -> None:
    """One sentence, and not a success; where there is a device that is always full."""
    if not Path("/dev/full").exists():
        return
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-P", "-m", "dydx_perf", "verify"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert run.stderr == b"the output could not be written: No space left on device\n"
    assert run.returncode == 1
