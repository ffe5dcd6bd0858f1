"""Random scenarios, and a book under them in the plainest way: every account, every market, Fractions."""

import random
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from typing import Any

from book_model import Account, Model

from dydx_perf import Chain
from dydx_perf.exact.funding import funding_index_delta
from dydx_perf.exact.margin import is_liquidatable, notional, subaccount_risk
from dydx_perf.exact.state import AssetPosition, Perpetual, PerpetualPosition, RiskState, SubaccountState
from dydx_perf.shocks import Shock


def walked(seed: int, steps: int, *, wild: bool = False, indexed: bool = True, accounts: int = 12) -> Model:
    """A book and its plain twin after some steps of every kind."""
    model = Model(seed, wild=wild, indexed=indexed, accounts=accounts)
    for _ in range(steps):
        model.step()
    return model


def state(chain: Chain, account: Account) -> SubaccountState:
    return SubaccountState(
        (AssetPosition(0, account.usdc),) if account.usdc else (),
        tuple(
            PerpetualPosition(chain[ticker].perpetual_id, *position)
            for ticker, position in account.positions.items()
        ),
        {chain[ticker].perpetual_id: ppm for ticker, ppm in account.leverage.items()},
    )


def text(ppm: int) -> str:
    """Millionths as a decimal text."""
    return f"{'-' if ppm < 0 else ''}{abs(ppm) // 10**6}.{abs(ppm) % 10**6:06d}"


def random_shock(rng: random.Random, chain: Chain, *, prices_only: bool = False) -> Shock:
    """Small and large moves of some or all markets, and now and then everything else."""

    def some(lowest: int, highest: int) -> Any:
        if rng.random() < 0.5:
            return text(rng.randint(lowest, highest))
        return {
            market.ticker: text(rng.randint(lowest, highest)) for market in chain if rng.random() < 0.7
        } or None

    scale = rng.choice((10, 1_000, 100_000, 900_000, 999_999))
    named: dict[str, Any] = {"moves": some(-scale, scale)}
    if rng.random() < 0.3:
        named["prices"] = {
            market.ticker: rng.choice((1, rng.getrandbits(rng.choice((8, 30, 50, 64))) or 1))
            for market in rng.sample(list(chain), 1)
        }
    if not prices_only:
        if rng.random() < 0.4:
            named["initial_margin"] = some(0, 5_000_000)
        if rng.random() < 0.3:
            named["max_leverage"] = rng.choice((1, 3, 10, {rng.choice(chain.tickers): 7}))
        if rng.random() < 0.3:
            named["open_interest"] = some(0, 3_000_000)
        if rng.random() < 0.5:
            named["funding_rate"] = some(-500_000, 500_000)
            named["funding_hours"] = rng.randint(0, 48)
    return Shock(**named)


def value_for(named: Any, ticker: str) -> Any:
    """What a shock says of a market; None: nothing."""
    return named.get(ticker) if isinstance(named, Mapping) else named


def shocked(perpetual: Perpetual, ticker: str, shock: Shock) -> Perpetual:
    """A market under a shock, as docs/stress.md says it."""
    price, fraction = perpetual.price, perpetual.initial_margin_ppm
    interest, index = perpetual.open_interest, perpetual.funding_index
    move = value_for(shock.moves, ticker)
    if move is not None and price:
        price = min(max(floor(price * (1 + Fraction(move))), 1), 2**64 - 1)
    price = shock.prices.get(ticker, price)
    factor = value_for(shock.initial_margin, ticker)
    if factor is not None and Fraction(factor) != 1:
        fraction = min(ceil(fraction * Fraction(factor)), 10**6)
    leverage = value_for(shock.max_leverage, ticker)
    if leverage is not None:
        fraction = max(fraction, ceil(Fraction(10**6, leverage)))
    factor = value_for(shock.open_interest, ticker)
    if factor is not None:
        interest = floor(interest * Fraction(factor))
    rate = value_for(shock.funding_rate, ticker)
    if rate is not None:
        index += funding_index_delta(perpetual, int(Fraction(rate) * 10**6), shock.funding_hours * 3600)
    return replace(
        perpetual, price=price, initial_margin_ppm=fraction, open_interest=interest, funding_index=index
    )


def shocked_risks(model: Model, shock: Shock) -> tuple[dict[int, Perpetual], dict[Any, RiskState]]:
    """The markets, and the risk of every account."""
    chain = model.chain
    markets = {m.perpetual_id: shocked(m.perpetual, m.ticker, shock) for m in chain}
    risks = {
        name: subaccount_risk(markets, state(chain, account)) for name, account in model.accounts.items()
    }
    return markets, risks


def sums(model: Model, shock: Shock) -> tuple[int, ...]:
    """What `stress` should say, in the order of its result."""
    markets, risks = shocked_risks(model, shock)
    low = {name for name, risk in risks.items() if is_liquidatable(risk)}
    at_risk = sum(
        abs(notional(markets[p.perpetual_id], p.quantums))
        for name in low
        for p in state(model.chain, model.accounts[name]).perpetual_positions
    )
    every = list(risks.values())
    return (
        len(every),
        len(low),
        sum(risk.nc < 0 for risk in every),
        sum(risk.nc < risk.imr for risk in every),
        sum(risk.nc for risk in every),
        sum(risk.imr for risk in every),
        sum(risk.mmr for risk in every),
        sum(risks[name].mmr - risks[name].nc for name in low),
        -sum(risk.nc for risk in every if risk.nc < 0),
        at_risk,
    )


def row(result: Any) -> tuple[int, ...]:
    """The figures of a StressResult."""
    return (
        result.accounts,
        result.liquidatable,
        result.below_zero,
        result.below_initial,
        result.net_collateral,
        result.initial_margin,
        result.maintenance_margin,
        result.shortfall,
        result.bad_debt,
        result.notional_at_risk,
    )
