"""Let each series of a panel differ from the effects that all have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.data import Panel, take_series
from lib.features.covariate_effects import ADD, LARGEST, MULTIPLY, CovariateEffects
from lib.features.effect_regression import regress_by_series
from lib.features.local_deviations import deviations, local_columns
from lib.features.weekly_grid import WeeklyGrid

CHUNK_CELLS = 4_000_000
MIN_SERIES = 8  # from which series may differ


def let_series_differ(
    effects: CovariateEffects, panel: Panel, past: np.ndarray, noise: np.ndarray
) -> CovariateEffects:
    """Return the effects with gains and slopes of each series, where there are enough of them."""
    traits = effects.traits
    gains, slopes = traits.gains.copy(), traits.slopes.copy()
    count = len(effects.bases)
    linear = np.array([basis.kind in ("number", "event") for basis in effects.bases])
    for mode in (MULTIPLY, ADD):
        series = np.flatnonzero(traits.additive == bool(mode))
        if len(series) < MIN_SERIES:
            continue
        parts = [
            _series_problem(effects, panel, chunk, past, linear, additive=bool(mode))
            for chunk in _chunks(panel, series, 4 * count)
        ]
        gram, moment = (np.concatenate([part[i] for part in parts]) for i in range(2))
        differs = regress_by_series(gram, moment, float(noise[mode]))
        gains[series] += differs[:, :count]
        slopes[np.ix_(series, np.flatnonzero(linear))] = differs[:, count:]
    return replace(effects, traits=replace(traits, gains=gains, slopes=slopes))


def _series_problem(
    effects: CovariateEffects,
    panel: Panel,
    series: np.ndarray,
    past: np.ndarray,
    linear: np.ndarray,
    *,
    additive: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the normal equations of what each series adds to the common effects.

    Returns:
        (S, q, q) and (S, q): the effects of all covariates, then the linear columns of some.
    """
    past = past[panel.rows_of(series)]
    panel = take_series(panel, series)
    applied = effects.apply(panel)
    columns = [*applied.effects, *(applied.linear[linear])]
    grid = WeeklyGrid.of(panel, np.arange(panel.n_series), past)
    without = applied.remove(np.full(len(effects.bases), True))
    found = deviations(grid.gather(without.values), additive)
    local = local_columns(grid.gather(np.stack(columns, axis=1)))
    used = np.isfinite(found)
    effect = np.clip(local[..., : len(effects.bases)].sum(axis=-1), -LARGEST, LARGEST)
    importance = np.where(used, 1.0 if additive else np.exp(effect), 0.0)
    residuals = np.where(used, found - 1, 0.0)
    weighted = local * importance[..., None]
    return (
        np.einsum("stp,stq->spq", weighted, local, optimize=True),
        np.einsum("stp,st->sp", weighted, residuals),
    )


def _chunks(panel: Panel, series: np.ndarray, columns: int) -> list[np.ndarray]:
    """Divide series into parts of about CHUNK_CELLS cells."""
    cells = np.diff(panel.offsets)[series].sum() * columns
    return np.array_split(series, max(1, int(np.ceil(cells / CHUNK_CELLS))))
