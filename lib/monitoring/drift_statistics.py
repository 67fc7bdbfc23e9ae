"""Effect sizes between two samples, and the correction of p-values for many tests."""

from __future__ import annotations

import numpy as np

FEWEST = 14  # values that a distribution needs
_PSI_BINS = 10


def population_stability(sample: np.ndarray, reference: np.ndarray) -> float:
    """Return the population stability index over the deciles of the reference.

    0 for equal distributions; by custom above 0.1 is a shift and above 0.25 a large one. Half a
    value is added to each bin. A value that fills several deciles (such as "no event") is a bin of
    its own. NaN without values.

    >>> population_stability(np.arange(100.0), np.arange(100.0))
    0.0
    """
    sample, reference = sample[np.isfinite(sample)], reference[np.isfinite(reference)]
    if not len(sample) or not len(reference):
        return np.nan
    edges = np.unique(np.quantile(reference, np.arange(1, _PSI_BINS) / _PSI_BINS))
    # (−∞, e0], (e0, e1], …, (e_last, ∞)
    expected, actual = (
        np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1) + 0.5
        for x in (reference, sample)
    )
    expected, actual = expected / expected.sum(), actual / actual.sum()
    return float(((actual - expected) * np.log(actual / expected)).sum())


def category_stability(sample: np.ndarray, reference: np.ndarray, labels: int) -> float:
    """Return the population stability index over categories, as `population_stability` does.

    Args:
        sample: (n,) numbers of categories, from 0 to `labels`, the last for any other; NaN unknown.
        reference: (m,) the same.
        labels: number of categories of the reference.
    """
    actual, expected = (count_categories(x, labels) + 0.5 for x in (sample, reference))
    if actual.sum() <= len(actual) / 2 or expected.sum() <= len(expected) / 2:
        return np.nan
    actual, expected = actual / actual.sum(), expected / expected.sum()
    return float(((actual - expected) * np.log(actual / expected)).sum())


def category_effect(sample: np.ndarray, reference: np.ndarray, labels: int) -> float:
    """Return the total variation distance: the share of days that is in another category.

    It is both Kolmogorov-Smirnov's and Wasserstein's distance where all categories are as far from
    one another. Arguments as of `category_stability`; NaN for too few values.

    >>> half = np.repeat([0.0, 1.0], 20)
    >>> category_effect(half, np.zeros(40), labels=2)
    0.5
    """
    counts = [count_categories(x, labels) for x in (sample, reference)]
    if min(count.sum() for count in counts) < FEWEST:
        return np.nan
    now, before = (count / count.sum() for count in counts)
    return float(np.abs(now - before).sum() / 2)


def count_categories(codes: np.ndarray, labels: int) -> np.ndarray:
    """Return how often each category occurs, and any other: (labels + 1,)."""
    known = codes[np.isfinite(codes)].astype(np.int64)
    return np.bincount(known, minlength=labels + 1).astype(np.float64)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm's (1979) adjusted p-values, (n,). NaN is not a test and stays NaN."""
    adjusted = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(np.isfinite(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(order) else scaled
    return adjusted


def effects_of(sample: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the distances of Kolmogorov-Smirnov, and of Wasserstein in widths of the reference."""
    a, b = np.sort(sample[np.isfinite(sample)]), np.sort(reference[np.isfinite(reference)])
    if len(a) < FEWEST or len(b) < FEWEST:
        return np.nan, np.nan
    both = np.concatenate([a, b])
    below_a, below_b = (np.searchsorted(x, both, side="right") / len(x) for x in (a, b))
    levels = (np.arange(100) + 0.5) / 100
    quantiles = _quantiles(b, levels)
    width = float(quantiles[90] - quantiles[10]) or float(b.std())
    moved = float(np.abs(_quantiles(a, levels) - quantiles).mean())
    return float(np.abs(below_a - below_b).max()), moved / width if width > 0 else moved


def _quantiles(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return quantiles of sorted values, (k,): np.quantile would sort them once more."""
    position = levels * (len(ordered) - 1)
    below = position.astype(np.int64)
    above = np.minimum(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
