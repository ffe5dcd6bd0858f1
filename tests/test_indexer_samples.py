"""The indexer's figures against the original recordings, beside the repository or where told.

Nothing is collected where they are not; the project's own copy of the accounts is tested everywhere.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dydx_perf.exact import indexer, ledger
from dydx_perf.exact.decimals import decimal_text
from dydx_perf.exact.ledger import Fill, PositionRow, PositionUpdate

Json = dict[str, Any]
TOLD = os.environ.get("DYDX_PERF_SHARED")
SAMPLES = (Path(TOLD) if TOLD else Path(__file__).resolve().parents[2] / "shared") / "samples"

# The market message of the account's moment, where it is recorded; else a set of the time, for the margin
# fractions alone, and the price follows from the position's own figures.
MARKETS_OF = {"v4_subaccounts.subscribed.position.json": "v4_markets.subscribed.2023-11.json"}
MARKETS_OF_ALL_OTHERS = "v4_markets.subscribed.2024-04.json"


def read(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def recorded_bodies() -> list[tuple[str, Json]]:
    """Every recorded subaccount or parent subaccount, with its file."""
    bodies = []
    for path in sorted(
        [*SAMPLES.glob("ws/recorded/*.subscribed*.json"), *SAMPLES.glob("rest/*recorded*.json")]
    ):
        content = read(str(path.relative_to(SAMPLES)))
        if isinstance(content, list):  # node-rest lists and the like
            continue
        content = content.get("contents", content)
        bodies += [(path.name, one) for one in content.get("subaccounts", [])]
        if "subaccount" in content:
            bodies.append((path.name, content["subaccount"]))
    return bodies


def subaccounts_of(body: Json) -> list[Json]:
    children: list[Json] = body.get("childSubaccounts", [body])
    return children


def margin_fractions(file: str) -> dict[str, Json]:
    markets: dict[str, Json] = read(f"ws/recorded/{MARKETS_OF.get(file, MARKETS_OF_ALL_OTHERS)}")["contents"][
        "markets"
    ]
    return markets


def implied_price(position: Json) -> Decimal:
    """The oracle price that the unrealized PnL contains; it must be a decimal of at most 15 places."""
    size, entry, pnl = (Fraction(position[key]) for key in ("size", "entryPrice", "unrealizedPnl"))
    scaled = (entry + pnl / size) * 10**15
    assert scaled.denominator == 1, position["market"]
    return Decimal(f"{scaled.numerator}e-15")


def usdc_of(subaccount: Json) -> Decimal:
    entry = subaccount["assetPositions"].get("USDC")
    return indexer.signed_usdc(entry["side"], Decimal(entry["size"])) if entry else Decimal(0)


def row_of(message: Json, event: int = 0) -> PositionRow:
    """The row behind a recorded position; REST's realized PnL is not recorded."""
    return PositionRow(
        market=message["market"],
        side=message["side"],
        status=message["status"],
        size=Decimal(message["size"]),
        max_size=Decimal(message["maxSize"]),
        entry_price=Decimal(message["entryPrice"]),
        exit_price=None if message["exitPrice"] is None else Decimal(message["exitPrice"]),
        sum_open=Decimal(message["sumOpen"]),
        sum_close=Decimal(message["sumClose"]),
        realized_pnl=Decimal(0),
        settled_funding=Decimal(message["netFunding"]),
        open_event=event,
    )


def shown(row: PositionRow) -> Json:
    """What a message about the row says of it."""
    return {
        "market": row.market,
        "side": row.side,
        "status": row.status,
        "size": decimal_text(row.size),
        "maxSize": decimal_text(row.max_size),
        "netFunding": decimal_text(row.settled_funding),
        "entryPrice": decimal_text(row.entry_price),
        "exitPrice": None if row.exit_price is None else decimal_text(row.exit_price),
        "sumOpen": decimal_text(row.sum_open),
        "sumClose": decimal_text(row.sum_close),
    }


def said(message: Json, *others: str) -> Json:
    keys = shown(row_of(message)).keys()
    return {key: message[key] for key in [*keys, *others]}


def fill_of(message: Json) -> Fill:
    market = message.get("market") or message["ticker"]
    size, price, fee = (Decimal(message[key]) for key in ("size", "price", "fee"))
    return Fill(market, message["side"], size, price, fee)


def contents(name: str, key: str) -> list[Any]:
    """Every entry under a key of a recorded batch, in order."""
    return [one for part in read(f"ws/recorded/{name}")["contents"] for one in part.get(key, [])]


if SAMPLES.is_dir():
    BODIES = recorded_bodies()

    def test_the_recordings_are_all_there() -> None:
        """Ten bodies with 17 subaccounts that hold something, 51 positions in all."""
        subaccounts = [one for _, body in BODIES for one in subaccounts_of(body)]
        assert len(BODIES) == 10
        assert sum(bool(one["assetPositions"]) for one in subaccounts) == 17
        assert sum(len(one["openPerpetualPositions"]) for one in subaccounts) == 51

    @pytest.mark.parametrize(
        ("file", "body"), BODIES, ids=[f"{file}-{i}" for i, (file, _) in enumerate(BODIES)]
    )
    def test_recorded_bodies_come_out_digit_for_digit(file: str, body: Json) -> None:
        """Equity, free collateral, unrealized and realized PnL, parents' sums are the recorded texts."""
        markets = margin_fractions(file)
        for one in subaccounts_of(body):
            holdings = []
            for position in one["openPerpetualPositions"].values():
                market = markets[position["market"]]
                price = Decimal(market["oraclePrice"]) if file in MARKETS_OF else implied_price(position)
                size, entry = Decimal(position["size"]), Decimal(position["entryPrice"])
                pnl = indexer.unrealized_pnl(size, price, entry)
                assert decimal_text(pnl) == position["unrealizedPnl"]
                realized = ledger.websocket_realized_pnl(row_of(position))
                assert decimal_text(realized) == position["realizedPnl"]
                holdings.append(indexer.Holding(size, price, Decimal(market["initialMarginFraction"])))
            assert decimal_text(indexer.equity(usdc_of(one), holdings)) == one["equity"]
            assert decimal_text(indexer.free_collateral(usdc_of(one), holdings)) == one["freeCollateral"]
        for key in ("equity", "freeCollateral"):
            children = [Decimal(one[key]) for one in subaccounts_of(body)]
            assert decimal_text(indexer.parent_sum(children)) == body[key]

    def test_recorded_fills_are_booked_as_recorded() -> None:
        """Two matches of one block: update, fill, update, fill give every recorded sum, mean and PnL."""
        name = "v4_subaccounts.channel_batch_data.fills.json"
        first, second, last = contents(name, "perpetualPositions")
        fills = [fill_of(one) for one in contents(name, "fills")]
        assert [decimal_text(one.size) for one in fills] == ["82", "2"]
        # Before the block: the first update came ahead of its fill, so only the size was another one.
        rows: ledger.Rows = (replace(row_of(first), size=Decimal(-2860)),)
        for event, (message, fill) in enumerate(zip((first, second), fills, strict=True), 1):
            update = PositionUpdate("APT-USD", Decimal(message["size"]), Decimal(0), event)
            rows = ledger.book_update(rows, update)
            assert shown(rows[0]) == said(message)
            assert decimal_text(ledger.websocket_realized_pnl(rows[0])) == message["realizedPnl"]
            rows, _ = ledger.book_fill(rows, fill)
        assert shown(rows[0]) == said(last)
        assert implied_price(first) == implied_price(second)

    def test_recorded_opening_is_booked_as_recorded() -> None:
        """The update opens the row with entry price 0 and its fill then sets sum and price.

        Not recorded faithfully: size and maxSize say 17, but the fill, the unrealized PnL and the snapshot of
        the same account say 11.
        """
        name = "v4_parent_subaccounts.channel_batch_data.open_position.json"
        opened, filled = contents(name, "perpetualPositions")
        (fill,) = (fill_of(one) for one in contents(name, "fills"))
        update = PositionUpdate("LDO-USD", Decimal(opened["size"]), Decimal(0), 1)
        rows = ledger.book_update((), update)
        assert shown(rows[0]) == said(opened)
        assert decimal_text(ledger.websocket_realized_pnl(rows[0])) == opened["realizedPnl"]
        rows, stored = ledger.book_fill(rows, fill)
        assert shown(rows[0]) == said(filled)
        assert stored.position_size_before == Decimal(0)
        assert stored.entry_price_before is None
        snapshot = read("ws/recorded/v4_parent_subaccounts.subscribed.json")["contents"]["subaccount"]
        later = snapshot["childSubaccounts"][1]["openPerpetualPositions"]["LDO-USD"]
        pnl = indexer.unrealized_pnl(fill.size, implied_price(later), Decimal(0))
        assert decimal_text(pnl) == opened["unrealizedPnl"]

    def test_recorded_flip_and_closing_are_booked_as_recorded() -> None:
        """Size 0 closes a row, the other side closes one and opens another; sums and prices stay."""
        name = "v4_parent_subaccounts.channel_batch_data.closed_and_flipped.json"
        ape, long, short = contents(name, "perpetualPositions")
        before = [replace(row_of(one), status="OPEN", size=Decimal(one["maxSize"])) for one in (ape, long)]
        rows = ledger.book_update(tuple(before), PositionUpdate("APE-USD", Decimal(0), Decimal(0), 1))
        rows = ledger.book_update(rows, PositionUpdate("ETH-USD", Decimal(short["size"]), Decimal(0), 2))
        assert [shown(row) for row in rows] == [said(one) for one in (ape, long, short)]
        for row, message in zip(rows, (ape, long, short), strict=True):
            assert decimal_text(ledger.websocket_realized_pnl(row)) == message["realizedPnl"]
        pnl = indexer.unrealized_pnl(rows[2].size, implied_price(short), rows[2].entry_price)
        assert decimal_text(pnl) == short["unrealizedPnl"]

    def test_recorded_fills_have_their_quote_amount() -> None:
        """`quoteAmount` of every recorded fill is size times price."""
        fills = [
            one
            for path in sorted(SAMPLES.glob("ws/recorded/*channel_batch_data*.json"))
            for one in contents(path.name, "fills")
            if isinstance(one, dict) and "quoteAmount" in one
        ]
        assert len(fills) == 5
        for one in fills:
            assert decimal_text(fill_of(one).quote) == one["quoteAmount"]
