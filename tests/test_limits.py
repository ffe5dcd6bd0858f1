"""Fee tiers, equity tiers and rate limits against plain models of the chain's own loops."""

import dataclasses
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from what_if_cases import text

from dydx_perf import Chain, FeeTier, InputError, Order, ProtocolParameters, Subaccount
from dydx_perf.limits import discounted, equity_tier_headroom, fee_tier, rate_limit_headroom
from dydx_perf.parameters import BlockRateLimits, EquityTier, RateLimit

V9 = Chain.sample("v9")
MILLION = 10**6


@pytest.mark.parametrize(
    ("maker", "taker", "total", "name"),
    [
        (0, 0, 0, "1"),
        ("999999.999999", 0, 10**12, "1"),
        (MILLION, 0, 10**12, "2"),
        (0, 24_999_999, 10**12, "3"),
        (0, 125 * MILLION, 10**12, "5"),
        (0, 125 * MILLION, 25_000 * MILLION, "6"),
        (0, 125 * MILLION, 25_000 * MILLION + 1, "5"),
        (125 * MILLION, 0, 12_500 * MILLION, "7"),
        (125 * MILLION, 0, 125 * MILLION, "9"),
        (125 * MILLION, 0, 0, "9"),
    ],
)
def test_published_tiers(maker, taker, total, name):
    """The table of the v9 sample, at its edges."""
    found = fee_tier(V9.parameters, maker_volume=maker, taker_volume=taker, total_volume=total)
    assert found.name == name


tiers_of = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, MILLION), st.integers(0, MILLION)), min_size=1, max_size=6
)


@given(tiers_of, st.integers(0, 60), st.integers(0, 60), st.integers(0, 200), st.none() | st.integers(0, 9))
def test_the_last_tier_without_a_gap(requirements, maker, taker, total, referee_tier):
    tiers = tuple(FeeTier(str(n), *requirement, 0, n) for n, requirement in enumerate(requirements))
    met = [
        maker + taker >= volume
        and maker + taker >= (total * share // MILLION)
        and maker >= (total * maker_share // MILLION)
        for volume, share, maker_share in requirements
    ]
    unmet = met.index(False) if False in met else len(met)
    expected = max(unmet - 1, 0)
    if referee_tier is not None:
        expected = max(expected, min(referee_tier, len(tiers) - 1))
    found = fee_tier(
        ProtocolParameters(fee_tiers=tiers),
        maker_volume=text(maker, -6),
        taker_volume=text(taker, -6),
        total_volume=text(total, -6),
        referee_tier=referee_tier,
    )
    assert found is tiers[expected]


def test_vaults_are_in_the_last_tier():
    found = fee_tier(V9.parameters, maker_volume=0, taker_volume=0, total_volume=0, is_vault=True)
    assert found.name == "9"


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, MILLION), st.integers(0, MILLION))
def test_discounts_round_toward_zero(fee, charge, discount):
    """A rebate shrinks with the market's discount and has no staking discount."""
    tier = FeeTier("x", 0, 0, 0, fee, -fee if fee > -(2**31) else 0)
    found = discounted(tier, market_charge_ppm=charge, staking_discount_ppm=discount)
    expected = int(Fraction(fee * charge, MILLION))
    if expected > 0:
        expected = int(Fraction(expected * (MILLION - discount), MILLION))
    assert found.maker_fee_ppm == expected
    assert discounted(tier) == tier
    assert dataclasses.replace(found, maker_fee_ppm=fee, taker_fee_ppm=tier.taker_fee_ppm) == tier


@given(
    st.integers(-(10**9), 10**12),
    st.integers(0, 300),
    st.sampled_from(["stateful", "short-term"]),
    st.lists(st.tuples(st.integers(-(10**6), 10**11), st.integers(0, 200)), max_size=5) | st.none(),
)
@example(-1, 0, "stateful", [(0, 1), (0, 2)])
@example(0, 0, "stateful", [(0, 5), (10, 3), (20, 7)])
def test_equity_tiers(nc, open_orders, kind, tiers):
    """As many as the chain takes: its own loop, and its own refusal through a preview."""
    chain = Chain.sample("v9")
    if tiers is not None:
        made = tuple(EquityTier(*tier) for tier in sorted(tiers))
        chain.parameters = dataclasses.replace(
            chain.parameters, stateful_order_equity_tiers=made, short_term_order_equity_tiers=made
        )
    parameters = chain.parameters
    used = parameters.stateful_order_equity_tiers
    if kind == "short-term":
        used = parameters.short_term_order_equity_tiers
    account = Subaccount(chain, "dydx1", usdc=text(nc, -6))
    room = equity_tier_headroom(account, open_orders, kind=kind)
    if not used:
        assert room.limit is room.remaining is room.lacking is None
        return
    limit = 0
    for tier in used:
        if nc < tier.net_collateral_required:
            break
        limit = tier.limit
    assert (room.limit, room.remaining) == (limit, max(limit - open_orders, 0))
    if kind == "stateful":
        order = Order.buy("SOL-USD", size="0.1", limit_price="0.01", stateful=True)
        refusal = account.preview(order, open_stateful_orders=open_orders).refusal
        assert (refusal is None) is (room.remaining > 0)
    if room.lacking_quantums is not None:
        assert room.next_limit > limit
        account.set_usdc(text(nc + room.lacking_quantums, -6))
        assert equity_tier_headroom(account, 0, kind=kind).limit == room.next_limit
        assert room.lacking == text(room.lacking_quantums, -6)
    if room.kept_quantums is not None:
        account.set_usdc(text(nc - room.kept_quantums, -6))
        assert equity_tier_headroom(account, 0, kind=kind).limit == limit
        account.set_usdc(text(nc - room.kept_quantums - 1, -6))
        assert equity_tier_headroom(account, 0, kind=kind).limit != limit
    else:
        assert limit == 0


@given(
    st.lists(st.builds(RateLimit, st.integers(1, 30), st.integers(1, 8)), max_size=3),
    st.lists(st.integers(0, 12), max_size=12),
)
def test_rate_limits_are_a_count_per_window(limits, sent):
    """One more at a time, until the first limit is passed."""
    room = rate_limit_headroom(limits, sent)
    if not limits:
        assert room == rate_limit_headroom((), sent)
        assert room.remaining is room.binding is None
        return
    history = [*sent] or [0]
    taken = 0
    while all(sum(history[-limit.num_blocks :]) + 1 <= limit.limit for limit in limits):
        history[-1] += 1
        taken += 1
    assert room.remaining == taken
    assert room.binding in limits


def test_the_sample_takes_two_stateful_orders_a_block_and_twenty_in_a_hundred():
    limits = V9.parameters.block_rate_limits.stateful_orders
    assert rate_limit_headroom(limits, []).remaining == 2
    assert rate_limit_headroom(limits, [2]).remaining == 0
    assert rate_limit_headroom(limits, [2] * 9 + [0]).remaining == 2
    assert rate_limit_headroom(limits, [2] * 9 + [1, 0]).remaining == 1
    assert rate_limit_headroom(limits, [2] * 9 + [1, 0]).binding == RateLimit(20, 100)
    assert rate_limit_headroom(limits, [2] * 10 + [0] * 100).remaining == 2


VOLUMES = {"maker_volume": 0, "taker_volume": 0, "total_volume": 0}


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"parameters": ProtocolParameters()}, "parameters"),
        ({"parameters": None}, "parameters"),
        ({"maker_volume": -1}, "maker_volume"),
        ({"taker_volume": 1.5}, "taker_volume"),
        ({"total_volume": "x"}, "total_volume"),
        ({"total_volume": Decimal("1e-7")}, "total_volume"),
        ({"is_vault": 1}, "is_vault"),
        ({"referee_tier": -1}, "referee_tier"),
    ],
)
def test_wrong_volumes_are_refused(arguments, argument):
    with pytest.raises(InputError) as refused:
        fee_tier(**{"parameters": V9.parameters, **VOLUMES, **arguments})
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: discounted(None), "tier"),
        (lambda: discounted(V9.parameters.fee_tiers[0], market_charge_ppm=MILLION + 1), "market_charge_ppm"),
        (lambda: discounted(V9.parameters.fee_tiers[0], staking_discount_ppm=-1), "staking_discount_ppm"),
        (lambda: equity_tier_headroom(Subaccount(V9, "dydx1"), -1), "open_orders"),
        (lambda: equity_tier_headroom(Subaccount(V9, "dydx1"), 0, kind="any"), "kind"),
        (lambda: rate_limit_headroom([1], []), "limits"),
        (lambda: rate_limit_headroom([], "12"), "sent"),
        (lambda: rate_limit_headroom([], [1, -1]), "sent[1]"),
        (lambda: rate_limit_headroom([], [0] * 100_001), "sent"),
        (lambda: ProtocolParameters(stateful_order_equity_tiers=[1]), "stateful_order_equity_tiers"),
        (
            lambda: ProtocolParameters(stateful_order_equity_tiers=(EquityTier(5, 1), EquityTier(4, 1))),
            "stateful_order_equity_tiers",
        ),
        (lambda: ProtocolParameters(short_term_order_equity_tiers=(EquityTier(5, -1),)), "limit"),
        (
            lambda: ProtocolParameters(short_term_order_equity_tiers=(EquityTier("5", 1),)),
            "net_collateral_required",
        ),
        (lambda: ProtocolParameters(block_rate_limits=()), "block_rate_limits"),
        (
            lambda: ProtocolParameters(block_rate_limits=BlockRateLimits(stateful_orders=(1,))),
            "stateful_orders",
        ),
        (
            lambda: ProtocolParameters(
                block_rate_limits=BlockRateLimits(leverage_updates=(RateLimit(0, 1),))
            ),
            "limit",
        ),
        (
            lambda: ProtocolParameters(block_rate_limits=BlockRateLimits(stateful_orders=(RateLimit(1, 0),))),
            "num_blocks",
        ),
    ],
)
def test_wrong_limits_are_refused(make, argument):
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.argument == argument


def test_genesis_documents_bring_equity_tiers_and_rate_limits():
    """In the chain's own names; tiers come in any order and are put in theirs, as the chain does."""
    document = {
        "app_state": {
            "prices": {"market_prices": []},
            "perpetuals": {"perpetuals": [], "liquidity_tiers": [], "params": None},
            "clob": {
                "clob_pairs": [],
                "equity_tier_limit_config": {
                    "stateful_order_equity_tiers": [
                        {"usd_tnc_required": "20000000", "limit": 1},
                        {"usd_tnc_required": "0", "limit": 0},
                    ]
                },
                "block_rate_limit_config": {
                    "max_stateful_orders_per_n_blocks": [{"num_blocks": 1, "limit": 2}]
                },
            },
        }
    }
    parameters = Chain.from_genesis(document).parameters
    assert parameters.stateful_order_equity_tiers == (EquityTier(0, 0), EquityTier(20_000_000, 1))
    assert parameters.short_term_order_equity_tiers == ()
    assert parameters.block_rate_limits == BlockRateLimits(stateful_orders=(RateLimit(2, 1),))
    document["app_state"]["clob"]["block_rate_limit_config"]["max_stateful_orders_per_n_blocks"][0][
        "limit"
    ] = 0
    with pytest.raises(InputError, match="limit"):
        Chain.from_genesis(document)
