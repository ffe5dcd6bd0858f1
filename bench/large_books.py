"""Books of 10,000 to a million accounts on 300 markets, as the venue might have them; the same in every
run.

Markets by popularity: the n-th is chosen 1/n as often as the first, and nobody is in one twice. Two
thirds of the accounts have one position, one in twenty has none, one in 5,000 makes markets with 60
positions of fifty times the size; 2.1 positions an account in all (the `dense` book: 3.0, from 1 to 8
each). Sizes are log-normal, 3,000 USDC in the middle. Leverage is log-normal around 4, cut where the
margin is: nobody begins closer to the line than 1 % of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dydx_perf import Book, Chain, Market

MARKETS, SEED = 300, 15
#: initial margin of the first two markets, the next eighteen, the next eighty, the rest
TIERS = ((2, 20_000), (20, 50_000), (100, 100_000), (MARKETS, 200_000))
MAKERS_EVERY, MAKER_POSITIONS, MAKER_SIZE = 5_000, 60, 50.0
MOST_HELD = 8


@dataclass(frozen=True)
class Columns:
    """What goes in: one array per account, then one per position."""

    addresses: list[str]
    numbers: list[int]
    usdc: Any
    account: Any
    perpetual_id: Any
    quantums: Any
    funding_index: Any

    def load_into(self, held: Book) -> None:
        """Put all of them into a book."""
        held.load_columns(
            self.addresses,
            self.numbers,
            self.usdc,
            account=self.account,
            perpetual_id=self.perpetual_id,
            quantums=self.quantums,
            funding_index=self.funding_index,
            basis="sample",
        )


def chain() -> Chain:
    """300 markets at prices of 0.1 to 60,000 USDC, integers of some nine digits."""
    rng = np.random.default_rng(SEED)
    markets = []
    for number in range(MARKETS):
        price = [60_000.0, 3_000.0][number] if number < 2 else 10 ** rng.uniform(-1, 2.5)
        exponent = int(np.floor(np.log10(price))) - 9
        markets.append(
            Market(
                f"M{number}-USD",
                perpetual_id=number,
                atomic_resolution=-10 if number < 2 else -7,
                price_exponent=exponent,
                oracle_price=f"{round(price * 10.0**-exponent)}e{exponent}",
                initial_margin_ppm=next(ppm for end, ppm in TIERS if number < end),
                maintenance_fraction_ppm=600_000,
                funding_index=int(rng.integers(-(10**6), 10**6)),
                basis="sample",
            )
        )
    return Chain(markets)


def popular(rng: Any, count: int) -> Any:
    """Markets of so many positions, by popularity."""
    share = np.cumsum(1 / np.arange(1, MARKETS + 1))
    return np.searchsorted(share / share[-1], rng.random(count)).astype(np.int64)


@cache
def columns(accounts: int, *, dense: bool = False) -> Columns:
    """The accounts."""
    rng = np.random.default_rng((SEED, accounts, dense))
    if dense:
        held = 1 + rng.binomial(MOST_HELD - 1, 2.35 / (MOST_HELD - 1), accounts)
    else:
        kind = rng.random(accounts)
        held = np.where(kind < 0.05, 0, np.where(kind < 0.71, 1, 1 + rng.geometric(0.22, accounts)))
    is_maker = np.arange(accounts) % MAKERS_EVERY == MAKERS_EVERY // 2
    held = np.where(is_maker, MAKER_POSITIONS, np.minimum(held, 24))
    account = np.repeat(np.arange(accounts), held)
    market = popular(rng, len(account))
    _, first = np.unique(account * MARKETS + market, return_index=True)  # nobody is in a market twice
    account, market = account[first], market[first]
    of_chain = list(chain())
    unit = np.array([float(m.oracle_price.decimal) * 10.0**m.atomic_resolution for m in of_chain])
    margin = np.array([m.initial_margin_ppm * m.maintenance_fraction_ppm / 1e12 for m in of_chain])
    value = rng.lognormal(np.log(3_000.0), 1.5, len(account)) * np.where(is_maker[account], MAKER_SIZE, 1.0)
    value *= np.where(rng.random(len(account)) < 0.6, 1, -1)
    quantums = (value / unit[market]).astype(np.int64)
    quantums[quantums == 0] = 1
    value = quantums * unit[market]
    gross = np.bincount(account, np.abs(value), accounts)
    needed = np.bincount(account, np.abs(value) * margin[market], accounts)
    leverage = rng.lognormal(np.log(4.0), 0.9, accounts)
    equity = np.maximum(gross / leverage, needed * (1.01 + rng.exponential(1.0, accounts)))
    usdc = equity - np.bincount(account, value, accounts) + 10.0 * (held == 0)
    funding = np.array([m.funding_index for m in of_chain])
    letters = np.array(list("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
    digits = rng.integers(0, 32, (accounts, 38), dtype=np.uint8)
    digits[:, :7] = (np.arange(accounts)[:, None] >> (5 * np.arange(7))) & 31  # no two are alike
    return Columns(
        addresses=["dydx1" + text for text in letters[digits].view("U38").ravel().tolist()],
        numbers=[0] * accounts,
        usdc=(usdc * 1e6).astype(np.int64),
        account=account.astype(np.uint32),
        perpetual_id=market.astype(np.uint32),
        quantums=quantums,
        funding_index=funding[market],
    )


def book(accounts: int, *, indexed: bool, dense: bool = False, scan_path: str | None = None) -> Book:
    """A book of its own, on a chain of its own, with room for a few more."""
    given = columns(accounts, dense=dense)
    made = Book(
        chain(),
        max_subaccounts=accounts + 1_000,
        max_positions=len(given.account) + 10_000,
        indexed=indexed,
        **({"scan_path": scan_path} if indexed else {}),
    )
    given.load_into(made)
    return made
