"""Commands and links of the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

from dydx_perf.__main__ import VERBS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

CODE = re.compile(r"^```(?:console|bash|sh)\n(.*?)^```|(?<!`)`([^`\n]+)`(?!`)", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:^|\s)make ([a-z][a-z-]*)")
VERB = re.compile(r"(?:dydx-perf|-m dydx_perf) ([a-z]+)")
LINK = re.compile(
    r"(?<!`)\]\(([^)\s]+)\)|^\s*!\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", re.MULTILINE
)
DIRECTIVE = re.compile(r"^```\{(?:include|figure|literalinclude)\} (\S+)", re.MULTILINE)


def page_params():
    return [pytest.param(page, id=page.name) for page in PAGES]


def commands(page: Path) -> list[str]:
    return [fenced or inline for fenced, inline in CODE.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize("page", page_params())
def test_every_make_target_and_verb_exists(page):
    """In a block of commands, or in a word of code."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for command in commands(page):
        assert set(MAKE.findall(command)) <= targets, command
        assert set(VERB.findall(command)) <= set(VERBS), command


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", page_params())
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    """Pictures, pages, includes; an anchor is a heading of the page it points into."""
    text = page.read_text("utf-8")
    targets = [next(filter(None, match)) for match in LINK.findall(text)] + DIRECTIVE.findall(text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", [p for p in page_params() if p.values[0].name != "README.md"])
def test_every_page_is_in_the_table_of_contents(page):
    """A page that nothing leads to is not read."""
    page_name = page.stem
    contents = (DOCS / "index.md").read_text("utf-8")
    assert page_name == "index" or re.search(rf"^{page_name}$", contents, re.MULTILINE)


def test_the_readme_names_the_verbs_that_set_everything_up():
    """Its first screen does what a newcomer needs."""
    first_screen = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:80])
    for command in ("make run", "make test", "pip install ."):
        assert command in first_screen
