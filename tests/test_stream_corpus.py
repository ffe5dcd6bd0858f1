"""The corpus of the scanners of a node's messages, replayed: what it found stays found (C3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dydx_perf import FrameError
from dydx_perf.ext.stream import ORDER_BOOK, StreamScanner, read_integer, scan_subaccounts

CORPUS = Path(__file__).parent / "data" / "corpus" / "stream"
#: what v4-proto said of each message when it was put there; null: it refused it, or this library is stricter
EXPECTED: dict[str, Any] = json.loads((CORPUS / "expected.json").read_text("utf-8"))


def as_json(value: Any) -> Any:
    """Tuples as lists."""
    return json.loads(json.dumps(value))


def outcome(scanner: StreamScanner, kind: bytes, body: bytes) -> Any:
    """Return what a scanner makes of an input, or its refusal."""
    try:
        match kind:
            case b"p":
                return scan_subaccounts(body)
            case b"i":
                return read_integer(body)
        scanner.scan(body)
    except FrameError as refused:
        return refused
    return as_json(
        [
            (*head, sorted(records, key=lambda record: record[0]) if head[2] != ORDER_BOOK else records)
            for *head, records in scanner.updates()
        ]
    )


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bin")), ids=lambda path: path.stem)
def test_an_input_of_the_corpus_reads_as_it_should(path: Path) -> None:
    """The updates that v4-proto read, or a refusal with a place; the next one is none the worse."""
    data, scanner = path.read_bytes(), StreamScanner()
    found = outcome(scanner, data[:1], data[1:])
    if isinstance(found, FrameError):
        assert found.place is not None
        assert 0 <= found.place < len(data)
        assert EXPECTED.get(path.stem) is None
        assert (len(scanner), scanner.record_count) == (0, 0)
    elif data[:1] == b"s":
        assert found == EXPECTED[path.stem]
    assert scanner.scan(b"\x0a\x02\x08\x07") == 1
    assert scanner.updates() == [(7, 0, 0, False, [])]


def test_a_scanner_holds_its_buffer_until_it_is_released() -> None:
    """A bytearray cannot be resized meanwhile, and can afterwards, also after a refusal."""
    scanner, data = StreamScanner(), bytearray(b"\x0a\x02\x08\x07")
    scanner.scan(data)
    with pytest.raises(BufferError):
        data.append(0)
    scanner.release()
    data.append(0x0A)
    with pytest.raises(FrameError):
        scanner.scan(data)
    data.append(0)


def test_a_message_longer_than_allowed_is_refused_unread() -> None:
    """The limit is the reader's own."""
    with pytest.raises(FrameError, match="at most 3 bytes"):
        StreamScanner(max_bytes=3).scan(b"\x0a\x02\x08\x07")
    with pytest.raises(FrameError, match="at most 3 bytes"):
        scan_subaccounts(b"\x0a\x02\x08\x07", max_bytes=3)


def test_what_is_no_buffer_of_bytes_is_refused() -> None:
    """Text is no message."""
    with pytest.raises(TypeError):
        StreamScanner().scan("text")  # type: ignore[arg-type]


def test_an_update_that_is_not_there_is_refused() -> None:
    """Past the last, and after a release."""
    scanner = StreamScanner()
    scanner.scan(b"\x0a\x02\x08\x07")
    assert scanner.header(0) == (7, 0, 0, False)
    assert scanner.records(0) == []
    with pytest.raises(IndexError):
        scanner.header(1)
    scanner.release()
    with pytest.raises(IndexError):
        scanner.records(0)
