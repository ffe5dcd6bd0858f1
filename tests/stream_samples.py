"""Where the recorded samples of a node are, beside the repository or where told."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path

__all__ = ["SAMPLES", "constructed", "recorded"]


def shared_samples() -> Path | None:
    """Find them; None where they are not."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = (Path(told) if told else Path(__file__).resolve().parents[2] / "shared") / "samples" / "grpc"
    return folder if (folder / "recorded_stream.bin").is_file() else None


SAMPLES = shared_samples()


def recorded() -> list[tuple[float, bytes]]:
    """Messages of mainnet, December 2024, with the second at which each came."""
    assert SAMPLES is not None
    raw = (SAMPLES / "recorded_stream.bin").read_bytes()
    found, at = [], 0
    while at < len(raw):
        milliseconds = int.from_bytes(raw[at : at + 6], "big")
        (length,) = struct.unpack_from(">I", raw, at + 6)
        found.append((milliseconds / 1000, raw[at + 10 : at + 10 + length]))
        at += 10 + length
    return found


def constructed() -> dict[str, bytes]:
    """One message for each kind of update, by name."""
    assert SAMPLES is not None
    lines = (SAMPLES / "constructed_stream.jsonl").read_text("utf-8").splitlines()
    return {row["name"]: base64.b64decode(row["base64"]) for row in map(json.loads, lines)}
