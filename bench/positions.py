"""A million positions in 300 markets as NumPy columns, and the rows of them that plain integers check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

POSITIONS, MARKETS, SEED = 1_000_000, 300, 5
CHECKED = 20_000


@dataclass(frozen=True)
class Columns:
    """One array each; per position first, then per market."""

    quantums: Any
    market: Any
    funding_index: Any
    entry_price: Any
    current_funding_index: Any
    oracle_price: Any
    divisor: Any
    initial_margin_ppm: Any
    scaled_initial_margin_ppm: Any
    maintenance_fraction_ppm: Any

    def first(self, rows: int) -> Columns:
        """The first so many positions, in arrays of their own."""
        return Columns(
            self.quantums[:rows].copy(),
            self.market[:rows].copy(),
            self.funding_index[:rows].copy(),
            self.entry_price[:rows].copy(),
            self.current_funding_index,
            self.oracle_price,
            self.divisor,
            self.initial_margin_ppm,
            self.scaled_initial_margin_ppm,
            self.maintenance_fraction_ppm,
        )


@cache
def columns() -> Columns:
    """Positions of 100 to 1,000,000 USDC; prices of 10 digits at power -9, as the sample markets have them.

    Markets are of falling popularity: the largest holds a sixth of the positions.
    """
    random = np.random.default_rng(SEED)
    weight = 1 / np.arange(1, MARKETS + 1)
    market = random.choice(MARKETS, POSITIONS, p=weight / weight.sum()).astype(np.uint32)
    price = random.integers(10**9, 10**10, MARKETS).astype(np.uint64)
    divisor = np.full(MARKETS, 10**9, dtype=np.uint64)
    worth = 10 ** random.uniform(8, 12, POSITIONS)
    sign = random.choice([-1, 1], POSITIONS)
    quantums = ((worth * 1e9 / price[market].astype(float)).astype(np.int64) + 1) * sign
    current = random.integers(-(10**9), 10**9, MARKETS)
    initial = random.choice([20_000, 50_000, 100_000], MARKETS).astype(np.uint32)
    return Columns(
        quantums=quantums,
        market=market,
        funding_index=current[market] + random.integers(-(10**6), 10**6, POSITIONS),
        entry_price=price[market].astype(np.int64) * random.integers(90, 110, POSITIONS) // 100,
        current_funding_index=current,
        oracle_price=price,
        divisor=divisor,
        initial_margin_ppm=initial,
        scaled_initial_margin_ppm=(initial * random.choice([1, 1, 2], MARKETS)).astype(np.uint32),
        maintenance_fraction_ppm=random.choice([500_000, 600_000], MARKETS).astype(np.uint32),
    )
