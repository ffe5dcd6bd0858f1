from collections.abc import Sequence

from dydx_perf.ext.margin import _Perpetual

USDC_DIGITS: int

def unrealized_pnl(
    quantums: int, entry_price: int, oracle_price: int, divisor: int
) -> tuple[int, int] | None: ...
def equity_and_free_collateral(
    usdc: int, positions: Sequence[tuple[_Perpetual, int, int]]
) -> tuple[int, int, int] | None: ...
