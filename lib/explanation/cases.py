"""Gather what an explanation needs: a forecast, what it is compared with, effects of covariates.

Where a series has a past, its forecast is compared with what is usual for this series: with the
forecasts of the same step ahead from origins of the last year, on the same weekday. Otherwise it is
compared with the background windows of the artifact, which are of all series.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib.data import MIN_HISTORY_DAYS, Panel, take_series
from lib.explanation.covariates import DayEffects, add_past_effects, measure_effects
from lib.explanation.games import Window
from lib.features import (
    complete_past,
    compute_features,
    find_young,
    gather_context,
    known_future,
)
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
        effects: of covariates that are known ahead, and of past ones; None without any.
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
    recent: int | None = None,
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
        recent: days that the forecast was made from (default: all): a series that the model has
            not learned is measured on these.
    """
    number = int(panel.series_of(np.array([origin]))[0])
    origin -= int(panel.offsets[number])
    panel = take_series(panel, np.array([number]))
    contract = model.contract
    days = contract.max_context if context is None else context
    rows = find_past_origins(panel.values[: origin + 1], contract.context_length, windows)
    # The forecast saw no earlier days. Those of its past are compared by what was known of them.
    skipped = 0 if recent is None else max(0, origin + 1 - recent)
    seen, last = _cut(panel, skipped), np.array([origin - skipped])
    lowest = apply_floors(contract, seen, last, np.full((1, 1, 1), -1.0))
    effects = None
    if model.covariates is not None:
        applied = model.covariates.effects.apply(seen)
        visible = model.covariates.visible_ahead(applied, last)[0, steps - 1].any(axis=0)
        if visible.any():
            measured = replace(panel, values=np.append(np.full(skipped, np.nan), seen.values))
            past = replace(model.covariates.effects.apply(measured), panel=panel)
            effects = measure_effects(applied, int(last[0]), past, rows, visible, steps)
            seen, panel = applied.remove(visible), past.remove(visible)
    if model.past is not None:
        learned = model.past.effects
        effects = add_past_effects(effects, learned, seen, int(last[0]), panel, rows, steps)
    features, future = _gather(panel, rows, days, contract.horizon)
    if find_young(seen, last).any():
        seen, last = complete_past(model.cold_start.pool, seen, last, contract.horizon)
    window = _gather(seen, last, days, contract.horizon)
    return Case(
        window=(window[0][0], window[1][0]),
        background=(features, future) if len(rows) else _shorten(background, days),
        of_series=bool(len(rows)),
        effects=effects,
        nonnegative=bool(lowest == 0),
    )


def _cut(panel: Panel, days: int) -> Panel:
    """Return the panel of one series without its first days."""
    covariates = tuple(replace(c, values=c.values[days:]) for c in panel.covariates)
    return Panel(
        panel.ids,
        np.array([0, len(panel.values) - days]),
        panel.dates[days:],
        panel.values[days:],
        panel.factor[days:],
        panel.event[days:],
        covariates,
    )


def _gather(panel: Panel, origins: np.ndarray, days: int, horizon: int) -> Window:
    features = gather_context(panel, compute_features(panel), origins, days)
    return features, known_future(panel, origins, horizon)


def find_past_origins(values: np.ndarray, context: int, count: int) -> np.ndarray:
    """Choose origins of the last year to compare with, whole weeks before the last one.

    Args:
        values: (n,) of one series, NaN where missing; the last one is of the explained origin.
        context: days that an origin must have in its series, MIN_HISTORY_DAYS of them observed.
        count: origins to choose.

    Returns:
        At most `count` rows, evenly spaced; none where there are fewer than MIN_OWN_WINDOWS.

    >>> find_past_origins(np.ones(400), 60, 4)
    array([105, 189, 273, 357])
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
