"""Learn what dates do every year: seasons, and days that stand out.

A season is the mean of all years, and what is worth of it is measured on years left out. A day
stands out where it differs from the days around it every year: on its date, which a weekend may
change (25 December), or on its weekday in the month (the last Monday of May). So holidays are found
that nobody has marked.
"""

from __future__ import annotations

import numpy as np

from lib.data import Panel
from lib.features.local_deviations import centred_mean, deviations, extend_levels
from lib.features.weekly_grid import WeeklyGrid
from lib.features.year_effects import N_DATES, N_FLOATING, YearEffects, choose, number_dates

MAX_SERIES = 2_000  # which bounds seconds and the size of an artifact
CHUNK_SERIES = 100  # at a time, which bounds memory
YEAR_WINDOW = 365  # days over which a level without season is measured
SEASON_WINDOW = 15  # dates over which a season is smoothed
AHEAD = 28  # days over which a season has to foretell the change of the level
MIN_YEARS = 3  # in which a day has to stand out
MIN_ERRORS = 3.0  # standard errors by which it does
SMALLEST_RATIO = 0.05  # of a day to those around it


def fit_year_effects(
    panel: Panel, past: np.ndarray, series: np.ndarray, least_days: int
) -> YearEffects | None:
    """Learn the effects of dates.

    Args:
        panel: N rows.
        past: (N,) bool, the rows to learn from.
        series: (S,) bool, which of them may have effects: those whose effects multiply.
        least_days: that of a series have to be observed.

    Returns:
        The effects, None where no series is long enough or none has any.
    """
    observed = (past & np.isfinite(panel.values)).astype(np.int64)
    seen = np.add.reduceat(observed, panel.offsets[:-1])
    able = np.flatnonzero(series & (seen >= least_days))
    if not len(able) or panel.n_series > MAX_SERIES:
        return None
    fixed = np.zeros((panel.n_series + 2, N_DATES), dtype=np.float32)
    floating = np.zeros((panel.n_series + 2, N_FLOATING), dtype=np.float32)
    for chunk in np.array_split(able, -(-len(able) // CHUNK_SERIES)):
        fixed[chunk], floating[chunk] = _fit_series(panel, past, chunk)
    # Series that are too short, and new ones, have what the others have in common.
    short = np.append(np.flatnonzero(series & (seen < least_days)), panel.n_series)
    for effects in (fixed, floating):
        effects[short] = effects[able].sum(axis=0) / (len(able) + 1)  # as of one more without any
    return YearEffects(fixed, floating) if fixed.any() or floating.any() else None


def _fit_series(
    panel: Panel, past: np.ndarray, series: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the fixed effects of some series, seasons among them, and the floating ones."""
    grid = WeeklyGrid.of(panel, series, past)
    values = grid.gather(panel.values)  # (S, T)
    dates = panel.dates[grid.rows]
    date, *columns = number_dates(dates)
    rows = np.arange(len(series))[:, None]
    rest = deviations(values, additive=False, clipped=0.0)  # holidays are rare
    rest = np.log(np.maximum(rest, SMALLEST_RATIO))
    size = np.where(np.isfinite(rest).any(axis=1, keepdims=True), np.abs(rest), 0.0)
    noise = 1.48 * np.nanmedian(size, axis=1, keepdims=True)
    fixed, floating = np.zeros((len(series), N_DATES)), np.zeros((len(series), N_FLOATING))
    for _ in range(2):  # a floating holiday is no date, nor the other way round
        fixed = _fit_fixed(rest - choose(floating, rows, *columns), date, noise)
        left = rest - fixed[rows, date]
        floating = sum(
            (_stand_out(left, keys, noise, N_FLOATING) for keys in columns), np.zeros(())
        )
    days = fixed[rows, date] + choose(floating, rows, *columns)
    season = _fit_season(values * np.exp(-days), date // 2, dates)
    return fixed + np.repeat(season, 2, axis=1), floating


def _fit_fixed(rest: np.ndarray, date: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return what dates do, at weekends on their own where these have been seen often enough."""
    own = _stand_out(rest, date, noise, N_DATES)
    number = _sum_by_key(np.ones_like(rest), date, np.isfinite(rest), N_DATES)
    both = np.repeat(_stand_out(rest, date // 2, noise, N_DATES // 2), 2, axis=1)
    return np.where(number >= MIN_YEARS, own, both)


def _stand_out(rest: np.ndarray, keys: np.ndarray, noise: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of each key, 0 unless it is many standard errors away from 0.

    The variance within a key is at least that of all days, so that three equal days prove little.

    Args:
        rest: (S, T) logarithms, NaN where missing.
        keys: (S, T) below count, -1 for none.
        noise: (S, 1) standard deviation.
        count: of keys.

    Returns:
        (S, count).
    """
    used = np.isfinite(rest) & (keys >= 0)
    number, total, squares = (
        _sum_by_key(np.where(used, rest, 0.0) ** power, keys, used, count) for power in range(3)
    )
    mean = total / np.maximum(number, 1)
    within = np.maximum(squares - number * mean**2, 0.0) + noise**2  # as of one day more
    variance = np.maximum(within / np.maximum(number, 1), noise**2)
    errors = mean**2 * number / np.maximum(variance, 1e-18)
    found = (number >= MIN_YEARS) & (errors > MIN_ERRORS**2)
    return np.where(found, mean * (1 - 1 / np.maximum(errors, 1.0)), 0.0)


def _fit_season(values: np.ndarray, dates: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Return the season of each series, by as much as it foretells of years left out.

    Args:
        values: (S, T), NaN where missing.
        dates: (S, T) numbers of the dates.
        days: (S, T) datetime64.

    Returns:
        (S, N_DATES / 2).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        level = extend_levels(centred_mean(values, YEAR_WINDOW))
        ratio = np.log(centred_mean(values, 7) / level)
    used = np.isfinite(ratio)
    ratio = np.where(used, ratio, 0.0)
    years = days.astype("datetime64[Y]").astype(np.int64)
    number = _sum_by_key(np.ones_like(ratio), dates, used, N_DATES // 2)
    total = _sum_by_key(ratio, dates, used, N_DATES // 2)
    rows = np.arange(len(values))[:, None]
    foretold = np.full(values.shape, np.nan)
    for year in np.unique(years[used]):
        own = used & (years == year)
        others = _smooth(
            total - _sum_by_key(ratio, dates, own, N_DATES // 2),
            number - _sum_by_key(np.ones_like(ratio), dates, own, N_DATES // 2),
        )
        foretold = np.where(own, others[rows, dates], foretold)
    expected = foretold[:, AHEAD:] - foretold[:, :-AHEAD]
    changed = ratio[:, AHEAD:] - ratio[:, :-AHEAD]
    same = (years[:, AHEAD:] == years[:, :-AHEAD]) & np.isfinite(expected)
    expected = np.where(same, expected, 0.0)
    worth = (expected * changed).sum(axis=1) / np.maximum((expected**2).sum(axis=1), 1e-12)
    season = np.nan_to_num(_smooth(total, number))
    return np.clip(worth, 0.0, 1.0)[:, None] * season


def _smooth(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return means by date over the dates around each, NaN where there are none."""
    half = SEASON_WINDOW // 2

    def around(sums: np.ndarray) -> np.ndarray:
        circle = np.concatenate([sums[:, -half:], sums, sums[:, :half]], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(circle, SEASON_WINDOW, axis=1)
        return windows.sum(axis=-1)

    days = around(number)
    return np.where(days > 0, around(total) / np.maximum(days, 1), np.nan)


def _sum_by_key(values: np.ndarray, keys: np.ndarray, used: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of the used values of each key: (S, T) to (S, count)."""
    at = np.arange(len(values))[:, None] * count + keys
    sums = np.bincount(at[used], values[used], minlength=len(values) * count)
    return sums.reshape(len(values), count)
