"""Actuals beside forecasts, with the seasonal naive forecast and the scale of MASE."""

from __future__ import annotations

import numpy as np
import pandas as pd

SEASON = 7  # days, of the seasonal naive forecast and of MASE
NAIVE_WEEKS = 8  # that the seasonal naive forecast looks back, as in the backtest


def join_actuals(forecasts: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Join to each forecast its actual, the seasonal naive forecast and the scale of MASE.

    Args:
        forecasts: one row a forecast day: series_id, date, horizon (days), q0.5 and others. An
            existing `actual` (of a forecast without a series) is kept.
        history: actuals as series_id, date, value, from 8 weeks before the first cutoff on.

    Returns:
        A copy with `actual`, `naive` (last known value of the same weekday at the cutoff, at most
        8 weeks back) and `scale` (mean absolute weekly difference before the first target day),
        NaN where unknown.
    """
    joined = forecasts.copy()
    existing = forecasts["actual"].to_numpy(np.float64) if "actual" in forecasts else np.nan
    joined["actual"], joined["naive"], joined["scale"] = existing, np.nan, np.nan
    if history.empty or forecasts.empty:
        return joined
    codes, ids = pd.factorize(history["series_id"])
    day = history["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    origin = day.min()
    table = np.full((len(ids), day.max() - origin + 1), np.nan)
    table[codes, day - origin] = history["value"].to_numpy(np.float64)
    names, unique = pd.factorize(forecasts["series_id"])
    row = pd.Index(ids).astype("str").get_indexer(pd.Index(unique).astype("str"))[names]
    target = forecasts["date"].to_numpy().astype("datetime64[D]").astype(np.int64) - origin
    horizon = forecasts["horizon"].to_numpy(np.int64)
    actual = _at(table, row, target)
    back = -(-horizon // SEASON) * SEASON
    naive = _at(table, row, target - back)
    for _ in range(NAIVE_WEEKS - 1):
        missing = np.flatnonzero(np.isnan(naive))
        if not len(missing):
            break
        back[missing] += SEASON
        naive[missing] = _at(table, row[missing], target[missing] - back[missing])
    joined["actual"] = np.where(np.isfinite(actual), actual, joined["actual"].to_numpy())
    joined["naive"] = naive
    joined["scale"] = np.append(_scale(table[:, : max(0, target.min())]), np.nan)[row]
    return joined


def _at(table: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return table[row, column], NaN outside and for row -1."""
    inside = (row >= 0) & (column >= 0) & (column < table.shape[1])
    return np.where(inside, table[row, np.clip(column, 0, table.shape[1] - 1)], np.nan)


def _scale(table: np.ndarray) -> np.ndarray:
    """Average the absolute weekly differences of each row: (series, days) to (series,)."""
    if table.shape[1] <= SEASON:
        return np.full(len(table), np.nan)
    difference = np.abs(table[:, SEASON:] - table[:, :-SEASON])
    count = np.isfinite(difference).sum(axis=1)
    mean = np.nansum(difference, axis=1) / np.maximum(count, 1)
    return np.where((count > 0) & (mean > 0), mean, np.nan)
