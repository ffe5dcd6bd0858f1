"""Recorded answers of the indexer are read to the last row; collected where the recordings are (C2)."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from dydx_perf.errors import VenueError
from dydx_perf.feeds import rest
from dydx_perf.feeds.rest import answer


def shared_samples() -> Path | None:
    """Find the recorded samples, beside the repository or where told."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = (Path(told) if told else Path(__file__).resolve().parents[2] / "shared") / "samples"
    return folder if (folder / "rest").is_dir() else None


SAMPLES = shared_samples()
if SAMPLES:
    REST = SAMPLES / "rest"

    @pytest.mark.parametrize(
        ("read", "name", "count"),
        [
            (rest.order_rows, "orders.recorded", 3),
            (rest.fill_rows, "fills.recorded", 3),
            (rest.transfer_rows, "transfers.recorded", 3),
            (rest.funding_payment_rows, "fundingPayments.constructed", 1),
            (rest.funding_rate_rows, "historicalFunding.recorded", 3),
        ],
    )
    def test_every_row_of_a_recorded_answer_is_read_with_its_own_digits(read, name, count):
        body = (REST / f"{name}.json").read_bytes()
        rows = read(answer(200, body))
        told = json.loads(body)
        told = (
            told
            if isinstance(told, list)
            else next(value for value in told.values() if isinstance(value, list))
        )
        assert len(rows) == len(told) >= count
        for row, one in zip(rows, told, strict=True):
            for field in ("size", "price", "rate", "payment"):
                if field in one and hasattr(row, field):
                    assert str(getattr(row, field)) == str(Decimal(one[field]))

    def test_the_recorded_height_and_order_book_are_read():
        assert rest.height(answer(200, (REST / "height.recorded.json").read_bytes())).height == 66624132
        bids, asks = rest.orderbook_levels(answer(200, (REST / "orderbook.recorded.json").read_bytes()))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]

    @pytest.mark.parametrize(
        "case", json.loads((REST / "errors.constructed.json").read_bytes()), ids=lambda case: case["when"]
    )
    def test_each_recorded_refusal_is_what_it_says(case):
        body = json.dumps(case["body"]).encode()
        headers = case.get("headers")
        if case["status"] == 404 and "errors" in case["body"]:
            assert answer(404, body, headers) is None
            return
        with pytest.raises(VenueError) as refused:
            answer(case["status"], body, headers)
        error = refused.value
        assert error.status == case["status"]
        assert error.code == (case["body"].get("errors") or [{}])[0].get("code")
        assert error.retry_after == (4.321 if headers else None)
        assert error.message
