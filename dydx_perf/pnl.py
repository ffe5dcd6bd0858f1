"""Profit and loss of a position as the indexer reports it; the chain keeps none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact import indexer
from dydx_perf.exact.decimals import without_trailing_zeros

if TYPE_CHECKING:
    from decimal import Decimal

    from dydx_perf.position import Position

__all__ = ["Pnl"]


@dataclass(frozen=True, slots=True)
class Pnl:
    """Exact Decimals in USDC; nothing is rounded to quantums.

    Attributes
    ----------
    entry_price : Decimal
        As the indexer reports it: the mean of the increasing fills.
    unrealized : Decimal
        size * (oracle price - entry price).
    realized : Decimal
        Of the fills that reduced the position, less the fees of all its fills, as given with the position.
    net_funding : Decimal
        Settled funding as given with the position, plus what is due since its funding index.
    """

    entry_price: Decimal
    unrealized: Decimal
    realized: Decimal
    net_funding: Decimal

    @property
    def total(self) -> Decimal:
        """Unrealized + realized + net_funding."""
        total = indexer.total_pnl(self.unrealized, self.realized, self.net_funding)
        return without_trailing_zeros(total)


def position_pnl(position: Position) -> Pnl:
    """Pnl of a position that has an entry price.

    Raises
    ------
    InputError
        The position has no entry price: the chain does not keep one, so it must be given.
    """
    if position.entry_price is None:
        raise InputError(
            "entry_price", None, f"given with the position in {position.ticker}: the chain keeps none"
        )
    return Pnl(
        entry_price=position.entry_price,
        unrealized=without_trailing_zeros(
            indexer.unrealized_pnl(position.size, position.market.oracle_price.decimal, position.entry_price)
        ),
        realized=position.realized_pnl,
        net_funding=without_trailing_zeros(
            indexer.net_funding(position.net_funding, unsettled_funding(position))
        ),
    )


def unsettled_funding(position: Position) -> Decimal:
    """USDC received since the position's funding index, exact, as the indexer counts it."""
    resolution = position.market.atomic_resolution
    return indexer.unsettled_funding(
        position.size,
        indexer.human_funding_index(position.funding_index, resolution),
        indexer.human_funding_index(position.market.funding_index, resolution),
    )
