"""Order books with their prices: exact, named for what they are, refused when not whole (C8, A8)."""

from __future__ import annotations

import gzip
import json
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from test_depth import PlainDepth, pairs

from dydx_perf import Chain, Market
from dydx_perf.errors import ChainError, InputError, StaleError
from dydx_perf.ext.depth import Depth
from dydx_perf.ext.order_queue import OrderQueues
from dydx_perf.orderbook import (
    BookLevel,
    DepthTo,
    OrderBook,
    OrderKey,
    OrderQueueBook,
    QueuePlace,
    RestingOrder,
)
from dydx_perf.verify import shipped_vectors

OWNER = "dydx1" + "q" * 38


def market(**values: Any) -> Market:
    """Ether at 1,000 USDC: a subtick is 10**-6 USDC, a tick 0.1, a base quantum 10**-9 ether."""
    given: dict[str, Any] = {
        "perpetual_id": 1, "atomic_resolution": -9, "price_exponent": -6, "oracle_price": "1000",
        "initial_margin_ppm": 20_000, "maintenance_fraction_ppm": 600_000, "step_base_quantums": 1_000_000,
        "subticks_per_tick": 100_000, "impact_notional": 2_500_000_000,
    }  # fmt: skip
    return Market("ETH-USD", **{**given, **values})


BIDS, ASKS = [("999.9", "1"), ("999.5", "2"), ("990", "10")], [("1000.2", "1.5"), ("1001", "4")]


def book(**values: Any) -> OrderBook:
    of = OrderBook(market(**values), max_levels=8)
    assert of.replace(BIDS, ASKS, time=100.0)
    return of


def queue_book(**values: Any) -> OrderQueueBook:
    """The same levels, an order each, but two at the best bid."""
    of = OrderQueueBook(market(**values), max_orders=16)
    of.begin_snapshot(time=100.0, height=7)
    bids = [("999.9", "0.4"), ("999.9", "0.6"), *BIDS[1:]]
    for place, (is_bid, (price, size)) in enumerate([(True, b) for b in bids] + [(False, a) for a in ASKS]):
        assert of.place(
            OrderKey(OWNER, 0, place, 64, 1),
            "bid" if is_bid else "ask",
            subticks=int(Decimal(price) * 10**6),
            quantums=int(Decimal(size) * 10**9),
        )
    return of


BOTH = pytest.mark.parametrize("make", [book, queue_book])


@BOTH
def test_best_mid_spread_levels_and_depth_by_hand(make: Any) -> None:
    of = make()
    bid, ask = of.best_bid, of.best_ask
    assert bid == BookLevel(Decimal("999.9"), Decimal(1), 999_900_000, 1_000_000_000)
    assert ask == BookLevel(Decimal("1000.2"), Decimal("1.5"), 1_000_200_000, 1_500_000_000)
    assert (of.spread, of.mid_price) == (Decimal("0.3"), Decimal("1000.05"))
    assert [(str(level.price.normalize()), str(level.size.normalize())) for level in of.bids()] == [
        ("999.9", "1"), ("999.5", "2"), ("9.9E+2", "1E+1"),
    ]  # fmt: skip
    assert [level.price for level in of.asks(1)] == [Decimal("1000.2")]
    subticks, sizes, sums = of.arrays("bid")
    assert subticks.tolist() == [999_900_000, 999_500_000, 990_000_000]
    assert sizes.tolist() == [10**9, 2 * 10**9, 10 * 10**9]
    assert sums.tolist() == [10**9, 3 * 10**9, 13 * 10**9]
    assert of.depth_to("bid", "999.5") == DepthTo(Decimal(3), Decimal("2998.9"))
    assert of.depth_to("ask", "1000.95") == DepthTo(Decimal("1.5"), Decimal("1500.3"))
    assert of.depth_to("ask", "1000.1") == DepthTo(Decimal(0), Decimal(0))


@BOTH
def test_impact_prices_by_hand(make: Any) -> None:
    """2,500 USDC sell 1 at 999.9 and 1500.1/1999 of 2 at 999.5; they buy 1.5 and 999.7/4004 of 4 at 1001."""
    of = make()
    bid, ask = of.impact_price("bid"), of.impact_price("ask")
    sold = 1_000_000_000 + -(-1_500_100_000 * 2_000_000_000 // 1_999_000_000)
    bought = 1_500_000_000 + -(-999_700_000 * 4_000_000_000 // 4_004_000_000)
    assert bid.price == Fraction(2_500 * 10**9, sold)
    assert ask.price == Fraction(2_500 * 10**9, bought)
    assert bid.subticks == bid.price * 10**6
    assert (bid.impact_notional, ask.impact_notional) == (2_500_000_000, 2_500_000_000)
    assert of.impact_price("bid", 1_000_000_000_000) is None
    assert (
        of.impact_price("ask", 1).price == Fraction("1000.2") * Fraction(1, 1000) / Fraction("1.0002") * 1000
    )


@BOTH
def test_a_mark_price_is_an_estimate_beside_the_index(make: Any) -> None:
    of = make(oracle_price="1001")
    mark = of.mark_price()
    assert (mark.kind, mark.basis, mark.price) == ("book mid", "estimate", Fraction("1000.05"))
    assert mark.index_price == Decimal(1001)
    assert mark.premium == Fraction("1000.05") / 1001 - 1
    assert mark.premium_ppm == -949  # toward zero: -949.05
    assert (mark.time, mark.height) == (100.0, None if make is book else 7)
    assert mark.integer(-6) == 1_000_050_000
    assert mark.integer(-1) == 10_000  # 10000.5, the even one
    impact = of.mark_price("impact mid")
    assert impact.kind == "impact mid"
    assert impact.price == (of.impact_price("bid").price + of.impact_price("ask").price) / 2
    assert of.mark_price("impact mid", impact_notional=10**13) is None
    assert of.basis == "estimate"


def test_the_premium_vote_is_that_of_the_chains_rules() -> None:
    """Within the spread zero; past a side its impact price over the index, toward zero, clamped."""
    assert [make().premium_vote_ppm() for make in (book, queue_book)] == [0, 0]
    for make in (book, queue_book):
        below = make(oracle_price="998")
        impact = below.impact_price("bid")
        assert impact is not None
        assert below.premium_vote_ppm() == int((impact.price / 998 - 1) * 1_000_000) == 1663
        above = make(oracle_price="1003")
        impact = above.impact_price("ask")
        assert impact is not None
        assert above.premium_vote_ppm() == int((impact.price / 1003 - 1) * 1_000_000) == -2472
        assert above.premium_vote_ppm(premium_vote_clamp_factor_ppm=200_000) == -1600
        assert above.premium_vote_ppm(10**13) == 0


@BOTH
def test_an_empty_side_has_no_price(make: Any) -> None:
    of = make()
    if isinstance(of, OrderBook):
        of.replace(BIDS, [], time=101.0)
    else:
        for place in (4, 5):
            of.remove(OrderKey(OWNER, 0, place, 64, 1))
    assert of.best_ask is None
    assert (of.spread, of.mid_price, of.mark_price(), of.mark_price("impact mid")) == (None, None, None, None)
    assert of.impact_price("ask") is None
    assert of.asks() == []
    assert of.depth_to("ask", "2000") == DepthTo(Decimal(0), Decimal(0))


READERS = {
    "best_bid": lambda of: of.best_bid,
    "best_ask": lambda of: of.best_ask,
    "spread": lambda of: of.spread,
    "mid_price": lambda of: of.mid_price,
    "bids": lambda of: of.bids(),
    "asks": lambda of: of.asks(),
    "arrays": lambda of: of.arrays("bid"),
    "depth_to": lambda of: of.depth_to("bid", "999"),
    "impact_price": lambda of: of.impact_price("ask"),
    "mark_price": lambda of: of.mark_price(),
    "premium_vote_ppm": lambda of: of.premium_vote_ppm(),
    "require": lambda of: of.require(),
}
QUEUE_READERS = {
    "is_crossed": lambda of: of.is_crossed,
    "order": lambda of: of.order(OrderKey(OWNER, 0, 0, 64, 1)),
    "place_in_queue": lambda of: of.place_in_queue(OrderKey(OWNER, 0, 0, 64, 1)),
    "queue": lambda of: of.queue("bid", "999.9"),
    "orders_of": lambda of: of.orders_of("somebody else"),
}


@pytest.mark.parametrize(
    ("name", "make"),
    [(name, make) for make in (book, queue_book) for name in READERS]
    + [(name, queue_book) for name in QUEUE_READERS],
)
def test_every_figure_is_refused_while_the_book_is_not_whole(name: str, make: Any) -> None:
    """After a gap, before the first snapshot, and past the room; the reason is said."""
    read = {**READERS, **QUEUE_READERS}[name]
    of = make()
    read(of)
    of.mark_gap()
    with pytest.raises(
        StaleError, match="ETH-USD is not whole: messages were lost; a new snapshot is awaited"
    ):
        read(of)
    assert of.not_whole == ("gap",)
    of.clear()
    with pytest.raises(StaleError, match="no snapshot has come yet"):
        read(of)
    if isinstance(of, OrderBook):
        assert not of.replace([(str(n), "1") for n in range(900, 909)], [], time=1.0)
    else:
        of.begin_snapshot(time=1.0)
        for n in range(17):
            of.place(OrderKey(OWNER, 0, n, 64, 1), "bid", subticks=900, quantums=1)
    with pytest.raises(StaleError, match="it has no room for all of it"):
        read(of)


@BOTH
def test_a_book_older_than_asked_is_refused(make: Any) -> None:
    of = make()
    assert of.age(103.5) == 3.5
    of.require(now=103.5, max_age=3.5)
    assert of.mark_price(now=103.5, max_age=3.5) is not None
    with pytest.raises(StaleError, match=r"is 3\.5 s old, more than 3 s"):
        of.require(now=103.5, max_age=3)
    with pytest.raises(StaleError, match="old"):
        of.mark_price(now=103.5, max_age=3)
    with pytest.raises(InputError, match="together"):
        of.require(now=1.0)


@BOTH
@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda of: of.depth_to("buy", "1"), "side"),
        (lambda of: of.depth_to("bid", 999.5), "price"),
        (lambda of: of.depth_to("bid", "0"), "price"),
        (lambda of: of.depth_to("bid", "999.1234567"), "price"),
        (lambda of: of.arrays(None), "side"),
        (lambda of: of.bids(-1), "count"),
        (lambda of: of.impact_price("bid", -1), "impact_notional"),
        (lambda of: of.impact_price("bid", 2**64), "impact_notional"),
        (lambda of: of.impact_price("bid", 1.5), "impact_notional"),
        (lambda of: of.mark_price("last trade"), "kind"),
        (lambda of: of.mark_price().integer(1.5), "price_exponent"),
        (lambda of: of.premium_vote_ppm(0), "impact_notional"),
        (lambda of: type(of)("ETH-USD"), "market"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, call: Any, argument: str) -> None:
    with pytest.raises(InputError) as refused:
        call(make())
    assert refused.value.argument == argument


def test_a_market_without_its_tiers_impact_notional_says_so() -> None:
    """The indexer does not publish it."""
    of = book(impact_notional=0)
    with pytest.raises(InputError, match="the market does not tell that of its liquidity tier"):
        of.impact_price("bid")
    assert of.impact_price("bid", 1_000_000) is not None


@pytest.mark.parametrize(
    "levels",
    [
        ([("999.1234567", "1")], []), ([("999", "1e-10")], []), ([("-1", "1")], []), ([("0", "1")], []),
        ([], [("1000", "-1")]), ([], [("1000", "1"), ("nan", "1")]), ([(999.5, "1")], []),
        ([("9e12", "1e12")], []), ([("1", "1"), ("9223372036854.775808", "1")], []),
        ([("1", "1"), ("2", "9223372036.854775808")], []),
    ],
)  # fmt: skip
def test_a_snapshot_with_what_is_no_level_changes_nothing(levels: Any) -> None:
    of = book()
    with pytest.raises(InputError):
        of.replace(*levels, time=101.0)
    assert (of.time, of.not_whole, len(of.bids()), len(of.asks())) == (100.0, (), 3, 2)


def test_levels_change_cross_and_come_back() -> None:
    of = book()
    of.next_arrival(time=101.0)
    assert of.set_level("bid", "1000.5", "0.3")
    assert (of.mid_price, of.hidden_levels) == (Decimal("1000.75"), 1)
    assert (str(of), of.time) == ("OrderBook(ETH-USD 4 bids, 2 asks, whole)", 101.0)
    of.next_arrival(time=102.0)
    assert of.set_level("ask", "1000.2", "1")
    assert (of.mid_price, of.hidden_levels) == (Decimal("1000.05"), 1)
    assert of.set_level("bid", "1000.5", 0)
    assert of.hidden_levels == 0
    assert of.height is None
    assert of.memory == of.levels.nbytes == 2 * 8 * 24
    of.mark_gap()
    assert str(of) == "OrderBook(ETH-USD 3 bids, 2 asks, not whole: gap)"
    assert of.market.ticker == "ETH-USD"


def test_orders_stand_in_line() -> None:
    of = queue_book()
    first, second = (OrderKey(OWNER, 0, place, 64, 1) for place in (0, 1))
    assert of.place_in_queue(second) == QueuePlace(1, Decimal("0.4"))
    assert of.set_filled(first, 100_000_000)
    found = of.order(first)
    price, size, filled = Decimal("999.9"), Decimal("0.4"), Decimal("0.1")
    assert found == RestingOrder(first, "bid", price, size, filled, Decimal("0.3"), 1)
    assert [order.key for order in of.queue("bid", "999.9")] == [first, second]
    assert of.place_in_queue(second) == QueuePlace(1, Decimal("0.3"))
    of.next_arrival(time=101.0, height=8)
    assert of.replace(first, OrderKey(OWNER, 1, 0, 0, 1), "bid", subticks=999_900_000, quantums=10**9)
    assert of.place_in_queue(second) == QueuePlace(0, Decimal(0))
    assert [(order.key.number, order.left, order.arrival) for order in of.orders_of(OWNER, 1)] == [(1, 1, 2)]
    assert [order.side for order in of.orders_of(OWNER)] == ["bid", "bid", "bid", "ask", "ask"]
    assert of.order(first) is of.place_in_queue(first) is None
    assert not of.remove(first)
    assert (of.height, len(of), str(of)) == (8, 6, "OrderQueueBook(ETH-USD 6 orders, whole)")
    assert of.memory == of.queues.nbytes


def test_a_crossed_book_of_a_node_has_no_mid_and_no_vote() -> None:
    """Only the indexer's has a rule for it."""
    of = queue_book()
    assert not of.is_crossed
    of.place(OrderKey(OWNER, 0, 9, 64, 1), "bid", subticks=1_000_200_000, quantums=10**9)
    assert of.is_crossed
    assert (of.mid_price, of.mark_price(), of.mark_price("impact mid")) == (None, None, None)
    assert of.spread == 0
    with pytest.raises(ChainError, match="crossing"):
        of.premium_vote_ppm()


def test_values_past_128_bits_are_left_to_plain_integers() -> None:
    """At a conversion exponent of 12 a subtick is worth much; the price is exact all the same."""
    of = OrderBook(market(quantum_conversion_exponent=12, atomic_resolution=9, impact_notional=10**19))
    of.levels.replace([], [(2**62, 2**62)], 1.0)
    assert of.levels.impact_base(False, 10**19, 12) is None
    found = of.impact_price("ask")
    assert found is not None
    assert found.subticks == Fraction(10**19, 10**12)
    assert of.impact_price("ask", 2**64 - 1) is not None
    assert of.impact_price("bid") is None


VECTORS = [
    row
    for line in gzip.decompress(
        (Path(str(shipped_vectors())) / "price_premium.jsonl.gz").read_bytes()
    ).splitlines()
    if (row := json.loads(line))["fn"] == "get_price_premium"
]


def test_the_kernels_give_the_impact_prices_of_the_chains_vectors() -> None:
    """Order by order, and by level wherever no price has two; without those that are not collateralized."""
    checked = by_level = 0
    for row in VECTORS:
        given, out = row["in"], row["out"]
        notional, exponent = (
            int(given["impact_notional_quote_quantums"]),
            given["quantum_conversion_exponent"],
        )
        orders = [
            (one["is_buy"], int(one["subticks"]), int(one["remaining_base_quantums"]))
            for one in given["orders"]
            if one["is_collateralized"]
        ]
        if not 0 < notional < 2**64 or any(max(order) >= 2**63 or order[1] < 1 for order in orders):
            continue
        queues, depth = OrderQueues(4096), Depth(4096)
        for place, order in enumerate(orders):
            assert queues.place((OWNER, 0, place, 0, 0), *order)
        alone = len({order[:2] for order in orders}) == len(orders)
        depth.replace([o[1:] for o in orders if o[0]], [o[1:] for o in orders if not o[0]], 0.0)
        for is_bid, name in ((True, "impact_bid"), (False, "impact_ask")):
            expected = out[name]
            bases = [queues.impact_base(is_bid, notional, exponent)]
            if alone and depth.hidden() == (0, 0):
                by_level += 1
                bases.append(depth.impact_base(is_bid, notional, exponent))
            for base in bases:
                assert base is not None
                assert (base > 0) == expected["has_enough_liquidity"]
                if base:
                    subticks = Fraction(notional, base) / Fraction(10) ** exponent
                    given_out = expected["subticks"]
                    assert subticks == Fraction(int(given_out["num"]), int(given_out["den"]))
        checked += 1
    assert checked > 80
    assert by_level > 20


def shared_samples() -> Path | None:
    """Find the recorded samples, beside the repository or where told."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = (Path(told) if told else Path(__file__).resolve().parents[2] / "shared") / "samples"
    return folder if (folder / "markets.json").is_file() else None


SAMPLES = shared_samples()

if SAMPLES is not None:
    RECORDED = SAMPLES / "ws" / "recorded"

    def snapshot(name: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        contents = json.loads((RECORDED / name).read_text("utf-8"))["contents"]
        bids, asks = ([(one["price"], one["size"]) for one in contents[side]] for side in ("bids", "asks"))
        return bids, asks

    def test_the_recorded_book_stays_consistent_batch_after_batch() -> None:
        """The stored levels are those of a dictionary; what is read never crosses; the mid hardly moves."""
        of = OrderBook(Chain.sample("v9")["ETH-USD"])
        plain = PlainDepth(4096)
        bids, asks = snapshot("v4_orderbook.subscribed.ETH-USD.json")
        assert of.replace(bids, asks, time=0.0)
        assert plain.replace([of.read_level(*one) for one in bids], [of.read_level(*one) for one in asks])
        assert (len(bids), len(asks), of.hidden_levels) == (335, 355, 0)
        batches = (RECORDED / "v4_orderbook.channel_batch_data.ETH-USD.jsonl").read_text("utf-8").splitlines()
        crossed = 0
        for number, batch in enumerate(batches):
            for element in json.loads(batch)["contents"]:
                of.next_arrival(time=float(number))
                plain.arrival += 1
                for is_bid, side in ((True, "bids"), (False, "asks")):
                    for price, size in element.get(side, ()):
                        assert of.set_level("bid" if is_bid else "ask", price, size)
                        plain.set_level(is_bid, *of.read_level(price, size))
                view = plain.uncrossed()
                for is_bid in (True, False):
                    assert pairs(of.levels.stored(is_bid)) == plain.stored(is_bid)
                    assert pairs(of.levels.levels(is_bid)) == view[is_bid]
                assert of.spread is not None
                assert of.spread > 0
                crossed += of.hidden_levels > 0
                assert of.mid_price is not None
                assert Decimal(1570) < of.mid_price < Decimal(1585)
        assert len(batches) == 8
        assert crossed > 0

    def test_the_book_recorded_while_the_chain_was_halted_is_sparse_and_wide() -> None:
        of = OrderBook(Chain.sample("v9")["ETH-USD"])
        bids, asks = snapshot("v4_orderbook.subscribed.halted_chain.json")
        assert of.replace(bids, asks, time=0.0)
        assert of.best_bid is not None
        assert of.best_bid.price == Decimal(1619)
        assert (len(of.bids()), len(of.asks())) == (len(bids), len(asks))
        assert of.spread is not None
        assert of.spread > 10
