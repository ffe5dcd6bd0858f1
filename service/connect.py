"""The WebSocket client: picows, or aiohttp's where picows is missing or not wanted. Both behave alike.

Hazard: a frame that a `Receiver` is handed may be the socket's own memory. It holds until `frame` returns;
what is to stay is copied. Receivers are called in the loop's thread, and must not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

import aiohttp

from dydx_perf.errors import ConnectError

if TYPE_CHECKING:
    from picows import WSFrame, WSTransport

__all__ = ["Closed", "Connection", "Receiver", "chosen_transport", "connection"]

Choice = Literal["auto", "picows", "aiohttp"]

NO_STATUS = 1005  # RFC 6455: a close frame without a code
MAX_REASON = 200  # characters of what another library says
CLOSE_WAIT = 2.0  # seconds that a peer has to answer our close frame


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended; `code` is None where no close frame came."""

    code: int | None
    reason: str


class Receiver(Protocol):
    """Who is told of what comes."""

    def opened(self, wire: Connection) -> None:
        """Hear of the connection, before anything comes on it."""

    def frame(self, data: bytes | memoryview) -> None:
        """Take one whole message."""

    def pinged(self) -> None:
        """Hear that the peer sent a ping; it is answered."""


class Connection(Protocol):
    """A connection that is open, or was."""

    def send(self, data: bytes) -> None:
        """Send one text frame; on a connection that is gone, nothing happens."""

    def abort(self) -> None:
        """Cut the connection without waiting for anybody."""

    async def closed(self) -> Closed:
        """Wait for its end. What a receiver raised is raised here."""


def chosen_transport(choice: Choice) -> Literal["picows", "aiohttp"]:
    """Return the transport that `choice` means here.

    Raises
    ------
    ConnectError
        picows is asked for and not installed.
    """
    installed = find_spec("picows") is not None
    if choice == "picows" and not installed:
        raise ConnectError("picows is not installed")
    if choice == "auto":
        return "picows" if installed else "aiohttp"
    return choice


@contextlib.asynccontextmanager
async def connection(
    url: str, receiver: Receiver, *, transport: Choice = "auto", timeout: float, max_frame_bytes: int
) -> AsyncIterator[Connection]:
    """Connect, and close at the end of the block, politely where nothing was wrong.

    Parameters
    ----------
    url : str
    receiver : Receiver
    transport : "auto", "picows" or "aiohttp"
    timeout : float
        Seconds for the connection and the handshake.
    max_frame_bytes : int
        Of a whole message; a longer one ends the connection.

    Raises
    ------
    ConnectError
        No connection came about.
    """
    if chosen_transport(transport) == "picows":
        opened = _picows(url, receiver, timeout, max_frame_bytes)
    else:
        opened = _aiohttp(url, receiver, timeout, max_frame_bytes)
    async with opened as made:
        yield made


def _refused(url: str, error: BaseException, timeout: float) -> ConnectError:
    return ConnectError(f"{url}: {_reason(error, timeout)}")


def _reason(error: BaseException, timeout: float) -> str:
    """Say in a few words of one line why no connection came about."""
    cause = getattr(error, "os_error", error)  # aiohttp wraps it
    if isinstance(cause, TimeoutError) and cause.errno is None:
        return f"no answer within {timeout:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, socket.gaierror):
        return f"the host's name has no address ({cause.strerror})"
    if status := getattr(error, "status", None) or getattr(getattr(error, "response", None), "status", None):
        return f"answered {int(status)} in place of a WebSocket"
    if isinstance(cause, OSError):  # of several addresses, the first one's
        found = re.search(r"\[Errno (\d+)\]", str(cause))
        number = cause.errno or (int(found[1]) if found else None)
        if number is not None:
            return os.strerror(number)
    return " ".join(str(error).split())[:MAX_REASON] or type(error).__name__


# ---- picows


@contextlib.asynccontextmanager
async def _picows(
    url: str, receiver: Receiver, timeout: float, max_frame_bytes: int
) -> AsyncIterator[Connection]:
    import picows

    class Wire:
        end = Closed(None, "the connection was lost")

        def __init__(self, transport: WSTransport) -> None:
            self.transport = transport

        def send(self, data: bytes) -> None:
            if not self.transport.is_disconnected:
                self.transport.send(text, data)

        def abort(self) -> None:
            self.transport.disconnect(graceful=False)

        async def closed(self) -> Closed:
            try:
                await self.transport.wait_disconnected()
            except (picows.WSError, OSError) as error:
                return Closed(1002, str(error))
            return self.end

    class Listener(picows.WSListener):
        """Hand each message over as it lies in the read buffer; only fragments are copied together."""

        wire: Wire

        def __init__(self) -> None:
            self.parts: list[bytes] = []
            self.size = 0

        def on_ws_connected(self, transport: WSTransport) -> None:
            self.wire = Wire(transport)
            receiver.opened(self.wire)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            kind = frame.msg_type
            if transport.is_close_frame_sent and kind is not close:
                return  # after an error picows parses on until the connection is down
            if kind is text or kind is binary or kind is continuation:
                if (kind is continuation) is not bool(self.parts):
                    self.stop(transport, Closed(1002, "fragments of a message that do not follow each other"))
                elif frame.fin and not self.parts:
                    receiver.frame(frame.get_payload_as_memoryview())
                else:
                    self.join(transport, frame)
            elif kind is ping:
                transport.send_pong(frame.get_payload_as_bytes())
                receiver.pinged()
            elif kind is close:
                payload = frame.get_payload_as_bytes()
                code = struct.unpack_from(">H", payload)[0] if len(payload) >= 2 else NO_STATUS
                self.wire.end = Closed(code, payload[2:].decode("utf-8", "replace"))
                if not transport.is_close_frame_sent:
                    transport.send(close, payload[:2])
                transport.disconnect()

        def join(self, transport: WSTransport, frame: WSFrame) -> None:
            self.parts.append(frame.get_payload_as_bytes())
            self.size += len(self.parts[-1])
            if self.size > max_frame_bytes:
                self.stop(transport, Closed(1009, "a message is longer than is taken"))
            elif frame.fin:
                whole, self.parts, self.size = b"".join(self.parts), [], 0
                receiver.frame(whole)

        def stop(self, transport: WSTransport, why: Closed) -> None:
            self.wire.end, self.parts = why, []
            transport.disconnect(graceful=False)

    text, binary, continuation = (
        picows.WSMsgType.TEXT,
        picows.WSMsgType.BINARY,
        picows.WSMsgType.CONTINUATION,
    )
    ping, close = picows.WSMsgType.PING, picows.WSMsgType.CLOSE
    try:
        async with asyncio.timeout(timeout):
            listener = Listener()
            made, _ = await picows.ws_connect(
                lambda: listener,
                url,
                websocket_handshake_timeout=timeout,
                enable_auto_pong=False,
                max_frame_size=max_frame_bytes,
                logger_name="feed",
            )
    except (OSError, TimeoutError, picows.WSError, ValueError) as error:
        raise _refused(url, error, timeout) from None

    try:
        yield listener.wire
    finally:
        if not made.is_disconnected:
            made.send_close(picows.WSCloseCode.OK)
            with contextlib.suppress(Exception):  # what a receiver raised is told by `closed`
                async with asyncio.timeout(CLOSE_WAIT):
                    await made.wait_disconnected()
            made.disconnect(graceful=False)
            with contextlib.suppress(Exception):
                await made.wait_disconnected()


# ---- aiohttp


@contextlib.asynccontextmanager
async def _aiohttp(
    url: str, receiver: Receiver, timeout: float, max_frame_bytes: int
) -> AsyncIterator[Connection]:
    kinds = aiohttp.WSMsgType
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(timeout):
                session = await stack.enter_async_context(aiohttp.ClientSession())
                peer = await session.ws_connect(
                    url,
                    autoping=False,
                    autoclose=False,
                    decode_text=False,
                    max_msg_size=max_frame_bytes,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WAIT),
                )
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise _refused(url, error, timeout) from None
        sending: set[asyncio.Task[None]] = set()

        async def read() -> Closed:
            while True:
                message = await peer.receive()
                kind = message.type
                if kind is kinds.TEXT or kind is kinds.BINARY:
                    receiver.frame(message.data)
                elif kind is kinds.PING:
                    send(message.data, kinds.PONG)
                    receiver.pinged()
                elif kind is kinds.CLOSE:
                    return Closed(message.data or NO_STATUS, message.extra or "")
                elif kind is kinds.ERROR:
                    is_ours = isinstance(message.data, aiohttp.WebSocketError)
                    return Closed(1002 if is_ours else None, str(message.data))
                elif kind is not kinds.PONG:
                    return Closed(None, "the connection was lost")

        def send(data: bytes, kind: aiohttp.WSMsgType) -> None:
            if not peer.closed:  # tasks begin in order, and a frame is written before the first wait
                task = asyncio.create_task(forward(data, kind))
                sending.add(task)
                task.add_done_callback(sending.discard)

        async def forward(data: bytes, kind: aiohttp.WSMsgType) -> None:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await peer.send_frame(data, kind)

        reading = asyncio.create_task(read())

        class Wire:
            def send(self, data: bytes) -> None:
                send(data, kinds.TEXT)

            def abort(self) -> None:
                transport = peer.get_extra_info("transport")
                if transport is not None:
                    transport.abort()
                reading.cancel()  # aiohttp does not wake a reader when its own side cuts

            async def closed(self) -> Closed:
                await asyncio.wait([reading])
                return Closed(None, "cut here") if reading.cancelled() else reading.result()

        wire = Wire()
        receiver.opened(wire)  # reading begins with the next wait
        try:
            yield wire
        finally:
            for task in [reading, *sending]:
                task.cancel()
            await asyncio.gather(reading, *sending, return_exceptions=True)
            await peer.close()
