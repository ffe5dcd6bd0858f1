"""Pictures of ladders, histograms, grids of scenarios and losses, to save: ``figure.savefig("ladder.png")``.

Needs matplotlib: ``pip install "dydx-perf[plots]"``. Each function makes a `matplotlib.figure.Figure` of its
own, so no window opens and no state is shared. A picture is drawn in floats; the figures in it are those of
its input, and their height and basis stand under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dydx_perf.distribution import Histogram
from dydx_perf.errors import InputError
from dydx_perf.ladder import LiquidationLadder
from dydx_perf.stress import SUMS, StressResult
from dydx_perf.value_at_risk import ValueAtRisk, value_at_risk

if TYPE_CHECKING:
    from fractions import Fraction

    from matplotlib.figure import Figure

    from dydx_perf.market import Amount

__all__ = ["plot_histogram", "plot_ladder", "plot_stress_grid", "plot_value_at_risk"]

LONG, SHORT, NEUTRAL = "#c0392b", "#2471a3", "#566573"
COUNTS = ("accounts", "liquidatable", "below_zero", "below_initial")
MILLION_USDC = 10**12  # quote quantums
BINS = 60


def new_figure(title: str, under: str) -> tuple[Figure, Any]:
    """Return a figure with one pair of axes, a title, and where its numbers are from."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    figure.supxlabel(under, fontsize=8, color=NEUTRAL)
    return figure, axes


def source(height: int | None, basis: str) -> str:
    """Say where numbers are from."""
    return f"basis: {basis}" + ("" if height is None else f", height {height}")


def checked(argument: str, value: object, kind: type) -> None:
    """Refuse what cannot be drawn."""
    if not isinstance(value, kind):
        raise InputError(argument, value, f"a {kind.__name__}")


def plot_ladder(ladder: LiquidationLadder) -> Figure:
    """Draw the notional that is liquidatable against the oracle price, longs and shorts.

    Returns
    -------
    matplotlib.figure.Figure
    """
    checked("ladder", ladder, LiquidationLadder)
    figure, axes = new_figure(f"{ladder.market}: liquidatable notional", source(ladder.height, ladder.basis))
    steps = sorted(ladder.steps)
    scale = 10.0**ladder.price_exponent
    prices = [step.price * scale for step in steps]
    for label, color, values in (
        ("longs", LONG, [step.long_notional / MILLION_USDC for step in steps]),
        ("shorts", SHORT, [step.short_notional / MILLION_USDC for step in steps]),
    ):
        axes.fill_between(prices, values, step="mid", alpha=0.3, color=color)
        axes.step(prices, values, where="mid", color=color, label=label)
    axes.axvline(ladder.oracle_price * scale, color=NEUTRAL, linestyle="--", label="oracle price now")
    axes.set_xlabel("oracle price, USDC")
    axes.set_ylabel("million USDC")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def plot_histogram(histogram: Histogram) -> Figure:
    """Draw how many accounts each bin of a margin ratio or of a distance holds; liquidatable ones in red.

    Returns
    -------
    matplotlib.figure.Figure
    """
    checked("histogram", histogram, Histogram)
    is_ratio = histogram.measure == "ratio"
    what = "net collateral / maintenance margin" if is_ratio else "net collateral - maintenance margin, USDC"
    figure, axes = new_figure(f"accounts by {what}", source(histogram.height, histogram.basis))
    scale = 1.0 if is_ratio else 1e-6
    marks = [f"{float(edge) * scale:,g}" for edge in histogram.edges]
    names = [
        f"< {marks[0]}",
        *(f"{a} to {b}" for a, b in pairwise(marks)),
        f"≥ {marks[-1]}",
    ]
    line = 1 if is_ratio else 0
    colors = [
        LONG if place < len(histogram.edges) and histogram.edges[place] <= line else SHORT
        for place in range(len(histogram.accounts))
    ]
    bars = axes.bar(range(len(names)), histogram.accounts, color=colors)
    axes.bar_label(bars, fontsize=7)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("accounts")
    return figure


def plot_stress_grid(
    results: Sequence[StressResult],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    figure_of: str = "liquidatable",
) -> Figure:
    """Draw one figure of a grid of scenarios, as `Scenarios.grid` orders them.

    Parameters
    ----------
    results : sequence of StressResult
        ``len(rows) * len(columns)`` of them, row by row.
    rows, columns : sequences of str
        Names of the two axes' scenarios.
    figure_of : str
        A sum of `StressResult`: "liquidatable", "bad_debt", "notional_at_risk" and so on.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if figure_of not in SUMS:
        raise InputError("figure_of", figure_of, " or ".join(SUMS))
    given = list(results)
    if not given or len(given) != len(rows) * len(columns):
        raise InputError("results", len(given), f"{len(rows)} x {len(columns)} results")
    for result in given:
        checked("results", result, StressResult)
    is_count = figure_of in COUNTS
    scale = 1.0 if is_count else 1.0 / MILLION_USDC
    values = [
        [getattr(given[i * len(columns) + j], figure_of) * scale for j in range(len(columns))]
        for i in range(len(rows))
    ]
    title = figure_of.replace("_", " ") + ("" if is_count else ", million USDC")
    figure, axes = new_figure(title, source(given[0].height, given[0].basis))
    image = axes.imshow(values, aspect="auto", cmap="OrRd")
    figure.colorbar(image, ax=axes)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    if len(given) <= 200:
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                axes.text(j, i, f"{value:,.4g}", ha="center", va="center", fontsize=7)
    return figure


def plot_value_at_risk(profits: Sequence[int], level: Amount | Fraction = "0.99") -> Figure:
    """Draw the distribution of profits and losses, with value at risk and expected shortfall.

    Parameters
    ----------
    profits : sequence of int
        As `dydx_perf.value_at_risk.profit_and_loss` gives them.
    level : str, int, Decimal or Fraction

    Returns
    -------
    matplotlib.figure.Figure
    """
    found: ValueAtRisk = value_at_risk(profits, level)
    title = f"profit and loss in {found.scenarios:,} scenarios"
    figure, axes = new_figure(title, source(None, found.basis))
    axes.hist([int(profit) / 1e6 for profit in profits], bins=BINS, color=SHORT, alpha=0.7)
    share = f"{float(found.level):.4g}"
    axes.axvline(-found.value_at_risk / 1e6, color=LONG, label=f"value at risk, {share}")
    axes.axvline(
        -float(found.expected_shortfall) / 1e6, color=LONG, linestyle="--", label="expected shortfall"
    )
    axes.set_xlabel("USDC")
    axes.set_ylabel("scenarios")
    axes.legend()
    return figure
