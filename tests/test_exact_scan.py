"""The exact scan at its edges: every path against plain integers, one step beside each rounding (B4)."""

import random
from collections.abc import Iterator
from functools import cache
from math import gcd

import numpy as np
import pytest

from dydx_perf import Book, Chain, Market
from dydx_perf.scan import scan, scan_paths

ONE_MILLION = 10**6
#: where the vectors hand over: estimates of 2**49, sizes of 2**51, and powers of two about them
LIMITS = [2**n for n in (31, 32, 43, 48, 49, 50, 51, 52, 53, 62)]
#: (atomic resolution, price exponent): divisors of 1 to 10**13, multipliers of 1 to 10**4
SCALES = [(-10, -5), (-9, -6), (-6, -9), (-7, -6), (-6, 0), (-3, 1), (-10, -6), (-12, -7)]
PRICES = [
    1,
    7,
    999_999_937,
    2**32 - 1,
    2**32,
    2**32 + 1,
    10**9,
    10**9 + 1,
    6_701_250_001,
    2**53 + 1,
    2**62 + 3,
]
#: initial margin, maintenance fraction, in ppm
TIERS = [(50_000, 600_000), (10_000, 500_000), (333_333, 999_999), (1_000_000, 1_000_000), (1, 1), (0, 0)]


@cache
def chain() -> Chain:
    """A market for each scale and price, tiers in turn."""
    random_ = random.Random(1)
    markets = []
    for resolution, exponent in SCALES:
        for price in PRICES:
            number = len(markets)
            initial, fraction = TIERS[number % len(TIERS)]
            market = Market(
                f"M{number}-USD",
                perpetual_id=number,
                atomic_resolution=resolution,
                price_exponent=exponent,
                oracle_price=10**6,
                initial_margin_ppm=initial,
                maintenance_fraction_ppm=fraction,
                open_interest_lower_cap=10**6,
                open_interest_upper_cap=10**12 if number % 5 < 3 else 0,
            )
            market.set_oracle_price_integer(price)
            value = random_.choice([0, 10**6, 3 * 10**11, 2 * 10**12])
            market.set_open_interest(min(value * 10**12 // price, 2**63 - 1))
            markets.append(market)
    return Chain(markets)


def scale(market: Market) -> tuple[int, int]:
    """Multiplier and divisor of a size, so that their quotient is its value in quote quantums."""
    perpetual = market.perpetual
    power = perpetual.atomic_resolution + perpetual.exponent + 6
    return perpetual.price * 10 ** max(power, 0), 10 ** max(-power, 0)


def values(market: Market, random_: random.Random) -> Iterator[int]:
    """Values at which something is rounded anew: products with a fraction that are whole millions, limits."""
    fractions = [market.initial_margin_ppm, market.scaled_initial_margin_ppm, market.maintenance_fraction_ppm]
    for fraction in fractions:
        period = ONE_MILLION // gcd(fraction, ONE_MILLION)
        for bits in range(2, 50, 3):
            yield max(random_.randrange(2**bits) // period, 1) * period
    for limit in LIMITS:
        yield limit
        yield random_.randrange(limit)
    for thousand in (1, 10, 500, 1_000):
        yield random_.randrange(1, 2**20) * ONE_MILLION + thousand * 1_000
    yield from (0, 1, 2, 499_999, 500_000, 500_001, ONE_MILLION)


@cache
def sizes() -> list[tuple[int, int]]:
    """(market, signed base quantums): the smallest size of each value, and one step to either side of it."""
    random_ = random.Random(2)
    found = []
    for number, market in enumerate(chain()):
        multiplier, divisor = scale(market)
        amounts = {
            -(-(value + off) * divisor // multiplier) + step
            for value in values(market, random_)
            for off in (-1, 0, 1)
            for step in (-1, 0, 1)
        }
        amounts |= {limit + step for limit in LIMITS for step in (-1, 0, 1)}
        for amount in sorted(amounts):
            if 0 < amount < 2**63:
                found.append((number, amount if random_.random() < 0.5 else -amount))
    random_.shuffle(found)
    return found


def ceil_ppm(value: int, ppm: int) -> int:
    return -(-value * ppm // ONE_MILLION)


def by_plain_integers(market: Market, quantums: int) -> tuple[int, int, int]:
    """Signed value toward zero; initial margin, rounded up; maintenance margin, rounded up twice."""
    multiplier, divisor = scale(market)
    value = abs(quantums) * multiplier // divisor
    initial = ceil_ppm(value, market.scaled_initial_margin_ppm)
    maintenance = ceil_ppm(ceil_ppm(value, market.initial_margin_ppm), market.maintenance_fraction_ppm)
    return value if quantums > 0 else -value, initial, maintenance


@cache
def book(at_once: int) -> tuple[Book, list[tuple[int, int, int]]]:
    """Accounts of up to so many of these positions, and the figures of each."""
    given, usdc = sizes(), random.Random(3)
    owners, markets, amounts, balances, figures = [], [], [], [], []
    pending = list(given)
    while pending:
        taken: dict[int, int] = {}
        while pending and len(taken) < at_once and pending[-1][0] not in taken:
            number, amount = pending.pop()
            taken[number] = amount
        owners += [len(balances)] * len(taken)
        markets += taken
        amounts += taken.values()
        balances.append(usdc.randrange(-(2**50), 2**50))
        parts = [by_plain_integers(chain()[f"M{number}-USD"], amount) for number, amount in taken.items()]
        nc, imr, mmr = (sum(column) for column in zip(*parts, strict=True))
        figures.append((nc + balances[-1], imr, mmr))
    made = Book(chain(), max_subaccounts=len(balances), max_positions=len(given), indexed=True)
    made.load_columns(
        [f"dydx1{row}" for row in range(len(balances))],
        [0] * len(balances),
        np.array(balances, np.int64),
        account=np.array(owners, np.uint32),
        perpetual_id=np.array(markets, np.uint32),
        quantums=np.array(amounts, np.int64),
        funding_index=np.zeros(len(given), np.int64),
    )
    return made, figures


@pytest.mark.parametrize("at_once", [1, 3, 20])
@pytest.mark.parametrize("path", scan_paths())
def test_each_path_equals_plain_integers_at_every_edge(path: str, at_once: int) -> None:
    """Values one below, at and one above whatever moves a floor, a ceiling or a limit; alone and added up."""
    held, figures = book(at_once)
    found = scan(held, path=path)
    row_of = {held.name(int(handle))[0]: row for row, handle in enumerate(found.handle)}
    for place, expected in enumerate(figures):
        row = row_of[f"dydx1{place}"]
        told = found.wide.get(row, (int(found.nc[row]), int(found.imr[row]), int(found.mmr[row])))
        assert told == expected, place


def test_the_edges_are_met() -> None:
    """Of each rounding both sides, and of each limit, in markets of the scan's own and outside of them."""
    markets = list(chain())
    whole = {"value": set(), "initial": set(), "first": set(), "maintenance": set()}
    fast = wide = 0
    for number, quantums in sizes():
        market = markets[number]
        multiplier, divisor = scale(market)
        value, left = divmod(abs(quantums) * multiplier, divisor)
        first = ceil_ppm(value, market.initial_margin_ppm)
        whole["value"].add((left == 0, left == divisor - 1, left in (0, multiplier % divisor)))
        for name, base, ppm in (
            ("initial", value, market.scaled_initial_margin_ppm),
            ("first", value, market.initial_margin_ppm),
            ("maintenance", first, market.maintenance_fraction_ppm),
        ):
            rest = base * ppm % ONE_MILLION
            whole[name].add((rest == 0, rest <= ppm, rest >= ONE_MILLION - max(ppm, 1)))
        fast += value < 2**49 and divisor <= 10**9
        wide += value >= 2**49 or divisor > 10**9
    assert all(len(kinds) >= 3 for kinds in whole.values()), whole
    assert fast > 10_000
    assert wide > 2_000
    assert {market.scaled_initial_margin_ppm for market in markets} > {0, 1_000_000, 50_000}
