"""Questions to the indexer's REST are checked, answers exact, errors told apart, limits kept (C2, C15)."""

import json
import random
from collections import deque
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import FrameError, GapError, InputError, VenueError
from dydx_perf.feeds import rest, rest_paths
from dydx_perf.feeds.rest import answer
from dydx_perf.feeds.rest_budget import RateLimit, RestBudget, bucket_of
from dydx_perf.feeds.rest_walk import fills_walk, transfers_walk

OWNER = "dydx1c7ptc87hkd54e3r7zjy92q29xkq7t79w64slrq"
TIME = "2026-01-31T12:00:00.000Z"

# ---- paths


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (rest_paths.address_path(OWNER), f"/addresses/{OWNER}"),
        (rest_paths.subaccount_path(OWNER, 128_000), f"/addresses/{OWNER}/subaccountNumber/128000"),
        (
            rest_paths.subaccount_path(OWNER, 127, parent=True),
            f"/addresses/{OWNER}/parentSubaccountNumber/127",
        ),
        (rest_paths.perpetual_markets_path(), "/perpetualMarkets"),
        (rest_paths.perpetual_markets_path("BTC-USD", limit=1), "/perpetualMarkets?ticker=BTC-USD&limit=1"),
        (rest_paths.height_path(), "/height"),
        (rest_paths.time_path(), "/time"),
        (rest_paths.orderbook_path("A,B/C D-USD"), "/orderbooks/perpetualMarket/A%2CB%2FC%20D-USD"),
        (
            rest_paths.orders_path(
                OWNER, 0, statuses=["OPEN", "UNTRIGGERED"], side="BUY", latest_first=False
            ),
            (
                f"/orders?address={OWNER}&subaccountNumber=0&status=OPEN,UNTRIGGERED&side=BUY"
                "&returnLatestOrders=false"
            ),
        ),
        (
            rest_paths.orders_path(OWNER, 5, parent=True, ticker="ETH-USD", good_til_block_after=7, limit=9),
            (
                f"/orders/parentSubaccountNumber?address={OWNER}&parentSubaccountNumber=5&ticker=ETH-USD&limit=9"
                "&goodTilBlockAfter=7"
            ),
        ),
        (
            rest_paths.fills_path(OWNER, 0, ticker="BTC-USD", created_before_or_at=TIME, page=2),
            (
                f"/fills?address={OWNER}&subaccountNumber=0&market=BTC-USD&marketType=PERPETUAL"
                "&createdBeforeOrAt=2026-01-31T12%3A00%3A00.000Z&page=2"
            ),
        ),
        (
            rest_paths.transfers_path(OWNER, 3, parent=True, created_before_or_at_height=8),
            (
                f"/transfers/parentSubaccountNumber?address={OWNER}&parentSubaccountNumber=3"
                "&createdBeforeOrAtHeight=8"
            ),
        ),
        (
            rest_paths.funding_payments_path(OWNER, 3, parent=True, created_on_or_after=TIME),
            (
                f"/fundingPayments/parentSubaccount?address={OWNER}&parentSubaccountNumber=3"
                "&createdOnOrAfter=2026-01-31T12%3A00%3A00.000Z"
            ),
        ),
        (
            rest_paths.historical_funding_path("BTC-USD", effective_before_or_at_height=4),
            "/historicalFunding/BTC-USD?effectiveBeforeOrAtHeight=4",
        ),
        (
            rest_paths.candles_path("BTC-USD", "1MIN", from_time=TIME, limit=10),
            "/candles/perpetualMarkets/BTC-USD?resolution=1MIN&limit=10&fromISO=2026-01-31T12%3A00%3A00.000Z",
        ),
        (rest_paths.trades_path("BTC-USD", limit=5), "/trades/perpetualMarket/BTC-USD?limit=5"),
    ],
)
def test_a_path_has_just_what_was_asked(made, path):
    assert made == path


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: rest_paths.address_path(OWNER[:-1] + "x"), "address"),
        (lambda: rest_paths.subaccount_path(OWNER, 128_001), "number"),
        (lambda: rest_paths.subaccount_path(OWNER, 128, parent=True), "number"),
        (lambda: rest_paths.subaccount_path(OWNER, True), "number"),
        (lambda: rest_paths.orders_path(OWNER, 0, statuses=["OPENED"]), "statuses"),
        (lambda: rest_paths.orders_path(OWNER, 0, side="LONG"), "side"),
        (lambda: rest_paths.orders_path(OWNER, 0, limit=1001), "limit"),
        (lambda: rest_paths.fills_path(OWNER, 0, page=0), "page"),
        (lambda: rest_paths.fills_path(OWNER, 0, created_before_or_at="yesterday"), "created_before_or_at"),
        (lambda: rest_paths.fills_path(OWNER, 0, created_before_or_at=5), "created_before_or_at"),
        (
            lambda: rest_paths.transfers_path(OWNER, 0, created_before_or_at_height=-1),
            "created_before_or_at_height",
        ),
        (lambda: rest_paths.candles_path("BTC-USD", "2MIN"), "resolution"),
        (lambda: rest_paths.orderbook_path(""), "ticker"),
        (lambda: rest_paths.orderbook_path(5), "ticker"),
        (lambda: list(rest_paths.open_order_paths([(OWNER, -1)])), "number"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(make, argument):
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.argument == argument


def test_open_orders_of_children_share_a_path():
    other = "dydx1vvjr376v4hfpy5r6m3dmu4u3mu6yl6sjds3gz8"
    paths = rest_paths.open_order_paths([(OWNER, 0), (OWNER, 128), (other, 0), (OWNER, 1), (OWNER, 256)])
    assert list(paths.values()) == [[(OWNER, 0), (OWNER, 128), (OWNER, 256)], [(other, 0)], [(OWNER, 1)]]
    assert next(iter(paths)) == (
        f"/orders/parentSubaccountNumber?address={OWNER}&parentSubaccountNumber=0"
        "&status=OPEN,UNTRIGGERED,BEST_EFFORT_OPENED&limit=1000"
    )


# ---- answers and errors


def told(status: int, body: Any, headers: dict[str, str] | None = None) -> VenueError:
    with pytest.raises(VenueError) as refused:
        answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
    assert refused.value.status == status
    return refused.value


def test_what_is_not_known_is_no_error_and_a_wrong_path_is():
    assert (
        answer(404, b'{"errors":[{"msg":"No subaccount found with address dydx1 and subaccountNumber 7"}]}')
        is None
    )
    assert told(404, {"error": "Not Found", "errorCode": 404}).message == "Not Found"
    assert told(404, b"<html>").message == "an answer without words"


def test_each_refusal_says_what_the_venue_said():
    wrong = {
        "errors": [
            {"msg": "limit must be at most 1000", "param": "limit", "location": "query", "value": 5000},
            {"msg": "and more"},
        ]
    }
    error = told(400, wrong)
    assert (str(error), error.code, error.is_temporary) == (
        "400: limit: limit must be at most 1000; and more",
        None,
        False,
    )
    for code in ("GEOBLOCKED", "COMPLIANCE_BLOCKED"):
        error = told(403, {"errors": [{"msg": "blocked", "code": code}]})
        assert (error.message, error.code, error.is_temporary) == ("blocked", code, False)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after"])
def test_a_429_says_how_long_to_wait_and_means_milliseconds(name):
    body = {"errors": [{"msg": "Too many requests"}]}
    error = told(429, body, {"RateLimit-Limit": "100", name: "4321"})
    assert (error.message, error.retry_after, error.is_temporary) == ("Too many requests", 4.321, True)
    for headers in (None, {}, {name: "soon"}, {name: "-1"}):
        assert told(429, body, headers).retry_after is None
    assert told(503, body, {name: "4321"}).retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>bad gateway</html>",
        b"",
        b"\xff",
        b"[]",
        b'{"errors":7}',
        b'{"errors":["x"]}',
        b"5",
        b"{" * 10**5,
    ],
)
def test_a_fault_of_the_proxy_is_an_error_whatever_its_body(body):
    error = told(502, body)
    assert error.is_temporary
    assert error.message in ("an answer without words", "")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", 0),
        (b'{"a":1', 6),
        ('{"ö":x}'.encode(), 6),
        (b"NaN", None),
        (b"[\xff\xfe", 1),
        (b"[" * 10**5, None),
    ],
)
def test_an_answer_that_is_no_json_says_where(body, place):
    with pytest.raises(FrameError) as refused:
        answer(200, body)
    assert refused.value.place == place


@given(st.binary(max_size=60), st.sampled_from([200, 204, 302, 400, 403, 404, 429, 500]))
def test_any_bytes_are_an_answer_or_an_error_of_ours(body, status):
    with suppress(FrameError, VenueError):
        answer(status, body)


# ---- rows

ORDER = {
    "id": "0f0981cb-152e-57d3-bea9-4d8e0dd5ed35", "subaccountId": "5113b9c6", "clientId": "1700756032",
    "clobPairId": "0", "side": "BUY", "size": "0.0100", "totalFilled": "0.0001", "price": "110372",
    "type": "STOP_LIMIT", "status": "UNTRIGGERED", "timeInForce": "IOC", "reduceOnly": True,
    "orderFlags": "32", "goodTilBlockTime": "2026-02-01T00:00:00.000Z", "createdAtHeight": "63049869",
    "clientMetadata": "1",
    "triggerPrice": "110000.5", "postOnly": False, "ticker": "BTC-USD", "subaccountNumber": 0,
}  # fmt: skip
FILL = {
    "id": "6450e369", "side": "SELL", "liquidity": "TAKER", "type": "LIQUIDATED", "market": "BTC-USD",
    "marketType": "PERPETUAL", "price": "105117", "size": "0.0001", "fee": "-0.1", "createdAt": TIME,
    "createdAtHeight": "63049869", "subaccountNumber": 128,
}  # fmt: skip
TRANSFER = {
    "id": "89586775", "sender": {"address": OWNER, "subaccountNumber": 0}, "recipient": {"address": OWNER},
    "size": "419.98472", "createdAt": TIME, "createdAtHeight": "404014", "symbol": "USDC",
    "type": "WITHDRAWAL", "transactionHash": "AB",
}  # fmt: skip


def test_an_order_is_read_exactly():
    (order,) = rest.order_rows([ORDER])
    assert (order.size, order.total_filled, order.remaining) == (
        Decimal("0.01"),
        Decimal("0.0001"),
        Decimal("0.0099"),
    )
    assert (order.client_id, order.order_flags, order.is_stateful, order.is_buy) == (
        1700756032,
        32,
        True,
        True,
    )
    assert (order.trigger_price, order.good_til_block, order.good_til_block_time) == (
        Decimal("110000.5"),
        None,
        "2026-02-01T00:00:00.000Z",
    )
    assert order.row["clientMetadata"] == "1"
    short = ORDER | {"orderFlags": "0", "goodTilBlock": "63049881", "goodTilBlockTime": None}
    with pytest.raises(FrameError, match=r"\[0\]\.goodTilBlockTime"):
        rest.order_rows([short])
    del short["goodTilBlockTime"]
    (order,) = rest.order_rows([short])
    assert (order.good_til_block, order.good_til_block_time, order.is_stateful) == (63049881, None, False)


def test_fills_transfers_payments_rates_levels_and_the_height_are_read_exactly():
    (fill,) = rest.fill_rows({"fills": [FILL]})
    assert (fill.number, fill.is_buy, fill.kind, fill.fee, fill.height, fill.order_id) == (
        128,
        False,
        "LIQUIDATED",
        Decimal("-0.1"),
        63049869,
        "",
    )
    (transfer,) = rest.transfer_rows({"transfers": [TRANSFER]})
    assert (transfer.sender, transfer.recipient, transfer.amount) == (
        (OWNER, 0),
        (OWNER, None),
        Decimal("419.98472"),
    )
    (payment,) = rest.funding_payment_rows(
        {
            "fundingPayments": [
                {
                    "subaccountNumber": "0", "createdAt": TIME, "createdAtHeight": "66622979",
                    "perpetualId": "1", "ticker": "ETH-USD", "oraclePrice": "3101.9", "size": "1",
                    "side": "LONG",
                    "rate": "0.00000125", "payment": "-0.003877375", "fundingIndex": "-12.34567",
                }
            ]
        }
    )  # fmt: skip
    assert (payment.payment, payment.funding_index, payment.perpetual_id) == (
        Decimal("-0.003877375"),
        Decimal("-12.34567"),
        1,
    )
    (rate,) = rest.funding_rate_rows(
        {
            "historicalFunding": [
                {
                    "ticker": "BTC-USD", "rate": "0.000002375", "price": "89993.8", "effectiveAt": TIME,
                    "effectiveAtHeight": "66622979",
                }
            ]
        }
    )  # fmt: skip
    assert (rate.rate, rate.height) == (Decimal("0.000002375"), 66622979)
    levels = {"bids": [{"price": "89947", "size": "0.0002"}], "asks": []}
    assert rest.orderbook_levels(levels) == ([(Decimal(89947), Decimal("0.0002"))], [])
    assert rest.height({"height": "66624132", "time": TIME}) == rest.Height(66624132, TIME)


def test_numbers_that_are_no_text_keep_every_digit():
    row = answer(
        200,
        b'{"fills":[' + json.dumps(FILL).replace('"105117"', "105117.10000000000000000001").encode() + b"]}",
    )
    assert rest.fill_rows(row)[0].price == Decimal("105117.10000000000000000001")


@pytest.mark.parametrize(
    ("read", "document", "field"),
    [
        (rest.order_rows, {}, ""),
        (rest.order_rows, [5], "[0]"),
        (rest.order_rows, [ORDER | {"size": "x"}], "[0].size"),
        (rest.order_rows, [ORDER | {"size": "NaN"}], "[0].size"),
        (rest.order_rows, [ORDER | {"size": "1" * 101}], "[0].size"),
        (rest.order_rows, [ORDER | {"price": True}], "[0].price"),
        (rest.order_rows, [ORDER | {"price": "1e9999"}], "[0].price"),
        (rest.order_rows, [ORDER | {"side": "LONG"}], "[0].side"),
        (rest.order_rows, [ORDER | {"side": []}], "[0].side"),
        (rest.order_rows, [ORDER | {"clientId": "1.5"}], "[0].clientId"),
        (rest.order_rows, [ORDER | {"reduceOnly": 1}], "[0].reduceOnly"),
        (rest.order_rows, [ORDER, ORDER | {"id": None}], "[1].id"),
        (rest.fill_rows, {"fills": {}}, "fills"),
        (rest.fill_rows, {"fills": [FILL | {"createdAtHeight": None}]}, "fills[0].createdAtHeight"),
        (rest.transfer_rows, {"transfers": [TRANSFER | {"sender": None}]}, "transfers[0].sender"),
        (rest.transfer_rows, {"transfers": [TRANSFER | {"recipient": {}}]}, "transfers[0].recipient.address"),
        (rest.height, {"height": "66624132"}, ".time"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_by_its_path(read, document, field):
    with pytest.raises(FrameError) as refused:
        read(document)
    assert refused.value.field == field


# ---- history


class Venue:
    """Fills with equal times, newest first, more coming in while they are asked for."""

    def __init__(self, seed: int, count: int) -> None:
        self.rng = random.Random(seed)
        self.rows: list[dict[str, Any]] = []
        self.clock = 0
        for _ in range(count):
            self.add()

    def add(self) -> None:
        self.clock += self.rng.choice([0, 0, 1])
        when = f"2026-01-01T00:{self.clock // 60:02}:{self.clock % 60:02}.000Z"
        self.rows.insert(0, FILL | {"id": str(len(self.rows)), "createdAt": when})

    def get(self, path: str) -> dict[str, Any]:
        query = dict(part.split("=") for part in path.partition("?")[2].split("&"))
        before = query.get("createdBeforeOrAt", "9").replace("%3A", ":")
        return {"fills": [row for row in self.rows if row["createdAt"] <= before][: int(query["limit"])]}


@pytest.mark.parametrize("seed", range(20))
def test_a_walk_sees_each_row_once_whatever_comes_in_meanwhile(seed):
    venue = Venue(seed, 200)
    there = [row["id"] for row in venue.rows]
    since = venue.rows[150]["createdAt"] if seed % 2 else None
    walk = fills_walk(OWNER, 0, limit=40, since=since)
    seen = []
    while walk.path is not None:
        seen += [row.id for row in walk.take(venue.get(walk.path))]
        venue.add()
    assert seen == [
        row["id"] for row in venue.rows if row["id"] in there and row["createdAt"] >= (since or "")
    ]


def test_a_walk_ends_with_a_short_page_and_with_an_account_that_is_not_known():
    for document in (None, {"transfers": [TRANSFER]}):
        walk = transfers_walk(OWNER, 0, limit=2)
        assert walk.path == f"/transfers?address={OWNER}&subaccountNumber=0&limit=2"
        assert len(walk.take(document)) == (document is not None)
        assert walk.path is None


def test_more_rows_of_one_time_than_a_page_holds_are_a_gap():
    """Not an endless walk, and not a silent hole."""
    page = {"fills": [FILL | {"id": str(n)} for n in range(3)]}
    walk = fills_walk(OWNER, 0, limit=3)
    assert len(walk.take(page)) == 3
    path = walk.path
    with pytest.raises(GapError, match="3 rows"):
        walk.take(page)
    assert walk.path == path


# ---- how often


@pytest.mark.parametrize(
    ("path", "bucket"),
    [
        ("/height", "default"), ("/addresses/x/subaccountNumber/0", "default"),
        ("/orders?address=x", "orders"),
        ("/orders/parentSubaccountNumber?address=x", "orders"), ("/fills?x", "fills"), ("/pnl", "pnl"),
        ("/historical-pnl?x", "historical-pnl"), ("/candles/perpetualMarkets/BTC-USD", "candles"),
        ("/fundingPayments/parentSubaccount", "fundingPayments"), ("", "default"),
    ],
)  # fmt: skip
def test_a_path_counts_in_the_venues_bucket(path, bucket):
    assert bucket_of(path) == bucket


@pytest.mark.parametrize("seed", range(20))
def test_no_stretch_of_the_window_has_more_than_the_limit(seed):
    """Against a rescan of everything sent, with refusals of the venue's in between; none waits in vain."""
    rng = random.Random(seed)
    limit = RateLimit(rng.randint(1, 8), 10.0)
    now, held, sent = 1000.0, 0.0, deque[float]()
    for _ in range(400):
        now += rng.choice([0.0, rng.random(), rng.random() * 5])
        if rng.random() < 0.02:
            pause = rng.random() * 20
            limit.hold(pause, now)
            held = max(held, now + pause)
        free = len([one for one in sent if one + 10.0 > now]) < limit.limit and held <= now
        wait = limit.wait(now)
        assert (wait == 0.0) == free
        assert limit.take(now) == free
        if free:
            sent.append(now)
        elif rng.random() < 0.5:
            now = max(now + wait, held, sent[-limit.limit] + 10.0 if len(sent) >= limit.limit else 0.0)
            assert limit.take(now)
            sent.append(now)


def test_a_budget_keeps_its_share_of_each_bucket_by_itself():
    budget = RestBudget()
    assert [budget.take("/height", 0.0) for _ in range(81)] == [True] * 80 + [False]
    assert budget.take("/fills?x", 0.0)
    assert sum(budget.take("/candles/perpetualMarkets/X", 0.0) for _ in range(900)) == 800
    assert budget.wait("/height", 4.0) == 6.0
    assert budget.take("/height", 10.0)
    budget.refused("/height", 4.5, 20.0)
    assert budget.wait("/height", 20.0) == 4.5
    budget.refused("/fills", None, 20.0)
    assert budget.wait("/fills", 20.0) == 10.0
    assert budget.wait("/orders", 20.0) == 0.0


@pytest.mark.parametrize("share", [0, 1.1, -1, float("nan")])
def test_a_share_outside_of_the_limit_is_refused(share):
    with pytest.raises(InputError):
        RestBudget(share)
    with pytest.raises(InputError):
        RateLimit(5, share - share)
