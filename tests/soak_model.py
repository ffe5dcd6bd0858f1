"""Many accounts as NumPy columns of integers: what a book at size is held against.

Every product is split so that no part of it passes 64 bits; nothing here is a float that decides.
"""

import random
from typing import Any

import numpy as np

from dydx_perf import Chain, Market

MARKETS = 300
HELD = 8
MILLION = 1_000_000
INITIAL = (20_000, 50_000, 100_000, 200_000, 333_333, 1_000_000)
FRACTIONS = (400_000, 600_000, 999_999, 1_000_000)
LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def soak_chain(seed: int, markets: int = MARKETS) -> Chain:
    """Markets with units from 10**-9 quote quantums to whole ones."""
    rng = random.Random(seed)
    made = []
    for number in range(markets):
        resolution = rng.choice((-10, -9, -8, -6))
        exponent = -6 - resolution - rng.randint(0, 9)
        made.append(
            Market(
                f"M{number}-USD",
                perpetual_id=number,
                atomic_resolution=resolution,
                price_exponent=exponent,
                oracle_price=f"{rng.randrange(10**6, 10**9)}e{exponent}",
                initial_margin_ppm=rng.choice(INITIAL[:4]),
                maintenance_fraction_ppm=rng.choice(FRACTIONS),
                funding_index=rng.randrange(-(10**8), 10**8),
                open_interest_lower_cap=10**13,
                open_interest_upper_cap=rng.choice((0, 10**14)),
                basis="sample",
            )
        )
    return Chain(made)


def mul_ppm_ceil(value: Any, ppm: Any) -> Any:
    """Parts per million, rounded up."""
    return value // MILLION * ppm + -(-(value % MILLION) * ppm // MILLION)


class Mirror:
    """Inputs of up to `room` accounts with at most eight positions each, and who is liquidatable."""

    def __init__(self, chain: Chain, room: int) -> None:
        self.price, self.funding, self.initial, self.fraction, self.unit = (
            np.array(column, np.int64)
            for column in zip(
                *(
                    (
                        m.perpetual.price,
                        m.funding_index,
                        m.initial_margin_ppm,
                        m.maintenance_fraction_ppm,
                        10 ** -(m.price_exponent + m.atomic_resolution + 6),
                    )
                    for m in chain
                ),
                strict=True,
            )
        )
        self.usdc = np.zeros(room, np.int64)
        self.market = np.zeros((room, HELD), np.int32)
        self.quantums = np.zeros((room, HELD), np.int64)
        self.index = np.zeros((room, HELD), np.int64)
        self.used = np.zeros(room, bool)
        self.flagged = np.zeros(room, bool)

    def risk(self, first: int = 0, end: int | None = None) -> tuple[Any, Any]:
        """Net collateral and maintenance margin requirement of a range of accounts, exact."""
        held = self.quantums[first:end]
        owner, slot = np.nonzero(held)
        quantums = held[owner, slot]
        market = self.market[first:end][owner, slot]
        price, unit = self.price[market], self.unit[market]
        size = np.abs(quantums)
        whole, part = size // unit, size % unit
        notional = whole * price + part * (price // unit) + part * (price % unit) // unit
        margin = mul_ppm_ceil(mul_ppm_ceil(notional, self.initial[market]), self.fraction[market])
        index = self.index[first:end][owner, slot] - self.funding[market]
        nc = self.usdc[first:end].copy()
        mmr, rest = np.zeros_like(nc), np.zeros_like(nc)
        np.add.at(nc, owner, np.where(quantums > 0, notional, -notional) + index * (quantums // MILLION))
        np.add.at(rest, owner, index * (quantums % MILLION))
        np.add.at(mmr, owner, margin)
        return nc + rest // MILLION, mmr

    def verdicts(self) -> Any:
        """Whether each account is liquidatable."""
        nc, mmr = self.risk()
        return (mmr > nc) & (mmr > 0) & self.used

    def take(self, rows: Any, below: Any) -> None:
        """Take over edges that a book reported; each must be one."""
        assert len(np.unique(rows)) == len(rows)
        assert self.used[rows].all()
        assert (self.flagged[rows] != below).all()
        self.flagged[rows] = below

    def fill(self, rng: Any, count: int, popularity: Any) -> dict[str, Any]:
        """Make `count` accounts; return the columns that `Book.load_columns` takes."""
        held = np.minimum(rng.geometric(0.5, count) - (rng.random(count) < 0.05), HELD)
        taken = np.arange(HELD) < held[:, None]
        share = np.cumsum(popularity)
        self.market[:count] = np.searchsorted(share / share[-1], rng.random((count, HELD)))
        for slot in range(1, HELD):  # nobody is in one market twice
            again = (self.market[:count, :slot] == self.market[:count, slot, None]).any(axis=1)
            taken[:, slot] &= ~again
        market = self.market[:count]
        value = rng.lognormal(np.log(3e9), 1.5, (count, HELD)) * np.where(
            rng.random((count, HELD)) < 0.6, 1, -1
        )
        size = value * self.unit[market] / self.price[market]
        self.quantums[:count] = np.where(taken, np.where(np.abs(size) < 1, 1, size), 0)
        self.index[:count] = self.funding[market] + rng.integers(-(10**6), 10**6, (count, HELD))
        self.used[:count] = True
        nc, mmr = self.risk(0, count)
        self.usdc[:count] = mmr * (1.0 + rng.lognormal(-0.7, 1.5, count)) - nc
        owner, slot = np.nonzero(self.quantums[:count])
        return {
            "usdc": self.usdc[:count].copy(),
            "account": owner.astype(np.uint32),
            "perpetual_id": market[owner, slot].astype(np.uint32),
            "quantums": self.quantums[owner, slot],
            "funding_index": self.index[owner, slot],
        }


def soak_name(number: int) -> tuple[str, int]:
    """An address like the chain's, a different one for each number."""
    text = "".join(LETTERS[(number >> shift) & 31] for shift in range(0, 40, 5))
    return "dydx1" + text + "q" * 30, number % 3
