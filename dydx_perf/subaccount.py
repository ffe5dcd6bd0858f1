"""A subaccount: USDC, positions, and what follows from them by the chain's rules and by the indexer's.

`risk` and `liquidation_price` are the chain's: they decide. `equity`, `free_collateral` and `pnl` are the
indexer's, `leverage`, `margin_usage` and `buying_power` the web app's: they are what people see. The
documentation says where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, NoReturn, Unpack, overload

from dydx_perf.chain import Chain
from dydx_perf.errors import InputError
from dydx_perf.exact import indexer, liquidation_price, margin
from dydx_perf.exact.decimals import without_trailing_zeros
from dydx_perf.exact.state import USDC_ASSET_ID, AssetPosition, LiquidationInfo, SubaccountState
from dydx_perf.kernel import BASES, Account, OraclePrice
from dydx_perf.market import MAX_HEIGHT, Amount, Basis, Market, checked_integer, checked_source
from dydx_perf.pnl import Pnl, position_pnl, unsettled_funding
from dydx_perf.position import Position, checked_amount, is_nothing
from dydx_perf.units import quote_quantums_to_usdc, to_decimal, usdc_to_quote_quantums

if TYPE_CHECKING:
    from dydx_perf.explain import Explanation
    from dydx_perf.liquidation import Liquidation
    from dydx_perf.max_order import MaxOrder, MaxOrderOptions
    from dydx_perf.movement import Movement, PriceMove
    from dydx_perf.order import Order
    from dydx_perf.parameters import FeeTier
    from dydx_perf.preview import (
        BasketPreview,
        BlockState,
        MovementPreview,
        OrderPreview,
        Preview,
        PreviewOptions,
        PriceMovePreview,
        What,
    )
    from dydx_perf.rescue import Level, Rescue
    from dydx_perf.worst_case import WorstCase

__all__ = ["Subaccount"]

MAX_SUBACCOUNT_NUMBER = 128_000
UINT32_MAX = 2**32 - 1
#: what of an account comes from somewhere, beside what was changed in one market alone
USDC, POSITIONS, LEVERAGE = "usdc", "positions", "leverage"
#: the indexer's convention: the parent of a number is the number modulo this
PARENT_SUBACCOUNTS = 128
NOTHING_LIQUIDATED = LiquidationInfo()


def _checked_usdc(usdc: Amount) -> int:
    return checked_amount("usdc", usdc, usdc_to_quote_quantums(usdc))


@cache
def _preview_door() -> Callable[..., Preview]:
    """Open the room of previews once: an import costs as much as a preview, even one that was made before."""
    from dydx_perf.preview import preview

    return preview


class Subaccount(Account):
    """One subaccount on a chain.

    Hazards: it follows its chain, so every figure is that of the moment it is read. Not for writing from two
    threads at once. A refused call changes nothing. It is neither copied nor pickled: its `risk` and its
    `state` are.

    Parameters
    ----------
    chain : Chain
    address : str
    number : int
        0 to 128,000. To the chain each number is a margin account of its own.
    usdc : str, int or Decimal
        Signed USDC balance, funding not settled, exact to 6 decimals.
    positions : mapping of ticker to size, or iterable of Position
        Sizes are signed coins (long above zero) as str, int or Decimal; such a position is settled to the
        market's current funding index, and a size of 0 is no position.
    leverage : mapping of ticker to int, optional
        Chosen initial margin fractions in ppm (`custom_imf_ppm`), for markets with or without a position;
        they count before those that come with positions.
    height : int, optional
        Block of the balance and positions; without it every risk has an unknown height.
    basis : "chain", "estimate" or "sample", optional
        Where balance and positions are from; "chain" with a height, else "estimate".

    Notes
    -----
    What is changed later has a height and a basis of its own: without a height it is an estimate. The oldest
    and the weakest of the parts hold for the whole.

    Raises
    ------
    InputError, UnknownMarketError
        Names the argument, its value and what is allowed.
    """

    def __init__(
        self,
        chain: Chain,
        address: str,
        number: int = 0,
        *,
        usdc: Amount = 0,
        positions: Mapping[str, Amount] | Iterable[Position] = (),
        leverage: Mapping[str, int] | None = None,
        height: int | None = None,
        basis: Basis | None = None,
    ) -> None:
        if not isinstance(address, str):
            raise InputError("address", address, "a text of 1 to 128 characters")
        if not 0 < len(address) <= 128:
            raise InputError("address", address, "a text of 1 to 128 characters")
        checked_integer("number", number, 0, MAX_SUBACCOUNT_NUMBER)
        source = checked_source(height, basis)
        self._chain = chain
        self._address = address
        self._number = number
        balance = _checked_usdc(usdc)
        held = self._checked_positions(positions)
        chosen = {p.ticker: p.custom_imf_ppm for p in held.values() if p.custom_imf_ppm}
        chosen |= {} if leverage is None else self._checked_leverage(leverage)
        self._apply(balance, held, chosen, dict.fromkeys((USDC, POSITIONS, LEVERAGE), source))

    def __new__(cls, chain: Chain, *args: object, **kwargs: object) -> Subaccount:
        """Refuse what is no chain before anything is built on its table."""
        if not isinstance(chain, Chain):
            raise InputError("chain", chain, "a Chain")
        return super().__new__(cls, chain.table)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Subaccount follows its chain and is not copied or pickled; its risk and state are")

    # -- checks and changes

    def _checked_positions(self, positions: Mapping[str, Amount] | Iterable[Position]) -> dict[str, Position]:
        allowed = "a mapping of ticker to size, or Position objects"
        if isinstance(positions, Mapping):
            sized = [self._checked_position("positions", market, size) for market, size in positions.items()]
            given = [p for p in sized if not is_nothing(p)]
        elif isinstance(positions, Iterable):
            given = list(positions)
        else:
            raise InputError("positions", positions, allowed)
        checked: dict[str, Position] = {}
        for position in given:
            if not isinstance(position, Position):
                raise InputError("positions", position, allowed)
            if self._chain[position.ticker] is not position.market:
                raise InputError("positions", position, "positions in markets of this subaccount's own chain")
            if position.ticker in checked:
                raise InputError("positions", position, "one position per market")
            checked[position.ticker] = position
        return checked

    def _checked_position(self, argument: str, market: str, position: Position | Amount) -> Position:
        """Return what is to be held in a market; a size is settled to the current funding index."""
        found = self._chain[market]
        if argument == "positions":
            argument = f"positions[{found.ticker!r}]"
        if isinstance(position, Position):
            if position.market is not found:
                raise InputError(
                    argument, position, f"a position in {found.ticker} of the account's own chain"
                )
            return position
        if position is None:
            raise InputError(argument, position, "a size as text, int or Decimal, or a Position")
        try:
            return Position(found, position)
        except InputError as refusal:
            raise InputError(argument, position, refusal.allowed) from None

    def _checked_leverage(self, leverage: Mapping[str, int]) -> dict[str, int]:
        if not isinstance(leverage, Mapping):
            raise InputError("leverage", leverage, "a mapping of ticker to custom_imf_ppm")
        by_ticker = [(self._chain[market].ticker, ppm) for market, ppm in leverage.items()]
        return {
            ticker: checked_integer(f"leverage[{ticker!r}]", ppm, 0, UINT32_MAX) for ticker, ppm in by_ticker
        }

    def _apply(
        self,
        usdc: int,
        positions: dict[str, Position],
        leverage: dict[str, int],
        sources: dict[str, tuple[int, int]],
    ) -> None:
        """Check the whole new state, then take it over."""
        isolated = [p.ticker for p in positions.values() if p.market.is_isolated]
        if isolated and len(positions) > 1:
            raise InputError(
                "positions",
                sorted(positions),
                f"{isolated[0]} alone: an isolated market is held with no other",
            )
        # What the account has chosen is what its positions say.
        ordered = [
            p
            if p.custom_imf_ppm == (chosen := leverage.get(p.ticker, 0))
            else replace(p, custom_imf_ppm=chosen)
            for p in sorted(positions.values(), key=lambda p: p.market.perpetual_id)
        ]
        self.write(
            usdc,
            [
                (p.ticker, p.market._index, p.quantums, p.funding_index, p.quote_balance, p.custom_imf_ppm)
                for p in ordered
            ],
            min(height for height, _ in sources.values()),
            max(basis for _, basis in sources.values()),
        )
        self._usdc = usdc
        self._positions = {p.ticker: p for p in ordered}
        self._holds_isolated = bool(isolated)
        self._leverage = leverage
        self._sources = sources

    def set_usdc(self, usdc: Amount, *, height: int | None = None, basis: Basis | None = None) -> None:
        """Set the USDC balance: signed, funding not settled.

        Parameters
        ----------
        usdc : str, int or Decimal
            Exact to 6 decimals.
        height : int, optional
            Block at which the chain had it.
        basis : "chain", "estimate" or "sample", optional
            Where it is from; by default "chain" with a height and "estimate" without.
        """
        sources = {**self._sources, USDC: checked_source(height, basis)}
        self._apply(_checked_usdc(usdc), self._positions, self._leverage, sources)

    def set_position(
        self,
        market: str,
        position: Position | Amount,
        *,
        height: int | None = None,
        basis: Basis | None = None,
    ) -> None:
        """Open, change or flip the position in one market; the balance stays as it is.

        Parameters
        ----------
        market : str
            Ticker.
        position : Position, or signed size in coins as str, int or Decimal
            A size is settled to the market's current funding index and has no past; 0 closes the position. A
            `custom_imf_ppm` that comes with a Position is the chosen fraction from here on.
        height, basis
            As for `set_usdc`.
        """
        changed = self._checked_position("position", market, position)
        ticker = changed.ticker
        sources = {**self._sources, f"{POSITIONS}[{ticker}]": checked_source(height, basis)}
        leverage = self._leverage
        if changed.custom_imf_ppm:
            leverage = {**leverage, ticker: changed.custom_imf_ppm}
        others = {held: p for held, p in self._positions.items() if held != ticker}
        kept = {} if is_nothing(changed) else {ticker: changed}
        self._apply(self._usdc, others | kept, leverage, sources)

    def close_position(self, market: str, *, height: int | None = None, basis: Basis | None = None) -> None:
        """Drop the position in one market; the balance stays as it is."""
        ticker = self._held(market).ticker
        sources = {**self._sources, f"{POSITIONS}[{ticker}]": checked_source(height, basis)}
        others = {held: p for held, p in self._positions.items() if held != ticker}
        self._apply(self._usdc, others, self._leverage, sources)

    def set_leverage(
        self,
        market: str,
        custom_imf_ppm: int,
        *,
        height: int | None = None,
        basis: Basis | None = None,
    ) -> None:
        """Choose the initial margin fraction of one market in ppm; 0 removes the choice."""
        ticker = self._chain[market].ticker
        chosen = checked_integer("custom_imf_ppm", custom_imf_ppm, 0, UINT32_MAX)
        sources = {**self._sources, f"{LEVERAGE}[{ticker}]": checked_source(height, basis)}
        self._apply(self._usdc, self._positions, {**self._leverage, ticker: chosen}, sources)

    def set_block(self, height: int) -> None:
        """Say that balance, positions and leverage hold at block `height`; the caller vouches for it.

        The basis stays: an estimate does not become the chain's by having a height.
        """
        checked = checked_integer("height", height, 0, MAX_HEIGHT)
        sources = {part: (checked, basis) for part, (_, basis) in self._sources.items()}
        self._apply(self._usdc, self._positions, self._leverage, sources)

    def _held(self, market: str) -> Position:
        position = self._positions.get(self._chain[market].ticker)
        if position is None:
            held = ", ".join(self._positions) or "none"
            raise InputError("market", market, f"a market in which this subaccount holds a position: {held}")
        return position

    # -- what it is

    @property
    def chain(self) -> Chain:
        """The chain it is on."""
        return self._chain

    @property
    def address(self) -> str:
        """The owner's address."""
        return self._address

    @property
    def number(self) -> int:
        """The subaccount's number."""
        return self._number

    @property
    def parent_number(self) -> int:
        """The indexer's parent: the number modulo 128. The chain knows no parents."""
        return self._number % PARENT_SUBACCOUNTS

    @property
    def positions(self) -> Mapping[str, Position]:
        """Positions by ticker, in the order of their perpetual ids."""
        return dict(self._positions)

    @property
    def leverage_choices(self) -> Mapping[str, int]:
        """Chosen initial margin fractions in ppm by ticker."""
        return {ticker: ppm for ticker, ppm in self._leverage.items() if ppm}

    @property
    def usdc_quantums(self) -> int:
        """USDC balance in quote quantums, funding not settled."""
        return self._usdc

    @property
    def usdc(self) -> Decimal:
        """USDC balance, funding not settled."""
        return quote_quantums_to_usdc(self._usdc)

    @property
    def state(self) -> SubaccountState:
        """The plain integers, as `dydx_perf.exact` takes them."""
        return SubaccountState(
            (AssetPosition(USDC_ASSET_ID, self._usdc),) if self._usdc else (),
            tuple(position.state for position in self._positions.values()),
            {self._chain[ticker].perpetual_id: ppm for ticker, ppm in self._leverage.items() if ppm},
        )

    # -- the chain's figures (risk and liquidation_price are inherited)

    def exact_risk(self) -> tuple[int, int, int]:
        """(nc, imr, mmr) by plain integers, for amounts that pass 128 bits."""
        perpetuals = {p.market.perpetual_id: p.market.perpetual for p in self._positions.values()}
        risk = margin.subaccount_risk(perpetuals, self.state)
        return risk.nc, risk.imr, risk.mmr

    def exact_liquidation_price(self, market: str) -> OraclePrice | str:
        """Return the liquidation price by plain integers, or refuse a market without a position."""
        position = self._held(market)
        if position.quantums == 0:
            raise InputError(
                "market", market, "a market in which this subaccount holds a position that is not zero"
            )
        perpetuals = {p.market.perpetual_id: p.market.perpetual for p in self._positions.values()}
        price = liquidation_price.liquidation_price(perpetuals, self.state, position.market.perpetual_id)
        return price if isinstance(price, str) else OraclePrice(price, position.market.price_exponent)

    @property
    def liquidation_prices(self) -> Mapping[str, OraclePrice | str]:
        """Liquidation price of every position by ticker, each with the other prices held."""
        return {ticker: self.liquidation_price(ticker) for ticker, p in self._positions.items() if p.quantums}

    def liquidation(self, market: str, info: LiquidationInfo = NOTHING_LIQUIDATED) -> Liquidation:
        """Show what the chain would do to one position now: bankruptcy and fillable price, size, order.

        Parameters
        ----------
        market : str
            Ticker of a held market.
        info : LiquidationInfo, optional
            What was liquidated of this subaccount earlier in the block.
        """
        from dydx_perf.liquidation import Liquidation, LiquidationCase

        if not isinstance(info, LiquidationInfo):
            raise InputError("info", info, "a LiquidationInfo")
        position = self._held(market)
        perpetuals = {p.market.perpetual_id: p.market.perpetual for p in self._positions.values()}
        case = LiquidationCase(
            perpetuals,
            self.state,
            position.market.perpetual_id,
            self._chain.parameters.liquidations,
            info,
        )
        return Liquidation(position.market, case)

    # -- the indexer's figures

    @property
    def unsettled_funding(self) -> Decimal:
        """USDC received since the positions were settled, exact, as the indexer counts it."""
        return without_trailing_zeros(
            indexer.parent_sum(unsettled_funding(p) for p in self._positions.values())
        )

    def _holdings(self) -> list[indexer.Holding]:
        return [
            indexer.Holding(p.size, p.market.oracle_price.decimal, p.market.initial_margin_fraction)
            for p in self._positions.values()
        ]

    @property
    def usdc_shown(self) -> Decimal:
        """USDC with unsettled funding, as the indexer shows it."""
        shown = indexer.usdc_shown(self.usdc, (unsettled_funding(p) for p in self._positions.values()))
        return without_trailing_zeros(shown)

    @property
    def equity(self) -> Decimal:
        """The indexer's equity in USDC: USDC with unsettled funding plus the value of all positions."""
        return without_trailing_zeros(indexer.equity(self.usdc_shown, self._holdings()))

    @property
    def free_collateral(self) -> Decimal:
        """The indexer's free collateral in USDC: equity less base initial margins; may be negative.

        It knows neither open-interest scaling nor chosen leverage: `risk` does.
        """
        return without_trailing_zeros(indexer.free_collateral(self.usdc_shown, self._holdings()))

    def pnl(self, market: str) -> Pnl:
        """Profit and loss of one position, as the indexer reports it; it needs an entry price."""
        return position_pnl(self._held(market))

    # -- the web app's figures

    def _effective_imf(self, market: Market) -> Decimal:
        return indexer.webapp_effective_imf(
            market.initial_margin_fraction,
            market.oracle_price.decimal,
            to_decimal(market.open_interest, market.atomic_resolution),
            quote_quantums_to_usdc(market.perpetual.open_interest_lower_cap),
            quote_quantums_to_usdc(market.perpetual.open_interest_upper_cap),
        )

    def _webapp_holding(self, position: Position) -> indexer.WebappHolding:
        market = position.market
        chosen = indexer.webapp_selected_leverage(
            self._leverage.get(market.ticker, 0), market.initial_margin_fraction
        )
        return indexer.WebappHolding(
            position.size,
            market.oracle_price.decimal,
            indexer.webapp_selected_imf(chosen, self._effective_imf(market)),
            market.maintenance_margin_fraction,
        )

    def _webapp(self) -> indexer.WebappAccount:
        return indexer.webapp_account(
            self.usdc_shown, [self._webapp_holding(p) for p in self._positions.values()]
        )

    @property
    def leverage(self) -> Decimal | None:
        """The web app's leverage: notional over equity, half up at 20 decimals; None without equity."""
        return self._webapp().leverage

    @property
    def margin_usage(self) -> Decimal | None:
        """The web app's margin usage, 0 to 1: the share of equity in initial margins; None without equity."""
        return self._webapp().margin_usage

    def buying_power(self, market: str) -> Decimal:
        """Return the web app's buying power in a market: free collateral over the scaled margin fraction."""
        found = self._chain[market]
        power = indexer.webapp_buying_power(
            self._webapp().free_collateral, self._effective_imf(found), found.initial_margin_fraction
        )
        return without_trailing_zeros(power)

    def explain(self) -> Explanation:
        """Set the chain's, the indexer's and the web app's figures side by side, differences with reasons."""
        from dydx_perf.explain import explain

        return explain(self)

    # -- what if

    @overload
    def preview(self, what: Order, **options: Unpack[PreviewOptions]) -> OrderPreview: ...
    @overload
    def preview(self, what: Movement, **options: Unpack[PreviewOptions]) -> MovementPreview: ...
    @overload
    def preview(self, what: PriceMove, **options: Unpack[PreviewOptions]) -> PriceMovePreview: ...
    @overload
    def preview(self, what: Sequence[What], **options: Unpack[PreviewOptions]) -> BasketPreview: ...
    def preview(self, what: What | Sequence[What], **options: Unpack[PreviewOptions]) -> Preview:
        """Say what the chain would answer, and what it would leave; nothing changes.

        Parameters
        ----------
        what : Order, Withdrawal, Transfer, Deposit, PriceMove, or a sequence of them
            Of several each comes after the ones before it.
        fee_tier, open_stateful_orders, counterparty_quantums, block
            See `dydx_perf.preview.PreviewOptions`.
        """
        if not options:  # as most ask: without a dictionary made twice
            return _preview_door()(self, what)
        return _preview_door()(self, what, **options)

    def max_order(
        self, market: str, side: str, limit_price: Amount, **options: Unpack[MaxOrderOptions]
    ) -> MaxOrder:
        """Find the largest and the smallest order that the chain lets through, by each of its two checks.

        Parameters
        ----------
        market : str
            Ticker.
        side : "buy" or "sell"
        limit_price : str, int or Decimal
            USDC for one coin.
        post_only, immediate_or_cancel, builder_fee_ppm, fee_tier, counterparty_quantums
            See `dydx_perf.max_order.MaxOrderOptions`.
        """
        from dydx_perf.max_order import max_order

        return max_order(self, market, side, limit_price, **options)

    def max_withdrawal(self, block: BlockState | None = None) -> Decimal:
        """Find the largest withdrawal in USDC; nothing blocks it where `block` does not say so."""
        from dydx_perf.max_order import max_withdrawal

        return max_withdrawal(self, block)

    def rescue(
        self,
        level: Level = "not liquidatable",
        *,
        prices: Mapping[str, Amount] | None = None,
        fee_ppm: int = 0,
    ) -> Rescue:
        """Find the smallest deposit, and the smallest reduction of each position, that reaches a level.

        Parameters
        ----------
        level : str, int, Decimal or Fraction
            "not liquidatable", "initial collateralized", or how many times the maintenance margin net
            collateral shall be.
        prices : mapping of ticker to str, int or Decimal, optional
            USDC for one coin at which positions are reduced; the oracle price, exact, where none is given.
        fee_ppm : int
            Fee of the reducing trade.
        """
        from dydx_perf.rescue import rescue

        return rescue(self, level, prices=prices, fee_ppm=fee_ppm)

    def worst_case(self, open_orders: Iterable[Order], *, fee_tier: FeeTier | str | None = None) -> WorstCase:
        """Find the worst that all, or any, of the open orders can do when they fill; nothing changes.

        Parameters
        ----------
        open_orders : iterable of Order
            Sizes are what is left to fill.
        fee_tier : FeeTier or str, optional
            See `dydx_perf.preview.PreviewOptions`.
        """
        from dydx_perf.worst_case import worst_case

        return worst_case(self, open_orders, fee_tier=fee_tier)

    @property
    def basis(self) -> str:
        """Where balance, positions and leverage are from, the weakest; `risk` counts the markets as well."""
        return BASES[max(basis for _, basis in self._sources.values())]

    @property
    def height(self) -> int | None:
        """Block of the oldest of balance, positions and leverage; None where one is not known."""
        height = min(height for height, _ in self._sources.values())
        return None if height < 0 else height

    def __repr__(self) -> str:
        held = ", ".join(f"{p.ticker} {p.size:+f}" for p in self._positions.values())
        return f"Subaccount({self._address}/{self._number}, usdc={self.usdc}, positions=[{held}])"
