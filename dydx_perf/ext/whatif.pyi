from typing import Any, Protocol, final

from dydx_perf.ext.account import Account, MarketTable, Risk

RESULTS: tuple[str, str, str, str]

class _ClobPairFields(Protocol):
    @property
    def step_base_quantums(self) -> int: ...
    @property
    def quantum_conversion_exponent(self) -> int: ...

class _OrderFields(Protocol):
    @property
    def ticker(self) -> str: ...

class _FeeTierFields(Protocol):
    @property
    def maker_fee_ppm(self) -> int: ...
    @property
    def taker_fee_ppm(self) -> int: ...

@final
class Placement:
    def __init__(
        self,
        table: MarketTable,
        index: int,
        clob_pair: _ClobPairFields,
        *,
        is_buy: bool,
        base_quantums: int,
        subticks: int,
        fill_subticks: int,
        builder_fee_ppm: int,
        post_only: bool,
        immediate_or_cancel: bool,
        reduce_only: bool,
        is_isolated: bool,
    ) -> None: ...
    @property
    def table(self) -> MarketTable: ...

@final
class OrderDecision:
    scenario: Any
    def __init__(self, *args: object, **kwargs: object) -> None: ...
    @property
    def chain(self) -> Any: ...
    @property
    def order(self) -> Any: ...
    @property
    def fee_tier(self) -> Any: ...
    @property
    def counterparty_quantums(self) -> int: ...
    @property
    def leverage(self) -> dict[str, int]: ...
    @property
    def time(self) -> object: ...
    @property
    def passes(self) -> bool: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> tuple[int, int]: ...
    @property
    def usdc(self) -> int: ...
    def position_rows(self) -> list[tuple[int, int, int, int]]: ...
    def market_rows(self) -> list[tuple[int, int, int, int, int, int, int, int, int]]: ...
    def verdict(self, resting: bool) -> tuple[str, Risk, Risk, int, int, int, int, int, int] | None: ...

def decide_order(
    account: Account,
    placement: Placement,
    chain: object,
    order: _OrderFields,
    fee_tier: _FeeTierFields,
    counterparty_quantums: int,
    leverage: dict[str, int],
    holds_isolated: bool,
) -> OrderDecision | None: ...
