import numpy as np
from numpy.typing import NDArray

from dydx_perf.ext.indexed import IndexedStore

_Side = tuple[int, int, int]

def market_holders(
    store: IndexedStore,
    market: int,
    slot: NDArray[np.uint32],
    quantums: NDArray[np.int64],
    kind: NDArray[np.uint8],
    first: NDArray[np.uint64],
    last: NDArray[np.uint64],
) -> None: ...
def count_holders(store: IndexedStore, market: int) -> int: ...
def sum_at_price(
    store: IndexedStore,
    market: int,
    price: int,
    quantums: NDArray[np.int64],
    kind: NDArray[np.uint8],
    first: NDArray[np.uint64],
    last: NDArray[np.uint64],
) -> tuple[_Side, _Side] | None: ...
