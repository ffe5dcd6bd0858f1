"""The HTTP interface: what is watched, for people, programs and Prometheus.

Nothing here changes anything. Errors are JSON with one sentence; a figure that cannot be trusted comes with
the verdict "unknown" and the reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from dydx_perf.errors import CapacityError, ConnectError, UnknownSubaccountError
from dydx_perf.service import answers
from dydx_perf.service.broadcast import Reader
from dydx_perf.service.chain_api import ChainApi
from dydx_perf.service.config import SUBACCOUNTS, Api
from dydx_perf.service.metrics import CONTENT_TYPE, Metrics
from dydx_perf.service.proof import proof_answer
from dydx_perf.service.watch import Watch

__all__ = ["Application", "serve"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PULSE = 15.0  # seconds after which a stream without events gets a comment, so that a dead one is noticed
STOP_WITHIN = 2.0
NUMBER = re.compile("[0-9]{1,6}")


class Application:
    """Answers about one watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._metrics = Metrics(watch)
        self._chain = ChainApi(watch)

    def routes(self) -> list[web.RouteDef]:
        """Return what is answered."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
            web.get("/v1/subaccounts", self.subaccounts),
            web.get("/v1/subaccounts/{address}/{number}/risk", self.risk),
            web.get("/v1/subaccounts/{address}/{number}/explain", self.explain),
            web.get("/v1/markets", self.markets),
            web.get("/v1/proof", self.proof),
            web.get("/v1/stream", self.stream),
            web.get("/v1/at-risk", self.at_risk),
            web.get("/v1/ladder/{market}", self.ladder),
            web.get("/v1/liquidations/next", self.next_liquidations),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """Tell that the process answers, whatever the feed does."""
        return _json({"status": "alive"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Tell whether the figures of every account may be trusted; 503 with the reasons where not."""
        reasons = self._watch.unready()
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        """Return the figures for Prometheus."""
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def subaccounts(self, request: web.Request) -> web.Response:
        """Return every account that is watched."""
        return _json([self._risk(address, number) for address, number in self._watch.accounts()])

    async def risk(self, request: web.Request) -> web.Response:
        """Return the risk of one account."""
        return _json(self._risk(*_named(request)))

    def _risk(self, address: str, number: int) -> answers.RiskAnswer:
        watched = self._watch.risk(address, number)
        account = None
        with contextlib.suppress(UnknownSubaccountError):
            account = self._watch.book.subaccount((address, number))
        return answers.risk_answer(watched, account if watched.risk is not None else None)

    async def explain(self, request: web.Request) -> web.Response:
        """Return the chain's, the indexer's and the web app's figures, and why they differ."""
        address, number = _named(request)
        watched = self._watch.risk(address, number)
        if watched.risk is None:
            why = ", ".join(watched.doubts) or "no snapshot yet"
            return _error(503, f"{address}/{number} cannot be explained: {why}")
        return _json(self._watch.explain(address, number))

    async def markets(self, request: web.Request) -> web.Response:
        """Return all markets that are known."""
        chain = self._watch.shown_chain
        return _json(
            answers.MarketsAnswer(
                height=chain.height,
                basis=chain.basis,
                markets=[
                    answers.market_answer(market, *self._watch.standing_of(market.ticker)) for market in chain
                ],
            )
        )

    async def proof(self, request: web.Request) -> web.Response:
        """Return how the liquidations that were seen had been shown before they came."""
        return _json(proof_answer(self._watch.proof))

    async def at_risk(self, request: web.Request) -> web.Response:
        """Return the riskiest accounts of the whole chain."""
        return _json(self._chain.at_risk(request))

    async def ladder(self, request: web.Request) -> web.Response:
        """Return what of a market is liquidated at which price."""
        return _json(self._chain.ladder(request))

    async def next_liquidations(self, request: web.Request) -> web.Response:
        """Return what the next block may liquidate."""
        return _json(self._chain.next(request))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send the state of every account, then each risk event in order."""
        try:
            with self._watch.broadcast.reader() as reader:
                return await self._stream(request, reader)
        except CapacityError as error:
            return _error(503, str(error))

    async def _stream(self, request: web.Request, reader: Reader) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        state = [self._risk(address, number) for address, number in self._watch.accounts()]
        first = answers.server_sent(self._watch.broadcast.sent, "state", state)
        with contextlib.suppress(ConnectionError):  # the reader left
            await response.prepare(request)
            await response.write(first)
            while True:
                message = await reader.next(PULSE)
                if message is not None:
                    await response.write(message)
                elif reader.is_open:
                    await response.write(b": height %d\n\n" % (self._watch.height or 0))
                else:
                    break
            if reader.fell_behind:
                note = {"reason": "the reader fell behind; begin again from the state"}
                await response.write(answers.server_sent(self._watch.broadcast.sent, "dropped", note))
            await response.write_eof()
        return response


def _named(request: web.Request) -> tuple[str, int]:
    """Return the account that a path names."""
    address, number = request.match_info["address"], request.match_info["number"]
    if not NUMBER.fullmatch(number) or int(number) >= SUBACCOUNTS:
        raise web.HTTPBadRequest(text=f"{number!r} is no subaccount number: 0 to {SUBACCOUNTS - 1}")
    return address, int(number)


def _json(answer: object, status: int = 200) -> web.Response:
    return web.Response(
        body=answers.encode(answer),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _error(status: int, text: str) -> web.Response:
    return _json(answers.ErrorAnswer(error=text), status)


@web.middleware
async def plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every refusal in JSON."""
    try:
        return await handler(request)
    except UnknownSubaccountError as error:
        return _error(404, f"{error}: it is not watched".replace("is not in the book: ", ""))
    except web.HTTPException as error:
        return _error(error.status, error.text or error.reason)


@contextlib.asynccontextmanager
async def serve(watch: Watch, api: Api) -> AsyncIterator[str]:
    """Answer while the block lasts; yields the base address.

    Raises
    ------
    ConnectError
        The port is taken, or the host is not one of this machine.
    """
    application = web.Application(middlewares=[plain_errors])
    application.router.add_routes(Application(watch).routes())
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=STOP_WITHIN,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, api.host, api.port).start()
        except OSError as error:
            raise ConnectError(f"{api.host}:{api.port}: {error.strerror or error}") from None
        host = f"[{api.host}]" if ":" in api.host else api.host
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        watch.broadcast.close()
        await asyncio.shield(runner.cleanup())
