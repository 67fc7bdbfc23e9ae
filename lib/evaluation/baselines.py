"""Forecasts that need no training: naive, seasonal naive, weekday median and weekly mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lib import features as ft
from lib.data import Panel

# A baseline is a function of a panel, cutoff rows and a horizon → (n, horizon).
Baseline = Callable[[Panel, np.ndarray, int], np.ndarray]


def naive(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last observed value."""
    return np.repeat(last_known_value(panel)[origins][:, None], horizon, axis=1)


def seasonal_naive(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last observed value of the same weekday, at most 8 weeks back.

    Where none is known, the last observed value: every baseline is scored on the same days.
    """
    week = _last_observed(_weekdays(panel, origins))
    return _filled(week, panel, origins)[:, np.arange(horizon) % 7]


def weekday_median(panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the median of the same weekday over the last 8 weeks, or the last observed value."""
    weeks = _weekdays(panel, origins)
    known = np.isfinite(weeks).any(axis=-1)
    week = np.full(known.shape, np.nan)
    week[known] = np.nanmedian(weeks[known], axis=-1)
    return _filled(week, panel, origins)[:, np.arange(horizon) % 7]


def moving_mean(panel: Panel, origins: np.ndarray, horizon: int, days: int = 7) -> np.ndarray:
    """Repeat the mean of the last `days` days, of the last 28 or else the last observed value."""
    history = _history(panel, origins, 28)
    recent = _mean(history[:, -days:])
    level = np.where(np.isfinite(recent), recent, _mean(history))
    return np.repeat(_filled(level[:, None], panel, origins), horizon, axis=1)


BASELINES: dict[str, Baseline] = {
    "naive": naive,
    "seasonal_naive": seasonal_naive,
    "weekday_median": weekday_median,
    "mean_7": moving_mean,
}


def _history(panel: Panel, origins: np.ndarray, days: int) -> np.ndarray:
    """Values of the `days` days up to each end. → (n, days), NaN before the series."""
    return ft.values_at(panel, panel.values, origins, np.arange(1 - days, 1))


def _weekdays(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """The last 8 weeks by weekday, that of the first target day first. → (n, 7, 8)."""
    return np.moveaxis(_history(panel, origins, 56).reshape(len(origins), 8, 7), 1, 2)


def last_known_value(panel: Panel) -> np.ndarray:
    """The last value observed up to and including each row, in its series. → (N,)."""
    values = [pd.Series(panel.values[panel.series(s)]).ffill() for s in range(panel.n_series)]
    return np.concatenate(values)


def _filled(levels: np.ndarray, panel: Panel, origins: np.ndarray) -> np.ndarray:
    """`levels` (n, k), and the last observed value where they are NaN."""
    return np.where(np.isfinite(levels), levels, last_known_value(panel)[origins][:, None])


def _last_observed(history: np.ndarray) -> np.ndarray:
    """Last finite entry of the last axis, NaN where there is none."""
    finite = np.isfinite(history)
    last = history.shape[-1] - 1 - np.argmax(finite[..., ::-1], axis=-1)
    found = np.take_along_axis(history, last[..., None], axis=-1)[..., 0]
    return np.where(finite.any(axis=-1), found, np.nan)


def _mean(history: np.ndarray) -> np.ndarray:
    count = np.isfinite(history).sum(axis=-1)
    return np.where(count > 0, np.nansum(history, axis=-1) / np.maximum(count, 1), np.nan)
