"""A subaccount as it would stand: frozen state, markets of its own, the chain's figures of both.

It does not follow the chain: what it says stays true of the moment it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact import liquidation_price, margin
from dydx_perf.exact.funding import settle_subaccount
from dydx_perf.exact.state import (
    USDC_ASSET_ID,
    AssetPosition,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.exact.trades import Trades, oracle_price_of_quantum
from dydx_perf.kernel import BASES, Account, MarketTable, OraclePrice, Risk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from dydx_perf.exact.state import Perpetual
    from dydx_perf.kernel import OrderDecision
    from dydx_perf.subaccount import Subaccount

__all__ = ["Scenario"]

ESTIMATE = BASES.index("estimate")
#: what changes of a market, as the kernel's row of it stands
CHANGING = (
    "price",
    "funding_index",
    "open_interest",
    "initial_margin_ppm",
    "maintenance_fraction_ppm",
    "open_interest_lower_cap",
    "open_interest_upper_cap",
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """State and markets of a subaccount, taken from the chain or supposed.

    Attributes
    ----------
    state : SubaccountState
        Balances and positions in the chain's integers.
    perpetuals : mapping of perpetual id to Perpetual
        Of every market that the state or the question names.
    tickers : mapping of perpetual id to ticker
    sources : mapping of perpetual id to (height, basis)
        Where each market's inputs are from; height -1 when it is not known.
    source : (height, basis)
        Where the state that it started from is from.
    time : object
        When the newest known block was made.
    """

    state: SubaccountState
    perpetuals: Mapping[int, Perpetual]
    tickers: Mapping[int, str]
    sources: Mapping[int, tuple[int, int]]
    source: tuple[int, int]
    time: object

    @classmethod
    def now(cls, account: Subaccount, tickers: Iterable[str] = ()) -> Scenario:
        """Take the account as it stands, with its markets and those named by `tickers`."""
        names = dict.fromkeys([*account.positions, *tickers])
        markets = [account.chain[name] for name in names]
        return cls(
            state=account.state,
            perpetuals={market.perpetual_id: market.perpetual for market in markets},
            tickers={market.perpetual_id: market.ticker for market in markets},
            sources={
                market.perpetual_id: (_height(market.height), BASES.index(market.basis)) for market in markets
            },
            source=(_height(account.height), BASES.index(account.basis)),
            time=account.chain.time,
        )

    @classmethod
    def of_decision(cls, decision: OrderDecision) -> Scenario:
        """Take the account as it stood when the kernel decided, with its markets and the order's."""
        names = dict.fromkeys([*decision.names, decision.order.ticker])
        rows = dict(zip([*decision.names, decision.order.ticker], decision.market_rows(), strict=True))
        perpetuals, tickers, sources = {}, {}, {}
        for name in names:
            perpetual, row = decision.chain[name].perpetual, rows[name]
            number = perpetual.perpetual_id
            perpetuals[number] = replace(perpetual, **dict(zip(CHANGING, row[: len(CHANGING)], strict=True)))
            tickers[number], sources[number] = name, row[len(CHANGING) :]
        return cls(
            state=SubaccountState(
                (AssetPosition(USDC_ASSET_ID, decision.usdc),) if decision.usdc else (),
                tuple(PerpetualPosition(*row) for row in decision.position_rows()),
                {decision.chain[name].perpetual_id: ppm for name, ppm in decision.leverage.items() if ppm},
            ),
            perpetuals=perpetuals,
            tickers=tickers,
            sources=sources,
            source=decision.source,
            time=decision.time,
        )

    def with_state(
        self, state: SubaccountState, perpetuals: Mapping[int, Perpetual] | None = None
    ) -> Scenario:
        """Return the scenario in which a change has been made; what it is based on stays what it was."""
        return replace(self, state=state, perpetuals=self.perpetuals if perpetuals is None else perpetuals)

    def with_prices(self, prices: Mapping[int, int]) -> Scenario:
        """Return the scenario with other oracle prices, which are nobody's but ours: an estimate."""
        moved = {i: replace(self.perpetuals[i], price=price) for i, price in prices.items()}
        sources = {i: (self.sources[i][0], max(self.sources[i][1], ESTIMATE)) for i in prices}
        return replace(self, perpetuals={**self.perpetuals, **moved}, sources={**self.sources, **sources})

    def quantums(self, perpetual_id: int) -> int:
        """Signed base quantums held in a market."""
        return sum(p.quantums for p in self.state.perpetual_positions if p.perpetual_id == perpetual_id)

    def trades(
        self,
        perpetual_id: int,
        is_buy: bool,
        fill_price: Fraction | None = None,
        fee_ppm: int = 0,
        builder_fee_ppm: int = 0,
    ) -> Trades:
        """Return trades of any size in one market on the settled account; open interest stays.

        Parameters
        ----------
        fill_price : Fraction, optional
            Quote quantums for one base quantum; the oracle price, exact, if not given.
        """
        perpetual = self.perpetuals[perpetual_id]
        indices = {number: one.funding_index for number, one in self.perpetuals.items()}
        settled = settle_subaccount(indices, self.state).subaccount
        whole = margin.settled_subaccount_risk(self.perpetuals, settled, settled.leverage)
        held, custom_imf_ppm = self.quantums(perpetual_id), settled.leverage.get(perpetual_id, 0)
        own = margin.position_risk(perpetual, held, 0, custom_imf_ppm)
        return Trades(
            perpetual=perpetual,
            others=RiskState(whole.nc - own.nc, whole.imr - own.imr, whole.mmr - own.mmr),
            held=held,
            custom_imf_ppm=custom_imf_ppm,
            is_buy=is_buy,
            fill_price=oracle_price_of_quantum(perpetual) if fill_price is None else fill_price,
            fee_ppm=fee_ppm,
            builder_fee_ppm=builder_fee_ppm,
        )

    def of_risk(self, risk: RiskState) -> Risk:
        """Return plain integers as a Risk, with the height and basis of what this scenario is made of."""
        held = [self.sources[p.perpetual_id] for p in self.state.perpetual_positions]
        height = min(height for height, _ in (self.source, *held))
        basis = max(basis for _, basis in (self.source, *held))
        return Risk.from_integers(
            risk.nc, risk.imr, risk.mmr, None if height < 0 else height, BASES[basis], self.time
        )

    @property
    def risk(self) -> Risk:
        """Risk by the chain's integers, funding settled."""
        return self.of_risk(margin.subaccount_risk(self.perpetuals, self.state))

    @property
    def liquidation_prices(self) -> dict[str, OraclePrice | str]:
        """Liquidation price of every position by ticker, each with the other prices held."""
        account = _Account.of(self)
        return {
            self.tickers[p.perpetual_id]: account.liquidation_price(self.tickers[p.perpetual_id])
            for p in self.state.perpetual_positions
            if p.quantums
        }


def _height(height: int | None) -> int:
    return -1 if height is None else height


class _Account(Account):
    """The kernel's account on a table that nobody else writes to."""

    _scenario: Scenario

    @classmethod
    def of(cls, scenario: Scenario) -> _Account:
        table = MarketTable()
        rows = []
        for position in scenario.state.perpetual_positions:
            perpetual_id = position.perpetual_id
            perpetual = scenario.perpetuals[perpetual_id]
            index = table.add()
            table.set(
                index,
                perpetual_id=perpetual_id,
                atomic_resolution=perpetual.atomic_resolution,
                exponent=perpetual.exponent,
                price=perpetual.price,
                funding_index=perpetual.funding_index,
                open_interest=perpetual.open_interest,
                initial_margin_ppm=perpetual.initial_margin_ppm,
                maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
                open_interest_lower_cap=perpetual.open_interest_lower_cap,
                open_interest_upper_cap=perpetual.open_interest_upper_cap,
                height=scenario.sources[perpetual_id][0],
                basis=scenario.sources[perpetual_id][1],
            )
            custom_imf_ppm = scenario.state.leverage.get(perpetual_id, 0)
            rows.append(
                (
                    scenario.tickers[perpetual_id],
                    index,
                    position.quantums,
                    position.funding_index,
                    position.quote_balance,
                    custom_imf_ppm,
                )
            )
        account = cls(table)
        account._scenario = scenario
        account.write(sum(asset.quantums for asset in scenario.state.asset_positions), rows)
        return account

    def exact_risk(self) -> tuple[int, int, int]:
        """(nc, imr, mmr) by plain integers, for amounts that pass 128 bits."""
        risk = margin.subaccount_risk(self._scenario.perpetuals, self._scenario.state)
        return risk.nc, risk.imr, risk.mmr

    def exact_liquidation_price(self, market: str) -> OraclePrice | str:
        """Return the liquidation price by plain integers."""
        scenario = self._scenario
        for perpetual_id, ticker in scenario.tickers.items():
            if ticker == market:
                price = liquidation_price.liquidation_price(scenario.perpetuals, scenario.state, perpetual_id)
                exponent = scenario.perpetuals[perpetual_id].exponent
                return price if isinstance(price, str) else OraclePrice(price, exponent)
        raise InputError("market", market, "a market of this scenario")
