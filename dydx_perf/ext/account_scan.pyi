from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from dydx_perf.ext.indexed import IndexedStore

def exact_scan_paths() -> tuple[str, ...]: ...

@disjoint_base
class Prices:
    def __new__(cls, store: IndexedStore, prices: NDArray[np.uint64] | None = None) -> Self: ...
    @property
    def count(self) -> int: ...

def count_pages(store: IndexedStore) -> tuple[int, int]: ...
def scan_pages(
    store: IndexedStore,
    prices: Prices,
    first: int,
    last: int,
    nc: NDArray[np.int64],
    imr: NDArray[np.int64],
    mmr: NDArray[np.int64],
    slot: NDArray[np.uint32],
    unknown: NDArray[np.int64],
    path: str | None = None,
) -> int: ...
