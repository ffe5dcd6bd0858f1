"""Previews give the chain's own answers, tell its two checks apart, and change nothing."""

import dataclasses
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from what_if_cases import (
    FREE,
    account_of,
    chain_account,
    everything,
    read_row,
    small_account,
    text,
    vector_rows,
)

from dydx_perf import Chain, FeeTier, InputError, Position, Subaccount, UnknownMarketError
from dydx_perf.errors import ChainError
from dydx_perf.exact import whatif
from dydx_perf.exact.state import AssetPosition, PerpetualPosition, SubaccountState
from dydx_perf.exact.update import (
    MATCH,
    AssetUpdate,
    PerpetualUpdate,
    Update,
    add_order_collateral_check,
    can_update_subaccounts,
    update_subaccounts,
)
from dydx_perf.order import Order
from dydx_perf.preview import BlockState, Deposit, Movement, PriceMove, Transfer, Withdrawal
from dydx_perf.verify.fields import Fields, read_update

V9 = Chain.sample("v9")


def read_verdict_row(row):
    block = BlockState(
        row["block_height"],
        row["negative_tnc_seen_block"],
        row["chain_outage_block"],
        row["chain_outage_seconds"],
    )
    updates = [read_update(Fields(update)) for update in row["updates"]]
    return updates, row["update_type"], block


def test_one_account_outcomes_are_the_chains():
    """Every update of one subaccount by itself, and the first of every match, as `can_update_subaccounts`."""
    looked_at = 0
    for row, out in vector_rows("state_transition", "can_update_subaccounts"):
        updates, update_type, block = read_verdict_row(row)
        perpetuals, _ = read_row(
            {"markets": row["markets"]}, {"asset_positions": [], "perpetual_positions": []}
        )
        states = [read_row({"markets": row["markets"]}, subaccount)[1] for subaccount in row["subaccounts"]]
        if "results" not in out or len(updates) != 1 + (update_type == MATCH):
            continue
        if update_type == MATCH and "ViolatesIsolatedSubaccountConstraints" in out["results"]:
            continue  # the other side may be the one that violates
        update = dataclasses.replace(updates[0], subaccount=0)
        other = 0
        if update_type == MATCH:
            (change,) = updates[1].perpetual_updates
            held = states[updates[1].subaccount].perpetual_positions
            other = sum(p.quantums for p in held if p.perpetual_id == change.perpetual_id)
        state = states[updates[0].subaccount]
        answer = whatif.outcome(perpetuals, state, update, update_type, other, block)
        if answer.result == whatif.NEGATIVE_OPEN_INTEREST:
            assert out["results"][0] == "Success"  # found out a step later, when the match is written
        else:
            assert answer.result == out["results"][0]
        if "risk_new" in out and out["risk_new"][0]:
            assert vars_of(answer.new) == out["risk_new"][0]
            assert vars_of(answer.current) == out["risk_cur"][0]
        looked_at += 1
    assert looked_at > 100


def vars_of(risk):
    return {"nc": str(risk.nc), "imr": str(risk.imr), "mmr": str(risk.mmr)}


def test_movements_are_the_chains():
    """Withdrawals, transfers and deposits of the vectors through the public face, blocks included."""
    kinds = {"Withdrawal": (Withdrawal, -1), "Transfer": (Transfer, -1), "Deposit": (Deposit, 1)}
    looked_at = 0
    for function in ("can_update_subaccounts", "update_subaccounts"):
        for row, out in vector_rows("state_transition", function):
            if row["update_type"] not in kinds or len(row["updates"]) != 1 or "results" not in out:
                continue
            (update,), _, block = read_verdict_row(row)
            kind, sign = kinds[row["update_type"]]
            usdc = [change.quantums_delta * sign for change in update.asset_updates if change.asset_id == 0]
            account = account_of(*read_row(row, row["subaccounts"][update.subaccount]))
            if account is None or update.perpetual_updates or len(update.asset_updates) != 1 or not usdc:
                continue
            if usdc[0] <= 0:
                continue
            answer = account.preview(kind(text(usdc[0], -6)), block=block)
            assert answer.verdict.result == out["results"][0]
            assert answer.passes is out["success"]
            assert (answer.after is answer.before) is not out["success"]
            looked_at += 1
    assert looked_at > 20


def test_orders_enter_the_book_as_on_the_chain():
    """Every row of `add_order_to_orderbook_collateral_check` that an order can state."""
    looked_at = 0
    for row, out in vector_rows("state_transition", "add_order_to_orderbook_collateral_check"):
        perpetuals, state = read_row(row, row["subaccount"])
        perpetual = perpetuals.get(row["perpetual_id"])
        tier = dataclasses.replace(FREE, maker_fee_ppm=row["maker_fee_ppm"])
        account = account_of(perpetuals, state, (tier,))
        if account is None or perpetual is None or "result" not in out:
            continue
        pair = account.chain[perpetual.perpetual_id].clob_pair
        builder_fee = row["builder_fee_ppm"]
        order = Order(
            f"M{perpetual.perpetual_id}-USD",
            row["is_buy"],
            size=text(int(row["remaining_base_quantums"]), perpetual.atomic_resolution),
            limit_price=text(
                int(row["subticks"]),
                pair.quantum_conversion_exponent - 6 - perpetual.atomic_resolution,
            ),
            builder_fee_ppm=builder_fee,
        )
        answer = account.preview(order)
        if answer.refusal is not None:  # the vectors try sizes and fees that never get as far on the chain
            assert answer.entering_book is answer.matching is None
            continue
        assert answer.entering_book.result == out["result"]
        looked_at += 1
    assert looked_at > 15


small_seeds = st.integers(0, 10**6)
order_sizes = st.integers(1, 3_000)


@given(small_seeds, order_sizes, st.booleans(), st.integers(-400, 400), st.integers(-900, 900))
@settings(max_examples=150)
def test_both_verdicts_are_those_of_the_model(seed, size, is_buy, off_oracle, counterparty):
    """Entering the book is the pinned check; matching the update of two subaccounts, open interest first."""
    account = small_account(seed)
    market = account.chain["M0-USD"]
    size -= size % market.clob_pair.step_base_quantums
    subticks = max(1, market.perpetual.price // 10 * 10 + off_oracle)
    if not size:
        return
    order = Order("M0-USD", is_buy, size=text(size, -4), limit_price=text(subticks, -6), builder_fee_ppm=700)
    before = everything(account)
    answer = account.preview(order, counterparty_quantums=counterparty)
    assert everything(account) == before
    perpetuals = {one.perpetual_id: one.perpetual for one in account.chain}
    tier = account.chain.parameters.fee_tiers[0]
    assert answer.entering_book.result == add_order_collateral_check(
        perpetuals, account.state, 0, is_buy, size, subticks, tier.maker_fee_ppm, 700
    )
    value = subticks * size // 10**4
    fee = -(-value * tier.taker_fee_ppm // 10**6)
    builder_fee = -(-value * 700 // 10**6)
    sign = 1 if is_buy else -1
    usdc = -sign * value - fee - builder_fee
    other = SubaccountState(
        (AssetPosition(0, 10**30),), (PerpetualPosition(0, counterparty, market.funding_index),)
    )
    updates = [
        Update(0, (AssetUpdate(0, usdc),), (PerpetualUpdate(0, sign * size),)),
        Update(1, (AssetUpdate(0, 0),), (PerpetualUpdate(0, -sign * size),)),
    ]
    match = answer.matching
    verdicts = can_update_subaccounts(perpetuals, [account.state, other], updates, MATCH)
    assert verdicts.results[1] == "Success"
    assert (match.value, match.fee, match.builder_fee, match.usdc_change) == (value, fee, builder_fee, usdc)
    if match.result == whatif.NEGATIVE_OPEN_INTEREST:
        with pytest.raises(ChainError, match=match.result):
            update_subaccounts(perpetuals, [account.state, other], updates, MATCH)
        assert answer.after is answer.before
        return
    written = update_subaccounts(perpetuals, [account.state, other], updates, MATCH)
    assert match.result == verdicts.results[0]
    if match.passes:
        assert answer.after.state == written.subaccounts[0]
        assert answer.after.perpetuals[0].open_interest == written.open_interest[0]
        assert market.open_interest + match.open_interest_change == written.open_interest[0]
    else:
        assert answer.after is answer.before
    assert match.position == sum(
        p.quantums for p in match.after.state.perpetual_positions if not p.perpetual_id
    )


@given(st.integers(0, 10**6), st.integers(1, 900), st.booleans())
@settings(max_examples=40)
def test_figures_after_are_those_of_an_account_brought_there(seed, size, is_buy):
    """Risk and liquidation prices after are what a real account in that state shows."""
    account = small_account(seed)
    market = account.chain["M1-USD"]
    size *= market.clob_pair.step_base_quantums
    order = Order("M1-USD", is_buy, size=text(size, -4), limit_price=text(market.perpetual.price * 10, -6))
    verdict = account.preview(order).entering_book
    state = verdict.after.state
    there = Subaccount(
        account.chain,
        "dydx1there",
        usdc=text(sum(asset.quantums for asset in state.asset_positions), -6),
        positions=[
            Position(account.chain[p.perpetual_id], quantums=p.quantums, quote_balance=p.quote_balance)
            for p in state.perpetual_positions
        ],
        leverage=account.leverage_choices,
    )
    assert verdict.risk_after == there.risk
    assert verdict.after.risk == there.risk
    assert verdict.liquidation_prices == there.liquidation_prices


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
@settings(max_examples=40)
def test_moved_prices_are_those_of_a_chain_that_moved(seed, first, second):
    """Risk and liquidation prices under other prices, without touching the chain."""
    account = small_account(seed)
    prices = {"M0-USD": text(first, -5), "M2-USD": text(second, -5)}
    before = everything(account)
    answer = account.preview(PriceMove(prices))
    assert everything(account) == before
    shown = answer.risk_after, answer.liquidation_prices
    account.chain.set_oracle_prices(prices)
    assert shown == (account.risk, account.liquidation_prices)
    assert answer.risk_after == account.risk
    assert answer.passes
    assert answer.risk_before != answer.risk_after or answer.before.risk == before[1]


def test_moved_prices_are_an_estimate():
    """A price that is nobody's has no better basis, whatever the rest has."""
    account = chain_account(height=7)
    assert account.risk.basis == "chain"
    assert account.preview(PriceMove({"BTC-USD": 1})).risk_after.basis == "estimate"
    assert account.preview(Deposit(1)).risk_after.basis == "chain"
    assert account.preview(Deposit(1)).risk_after.height == 7


def test_a_basket_is_each_question_on_what_the_ones_before_left():
    """As if each were asked of an account that had done the ones before; a refused one leaves no trace."""
    chain = Chain.sample("v9")
    account = Subaccount(chain, "dydx1", usdc=1_000)
    price = chain["ETH-USD"].oracle_price.decimal.quantize(Decimal("0.1"))
    buy = Order.buy("ETH-USD", size="1", limit_price=price)
    huge = Order.buy("ETH-USD", size="1000", limit_price=price)
    sell = Order.sell("ETH-USD", size="1", limit_price=price, reduce_only=True, immediate_or_cancel=True)
    before = everything(account)
    answer = account.preview([buy, huge, Withdrawal(100), sell, sell])
    assert everything(account) == before
    first, refused, withdrawal, closing, nothing_left = answer.steps
    assert [step.passes for step in answer.steps] == [True, False, True, True, False]
    assert refused.after is refused.before is first.after
    assert withdrawal.before is first.after
    assert closing.matching.position == 0
    assert nothing_left.refusal.name == "ErrReduceOnlyWouldIncreasePositionSize"
    assert answer.after is closing.after
    fees = first.matching.fee + closing.matching.fee
    assert answer.risk_after.nc == 900 * 10**6 - fees
    assert not answer.passes
    assert account.preview([buy, sell]).passes


def test_stateful_orders_of_a_basket_count_against_the_equity_tier():
    """The v9 sample allows one stateful order from 20 USDC on, five from 100."""
    account = Subaccount(V9, "dydx1", usdc=50)
    order = Order.buy("SOL-USD", size="0.1", limit_price="20", stateful=True)
    first, second = account.preview([order, order], open_stateful_orders=0).steps
    assert first.passes
    assert second.refusal.name == "ErrOrderWouldExceedMaxOpenOrdersEquityTierLimit"
    assert second.refusal.code == "clob/10001"
    assert account.preview([order, order]).passes  # not asked
    assert "equity tier" in account.preview(order).assumes[-1]


def test_a_reduce_only_fill_is_cut_down_to_the_position():
    account = chain_account()
    order = Order.sell("BTC-USD", size=5, limit_price=60_000, reduce_only=True, immediate_or_cancel=True)
    answer = account.preview(order, fee_tier=FREE)
    assert answer.entering_book is None
    assert answer.matching.position == 0
    assert answer.matching.usdc_change == 6_000 * 10**6
    assert answer.size == 0
    odd = Subaccount(account.chain, "dydx1", usdc=1_000, positions={"BTC-USD": "0.00001"})
    assert odd.preview(order, fee_tier=FREE).refusal.name == "ErrFillAmountNotDivisibleByStepSize"


def test_fees_are_the_tiers_and_rebates_are_paid_out():
    """Maker and taker fee round up; a negative maker fee is a rebate; post-only matches as a maker."""
    account = chain_account()
    tier = FeeTier("x", 0, 0, 0, -110, 500)
    order = Order.buy("BTC-USD", size="0.0001", limit_price=59_999, builder_fee_ppm=10)
    answer = account.preview(order, fee_tier=tier)
    value = 5_999_900
    assert answer.entering_book.value == answer.matching.value == value
    assert answer.entering_book.fee == -659  # -659.989 up
    assert answer.matching.fee == 3000  # 2999.95 up
    assert answer.entering_book.builder_fee == 10  # of 1,000,000 base quantums
    assert answer.matching.builder_fee == 60  # of the value, 59.999 up
    assert answer.matching.fee_usdc == Decimal("0.003060")
    assert (answer.entering_book.role, answer.matching.role) == ("maker", "taker")
    resting = account.preview(dataclasses.replace(order, post_only=True), fee_tier=tier)
    assert (resting.matching.role, resting.matching.fee) == ("maker", -659)


def test_the_fill_price_is_the_one_given():
    account = chain_account()
    order = Order.buy("BTC-USD", size="0.0001", limit_price=70_000, fill_price=60_000)
    answer = account.preview(order, fee_tier=FREE)
    assert answer.entering_book.value == 7_000_000
    assert answer.matching.value == 6_000_000


def test_fee_tiers_are_found_by_name_and_never_guessed():
    order = Order.buy("SOL-USD", size="1", limit_price="20")
    account = Subaccount(V9, "dydx1", usdc=1_000)
    assert account.preview(order).matching.fee == 10_000
    assert account.preview(order, fee_tier="5").matching.fee == 6_000
    assert account.preview(order, fee_tier=V9.parameters.fee_tiers[4]).matching.fee == 6_000
    with pytest.raises(InputError, match="fee_tier"):
        account.preview(order, fee_tier="10")
    with pytest.raises(InputError, match="it has none"):
        chain_account().preview(Order.buy("BTC-USD", size="0.1", limit_price=1))
    assert chain_account().preview(Deposit(1)).passes  # no fee, no question


def test_open_interest_comes_first_when_matching():
    """Entering the book passes at the old margin; matching raises open interest past the cap and fails."""
    account = chain_account(
        open_interest=10**11, open_interest_lower_cap=6 * 10**11, open_interest_upper_cap=7 * 10**11
    )
    order = Order.buy("BTC-USD", size=1, limit_price=60_000)
    answer = account.preview(order, fee_tier=FREE)
    assert answer.entering_book.passes is (
        answer.entering_book.risk_after.nc >= answer.entering_book.risk_after.imr
    )
    flat = answer.matching
    assert flat.open_interest_change == 10**10
    closing = account.preview(order, fee_tier=FREE, counterparty_quantums=10**10).matching
    assert closing.open_interest_change == 0
    assert closing.risk_after == answer.entering_book.risk_after
    assert flat.risk_after.imr > closing.risk_after.imr
    gone = account.preview(
        Order.sell("BTC-USD", size="0.1", limit_price=60_000), fee_tier=FREE, counterparty_quantums=-(10**10)
    )
    assert gone.matching.passes


def test_open_interest_below_zero_is_refused():
    """When neither side's closing leaves room, the chain refuses to write the match."""
    account = chain_account(open_interest=0)
    order = Order.sell("BTC-USD", size="0.1", limit_price=60_000)
    answer = account.preview(order, fee_tier=FREE, counterparty_quantums=-(10**10))
    assert answer.matching.result == "ErrCannotModifyPerpOpenInterestForOIMF"
    assert answer.after is answer.before


def test_isolated_markets_are_alone():
    account = Subaccount(V9, "dydx1", usdc=1_000, positions={"SOL-USD": "1"})
    order = Order.buy("EIGEN-USD", size="1", limit_price="3")
    for verdict in (account.preview(order).entering_book, account.preview(order).matching):
        assert verdict.result == "ViolatesIsolatedSubaccountConstraints"
    assert Subaccount(V9, "dydx1", usdc=1_000).preview(order).passes


def test_withdrawals_are_blocked_for_fifty_blocks():
    account = Subaccount(V9, "dydx1", usdc=1_000)
    for seen, passes in ((50, True), (51, False), (100, False)):
        block = BlockState(height=100, negative_tnc_seen_block=seen)
        assert account.preview(Withdrawal(1), block=block).passes is passes
        assert account.preview(Transfer(1), block=block).passes is passes
        assert account.preview(Deposit(1), block=block).passes
    assert account.preview(Withdrawal(1)).assumes == ("nothing blocks withdrawals and transfers",)
    assert account.preview(Deposit(1)).assumes == ()


@pytest.mark.parametrize(
    ("what", "options", "argument"),
    [
        (None, {}, "what"),
        ("BTC-USD", {}, "what"),
        ([], {}, "what"),
        ([Deposit(1), 7], {}, "what[1]"),
        (SimpleNamespace(), {}, "what"),
        (Deposit(1), {"block": 7}, "block"),
        (Deposit(1), {"counterparty_quantums": "1"}, "counterparty_quantums"),
        (Deposit(1), {"open_stateful_orders": -1}, "open_stateful_orders"),
        (Deposit(1), {"fee_teer": "1"}, "fee_teer"),
        (PriceMove({"SOL-USD": 0}), {}, "oracle_prices['SOL-USD']"),
        (PriceMove({"SOL-USD": 1.5}), {}, "oracle_prices['SOL-USD']"),
    ],
)
def test_wrong_questions_are_refused_and_change_nothing(what, options, argument):
    account = Subaccount(V9, "dydx1", usdc=1_000, positions={"SOL-USD": "1"})
    before = everything(account)
    with pytest.raises(InputError) as refused:
        account.preview(what, **options)
    assert refused.value.argument == argument
    assert everything(account) == before


def test_unknown_markets_are_named():
    account = Subaccount(V9, "dydx1", usdc=1_000)
    for what in (Order.buy("X-USD", size=1, limit_price=1), PriceMove({"X-USD": 1})):
        with pytest.raises(UnknownMarketError, match="X-USD"):
            account.preview(what)


@pytest.mark.parametrize("kind", [Withdrawal, Transfer, Deposit])
@pytest.mark.parametrize("usdc", [0, -1, "0.0000001", 1.5, None, "x", True])
def test_wrong_movements_are_refused(kind, usdc):
    with pytest.raises(InputError, match="usdc"):
        kind(usdc)


def test_a_movement_has_a_direction():
    with pytest.raises(TypeError, match="Withdrawal"):
        Movement(1)
    with pytest.raises(InputError, match="oracle_prices"):
        PriceMove(["SOL-USD"])


def test_previews_never_change():
    answer = Subaccount(V9, "dydx1", usdc=1_000).preview(Order.buy("SOL-USD", size=1, limit_price=20))
    for thing in (answer, answer.matching, answer.order, answer.after):
        name = dataclasses.fields(thing)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, getattr(thing, name))


def test_a_preview_does_not_follow_the_chain():
    """What it says is of the moment it was asked for."""
    chain = Chain.sample("v9")
    account = Subaccount(chain, "dydx1", usdc=1_000, positions={"SOL-USD": "1"})
    answer = account.preview(Withdrawal(1))
    shown = answer.risk_before, answer.risk_after, answer.liquidation_prices
    chain["SOL-USD"].set_oracle_price("1")
    account.set_usdc(7)
    assert (answer.risk_before, answer.risk_after, answer.liquidation_prices) == shown


def test_amounts_past_128_bits():
    """Plain integers all the way, liquidation prices included."""
    chain = Chain.sample("v9")
    account = Subaccount(chain, "dydx1", usdc=text(10**45, -6), positions={"SOL-USD": 10**40})
    answer = account.preview(Withdrawal(text(10**44, -6)))
    assert answer.risk_after.nc == account.risk.nc - 10**44
    account.set_usdc(text(10**45 - 10**44, -6))
    assert answer.liquidation_prices == account.liquidation_prices
