"""Learn units, range and knots of a covariate from the days up to an origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lib.data import Covariate, Panel
from lib.features.covariate_bases import Basis, series_medians

REACH = 2  # days before and after an event
HALF = 0.5  # size of an event; smaller ones may be of another kind, such as holidays
KNOTS = (0.2, 0.4, 0.6, 0.8)  # quantiles at which a line may break
USUAL = (0.05, 0.95)  # quantiles between which a number usually is
FAR = 3.0  # of these widths beyond them, from which a number counts as no farther
# Levels of a number differ by this much more between series than within one: each has its own.
OWN_LEVEL = 2.0
MAX_LABELS_OF_DAYS = 0.5  # labels a day, above which they are numbers of receipts, or days
MOST_COLUMNS = 200  # of all covariates together, above which labels share some
FEW_LABELS = 8  # which may be as many as the days that have one


def learn_basis(panel: Panel, covariate: Covariate, past: np.ndarray) -> Basis | None:
    """Return the basis of a covariate, or None where it never varies within a series.

    Nor does a category have one of which nearly every day has a label of its own.

    Args:
        panel: N rows.
        covariate: of the panel.
        past: (N,) bool, the rows to learn from.
    """
    values = np.where(past, covariate.values, np.nan)
    low = np.fmin.reduceat(values, panel.offsets[:-1])
    high = np.fmax.reduceat(values, panel.offsets[:-1])
    if not (high > low).any():
        return None
    name, kind = covariate.name, covariate.kind
    if kind in ("category", "holiday"):
        seen = np.unique(values[np.isfinite(values)]).astype(np.int64)
        labels = tuple(covariate.labels[code] for code in seen)
        labels = tuple(label for label in labels if label or kind == "category")
        days = len(np.unique(panel.dates[np.isfinite(values)]))
        if kind == "category" and len(labels) > max(MAX_LABELS_OF_DAYS * days, FEW_LABELS):
            return None
        return Basis(name, kind, labels, reach=REACH)
    if kind == "event":
        sizes = np.unique(values[values > 0])
        if len(sizes) < 2:
            return Basis(name, kind, reach=REACH)
        steps = (0.0, HALF) if sizes.min() <= HALF < sizes.max() else (0.0,)
        return Basis(name, kind, knots=steps, reach=REACH)
    relative = _find_relation(panel, values)
    known = Basis(name, kind, relative=relative).transform(
        panel, values, series_medians(panel, values)
    )
    known = _without_far(known[np.isfinite(known)])
    knots = np.unique(np.quantile(known, KNOTS))
    return Basis(
        name=name,
        kind=kind,
        low=float(known.min()),
        high=float(known.max()),
        mean=float(known.mean()),
        unit=float(known.std()) or 1.0,
        knots=tuple(float(knot) for knot in knots if known.min() < knot < known.max()),
        relative=relative,
    )


def bound_columns(bases: Sequence[Basis], panel: Panel, past: np.ndarray) -> tuple[Basis, ...]:
    """Return bases with at most MOST_COLUMNS columns, if there are categories to save some of.

    The regression takes as long as the cube of its columns. Rare labels of a category share one.

    Args:
        bases: of covariates of the panel.
        panel: N rows.
        past: (N,) bool, the rows to learn from.
    """
    kept = tuple(bases)
    columns = sum(len(basis.groups) for basis in kept)
    if columns <= MOST_COLUMNS:
        return kept
    categories = [basis for basis in kept if basis.kind == "category"]
    others = columns - sum(len(basis.groups) for basis in categories)
    each = max((MOST_COLUMNS - others) // (2 * max(len(categories), 1)) - 1, 1)
    values = {c.name: c for c in panel.covariates}
    return tuple(
        _keep_frequent(basis, values[basis.name], past, each)
        if basis.kind == "category" and len(basis.labels) > each
        else basis
        for basis in kept
    )


def _keep_frequent(basis: Basis, covariate: Covariate, past: np.ndarray, most: int) -> Basis:
    """Return the basis of a category with its most frequent labels, and one for the rest."""
    codes = covariate.values[past & np.isfinite(covariate.values)].astype(np.int64)
    counts = np.bincount(codes, minlength=len(covariate.labels))
    count_of = dict(zip(covariate.labels, counts.tolist(), strict=True))
    frequent = set(sorted(basis.labels, key=lambda label: -count_of.get(label, 0))[:most])
    labels = tuple(label for label in basis.labels if label in frequent)
    return replace(basis, labels=labels, rest=True)


def _without_far(values: np.ndarray) -> np.ndarray:
    """Return numbers with those at most as far as usual ones go, such as 9999 for a missing price.

    Where most are the same, such as discounts of rare days, nothing is far.
    """
    low, high = np.quantile(values, USUAL)
    if low == high:
        return values
    return np.clip(values, low - FAR * (high - low), high + FAR * (high - low))


def _find_relation(panel: Panel, values: np.ndarray) -> str:
    """Tell whether a number, such as a price, has another level in each series."""
    if panel.n_series == 1:
        return ""
    medians = series_medians(panel, values)
    deviations = values - np.repeat(medians, np.diff(panel.offsets))
    within = float(np.nanmean(np.abs(deviations)))
    known = medians[np.isfinite(medians)]
    between = float(np.abs(known - np.median(known)).mean())
    if between <= OWN_LEVEL * within:
        return ""
    return "ratio" if np.nanmin(values) > 0 else "difference"
