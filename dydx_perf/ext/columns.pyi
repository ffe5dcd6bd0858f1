from numpy import int64, uint32, uint64
from numpy.typing import NDArray

def paths() -> tuple[str, ...]: ...
def path() -> str: ...
def use_path(name: str, /) -> None: ...
def funding_payments(
    quantums: NDArray[int64],
    funding_index: NDArray[int64],
    market: NDArray[uint32],
    current_funding_index: NDArray[int64],
    *,
    out: NDArray[int64] | None = None,
) -> tuple[NDArray[int64], list[int]]: ...
def unrealized_pnl(
    quantums: NDArray[int64],
    entry_price: NDArray[int64],
    market: NDArray[uint32],
    oracle_price: NDArray[uint64],
    divisor: NDArray[uint64],
    *,
    out: tuple[NDArray[int64], NDArray[int64]] | None = None,
) -> tuple[NDArray[int64], NDArray[int64], list[int]]: ...
def margin_requirements(
    quantums: NDArray[int64],
    market: NDArray[uint32],
    oracle_price: NDArray[uint64],
    divisor: NDArray[uint64],
    initial_margin_ppm: NDArray[uint32],
    scaled_initial_margin_ppm: NDArray[uint32],
    maintenance_fraction_ppm: NDArray[uint32],
    *,
    out: tuple[NDArray[int64], NDArray[int64], NDArray[int64]] | None = None,
) -> tuple[NDArray[int64], NDArray[int64], NDArray[int64], list[int]]: ...
