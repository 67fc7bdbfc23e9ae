"""The figure of a training: its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.plotting import FORECAST, INK, MUTED, hide_spines


def plot_loss(
    history: Sequence[Mapping[str, float]], best_step: int, initial_loss: float
) -> Figure:
    """Plot training and validation loss by step, and mark the step of the kept weights.

    Args:
        history: of a fit, one entry an evaluation.
        best_step: the step of the kept weights.
        initial_loss: validation loss before the first step, in scales.
    """
    table = pd.DataFrame(history)
    steps = [0, *table["step"]]
    losses = [initial_loss, *table["validation_loss"]]
    figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
    axis.plot(table["step"], table["train_loss"], color=MUTED, marker=".", label="training batches")
    axis.plot(steps, losses, color=FORECAST, marker=".", label="validation windows (decides)")
    best = losses[steps.index(best_step)]
    axis.axvline(best_step, color=INK, lw=0.8, ls=":")
    axis.annotate(
        f"kept: step {best_step}, loss {best:.3f}",
        (best_step, 1),
        (-4 if best_step > 0.6 * steps[-1] else 4, -4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if best_step > 0.6 * steps[-1] else "left",
        va="top",
        fontsize=8,
    )
    axis.set(xlabel="step (batches)", ylabel="pinball loss (window scales)", xlim=(0, None))
    axis.legend(frameon=False, loc="lower left")
    return hide_spines(figure)
