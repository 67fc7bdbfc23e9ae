"""Level-shift augmentation and covariate dropout of training batches.

A training span rarely shows the days and weeks after a level shift, yet that is when a forecast
is needed most. So some windows are trained with a past of another level. A shift that noise could
have caused would teach the network to follow noise. Each is therefore some days old and, where the
series varies little around its level, large.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lib import features as ft
from lib.calibration import COVARIATES, PreparedData
from lib.data import Panel
from lib.training.config import TrainingConfig
from lib.training.data import Batch, batch_of

SHIFT_DAYS = (4, 42)  # before the origin, between which a level shifts
LEVEL_SIGMA = 0.35  # of the logarithm of a shift, before it is bounded
# Smallest and largest shift, in mean absolute deviations of the last weeks.
MIN_SHIFT, MAX_SHIFT = 2.0, 4.0
MIN_SHIFT_CAP = 0.5  # of the level: the smallest shift of a noisy series is no larger
SEASONALITY_SIGMA = 0.4  # of the logarithm by which the weekly amplitude changes
SEASONALITY_PROB = 0.5  # share of the shifts that change it
LAST_YEAR = ("last_year", "last_year_week", "last_year_level")
HISTORY_DAYS = ft.YEAR + 28  # that a window reaches back, last year's level the farthest


def shift_levels(windows: ft.Windows, index: np.ndarray, rng: np.random.Generator) -> ft.Windows:
    """Return windows whose level and weekly amplitude shift shortly before each origin.

    Only the past before the shift is changed, so targets stay, and so do covariates. Zeros of a
    series without negative values stay zeros. A window without an observed value since the shift
    keeps its past.

    Args:
        windows: of a panel.
        index: (n,) numbers of the windows to change.
        rng: for days and sizes of the shifts.

    Returns:
        n windows of a new panel with one series each.
    """
    values, rows, in_series = _gather_series(windows, index)
    steps = np.arange(-HISTORY_DAYS, windows.horizon + 1)
    before = steps <= -rng.integers(SHIFT_DAYS[0], SHIFT_DAYS[1] + 1, size=(len(index), 1))
    since = np.isfinite(values) & ~before & (steps <= 0)
    before &= since.any(axis=1, keepdims=True)
    past = draw_shifted_past(values[:, : HISTORY_DAYS + 1], rng)
    values[before] = past[before[:, : HISTORY_DAYS + 1]]
    return _cut_out(windows, values, rows, in_series)


def hide_covariates(
    windows: ft.Windows, index: np.ndarray, effects: ft.PanelEffects, rng: np.random.Generator
) -> tuple[ft.Windows, np.ndarray]:
    """Return windows that do not know all covariates of the days ahead.

    In half of the windows none is known, in the others one at random is not. The effects of those
    stay in the series.

    Args:
        windows: of the panel without effects.
        index: (n,) numbers of the windows to change.
        effects: on the panel.
        rng: for the choice of covariates.

    Returns:
        n windows of a new panel with one series each, and which of the K covariates each does not
        know, (n, K) bool.
    """
    count = len(effects.names)
    able = np.flatnonzero(~effects.learned.always_known)
    one = able[rng.integers(len(able), size=len(index))]
    hidden = (rng.random(len(index)) < 0.5)[:, None] | (np.arange(count) == one[:, None])
    hidden &= ~effects.learned.always_known
    values, rows, in_series = _gather_series(windows, index)
    values = ft.put_back(effects, values, rows, hidden)
    return _cut_out(windows, values, rows, in_series), hidden


def _gather_series(
    windows: ft.Windows, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gather the days that windows reach back on and forecast.

    Returns:
        (n, HISTORY_DAYS + 1 + horizon) each: values, those ahead as targets are, row numbers, and
        whether the series has begun.
    """
    panel, origins = windows.panel, windows.origins[index]
    steps = np.arange(-HISTORY_DAYS, windows.horizon + 1)
    values = ft.values_at(panel, panel.values, origins, steps)
    values[:, -windows.horizon :] = windows.targets(index)
    in_series = (origins - panel.first_row_of(origins))[:, None] >= -steps
    return values, np.where(in_series, origins[:, None] + steps, origins[:, None]), in_series


def _cut_out(
    windows: ft.Windows, values: np.ndarray, rows: np.ndarray, in_series: np.ndarray
) -> ft.Windows:
    """Return windows of a new panel with one series each, of other values."""
    panel, rows = windows.panel, rows[in_series]
    offsets = np.concatenate([[0], np.cumsum(in_series.sum(axis=1))])
    cut = Panel(
        ids=tuple(map(str, range(len(values)))),
        offsets=offsets,
        dates=panel.dates[rows],
        values=values[in_series],
        factor=panel.factor[rows],
        event=panel.event[rows],
    )
    origins = offsets[1:] - 1 - windows.horizon
    features = ft.compute_features(cut)
    return replace(windows, panel=cut, features=features, origins=origins, past_effects=None)


def draw_shifted_past(past: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pasts of another level, half of them also of another weekly amplitude.

    Args:
        past: (n, days), raw units, NaN where missing.
        rng: for the sizes of the shifts.

    Returns:
        (n, days), raw units.
    """
    n, days = past.shape
    recent = past[:, -2 * SHIFT_DAYS[1] :]
    observed = np.isfinite(recent)
    count = np.maximum(observed.sum(axis=1, keepdims=True), 1)
    mean = np.where(observed, recent, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.where(observed, np.abs(recent - mean), 0.0).sum(axis=1, keepdims=True) / count
    # in units of the series, or a level far larger than what it moves by would leave the window
    unit = spread / np.maximum(np.abs(mean), 1e-300)
    shift = np.exp(rng.normal(0.0, LEVEL_SIGMA, size=(n, 1))) - 1
    smallest = np.minimum(MIN_SHIFT * unit, MIN_SHIFT_CAP)
    level = 1 + np.copysign(np.clip(np.abs(shift), smallest, MAX_SHIFT * unit), shift)
    amplitude = np.exp(rng.normal(0.0, SEASONALITY_SIGMA, size=(n, 1)))
    amplitude = np.where(rng.random((n, 1)) < SEASONALITY_PROB, amplitude, 1.0)
    week = ft.rolling_mean(past.ravel(), np.tile(np.arange(days), n), 7)[0].reshape(n, days)
    shifted = level * (week + amplitude * (past - week))
    nonnegative = np.fmin.reduce(past, axis=1, initial=np.inf, keepdims=True) >= 0
    clipped = np.where(past == 0, 0.0, np.maximum(shifted, 0.0))
    return np.where(nonnegative, clipped, shifted)


def gather_augmented(
    data: PreparedData,
    index: np.ndarray,
    days: int,
    config: TrainingConfig,
    rng: np.random.Generator,
) -> Batch:
    """Gather a training batch: some windows with a level shift, some without known covariates.

    Args:
        data: to learn from.
        index: (batch,) numbers of training windows.
        days: length of the context.
        config: with the shares of both.
        rng: for which windows, and how.

    Returns:
        The batch, windows with a shift first, then those without covariates.
    """
    windows = data.train
    shifts = int(rng.binomial(len(index), config.level_shift_prob))
    parts, rest = [], index[shifts:]
    if shifts:
        shifted = shift_levels(windows, index[:shifts], rng)
        parts.append(batch_of(shifted, np.arange(shifts), days))
    if data.effects and data.has_covariates:
        count = int(rng.binomial(len(rest), config.covariate_dropout))
        if count:
            parts.append(_gather_hidden(windows, rest[:count], days, data.effects, rng))
        rest = rest[count:]
    if len(rest):
        parts.append(batch_of(windows, rest, days))
    batch = Batch(*(torch.cat(part) for part in zip(*parts, strict=True)))
    if not data.has_covariates:
        _forget(batch.future, COVARIATES, config.covariate_dropout, rng)
    _forget(batch.future, LAST_YEAR, config.covariate_dropout, rng)
    return batch


def _gather_hidden(
    windows: ft.Windows,
    index: np.ndarray,
    days: int,
    effects: ft.PanelEffects,
    rng: np.random.Generator,
) -> Batch:
    """Gather windows that do not know all covariates, neither by effect nor as an input."""
    cut, hidden = hide_covariates(windows, index, effects, rng)
    batch = batch_of(cut, np.arange(len(index)), days)
    for name in COVARIATES:
        if name in effects.names:
            unknown = torch.from_numpy(hidden[:, effects.names.index(name)])
            batch.future[unknown, :, ft.FUTURE.index(name)] = torch.nan
    return batch


def _forget(future: Tensor, names: tuple[str, ...], share: float, rng: np.random.Generator) -> None:
    """Set columns of random windows to unknown.

    A request may know neither the covariates nor the last year, so a network has to be trained
    without them too.

    Args:
        future: (batch, horizon, len(FUTURE)), changed in place.
        names: of the columns.
        share: of the windows.
        rng: for the choice of windows.
    """
    rows = torch.from_numpy(np.flatnonzero(rng.random(len(future)) < share))
    for name in names:
        future[rows, :, ft.FUTURE.index(name)] = torch.nan
