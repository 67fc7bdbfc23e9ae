"""What training adds to its batches: changes shortly before a cutoff, and futures left unknown.

A training span rarely shows the days and weeks after a level has changed, yet that is when a
forecast is needed most. So some windows are made again with another past. A change that noise
could have made would teach to follow noise: each is some days old and, where the series moves
little beside its level, large.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lib import features as ft
from lib.data import Panel
from lib.training.data import batch_of

DAYS = (4, 42)  # before the cutoff, between which a change happened
LEVEL = 0.35  # standard deviation of the logarithm of a change of level, before it is bounded
NEAREST, FARTHEST = 2.0, 4.0  # mean absolute deviations of the last weeks that a level moves by
HALF = 0.5  # of the level: the largest change that NEAREST asks for; noisier series have smaller
SWING = 0.4  # the same of how far the days of a week lie apart; half of the changes have one
HISTORY = ft.YEAR + 28  # days that a window reaches back, last year's level the farthest


def shift_levels(windows: ft.Windows, index: np.ndarray, rng: np.random.Generator) -> ft.Windows:
    """The windows at `index` again, as if level and swing had changed shortly before each cutoff.

    What came before the change is what differs, so targets stay as they are. Covariates stay too;
    zeros of a series without negative values stay zeros. A window without a value since the
    change keeps its past.
    """
    panel, origins = windows.panel, windows.origins[index]
    steps = np.arange(-HISTORY, windows.horizon + 1)
    values = ft.values_at(panel, panel.values, origins, steps)
    kept = (origins - panel.first_row_of(origins))[:, None] >= -steps  # days of the series itself
    rows = (origins[:, None] + steps)[kept]
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    before = steps <= -rng.integers(DAYS[0], DAYS[1] + 1, size=(len(origins), 1))
    since = np.isfinite(values) & ~before & (steps <= 0)
    before &= since.any(axis=1, keepdims=True)
    past = _other(values[:, : HISTORY + 1], rng)
    values[before] = past[before[:, : HISTORY + 1]]
    made = Panel(
        ids=tuple(map(str, range(len(origins)))),
        offsets=offsets,
        dates=panel.dates[rows],
        values=values[kept],
        factor=panel.factor[rows],
        event=panel.event[rows],
    )
    cutoffs = offsets[1:] - 1 - windows.horizon
    return replace(windows, panel=made, features=ft.compute_features(made), origins=cutoffs)


def _other(past: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values (n, days) of another level, half of them also of another swing about the week."""
    n, days = past.shape
    recent = past[:, -2 * DAYS[1] :]
    seen = np.isfinite(recent)
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    mean = np.where(seen, recent, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.where(seen, np.abs(recent - mean), 0.0).sum(axis=1, keepdims=True) / count
    # in units of the series, or a level far larger than what it moves by would leave the window
    unit = spread / np.maximum(np.abs(mean), 1e-300)
    moved = np.exp(rng.normal(0.0, LEVEL, size=(n, 1))) - 1
    size = np.clip(np.abs(moved), np.minimum(NEAREST * unit, HALF), FARTHEST * unit)
    level = 1 + np.copysign(size, moved)
    swing = np.exp(rng.normal(0.0, SWING, size=(n, 1)))
    swing = np.where(rng.random((n, 1)) < 0.5, swing, 1.0)
    week = ft.rolling_mean(past.ravel(), np.tile(np.arange(days), n), 7)[0].reshape(n, days)
    other = level * (week + swing * (past - week))
    natural = np.fmin.reduce(past, axis=1, initial=np.inf, keepdims=True) >= 0
    return np.where(natural, np.where(past == 0, 0.0, np.maximum(other, 0.0)), other)


def batch_with_changes(
    windows: ft.Windows, index: np.ndarray, days: int, share: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """What `batch_of` gives, about a `share` of the windows `changed`."""
    count = int(rng.binomial(len(index), share))
    plain = batch_of(windows, index[count:], days)
    if not count:
        return plain
    again = batch_of(shift_levels(windows, index[:count], rng), np.arange(count), days)
    context, future, targets = (torch.cat(pair) for pair in zip(again, plain, strict=True))
    return context, future, targets


def drop_covariates(future: Tensor, rng: np.random.Generator, share: float) -> None:
    """Hide what a request may not know: planned covariates, and separately last year."""
    for names in (
        ("fator_externo", "evento_especial"),
        ("last_year", "last_year_week", "last_year_level"),
    ):
        rows = torch.from_numpy(np.flatnonzero(rng.random(len(future)) < share))
        for name in names:
            future[rows, :, ft.FUTURE.index(name)] = torch.nan
