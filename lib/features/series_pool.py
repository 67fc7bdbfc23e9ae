"""What the series of a panel have in common: their week and year, as deviations from their levels.

A series that has just begun says little about its week and nothing about its year. The others do,
and deviations that are relative to the level suit a series of any level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel, take_series, weekday_of
from lib.features.engineering import YEAR

YEARS = 3  # of shape that are kept
MIN_DAYS = 28  # observed, of a series that is learned from
MAX_SERIES = 500  # that are learned from, evenly spaced
MIN_GROUP, MAX_GROUPS = 3, 30  # series of one label; labels
GROUP_PRIOR = 10.0  # series that the shape of all counts for beside that of a label
LARGEST = 4.0  # relative deviation beyond which a day is clipped
PASSES = 3  # levels and shape are measured in turn
BLOCK = 28  # days of one level
USUAL_DRIFT = 0.2  # standard deviation of a level over weeks, where it cannot be measured


@dataclass(frozen=True)
class SeriesPool:
    """What series have in common. A value is level + magnitude · (shape + weekday + noise).

    Level and magnitude (mean absolute value) are the same for a series without negative values.

    Attributes:
        first: day of the first column of `shape`.
        shape: (1 + groups, days) relative deviations from the level; the shape of all series, then
            what is added for each label of a static covariate. NaN on days without a value.
        centers: (1 + groups,) mean logarithm of the magnitude, and what is added.
        groups: name and label of static covariates.
        noise: standard deviation of a day.
        drift: of a level over some weeks.
        weekday: of the effect of a weekday, among series.
        spread: of the logarithm of magnitudes; infinite where they say nothing about another one.

    """

    first: np.datetime64
    shape: np.ndarray
    centers: np.ndarray
    groups: tuple[tuple[str, str], ...]
    noise: float
    drift: float
    weekday: float
    spread: float

    @classmethod
    def flat(cls) -> SeriesPool:
        """Return what is supposed of a series that there are no others for.

        >>> SeriesPool.flat().shape.shape
        (1, 7)
        """
        day = np.datetime64("2024-01-01", "D")
        return cls(day, np.zeros((1, 7)), np.zeros(1), (), 0.3, USUAL_DRIFT, 0.5, np.inf)

    def shape_of(self, panel: Panel, rows: np.ndarray, dates: np.ndarray) -> np.ndarray:
        """Return the shape on the days of windows. (n, days), NaN where nothing is known.

        Days that the pool has not seen have that of whole years earlier or later, of whole weeks
        where it has seen less than a year. All days of a window after the pool move together.

        Args:
            panel: of the series.
            rows: (n,) one row of each window's series.
            dates: (n, days) datetime64[D], rising.
        """
        length = self.shape.shape[1]
        period = YEAR if length >= YEAR else length // 7 * 7
        if not period:
            return np.zeros(dates.shape)
        at = (dates - self.first).astype(np.int64)
        beyond = np.maximum(at[:, -1:] - (length - 1), 0)
        at = at - -(-beyond // period) * period
        at = at + -(-np.maximum(-at, 0) // period) * period
        shapes = self.shape[0] + self._members(panel, rows) @ np.nan_to_num(self.shape[1:])
        return np.take_along_axis(shapes, at, axis=1)

    def center_of(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Return the mean logarithm of the magnitude for the series of some rows. (n,)."""
        return self.centers[0] + self._members(panel, rows) @ self.centers[1:]

    def _members(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Return which groups the series of some rows belong to. (n, groups) of 0 and 1."""
        labels = _static_labels(panel)
        members = np.zeros((panel.n_series, len(self.groups)))
        for number, (name, label) in enumerate(self.groups):
            if name in labels:
                members[:, number] = labels[name] == label
        return members[panel.series_of(rows)]


def learn_pool(panel: Panel, until: np.datetime64) -> SeriesPool | None:
    """Learn what series have in common from their days up to an origin.

    Args:
        panel: N rows, without the effects of covariates.
        until: last day to learn from.

    Returns:
        The pool, None where no series has MIN_DAYS observed days and a magnitude.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> panel, _ = synthesize(SynthesisSpec(n_series=4, n_days=400), seed=1)
    >>> learn_pool(panel, panel.dates.max()).shape.shape
    (1, 400)
    """
    if panel.n_series > MAX_SERIES:
        numbers = np.linspace(0, panel.n_series - 1, MAX_SERIES).astype(int)
        panel = take_series(panel, numbers)
    values, first = _to_matrix(panel, until)
    use = np.isfinite(values).sum(axis=1) >= MIN_DAYS
    use &= np.nansum(np.abs(values), axis=1) > 0
    if not use.any():
        return None
    values = values[use]
    observed = np.isfinite(values)
    count = observed.sum(axis=0)
    shape = np.zeros(values.shape[1])
    for _ in range(PASSES):
        level, magnitude = measure_levels(values, shape[None])
        deviation = _clip((values - level) / magnitude)
        shape = np.nansum(deviation, axis=0) / (count + 1)  # one more that is flat
    level, magnitude = measure_levels(values, shape[None])
    rest = _clip((values - level) / magnitude - shape)
    logs = np.log(magnitude[:, 0])
    labels = {name: column[use] for name, column in _static_labels(panel).items()}
    groups = _find_groups(labels)
    members = [labels[name] == label for name, label in groups]
    share = 1 / max(len(labels), 1)
    shapes = [
        share * np.nansum(rest[of], axis=0) / (observed[of].sum(axis=0) + GROUP_PRIOR)
        for of in members
    ]
    centers = [share * (logs[of] - logs.mean()).sum() / (of.sum() + GROUP_PRIOR) for of in members]
    noise, drift, weekday = _measure_deviations(rest, weekday_of(first + np.arange(len(count))))
    return SeriesPool(
        first,
        np.stack([np.where(count > 0, shape, np.nan), *shapes]),
        np.array([logs.mean(), *centers]),
        groups,
        noise,
        drift,
        weekday,
        float(logs.std()) if len(logs) >= 2 * MIN_GROUP else np.inf,
    )


def measure_levels(values: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return level and magnitude of each series, given its shape, both (n, 1).

    Args:
        values: (n, days), NaN where missing.
        shape: (n, days), or (1, days) for all.
    """
    observed = np.isfinite(values)
    count = np.maximum(observed.sum(axis=1, keepdims=True), 1)
    mean = np.nansum(values, axis=1, keepdims=True) / count
    size = np.nansum(np.abs(values), axis=1, keepdims=True) / count
    usual = np.where(observed, np.nan_to_num(shape), 0.0).sum(axis=1, keepdims=True) / count
    magnitude = size / np.maximum(1 + usual, 0.05)
    return mean - magnitude * usual, magnitude


def _to_matrix(panel: Panel, until: np.datetime64) -> tuple[np.ndarray, np.datetime64]:
    """Return the values (series, days) of the last YEARS, and the first of these days."""
    last = min(until.astype("datetime64[D]"), panel.dates.max())
    first = max(panel.dates.min(), last - YEARS * YEAR + 1)
    at = (panel.dates - first).astype(np.int64)
    days = max(int((last - first).astype(np.int64)) + 1, 0)
    inside = (at >= 0) & (at < days)
    values = np.full((panel.n_series, days), np.nan)
    series = panel.series_of(np.arange(len(at)))
    values[series[inside], at[inside]] = panel.values[inside]
    return values, first


def _measure_deviations(rest: np.ndarray, weekday: np.ndarray) -> tuple[float, float, float]:
    """Return the standard deviations of days, of levels over weeks, and of weekday effects.

    Args:
        rest: (series, days) relative deviations from level and shape, NaN where missing.
        weekday: (days,).
    """
    effects, counts = np.zeros(rest.shape), []
    for day in range(7):
        of_day = weekday == day
        count = np.isfinite(rest[:, of_day]).sum(axis=1, keepdims=True)
        effects[:, of_day] = np.nansum(rest[:, of_day], axis=1, keepdims=True) / np.maximum(
            count, 1
        )
        counts.append(count)
    noise = np.nanmedian(np.nansum((rest - effects) ** 2, axis=1) / np.isfinite(rest).sum(axis=1))
    noise = max(float(noise), 1e-4)
    seen = max(float(np.mean(counts)), 1.0)
    between = max(float(np.mean(effects**2)) - noise / seen, 0.01 * noise)
    days = rest.shape[1] // BLOCK * BLOCK
    if days < 2 * BLOCK:
        return noise**0.5, USUAL_DRIFT, between**0.5
    blocks = (rest - effects)[:, -days:].reshape(len(rest), -1, BLOCK)
    count = np.isfinite(blocks).sum(axis=2)
    means = (np.nansum(blocks, axis=2) / np.maximum(count, 1))[count >= BLOCK // 2]
    drift = float(np.mean(means**2)) - noise / BLOCK if len(means) else USUAL_DRIFT**2
    return noise**0.5, max(drift, 0.0) ** 0.5, between**0.5


def _clip(deviation: np.ndarray) -> np.ndarray:
    return np.clip(deviation, -LARGEST, LARGEST)


def _static_labels(panel: Panel) -> dict[str, np.ndarray]:
    """Return the labels (series,) of each static category, "" where unknown."""
    labels = {}
    for covariate in panel.covariates:
        if covariate.role == "static" and covariate.labels:
            first = covariate.values[panel.offsets[:-1]]
            names = np.array(["", *covariate.labels], dtype=object)
            labels[covariate.name] = names[np.where(np.isfinite(first), first + 1, 0).astype(int)]
    return labels


def _find_groups(labels: dict[str, np.ndarray]) -> tuple[tuple[str, str], ...]:
    """Return the labels that enough series have, at most MAX_GROUPS, the most frequent first."""
    counts = {
        (name, str(label)): int((column == label).sum())
        for name, column in labels.items()
        for label in sorted(set(column) - {""})
    }
    frequent = [group for group, count in counts.items() if count >= MIN_GROUP]
    return tuple(sorted(frequent, key=lambda group: -counts[group])[:MAX_GROUPS])
