"""Gather what an explanation needs: a forecast, what it is compared with, effects of covariates.

Where a series has a past, its forecast is compared with what is usual for this series: with the
forecasts of the same step ahead from origins of the last year, on the same weekday. Otherwise it is
compared with the background windows of the artifact, which are of all series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import MIN_HISTORY_DAYS, Panel, take_series
from lib.explanation.covariates import DayEffects, measure_effects
from lib.explanation.games import Window
from lib.features import compute_features, gather_context, known_future
from lib.inference import ServedModel, apply_floors

YEAR_OF_WEEKS = 52
MIN_OWN_WINDOWS = 4  # fewer do not say what is usual


@dataclass(frozen=True)
class Case:
    """A forecast to explain.

    Attributes:
        window: its inputs, the series without the effects of its covariates.
        background: windows that it is compared with, (n, days, 11) and (n, horizon, k).
        of_series: whether these are of the series' own past.
        effects: of the covariates that are known ahead, None without any.
        nonnegative: whether the forecast is kept at zero or above.
    """

    window: Window
    background: Window
    of_series: bool = False
    effects: DayEffects | None = None
    nonnegative: bool = False


def make_case(
    model: ServedModel,
    panel: Panel,
    origin: int,
    steps: np.ndarray,
    background: Window,
    *,
    windows: int,
    context: int | None = None,
) -> Case:
    """Gather the case of a dated series.

    Args:
        model: that forecasts.
        panel: known days, and what is known of those ahead.
        origin: row of the last known day.
        steps: (D,) explained days ahead.
        background: windows of the artifact, for a series without a past.
        windows: of its past to compare with, at most.
        context: days of features (default: the longest context of the model).
    """
    number = int(panel.series_of(np.array([origin]))[0])
    origin -= int(panel.offsets[number])
    panel = take_series(panel, np.array([number]))
    contract = model.contract
    days = contract.max_context if context is None else context
    past = find_past_origins(panel.values[: origin + 1], contract.context_length, windows)
    rows = np.append(past, origin)
    observed, effects = panel, None
    if model.covariates is not None:
        applied = model.covariates.effects.apply(panel)
        visible = applied.known_ahead(rows[-1:], contract.horizon)[0].any(axis=0)
        if visible.any():
            panel = applied.remove(visible)
            # A series without a past has no usual effects: the covariates are compared with
            # their effects on the days that they were learned from, which are zero on average.
            effects = measure_effects(applied, visible, origin, past, steps)
    features = gather_context(panel, compute_features(panel), rows, days)
    future = known_future(panel, rows, contract.horizon)
    lowest = apply_floors(contract, observed, rows[-1:], np.full((1, 1, 1), -1.0))
    return Case(
        window=(features[-1], future[-1]),
        background=(features[:-1], future[:-1]) if len(past) else _shorten(background, days),
        of_series=bool(len(past)),
        effects=effects,
        nonnegative=bool(lowest == 0),
    )


def find_past_origins(values: np.ndarray, context: int, count: int) -> np.ndarray:
    """Choose origins of the last year to compare with, whole weeks before the last one.

    Args:
        values: (n,) of one series, NaN where missing; the last one is of the explained origin.
        context: days that an origin must have in its series, MIN_HISTORY_DAYS of them observed.
        count: origins to choose.

    Returns:
        At most `count` rows, evenly spaced; none where there are fewer than MIN_OWN_WINDOWS.

    >>> find_past_origins(np.ones(400), 60, 4)
    array([ 84, 175, 259, 343])
    """
    origins = len(values) - 1 - 7 * np.arange(YEAR_OF_WEEKS, 0, -1)
    origins = origins[origins >= context - 1]
    observed = np.append(0, np.cumsum(np.isfinite(values)))
    known = observed[origins + 1] - observed[origins + 1 - context]
    origins = origins[known >= MIN_HISTORY_DAYS]
    if len(origins) < MIN_OWN_WINDOWS:
        return origins[:0]
    return spread_evenly(origins, count)


def spread_evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """Choose the middle one of each of `count` parts: a single one is not the oldest."""
    count = min(count, len(rows))
    return rows[((np.arange(count) + 0.5) * len(rows) / count).astype(int)]


def _shorten(background: Window, days: int) -> Window:
    return background[0][:, -days:], background[1]
