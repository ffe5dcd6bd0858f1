"""The show verb: the printed figures are the library's, and the crash ends where it says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from dydx_perf import recorded, show


def mainnet_records() -> list[recorded.RecordedSubaccount]:
    return [record for record in recorded.recorded_subaccounts() if record.network == recorded.MAINNET]


def test_show_prints_everything_and_succeeds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def verified(arguments: Any) -> int:
        asked.append(arguments)
        return len(asked) - 1

    walk = show.Crash.first
    monkeypatch.setattr(show, "verify", verified)
    monkeypatch.setattr(show.Crash, "first", lambda self, last: walk(self, max(min(last, 200), -200)))
    assert show.main([]) == 0
    shown = capsys.readouterr().out
    for part in (
        "1. Risk",
        "2. The indexer's own figures",
        "3. Liquidation prices",
        "4. ",
        "5. ",
        "6. ",
        "7. ",
    ):
        assert part in shown
    assert "DIFFERENT" not in shown
    for record in mainnet_records():
        assert f"{record.reported_equity:f}" in shown
    assert show.main([]) == 1  # a row that is not identical fails the run
    assert asked == [[], []]  # the shipped vectors


def test_a_figure_that_is_not_reproduced_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "verify", lambda arguments: 0)
    monkeypatch.setattr(show.Crash, "first", lambda self, last: None)

    def spoiled() -> list[recorded.RecordedSubaccount]:
        records = mainnet_records()
        for record in records:
            record.subaccount.set_usdc(record.subaccount.usdc_quantums + 1)
        return records

    monkeypatch.setattr(show, "recorded_subaccounts", spoiled)
    assert show.main([]) == 1
    captured = capsys.readouterr()
    assert "DIFFERENT" in captured.out
    assert "was not reproduced" in captured.err


def test_a_crash_ends_at_the_first_step_that_is_liquidatable() -> None:
    records = [r for r in recorded.recorded_subaccounts() if r.subaccount.positions]
    show.withdraw_all(records)
    found = 0
    for record in records:
        account = record.subaccount
        start = {ticker: p.market.perpetual.price for ticker, p in account.positions.items()}
        assert account.risk.nc <= account.risk.imr
        crash = show.Crash(account)
        steps = crash.first(-2000)
        assert {t: p.market.perpetual.price for t, p in account.positions.items()} == start
        if steps is None or steps == 0:
            continue
        found += 1
        assert crash.liquidatable_at(steps)
        assert not any(crash.liquidatable_at(step) for step in range(0, steps, -1))
        for ticker, price in start.items():
            crash.move(steps)
            assert account.positions[ticker].market.perpetual.price == price * (1_000 + steps) // 1_000
    assert found


def test_a_wrong_argument_ends_with_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dydx_perf", "show", "--nonsense"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "usage" in done.stderr
