from typing import Any

import numpy as np
from numpy.typing import NDArray

from dydx_perf.ext.indexed import IndexedStore

LAYOUT: int
COLUMNS: dict[str, type[np.generic]]

def counts(store: IndexedStore) -> dict[str, int]: ...
def sections(
    store: IndexedStore,
) -> tuple[dict[str, NDArray[Any]], list[tuple[Any, ...]], list[tuple[Any, ...]]]: ...
def restore(
    store: IndexedStore,
    columns: dict[str, NDArray[Any]],
    names: list[Any],
    outside: list[Any],
    extra: list[Any],
) -> None: ...
