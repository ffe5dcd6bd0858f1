"""Test the installed package, never the source folder beside the tests; choose the Hypothesis profile."""

import json
import os
import sys
from importlib.metadata import distribution
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent


def leave_source_folder() -> bool:
    """Take the folder beside the tests off ``sys.path`` unless an editable install put it there; tell."""
    everything = list(sys.path)
    sys.path[:] = [entry for entry in everything if Path(entry or ".").resolve() != ROOT]
    origin = json.loads(distribution("dydx-perf").read_text("direct_url.json") or "{}")
    editable = bool(origin.get("dir_info", {}).get("editable"))
    if editable:
        sys.path[:] = everything
    os.environ["PYTHONSAFEPATH"] = "1"  # for the processes that tests start
    return editable


collect_ignore = []
if leave_source_folder():
    # An editable install has no wheel's list of files.
    collect_ignore += ["packaging/test_wheel_contents.py", "packaging/test_sdist.py"]

# No deadline: a busy machine is not a wrong answer. CI draws the same examples each time; `deep` is for a
# long search by hand: make test DYDX_PERF_EXAMPLES=deep.
settings.register_profile("everyday", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile("deep", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("DYDX_PERF_EXAMPLES", "ci" if os.environ.get("CI") else "everyday"))

# The tests that build need sources: this folder's, or an sdist named by DYDX_PERF_SDIST.
if not (ROOT / "setup.py").exists() and not os.environ.get("DYDX_PERF_SDIST"):
    collect_ignore += ["packaging/test_pure_build.py", "packaging/test_sdist.py"]
