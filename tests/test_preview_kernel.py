"""The kernel's previews are those of plain integers, field by field, and are of their moment."""

import copy
import pickle
from decimal import Decimal
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from what_if_cases import chain_account, everything, small_account, text

from dydx_perf import Chain, FeeTier, Market, Order, Position, Subaccount
from dydx_perf.kernel import COMPILED
from dydx_perf.preview import _Checked, _order, preview
from dydx_perf.scenario import Scenario

FIELDS = ("before", "after", "assumes", "order", "refusal", "entering_book", "matching")
NEAR_64 = st.sampled_from([2**63 - 1, 2**63, 2**62, 2**64 - 1, 10**18, 3])


def plain(account, order, **options):
    """The same question without the kernel."""
    now = Scenario.now(account, [order.ticker])
    return _order(account.chain[order.ticker], now, order, _Checked(account.chain, options))


def assert_same(account, order, **options):
    """Every field, in any order of reading, and the sources of each risk; returns the kernel's answer."""
    before = everything(account)
    answer, expected = preview(account, order, **options), plain(account, order, **options)
    assert everything(account) == before
    assert answer.passes is expected.passes
    for name in FIELDS:
        assert getattr(answer, name) == getattr(expected, name), name
    assert answer == expected
    for name in ("entering_book", "matching"):
        ours, theirs = getattr(answer, name), getattr(expected, name)
        if theirs is None:
            continue
        for when in ("risk_before", "risk_after"):
            one, other = getattr(ours, when), getattr(theirs, when)
            assert (one.height, one.basis, one.time) == (other.height, other.basis, other.time)
        assert ours.liquidation_prices == theirs.liquidation_prices
        assert ours.passes is theirs.passes
    matched = expected.matching is not None and expected.matching.passes
    assert (answer.after is answer.before) is not matched
    return answer


def is_decided_by_kernel(answer):
    return getattr(answer, "_moment", None) is not None


@st.composite
def questions(draw):
    """An account near its margins, and an order of any kind in any of its markets."""
    account = small_account(draw(st.integers(0, 10**6)))
    market = account.chain[draw(st.sampled_from(["M0-USD", "M1-USD", "M2-USD"]))]
    time_in_force = draw(st.sampled_from(["", "post_only", "immediate_or_cancel"]))
    kinds = {time_in_force: True} if time_in_force else {}
    if time_in_force == "immediate_or_cancel":
        kinds["reduce_only"] = draw(st.booleans())
    else:
        kinds["stateful"] = draw(st.booleans())
    is_buy = draw(st.booleans())
    subticks = max(2, market.perpetual.price // 10 * 10 + draw(st.integers(-400, 400)))
    size = draw(st.integers(1, 900)) * draw(st.sampled_from([1, market.clob_pair.step_base_quantums]))
    builder_fee_ppm = draw(st.sampled_from([None, 1, 700, 10_000, 10_001]))
    fill = draw(st.sampled_from([None, subticks + (-1 if is_buy else 1)]))
    order = Order(
        market.ticker,
        is_buy,
        size=text(size, -4),
        limit_price=text(subticks, -6),
        fill_price=None if fill is None else text(fill, -6),
        builder_fee_ppm=builder_fee_ppm,
        **kinds,
    )
    options = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "counterparty_quantums": st.integers(-900, 900) | st.sampled_from([2**70, -(2**63)]),
                "fee_tier": st.builds(
                    FeeTier, st.just("x"), *[st.just(0)] * 3, *[st.integers(-(2**31), 2**31 - 1)] * 2
                ),
                "open_stateful_orders": st.integers(0, 3),
            },
        )
    )
    return account, order, options


@given(questions())
@settings(max_examples=400)
def test_every_field_is_that_of_plain_integers(question):
    """Verdicts, risks with their sources, fees, open interest, states, assumptions, liquidation prices."""
    account, order, options = question
    answer = assert_same(account, order, **options)
    if answer.refusal is not None:
        assert not is_decided_by_kernel(answer)


def test_the_kernel_is_the_one_that_answers():
    """For a plain order of a plain account, where there is a kernel."""
    answer = chain_account().preview(
        Order.buy("BTC-USD", size=1, limit_price=60_000), fee_tier=FeeTier("x", 0, 0, 0, 0, 0)
    )
    assert is_decided_by_kernel(answer) is COMPILED


def wide_account(random, amount):
    """Two markets whose amounts may lie at the ends of 64 bits or past them."""
    markets = [
        Market(
            f"W{number}-USD",
            perpetual_id=number,
            atomic_resolution=random.choice([-10, 0, 6]),
            price_exponent=random.choice([-9, 0, 8]),
            oracle_price=Decimal(f"1E{random.choice([8, 10])}"),
            initial_margin_ppm=random.choice([0, 20_000, 1_000_000]),
            maintenance_fraction_ppm=random.choice([0, 600_000, 1_000_000]),
            open_interest=random.choice([0, amount, 2**70]),
            open_interest_lower_cap=random.choice([0, 5]),
            open_interest_upper_cap=random.choice([0, 2**64 - 1]),
            funding_index=random.choice([0, -amount, amount]),
            quantum_conversion_exponent=random.choice([-9, 0]),
            basis="sample",
        )
        for number in range(2)
    ]
    chain = Chain(markets)
    quantums = random.choice([-1, 1]) * random.choice([amount, 1])
    held = Position(chain["W0-USD"], quantums=quantums, quote_balance=random.choice([0, amount, -amount]))
    return Subaccount(
        chain,
        "dydx1wide",
        usdc=text(random.choice([-1, 1]) * amount, -6),
        positions=[held] if random.random() < 0.8 else [],
        leverage={"W0-USD": random.choice([0, 2**32 - 1])},
    )


@given(st.integers(0, 10**9), NEAR_64, NEAR_64, NEAR_64, st.booleans())
@example(0, 3, 3, 3, True)
@settings(max_examples=300)
def test_amounts_of_any_size(seed, amount, size, subticks, is_buy):
    """Past 64 or 128 bits plain integers answer, and nobody notices."""
    random = Random(seed)
    account = wide_account(random, amount)
    market = account.chain[random.choice(["W0-USD", "W1-USD"])]
    exponent = market.clob_pair.quantum_conversion_exponent - 6 - market.atomic_resolution
    order = Order(
        market.ticker,
        is_buy,
        size=text(size, market.atomic_resolution),
        limit_price=text(subticks, exponent),
        immediate_or_cancel=random.random() < 0.3,
    )
    tier = FeeTier("x", 0, 0, 0, random.choice([-110, 2**31 - 1]), random.choice([500, -(2**31)]))
    assert_same(
        account, order, fee_tier=tier, counterparty_quantums=random.choice([0, 2**63 - 1, -(2**63), amount])
    )


def one_quantum_account(held, open_interest=10, usdc="1000"):
    """A market of whole coins, each worth 100 USDC, where one more of them scales the margin."""
    market = Market(
        "ONE-USD",
        perpetual_id=0,
        atomic_resolution=0,
        price_exponent=0,
        oracle_price=100,
        initial_margin_ppm=100_000,
        maintenance_fraction_ppm=500_000,
        open_interest=open_interest,
        open_interest_lower_cap=5 * 10**8,
        open_interest_upper_cap=20 * 10**8,
        quantum_conversion_exponent=0,
        basis="sample",
    )
    return Subaccount(Chain([market]), "dydx1one", usdc=usdc, positions={"ONE-USD": held} if held else {})


@pytest.mark.parametrize("open_interest", [0, 1, 2, 10])
@pytest.mark.parametrize("held", [-1, 0, 1, 2])
@pytest.mark.parametrize("counterparty", [-2, -1, 0, 1])
@pytest.mark.parametrize("is_buy", [True, False])
def test_one_quantum_of_open_interest(open_interest, held, counterparty, is_buy):
    """One more scales the margin, one less unscales it, and below zero the chain refuses."""
    account = one_quantum_account(held, open_interest)
    order = Order("ONE-USD", is_buy, size=1, limit_price=100)
    tier = FeeTier("x", 0, 0, 0, 0, 0)
    answer = assert_same(account, order, fee_tier=tier, counterparty_quantums=counterparty)
    is_below_zero = open_interest + answer.matching.open_interest_change < 0
    assert is_decided_by_kernel(answer) is (COMPILED and not is_below_zero)


@pytest.mark.parametrize(("held", "size"), [(2**63 - 2, 1), (2**63 - 1, 1), (-(2**63) + 1, 1), (-(2**63), 1)])
@pytest.mark.parametrize("is_buy", [True, False])
def test_positions_at_the_ends_of_64_bits(held, size, is_buy):
    """A fill that leads past them is plain integers'."""
    account = one_quantum_account(held)
    order = Order("ONE-USD", is_buy, size=size, limit_price=100)
    tier = FeeTier("x", 0, 0, 0, 0, 0)
    answer = assert_same(account, order, fee_tier=tier, counterparty_quantums=held if is_buy else 0)
    if not -(2**63) <= answer.matching.position < 2**63:
        assert not is_decided_by_kernel(answer)


@pytest.mark.parametrize("held", [{}, {"SOL-USD": "1"}, {"EIGEN-USD": "1"}, {"SOL-USD": "1", "BTC-USD": "1"}])
@pytest.mark.parametrize("ticker", ["SOL-USD", "EIGEN-USD"])
def test_isolated_markets(held, ticker):
    """An isolated market is held with no other, whichever comes first."""
    account = Subaccount(Chain.sample("v9"), "dydx1", usdc=100_000, positions=held)
    answer = assert_same(account, Order.buy(ticker, size=1, limit_price=3))
    others = set(held) - {ticker}
    is_violated = bool(others) and "EIGEN-USD" in {ticker, *held}
    assert (answer.matching.result == "ViolatesIsolatedSubaccountConstraints") is is_violated


@pytest.mark.parametrize("quote_balance", [0, 5])
@pytest.mark.parametrize("is_closed", [False, True])
def test_what_is_closed_for_good_is_no_source(quote_balance, is_closed):
    """A risk is as old and as weak as what is held afterwards; what leaves nothing behind does not count."""
    chain = Chain.sample("v9")
    chain["SOL-USD"].set_oracle_price("20", height=5)
    account = Subaccount(
        chain,
        "dydx1",
        usdc=1_000,
        positions=[Position(chain["SOL-USD"], quantums=10**9, quote_balance=quote_balance)],
        height=7,
    )
    chain.set_block(6)
    size = "1" if not is_closed else text(10**9, chain["SOL-USD"].atomic_resolution)
    answer = assert_same(account, Order.sell("SOL-USD", size=size, limit_price="20"))
    is_gone = answer.matching.position == 0 and quote_balance == 0
    assert answer.matching.risk_after.basis == ("chain" if is_gone else "sample")


def asked():
    chain = Chain.sample("v9")
    account = Subaccount(
        chain, "dydx1", usdc=1_000, positions={"SOL-USD": "1"}, leverage={"BTC-USD": 400_000}
    )
    return chain, account, Order.buy("SOL-USD", size=1, limit_price=20)


def test_a_preview_of_an_order_does_not_follow_the_chain():
    """Nothing of it has been read before chain and account change, and it is of the moment before."""
    chain, account, order = asked()
    expected = plain(account, order)
    answer = account.preview(order)
    chain["SOL-USD"].set_oracle_price("1")
    chain["SOL-USD"].set_open_interest(10**15)
    chain["SOL-USD"].set_funding_index(10**9)
    chain["SOL-USD"].set_liquidity_tier(
        initial_margin_ppm=500_000,
        maintenance_fraction_ppm=1,
        open_interest_lower_cap=0,
        open_interest_upper_cap=0,
    )
    chain.set_block(99, "later")
    account.set_usdc(7)
    account.set_position("BTC-USD", "1")
    account.set_leverage("BTC-USD", 900_000)
    assert answer == expected
    assert answer.liquidation_prices == expected.liquidation_prices
    assert answer.matching.risk_after.time == expected.matching.risk_after.time


def test_a_preview_is_copied_and_pickled_whole():
    """A copy has all fields, read before or not."""
    _, account, order = asked()
    for make in (copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        answer = account.preview(order)
        assert make(answer) == answer == plain(account, order)
        assert make(answer.matching) == answer.matching
    answer = account.preview(order)
    for thing in (answer, answer.matching):
        with pytest.raises(AttributeError, match="nothing_such"):
            _ = thing.nothing_such


def test_an_order_is_asked_about_in_several_chains():
    """What it remembers of one market is not taken for another's."""
    order = Order.buy("SOL-USD", size=1, limit_price=20)
    accounts = [Subaccount(Chain.sample("v9"), "dydx1", usdc=usdc) for usdc in (1_000, 1)]
    accounts.append(small := chain_account())
    for account in (*accounts[:2], *accounts[:2]):
        assert_same(account, order)
    bought = Order.buy("BTC-USD", size="0.1", limit_price=60_000)
    for account in (small, accounts[0], small):
        options = {"fee_tier": FeeTier("x", 0, 0, 0, 1, 2)}
        assert_same(account, bought, **options)
    assert pickle.loads(pickle.dumps(order)) == order == copy.copy(order)
    assert_same(accounts[0], pickle.loads(pickle.dumps(order)))


def test_previews_leave_no_memory_behind():
    """A hundred thousand of them, read and unread."""
    import tracemalloc

    _, account, order = asked()
    assert account.preview(order).liquidation_prices
    tracemalloc.start()
    try:
        for _ in range(2):
            start = tracemalloc.get_traced_memory()[0]
            for turn in range(20_000):
                answer = account.preview(order)
                if turn % 100 == 0:
                    assert answer.matching.value
            del answer
            grown = tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
    assert grown < 5_000
