from typing import Protocol

from dydx_perf.ext.margin import _Perpetual, _Risk

KINDS: tuple[str, str, str]

class _ClobPairFields(Protocol):
    @property
    def step_base_quantums(self) -> int: ...
    @property
    def subticks_per_tick(self) -> int: ...
    @property
    def quantum_conversion_exponent(self) -> int: ...

class _ConfigFields(Protocol):
    @property
    def max_liquidation_fee_ppm(self) -> int: ...
    @property
    def min_position_notional_liquidated(self) -> int: ...
    @property
    def max_position_portion_liquidated_ppm(self) -> int: ...
    @property
    def max_notional_liquidated(self) -> int: ...
    @property
    def max_quantums_insurance_lost(self) -> int: ...
    @property
    def bankruptcy_adjustment_ppm(self) -> int: ...
    @property
    def spread_to_maintenance_margin_ratio_ppm(self) -> int: ...

def position_liquidation_price(
    perpetual: _Perpetual, quantums: int, account_risk: _Risk
) -> tuple[str, int | None] | None: ...
def bankruptcy_quote_quantums(
    perpetual: _Perpetual, quantums: int, delta_quantums: int, account_risk: _Risk
) -> int | None: ...
def fillable_subticks(
    perpetual: _Perpetual,
    quantums: int,
    account_risk: _Risk,
    clob_pair: _ClobPairFields,
    config: _ConfigFields,
) -> int | None: ...
def price_to_subticks(
    num: int,
    den: int,
    is_liquidating_long: bool,
    subticks_per_tick: int,
    quantum_conversion_exponent: int,
) -> int | None: ...
def notional_limits(
    perpetual: _Perpetual, quantums: int, config: _ConfigFields
) -> tuple[int, int] | None: ...
def block_limits_left(
    config: _ConfigFields, notional_liquidated: int, quantums_insurance_lost: int
) -> tuple[int | None, int | None] | None: ...
def size_delta(
    perpetual: _Perpetual,
    quantums: int,
    clob_pair: _ClobPairFields,
    config: _ConfigFields,
    notional_left: int,
) -> int | None: ...
def fund_delta(
    perpetual: _Perpetual,
    quantums: int,
    account_risk: _Risk,
    clob_pair: _ClobPairFields,
    config: _ConfigFields,
    is_buy: bool,
    fill_amount: int,
    subticks: int,
) -> int | None: ...
def deleveraging_quote_quantums(
    perpetual: _Perpetual,
    quantums: int,
    delta_quantums: int,
    is_final_settlement: bool,
    account_risk: _Risk,
) -> int | None: ...
