from typing import Any, Final, Self, final

from numpy import int64, uint32
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

# Kinds of records, each with what follows the kind in the tuple. A key is (address, number, client_id,
# order_flags, clob_pair_id).

# key, side, quantums, subticks, status, good_til, is_good_til_time, time_in_force, reduce_only, None
ORDER_PLACE: Final = 1
# key, reason, status
ORDER_REMOVE: Final = 2
# key, filled in all
ORDER_UPDATE: Final = 3
# as ORDER_PLACE, and last the key of the order that goes
ORDER_REPLACE: Final = 4
# match, key of the taker or the liquidated account, perpetual, size, side, is_final_settlement
MATCH: Final = 5
# key of the maker or the offsetting account, amount
FILL: Final = 6
# key, side, quantums, subticks, filled in all, good_til, is_good_til_time, time_in_force, reduce_only
ORDER_STATE: Final = 7
# match, key, perpetual, side, quantums, subticks, status, remaining, filled optimistically
TAKER: Final = 8
# address, number
SUBACCOUNT: Final = 9
# perpetual, signed base quantums
POSITION: Final = 10
# asset, quantums without their sign
ASSET: Final = 11
# market of the price, id within the price, exponent, price integer
PRICE: Final = 12

MATCH_ORDERS: Final = 1
MATCH_LIQUIDATION: Final = 2
MATCH_DELEVERAGING: Final = 3

# Bodies of updates.
ORDER_BOOK: Final = 3
ORDER_FILL: Final = 4
TAKER_ORDER: Final = 5
SUBACCOUNT_UPDATE: Final = 6
PRICE_UPDATE: Final = 7

@disjoint_base
class StreamScanner:
    def __new__(cls, *, max_records: int = 1048576, max_bytes: int = 268435456) -> Self: ...
    def scan(self, data: Buffer, /) -> int: ...
    def release(self) -> None: ...
    def __len__(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    def header(self, update: int, /) -> tuple[int, int, int, bool]: ...
    def records(self, update: int, /) -> list[tuple[Any, ...]]: ...
    def updates(self) -> list[tuple[int, int, int, bool, list[tuple[Any, ...]]]]: ...

@final
class SubaccountPage:
    @property
    def addresses(self) -> list[str]: ...
    @property
    def numbers(self) -> list[int]: ...
    #: address, number, USDC, balances of other assets, positions of (perpetual, quantums, funding index,
    #: quote balance)
    @property
    def beside(self) -> list[tuple[str, int, int, int, list[tuple[int, int, int, int]]]]: ...
    @property
    def usdc(self) -> NDArray[int64]: ...
    @property
    def account(self) -> NDArray[uint32]: ...
    @property
    def perpetual_id(self) -> NDArray[uint32]: ...
    @property
    def quantums(self) -> NDArray[int64]: ...
    @property
    def funding_index(self) -> NDArray[int64]: ...
    @property
    def quote_balance(self) -> NDArray[int64]: ...
    @property
    def next_key(self) -> bytes: ...
    @property
    def total(self) -> int: ...

def scan_subaccounts(data: Buffer, /, *, max_bytes: int = 268435456) -> SubaccountPage: ...
def read_integer(data: Buffer, /) -> int: ...
