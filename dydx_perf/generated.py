"""Accounts that nobody has: made by a seed, on real market parameters, to show and to measure with.

Positions by market popularity (the n-th market is held 1/n as often as the first), sizes and equity
log-normal. Balances are drawn against an estimate of the margin: how safe an account is, the integers tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.market import checked_integer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dydx_perf.book import Book
    from dydx_perf.chain import Chain
    from dydx_perf.market import Market

__all__ = ["GeneratedAccounts", "generated_accounts"]

MOST_POSITIONS = 8
MEDIAN_NOTIONAL = 3_000.0  # USDC
LONG_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class GeneratedAccounts:
    """Columns as `Book.load_columns` takes them."""

    addresses: list[str]
    numbers: list[int]
    usdc: NDArray[np.int64]
    account: NDArray[np.uint32]
    perpetual_id: NDArray[np.uint32]
    quantums: NDArray[np.int64]
    funding_index: NDArray[np.int64]

    def load_into(self, book: Book) -> None:
        """Put all of them into a book of the chain they were made on."""
        book.load_columns(
            self.addresses,
            self.numbers,
            self.usdc,
            account=self.account,
            perpetual_id=self.perpetual_id,
            quantums=self.quantums,
            funding_index=self.funding_index,
            basis="sample",
        )


def generated_accounts(chain: Chain, count: int, seed: int) -> GeneratedAccounts:
    """Make `count` accounts on the cross markets of `chain`; the same seed makes the same accounts.

    Parameters
    ----------
    chain : Chain
        With at least one cross market.
    count : int
        1 to 10,000,000.
    seed : int
        Zero or more.
    """
    import numpy as np

    checked_integer("count", count, 1, 10_000_000)
    checked_integer("seed", seed, 0, 2**63 - 1)
    markets = [market for market in chain if not market.is_isolated]
    if not markets:
        raise InputError("chain", chain, "a chain with a cross market")
    random = np.random.default_rng(seed)
    most = min(MOST_POSITIONS, len(markets))
    held = np.minimum(random.geometric(0.45, count), most)
    popularity = 1.0 / np.arange(1, len(markets) + 1)
    # The smallest of exponential waiting times draws without replacement, by popularity.
    waiting = random.exponential(1.0, (count, len(markets))) / popularity
    chosen = np.argsort(waiting, axis=1)[:, :most]
    taken = np.arange(most) < held[:, None]
    row = chosen[taken]
    account = np.repeat(np.arange(count, dtype=np.uint32), held)
    notional = random.lognormal(np.log(MEDIAN_NOTIONAL), 1.5, len(row))
    side = np.where(random.random(len(row)) < LONG_SHARE, 1, -1)
    step, value, margin = (np.array(column) for column in zip(*map(market_figures, markets), strict=True))
    quantums = (
        np.maximum(notional / (value[row] * step[row]), 1.0).astype(np.int64) * step[row] * side
    ).astype(np.int64)
    worth = quantums * value[row]
    needed = np.bincount(account, np.abs(worth) * margin[row], count)
    equity = needed * (1.0 + random.lognormal(1.2, 1.2, count))
    usdc = (equity - np.bincount(account, worth, count)) * 1e6
    funding = np.array([market.funding_index for market in markets], dtype=np.int64)
    return GeneratedAccounts(
        addresses=[f"generated{place:08d}" for place in range(count)],
        numbers=[0] * count,
        usdc=usdc.astype(np.int64),
        account=account,
        perpetual_id=np.array([market.perpetual_id for market in markets], dtype=np.uint32)[row],
        quantums=quantums,
        funding_index=funding[row],
    )


def market_figures(market: Market) -> tuple[int, float, float]:
    """Return step in base quantums, USDC for one base quantum, maintenance margin fraction; to draw with."""
    price = float(market.oracle_price.decimal) * 10.0**market.atomic_resolution
    return market.clob_pair.step_base_quantums, price, float(market.maintenance_margin_fraction)
