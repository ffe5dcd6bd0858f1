from collections.abc import Callable
from typing import Self

from typing_extensions import disjoint_base

from dydx_perf.ext.account_store import AccountStore
from dydx_perf.ext.crossings import Crossings
from dydx_perf.ext.feed_lines import FeedLines
from dydx_perf.ext.frame import FrameScanner

@disjoint_base
class HotFeed(FeedLines):
    message_id: int
    heard_at: float
    deadline: float
    block_height: int
    def __new__(
        cls,
        store: AccountStore,
        scanner: FrameScanner,
        observers: Callable[[Crossings], list[Exception]],
    ) -> Self: ...
    @property
    def observers(self) -> Callable[[Crossings], list[Exception]]: ...
    @property
    def frames(self) -> int: ...
    @property
    def handed_over(self) -> int: ...
    def receive(
        self, frame: bytes | bytearray | memoryview | str, now: float
    ) -> tuple[()] | Crossings | None: ...
