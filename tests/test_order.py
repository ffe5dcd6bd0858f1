"""Orders: what no message could say is refused at the door, what the chain would refuse in its own words."""

from decimal import Decimal

import pytest
from what_if_cases import FREE, chain_account, everything

from dydx_perf import Chain, InputError, Order, Subaccount

V9 = Chain.sample("v9")


@pytest.mark.parametrize(
    ("arguments", "name", "code"),
    [
        ({"size": 0}, "ErrInvalidOrderQuantums", "clob/4"),
        (
            {"stateful": True, "immediate_or_cancel": True},
            "ErrLongTermOrdersCannotRequireImmediateExecution",
            "clob/3002",
        ),
        ({"reduce_only": True}, "ErrReduceOnlyDisabled", "clob/9003"),
        ({"limit_price": 0}, "ErrInvalidOrderSubticks", "clob/6"),
        ({"builder_fee_ppm": 10_001}, "ErrInvalidBuilderCode", "clob/50"),
        ({"builder_fee_ppm": 0}, "ErrInvalidBuilderCode", "clob/50"),
        ({"limit_price": "20.001"}, "ErrInvalidPlaceOrder", "clob/12"),
        ({"size": "0.05"}, "ErrInvalidPlaceOrder", "clob/12"),
        (
            {"reduce_only": True, "immediate_or_cancel": True},
            "ErrReduceOnlyWouldIncreasePositionSize",
            "clob/2001",
        ),
    ],
)
def test_the_chain_refuses_in_its_own_words(arguments, name, code):
    """A refused order has no verdicts, leaves everything, and names the rule."""
    account = Subaccount(V9, "dydx1", usdc=1_000, positions={"SOL-USD": "1"})
    before = everything(account)
    answer = account.preview(Order.buy("SOL-USD", **{"size": "1", "limit_price": "20", **arguments}))
    assert (answer.refusal.name, answer.refusal.code) == (name, code)
    assert answer.entering_book is None
    assert answer.matching is None
    assert answer.after is answer.before
    assert not answer.passes
    assert everything(account) == before


def test_earlier_rules_come_first():
    """With everything wrong at once the chain names what it looks at first."""
    account = Subaccount(V9, "dydx1", usdc=1_000)
    wrong = {"size": 0, "limit_price": 0, "reduce_only": True, "stateful": True, "builder_fee_ppm": 0}
    names = []
    for fix in (
        {"size": "0.05"},
        {"immediate_or_cancel": True, "stateful": False},
        {"limit_price": "20.001"},
        {"builder_fee_ppm": None},
        {"limit_price": "20"},
        {"size": 1},
        {},
    ):
        names.append(account.preview(Order.buy("SOL-USD", **wrong)).refusal.name)
        wrong |= fix
    assert names == [
        "ErrInvalidOrderQuantums",
        "ErrReduceOnlyDisabled",
        "ErrInvalidOrderSubticks",
        "ErrInvalidBuilderCode",
        "ErrInvalidPlaceOrder",
        "ErrInvalidPlaceOrder",
        "ErrReduceOnlyWouldIncreasePositionSize",
    ]


@pytest.mark.parametrize(
    ("status", "arguments", "name"),
    [
        ("FINAL_SETTLEMENT", {}, "ErrOrderConflictsWithClobPairStatus"),
        ("INITIALIZING", {}, "ErrOrderConflictsWithClobPairStatus"),
        ("INITIALIZING", {"post_only": True, "stateful": True}, "ErrOrderConflictsWithClobPairStatus"),
        ("INITIALIZING", {"post_only": True, "limit_price": 60_001}, "ErrOrderConflictsWithClobPairStatus"),
        ("INITIALIZING", {"post_only": True}, None),
        ("PAUSED", {}, "clob pair status is not supported"),
        ("ACTIVE", {}, None),
    ],
)
def test_the_status_of_the_market_counts(status, arguments, name):
    """An initializing market takes post-only short-term orders on the right side of the oracle price."""
    account = chain_account(status=status)
    order = Order.buy("BTC-USD", **{"size": "0.001", "limit_price": 60_000, **arguments})
    answer = account.preview(order, fee_tier=FREE)
    assert (answer.refusal and answer.refusal.name) == name
    if name is None:
        assert (answer.matching is None) is (status == "INITIALIZING")


def test_in_an_initializing_market_asks_stand_above_the_oracle_price():
    account = chain_account(status="INITIALIZING")
    prices = {59_999: False, 60_000: True, 60_001: True}
    for price, passes in prices.items():
        order = Order.sell("BTC-USD", size="0.001", limit_price=price, post_only=True)
        assert account.preview(order, fee_tier=FREE).passes is passes


BUY = {"ticker": "SOL-USD", "size": "1", "limit_price": "20"}


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"ticker": ""}, "ticker"),
        ({"ticker": 7}, "ticker"),
        ({"size": "-1"}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": None}, "size"),
        ({"size": "a"}, "size"),
        ({"size": True}, "size"),
        ({"size": Decimal("NaN")}, "size"),
        ({"limit_price": "-1"}, "limit_price"),
        ({"limit_price": 20.0}, "limit_price"),
        ({"limit_price": None}, "limit_price"),
        ({"reduce_only": 1}, "reduce_only"),
        ({"post_only": "yes"}, "post_only"),
        ({"stateful": None}, "stateful"),
        ({"immediate_or_cancel": 0}, "immediate_or_cancel"),
        ({"post_only": True, "immediate_or_cancel": True}, "post_only"),
        ({"builder_fee_ppm": -1}, "builder_fee_ppm"),
        ({"builder_fee_ppm": "5"}, "builder_fee_ppm"),
        ({"fill_price": "20.01"}, "fill_price"),
        ({"fill_price": 19.5}, "fill_price"),
    ],
)
def test_a_wrong_order_is_refused_at_the_door(arguments, argument):
    """What no message could say is an input error that names its argument."""
    given = {**BUY, **arguments}
    with pytest.raises(InputError) as refused:
        Order.buy(given.pop("ticker"), **given)
    assert refused.value.argument == argument


def test_a_limit_price_is_required():
    with pytest.raises(TypeError):
        Order.buy("SOL-USD", size="1")


@pytest.mark.parametrize(
    ("order", "argument"),
    [
        (Order.buy("SOL-USD", size="0.00000001", limit_price="20"), "size"),
        (Order.buy("SOL-USD", size=10**13, limit_price="20"), "size"),
        (Order.buy("SOL-USD", size="1", limit_price="0.000000001"), "limit_price"),
        (Order.buy("SOL-USD", size="1", limit_price=10**12), "limit_price"),
        (Order.buy("SOL-USD", size="1", limit_price=20, fill_price="19.0000000001"), "fill_price"),
    ],
)
def test_what_the_chains_integers_cannot_hold_is_refused(order, argument):
    account = Subaccount(V9, "dydx1", usdc=1_000)
    with pytest.raises(InputError) as refused:
        account.preview(order)
    assert refused.value.argument == argument


def test_an_order_is_placed_anew_when_its_order_book_changed():
    """What an order remembers of a market is not believed once status, step, tick or type are others."""
    chain = Chain.sample("v9")
    account = Subaccount(chain, "dydx1a", usdc="100000")
    order = Order.buy("BTC-USD", size="0.1", limit_price="28000")
    market = chain["BTC-USD"]
    assert account.preview(order).passes
    market.set_order_book(status="FINAL_SETTLEMENT")
    assert not account.preview(order).passes
    market.set_order_book(status="ACTIVE")
    assert account.preview(order).passes
    market.set_order_book(step_base_quantums=3 * 10**9)
    assert not account.preview(order).passes
