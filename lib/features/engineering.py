"""The eleven causal features and the calendar, computed with NumPy only.

Training and serving both build their inputs here, so that they cannot differ. Every feature of
day t uses the values of days up to t and nothing later.
"""

from __future__ import annotations

import numpy as np

from lib.data import Panel, day_of_year, weekday_of

FEATURES = (
    "dia_semana_sin",
    "dia_semana_cos",
    "mes_sin",
    "mes_cos",
    "media_movel_7",
    "media_movel_30",
    "desvio_movel_7",
    "lag_1",
    "lag_7",
    "fator_externo",
    "evento_especial",
)
# What is known of a day ahead: calendar, covariates, and values of a year before.
FUTURE = (
    "dia_semana_sin",
    "dia_semana_cos",
    "mes_sin",
    "mes_cos",
    "day_of_year_sin",
    "day_of_year_cos",
    "fator_externo",
    "evento_especial",
    "last_year",
    "last_year_week",
    "last_year_level",
)
# 52 whole weeks: the day of last year that has the same weekday.
YEAR = 364
# The centred week of last year reaches 3 days past t - YEAR, which must be history at the origin.
MAX_HORIZON = YEAR - 4
# Days between dates that are looked up rather than sorted.
_SPARE_DAYS = 20_000


def calendar_features(dates: np.ndarray) -> np.ndarray:
    """Encode weekday, month and day of the year of dates as sine and cosine.

    Monday is 0 and January is 1, as in the eleven features; the day of year is scaled by 365.25.

    Args:
        dates: datetime64[D], any shape.

    Returns:
        float64, the shape of `dates` and a last axis of 6.
    """
    if not dates.size:
        return np.empty((*dates.shape, 6))
    days, place = _distinct_days(dates.astype("datetime64[D]"))
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    angles = (
        2 * np.pi * weekday_of(days) / 7,
        2 * np.pi * month / 12,
        2 * np.pi * day_of_year(days) / 365.25,
    )
    return np.stack([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=-1)[place]


def _distinct_days(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return days that hold each date once, and the index of each date among them.

    A panel has the same days in every series, so they are all days from the first to the last.
    Where those are many more than the dates, the distinct dates are sorted out instead.
    """
    first = dates.min()
    place = (dates - first).astype(np.int64)
    span = int(place.max()) + 1
    if span <= dates.size + _SPARE_DAYS:
        return first + np.arange(span), place
    days, place = np.unique(dates, return_inverse=True)
    return days, place.reshape(dates.shape)


def compute_features(panel: Panel) -> np.ndarray:
    """Compute the eleven features of every day of a panel.

    Rolling statistics are over the *observed* days among the last 7 or 30. They are NaN on a day
    that is itself missing, and the standard deviation (ddof 1) also where fewer than two days are
    observed. So a missing day stays visible in the features, and the value of the last day of a
    window can be recovered from them (`lib.models.window_statistics`).

    Args:
        panel: N rows.

    Returns:
        (N, 11) float64, raw units, in the order of FEATURES.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=1, n_days=60), seed=1)
    >>> compute_features(panel).shape
    (60, 11)
    """
    position = position_in_series(panel)
    values = panel.values
    mean_7, count_7 = rolling_mean(values, position, 7)
    mean_30, _ = rolling_mean(values, position, 30)
    missing = np.isnan(values)
    columns = [
        *calendar_features(panel.dates)[:, :4].T,
        np.where(missing, np.nan, mean_7),
        np.where(missing, np.nan, mean_30),
        np.where(missing, np.nan, _rolling_std(values, position, mean_7, count_7)),
        _lag(values, position, 1),
        _lag(values, position, 7),
        panel.factor,
        panel.event,
    ]
    return np.stack(columns, axis=1)


def position_in_series(panel: Panel) -> np.ndarray:
    """Return the number of each row within its series, from 0. (N,) int64."""
    rows = np.arange(len(panel.values))
    return rows - panel.first_row_of(rows)


def rolling_mean(
    values: np.ndarray, position: np.ndarray, days: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and count of the observed days among the last `days`.

    Each window is summed afresh: a running sum would carry rounding, and with it the future of one
    series into the bits of the next.

    Args:
        values: (N,), NaN where missing.
        position: (N,) number of each row within its series.
        days: of the window, up to and including the row.

    Returns:
        (N,) mean, NaN where nothing is observed, and (N,) count.
    """
    total = np.zeros_like(values)
    count = np.zeros(len(values), dtype=np.int64)
    for d in range(days):
        shifted = _lag(values, position, d) if d else values
        observed = np.isfinite(shifted)
        total += np.where(observed, shifted, 0.0)
        count += observed
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _rolling_std(
    values: np.ndarray, position: np.ndarray, mean: np.ndarray, count: np.ndarray
) -> np.ndarray:
    total = np.zeros_like(values)
    for d in range(7):
        shifted = _lag(values, position, d) if d else values
        total += np.where(np.isfinite(shifted), (shifted - mean) ** 2, 0.0)
    return np.where(count > 1, np.sqrt(total / np.maximum(count - 1, 1)), np.nan)


def _lag(values: np.ndarray, position: np.ndarray, days: int) -> np.ndarray:
    lagged = np.full_like(values, np.nan)
    lagged[days:] = values[:-days]
    lagged[position < days] = np.nan
    return lagged
