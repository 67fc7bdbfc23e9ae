"""The figure of a training: its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.plotting import FORECAST, INK, MUTED


def plot_loss(history: Sequence[Mapping[str, float]], best_step: int) -> Figure:
    """Plot training and validation loss by step, and mark the step of the kept weights."""
    table = pd.DataFrame(history)
    figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
    axis.plot(table["step"], table["train_loss"], color=MUTED, label="training windows")
    axis.plot(table["step"], table["validation_loss"], color=FORECAST, label="validation windows")
    axis.axvline(best_step, color=INK, lw=0.8, ls=":", label=f"kept: step {best_step}")
    axis.set(xlabel="step (batches)", ylabel="pinball loss (window scales)")
    axis.legend(frameon=False)
    return figure
