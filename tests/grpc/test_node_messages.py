"""A node's answers as v4-proto's messages and as bytes; requests as v4-proto encodes them (C3, C12)."""

from __future__ import annotations

import base64
import json
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_answers import ADDRESS, HEIGHT, account, answers, as_message, leverage, picture
from stream_samples import SAMPLES
from v4_proto.dydxprotocol.clob import query_pb2 as clob
from v4_proto.dydxprotocol.subaccounts import query_pb2 as subaccounts

from dydx_perf import FrameError, InputError, Subaccount
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_messages import RESPONSES
from dydx_perf.feeds.node_queries import USDC_DENOM, NodeQuery, fund_address, queries

NAME = ADDRESS, 0


def service_method(query: NodeQuery) -> Any:
    """The descriptor of a query's method."""
    service, _, method = query.method[1:].rpartition("/")
    module = import_module(f"v4_proto.{service.rpartition('.')[0]}.query_pb2")
    return module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[method]


EVERY = queries([NAME, (ADDRESS, 128_000)], parameters=True, pools=[(0, False), (35, True)])


@pytest.mark.parametrize("query", EVERY, ids=[f"{one.name} {one.subject}" for one in EVERY])
def test_each_method_exists_and_takes_the_request(query: NodeQuery) -> None:
    """Its request parses and encodes to the same bytes; path and answer's type are the schema's."""
    method = service_method(query)
    module = import_module(
        f"v4_proto.{method.input_type.file.name.removesuffix('.proto').replace('/', '.')}_pb2"
    )
    request = getattr(module, method.input_type.name).FromString(query.request)
    assert request.SerializeToString() == query.request
    assert (request.ByteSize() == 0) == (query.request == b"")
    assert RESPONSES[query.name] == (f"{method.output_type.file.package}.query_pb2", method.output_type.name)
    (path,) = [value.get for extension, value in method.GetOptions().ListFields() if extension.name == "http"]
    filled = path.format(
        owner=query.subject[0] if query.subject else "",
        number=query.subject[-1] if query.subject else "",
        perpetual_id=query.subject[0] if query.subject else "",
        address=fund_address(str(query.subject[0])) if query.subject else "",
    )
    assert query.path.partition("?")[0] == filled


@given(st.text(max_size=90), st.integers(0, 2**32 - 1))
def test_a_request_for_an_account_is_encoded_as_v4_proto_does(address: str, number: int) -> None:
    """Any owner, any number."""
    address = address.encode("utf-8", "ignore").decode()
    found, chosen = queries([(address, number)], markets=False)
    assert (
        found.request
        == subaccounts.QueryGetSubaccountRequest(owner=address, number=number).SerializeToString()
    )
    assert chosen.request == clob.QueryLeverageRequest(owner=address, number=number).SerializeToString()


@given(st.binary(min_size=1, max_size=300))
def test_a_request_for_a_page_is_encoded_as_v4_proto_does(key: bytes) -> None:
    """With any key."""
    request = clob.QueryAllClobPairRequest()
    request.pagination.key, request.pagination.limit = key, 1000
    assert queries()[3].after(key).request == request.SerializeToString()


@pytest.mark.parametrize("in_bytes", [False, True])
def test_messages_and_their_bytes_read_as_the_gateways_mappings_do(in_bytes: bool) -> None:
    """The same chain, account, gate, fund and version."""
    holds = account(*NAME, -2_104_651_550, {1: (10**9, -1_300_000), 0: (-(2**70), 2**80)})
    accounts = {NAME: (holds, leverage(pair_1=150_000))}
    told = answers(fund={"balance": {"denom": USDC_DENOM, "amount": "12345678"}})
    wanted = picture(accounts, bodies=told)
    found = NodePicture(HEIGHT)
    for query in queries([NAME], parameters=True, pools=[(35, True)]):
        body = told.get(query.name) or accounts[NAME][query.name == "leverage"]
        message = as_message(query, body)
        given_ = message.SerializeToString() if in_bytes else message
        assert found.answer(query, given_, height=HEIGHT) is None
    ours, theirs = found.chain(), wanted.chain()
    assert [market.perpetual for market in ours] == [market.perpetual for market in theirs]
    assert ours.parameters == theirs.parameters
    got: Subaccount = found.subaccount(*NAME, ours)
    assert got.state == wanted.subaccount(*NAME, theirs).state
    assert (found.version, found.funds) == ("9.6.1", {"insurance_fund:35": 12_345_678})
    assert found.gates[35].withdrawals_and_transfers_unblocked_at_block == HEIGHT + 40


def test_an_account_that_the_chain_does_not_know_is_empty_and_told_so() -> None:
    """The node answers with its name alone, and no error."""
    found = NodePicture()
    for query in queries([NAME], markets=False):
        found.answer(
            query, as_message(query, account(*NAME, 0, {}) if query.name == "subaccount" else {}), height=5
        )
    assert found.missing([NAME], markets=False) == ()
    empty = found.subaccount(*NAME, picture().chain())
    assert (empty.positions, empty.usdc_quantums) == ({}, 0)


def test_bytes_that_are_no_message_are_a_frame_error() -> None:
    """With the method in its field."""
    for query in EVERY:
        with pytest.raises(FrameError) as refused:
            NodePicture().answer(query, b"\x0a\x05\x01")
        assert refused.value.field == query.method


if SAMPLES is not None:

    def test_every_constructed_answer_is_read() -> None:
        """Requests and answers of the samples, byte for byte."""
        rows = [
            json.loads(line) for line in (SAMPLES / "constructed_unary.jsonl").read_text("utf-8").splitlines()
        ]
        names = NAME, (ADDRESS, 77)
        asked = {
            (query.method, query.request if query.subject else b""): query
            for query in queries(names, parameters=True)
        }
        found = NodePicture()
        read = set()
        for row in rows:
            request = base64.b64decode(row["request_base64"])
            query = asked.get((row["method"].partition(" ")[0], request))
            if query is not None:
                found.answer(query, base64.b64decode(row["response_base64"]), height=66_624_143)
                read.add((query.name, query.subject))
        assert read == {
            *((name, ()) for name in ("perpetuals", "liquidity_tiers", "market_prices", "clob_pairs")),
            *(
                (name, ())
                for name in ("perpetuals_params", "liquidations_config", "equity_tiers", "fee_tiers")
            ),
            ("subaccount", names[0]),
            ("subaccount", names[1]),
            ("leverage", names[0]),
        }
        # One perpetual has no price in the samples: no chain is made of what does not fit together.
        with pytest.raises(InputError, match="market_prices"):
            found.chain()
