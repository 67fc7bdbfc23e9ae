"""Figures of a backtest: fan charts, error and coverage by day of the horizon and by series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from lib.data import Panel
from lib.evaluation import metrics, scores
from lib.plotting import BLUE, FORECAST, GREEN, INK, MUTED, VIOLET, hide_spines

NAMED_SERIES = 10  # of a scatter, so that names can be read

COLORS = {
    scores.OURS: FORECAST,
    "naive": MUTED,
    "seasonal_naive": BLUE,
    "weekday_median": VIOLET,
    "mean_7": GREEN,
}

LABELS = {
    scores.OURS: "ours",
    "naive": "yesterday's value",
    "seasonal_naive": "last week's values",
    "weekday_median": "median of 8 same weekdays",
    "mean_7": "mean of the last week",
}
WEEK = 7  # days that a line is smoothed over


def plot_fans(
    result: scores.Backtest, panel: Panel, *, rows: Sequence[int], history: int = 84
) -> Figure:
    """Plot forecasts of chosen backtest rows and the observed values.

    Args:
        result: with quantiles, whose central intervals are shaded.
        panel: that was forecast.
        rows: of the backtest, one chart each.
        history: days before the cutoff that are shown.
    """
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(11, 2.6 * len(rows)), layout="constrained", squeeze=False
    )
    for axis, row in zip(axes[:, 0], rows, strict=True):
        _plot_fan(axis, result, panel, row, history)
    axes[0, 0].legend(
        frameon=False, ncols=6, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0)
    )
    return hide_spines(figure)


def _plot_fan(
    axis: plt.Axes, result: scores.Backtest, panel: Panel, row: int, history: int
) -> None:
    name = panel.ids[result.series[row]]
    span = panel.series(int(result.series[row]))
    dates, values = panel.dates[span], panel.values[span]
    cutoff = result.cutoffs[row]
    past = (dates > cutoff - history) & (dates <= cutoff)
    days = cutoff + np.arange(1, result.actual.shape[1] + 1)
    axis.plot(dates[past], values[past], color=INK, lw=0.9)
    levels = result.levels
    if result.quantiles is not None:
        intervals = len(levels) // 2
        # Opaque, the widest first: a swatch of the legend has the colour that the chart has.
        shades = [
            _lighten(FORECAST, 0.82 - 0.5 * i / max(intervals - 1, 1)) for i in range(intervals)
        ]
        for i, shade in enumerate(shades):
            low, high = result.quantiles[row, :, i], result.quantiles[row, :, -1 - i]
            label = f"{100 * (levels[-1 - i] - levels[i]):.0f} % interval"
            axis.fill_between(days, low, high, color=shade, lw=0, label=label)
    axis.plot(days, result.point[row], color=FORECAST, lw=1.6, label="median forecast")
    axis.plot(days, result.actual[row], color=INK, lw=0.9, marker=".", ms=4, label="observed")
    axis.axvline(cutoff, color=INK, lw=0.8, ls=":")
    axis.set_title(f"{name}, forecast made on {cutoff}", loc="left", fontsize=9)
    axis.set_ylabel("value (series' unit)")


def plot_error_by_day(results: Mapping[str, scores.Backtest]) -> Figure:
    """Plot the MASE of each forecaster by day of the horizon (1: seasonal naive in training).

    Lines are means of the week around each day: the weekday of the cutoffs would tangle them.
    """
    figure, axis = plt.subplots(figsize=(9, 3.4), layout="constrained")
    for name, result in results.items():
        mase = scores.metrics_by_day(result)["mase"]
        mase = mase.rolling(WEEK, center=True, min_periods=1).mean() if len(mase) > WEEK else mase
        color = COLORS.get(name, MUTED)
        width = 2.4 if name == scores.OURS else 1.2
        marker = "o" if len(mase) == 1 else None
        axis.plot(
            mase.index, mase, color=color, lw=width, marker=marker, label=LABELS.get(name, name)
        )
    axis.set(xlabel="day of the horizon", ylim=(0, None))
    axis.set_ylabel("error (MASE): 1 is that of\nrepeating the week, in training")
    # Above the lines, which fill the frame.
    axis.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=9)
    return hide_spines(figure)


def plot_coverage(result: scores.Backtest) -> Figure:
    """Plot the share of days at or below each quantile against its level, by horizon block."""
    if result.quantiles is None:
        raise ValueError("coverage: expected quantile forecasts, got points only")
    figure, axis = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    horizon = result.actual.shape[1]
    blocks = [(first, min(last, horizon)) for first, last in scores.BLOCKS if first <= horizon]
    for (first, last), colour in zip(blocks, ("#fdba74", "#ea580c", "#7c2d12"), strict=False):
        actual = result.actual[:, first - 1 : last, None]
        below = np.where(
            np.isfinite(actual), actual <= result.quantiles[:, first - 1 : last], np.nan
        )
        share = 100 * np.nanmean(below, axis=(0, 1))
        label = f"day {first}" if first == last else f"days {first} to {last}"
        axis.plot([100 * q for q in result.levels], share, marker="o", color=colour, label=label)
    axis.plot([0, 100], [0, 100], color=INK, lw=0.8, ls=":", label="perfect")
    axis.set(xlabel="quantile level (%)", ylabel="observed at or below (%)")
    axis.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axis.legend(frameon=False)
    return figure


def plot_by_series(results: Mapping[str, scores.Backtest], panel: Panel) -> Figure:
    """Plot the MASE of each series: ours against the seasonal naive forecast."""
    figure, axis = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
    mase = {}
    for name in ("seasonal_naive", scores.OURS):
        result = results[name]
        mase[name] = metrics.mase_by_series(
            result.actual, result.point, result.scale[:, None], result.series[:, None]
        )
    axis.scatter(mase["seasonal_naive"], mase[scores.OURS], color=FORECAST, s=16, alpha=0.7)
    worst = pd.concat(mase).max()
    limit = 1.08 * worst if worst > 0 else 1.0  # no MASE where no series ever changed
    axis.plot([0, limit], [0, limit], color=INK, lw=0.8, ls=":")
    axis.set(xlabel="MASE of seasonal naive", ylabel="MASE of ours")
    axis.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    named = _name_worst(axis, mase["seasonal_naive"], mase[scores.OURS], panel)
    which = "" if named == panel.n_series else f", the {named} worst of ours named"
    axis.set_title(
        f"{panel.n_series} series{which}\nbelow the line ours is better", loc="left", fontsize=9
    )
    return hide_spines(figure)


def _name_worst(axis: plt.Axes, naive: pd.Series, ours: pd.Series, panel: Panel) -> int:
    """Name the series of our highest MASE at the right, with lines to them; return how many."""
    worst = ours[np.isfinite(ours) & np.isfinite(naive)].nlargest(NAMED_SERIES)
    limit = axis.get_xlim()[1]
    heights = _spread(worst.to_numpy(), 0.05 * limit)
    for (number, score), height in zip(worst.items(), heights, strict=True):
        axis.annotate(
            _shorten(str(panel.ids[int(str(number))])),
            (float(naive[number]), score),
            (1.03 * limit, height),
            va="center",
            fontsize=7,
            color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.4, "shrinkA": 1, "shrinkB": 2},
        )
    return len(worst)


def _spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Return falling heights moved apart, so that neighbours are `gap` apart and none is below 0.

    They stay around the middle of those that were given.
    """
    moved = np.array(heights, dtype=float)
    for i in range(1, len(moved)):
        moved[i] = min(moved[i], moved[i - 1] - gap)
    if len(moved):
        moved += max(np.mean(heights) - moved.mean(), -moved[-1])
    return moved


def _shorten(name: str, length: int = 18) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _lighten(color: str, share: float) -> tuple[float, float, float]:
    """Mix a colour with white; `share` of white from 0 to 1."""
    red, green, blue = to_rgb(color)
    return red + (1 - red) * share, green + (1 - green) * share, blue + (1 - blue) * share


def plot_paths(
    paths: np.ndarray, dates: np.ndarray, actual: np.ndarray, *, days: int, shown: int = 30
) -> Figure:
    """Plot sample paths of one forecast beside the distribution of their sum.

    Args:
        paths: (n, horizon), in the unit of the series.
        dates: (horizon,) datetime64[D].
        actual: (horizon,), NaN where missing.
        days: the first of the horizon, which are summed.
        shown: paths that are drawn.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 3.2), layout="constrained", width_ratios=(2, 1)
    )
    left.plot(dates, paths[:shown].T, color=FORECAST, lw=0.6, alpha=0.45)
    left.plot(dates, actual, color=INK, lw=1.6, label="actual")
    left.axvspan(dates[0], dates[days - 1], color=MUTED, alpha=0.15, lw=0)
    left.set_title(f"{shown} paths; shaded: the {days} days that are summed", fontsize=9)
    left.legend(frameon=False, fontsize=8)
    left.xaxis.set_major_formatter(ConciseDateFormatter(left.xaxis.get_major_locator()))
    sums = paths[:, :days].sum(axis=1)
    right.hist(sums, bins=30, color=FORECAST, alpha=0.6)
    if np.isfinite(actual[:days]).all():
        right.axvline(actual[:days].sum(), color=INK, lw=1.6)
    right.set_title(f"sum of {days} days over {len(paths)} paths", fontsize=9)
    right.set_yticks([])
    return hide_spines(figure)
