"""Effects of the calendar: weekdays, days of the year, holidays and Christmas weeks.

They are sharp where those of real series are, so that the day of the year means something to a
network: 25 December is the same day everywhere.
"""

from __future__ import annotations

import numpy as np

from lib.data import day_of_year, weekday_of
from lib.training.worlds.world import draw_left, log_uniform

YEAR_DAYS = 366
CHRISTMAS = YEAR_DAYS - 8  # 24 December, from 0; leap years are a day off, as real features are
# 24 December to 1 January: how much of a holiday each day is.
CHRISTMAS_WEEK = np.array([0.6, 1.0, 0.8, 0.3, 0.3, 0.25, 0.3, 0.5, 1.0])
CLOSED = -10.0  # logarithm of a closed day: it sells nothing worth a count


def draw_weekly(rng: np.random.Generator, days: np.ndarray, n_series: int) -> np.ndarray:
    """Return a weekly pattern of any form, mostly of weekends, which may change with the season.

    Returns:
        (series, days), logarithms.
    """
    size = log_uniform(rng, 0.02, 0.6)
    common = rng.standard_normal(7)
    if rng.random() < 0.6:  # weekends differ from the other days, and those little among each other
        common = 0.25 * common
        common[5:] += rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 2.0, 2)
    patterns = size * common + 0.25 * size * rng.standard_normal((n_series, 7))
    other = patterns + 0.5 * size * rng.standard_normal(7)
    weekday = weekday_of(days)
    if rng.random() < 0.1:
        shut = rng.integers(5, 7)
        patterns[:, shut] = other[:, shut] = CLOSED
    share = np.zeros(len(days))
    if rng.random() < 0.3:  # of the pattern of the other half of the year
        share = 0.5 + 0.5 * np.cos(2 * np.pi * (day_of_year(days) / 365.25 - rng.random()))
    return (1 - share) * patterns[:, weekday] + share * other[:, weekday]


def draw_yearly(rng: np.random.Generator, days: np.ndarray, n_series: int) -> np.ndarray:
    """Return a yearly pattern of one to eight harmonics: the rougher, the sharper.

    Returns:
        (series, days), logarithms.
    """
    count = int(rng.integers(1, 9))
    harmonics = np.arange(1, count + 1)
    fading = harmonics ** -rng.uniform(0.5, 2.0)
    shape = (n_series, 2 * count)
    own = rng.uniform(0.0, 0.5)
    weights = (1 - own) * rng.standard_normal(2 * count) + own * rng.standard_normal(shape)
    angle = 2 * np.pi * day_of_year(days) / 365.25 * harmonics[:, None]
    waves = np.concatenate([fading[:, None] * np.cos(angle), fading[:, None] * np.sin(angle)])
    return np.asarray(log_uniform(rng, 0.02, 0.5) * (weights @ waves))


def draw_holidays(
    rng: np.random.Generator, days: np.ndarray, n_series: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what holidays add, Christmas among them, and which days are holidays.

    Most holidays are days of less, some of more. Half keep their date, half their weekday.

    Returns:
        (series, days), logarithms; (days,), 0 or 1.
    """
    year_day, weekday = day_of_year(days), weekday_of(days)
    strength = np.zeros(len(days))
    for _ in range(rng.integers(3, 13)):
        date, on = rng.integers(YEAR_DAYS), rng.integers(7)
        at = year_day == date
        if rng.random() < 0.5:
            at = (year_day >= date) & (year_day < date + 7) & (weekday == on)
        strength[at] = rng.uniform(0.4, 1.2)
    for offset, share in enumerate(CHRISTMAS_WEEK):
        at = year_day == (CHRISTMAS + offset) % YEAR_DAYS
        strength[at] = np.maximum(strength[at], share * rng.uniform(0.7, 1.3))
    is_holiday = strength >= 0.4
    shoulder = rng.uniform(-0.1, 0.3, 2)
    spread = strength.copy()
    spread[:-1] += shoulder[0] * strength[1:]
    spread[1:] += shoulder[1] * strength[:-1]
    size = log_uniform(rng, 0.03, 1.5) * (1 if rng.random() < 0.2 else -1)
    effect = size * rng.uniform(0.6, 1.4, (n_series, 1)) * spread
    if rng.random() < 0.4:  # more and more is bought until Christmas
        ramp = np.clip((year_day - CHRISTMAS + 30) / 30, 0.0, 1.0) * (year_day < CHRISTMAS)
        effect = effect + log_uniform(rng, 0.05, 0.8) * ramp
    return effect, is_holiday.astype(float)


def draw_known_holidays(
    rng: np.random.Generator, days: np.ndarray, n_series: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what holidays add and the events of a world in which half of the users mark them.

    Returns:
        (series, days), logarithms; (series, days), 0 or 1, NaN where they are not marked.
    """
    effect, is_holiday = draw_holidays(rng, days, n_series)
    if rng.random() < 0.5:
        return effect, np.full(effect.shape, np.nan)
    return draw_left(rng) * effect, np.broadcast_to(is_holiday, effect.shape).copy()
