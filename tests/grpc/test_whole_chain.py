"""Every account of a chain from its pages, and what a stream's word does to it (B4, C3, C12)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from generated_node import INDICES, START, Account, GeneratedNode, Name, fill, generated
from node_answers import serialized
from v4_proto.dydxprotocol.subaccounts.query_pb2 import QuerySubaccountAllResponse, QuerySubaccountResponse

from dydx_perf import Book, CapacityError, Chain, FrameError, InputError, Position, Subaccount
from dydx_perf.feeds.events import Reconnect
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import account_queries, queries
from dydx_perf.feeds.node_stream import NodeDeadlines
from dydx_perf.feeds.whole_chain import WholeChain
from dydx_perf.feeds.whole_chain_stream import FollowedChain
from dydx_perf.units import quote_quantums_to_usdc


def picture(node: GeneratedNode) -> NodePicture:
    """All markets of the node, from its own bytes."""
    made = NodePicture()
    for query in queries():
        assert made.answer(query, node.market_answer(query, node.height), height=node.height) is None
    return made


def of_node(node: GeneratedNode, **room: Any) -> WholeChain:
    return WholeChain(picture(node).chain(), **room)


def ask(whole: WholeChain, node: GeneratedNode) -> tuple[bytes, int]:
    """The node's answer to what is asked for now."""
    assert whole.query is not None
    height = node.height if whole.pin is None else whole.pin
    return node.page(whole.query.request, height), height


def walk(whole: WholeChain, node: GeneratedNode, height: int | None = None) -> WholeChain:
    """One pass to its end."""
    whole.begin(0.0, height)
    while whole.query is not None:
        whole.page(*ask(whole, node))
    return whole


def answer(whole: WholeChain, node: GeneratedNode, name: Name, height: int | None = None) -> bool:
    at = node.height if height is None else height
    return whole.answered(name, node.one(account_queries(*name)[0].request, at), at)[1]


def assert_equal(whole: WholeChain, chain: Chain, accounts: dict[Name, Account]) -> None:
    """Inputs and risk of every account are those of a plain book that was filled by hand."""
    judge = Book(chain, max_subaccounts=len(accounts), max_positions=4 * len(accounts) + 1)
    judge.load(
        Subaccount(
            chain,
            *name,
            usdc=quote_quantums_to_usdc(account.usdc),
            positions=[
                Position(chain[perpetual], quantums=quantums, funding_index=index)
                for perpetual, (quantums, index) in account.positions.items()
            ],
        )
        for name, account in accounts.items()
    )
    assert len(whole.book) == len(accounts)
    for name in accounts:
        ours, theirs = whole.book[name], judge[name]
        assert (ours.nc, ours.imr, ours.mmr) == (theirs.nc, theirs.imr, theirs.mmr), name
        for held, wanted in zip(inputs(whole.book, name), inputs(judge, name), strict=True):
            assert held == wanted, name
    assert sorted(whole.book.liquidatable()) == sorted(judge.liquidatable())


def inputs(book: Book, name: Name) -> tuple[int, list[tuple[int, ...]]]:
    usdc, rows, _, _ = book._inputs(book._store.slot(name), name)
    return usdc, sorted(rows)


def test_the_book_of_all_pages_is_the_chain() -> None:
    """Balances, positions, funding indices and risk of every account, at the height of the first answer."""
    node = GeneratedNode(generated(2_345), page_limit=100)
    whole = of_node(node)
    walk(whole, node)
    assert whole.done is not None
    assert (whole.done.pages, whole.done.accounts, whole.done.total) == (24, 2_345, 2_345)
    assert (whole.done.low, whole.done.high, whole.done.is_of_one_height) == (START, START, True)
    assert whole.done.positions == sum(len(account.positions) for account in node.accounts.values())
    assert_equal(whole, picture(node).chain(), node.accounts)
    assert len(whole.book.liquidatable()) > 50
    assert whole.untold() == [*whole.book]


def test_pages_are_of_the_first_answers_height_while_the_chain_goes_on() -> None:
    """What changes meanwhile is in none of them."""
    node = GeneratedNode(generated(500), page_limit=50)
    whole, before = of_node(node), dict(node.accounts)
    whole.begin(0.0)
    place = 0
    while whole.query is not None:
        whole.page(*ask(whole, node))
        place += 40
        node.block({[*before][place]: Account(place)})
    assert_equal(whole, whole.chain, before)


def test_a_later_pass_takes_over_what_changed_came_and_went() -> None:
    """It counts what it corrected, and drops who is on none of its pages."""
    node = GeneratedNode(generated(400), page_limit=50)
    whole = walk(of_node(node), node)
    names = [*node.accounts]
    changes: dict[Name, Account | None] = {
        names[3]: Account(-5, {0: (10**8, INDICES[0])}),
        names[77]: Account(12),
        names[100]: None,
        names[399]: None,
        ("dydx1new", 0): Account(99),
    }
    node.block(changes)
    walk(whole, node)
    assert whole.done is not None
    assert (whole.done.corrected, whole.done.removed) == (2, 2)
    assert_equal(whole, whole.chain, node.accounts)
    walk(whole, node)
    assert (whole.done.corrected, whole.done.removed) == (0, 0)


def test_pages_of_several_heights_are_said_and_drop_nobody() -> None:
    """A node that does not keep the first answer's state any more is asked for its newest."""
    node = GeneratedNode(generated(300), page_limit=50)
    whole = walk(of_node(node), node)
    gone = [*node.accounts][-1]
    whole.begin(1.0)
    whole.page(*ask(whole, node))
    node.block({gone: None})
    whole.unpin()
    with pytest.raises(FrameError, match="300 subaccounts"):
        whole.page(b"", START + 1)
    while whole.query is not None:
        whole.page(*ask(whole, node))
    assert whole.done is not None
    assert (whole.done.low, whole.done.high, whole.done.is_of_one_height) == (START, START + 1, False)
    assert gone in whole.book
    walk(whole, node)
    assert gone not in whole.book


def test_a_node_that_tells_no_height_gives_an_estimate() -> None:
    """Nothing is the chain's at a height that is not known."""
    node = GeneratedNode(generated(120), page_limit=50)
    whole = of_node(node)
    whole.begin(0.0)
    while whole.query is not None:
        whole.page(ask(whole, node)[0])
    assert whole.done is not None
    standing = FollowedChain(whole, START).standing(1.0)
    assert (whole.done.low, standing.basis, standing.height) == (None, "estimate", None)


def test_a_page_that_cannot_be_one_is_refused_and_asked_for_again() -> None:
    """Noise, half a page, one that came already, a first one without anybody, an end before the end."""
    node = GeneratedNode(generated(300), page_limit=50)
    source = random.Random(5)
    whole = of_node(node)
    whole.begin(0.0)
    with pytest.raises(FrameError, match="at least one"):
        whole.page(b"", START)
    first = ask(whole, node)[0]
    whole.page(first, START)
    wanted = whole.query
    twice = QuerySubaccountAllResponse.FromString(first)
    ended = QuerySubaccountAllResponse.FromString(ask(whole, node)[0])
    ended.ClearField("pagination")
    nameless = QuerySubaccountAllResponse()
    nameless.subaccount.add().id.number = 3
    double = QuerySubaccountAllResponse()
    for _ in range(2):
        fill(double.subaccount.add(), ("dydx1twice", 0), Account(1))
    bad = [
        first,
        twice.SerializeToString()[:-30],
        ended.SerializeToString(),
        nameless.SerializeToString(),
        double.SerializeToString(),
        *(source.randbytes(200) for _ in range(50)),
    ]
    held = {name: inputs(whole.book, name) for name in whole.book}
    for data in bad:
        with pytest.raises(FrameError):
            whole.page(data, START)
        assert whole.query == wanted
    assert {name: inputs(whole.book, name) for name in whole.book} == held
    while whole.query is not None:
        whole.page(*ask(whole, node))
    assert_equal(whole, whole.chain, node.accounts)


def test_a_page_that_leads_to_itself_is_refused() -> None:
    """Or to one without anybody, for ever."""
    node = GeneratedNode(generated(60), page_limit=20)
    whole = of_node(node)
    whole.begin(0.0)
    whole.page(*ask(whole, node))
    data = QuerySubaccountAllResponse.FromString(ask(whole, node)[0])
    endless = QuerySubaccountAllResponse()
    endless.pagination.next_key = b"x"
    whole.page(data.SerializeToString(), START)
    with pytest.raises(FrameError, match="at least one"):
        whole.page(endless.SerializeToString(), START)
    itself = QuerySubaccountAllResponse.FromString(ask(whole, node)[0])
    itself.pagination.next_key = data.pagination.next_key
    with pytest.raises(FrameError, match="another"):
        whole.page(itself.SerializeToString(), START)


def test_room_that_is_too_small_is_said_with_what_came() -> None:
    """Nothing of the page is taken; a node that does not count needs a room that is named."""
    node = GeneratedNode(generated(300), page_limit=50)
    whole = of_node(node, max_subaccounts=120)
    whole.begin(0.0)
    for _ in range(2):
        whole.page(*ask(whole, node))
    with pytest.raises(CapacityError, match=r"120 .*100 of 300 subaccounts came.*max_subaccounts"):
        whole.page(*ask(whole, node))
    assert len(whole.book) == 100
    node.counts = False
    whole = of_node(node)
    whole.begin(0.0)
    with pytest.raises(CapacityError, match="give max_subaccounts"):
        whole.page(*ask(whole, node))
    walk(of_node(node, max_subaccounts=300), node)
    with pytest.raises(InputError, match="max_positions"):
        WholeChain(whole.chain, max_positions=0)


def test_what_no_column_holds_and_what_cannot_be_valued_stand_apart() -> None:
    """Wide numbers are exact; other collateral and markets that are not known are in doubt."""
    node = GeneratedNode(generated(40), page_limit=20)
    wide, other, strange = ("dydx1wide", 0), ("dydx1other", 0), ("dydx1strange", 0)
    node.accounts[wide] = Account(10**25, {0: (-(10**20), 10**22)})
    node.accounts[strange] = Account(5, {77: (1, 0)})
    node.block()
    node.states[node.height] = dict(sorted(node.accounts.items()))
    whole = of_node(node)
    whole.begin(0.0)
    while whole.query is not None:
        data, height = ask(whole, node)
        if whole.query.is_first_page:
            page = QuerySubaccountAllResponse.FromString(data)
            fill(page.subaccount.add(), other, Account(7))
            page.subaccount[-1].asset_positions.add(asset_id=1, quantums=serialized(5))
            page.pagination.total += 1
            data = page.SerializeToString()
        whole.page(data, height)
    assert {name: one.code for name, one in whole.pending.items()} == {
        other: "other_collateral",
        strange: "unknown_market",
    }
    del node.accounts[strange]
    assert_equal(whole, whole.chain, node.accounts)
    walk(whole, node)
    assert_equal(whole, whole.chain, node.accounts)


def streamed(whole: WholeChain, node: GeneratedNode, name: Name, before: Account) -> None:
    """What the stream says of the block that the node decided last."""
    account = node.accounts.get(name, Account(0))
    sizes = dict.fromkeys(before.positions, 0) | {p: q for p, (q, _) in account.positions.items()}
    whole.changed(name, node.height, False, sizes, abs(account.usdc))


def test_who_changed_is_in_doubt_until_an_answer_of_that_height_or_a_page() -> None:
    """An older answer leaves the doubt; the book keeps the last whole state meanwhile."""
    node = GeneratedNode(generated(60), page_limit=20)
    whole = walk(of_node(node), node)
    name = [*node.accounts][10]
    before = node.accounts[name]
    node.block({name: Account(-3 * 10**9, {1: (10**9, 4)})})
    streamed(whole, node, name, before)
    assert whole.pending[name].code == "unknown_sign"
    assert inputs(whole.book, name)[0] == before.usdc
    assert whole.asks(5) == [name]
    assert whole.asks(5) == []
    answer(whole, node, name, START)
    assert whole.asks(5) == [name]
    assert answer(whole, node, name)
    assert whole.pending == {}
    assert inputs(whole.book, name)[0] == -3 * 10**9
    streamed(whole, node, name, before)  # it came late: the answer was ahead of the stream
    assert whole.pending == {}
    node.block({name: Account(1)})
    streamed(whole, node, name, node.states[START + 1][name])
    walk(whole, node)
    assert whole.pending == {}
    assert inputs(whole.book, name) == (1, [])


def test_an_answer_that_contradicts_the_stream_is_told() -> None:
    """Same block, other figures: something was lost; what the node says is taken."""
    node = GeneratedNode(generated(60), page_limit=20)
    whole = walk(of_node(node), node)
    name = [*node.accounts][10]
    node.block({name: Account(-5, {1: (10**9, 4)})})
    whole.changed(name, node.height, False, {1: 10**9 - 1}, 5)
    assert not answer(whole, node, name)
    assert whole.contradictions == 1
    node.block({name: Account(-6, {1: (10**9, 4)})})
    whole.changed(name, node.height, False, {}, 7)
    assert not answer(whole, node, name)
    node.block({name: Account(-7, {1: (10**9, 4)})})
    whole.changed(name, node.height, False, {}, 7)
    assert answer(whole, node, name)
    assert whole.pending == {}


def test_an_answer_of_another_account_is_refused() -> None:
    node = GeneratedNode(generated(60), page_limit=20)
    whole = walk(of_node(node), node)
    one, other = [*node.accounts][:2]
    whole.changed(one, START + 1, False, {}, 1)
    with pytest.raises(FrameError, match=one[0]):
        whole.answered(one, node.one(account_queries(*other)[0].request, START), START)
    with pytest.raises(FrameError):
        whole.answered(one, b"\xff" * 9, START)
    assert one in whole.pending


def test_a_snapshot_asks_only_for_what_is_other_than_the_book_has_it() -> None:
    """Of an account that is not in the book, only when there is something."""
    node = GeneratedNode(generated(60), page_limit=20)
    whole = walk(of_node(node), node)
    for name, account in node.accounts.items():
        sizes = {perpetual: quantums for perpetual, (quantums, _) in account.positions.items()}
        whole.changed(name, START + 5, True, sizes, abs(account.usdc) or None)
    whole.changed(("dydx1nobody", 0), START + 5, True, {}, None)
    assert whole.pending == {}
    name = [*node.accounts][4]
    whole.changed(name, START + 5, True, {}, abs(node.accounts[name].usdc) + 1)
    whole.changed(("dydx1somebody", 0), START + 5, True, {}, 4)
    assert [*whole.pending] == [name, ("dydx1somebody", 0)]
    made = QuerySubaccountResponse()
    made.subaccount.id.owner = "dydx1somebody"  # it was emptied since: the node knows only its name
    whole.answered(("dydx1somebody", 0), made.SerializeToString(), START + 6)
    assert [*whole.pending] == [name]
    assert inputs(whole.book, ("dydx1somebody", 0)) == (0, [])


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_between_pages_the_book_ends_as_the_chain(seed: int) -> None:
    """Blocks, late and early words of the stream, old answers, refused pages and passes, in any order."""
    source = random.Random(seed)
    node = GeneratedNode(generated(240, seed), page_limit=20)
    whole = of_node(node, max_subaccounts=600, max_positions=2_000)
    walk(whole, node)
    told: list[tuple[Name, int, dict[int, int], int]] = []
    for _ in range(400):
        step = source.random()
        if step < 0.3:
            names = [*source.sample([*node.accounts], 3), (f"dydx1new{source.randrange(40)}", 0)]
            changes: dict[Name, Account | None] = {}
            for name in names:
                usdc = source.choice((1, -1)) * source.randrange(10**10)
                positions = {p: (source.randrange(1, 10**9), 5) for p in (0, 1) if source.random() < 0.5}
                changes[name] = Account(usdc, positions)
                if name in node.accounts and source.random() < 0.1:
                    changes[name] = None
            before = dict(node.accounts)
            node.block(changes)
            for name, account in changes.items():
                now = Account(0) if account is None else account
                sizes = dict.fromkeys(before.get(name, Account(0)).positions, 0)
                sizes |= {p: q for p, (q, _) in now.positions.items()}
                told.append((name, node.height, sizes, abs(now.usdc)))
        elif step < 0.5 and told:
            count = source.randrange(1, len(told) + 1)
            for name, height, sizes, usdc in told[:count]:  # the stream keeps its order, and may be late
                whole.changed(name, height, False, sizes, usdc)
            del told[:count]
        elif step < 0.7:
            for name in whole.asks(source.randrange(1, 5)):
                assert answer(whole, node, name, source.choice((None, max(START, node.height - 2))))
        elif whole.query is None:
            whole.begin(0.0)
        elif step < 0.75:
            with pytest.raises(FrameError):
                whole.page(b"\x0f" + source.randbytes(50), node.height)
        else:
            if source.random() < 0.05:
                whole.unpin()
            whole.page(*ask(whole, node))
    for name, height, sizes, usdc in told:
        whole.changed(name, height, False, sizes, usdc)
    while names := whole.asks(10):
        assert all(answer(whole, node, name) for name in names)
    assert whole.pending == {}
    known = {name: account for name, account in node.accounts.items() if name in whole.book}
    empty = [name for name in whole.book if name not in node.accounts]
    assert all(inputs(whole.book, name) == (0, []) for name in empty)
    assert known.keys() >= {name for name in node.accounts if name in node.states[START]}
    while whole.query is not None:
        whole.page(*ask(whole, node))
    walk(whole, node)
    assert_equal(whole, whole.chain, node.accounts)
    assert whole.contradictions == 0


def test_a_first_snapshot_may_take_longer_than_silence_may_last() -> None:
    """A node makes one of many thousand accounts; afterwards silence counts as of any stream."""
    node = GeneratedNode(generated(60), page_limit=100)
    followed = FollowedChain(walk(of_node(node), node), START)
    (part,) = followed.subscriptions()
    session = followed.follow(part, picture(node).market_ids, NodeDeadlines(silence=1.0))
    session.start(0.0)
    assert not [event for event in session.tick(20.0) if isinstance(event, Reconnect)]
    assert session.next_deadline == 31.0 or session.next_deadline == 15.0
    session.receive(node.snapshot([*node.accounts], [0, 1, 35]), 25.0)
    assert followed.standing(25.0).doubts == ()
    assert [event for event in session.tick(26.5) if isinstance(event, Reconnect)]
    session.start(30.0)
    assert [event for event in session.tick(61.5) if isinstance(event, Reconnect)]


def test_subscriptions_divide_all_accounts_once_and_name_a_quiet_book() -> None:
    """All prices come once; no request asks for the orders of every market."""
    node = GeneratedNode(generated(250), page_limit=100)
    whole = walk(of_node(node), node)
    followed = FollowedChain(whole, START)
    parts = followed.subscriptions(100)
    assert [len(part.accounts) for part in parts] == [100, 100, 50]
    assert {name for part in parts for name in part.accounts} == set(node.accounts)
    assert [part.prices is None for part in parts] == [True, False, False]
    assert {part.order_books for part in parts} == {("BOME-USD",)}
    for part in parts:
        followed.follow(part, picture(node).market_ids)
    assert followed.subscriptions(100) == []
    node.block({("dydx1late", 0): Account(1)})
    walk(whole, node)
    (late,) = followed.subscriptions(100)
    assert late.accounts == (("dydx1late", 0),)
    assert late.prices is not None
