"""Draw explanations: waterfall, days, the feature × day map, global importance.

shap draws the last, and is imported only then: that takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lib.explanation.covariates import Value
from lib.explanation.explanation import Explanation
from lib.explanation.players import DAYS_AHEAD, WORDS
from lib.features import FEATURES
from lib.plotting import BLUE, FORECAST, INK, hide_spines

if TYPE_CHECKING:
    import shap

UP, DOWN = FORECAST, BLUE  # what raises and what lowers the forecast
MOST_BARS = 16  # of a waterfall; the smallest shares of more players are summed
LONGEST_LABEL = 44  # characters


def plot_waterfall(
    explanation: Explanation, latest: np.ndarray, names: Mapping[str, str] | None = None
) -> Figure:
    """Draw the way from the base value (bottom) to the forecast (top), the largest share last.

    Args:
        explanation: the shares.
        latest: (11,) the features of the last day, written beside their names.
        names: of features, to the names of the user's columns.
    """
    shares = np.array(list(explanation.by_feature.values()))
    labels = _waterfall_labels(explanation, latest, names or {})
    order = np.argsort(np.abs(shares), kind="stable")
    shares, labels = shares[order], [labels[i] for i in order]
    if len(shares) > MOST_BARS:
        rest = len(shares) - MOST_BARS + 1
        shares = np.append(shares[:rest].sum(), shares[rest:])
        labels = [f"{rest} others", *labels[rest:]]
    tips = explanation.base_value + np.cumsum(shares)
    height = 4.8 + 0.28 * (len(shares) - len(FEATURES))
    figure, axis = plt.subplots(figsize=(8.5, height), layout="constrained")
    colors = np.where(shares >= 0, UP, DOWN)
    places = np.arange(len(shares))
    axis.barh(places, shares, left=tips - shares, color=colors, height=0.7)
    axis.vlines(tips[:-1], places[:-1], places[1:], color=INK, lw=0.6)
    axis.set_yticks(places, labels, fontsize=8)
    # In a column of their own the shares meet neither bars nor each other.
    column = axis.secondary_yaxis("right")
    column.set_yticks(places, [_number(share, 3, "+") for share in shares], fontsize=8)
    column.tick_params(length=0)
    column.spines["right"].set_visible(False)
    axis.set_ylim(-1.4, len(shares) + 0.4)
    axis.use_sticky_edges = False  # or the bars end at the border
    axis.margins(x=0.06)
    digits = _digits_apart(explanation.base_value, float(tips[-1]))
    _mark_value(axis, explanation.base_value, "base", -1.0, digits)
    _mark_value(axis, float(tips[-1]), "forecast", len(shares), digits)
    days = "Beside the names stand their values on the last known day"
    if any(value is not None for value in explanation.covariates.values()):
        days += ", those of covariates on the day that is explained"
    axis.set(xlabel=f"Forecast, in the unit of the series.\n{days}.")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    usual = "what is usual for this series"
    base = usual if explanation.base_of_series else "the mean forecast of the background"
    title = f"{_subject(explanation)}: from {base}"
    axis.set_title(title, loc="left", fontsize=9)
    axis.set_title("share", loc="right", fontsize=9, x=1.08)
    return hide_spines(figure)


def _mark_value(axis: plt.Axes, value: float, name: str, height: float, digits: int) -> None:
    """Draw a line at a value and write it beside the line, where there is more room."""
    axis.axvline(value, color=INK, lw=0.8, ls=":")
    left, right = axis.get_xlim()
    is_right = value > (left + right) / 2
    axis.annotate(
        f"{name} {_number(value, digits)}",
        (value, height),
        (-4 if is_right else 4, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        fontsize=8,
    )


def _waterfall_labels(
    explanation: Explanation, latest: np.ndarray, names: Mapping[str, str]
) -> list[str]:
    """Return name and value of each player: of a covariate that of the explained day."""
    values: dict[str, Value] = dict(zip(FEATURES, np.asarray(latest).tolist(), strict=True))
    values |= {name: v for name, v in explanation.covariates.items() if v is not None}
    labels = []
    for name in explanation.by_feature:
        value, label = values.get(name), names.get(name) or _in_words(name)
        if value is not None:
            label += f" = {value if isinstance(value, str) else _number(value)}"
        long = len(label) > LONGEST_LABEL
        labels.append(label[: LONGEST_LABEL - 1] + "…" if long else label)
    return labels


def _in_words(name: str) -> str:
    """Return a feature in words with its name, any other name as it is."""
    return f"{WORDS[name]} ({name})" if name in WORDS else name


def _digits_apart(first: float, second: float) -> int:
    """Return how many digits two numbers need, at least 4, to be told apart."""
    size, gap = max(abs(first), abs(second)), abs(first - second)
    return 4 if gap < 1e-9 else max(4, 2 + math.ceil(math.log10(size / gap)))


def _number(value: float, digits: int = 4, sign: str = "") -> str:
    """Return the leading digits of a number, never as a power of ten; rounding noise is 0.

    >>> _number(-1876.4, 3, "+"), _number(5234567.0), _number(0.001234), _number(float("nan"))
    ('-1,880', '5,235,000', '0.001234', 'not given')
    """
    if not math.isfinite(value):
        return "not given"
    if abs(value) < 1e-9:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, places):{sign},.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plot_days(explanation: Explanation) -> Figure:
    """Draw the share of each block of days, the days ahead last."""
    names = _in_time(explanation)
    shares = np.array([explanation.by_day[name] for name in names])
    figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
    bars = axis.bar(names, shares, color=np.where(shares >= 0, UP, DOWN), width=0.7)
    axis.bar_label(bars, labels=[_number(share, 3, "+") for share in shares], padding=2, fontsize=8)
    axis.axhline(0, color=INK, lw=0.8)
    axis.axvline(len(names) - 1.5, color=INK, lw=0.8, ls=":")
    axis.margins(y=0.15)
    axis.set(xlabel="days before the first forecast day", ylabel="share (series' unit)")
    axis.set_title(f"{_subject(explanation)}: shares by day", loc="left", fontsize=9)
    return hide_spines(figure)


def plot_map(explanation: Explanation) -> Figure:
    """Draw the shares by feature and block of days, with a bar for the sum of each row."""
    heat = np.array(explanation.feature_by_day)
    days = list(explanation.by_day)
    columns = [days.index(name) for name in _in_time(explanation)]
    sums = np.array(list(explanation.by_feature.values()))
    rows = np.argsort(-np.abs(sums))
    heat, sums = heat[rows][:, columns], sums[rows]
    limit = float(np.abs(heat).max()) or 1.0
    height = 4.2 + 0.3 * (len(rows) - len(FEATURES))
    figure, (axis, side) = plt.subplots(
        1, 2, figsize=(10, height), layout="constrained", sharey=True, width_ratios=(4, 1)
    )
    image = axis.imshow(heat, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for i, j in np.ndindex(*heat.shape):
        share = float(heat[i, j])
        if abs(share) >= 0.02 * limit:  # the rest would read as noise
            color = "white" if abs(share) > 0.6 * limit else INK
            axis.text(
                j, i, _number(share, 2, "+"), ha="center", va="center", fontsize=7, color=color
            )
    axis.axvline(len(columns) - 1.5, color=INK, lw=0.8, ls=":")
    names = list(explanation.by_feature)
    axis.set_yticks(range(len(rows)), [_in_words(names[i]) for i in rows])
    axis.set_xticks(range(len(columns)), [days[j] for j in columns])
    axis.set_xlabel("days before the first forecast day")
    axis.set_title(f"{_subject(explanation)}: shares by feature and day", loc="left", fontsize=9)
    side.barh(range(len(rows)), sums, color=np.where(sums >= 0, UP, DOWN))
    side.axvline(0, color=INK, lw=0.8)
    side.set_xlabel("row sum (series' unit)")
    side.tick_params(labelleft=False, left=False)
    side.spines[["top", "right", "left"]].set_visible(False)
    figure.colorbar(image, ax=axis, label="share (series' unit)", pad=0.01)
    return figure


def plot_importance(shares: np.ndarray, names: Sequence[str] = FEATURES) -> Figure:
    """Draw the mean absolute share of each player over many forecasts, as shap does.

    Args:
        shares: (n, players), as `Explainer.sample_days` returns them.
        names: of the players.
    """
    import shap

    height = 4.2 + 0.3 * (len(names) - len(FEATURES))
    figure, axis = plt.subplots(figsize=(8, height), layout="constrained")
    interactive = plt.isinteractive()
    shap.plots.bar(_to_shap(shares, names), max_display=len(names), ax=axis, show=False)
    plt.interactive(interactive)
    axis.set_xlabel(f"mean absolute share over {len(shares)} forecasts (series' unit)", fontsize=10)
    return figure


def plot_beeswarm(
    shares: np.ndarray, latest: np.ndarray, names: Sequence[str] = FEATURES
) -> Figure:
    """Draw the share of each player in many forecasts, coloured by its value, as shap does.

    Args:
        shares: (n, players), as `Explainer.sample_days` returns them.
        latest: (n, 11) features of the last day of each window, or (n, players) with the values of
            covariates behind them. What has no values has one colour.
        names: of the players.
    """
    import shap

    unknown = np.full((len(shares), len(names) - latest.shape[1]), np.nan)
    latest = np.concatenate([latest, unknown], axis=1)
    latest = np.where(np.isnan(latest).all(axis=0), 0.0, latest)
    height = 4.2 + 0.3 * (len(names) - len(FEATURES))
    interactive = plt.isinteractive()
    figure = plt.figure()
    shap.plots.beeswarm(
        _to_shap(shares, names, latest),
        max_display=len(names),
        show=False,
        plot_size=(8, height),
    )
    plt.interactive(interactive)
    figure.axes[0].set_xlabel(f"share in each of {len(shares)} forecasts (series' unit)")
    return figure


def _in_time(explanation: Explanation) -> list[str]:
    """Return the names of the blocks, the oldest first: time runs to the right."""
    past = [name for name in explanation.by_day if name != DAYS_AHEAD]
    return [*reversed(past), DAYS_AHEAD]


def _to_shap(
    shares: np.ndarray, names: Sequence[str], latest: np.ndarray | None = None
) -> shap.Explanation:
    import shap

    return shap.Explanation(
        values=shares, data=latest, feature_names=[_in_words(name) for name in names]
    )


def _subject(explanation: Explanation) -> str:
    level = "median" if explanation.level == 0.5 else f"{explanation.level:g} quantile"
    day = explanation.horizon_day
    return f"{level} forecast, " + (f"day {day} ahead" if day else "mean of all days ahead")
