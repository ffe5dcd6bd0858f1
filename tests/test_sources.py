"""The table of sources: whole, the same in the documentation, and what the code does by it (C12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dydx_perf.feeds.sources import BOUNDS, FIGURES, FRESHNESS, INPUTS, markdown, sources_of

DOCS = Path(__file__).resolve().parent.parent / "docs" / "sources.md"
NAMES = [one.name for one in INPUTS]


def test_the_documentation_shows_the_table_as_it_is() -> None:
    """Every row of it."""
    if DOCS.exists():  # not beside an sdist's tests
        assert markdown() in DOCS.read_text("utf-8")


def test_every_figure_names_its_inputs_and_every_input_has_a_figure() -> None:
    """None is without a source, and none is listed twice."""
    assert len(set(NAMES)) == len(NAMES)
    assert {name for inputs in FIGURES.values() for name in inputs} == set(NAMES)
    assert all(one.ways for one in INPUTS)
    assert {source for one in INPUTS for source in one.ways} == set(FRESHNESS)


@pytest.mark.parametrize("figure", [name for name in FIGURES if name != "room for orders, fees"])
def test_a_nodes_queries_alone_make_every_figure_the_chains(figure: str) -> None:
    """Each input of it, exactly and at a height; open orders are nobody's truth."""
    assert all("node query" in sources for sources in sources_of(figure).values())


@pytest.mark.parametrize("source", ["indexer websocket", "indexer rest", "node stream"])
def test_no_other_source_makes_net_collateral_the_chains(source: str) -> None:
    """Each lacks the funding indices."""
    assert not all(source in sources for sources in sources_of("net collateral").values())


def test_every_bound_that_a_feed_names_is_explained() -> None:
    """By the name under which it comes."""
    assert {
        "price age",
        "missed funding tick",
        "tick block",
        "missed update",
        "unknown sign",
    } <= BOUNDS.keys()
