"""A node's answers at one height, and what a book makes of them (C12, point of sources and basis)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from node_answers import ADDRESS, HEIGHT, account, answers, leverage, picture

from dydx_perf import Book, Chain, InputError, Market, Position, Subaccount, UnknownMarketError
from dydx_perf.feeds.node import Gate, NodePicture
from dydx_perf.feeds.node_queries import fund_address, queries
from dydx_perf.parameters import EquityTier, FeeTier, RateLimit

ALICE, BOB = (ADDRESS, 0), (ADDRESS, 7)
ALICE_HOLDS = account(*ALICE, -2_104_651_550, {1: (1_000_000_000, -1_300_000), 0: (-(10**8), 9_000_000)})


def book_of(chain: Chain, **room: int) -> Book:
    return Book(chain, max_subaccounts=4, max_positions=40, **room)


# -- what to ask


def test_queries_name_everything_that_chain_exact_risk_needs() -> None:
    """Markets once, each account twice, parameters and pools on request."""
    asked = queries([ALICE, BOB], parameters=True, pools=[(0, False), (1, False), (35, True)])
    names = [query.name for query in asked]
    assert names[:4] == ["perpetuals", "liquidity_tiers", "market_prices", "clob_pairs"]
    assert names[4:8] == ["subaccount", "leverage"] * 2
    assert names.count("gate") == 3
    assert [query.subject for query in asked if query.name == "fund"] == [
        ("insurance_fund",),
        ("insurance_fund:35",),
    ]
    assert {"perpetuals_params", "liquidations_config", "equity_tiers", "fee_tiers", "version"} < set(names)
    assert queries(markets=False) == ()


def test_paths_of_the_rest_gateway_name_the_same() -> None:
    """As its reference has them."""
    paths = {query.name: query.path for query in queries([BOB], pools=[(0, False)])}
    assert paths["subaccount"] == f"/dydxprotocol/subaccounts/subaccount/{ADDRESS}/7"
    assert paths["leverage"] == f"/dydxprotocol/clob/leverage/{ADDRESS}/7"
    assert paths["perpetuals"] == "/dydxprotocol/perpetuals/perpetual?pagination.limit=1000"
    assert paths["fund"].startswith(
        f"/cosmos/bank/v1beta1/balances/{fund_address('insurance_fund')}/by_denom"
    )
    assert "ibc%2F8E27" in paths["fund"]


def test_the_address_of_an_insurance_fund_is_made_of_its_name() -> None:
    """The cross fund's is published."""
    assert fund_address("insurance_fund") == "dydx1c7ptc87hkd54e3r7zjy92q29xkq7t79w64slrq"
    assert fund_address("insurance_fund:35") != fund_address("insurance_fund:36")


# -- what came


def test_a_picture_makes_a_chain_of_the_nodes_own_numbers() -> None:
    """Basis "chain", at the height of the answers."""
    chain = picture().chain()
    assert (chain.height, chain.basis, chain.tickers) == (HEIGHT, "chain", ("BTC-USD", "ETH-USD", "BOME-USD"))
    eth = chain["ETH-USD"]
    assert (eth.funding_index, eth.open_interest) == (-1_234_567, 7_453_128_000_000)
    assert (eth.oracle_price.integer, eth.price_exponent) == (3_103_400_000, -6)
    assert chain["BOME-USD"].is_isolated
    parameters = chain.parameters
    assert parameters.funding_rate_clamp_factor_ppm == 6_000_001
    assert parameters.liquidations.max_liquidation_fee_ppm == 15_001
    assert parameters.stateful_order_equity_tiers == (EquityTier(0, 0), EquityTier(20_000_000, 10))
    assert parameters.block_rate_limits.short_term_orders_and_cancels == (RateLimit(4000, 5),)
    assert parameters.fee_tiers == (FeeTier("1", 0, 0, 0, -110, 500),)


def test_an_account_has_its_own_funding_indices_and_the_leverage_that_it_chose() -> None:
    """So its risk is the chain's, unsettled funding and all."""
    found = picture({ALICE: (ALICE_HOLDS, leverage(pair_1=150_000, pair_99=1))})
    chain = found.chain()
    got = found.subaccount(*ALICE, chain)
    wanted = Subaccount(
        chain,
        *ALICE,
        usdc="-2104.651550",
        positions=[
            Position(chain["BTC-USD"], quantums=-(10**8), funding_index=9_000_000),
            Position(chain["ETH-USD"], quantums=10**9, funding_index=-1_300_000),
        ],
        leverage={"ETH-USD": 150_000},
        height=HEIGHT,
        basis="chain",
    )
    assert got.state == wanted.state
    assert (got.risk, got.risk.basis, got.risk.height) == (wanted.risk, "chain", HEIGHT)


@pytest.mark.parametrize("missing", ["perpetuals", "liquidity_tiers", "market_prices", "clob_pairs"])
def test_a_chain_without_one_of_its_sources_is_refused_by_name(missing: str) -> None:
    """Nothing stands in for an answer that has not come."""
    found = NodePicture()
    for query in queries():
        if query.name != missing:
            found.answer(query, answers()[query.name], height=HEIGHT)
    assert found.missing() == (missing,)
    with pytest.raises(InputError, match=missing):
        found.chain()


def test_an_account_without_its_leverage_is_an_estimate() -> None:
    """Its initial margin could be larger than what is known."""
    found = picture({ALICE: (ALICE_HOLDS, None)})
    assert found.missing([ALICE]) == (f"leverage {ADDRESS}/0",)
    assert found.subaccount(*ALICE, found.chain()).risk.basis == "estimate"


def test_answers_that_do_not_tell_their_height_are_an_estimate() -> None:
    """What is of no known block is not the chain's at a height."""
    found = picture({ALICE: (ALICE_HOLDS, leverage())}, height=None)
    chain = found.chain()
    assert (chain.height, chain.basis) == (None, "estimate")
    assert found.subaccount(*ALICE, chain).risk.basis == "estimate"


def test_answers_of_two_heights_are_refused() -> None:
    """And so are answers of which only some tell their height."""
    first, second, *_ = queries()
    found = NodePicture()
    found.answer(first, answers()[first.name], height=HEIGHT)
    for height in (HEIGHT + 1, None):
        with pytest.raises(InputError) as refused:
            found.answer(second, answers()[second.name], height=height)
        assert refused.value.argument == "height"
    assert "liquidity_tiers" in found.missing()
    with pytest.raises(InputError, match=str(HEIGHT)):
        NodePicture(HEIGHT).answer(first, answers()[first.name], height=HEIGHT - 1)


def test_a_nodes_version_is_of_no_height() -> None:
    """It comes with or without one."""
    found = picture()
    version = next(query for query in queries(parameters=True) if query.name == "version")
    found.answer(version, {"application_version": {"version": "9.7.0"}}, height=HEIGHT + 9)
    found.answer(version, {"application_version": {"version": "9.8.0"}})
    assert (found.version, found.height) == ("9.8.0", HEIGHT)


@pytest.mark.parametrize("as_text", [True, False])
def test_pages_are_followed_to_the_last(as_text: bool) -> None:
    """A list is missing until its last page; a page out of turn is refused; the first one starts anew."""
    body = answers()["perpetuals"]["perpetual"]
    query = queries()[0]
    key = b"\x00\x01/+"

    def page(rows: list[Any], next_key: bytes) -> dict[str, Any]:
        text = base64.b64encode(next_key).decode() if next_key else None
        return {"perpetual": rows, "pagination": {"next_key": text if as_text else next_key, "total": "0"}}

    found = NodePicture()
    following = found.answer(query, page(body[:2], key), height=HEIGHT)
    assert following is not None
    assert "pagination.key=AAEvKw%3D%3D" in following.path
    assert key in following.request
    assert "perpetuals" in found.missing()
    with pytest.raises(InputError):
        found.answer(query.after(b"other"), page(body[2:], b""), height=HEIGHT)
    assert found.answer(following, page(body[2:], b""), height=HEIGHT) is None
    for other in queries()[1:]:
        found.answer(other, answers()[other.name], height=HEIGHT)
    assert len(found.chain()) == 3
    found.answer(query, page(body[:1], b""), height=HEIGHT)
    assert found.chain().tickers == ("BTC-USD",)


def test_an_answer_about_another_account_is_refused() -> None:
    """A transport that mixes two up is found out."""
    query = queries([BOB], markets=False)[0]
    with pytest.raises(InputError, match="which was asked for"):
        NodePicture().answer(query, ALICE_HOLDS, height=HEIGHT)


def test_collateral_that_is_not_usdc_is_refused() -> None:
    """The chain takes nothing else."""
    body = account(*ALICE, 5, {})
    body["subaccount"]["asset_positions"][0]["asset_id"] = 3
    found = picture({ALICE: (body, leverage())})
    with pytest.raises(InputError, match="USDC"):
        found.subaccount(*ALICE, found.chain())


def test_gates_funds_and_the_version_are_read() -> None:
    """The gate is shut up to the height that it names."""
    found = NodePicture()
    for query in queries(markets=False, parameters=True, pools=[(0, False)]):
        body = answers(
            fund={
                "balance": {
                    "denom": "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5",
                    "amount": "12345678",
                }
            }
        )
        found.answer(query, body[query.name], height=HEIGHT)
    assert found.gates == {0: Gate(HEIGHT - 10, 0, HEIGHT + 40)}
    assert [found.gates[0].is_blocked(HEIGHT + ahead) for ahead in (0, 39, 40)] == [True, True, False]
    assert found.funds == {"insurance_fund": 12_345_678}
    assert found.version == "9.6.1"


# -- what a book makes of it


def test_a_book_becomes_the_nodes_own() -> None:
    """Markets and accounts at one height: every risk has it, and the basis "chain"."""
    found = picture({ALICE: (ALICE_HOLDS, leverage(pair_1=150_000)), BOB: (account(*BOB, 0, {}), leverage())})
    chain = picture(height=HEIGHT - 100).chain()
    chain["ETH-USD"].set_oracle_price("2000")
    book = book_of(chain)
    book.load([Subaccount(chain, *ALICE, usdc=5, positions={"BOME-USD": "3"}, leverage={"BTC-USD": 900_000})])
    handle = book.handle(ALICE)
    done = found.apply_to(book)
    assert dict(done.accounts) == {ALICE: True, BOB: False}
    assert (done.height, done.new_markets, done.changes, done.refused) == (HEIGHT, (), {}, {})
    assert (done.failures, done.observer_errors) == ({}, ())
    wanted = found.subaccount(*ALICE, found.chain())
    assert (book[ALICE], book[ALICE].basis, book[ALICE].height) == (wanted.risk, "chain", HEIGHT)
    assert book.subaccount(ALICE).state == wanted.state
    assert book.handle(ALICE) == handle
    assert {(one.height, one.basis) for one in chain} == {(HEIGHT, "chain")}


def test_a_crossing_that_the_answers_show_is_returned() -> None:
    """As with any other change of the book."""
    chain = picture().chain()
    book = book_of(chain)
    book.load([Subaccount(chain, *ALICE, usdc=10**6, height=1)])
    (crossing,) = picture({ALICE: (account(*ALICE, -1, {0: (1, 0)}), leverage())}).apply_to(book).crossings
    assert (crossing.address, crossing.below) == (ADDRESS, True)


def test_a_market_that_the_book_lacks_comes_in_while_there_is_room() -> None:
    """A position in a market that is not known leaves the account as it stood, and says so."""
    few = answers()
    del few["perpetuals"]["perpetual"][1:]
    chain = picture(bodies=few).chain()
    found = picture({ALICE: (ALICE_HOLDS, leverage())})
    small = book_of(picture(bodies=few).chain(), max_markets=1)
    done = found.apply_to(small)
    assert set(done.refused) == {"ETH-USD", "BOME-USD"}
    assert isinstance(done.failures[ALICE], UnknownMarketError)
    assert ALICE not in small
    book = book_of(chain)
    done = found.apply_to(book)
    assert done.new_markets == ("ETH-USD", "BOME-USD")
    assert (book[ALICE].basis, book[ALICE].height) == ("chain", HEIGHT)
    assert book[ALICE] == found.subaccount(*ALICE, found.chain()).risk


def test_changed_parameters_are_told_and_those_of_the_tier_hold() -> None:
    """What an operator should hear of."""
    chain = picture().chain()
    book = book_of(chain)
    changed = answers()
    changed["liquidity_tiers"]["liquidity_tiers"][1]["initial_margin_ppm"] = 200_000
    changed["perpetuals"]["perpetual"][2]["params"]["market_type"] = "PERPETUAL_MARKET_TYPE_CROSS"
    changed["clob_pairs"]["clob_pair"][0]["status"] = "STATUS_FINAL_SETTLEMENT"
    done = picture(bodies=changed, height=HEIGHT + 1).apply_to(book)
    assert {ticker: dict(changes) for ticker, changes in done.changes.items()} == {
        "ETH-USD": {"initial_margin_ppm": (100_000, 200_000)},
        "BOME-USD": {"is_isolated": (True, False)},
        "BTC-USD": {"status": ("ACTIVE", "FINAL_SETTLEMENT")},
    }
    assert chain["ETH-USD"].initial_margin_ppm == 200_000


def test_a_price_that_the_book_has_from_a_later_block_is_kept() -> None:
    """The answers are older than what the stream has brought meanwhile."""
    chain = picture().chain()
    book = book_of(chain)
    book.apply_block(price_integers={"ETH-USD": 77, "BTC-USD": 88}, height=HEIGHT + 1)
    picture().apply_to(book, newer_prices={"ETH-USD": HEIGHT + 1, "BTC-USD": HEIGHT})
    assert (chain["ETH-USD"].oracle_price.integer, chain["ETH-USD"].height) == (77, HEIGHT)
    assert chain["BTC-USD"].oracle_price.integer == 8_993_152_000


def other_exponent(exponent: int, price: str) -> Chain:
    """The same BTC-USD with its price in other units, as a guess may have it."""
    btc = picture().chain()["BTC-USD"]
    return Chain(
        [
            Market(
                "BTC-USD",
                perpetual_id=0,
                atomic_resolution=-10,
                price_exponent=exponent,
                oracle_price=price,
                initial_margin_ppm=btc.initial_margin_ppm,
                maintenance_fraction_ppm=btc.maintenance_fraction_ppm,
                status=btc.status,
            )
        ]
    )


def test_a_price_in_other_units_is_the_same_price_or_is_refused() -> None:
    """The node is right about the exponent; nothing is rounded into the book's."""
    finer = other_exponent(-7, "1")
    done = picture().apply_to(book_of(finer))
    assert finer["BTC-USD"].oracle_price.decimal == picture().chain()["BTC-USD"].oracle_price.decimal
    assert done.changes["BTC-USD"]["price_exponent"] == (-7, -5)
    assert "BTC-USD" not in done.refused
    coarser = other_exponent(0, "1")
    bodies = answers()
    bodies["market_prices"]["market_prices"][0]["price"] = "8993152001"
    done = picture(bodies=bodies).apply_to(book_of(coarser))
    assert "exponent" in done.refused["BTC-USD"]
    assert coarser["BTC-USD"].oracle_price.decimal == 1
    assert coarser["BTC-USD"].height is None


def test_another_perpetual_by_the_same_name_is_not_touched() -> None:
    """Nor one in other units of size."""
    chain = Chain(
        [
            Market(
                "BTC-USD",
                perpetual_id=5,
                atomic_resolution=-10,
                price_exponent=-5,
                oracle_price="7",
                initial_margin_ppm=1,
                maintenance_fraction_ppm=1,
            )
        ]
    )
    done = picture().apply_to(book_of(chain))
    assert "another perpetual" in done.refused["BTC-USD"]
    assert chain["BTC-USD"].oracle_price.decimal == 7


def test_accounts_alone_can_be_brought_up() -> None:
    """Without the markets' answers their numbers stay as they are, and so does the weakest basis."""
    chain = Chain.sample("v9")
    found = picture({BOB: (account(*BOB, 10, {}), leverage())}, markets=False)
    book = book_of(chain)
    done = found.apply_to(book)
    assert dict(done.accounts) == {BOB: True}
    assert book[BOB].nc == 10


WRONG = {
    "perpetuals": [{"perpetual": "BTC-USD"}, {"perpetual": [], "pagination": {"next_key": "*"}}, "text", 7],
    "subaccount": [{"subaccount": {"id": {"owner": 3}}}, {}, [], {"subaccount": {"id": {"owner": ADDRESS}}}],
    "gate": [{"chain_outage_seen_at_block": "soon"}, 5],
    "fund": [{"balance": {"denom": "adydx", "amount": "5"}}, {"balance": {"denom": 1}}],
    "version": [{"application_version": {}}, {}],
}


@pytest.mark.parametrize(
    ("name", "body"), [(name, body) for name, bodies in WRONG.items() for body in bodies]
)
def test_what_is_no_answer_is_refused_when_it_comes(name: str, body: Any) -> None:
    """By the path of the field; the picture stays as it was."""
    asked = queries([BOB], parameters=True, pools=[(0, False)])
    query = next(query for query in asked if query.name == name)
    found = NodePicture()
    with pytest.raises(InputError):
        found.answer(query, body, height=HEIGHT)
    assert found.height is None
    assert (found.gates, found.funds, found.version, found.accounts) == ({}, {}, None, ())


def test_only_queries_are_answered() -> None:
    """A name is none."""
    with pytest.raises(InputError):
        NodePicture().answer("perpetuals", {})  # type: ignore[arg-type]
