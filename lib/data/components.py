"""The effects that `lib.data.synthesis` adds up: each a few vectorised lines, over (series, days).

Each is handed a source: every call gives a fresh generator, a child of the effect's own. One array
per generator means that rows (series) can be added without moving the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import holidays
import numpy as np

if TYPE_CHECKING:
    from lib.data.synthesis_spec import SynthesisSpec
from lib.data.synthesis_spec import MAX_LAG

ANOMALIES = ("none", "spike", "dip", "level_shift", "stuck")
EVENT_PROFILE = {-2: 0.10, -1: 0.25, 0: 1.00, 1: -0.20, 2: -0.10}  # share of the day's effect
HOLIDAY_PROFILE = {-1: 0.30, 0: 1.00}
FACTOR_WEIGHTS = (0.6, 0.4)  # of fator_externo `factor_lag` and `factor_lag + 1` days before
_WEEK = np.array([-0.55, -0.65, -0.45, -0.10, 0.50, 1.00, 0.25])  # Monday to Sunday, mean 0
_SHIFT_DAYS, _SHIFT_DECAY = 12, 5.0
_STUCK_DAYS = 5
_PAD = 3  # days around the series whose events reach into it
Source = Callable[[], np.random.Generator]


def source_of(seed: np.random.SeedSequence) -> Source:
    """A source whose generators are the seed's children, in the order of the calls."""
    return lambda: np.random.default_rng(seed.spawn(1)[0])


def _segments(lengths: np.ndarray, n_days: int) -> np.ndarray:
    """Number of the segment each day is in. lengths (series, segments), days → (series, days)."""
    origins = np.cumsum(lengths, axis=1).astype(np.int64)
    rows, columns = np.nonzero(origins < n_days)
    steps = np.zeros((len(lengths), n_days), np.int32)
    np.add.at(steps, (rows, origins[rows, columns]), 1)
    return np.cumsum(steps, axis=1, dtype=np.int32)


def trend(spec: SynthesisSpec, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Growth relative to the base level, and regime id. Both (series, days)."""
    count = math.ceil(spec.n_days / (0.6 * spec.regime_days)) + 2
    lengths = spec.regime_days * source().uniform(0.6, 1.4, (spec.n_series, count))
    lengths[:, 0] *= source().uniform(0.4, 1.0, spec.n_series)  # the first began before day 0
    slope = source().standard_normal((spec.n_series, count + 1)) * spec.trend / 365.25
    size = source().uniform(-1.0, 1.0, (spec.n_series, count + 1))
    jump = spec.trend * (size + 0.5 * np.sign(size))  # half to one and a half dials, up or down
    jump[:, 0] = 0.0
    regime = _segments(lengths, spec.n_days)
    if spec.trend == 0.0:
        regime = np.zeros_like(regime)
    growth: np.ndarray = np.cumsum(np.take_along_axis(slope, regime, 1), axis=1)
    return np.exp(growth + np.take_along_axis(np.cumsum(jump, axis=1), regime, 1)), regime


def volatility(spec: SynthesisSpec, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Multiplier of the noise, and whether the day is turbulent. Calm lasts longer (150:45)."""
    count = 2 * math.ceil(spec.n_days / 97) + 2
    mean = np.where(np.arange(count) % 2 == 0, 150.0, 45.0)
    lengths = mean * source().uniform(0.5, 1.5, (spec.n_series, count))
    turbulent = (_segments(lengths, spec.n_days) % 2 == 1) & (spec.volatility > 0)
    return 1.0 + spec.volatility * turbulent, turbulent


def _amplitude(spec: SynthesisSpec, drift: Source) -> np.ndarray:
    """A seasonal amplitude that wanders slowly around 1. (series, days)."""
    day = np.arange(spec.n_days)
    wave = np.zeros((spec.n_series, spec.n_days))
    for shortest, longest in ((500.0, 900.0), (900.0, 1500.0)):
        period = drift().uniform(shortest, longest, (spec.n_series, 1))
        wave += 0.5 * np.sin(2 * np.pi * (day / period + drift().random((spec.n_series, 1))))
    return 1.0 + spec.amplitude_drift * wave


def weekly(spec: SynthesisSpec, days: np.ndarray, source: Source, drift: Source) -> np.ndarray:
    """Share of the trend, (series, days): one retail week, with each series' own accent."""
    week = _WEEK + 0.12 * source().standard_normal((spec.n_series, 7))
    week -= week.mean(axis=1, keepdims=True)
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    return spec.weekly * week[:, weekday] * _amplitude(spec, drift)


def _year_angle(days: np.ndarray) -> np.ndarray:
    year = days.astype("datetime64[Y]").astype("datetime64[D]")
    return 2 * np.pi * (days - year).astype(np.int64) / 365.25


def yearly(spec: SynthesisSpec, days: np.ndarray, source: Source, drift: Source) -> np.ndarray:
    """Share of the trend, (series, days): high around the turn of the year, a small second peak."""
    late = 0.25 * source().standard_normal((spec.n_series, 1))  # about two weeks
    size = 1.0 + 0.15 * source().standard_normal((spec.n_series, 1))
    angle = _year_angle(days) - late
    wave = (np.cos(angle) + 0.35 * np.cos(2 * angle - 0.8)) / 1.2
    return spec.yearly * size * wave * _amplitude(spec, drift)


def public_holidays(spec: SynthesisSpec, days: np.ndarray, source: Source) -> tuple:
    """Whether a day is a public holiday (days,), and the share of the trend it adds (days,)."""
    padded = np.arange(days[0] - _PAD, days[-1] + _PAD + 1)
    size = np.zeros(len(padded))
    if spec.country:
        years = padded[[0, -1]].astype("datetime64[Y]").astype(int) + 1970
        found = holidays.country_holidays(spec.country, years=range(years[0], years[1] + 1))
        names = list(dict.fromkeys(found[day] for day in sorted(found)))
        weights = dict(zip(names, source().uniform(0.7, 1.3, len(names)), strict=True))
        for day, name in found.items():
            size[padded == np.datetime64(day, "D")] = weights[name]
    inner = slice(_PAD, -_PAD)
    return size[inner] > 0, spec.holiday * _around(size[None], HOLIDAY_PROFILE)[0]


def _around(impulse: np.ndarray, profile: Mapping[int, float]) -> np.ndarray:
    """Spread impulses over the days around them, and cut the padding off."""
    n_days = impulse.shape[1] - 2 * _PAD
    result = np.zeros((len(impulse), n_days))
    for offset, weight in profile.items():
        result += weight * impulse[:, _PAD - offset : _PAD - offset + n_days]
    return result


def factor(spec: SynthesisSpec, days: np.ndarray, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """fator_externo (series, days), like a temperature in °C, and the share of the trend it adds.

    Seasonal plus a stationary AR(1) of which half is common to all series, as weather is.
    """
    before = MAX_LAG + 1
    padded = np.arange(days[0] - before, days[-1] + 1)
    shocks = source().standard_normal((spec.n_series, len(padded)))
    shocks = math.sqrt(0.5) * (shocks + source().standard_normal(len(padded)))
    phi = 0.85
    weather = math.sqrt(1 - phi**2) * shocks
    weather[:, 0] = shocks[:, 0]
    step = 1
    while step < len(padded) and phi**step > 1e-18:  # x_t = e_t + φ x_{t-1}, by doubling
        weather[:, step:] += phi**step * weather[:, :-step].copy()
        step *= 2
    factor = 22.0 + 6.0 * np.cos(_year_angle(padded) - 0.25) + 3.0 * weather
    sensitivity = 1.0 + 0.15 * source().standard_normal((spec.n_series, 1))
    first = before - spec.factor_lag
    share = sum(
        weight * (factor[:, first - i : first - i + len(days)] - 22.0) / 5.0
        for i, weight in enumerate(FACTOR_WEIGHTS)
    )
    return factor[:, before:], spec.factor * sensitivity * share


def events(spec: SynthesisSpec, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Strength of the special event of a day (0 = none) and the share of the trend. Both (S, D)."""
    shortest = 10  # days between events, so that their profiles do not overlap
    n_padded = spec.n_days + 2 * _PAD
    strength = np.zeros((spec.n_series, n_padded))
    if spec.events_per_year > 0:
        spread = 2 * (365.25 / spec.events_per_year - shortest)
        gaps = source().uniform(
            shortest, shortest + spread, (spec.n_series, n_padded // shortest + 2)
        )
        gaps[:, 0] *= source().random(spec.n_series)
        at = np.cumsum(gaps, axis=1).astype(np.int64)
        rows, columns = np.nonzero(at < n_padded)
        size = source().uniform(0.6, 1.0, gaps.shape)
        strength[rows, at[rows, columns]] = size[rows, columns]
    return strength[:, _PAD:-_PAD], spec.event * _around(strength, EVENT_PROFILE)


def anomalies(
    spec: SynthesisSpec, clean: np.ndarray, trend: np.ndarray, floor: float, source: Source
) -> tuple[np.ndarray, np.ndarray]:
    """The values with their anomalies, and the kind of each day (index into ANOMALIES)."""
    u, size, side = (source().random(clean.shape) for _ in range(3))
    # Each kind has a quarter of the anomalous days, and its own quarter of u: with a larger dial
    # the anomalies that were there stay.
    quarter = spec.anomaly / 4
    spike = u < quarter
    dip = (u >= 0.25) & (u < 0.25 + quarter)
    shift = (u >= 0.50) & (u < 0.50 + quarter / _SHIFT_DAYS)
    stuck = (u >= 0.75) & (u < 0.75 + quarter / _STUCK_DAYS)
    stuck[:, 0] = False  # there is no day before to be stuck at

    kinds = np.zeros(clean.shape, np.int8)
    added = trend * ((0.4 + 0.8 * size) * spike - (0.35 + 0.45 * size) * dip)
    starts = np.nonzero(shift)
    height = (trend * (0.2 + 0.3 * size) * np.where(side < 0.5, -1.0, 1.0))[starts]
    days, start = _following(starts, _SHIFT_DAYS, clean.shape[1])
    np.add.at(added, days, height[start] * np.exp(-(days[1] - starts[1][start]) / _SHIFT_DECAY))
    kinds[days] = 3
    kinds[spike], kinds[dip] = 1, 2
    value = np.maximum(clean + added, floor)
    starts = np.nonzero(stuck)
    days, start = _following(starts, _STUCK_DAYS, clean.shape[1])
    value[days] = value[starts[0], starts[1] - 1][start]
    kinds[days] = 4
    return value, kinds


def missing(spec: SynthesisSpec, source: Source) -> np.ndarray:
    """Which days are missing (series, days): half single, half in blocks of 3 to 14 days."""
    shape = (spec.n_series, spec.n_days)
    single = source().random(shape) < spec.missing / 2
    starts = np.nonzero(source().random(shape) < spec.missing / 2 / 8.5)
    lengths = source().integers(3, 15, shape)[starts]
    days, start = _following(starts, 14, spec.n_days)
    inside = days[1] - starts[1][start] < lengths[start]
    single[days[0][inside], days[1][inside]] = True
    return single


def _following(
    starts: tuple[np.ndarray, ...], count: int, n_days: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The `count` days from each (row, day) on, cut at the end: their (rows, days), their start."""
    days = starts[1][:, None] + np.arange(count)
    start = np.broadcast_to(np.arange(len(days))[:, None], days.shape)[days < n_days]
    return (starts[0][start], days[days < n_days]), start
