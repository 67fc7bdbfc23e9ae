"""Learn what past covariates say of the days ahead, from the days up to an origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from lib.data import Covariate, Panel, forget_covariates_after, take_series
from lib.features.engineering import position_in_series
from lib.features.past_effect_regression import BLOCKS, HorizonProblem, regress_ahead
from lib.features.past_effects import (
    COLUMNS,
    MIN_KNOWN,
    PastEffects,
    Signal,
    deviate,
    last_days,
    own_recent,
    own_scale,
)
from lib.features.series_choice import choose_series
from lib.features.weekly_grid import additive_unit
from lib.features.windows import values_at

MAX_DAYS = 28  # ahead, of which a past covariate may say something
MIN_DAYS = 224  # with an observed value of any series: in fewer, a season looks like a lead
MAX_LABELS = 8  # of a category, the most frequent
MAX_SIGNALS = 8  # of all covariates: the regression takes as long as the cube of their number
MAX_SPREAD = 1.0  # around the usual level, in shares of it, of a number whose shares matter
OPERATIONS = 2e10  # of the products of columns, which bounds seconds
MAX_ROWS = 100_000  # that are learned from, of evenly spaced series
RIDGE = 1e-3  # of the days of the series, in shares of their variance
NEAR_DAYS = 45  # on either side, whose mean is taken off all that is learned from
CLIPPED = 0.01  # share of the days ahead on either side that are pulled in
SMALLEST_WEIGHT = 1e-4  # below which nothing was found


def fit_past_effects(
    panel: Panel, until: np.datetime64, horizon: int, additive: np.ndarray | None = None
) -> PastEffects | None:
    """Learn what the past covariates of a panel say of its days ahead.

    The days ahead of each origin are regressed on the last days of each covariate, for all series
    together. Large panels learn from evenly spaced series.

    Args:
        panel: N rows, without the effects of known covariates.
        until: last day to learn from; nothing after it is used.
        horizon: days ahead.
        additive: (S,) series whose effects add (default: those with a negative value).

    Returns:
        The effects, or None where no past covariate varies and says something, or with too few
        days.
    """
    if not any(c.role == "past" for c in panel.covariates):
        return None
    panel = forget_covariates_after(panel, until)
    past = panel.dates <= until.astype("datetime64[D]")
    if len(np.unique(panel.dates[past & np.isfinite(panel.values)])) < MIN_DAYS:
        return None
    if additive is None:
        known = np.where(past, panel.values, np.nan)
        additive = np.fmin.reduceat(known, panel.offsets[:-1]) < 0
    # Several threads add in another order: the bits would depend on the machine's settings.
    with threadpool_limits(1, user_api="blas"):
        return _fit(panel, past, min(horizon, MAX_DAYS), additive)


def _fit(panel: Panel, past: np.ndarray, horizon: int, additive: np.ndarray) -> PastEffects | None:
    """Learn from the `past` rows, (N,) bool."""
    series = choose_series(panel, np.arange(panel.n_series), MAX_ROWS)
    some, some_past = _take(panel, past, series)
    signals = tuple(
        signal
        for covariate in some.covariates
        if covariate.role == "past"
        for label in _labels_of(covariate, some_past)
        if (signal := _learn_signal(some, covariate, label, some_past)) is not None
    )
    if len(signals) > MAX_SIGNALS:
        signals = _choose_signals(some, some_past, signals, horizon, additive[series])
    if not signals:
        return None
    rows = min(MAX_ROWS, OPERATIONS / horizon / (len(signals) * COLUMNS) ** 2)
    weights = np.zeros((2, len(signals), horizon, COLUMNS))
    shown = np.zeros((2, len(signals), COLUMNS, COLUMNS))
    for mode in (0, 1):
        series = choose_series(panel, np.flatnonzero(additive == bool(mode)), rows)
        if not len(series):
            continue
        some, some_past = _take(panel, past, series)
        problem = _prepare(some, some_past, signals, horizon, additive=bool(mode))
        if problem is not None:
            weights[mode], shown[mode] = regress_ahead(problem), problem.shown
    use = np.abs(weights).max(axis=(0, 2, 3)) >= SMALLEST_WEIGHT
    if not use.any():
        return None
    names = tuple(panel.ids[s] for s in np.flatnonzero(additive))
    kept = tuple(signal for signal, used in zip(signals, use, strict=True) if used)
    return PastEffects(kept, names, weights[:, use], shown[:, use])


def _choose_signals(
    panel: Panel,
    past: np.ndarray,
    signals: tuple[Signal, ...],
    horizon: int,
    additive: np.ndarray,
) -> tuple[Signal, ...]:
    """Return the MAX_SIGNALS that are most correlated with the days ahead, each on its own.

    Args:
        panel: of some series.
        past: (N,) bool, the rows to learn from.
        signals: C of them.
        horizon: days ahead.
        additive: (S,) series whose effects add.
    """
    shares = np.zeros(len(signals))
    for mode in (False, True):
        series = np.flatnonzero(additive == mode)
        if not len(series):
            continue
        some, some_past = _take(panel, past, series)
        for i, signal in enumerate(signals):
            problem = _prepare(some, some_past, (signal,), horizon, additive=mode)
            if problem is not None:
                shares[i] += _explained(problem.columns[:, 0], problem.ahead)
    most = np.sort(np.argsort(-shares, kind="stable")[:MAX_SIGNALS])
    return tuple(signals[i] for i in most)


def _explained(columns: np.ndarray, ahead: np.ndarray) -> float:
    """Return the squared correlations of columns (n, C) and days ahead (n, H), summed."""
    ahead = np.nan_to_num(ahead - np.nanmean(ahead, axis=0))
    columns = columns - columns.mean(axis=0)
    squares = np.outer((columns**2).sum(axis=0), (ahead**2).sum(axis=0))
    return float(((columns.T @ ahead) ** 2 / np.maximum(squares, 1e-12)).sum() * len(ahead))


def _take(panel: Panel, past: np.ndarray, series: np.ndarray) -> tuple[Panel, np.ndarray]:
    return take_series(panel, series), past[panel.rows_of(series)]


def _labels_of(covariate: Covariate, past: np.ndarray) -> list[str]:
    """Return the most frequent labels of a category, but no blank one; "" for other kinds."""
    if not covariate.labels:
        return [""]
    codes = covariate.values[past]
    counts = np.bincount(
        codes[np.isfinite(codes)].astype(np.int64), minlength=len(covariate.labels)
    )
    most = np.argsort(-counts, kind="stable")[:MAX_LABELS]
    return [
        covariate.labels[code] for code in np.sort(most) if counts[code] and covariate.labels[code]
    ]


def _learn_signal(
    panel: Panel, covariate: Covariate, label: str, past: np.ndarray
) -> Signal | None:
    """Return a signal with the unit of its deviations, None where it does not vary."""
    window = Signal(covariate.name, label, 1.0, ratio=False).window(
        panel, covariate, np.flatnonzero(past)
    )
    deviation, usual = deviate(window)
    found = deviation[:, -1]
    known = np.isfinite(found)
    level = np.abs(usual.mean(axis=1))[known]
    deviation = found[known]
    values = covariate.values[past]
    if not len(deviation) or np.abs(deviation).max() <= 1e-9 * np.nanmax(np.abs(values)):
        return None
    ratio = False
    if covariate.kind == "number" and np.nanmin(values) >= 0 and level.min() > 0:
        shares = deviation / level
        ratio = bool(np.sqrt(np.mean(shares**2)) < MAX_SPREAD)
        deviation = shares if ratio else deviation
    return Signal(covariate.name, label, float(np.sqrt(np.mean(deviation**2))), ratio)


def _prepare(
    panel: Panel, past: np.ndarray, signals: tuple[Signal, ...], horizon: int, *, additive: bool
) -> HorizonProblem | None:
    """Return the days ahead of all origins and what is to explain them, None without any."""
    origins = np.flatnonzero(past & (position_in_series(panel) >= MIN_KNOWN - 1))
    steps = np.arange(1, horizon + 1)
    values = np.where(past, panel.values, np.nan)
    window = last_days(panel, values, origins)
    units = additive_unit(window) if additive else np.full(len(origins), np.nan)
    usual = np.tile(deviate(window)[1], (1, -(-horizon // 7)))[:, :horizon]
    scale = own_scale(window, units)[:, None]
    ahead = (values_at(panel, values, origins, steps) - usual) / scale
    use = np.isfinite(ahead).any(axis=1)
    if not use.any():
        return None
    origins, ahead = origins[use], ahead[use]
    ahead = np.clip(ahead, *np.nanquantile(ahead, [CLIPPED, 1 - CLIPPED]))
    near = _NearDays.of(panel, origins)
    ahead, own = near.take_off(ahead), own_recent(window[use], units[use])
    here = {c.name: c for c in panel.covariates}
    windows = [signal.window(panel, here[signal.name], origins) for signal in signals]
    nothing = np.zeros((COLUMNS, COLUMNS))
    local = near.take_off(own)
    square = local.T @ local
    square += (RIDGE * np.trace(square) / COLUMNS + 1e-9) * np.eye(COLUMNS)
    shown = [
        np.linalg.solve(square, local.T @ near.take_off(signal.news(window, own, nothing)))
        for signal, window in zip(signals, windows, strict=True)
    ]
    news = [
        near.take_off(signal.news(window, own, part))
        for signal, window, part in zip(signals, windows, shown, strict=True)
    ]
    ahead = ahead - local @ np.linalg.solve(square, local.T @ np.nan_to_num(ahead))
    days = panel.dates[origins].astype(np.int64)[:, None] + steps
    names = list(dict.fromkeys(signal.name for signal in signals))
    return HorizonProblem(
        columns=np.stack(news, axis=1),
        shown=np.stack(shown),
        ahead=ahead,
        block=(days - days.min()) * BLOCKS // (days.max() - days.min() + 1),
        covariates=np.array([names.index(signal.name) for signal in signals]),
    )


@dataclass(frozen=True)
class _NearDays:
    """Rows of the origins around each of n origins: the same series, at most NEAR_DAYS away.

    Season and trend are in the means over them. A covariate and a series that share these say
    nothing of each other by it.
    """

    first: np.ndarray
    end: np.ndarray

    @classmethod
    def of(cls, panel: Panel, origins: np.ndarray) -> _NearDays:
        low = np.maximum(origins - NEAR_DAYS, panel.first_row_of(origins))
        high = np.minimum(origins + NEAR_DAYS, panel.last_row_of(origins))
        return cls(np.searchsorted(origins, low), np.searchsorted(origins, high, side="right"))

    def take_off(self, columns: np.ndarray) -> np.ndarray:
        """Return columns, (n, p), less their means over these origins."""
        sums = [np.nan_to_num(columns), np.isfinite(columns)]
        total, count = (np.cumsum(np.pad(part, ((1, 0), (0, 0))), axis=0) for part in sums)
        mean = (total[self.end] - total[self.first]) / np.maximum(
            count[self.end].astype(np.float64) - count[self.first], 1
        )
        return columns - mean
