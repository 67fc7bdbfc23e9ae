"""What past covariates say of the days ahead, such as visits of orders some days later.

Nothing after an origin is used. The last days of a covariate are compared with what is usual, and
what the series itself shows of them is taken off, since the network sees it too. The rest moves the
forecast of each day ahead by weights of that day.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from lib.data import Covariate, Panel
from lib.features.weekly_grid import additive_unit
from lib.features.windows import values_at

WINDOW = 56  # days up to the origin, which say what is usual
MIN_KNOWN = 14  # of them, below which nothing is
LAGS = 14  # last days, each with a weight
MEANS = (7, 28)  # last days whose mean has one
COLUMNS = LAGS + len(MEANS)
LARGEST = 4.0  # deviation that counts, in units
SMALLEST_FACTOR = 0.2  # of a forecast


@dataclass(frozen=True)
class Signal:
    """A past covariate that is a number or an event, or one label of a category.

    Attributes:
        name: of the covariate.
        label: "" of all but categories.
        unit: of deviations.
        ratio: whether deviations are shares of the usual level.
    """

    name: str
    label: str
    unit: float
    ratio: bool

    def window(self, panel: Panel, covariate: Covariate, origins: np.ndarray) -> np.ndarray:
        """Return the values up to each origin. (n, WINDOW), NaN where unknown."""
        values = covariate.values
        if self.label:
            code = covariate.labels.index(self.label) if self.label in covariate.labels else -1
            values = np.where(np.isnan(values), np.nan, values == code)
        return last_days(panel, values, origins)

    def news(self, window: np.ndarray, own: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Return last days and means less what is usual and what the series shows of them.

        Args:
            window: (n, WINDOW) of the signal.
            own: (n, COLUMNS) of the series, as `own_recent` returns them.
            shown: (COLUMNS, COLUMNS) weights of these in each column.

        Returns:
            (n, COLUMNS), newest first, 0 where unknown.
        """
        rest, usual = deviate(window)
        level = np.maximum(np.abs(usual.mean(axis=1)), 1e-12)
        recent = summarize(rest, self.unit * (level if self.ratio else np.ones(len(level))))
        known = summarize(np.isfinite(rest).astype(np.float64), np.ones(len(rest)))
        return recent - known * (own @ shown)


@dataclass(frozen=True)
class PastEffects:
    """Effects of C signals on H days ahead, where they multiply and where they add.

    Attributes:
        signals: of K past covariates.
        additive: names of the series with effects that add.
        weights: (2, C, H, COLUMNS) of the news of signals.
        shown: (2, C, COLUMNS, COLUMNS) what the recent days of series show of each column.
    """

    signals: tuple[Signal, ...]
    additive: tuple[str, ...]
    weights: np.ndarray
    shown: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(dict.fromkeys(signal.name for signal in self.signals))

    def measure(
        self, panel: Panel, origins: np.ndarray, horizon: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Measure the effects on the days after each origin, 0 where the last days are unknown.

        Args:
            panel: without the effects of known covariates.
            origins: (n,) rows.
            horizon: days ahead.

        Returns:
            (K, n, horizon) logarithms, or units, and (n,) units, NaN where effects multiply.
        """
        window = last_days(panel, panel.values, origins)
        adding = set(self.additive)
        adds = np.array([name in adding for name in panel.ids])[panel.series_of(origins)]
        adds |= (window < 0).any(axis=1)  # a new series may be one of these
        units = np.where(adds, additive_unit(window), np.nan)
        own = own_recent(window, units)
        days = min(horizon, self.weights.shape[2])
        effects = np.zeros((len(self.names), len(origins), horizon))
        here = {c.name: c for c in panel.covariates}
        for i, signal in enumerate(self.signals):
            if signal.name in here:
                window = signal.window(panel, here[signal.name], origins)
                effect = effects[self.names.index(signal.name), :, :days]
                for number in (0, 1):
                    rows = adds == bool(number)
                    news = signal.news(window[rows], own[rows], self.shown[number, i])
                    effect[rows] += news @ self.weights[number, i, :days].T
        total = effects.sum(axis=0)
        factor = np.log(np.maximum(1 + total, SMALLEST_FACTOR))
        share = np.divide(factor, total, out=np.ones_like(total), where=np.abs(total) > 1e-9)
        return effects * np.where(adds[:, None], 1.0, share), units

    def known(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return which covariates have a value in the last days. (n, K) bool."""
        nothing = np.full(len(panel.values), np.nan)
        here = {c.name: c.values for c in panel.covariates}
        columns = [last_days(panel, here.get(name, nothing), origins) for name in self.names]
        return np.stack([np.isfinite(days[:, -LAGS:]).any(axis=1) for days in columns], axis=1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that `from_arrays` reads; none holds objects."""
        signals = [asdict(signal) for signal in self.signals]
        text = json.dumps({"signals": signals, "additive": self.additive})
        settings = np.frombuffer(text.encode(), dtype=np.uint8)
        return {"weights": self.weights, "shown": self.shown, "settings": settings}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> PastEffects:
        """Read what `to_arrays` returns."""
        settings = json.loads(arrays["settings"].tobytes().decode())
        signals = tuple(Signal(**signal) for signal in settings["signals"])
        return cls(signals, tuple(settings["additive"]), arrays["weights"], arrays["shown"])


def last_days(panel: Panel, values: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Return the days up to each origin. (n, WINDOW), NaN where unknown."""
    return values_at(panel, values, origins, np.arange(1 - WINDOW, 1))


def deviate(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return days less week and trend, (n, WINDOW), and what is usual in a week, (n, 7).

    The season of a covariate is in its trend, and no news. NaN where too little is known.
    """
    weeks = window.reshape(len(window), WINDOW // 7, 7)
    known = np.isfinite(window)
    count = known.sum(axis=1, keepdims=True)
    level = np.nansum(window, axis=1, keepdims=True) / np.maximum(count, 1)
    level = np.where(count >= MIN_KNOWN, level, np.nan)
    of_day = np.isfinite(weeks).sum(axis=1)
    usual = level + np.nansum(weeks - level[..., None], axis=1) / np.maximum(of_day, 1)
    rest = (weeks - usual[:, None]).reshape(window.shape)
    week = np.where(known, np.arange(WINDOW) // 7, np.nan)  # within it, the week has the trend
    week -= np.nansum(week, axis=1, keepdims=True) / np.maximum(count, 1)
    squares = np.maximum(np.nansum(week**2, axis=1, keepdims=True), 1e-12)
    return rest - week * np.nansum(week * rest, axis=1, keepdims=True) / squares, usual


def summarize(rest: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return last days and means of deviations by a scale, (n,), newest first. (n, COLUMNS)."""
    rest = np.nan_to_num(np.clip(rest / scale[:, None], -LARGEST, LARGEST))[:, ::-1]
    means = [rest[:, :days].mean(axis=1, keepdims=True) for days in MEANS]
    return np.concatenate([rest[:, :LAGS], *means], axis=1)


def own_recent(window: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return last days and means of the series: shares of the level, or units. (n, COLUMNS)."""
    return summarize(deviate(window)[0], own_scale(window, units))


def own_scale(window: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return what the deviations of series are measured in. (n,), NaN with too little known."""
    level = np.maximum(np.abs(deviate(window)[1].mean(axis=1)), 1e-12)
    return np.where(np.isnan(units), level, units)
