"""Coverage-guided fuzzing of the indexer's frames: full parser, plain records, the scanner beside them.

Run as ``make fuzz``. Half of the inputs are made by the fuzzer's own mutations, half by damage to frames of
the schema; what it finds goes into the corpus, which tests/test_frame.py replays in every run. It is guided
by the coverage of the Python code, or where kernels are built for it, of the scanner's C (guide.py).
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import atheris

sys.path += [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from guide import guided

with atheris.instrument_imports(include=["dydx_perf.feeds.envelope", "dydx_perf.feeds.records"]):
    from frame_cases import judge
    from frame_makers import damaged, frame, written

    from dydx_perf.ext import frame as kernel


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """An input made of another one, or a new one."""
    random = Random(seed)
    kind = random.random()
    if kind < 0.45:
        made = damaged(random, data)
    elif kind < 0.5:
        made = written(random, frame(random))
    else:
        return atheris.Mutate(data, max_size)
    return made[:max_size]


if __name__ == "__main__":
    judge(b'{"type":"channel_data"}')
    print(f"guided by {guided(kernel)} counters in C")
    atheris.Setup(sys.argv, judge, custom_mutator=mutated)
    atheris.Fuzz()
