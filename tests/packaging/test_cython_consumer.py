"""Cython code outside the package compiles against the installed headers and computes with the kernels."""

import subprocess
import sys
from pathlib import Path

CONSUMER = """
# cython: language_level=3
from libc.stdint cimport int64_t, uint32_t, uint64_t

from dydx_perf.ext.fixed cimport i128_to_object
from dydx_perf.ext.margin cimport account_risk, is_liquidatable, prepare_market
from dydx_perf.ext.structs cimport STATUS_OK, STRUCT_ABI_VERSION, market_t, position_t, risk_t, status_t

ABI = STRUCT_ABI_VERSION


def risk_of(int64_t usdc, int64_t quantums, uint64_t price):
    # One position; atomic resolution -10, exponent -5, initial margin 5 %, 60 % of it to maintain.
    cdef market_t market
    cdef position_t position
    cdef risk_t risk
    cdef status_t status
    cdef bint liquidatable
    market = market_t(
        price=price, power=-5 - 10 + 6, initial_margin_ppm=50_000, maintenance_fraction_ppm=600_000,
        height=-1, in_range=1,
    )
    position = position_t(quantums=quantums)
    with nogil:
        status = prepare_market(&market)
        if status == STATUS_OK:
            status = account_risk(&market, &position, 1, usdc, &risk)
        liquidatable = status == STATUS_OK and is_liquidatable(&risk)
    if status != STATUS_OK:
        return None
    return i128_to_object(risk.nc), i128_to_object(risk.imr), i128_to_object(risk.mmr), bool(liquidatable)
"""

SETUP = """
import dydx_perf
from Cython.Build import cythonize
from setuptools import Extension, setup

include = [dydx_perf.get_include()]
setup(
    name="consumer",
    ext_modules=cythonize(
        [Extension("consumer", ["consumer.pyx"], include_dirs=include)], include_path=include
    ),
    script_args=["-q", "build_ext", "--inplace"],
)
"""


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python in `folder`; return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_outside_module_computes_risk_with_the_kernels(tmp_path):
    """1 BTC at 20000 USDC, long on 100 and short on 20500: each figure is worked out by hand here."""
    (tmp_path / "consumer.pyx").write_text(CONSUMER)
    (tmp_path / "setup.py").write_text(SETUP)
    run_python(tmp_path, "setup.py")

    usdc, btc, price = 10**6, 10**10, 20_000 * 10**5
    code = f"""
import sys
sys.path.insert(0, "")
import consumer
print(consumer.ABI)
print(consumer.risk_of({100 * usdc}, {btc}, {price}))
print(consumer.risk_of({20_500 * usdc}, {-btc}, {price}))
print(consumer.risk_of({20_599 * usdc}, {-btc}, {price + 1}))
print(consumer.risk_of(0, 2**63 - 1, 2**64 - 1))
"""
    notional = 20_000 * usdc
    imr, mmr = notional * 5 // 100, notional * 3 // 100
    # One subtick more adds 10 quote quantums of notional, 0.5 to imr and 0.6 to mmr, each rounded up.
    assert run_python(tmp_path, "-c", code).splitlines() == [
        "1",
        str((100 * usdc + notional, imr, mmr, False)),
        str((500 * usdc, imr, mmr, True)),
        str((599 * usdc - 10, imr + 1, mmr + 1, True)),
        str(((2**63 - 1) * (2**64 - 1) // 10**9, *big_margins())),
    ]


def big_margins() -> tuple[int, int, bool]:
    """Margins of the largest size at the largest price: two ceilings for maintenance."""
    notional = (2**63 - 1) * (2**64 - 1) // 10**9
    imr = -(-notional * 50_000 // 10**6)
    return imr, -(-imr * 600_000 // 10**6), False
