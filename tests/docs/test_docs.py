"""What the documentation shows runs, prints what it says, and the table of functions is whole."""

import ast
import gzip
import importlib
import io
import re
import subprocess
import sys
import tokenize
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

import dydx_perf
from dydx_perf import verify
from dydx_perf.verify.answers import ANSWERS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=ticks)\s*$", re.MULTILINE | re.DOTALL
)
ANSWER = "# ->"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, its first line in the page, and what stands before it."""

    language: str
    text: str
    line: int
    gap: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found, end = [], 0
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        found.append(Block(match["language"].strip(), match["text"], line, page[end : match.start()]))
        end = match.end()
    return found


def answers(source: str) -> dict[int, str]:
    """The `# -> ...` comments of a block, by line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.removeprefix(ANSWER).strip()
        for token in tokens
        if token.type == tokenize.COMMENT and token.string.startswith(ANSWER)
    }


def run_block(block: Block, namespace: dict[str, object], name: str) -> str:
    """Run a block, compare each value that has an answer beside it, return what was printed."""
    source = "\n" * (block.line - 1) + block.text  # so that a failure names the page's own line
    expected = answers(source)
    printed = io.StringIO()
    with redirect_stdout(printed):
        for statement in ast.parse(source, name).body:
            answer = expected.pop(statement.end_lineno or 0, None)
            if answer is None:
                exec(compile(ast.Module([statement], []), name, "exec"), namespace)
                continue
            assert isinstance(statement, ast.Expr), (
                f"{name}:{statement.lineno}: only an expression has a value"
            )
            value = eval(compile(ast.Expression(statement.value), name, "eval"), namespace)
            assert repr(value) == answer, f"{name}:{statement.lineno}"
    assert not expected, f"{name}: answers beside no statement: {expected}"
    return printed.getvalue()


def page_text(page: Path) -> str:
    return page.read_text("utf-8")


def has_python(page: Path) -> bool:
    return any(block.language == "python" for block in blocks(page_text(page)))


# What the code of a page needs beside the library: where it is not installed, the page is not collected.
NEEDS = {"signing.md": "v4_proto"}


def runs_here(page: Path) -> bool:
    return has_python(page) and (page.name not in NEEDS or find_spec(NEEDS[page.name]) is not None)


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES if runs_here(p)])
def test_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    """Blocks share a namespace; what a block prints stands in the text block under it, to the letter."""
    text = page_text(page)
    monkeypatch.chdir(tmp_path)
    write_captioned_files(text, tmp_path)
    if (tmp_path / "setup.py").exists():
        build_extension(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
    namespace: dict[str, object] = {"__name__": "__docs__"}
    printed, origin = "", ""
    for block in blocks(text):
        under = block.language == "text" and not block.gap.strip()
        if printed:
            assert under, f"{page.name}:{origin}: what this block prints is not shown under it"
            assert printed == block.text, f"{page.name}:{block.line}"
            printed = ""
            continue
        if block.language == "python":
            printed, origin = run_block(block, namespace, page.name), str(block.line)
        elif under and origin:
            raise AssertionError(f"{page.name}:{block.line}: nothing printed this")
        origin = origin if block.language == "python" else ""
    assert not printed, f"{page.name}:{origin}: what this block prints is not shown under it"


CAPTION = re.compile(r"\A:caption: (?P<name>[\w.]+)\n\n?(?P<text>.*)\Z", re.DOTALL)


def write_captioned_files(page: str, folder: Path) -> None:
    """Write the code blocks that a caption names as files."""
    for block in blocks(page):
        captioned = CAPTION.match(block.text) if block.language.startswith("{code-block}") else None
        if captioned:
            (folder / captioned["name"]).write_text(captioned["text"], "utf-8")


def build_extension(folder: Path) -> None:
    """Build what the page's setup.py describes, in place."""
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_that_shows_python_is_found():
    """The search for blocks itself: the pages that teach by code have some."""
    shown = {page.stem for page in PAGES if has_python(page)}
    assert {"README", "start", "library", "exactness", "units", "cython", "verify"} <= shown
    assert {
        "indexer-and-chain",
        "explain",
        "forecast",
        "previews",
        "book",
        "recording",
        "signing",
        "feeds",
    } <= shown


# --- the table of functions

ROW = re.compile(
    r"^\| `(?P<function>\w+)` \|(?P<exact>[^|]*)\|(?P<kernel>[^|]*)\|(?P<face>[^|]*)\|$", re.MULTILINE
)
NAME = re.compile(r"`([\w.]+)`")


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(page_text(DOCS / "functions.md")))


def test_the_table_has_a_row_for_every_function_of_the_vectors_and_no_other():
    """Once each, in the order in which verify has them."""
    assert [row["function"] for row in rows()] == list(ANSWERS)


def test_the_table_names_kernels_for_just_the_functions_that_verify_asks_kernels_about():
    """In a build without kernels there is nobody to ask."""
    named = {row["function"] for row in rows() if NAME.findall(row["kernel"])}
    assert (named if dydx_perf.COMPILED else frozenset()) == verify.KERNEL_FUNCTIONS


def resolved(origin: str, path: str) -> object:
    """The attribute of a module, or of a class in it, that a dotted path names."""
    found: object = importlib.import_module(origin)
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("row", [pytest.param(row, id=row["function"]) for row in rows()])
def test_every_name_in_a_row_exists(row):
    """`exact` by import, kernels in the installed .pxd, the face by attribute; no cell is left empty."""
    exact = NAME.findall(row["exact"])
    assert exact
    for name in exact:
        module, _, function = name.partition(".")
        assert callable(resolved(f"dydx_perf.exact.{module}", function)), name
    kernels = NAME.findall(row["kernel"])
    assert kernels or row["kernel"].strip() == "–"
    for name in kernels:
        module, _, function = name.partition(".")
        header = Path(dydx_perf.get_include(), "dydx_perf", "ext", f"{module}.pxd").read_text("utf-8")
        assert re.search(rf"\b{function}\b[^\n]*\(", header), name
    face = NAME.findall(row["face"])
    assert face or row["face"].strip() == "–"
    for name in face:
        module, _, rest = name.partition(".")
        if module in ("columns", "units"):
            resolved("dydx_perf.ext.columns" if module == "columns" else "dydx_perf.units", rest)
        else:
            resolved("dydx_perf", name)


# --- figures


def test_the_count_of_shipped_rows_is_that_of_the_files():
    """Wherever a page says how many rows ship, it says this number."""
    count = 0
    for path in verify.shipped_vectors().glob("*.jsonl.gz"):
        with gzip.open(path) as lines:
            count += sum(1 for _ in lines)
    said = [
        (page.name, figure)
        for page in PAGES
        for figure in re.findall(r"([\d,]+) (?:rows ship|of these rows ship|of them ship)", page_text(page))
    ]
    assert said
    assert {figure for _, figure in said} == {f"{count:,}"}, said


def test_the_face_is_described_in_full():
    """Every public name stands on the page of the interface."""
    api = page_text(DOCS / "api.md")
    missing = [name for name in dydx_perf.__all__ if not re.search(rf"dydx_perf\.{re.escape(name)}\b", api)]
    assert missing == []
