"""A snapshot is trusted when an independent answer agrees, asked after it and of a later block (C2, C11)."""

import json

import pytest
from feed_cases import MARKETS_BODY, OWNER, Wire, body, position, snapshot, usdc
from node_answers import HEIGHT, account, leverage, picture

from dydx_perf.errors import InputError
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.events import AskNode, Fetch
from dydx_perf.feeds.subscriptions import Markets, ParentSubaccountOf, SubaccountOf

ID, NAME = f"{OWNER}/0", (OWNER, 0)
HELD = {"balance": usdc("1000"), "positions": [position("BTC-USD", "0.1")]}
UNCONFIRMED = ("unknown", ("not_reconciled",))
SAFE = ("safe", ())


def live(height=100, contents=None, **options):
    """A session whose snapshot has just come, at a block that it knows."""
    wire = Wire(Markets(), SubaccountOf(OWNER, 0), **{"confirm_snapshots": True, **options})
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.heights(height)
    wire.subscribed("v4_subaccounts", ID, snapshot(height=height, **HELD) if contents is None else contents)
    return wire


def said(wire, number=0):
    risk = wire.session.risk(OWNER, number, wire.now)
    return risk.verdict, risk.doubts


def asked(wire, seconds):
    """What is asked of an account's state while the connection lives."""
    wire.session.heard(wire.now)
    return [one for one in wire.wait(seconds) if isinstance(one, Fetch) and one.path.startswith("/addresses")]


def answer(wire, fetch, height, number=0, status=200, **state):
    told = json.dumps({"subaccount": body(number, height=height, **(state or HELD))}).encode()
    return wire.session.fetched(fetch, status, told, wire.now)


def test_an_account_is_safe_a_few_seconds_after_its_snapshot():
    """Two by default: in doubt until the answer agrees, with the bound closed from then on."""
    wire = live()
    assert said(wire) == UNCONFIRMED
    assert asked(wire, 1.9) == []
    (fetch,) = asked(wire, 0.1)
    assert said(wire) == UNCONFIRMED
    answer(wire, fetch, 102)
    assert said(wire) == SAFE
    assert wire.session.risk(OWNER, 0, wire.now).bound.quote_quantums is not None


def test_the_time_of_the_first_comparison_is_a_setting():
    wire = live(deadlines=Deadlines(verify_after=0.5))
    assert len(asked(wire, 0.5)) == 1


@pytest.mark.parametrize("height", [99, 100])
def test_an_answer_that_may_be_as_old_as_the_snapshot_confirms_nothing(height):
    """A replica that is behind agrees with a snapshot that is: it is asked again."""
    wire = live()
    (fetch,) = asked(wire, 2)
    answer(wire, fetch, height)
    assert said(wire) == UNCONFIRMED
    (fetch,) = asked(wire, 2)
    answer(wire, fetch, 101)
    assert said(wire) == SAFE


def test_an_answer_that_was_asked_for_before_the_snapshot_confirms_nothing():
    """The snapshot of a new connection comes between question and answer."""
    wire = live()
    (first,) = asked(wire, 2)
    wire.session.disconnected(wire.now, 1006)
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.heights(101)
    wire.subscribed("v4_subaccounts", ID, snapshot(height=101, **HELD))
    answer(wire, first, 110)
    assert said(wire) == UNCONFIRMED
    (second,) = asked(wire, 2)
    answer(wire, second, 110)
    assert said(wire) == SAFE
    answer(wire, second, 110)  # told twice
    assert said(wire) == SAFE


def test_an_answer_that_was_not_asked_for_confirms_nothing():
    """Of a path that the session will ask for, but has not yet."""
    wire = live()
    answer(wire, Fetch(f"/addresses/{OWNER}/subaccountNumber/0", "mine"), 110)
    assert said(wire) == UNCONFIRMED


@pytest.mark.parametrize("status", [0, 429, 503])
def test_without_an_answer_the_doubt_stays(status):
    wire = live()
    for _ in range(3):
        (fetch,) = asked(wire, 2)
        wire.session.fetched(fetch, status, b"<html>", wire.now)
        assert said(wire) == UNCONFIRMED


def test_what_was_lost_with_the_snapshot_is_never_safe_and_repaired():
    """Doubted before, doubted at the first answer, replaced and trusted at the second."""
    wire = live()
    truth = {"balance": usdc("400"), "positions": [position("BTC-USD", "0.2")], "updated": 101}
    for verdict in (UNCONFIRMED, SAFE):
        (fetch,) = asked(wire, 2)
        answer(wire, fetch, 103, **truth)
        assert said(wire) == verdict
    assert wire.book.subaccount(NAME).usdc == 400


def test_every_new_snapshot_is_in_doubt_again():
    wire = live()
    (fetch,) = asked(wire, 2)
    answer(wire, fetch, 102)
    assert said(wire) == SAFE
    wire.session.disconnected(wire.now, 1006)
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.subscribed("v4_subaccounts", ID, snapshot(height=103, **HELD))
    assert said(wire) == UNCONFIRMED


def test_an_account_that_the_venue_does_not_know_is_confirmed_by_404():
    wire = live(contents={})
    (fetch,) = asked(wire, 2)
    assert said(wire) == UNCONFIRMED
    wire.session.fetched(fetch, 404, b"{}", wire.now)
    assert said(wire) == SAFE


def test_a_child_that_no_snapshot_had_is_in_doubt_too():
    """It came with an update, and what came before that may be lost."""
    wire = Wire(Markets(), ParentSubaccountOf(OWNER, 0), confirm_snapshots=True)
    wire.start()
    wire.subscribed("v4_markets", None, MARKETS_BODY)
    wire.heights(100)
    whole = {"address": OWNER, "parentSubaccountNumber": 0, "childSubaccounts": [body(0, **HELD)]}
    wire.subscribed("v4_parent_subaccounts", ID, {"subaccount": whole, "orders": [], "blockHeight": "100"})
    update = {"assetPositions": [{**usdc("20"), "subaccountNumber": 128}], "blockHeight": "101"}
    wire.data("v4_parent_subaccounts", ID, [update], subaccountNumber=128)
    assert said(wire, 128) == UNCONFIRMED
    for fetch in asked(wire, 3):
        number = int(fetch.path.rpartition("/")[2])
        state = {"balance": usdc("20"), "updated": 101} if number else HELD
        answer(wire, fetch, 105, number, **state)
    assert (said(wire, 0), said(wire, 128)) == (SAFE, SAFE)


@pytest.mark.parametrize(("height", "verdict"), [(HEIGHT - 1, SAFE), (HEIGHT, UNCONFIRMED)])
def test_a_nodes_answer_confirms_a_snapshot_of_an_earlier_block(height, verdict):
    """The chain's own state, of a block after all that was known when the snapshot came."""
    wire = live(height, can_fetch=False, can_ask_node=True)
    assert [one.accounts for one in wire.wait(1) if isinstance(one, AskNode)] == [(NAME,)]
    wire.session.node_answered(picture({NAME: (account(OWNER, 0, 5_000_000, {}), leverage())}), wire.now)
    assert wire.book.subaccount(NAME).usdc == 5
    assert said(wire) == verdict
    again = [one.accounts for one in wire.wait(1) if isinstance(one, AskNode)]
    assert again == ([] if verdict == SAFE else [(NAME,)])


def test_who_cannot_fetch_chooses_otherwise_in_words():
    """Without the choice nothing is ever safe; with it the bound stays open."""
    wire = live(can_fetch=False)
    wire.block(101)
    assert said(wire) == UNCONFIRMED
    wire = live(can_fetch=False, confirm_snapshots=False)
    assert said(wire) == SAFE
    assert wire.session.risk(OWNER, 0, wire.now).bound.quote_quantums is None


def test_many_accounts_are_all_compared_within_the_venues_limit():
    """At most 80 requests in 10 seconds, and none waits for the second turn of another."""
    numbers = range(60)
    wire = Wire(
        *(SubaccountOf(OWNER, number) for number in numbers), keeps_prices=True, confirm_snapshots=True
    )
    wire.start()
    wire.heights()
    for number in numbers:
        wire.subscribed("v4_subaccounts", f"{OWNER}/{number}", snapshot(number))
    times = {}
    for _ in range(40):
        wire.session.heard(wire.now)
        before = len(times)
        for fetch in wire.wait(0.5):
            if isinstance(fetch, Fetch) and fetch.path.startswith("/addresses"):
                times.setdefault(fetch.path, wire.now)
        assert len(times) - before <= 3
    assert len(times) == len(numbers)


PATHS = [
    "/height", "", "/", "/orders", "/orders?", "/addresses", f"/addresses/{OWNER}", "/orders?address=x",
    f"/addresses/{OWNER}/subaccountNumber/x", f"/addresses/{OWNER}/parentSubaccountNumber/0",
    f"/addresses/{OWNER}/subaccountNumber/0/more", f"/orders?address={OWNER}&subaccountNumber=0",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_to_a_path_that_is_never_asked_for_is_refused(path):
    """With the argument and what is allowed; the session lives on."""
    wire = live()
    with pytest.raises(InputError) as refused:
        wire.session.fetched(Fetch(path, "mine"), 200, b"{}", wire.now)
    assert refused.value.argument == "fetch"
    assert "/subaccountNumber/" in refused.value.allowed
    (fetch,) = asked(wire, 2)
    answer(wire, fetch, 102)
    assert said(wire) == SAFE
