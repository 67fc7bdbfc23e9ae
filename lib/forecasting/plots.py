"""The picture of a forecast: history and fan of each series."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from lib.plotting import FORECAST, INK, hide_spines

MAX_SERIES = 12
HISTORY_DAYS = 84  # before the forecast
INTERVALS = ((0.1, 0.9, "#fbdcc8"), (0.25, 0.75, "#f3a97e"))  # levels and colour of each band


def plot_forecasts(history: pd.DataFrame, forecast: pd.DataFrame, *, unit: str = "value") -> Figure:
    """Plot the last weeks and the fan of the coming days, of the first MAX_SERIES series.

    Args:
        history: canonical table.
        forecast: as `Forecaster.predict` returns it.
        unit: of the values, for the axes.
    """
    ids = forecast["series_id"].unique()
    shown = ids[:MAX_SERIES]
    columns = 1 if len(shown) <= 3 else 2 if len(shown) <= 6 else 3
    rows = -(-len(shown) // columns)
    width, height = (10.0, 3.4) if columns == 1 else (5.2, 2.7)
    # Not through pyplot: a file is written, and nothing is to be kept open or shown.
    figure = Figure(figsize=(columns * width, rows * height + 0.7), layout="constrained", dpi=100)
    axes = figure.subplots(rows, columns, squeeze=False)
    known = dict(tuple(history.groupby("series_id")))
    ahead = dict(tuple(forecast.groupby("series_id")))
    for axis, name in zip(axes.flat, shown, strict=False):
        _plot_series(axis, known[name], ahead[name])
        if len(ids) > 1 or name != "series":  # the name of a series without one
            axis.set_title(name, loc="left", fontsize=10)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(unit)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    first, last = forecast["date"].min(), forecast["date"].max()
    title = f"Forecast of {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    if len(ids) > len(shown):
        title += f"  ·  {len(shown)} of {len(ids)} series shown"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return hide_spines(figure)


def _plot_series(axis: Axes, history: pd.DataFrame, forecast: pd.DataFrame) -> None:
    last = history["date"].max()
    forecast = _without_closed_days(history, forecast)
    past = history[history["date"] > last - pd.Timedelta(days=HISTORY_DAYS)]
    axis.plot(past["date"], past["value"], color=INK, lw=1.1, label="history")
    for low, high, color in INTERVALS:
        axis.fill_between(
            forecast["date"],
            forecast[f"q{low:g}"],
            forecast[f"q{high:g}"],
            color=color,
            lw=0,
            label=f"{100 * (high - low):.0f} % interval",
        )
    axis.plot(forecast["date"], forecast["q0.5"], color=FORECAST, lw=1.6, label="median forecast")
    axis.axvline(last, color=INK, lw=0.7, ls=":")
    locator = AutoDateLocator(maxticks=6)
    axis.xaxis.set_major_locator(locator)
    # The title names the year: at the corner it would be that of the last tick.
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axis.tick_params(labelsize=8)
    values = np.concatenate([past["value"].to_numpy(), forecast["q0.1"].to_numpy()])
    if np.nanmin(values) >= 0:
        axis.set_ylim(bottom=0)


def _without_closed_days(history: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
    """Return a forecast with gaps on closed days, as the history has them: 0 is forecast there."""
    observed = history["date"][history["value"].notna()].dt.day_of_week
    numbers = forecast.select_dtypes("number")
    closed = ~forecast["date"].dt.day_of_week.isin(observed.tail(HISTORY_DAYS)) & (
        numbers == 0
    ).all(axis=1)
    return forecast.assign(**numbers.mask(closed, np.nan))
