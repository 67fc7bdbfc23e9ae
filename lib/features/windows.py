"""Gather context and known future of forecast origins from a panel."""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features.engineering import (
    FEATURES,
    MAX_HORIZON,
    YEAR,
    calendar_features,
)

# A context with fewer observed days than this says nothing about level or spread.
MIN_OBSERVED_DAYS = 4


def gather_context(
    panel: Panel, features: np.ndarray, origins: np.ndarray, days: int
) -> np.ndarray:
    """Gather the feature rows of the `days` days up to each origin.

    Where a gap leaves fewer than MIN_OBSERVED_DAYS of them, the days before the gap are taken
    instead, whole weeks earlier: an old level is better than none.

    Args:
        panel: N rows.
        features: (N, 11), as `compute_features` returns them.
        origins: (n,) rows.
        days: of the context.

    Returns:
        (n, days, 11), NaN before the series.
    """
    gathered = _rows_up_to(panel, features, origins, days)
    if days < 28:  # a few days may be missing without a gap
        return gathered
    observed = np.isfinite(gathered[..., FEATURES.index("lag_1")]).sum(axis=1)
    older = origins - panel.first_row_of(origins) >= days
    behind_gap = np.flatnonzero((observed < MIN_OBSERVED_DAYS) & older)
    if len(behind_gap):
        earlier = _origins_before_gap(panel, origins[behind_gap])
        gathered[behind_gap] = _rows_up_to(panel, features, earlier, days)
    return gathered


def _rows_up_to(panel: Panel, features: np.ndarray, origins: np.ndarray, days: int) -> np.ndarray:
    rows = origins[:, None] + np.arange(1 - days, 1)
    outside = rows < panel.first_row_of(origins)[:, None]
    gathered = features[np.maximum(rows, 0)]
    gathered[outside] = np.nan
    return gathered


def _origins_before_gap(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Return rows whole weeks before the origins, less than a week after observed days."""
    moved = origins.copy()
    for i, (start, origin) in enumerate(zip(panel.first_row_of(origins), origins, strict=True)):
        observed = np.flatnonzero(np.isfinite(panel.values[start : origin + 1]))
        if len(observed) >= MIN_OBSERVED_DAYS:
            moved[i] = origin - (origin - start - observed[-MIN_OBSERVED_DAYS]) // 7 * 7
    return moved


def known_future(
    panel: Panel, origins: np.ndarray, horizon: int, *, with_covariates: bool = True
) -> np.ndarray:
    """Gather what is known at each origin about the days after it.

    The event and the factor of a target day are read from the rows of the panel; days past its end
    are unknown. The values of last year lie before the origin for every horizon up to MAX_HORIZON.

    Args:
        panel: N rows.
        origins: (n,) rows.
        horizon: days ahead.
        with_covariates: False leaves event and factor unknown.

    Returns:
        (n, horizon, len(FUTURE)), NaN where unknown.

    Raises:
        ValueError: the horizon is longer than a year less half a week.
    """
    if horizon > MAX_HORIZON:
        raise ValueError(f"horizon: expected at most {MAX_HORIZON} days, got {horizon}")
    steps = np.arange(1, horizon + 1)
    dates = panel.dates[origins][:, None] + steps  # (n, horizon)
    unknown = np.full(dates.shape, np.nan)
    factor = values_at(panel, panel.factor, origins, steps) if with_covariates else unknown
    event = values_at(panel, panel.event, origins, steps) if with_covariates else unknown
    week = [values_at(panel, panel.values, origins, steps - YEAR + d) for d in range(-3, 4)]
    month = [values_at(panel, panel.values, origins, np.array([-YEAR - d])) for d in range(28)]
    columns = [
        factor,
        event,
        week[3],
        _observed_mean(np.stack(week)),
        np.broadcast_to(_observed_mean(np.stack(month)), dates.shape),
    ]
    return np.concatenate([calendar_features(dates), np.stack(columns, axis=-1)], axis=-1)


def values_at(
    panel: Panel, column: np.ndarray, origins: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """Return the entries of a column at `steps` days after each origin.

    Args:
        panel: N rows.
        column: (N,).
        origins: (n,) rows.
        steps: (k,) days; a negative step looks back.

    Returns:
        (n, k), NaN outside the series.
    """
    rows = origins[:, None] + steps
    first, last = panel.first_row_of(origins)[:, None], panel.last_row_of(origins)[:, None]
    inside = (rows >= first) & (rows <= last)
    return np.where(inside, column[np.clip(rows, 0, len(column) - 1)], np.nan)


def _observed_mean(stacked: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is observed, NaN where nothing is."""
    count = np.isfinite(stacked).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
