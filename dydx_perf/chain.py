"""Parameters and prices of all markets, as of one block.

A `Chain` is filled from what a node answers, from a genesis document, from the indexer's market list, from
plain values, or from the sample that ships here and says that it is one. There is no `mainnet()`: live
numbers come from a live source.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.kernel import BASES, MarketTable
from dydx_perf.market import (
    MAX_HEIGHT,
    Amount,
    Basis,
    Market,
    checked_height,
    checked_integer,
    checked_source,
)
from dydx_perf.parameters import FeeTier, ProtocolParameters

if TYPE_CHECKING:
    from dydx_perf.chain_sources import ChainState

__all__ = ["Chain", "FeeTier", "ProtocolParameters"]

SAMPLES = ("v9",)

T = TypeVar("T")


def _listed(argument: str, values: Iterable[T], kind: type[T], allowed: str) -> list[T]:
    """Return `values` as a list, when each is of that kind."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(argument, values, f"an iterable of {allowed}")
    listed = list(values)
    for index, value in enumerate(listed):
        if not isinstance(value, kind):
            raise InputError(f"{argument}[{index}]", value, f"an iterable of {allowed}")
    return listed


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
    without_price : iterable of str, optional
        Tickers of markets that the source lists without an oracle price. They cannot be valued, so they are
        no markets of this chain: who asks for one, or holds a position in one, gets an `UnknownMarketError`.

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
        without_price: Iterable[str] = (),
    ) -> None:
        if not isinstance(parameters, ProtocolParameters | None):
            raise InputError("parameters", parameters, "ProtocolParameters")
        if not isinstance(description, str):
            raise InputError("description", description, "a text")
        checked_height(height)
        taken = _listed("markets", markets, Market, "Market objects")
        self.parameters = ProtocolParameters() if parameters is None else parameters
        self.description = description
        self._without_price = tuple(_listed("without_price", without_price, str, "tickers"))
        self._table = MarketTable()
        self._table.set_block(height, time)
        self._markets: dict[str, Market] = {}
        self._by_id: dict[int, Market] = {}
        # All are checked before the first is taken: a market can be in one chain only, for good.
        tickers, perpetual_ids = set[str](), set[int]()
        for market in taken:
            self._check_new(market, tickers, perpetual_ids)
            tickers.add(market.ticker)
            perpetual_ids.add(market.perpetual_id)
        for market in taken:
            self.add(market)

    # -- where it comes from

    @classmethod
    def sample(cls, name: str) -> Self:
        """Take the parameters that ship with the package, called what they are: a sample, of no live chain.

        Parameters
        ----------
        name : str
            "v9": 35 markets and the tiers of protocol v9, with that sample's own prices.
        """
        if name not in SAMPLES:
            raise InputError("name", name, " or ".join(SAMPLES))
        # These bring in half of the standard library: whoever needs no sample does not wait for them.
        import json
        from importlib.resources import files

        from dydx_perf.chain_sources import sample_state

        document = json.loads((files("dydx_perf.data") / f"{name}.json").read_text("utf-8"))
        return cls._of(sample_state(document))

    @classmethod
    def from_genesis(cls, document: Mapping[str, Any]) -> Self:
        """Read a genesis document: `app_state` of prices, perpetuals, clob and so on.

        It is the chain's own state before the block `initial_height`: basis "chain", and the height is that
        of the block before. A document without `initial_height` is of no known block: basis "estimate".
        """
        from dydx_perf.chain_sources import genesis_state

        return cls._of(genesis_state(document))

    @classmethod
    def from_indexer(cls, perpetual_markets: Mapping[str, Any]) -> Self:
        """Read the indexer's `/v4/perpetualMarkets` answer, or the contents of a `v4_markets` snapshot.

        The indexer does not publish price exponents, funding indices or custom fractions, and what it
        publishes is not of one block: the basis is "estimate". Funding indices are 0, for the indexer's USDC
        balances already contain the funding of open positions. The exponent is ``-15 - atomic_resolution``,
        as in every market seen so far, where the price fits it. Caps that an answer does not have are 0: no
        scaling.
        """
        from dydx_perf.chain_sources import indexer_state

        return cls._of(indexer_state(perpetual_markets))

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
        fee_tiers: Iterable[Any] | None = None,
        equity_tiers: Any = None,
        rate_limits: Any = None,
        height: int | None = None,
        time: object = None,
    ) -> Self:
        """Read the messages of a node's queries (v4-proto objects, or any with the same fields).

        Parameters
        ----------
        perpetuals, liquidity_tiers, market_prices, clob_pairs : iterables of messages
            `Perpetual`, `LiquidityTier`, `MarketPrice`, `ClobPair` as the queries give them.
        liquidations_config, perpetuals_params, equity_tiers, rate_limits : messages, optional
            `LiquidationsConfig`, `Params`, `EquityTierLimitConfiguration`, `BlockRateLimitConfiguration`.
        fee_tiers : iterable of messages, optional
            `PerpetualFeeTier`.
        height : int, optional
            Block they were all read at. With it the basis is "chain", without it "estimate".

        Raises
        ------
        InputError
            Names the field; also for a perpetual whose tier or price is not among those given.
        """
        from dydx_perf.chain_sources import node_state

        return cls._of(
            node_state(
                perpetuals,
                liquidity_tiers,
                market_prices,
                clob_pairs,
                liquidations_config,
                perpetuals_params,
                height,
                time,
                fee_tiers=fee_tiers,
                equity_tiers=equity_tiers,
                rate_limits=rate_limits,
            )
        )

    @classmethod
    def _of(cls, state: ChainState) -> Self:
        return cls(
            state.markets,
            parameters=state.parameters,
            height=state.height,
            time=state.time,
            description=state.description,
            without_price=state.without_price,
        )

    # -- markets

    def add(self, market: Market) -> None:
        """Take in one more market."""
        if not isinstance(market, Market):
            raise InputError("market", market, "a Market")
        self._check_new(market, self._markets, self._by_id)
        market._enter(self._table)
        self._markets[market.ticker] = market
        self._by_id[market.perpetual_id] = market

    @staticmethod
    def _check_new(market: Market, tickers: Container[str], perpetual_ids: Container[int]) -> None:
        if market.ticker in tickers:
            raise InputError("ticker", market.ticker, "a ticker that this chain does not have yet")
        if market.perpetual_id in perpetual_ids:
            raise InputError(
                "perpetual_id", market.perpetual_id, "a perpetual that this chain does not have yet"
            )
        market._check_free()

    def _find(self, market: object) -> Market | None:
        # Of these two types only: True and 1.0 would find perpetual 1.
        if isinstance(market, str):
            return self._markets.get(market)
        if isinstance(market, int) and not isinstance(market, bool):
            return self._by_id.get(market)
        return None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Chain is live and is not copied or pickled; the perpetuals of its markets are")

    def __getitem__(self, market: str | int) -> Market:
        found = self._find(market)
        if found is None:
            raise UnknownMarketError(market)
        return found

    def __contains__(self, market: object) -> bool:
        return self._find(market) is not None

    def __iter__(self) -> Iterator[Market]:
        return iter(self._markets.values())

    def __len__(self) -> int:
        return len(self._markets)

    @property
    def tickers(self) -> tuple[str, ...]:
        """Tickers of all markets, in the order they came in."""
        return tuple(self._markets)

    @property
    def without_price(self) -> tuple[str, ...]:
        """Tickers that the source lists without an oracle price: no markets here until they are added."""
        return tuple(ticker for ticker in self._without_price if ticker not in self._markets)

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
        source = checked_source(height, basis)
        if not isinstance(prices, Mapping):
            raise InputError("prices", prices, "a mapping of ticker to oracle price")
        checked = [
            (self[ticker], Market._checked_price(f"prices[{ticker!r}]", price, self[ticker].price_exponent))
            for ticker, price in prices.items()
        ]
        for market, price in checked:
            market._set_integer("oracle_price", price, source)

    def set_block(self, height: int, time: object = None) -> None:
        """Say that everything here holds at block `height`; the caller vouches for it.

        A feed calls it after it applied every change up to that block.
        """
        checked = checked_integer("height", height, 0, MAX_HEIGHT)
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
        """The weakest basis of all markets; of none, "chain" where the height is known."""
        empty = "estimate" if self.height is None else "chain"
        return max((market.basis for market in self), key=BASES.index, default=empty)

    def __repr__(self) -> str:
        height = "" if self.height is None else f", height={self.height}"
        about = f", {self.description!r}" if self.description else ""
        return f"Chain({len(self)} markets, basis={self.basis!r}{height}{about})"
