"""What fills a `Chain`: the sample, a genesis document, the indexer's market list, a node's messages.

================ ========== ====================== =======================================================
source           basis      height                 what it may lack, and what stands there instead
================ ========== ====================== =======================================================
sample           "sample"   none                   open interest, funding indices: 0
genesis document "chain"    ``initial_height - 1`` in older ones market types: cross; open interest: 0;
                                                   caps: 0, which is no scaling
indexer          "estimate" none                   price exponents, perpetual ids: see `indexer_state`;
                                                   funding indices, impact notionals: 0; protocol
                                                   parameters: those of the mainnet genesis
node, height     "chain"    as given               clob pairs: see `node_state`; liquidations config and
                                                   perpetuals params: those of the mainnet genesis; fee
                                                   and equity tiers, rate limits: none
node, no height  "estimate" none                   the same
================ ========== ====================== =======================================================

A genesis document is the chain's own state before the block `initial_height`. A state "of block h" is the one
after h, so this one is of the block before. Without `initial_height` it is of no known block: an estimate.

A market without an oracle price cannot be valued. It is left out and named in `ChainState.without_price`, so
that an account that holds it is refused (`UnknownMarketError`) and never shown as safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from dydx_perf.documents import Field, Read, built
from dydx_perf.errors import InputError
from dydx_perf.exact.state import LiquidationsConfig
from dydx_perf.market import STATUSES, Market
from dydx_perf.parameters import BlockRateLimits, EquityTier, FeeTier, ProtocolParameters, RateLimit
from dydx_perf.units import to_decimal

__all__ = ["ChainState", "genesis_state", "indexer_state", "node_state", "sample_state"]

SAMPLE_FORMAT, SAMPLE_VERSION = "dydx_perf chain parameters", 1
MAX_DECIMALS = 32  # of an oracle price's text: the finest exponent a market may have
ONE_MILLION = 1_000_000
UINT64_MAX = 2**64 - 1

#: lists of equity tiers, and of rate limits by the field of ours that holds them
EQUITY_TIERS = ("stateful_order_equity_tiers", "short_term_order_equity_tiers")
RATE_LIMITS = {
    "short_term_orders_and_cancels": "max_short_term_orders_and_cancels_per_n_blocks",
    "stateful_orders": "max_stateful_orders_per_n_blocks",
    "leverage_updates": "max_leverage_updates_per_n_blocks",
}

#: names and numbers of the protocol's enums; 0, "unspecified", is no value the chain accepts
MARKET_TYPES: dict[str | int, str] = {
    "PERPETUAL_MARKET_TYPE_CROSS": "cross",
    1: "cross",
    "PERPETUAL_MARKET_TYPE_ISOLATED": "isolated",
    2: "isolated",
}
CLOB_PAIR_STATUSES: dict[str | int, str] = {f"STATUS_{name}": name for name in STATUSES} | dict(
    enumerate(STATUSES, start=1)
)
INDEXER_MARKET_TYPES: dict[str | int, str] = {"CROSS": "cross", "ISOLATED": "isolated"}
INDEXER_STATUSES: dict[str | int, str] = {name: name for name in STATUSES}
SAMPLE_MARKET_TYPES: dict[str | int, str] = {"cross": "cross", "isolated": "isolated"}

#: fields of a liquidations config by the part of the message they are in
LIQUIDATIONS_PARTS = {
    "max_liquidation_fee_ppm": None,
    "min_position_notional_liquidated": "position_block_limits",
    "max_position_portion_liquidated_ppm": "position_block_limits",
    "max_notional_liquidated": "subaccount_block_limits",
    "max_quantums_insurance_lost": "subaccount_block_limits",
    "bankruptcy_adjustment_ppm": "fillable_price_config",
    "spread_to_maintenance_margin_ratio_ppm": "fillable_price_config",
}


@dataclass(frozen=True, slots=True)
class ChainState:
    """All that a `Chain` is made of, read and checked."""

    markets: tuple[Market, ...]
    without_price: tuple[str, ...]  # tickers
    parameters: ProtocolParameters
    description: str
    height: int | None = None
    time: object = None


class _Markets:
    """Markets as they are read: each ticker, perpetual and order book once."""

    def __init__(self, **common: Any) -> None:
        self._common = common
        self._seen: dict[str, set[object]] = {"ticker": set(), "perpetual_id": set()}
        self.priced: list[Market] = []
        self.without_price: list[str] = []

    def add(self, **arguments: Read[Any]) -> None:
        """Make a market of what was read; without an oracle price (0) only its ticker is noted."""
        for name, seen in self._seen.items():
            if arguments[name].value in seen:
                raise arguments[name].field.refusal("one that no market before it has")
            seen.add(arguments[name].value)
        if arguments["oracle_price"].value == 0:
            self.without_price.append(arguments["ticker"].value)
            # The rest has to be in order all the same: a price stands in, and the market is dropped.
            arguments["oracle_price"] = replace(
                arguments["oracle_price"], value=to_decimal(1, arguments["price_exponent"].value)
            )
            built(self._make, **arguments)
        else:
            self.priced.append(built(self._make, **arguments))

    def _make(self, **arguments: Any) -> Market:
        return Market(**arguments, **self._common)


# -- the sample that ships


def sample_state(document: Mapping[str, Any]) -> ChainState:
    """Read a file of `dydx_perf.data` in its own format; all of it is of basis "sample"."""
    root = Field("sample parameters", document)
    root["format"]["name"].choice({SAMPLE_FORMAT: SAMPLE_FORMAT})
    root["format"]["version"].choice({SAMPLE_VERSION: SAMPLE_VERSION})
    tiers = _by_id(root["liquidity_tiers"])
    markets = _Markets(basis="sample")
    for row in root["markets"].each():
        tier = _referred(row["liquidity_tier"], tiers, row["ticker"], "liquidity_tiers")
        exponent, price = _price(row["price_exponent"], row["oracle_price_integer"])
        markets.add(
            ticker=row["ticker"].text(),
            perpetual_id=row["perpetual_id"].integer(),
            clob_pair_id=row["clob_pair_id"].integer(),
            atomic_resolution=row["atomic_resolution"].integer(),
            price_exponent=exponent,
            oracle_price=price,
            market_type=row["market_type"].choice(SAMPLE_MARKET_TYPES),
            default_funding_ppm=row["default_funding_ppm"].integer(),
            quantum_conversion_exponent=row["quantum_conversion_exponent"].integer(),
            step_base_quantums=row["step_base_quantums"].integer(),
            subticks_per_tick=row["subticks_per_tick"].integer(),
            **_tier(tier),
        )
    about = root["sample"]
    return ChainState(
        markets=tuple(markets.priced),
        without_price=tuple(markets.without_price),
        parameters=_parameters(
            root["perpetuals_params"],
            {name: root["liquidations_config"][name] for name in LIQUIDATIONS_PARTS},
            root["fee_tiers"],
            {name: root[name] for name in EQUITY_TIERS},
            root["block_rate_limits"],
        ),
        description=f"sample {about['name'].text().value}: {about['kind'].text().value}",
    )


# -- the chain's own words: genesis documents and messages of a node


def genesis_state(document: Mapping[str, Any]) -> ChainState:
    """Read the state that a chain starts with.

    Parameters
    ----------
    document : mapping
        A genesis document with `app_state`: `prices.market_prices`; `perpetuals.perpetuals`,
        `.liquidity_tiers` and `.params`; `clob.clob_pairs`, `.liquidations_config`,
        `.equity_tier_limit_config` and `.block_rate_limit_config`; `feetiers.params`.
        Integers are JSON numbers or decimal text, enums names or numbers.
    """
    if not isinstance(document, Mapping):
        raise InputError("document", document, "a genesis document: an object with app_state")
    state = Field("app_state", document.get("app_state"))
    height = None
    initial = Field("initial_height", document.get("initial_height"))
    if initial.value is not None:
        first = initial.integer().value
        if not 0 <= first <= 2**62:
            raise initial.refusal(f"0 to {2**62}")
        height = max(first - 1, 0)  # CometBFT takes 0 for 1
    chain_id = document.get("chain_id")
    fees = state["feetiers"]
    return _state(
        perpetuals=state["perpetuals"]["perpetuals"],
        liquidity_tiers=state["perpetuals"]["liquidity_tiers"],
        market_prices=state["prices"]["market_prices"],
        clob_pairs=state["clob"]["clob_pairs"],
        liquidations_config=state["clob"]["liquidations_config"],
        perpetuals_params=state["perpetuals"]["params"],
        fee_tiers=fees["params"]["tiers"] if fees.value is not None else fees,
        equity_tiers=state["clob"]["equity_tier_limit_config"],
        rate_limits=state["clob"]["block_rate_limit_config"],
        height=height,
        time=document.get("genesis_time"),
        description=f"genesis of {chain_id}" if isinstance(chain_id, str) else "genesis",
    )


def node_state(
    perpetuals: object,
    liquidity_tiers: object,
    market_prices: object,
    clob_pairs: object = (),
    liquidations_config: object = None,
    perpetuals_params: object = None,
    height: int | None = None,
    time: object = None,
    *,
    fee_tiers: object = None,
    equity_tiers: object = None,
    rate_limits: object = None,
) -> ChainState:
    """Read the messages of a node's queries, or the mappings of its REST gateway: the same names.

    A perpetual that is given no clob pair though others are has none yet on the chain, and its status is
    INITIALIZING; where no clob pairs were given at all it is ACTIVE. Step and tick are then 1. Prices, tiers
    and clob pairs that no perpetual refers to are passed over.
    """
    return _state(
        perpetuals=Field("perpetuals", perpetuals),
        liquidity_tiers=Field("liquidity_tiers", liquidity_tiers),
        market_prices=Field("market_prices", market_prices),
        clob_pairs=Field("clob_pairs", clob_pairs),
        liquidations_config=Field("liquidations_config", liquidations_config),
        perpetuals_params=Field("perpetuals_params", perpetuals_params),
        fee_tiers=Field("fee_tiers", fee_tiers),
        equity_tiers=Field("equity_tiers", equity_tiers),
        rate_limits=Field("rate_limits", rate_limits),
        height=height,
        time=time,
        description="messages of a node",
    )


def _state(
    *,
    perpetuals: Field,
    liquidity_tiers: Field,
    market_prices: Field,
    clob_pairs: Field,
    liquidations_config: Field,
    perpetuals_params: Field,
    fee_tiers: Field,
    equity_tiers: Field,
    rate_limits: Field,
    height: int | None,
    time: object,
    description: str,
) -> ChainState:
    tiers, prices = _by_id(liquidity_tiers), _by_id(market_prices)
    pairs = _by_perpetual(clob_pairs)
    markets = _Markets(height=height, basis="estimate" if height is None else "chain")
    for perpetual in perpetuals.each():
        params = perpetual["params"]
        tier = _referred(params["liquidity_tier"], tiers, params["ticker"], liquidity_tiers.path)
        quoted = _referred(params["market_id"], prices, params["ticker"], market_prices.path)
        exponent, price = _price(quoted["exponent"], quoted["price"])
        perpetual_id = params["id"].integer()
        markets.add(
            ticker=params["ticker"].text(),
            perpetual_id=perpetual_id,
            atomic_resolution=params["atomic_resolution"].integer(),
            default_funding_ppm=params["default_funding_ppm"].integer(),
            # A document from before isolated markets has no such field; all were cross.
            market_type=params["market_type"].choice(MARKET_TYPES, default="cross"),
            funding_index=perpetual["funding_index"].serialized_integer(),
            open_interest=perpetual["open_interest"].serialized_integer(default=0),
            price_exponent=exponent,
            oracle_price=price,
            **_tier(tier),
            **_order_book(pairs, perpetual_id),
        )
    return ChainState(
        markets=tuple(markets.priced),
        without_price=tuple(markets.without_price),
        parameters=_parameters(
            perpetuals_params,
            _liquidations(liquidations_config),
            fee_tiers,
            {} if equity_tiers.value is None else {name: equity_tiers[name] for name in EQUITY_TIERS},
            rate_limits,
        ),
        description=description,
        height=height,
        time=time,
    )


def _by_id(entries: Field) -> dict[int, Field]:
    """Order the members of a list by their `id`."""
    found: dict[int, Field] = {}
    for entry in entries.each():
        entry_id = entry["id"].integer()
        if entry_id.value in found:
            raise entry_id.field.refusal("an id that no entry before it has")
        found[entry_id.value] = entry
    return found


def _by_perpetual(clob_pairs: Field) -> dict[int, Field]:
    """Order clob pairs by the perpetual that they trade; spot pairs are passed over."""
    found: dict[int, Field] = {}
    for pair in clob_pairs.each():
        metadata = pair["perpetual_clob_metadata"]
        if metadata.value is None and pair["spot_clob_metadata"].value is not None:
            continue
        perpetual_id = metadata["perpetual_id"].integer()
        if perpetual_id.value in found:
            raise perpetual_id.field.refusal("a perpetual that no clob pair before it has")
        found[perpetual_id.value] = pair
    return found


def _referred(reference: Field, entries: Mapping[int, Field], ticker: Field, where: str) -> Field:
    """Find the entry that a market refers to by its id."""
    found = entries.get(reference.integer().value)
    if found is None:
        raise reference.refusal(f"an id of {where}, which {ticker.text().value} needs")
    return found


def _price(exponent: Field, price: Field) -> tuple[Read[int], Read[Decimal]]:
    """Read an oracle price: exponent, and USDC for one coin, 0 where the chain has none yet."""
    power, integer = exponent.integer(), price.integer()
    if not -MAX_DECIMALS <= power.value <= MAX_DECIMALS:
        raise exponent.refusal(f"-{MAX_DECIMALS} to {MAX_DECIMALS}")
    if not 0 <= integer.value <= UINT64_MAX:
        raise price.refusal(f"0 to {UINT64_MAX}")
    return power, Read(price, to_decimal(integer.value, power.value))


def _tier(tier: Field) -> dict[str, Read[int]]:
    """Read margin parameters; tiers from before open interest scaling have no caps, which is no scaling."""
    return {
        "initial_margin_ppm": tier["initial_margin_ppm"].integer(),
        "maintenance_fraction_ppm": tier["maintenance_fraction_ppm"].integer(),
        "impact_notional": tier["impact_notional"].integer(),
        "open_interest_lower_cap": tier["open_interest_lower_cap"].integer(default=0),
        "open_interest_upper_cap": tier["open_interest_upper_cap"].integer(default=0),
    }


def _order_book(pairs: Mapping[int, Field], perpetual_id: Read[int]) -> dict[str, Read[Any]]:
    pair = pairs.get(perpetual_id.value)
    if pair is None:
        return {"status": Read(perpetual_id.field, "INITIALIZING" if pairs else "ACTIVE")}
    return {
        "clob_pair_id": pair["id"].integer(),
        "step_base_quantums": pair["step_base_quantums"].integer(),
        "subticks_per_tick": pair["subticks_per_tick"].integer(),
        "quantum_conversion_exponent": pair["quantum_conversion_exponent"].integer(),
        "status": pair["status"].choice(CLOB_PAIR_STATUSES),
    }


def _liquidations(config: Field) -> dict[str, Field]:
    """Name the fields of a liquidations config without their parts; none where there is no config."""
    if config.value is None:
        return {}
    return {
        name: (config if part is None else config[part])[name] for name, part in LIQUIDATIONS_PARTS.items()
    }


def _parameters(
    perpetuals_params: Field,
    liquidations: Mapping[str, Field],
    fee_tiers: Field,
    equity_tiers: Mapping[str, Field],
    rate_limits: Field,
) -> ProtocolParameters:
    """Read the parameters of the protocol; what is not given keeps its default."""
    given: dict[str, Read[Any]] = {}
    if perpetuals_params.value is not None:
        for name in (
            "funding_rate_clamp_factor_ppm",
            "premium_vote_clamp_factor_ppm",
            "min_num_votes_per_sample",
        ):
            given[name] = perpetuals_params[name].integer()
    parameters = built(ProtocolParameters, **given)
    if fee_tiers.value is not None:
        parameters = replace(parameters, fee_tiers=tuple(_fee_tiers(fee_tiers)))
    if equity_tiers:
        stateful, short_term = (_equity_tiers(equity_tiers[name]) for name in EQUITY_TIERS)
        parameters = replace(
            parameters, stateful_order_equity_tiers=stateful, short_term_order_equity_tiers=short_term
        )
    if rate_limits.value is not None:
        limits = {kind: _rate_limits(rate_limits[name]) for kind, name in RATE_LIMITS.items()}
        parameters = replace(parameters, block_rate_limits=BlockRateLimits(**limits))
    if not liquidations:
        return parameters

    def with_liquidations(**config: int) -> ProtocolParameters:
        return replace(parameters, liquidations=LiquidationsConfig(**config))

    return built(with_liquidations, **{name: field.integer() for name, field in liquidations.items()})


def _fee_tiers(tiers: Field) -> Iterator[FeeTier]:
    for tier in tiers.each():
        yield built(
            FeeTier,
            name=tier["name"].text(),
            absolute_volume_requirement=tier["absolute_volume_requirement"].integer(),
            total_volume_share_requirement_ppm=tier["total_volume_share_requirement_ppm"].integer(),
            maker_volume_share_requirement_ppm=tier["maker_volume_share_requirement_ppm"].integer(),
            maker_fee_ppm=tier["maker_fee_ppm"].integer(),
            taker_fee_ppm=tier["taker_fee_ppm"].integer(),
        )


def _equity_tiers(tiers: Field) -> tuple[EquityTier, ...]:
    """Read equity tiers; the chain puts them in order, and so is done here. None where there is no list."""
    read = [
        EquityTier(tier["usd_tnc_required"].serialized_integer(0).value, _uint32(tier["limit"], 0))
        for tier in ([] if tiers.value is None else tiers.each())
    ]
    return tuple(sorted(read))


def _rate_limits(limits: Field) -> tuple[RateLimit, ...]:
    """Read rate limits of one kind; none where there is no list, as before the kind was limited."""
    return tuple(
        RateLimit(_uint32(limit["limit"], 1), _uint32(limit["num_blocks"], 1))
        for limit in ([] if limits.value is None else limits.each())
    )


def _uint32(field: Field, lowest: int) -> int:
    """Read an integer; protobuf leaves a field of 0 out."""
    value = field.integer(default=0).value
    if not lowest <= value < 2**32:
        raise field.refusal(f"{lowest} to {2**32 - 1}")
    return value


# -- the indexer


def indexer_state(perpetual_markets: Mapping[str, Any]) -> ChainState:
    """Read the indexer's market list: ``{"markets": {ticker: …}}``, or the mapping of tickers itself.

    Everything that risk takes from it comes out exact, since the indexer's texts are; but not all of it is of
    one block, and some is not published:

    * The price exponent. In every market seen so far it is ``-15 - atomic_resolution``. That is a habit of
      those who list markets and no rule of the protocol, so it is assumed only where the oracle price is a
      whole number at that exponent; else the exponent is that of the price text's last digit. Net collateral
      and margins come out the same with any, for the chain computes them from price times 10**exponent; what
      is at stake is how fine the next price and a liquidation price can be.
    * The perpetual's id: it has always been the clob pair's, which is published and stands for it.
    * Funding indices: 0, since the indexer's USDC balances already contain the funding of open positions.
    """
    listed: object = perpetual_markets
    if isinstance(listed, Mapping) and "markets" in listed:
        listed = listed["markets"]
    markets = _Markets(basis="estimate")
    for ticker, row in Field("markets", listed).items():
        named = row["ticker"]
        if named.value is not None and named.value != ticker:
            raise named.refusal(f"{ticker}, under which it stands")
        atomic_resolution = row["atomicResolution"].integer()
        if not -MAX_DECIMALS <= atomic_resolution.value <= MAX_DECIMALS:
            raise atomic_resolution.field.refusal(f"-{MAX_DECIMALS} to {MAX_DECIMALS}")
        exponent, price = _indexer_price(row["oraclePrice"], atomic_resolution.value)
        initial, fraction = _indexer_margin(row["initialMarginFraction"], row["maintenanceMarginFraction"])
        markets.add(
            ticker=Read(row, ticker),
            perpetual_id=row["clobPairId"].integer(),
            atomic_resolution=atomic_resolution,
            price_exponent=exponent,
            oracle_price=price,
            initial_margin_ppm=initial,
            maintenance_fraction_ppm=fraction,
            open_interest=row["openInterest"].amount(-atomic_resolution.value),
            # Absent before caps existed: no scaling.
            open_interest_lower_cap=row["openInterestLowerCap"].amount(6, default=0),
            open_interest_upper_cap=row["openInterestUpperCap"].amount(6, default=0),
            # Absent before isolated markets existed: cross.
            market_type=row["marketType"].choice(INDEXER_MARKET_TYPES, default="cross"),
            default_funding_ppm=_indexer_default_funding(row["defaultFundingRate1H"]),
            step_base_quantums=row["stepBaseQuantums"].integer(),
            subticks_per_tick=row["subticksPerTick"].integer(),
            quantum_conversion_exponent=row["quantumConversionExponent"].integer(),
            status=row["status"].choice(INDEXER_STATUSES),
        )
    return ChainState(
        markets=tuple(markets.priced),
        without_price=tuple(markets.without_price),
        parameters=ProtocolParameters(),
        description="the indexer's market list",
    )


def _indexer_price(price: Field, atomic_resolution: int) -> tuple[Read[int], Read[Decimal]]:
    """Choose the exponent at which the price is a whole number, and read the price; 0 where there is none."""
    # In units of 10**-MAX_DECIMALS. A negative price fits no exponent, and the market refuses it.
    fine = price.amount(MAX_DECIMALS, default=0).value
    usual = -15 - atomic_resolution
    if usual >= -MAX_DECIMALS and _fits(fine, usual):
        exponent = usual
    else:
        exponent = next((e for e in range(0, -MAX_DECIMALS - 1, -1) if _fits(fine, e)), 0)
    return Read(price, exponent), Read(price, to_decimal(fine, -MAX_DECIMALS))


def _fits(fine: int, exponent: int) -> bool:
    """Tell whether a price in units of 10**-MAX_DECIMALS is a price integer at this exponent."""
    unit: int = 10 ** (MAX_DECIMALS + exponent)
    integer, rest = divmod(fine, unit)
    return rest == 0 and 0 <= integer <= UINT64_MAX


def _indexer_margin(initial: Field, maintenance: Field) -> tuple[Read[int], Read[int]]:
    """Read initial margin and maintenance fraction in ppm: the latter is MMF / IMF, whole or refused."""
    initial_ppm = initial.amount(6)
    maintenance_parts = maintenance.amount(12)  # IMF ppm * fraction ppm
    if not 0 <= initial_ppm.value <= ONE_MILLION:
        raise initial.refusal("0 to 1")
    if not 0 <= maintenance_parts.value <= initial_ppm.value * ONE_MILLION:
        raise maintenance.refusal(f"0 to the initial margin fraction, {initial.value}")
    if initial_ppm.value == 0:
        return initial_ppm, Read(maintenance, 0)  # no margin at all, whatever the fraction
    fraction, rest = divmod(maintenance_parts.value, initial_ppm.value)
    if rest:
        raise maintenance.refusal(f"a whole number of ppm of the initial margin fraction, {initial.value}")
    return initial_ppm, Read(maintenance, fraction)


def _indexer_default_funding(rate: Field) -> Read[int]:
    """Read a rate per hour as ppm per 8 hours: times 8, whole or refused."""
    eighths, rest = divmod(rate.amount(9, default=0).value, 125)  # 10**9 / 125 = 8 * 10**6
    if rest:
        raise rate.refusal("a multiple of 0.000000125: a whole number of ppm per 8 hours")
    return Read(rate, eighths)
