"""Basis functions of covariates: the columns of the regression that their effects come from.

A number acts by a broken line (hinges at its quantiles), by its value of the day before, and
otherwise at weekends; it counts as at most, or at least, what was learned from. An event acts on
its day and the days around it. A category has an effect of each label. Named holidays share an
effect and have one of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lib.data import Covariate, Panel, weekday_of
from lib.features.engineering import position_in_series

SATURDAY = 5
FACTOR, EVENT = "fator_externo", "evento_especial"
DATE = "date"  # kind of what is known of every day: `lib.features.year_effects`


@dataclass(frozen=True)
class Basis:
    """The basis functions of one covariate, in the units and range of the days learned from.

    Attributes:
        name: of the covariate.
        kind: of the covariate.
        labels: of a category, in the order of the columns.
        rest: whether all other labels of a category share one more column; else they are unknown.
        low: smallest value of a number that counts.
        high: largest one.
        mean: of a number.
        unit: its standard deviation.
        knots: of the broken line.
        relative: whether the number is taken in relation to the median of its series: "ratio" as
            the logarithm of the ratio, "difference", or "" not at all.
        reach: days before and after an event or a holiday on which it acts; artifacts that do not
            say it have one.
    """

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    unit: float = 1.0
    knots: tuple[float, ...] = ()
    relative: str = ""
    reach: int = 1
    rest: bool = False

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Basis:
        """Read what `to_dict` returns."""
        tuples: dict[str, Any] = {name: tuple(values[name]) for name in ("labels", "knots")}
        return cls(**{**values, **tuples})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for JSON."""
        return asdict(self)

    @property
    def groups(self) -> list[str]:
        """Name the group of each column; the columns of a group are shrunk alike."""
        return [group for group, _ in self._columns(_Days.none())]

    def columns(
        self, panel: Panel, covariate: Covariate, references: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the basis functions of every row.

        Args:
            panel: N rows.
            covariate: of the same name and kind.
            references: (S,) medians of the number in each series, where it is relative to them.

        Returns:
            (N, columns) float64, the first column linear in the number or event, and (N,) whether
            the covariate is known.
        """
        values = covariate.values
        if self.kind in ("category", "holiday"):
            values = _recode(covariate, self.labels, rest=self.rest)
        elif self.kind == "number":
            values = np.clip(self.transform(panel, values, references), self.low, self.high)
        days = _Days(values, position_in_series(panel), weekday_of(panel.dates) >= SATURDAY)
        stacked = [np.nan_to_num(column) for _, column in self._columns(days)]
        return np.stack(stacked, axis=1), np.isfinite(values)

    def transform(self, panel: Panel, values: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Return a number in relation to its series, before it is bounded. (N,)."""
        if not self.relative:
            return values
        reference = np.repeat(references, np.diff(panel.offsets))
        if self.relative == "difference":
            return values - reference
        return np.log(np.maximum(values, 1e-12) / reference)

    def distance(self, panel: Panel, values: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Return how far a number is beyond the learned range, in widths of it. (N,), 0 within."""
        found = self.transform(panel, values, references)
        beyond = np.maximum(self.low - found, found - self.high)
        return np.maximum(beyond, 0.0) / max(self.high - self.low, 1e-12)

    def _columns(self, days: _Days) -> Iterator[tuple[str, np.ndarray]]:
        if self.kind == "number":
            yield from self._number_columns(days)
        elif self.kind == "event":
            yield self.name, days.values
            yield f"{self.name}:around", days.before(1)
            yield f"{self.name}:around", days.before(-1)
            for far in range(2, self.reach + 1):
                yield f"{self.name}:near", days.before(far)
                yield f"{self.name}:near", days.before(-far)
            yield f"{self.name}:weekend", days.values * days.weekend
            for knot in self.knots:  # a group each
                yield f"{self.name}:above {knot:g}", (days.values > knot).astype(np.float64)
        elif self.kind != DATE:  # the effects of dates are in a table of their own
            yield from self._label_columns(days)

    def _number_columns(self, days: _Days) -> Iterator[tuple[str, np.ndarray]]:
        linear = (days.values - self.mean) / self.unit
        yield self.name, linear
        for knot in self.knots:
            yield f"{self.name}:curve", np.maximum(days.values - knot, 0) / self.unit
        before = days.before(1)
        before = np.where(np.isfinite(before), before, days.values)
        yield f"{self.name}:before", (before - self.mean) / self.unit
        yield f"{self.name}:weekend", linear * days.weekend

    def _label_columns(self, days: _Days) -> Iterator[tuple[str, np.ndarray]]:
        count = len(self.labels) + self.rest
        flags = [(days.values == code).astype(np.float64) for code in range(count)]
        if self.kind == "category":
            for flag in flags:
                yield self.name, flag
                yield f"{self.name}:weekend", flag * days.weekend
            return
        holiday = np.asarray(days.values >= 0, dtype=np.float64)
        yield self.name, holiday
        yield f"{self.name}:around", days.before(1, holiday)
        yield f"{self.name}:around", days.before(-1, holiday)
        for far in range(2, self.reach + 1):
            yield f"{self.name}:near", days.before(far, holiday)
            yield f"{self.name}:near", days.before(-far, holiday)
        yield f"{self.name}:weekend", holiday * days.weekend
        for flag in flags:
            yield f"{self.name}:each", flag
            yield f"{self.name}:each:around", days.before(1, flag)
            yield f"{self.name}:each:around", days.before(-1, flag)


@dataclass(frozen=True)
class _Days:
    """One covariate on the rows of a panel.

    Attributes:
        values: (N,), NaN where unknown.
        position: (N,) number of each row in its series.
        weekend: (N,) bool.
    """

    values: np.ndarray
    position: np.ndarray
    weekend: np.ndarray

    @classmethod
    def none(cls) -> _Days:
        return cls(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=bool))

    def before(self, days: int, column: np.ndarray | None = None) -> np.ndarray:
        """Return a column `days` days before each row (a negative number: after it). (N,)."""
        column = self.values if column is None else column
        shifted = np.full_like(column, np.nan)
        if days > 0:
            shifted[days:] = column[:-days]
            shifted[self.position < days] = np.nan
        elif len(column):
            shifted[:days] = column[-days:]
            shifted[:days][self.position[-days:] < -days] = np.nan
        return shifted


def known_covariates(panel: Panel) -> dict[str, Covariate]:
    """Return the known-future covariates of a panel by name, factor and event among them.

    One that is nowhere known is left out.
    """
    canonical = (
        Covariate(FACTOR, "known", "number", panel.factor),
        Covariate(EVENT, "known", "event", panel.event),
    )
    own = (c for c in panel.covariates if c.role == "known")
    return {c.name: c for c in (*canonical, *own) if np.isfinite(c.values).any()}


def series_medians(panel: Panel, values: np.ndarray) -> np.ndarray:
    """Return the median of each series over the rows that are known. (S,), NaN without any."""
    medians = np.full(panel.n_series, np.nan)
    for s in range(panel.n_series):
        known = values[panel.series(s)]
        known = known[np.isfinite(known)]
        if len(known):
            medians[s] = np.median(known)
    return medians


def _recode(covariate: Covariate, labels: tuple[str, ...], *, rest: bool) -> np.ndarray:
    """Return categories as positions in `labels`: -1 for an ordinary day, NaN where unknown.

    A label that was never learned is unknown, or one of the rest; of a holiday, it is a holiday
    without a name that was seen, which has the common effect.
    """
    places = {label: float(code) for code, label in enumerate(labels)}
    unseen = float(len(labels)) if rest or covariate.kind == "holiday" else np.nan
    table = [places.get(label, unseen) for label in covariate.labels]
    if covariate.kind == "holiday":
        table = [-1.0 if not label else t for label, t in zip(covariate.labels, table, strict=True)]
    codes = np.where(np.isnan(covariate.values), len(table), covariate.values).astype(np.int64)
    return np.array([*table, np.nan])[codes]
