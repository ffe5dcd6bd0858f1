"""Strict reading of a vector row: every field of the known type, none missing, none left over."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dydx_perf.exact.liquidation import LiquidationInfo, LiquidationsConfig
from dydx_perf.exact.state import (
    AssetPosition,
    ClobPair,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.exact.update import AssetUpdate, BlockState, PerpetualUpdate, Update

T = TypeVar("T")

LARGEST_EXPONENT = 4096
LARGEST_COUNT = 1_000_000


class NotUnderstoodError(Exception):
    """The row is not in the format of the vectors."""


class Fields:
    """The members of a JSON object, each taken once; `done` refuses what was not taken."""

    def __init__(self, members: object) -> None:
        if not isinstance(members, dict):
            raise NotUnderstoodError(f"an object was expected, not {members!r:.60}")
        self._members: dict[str, Any] = dict(members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def take(self, name: str) -> Any:
        """The raw value of `name`."""
        if name not in self._members:
            raise NotUnderstoodError(f"{name} is missing")
        return self._members.pop(name)

    def done(self) -> None:
        """Refuse members that nobody asked for."""
        if self._members:
            raise NotUnderstoodError(f"not understood: {', '.join(self._members)}")

    def big(self, name: str) -> int:
        """A decimal string in its only spelling."""
        return canonical_integer(name, self.take(name))

    def uint64(self, name: str) -> int:
        """A decimal string within a uint64."""
        return within(name, self.big(name), 0, 2**64 - 1)

    def int32(self, name: str) -> int:
        """A JSON number within an int32."""
        return number(name, self.take(name), -(2**31), 2**31 - 1)

    def uint32(self, name: str) -> int:
        """A JSON number within a uint32."""
        return number(name, self.take(name), 0, 2**32 - 1)

    def exponent(self, name: str) -> int:
        """A JSON number that serves as a power of ten; beyond +-4096 no row of the vectors goes."""
        return number(name, self.take(name), -LARGEST_EXPONENT, LARGEST_EXPONENT)

    def count(self, name: str) -> int:
        """A JSON number that says how many; beyond a million no row of the vectors goes."""
        return number(name, self.take(name), 0, LARGEST_COUNT)

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise NotUnderstoodError(f"{name}: true or false was expected, not {value!r:.60}")
        return value

    def text(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of the known words."""
        value = self.take(name)
        if value not in allowed:
            raise NotUnderstoodError(f"{name}: {value!r:.60} is none of {', '.join(allowed)}")
        return str(value)

    def int32_list(self, name: str) -> list[int]:
        """A list of int32 numbers."""
        return [number(name, value, -(2**31), 2**31 - 1) for value in listed(name, self.take(name))]

    def uint32_list(self, name: str) -> tuple[int, ...]:
        """A list of uint32 numbers."""
        return tuple(number(name, value, 0, 2**32 - 1) for value in listed(name, self.take(name)))

    def each(self, name: str, read: Callable[["Fields"], T]) -> list[T]:
        """A list of objects."""
        return [whole(value, read) for value in listed(name, self.take(name))]

    def one(self, name: str, read: Callable[["Fields"], T]) -> T:
        """A nested object."""
        return whole(self.take(name), read)


def whole(members: object, read: Callable[[Fields], T]) -> T:
    """Read an object to its last member."""
    fields = Fields(members)
    result = read(fields)
    fields.done()
    return result


def canonical_integer(name: str, value: object) -> int:
    """An integer written in decimal digits the way the vectors write it."""
    if not isinstance(value, str) or len(value) > 4000:
        raise NotUnderstoodError(f"{name}: decimal digits were expected, not {value!r:.60}")
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or str(int(value)) != value:
        raise NotUnderstoodError(f"{name}: decimal digits were expected, not {value!r:.60}")
    return int(value)


def within(name: str, value: int, lowest: int, highest: int) -> int:
    """`value` when it lies within its type."""
    if not lowest <= value <= highest:
        raise NotUnderstoodError(f"{name}: {value} is outside {lowest} to {highest}")
    return value


def number(name: str, value: object, lowest: int, highest: int) -> int:
    """A JSON integer within its type (a bool is none, nor is 1.0)."""
    if type(value) is not int:
        raise NotUnderstoodError(f"{name}: an integer was expected, not {value!r:.60}")
    return within(name, value, lowest, highest)


def listed(name: str, value: object) -> list[Any]:
    """A JSON list."""
    if not isinstance(value, list):
        raise NotUnderstoodError(f"{name}: a list was expected, not {value!r:.60}")
    return value


def unique(name: str, pairs: list[tuple[int, T]]) -> dict[int, T]:
    """Entries by id; the same id twice is refused."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise NotUnderstoodError(f"{name}: an id stands there twice")
    return entries


CLOB_PAIR_STATUSES = (
    "ACTIVE",
    "PAUSED",
    "CANCEL_ONLY",
    "POST_ONLY",
    "INITIALIZING",
    "FINAL_SETTLEMENT",
    "UNSPECIFIED",
)


def read_clob_pair(fields: Fields) -> ClobPair:
    return ClobPair(
        fields.uint64("step_base_quantums"),
        fields.uint32("subticks_per_tick"),
        fields.exponent("quantum_conversion_exponent"),
        fields.text("status", CLOB_PAIR_STATUSES),
    )


def read_perpetual(fields: Fields) -> Perpetual:
    return Perpetual(
        perpetual_id=fields.uint32("perpetual_id"),
        atomic_resolution=fields.exponent("atomic_resolution"),
        price=fields.uint64("price"),
        exponent=fields.exponent("exponent"),
        funding_index=fields.big("funding_index"),
        open_interest=fields.big("open_interest"),
        initial_margin_ppm=fields.uint32("initial_margin_ppm"),
        maintenance_fraction_ppm=fields.uint32("maintenance_fraction_ppm"),
        open_interest_lower_cap=fields.uint64("open_interest_lower_cap"),
        open_interest_upper_cap=fields.uint64("open_interest_upper_cap"),
        market_type=number("market_type", fields.take("market_type"), 0, 2),
        default_funding_ppm=fields.int32("default_funding_ppm") if "default_funding_ppm" in fields else 0,
        clob_pair=fields.one("clob_pair", read_clob_pair) if "clob_pair" in fields else None,
    )


def read_perpetuals(fields: Fields) -> dict[int, Perpetual]:
    markets = fields.each("markets", read_perpetual)
    return unique("markets", [(market.perpetual_id, market) for market in markets])


def read_asset_position(fields: Fields) -> AssetPosition:
    return AssetPosition(fields.uint32("asset_id"), fields.big("quantums"))


def read_perpetual_position(fields: Fields) -> PerpetualPosition:
    return PerpetualPosition(
        fields.uint32("perpetual_id"),
        fields.big("quantums"),
        fields.big("funding_index"),
        fields.big("quote_balance"),
    )


def read_leverage(fields: Fields) -> tuple[int, int]:
    return fields.uint32("perpetual_id"), fields.uint32("custom_imf_ppm")


def read_subaccount(fields: Fields) -> SubaccountState:
    leverage = fields.each("leverage", read_leverage) if "leverage" in fields else []
    return SubaccountState(
        tuple(fields.each("asset_positions", read_asset_position)),
        tuple(fields.each("perpetual_positions", read_perpetual_position)),
        unique("leverage", leverage),
    )


def read_perpetual_update(fields: Fields) -> PerpetualUpdate:
    return PerpetualUpdate(
        fields.uint32("perpetual_id"),
        fields.big("quantums_delta"),
        fields.big("quote_balance_delta") if "quote_balance_delta" in fields else 0,
    )


def read_asset_update(fields: Fields) -> AssetUpdate:
    return AssetUpdate(fields.uint32("asset_id"), fields.big("quantums_delta"))


def read_update(fields: Fields) -> Update:
    return Update(
        fields.uint32("subaccount"),
        tuple(fields.each("asset_updates", read_asset_update)),
        tuple(fields.each("perpetual_updates", read_perpetual_update)),
    )


def read_updates(fields: Fields, subaccounts: list[SubaccountState]) -> list[Update]:
    updates = fields.each("updates", read_update)
    for update in updates:
        within("subaccount", update.subaccount, 0, len(subaccounts) - 1)
    return updates


def read_block(fields: Fields) -> BlockState:
    seen = fields.take("negative_tnc_seen_block")
    return BlockState(
        fields.uint32("block_height"),
        None if seen is None else number("negative_tnc_seen_block", seen, 0, 2**32 - 1),
        fields.uint32("chain_outage_block"),
        fields.uint32("chain_outage_seconds"),
    )


def read_risk(fields: Fields) -> RiskState:
    return RiskState(fields.big("nc"), fields.big("imr"), fields.big("mmr"))


def read_liquidations_config(fields: Fields) -> LiquidationsConfig:
    return LiquidationsConfig(
        fields.uint32("max_liquidation_fee_ppm"),
        fields.uint64("min_position_notional_liquidated"),
        fields.uint32("max_position_portion_liquidated_ppm"),
        fields.uint64("max_notional_liquidated"),
        fields.uint64("max_quantums_insurance_lost"),
        fields.uint32("bankruptcy_adjustment_ppm"),
        fields.uint32("spread_to_maintenance_margin_ratio_ppm"),
    )


def read_liquidation_info(fields: Fields) -> LiquidationInfo:
    return LiquidationInfo(
        fields.uint32_list("perpetuals_liquidated"),
        fields.big("notional_liquidated"),
        fields.big("quantums_insurance_lost"),
    )


def subaccount_out(subaccount: SubaccountState) -> dict[str, Any]:
    """A subaccount as the vectors write it."""
    return {
        "asset_positions": [
            {"asset_id": asset.asset_id, "quantums": str(asset.quantums)}
            for asset in subaccount.asset_positions
        ],
        "perpetual_positions": [
            {
                "perpetual_id": position.perpetual_id,
                "quantums": str(position.quantums),
                "funding_index": str(position.funding_index),
                "quote_balance": str(position.quote_balance),
            }
            for position in subaccount.perpetual_positions
        ],
    }


def risk_out(risk: RiskState) -> dict[str, str]:
    """A risk as the vectors write it."""
    return {"nc": str(risk.nc), "imr": str(risk.imr), "mmr": str(risk.mmr)}


def rational_out(value: tuple[int, int]) -> dict[str, str]:
    """A rational as the vectors write it."""
    return {"num": str(value[0]), "den": str(value[1])}


def leverage_out(leverage: Mapping[int, int]) -> list[dict[str, int]]:
    """Leverage as the vectors write it."""
    return [{"perpetual_id": perpetual_id, "custom_imf_ppm": ppm} for perpetual_id, ppm in leverage.items()]
