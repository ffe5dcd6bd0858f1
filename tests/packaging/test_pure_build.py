"""Where the kernels cannot be compiled, the build says so and the exact Python arithmetic answers alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("switches", "why"),
    [
        ({"DYDX_PERF_PURE": "1"}, "DYDX_PERF_PURE=1"),
        ({"DYDX_PERF_PURE": "", "CC": "no-such-compiler"}, "no C compiler that has 128-bit integers"),
        # gcc and clang lack __int128 where longs have 32 bits; without the type the probe must fail likewise.
        (
            {"DYDX_PERF_PURE": "", "CFLAGS": "-D__int128=no_such_type"},
            "no C compiler that has 128-bit integers",
        ),
    ],
    ids=["asked", "no compiler", "no 128-bit integers"],
)
def test_a_build_without_kernels_says_why_and_proves_itself(backend, source, tmp_path, switches, why):
    """The wheel fits every platform, knows that it is not compiled, and passes every shipped vector."""
    done = backend(source, "build_wheel", tmp_path, **switches)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("dydx_perf: ")]
    assert len(said) >= 1
    assert why in said[0]
    assert "built without kernels: the exact Python arithmetic is used" in said[0]

    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
        archive.extractall(site)
    assert run_python(site, "-c", "import dydx_perf.kernel as k; print(k.__file__, k.COMPILED)").split() == [
        str(site / "dydx_perf" / "kernel.py"),
        "False",
    ]
    last = run_python(site, "-m", "dydx_perf", "verify").splitlines()[-1]
    total, identical = last.removeprefix("total: ").removesuffix(" identical").split(" of ")
    assert int(total) == int(identical) > 1000


def test_a_build_that_must_have_kernels_does_not_fall_back(backend, source, tmp_path):
    """DYDX_PERF_PURE=0 makes a missing compiler an error, so that a release never ships without kernels."""
    done = backend(source, "build_wheel", tmp_path, DYDX_PERF_PURE="0", CC="no-such-compiler")
    assert done.returncode != 0
    assert "the kernels cannot be compiled" in done.stderr
    assert not list(tmp_path.glob("*.whl"))


def run_python(site: Path, *arguments: str) -> str:
    """Run Python with `site` before everything installed; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
