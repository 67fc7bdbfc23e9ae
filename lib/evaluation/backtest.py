"""Rolling-origin evaluation: every forecaster at the same cutoffs, scored on the same days.

Metrics follow Hyndman & Koehler (2006) and Hyndman & Athanasopoulos, *Forecasting: Principles and
Practice*. A missing actual is left out of every score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib import features as ft
from lib.data import MIN_HISTORY_DAYS, Panel
from lib.evaluation.baselines import BASELINES, Baseline, last_known_value
from lib.evaluation.metrics import Backtest, seasonal_scale
from lib.inference import ServedModel, forecast_panel


def origin_rows(panel: Panel, *, horizon: int, cutoffs: int, step: int) -> np.ndarray:
    """Rows of the last known day of each forecast, by series then date.

    Cutoffs are common dates, `step` days apart, the last one `horizon` days before the end of the
    panel. A series takes part in those at which one of its values is known and it has not ended,
    whether or not a value follows.
    """
    last = panel.dates.max()
    dates = last - horizon - step * np.arange(cutoffs)[::-1]
    rows = np.flatnonzero(np.isin(panel.dates, dates))
    series = np.searchsorted(panel.offsets, rows, side="right") - 1
    known = np.isfinite(last_known_value(panel)[rows])
    running = rows + 1 < panel.offsets[series + 1]
    return rows[known & running]


def run_backtest(
    forecaster: ServedModel,
    panel: Panel,
    origins: np.ndarray,
    *,
    horizon: int | None = None,
    known_future: bool = True,
) -> Backtest:
    """Forecast from every cutoff with one forecaster, and put the truth beside it.

    Args:
        origins: rows of the last known days (`cutoff_rows`).
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
    quantiles = forecast_panel(forecaster, panel, origins, known_future=known_future)
    levels = forecaster.contract.quantiles
    broken = np.flatnonzero(~np.isfinite(quantiles).all(axis=(1, 2)))
    if len(broken):
        row = origins[broken[0]]
        name = panel.ids[int(np.searchsorted(panel.offsets, row, side="right")) - 1]
        raise ValueError(
            f"forecast of {name!r} after {panel.dates[row]} is not finite ({len(broken)} of "
            f"{len(origins)} forecasts); look for extreme values before that day"
        )
    return collect_forecasts(
        panel, origins, horizon, quantiles=quantiles[:, :horizon], levels=levels
    )


def collect_forecasts(
    panel: Panel,
    origins: np.ndarray,
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
    series = np.searchsorted(panel.offsets, origins, side="right") - 1
    truth = ft.Windows(panel, np.empty((0, 0)), origins, horizon)
    return Backtest(
        series=series,
        cutoffs=panel.dates[origins],
        actual=truth.targets(np.arange(len(origins))),
        point=point,
        quantiles=quantiles,
        levels=tuple(levels),
        scale=seasonal_scale(panel, panel.dates[origins].min())[series],
    )


def compare_with_baselines(
    result: Backtest, panel: Panel, origins: np.ndarray, baselines: dict[str, Baseline] = BASELINES
) -> dict[str, Backtest]:
    """The forecaster beside the baselines, same cutoffs: name → Backtest, `forecaster` first."""
    horizon = result.actual.shape[1]
    others = {
        name: collect_forecasts(panel, origins, horizon, point=baseline(panel, origins, horizon))
        for name, baseline in baselines.items()
    }
    return {"forecaster": result} | others


def forecast_table(result: Backtest, panel: Panel) -> pd.DataFrame:
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


def find_cutoff(panel: Panel, series: str, cutoff: str, horizon: int) -> int:
    """Row of the last day known to the forecast to explain.

    Args:
        series: its id, "" for the first with MIN_HISTORY_DAYS before the last horizon.
        cutoff: YYYY-MM-DD, "" for the last day with `horizon` days after it.

    Raises:
        ValueError: there is no such series or day.
    """
    if series and series not in panel.ids:
        some = ", ".join(panel.ids[:5]) + (", …" if panel.n_series > 5 else "")
        raise ValueError(f"SERIES: expected one of {some} or empty, got {series!r}")
    long = np.flatnonzero(np.diff(panel.offsets) >= MIN_HISTORY_DAYS + horizon)
    first_long = int(long[0]) if len(long) else 0
    rows = panel.series(panel.ids.index(series) if series else first_long)
    first, last = panel.dates[rows.start], panel.dates[rows.stop - 1]
    try:
        day = np.datetime64(cutoff, "D") if cutoff else last - horizon
    except ValueError:
        raise ValueError(f"CUTOFF_DATE: expected YYYY-MM-DD or empty, got {cutoff!r}") from None
    if not first <= day <= last:
        raise ValueError(f"CUTOFF_DATE: expected a day from {first} to {last}, got {day}")
    return rows.start + int((day - first).astype(int))
