"""Pictures are written as real files, and show the figures of what they are of (B5, B6, B10)."""

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from dydx_perf import Book, Chain, InputError
from dydx_perf.distribution import distance_histogram, ratio_histogram
from dydx_perf.generated import generated_accounts
from dydx_perf.ladder import liquidation_ladder
from dydx_perf.plots import plot_histogram, plot_ladder, plot_stress_grid, plot_value_at_risk
from dydx_perf.shocks import Scenarios, Shock
from dydx_perf.stress import stress
from dydx_perf.value_at_risk import profit_and_loss, value_at_risk


@pytest.fixture(scope="module")
def book() -> Book:
    chain = Chain.sample("v9")
    made = Book(chain, max_subaccounts=500, max_positions=4_500, indexed=True)
    generated_accounts(chain, 500, seed=1).load_into(made)
    return made


def pixels(path: Path) -> tuple[int, int, int]:
    """Width and height of a PNG, and how many different bytes its picture has; every checksum is right."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, size, image = 8, (0, 0), b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        image += body if kind == b"IDAT" else b""
        at += 12 + length
    return *size, len(set(zlib.decompress(image)))


def saved(figure: Any, folder: Path) -> None:
    """Save it, and look at the file."""
    path = folder / "picture.png"
    figure.savefig(path)
    width, height, different = pixels(path)
    assert (width, height) == (1080, 600)
    assert different > 20


def test_a_ladder_is_drawn(book: Book, tmp_path: Path) -> None:
    """Longs and shorts by price, each step at its notional."""
    ladder = liquidation_ladder(book, "BTC-USD", steps=21)
    figure = plot_ladder(ladder)
    longs, shorts = figure.axes[0].get_lines()[:2]
    assert longs.get_ydata() == pytest.approx([step.long_notional / 10**12 for step in ladder])
    assert shorts.get_ydata() == pytest.approx([step.short_notional / 10**12 for step in ladder])
    assert float(longs.get_xdata()[0]) == pytest.approx(float(ladder.in_units()[0]["price"]))
    saved(figure, tmp_path)


def test_histograms_are_drawn(book: Book, tmp_path: Path) -> None:
    """One bar a bin; those below the line in another colour."""
    for histogram in (ratio_histogram(book), distance_histogram(book, [-(10**9), 0, 10**9, 10**11])):
        figure = plot_histogram(histogram)
        bars = figure.axes[0].patches
        assert tuple(bar.get_height() for bar in bars) == histogram.accounts
        assert bars[0].get_facecolor() != bars[-1].get_facecolor()
        saved(figure, tmp_path)


def test_a_grid_of_scenarios_is_drawn(book: Book, tmp_path: Path) -> None:
    """Rows and columns in the order of the grid; money in millions, counts as they are."""
    prices = [Shock(f"{i}0 %", moves=f"{i}e-1") for i in (-4, -2, 0, 2)]
    margins = [Shock("calm"), Shock("tight", initial_margin="2"), Shock("tighter", initial_margin="3")]
    results = stress(book, Scenarios.grid(book.chain, prices, margins))
    names = [shock.name for shock in prices], [shock.name for shock in margins]
    for figure_of, scale in (("liquidatable", 1), ("bad_debt", 10**12)):
        figure = plot_stress_grid(results, *names, figure_of=figure_of)
        drawn = figure.axes[0].get_images()[0].get_array()
        assert drawn.shape == (4, 3)
        assert float(drawn[1, 2]) == pytest.approx(getattr(results[1 * 3 + 2], figure_of) / scale)
        saved(figure, tmp_path)
    with pytest.raises(InputError):
        plot_stress_grid(results[:-1], *names)
    with pytest.raises(InputError):
        plot_stress_grid(results, *names, figure_of="beauty")


def test_losses_are_drawn(book: Book, tmp_path: Path) -> None:
    """Every scenario is in a bar; the line is at the value at risk."""
    profits = profit_and_loss(book, [Shock(moves=f"{i}e-3") for i in range(-100, 100)])
    figure = plot_value_at_risk(profits, "0.95")
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 200
    line = figure.axes[0].get_lines()[0]
    assert line.get_xdata()[0] == pytest.approx(-value_at_risk(profits, "0.95").value_at_risk / 1e6)
    saved(figure, tmp_path)


@pytest.mark.parametrize("plot", [plot_ladder, plot_histogram])
def test_what_cannot_be_drawn_is_refused(plot: Any) -> None:
    with pytest.raises(InputError):
        plot("a picture")
