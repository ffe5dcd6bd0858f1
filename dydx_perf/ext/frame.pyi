from typing import NamedTuple, Self

from typing_extensions import disjoint_base

CHANNELS: tuple[str, ...]
KINDS: tuple[str, ...]
SIDES: tuple[str, ...]
STATUSES: tuple[str, ...]
ALSO: tuple[tuple[int, str], ...]

class FrameHeader(NamedTuple):
    channel: str
    id: str
    message_id: int
    version: str
    batched: bool
    subaccount_number: int | None
    elements: int
    block_height: int
    also: frozenset[str]
    records: int

@disjoint_base
class FrameScanner:
    def __new__(cls, max_records: int = 8192) -> Self: ...
    @property
    def scales(self) -> dict[str, tuple[int, int, int]]: ...
    def register_market(
        self, ticker: str, market: int, price_exponent: int, atomic_resolution: int
    ) -> None: ...
    def read(self, frame: bytes | bytearray | memoryview | str, /) -> FrameHeader | None: ...
    def records(self) -> list[tuple[object, ...]]: ...
