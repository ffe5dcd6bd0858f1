"""The objects that hold markets, accounts and risks: compiled where possible, plain Python elsewhere.

Everything above imports them from here and does not know which it got; `COMPILED` tells.
"""

from typing import TYPE_CHECKING

__all__ = [
    "ALWAYS",
    "BASES",
    "COMPILED",
    "NEVER",
    "Account",
    "MarketTable",
    "OraclePrice",
    "OrderDecision",
    "Placement",
    "Risk",
    "decide_order",
]

if TYPE_CHECKING:
    from dydx_perf.ext.account import ALWAYS, BASES, NEVER, Account, MarketTable, OraclePrice, Risk
    from dydx_perf.ext.whatif import OrderDecision, Placement, decide_order

    COMPILED: bool
else:
    try:
        from dydx_perf.ext.account import ALWAYS, BASES, NEVER, Account, MarketTable, OraclePrice, Risk
        from dydx_perf.ext.whatif import OrderDecision, Placement, decide_order

        COMPILED = True
    except ModuleNotFoundError:  # a build without 128-bit integers
        from dydx_perf.exact.account import (
            ALWAYS,
            BASES,
            NEVER,
            Account,
            MarketTable,
            OraclePrice,
            OrderDecision,
            Placement,
            Risk,
            decide_order,
        )

        COMPILED = False
