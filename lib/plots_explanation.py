"""Figures of explanations: waterfall, days, the feature × day map, global importance.

shap draws the usual ones; it is imported only when one is drawn (it takes seconds).
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.explanation import Explanation
from lib.features import FEATURES

UP, DOWN, INK = "#c2410c", "#2563eb", "#1f2933"


def plot_waterfall(explanation: Explanation, latest: np.ndarray) -> Figure:
    """From the base value to the forecast, feature by feature (shap's waterfall).

    latest: (11,) the features of the last day, written beside their names.
    """
    import shap

    shares = shap.Explanation(
        values=np.array(list(explanation.by_feature.values())),
        base_values=explanation.base_value,
        data=np.round(latest, 3),
        feature_names=list(FEATURES),
    )
    interactive = plt.isinteractive()
    figure = plt.figure()
    shap.plots.waterfall(shares, max_display=len(FEATURES), show=False)
    plt.interactive(interactive)  # shap switches it off, and later figures would stay hidden
    figure.set_size_inches(8, 4.6)
    figure.text(0.99, 0.0, "forecast (series' unit)", ha="right", fontsize=9)
    return figure


def plot_days(explanation: Explanation) -> Figure:
    """Share of each block of days: which past moved the forecast, and what lies ahead."""
    names, shares = list(explanation.by_day), np.array(list(explanation.by_day.values()))
    figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
    axis.bar(names, shares, color=np.where(shares >= 0, UP, DOWN))
    axis.axhline(0, color=INK, lw=0.8)
    axis.set(xlabel="days before the first forecast day", ylabel="share (series' unit)")
    return figure


def plot_map(explanation: Explanation) -> Figure:
    """Which feature on which days: red raised the forecast, blue lowered it."""
    heat = np.array(explanation.feature_by_day)
    limit = float(np.abs(heat).max()) or 1.0
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    image = axis.imshow(heat, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_yticks(range(len(FEATURES)), FEATURES)
    axis.set_xticks(range(heat.shape[1]), list(explanation.by_day))
    axis.set_xlabel("days before the first forecast day")
    figure.colorbar(image, label="share (series' unit)")
    return figure


def plot_importance(shares: np.ndarray) -> Figure:
    """Mean absolute share of each feature over a sample of forecasts. shares: (n, 11)."""
    mean = np.abs(shares).mean(axis=0)
    order = np.argsort(mean)
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    axis.barh([FEATURES[i] for i in order], mean[order], color=UP)
    axis.set_xlabel("mean absolute share (series' unit)")
    return figure


def plot_beeswarm(shares: np.ndarray, latest: np.ndarray, bases: Sequence[float]) -> Figure:
    """Share of each feature in every forecast of a sample, coloured by its value (shap).

    shares, latest: (n, 11); bases: (n,).
    """
    import shap

    sample = shap.Explanation(
        values=shares, base_values=np.array(bases), data=latest, feature_names=list(FEATURES)
    )
    interactive = plt.isinteractive()
    figure = plt.figure()
    shap.plots.beeswarm(sample, max_display=len(FEATURES), show=False, plot_size=(8, 4.2))
    plt.interactive(interactive)
    figure.axes[0].set_xlabel("share (series' unit)")
    return figure
