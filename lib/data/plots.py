"""Figures of series and of their truth, one function each; they return a matplotlib Figure.

A table is a canonical series table. The truth is the second result of `synthesize`; without it each
figure shows what follows from the data alone.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from lib.plotting import (
    ALARM,
    BANDS,
    INK,
    ORANGE,
    PINE,
    STEEL,
    draw_legend_beside,
    hide_spines,
    make_date_axes,
)

WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
KINDS = {
    "spike": ("^", ALARM),
    "dip": ("v", ALARM),
    "level_shift": ("s", ORANGE),
    "stuck": ("D", PINE),
}


def plot_series(table: pd.DataFrame, truth: pd.DataFrame | None = None, count: int = 4) -> Figure:
    """Plot the values and gaps of the first `count` series.

    With the truth also the signal, the regimes of the trend and the anomalies.
    """
    every = list(dict.fromkeys(table["series_id"]))
    ids = every[:count]
    figure, axes = make_date_axes(len(ids), 2.7)
    if len(ids) < len(every):
        figure.suptitle(f"{len(ids)} of {len(every)} series shown", x=0.01, ha="left", fontsize=9)
    for axis, name in zip(axes, ids, strict=True):
        series = table[table["series_id"] == name]
        dates, values = series["date"].to_numpy(), series["value"].to_numpy()
        axis.plot(dates, values, color=STEEL, lw=0.9, label="observed")
        if truth is not None:
            _draw_truth(axis, dates, values, truth[truth["series_id"] == name])
        _draw_gaps(axis, dates, np.isnan(values))
        axis.set_ylabel("value")
        axis.set_title(str(name), loc="left", fontsize=10)
        axis.margins(x=0.01)
        draw_legend_beside(axis)
    return figure


def _draw_truth(axis: Axes, dates: np.ndarray, values: np.ndarray, truth: pd.DataFrame) -> None:
    _draw_regimes(axis, truth)
    axis.plot(dates, truth["signal"], color=ORANGE, lw=0.8, alpha=0.9, label="signal")
    for kind, (marker, color) in KINDS.items():
        marked = (truth["anomaly"] == kind).to_numpy()
        at = marked & np.isfinite(values)
        if not at.any():
            continue
        label = kind.replace("_", " ")
        axis.scatter(dates[at], values[at], s=16, marker=marker, color=color, zorder=3, label=label)
        for start, end in _runs(marked):
            axis.axvspan(_day(dates, start), _day(dates, end), color=color, alpha=0.16, lw=0)


def _draw_gaps(axis: Axes, dates: np.ndarray, gaps: np.ndarray) -> None:
    axis.plot(
        dates[gaps],
        np.full(gaps.sum(), 0.02),
        "|",
        color=ALARM,
        ms=7,
        transform=axis.get_xaxis_transform(),
        label=f"missing ({gaps.mean():.1%})",
    )


def plot_components(truth: pd.DataFrame, series_id: str) -> Figure:
    """Plot the true components of one series, and what noise and anomalies add."""
    series = truth[truth["series_id"] == series_id]
    calendar = series["holiday"] + series["event_effect"]
    rest = series["true_value"] - series["signal"]
    parts = (
        ("trend", series["trend"], INK),
        ("week", series["weekly"], STEEL),
        ("year", series["yearly"], STEEL),
        ("holidays, events", calendar, ORANGE),
        ("factor", series["factor_effect"], PINE),
        ("noise, anomalies", rest, ALARM),
    )
    figure, axes = make_date_axes(len(parts), 1.25, sharex=True)
    for axis, (name, values, color) in zip(axes, parts, strict=True):
        _draw_regimes(axis, series)
        axis.plot(series["date"], values, color=color, lw=0.9)
        axis.set_ylabel(f"{name}\n(value)", fontsize=8)
        axis.margins(x=0.01)
    sd = 2 * series["volatility"]
    axes[-1].fill_between(series["date"], -sd, sd, color=INK, alpha=0.2, lw=0, label="±2 true sd")
    axes[-1].legend(loc="upper left", fontsize=7, frameon=False)
    axes[0].set_title(f"{series_id}: bands are the regimes of the trend", loc="left", fontsize=10)
    return figure


def plot_factor(
    table: pd.DataFrame, truth: pd.DataFrame | None = None, max_lag: int = 14
) -> Figure:
    """Plot fator_externo against the target: correlation by lag, and the effect at the best lag.

    With the truth the effect is the true one.
    """
    share = deviation(table)
    ids = table["series_id"].astype(str)
    factor = table["fator_externo"]
    # A slow season moves factor and target alike: compare each day with its month.
    quick = factor - _rolling_median(factor, ids)
    lagged = [quick.groupby(ids).shift(lag) for lag in range(max_lag + 1)]
    correlation = np.array([share.corr(column) for column in lagged])
    best = 0 if np.isnan(correlation).all() else int(np.nanargmax(np.abs(correlation)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    colors = [ORANGE if lag == best else STEEL for lag in range(max_lag + 1)]
    left.bar(range(max_lag + 1), correlation, color=colors)
    left.axhline(0, color=INK, lw=0.6)
    left.set(xlabel="lag of fator_externo (days)", ylabel="correlation with the target")
    if truth is None:
        x, y = lagged[best], (100 * share).to_numpy()
        right.set_xlabel(f"fator_externo {best} day(s) before, less its month's median")
        right.set_ylabel("target less its month and week (%)")
    else:
        x = factor.groupby(ids).shift(best)
        y = 100 * (truth["factor_effect"] / truth["trend"]).to_numpy()
        right.set_xlabel(f"fator_externo {best} day(s) before")
        right.set_ylabel("true effect (% of the trend)")
    _draw_effect(right, x, y.astype(float), ids)
    return hide_spines(figure)


def _draw_effect(axis: Axes, x: pd.Series, y: np.ndarray, ids: pd.Series) -> None:
    """Draw an effect against a factor, each series in a colour, without the extremes."""
    for number, name in enumerate(dict.fromkeys(ids)):
        at = (ids == name).to_numpy()
        axis.scatter(x[at], y[at], s=5, alpha=0.35, lw=0, color=f"C{number % 10}")
    if x.notna().any():
        axis.set_xlim(*x.quantile([0.005, 0.995]))
    axis.set_ylim(*np.nanquantile(y, [0.005, 0.995]) * 1.15)


def plot_events(
    table: pd.DataFrame, truth: pd.DataFrame | None = None, before: int = 5, after: int = 7
) -> Figure:
    """Plot an event study: the mean deviation by days from an event, with a 95 % interval.

    An event is a day with evento_especial above one half, or above zero where none is.
    """
    event = table["evento_especial"].fillna(0.0)
    is_event = event > 0.5 if (event > 0.5).any() else event > 0
    ids = table["series_id"].astype(str)
    share = 100 * deviation(table)
    offsets = np.arange(-before, after + 1)
    samples = [share.groupby(ids).shift(-k)[is_event].dropna() for k in offsets]
    mean = np.array([sample.mean() for sample in samples])
    half = np.array([1.96 * sample.sem() for sample in samples])
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    axis.axvspan(-0.5, 0.5, color=BANDS[1], lw=0)
    axis.axhline(0, color=INK, lw=0.6)
    axis.errorbar(offsets, mean, half, fmt="o", color=STEEL, capsize=3, label="observed, 95 %")
    if truth is not None:
        effect = pd.Series((100 * truth["event_effect"] / truth["trend"]).to_numpy(), table.index)
        known = [effect.groupby(ids).shift(-k)[is_event].mean() for k in offsets]
        axis.plot(offsets, known, color=ORANGE, lw=1.5, zorder=1, label="true effect")
    axis.set(xlabel="days from the event", ylabel="target less its usual (%)", xticks=offsets)
    axis.set_title(f"{int(is_event.sum())} event days", loc="left", fontsize=10)
    axis.legend(frameon=False)
    return hide_spines(figure)


def plot_seasons(table: pd.DataFrame) -> Figure:
    """Plot the target by weekday (against its month's median) and by month (against its mean)."""
    ids = table["series_id"].astype(str)
    week = 100 * (table["value"] / _rolling_median(table["value"], ids) - 1)
    year = 100 * (table["value"] / table["value"].groupby(ids).transform("mean") - 1)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    groups = (
        (week, table["date"].dt.day_of_week, WEEK, "weekday"),
        (year, table["date"].dt.month - 1, list("JFMAMJJASOND"), "month"),
    )
    for axis, (values, key, names, label) in zip(axes, groups, strict=True):
        finite = values.replace([np.inf, -np.inf], np.nan)
        samples = [finite[key == k].dropna() for k in range(len(names))]
        axis.boxplot(
            samples,
            tick_labels=names,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": BANDS[1], "edgecolor": STEEL},
            medianprops={"color": ORANGE, "lw": 2},
            whiskerprops={"color": STEEL},
            capprops={"color": STEEL},
        )
        axis.axhline(0, color=INK, lw=0.6)
        axis.set(xlabel=label, ylabel="deviation of the target (%)")
    return hide_spines(figure)


def deviation(table: pd.DataFrame) -> pd.Series:
    """Return the deviation from the month's centred median, less that of the weekday, as shares."""
    ids = table["series_id"].astype(str)
    share = table["value"] / _rolling_median(table["value"], ids) - 1
    share = share.replace([np.inf, -np.inf], np.nan)
    return share - share.groupby([ids, table["date"].dt.day_of_week]).transform("median")


def _rolling_median(values: pd.Series, ids: pd.Series) -> pd.Series:
    """Return the centred median of 29 days of each series."""
    rolling = values.groupby(ids).rolling(29, center=True, min_periods=7).median()
    return rolling.reset_index(level=0, drop=True).reindex(values.index)


def _draw_regimes(axis: Axes, truth: pd.DataFrame) -> None:
    dates, regime = truth["date"].to_numpy(), truth["regime"].to_numpy()
    for number in np.unique(regime):
        start, end = np.flatnonzero(regime == number)[[0, -1]]
        color = BANDS[int(number) % 2]
        axis.axvspan(_day(dates, start), _day(dates, end + 1), color=color, lw=0, zorder=0)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _day(dates: np.ndarray, position: int) -> float:
    """Return matplotlib's number of the day at a position, which may be one past the end."""
    return float(date2num(dates[0])) + position
