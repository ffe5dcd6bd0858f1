from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from dydx_perf.ext.account_store import AccountStore
from dydx_perf.ext.indexed import IndexedStore

_Sums = tuple[int, int, int, int, int, int, int, int, int, int]
_Figures = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]

def hold(store: AccountStore) -> None: ...
def release(store: AccountStore) -> None: ...
def version_of(store: AccountStore) -> tuple[int, int]: ...
def outside_slots(store: IndexedStore) -> list[int]: ...
def extra_slots(store: IndexedStore) -> list[int]: ...

@disjoint_base
class Supposed:
    def __new__(
        cls,
        store: IndexedStore,
        price: NDArray[np.uint64],
        initial_margin_ppm: NDArray[np.uint32],
        maintenance_fraction_ppm: NDArray[np.uint32],
        open_interest: NDArray[np.int64],
        index_change: NDArray[np.int64],
        holds: NDArray[np.uint8],
    ) -> Self: ...
    @property
    def count(self) -> int: ...
    @property
    def is_certified(self) -> bool: ...
    @property
    def moves_funding(self) -> bool: ...

def sum_pages(
    store: IndexedStore,
    supposed: Supposed,
    first: int,
    last: int,
    figures: _Figures | None = None,
    path: str | None = None,
) -> tuple[_Sums, list[int]]: ...
def sum_extra(store: IndexedStore, supposed: Supposed) -> tuple[_Sums, list[int]]: ...
def account_figures(store: IndexedStore, supposed: Supposed, slot: int) -> tuple[int, int, int] | None: ...
def pages_liquidatable(
    store: IndexedStore, supposed: Supposed, first: int, last: int, path: str | None = None
) -> tuple[int, list[int]]: ...
