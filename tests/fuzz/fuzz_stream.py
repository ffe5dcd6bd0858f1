"""Coverage-guided fuzzing of the scanners of a node's messages, held to v4-proto where that is installed.

Run as ``python tests/fuzz/fuzz_stream.py tests/data/corpus/stream``. The first byte of an input chooses the
scanner; what the fuzzer finds goes into the corpus, which tests/test_stream_corpus.py replays in every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dydx_perf import FrameError
from dydx_perf.ext.stream import StreamScanner, read_integer, scan_subaccounts

SCANNER = StreamScanner(max_records=4096, max_bytes=1 << 20)


def one_input(data: bytes) -> None:
    """Scan what follows the first byte: no crash, and a refusal names a place within."""
    body = data[1:]
    refused = None
    try:
        match data[:1]:
            case b"p":
                scan_subaccounts(body)
            case b"i":
                read_integer(body)
            case _:
                SCANNER.scan(body)
                SCANNER.updates()
    except FrameError as error:
        refused = error
    if refused is not None:
        assert refused.place is not None
        assert 0 <= refused.place <= len(body)
        assert len(SCANNER) == SCANNER.record_count == 0
    SCANNER.release()


def main() -> None:
    """Fuzz until stopped."""
    import atheris

    try:
        sys.path.append(str(Path(__file__).resolve().parents[1] / "grpc"))
        sys.path.append(str(Path(__file__).resolve().parents[1]))
        from test_stream_scanner import agree
    except ImportError:

        def agree(data: bytes) -> bool:
            return False

    def both(data: bytes) -> None:
        one_input(data)
        if data[:1] == b"s":
            agree(data[1:])

    atheris.Setup(sys.argv, both)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
