"""Rolling-origin evaluation: every forecaster at the same cutoffs, scored on the same days.

Metrics follow Hyndman & Koehler (2006) and Hyndman & Athanasopoulos, *Forecasting: Principles and
Practice*. A missing actual is left out of every score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib import features as ft
from lib.forecaster import Forecaster, forecast_panel
from lib.panel import Panel

BLOCKS = ((1, 1), (2, 7), (8, 28))
# A baseline is a function of a panel, cutoff rows and a horizon → (n, horizon).
Baseline = Callable[[Panel, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Backtest:
    """Forecasts at cutoffs, and the truth. All arrays share the first axis: one row a forecast.

    Attributes:
        series: (n,) number of the series in the panel.
        cutoffs: (n,) datetime64[D], last day known to each forecast.
        actual: (n, horizon), NaN where missing.
        point: (n, horizon), the median.
        quantiles: (n, horizon, levels) or None for a point forecaster.
        scale: (n,) in-sample mean absolute seasonal difference before the first cutoff, for MASE.
    """

    series: np.ndarray
    cutoffs: np.ndarray
    actual: np.ndarray
    point: np.ndarray
    quantiles: np.ndarray | None
    levels: tuple[float, ...]
    scale: np.ndarray


def cutoff_rows(panel: Panel, *, horizon: int, cutoffs: int, step: int) -> np.ndarray:
    """Rows of the last known day of each forecast, by series then date.

    Cutoffs are common dates, `step` days apart, the last one `horizon` days before the end of the
    panel. A series takes part in those at which one of its values is known and it has not ended,
    whether or not a value follows.
    """
    last = panel.dates.max()
    dates = last - horizon - step * np.arange(cutoffs)[::-1]
    rows = np.flatnonzero(np.isin(panel.dates, dates))
    series = np.searchsorted(panel.offsets, rows, side="right") - 1
    known = np.isfinite(_last_known(panel)[rows])
    running = rows + 1 < panel.offsets[series + 1]
    return rows[known & running]


def run(
    forecaster: Forecaster,
    panel: Panel,
    ends: np.ndarray,
    *,
    horizon: int | None = None,
    known_future: bool = True,
) -> Backtest:
    """Forecast from every cutoff with one forecaster, and put the truth beside it.

    Args:
        ends: rows of the last known days (`cutoff_rows`).
        horizon: days to score (default: the forecaster's own).
        known_future: give the planned events and the factor of the target days.

    Raises:
        ValueError: the forecaster's horizon is shorter than asked, or a forecast is not finite:
            left out, it would be no mistake.
    """
    own = forecaster.contract.horizon
    horizon = own if horizon is None else horizon
    if horizon > own:
        raise ValueError(f"horizon: the forecaster sees {own} days ahead, {horizon} were asked")
    quantiles = forecast_panel(forecaster, panel, ends, known_future=known_future)
    levels = forecaster.contract.quantiles
    broken = np.flatnonzero(~np.isfinite(quantiles).all(axis=(1, 2)))
    if len(broken):
        row = ends[broken[0]]
        name = panel.ids[int(np.searchsorted(panel.offsets, row, side="right")) - 1]
        raise ValueError(
            f"forecast of {name!r} after {panel.dates[row]} is not finite ({len(broken)} of "
            f"{len(ends)} forecasts); look for extreme values before that day"
        )
    return collect(panel, ends, horizon, quantiles=quantiles[:, :horizon], levels=levels)


def collect(
    panel: Panel,
    ends: np.ndarray,
    horizon: int,
    *,
    quantiles: np.ndarray | None = None,
    levels: Sequence[float] = (),
    point: np.ndarray | None = None,
) -> Backtest:
    """Put forecasts beside what came after: `quantiles` (0.5 among `levels`) or `point`."""
    if point is None:
        if quantiles is None:
            raise ValueError("collect: give quantiles or point")
        point = quantiles[..., list(levels).index(0.5)]
    series = np.searchsorted(panel.offsets, ends, side="right") - 1
    truth = ft.Windows(panel, np.empty((0, 0)), ends, horizon)
    return Backtest(
        series=series,
        cutoffs=panel.dates[ends],
        actual=truth.targets(np.arange(len(ends))),
        point=point,
        quantiles=quantiles,
        levels=tuple(levels),
        scale=seasonal_scale(panel, panel.dates[ends].min())[series],
    )


def seasonal_scale(panel: Panel, until: np.datetime64, season: int = 7) -> np.ndarray:
    """Mean absolute seasonal difference of each series up to a day, the scale of MASE. → (S,).

    A series without two observed days a season apart, or that never changes, has NaN and is left
    out of MASE.
    """
    scales = np.full(panel.n_series, np.nan)
    for s in range(panel.n_series):
        rows = panel.series(s)
        values = panel.values[rows][panel.dates[rows] <= until]
        difference = np.abs(values[season:] - values[:-season])
        if np.isfinite(difference).any() and np.nanmean(difference) > 0:
            scales[s] = np.nanmean(difference)
    return scales


def naive(panel: Panel, ends: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last observed value."""
    return np.repeat(_last_known(panel)[ends][:, None], horizon, axis=1)


def seasonal_naive(panel: Panel, ends: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last observed value of the same weekday, at most 8 weeks back.

    Where none is known, the last observed value: every baseline is scored on the same days.
    """
    week = _last_observed(_weekdays(panel, ends))
    return _filled(week, panel, ends)[:, np.arange(horizon) % 7]


def weekday_median(panel: Panel, ends: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the median of the same weekday over the last 8 weeks, or the last observed value."""
    weeks = _weekdays(panel, ends)
    known = np.isfinite(weeks).any(axis=-1)
    week = np.full(known.shape, np.nan)
    week[known] = np.nanmedian(weeks[known], axis=-1)
    return _filled(week, panel, ends)[:, np.arange(horizon) % 7]


def moving_mean(panel: Panel, ends: np.ndarray, horizon: int, days: int = 7) -> np.ndarray:
    """Repeat the mean of the last `days` days, of the last 28 or else the last observed value."""
    history = _history(panel, ends, 28)
    recent = _mean(history[:, -days:])
    level = np.where(np.isfinite(recent), recent, _mean(history))
    return np.repeat(_filled(level[:, None], panel, ends), horizon, axis=1)


BASELINES: dict[str, Baseline] = {
    "naive": naive,
    "seasonal_naive": seasonal_naive,
    "weekday_median": weekday_median,
    "mean_7": moving_mean,
}


def metrics(result: Backtest, *, first: int = 1, last: int | None = None) -> dict[str, float]:
    """Scores over the days `first` to `last` of the horizon (1-based, inclusive).

    mae, rmse (raw units), r2, mase (season 7, mean over series), smape and wape (per cent), and
    with quantiles: pinball_<level> (raw units), wql (per cent of the total), coverage_<percent>
    of each central interval (per cent). NaN where nothing can be scored.
    """
    days = slice(first - 1, last)
    actual, point = result.actual[:, days], result.point[:, days]
    seen = np.isfinite(actual) & np.isfinite(point)
    error, truth, forecast = (point - actual)[seen], actual[seen], point[seen]
    variance = float(((truth - _average(truth)) ** 2).sum())
    total = float(np.abs(truth).sum())
    size = np.abs(truth) + np.abs(forecast)
    scores = {
        "mae": _average(np.abs(error)),
        "rmse": float(np.sqrt(_average(error**2))),
        "bias": _average(error),
        "r2": 1 - float((error**2).sum()) / variance if variance > 0 else np.nan,
        "mase": _mase(np.abs(point - actual), result),
        "smape": 200 * _average(np.divide(np.abs(error), size, where=size > 0, out=0 * size)),
        "wape": 100 * float(np.abs(error).sum()) / total if total > 0 else np.nan,
        "days": int(seen.sum()),
    }
    if result.quantiles is not None:
        scores |= _quantile_scores(result.quantiles[:, days][seen], truth, result.levels, total)
    return scores


def _average(numbers: np.ndarray) -> float:
    """Their mean, NaN of none."""
    return float(numbers.mean()) if numbers.size else np.nan


def _mase(error: np.ndarray, result: Backtest) -> float:
    by_row = np.where(np.isfinite(error), error, np.nan) / result.scale[:, None]
    means = pd.DataFrame({"series": np.repeat(result.series, error.shape[1]), "e": by_row.ravel()})
    return float(means.groupby("series")["e"].mean().mean())


def _quantile_scores(
    quantiles: np.ndarray, truth: np.ndarray, levels: Sequence[float], total: float
) -> dict[str, float]:
    gap = truth[:, None] - quantiles
    loss = np.maximum(np.array(levels) * gap, (np.array(levels) - 1) * gap)
    scores = {f"pinball_{q:g}": _average(loss[:, i]) for i, q in enumerate(levels)}
    scores["wql"] = 100 * 2 * float(loss.mean(axis=1).sum()) / total if total > 0 else np.nan
    for i, low in enumerate(levels):
        j = len(levels) - 1 - i
        if i < j and np.isclose(low + levels[j], 1):
            inside = (truth >= quantiles[:, i]) & (truth <= quantiles[:, j])
            scores[f"coverage_{100 * (levels[j] - low):.0f}"] = 100 * _average(inside)
    return scores


def by_block(result: Backtest, blocks: Sequence[tuple[int, int]] = BLOCKS) -> pd.DataFrame:
    """Metrics by block of the horizon, one row a block, as many as the horizon has."""
    horizon = result.actual.shape[1]
    rows = {
        f"{first}-{min(last, horizon)}" if last > first else str(first): metrics(
            result, first=first, last=min(last, horizon)
        )
        for first, last in blocks
        if first <= horizon
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("horizon_days")


def by_name(blocks: pd.DataFrame) -> dict[str, float]:
    """What `by_block` found, flat: `mae@2-7` is the mae of the days 2 to 7."""
    return {
        f"{name}@{block}": float(x) for block, row in blocks.iterrows() for name, x in row.items()
    }


def by_day(result: Backtest) -> pd.DataFrame:
    """Metrics by day of the horizon, index 1 … horizon."""
    days = range(1, result.actual.shape[1] + 1)
    return pd.DataFrame([metrics(result, first=d, last=d) for d in days], index=list(days))


def compare(
    result: Backtest, panel: Panel, ends: np.ndarray, baselines: dict[str, Baseline] = BASELINES
) -> dict[str, Backtest]:
    """The forecaster beside the baselines, same cutoffs: name → Backtest, `forecaster` first."""
    horizon = result.actual.shape[1]
    others = {
        name: collect(panel, ends, horizon, point=baseline(panel, ends, horizon))
        for name, baseline in baselines.items()
    }
    return {"forecaster": result} | others


def to_table(result: Backtest, panel: Panel) -> pd.DataFrame:
    """Long table: series_id, cutoff, date, horizon (days), actual, one column `q<level>` each."""
    n, horizon = result.actual.shape
    steps = np.tile(np.arange(1, horizon + 1), n)
    cutoffs = np.repeat(result.cutoffs, horizon)
    table = pd.DataFrame(
        {
            "series_id": np.array(panel.ids, dtype=object)[np.repeat(result.series, horizon)],
            "cutoff": cutoffs.astype("datetime64[ns]"),
            "date": (cutoffs + steps).astype("datetime64[ns]"),
            "horizon": steps,
            "actual": result.actual.ravel(),
        }
    )
    if result.quantiles is not None:
        for i, level in enumerate(result.levels):
            table[f"q{level:g}"] = result.quantiles[..., i].ravel()
    return table


def _history(panel: Panel, ends: np.ndarray, days: int) -> np.ndarray:
    """Values of the `days` days up to each end. → (n, days), NaN before the series."""
    return ft.at(panel, panel.values, ends, np.arange(1 - days, 1))


def _weekdays(panel: Panel, ends: np.ndarray) -> np.ndarray:
    """The last 8 weeks by weekday, that of the first target day first. → (n, 7, 8)."""
    return np.moveaxis(_history(panel, ends, 56).reshape(len(ends), 8, 7), 1, 2)


def _last_known(panel: Panel) -> np.ndarray:
    """The last value observed up to and including each row, in its series. → (N,)."""
    values = [pd.Series(panel.values[panel.series(s)]).ffill() for s in range(panel.n_series)]
    return np.concatenate(values)


def _filled(levels: np.ndarray, panel: Panel, ends: np.ndarray) -> np.ndarray:
    """`levels` (n, k), and the last observed value where they are NaN."""
    return np.where(np.isfinite(levels), levels, _last_known(panel)[ends][:, None])


def _last_observed(history: np.ndarray) -> np.ndarray:
    """Last finite entry of the last axis, NaN where there is none."""
    finite = np.isfinite(history)
    last = history.shape[-1] - 1 - np.argmax(finite[..., ::-1], axis=-1)
    found = np.take_along_axis(history, last[..., None], axis=-1)[..., 0]
    return np.where(finite.any(axis=-1), found, np.nan)


def _mean(history: np.ndarray) -> np.ndarray:
    count = np.isfinite(history).sum(axis=-1)
    return np.where(count > 0, np.nansum(history, axis=-1) / np.maximum(count, 1), np.nan)
