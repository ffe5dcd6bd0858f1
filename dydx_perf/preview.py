"""What if: the chain's verdicts on orders, movements of USDC and moved prices, before anything is sent.

Nothing of the account changes, and nothing here follows the chain afterwards: a preview is of the moment it
was asked for. Two checks stand between an order and its fill, and they differ:

* entering the book: as if filled in full at its own price, as a maker, open interest as it is, a builder's
  fee on the base amount. An immediate-or-cancel order never enters.
* matching: one match in full at the fill price; open interest changes first, so the initial margin of the
  market may be higher; the taker's fee, or the maker's for a post-only order; a builder's fee on the quote
  amount.

A real fill may come in parts, at prices at least as good, each rounded by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from dydx_perf.errors import InputError
from dydx_perf.exact import whatif
from dydx_perf.exact.margin import SUCCESS
from dydx_perf.exact.update import COLLAT_CHECK, DEPOSIT, MATCH, BlockState
from dydx_perf.kernel import decide_order
from dydx_perf.market import Market, checked_integer
from dydx_perf.movement import Deposit, Movement, PriceMove, Transfer, Withdrawal
from dydx_perf.order import INITIALIZING, Order, PlacedOrder, Refusal, kept_placement, placement_of
from dydx_perf.parameters import FeeTier
from dydx_perf.scenario import Scenario
from dydx_perf.units import base_quantums_to_size, quote_quantums_to_usdc

if TYPE_CHECKING:
    from dydx_perf.chain import Chain
    from dydx_perf.exact.state import RiskState
    from dydx_perf.kernel import OraclePrice, OrderDecision, Risk
    from dydx_perf.subaccount import Subaccount

__all__ = [
    "BasketPreview",
    "BlockState",
    "Deposit",
    "Movement",
    "MovementPreview",
    "OrderPreview",
    "Preview",
    "PreviewOptions",
    "PriceMove",
    "PriceMovePreview",
    "Transfer",
    "Verdict",
    "Withdrawal",
    "preview",
]

MAKER, TAKER = "maker", "taker"
INT64_MAX = 2**63 - 1


class _Later:
    """Fields that are computed when they are first read, from a moment that was kept.

    What the kernel has decided is made without them; what plain integers answer has all from the beginning.
    """

    __slots__ = ("_moment",)

    def __getattr__(self, name: str) -> Any:
        value = self._later(name, object.__getattribute__(self, "_moment"))
        object.__setattr__(self, name, value)
        return value

    def _later(self, name: str, moment: Any) -> Any:
        raise AttributeError(name)


_new, _keep_moment = (
    object.__new__,
    _Later.__dict__["_moment"].__set__,
)  # past the checks of a frozen dataclass


@dataclass(frozen=True, slots=True)
class Verdict(_Later):
    """One answer of the chain, and what the change would leave, passed or not.

    Attributes
    ----------
    result : str
        The chain's word: "Success", "NewlyUndercollateralized", "StillUndercollateralized",
        "ViolatesIsolatedSubaccountConstraints", "WithdrawalsAndTransfersBlocked", or the name of an error.
    risk_before, risk_after : Risk
        What the chain compares. A match has changed open interest before both.
    role : "maker" or "taker", None for a movement
        Whose fee is charged.
    value, fee, builder_fee : int
        Quote quantums of the fill; a negative fee is a rebate.
    usdc_change : int
        Quote quantums added to the balance, fees included.
    open_interest_change : int
        Base quantums.
    position : int
        Base quantums held in the order's market afterwards; 0 for a movement.
    after : Scenario
    """

    result: str
    risk_before: Risk
    risk_after: Risk
    role: str | None
    value: int
    fee: int
    builder_fee: int
    usdc_change: int
    open_interest_change: int
    position: int
    after: Scenario

    @property
    def passes(self) -> bool:
        """Whether the chain lets it through."""
        return self.result == SUCCESS

    @property
    def fee_usdc(self) -> Decimal:
        """Fee and builder's fee together in USDC; below zero for a rebate."""
        return quote_quantums_to_usdc(self.fee + self.builder_fee)

    @property
    def liquidation_prices(self) -> Mapping[str, OraclePrice | str]:
        """Liquidation price of every position afterwards, each with the other prices held."""
        return self.after.liquidation_prices

    def _later(self, name: str, moment: tuple[OrderDecision, bool]) -> Any:
        """Make the state afterwards, by plain integers."""
        if name != "after":
            raise AttributeError(name)
        decision, rests = moment
        placed = decision.order.in_market(decision.chain[decision.order.ticker])
        now, tier = _before(decision), decision.fee_tier
        if rests:
            return resting_verdict(now, placed, tier).after
        return matching_verdict(now, placed, tier, decision.counterparty_quantums).after


@dataclass(frozen=True, slots=True)
class Preview(_Later):
    """What stands before and what the chain would leave: the same where it refuses.

    Attributes
    ----------
    before, after : Scenario
    assumes : tuple of str
        What was taken for granted.
    """

    before: Scenario
    after: Scenario
    assumes: tuple[str, ...]

    @property
    def risk_before(self) -> Risk:
        """Risk of the account as it stands."""
        return self.before.risk

    @property
    def risk_after(self) -> Risk:
        """Risk of what the chain would leave."""
        return self.after.risk

    @property
    def liquidation_prices(self) -> Mapping[str, OraclePrice | str]:
        """Liquidation price of every position in what the chain would leave."""
        return self.after.liquidation_prices


@dataclass(frozen=True, slots=True)
class OrderPreview(Preview):
    """An order, told apart: refused outright, entering the book, matching.

    Attributes
    ----------
    refusal : Refusal or None
        Why the chain would not look at collateral at all; then there are no verdicts.
    entering_book : Verdict or None
        None for an immediate-or-cancel order, which never rests.
    matching : Verdict or None
        None in a market that does not match yet.
    """

    order: Order
    refusal: Refusal | None
    entering_book: Verdict | None
    matching: Verdict | None

    @property
    def passes(self) -> bool:
        """Whether the chain takes the order by every check that applies to it."""
        try:
            decision: OrderDecision = self._moment
        except AttributeError:  # answered by plain integers
            pass
        else:
            return decision.passes
        verdicts = [verdict for verdict in (self.entering_book, self.matching) if verdict is not None]
        return self.refusal is None and all(verdict.passes for verdict in verdicts)

    @property
    def size(self) -> Decimal:
        """Signed coins held in the order's market in what the chain would leave."""
        for perpetual_id, ticker in self.after.tickers.items():
            if ticker == self.order.ticker:
                quantums = self.after.quantums(perpetual_id)
                return base_quantums_to_size(quantums, self.after.perpetuals[perpetual_id].atomic_resolution)
        return Decimal(0)

    def _later(self, name: str, moment: OrderDecision) -> Any:
        """Make one field of what the kernel has decided."""
        match name:
            case "order":
                return moment.order
            case "refusal":
                return None
            case "entering_book" | "matching":
                return _decided_verdict(moment, name == "entering_book")
            case "before":
                return _before(moment)
            case "after":
                return self.matching.after if self.matching and self.matching.passes else self.before
            case "assumes":
                return _assumed(moment.order, moment.fee_tier, moment.counterparty_quantums)
        raise AttributeError(name)


def _before(decision: OrderDecision) -> Scenario:
    """Return the account as the kernel found it, made once."""
    if decision.scenario is None:
        decision.scenario = Scenario.of_decision(decision)
    before: Scenario = decision.scenario
    return before


def _decided_verdict(decision: OrderDecision, rests: bool) -> Verdict | None:
    """Return one of the kernel's verdicts; the state afterwards is made when it is read."""
    made = decision.verdict(rests)
    if made is None:
        return None
    verdict = _new(Verdict)
    _keep_moment(verdict, (decision, rests))
    result, before, after, value, fee, builder_fee, usdc_change, open_interest_change, position = made
    for name, field in {
        "result": result,
        "risk_before": before,
        "risk_after": after,
        "role": MAKER if rests or decision.order.post_only else TAKER,
        "value": value,
        "fee": fee,
        "builder_fee": builder_fee,
        "usdc_change": usdc_change,
        "open_interest_change": open_interest_change,
        "position": position,
    }.items():
        object.__setattr__(verdict, name, field)
    return verdict


@dataclass(frozen=True, slots=True)
class MovementPreview(Preview):
    """A withdrawal, a transfer or a deposit."""

    movement: Movement
    verdict: Verdict

    @property
    def passes(self) -> bool:
        """Whether the chain lets it through."""
        return self.verdict.passes


@dataclass(frozen=True, slots=True)
class PriceMovePreview(Preview):
    """Prices do not ask the chain: what they leave is `risk_after`."""

    move: PriceMove

    @property
    def passes(self) -> bool:
        """True: nobody is asked."""
        return True


@dataclass(frozen=True, slots=True)
class BasketPreview(Preview):
    """Several in a row, each on what the ones before it left; a refused one leaves everything as it was."""

    steps: tuple[OrderPreview | MovementPreview | PriceMovePreview, ...]

    @property
    def passes(self) -> bool:
        """Whether each of them does."""
        return all(step.passes for step in self.steps)


class PreviewOptions(TypedDict, total=False):
    """What a preview may be told beside the question.

    fee_tier : FeeTier or str
        The account's tier, or its name; the chain's first tier, the dearest, if not given.
    open_stateful_orders : int
        How many stateful orders are open: needed for the limit of the equity tier, which else is not checked.
    counterparty_quantums : int
        Position of the other side of a match, signed base quantums; 0 raises open interest most.
    block : BlockState
        What may block withdrawals and transfers; nothing does if not given.
    """

    fee_tier: FeeTier | str
    open_stateful_orders: int
    counterparty_quantums: int
    block: BlockState


def fee_tier_of(chain: Chain, tier: FeeTier | str | None) -> FeeTier:
    """Return a fee tier, by name or the first; a chain of which none are known needs one given."""
    if isinstance(tier, FeeTier):
        return tier
    tiers = chain.parameters.fee_tiers
    if tier is None and tiers:
        return tiers[0]
    for one in tiers:
        if one.name == tier:
            return one
    names = ", ".join(one.name for one in tiers)
    raise InputError("fee_tier", tier, f"a FeeTier, or one of this chain's: {names or 'it has none'}")


class _Checked:
    """Options of a preview, checked once."""

    def __init__(self, chain: Chain, options: PreviewOptions) -> None:
        unknown = set(options) - PreviewOptions.__optional_keys__
        if unknown:
            raise InputError(
                sorted(unknown)[0], "given", "one of " + ", ".join(PreviewOptions.__optional_keys__)
            )
        self.chain = chain
        self.tier = options.get("fee_tier")
        self.open_stateful_orders: int | None = None
        if "open_stateful_orders" in options:
            self.open_stateful_orders = checked_integer(
                "open_stateful_orders", options["open_stateful_orders"], 0, 2**31 - 1
            )
        self.counterparty = checked_integer(
            "counterparty_quantums", options.get("counterparty_quantums", 0), None, None
        )
        block = options.get("block")
        if not isinstance(block, BlockState | None):
            raise InputError("block", block, "a BlockState")
        self.block = BlockState() if block is None else block
        self.is_block_known = block is not None

    @property
    def known_fee_tier(self) -> FeeTier | None:
        """The tier, None where there is no such one: who asks for it is told when an order needs it."""
        try:
            return self.fee_tier
        except InputError:
            return None

    @property
    def fee_tier(self) -> FeeTier:
        """The tier; asked for when an order needs it."""
        return fee_tier_of(self.chain, self.tier)


What = Order | Movement | PriceMove


@overload
def preview(account: Subaccount, what: Order, **options: Unpack[PreviewOptions]) -> OrderPreview: ...
@overload
def preview(account: Subaccount, what: Movement, **options: Unpack[PreviewOptions]) -> MovementPreview: ...
@overload
def preview(account: Subaccount, what: PriceMove, **options: Unpack[PreviewOptions]) -> PriceMovePreview: ...
@overload
def preview(
    account: Subaccount, what: Sequence[What], **options: Unpack[PreviewOptions]
) -> BasketPreview: ...
def preview(account: Subaccount, what: What | Sequence[What], **options: Unpack[PreviewOptions]) -> Preview:
    """Say what the chain would answer; `Subaccount.preview` is this."""
    checked = _Checked(account.chain, options) if options else None
    if isinstance(what, Order):
        decided = _decided(account, what, checked)
        if decided is not None:
            return decided
    if checked is None:
        checked = _Checked(account.chain, options)
    if isinstance(what, Order | Movement | PriceMove):
        return _step(account.chain, Scenario.now(account, _tickers(what)), what, checked)
    several = _checked_several(what)
    before = now = Scenario.now(account, [ticker for one in several for ticker in _tickers(one)])
    steps = []
    for one in several:
        step = _step(account.chain, now, one, checked)
        now = step.after
        steps.append(step)
        if checked.open_stateful_orders is not None and isinstance(step, OrderPreview):
            checked.open_stateful_orders += step.order.stateful and step.passes
    assumes = dict.fromkeys(text for step in steps for text in step.assumes)
    return BasketPreview(before, now, tuple(assumes), tuple(steps))


def _decided(account: Subaccount, order: Order, options: _Checked | None) -> OrderPreview | None:
    """Let the kernel decide an order; None where it is refused at once or plain integers have to answer."""
    chain = account._chain
    placement = kept_placement(order, chain._table)
    if placement is None and order.ticker in chain:
        placement = placement_of(order, chain[order.ticker])
    tier: FeeTier | None
    if options is None:
        tiers = chain.parameters.fee_tiers
        tier, counterparty = tiers[0] if tiers else None, 0
    else:
        tier, counterparty = options.known_fee_tier, options.counterparty
        if (order.stateful and options.open_stateful_orders is not None) or abs(counterparty) > INT64_MAX:
            return None
    if placement is None or tier is None:
        return None
    decision = decide_order(
        account, placement, chain, order, tier, counterparty, account._leverage, account._holds_isolated
    )
    if decision is None:
        return None
    decided = _new(OrderPreview)
    _keep_moment(decided, decision)
    return decided


def _checked_several(what: object) -> list[What]:
    """Return the members of a basket, when it is one."""
    allowed = "an Order, a Withdrawal, Transfer, Deposit or PriceMove"
    if isinstance(what, str | bytes) or not isinstance(what, Sequence) or not what:
        raise InputError("what", what, f"{allowed}, or several")
    for place, one in enumerate(what):
        if not isinstance(one, Order | Movement | PriceMove):
            raise InputError(f"what[{place}]", one, allowed)
    return list(what)


def _tickers(what: What) -> Iterable[str]:
    if isinstance(what, Order):
        return [what.ticker]
    return what.oracle_prices if isinstance(what, PriceMove) else []


def _step(
    chain: Chain, now: Scenario, what: What, options: _Checked
) -> OrderPreview | MovementPreview | PriceMovePreview:
    if isinstance(what, Order):
        return _order(chain[what.ticker], now, what, options)
    if isinstance(what, PriceMove):
        prices = {
            chain[ticker].perpetual_id: Market._checked_price(
                f"oracle_prices[{ticker!r}]", price, chain[ticker].price_exponent
            )
            for ticker, price in what.oracle_prices.items()
        }
        return PriceMovePreview(now, now.with_prices(prices), ("the prices come as given",), what)
    return _movement(now, what, options)


def _verdict(
    now: Scenario,
    outcome: whatif.Outcome,
    fill: whatif.Fill | None,
    role: str | None,
    usdc_change: int,
    held: int,
) -> Verdict:
    after = now.with_state(outcome.state, outcome.perpetuals)

    def of(risk: RiskState) -> Risk:
        return after.of_risk(risk)

    return Verdict(
        result=outcome.result,
        risk_before=of(outcome.current),
        risk_after=of(outcome.new),
        role=role,
        value=fill.quote_quantums if fill else 0,
        fee=fill.fee if fill else 0,
        builder_fee=fill.builder_fee if fill else 0,
        usdc_change=usdc_change,
        open_interest_change=outcome.open_interest_delta,
        position=held,
        after=after,
    )


def _movement(now: Scenario, what: Movement, options: _Checked) -> MovementPreview:
    """Ask the chain to move USDC."""
    kind = what.kind
    change = what.quantums if kind == DEPOSIT else -what.quantums
    outcome = whatif.outcome(now.perpetuals, now.state, whatif.usdc_update(change), kind, block=options.block)
    verdict = _verdict(now, outcome, None, None, change, 0)
    assumes = (
        () if kind == DEPOSIT or options.is_block_known else ("nothing blocks withdrawals and transfers",)
    )
    return MovementPreview(now, verdict.after if verdict.passes else now, assumes, what, verdict)


def _order(market: Market, now: Scenario, order: Order, options: _Checked) -> OrderPreview:
    """Ask the chain both of its questions about an order."""
    placed = order.in_market(market)
    # A price that was moved before in the same basket holds for the order's checks, too.
    held = now.quantums(market.perpetual_id)
    refused = placed.refused(
        held,
        now.risk.nc if order.stateful else 0,  # only a stateful order meets an equity tier
        options.open_stateful_orders,
        options.chain.parameters.stateful_order_equity_tiers,
        oracle_price=now.perpetuals[market.perpetual_id].price,
    )
    if refused is not None:
        return OrderPreview(now, now, (), order, refused, None, None)
    entering = None if order.immediate_or_cancel else resting_verdict(now, placed, options.fee_tier)
    matching = None
    if market.status != INITIALIZING:
        matching = matching_verdict(now, placed, options.fee_tier, options.counterparty)
    assumes = _assumed(
        order,
        options.fee_tier,
        options.counterparty,
        matches=matching is not None,
        counted=options.open_stateful_orders is not None,
    )
    left = matching.after if matching is not None and matching.passes else now
    return OrderPreview(now, left, assumes, order, None, entering, matching)


def _assumed(
    order: Order, tier: FeeTier, counterparty: int, *, matches: bool = True, counted: bool = False
) -> tuple[str, ...]:
    """Say what is taken for granted; `counted` is whether the open stateful orders are known."""
    assumes = [f"fee tier {tier.name}, no discounts"]
    if matches:
        assumes.append("matched in full, at one price, with one order")
        assumes.append(f"the other side holds {counterparty} base quantums before the match")
    if order.stateful and not counted:
        assumes.append("the equity tier leaves room for one more stateful order")
    return tuple(assumes)


def resting_verdict(now: Scenario, placed: PlacedOrder, tier: FeeTier) -> Verdict:
    """Ask whether the order may enter the book."""
    perpetual_id = placed.market.perpetual_id
    fill = whatif.resting_fill(
        now.perpetuals[perpetual_id],
        placed.order.is_buy,
        placed.base_quantums,
        placed.subticks,
        tier.maker_fee_ppm,
        placed.order.builder_fee_ppm or 0,
    )
    outcome = whatif.outcome(now.perpetuals, now.state, whatif.fill_update(perpetual_id, fill), COLLAT_CHECK)
    held = now.quantums(perpetual_id) + fill.base_delta
    return _verdict(now, outcome, fill, MAKER, fill.usdc_delta, held)


def matching_verdict(
    now: Scenario, placed: PlacedOrder, tier: FeeTier, counterparty_quantums: int
) -> Verdict:
    """Ask whether the order may be matched in full at its fill price."""
    perpetual_id = placed.market.perpetual_id
    role = MAKER if placed.order.post_only else TAKER
    held = now.quantums(perpetual_id)
    fill = whatif.matched_fill(
        now.perpetuals[perpetual_id],
        placed.order.is_buy,
        placed.fill_base_quantums(held),
        placed.fill_subticks,
        tier.maker_fee_ppm if role == MAKER else tier.taker_fee_ppm,
        placed.order.builder_fee_ppm or 0,
    )
    outcome = whatif.outcome(
        now.perpetuals, now.state, whatif.fill_update(perpetual_id, fill), MATCH, counterparty_quantums
    )
    return _verdict(now, outcome, fill, role, fill.usdc_delta, held + fill.base_delta)
