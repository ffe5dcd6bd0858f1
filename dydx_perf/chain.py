"""Parameters and prices of all markets, as of one block.

A `Chain` is filled from what a node answers, from a genesis document, from the indexer's market list, from plain
values, or from the sample that ships here and says that it is one. There is no `mainnet()`: live numbers come
from a live source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.exact.liquidation import LiquidationsConfig
from dydx_perf.kernel import BASES, MarketTable
from dydx_perf.market import Amount, Basis, Market, checked_height

__all__ = ["Chain", "FeeTier", "ProtocolParameters"]

SAMPLES = ("v9",)


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees of one tier, ppm of the quote amount; a negative fee is a rebate."""

    name: str
    absolute_volume_requirement: int  # quote quantums in 30 days
    total_volume_share_requirement_ppm: int
    maker_volume_share_requirement_ppm: int
    maker_fee_ppm: int
    taker_fee_ppm: int


@dataclass(frozen=True, slots=True)
class ProtocolParameters:
    """What holds for every market; defaults are those of the mainnet genesis."""

    funding_rate_clamp_factor_ppm: int = 6_000_000
    premium_vote_clamp_factor_ppm: int = 60_000_000
    min_num_votes_per_sample: int = 15
    liquidations: LiquidationsConfig = LiquidationsConfig(
        max_liquidation_fee_ppm=15_000,
        min_position_notional_liquidated=1_000_000_000,
        max_position_portion_liquidated_ppm=100_000,
        max_notional_liquidated=100_000_000_000,
        max_quantums_insurance_lost=1_000_000_000_000,
        bankruptcy_adjustment_ppm=1_000_000,
        spread_to_maintenance_margin_ratio_ppm=1_500_000,
    )
    fee_tiers: tuple[FeeTier, ...] = field(default=())


class Chain:
    """Markets by ticker or perpetual id, with the block they are of.

    Parameters
    ----------
    markets : iterable of Market
        Each may be in one chain only.
    parameters : ProtocolParameters, optional
    height : int, optional
        Block of the state; None: not known.
    time : object, optional
        When that block was made, kept as given and shown with every risk; nothing here reads a clock.
    description : str, optional
        Where the values are from, in words.

    Notes
    -----
    Accounts on a chain see every change at once. One thread may write at a time.
    """

    def __init__(
        self,
        markets: Iterable[Market] = (),
        *,
        parameters: ProtocolParameters | None = None,
        height: int | None = None,
        time: object = None,
        description: str = "",
    ) -> None:
        self.parameters = ProtocolParameters() if parameters is None else parameters
        self.description = description
        self._table = MarketTable()
        self._table.set_block(None if height is None else checked_height(height), time)
        self._markets: dict[str, Market] = {}
        self._by_id: dict[int, Market] = {}
        for market in markets:
            self.add(market)

    # -- where it comes from

    @classmethod
    def sample(cls, name: str) -> Chain:
        """The parameters that ship with the package, called what they are: a sample, of no live chain.

        Parameters
        ----------
        name : str
            "v9": 35 markets and the tiers of protocol v9, with that sample's own prices.
        """
        if name not in SAMPLES:
            raise InputError("name", name, " or ".join(SAMPLES))
        from dydx_perf.chain_sources import sample_chain

        return sample_chain(json.loads((files("dydx_perf.data") / f"{name}.json").read_text("utf-8")))

    @classmethod
    def from_genesis(cls, document: Mapping[str, Any]) -> Chain:
        """From a genesis document (`app_state` of prices, perpetuals, clob …), for example a node's genesis.json."""
        from dydx_perf.chain_sources import genesis_chain

        return genesis_chain(document)

    @classmethod
    def from_indexer(cls, perpetual_markets: Mapping[str, Any]) -> Chain:
        """From the indexer's `/v4/perpetualMarkets` answer, or the contents of a `v4_markets` snapshot.

        The indexer does not publish price exponents, funding indices or custom fractions: the basis is "estimate".
        """
        from dydx_perf.chain_sources import indexer_chain

        return indexer_chain(perpetual_markets)

    @classmethod
    def from_node(
        cls,
        *,
        perpetuals: Iterable[Any],
        liquidity_tiers: Iterable[Any],
        market_prices: Iterable[Any],
        clob_pairs: Iterable[Any] = (),
        liquidations_config: Any = None,
        perpetuals_params: Any = None,
        height: int | None = None,
        time: object = None,
    ) -> Chain:
        """From the messages of a node's queries (v4-proto objects, or any with the same fields).

        Parameters
        ----------
        perpetuals, liquidity_tiers, market_prices, clob_pairs : iterables of messages
            `Perpetual`, `LiquidityTier`, `MarketPrice`, `ClobPair` as the queries give them.
        height : int, optional
            Block they were all read at. With it the basis is "chain", without it "estimate".
        """
        from dydx_perf.chain_sources import node_chain

        return node_chain(
            perpetuals,
            liquidity_tiers,
            market_prices,
            clob_pairs,
            liquidations_config,
            perpetuals_params,
            height,
            time,
        )

    # -- markets

    def add(self, market: Market) -> None:
        """Take in one more market."""
        if not isinstance(market, Market):
            raise InputError("market", market, "a Market")
        if market.ticker in self._markets:
            raise InputError("ticker", market.ticker, "a ticker that this chain does not have yet")
        if market.perpetual_id in self._by_id:
            raise InputError("perpetual_id", market.perpetual_id, "a perpetual that this chain does not have yet")
        market._enter(self._table)
        self._markets[market.ticker] = market
        self._by_id[market.perpetual_id] = market

    def __getitem__(self, market: str | int) -> Market:
        found = self._markets.get(market) if isinstance(market, str) else self._by_id.get(market)
        if found is None:
            raise UnknownMarketError(market)
        return found

    def __contains__(self, market: object) -> bool:
        return market in self._markets or market in self._by_id

    def __iter__(self) -> Iterator[Market]:
        return iter(self._markets.values())

    def __len__(self) -> int:
        return len(self._markets)

    @property
    def tickers(self) -> tuple[str, ...]:
        """Tickers of all markets, in the order they came in."""
        return tuple(self._markets)

    @property
    def table(self) -> MarketTable:
        """The markets as the kernels see them."""
        return self._table

    def set_oracle_prices(
        self, prices: Mapping[str, Amount], *, height: int | None = None, basis: Basis | None = None
    ) -> None:
        """Set several oracle prices, all or none.

        Parameters
        ----------
        prices : mapping of ticker to str, int or Decimal
            USDC for one coin.
        height, basis
            As for `Market.set_oracle_price`.
        """
        checked_height(height)
        if basis is not None and basis not in BASES:
            raise InputError("basis", basis, " or ".join(BASES))
        checked = [
            (self[ticker], Market._checked_price(f"prices[{ticker!r}]", price, self[ticker].price_exponent))
            for ticker, price in prices.items()
        ]
        for market, price in checked:
            market.set_oracle_price_integer(price, height=height, basis=basis)

    def set_block(self, height: int, time: object = None) -> None:
        """Say that everything here holds at block `height`; the caller vouches for it.

        A feed calls it after it applied every change up to that block.
        """
        checked = checked_height(height)
        for market in self:
            market._confirm(checked)
        self._table.set_block(checked, time)

    @property
    def height(self) -> int | None:
        """Block of the state; None: not known."""
        return self._table.height

    @property
    def time(self) -> object:
        """When that block was made, as it was given."""
        return self._table.time

    @property
    def basis(self) -> str:
        """The weakest basis of all markets."""
        return max((market.basis for market in self), key=BASES.index, default=BASES[0])

    def __repr__(self) -> str:
        height = "" if self.height is None else f", height={self.height}"
        about = f", {self.description!r}" if self.description else ""
        return f"Chain({len(self)} markets, basis={self.basis!r}{height}{about})"
