"""Random processes: Gaussian processes, seasonal ARIMA, diffusions, steps and bursts."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from lib.training.worlds.calendar_effects import draw_known_holidays, draw_weekly, draw_yearly
from lib.training.worlds.world import (
    World,
    draw_ar1,
    draw_noise,
    draw_segments,
    draw_trend,
    exponentiate,
    log_uniform,
    standardise,
    take_by_segment,
    without_covariates,
)

PERIODS = (7.0, 7.0, 3.5, 30.44, 365.25, 365.25)  # days
BURN_IN = 400  # days of an ARIMA process that are thrown away


def draw_kernels(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return draws of Gaussian processes of sums and products of kernels (KernelSynth).

    After Ansari et al. 2024, with the periods of daily series.
    """
    count = len(days)
    covariance = _draw_kernel(rng, count)
    for _ in range(rng.integers(1, 5)):
        other = _draw_kernel(rng, count)
        covariance = covariance * other if rng.random() < 0.4 else covariance + other
    covariance /= max(float(np.trace(covariance)) / count, 1e-9)
    root = np.linalg.cholesky(covariance + 1e-4 * np.eye(count))
    draws = standardise((root @ rng.standard_normal((count, n_series))).T)
    return without_covariates(_as_values(rng, draws))


def _draw_kernel(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return the covariance of one kernel of the bank, (days, days) of variance about 1."""
    lag = np.arange(count, dtype=float)
    kind = rng.integers(6)
    if kind == 0:
        x = np.linspace(-1.0, 1.0, count) + rng.uniform(-1.0, 1.0)
        return 0.1 + np.outer(x, x)
    if kind == 1:
        return np.asarray(toeplitz(np.exp(-0.5 * (lag / log_uniform(rng, 5.0, 1.0 * count)) ** 2)))
    if kind == 2:
        alpha, length = log_uniform(rng, 0.1, 2.0), log_uniform(rng, 3.0, 200.0)
        return np.asarray(toeplitz((1 + lag**2 / (2 * alpha * length**2)) ** -alpha))
    if kind == 3:
        return float(log_uniform(rng, 0.05, 1.0)) * np.eye(count)
    period = PERIODS[rng.integers(len(PERIODS))]
    width = log_uniform(rng, 0.3, 2.0)
    return np.asarray(toeplitz(np.exp(-2 * np.sin(np.pi * lag / period) ** 2 / width**2)))


def draw_sarima(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return seasonal ARMA processes of sampled poles under multiplicative envelopes.

    Nearest to demand: level, weekday, season and holidays multiply what the process does.
    """
    shape = (n_series, len(days) + BURN_IN)
    ar, ma = _draw_polynomials(rng)
    process = lfilter(ma, ar, draw_noise(rng, shape), axis=1)[:, BURN_IN:]
    effects = log_uniform(rng, 0.02, 0.5) * standardise(process)
    effects = effects + draw_trend(rng, process.shape)
    if rng.random() < 0.6:
        effects = effects + draw_weekly(rng, days, n_series)
    if rng.random() < 0.6:
        effects = effects + draw_yearly(rng, days, n_series)
    if rng.random() < 0.5:
        holiday, event = draw_known_holidays(rng, days, n_series)
        return World(exponentiate(effects + holiday), np.full(process.shape, np.nan), event)
    return without_covariates(exponentiate(effects))


def _draw_polynomials(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the AR and MA polynomials of a seasonal process, with all poles inside."""
    poles: list[complex] = []
    for _ in range(rng.integers(0, 3)):
        if rng.random() < 0.6:
            poles.append(complex(rng.uniform(-0.4, 0.97)))
        else:
            pole = rng.uniform(0.3, 0.97) * np.exp(1j * rng.uniform(0.1, 3.0))
            poles += [complex(pole), complex(np.conj(pole))]
    if rng.random() < 0.4:
        poles.append(complex(rng.uniform(0.99, 0.999)))  # all but integrated
    ar = np.real(np.poly(poles)) if poles else np.ones(1)
    ma = np.array([1.0, rng.uniform(-0.7, 0.5) if rng.random() < 0.6 else 0.0])
    if rng.random() < 0.7:
        seasonal = np.zeros(8)
        seasonal[0], seasonal[7] = 1.0, -rng.choice([rng.uniform(0.2, 0.9), rng.uniform(0.9, 0.99)])
        ar = np.convolve(ar, seasonal)
        average = np.zeros(8)
        average[0], average[7] = 1.0, -rng.uniform(0.0, 0.85)
        ma = np.convolve(ma, average)
    return ar, ma


def draw_diffusion(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return walks that revert or drift, whose volatility switches and changes."""
    shape = (n_series, len(days))
    regimes = draw_segments(rng, shape, float(log_uniform(rng, 40.0, 600.0)))
    entries = (n_series, 6)
    volatility = take_by_segment(log_uniform(rng, 0.3, 3.0, entries), regimes)
    volatility = volatility * np.exp(rng.uniform(0.0, 0.6) * draw_ar1(rng, shape, 0.95))
    goal = take_by_segment(rng.standard_normal(entries) * rng.uniform(0.0, 2.0), regimes)
    drift = take_by_segment(rng.standard_normal(entries) * rng.uniform(0.0, 0.02), regimes)
    reversion = 0.0 if rng.random() < 0.3 else float(log_uniform(rng, 0.005, 0.5))
    scale = math.sqrt(max(2 * reversion, 0.01))
    steps = reversion * goal + drift + scale * volatility * draw_noise(rng, shape)
    steps = steps + (rng.random(shape) < 0.003) * rng.normal(0.0, 2.0, shape)
    walk = standardise(lfilter([1.0], [1.0, reversion - 1.0], steps, axis=1))
    values = _as_values(rng, walk)
    if rng.random() < 0.6:
        values = values * exponentiate(draw_weekly(rng, days, n_series))
    return without_covariates(values)


def draw_steps(rng: np.random.Generator, days: np.ndarray, n_series: int) -> World:
    """Return levels that jump or ramp, and bursts that come suddenly and fade."""
    shape = (n_series, len(days))
    segments = draw_segments(rng, shape, float(log_uniform(rng, 30.0, 500.0)))
    levels = log_uniform(rng, 0.05, 1.0) * rng.standard_normal((n_series, 12))
    effects = take_by_segment(levels, segments)
    if rng.random() < 0.4:  # the new level is reached within days or weeks
        ramp = float(0.5 ** (1 / log_uniform(rng, 1.0, 20.0)))
        start = effects[:, :1] * (ramp / (1 - ramp)) * (1 - ramp)
        effects, _ = lfilter([1 - ramp], [1.0, -ramp], effects, axis=1, zi=start)
    if rng.random() < 0.7:
        fade = float(0.5 ** (1 / log_uniform(rng, 0.5, 15.0)))
        bursts = (rng.random(shape) < log_uniform(rng, 0.002, 0.05)) * rng.exponential(1.0, shape)
        sign = -1.0 if rng.random() < 0.25 else 1.0
        effects += sign * log_uniform(rng, 0.1, 1.0) * lfilter([1.0], [1.0, -fade], bursts, axis=1)
    effects += log_uniform(rng, 0.01, 0.3) * draw_ar1(rng, shape, rng.uniform(0.0, 0.8))
    if rng.random() < 0.7:
        effects += draw_weekly(rng, days, n_series)
    if rng.random() < 0.4:
        effects += draw_yearly(rng, days, n_series)
    if rng.random() < 0.3:  # as logarithms are shown, or of values below zero
        return without_covariates(effects + rng.uniform(0.0, 10.0))
    return without_covariates(exponentiate(effects))


def _as_values(rng: np.random.Generator, draws: np.ndarray) -> np.ndarray:
    """Return draws of mean 0 and deviation 1 as values above zero, or around any level."""
    if rng.random() < 0.6:
        return exponentiate(log_uniform(rng, 0.03, 0.7) * draws)
    return draws + rng.uniform(-1.0, 8.0)
