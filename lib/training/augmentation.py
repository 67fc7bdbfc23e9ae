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
from lib.data import Panel
from lib.training.data import Batch, batch_of

SHIFT_DAYS = (4, 42)  # before the origin, between which a level shifts
LEVEL_SIGMA = 0.35  # of the logarithm of a shift, before it is bounded
# Smallest and largest shift, in mean absolute deviations of the last weeks.
MIN_SHIFT, MAX_SHIFT = 2.0, 4.0
MIN_SHIFT_CAP = 0.5  # of the level: the smallest shift of a noisy series is no larger
SEASONALITY_SIGMA = 0.4  # of the logarithm by which the weekly amplitude changes
SEASONALITY_PROB = 0.5  # share of the shifts that change it
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
    panel, origins = windows.panel, windows.origins[index]
    steps = np.arange(-HISTORY_DAYS, windows.horizon + 1)
    values = ft.values_at(panel, panel.values, origins, steps)  # (n, steps)
    in_series = (origins - panel.first_row_of(origins))[:, None] >= -steps
    rows = (origins[:, None] + steps)[in_series]
    offsets = np.concatenate([[0], np.cumsum(in_series.sum(axis=1))])
    before = steps <= -rng.integers(SHIFT_DAYS[0], SHIFT_DAYS[1] + 1, size=(len(origins), 1))
    since = np.isfinite(values) & ~before & (steps <= 0)
    before &= since.any(axis=1, keepdims=True)
    past = draw_shifted_past(values[:, : HISTORY_DAYS + 1], rng)
    values[before] = past[before[:, : HISTORY_DAYS + 1]]
    shifted = Panel(
        ids=tuple(map(str, range(len(origins)))),
        offsets=offsets,
        dates=panel.dates[rows],
        values=values[in_series],
        factor=panel.factor[rows],
        event=panel.event[rows],
    )
    origins = offsets[1:] - 1 - windows.horizon
    return replace(windows, panel=shifted, features=ft.compute_features(shifted), origins=origins)


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
    windows: ft.Windows,
    index: np.ndarray,
    days: int,
    level_shift_prob: float,
    rng: np.random.Generator,
) -> Batch:
    """Gather a batch in which each window has a level shift with the given probability.

    Args:
        windows: of a panel.
        index: (batch,) numbers of windows.
        days: length of the context.
        level_shift_prob: between 0 and 1.
        rng: for the number, days and sizes of the shifts.

    Returns:
        The batch, windows with a shift first.
    """
    count = int(rng.binomial(len(index), level_shift_prob))
    plain = batch_of(windows, index[count:], days)
    if not count:
        return plain
    shifted = batch_of(shift_levels(windows, index[:count], rng), np.arange(count), days)
    return Batch(*(torch.cat(pair) for pair in zip(shifted, plain, strict=True)))


def drop_covariates(future: Tensor, rng: np.random.Generator, covariate_dropout: float) -> None:
    """Set known-future covariates of random windows to unknown, and separately last year.

    A request may know neither, so a network has to be trained without them too.

    Args:
        future: (batch, horizon, len(FUTURE)), changed in place.
        rng: for the choice of windows.
        covariate_dropout: share of the windows.
    """
    for names in (
        ("fator_externo", "evento_especial"),
        ("last_year", "last_year_week", "last_year_level"),
    ):
        rows = torch.from_numpy(np.flatnonzero(rng.random(len(future)) < covariate_dropout))
        for name in names:
            future[rows, :, ft.FUTURE.index(name)] = torch.nan
