"""Rolling-origin evaluation: every forecaster from the same origins, scored on the same days.

Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., section 5.10. An origin
is the row of the last known day of a forecast, a cutoff is its date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import structlog

from lib import features as ft
from lib.data import (
    MIN_HISTORY_DAYS,
    Panel,
    as_known_at,
    closed_days_ahead,
    last_history_day,
    last_history_rows,
    without_spikes,
)
from lib.evaluation.baselines import last_known_value
from lib.evaluation.metrics import seasonal_scale
from lib.evaluation.scores import Backtest
from lib.inference import ServedModel, forecast_panel

REVISION_DAYS = 7  # between two forecasts of the same days

log = structlog.get_logger()


def origin_rows(panel: Panel, *, horizon: int, cutoffs: int, step: int) -> np.ndarray:
    """Choose the origins of a backtest, by series then date.

    Cutoffs are common dates, the last one `horizon` days before the end of the history (planned
    rows are no history). A series takes part in those at which one of its values is known and it
    has not ended, whether or not a value follows.

    Args:
        panel: the series.
        horizon: days of a forecast.
        cutoffs: number of cutoffs.
        step: days between two cutoffs.

    Returns:
        (n,) int64 rows of the panel.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=2, n_days=100, missing=0.0), seed=1)
    >>> origin_rows(panel, horizon=7, cutoffs=2, step=7)
    array([ 85,  92, 185, 192])
    """
    last = last_history_day(panel)
    dates = last - horizon - step * np.arange(cutoffs)[::-1]
    rows = np.flatnonzero(np.isin(panel.dates, dates))
    known = np.isfinite(last_known_value(panel)[rows])
    running = rows < panel.last_row_of(rows)
    return rows[known & running]


def run_backtest(
    forecaster: ServedModel,
    panel: Panel,
    origins: np.ndarray,
    *,
    horizon: int | None = None,
    known_future: bool = True,
    vintages: pd.DataFrame | None = None,
    revisions: bool = False,
) -> Backtest:
    """Forecast from every origin with one forecaster, and join the actuals.

    Args:
        forecaster: a loaded artifact.
        panel: the series.
        origins: (n,) rows, as `origin_rows` returns them.
        horizon: days to score (default: those of the forecaster).
        known_future: pass on the known-future covariates of the target days.
        vintages: of covariates, as `lib.data.read_vintages` returns them: each origin sees of them
            what was known then, instead of what the panel has.
        revisions: measure also how far the forecasts move within a week.

    Raises:
        ValueError: the forecaster's horizon is shorter than `horizon`, or a forecast is not
            finite: leaving it out would hide the failure. There are vintages, and known_future is
            False.
    """
    longest = forecaster.contract.horizon
    horizon = longest if horizon is None else horizon
    if horizon > longest:
        raise ValueError(f"horizon: expected at most {longest}, the forecaster's, got {horizon}")
    if vintages is not None and not known_future:
        raise ValueError("vintages: expected None where no covariate is known ahead")

    levels = forecaster.contract.quantiles

    def forecast(rows: np.ndarray) -> np.ndarray:
        quantiles = np.empty((len(rows), longest, len(levels)))
        for places, seen in _panels_at(panel, rows, vintages):
            quantiles[places] = forecast_panel(
                forecaster, seen, rows[places], known_future=known_future
            )
        return quantiles

    def collect(rows: np.ndarray, quantiles: np.ndarray) -> Backtest:
        return collect_forecasts(
            panel, rows, horizon, quantiles=quantiles[:, :horizon], levels=levels
        )

    quantiles = forecast(origins)
    _check_finite(quantiles, panel, origins)
    if forecaster.covariates and known_future:
        effects = forecaster.covariates.effects
        for places, seen in _panels_at(panel, origins, vintages):
            cutoffs = {} if vintages is None else {"cutoff": str(panel.dates[origins[places[0]]])}
            for doubt in ft.describe_outside(effects, seen, origins[places], horizon):
                log.warning("covariate out of range", detail=doubt, **cutoffs)
    result = collect(origins, quantiles)
    if not revisions:
        return result
    revision = measure_revisions(
        panel, origins, result.point, lambda rows: collect(rows, forecast(rows)).point
    )
    return replace(result, revision=revision)


def _panels_at(
    panel: Panel, origins: np.ndarray, vintages: pd.DataFrame | None
) -> Iterator[tuple[np.ndarray, Panel]]:
    """Yield the places of some of the origins, and the panel that they see."""
    if vintages is None:
        yield np.arange(len(origins)), panel
        return
    cutoffs = panel.dates[origins]
    for cutoff in np.unique(cutoffs):
        yield np.flatnonzero(cutoffs == cutoff), as_known_at(panel, vintages, cutoff)


def measure_revisions(
    panel: Panel,
    origins: np.ndarray,
    point: np.ndarray,
    forecast: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Measure how far forecasts of the same days move between an origin and one a week later.

    It is the mean absolute change of the point forecast (as of Van Belle et al. 2023, "Improving
    forecast stability using deep learning"). What is ordered and staffed by a forecast has to be
    changed with it. Of a horizon below two weeks the later origin is half a horizon away.

    Args:
        panel: the series.
        origins: (n,) rows.
        point: (n, horizon), the point forecasts from there.
        forecast: returns the point forecasts from other origins.

    Returns:
        (n,) in the unit of each series, NaN where the series ends before the later origin, or
        the horizon is a single day.
    """
    horizon = point.shape[1]
    shift = min(REVISION_DAYS, horizon // 2)
    found = np.full(len(origins), np.nan)
    inside = origins + shift <= panel.last_row_of(origins)
    if shift and inside.any():
        later = forecast(origins[inside] + shift)
        change = np.abs(later[:, : horizon - shift] - point[inside, shift:])
        found[inside] = change.mean(axis=1)
    return found


def _check_finite(quantiles: np.ndarray, panel: Panel, origins: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(quantiles).all(axis=(1, 2)))
    if len(broken):
        row = origins[broken[0]]
        name = panel.ids[int(panel.series_of(row))]
        raise ValueError(
            f"forecast of {name!r} after {panel.dates[row]} is not finite ({len(broken)} of "
            f"{len(origins)} forecasts); look for extreme values before that day"
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
    """Join forecasts with the actuals that followed.

    Days on which a series is closed at its origin are forecast as 0 by every forecaster, so that a
    closed day counts for none; if it was open after all, that is an error of each. Values a
    thousand times their surroundings are not scored.

    Args:
        panel: the series.
        origins: (n,) rows, as `origin_rows` returns them.
        horizon: days ahead.
        quantiles: (n, horizon, levels), or None for point forecasts.
        levels: of the quantiles, 0.5 among them.
        point: (n, horizon), by default the median.

    Raises:
        ValueError: neither quantiles nor points are given.
    """
    if point is None:
        if quantiles is None:
            raise ValueError("forecasts: expected quantiles or point, got neither")
        point = quantiles[..., list(levels).index(0.5)]
    series = panel.series_of(origins)
    closed = closed_days_ahead(panel, origins, horizon)
    if closed.any():
        point = np.where(closed, 0.0, point)
        quantiles = None if quantiles is None else np.where(closed[..., None], 0.0, quantiles)
    truth = ft.Windows(without_spikes(panel), np.empty((0, 0)), origins, horizon)
    return Backtest(
        series=series,
        cutoffs=panel.dates[origins],
        actual=truth.targets(np.arange(len(origins))),
        point=point,
        quantiles=quantiles,
        levels=tuple(levels),
        scale=seasonal_scale(panel, panel.dates[origins].min())[series],
    )


def forecast_table(result: Backtest, panel: Panel) -> pd.DataFrame:
    """Return one row per forecast day.

    Columns: series_id, cutoff, date, horizon (days), actual, and `q<level>` for each quantile.
    """
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
    """Find the origin of a series and a date, a row of the panel.

    Args:
        panel: the series.
        series: its id, "" for the first with MIN_HISTORY_DAYS before the last horizon.
        cutoff: YYYY-MM-DD, "" for the last day with `horizon` days after it.
        horizon: days ahead.

    Raises:
        ValueError: there is no such series or day.
    """
    if series and series not in panel.ids:
        examples = ", ".join(panel.ids[:5]) + (", …" if panel.n_series > 5 else "")
        raise ValueError(f"SERIES: expected one of {examples} or empty, got {series!r}")
    long = np.flatnonzero(np.diff(panel.offsets) >= MIN_HISTORY_DAYS + horizon)
    first_long = int(long[0]) if len(long) else 0
    number = panel.ids.index(series) if series else first_long
    rows = panel.series(number)
    first, last = panel.dates[rows.start], panel.dates[last_history_rows(panel)[number]]
    try:
        day = np.datetime64(cutoff, "D") if cutoff else last - horizon
    except ValueError:
        raise ValueError(f"CUTOFF_DATE: expected YYYY-MM-DD or empty, got {cutoff!r}") from None
    if not first <= day <= last:
        raise ValueError(f"CUTOFF_DATE: expected a day from {first} to {last}, got {day}")
    return rows.start + int((day - first).astype(int))
