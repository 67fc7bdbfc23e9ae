"""Figures of a search: the split of the days, history, pruning, importance of settings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import TrialState

from lib.data import DataSplit, Panel
from lib.plotting import FORECAST, INK, MUTED


def plot_split(panel: Panel, split: DataSplit, series: int = 0) -> Figure:
    """Plot one series with its training, validation and backtest days."""
    rows = panel.series(series)
    dates, values = panel.dates[rows], panel.values[rows]
    figure, axis = plt.subplots(figsize=(11, 2.8), layout="constrained")
    axis.plot(dates, values, color=INK, lw=0.6)
    edges = [dates[0], split.train_end, split.validation_end, split.test_end]
    names = ("training", "validation", "backtest")
    for name, first, last, colour in zip(
        names, edges, edges[1:], ("#e2e8f0", "#fed7aa", "#bfdbfe"), strict=False
    ):
        axis.axvspan(*date2num([first, last]), color=colour, alpha=0.6, lw=0, label=name)
    axis.set_ylabel("value (series' unit)")
    axis.set_title(panel.ids[series], loc="left", fontsize=9)
    axis.legend(frameon=False, ncols=3, loc="upper left")
    return figure


def plot_history(study: optuna.Study) -> Figure | None:
    """Plot the validation loss of each trial in order, the best so far, and which were pruned.

    Returns:
        None without trials, as of the other figures of a search.
    """
    trials = study.get_trials(deepcopy=False)
    if not trials:
        return None
    figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    pruned = [t for t in trials if t.state == TrialState.PRUNED and t.intermediate_values]
    numbers = [t.number for t in complete]
    values = np.array([t.value for t in complete], dtype=float)
    axis.scatter(numbers, values, color=FORECAST, s=22, label="complete", zorder=3)
    lowest = [min(t.intermediate_values.values()) for t in pruned]
    axis.scatter([t.number for t in pruned], lowest, marker="x", color=MUTED, label="pruned")
    axis.step(numbers, np.minimum.accumulate(values), where="post", color=INK, lw=1, label="best")
    axis.set(xlabel="trial", ylabel="validation pinball loss (scales)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, ncols=3)
    return figure


def plot_curves(study: optuna.Study) -> Figure | None:
    """Plot the lowest validation loss of each trial by batches, which the pruner decides by."""
    trials = study.get_trials(deepcopy=False)
    if not trials:
        return None
    figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
    for trial in trials:
        steps, losses = list(trial.intermediate_values), list(trial.intermediate_values.values())
        best = trial.number == study.best_trial.number
        axis.plot(steps, losses, color=FORECAST if best else MUTED, lw=2 if best else 0.9)
    axis.set(xlabel="batches of training", ylabel="validation pinball loss (scales)")
    axis.set_title(f"orange: the best trial, {study.best_trial.number}", loc="left", fontsize=9)
    return figure


def plot_importance(study: optuna.Study, seed: int) -> Figure:
    """Plot the share of the variance of the loss that each setting explains.

    By fANOVA (Hutter et al. 2014).
    """
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    ranked = pd.Series(shares).sort_values()
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axis.barh(ranked.index, 100 * ranked.to_numpy(), color=FORECAST)
    axis.set_xlabel("share of the variance explained (%)")
    return figure


def plot_slices(study: optuna.Study, settings: tuple[str, ...]) -> Figure | None:
    """Plot the loss of the complete trials against single settings, where they drew them."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return None
    figure, axes = plt.subplots(
        1, len(settings), figsize=(11, 2.8), layout="constrained", sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], settings, strict=True):
        drawn = [(t.params[name], t.value) for t in complete if name in t.params]
        x = [str(v) if isinstance(v, str | bool) else v for v, _ in drawn]
        axis.scatter(x, [loss for _, loss in drawn], color=FORECAST, s=20, alpha=0.8)
        axis.set_xlabel(name)
        if name in ("learning_rate", "weight_decay"):
            axis.set_xscale("log")
    axes[0, 0].set_ylabel("validation loss (scales)")
    return figure
