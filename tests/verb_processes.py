"""Verbs called as processes, for the tests of the service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

__all__ = ["called", "line_with", "run"]


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Call a verb to its end."""
    async with called(*arguments, **environment) as process:
        out, err = await asyncio.wait_for(process.communicate(), 60.0)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def called(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "dydx_perf", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def line_with(stream: asyncio.StreamReader | None, what: str) -> str:
    """Return the first line that holds a text."""
    assert stream is not None
    async with asyncio.timeout(30.0):
        while what not in (line := (await stream.readline()).decode()):
            assert line, f"it ended without {what!r}"
    return line.strip()
