"""The largest order passes and nothing larger does; the smallest passes and nothing smaller does."""

import dataclasses
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from what_if_cases import FREE, account_of, everything, read_row, small_account, text, vector_rows

from dydx_perf import CapacityError, Chain, InputError, Subaccount, UnknownMarketError, Withdrawal
from dydx_perf.exact import search
from dydx_perf.exact.margin import SUCCESS
from dydx_perf.exact.search import first_passing
from dydx_perf.exact.state import Perpetual, RiskState
from dydx_perf.exact.trades import Trades, straight_ranges
from dydx_perf.exact.update import COLLAT_CHECK, MATCH
from dydx_perf.exact.whatif import fill_update, matched_fill, outcome, resting_fill
from dydx_perf.max_order import matching_trades, passing_steps, resting_trades
from dydx_perf.order import Order
from dydx_perf.preview import BlockState
from dydx_perf.scenario import Scenario

V9 = Chain.sample("v9")
UINT64_MAX = 2**64 - 1
seeds = st.integers(0, 10**9)


def every_step(account, placed, tier, counterparty, most):
    """The chain's verdict on every size, for each check: the slow way."""
    now = Scenario.now(account, [placed.market.ticker])
    perpetual_id, step = placed.market.perpetual_id, placed.market.clob_pair.step_base_quantums
    order = placed.order
    entering, matching = [], []
    for steps in range(1, most + 1):
        arguments = now.perpetuals[perpetual_id], order.is_buy, steps * step, placed.subticks
        fill = resting_fill(*arguments, tier.maker_fee_ppm, order.builder_fee_ppm or 0)
        update = fill_update(perpetual_id, fill)
        entering.append(outcome(now.perpetuals, now.state, update, COLLAT_CHECK).result == SUCCESS)
        fee = tier.maker_fee_ppm if order.post_only else tier.taker_fee_ppm
        fill = matched_fill(*arguments, fee, order.builder_fee_ppm or 0)
        update = fill_update(perpetual_id, fill)
        matching.append(outcome(now.perpetuals, now.state, update, MATCH, counterparty).result == SUCCESS)
    return entering, matching


def ends(passing):
    """First and last place that passes, counted from 1."""
    places = [place for place, passes in enumerate(passing, 1) if passes]
    return (places[0], places[-1]) if places else None


@given(
    seeds,
    st.sampled_from(["much", "little", "less"]),
    st.booleans(),
    st.booleans(),
    st.integers(-15, 15),
    st.sampled_from([None, None, 100, 9_000]),
    st.sampled_from([0, 0, 300, -300]),
)
@settings(max_examples=60)
def test_every_size_was_tried(seed, worth, is_buy, post_only, off_oracle, builder_fee_ppm, counterparty):
    """On small markets the ends are those of trying every number of steps, in all three sizes of a step."""
    account = small_account(seed, step_worth=worth)
    market = account.chain["M0-USD"]
    subticks = max(1, market.perpetual.price * 10 * (100 + off_oracle) // 100)
    order = Order(
        "M0-USD",
        is_buy,
        size=text(market.clob_pair.step_base_quantums, -4),
        limit_price=text(subticks, -6),
        post_only=post_only,
        builder_fee_ppm=builder_fee_ppm,
    )
    placed = order.in_market(market)
    tier = account.chain.parameters.fee_tiers[0]
    now = Scenario.now(account, ["M0-USD"])
    most = 700
    entering, matching = every_step(account, placed, tier, counterparty, most)
    step = market.clob_pair.step_base_quantums
    assert passing_steps(resting_trades(now, placed, tier), step, most) == ends(entering)
    assert passing_steps(matching_trades(now, placed, tier, counterparty), step, most) == ends(matching)


@given(seeds, st.booleans(), st.integers(1, 3_000), st.integers(1, 800))
@settings(max_examples=150)
def test_judged_ranges_are_what_they_are_judged_to_be(seed, is_buy, first, span):
    """A verdict on a range is the verdict on every size of it, so no bound of a rounding is too tight."""
    account = small_account(seed, step_worth=("much", "little", "less")[seed % 3])
    market = account.chain["M1-USD"]
    subticks = max(1, market.perpetual.price * (8 + seed % 5))
    order = Order("M1-USD", is_buy, size=1, limit_price=text(subticks, -6), builder_fee_ppm=seed % 10_001)
    placed, now = order.in_market(market), Scenario.now(account, ["M1-USD"])
    tier = account.chain.parameters.fee_tiers[0]
    for trades in (resting_trades(now, placed, tier), matching_trades(now, placed, tier, seed % 700 - 350)):
        last = first + span if trades.bend < first else min(first + span, trades.bend)
        sizes = range(first, last + 1)
        ends = first, last
        level = Fraction(seed % 4_000, 1_000)
        risks = {size: trades.risk(size) for size in sizes}
        answers = [
            (trades.judge_passes(ends), {trades.passes(size) for size in sizes}),
            (trades.judge_initial(ends), {risk.nc >= risk.imr for risk in risks.values()}),
            (trades.judge_level(ends, level), {risk.nc >= level * risk.mmr for risk in risks.values()}),
        ]
        for judged, found in answers:
            assert judged is None or found == {judged}
        for size in sizes:
            off = risks[size].nc - trades.straight_collateral(size)
            assert abs(off) < trades.collateral_error
            below, above = trades.maintenance_bounds(size)
            assert below < risks[size].mmr + 1
            assert below <= risks[size].mmr <= above
            fraction = trades.initial_fraction_ppm(size)
            below, above = trades.initial_bounds(size, fraction, fraction)
            assert below <= risks[size].imr <= above
        if trades.are_alike(ends):
            assert len({trades.integers(size) for size in sizes}) == 1
            assert len({(risk.nc, risk.imr, risk.mmr) for risk in risks.values()}) == 1


@given(
    st.integers(-60, 60),
    st.integers(-60, 60),
    st.integers(0, 80),
    st.integers(0, 80),
    st.integers(1, 40),
    st.integers(-40, 60),
    st.booleans(),
    st.sampled_from([0, 500_000]),
    st.integers(80, 120),
)
@settings(max_examples=100)
def test_open_interest_that_falls_and_rises(
    held, counterparty, open_interest, lower, span, collateral, is_buy, maintenance_fraction_ppm, percent
):
    """Where the other side closes first, the margin falls before it rises: every size, and every range."""
    perpetual = Perpetual(
        # a base quantum is worth 10 quote quantums
        0,
        -6,
        10,
        0,
        0,
        open_interest,
        50_000,
        maintenance_fraction_ppm,
        lower * 10,
        (lower + span) * 10,
    )
    trades = Trades(
        perpetual,
        RiskState(collateral - 10 * held, 0, 0),
        held,
        0,
        is_buy,
        Fraction(percent, 10),
        fee_ppm=0,
        moves_open_interest=True,
        counterparty=counterparty,
    )
    passing = [trades.passes(size) for size in range(1, 121)]
    assert passing_steps(trades, 1, 120) == ends(passing)
    for first, last in straight_ranges(trades, 1, 120):
        for start in range(first, last, 5):
            for end in range(start + 1, last + 1, 7):
                judged = trades.judge_passes((start, end))
                assert judged is None or set(passing[start - 1 : end]) == {judged}


def test_the_last_step_of_a_reduction_can_fail():
    """The rule never passes a maintenance margin of zero, though nothing before it is near failing."""
    perpetual = Perpetual(0, -6, 10, 0, 0, 0, 10**6, 10**6, 0, 0)
    others = RiskState(-50, 100, 0)  # a market with an initial margin and no maintenance margin
    trades = Trades(perpetual, others, 10, 0, False, Fraction(10), fee_ppm=0)
    assert [trades.passes(size) for size in range(1, 11)] == [True] * 9 + [False]
    assert trades.judge_passes((1, 9)) is True
    assert trades.judge_passes((1, 10)) is None


@given(seeds, st.sampled_from(V9.tickers), st.booleans(), st.integers(-30, 30), st.integers(1, 10**13))
@settings(max_examples=60)
def test_real_markets(seed, ticker, is_buy, off_oracle, usdc):
    """With real markets the largest passes as a preview, and a thousand larger sizes do not."""
    chain = Chain.sample("v9")
    market = chain[ticker]
    market.set_open_interest(seed * market.clob_pair.step_base_quantums)
    account = Subaccount(chain, "dydx1", usdc=text(usdc, -6))
    tick = market.clob_pair.subticks_per_tick
    subticks = max(1, market.perpetual.price * (100 + off_oracle) // 100 // tick) * tick
    limit_price = text(subticks, market.price_exponent)
    before = everything(account)
    found = account.max_order(ticker, "buy" if is_buy else "sell", limit_price)
    assert everything(account) == before
    placed = Order(ticker, is_buy, size=market.step_size, limit_price=limit_price).in_market(market)
    assert placed.subticks == subticks
    now = Scenario.now(account, [ticker])
    tier = chain.parameters.fee_tiers[0]
    step = market.clob_pair.step_base_quantums
    for sizes, trades in (
        (found.entering_book, resting_trades(now, placed, tier)),
        (found.matching, matching_trades(now, placed, tier, 0)),
    ):
        largest = sizes.largest_quantums or 0
        following = [size for size in range(largest + step, largest + 60 * step, step) if size <= UINT64_MAX]
        assert not any(map(trades.passes, following))
        if sizes.largest is None:
            assert sizes.reason != SUCCESS
            continue
        assert sizes.reason is None
        for size in (sizes.smallest, sizes.largest):
            answer = account.preview(Order(ticker, is_buy, size=size, limit_price=limit_price))
            verdict = answer.entering_book if sizes is found.entering_book else answer.matching
            assert verdict.passes
        smaller = range(max(step, sizes.smallest_quantums - 60 * step), sizes.smallest_quantums, step)
        assert not any(map(trades.passes, smaller))


def test_a_price_that_earns_its_margin_has_no_end():
    """Bought far below the oracle price every size pays for itself: the end is what an order can say."""
    account = Subaccount(V9, "dydx1", usdc=1)
    found = account.max_order("BTC-USD", "buy", 100)
    step = V9["BTC-USD"].clob_pair.step_base_quantums
    assert found.entering_book.largest_quantums == UINT64_MAX // step * step
    assert found.entering_book.smallest == V9["BTC-USD"].step_size


def test_an_account_below_its_margin_may_reduce_and_not_open():
    """The state transition rule passes sizes where the initial margin does not."""
    chain = Chain.sample("v9")
    chain["SOL-USD"].set_oracle_price(20)
    account = Subaccount(chain, "dydx1", usdc=-1_860, positions={"SOL-USD": 100})
    risk = account.risk
    assert risk.imr > risk.nc >= risk.mmr
    limit = 20
    reduce = account.max_order("SOL-USD", "sell", limit, fee_tier=FREE).matching
    assert reduce.smallest == Decimal("0.1")
    assert reduce.largest == 200  # as short as it was long: no riskier than before, initial margin or not
    opening = account.max_order("SOL-USD", "buy", limit, fee_tier=FREE).matching
    assert opening.largest is opening.smallest is None
    assert opening.reason == "StillUndercollateralized"


def test_gaps_are_not_intervals():
    """An account under water passes small reductions, fails closing, and the ends still are the ends."""
    found_gap = False
    for seed in range(150):
        account = small_account(seed)
        market = account.chain["M0-USD"]
        for is_buy in (True, False):
            order = Order("M0-USD", is_buy, size=1, limit_price=text(market.perpetual.price * 10, -6))
            placed = order.in_market(market)
            entering, _ = every_step(account, placed, FREE, 0, 40)
            found_gap |= entering != sorted(entering) and entering != sorted(entering, reverse=True)
            now = Scenario.now(account, ["M0-USD"])
            step = market.clob_pair.step_base_quantums
            assert passing_steps(resting_trades(now, placed, FREE), step, 40) == ends(entering)
    assert found_gap


def test_refusals_come_before_sizes():
    account = Subaccount(V9, "dydx1", usdc=1_000)
    found = account.max_order("SOL-USD", "buy", "20.001")
    assert found.refusal.name == "ErrInvalidPlaceOrder"
    assert found.entering_book is found.matching is None
    isolated = Subaccount(V9, "dydx1", usdc=1_000, positions={"SOL-USD": 1}).max_order("EIGEN-USD", "buy", 3)
    assert isolated.matching.largest is None
    assert isolated.matching.reason == "ViolatesIsolatedSubaccountConstraints"
    immediate = account.max_order("SOL-USD", "buy", 20, immediate_or_cancel=True)
    assert immediate.entering_book is None
    assert immediate.matching.largest is not None
    maker = account.max_order("SOL-USD", "buy", 20, post_only=True, builder_fee_ppm=10_000)
    assert maker.matching.largest < immediate.matching.largest


@pytest.mark.parametrize(
    ("arguments", "options", "argument"),
    [
        (("SOL-USD", "BUY", 20), {}, "side"),
        (("SOL-USD", None, 20), {}, "side"),
        (("SOL-USD", "buy", 20.0), {}, "limit_price"),
        (("SOL-USD", "buy", -1), {}, "limit_price"),
        (("SOL-USD", "buy", 20), {"fee_tier": "no"}, "fee_tier"),
        (("SOL-USD", "buy", 20), {"counterparty_quantums": 1.5}, "counterparty_quantums"),
        (("SOL-USD", "buy", 20), {"post_only": 1}, "post_only"),
        (("SOL-USD", "buy", 20), {"size": 1}, "size"),
    ],
)
def test_wrong_questions_are_refused(arguments, options, argument):
    account = Subaccount(V9, "dydx1", usdc=1_000)
    before = everything(account)
    with pytest.raises(InputError) as refused:
        account.max_order(*arguments, **options)
    assert refused.value.argument == argument
    assert everything(account) == before
    with pytest.raises(UnknownMarketError):
        account.max_order("X-USD", "buy", 1)


def test_a_search_that_cannot_end_says_so(monkeypatch):
    """A bound that never knows and a question without an answer use up the effort, and no answer is given."""
    monkeypatch.setattr(search, "LARGEST_EFFORT", 100)
    with pytest.raises(CapacityError, match="a step is worth too little"):
        first_passing(1, 10**6, lambda start, end: None, lambda number: False)


@given(st.lists(st.booleans(), max_size=40), st.booleans(), st.randoms())
def test_any_sound_bound_finds_the_ends(passing, last, draw):
    """Whatever share of the ranges a bound leaves open."""

    def bound(start, end):
        answers = set(passing[start : end + 1])
        return answers.pop() if len(answers) == 1 and draw.random() < 0.5 else None

    found = first_passing(0, len(passing) - 1, bound, lambda number: passing[number], last=last)
    expected = ends(passing)
    assert found == (None if expected is None else expected[last] - 1)


def test_max_withdrawable_is_the_chains():
    """Every row that the public face can hold; one quantum more is refused."""
    looked_at = 0
    for row, out in vector_rows("state_transition", "max_withdrawable"):
        account = account_of(*read_row(row, row["subaccount"]))
        if account is None or "max_withdrawable" not in out:
            continue
        most = int(out["max_withdrawable"])
        assert account.max_withdrawal() == text(most, -6)
        assert not account.preview(Withdrawal(text(most + 1, -6))).passes
        if most:
            assert account.preview(Withdrawal(text(most, -6))).passes
        looked_at += 1
    assert looked_at > 10


def test_blocked_withdrawals_are_none():
    account = Subaccount(V9, "dydx1", usdc=1_000)
    assert account.max_withdrawal(BlockState(height=100, negative_tnc_seen_block=51)) == 0
    assert account.max_withdrawal(BlockState(height=100, negative_tnc_seen_block=50)) == 1_000
    with pytest.raises(InputError, match="block"):
        account.max_withdrawal(7)


def test_leverage_that_the_chain_takes_is_where_the_account_is_covered():
    """`update_leverage` compares nc with imr of the new entries: so does an account with those alone."""
    looked_at = 0
    for row, out in vector_rows("leverage", "update_leverage"):
        perpetuals, state = read_row(row, row["subaccount"])
        chosen = {entry["perpetual_id"]: entry["custom_imf_ppm"] for entry in row["new_leverage"]}
        account = account_of(perpetuals, dataclasses.replace(state, leverage=chosen))
        if account is None or not chosen:
            continue
        refused = out.get("err")
        if refused not in (None, "ErrLeverageViolatesMarginRequirements"):
            continue
        assert account.risk.is_initial_collateralized is (refused is None)
        looked_at += 1
    assert looked_at > 10
