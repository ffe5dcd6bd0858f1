"""Coverage-guided fuzzing of a node's messages: scanners, v4-proto beside them, and a session.

Run as ``make fuzz``. The first byte of an input chooses: a page of subaccounts, an integer, else a message of
the stream. Two thirds of the inputs are made by the fuzzer's own mutations, the others are messages of the
schema as other writers write them, and damage to them. The C code tells the fuzzer where it is (counters.c).
What it finds goes to build/fuzz/stream; ``fuzz_stream.py --keep FOLDER`` takes inputs of a folder into the
corpus with what v4-proto says of them, and tests/test_stream_corpus.py replays that in every run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from random import Random

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "grpc"), str(Path(__file__).resolve().parent)]
IS_FUZZING = "--keep" not in sys.argv
if IS_FUZZING:
    import atheris
    from guide import guided

from frame_makers import damaged  # noqa: E402
from node_stream_cases import live  # noqa: E402
from stream_judge import StreamOrderbookUpdatesResponse, encoded, fill_at_random  # noqa: E402
from test_stream_scanner import agree, judged  # noqa: E402

from dydx_perf import FrameError  # noqa: E402
from dydx_perf.ext import stream  # noqa: E402
from dydx_perf.ext.stream import StreamScanner, read_integer, scan_subaccounts  # noqa: E402

CORPUS = TESTS / "data" / "corpus" / "stream"
SCANNER = StreamScanner(max_records=4096, max_bytes=1 << 20)


def scan(data: bytes) -> None:
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


def take(message: bytes) -> None:
    """Give a message to a session that is live: it takes it, or refuses it with nothing changed."""
    session = live()
    book = session.book
    orders = session.order_book("ETH-USD")
    assert orders is not None

    def state() -> object:
        return book.to_bytes(), len(orders), orders.queues.arrival, session.height

    before = state()
    try:
        session.receive(message, 2)
    except FrameError:
        assert state() == before
        assert "disconnected" in session.risk(*next(iter(book)), 2).doubts
    book.rescan()
    assert all(book[name] == book.subaccount(name).risk for name in book)


def one_input(data: bytes) -> None:
    """Whatever an input is, every reader of it says the same."""
    scan(data)
    if data[:1] not in (b"p", b"i"):
        agree(data[1:])
        if len(data) % 8 == 0:  # costs as much as many scans
            take(data[1:])


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """An input made of another one, or a new one."""
    random = Random(seed)
    kind = random.random()
    if kind < 0.2:
        return damaged(random, data)[:max_size]
    if kind < 0.33:
        made = StreamOrderbookUpdatesResponse()
        fill_at_random(made, random, random.choice((0.3, 0.6, 0.9)))
        return (b"s" + encoded(made, random))[:max_size]
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def keep(folder: Path) -> int:
    """Take the inputs of a folder into the corpus; returns how many are new."""
    said = json.loads((CORPUS / "expected.json").read_text("utf-8"))
    known = {path.read_bytes() for path in CORPUS.glob("*.bin")}
    count = 0
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        if data in known:
            continue
        name = f"found_{hashlib.sha1(data).hexdigest()[:12]}"
        (CORPUS / f"{name}.bin").write_bytes(data)
        if data[:1] == b"s":
            one_input(data)
            try:
                SCANNER.scan(data[1:])
            except FrameError:
                said[name] = None  # v4-proto refused it, or this library is stricter
            else:
                said[name] = judged(data[1:])
            SCANNER.release()
        count += 1
    (CORPUS / "expected.json").write_text(json.dumps(said, indent=0, sort_keys=True) + "\n", "utf-8")
    return count


def main() -> None:
    """Fuzz until stopped, or keep what was found."""
    if not IS_FUZZING:
        print(f"{keep(Path(sys.argv[sys.argv.index('--keep') + 1]))} inputs are new in the corpus")
        return
    scan((CORPUS / "any_00.bin").read_bytes())
    print(f"guided by {guided(stream)} counters in C")
    atheris.Setup(sys.argv, one_input, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
