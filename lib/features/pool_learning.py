"""Learn what the series of a panel have in common."""

from __future__ import annotations

import numpy as np

from lib.data import Panel, take_series, weekday_of
from lib.features.engineering import YEAR
from lib.features.series_pool import USUAL_DRIFT, SeriesPool, measure_levels, static_labels

YEARS = 3  # of shape that are kept
MIN_DAYS = 28  # observed, of a series that is learned from
MAX_SERIES = 500  # that are learned from, evenly spaced
MIN_GROUP, MAX_GROUPS = 3, 30  # series of one label; labels
GROUP_PRIOR = 10.0  # series that the shape of all counts for beside that of a label
LARGEST = 4.0  # relative deviation beyond which a day is clipped
PASSES = 3  # levels and shape are measured in turn
BLOCK = 28  # days of one level


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
    labels = {name: column[use] for name, column in static_labels(panel).items()}
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


def _find_groups(labels: dict[str, np.ndarray]) -> tuple[tuple[str, str], ...]:
    """Return the labels that enough series have, at most MAX_GROUPS, the most frequent first."""
    counts = {
        (name, str(label)): int((column == label).sum())
        for name, column in labels.items()
        for label in sorted(set(column) - {""})
    }
    frequent = [group for group, count in counts.items() if count >= MIN_GROUP]
    return tuple(sorted(frequent, key=lambda group: -counts[group])[:MAX_GROUPS])
