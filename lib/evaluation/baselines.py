"""Forecasts that need no training: naive, seasonal naive, weekday median and weekly mean.

Every baseline takes a panel, origins (rows of the last known days) and a horizon in days, and
returns (n, horizon). Where the days it looks at hold no value, it repeats the last observed one,
so that all are scored on the same days. A series without any value gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib import features as ft
from lib.data import Panel
from lib.evaluation.metrics import SEASON

SEASONS = 8  # weeks that the weekday forecasts look back
Baseline = Callable[[Panel, np.ndarray, int], np.ndarray]


def naive(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last observed value."""
    return np.repeat(last_known_value(panel)[origins][:, None], horizon, axis=1)


def seasonal_naive(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last observed value of the same weekday, at most 8 weeks back.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=90, missing=0.0), seed=1)
    >>> forecast = seasonal_naive(panel, np.array([59]), horizon=14)
    >>> forecast[0, :7].tolist() == panel.values[53:60].tolist()
    True
    """
    last = _last_observed(_by_weekday(panel, origins))
    return _repeat_week(last, panel, origins, horizon)


def weekday_median(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the median of the same weekday over the last 8 weeks."""
    weeks = _by_weekday(panel, origins)
    known = np.isfinite(weeks).any(axis=-1)
    median = np.full(known.shape, np.nan)
    median[known] = np.nanmedian(weeks[known], axis=-1)
    return _repeat_week(median, panel, origins, horizon)


def moving_mean(panel: Panel, origins: np.ndarray, horizon: int, days: int = 7) -> np.ndarray:
    """Repeat the mean of the last `days` days, or else that of the last 28."""
    history = _history(panel, origins, 28)
    recent = _mean(history[:, -days:])
    level = np.where(np.isfinite(recent), recent, _mean(history))
    return np.repeat(_fill_with_last(level[:, None], panel, origins), horizon, axis=1)


BASELINES: dict[str, Baseline] = {
    "naive": naive,
    "seasonal_naive": seasonal_naive,
    "weekday_median": weekday_median,
    "mean_7": moving_mean,
}


def last_known_value(panel: Panel) -> np.ndarray:
    """Return the last value observed up to each row, inclusive, in its series. (N,)."""
    rows = np.arange(len(panel.values))
    last = np.maximum.accumulate(np.where(np.isfinite(panel.values), rows, -1))
    return np.where(last >= panel.first_row_of(rows), panel.values[last], np.nan)


def _history(panel: Panel, origins: np.ndarray, days: int) -> np.ndarray:
    """Return the values of the `days` days up to each origin. (n, days), NaN before the series."""
    return ft.values_at(panel, panel.values, origins, np.arange(1 - days, 1))


def _by_weekday(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Return the last 8 weeks by weekday, that of the first target day first. (n, 7, 8)."""
    weeks = _history(panel, origins, SEASONS * SEASON).reshape(len(origins), SEASONS, SEASON)
    return np.moveaxis(weeks, 1, 2)


def _repeat_week(week: np.ndarray, panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat a week (n, 7), the last observed value in place of NaN, over the horizon."""
    return _fill_with_last(week, panel, origins)[:, np.arange(horizon) % SEASON]


def _fill_with_last(levels: np.ndarray, panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Replace NaN in `levels` (n, k) by the last observed value."""
    return np.where(np.isfinite(levels), levels, last_known_value(panel)[origins][:, None])


def _last_observed(history: np.ndarray) -> np.ndarray:
    """Return the last finite entry of the last axis, NaN where there is none."""
    finite = np.isfinite(history)
    last = history.shape[-1] - 1 - np.argmax(finite[..., ::-1], axis=-1)
    values = np.take_along_axis(history, last[..., None], axis=-1)[..., 0]
    return np.where(finite.any(axis=-1), values, np.nan)


def _mean(history: np.ndarray) -> np.ndarray:
    count = np.isfinite(history).sum(axis=-1)
    return np.where(count > 0, np.nansum(history, axis=-1) / np.maximum(count, 1), np.nan)
