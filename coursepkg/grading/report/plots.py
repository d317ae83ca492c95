r"""Plots of a class: how points are distributed, and which groups of cases people pass."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coursepkg.grading.report.plain import one_line
from coursepkg.plotting import COLOURS, FONT

__all__ = ["show_distribution", "show_shares", "svg"]

#: More possible points than this are drawn as a histogram.
BARS = 20
#: With this salt the names inside a drawing are the same each time.
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "course",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}


def show_distribution(points: Sequence[float], out_of: float, ax: Axes) -> Axes:
    r"""Show how many learners have how many points.

    Parameters
    ----------
    points : sequence of float
        One for each learner; an override may lie outside 0 to `out_of`.
    out_of : float
    ax : Axes

    Returns
    -------
    Axes
        The same `ax`.
    """
    low, high = min([0, *points]), max([out_of, *points])
    if high - low <= BARS:
        edges = np.arange(np.floor(low), np.floor(high) + 2) - 0.5
    else:
        edges = np.linspace(low, high, BARS + 1)
    ax.hist(points, bins=edges.tolist(), color=COLOURS["blue"], edgecolor="white", linewidth=1.5)
    ax.set_xlabel("points", fontsize=FONT)
    ax.set_ylabel("learners", fontsize=FONT)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    return _plain(ax)


def show_shares(shares: Mapping[str, float], ax: Axes) -> Axes:
    r"""Show a share between 0 and 1 for each name, the first on top, as bars with per cents.

    Parameters
    ----------
    shares : mapping of str to float
    ax : Axes

    Returns
    -------
    Axes
        The same `ax`.
    """
    places = np.arange(len(shares))
    values = [100 * share for share in shares.values()]
    ax.barh(places, [100] * len(values), color="0.93", height=0.7)
    ax.barh(places, values, color=COLOURS["green"], height=0.7)
    for place, value in enumerate(values):
        ax.text(2, place, f"{value:.0f} %", va="center", fontsize=FONT - 1, color="black")
    names = [one_line(name, 24) for name in shares]
    ax.set_yticks(places, names, fontsize=FONT, parse_math=False)
    ax.set(xlim=(0, 100), ylim=(len(values) - 0.5, -0.5), xticks=[])
    ax.tick_params(left=False)
    _plain(ax).spines[["left", "bottom"]].set_visible(False)
    return ax


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=FONT)
    return ax


def svg(draw: Callable[[Axes], Axes], height: float = 2.2, width: float = 6.0) -> str:
    r"""Return a drawing as SVG, the same text each time.

    Parameters
    ----------
    draw : callable
        Given the axes.
    height, width : float
        In inches.
    """
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        draw(figure.subplots())
        written = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing)
    return written.getvalue()
