"""Transcripts of the indexer's WebSocket: the project's own everywhere, and the recordings where they are.

A transcript has one object a line: what the client sends, what the server sends, how it closes, notes. The
project's own are written from the schema; their last line says the state that they must give.
"""

import json
from decimal import Decimal

import pytest
from feed_cases import OWNER, SAMPLES, TRANSCRIPTS, Wire, frame, kinds, new_book

from dydx_perf.chain import Chain
from dydx_perf.errors import FrameError
from dydx_perf.feeds.events import Fetch
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    CandlesOf,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    TradesOf,
)


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def subscription_of(channel, name):
    """The subscription that a message names."""
    head, _, tail = name.partition("/")
    makers = {
        "v4_markets": Markets,
        "v4_block_height": BlockHeight,
        "v4_subaccounts": lambda: SubaccountOf(head, int(tail)),
        "v4_parent_subaccounts": lambda: ParentSubaccountOf(head, int(tail)),
        "v4_orderbook": lambda: OrderBookOf(name),
        "v4_trades": lambda: TradesOf(name),
        "v4_candles": lambda: CandlesOf(head, tail),
    }
    return makers[channel]()


class Played:
    """A transcript, played to a session that subscribes and unsubscribes as the client did."""

    def __init__(self, lines, chain=None):
        self.book = new_book(chain)
        self.session = IndexerSession([], into=self.book, keeps_prices=True, confirm_snapshots=False)
        self.now = 1000.0
        self.events = list(self.session.start(self.now))
        for line in lines:
            self.now += 0.001
            self.line(line)

    def line(self, line):
        message = line.get("msg")
        if line["dir"] == "server":
            self.events += self.session.receive(frame(message), self.now)
        elif line["dir"] == "server_close":
            self.events += self.session.disconnected(self.now, line["code"], line["reason"])
            self.events += self.session.start(self.now)
        elif line["dir"] == "client" and isinstance(message, dict):
            name = message.get("id", "")
            if message.get("type") not in ("subscribe", "unsubscribe") or "blocked" in name:
                return
            if message.get("channel") in (None, "v4_nope") or (
                message["channel"] == "v4_trades" and not name
            ):
                return
            call = self.session.subscribe if message["type"] == "subscribe" else self.session.unsubscribe
            self.events += call(subscription_of(message["channel"], name), self.now)

    def usdc(self, number=0, owner=OWNER):
        return self.book.subaccount((owner, number)).usdc

    def sizes(self, number=0, owner=OWNER):
        positions = self.book.subaccount((owner, number)).positions
        return {ticker: one.size for ticker, one in positions.items()}


# ---- the project's own


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in sorted(TRANSCRIPTS.glob("*.jsonl"))])
def test_a_transcript_gives_the_state_that_its_last_line_says(path):
    """Accounts, markets, order books, and what was told."""
    *lines, last = read(path)
    played, state = Played(lines), last["state"]
    for name, wanted in state.get("accounts", {}).items():
        owner, number = name.split("/")
        account = played.session.account(owner, int(number))
        assert played.usdc(int(number), owner) == Decimal(wanted["usdc"])
        sizes = played.sizes(int(number), owner)
        assert sizes == {ticker: Decimal(size) for ticker, size in wanted["positions"].items()}
        assert account.height == wanted["height"]
        assert [order.order_id for order in account.orders] == wanted["orders"]
        risk = played.session.risk(owner, int(number), played.now)
        assert (risk.verdict, risk.doubts) == (wanted["verdict"], ())
    for ticker, wanted in state.get("markets", {}).items():
        market = played.book.chain[ticker]
        assert market.oracle_price.decimal == Decimal(wanted["price"])
        assert market.initial_margin_fraction == Decimal(wanted["imf"])
    for ticker, wanted in state.get("books", {}).items():
        book = played.session.order_book(ticker)
        assert (book.best_bid.price, book.best_ask.price) == (Decimal(wanted["bid"]), Decimal(wanted["ask"]))
    told = kinds(played.events)
    assert told.count("FillSeen") == state.get("fills", 0)
    amounts = [event.amount for event in played.events if type(event).__name__ == "TransferSeen"]
    assert amounts == [Decimal(amount) for amount in state.get("transfers", [])]
    changed = [event.ticker for event in played.events if type(event).__name__ == "MarketChanged"]
    assert changed == state.get("changed", [])


# ---- the shared samples

if SAMPLES.is_dir():
    CONSTRUCTED = SAMPLES / "ws" / "constructed"
    RECORDED = SAMPLES / "ws" / "recorded"

    def constructed(name, chain=None, until_unsubscribe=False):
        lines = read(CONSTRUCTED / f"{name}.jsonl")
        if until_unsubscribe:
            ends = [
                at
                for at, line in enumerate(lines)
                if (line.get("msg") or {"type": ""})["type"] == "unsubscribe"
            ]
            lines = lines[: ends[0]] if ends else lines
        return Played(lines, chain)

    def sample_chain():
        lines = read(CONSTRUCTED / "v4_markets.batched.jsonl")
        return Chain.from_indexer(lines[2]["msg"]["contents"])

    def recorded(name):
        return json.loads((RECORDED / name).read_text("utf-8"))

    def wire_of(*names, chain=None, more=()):
        """A session that has received these recordings in order, each with the number that it has."""
        messages = [recorded(name) if isinstance(name, str) else name for name in names]
        first = messages[0]
        wire = Wire(
            subscription_of(first["channel"], first.get("id", "")), book=new_book(chain), keeps_prices=True
        )
        wire.session.start(wire.now)
        wire.say({"type": "connected", "connection_id": "c"}, number=first["message_id"] - 1)
        for message in messages:
            wire.events += wire.session.receive(frame(message), wire.now)
        return wire

    @pytest.mark.parametrize(
        "path", [pytest.param(p, id=p.stem) for p in sorted(CONSTRUCTED.glob("*.jsonl"))]
    )
    def test_no_message_of_a_constructed_transcript_is_refused_or_missed(path):
        """Every frame is read, and no number is taken for lost."""
        played = Played(read(path), sample_chain())
        has_holes = path.stem == "errors"  # it leaves subscribes out
        assert ("gap" in played.session.doubts.of(["feed"])) == has_holes

    @pytest.mark.parametrize("name", ["v4_subaccounts.batched", "v4_subaccounts.unbatched"])
    def test_the_account_of_the_samples(name):
        """Snapshot, order, fill, deposit; unbatched also flip, cancel, reward, closing and liquidation."""
        played = constructed(name, sample_chain())
        account = played.session.account(OWNER, 0)
        if name.endswith("unbatched"):
            assert (played.usdc(), played.sizes(), account.height) == (0, {}, 66624160)
            assert account.positions["ETH-USD"].exit_price == 3150
            assert account.trading_reward == Decimal("0.0123")
            assert kinds(played.events).count("LiquidationSeen") == 1
            assert [order.status for order in account.orders] == ["BEST_EFFORT_CANCELED"]
        else:
            assert (played.usdc(), played.sizes()) == (Decimal("-1604.65155"), {"ETH-USD": 1})
            assert account.positions["ETH-USD"].entry_price == Decimal("3103.1")
            assert played.session.risk(OWNER, 0, played.now).verdict == "safe"

    def test_the_unknown_subaccount_of_the_samples():
        """Nothing, then its first deposit."""
        played = constructed("v4_subaccounts.unknown_subaccount", sample_chain())
        assert (played.usdc(77), played.session.account(OWNER, 77).exists) == (25, True)

    def test_the_parent_of_the_samples():
        """Children 0, 128 with an isolated position, and 256 that came with its first deposit."""
        played = constructed("v4_parent_subaccounts", sample_chain(), until_unsubscribe=True)
        assert [played.usdc(number) for number in (0, 128, 256)] == [1000, Decimal("-500.075"), 40]
        assert played.sizes(128) == {"BOME-USD": 80_000}
        assert "isolated_pool" in played.session.risk(OWNER, 128, played.now).notices
        again = constructed("v4_parent_subaccounts", sample_chain())
        assert (again.usdc(0), again.usdc(128), (OWNER, 256) in again.book) == (
            960,
            Decimal("-500.075"),
            False,
        )

    @pytest.mark.parametrize("name", ["v4_orderbook.batched", "v4_orderbook.unbatched"])
    def test_the_order_books_of_the_samples(name):
        """Deletion of a level, and a bid that crosses."""
        book = constructed(name, sample_chain(), until_unsubscribe=True).session.order_book("ETH-USD")
        if name.endswith("unbatched"):
            assert (book.best_bid.price, book.best_ask) == (Decimal("3103.3"), None) or book.hidden_levels
        else:
            assert (book.best_bid.price, book.best_ask.price) == (Decimal("3102.9"), Decimal("3103.2"))
            assert book.best_bid.size == Decimal("4.1")

    @pytest.mark.parametrize("name", ["v4_markets.batched", "v4_markets.unbatched"])
    def test_the_markets_of_the_samples(name):
        """Prices, statistics, a new market without a price, final settlement."""
        played = constructed(name)
        chain = played.book.chain
        assert chain.tickers == ("BTC-USD", "ETH-USD", "BOME-USD")
        assert chain["BTC-USD"].oracle_price.decimal == Decimal("89931.52")
        if name.endswith("unbatched"):
            assert played.session.market("NEW-USD")["status"] == "INITIALIZING"
            assert chain["BOME-USD"].status == "FINAL_SETTLEMENT"
            assert chain["BTC-USD"].open_interest == 3_817_401_000_000
            assert "MarketChanged" in kinds(played.events)

    def test_trades_candles_and_heights_of_the_samples():
        """Each trade once and none of the snapshot's; every candle; every block."""
        trades = [e for e in constructed("v4_trades").events if type(e).__name__ == "TradeSeen"]
        assert [trade.kind for trade in trades] == [
            "LIMIT",
            "LIQUIDATED",
            "LIMIT",
            "DELEVERAGED",
            "TWAP_SUBORDER",
        ]
        assert kinds(constructed("v4_candles").events).count("CandleSeen") == 3
        blocks = [e for e in constructed("v4_block_height").events if type(e).__name__ == "BlockSeen"]
        assert [block.height for block in blocks] == [66624141, 66624142, 66624143]

    def test_every_error_text_of_the_samples_is_told():
        """Thirteen errors in the venue's words, and four ends of a connection."""
        told = kinds(constructed("errors").events)
        errors = sum(
            line["dir"] == "server" and line["msg"]["type"] == "error"
            for line in read(CONSTRUCTED / "errors.jsonl")
        )
        assert (told.count("VenueRefused"), told.count("Reconnect")) == (errors, 4)

    def test_a_market_maker_and_four_batches():
        """The recorded sequence applies in order, and stays consistent."""
        names = [f"v4_subaccounts.channel_batch_data.{number}.json" for number in range(1, 5)]
        chain = Chain.from_indexer(recorded("v4_markets.subscribed.2024-04.json")["contents"])
        snapshot = recorded("v4_subaccounts.subscribed.many_orders.json")
        wire = wire_of("v4_subaccounts.subscribed.many_orders.json", *names, chain=chain)
        owner = snapshot["id"].partition("/")[0]
        account = wire.session.account(owner, 0)
        rows = snapshot["contents"]["subaccount"]["openPerpetualPositions"]
        assert {t: row.size for t, row in account.positions.items()} == {
            t: Decimal(row["size"]) for t, row in rows.items()
        }
        assert wire.session.doubts.of(["feed"]) == ()
        expected = {o["id"]: o["status"] for o in snapshot["contents"]["orders"]}
        for name in names:
            for contents in recorded(name)["contents"]:
                for order in contents.get("orders", []):
                    expected[order["id"]] = order["status"]
        still = {
            i
            for i, s in expected.items()
            if s in ("OPEN", "BEST_EFFORT_OPENED", "BEST_EFFORT_CANCELED", "UNTRIGGERED")
        }
        assert {order.order_id for order in account.orders} == still

    def test_an_order_book_and_its_eight_batches():
        """Numbers 5 to 13 on the snapshot with number 4: every level is the last that was told."""
        chain = Chain.from_indexer(recorded("v4_markets.subscribed.2023-11.json")["contents"])
        batches = read(RECORDED / "v4_orderbook.channel_batch_data.ETH-USD.jsonl")
        wire = wire_of("v4_orderbook.subscribed.ETH-USD.json", *batches, chain=chain)
        levels = {"bids": {}, "asks": {}}
        for message in [recorded("v4_orderbook.subscribed.ETH-USD.json"), *batches]:
            contents = message["contents"]
            for part in contents if isinstance(contents, list) else [contents]:
                for side, rows in part.items():
                    for row in rows:
                        price, size = row.values() if isinstance(row, dict) else row
                        levels[side][Decimal(price)] = Decimal(size)
        book = wire.session.order_book("ETH-USD")
        assert book.levels.counts == tuple(
            sum(size > 0 for size in levels[s].values()) for s in ("bids", "asks")
        )
        assert book.best_bid.price < book.best_ask.price
        assert levels["bids"][book.best_bid.price] == book.best_bid.size
        assert {message["message_id"] for message in batches} ^ set(range(5, 14)) == {12}
        wire.subscribed("v4_block_height", "v4_block_height", {"height": "1", "time": "t"}, number=12)
        assert wire.session.doubts.of(["feed"]) == ()  # 12 was of another subscription

    def test_the_account_of_a_surprising_liquidation_price():
        """Equity and free collateral come out digit for digit from the recorded state and its markets."""
        chain = Chain.from_indexer(recorded("v4_markets.subscribed.2023-11.json")["contents"])
        wire = wire_of("v4_subaccounts.subscribed.position.json", chain=chain)
        (account,) = wire.session.accounts
        subaccount = wire.book.subaccount(account.name)
        assert (subaccount.equity, subaccount.free_collateral) == (account.equity, account.free_collateral)

    @pytest.mark.parametrize("path", [pytest.param(p, id=p.name) for p in sorted(RECORDED.glob("v4_*.json"))])
    def test_every_recorded_message_is_read(path):
        """A snapshot by itself; an update after an empty snapshot of its subscription."""
        text = path.read_text("utf-8")
        for foreign in (
            "cosmos1fq8q55896ljfjj7v3x0qd0z3sr78wmes940uhm",
            "cosmos144e2my9gwngm2zgrr83egskzzf0u8eyzrudmly",
        ):
            text = text.replace(foreign, OWNER)  # networks from before mainnet
        message = json.loads(text)
        first = {
            "v4_markets": {"markets": {}}, "v4_trades": {"trades": []}, "v4_candles": {"candles": []},
        }.get(message["channel"], {})  # fmt: skip
        snapshot = {
            **message,
            "type": "subscribed",
            "message_id": message["message_id"] - 1,
            "contents": first,
        }
        messages = [message] if message["type"] == "subscribed" else [snapshot, message]
        wire = wire_of(*messages)
        assert wire.session.doubts.of(["feed"]) == ()
        assert "VenueRefused" not in kinds(wire.events)

    def test_a_recorded_rest_answer_confirms_or_contradicts():
        """The recorded subaccount agrees with itself; a 404 and a 429 say what they say."""
        answer = (SAMPLES / "rest" / "subaccount.recorded.json").read_bytes()
        orders = (SAMPLES / "rest" / "orders.recorded.json").read_bytes()
        one = json.loads(answer)["subaccount"]
        name = (one["address"], one["subaccountNumber"])
        wire = Wire(SubaccountOf(*name), keeps_prices=True)
        wire.start()
        wire.subscribed(
            "v4_subaccounts", f"{name[0]}/{name[1]}", {"subaccount": one, "orders": [], "blockHeight": "1"}
        )
        fetches = [event for event in wire.wait(5) if isinstance(event, Fetch)]
        wire.session.fetched(fetches[0], 200, answer, wire.now)
        assert wire.session.fetched(fetches[1], 200, orders, wire.now) == []  # all of them are over
        risk = wire.session.risk(*name, wire.now)
        assert (risk.verdict, risk.bound.quote_quantums) == ("safe", 0)
        for case in json.loads((SAMPLES / "rest" / "errors.constructed.json").read_text("utf-8")):
            body = json.dumps(case["body"]).encode()
            wire.session.fetched(fetches[0], case["status"], body, wire.now)
        with pytest.raises(FrameError):
            wire.session.fetched(fetches[0], 200, b"<html>", wire.now)
