"""Frames for the tests of the parser and the scanner, the project's own and the shared; and the judge."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from dydx_perf.errors import FrameError
from dydx_perf.ext.frame import FrameScanner
from dydx_perf.feeds.envelope import DataMessage, Frame, parse_frame
from dydx_perf.feeds.records import Scales, read_data

DATA = Path(__file__).resolve().parent / "data"
FOLDER = DATA / "frames"
CORPUS = DATA / "corpus" / "frames"

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


def scanner(max_records: int = 8192) -> FrameScanner:
    """A scanner that knows `MARKETS`."""
    made = FrameScanner(max_records)
    for ticker, scales in MARKETS.items():
        made.register_market(ticker, *scales)
    return made


SCANNER = scanner()


def taken(data: Frame, by: FrameScanner = SCANNER) -> bool:
    """Whether the scanner took the frame; then the full parser takes it to the same header and records."""
    header = by.read(data)
    if header is None:
        assert by.records() == []
        return False
    message = parse_frame(data)
    assert isinstance(message, DataMessage)
    reading = read_data(message, {name: MARKETS[name] for name in by.scales})
    assert by.records() == reading.records
    assert header == (
        message.channel,
        message.id,
        message.message_id,
        message.version,
        message.batched,
        message.subaccount_number,
        len(message.contents),
        reading.block_height,
        reading.also,
        len(reading.records),
    )
    return True


def judge(data: bytes) -> None:
    """Whatever the bytes: they are read, or refused with their place; the scanner never disagrees."""
    taken(data)
    refused = None
    try:
        message = parse_frame(data)
        if isinstance(message, DataMessage):
            read_data(message, MARKETS)
    except FrameError as error:
        refused = error
    assert refused is None or refused.reason
    assert refused is None or refused.place is None or 0 <= refused.place <= len(data)
