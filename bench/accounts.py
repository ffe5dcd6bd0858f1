"""Accounts of 4, 20 and 60 positions on a chain of 64 markets, the same in every run."""

from __future__ import annotations

from functools import cache
from random import Random

from dydx_perf import Chain, Market, Position, Subaccount

SEED = 20
MARKETS = 64
SIZES = (4, 20, 60)
#: accounts of each size: all are checked, the first few are timed in turn, so that no single one is learnt by
#: heart by the processor's branch prediction
CHECKED, TIMED = 200, 64


@cache
def chain() -> Chain:
    """Cross markets of the v9 sample, then the same again under other names at other prices, 64 in all."""
    random = Random(SEED)
    sampled = [market for market in Chain.sample("v9") if not market.is_isolated]
    markets = []
    for number in range(MARKETS):
        market = sampled[number % len(sampled)]
        generation = number // len(sampled)
        price = (
            market.oracle_price.integer
            * (1 if generation == 0 else random.randint(80, 120))
            // (1 if generation == 0 else 100)
        )
        copy = Market(
            market.ticker if generation == 0 else f"{market.ticker}-{generation}",
            perpetual_id=number,
            atomic_resolution=market.atomic_resolution,
            price_exponent=market.price_exponent,
            oracle_price=market.oracle_price.decimal,
            initial_margin_ppm=market.initial_margin_ppm,
            maintenance_fraction_ppm=market.maintenance_fraction_ppm,
            open_interest_lower_cap=market.perpetual.open_interest_lower_cap,
            open_interest_upper_cap=market.perpetual.open_interest_upper_cap,
            funding_index=random.randint(-(10**9), 10**9),
            basis="sample",
        )
        copy.set_oracle_price_integer(price, basis="sample")
        if upper := market.perpetual.open_interest_upper_cap:
            # from half the upper cap on: most tiers scale their initial margin, some do not
            worth = upper * random.randint(20, 90) // 100
            copy.set_open_interest(base_quantums_worth(copy, worth), basis="sample")
        markets.append(copy)
    return Chain(markets)


def base_quantums_worth(market: Market, quote_quantums: int) -> int:
    """Size of about that value at the oracle price."""
    power = market.price_exponent + market.atomic_resolution + 6
    return int(quote_quantums * 10 ** max(-power, 0) // (market.oracle_price.integer * 10 ** max(power, 0)))


@cache
def accounts(size: int) -> tuple[Subaccount, ...]:
    """Accounts of so many positions, three times levered.

    A position is worth 100 to 1,000,000 USDC and has funding due; one in ten has its own margin fraction.
    """
    random = Random(SEED * 1000 + size)
    return tuple(account(random, size, number) for number in range(CHECKED))


def account(random: Random, size: int, number: int) -> Subaccount:
    """One such account."""
    markets = sorted(random.sample(list(chain()), size), key=lambda market: market.perpetual_id)
    positions, value, gross = [], 0, 0
    for market in markets:
        worth = int(10 ** random.uniform(8, 12))
        quantums = max(1, base_quantums_worth(market, worth)) * random.choice((-1, 1))
        position = Position(
            market,
            quantums=quantums,
            funding_index=market.funding_index + random.randint(-(10**6), 10**6),
            custom_imf_ppm=random.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, 200_000)),
        )
        positions.append(position)
        value += position.notional
        gross += abs(position.notional)
    usdc = gross // 3 - value + random.randint(0, 999_999)
    return Subaccount(chain(), "dydx1bench", number, usdc=f"{usdc}E-6", positions=positions)
