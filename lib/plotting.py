"""The palette and the axes that all figures share.

Only the modules named `plots` import this one: matplotlib takes long to load.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

INK = "#1f2933"  # actuals, reference lines, text
FORECAST = "#c2410c"  # the forecaster, and what raises a forecast
MUTED = "#94a3b8"  # what is there for comparison
ALARM = "#c8374a"  # what is wrong
BLUE, GREEN, VIOLET = "#2563eb", "#65a30d", "#7c3aed"
CYCLE = (BLUE, GREEN, FORECAST, VIOLET)  # of things without a colour of their kind
# Softer, for observed series and what they are made of
STEEL, ORANGE, PINE = "#2f6fab", "#e08a1e", "#3d8f6b"
BANDS = ("#eef2f7", "#dde5ef")  # backgrounds that alternate


def make_date_axes(rows: int, height: float, *, sharex: bool = False) -> tuple[Figure, list[Axes]]:
    """Make a column of axes with dates below them.

    Args:
        rows: number of axes.
        height: of each, in inches.
        sharex: whether they have the same days.
    """
    figure, axes = plt.subplots(
        rows,
        1,
        figsize=(10, max(height * rows, 2.6)),
        sharex=sharex,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes[:, 0]:
        locator = AutoDateLocator()
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes[-1, 0].set_xlabel("date")
    return hide_spines(figure), list(axes[:, 0])


def hide_spines(figure: Figure) -> Figure:
    """Remove the upper and right border of all axes."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def draw_legend_beside(axis: Axes) -> None:
    """Draw the legend to the right of the axes, if anything has a label."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
