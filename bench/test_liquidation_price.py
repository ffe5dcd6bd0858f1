"""Liquidation price of one position of 20, its account's risk known."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

import pytest
from accounts import accounts, chain
from c_door_build import c_door

from dydx_perf import OraclePrice, Subaccount
from dydx_perf.exact import indexer, margin

UNIT = "a call"
SIZE = 20
SIDES = {"long": 1, "short": -1}


def section(side: str) -> str:
    return f"Liquidation price of a {side} in an account of {SIZE} positions, risk known"


def typical(side: str) -> list[tuple[Subaccount, str]]:
    """Eight accounts, each with its largest position of that side whose liquidation price is a price."""

    def found():
        for account in accounts(SIZE):
            held = [p for p in account.positions.values() if p.quantums * SIDES[side] > 0]
            largest = max(held, key=lambda p: abs(p.notional), default=None)
            if largest and isinstance(account.liquidation_price(largest.ticker), OraclePrice):
                yield account, largest.ticker

    return list(islice(found(), 8))


@pytest.mark.parametrize("side", SIDES)
def test_subaccount(side, row):
    """Checked against the bisection over the whole account."""
    cases = typical(side)
    assert len(cases) == 8
    for account, ticker in cases:
        assert account.liquidation_price(ticker) == account.exact_liquidation_price(ticker)
    turns = tuple(cases * 16)

    def run() -> None:
        for account, ticker in turns:
            account.liquidation_price(ticker)

    row(
        section(side),
        "Subaccount.liquidation_price()",
        UNIT,
        run,
        len(turns),
        "exact",
        ours=True,
        goal_ns=300,
    )


@pytest.mark.parametrize("side", SIDES)
def test_exact(side, row):
    """The model of plain integers: bisection, the whole account at every step."""
    cases = typical(side)

    def run() -> None:
        for account, ticker in cases:
            account.exact_liquidation_price(ticker)

    row(section(side), "dydx_perf.exact, bisection", UNIT, run, len(cases), "exact")


@pytest.mark.parametrize("side", SIDES)
def test_web_app_formula(side, row):
    """One division in Decimal, inputs prepared, with the true equity instead of the app's clamped one."""
    inputs = []
    error = Decimal(0)
    for account, ticker in typical(side):
        position = account.positions[ticker]
        market = position.market
        risk = account.risk
        own = margin.maintenance_margin(market.perpetual, abs(position.notional))
        holding = indexer.WebappHolding(
            position.size,
            market.oracle_price.decimal,
            market.initial_margin_fraction,
            market.maintenance_margin_fraction,
        )
        inputs.append((holding, risk.net_collateral_usdc, Decimal(risk.mmr - own).scaleb(-6)))
        price = indexer.webapp_liquidation_price(*inputs[-1])
        assert price is not None
        exact = account.liquidation_price(ticker)
        error = max(error, abs(price.scaleb(-exact.exponent) - exact.integer))
    assert error > 0

    def run() -> None:
        for holding, equity, other in inputs:
            indexer.webapp_liquidation_price(holding, equity, other)

    answers = f"off by up to {error:.2g} of the price's own units"
    row(section(side), "the web app's formula in Decimal", UNIT, run, len(inputs), answers)


def test_kernel_in_c(row):
    """The kernel in a C loop, first position of every account, both sides."""
    held = accounts(SIZE)
    door = c_door().Accounts([m.perpetual for m in chain()], [account.state for account in held])
    door.evaluate_all()
    prices = [account.liquidation_price(next(iter(account.positions))) for account in held]
    assert door.liquidation_prices() == [p if isinstance(p, str) else p.integer for p in prices]
    row(
        "Liquidation price in C, without Python",
        "liquidation_price",
        UNIT,
        door.liquidation_prices_all,
        len(held),
        "exact",
        ours=True,
    )
