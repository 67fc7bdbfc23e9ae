"""Scores of a backtest as people read them: names, columns, numbers, the best of each column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

OURS = "ours"  # that of lib.evaluation, which would load pandas for `--help`
COLUMNS = {"mase": "MASE", "wape": "WAPE %", "wql": "WQL %", "coverage_80": "coverage 80 %"}
NAMES = {
    OURS: "ours",
    "naive": "yesterday's value (naive)",
    "seasonal_naive": "last week's values (seasonal naive)",
    "weekday_median": "median of 8 same weekdays",
    "mean_7": "mean of the last week",
    "instant": "pretrained network, untrained",
}
Scores = Mapping[str, Mapping[str, float | None]]  # by forecast and metric


def format_score(value: float | None) -> str:
    """Return a score with three digits, a dash where it is not defined.

    >>> format_score(0.70049), format_score(138.2), format_score(None)
    ('0.700', '138', '–')
    """
    return f"{value:#.3g}".removesuffix(".") if is_number(value) else "–"


def is_best(scores: Scores, forecast: str, metric: str) -> bool:
    """Tell whether a forecast has the best score of all: the lowest, or a coverage nearest to 80.

    >>> is_best({"ours": {"mase": 0.7}, "naive": {"mase": 1.0}}, "ours", "mase")
    True
    """
    known = [value for each in scores.values() if is_number(value := each.get(metric))]
    value = scores[forecast].get(metric)
    if not is_number(value):
        return False
    if metric == "coverage_80":
        return abs(value - 80) == min(abs(other - 80) for other in known)
    return value == min(known)


def is_number(value: float | None) -> TypeGuard[float]:
    """Tell whether a score is defined."""
    return value is not None and math.isfinite(value)
