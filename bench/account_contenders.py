"""What one would write instead of calling us: the risk of one account, funding included.

Each contender gets its inputs in the form it likes best, prepared before the clock runs: market values once
for all accounts, position values once for each. What a price change alters stays in the market values. All
give (nc, imr, mmr) in quote quantums.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import accounts
from conditions import numba_is_there

from dydx_perf import Subaccount
from dydx_perf.exact import margin

MILLION = 1_000_000

Contender = tuple[Callable[[Any], Any], Callable[[Subaccount], Any]]  # (compute, prepare)


# ---- the package's own plain integers


def exact_inputs(account: Subaccount) -> Any:
    """Perpetuals by id and the state, made once."""
    perpetuals = {p.market.perpetual_id: p.market.perpetual for p in account.positions.values()}
    return perpetuals, account.state


def exact_risk(inputs: Any) -> Any:
    """By the functions that the kernels are tested against."""
    risk = margin.subaccount_risk(*inputs)
    return risk.nc, risk.imr, risk.mmr


# ---- Python ints, written tightly and right


def int_inputs(account: Subaccount) -> Any:
    """The balance; for each position its market's values and its own."""
    rows = []
    for position in account.positions.values():
        market = position.market
        power = market.price_exponent + market.atomic_resolution + 6
        rows.append(
            (
                (
                    market.oracle_price.integer * 10 ** max(power, 0),
                    10 ** max(-power, 0),
                    market.initial_margin_ppm,
                    market.scaled_initial_margin_ppm,
                    market.maintenance_fraction_ppm,
                    market.funding_index,
                ),
                position.quantums,
                position.funding_index,
                position.custom_imf_ppm,
            )
        )
    return account.usdc_quantums, rows


def python_ints(inputs: Any) -> Any:
    """The chain's roundings in one loop; -(-a // b) is the ceiling."""
    nc, rows = inputs
    imr = mmr = settlement_ppm = 0
    for (price, divisor, initial, scaled, fraction, current_index), quantums, own_index, custom in rows:
        settlement_ppm -= (current_index - own_index) * quantums
        if quantums < 0:
            notional = -quantums * price // divisor
            nc -= notional
        else:
            notional = quantums * price // divisor
            nc += notional
        imr -= -notional * (custom if custom > scaled else scaled) // MILLION
        mmr -= (-notional * initial // MILLION) * fraction // MILLION
    return nc + settlement_ppm // MILLION, imr, mmr


# ---- Decimal, without the chain's roundings: what the indexer and the web app do


def decimal_inputs(account: Subaccount) -> Any:
    """USDC; coins, USDC for one coin, fractions, and USDC of funding for one coin."""
    rows = []
    for position in account.positions.values():
        market = position.market
        index_to_usdc = -12 - market.atomic_resolution
        rows.append(
            (
                (
                    market.oracle_price.decimal,
                    market.maintenance_margin_fraction,
                    Decimal(market.scaled_initial_margin_ppm).scaleb(-6),
                    Decimal(market.funding_index).scaleb(index_to_usdc),
                ),
                position.size,
                Decimal(position.funding_index).scaleb(index_to_usdc),
                Decimal(position.custom_imf_ppm).scaleb(-6),
            )
        )
    return account.usdc, rows


def decimals(inputs: Any) -> Any:
    """Sums in USDC at the default precision of 28 digits."""
    nc, rows = inputs
    imr = mmr = Decimal(0)
    for (price, maintenance, scaled, current_index), size, own_index, custom in rows:
        value = size * price
        nc += value - (current_index - own_index) * size
        value = abs(value)
        imr += value * (custom if custom > scaled else scaled)
        mmr += value * maintenance
    return nc * MILLION, imr * MILLION, mmr * MILLION


# ---- float64 in NumPy and Numba


@cache
def market_columns() -> Any:
    """Quote quantums for one base quantum, the two fractions, and the funding index of every market."""
    import numpy as np

    markets = list(accounts.chain())
    powers = [10.0 ** (m.price_exponent + m.atomic_resolution + 6) for m in markets]
    return (
        np.array([m.oracle_price.integer * power for m, power in zip(markets, powers, strict=True)]),
        np.array([m.initial_margin_ppm * m.maintenance_fraction_ppm / 1e12 for m in markets]),
        np.array([m.scaled_initial_margin_ppm / 1e6 for m in markets]),
        np.array([float(m.funding_index) for m in markets]),
    )


def float_inputs(account: Subaccount) -> Any:
    """Columns of the markets, then of the account's positions."""
    import numpy as np

    held = list(account.positions.values())
    return (
        *market_columns(),
        float(account.usdc_quantums),
        np.array([p.market.perpetual_id for p in held], dtype=np.intp),
        np.array([float(p.quantums) for p in held]),
        np.array([float(p.funding_index) for p in held]),
        np.array([p.custom_imf_ppm / 1e6 for p in held]),
    )


def numpy_float64(inputs: Any) -> Any:
    """Vectorised over the positions of the account."""
    import numpy as np

    ratio, maintenance, scaled, index, usdc, market, quantums, own_index, custom = inputs
    value = quantums * ratio[market]
    funding = ((index[market] - own_index) * quantums).sum() / 1e6
    magnitude = np.abs(value)
    return (
        usdc + value.sum() - funding,
        (magnitude * np.maximum(scaled[market], custom)).sum(),
        (magnitude * maintenance[market]).sum(),
    )


def float_loop(  # type: ignore[no-untyped-def]
    ratio, maintenance, scaled, index, usdc, market, quantums, own_index, custom
):
    """What Numba compiles."""
    nc, imr, mmr, funding = usdc, 0.0, 0.0, 0.0
    for i in range(len(market)):
        m = market[i]
        value = quantums[i] * ratio[m]
        nc += value
        funding += (index[m] - own_index[i]) * quantums[i]
        value = abs(value)
        imr += value * max(scaled[m], custom[i])
        mmr += value * maintenance[m]
    return nc - funding / 1e6, imr, mmr


@cache
def compiled_loop() -> Any:
    """The loop, compiled by a first call."""
    from numba import njit

    compiled = njit(float_loop)
    compiled(*float_inputs(accounts.accounts(4)[0]))
    return compiled


def numba_inputs(account: Subaccount) -> Any:
    """The compiled loop itself and its columns."""
    return compiled_loop(), float_inputs(account)


def numba_float64(inputs: Any) -> Any:
    """One call of the compiled loop."""
    loop, columns = inputs
    return loop(*columns)


CONTENDERS: dict[str, Contender] = {
    "dydx_perf.exact, plain Python": (exact_risk, exact_inputs),
    "Python ints, one tight loop": (python_ints, int_inputs),
    "Decimal, without roundings": (decimals, decimal_inputs),
    "NumPy float64": (numpy_float64, float_inputs),
}
if numba_is_there():
    CONTENDERS["Numba float64"] = (numba_float64, numba_inputs)


def error_in_quantums(answers: Any, exact: tuple[int, int, int]) -> Decimal:
    """Largest difference of the three from the exact integers."""
    return max(
        abs(Decimal(answer) - truth)
        for answer, truth in zip((decimal_of(a) for a in answers), exact, strict=True)
    )


def decimal_of(value: Any) -> Decimal:
    """The value itself, no digit lost."""
    return (
        value
        if isinstance(value, Decimal)
        else Decimal(int(value))
        if isinstance(value, int)
        else Decimal(float(value))
    )
