from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from dydx_perf.ext.account_store import AccountStore

def exact_scan_paths() -> tuple[str, ...]: ...

@disjoint_base
class Prices:
    def __new__(cls, store: AccountStore, prices: NDArray[np.uint64] | None = None) -> Self: ...
    @property
    def count(self) -> int: ...

def page_rows(store: AccountStore) -> NDArray[np.int64]: ...
def count_pages(store: AccountStore) -> tuple[int, int]: ...
def scan_pages(
    store: AccountStore,
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
def name_handles(store: AccountStore, slot: NDArray[np.uint32], handle: NDArray[np.int64]) -> None: ...
def account_figures(store: AccountStore, prices: Prices, slot: int) -> tuple[int, int, int] | None: ...
def weakest_source(store: AccountStore) -> tuple[int, int]: ...
