"""Regular series: the calendar explains most, as of births, traffic or electricity."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from lib.training.worlds.calendar_effects import draw_known_holidays, draw_weekly, draw_yearly
from lib.training.worlds.world import (
    World,
    draw_ar1,
    draw_left,
    draw_noise,
    draw_trend,
    exponentiate,
    log_uniform,
)

FACTOR_MEAN, FACTOR_STD = 22.0, 6.0  # of the external factor, as in the demand worlds


def draw_regular(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return series of weekday, day of the year, holidays and little noise."""
    shape = (n_series, len(days))
    holiday, event = draw_known_holidays(rng, days, n_series)
    effects = draw_trend(rng, shape) + draw_weekly(rng, days, n_series) + holiday
    if rng.random() < 0.85:
        effects = effects + draw_yearly(rng, days, n_series)
    size = log_uniform(rng, 0.005, 0.25)
    persistence = rng.uniform(0.0, 0.95)
    share = rng.uniform(0.2, 1.0)  # of the noise that lasts
    effects = effects + size * share * draw_ar1(rng, shape, persistence)
    effects = effects + size * (1 - share) * draw_noise(rng, shape)
    return World(exponentiate(effects), np.full(shape, np.nan), event)


def draw_trend_season(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return trend × season × noise (ForecastPFN, Dooley et al. 2023).

    Linear times exponential growth; harmonics of week, month and year; Weibull noise.
    """
    years = np.arange(len(days)) / 365.25
    shape = (n_series, len(days))
    linear = 1 + rng.normal(0.0, 0.3, (n_series, 1)) * years
    exponential = np.exp(rng.normal(0.0, 0.2, (n_series, 1)) * years)
    trend = np.maximum(linear, 0.1) * exponential
    month = (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(float)
    phases = ((days.astype(float) / 7.0, 3), (month / 30.5, 2), (years, 5))
    season = np.ones(shape)
    for phase, count in phases:
        if rng.random() < 0.25:
            continue
        harmonics = np.arange(1, count + 1)
        weights = rng.standard_normal((n_series, 2 * count)) / np.tile(harmonics, 2)
        angle = 2 * np.pi * harmonics[:, None] * phase
        wave = weights @ np.concatenate([np.cos(angle), np.sin(angle)])
        season *= np.maximum(1 + log_uniform(rng, 0.03, 0.4) * wave, 0.02)
    form = rng.uniform(1.0, 5.0)
    noise = rng.weibull(form, shape)
    noise = noise / noise.mean() - 1
    values = trend * season * np.maximum(1 + log_uniform(rng, 0.02, 0.8) * noise, 0.0)
    return World(values, np.full(shape, np.nan), np.full(shape, np.nan))


def draw_driven(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return series that weather and promotions drive, some days late, known ahead or not.

    Weather acts linearly, from a threshold on, or on both sides of a comfortable one, as on
    electricity.
    """
    shape = (n_series, len(days))
    half_life = log_uniform(rng, 1.0, 10.0)
    common = draw_ar1(rng, (1, len(days)), float(0.5 ** (1 / half_life)))
    own = draw_ar1(rng, shape, float(0.5 ** (1 / half_life)))
    season = draw_yearly(rng, days, 1)
    season = season / max(float(season.std()), 1e-9)
    share = rng.uniform(0.2, 0.9)  # of the season in the weather
    weather = share * season + (1 - share) * (0.8 * common + 0.6 * own)
    threshold = rng.normal(0.0, 0.7)
    response = [
        lambda z: z,
        lambda z: np.maximum(z - threshold, 0.0),
        lambda z: np.abs(z - threshold),
        lambda z: np.tanh(z - threshold),
    ][rng.integers(4)](weather)
    lag = rng.uniform(0.0, 0.8)  # persistence of the effect
    response = lfilter([1 - lag], [1.0, -lag], response, axis=1)
    promotion = (rng.random(shape) < log_uniform(rng, 0.005, 0.08)).astype(float)
    promotion *= rng.uniform(0.5, 1.0, shape)
    lasting = lfilter([1.0, -rng.uniform(0.0, 0.6)], [1.0, -rng.uniform(0.0, 0.6)], promotion, 1)
    is_factor_known, is_event_known = rng.random() < 0.7, rng.random() < 0.8
    factor_left = draw_left(rng) if is_factor_known else 1.0
    event_left = draw_left(rng) if is_event_known else 1.0
    effects = draw_trend(rng, shape) + draw_weekly(rng, days, n_series)
    effects += factor_left * log_uniform(rng, 0.03, 0.5) * rng.choice([-1.0, 1.0]) * response
    effects += event_left * rng.normal(0.2, 0.5) * lasting
    effects += log_uniform(rng, 0.01, 0.2) * draw_ar1(rng, shape, rng.uniform(0.0, 0.9))
    unknown = np.full(shape, np.nan)
    factor = FACTOR_MEAN + FACTOR_STD * weather if is_factor_known else unknown
    return World(exponentiate(effects), factor, promotion if is_event_known else unknown)
