"""The windows that a fit learns from and is stopped by, and their batches as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lib import features as ft
from lib.data import (
    MIN_HISTORY_DAYS,
    DataSplit,
    Panel,
    forget_covariates_after,
    is_constant,
    without_spikes,
)
from lib.training.config import TrainingError

if TYPE_CHECKING:  # a forecast without training prepares its windows here, and loads no torch
    import torch
    from torch import Tensor

    from lib.models import ModelConfig

COVARIATES = ("fator_externo", "evento_especial")  # of the features
DATES_FROM = 500  # days of a series: with fewer, hardly a date has been seen twice
# The days that a fit learns from have taught the dates as well, each a share of it. What is left
# of them there is less than on later days, and with few years that misleads the network.
FIT_DATES_FROM = 2_920
CALIBRATION_WINDOWS = 512  # of a network without training, which bounds its seconds
CALIBRATION_DAYS = 1460  # that they are from: every season, and nothing of decades ago


@dataclass(frozen=True)
class TrainingData:
    """Training and validation windows; no target of the one is a target of the other.

    Attributes:
        train: windows to learn from.
        validation: windows to stop and to calibrate by.
        factor_mean: mean of the factor in the training span, in its units.
        factor_std: its standard deviation, in its units.
        nonnegative: whether no value of the training span is below zero.
        nonnegative_series: names of the series of which that is true.
        effects: of the covariates on the series as they were observed, None without covariates.
            The windows are of a panel without them.
    """

    train: ft.Windows
    validation: ft.Windows
    factor_mean: float
    factor_std: float
    nonnegative: bool
    nonnegative_series: tuple[str, ...] = ()
    effects: ft.PanelEffects | None = None

    @property
    def observed(self) -> Panel:
        """The panel as it was observed, but for spikes."""
        return self.effects.panel if self.effects else self.train.panel

    @property
    def has_covariates(self) -> bool:
        """Whether anything that may be unknown ahead has an effect; what dates do is no such."""
        return self.effects is not None and not self.effects.learned.always_known.all()


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
) -> TrainingData:
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
    panel, effects = _remove_effects(panel, split.train_end, dates_from)
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
    train = _without_constants(train, split.train_end)
    validation = _without_constants(validation, split.validation_end)
    train, validation = (replace(w, past_effects=past_effects) for w in (train, validation))
    past = panel.dates <= split.train_end
    return replace(_measure_units(panel, past, train, validation), effects=effects)


def prepare_zero_shot(panel: Panel, horizon: int) -> TrainingData:
    """Index the windows of a panel for the pretrained network as it is, which learns nothing.

    Units and floor are measured on all days. The validation windows, to calibrate by, are of the
    last CALIBRATION_DAYS, at most CALIBRATION_WINDOWS evenly spaced; there may be none. The
    training windows have their origins on all days, since nothing but their inputs is used.
    """
    panel, effects = _remove_effects(panel, panel.dates.max(), DATES_FROM)
    learned = effects.learned if effects else None
    past_effects = learn_past(panel, panel.dates.max(), horizon, learned)
    features = ft.compute_features(panel)
    whole = ft.index_windows(panel, features, horizon, min_history=MIN_HISTORY_DAYS)
    recent = whole.origins[panel.dates[whole.origins] >= panel.dates.max() - CALIBRATION_DAYS]
    chosen = np.linspace(0, len(recent) - 1, min(len(recent), CALIBRATION_WINDOWS)).astype(int)
    validation = ft.Windows(panel, features, recent[chosen], horizon, past_effects=past_effects)
    if len(chosen):
        validation = _without_constants(validation, panel.dates.max())
    every = np.arange(len(panel.dates))
    train = ft.Windows(panel, features, every, horizon, past_effects=past_effects)
    past = np.full(len(panel.dates), True)
    return replace(_measure_units(panel, past, train, validation), effects=effects)


def _remove_effects(
    panel: Panel, until: np.datetime64, dates_from: int
) -> tuple[Panel, ft.PanelEffects | None]:
    """Return the panel without the effects of covariates, and of dates, as learned up to a day."""
    learned = ft.fit_effects(panel, until, dates_from=dates_from)
    if learned is None:
        return panel, None
    effects = learned.apply(panel)
    return effects.remove(np.full(len(learned.bases), True)), effects


def learn_past(
    panel: Panel, until: np.datetime64, horizon: int, effects: ft.CovariateEffects | None
) -> ft.PastEffects | None:
    """Learn what past covariates say of the days ahead, of a panel without other effects."""
    additive = effects.traits.additive if effects else None
    return ft.fit_past_effects(panel, until, horizon, additive)


def _measure_units(
    panel: Panel, past: np.ndarray, train: ft.Windows, validation: ft.Windows
) -> TrainingData:
    """Return the windows with the units and the floor of the `past` rows, (N,) bool."""
    factor = panel.factor[past & np.isfinite(panel.factor)]
    values = panel.values[past & np.isfinite(panel.values)]
    return TrainingData(
        train=train,
        validation=validation,
        factor_mean=float(factor.mean()) if len(factor) else 0.0,
        factor_std=_factor_std(factor),
        nonnegative=bool((values >= 0).all()),
        nonnegative_series=_nonnegative_series(panel, past),
    )


def _without_constants(windows: ft.Windows, until: np.datetime64) -> ft.Windows:
    """Leave out the windows of series that are constant up to a day, unless none is left."""
    panel = windows.panel
    past = np.where(panel.dates <= until, panel.values, np.nan)
    low = np.fmin.reduceat(past, panel.offsets[:-1])
    high = np.fmax.reduceat(past, panel.offsets[:-1])
    varying = ~is_constant(low, high)[panel.series_of(windows.origins)]
    if varying.all() or not varying.any():
        return windows
    return replace(windows, origins=windows.origins[varying])


def _nonnegative_series(panel: Panel, past: np.ndarray) -> tuple[str, ...]:
    """Return the names of series with values in the past and none below zero."""
    lowest = np.fmin.reduceat(np.where(past, panel.values, np.nan), panel.offsets[:-1])
    return tuple(panel.ids[s] for s in np.flatnonzero(lowest >= 0))


def _factor_std(factor: np.ndarray) -> float:
    """Return the standard deviation; 1 for a constant, whose rounding would be the unit."""
    std = float(factor.std()) if len(factor) else 0.0
    return std if std > 1e-9 * float(np.abs(factor).max(initial=0.0)) else 1.0


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
