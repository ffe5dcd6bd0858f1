"""Guide libFuzzer by the C of kernels that are built for it (DYDX_PERF_FUZZ): counters.c is part of those."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import ModuleType

import atheris

__all__ = ["guided"]


def guided(*kernels: ModuleType) -> int:
    """Give libFuzzer the counters of kernels, before `atheris.Fuzz`; 0: they are not built for it."""
    (path,) = Path(atheris.__file__).parent.glob("core_with_libfuzzer*.so")
    fuzzer = ctypes.CDLL(str(path))
    count = 0
    for kernel in kernels:
        library = ctypes.CDLL(kernel.__file__)
        if not hasattr(library, "counters"):
            continue
        here = ctypes.c_ulong.in_dll(library, "counter_count").value
        counters = (ctypes.c_uint8 * here).in_dll(library, "counters")
        places = (ctypes.c_size_t * (2 * here)).in_dll(library, "places")
        compared = (ctypes.c_void_p * 4).in_dll(library, "compared")
        start = ctypes.addressof(counters)
        places[::2] = range(start, start + here)  # any addresses, each once
        for size in range(4):
            hook = getattr(fuzzer, f"__sanitizer_cov_trace_cmp{1 << size}")
            compared[size] = ctypes.cast(hook, ctypes.c_void_p).value
        for name, first, length in (
            ("__sanitizer_cov_8bit_counters_init", start, here),
            ("__sanitizer_cov_pcs_init", ctypes.addressof(places), ctypes.sizeof(places)),
        ):
            getattr(fuzzer, name)(ctypes.c_void_p(first), ctypes.c_void_p(first + length))
        if not any(counters):
            raise SystemExit(f"{kernel.__name__} does not count where it is")
        count += here
    return count
