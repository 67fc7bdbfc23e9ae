"""The effects that `lib.data.synthesis` adds up, each drawn for all series and days at once.

Arrays are (series, days) unless a docstring says otherwise. Each function takes `next_rng`, of
which every call gives a fresh generator: one array per generator means that series can be added
without moving the draws of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import holidays
import numpy as np

from lib.data.calendar import day_of_year, weekday_of
from lib.data.synthesis_spec import MAX_LAG, SynthesisSpec

ANOMALIES = ("none", "spike", "dip", "level_shift", "stuck")
EVENT_PROFILE = {-2: 0.10, -1: 0.25, 0: 1.00, 1: -0.20, 2: -0.10}  # share of the day's effect
HOLIDAY_PROFILE = {-1: 0.30, 0: 1.00}
FACTOR_WEIGHTS = (0.6, 0.4)  # of fator_externo `factor_lag` and `factor_lag + 1` days before
_WEEK = np.array([-0.55, -0.65, -0.45, -0.10, 0.50, 1.00, 0.25])  # Monday to Sunday, mean 0
_SHIFT_DAYS, _SHIFT_DECAY = 12, 5.0
_STUCK_DAYS = 5
_PAD = 3  # days around the series whose events reach into it
NextGenerator = Callable[[], np.random.Generator]


def generators_of(seed: np.random.SeedSequence) -> NextGenerator:
    """Return a function whose calls give generators of the seed's children, in turn."""
    return lambda: np.random.default_rng(seed.spawn(1)[0])


def _segments(lengths: np.ndarray, n_days: int) -> np.ndarray:
    """Return the number of the segment each day is in.

    Args:
        lengths: (series, segments), days of each segment.
        n_days: days of the series.

    Returns:
        (series, days) int32.
    """
    boundaries = np.cumsum(lengths, axis=1).astype(np.int64)
    rows, columns = np.nonzero(boundaries < n_days)
    steps = np.zeros((len(lengths), n_days), np.int32)
    np.add.at(steps, (rows, boundaries[rows, columns]), 1)
    return np.cumsum(steps, axis=1, dtype=np.int32)


def draw_trend(spec: SynthesisSpec, next_rng: NextGenerator) -> tuple[np.ndarray, np.ndarray]:
    """Return the growth relative to the base level, and the regime of each day."""
    count = math.ceil(spec.n_days / (0.6 * spec.regime_days)) + 2
    lengths = spec.regime_days * next_rng().uniform(0.6, 1.4, (spec.n_series, count))
    lengths[:, 0] *= next_rng().uniform(0.4, 1.0, spec.n_series)  # the first began before day 0
    slope = next_rng().standard_normal((spec.n_series, count + 1)) * spec.trend / 365.25
    size = next_rng().uniform(-1.0, 1.0, (spec.n_series, count + 1))
    jump = spec.trend * (size + 0.5 * np.sign(size))  # half to one and a half dials, up or down
    jump[:, 0] = 0.0
    regime = _segments(lengths, spec.n_days)
    if spec.trend == 0.0:
        regime = np.zeros_like(regime)
    growth: np.ndarray = np.cumsum(np.take_along_axis(slope, regime, 1), axis=1)
    return np.exp(growth + np.take_along_axis(np.cumsum(jump, axis=1), regime, 1)), regime


def draw_volatility(spec: SynthesisSpec, next_rng: NextGenerator) -> tuple[np.ndarray, np.ndarray]:
    """Return the multiplier of the noise, and whether the day is turbulent.

    Calm spells last 150 days in the mean, turbulent ones 45.
    """
    count = 2 * math.ceil(spec.n_days / 97) + 2
    mean = np.where(np.arange(count) % 2 == 0, 150.0, 45.0)
    lengths = mean * next_rng().uniform(0.5, 1.5, (spec.n_series, count))
    turbulent = (_segments(lengths, spec.n_days) % 2 == 1) & (spec.volatility > 0)
    return 1.0 + spec.volatility * turbulent, turbulent


def _amplitude(spec: SynthesisSpec, next_drift_rng: NextGenerator) -> np.ndarray:
    """Return a seasonal amplitude that wanders slowly around 1."""
    day = np.arange(spec.n_days)
    wave = np.zeros((spec.n_series, spec.n_days))
    for shortest, longest in ((500.0, 900.0), (900.0, 1500.0)):
        period = next_drift_rng().uniform(shortest, longest, (spec.n_series, 1))
        wave += 0.5 * np.sin(
            2 * np.pi * (day / period + next_drift_rng().random((spec.n_series, 1)))
        )
    return 1.0 + spec.amplitude_drift * wave


def draw_weekly(
    spec: SynthesisSpec, days: np.ndarray, next_rng: NextGenerator, next_drift_rng: NextGenerator
) -> np.ndarray:
    """Return the share of the trend that the weekday adds: a retail week, varied by series."""
    week = _WEEK + 0.12 * next_rng().standard_normal((spec.n_series, 7))
    week -= week.mean(axis=1, keepdims=True)
    return spec.weekly * week[:, weekday_of(days)] * _amplitude(spec, next_drift_rng)


def _year_angle(days: np.ndarray) -> np.ndarray:
    return 2 * np.pi * day_of_year(days) / 365.25


def draw_yearly(
    spec: SynthesisSpec, days: np.ndarray, next_rng: NextGenerator, next_drift_rng: NextGenerator
) -> np.ndarray:
    """Return the share of the trend that the season adds.

    It is high around the turn of the year, with a small second peak.
    """
    late = 0.25 * next_rng().standard_normal((spec.n_series, 1))  # about two weeks
    size = 1.0 + 0.15 * next_rng().standard_normal((spec.n_series, 1))
    angle = _year_angle(days) - late
    wave = (np.cos(angle) + 0.35 * np.cos(2 * angle - 0.8)) / 1.2
    return spec.yearly * size * wave * _amplitude(spec, next_drift_rng)


def draw_holidays(
    spec: SynthesisSpec, days: np.ndarray, next_rng: NextGenerator
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each day is a public holiday, and the share it adds. Both (days,)."""
    padded = np.arange(days[0] - _PAD, days[-1] + _PAD + 1)
    size = np.zeros(len(padded))
    if spec.country:
        years = padded[[0, -1]].astype("datetime64[Y]").astype(int) + 1970
        calendar = holidays.country_holidays(spec.country, years=range(years[0], years[1] + 1))
        names = list(dict.fromkeys(calendar[day] for day in sorted(calendar)))
        weights = dict(zip(names, next_rng().uniform(0.7, 1.3, len(names)), strict=True))
        for day, name in calendar.items():
            size[padded == np.datetime64(day, "D")] = weights[name]
    inner = slice(_PAD, -_PAD)
    return size[inner] > 0, spec.holiday * _spread(size[None], HOLIDAY_PROFILE)[0]


def _spread(impulse: np.ndarray, profile: Mapping[int, float]) -> np.ndarray:
    """Spread impulses over the days around them, and cut the padding off."""
    n_days = impulse.shape[1] - 2 * _PAD
    result = np.zeros((len(impulse), n_days))
    for offset, weight in profile.items():
        result += weight * impulse[:, _PAD - offset : _PAD - offset + n_days]
    return result


def draw_factor(
    spec: SynthesisSpec, days: np.ndarray, next_rng: NextGenerator
) -> tuple[np.ndarray, np.ndarray]:
    """Return fator_externo, like a temperature in °C, and the share of the trend it adds.

    It is seasonal plus a stationary AR(1) of which half is common to all series, as weather is.
    """
    padding = MAX_LAG + 1  # days before the series whose factor still acts in it
    padded = np.arange(days[0] - padding, days[-1] + 1)
    weather = _draw_weather((spec.n_series, len(padded)), next_rng)
    factor = 22.0 + 6.0 * np.cos(_year_angle(padded) - 0.25) + 3.0 * weather
    sensitivity = 1.0 + 0.15 * next_rng().standard_normal((spec.n_series, 1))
    first = padding - spec.factor_lag
    share = sum(
        weight * (factor[:, first - i : first - i + len(days)] - 22.0) / 5.0
        for i, weight in enumerate(FACTOR_WEIGHTS)
    )
    return factor[:, padding:], spec.factor * sensitivity * share


def _draw_weather(shape: tuple[int, int], next_rng: NextGenerator, phi: float = 0.85) -> np.ndarray:
    """Return a stationary AR(1) of unit variance, x_t = e_t + φ x_{t-1}, half of it common."""
    shocks = next_rng().standard_normal(shape)
    shocks = math.sqrt(0.5) * (shocks + next_rng().standard_normal(shape[1]))
    weather = math.sqrt(1 - phi**2) * shocks
    weather[:, 0] = shocks[:, 0]
    step = 1
    while step < shape[1] and phi**step > 1e-18:  # the recursion, by doubling
        weather[:, step:] += phi**step * weather[:, :-step].copy()
        step *= 2
    return weather


def draw_events(spec: SynthesisSpec, next_rng: NextGenerator) -> tuple[np.ndarray, np.ndarray]:
    """Return the strength of the special event of a day (0 = none), and the share it adds."""
    shortest = 10  # days between events, so that their profiles do not overlap
    n_padded = spec.n_days + 2 * _PAD
    strength = np.zeros((spec.n_series, n_padded))
    if spec.events_per_year > 0:
        spread = 2 * (365.25 / spec.events_per_year - shortest)
        gaps = next_rng().uniform(
            shortest, shortest + spread, (spec.n_series, n_padded // shortest + 2)
        )
        gaps[:, 0] *= next_rng().random(spec.n_series)
        at = np.cumsum(gaps, axis=1).astype(np.int64)
        rows, columns = np.nonzero(at < n_padded)
        size = next_rng().uniform(0.6, 1.0, gaps.shape)
        strength[rows, at[rows, columns]] = size[rows, columns]
    return strength[:, _PAD:-_PAD], spec.event * _spread(strength, EVENT_PROFILE)


def add_anomalies(
    spec: SynthesisSpec, clean: np.ndarray, trend: np.ndarray, floor: float, next_rng: NextGenerator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values with anomalies added, and the kind of each day (index into ANOMALIES)."""
    u, size, side = (next_rng().random(clean.shape) for _ in range(3))
    # Each kind has a quarter of the anomalous days, and a separate quarter of u: a larger dial
    # adds anomalies and keeps the others.
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


def draw_missing(spec: SynthesisSpec, next_rng: NextGenerator) -> np.ndarray:
    """Return which days are missing: half of them single, half in blocks of 3 to 14 days."""
    shape = (spec.n_series, spec.n_days)
    single = next_rng().random(shape) < spec.missing / 2
    starts = np.nonzero(next_rng().random(shape) < spec.missing / 2 / 8.5)
    lengths = next_rng().integers(3, 15, shape)[starts]
    days, start = _following(starts, 14, spec.n_days)
    inside = days[1] - starts[1][start] < lengths[start]
    single[days[0][inside], days[1][inside]] = True
    return single


def _following(
    starts: tuple[np.ndarray, ...], count: int, n_days: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return the `count` days from each start on, without those past the end.

    Args:
        starts: (rows, days) of the starts.
        count: days from each start on.
        n_days: days of the series.

    Returns:
        (rows, days) of these days, and the number of the start of each.
    """
    days = starts[1][:, None] + np.arange(count)
    start = np.broadcast_to(np.arange(len(days))[:, None], days.shape)[days < n_days]
    return (starts[0][start], days[days < n_days]), start
