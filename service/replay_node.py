"""The node's part of a replayed recording: unary answers by method and request, streams by method."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from dydx_perf.errors import ConnectError
from dydx_perf.feeds.node_queries import HEIGHT_KEY
from dydx_perf.service.playback import Item, Playback

__all__ = ["NodeServer", "serve_node"]

MOST_WAITING = 65_536  # messages of a stream that nobody reads
MAX_MESSAGE = 64 * 1024 * 1024


class NodeServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # untyped
    """Answer in bytes as the recorded node did; a question that it was not asked is UNAVAILABLE."""

    def __init__(self, playback: Playback) -> None:
        self.address = ""
        self._playback = playback
        self._streams = {item.key[0] for item in playback.items if item.kind == "stream"}
        self._readers: dict[asyncio.Queue[bytes], str] = {}

    def play(self, item: Item) -> None:
        """Send a message to everybody who reads its stream; who is far behind is cut off."""
        for reader, method in [*self._readers.items()]:
            if method == item.key[0]:
                try:
                    reader.put_nowait(item.rest)
                except asyncio.QueueFull:
                    del self._readers[reader]

    def service(self, details: Any) -> Any:
        """Return who answers a method."""
        method = details.method
        if method in self._streams:

            async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
                reader: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
                played = self._playback.items[: self._playback.position]
                self._readers[reader] = method
                try:
                    for item in played:
                        if item.kind == "stream" and item.key[0] == method:
                            yield item.rest
                    while reader in self._readers:
                        yield await reader.get()
                finally:
                    self._readers.pop(reader, None)

            return grpc.unary_stream_rpc_method_handler(stream)

        async def unary(request: bytes, context: Any) -> bytes:
            item = self._playback.answer("unary", method, request)
            if item is None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the recording has no answer to this")
            elif item.height is not None:
                await context.send_initial_metadata([(HEIGHT_KEY, str(item.height))])
            if item is not None and item.code:
                await context.abort(_status(item.code), "as recorded")
            return b"" if item is None else item.rest

        return grpc.unary_unary_rpc_method_handler(unary)


def _status(code: int) -> Any:
    by_number = {status.value[0]: status for status in grpc.StatusCode}
    return by_number.get(code, grpc.StatusCode.UNKNOWN)


@contextlib.asynccontextmanager
async def serve_node(playback: Playback, host: str, port: int) -> AsyncIterator[NodeServer]:
    """Serve what of a recording is a node's, without TLS, while the block lasts."""
    node = NodeServer(playback)
    options = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((node,))
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise ConnectError(f"{host}:{port}: {error}") from None
    await server.start()
    node.address = f"{host}:{bound}"
    try:
        yield node
    finally:
        await server.stop(0.2)
