"""Messages say what an order says to the last unit; what the chain would refuse is not built (C15)."""

import random
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from v4_proto.dydxprotocol.clob.order_pb2 import Order as OrderMessage
from v4_proto.dydxprotocol.clob.tx_pb2 import MsgBatchCancel, MsgCancelOrder, MsgPlaceOrder
from v4_proto.dydxprotocol.sending.transfer_pb2 import MsgDepositToSubaccount, MsgWithdrawFromSubaccount
from v4_proto.dydxprotocol.sending.tx_pb2 import MsgCreateTransfer
from what_if_cases import FREE, chain_account

from dydx_perf import Chain, Subaccount
from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.messages import (
    FLAGS,
    UnsignedMessage,
    batch_cancel,
    cancel_order,
    deposit,
    place_order,
    transfer,
    withdraw,
)
from dydx_perf.order import Order
from dydx_perf.preview import BasketPreview, BlockState, MovementPreview, OrderPreview
from dydx_perf.protection import close_position, protect, protective_price, rescue_deposit
from dydx_perf.units import price_to_subticks, size_to_base_quantums

OWNER = "dydx1c7ptc87hkd54e3r7zjy92q29xkq7t79w64slrq"
OTHER = "dydx1vvjr376v4hfpy5r6m3dmu4u3mu6yl6sjds3gz8"
BTC = "BTC-USD"
NOW = 1_770_000_000
SHORT = {"height": 100, "good_til_block": 120}
LONG = {"time": NOW, "good_til_time": NOW + 3600, "open_stateful_orders": 0}


def account(usdc: str = "10000", **positions: str) -> Subaccount:
    held = {f"{name}-USD": size for name, size in positions.items()}
    return Subaccount(Chain.sample("v9"), OWNER, 3, usdc=usdc, positions=held)


def levered(size: str) -> Subaccount:
    """An account with this position and 300 USDC of net collateral."""
    one = account(BTC=size)
    one.set_usdc(300 - (oracle(one) * Decimal(size)).quantize(Decimal("0.000001")))
    return one


def oracle(one: Subaccount) -> Decimal:
    return one.chain[BTC].oracle_price.decimal


def whole(price: Decimal) -> Decimal:
    """A price on the grid of every market's order book."""
    return Decimal(int(price))


def read(built: UnsignedMessage, kind: type) -> OrderMessage:
    """The message as another program reads it from a transaction."""
    outer = AnyMessage.FromString(built.any_bytes)
    assert (outer.type_url, outer.value) == (built.type_url, built.value)
    assert built.type_url == f"/{kind.DESCRIPTOR.full_name}"
    message = kind.FromString(outer.value)
    assert message == built.message
    return message


# ---- orders


@pytest.mark.parametrize("seed", range(60))
def test_an_order_comes_back_from_its_bytes_as_it_was(seed):
    """Any size, price and time in force: read back with v4-proto and put into coins and USDC again."""
    draw = random.Random(seed)
    one = account("100000000", BTC="-0.5" if draw.random() < 0.5 else "0.5")
    market = one.chain[BTC]
    pair = market.clob_pair
    held = one.positions[BTC].quantums
    flavour = draw.choice(["plain", "post_only", "immediate_or_cancel", "reduce_only"])
    is_buy = held < 0 if flavour == "reduce_only" else draw.random() < 0.5
    order = Order(
        BTC,
        is_buy,
        size=market.step_size * draw.randrange(1, 10**4),
        limit_price=market.tick_size * draw.randrange(10_000, 100_000),
        **({"reduce_only": True, "immediate_or_cancel": True} if flavour == "reduce_only" else {}),
        **({flavour: True} if flavour in ("post_only", "immediate_or_cancel") else {}),
        stateful=flavour in ("plain", "post_only") and draw.random() < 0.5,
        builder_fee_ppm=draw.choice([None, 100]),
    )
    until = LONG if order.stateful else SHORT
    client_id = draw.randrange(2**32)
    built = place_order(
        one,
        order,
        client_id=client_id,
        client_metadata=seed,
        builder_address=None if order.builder_fee_ppm is None else OTHER,
        **until,
    )
    message = read(built, MsgPlaceOrder).order
    assert (message.order_id.subaccount_id.owner, message.order_id.subaccount_id.number) == (OWNER, 3)
    assert (message.order_id.client_id, message.client_metadata) == (client_id, seed)
    assert message.order_id.clob_pair_id == market.clob_pair_id
    assert message.order_id.order_flags == (64 if order.stateful else 0)
    end = ("good_til_block_time", NOW + 3600) if order.stateful else ("good_til_block", 120)
    assert (message.WhichOneof("good_til_oneof"), getattr(message, end[0])) == end
    words = OrderMessage.TimeInForce.Name(message.time_in_force)
    again = Order(
        BTC,
        message.side == OrderMessage.SIDE_BUY,
        size=Decimal(message.quantums).scaleb(market.atomic_resolution),
        limit_price=Decimal(message.subticks).scaleb(
            pair.quantum_conversion_exponent - market.atomic_resolution - 6
        ),
        reduce_only=message.reduce_only,
        post_only=words == "TIME_IN_FORCE_POST_ONLY",
        immediate_or_cancel=words == "TIME_IN_FORCE_IOC",
        stateful=message.order_id.order_flags == 64,
        builder_fee_ppm=message.builder_code_parameters.fee_ppm or None,
    )
    assert again == order
    assert message.builder_code_parameters.builder_address == ("" if order.builder_fee_ppm is None else OTHER)
    assert message.condition_type == 0
    assert message.conditional_order_trigger_subticks == 0
    assert isinstance(built.preview, OrderPreview)
    assert built.preview.passes


@pytest.mark.parametrize("is_buy", [False, True])
@pytest.mark.parametrize("condition", ["stop-loss", "take-profit"])
def test_a_conditional_order_has_its_trigger_and_was_checked_there(is_buy, condition):
    one = account(BTC="-0.01" if is_buy else "0.01")
    waits_below = (condition == "stop-loss") != is_buy
    trigger = whole(oracle(one) * Decimal("0.95" if waits_below else "1.05"))
    limit = whole(trigger * Decimal("1.02" if is_buy else "0.98"))
    for words in ({"reduce_only": True, "immediate_or_cancel": True}, {"stateful": True}):
        order = Order(BTC, is_buy, size="0.01", limit_price=limit, **words)
        built = place_order(one, order, client_id=5, trigger_price=trigger, condition=condition, **LONG)
        message = read(built, MsgPlaceOrder).order
        market = one.chain[BTC]
        assert message.order_id.order_flags == 32
        assert message.good_til_block_time == NOW + 3600
        assert OrderMessage.ConditionType.Name(message.condition_type) == (
            "CONDITION_TYPE_STOP_LOSS" if condition == "stop-loss" else "CONDITION_TYPE_TAKE_PROFIT"
        )
        assert message.conditional_order_trigger_subticks == price_to_subticks(
            trigger, market.atomic_resolution, market.clob_pair.quantum_conversion_exponent
        )
        assert message.time_in_force == ("reduce_only" in words)
        assert isinstance(built.preview, BasketPreview)
        assert built.preview.passes
        assert abs(built.preview.steps[0].move.oracle_prices[BTC] - trigger) < 1
        # the other side of the price would trigger at once
        for price in (whole(oracle(one) * 2 - trigger), whole(oracle(one)) + waits_below):
            with pytest.raises(InputError, match="at once") as refused:
                place_order(one, order, client_id=5, trigger_price=price, condition=condition, **LONG)
            assert refused.value.argument == "trigger_price"


def refused_order(changes, arguments):
    """The argument that is named when one thing of a good order is wrong."""
    one = account(BTC="0.01")
    price = whole(oracle(one))
    words = {"ticker": BTC, "is_buy": True, "size": "0.01", "limit_price": price} | changes
    with pytest.raises(InputError) as refused:
        place_order(one, Order(words.pop("ticker"), words.pop("is_buy"), **words), **arguments)
    return refused.value


GOOD = {"client_id": 1, **SHORT}
STATEFUL = {"client_id": 1, **LONG}


@pytest.mark.parametrize(
    ("changes", "arguments", "argument"),
    [
        ({"size": 0}, GOOD, "size"),
        ({"size": "0.000050001"}, GOOD, "size"),
        ({"size": "0.00000000001"}, GOOD, "size"),
        ({"limit_price": 0}, GOOD, "limit_price"),
        ({"limit_price": "60000.000001"}, GOOD, "limit_price"),
        ({"limit_price": "0.5"}, GOOD, "limit_price"),
        ({}, GOOD | {"client_id": -1}, "client_id"),
        ({}, GOOD | {"client_id": 2**32}, "client_id"),
        ({}, GOOD | {"client_metadata": 2**32}, "client_metadata"),
        ({}, GOOD | {"good_til_block": 100}, "good_til_block"),
        ({}, GOOD | {"good_til_block": 141}, "good_til_block"),
        ({}, GOOD | {"good_til_block": None}, "good_til_block"),
        ({}, GOOD | {"height": -1}, "height"),
        ({}, GOOD | {"good_til_time": NOW}, "good_til_time"),
        ({}, GOOD | {"builder_address": OTHER}, "builder_address"),
        ({"builder_fee_ppm": 5}, GOOD, "builder_address"),
        ({"builder_fee_ppm": 5}, GOOD | {"builder_address": OTHER[:-1]}, "builder_address"),
        ({"builder_fee_ppm": 10_001}, GOOD | {"builder_address": OTHER}, "order"),
        ({"reduce_only": True}, GOOD, "order"),
        ({"reduce_only": True, "immediate_or_cancel": True}, GOOD, "order"),
        ({"size": 1000}, GOOD, "order"),
        ({"stateful": True}, STATEFUL | {"good_til_block": 5}, "good_til_block"),
        ({"stateful": True}, STATEFUL | {"good_til_time": NOW}, "good_til_time"),
        ({"stateful": True}, STATEFUL | {"good_til_time": NOW + 95 * 86400 + 1}, "good_til_time"),
        ({"stateful": True}, STATEFUL | {"time": None}, "time"),
        ({"stateful": True}, STATEFUL | {"open_stateful_orders": 10**6}, "open_stateful_orders"),
        ({"stateful": True}, {"client_id": 1, "time": NOW, "good_til_time": NOW + 1}, "open_stateful_orders"),
        ({"stateful": True, "immediate_or_cancel": True}, STATEFUL, "order"),
        ({}, STATEFUL | {"trigger_price": "0.5"}, "trigger_price"),
        ({}, STATEFUL | {"trigger_price": 0, "condition": "take-profit"}, "trigger_price"),
        ({}, STATEFUL | {"trigger_price": 10**6, "open_stateful_orders": 10**6}, "open_stateful_orders"),
        ({}, STATEFUL | {"trigger_price": 10**6, "condition": "stop"}, "condition"),
        ({"size": 1000, "limit_price": 10**6}, STATEFUL | {"trigger_price": 10**6}, "order"),
        ({}, GOOD | {"fee_tier": "none"}, "fee_tier"),
    ],
)
def test_what_the_chain_would_refuse_is_refused_by_name(changes, arguments, argument):
    assert refused_order(changes, arguments).argument == argument


def test_the_edges_of_the_windows_are_taken():
    one = account()
    order = Order.buy(BTC, size="0.01", limit_price=whole(oracle(one)))
    for end in (101, 140):
        assert (
            place_order(one, order, client_id=1, height=100, good_til_block=end).message.order.good_til_block
            == end
        )
    stateful = replace(order, stateful=True)
    for end in (NOW + 1, NOW + 95 * 86400):
        built = place_order(one, stateful, client_id=1, time=NOW, good_til_time=end, open_stateful_orders=0)
        assert built.message.order.good_til_block_time == end


def test_the_block_is_the_chains_where_none_is_given():
    one = account()
    one.chain.set_block(500)
    order = Order.buy(BTC, size="0.01", limit_price=whole(oracle(one)))
    assert place_order(one, order, client_id=1, good_til_block=540).message.order.good_til_block == 540
    with pytest.raises(InputError) as refused:
        place_order(one, order, client_id=1, good_til_block=541)
    assert refused.value.argument == "good_til_block"


def test_a_market_that_does_not_trade_is_refused_by_its_ticker():
    for status in ("FINAL_SETTLEMENT", "INITIALIZING"):
        one = Subaccount(chain_account(status=status).chain, OWNER, usdc=1000)
        with pytest.raises(InputError, match="ErrOrderConflictsWithClobPairStatus") as refused:
            place_order(
                one, Order.buy(BTC, size="0.01", limit_price=1000), client_id=1, fee_tier=FREE, **SHORT
            )
        assert refused.value.argument == "ticker"
    order = Order.buy("NOPE-USD", size=1, limit_price=1)
    with pytest.raises(UnknownMarketError):
        place_order(one, order, client_id=1, **SHORT)
    with pytest.raises(InputError, match="order"):
        place_order(one, "buy", client_id=1, **SHORT)


def test_only_a_real_address_gets_messages():
    one = Subaccount(Chain.sample("v9"), "dydx1test", usdc=100)
    order = Order.buy(BTC, size="0.0001", limit_price=1000)
    for build in (
        lambda: place_order(one, order, client_id=1, **SHORT),
        lambda: cancel_order(one, BTC, client_id=1, kind="short-term", **SHORT),
        lambda: batch_cancel(one, {BTC: [1]}, **SHORT),
        lambda: deposit(one, 1, sender=OTHER),
        lambda: withdraw(one, 1, recipient=OTHER),
        lambda: transfer(one, 1, recipient=(OTHER, 0)),
    ):
        with pytest.raises(InputError) as refused:
            build()
        assert refused.value.argument == "address"


# ---- cancels


@pytest.mark.parametrize("kind", FLAGS)
def test_a_cancel_names_the_order_that_was_placed(kind):
    one = account(BTC="0.01")
    order = Order.buy(BTC, size="0.01", limit_price=whole(oracle(one)), stateful=kind != "short-term")
    until = SHORT if kind == "short-term" else LONG
    if kind in ("stop-loss", "take-profit"):
        price = whole(oracle(one) * Decimal("1.1" if kind == "stop-loss" else "0.9"))
        placed = place_order(one, order, client_id=9, trigger_price=price, condition=kind, **until)
    else:
        placed = place_order(one, order, client_id=9, **until)
    until = {name: value for name, value in until.items() if name != "open_stateful_orders"}
    cancel = read(cancel_order(one, BTC, client_id=9, kind=kind, **until), MsgCancelOrder)
    assert cancel.order_id == placed.message.order.order_id
    assert cancel.WhichOneof("good_til_oneof") == placed.message.order.WhichOneof("good_til_oneof")
    assert (cancel.good_til_block, cancel.good_til_block_time) == (
        placed.message.order.good_til_block,
        placed.message.order.good_til_block_time,
    )


def test_a_batch_cancel_has_every_id_by_market():
    one = account()
    built = read(batch_cancel(one, {BTC: [1, 2], "ETH-USD": [1]}, **SHORT), MsgBatchCancel)
    assert [(batch.clob_pair_id, list(batch.client_ids)) for batch in built.short_term_cancels] == [
        (one.chain[BTC].clob_pair_id, [1, 2]),
        (one.chain["ETH-USD"].clob_pair_id, [1]),
    ]
    assert (built.subaccount_id.owner, built.subaccount_id.number, built.good_til_block) == (OWNER, 3, 120)
    assert len(batch_cancel(one, {BTC: range(100)}, **SHORT).message.short_term_cancels[0].client_ids) == 100


@pytest.mark.parametrize(
    ("client_ids", "until", "argument"),
    [
        ({}, SHORT, "client_ids"),
        ([1], SHORT, "client_ids"),
        ({BTC: []}, SHORT, f"client_ids['{BTC}']"),
        ({BTC: [1, 1]}, SHORT, f"client_ids['{BTC}']"),
        ({BTC: [-1]}, SHORT, f"client_ids['{BTC}']"),
        ({BTC: range(101)}, SHORT, "client_ids"),
        ({BTC: [1]}, SHORT | {"good_til_block": 141}, "good_til_block"),
    ],
)
def test_a_batch_cancel_that_the_chain_would_refuse_is_refused_by_name(client_ids, until, argument):
    with pytest.raises(InputError) as refused:
        batch_cancel(account(), client_ids, **until)
    assert refused.value.argument == argument


def test_a_cancel_with_a_wrong_kind_or_end_is_refused_by_name():
    for arguments, argument in [
        ({"kind": "limit", **SHORT}, "kind"),
        ({"kind": "long-term", **SHORT}, "good_til_block"),
        ({"kind": "short-term", "time": NOW, "good_til_time": NOW + 1}, "good_til_time"),
    ]:
        with pytest.raises(InputError) as refused:
            cancel_order(account(), BTC, client_id=1, **arguments)
        assert refused.value.argument == argument


# ---- USDC


def test_money_moves_to_the_last_quantum():
    one = account("100")
    paid = read(deposit(one, "0.000001", sender=OTHER), MsgDepositToSubaccount)
    assert (paid.sender, paid.recipient.owner, paid.recipient.number) == (OTHER, OWNER, 3)
    assert (paid.asset_id, paid.quantums) == (0, 1)
    taken = read(withdraw(one, 100, recipient=OTHER), MsgWithdrawFromSubaccount)
    assert (taken.recipient, taken.sender.owner, taken.sender.number) == (OTHER, OWNER, 3)
    assert (taken.asset_id, taken.quantums) == (0, 100_000_000)
    sent = read(transfer(one, "12.5", recipient=(OWNER, 128_000)), MsgCreateTransfer).transfer
    assert (sent.sender.owner, sent.sender.number) == (OWNER, 3)
    assert (sent.recipient.owner, sent.recipient.number) == (OWNER, 128_000)
    assert (sent.asset_id, sent.amount) == (0, 12_500_000)
    assert isinstance(withdraw(one, 1, recipient=OTHER).preview, MovementPreview)


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda one: deposit(one, 0, sender=OTHER), "usdc"),
        (lambda one: deposit(one, "0.0000001", sender=OTHER), "usdc"),
        (lambda one: deposit(one, 2**64, sender=OTHER), "usdc"),
        (lambda one: deposit(one, 1, sender="me"), "sender"),
        (lambda one: withdraw(one, "100.000001", recipient=OTHER), "usdc"),
        (lambda one: withdraw(one, 1, recipient=OTHER, block=BlockState(100, 99, 0, 0)), "usdc"),
        (lambda one: withdraw(one, 1, recipient=5), "recipient"),
        (lambda one: transfer(one, 1, recipient=(OWNER, 3)), "recipient"),
        (lambda one: transfer(one, 1, recipient=(OWNER, 128_001)), "recipient"),
        (lambda one: transfer(one, 1, recipient=OTHER), "recipient"),
        (lambda one: transfer(one, 1, recipient=None), "recipient"),
        (lambda one: transfer(one, 101, recipient=(OTHER, 0)), "usdc"),
    ],
)
def test_a_movement_that_the_chain_would_refuse_is_refused_by_name(build, argument):
    with pytest.raises(InputError) as refused:
        build(account("100"))
    assert refused.value.argument == argument


# ---- protection


@pytest.mark.parametrize("size", ["0.02", "-0.02"])
def test_a_protected_position_is_closed_whole_on_either_side(size):
    one = levered(size)
    is_buy = size[0] == "-"
    now, market = oracle(one), one.chain[BTC]
    liquidation = one.liquidation_prices[BTC].decimal
    stop = whole((now + liquidation) / 2)
    profit = whole(now * Decimal("0.8" if is_buy else "1.2"))
    first, second = protect(
        one,
        BTC,
        stop,
        client_id=7,
        take_profit_price=profit,
        time=NOW,
        good_til_time=NOW + 60,
        open_stateful_orders=0,
    )
    for built, client_id, trigger, word in ((first, 7, stop, 1), (second, 8, profit, 2)):
        order = read(built, MsgPlaceOrder).order
        assert (order.order_id.client_id, order.condition_type) == (client_id, word)
        assert order.quantums == size_to_base_quantums("0.02", market.atomic_resolution)
        assert (order.reduce_only, order.time_in_force) == (True, OrderMessage.TIME_IN_FORCE_IOC)
        assert order.side == (OrderMessage.SIDE_BUY if is_buy else OrderMessage.SIDE_SELL)
        limit = protective_price(market, trigger, is_buy)
        assert order.subticks == price_to_subticks(
            limit, market.atomic_resolution, market.clob_pair.quantum_conversion_exponent
        )
        assert built.preview.after.quantums(market.perpetual_id) == 0
    # one tick past the liquidation price a stop comes too late
    ticks = int(liquidation / market.tick_size)
    late = market.tick_size * (ticks + (2 if is_buy else -1))
    with pytest.raises(InputError, match="the liquidation price") as refused:
        protect(one, BTC, late, client_id=7, time=NOW, good_til_time=NOW + 60, open_stateful_orders=0)
    assert refused.value.argument == "trigger_price"


def test_the_second_order_counts_the_first_against_the_equity_tier():
    one = levered("0.02")
    tiers = one.chain.parameters.stateful_order_equity_tiers
    limit = max(tier.limit for tier in tiers if tier.net_collateral_required <= one.risk.net_collateral)
    stop = whole((oracle(one) + one.liquidation_prices[BTC].decimal) / 2)
    arguments = {"client_id": 7, "time": NOW, "good_til_time": NOW + 60, "open_stateful_orders": limit - 1}
    assert len(protect(one, BTC, stop, **arguments)) == 1
    with pytest.raises(InputError) as refused:
        protect(one, BTC, stop, take_profit_price=whole(oracle(one) * 2), **arguments)
    assert refused.value.argument == "open_stateful_orders"


def test_nothing_to_protect_and_too_late_are_told_apart():
    arguments = {"client_id": 7, "time": NOW, "good_til_time": NOW + 60, "open_stateful_orders": 0}
    with pytest.raises(InputError) as refused:
        protect(account(), BTC, 1, **arguments)
    assert refused.value.argument == "ticker"
    under = account("-100000", BTC="0.02")
    with pytest.raises(InputError) as refused:
        protect(under, BTC, 1, **arguments)
    assert refused.value.argument == "account"


@pytest.mark.parametrize("slippage", [0, 1, 50_000, 999_999])
@pytest.mark.parametrize("price", ["0.9", "1", "60000", "61234.5678"])
def test_a_protective_price_is_the_nearest_tick_that_is_bad_enough(price, slippage):
    market = Chain.sample("v9")[BTC]
    for is_buy in (False, True):
        found = protective_price(market, price, is_buy, slippage)
        wanted = Decimal(price) * (10**6 + (slippage if is_buy else -slippage)) / 10**6
        assert found % market.tick_size == 0
        assert found >= market.tick_size
        if is_buy:
            assert (
                found - market.tick_size < max(wanted, market.tick_size) <= found or found == market.tick_size
            )
        else:
            assert found <= wanted < found + market.tick_size or found == market.tick_size
    for wrong in (-1, 10**6, 0.5):
        with pytest.raises(InputError):
            protective_price(market, price, True, wrong)


def test_a_limit_past_bankruptcy_is_there_to_fill_and_does_not_count_against_the_stop():
    """The preview supposes a fill at the trigger; at its own limit the chain would refuse this one."""
    one = levered("0.2")
    stop = whole((oracle(one) + one.liquidation_prices[BTC].decimal) / 2)
    arguments = {"client_id": 7, "time": NOW, "good_til_time": NOW + 60, "open_stateful_orders": 0}
    (built,) = protect(one, BTC, stop, **arguments)
    assert built.preview.risk_after.net_collateral > 0
    limit = protective_price(one.chain[BTC], stop, False)
    order = Order.sell(BTC, size="0.2", limit_price=limit, reduce_only=True, immediate_or_cancel=True)
    with pytest.raises(InputError, match="NewlyUndercollateralized"):
        place_order(one, order, trigger_price=stop, **arguments)
    # a limit better than the trigger is what it would fill at
    better = whole(oracle(one))
    (built,) = protect(one, BTC, stop, limit_price=better, **arguments)
    assert built.preview.steps[-1].order.fill_price == better


def test_a_position_is_closed_now_within_the_slippage():
    one = account("300", BTC="0.02")
    order = read(close_position(one, BTC, client_id=4, slippage_ppm=10_000, **SHORT), MsgPlaceOrder).order
    market = one.chain[BTC]
    limit = protective_price(market, oracle(one), False, 10_000)
    assert order.subticks == price_to_subticks(
        limit, market.atomic_resolution, market.clob_pair.quantum_conversion_exponent
    )
    assert (order.reduce_only, order.order_id.order_flags, order.good_til_block) == (True, 0, 120)
    exact = close_position(one, BTC, client_id=4, limit_price=whole(oracle(one)), **SHORT)
    assert exact.preview.passes
    with pytest.raises(InputError) as refused:
        close_position(account(), BTC, client_id=4, **SHORT)
    assert refused.value.argument == "ticker"


def test_a_rescue_pays_in_the_least_that_saves():
    one = account("100", BTC="0.02")
    assert rescue_deposit(one, sender=OTHER) is None
    one.set_usdc(-(oracle(one) * Decimal("0.02")).quantize(Decimal("0.000001")))
    assert one.risk.is_liquidatable
    built = rescue_deposit(one, sender=OTHER)
    assert built is not None
    quantums = read(built, MsgDepositToSubaccount).quantums
    assert quantums == one.rescue().deposit_quantums
    assert not built.preview.risk_after.is_liquidatable
    one.set_usdc(one.usdc + Decimal(quantums - 1).scaleb(-6))
    assert one.risk.is_liquidatable


# ---- without the extra


def test_without_v4_proto_the_module_imports_and_a_message_names_the_extra():
    code = """
import sys
sys.modules["v4_proto"] = None
from dydx_perf import Chain, Subaccount
from dydx_perf.messages import deposit
from dydx_perf.protection import protect
try:
    deposit(Subaccount(Chain.sample("v9"), %r), 1, sender=%r)
except ImportError as error:
    assert "dydx-perf[grpc]" in str(error), error
else:
    raise SystemExit("built")
"""
    subprocess.run([sys.executable, "-P", "-c", code % (OWNER, OTHER)], check=True)
    code = "import sys, dydx_perf.messages, dydx_perf.protection; assert 'v4_proto' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
