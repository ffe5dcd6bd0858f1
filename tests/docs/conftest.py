"""Collect the tests of the documentation where the documentation is."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

collect_ignore = []
if not (ROOT / "docs" / "index.md").exists():
    collect_ignore += ["test_docs.py"]
# Commands and links point into the whole source tree.
if not ((ROOT / "docs" / "index.md").exists() and (ROOT / "Makefile").exists()):
    collect_ignore += ["test_references.py"]
