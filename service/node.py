"""A node's unary queries over gRPC, all of one question at one height.

Bytes go out and come in; `dydx_perf.feeds.node` knows what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from dydx_perf.errors import ConfigError, ConnectError
from dydx_perf.feeds.events import AskNode
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import HEIGHT_KEY, NodeQuery, queries
from dydx_perf.service.config import Node

if TYPE_CHECKING:
    import grpc.aio

__all__ = ["NodeError", "NodeQueries", "node_queries"]

#: takes (query, answer, height that the answer told)
Record = Callable[[NodeQuery, bytes, int | None], None]

MAX_MESSAGE = 256 * 1024 * 1024
MAX_DETAILS = 200  # characters of what a node says of an error
AT_ONCE = 8  # queries under way
#: gRPC's own pause before it connects anew: by default it grows to two minutes
BACKOFF = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


class NodeError(ConnectError):
    """A node that cannot be reached, or refuses; `code` is the name of gRPC's status."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class NodeQueries:
    """Ask one node."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float, record: Record) -> None:
        self._channel = channel
        self._timeout = timeout
        self._record = record
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ask(self, ask: AskNode, pools: Iterable[tuple[int, bool]] = ()) -> NodePicture:
        """Ask what a session wants to know; the first answer's height is that of all others.

        Parameters
        ----------
        ask : AskNode
            With its markets the node's parameters and version are asked for, too.
        pools : iterable of (perpetual id, is isolated)
            Whose withdrawal gate and insurance fund are wanted with the markets.

        Raises
        ------
        ConnectError
            The node cannot be reached, or refuses.
        FrameError, InputError
            An answer cannot be read, or is of another height.
        """
        picture = NodePicture()
        asked = queries(
            ask.accounts,
            markets=ask.markets,
            parameters=ask.markets,
            pools=pools if ask.markets else (),
        )
        if not asked:
            return picture
        first, *others = asked
        following = await self._one(picture, first)
        try:
            async with asyncio.TaskGroup() as group:
                for query in [following, *others]:
                    if query is not None:
                        group.create_task(self._pages(picture, query))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return picture

    async def _pages(self, picture: NodePicture, query: NodeQuery) -> None:
        following: NodeQuery | None = query
        while following is not None:
            following = await self._one(picture, following)

    async def _one(self, picture: NodePicture, query: NodeQuery) -> NodeQuery | None:
        """Ask one query and return that for its next page."""
        answer, told = await self.one(query, picture.height)
        self._record(query, answer, told)
        return picture.answer(query, answer, height=told)

    async def one(
        self, query: NodeQuery, height: int | None, timeout: float | None = None
    ) -> tuple[bytes, int | None]:
        """Ask one query at a height, None: the newest; returns the answer and the height that it tells.

        Raises
        ------
        NodeError
        """
        import grpc

        pinned = [] if height is None else [(HEIGHT_KEY, str(height))]
        async with self._places:
            call = self._channel.unary_unary(query.method)(
                query.request, timeout=self._timeout if timeout is None else timeout, metadata=pinned
            )
            try:
                answer: bytes = await call
                told = _height([*(await call.initial_metadata()), *(await call.trailing_metadata())])
            except grpc.aio.AioRpcError as error:
                raise _refused(query.method, error) from None
        return answer, told

    def stream(self, method: str, request: bytes) -> grpc.aio.UnaryStreamCall:
        """Open a stream; what ends it is told by `stream_end`."""
        return self._channel.unary_stream(method)(request)

    @staticmethod
    async def stream_end(call: grpc.aio.UnaryStreamCall) -> NodeError:
        """Return how a stream ended."""
        code, details = await call.code(), await call.details()
        return NodeError(f"{code.name}: {details}", code.name)


def _refused(method: str, error: grpc.aio.AioRpcError) -> NodeError:
    details = " ".join((error.details() or "").split())[:MAX_DETAILS]
    return NodeError(f"{method}: {error.code().name}: {details}", error.code().name)


def _height(metadata: list[tuple[str, Any]]) -> int | None:
    """Return the height that an answer tells."""
    told = [str(value) for key, value in metadata if key == HEIGHT_KEY]
    return int(told[0]) if told and told[0].isdecimal() else None


@contextlib.asynccontextmanager
async def node_queries(node: Node, record: Record) -> AsyncIterator[NodeQueries]:
    """Hold a channel to a node while the block lasts.

    Raises
    ------
    ConfigError
        The grpc extra is missing.
    """
    try:
        import grpc.aio
        import v4_proto  # noqa: F401 - reading the answers needs it
    except ModuleNotFoundError as error:
        allowed = (
            f'nothing, or what the grpc extra brings: pip install "dydx-perf[grpc]" ({error.name} is missing)'
        )
        raise ConfigError("node.grpc", node.grpc, allowed) from None
    options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.keepalive_time_ms", 30_000), *BACKOFF]
    if node.tls:
        channel = grpc.aio.secure_channel(node.grpc, grpc.ssl_channel_credentials(), options=options)
    else:
        channel = grpc.aio.insecure_channel(node.grpc, options=options)
    async with channel:
        yield NodeQueries(channel, node.timeout, record)
