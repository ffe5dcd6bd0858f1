"""The REST client over real sockets: paced, tried again, given up in time (C2, C7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from venue_peers import http_server

from dydx_perf.errors import CapacityError, ConnectError
from dydx_perf.service.rest import Breaker, RestClient

FAST = {"first_delay": 0.001, "longest_delay": 0.05, "timeout": 2.0, "jitter": lambda: 1.0}


def answering(*answers: web.Response | Callable[[], web.Response]) -> tuple[web.RouteDef, list[str]]:
    """A route that answers these in turn, the last one for good, and what was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        made = answers[min(len(asked), len(answers)) - 1]
        return (
            made()
            if callable(made)
            else web.Response(body=made.body, status=made.status, headers=made.headers)
        )

    return web.get("/v4/{path:.*}", answer), asked


def page(status: int, **headers: str) -> web.Response:
    return web.Response(text="<html>no</html>", status=status, content_type="text/html", headers=headers)


async def test_an_answer_is_what_was_said() -> None:
    """Status and body as they came, with the path and its query as they were asked; 404 is an answer."""
    route, asked = answering(web.json_response({"a": "1.50"}), web.json_response({"errors": []}, status=404))
    async with http_server(route) as place, RestClient(f"http://{place}/v4/", **FAST) as client:
        first = await client.get("/orders?address=a&status=OPEN,UNTRIGGERED")
        second = await client.get("/height")
    assert (first.status, first.body, second.status) == (200, b'{"a": "1.50"}', 404)
    assert asked == ["/v4/orders?address=a&status=OPEN,UNTRIGGERED", "/v4/height"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_a_passing_error_is_tried_again(status: int) -> None:
    """HTML of a proxy, too."""
    route, asked = answering(page(status, **{"Retry-After": "5"}), web.json_response({}))
    async with http_server(route) as place, RestClient(f"http://{place}/v4", **FAST) as client:
        assert (await client.get("/height")).status == 200
    assert len(asked) == 2
    assert client.statistics.statuses == {status: 1, 200: 1}


async def test_what_the_server_does_not_have_is_not_tried_again() -> None:
    route, asked = answering(page(501))
    async with http_server(route) as place, RestClient(f"http://{place}/v4", **FAST) as client:
        assert (await client.get("/height")).status == 501
    assert len(asked) == 1


async def test_a_request_is_given_up_after_its_tries() -> None:
    route, asked = answering(page(502))
    async with http_server(route) as place, RestClient(f"http://{place}/v4", attempts=3, **FAST) as client:
        with pytest.raises(ConnectError, match="/height: status 502 after 3 tries"):
            await client.get("/height")
    assert len(asked) == 3


async def test_a_venue_that_fails_often_is_left_alone_and_found_again() -> None:
    """Requests fail at once meanwhile; the probe that goes through closes the breaker."""
    well = False
    route, asked = answering(lambda: web.json_response({}) if well else page(503))
    options = {**FAST, "first_delay": 0.05, "longest_delay": 0.2}
    async with http_server(route) as place, RestClient(f"http://{place}/v4", attempts=1, **options) as client:
        for _ in range(5):
            with pytest.raises(ConnectError):
                await client.get("/height")
        with pytest.raises(ConnectError, match="left alone"):
            await client.get("/height")
        assert len(asked) == 5
        well = True
        async with asyncio.timeout(5.0):
            while len(asked) == 5:
                try:
                    await client.get("/height")
                except ConnectError:
                    await asyncio.sleep(0.01)
        assert (await client.get("/height")).status == 200


def test_the_breaker_waits_twice_as_long_after_each_probe_that_failed() -> None:
    now = [0.0]
    breaker = Breaker(2, 1.0, 3.0, lambda: now[0])
    breaker.failed()
    assert not breaker.is_open
    for wait in (1.0, 2.0, 3.0, 3.0):
        breaker.failed()
        now[0] += wait - 0.001
        assert breaker.is_open
        now[0] += 0.001
        assert not breaker.is_open
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open


async def test_nobody_there_is_given_up() -> None:
    async with http_server() as place:
        pass
    async with RestClient(f"http://{place}/v4", attempts=2, **FAST) as client:
        with pytest.raises(ConnectError, match="/height"):
            await client.get("/height")
    assert client.statistics.failures == 2


async def test_a_slow_answer_is_not_waited_for() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5.0)
        return web.json_response({})

    options = {**FAST, "timeout": 0.05}
    async with (
        http_server(web.get("/v4/height", slow)) as place,
        RestClient(f"http://{place}/v4", attempts=2, **options) as client,
    ):
        with pytest.raises(ConnectError, match="2 tries"):
            await client.get("/height")


async def test_a_body_without_end_is_cut_off() -> None:
    route, _ = answering(web.Response(body=bytes(200_000)))
    async with (
        http_server(route) as place,
        RestClient(f"http://{place}/v4", attempts=1, max_answer_bytes=100_000, **FAST) as client,
    ):
        with pytest.raises(ConnectError, match="more than 100000 bytes"):
            await client.get("/height")


async def test_requests_wait_for_their_turn_up_to_a_bound() -> None:
    """More than that is refused at once, and nothing is asked for them."""
    release = asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        await release.wait()
        return web.json_response({})

    async with (
        http_server(web.get("/v4/height", held)) as place,
        RestClient(f"http://{place}/v4", concurrency=1, waiting=2, **FAST) as client,
    ):
        asking = [asyncio.create_task(client.get("/height")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(CapacityError):
            await client.get("/height")
        release.set()
        assert [one.status for one in await asyncio.gather(*asking)] == [200] * 3


async def test_requests_keep_within_the_venues_limits() -> None:
    """One in ten seconds of each bucket: another bucket's does not wait for it."""
    route, asked = answering(web.json_response({}))
    async with http_server(route) as place, RestClient(f"http://{place}/v4", share=0.01, **FAST) as client:
        assert (await client.get("/height")).status == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get("/height")
        assert (await client.get("/fills?address=a")).status == 200
    assert len(asked) == 2
