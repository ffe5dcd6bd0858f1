"""What saves an account does, and one quantum or one step less does not."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from what_if_cases import everything, small_account, text

from dydx_perf import Chain, FeeTier, InputError, Order, Position, Subaccount, UnknownMarketError
from dydx_perf.exact.margin import is_initial_collateralized, is_liquidatable
from dydx_perf.exact.state import RiskState

LEVELS = ["not liquidatable", "initial collateralized", 0, 1, "1.5", Fraction(10, 3), Decimal("0.999999")]
FEES = [0, 0, 500, -110, 50_000]


def reaches(level, risk):
    """The definition, said once more."""
    state = RiskState(risk.nc, risk.imr, risk.mmr)
    if level == "not liquidatable":
        return not is_liquidatable(state)
    if level == "initial collateralized":
        return is_initial_collateralized(state)
    return risk.nc >= Fraction(level) * risk.mmr


def brought_to(account, ticker, quantums, usdc):
    """A real account with a position changed and a balance added to."""
    positions = dict(account.positions)
    position = positions.pop(ticker)
    changed = Position(
        position.market,
        quantums=position.quantums + quantums,
        # a settled past: the funding of the whole position has been paid into the balance by then
        funding_index=position.market.funding_index,
        quote_balance=position.quote_balance,
    )
    due = sum(p.unsettled_funding_ppm for p in account.positions.values()) // 10**6
    rest = [
        Position(p.market, quantums=p.quantums, quote_balance=p.quote_balance) for p in positions.values()
    ]
    return Subaccount(
        account.chain,
        "dydx1there",
        usdc=text(account.usdc_quantums + due + usdc, -6),
        positions=[*rest, changed],
        leverage=account.leverage_choices,
    )


def traded(account, ticker, size, price, fee_ppm):
    """Base quantums and quote quantums of closing `size` base quantums, worked out anew."""
    position = account.positions[ticker]
    of_quantum = Fraction(price) * Fraction(10) ** (6 + position.market.atomic_resolution)
    value = int(size * of_quantum)
    fee = -(-value * fee_ppm // 10**6)
    sign = 1 if position.quantums < 0 else -1
    return sign * size, -sign * value - fee


@given(
    st.integers(0, 10**9),
    st.sampled_from(["much", "little", "less"]),
    st.sampled_from(LEVELS),
    st.sampled_from(FEES),
    st.sampled_from([None, None, 90, 103]),
)
@settings(max_examples=200)
def test_it_does_and_a_step_less_does_not(seed, worth, level, fee_ppm, percent):
    """Every deposit and reduction, against accounts that were brought there; every smaller step is tried."""
    account = small_account(seed, step_worth=worth)
    before = everything(account)
    prices = {}
    for ticker, position in account.positions.items():
        oracle = Fraction(position.market.oracle_price.decimal)
        prices[ticker] = oracle if percent is None else Fraction(int(oracle * percent * 10**5), 10**7)
    given_prices = None
    if percent is not None:
        given_prices = {t: text(int(price * 10**7), -7) for t, price in prices.items()}
    answer = account.rescue(level, prices=given_prices, fee_ppm=fee_ppm)
    assert everything(account) == before
    needed = not reaches(level, account.risk)
    assert answer.is_needed is needed
    assert answer.risk_before == account.risk
    if needed:
        account.set_usdc(account.usdc + answer.deposit)
        assert reaches(level, account.risk)
        account.set_usdc(account.usdc - Decimal("0.000001"))
        assert not reaches(level, account.risk)
        account.set_usdc(text(before[0].asset_positions[0].quantums if before[0].asset_positions else 0, -6))
    assert everything(account)[0] == before[0]
    assert set(answer.reductions) == set(account.positions)
    for ticker, found in answer.reductions.items():
        step = account.chain[ticker].clob_pair.step_base_quantums
        most = abs(account.positions[ticker].quantums) // step * step
        if not needed:
            assert (found.quantums, found.size, found.reason) == (0, 0, None)
            continue
        tried = range(step, most + 1 if found.quantums is None else found.quantums, step)
        for size in tried:
            there = brought_to(account, ticker, *traded(account, ticker, size, prices[ticker], fee_ppm))
            assert not reaches(level, there.risk)
        if found.quantums is None:
            assert found.size is found.risk_after is found.verdict is None
            assert "still lacks" in found.reason
            continue
        delta, usdc = traded(account, ticker, found.quantums, prices[ticker], fee_ppm)
        there = brought_to(account, ticker, delta, usdc)
        assert reaches(level, there.risk)
        assert found.risk_after == there.risk
        assert found.usdc_change == usdc
        # what raises the ratio passes; where maintenance margin rounds to 0 no ratio is left to compare
        lacks = there.risk.nc < there.risk.imr
        assert found.verdict == "Success" or (there.risk.mmr == 0 and lacks)
        assert found.size == text(found.quantums, -4)


@given(st.integers(0, 10**13), st.sampled_from(["BTC-USD", "SOL-USD", "PEPE-USD", "SHIB-USD"]), st.booleans())
@settings(max_examples=60)
@example(0, "BTC-USD", True)
def test_real_markets(seed, ticker, is_long):
    """With real steps: the answer, and a thousand steps around it, by exact evaluation."""
    chain = Chain.sample("v9")
    market = chain[ticker]
    step = market.clob_pair.step_base_quantums
    quantums = (1 + seed % 10**6) * step * (1 if is_long else -1)
    account = Subaccount(chain, "dydx1", positions=[Position(market, quantums=quantums)])
    risk = account.risk
    account.set_usdc(text(risk.mmr - risk.nc - 1 - seed % (risk.mmr + 1), -6))
    assert account.risk.is_liquidatable
    found = account.rescue(fee_ppm=500).reductions[ticker]
    trades_tried = 0
    if found.quantums is None:
        return
    for steps in range(max(1, found.quantums // step - 30), found.quantums // step):
        size = steps * step
        price = Fraction(market.oracle_price.decimal)
        there = brought_to(account, ticker, *traded(account, ticker, size, price, 500))
        assert there.risk.is_liquidatable
        trades_tried += 1
    assert not found.risk_after.is_liquidatable
    assert trades_tried == min(30, found.quantums // step - 1)


def distressed():
    chain = Chain.sample("v9")
    chain["SOL-USD"].set_oracle_price(20)
    chain["ETH-USD"].set_oracle_price(2_000)
    # value 4,000, margin 5 % and 1.2 %: 100 and 24
    return Subaccount(chain, "dydx1", usdc=-3_900, positions={"SOL-USD": 100, "ETH-USD": 1})


def test_an_example_by_hand():
    """Of nc 100 and mmr 124: a deposit of 24, or 24 less margin: 24 of SOL's 100 coins, all of ETH."""
    account = distressed()
    answer = account.rescue()
    assert answer.level == "not liquidatable"
    assert (answer.deposit, answer.is_needed) == (24, True)
    assert answer.reductions["SOL-USD"].size == 24
    assert answer.reductions["ETH-USD"].size == 1
    assert answer.reductions["SOL-USD"].verdict == "Success"
    assert answer.reductions["SOL-USD"].usdc_change == 480 * 10**6
    double = account.rescue(2)
    assert double.level == 2
    assert double.deposit == 148
    assert double.reductions["SOL-USD"].size == 74
    assert double.reductions["ETH-USD"].size is None
    assert double.reductions["ETH-USD"].reason == (
        "with 1000 steps closed, all there are, the account still lacks 100.000000 USDC"
    )


def test_worse_prices_and_fees_need_more():
    """A trade away from the oracle price costs what it should save."""
    account = distressed()
    at_oracle = account.rescue().reductions["SOL-USD"]
    dear = account.rescue(prices={"SOL-USD": "19.9"}, fee_ppm=500).reductions["SOL-USD"]
    assert at_oracle.size < dear.size
    # each coin brings 0.9 of margin less and costs 0.1 + 0.00995
    assert dear.size == 27
    hopeless = account.rescue(prices={"SOL-USD": 18}).reductions["SOL-USD"]
    assert hopeless.quantums is None


def test_what_the_chain_would_refuse_is_said():
    """Under water nobody is liquidated once the last position is gone, but no trader may close it."""
    account = distressed()
    account.close_position("ETH-USD")
    account.set_usdc(-2_001)
    found = account.rescue().reductions["SOL-USD"]
    assert found.size == 100
    assert found.verdict == "StillUndercollateralized"
    order = Order.sell("SOL-USD", size=100, limit_price=20, immediate_or_cancel=True, reduce_only=True)
    free = FeeTier("free", 0, 0, 0, 0, 0)
    assert account.preview(order, fee_tier=free).matching.result == found.verdict


def test_safe_accounts_need_nothing():
    account = Subaccount(Chain.sample("v9"), "dydx1", usdc=10_000, positions={"SOL-USD": 1})
    answer = account.rescue("initial collateralized")
    assert not answer.is_needed
    assert answer.deposit == 0
    assert answer.reductions["SOL-USD"].quantums == 0
    assert Subaccount(Chain.sample("v9"), "dydx1").rescue(5).reductions == {}


def test_under_water_without_positions_is_not_liquidatable():
    """The chain liquidates nobody without a maintenance margin; a ratio asks for nc of zero."""
    account = Subaccount(Chain.sample("v9"), "dydx1", usdc=-5)
    assert not account.rescue().is_needed
    assert account.rescue(1).deposit == 5


@pytest.mark.parametrize(
    ("level", "options", "argument"),
    [
        ("safe", {}, "level"),
        (1.5, {}, "level"),
        (None, {}, "level"),
        (True, {}, "level"),
        (-1, {}, "level"),
        (Fraction(-1, 3), {}, "level"),
        (10**10, {}, "level"),
        (1, {"fee_ppm": 0.5}, "fee_ppm"),
        (1, {"fee_ppm": 10**7}, "fee_ppm"),
        (1, {"prices": [1]}, "prices"),
        (1, {"prices": {"SOL-USD": -1}}, "prices['SOL-USD']"),
        (1, {"prices": {"SOL-USD": 1.5}}, "prices['SOL-USD']"),
    ],
)
def test_wrong_questions_are_refused(level, options, argument):
    account = distressed()
    before = everything(account)
    with pytest.raises(InputError) as refused:
        account.rescue(level, **options)
    assert refused.value.argument == argument
    assert everything(account) == before


def test_unknown_markets_are_named():
    with pytest.raises(UnknownMarketError):
        distressed().rescue(prices={"X-USD": 1})
