"""What has moved in a feature, in its own units, for people: a mean, a rate, or shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lib.monitoring.drift_statistics import count_categories
from lib.monitoring.results import Result

_MOST_UNKNOWN = 3  # categories that are named


@dataclass(frozen=True)
class Shift(Result):
    """A feature before (the same season of the reference) and now.

    Attributes:
        kind: "number" (`before` and `now` are means), "event" (shares of days with it, counted by
            strength), or "category" (shares of days in `label`, the one that has moved most).
        before: NaN where unknown.
        now: NaN where unknown.
        label: of a category, "" otherwise.
        unknown: some categories that the reference does not have, the most frequent first.
    """

    kind: Literal["number", "event", "category"]
    before: float
    now: float
    label: str = ""
    unknown: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it in a few words.

        >>> Shift("event", 0.04, 0.15).text()
        'on 15% of days, was 4%'
        >>> Shift("category", 0.2, 0.55, "rain", ("snow",)).text()
        "'rain' on 55% of days, was 20%; unknown: 'snow'"
        """
        if self.kind == "number":
            return f"mean {self.now:.4g}, was {self.before:.4g}"
        shares = f"on {self.now:.0%} of days, was {self.before:.0%}"
        if self.kind == "event":
            return shares
        parts = [f"{self.label!r} {shares}"] if self.label else []
        if self.unknown:
            parts.append(f"unknown: {', '.join(map(repr, self.unknown))}")
        return "; ".join(parts)


def describe_numbers(now: np.ndarray, before: np.ndarray, *, is_event: bool) -> Shift:
    """Return the means of a number or an event. Both (n,), NaN where unknown."""
    return Shift("event" if is_event else "number", _mean(before), _mean(now))


def describe_categories(
    now: np.ndarray, before: np.ndarray, labels: tuple[str, ...], cells: np.ndarray
) -> Shift:
    """Return the category whose share has moved most, and those that are unknown.

    Args:
        now: (n,) positions in `labels`, their number for any other, NaN where unknown.
        before: (m,) the same.
        labels: of the reference.
        cells: (n,) the categories of `now` as they were sent.
    """
    other = np.array([str(cell) for cell in cells[now == len(labels)]], dtype=object)
    names, counts = np.unique(other, return_counts=True)
    unknown = tuple(str(name) for name in names[np.argsort(-counts, kind="stable")])
    totals = [count_categories(codes, len(labels)) for codes in (before, now)]
    if not labels or not all(total.sum() for total in totals):
        return Shift("category", np.nan, np.nan, "", unknown[:_MOST_UNKNOWN])
    shares = [total / total.sum() for total in totals]
    moved = int(np.abs(shares[1] - shares[0])[: len(labels)].argmax())
    was, is_now = (float(share[moved]) for share in shares)
    return Shift("category", was, is_now, labels[moved], unknown[:_MOST_UNKNOWN])


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
