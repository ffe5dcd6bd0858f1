"""Accounts for what-if questions: from rows of the vectors, small ones on which every size can be tried."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib.resources import files
from typing import Any

from dydx_perf import Chain, FeeTier, InputError, Market, Position, Subaccount
from dydx_perf.exact.state import MARKET_TYPE_ISOLATED, Perpetual, SubaccountState
from dydx_perf.parameters import ProtocolParameters
from dydx_perf.verify.fields import Fields, read_perpetuals, read_subaccount

FREE = FeeTier("free", 0, 0, 0, 0, 0)


def vector_rows(name: str, function: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Input and answer of every shipped row of a function."""
    with gzip.open(str(files("dydx_perf.data") / "vectors" / f"{name}.jsonl.gz"), "rt") as lines:
        for row in map(json.loads, lines):
            if row["fn"] == function:
                yield row["in"], row["out"]


def read_row(
    given: dict[str, Any], subaccount: dict[str, Any]
) -> tuple[dict[int, Perpetual], SubaccountState]:
    """The plain integers of a row's markets and of one of its subaccounts."""
    return read_perpetuals(Fields(given)), read_subaccount(Fields(subaccount))


def market_of(perpetual: Perpetual) -> Market:
    pair = perpetual.clob_pair
    return Market(
        f"M{perpetual.perpetual_id}-USD",
        perpetual_id=perpetual.perpetual_id,
        atomic_resolution=perpetual.atomic_resolution,
        price_exponent=perpetual.exponent,
        oracle_price=Decimal(f"{perpetual.price}E{perpetual.exponent}"),
        initial_margin_ppm=perpetual.initial_margin_ppm,
        maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
        open_interest=perpetual.open_interest,
        open_interest_lower_cap=perpetual.open_interest_lower_cap,
        open_interest_upper_cap=perpetual.open_interest_upper_cap,
        funding_index=perpetual.funding_index,
        market_type="isolated" if perpetual.market_type == MARKET_TYPE_ISOLATED else "cross",
        step_base_quantums=pair.step_base_quantums if pair else 1,
        subticks_per_tick=pair.subticks_per_tick if pair else 1,
        quantum_conversion_exponent=pair.quantum_conversion_exponent if pair else -9,
        status=pair.status if pair else "ACTIVE",
    )


def account_of(
    perpetuals: Mapping[int, Perpetual],
    state: SubaccountState,
    fee_tiers: tuple[FeeTier, ...] = (FREE,),
) -> Subaccount | None:
    """The same account on the public face; None where the face has no such account."""
    if any(asset.asset_id for asset in state.asset_positions):
        return None
    try:
        chain = Chain(map(market_of, perpetuals.values()), parameters=ProtocolParameters(fee_tiers=fee_tiers))
        account = Subaccount(
            chain,
            "dydx1test",
            usdc=Decimal(f"{sum(asset.quantums for asset in state.asset_positions)}E-6"),
            positions=[
                Position(
                    chain[p.perpetual_id],
                    quantums=p.quantums,
                    funding_index=p.funding_index,
                    quote_balance=p.quote_balance,
                )
                for p in state.perpetual_positions
            ],
            leverage={chain[i].ticker: ppm for i, ppm in state.leverage.items() if i in chain},
        )
    except (InputError, KeyError):
        return None  # a market or state that validation elsewhere refuses
    return account


def text(quantums: int, exponent: int) -> Decimal:
    return Decimal(f"{quantums}E{exponent}")


def small_account(seed: int, *, step_worth: str = "much") -> Subaccount:
    """An account of a few positions near its margins, on markets small enough to try every order size.

    `step_worth` is "much" (a step is worth many quote quantums), "little" (about one) or "less" (below one).
    """
    draw = random.Random(seed)
    price = {"much": (3_000, 90_000), "little": (500, 3_000), "less": (20, 900)}[step_worth]
    markets = []
    for number in range(3):
        lower = draw.choice([0, 0, draw.randrange(1, 40_000)])
        markets.append(
            Market(
                f"M{number}-USD",
                perpetual_id=number,
                atomic_resolution=-4,
                # power of ten to quote quantums: -3
                price_exponent=-5,
                oracle_price=text(draw.randrange(*price), -5),
                initial_margin_ppm=draw.choice([20_000, 50_000, 100_000, 333_333, 1_000_000]),
                maintenance_fraction_ppm=draw.choice([0, 500_000, 600_000, 1_000_000]),
                open_interest=draw.randrange(0, 4_000),
                open_interest_lower_cap=lower,
                open_interest_upper_cap=lower and lower + draw.randrange(1, 60_000),
                funding_index=draw.randrange(-500_000, 500_000),
                step_base_quantums=draw.choice([1, 1, 3, 7]),
                # the oracle price integer times 10 is in subticks of 10**-4 quote quantums each
                subticks_per_tick=1,
                quantum_conversion_exponent=-4,
            )
        )
    chain = Chain(
        markets,
        parameters=ProtocolParameters(
            fee_tiers=(
                FeeTier("1", 0, 0, 0, draw.choice([-110, 0, 100, 30_000]), draw.choice([0, 500, 50_000])),
            )
        ),
    )
    held = draw.sample(range(3), draw.randrange(0, 4))
    positions = [
        Position(
            chain[number],
            quantums=draw.choice([-1, 1]) * draw.randrange(1, 900),
            funding_index=draw.randrange(-500_000, 500_000),
            quote_balance=draw.choice([0, 0, draw.randrange(-300, 300)]),
        )
        for number in held
    ]
    leverage = {"M0-USD": draw.choice([0, 0, 250_000, 1_500_000])}
    account = Subaccount(chain, "dydx1small", positions=positions, leverage=leverage)
    # near one of its margins, where answers change
    risk = account.risk
    near = (
        draw.choice([0, risk.imr, risk.mmr]) - risk.nc + draw.randrange(-300, draw.choice([50, 300, 6_000]))
    )
    account.set_usdc(text(near, -6))
    return account


def everything(account: Subaccount) -> tuple[object, ...]:
    """All that a question must leave as it was."""
    return (
        account.state,
        account.risk,
        account.basis,
        account.height,
        account.leverage_choices,
        dict(account.positions),
        [(market.perpetual, market.basis, market.height) for market in account.chain],
        account.chain.parameters,
    )


def chain_account(height: int | None = 7, **arguments: Any) -> Subaccount:
    """An account of 0.1 BTC on a chain of one market at block 7."""
    market = Market(
        "BTC-USD",
        perpetual_id=0,
        atomic_resolution=-10,
        price_exponent=-5,
        oracle_price=60_000,
        initial_margin_ppm=20_000,
        maintenance_fraction_ppm=600_000,
        step_base_quantums=10**6,
        subticks_per_tick=10**5,
        height=height,
        basis="chain",
        **arguments,
    )
    chain = Chain([market], height=height)
    return Subaccount(chain, "dydx1", usdc=1_000, positions={"BTC-USD": "0.1"}, height=height)
