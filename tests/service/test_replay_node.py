"""The node's part of a replayed recording, asked by a real gRPC client (C3, C9)."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from venue_peers import fall

from dydx_perf.recording import Frame
from dydx_perf.service.playback import Playback
from dydx_perf.service.replay import serve

PRICES = "/dydxprotocol.prices.Query/AllMarketPrices"
STREAM = "/dydxprotocol.clob.Query/StreamOrderbookUpdates"


def frames() -> list[Frame]:
    return [
        Frame(0, "unary", 0, PRICES, b"page 1", b"\x0a\x01a", 0),
        Frame(1, "unary", 0, PRICES, b"bad", b"", 5),
        *(Frame(2 + place, "stream", 0, STREAM, b"", bytes([place])) for place in range(3)),
        Frame(9, "unary", 0, PRICES, b"page 1", b"\x0a\x01b", 0),
    ]


async def test_a_question_is_answered_by_method_and_request() -> None:
    """The last answer up to now; a recorded status is repeated, and another question is UNAVAILABLE."""
    playback = Playback.of_frames([*frames(), *fall()])
    async with serve(playback, pace="stepwise") as server, grpc.aio.insecure_channel(server.grpc) as channel:
        ask = channel.unary_unary(PRICES)
        assert await ask(b"page 1") == b"\x0a\x01a"
        await server.advance(100)
        assert await ask(b"page 1") == b"\x0a\x01b"
        for request, status in ((b"bad", grpc.StatusCode.NOT_FOUND), (b"new", grpc.StatusCode.UNAVAILABLE)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(request)
            assert refused.value.code() is status


async def test_a_stream_has_what_was_played_and_then_the_rest() -> None:
    """From its beginning, as the node's own begins with a snapshot."""
    async with (
        serve(Playback.of_frames(frames()), pace="stepwise") as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        await server.advance(3)
        call = channel.unary_stream(STREAM)(b"")
        got = [await call.read()]
        await server.advance(10)
        got += [await call.read(), await call.read()]
        assert got == [b"\x00", b"\x01", b"\x02"]
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.05):
                await call.read()
        call.cancel()
