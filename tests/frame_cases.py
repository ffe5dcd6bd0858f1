"""Frames for the tests of the parser and the scanner: the project's own and the shared samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from dydx_perf.feeds.records import Scales

FOLDER = Path(__file__).resolve().parent / "data" / "frames"

#: ticker -> number, price exponent, atomic resolution; one of each shape that the venue has
MARKETS = {
    "BTC-USD": Scales(0, -5, -10),
    "ETH-USD": Scales(1, -6, -9),
    "LINK-USD": Scales(2, -9, -6),
    "SOL-USD": Scales(5, -8, -7),
    "LDO-USD": Scales(26, -9, -6),
    "BOME-USD": Scales(35, -12, -3),
    "PEPE-USD": Scales(46, -16, 1),
    "DOGE-USD": Scales(10, -11, -4),
    "AVAX-USD": Scales(7, -8, -7),
    "APE-USD": Scales(13, -9, -6),
    "FARTCOIN,RAYDIUM,9BB6NFECJBCTNNLFKO2FQVQBQ8HHM13KCYYCDQBGPUMP-USD": Scales(300, -10, -5),
}


def own_frames() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each frame of the project's own samples: one a line."""
    for path in sorted(FOLDER.glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            yield f"{path.stem}:{number}", line


def shared_frames() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each frame that the shared samples hold; none where they are not there."""
    samples = shared_samples()
    if samples is None:
        return
    for path in sorted((samples / "ws" / "recorded").iterdir()):
        lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path.name}:{number}", line
    for path in sorted((samples / "ws" / "constructed").iterdir()):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            row = json.loads(line)
            if row["dir"] == "server":
                yield f"{path.name}:{number}", json.dumps(row["msg"], separators=(",", ":")).encode()


def shared_samples() -> Path | None:
    """Find the recorded samples, beside the repository or where told."""
    told = os.environ.get("DYDX_PERF_SHARED")
    folder = (Path(told) if told else Path(__file__).resolve().parents[2] / "shared") / "samples"
    return folder if (folder / "ws").is_dir() else None
