"""Figures of monitoring: forecasts and actuals, error and coverage over time, drift, money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.monitoring.accuracy import MIN_DAYS
from lib.monitoring.drift import Drift
from lib.monitoring.drift_reference import RELATIVE, DriftReference, comparable, in_season
from lib.monitoring.drift_statistics import count_categories
from lib.monitoring.report import Report
from lib.plotting import (
    ALARM,
    BLUE,
    CYCLE,
    FORECAST,
    GREEN,
    INK,
    MUTED,
    draw_legend_beside,
    hide_spines,
    make_date_axes,
)

RAREST = 100_000  # healthy windows; the end of a bar


def plot_forecasts(forecasts: pd.DataFrame, count: int = 2) -> Figure:
    """Plot the first `count` series: actuals, the last forecast of each day, its interval."""
    last = forecasts.sort_values("horizon", kind="stable").drop_duplicates(["series_id", "date"])
    every = list(dict.fromkeys(forecasts["series_id"]))
    names = every[:count]
    figure, axes = make_date_axes(max(1, len(names)), 2.6)
    for axis, name in zip(axes, names, strict=False):
        one = last[last["series_id"] == name].sort_values("date")
        dates = one["date"].to_numpy()
        if {"q0.1", "q0.9"} <= set(one):
            axis.fill_between(
                dates,
                one["q0.1"],
                one["q0.9"],
                color=FORECAST,
                alpha=0.18,
                lw=0,
                label="80 % interval",
            )
        axis.plot(dates, one["q0.5"], color=FORECAST, lw=1.2, label="forecast (median)")
        axis.plot(dates, one["actual"], color=INK, lw=0.9, marker=".", ms=3, label="actual")
        axis.set_ylabel("value (units of the series)")
        axis.set_title(str(name) or "without a series", loc="left", fontsize=10)
    draw_legend_beside(axes[0])
    if len(names) < len(every):
        figure.suptitle(f"{len(names)} of {len(every)} series shown", x=0.01, ha="left", fontsize=9)
    return figure


def plot_accuracy(reports: Sequence[Report]) -> Figure:
    """Plot error beside the expected one and the seasonal naive one, and coverage, by check."""
    # a line through a handful of days would say nothing
    rows = [(r.day, s) for r in reports for s in r.accuracy.scores if s.days >= MIN_DAYS]
    figure, (error, skill, coverage) = make_date_axes(3, 2.1, sharex=True)
    keys = dict.fromkeys((s.model_version, s.block) for _, s in rows)
    for color, (version, block) in zip(np.resize(CYCLE, len(keys)), keys, strict=True):
        points = [(d, s) for d, s in rows if (s.model_version, s.block) == (version, block)]
        days = np.array([d for d, _ in points], dtype="datetime64[D]")
        label = f"{_name_version(version)}, days {block} ahead"
        style: dict[str, Any] = {"color": color, "lw": 1.2, "marker": ".", "ms": 5}
        error.plot(days, [s.wape for _, s in points], label=label, **style)
        error.plot(days, [s.expected_wape for _, s in points], color=color, lw=0.8, ls=":")
        skill.plot(days, [s.skill for _, s in points], **style)
        coverage.plot(days, [100 * s.coverage for _, s in points], **style)
        bad = np.array(["degraded" in s.flags for _, s in points], dtype=bool)
        worst = np.array([s.wape for _, s in points])
        error.plot(days[bad], worst[bad], "o", ms=9, mfc="none", mec=ALARM)
    error.set_ylabel("WAPE (%)\ndotted: expected")
    skill.axhline(1.0, color=MUTED, lw=0.9, ls="--")
    skill.set_ylabel("MAE / MAE of\nseasonal naive")
    coverage.axhline(80, color=MUTED, lw=0.9, ls="--")
    coverage.set_ylabel("coverage of the\n80 % interval (%)")
    draw_legend_beside(error)
    return figure


def _name_version(version: int) -> str:
    """Return a version as the registry shows it; 0 is a model that was not registered."""
    return f"version {version}" if version else "not registered"


def plot_drift_ranking(drift: Drift) -> Figure:
    """Plot how rarely a healthy window differs as much, by feature; flagged ones in red.

    The longer the bar, the rarer. A bar ends at the right where it is once in RAREST or less.
    """
    judged = [f for f in drift.features if np.isfinite(f.p_value)]
    judged.sort(key=lambda f: (-f.p_value, f.score))
    figure, axis = plt.subplots(figsize=(9, 0.34 * max(4, len(judged)) + 1.1), layout="constrained")
    if not judged:
        axis.text(0.5, 0.5, "the reference is too short to judge", ha="center", va="center")
    rarity = np.array([min(1 / f.p_value if f.p_value else np.inf, RAREST) for f in judged])
    places = np.arange(len(judged))
    colors = [ALARM if f.flags else BLUE for f in judged]
    axis.barh(places, rarity - 1, left=1, color=colors, height=0.6)
    # A usual feature has no bar: the dot says that it was looked at.
    axis.scatter(rarity, places, s=22, color=colors, zorder=3, clip_on=False)
    axis.set_yticks(places, [f.feature for f in judged])
    for place, end, f in zip(places, rarity, judged, strict=True):
        text = f"  PSI {f.psi:.2f}" + (f", {', '.join(f.flags)}" if f.flags else "")
        axis.text(end, place, text, va="center", fontsize=8, color=INK)
    ticks = [10**n for n in range(round(np.log10(RAREST)) + 1)]
    axis.set_xscale("log")
    axis.set_xlim(1, 30 * RAREST)  # room for the text of the longest bar
    axis.set_xticks(ticks, ["usual", *(f"1 in {tick:,}" for tick in ticks[1:])])
    axis.minorticks_off()
    axis.set_xlabel("so rarely does a healthy window differ as much in this feature")
    flagged = [f.feature for f in drift.features if f.flags]
    title = f"flagged (red): {', '.join(flagged)}" if flagged else "no feature is flagged"
    axis.set_title(title, loc="left", fontsize=9)
    return hide_spines(figure)


def plot_drift_distributions(
    reference: DriftReference, features: pd.DataFrame, drift: Drift, count: int = 4
) -> Figure:
    """Plot the most unusual features: the window beside the same season of the reference."""
    score = {f.feature: f.score if np.isfinite(f.score) else -np.inf for f in drift.features}
    names = sorted(score, key=lambda name: -score[name])[:count]
    day = features["date"].to_numpy()
    window = (day >= np.datetime64(drift.first)) & (day <= np.datetime64(drift.last))
    now = comparable(features[window], reference.labels)
    season, _ = in_season(reference, np.datetime64(drift.last))
    figure, axes = plt.subplots(
        1, len(names), figsize=(2.8 * len(names), 2.6), layout="constrained", squeeze=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        before = reference.columns[name][season]
        if name in reference.labels:
            _draw_shares(axis, before, now[name], reference.labels[name])
            axis.set_xlabel(name, fontsize=8)
            continue
        both = np.concatenate([before, now[name]])
        both = both[np.isfinite(both)]
        bins = np.linspace(*np.quantile(both, [0.005, 0.995]), 24) if len(both) else 10
        for values, color, label in ((before, MUTED, "reference"), (now[name], FORECAST, "now")):
            values = values[np.isfinite(values)]
            if len(values):
                axis.hist(values, bins, density=True, color=color, alpha=0.55, label=label)
        unit = " / level" if name in RELATIVE else ""
        axis.set_xlabel(f"{name}{unit}", fontsize=8)
        axis.set_ylabel("density", fontsize=8)
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(frameon=False, fontsize=8)
    return hide_spines(figure)


def _draw_shares(
    axis: Axes, before: np.ndarray, now: np.ndarray, labels: Sequence[str], most: int = 8
) -> None:
    """Draw the shares of the most frequent categories, and of all that are unknown."""
    counts = [count_categories(codes, len(labels)) for codes in (before, now)]
    shares = [100 * count / max(1.0, count.sum()) for count in counts]
    order = np.argsort(-(shares[0] + shares[1])[: len(labels)], kind="stable")[: most - 1]
    shown = [*sorted(order.tolist()), len(labels)]
    names = [*labels, "unknown"]
    places = np.arange(len(shown))
    for share, shift, color, label in (
        (shares[0], -0.2, MUTED, "reference"),
        (shares[1], 0.2, FORECAST, "now"),
    ):
        axis.bar(places + shift, share[shown], 0.4, color=color, alpha=0.55, label=label)
    axis.set_xticks(places, [names[place] for place in shown], rotation=30, ha="right", fontsize=7)
    axis.set_ylabel("share of days (%)", fontsize=8)


def plot_business(reports: Sequence[Report]) -> Figure:
    """Plot what the forecasts of each window earned and cost, and the total."""
    days = np.array([r.day for r in reports], dtype="datetime64[D]")
    impacts = [r.business for r in reports]
    figure, axes = make_date_axes(1, 3.0)
    step = float(np.diff(days.astype(np.int64)).min()) if len(days) > 1 else 7.0
    width = 0.7 * step
    over, under = (-np.array([getattr(b, n) for b in impacts]) for n in ("cost_over", "cost_under"))
    revenue, saving = (np.array([getattr(b, n) for b in impacts]) for n in ("revenue", "saving"))
    parts = (("forecast too much", over, ALARM), ("forecast too little", under, FORECAST))
    gains = (("accurate days", revenue, BLUE), ("stock not held", saving, GREEN))
    for group in (parts, gains):
        base = np.zeros(len(days))
        for label, values, color in group:
            axes[0].bar(days, values, width, bottom=base, color=color, alpha=0.75, label=label)
            base = base + values
    axes[0].plot(days, [b.total for b in impacts], color=INK, lw=1.4, marker="o", label="total")
    axes[0].axhline(0, color=INK, lw=0.8)
    axes[0].set_ylabel("money in the window")
    draw_legend_beside(axes[0])
    return figure


def plot_digest(findings: Mapping[str, Any]) -> Figure:
    """Plot mean error and coverage of the last checks: the picture of the digest.

    Args:
        findings: of the last check, as the service shows them.
    """
    accuracy = findings["accuracy"]
    days = np.array([point["date"] for point in accuracy["history"]], dtype="datetime64[D]")
    figure, axes = make_date_axes(2, 1.9, sharex=True)
    expected = accuracy["promise"].get("mae")
    for axis, name, level, color, label in (
        (axes[0], "mae", expected, FORECAST, "mean error"),
        (axes[1], "coverage", 100 * accuracy["interval"], BLUE, "inside the\n80 % interval (%)"),
    ):
        values = np.array([point[name] for point in accuracy["history"]], dtype=np.float64)
        axis.plot(days, values, color=color, lw=1.6, marker=".", ms=6)
        if level is not None:
            axis.axhline(level, color=MUTED, lw=1.0, ls="--", label="expected")
            axis.legend(frameon=False, fontsize=8, loc="lower left")
        axis.set_ylabel(label)
        if not len(days):
            axis.text(0.5, 0.5, "nothing has come true yet", transform=axis.transAxes, ha="center")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(0, 100)
    return figure
