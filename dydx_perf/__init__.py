"""Exact dYdX v4 risk: the chain's own integers for margin, funding, liquidation and PnL.

`Chain` holds markets as of a block, `Subaccount` balances and positions on it, `Risk` is the frozen answer.
"""

import os
from typing import TYPE_CHECKING

from dydx_perf.chain import Chain, FeeTier, ProtocolParameters
from dydx_perf.errors import (
    CapacityError,
    ChainError,
    ChecksumError,
    ConfigError,
    ConnectError,
    DydxPerfError,
    FeedError,
    FrameError,
    GapError,
    InputError,
    ObserverError,
    SnapshotError,
    StaleError,
    UnknownMarketError,
    UnknownSubaccountError,
    VenueError,
    VersionError,
    WriterError,
)
from dydx_perf.exact.state import LiquidationInfo
from dydx_perf.kernel import ALWAYS, COMPILED, NEVER, OraclePrice, Risk
from dydx_perf.market import Market
from dydx_perf.parent import ParentSubaccount
from dydx_perf.pnl import Pnl
from dydx_perf.position import Position
from dydx_perf.subaccount import Subaccount

__all__ = [
    "ALWAYS",
    "COMPILED",
    "NEVER",
    "Book",
    "CapacityError",
    "Chain",
    "ChainError",
    "ChecksumError",
    "ConfigError",
    "ConnectError",
    "Crossing",
    "Crossings",
    "Deposit",
    "DydxPerfError",
    "FeeTier",
    "FeedError",
    "FrameError",
    "GapError",
    "InputError",
    "Liquidation",
    "LiquidationInfo",
    "LiquidationOrder",
    "Market",
    "ObserverError",
    "OraclePrice",
    "Order",
    "ParentSubaccount",
    "Pnl",
    "Position",
    "PriceMove",
    "ProtocolParameters",
    "Risk",
    "SnapshotError",
    "StaleError",
    "Subaccount",
    "Transfer",
    "UnknownMarketError",
    "UnknownSubaccountError",
    "VenueError",
    "VersionError",
    "Withdrawal",
    "WriterError",
    "__version__",
    "get_include",
]

if TYPE_CHECKING:
    from dydx_perf.book import Book, Crossing, Crossings
    from dydx_perf.liquidation import Liquidation, LiquidationOrder
    from dydx_perf.order import Order
    from dydx_perf.preview import Deposit, PriceMove, Transfer, Withdrawal

    __version__: str
else:
    # Names that wait until somebody asks for them: who only watches risk does not load what asks what if.
    _LATER = {
        "Book": "book",
        "Crossing": "book",
        "Crossings": "book",
        "Deposit": "preview",
        "Liquidation": "liquidation",
        "LiquidationOrder": "liquidation",
        "Order": "order",
        "PriceMove": "preview",
        "Transfer": "preview",
        "Withdrawal": "preview",
    }

    def __getattr__(name):
        if name in _LATER:
            from importlib import import_module

            value = getattr(import_module(f"dydx_perf.{_LATER[name]}"), name)
            globals()[name] = value
            return value
        # Reading the installed metadata costs more than the rest of the import, so it waits, too.
        if name == "__version__":
            from importlib.metadata import version

            return version("dydx-perf")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_include() -> str:
    """Return the directory from which Cython and the C compiler find this package's headers.

    Give it to ``cythonize(include_path=[...])`` and to ``Extension(include_dirs=[...])``; then
    ``from dydx_perf.ext.structs cimport market_t`` works in other Cython code.
    """
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
