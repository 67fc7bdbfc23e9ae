"""The windows that a fit learns from and is stopped by, and their batches as tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lib import features as ft
from lib.calibration import (
    PreparedData,
    learn_past,
    measure_units,
    remove_effects,
    without_constants,
)
from lib.data import MIN_HISTORY_DAYS, DataSplit, Panel, forget_covariates_after, without_spikes
from lib.training.config import TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lib.models import ModelConfig

# The days that a fit learns from have taught the dates as well, each a share of it. What is left
# of them there is less than on later days, and with few years that misleads the network.
FIT_DATES_FROM = 2_920


class Batch(NamedTuple):
    """Windows as float64 tensors in raw units, NaN where missing or unknown."""

    context: Tensor  # (batch, days, 11)
    future: Tensor  # (batch, horizon, len(FUTURE))
    targets: Tensor  # (batch, horizon)

    def to(self, device: str | torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(tensor.to(device) for tensor in self))


def prepare(
    panel: Panel, split: DataSplit, config: ModelConfig, *, dates_from: int | None = None
) -> PreparedData:
    """Index the training and validation windows of a panel.

    Units, floor and the effects of covariates are measured on the training span alone. Values a
    thousand times their surroundings are taken for missing. A series that is constant has no scale
    to learn in: beside others it is left out, so that they are learned and calibrated as without
    it.

    Args:
        panel: all series.
        split: of their days.
        config: of the network.
        dates_from: observed days from which a series learns what dates do, 0 for never; by default
            FIT_DATES_FROM.

    Raises:
        TrainingError: a span holds no window.
    """
    panel = without_spikes(panel, split.validation_end)
    panel = forget_covariates_after(panel, split.validation_end)
    dates_from = FIT_DATES_FROM if dates_from is None else dates_from
    panel, effects = remove_effects(panel, split.train_end, dates_from)
    learned = effects.learned if effects else None
    past_effects = learn_past(panel, split.train_end, config.horizon, learned)
    features = ft.compute_features(panel)
    history = min(config.context_length, MIN_HISTORY_DAYS)
    train = ft.index_windows(
        panel, features, config.horizon, until=split.train_end, min_history=history
    )
    validation = ft.index_windows(
        panel,
        features,
        config.horizon,
        after=split.train_end,
        until=split.validation_end,
        min_history=history,
    )
    until = split.validation_end  # that of a refit has no days, since there is nothing to stop by
    for name, windows in (("training", train), ("validation", validation)):
        if len(windows.origins) == 0 and (name == "training" or split.train_end < until):
            raise TrainingError(
                f"no {name} window: a series needs {history} days before a cutoff and "
                f"{config.horizon} after it inside the {name} span; give more days or a "
                "shorter HORIZON"
            )
    train = without_constants(train, split.train_end)
    validation = without_constants(validation, split.validation_end)
    train, validation = (replace(w, past_effects=past_effects) for w in (train, validation))
    past = panel.dates <= split.train_end
    return replace(measure_units(panel, past, train, validation), effects=effects)


def batch_of(windows: ft.Windows, index: np.ndarray, days: int) -> Batch:
    """Gather windows as tensors.

    Args:
        windows: of a panel.
        index: (batch,) numbers of windows.
        days: length of the context.
    """
    import torch

    return Batch(
        torch.from_numpy(windows.context(index, days)),
        torch.from_numpy(windows.known_future(index)),
        torch.from_numpy(windows.targets(index)),
    )
