"""The recording that ships: what it says of itself, and that its tool makes it (C9)."""

from __future__ import annotations

import importlib.util
import sys
from importlib.resources import as_file, files
from pathlib import Path

from dydx_perf.recording import RecordingReader

NAME = "crash_of_recorded_accounts.dydxfeed"
TOOL = Path(__file__).resolve().parents[1] / "tools" / "make_crash_recording.py"


def test_it_is_what_its_tool_makes() -> None:
    """Frame by frame; the file's own salt differs from run to run."""
    spec = importlib.util.spec_from_file_location("make_crash_recording", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool  # dataclasses look their module up
    spec.loader.exec_module(tool)
    with as_file(files("dydx_perf.data") / NAME) as path, RecordingReader(path) as reader:
        assert list(reader) == tool.recording()
        assert reader.about == tool.ABOUT
        assert reader.damage == []


def test_it_is_small_and_says_what_is_made_up() -> None:
    with as_file(files("dydx_perf.data") / NAME) as path:
        assert path.stat().st_size < 300_000
        with RecordingReader(path) as reader:
            assert "made up" in reader.about
            assert "real" in reader.about
