"""The verb stress says of a file's accounts what each of them says at the moved prices (B6, D1)."""

import json
import subprocess
import sys
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from dydx_perf.account_files import read_accounts
from dydx_perf.screen import printing
from dydx_perf.stress_verb import stress

RECORDED = str(files("dydx_perf.data") / "recorded_accounts.json")
OWN = """\
chain = "v9"

[[accounts]]
address = "main"
usdc = "-13000"
leverage = { BTC-USD = 100_000 }
positions = { BTC-USD = 0.5, ETH-USD = "-0.1" }

[[accounts]]
address = "cash"
usdc = "5"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN, "utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = printing(stress, [str(argument) for argument in arguments])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("market", [None, "BTC-USD"])
def test_each_line_is_the_accounts_at_moved_prices(
    own: Path, market: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one file each account is asked on its own, at prices that were set."""
    only = [] if market is None else ["--market", market]
    status, out = said(capsys, own, "--json", "--moves=-0.5,-0.05,0,0.3", *only)
    document = json.loads(out)
    assert document["format"] == {"name": "dydx_perf stress", "version": 1}
    assert document["accounts"] == 2
    seen = 0
    for scenario in document["scenarios"]:
        accounts = read_accounts(own).accounts
        for moved in accounts[0].chain:
            if market in (None, moved.ticker):
                factor = 10**6 + int(Decimal(scenario["move"]) * 10**6)
                moved.set_oracle_price_integer(max(moved.perpetual.price * factor // 10**6, 1))
        risks = [account.risk for account in accounts]
        seen += sum(risk.is_liquidatable for risk in risks)
        assert scenario["liquidatable"] == sum(risk.is_liquidatable for risk in risks)
        assert scenario["below_zero"] == sum(risk.nc < 0 for risk in risks)
        assert Decimal(scenario["net_collateral"]) * 10**6 == sum(risk.nc for risk in risks)
        assert Decimal(scenario["initial_margin"]) * 10**6 == sum(risk.imr for risk in risks)
        assert Decimal(scenario["bad_debt"]) * 10**6 == sum(max(-risk.nc, 0) for risk in risks)
        assert scenario["basis"] == "sample"
    assert seen > 0
    assert status == 1


def test_a_table_is_shown_and_a_calm_file_ends_with_0(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = said(capsys, own, "--moves=0.01")
    head, line, under = out.splitlines()
    assert head.split()[0] == "move"
    assert line.split()[:2] == ["0.01", "0"]
    assert under == "accounts: 2, basis: sample"
    assert status == 0


def test_recorded_accounts_of_several_blocks_are_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Each on the prices of its own moment."""
    _, out = said(capsys, RECORDED, "--json", "--moves=0")
    (scenario,) = json.loads(out)["scenarios"]
    accounts = read_accounts(RECORDED).accounts
    assert scenario["accounts"] == len(accounts) > 1
    assert Decimal(scenario["net_collateral"]) * 10**6 == sum(account.risk.nc for account in accounts)


@pytest.mark.parametrize(
    "wrong",
    [["--moves=-2"], ["--moves=x"], ["--market", "NONE-USD"], ["--max-leverage", "0"], ["--funding-rate=y"]],
)
def test_wrong_arguments_are_refused_in_one_line(own: Path, wrong: list[str]) -> None:
    """As a process: status 2, nothing on stdout."""
    command = [sys.executable, "-P", "-m", "dydx_perf", "stress", str(own), *wrong]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
