"""A book of 100,000 accounts on 300 markets, and the same as Python objects; the same in every run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dydx_perf import Book, Chain, Market

ACCOUNTS, MARKETS, SEED = 100_000, 300, 8
CHECKED = 500


@dataclass(frozen=True)
class Given:
    """What goes in: one array per account, then one per position."""

    addresses: list[str]
    numbers: list[int]
    usdc: Any
    account: Any
    perpetual_id: Any
    quantums: Any
    funding_index: Any

    @property
    def columns(self) -> dict[str, Any]:
        """The arguments of `Book.load_columns` that are named."""
        names = ("account", "perpetual_id", "quantums", "funding_index")
        return {name: getattr(self, name) for name in names}


def chain() -> Chain:
    """Markets of 5 % initial and 3 % maintenance margin; every other one scales it by open interest."""
    rng = np.random.default_rng(SEED)
    markets = []
    for number in range(MARKETS):
        market = Market(
            f"M{number}-USD",
            perpetual_id=number,
            atomic_resolution=-9,
            price_exponent=-6,
            oracle_price=f"{10 ** rng.uniform(-1, 4):.6f}",
            initial_margin_ppm=50_000,
            maintenance_fraction_ppm=600_000,
            open_interest_lower_cap=10**13,
            open_interest_upper_cap=5 * 10**13 * (number % 2),
            funding_index=int(rng.integers(-(10**6), 10**6)),
        )
        market.set_open_interest(2 * 10**16 * 10**6 // market.oracle_price.integer)
        markets.append(market)
    return Chain(markets)


@cache
def given(accounts: int = ACCOUNTS) -> Given:
    """Positions of 10 to 30,000 USDC, some three an account, popular markets first; 2 to 30 times levered."""
    rng = np.random.default_rng(SEED + 1)
    prices = np.array([float(market.oracle_price.decimal) for market in chain()])
    popularity = 1 / np.arange(1, MARKETS + 1)
    held = np.minimum(rng.geometric(1 / 3, accounts), 60)
    account = np.repeat(np.arange(accounts), held)
    market = rng.choice(MARKETS, size=len(account), p=popularity / popularity.sum())
    _, first = np.unique(account * MARKETS + market, return_index=True)
    account, market = account[first], market[first]
    value = 10 ** rng.uniform(1, 4.5, len(account)) * rng.choice((-1, 1), len(account))
    gross = np.bincount(account, np.abs(value), accounts)
    equity = gross / rng.uniform(2, 30, accounts)
    usdc = equity - np.bincount(account, value, accounts)
    return Given(
        addresses=[f"dydx1{row:038d}" for row in range(accounts)],
        numbers=[0] * accounts,
        usdc=(usdc * 1e6).astype(np.int64),
        account=account.astype(np.uint32),
        perpetual_id=market.astype(np.uint32),
        quantums=(value / prices[market] * 1e9).astype(np.int64),
        funding_index=np.zeros(len(account), np.int64),
    )


def empty_book() -> Book:
    """Room for all of them."""
    return Book(chain(), max_subaccounts=ACCOUNTS, max_positions=len(given().account))


@cache
def book() -> Book:
    """All of them."""
    made = empty_book()
    made.load_columns(given().addresses, given().numbers, given().usdc, **given().columns)
    return made


@cache
def indexed_book(accounts: int) -> Book:
    """So many accounts of the same kind in an indexed book."""
    wanted = given(accounts)
    made = Book(chain(), max_subaccounts=accounts, max_positions=len(wanted.account), indexed=True)
    made.load_columns(wanted.addresses, wanted.numbers, wanted.usdc, **wanted.columns)
    return made


# ---- what one would write instead: a dictionary of objects, every account computed anew


@dataclass
class PlainPosition:
    """One position."""

    quantums: int
    funding_index: int


@dataclass
class PlainAccount:
    """One account."""

    usdc: int
    positions: dict[int, PlainPosition]


@cache
def plain() -> dict[int, PlainAccount]:
    """The same accounts."""
    accounts = {row: PlainAccount(int(usdc), {}) for row, usdc in enumerate(given().usdc)}
    columns = (given().account, given().perpetual_id, given().quantums, given().funding_index)
    for account, market, quantums, index in zip(*(column.tolist() for column in columns), strict=True):
        accounts[account].positions[market] = PlainPosition(quantums, index)
    return accounts


def plain_markets(of: Chain) -> list[tuple[int, int, int, int, int]]:
    """Price, funding index, scaled and unscaled initial margin, maintenance fraction."""
    return [
        (
            market.perpetual.price,
            market.funding_index,
            market.scaled_initial_margin_ppm,
            market.initial_margin_ppm,
            market.maintenance_fraction_ppm,
        )
        for market in of
    ]


def ppm_ceil(value: int, ppm: int) -> int:
    """Parts per million, rounded up."""
    return -(-value * ppm // 1_000_000)


def plain_risk(account: PlainAccount, markets: list[tuple[int, int, int, int, int]]) -> tuple[int, int, int]:
    """Risk of an account in plain integers; sizes times prices are of 10**-9 quote quantums here."""
    nc, imr, mmr, funding = account.usdc, 0, 0, 0
    for number, position in account.positions.items():
        price, index, scaled, unscaled, maintenance = markets[number]
        quantums = position.quantums
        value = abs(quantums) * price // 10**9
        nc += value if quantums > 0 else -value
        imr += ppm_ceil(value, scaled)
        mmr += ppm_ceil(ppm_ceil(value, unscaled), maintenance)
        funding += (position.funding_index - index) * quantums
    return nc + funding // 1_000_000, imr, mmr
