"""What may be said of an account, and on whose word: nodes, pools, versions, ages (C11, C12, C13)."""

import json
from decimal import Decimal

import pytest
from feed_cases import OWNER, Wire, kinds, position, snapshot, usdc
from node_answers import HEIGHT, account, answers, leverage, picture

from dydx_perf.chain import Chain
from dydx_perf.errors import InputError, StaleError
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.events import AskNode
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import queries
from dydx_perf.feeds.subscriptions import Markets, SubaccountOf

ID = f"{OWNER}/0"
NAME = (OWNER, 0)
#: as in `node_answers`, with the indexer's own words for it
ROWS = {
    "BTC-USD": ("0", -10, "89931.52", "0.02", "0.012", "CROSS", "381.7348", "0"),
    "ETH-USD": ("1", -9, "3103.4", "0.1", "0.05", "CROSS", "7453.128", "20000000"),
    "BOME-USD": ("35", -3, "0.0075", "0.05", "0.03", "ISOLATED", "60000000", "500000"),
}
CAPS = {"BTC-USD": ("0", "0"), "ETH-USD": ("20000000", "50000000"), "BOME-USD": ("500000", "1000000")}


def market_rows():
    """The list of markets, with the parameters that the node's answers have."""
    return {
        "markets": {
            ticker: {
                "clobPairId": pair, "ticker": ticker, "status": "ACTIVE", "oraclePrice": price,
                "initialMarginFraction": imf, "maintenanceMarginFraction": mmf, "openInterest": interest,
                "atomicResolution": resolution, "quantumConversionExponent": -9, "stepBaseQuantums": 1000000,
                "subticksPerTick": 100000, "marketType": kind, "openInterestLowerCap": CAPS[ticker][0],
                "openInterestUpperCap": CAPS[ticker][1], "defaultFundingRate1H": "0",
            }
            for ticker, (pair, resolution, price, imf, mmf, kind, interest, _) in ROWS.items()
        }
    }  # fmt: skip


def live(positions=(), balance="1000", height=HEIGHT - 5, **options):
    wire = Wire(Markets(), SubaccountOf(OWNER, 0), **options)
    wire.start()
    wire.subscribed("v4_markets", None, market_rows())
    wire.subscribed(
        "v4_subaccounts",
        ID,
        snapshot(balance=usdc(balance), positions=list(positions), height=height, updated=height - 50),
    )
    wire.heights(height)
    return wire


def risk(wire):
    return wire.session.risk(OWNER, 0, wire.now)


def pool_picture(**changed):
    """Answers about pools, funds and the version alone."""
    found = NodePicture()
    for query in queries(markets=False, parameters=True, pools=[(0, False), (35, True)]):
        body = answers(fund={"balance": {"denom": DENOM, "amount": "0"}}, **changed)
        found.answer(query, body[query.name], height=HEIGHT)
    return found


DENOM = "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5"


def test_the_indexer_alone_gives_estimates_with_a_bound():
    """Basis, height and bound say so; the bound is open until an independent answer has agreed."""
    wire = live([position("ETH-USD", "1")])
    found = risk(wire)
    assert (found.basis, found.verdict, found.height) == ("estimate", "safe", None)
    assert found.bound.causes[0] == ("missed update", None)
    wire.data(
        "v4_markets",
        None,
        [
            {
                "oraclePrices": {
                    "ETH-USD": {"oraclePrice": "3104", "effectiveAtHeight": str(HEIGHT), "marketId": 1}
                }
            }
        ],
    )
    assert risk(wire).height == HEIGHT - 5
    assert dict(risk(wire).bound.causes)["price age"] == 600_000 + 1


def test_a_nodes_answer_makes_it_the_chains_until_the_next_event():
    """At its height, with its funding indices and chosen leverage; an older event of the indexer is in it."""
    wire = live([position("ETH-USD", "1")])
    body = account(OWNER, 0, 900_000_000, {1: (2 * 10**9, -1_234_000)})
    found = picture({NAME: (body, leverage(pair_1=200_000))})
    events = wire.session.node_answered(found, wire.now)
    assert "AccountSnapshot" in kinds(events)
    now = risk(wire)
    assert (now.basis, now.height, now.bound, now.verdict) == ("chain", HEIGHT, None, "safe")
    assert now.risk == found.subaccount(OWNER, 0, found.chain()).risk
    wire.data("v4_subaccounts", ID, [{"assetPositions": [usdc("1")], "blockHeight": str(HEIGHT)}])
    assert risk(wire).basis == "chain"  # that event is in the answer
    wire.data("v4_subaccounts", ID, [{"assetPositions": [usdc("950")], "blockHeight": str(HEIGHT + 1)}])
    after = wire.book.subaccount(NAME)
    assert (risk(wire).basis, after.usdc, after.leverage_choices) == ("estimate", 950, {"ETH-USD": 200_000})
    assert after.positions["ETH-USD"].funding_index == wire.book.chain["ETH-USD"].funding_index == -1_234_567
    assert risk(wire).bound.quote_quantums is not None


def test_the_first_funding_index_pays_nobody_what_was_paid_long_ago():
    """Accounts that stand as settled move to a market's first index with it; nothing crosses on the way."""
    wire = live([position("BTC-USD", "-1")], balance="92500")
    before = risk(wire).risk
    events = wire.session.node_answered(picture(), wire.now)
    assert "Crossing" not in kinds(events)
    assert wire.book.chain["BTC-USD"].funding_index == 9_876_543
    assert (risk(wire).risk.nc, risk(wire).risk.mmr) == (before.nc, before.mmr)
    assert risk(wire).basis == "estimate"


def test_a_node_that_is_behind_changes_no_account():
    """The indexer told of a later event: the account stays, and the node is asked once more."""
    wire = live(can_ask_node=True)
    asked = [event for event in wire.wait(1) if isinstance(event, AskNode)]
    assert [(one.accounts, one.markets) for one in asked] == [((NAME,), True)]
    wire.data("v4_subaccounts", ID, [{"assetPositions": [usdc("7")], "blockHeight": str(HEIGHT + 1)}])
    wire.session.node_answered(picture({NAME: (account(OWNER, 0, 5, {}), leverage())}), wire.now)
    assert wire.book.subaccount(NAME).usdc == 7
    assert [one.accounts for one in wire.wait(1) if isinstance(one, AskNode)] == [(NAME,)]


def test_an_answer_of_no_known_height_confirms_nothing():
    """Without its height an answer could be of any block."""
    wire = live()
    wire.session.node_answered(picture({NAME: (account(OWNER, 0, 5, {}), leverage())}, height=None), wire.now)
    assert wire.book.subaccount(NAME).usdc == 1000


def test_a_node_settles_what_did_not_agree():
    """An account in doubt is whole again with the chain's own answer."""
    wire = live()
    wire.session.doubts.raise_(f"account {ID}", "not_reconciled")
    wire.session.node_answered(picture({NAME: (account(OWNER, 0, 5_000_000, {}), leverage())}), wire.now)
    assert (risk(wire).doubts, wire.book.subaccount(NAME).usdc) == ((), 5)


def test_parameters_that_a_node_has_otherwise_are_told():
    """Tier and caps of the node hold, with an event and a notice."""
    wire = live([position("BTC-USD", "0.1")])
    bodies = answers()
    bodies["liquidity_tiers"]["liquidity_tiers"][0]["initial_margin_ppm"] = 40_000
    events = wire.session.node_answered(picture(bodies=bodies), wire.now)
    (changed,) = [event for event in events if hasattr(event, "changes")]
    assert (changed.ticker, changed.changes) == ("BTC-USD", {"initial_margin_ppm": (20_000, 40_000)})
    assert "parameters_changed" in risk(wire).notices
    wire.session.heard(wire.now)
    wire.wait(3600)
    assert "parameters_changed" not in risk(wire).notices


def test_unverified_protocol_version():
    """A release that was not verified makes everything unknown; one that was lifts it."""
    wire = live()
    wire.session.node_seen(wire.now, version="9.7.0")
    assert (risk(wire).verdict, risk(wire).doubts) == ("unknown", ("unverified_protocol",))
    wire.session.node_answered(pool_picture(), wire.now)  # 9.6.1
    assert risk(wire).verdict == "safe"


def test_lagging_indexer():
    """More blocks behind a node than allowed."""
    wire = live()
    wire.session.node_seen(wire.now, height=HEIGHT)
    assert risk(wire).verdict == "safe"
    wire.session.node_seen(wire.now, height=HEIGHT + 1)
    assert risk(wire).doubts == ("lagging",)
    wire.block(HEIGHT)
    assert risk(wire).verdict == "safe"


def test_withdrawal_gates_and_insurance_funds_are_notices():
    """Blocked pools and empty funds are pointed out; they take no trust away, and end with their height."""
    wire = live([position("BOME-USD", "100")])
    wire.session.node_answered(pool_picture(), wire.now)
    assert set(risk(wire).notices) == {"isolated_pool", "withdrawals_blocked", "insurance_fund_low"}
    assert risk(wire).verdict == "safe"
    wire.block(HEIGHT + 39)
    assert "withdrawals_blocked" in risk(wire).notices
    wire.block(HEIGHT + 40)
    assert "withdrawals_blocked" not in risk(wire).notices
    cross = live([position("BTC-USD", "0.01")])
    cross.session.node_answered(pool_picture(), cross.now)
    assert set(risk(cross).notices) == {"withdrawals_blocked", "insurance_fund_low"}


def test_halted_chain():
    """No block for longer than the chain is ever silent, though the connection lives."""
    wire = live(can_fetch=False)
    for _ in range(16):
        wire.wait(1)
        wire.session.heard(wire.now)
        wire.data("v4_markets", None, [{"trading": {}}])
    assert "halted_chain" in risk(wire).doubts
    wire.block(HEIGHT)
    assert "halted_chain" not in risk(wire).doubts


def test_stale_oracle():
    """No price of any market for a while, or of one market for a long while: unknown for its holders."""
    wire = live(
        [position("BTC-USD", "0.1")], deadlines=Deadlines(oracle_silence=8, oracle_age=20), can_fetch=False
    )

    def tick(prices=()):
        wire.wait(1)
        wire.block(wire.session.height + 1)
        for ticker in prices:
            price = {
                "oraclePrice": ROWS[ticker][2],
                "effectiveAtHeight": str(wire.session.height),
                "marketId": 0,
            }
            wire.data("v4_markets", None, [{"oraclePrices": {ticker: price}}])

    for _ in range(8):
        tick()
    assert risk(wire).doubts == ("stale_oracle",)
    tick(["ETH-USD"])
    assert risk(wire).doubts == ()
    for _ in range(12):
        tick(["ETH-USD"])
    assert risk(wire).doubts == ("stale_oracle",)
    tick(["BTC-USD"])
    assert risk(wire).doubts == ()


def test_no_prices_no_verdict():
    """A session without markets says nothing, unless the caller keeps the prices."""
    for options, verdict in [({}, "unknown"), ({"keeps_prices": True}, "safe")]:
        wire = Wire(SubaccountOf(OWNER, 0), **options)
        wire.start()
        wire.subscribed("v4_subaccounts", ID, snapshot(balance=usdc("1")))
        assert risk(wire).verdict == verdict


def test_sessions_side_by_side_share_prices_and_doubts():
    """Markets on one connection, accounts on another: what the first loses the second does not trust."""
    first = live()
    second = Wire(SubaccountOf(OWNER, 1), book=first.book, beside=first.session)
    second.start()
    rows = [position("NEW-USD", "10")]
    second.subscribed("v4_subaccounts", f"{OWNER}/1", snapshot(1, balance=usdc("1"), positions=rows))
    seen = second.session.risk(OWNER, 1, second.now)
    assert (seen.risk, seen.doubts) == (None, ("unknown_market",))
    row = {**market_rows()["markets"]["BTC-USD"], "clobPairId": "77", "ticker": "NEW-USD", "oraclePrice": "2"}
    first.data("v4_markets", None, [{"trading": {"NEW-USD": row}}])
    assert second.session.risk(OWNER, 1, second.now).verdict == "safe"
    assert second.session.risk(OWNER, 1, second.now).risk.nc == 1_000_000 + 20_000_000
    first.session.disconnected(first.now, 1006)
    assert second.session.risk(OWNER, 1, second.now).doubts == ("disconnected",)
    with pytest.raises(InputError, match="beside"):
        Wire(SubaccountOf(OWNER, 1), beside=first.session)


def test_a_full_book_is_a_doubt_and_no_silence():
    """An account for which there is no room is unknown."""
    from dydx_perf.book import Book

    wire = live(book=Book(Chain(), max_subaccounts=1, max_positions=1, max_markets=8))
    wire.data(
        "v4_subaccounts",
        ID,
        [
            {
                "perpetualPositions": [position(t, "1") for t in ("BTC-USD", "ETH-USD")],
                "blockHeight": str(HEIGHT),
            }
        ],
    )
    assert risk(wire).doubts == ("over_capacity",)


def test_explain_has_the_indexers_own_words():
    """Equity and free collateral of its last whole answer stand beside ours, with their height."""
    wire = live([position("ETH-USD", "1", entryPrice="3000")])
    found = wire.session.explain(OWNER, 0, wire.now)
    assert (found.equity, found.free_collateral, found.reported_height) == (1000, 900, HEIGHT - 5)
    assert found.explanation.terms[0].chain == Decimal("4103.4")
    assert wire.session.account(OWNER, 0).positions["ETH-USD"].entry_price == 3000
    with pytest.raises(StaleError, match="no_snapshot"):
        wire.session.explain(OWNER, 9, wire.now)


def test_orders_are_compared_too():
    """An order that two lists in a row do not have has ended; one that only they have is open."""
    wire = live()
    order = {
        "id": "x", "clientId": "1", "clobPairId": "0", "side": "BUY", "size": "1", "price": "5",
        "status": "OPEN", "type": "LIMIT", "timeInForce": "GTT", "orderFlags": "64", "ticker": "BTC-USD",
        "createdAtHeight": "5",
    }  # fmt: skip
    wire.data("v4_subaccounts", ID, [{"orders": [order]}])
    fetch = wire.wait(5)[1]
    other = [{**order, "id": "y", "subaccountNumber": 0}]
    first = wire.session.fetched(fetch, 200, json.dumps(other).encode(), wire.now)
    assert [(event.order_id, event.status) for event in first] == [("y", "OPEN")]
    second = wire.session.fetched(fetch, 200, json.dumps(other).encode(), wire.now)
    assert [(event.order_id, event.status) for event in second] == [("x", "CANCELED")]


def test_a_clock_that_goes_back_is_refused():
    """Nor is a time that is no number."""
    wire = live()
    for now in (wire.now - 1, float("nan"), True, "5"):
        with pytest.raises(InputError, match="now"):
            wire.session.tick(now)
