"""What covariates do to a series, in closed form: taken off before a network, added after it.

The network forecasts the series without the effects that are known for the days ahead, and these
are then put back on its quantiles. An effect that is not known ahead stays in the series.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace

import numpy as np

from lib.data import Panel, take_series
from lib.features.covariate_bases import DATE, Basis, known_covariates
from lib.features.engineering import position_in_series, rolling_mean
from lib.features.series_traits import SeriesTraits
from lib.features.windows import values_at
from lib.features.year_effects import YearEffects

LARGEST = 3.0  # effect, as a logarithm, or in units of the series
RECENT_DAYS = 28  # whose mean effect stands for an unknown one, and is what lasts of an effect
MULTIPLY, ADD = 0, 1
STRANGE_DISTANCE = 0.5  # beyond the learned range, in widths of it: degrees Fahrenheit for Celsius
MIN_STRANGE_DAYS = 7  # ahead: a day may be extreme
CHUNK_ROWS = 200_000  # that effects are computed on at a time


@dataclass(frozen=True)
class CovariateEffects:
    """Effects of K covariates, learned from S series.

    Attributes:
        bases: of the covariates.
        weights: (2, p) of the columns of all bases, where effects multiply and where they add.
        centres: (2, p) of the columns, where the effect is zero.
        ids: names of the series.
        traits: of the series.
        lasting: (K,) share of the mean effect of the last weeks that counts, 0 to 1. An effect is
            learned from days that differ from those around them; a price that rises for years need
            not do to the level what a price cut does to a day.
        year: effects of dates, which have the last basis.
    """

    bases: tuple[Basis, ...]
    weights: np.ndarray
    centres: np.ndarray
    ids: tuple[str, ...]
    traits: SeriesTraits
    lasting: np.ndarray
    year: YearEffects | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(basis.name for basis in self.bases)

    @property
    def always_known(self) -> np.ndarray:
        """Which of them, (K,) bool, are known of every day."""
        return np.array([basis.kind == DATE for basis in self.bases], dtype=bool)

    def apply(self, panel: Panel) -> PanelEffects:
        """Compute the effects on the rows of a panel, which may have other series and days."""
        count = -(-len(panel.values) // CHUNK_ROWS)
        if count <= 1 or panel.n_series == 1:
            return self._apply(panel)
        # Part by part: the columns of all rows at once would take ten times the memory.
        chunks = np.array_split(np.arange(panel.n_series), min(count, panel.n_series))
        parts = [self._apply(take_series(panel, chunk)) for chunk in chunks]
        names = ("effects", "linear", "known", "units")
        joined = {n: np.concatenate([vars(part)[n] for part in parts], axis=-1) for n in names}
        references = np.concatenate([part.references for part in parts])
        return PanelEffects(self, panel, **joined, references=references)

    def _apply(self, panel: Panel) -> PanelEffects:
        traits = self._traits_of(panel)
        covariates = known_covariates(panel)
        effects = np.zeros((len(self.bases), len(panel.values)), dtype=np.float32)
        linear, known = np.zeros_like(effects), np.zeros(effects.shape, dtype=bool)
        for k, basis in enumerate(self.bases):
            if basis.name not in covariates:
                continue
            covariate = covariates[basis.name]
            columns, known[k] = basis.columns(panel, covariate, traits.references[:, k])
            effects[k], linear[k] = self._effect(k, columns, traits, panel)
            if not known[k].all():
                effects[k] = _fill_unknown(effects[k], known[k], panel)
            if self.lasting[k] < 1:
                recent, _ = rolling_mean(
                    effects[k].astype(np.float64), position_in_series(panel), RECENT_DAYS
                )
                effects[k] -= (1 - self.lasting[k]) * recent
        if self.year:
            places = self.year.find(self.find(panel), traits.additive)
            places = np.repeat(places, np.diff(panel.offsets))
            effects[-1], known[-1] = self.year.at(panel.dates, places), True
        units = np.where(traits.additive, traits.units, np.nan)
        units = np.repeat(units, np.diff(panel.offsets))
        return PanelEffects(self, panel, effects, linear, known, units, traits.references)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that `from_arrays` reads; none holds objects."""
        text = json.dumps({"bases": [b.to_dict() for b in self.bases], "ids": list(self.ids)})
        traits = {f.name: getattr(self.traits, f.name) for f in fields(SeriesTraits)}
        settings = np.frombuffer(text.encode(), dtype=np.uint8)
        own = {name: getattr(self, name) for name in ("weights", "centres", "lasting")}
        year = vars(self.year) if self.year else {}
        return traits | own | year | {"settings": settings}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> CovariateEffects:
        """Read what `to_arrays` returns."""
        settings = json.loads(arrays["settings"].tobytes().decode())
        dates = (arrays["fixed"], arrays["floating"]) if "fixed" in arrays else None
        return cls(
            bases=tuple(Basis.from_dict(values) for values in settings["bases"]),
            weights=arrays["weights"],
            centres=arrays["centres"],
            ids=tuple(settings["ids"]),
            traits=SeriesTraits(**{f.name: arrays[f.name] for f in fields(SeriesTraits)}),
            lasting=arrays["lasting"],
            year=YearEffects.of_rows(*dates, len(settings["ids"])) if dates else None,
        )

    def _effect(
        self, k: int, columns: np.ndarray, traits: SeriesTraits, panel: Panel
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the effect of a covariate on each row, and its first column. Two (N,)."""
        place = self.places[k]
        length = np.diff(panel.offsets)
        effect = np.empty(len(columns))
        linear = np.empty(len(columns))
        additive = np.repeat(traits.additive, length)
        for mode in (MULTIPLY, ADD):
            rows = additive == bool(mode)
            if rows.any():
                some = np.ascontiguousarray(columns) if rows.all() else columns[rows]
                centred = some - self.centres[mode, place]
                effect[rows], linear[rows] = centred @ self.weights[mode, place], centred[:, 0]
        gain, slope = np.repeat(traits.gains[:, k], length), np.repeat(traits.slopes[:, k], length)
        return effect * gain + linear * slope, linear

    @property
    def places(self) -> list[slice]:
        """Where the columns of each basis are among all."""
        ends = np.cumsum([len(basis.groups) for basis in self.bases])
        return [slice(e - len(b.groups), e) for b, e in zip(self.bases, ends, strict=True)]

    def find(self, panel: Panel) -> np.ndarray:
        """Return the numbers of the series of a panel, -1 of a new one."""
        places = {name: s for s, name in enumerate(self.ids)}
        return np.array([places.get(name, -1) for name in panel.ids])

    def _traits_of(self, panel: Panel) -> SeriesTraits:
        """Return the traits of the series of a panel; of new ones, those of its own days."""
        found = self.find(panel)
        learned = {f.name: getattr(self.traits, f.name)[found] for f in fields(SeriesTraits)}
        if (found >= 0).all():
            return SeriesTraits(**learned)
        measured = SeriesTraits.measure(panel, self.bases, np.isfinite(panel.values))
        new = found < 0
        for name, values in learned.items():
            values[new] = getattr(measured, name)[new]
        return SeriesTraits(**learned)


@dataclass(frozen=True)
class PanelEffects:
    """Effects on the N rows of a panel.

    Attributes:
        learned: what is applied.
        panel: as it is observed.
        effects: (K, N) float32, logarithms or units.
        linear: (K, N) float32, the covariates without unit, where they are numbers or events.
        known: (K, N) whether the covariate is known; if not, its effect is a recent mean.
        units: (N,) of additive effects, NaN where effects multiply.
        references: (S, K) medians of the covariates that are numbers.
    """

    learned: CovariateEffects
    panel: Panel
    effects: np.ndarray
    linear: np.ndarray
    known: np.ndarray
    units: np.ndarray
    references: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K covariates."""
        return self.learned.names

    def known_ahead(self, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Return which covariates are known on the days after each origin. (n, horizon, K).

        One that seems to be in another unit on these days counts as unknown.
        """
        steps = np.arange(1, horizon + 1)
        known = [values_at(self.panel, row, origins, steps) == 1 for row in self.known]
        distances = self.distances_ahead(origins, horizon)
        for k, distance in distances.items():
            known[k] &= ~is_another_unit(distance)[:, None]
        return np.stack(known, axis=-1) | self.learned.always_known

    def ahead(self, visible: np.ndarray, origins: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the effects of the visible covariates `steps` (D,) days after each origin.

        Returns:
            (V, n, D), 0 where unknown.
        """
        rows = self.effects[visible].astype(np.float64)
        found = np.nan_to_num([values_at(self.panel, row, origins, steps) for row in rows])
        if self.learned.year and visible[-1]:
            dates = self.panel.dates[origins][:, None] + steps
            numbers = self.learned.find(self.panel)[self.panel.series_of(origins)]
            places = self.learned.year.find(numbers, np.isfinite(self.units[origins]))
            found[-1] = self.learned.year.at(dates, places[:, None])
        return found

    def distances_ahead(self, origins: np.ndarray, horizon: int) -> dict[int, np.ndarray]:
        """Return how far numbers are beyond their learned range, as `Basis.distance` does.

        Returns:
            (n, horizon), NaN where unknown, by the number of the covariate.
        """
        covariates, steps = known_covariates(self.panel), np.arange(1, horizon + 1)
        found = {}
        for k, basis in enumerate(self.learned.bases):
            if basis.kind == "number" and basis.name in covariates:
                values = covariates[basis.name].values
                distance = basis.distance(self.panel, values, self.references[:, k])
                found[k] = values_at(self.panel, distance, origins, steps)
        return found

    def remove(self, visible: np.ndarray) -> Panel:
        """Return the panel without the effects of the visible covariates, (K,) bool."""
        if not visible.any():
            return self.panel
        effect = self._total(visible)
        values = self.panel.values
        removed = np.where(
            np.isnan(self.units), values * np.exp(-effect), values - self.units * effect
        )
        return replace(self.panel, values=removed)

    def restore(
        self, quantiles: np.ndarray, origins: np.ndarray, visible: np.ndarray
    ) -> np.ndarray:
        """Put the effects of the days ahead back.

        Args:
            quantiles: (n, horizon, levels) of the panel that `remove` returns.
            origins: (n,) rows.
            visible: (K,) bool.

        Returns:
            The same shape.
        """
        if not visible.any():
            return quantiles
        steps = np.arange(1, quantiles.shape[1] + 1)
        effect = np.clip(self.ahead(visible, origins, steps).sum(axis=0), -LARGEST, LARGEST)
        units = self.units[origins][:, None, None]
        effect = effect[..., None]
        return np.where(np.isnan(units), quantiles * np.exp(effect), quantiles + units * effect)

    def _total(self, visible: np.ndarray) -> np.ndarray:
        total = self.effects[visible].sum(axis=0, dtype=np.float64)
        return np.clip(total, -LARGEST, LARGEST)


def is_another_unit(distance: np.ndarray) -> np.ndarray:
    """Tell whether a number is far outside its learned range on all days ahead.

    Args:
        distance: (n, horizon) as `PanelEffects.distances_ahead` returns it.

    Returns:
        (n,) bool.
    """
    known = np.isfinite(distance)
    count = known.sum(axis=1)
    mean = np.nansum(distance, axis=1) / np.maximum(count, 1)
    everywhere = np.where(known, distance > 0, True).all(axis=1)
    return (count >= MIN_STRANGE_DAYS) & everywhere & (mean > STRANGE_DISTANCE)


def _fill_unknown(effect: np.ndarray, known: np.ndarray, panel: Panel) -> np.ndarray:
    """Return the effect with the mean of the days known last where it is unknown. (N,)."""
    position = position_in_series(panel)
    recent, _ = rolling_mean(np.where(known, effect, np.nan), position, RECENT_DAYS)
    rows = np.where(known, np.arange(len(recent)), -1)
    last = np.maximum.accumulate(rows)
    own = last >= np.arange(len(recent)) - position
    return np.where(known, effect, np.where(own, recent[np.maximum(last, 0)], 0.0))
