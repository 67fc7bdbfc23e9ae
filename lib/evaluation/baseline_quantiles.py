"""Quantiles of the simple forecasts: empirical, of their errors up to each origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from lib import features as ft
from lib.data import Panel
from lib.evaluation.backtest import collect_forecasts, measure_revisions
from lib.evaluation.baselines import BASELINES, Baseline
from lib.evaluation.scores import Backtest

ERROR_DAYS = 364  # before an origin, whose errors count
MIN_ERRORS = 10  # of one day of the horizon; with fewer, those of all days count together
CHUNK_ROWS = 50_000  # forecasts computed at a time, which bounds memory
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def run_baselines(
    panel: Panel,
    origins: np.ndarray,
    horizon: int,
    levels: Sequence[float] = LEVELS,
    *,
    revisions: bool = False,
) -> dict[str, Backtest]:
    """Forecast with every baseline from every origin, with quantiles, and join the actuals.

    Args:
        panel: the series.
        origins: (n,) rows, as `origin_rows` returns them.
        horizon: days ahead.
        levels: of the quantiles, 0.5 among them.
        revisions: measure also how far the forecasts move within a week.

    Returns:
        A backtest by name of the baseline. The points are those of the baseline itself.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=200, missing=0.0), seed=1)
    >>> results = run_baselines(panel, np.array([150]), horizon=7)
    >>> list(results), results["naive"].quantiles.shape
    (['naive', 'seasonal_naive', 'weekday_median', 'mean_7'], (1, 7, 7))
    """
    results = {}
    for name, forecast in BASELINES.items():
        points = forecast(panel, origins, horizon)
        quantiles = baseline_quantiles(forecast, panel, origins, points, levels)
        results[name] = collect_forecasts(
            panel, origins, horizon, point=points, quantiles=quantiles, levels=levels
        )
        if revisions:
            moved = _measure_revisions(panel, results[name], origins, forecast)
            results[name] = replace(results[name], revision=moved)
    return results


def _measure_revisions(
    panel: Panel, result: Backtest, origins: np.ndarray, forecast: Baseline
) -> np.ndarray:
    """Return how far the forecasts of one baseline move within a week. (n,)."""
    horizon = result.point.shape[1]

    def repeat(rows: np.ndarray) -> np.ndarray:
        points = forecast(panel, rows, horizon)
        return collect_forecasts(panel, rows, horizon, point=points).point

    return measure_revisions(panel, origins, result.point, repeat)


def baseline_quantiles(
    forecast: Baseline,
    panel: Panel,
    origins: np.ndarray,
    points: np.ndarray,
    levels: Sequence[float],
) -> np.ndarray:
    """Add to point forecasts the quantiles of the errors made before each origin.

    The errors are those of the same forecast at the same number of days ahead, from the earlier
    origins whose target day is known at this one. Quantiles of a series without a negative value
    are not negative.

    Args:
        forecast: the baseline.
        panel: the series.
        origins: (n,) rows.
        points: (n, horizon), its forecasts from these origins.
        levels: (k,) of the quantiles.

    Returns:
        (n, horizon, k), rising along the last axis.
    """
    horizon = points.shape[1]
    quantiles = np.repeat(points[..., None], len(levels), axis=-1)
    reach = np.arange(ERROR_DAYS)[:, None] + np.arange(1, horizon + 1)  # rows before the origin
    for rows, members in _chunks(panel, origins, horizon):
        errors = ft.values_at(panel, panel.values, rows, np.arange(1, horizon + 1))
        errors -= forecast(panel, rows, horizon)
        for i in members:
            earlier = origins[i] - reach  # (days, horizon), the rows of the earlier origins
            place = np.searchsorted(rows, earlier)
            outside = earlier < max(panel.offsets[panel.series_of(origins[i])], rows[0])
            past = errors[np.clip(place, 0, len(rows) - 1), np.arange(horizon)]
            past[outside] = np.nan
            quantiles[i] += _error_quantiles(past, levels)
    nonnegative = _is_nonnegative(panel, origins)
    quantiles[nonnegative] = np.maximum(quantiles[nonnegative], 0.0)
    return quantiles


def _chunks(
    panel: Panel, origins: np.ndarray, horizon: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows to forecast from, rising, and the numbers of the origins that they serve."""
    series = panel.series_of(origins)
    rows: list[np.ndarray] = []
    members: list[np.ndarray] = []
    for s in np.unique(series):
        mine = np.flatnonzero(series == s)
        first = max(panel.offsets[s], origins[mine].min() - ERROR_DAYS - horizon)
        rows.append(np.arange(first, origins[mine].max() + 1))
        members.append(mine)
        if sum(map(len, rows)) >= CHUNK_ROWS:
            yield np.concatenate(rows), np.concatenate(members)
            rows, members = [], []
    if rows:
        yield np.concatenate(rows), np.concatenate(members)


def _error_quantiles(errors: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the quantiles of the errors of each day. (days, horizon) in, (horizon, k) out."""
    count = np.isfinite(errors).sum(axis=0)
    few = count < MIN_ERRORS
    quantiles = _observed_quantiles(np.sort(errors, axis=0), count, levels)
    if few.any():
        known = np.sort(errors[np.isfinite(errors)])[:, None]
        quantiles[few] = _observed_quantiles(known, np.array([len(known)]), levels)
    return quantiles


def _observed_quantiles(
    ordered: np.ndarray, count: np.ndarray, levels: Sequence[float]
) -> np.ndarray:
    """Return linear quantiles of the first `count` entries of each column; 0 of none."""
    if not len(ordered):
        return np.zeros((len(count), len(levels)))
    position = np.maximum(count - 1, 0)[:, None] * np.asarray(levels)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0)[:, None])
    columns = np.arange(ordered.shape[1])[:, None]
    low, high = ordered[below, columns], ordered[above, columns]
    values = low + (position - below) * (high - low)
    return np.where(count[:, None] > 0, values, 0.0)


def _is_nonnegative(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Return which origins have no negative value behind them in their series. (n,) bool."""
    negative = np.cumsum(panel.values < 0)
    first = panel.first_row_of(origins)
    before = np.where(first > 0, negative[first - 1], 0)
    return negative[origins] == before
