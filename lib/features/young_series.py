"""Young series: their past is filled in, so that a network sees the windows that it has learned.

Days before the first known one get the level of the known days, the shape of the other series, and
what the known days say about the series' own weekdays. Level and weekdays are shrunk by their
credibility (Bühlmann 1967, "Experience rating and credibility").
"""

from __future__ import annotations

import numpy as np

from lib.data import Panel, weekday_of
from lib.features.engineering import YEAR
from lib.features.series_pool import SeriesPool, measure_levels
from lib.features.windows import values_at

YOUNG_DAYS = 60  # from its first known day on; an older series has a past of its own
LOOK_BACK_DAYS = YEAR + 35  # that a forecast rests on: week and level of last year
PRIOR_DAYS = 2  # of a series that the noise of the pool counts for
MEAN_OF_NOISE = 0.8  # mean absolute deviation of one standard deviation


def find_young(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Return which origins lie less than YOUNG_DAYS after the first known day. (n,) bool."""
    rows = np.arange(len(panel.values))
    known = np.where(np.isfinite(panel.values), rows, len(rows))
    first = np.minimum.reduceat(known, panel.offsets[:-1])[panel.series_of(origins)]
    return (origins >= first) & (origins - first + 1 < YOUNG_DAYS)


def complete_past(
    pool: SeriesPool,
    panel: Panel,
    origins: np.ndarray,
    horizon: int,
    known_days: int = YOUNG_DAYS,
) -> tuple[Panel, np.ndarray]:
    """Return young series with LOOK_BACK_DAYS of past, filled in before their first known day.

    Args:
        pool: of the other series.
        panel: N rows.
        origins: (n,) rows. Nothing after an origin is used, apart from known-future covariates.
        horizon: days ahead.
        known_days: up to the origin; values of earlier ones are not looked at.

    Returns:
        A panel of one series for each origin, with its horizon, and the (n,) origins in it.
    """
    back, ahead = np.arange(1 - LOOK_BACK_DAYS, 1), np.arange(1, horizon + 1)
    known = values_at(panel, panel.values, origins, back)
    known[:, : LOOK_BACK_DAYS - known_days] = np.nan
    dates = panel.dates[origins][:, None] + back
    before = np.arange(LOOK_BACK_DAYS) < np.isfinite(known).argmax(axis=1)[:, None]
    values = np.where(before, _fill(pool, panel, origins, known, dates), known)
    unknown = np.full((len(origins), horizon), np.nan)
    steps = np.concatenate([back, ahead])
    completed = Panel(
        ids=tuple(panel.ids[s] for s in panel.series_of(origins)),
        offsets=np.arange(len(origins) + 1) * len(steps),
        dates=(panel.dates[origins][:, None] + steps).ravel(),
        values=np.concatenate([values, unknown], axis=1).ravel(),
        factor=values_at(panel, panel.factor, origins, steps).ravel(),
        event=values_at(panel, panel.event, origins, steps).ravel(),
    )
    return completed, completed.offsets[:-1] + LOOK_BACK_DAYS - 1


def _fill(
    pool: SeriesPool, panel: Panel, origins: np.ndarray, known: np.ndarray, dates: np.ndarray
) -> np.ndarray:
    """Return what is usual on each day of windows. (n, days)."""
    observed = np.isfinite(known)
    count = observed.sum(axis=1, keepdims=True)
    shape = pool.shape_of(panel, origins, dates)
    level, magnitude = measure_levels(known, shape)
    level, magnitude = _shrink_level(pool, pool.center_of(panel, origins), level, magnitude, count)
    unit = np.where(magnitude > 0, magnitude, 1.0)
    rest = np.where(observed, (known - level) / unit - np.nan_to_num(shape), 0.0)
    weekday = weekday_of(dates)
    effects, noise = _measure_rest(pool, rest, observed, weekday)
    # Noise without a mean in a week or on a weekday: a smooth past would promise a narrow future.
    week = (dates.astype(np.int64) + 3) // 7
    sign = np.where(weekday == 6, 0.0, 1.0 - 2.0 * ((week + weekday) % 2))
    usual = shape + np.take_along_axis(effects, weekday, axis=1) + sign * MEAN_OF_NOISE * noise
    filled = level + magnitude * usual
    lowest = np.where(observed, known, np.inf).min(axis=1, keepdims=True)
    return np.where(lowest >= 0, np.maximum(filled, 0.0), filled)


def _measure_rest(
    pool: SeriesPool, rest: np.ndarray, observed: np.ndarray, weekday: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the known days say about the weekdays and the noise of each series.

    Noise and weekdays of a series are those of the pool times one factor. Its square is the mean of
    PRIOR_DAYS times 1 and what the known days say, of weekdays by their means and of noise by the
    days around them.

    Args:
        pool: of the other series.
        rest: (n, days) what is left of level and shape, 0 where missing.
        observed: (n, days) bool.
        weekday: (n, days).

    Returns:
        Effects of the weekdays (n, 7), NaN of one that seems to be closed, and standard deviations
        of the noise (n, 1), both as shares of the level.
    """
    count = observed.sum(axis=1)
    effects = np.empty((len(rest), 7))
    squares = np.zeros(len(rest))
    for day in range(7):
        of_day = observed & (weekday == day)
        seen = of_day.sum(axis=1)
        mean = np.where(of_day, rest, 0.0).sum(axis=1) / np.maximum(seen, 1)
        effects[:, day] = mean * seen / (seen + (pool.noise / pool.weekday) ** 2)
        within = np.where(of_day, (rest - mean[:, None]) ** 2, 0.0).sum(axis=1)
        spread = pool.weekday**2 + pool.noise**2 / np.maximum(seen, 1)
        squares += within / pool.noise**2 + mean**2 / spread
        # two weeks without a value: closed on that weekday
        effects[(seen == 0) & (count >= 8), day] = np.nan
    known = PRIOR_DAYS + np.maximum(count - 1, 0)  # one day is the level
    return effects, pool.noise * np.sqrt((PRIOR_DAYS + squares) / known)[:, None]


def _shrink_level(
    pool: SeriesPool,
    center: np.ndarray,
    level: np.ndarray,
    magnitude: np.ndarray,
    count: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return level and magnitude, moved to what is usual where the known days are few."""
    if not np.isfinite(pool.spread):
        return level, magnitude
    error = pool.drift**2 + pool.noise**2 / np.maximum(count, 1)
    credible = pool.spread**2 / (pool.spread**2 + error)
    center = center[:, None]
    safe = np.where(magnitude > 0, magnitude, 1.0)
    shrunk = np.exp(credible * np.log(safe) + (1 - credible) * center)
    nothing = magnitude <= 0  # no sale yet: not a series of zeros for good
    shrunk = np.where(nothing, (1 - credible) * np.exp(center), shrunk)
    return np.where(nothing, shrunk, level * shrunk / safe), shrunk
