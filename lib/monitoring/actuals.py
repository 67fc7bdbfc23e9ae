"""Join forecasts with the actuals, the seasonal naive forecast and the scale of MASE."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Panel
from lib.evaluation import seasonal_naive, seasonal_scale

_JOINED = ("actual", "naive", "scale")


def join_actuals(forecasts: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Add what came true, the seasonal naive forecast and the MASE scale, as in the backtest.

    Args:
        forecasts: one row a forecast day: series_id, date, horizon (days), q0.5 and others. An
            `actual` that is already there (of a forecast without a series) is kept.
        history: series_id, date, value: the actuals, from 8 weeks before the first origin on.

    Returns:
        A copy with `actual`, `naive` (`lib.evaluation.seasonal_naive` from the same origin) and
        `scale` (`lib.evaluation.seasonal_scale` up to the first origin), NaN where unknown.
    """
    joined = forecasts.copy()
    kept = forecasts["actual"].to_numpy(np.float64) if "actual" in forecasts else np.nan
    joined["actual"], joined["naive"], joined["scale"] = kept, np.nan, np.nan
    if history.empty or forecasts.empty:
        return joined
    target = forecasts["date"].to_numpy().astype("datetime64[D]")
    horizon = forecasts["horizon"].to_numpy(np.int64)
    origin = target - horizon
    panel = _panel_of(history, origin.min(), target.max())
    names, unique = pd.factorize(forecasts["series_id"])
    series = pd.Index(panel.ids).get_indexer(pd.Index(unique).astype("str"))[names]
    known = np.flatnonzero(series >= 0)
    first = panel.offsets[series[known]]
    row = first + (origin[known] - panel.dates[0]).astype(np.int64)
    columns = {name: joined[name].to_numpy(np.float64, copy=True) for name in _JOINED}
    actual = panel.values[row + horizon[known]]
    columns["actual"][known] = np.where(np.isfinite(actual), actual, columns["actual"][known])
    columns["naive"][known] = _seasonal_naive_at(panel, row, horizon[known])
    columns["scale"][known] = seasonal_scale(panel, origin.min())[series[known]]
    return joined.assign(**columns)


def _panel_of(history: pd.DataFrame, first: np.datetime64, last: np.datetime64) -> Panel:
    """Return all series over the same days, which include `first` to `last`."""
    codes, ids = pd.factorize(history["series_id"])
    day = history["date"].to_numpy().astype("datetime64[D]")
    days = np.arange(min(day.min(), first), max(day.max(), last) + 1)
    values = np.full((len(ids), len(days)), np.nan)
    values[codes, (day - days[0]).astype(np.int64)] = history["value"].to_numpy(np.float64)
    unknown = np.full(values.size, np.nan)
    return Panel(
        ids=tuple(str(name) for name in ids),
        offsets=np.arange(len(ids) + 1) * len(days),
        dates=np.tile(days, len(ids)),
        values=values.ravel(),
        factor=unknown,
        event=unknown,
    )


def _seasonal_naive_at(panel: Panel, origins: np.ndarray, horizon: np.ndarray) -> np.ndarray:
    """Return the seasonal naive forecast of one day ahead of each origin. All (n,)."""
    rows, place = np.unique(origins, return_inverse=True)
    return seasonal_naive(panel, rows, int(horizon.max(initial=1)))[place, horizon - 1]
