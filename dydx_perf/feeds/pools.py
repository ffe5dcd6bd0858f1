"""Collateral pools and the insurance funds behind them: what a node last said of each.

All cross markets share one pool and one fund; each isolated market has its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from dydx_perf.chain import Chain
from dydx_perf.feeds.accounts import market_subject
from dydx_perf.feeds.node import Gate, NodePicture
from dydx_perf.feeds.trust import Doubts

__all__ = ["CROSS_POOL", "Pools"]

#: subject of notices about the collateral pool of all cross markets
CROSS_POOL = "pool cross"
CROSS_FUND = "insurance_fund"


class Pools:
    """Withdrawal gates and insurance funds of a chain.

    Parameters
    ----------
    chain : Chain
    doubts : Doubts
        Takes the notice of a pool that lets nothing out.
    """

    def __init__(self, chain: Chain, doubts: Doubts) -> None:
        self._chain = chain
        self._doubts = doubts
        self.gates: dict[str, Gate] = {}
        self.funds: dict[str, int] = {}

    def take(self, picture: NodePicture) -> None:
        """Take what a picture says of gates and funds; what it does not say stands."""
        self.funds.update(picture.funds)
        if picture.height is None:
            return  # a gate is of a height
        for perpetual_id, gate in picture.gates.items():
            known = perpetual_id in self._chain
            self.gates[self.pool_of([self._chain[perpetual_id].ticker] if known else [])] = gate

    def watch(self, height: int | None) -> None:
        """Notice pools whose withdrawals are blocked at a height."""
        for subject, gate in list(self.gates.items()):
            if subject != CROSS_POOL and self.pool_of([subject.removeprefix("market ")]) == CROSS_POOL:
                del self.gates[subject]  # the market has no pool of its own any more
                self._doubts.lift(subject, "withdrawals_blocked")
                continue
            is_blocked = height is not None and gate.is_blocked(height)
            self._doubts.set(subject, "withdrawals_blocked", is_blocked)

    def steady_until(self) -> int | None:
        """Return the block up to which `watch` finds nothing new, None: any."""
        ends = [
            gate.withdrawals_and_transfers_unblocked_at_block - 1
            for subject, gate in self.gates.items()
            if self._doubts.holds(subject, "withdrawals_blocked")
        ]
        return min(ends, default=None)

    def pool_of(self, tickers: Iterable[str]) -> str:
        """Return the subject of the collateral pool of an account that holds these."""
        for ticker in tickers:
            if ticker in self._chain and self._chain[ticker].is_isolated:
                return market_subject(ticker)
        return CROSS_POOL

    def is_fund_low(self, tickers: Iterable[str], net_collateral: int) -> bool:
        """Whether the insurance fund behind these cannot pay a deficit; one that is empty cannot pay any.

        What is at stake is what the account owes beyond its collateral at today's prices, and one quantum at
        least: the chain takes a fill worse than the bankruptcy price only if the fund pays for it in full.
        A fund that was not asked for is not low.
        """
        pool = self.pool_of(tickers)
        fund = CROSS_FUND
        if pool != CROSS_POOL:
            fund += f":{self._chain[pool.removeprefix('market ')].perpetual_id}"
        amount = self.funds.get(fund)
        return amount is not None and amount < max(1, -net_collateral)
