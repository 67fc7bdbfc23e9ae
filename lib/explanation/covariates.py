"""Effects of covariates on the explained days, beside those that are usual for the series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel
from lib.features import DAY_OF_YEAR, FEATURES, PanelEffects, PastEffects

Value = str | float | None


@dataclass(frozen=True)
class DayEffects:
    """Effects of V covariates, known ahead or of the past, on D explained days.

    Attributes:
        names: of the covariates.
        effects: (V, D) logarithms, or in units of the series.
        usual: (V, D) means over the days that the explanation compares with.
        unit: of effects that add, in the unit of the series; NaN where they multiply.
        values: of the covariates, where a single day is explained: on that day, or on the last
            known one.
    """

    names: tuple[str, ...]
    effects: np.ndarray
    usual: np.ndarray
    unit: float
    values: tuple[Value, ...]

    @property
    def additive(self) -> bool:
        """Whether effects add instead of multiply."""
        return bool(np.isfinite(self.unit))

    @property
    def changes(self) -> np.ndarray:
        """What each covariate changes when its effect takes the place of the usual one. (V, D)."""
        change = self.effects - self.usual
        return self.unit * change if self.additive else np.exp(change)

    @property
    def players(self) -> list[str]:
        """Names of the players of their own: all but features, which carry their effect as well."""
        return [name for name in self.names if name not in FEATURES]

    def carriers(self, features: tuple[int, ...], first: int, step: int) -> np.ndarray:
        """Return the player of each covariate. (V,).

        Args:
            features: (11,) players of the features.
            first: the player of the first covariate that is no feature.
            step: from one of these to the next.
        """
        own = iter(range(first, first + step * len(self.players), step))
        return np.array(
            [features[FEATURES.index(n)] if n in FEATURES else next(own) for n in self.names],
            dtype=np.int64,
        )

    def put_back(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Put effects back into values: those of the day where present, else the usual ones.

        Args:
            values: (n, D) forecasts without effects.
            present: (n, V) bool.

        Returns:
            (n, D).
        """
        effect = self.usual.sum(axis=0) + present @ (self.effects - self.usual)
        return values + self.unit * effect if self.additive else values * np.exp(effect)


def measure_effects(
    applied: PanelEffects,
    origin: int,
    past: PanelEffects,
    background: np.ndarray,
    visible: np.ndarray,
    steps: np.ndarray,
) -> DayEffects:
    """Measure the effects on explained days, and the usual ones on those of background windows.

    Args:
        applied: to the panel that is forecast.
        origin: its row of the last known day.
        past: applied to the panel of the background windows.
        background: (n,) origins there; without any, usual is no effect.
        visible: (K,) bool, the covariates that are known ahead.
        steps: (D,) explained days ahead.
    """
    panel = applied.panel
    names = [name for name, shown in zip(applied.names, visible, strict=True) if shown]
    single = origin + int(steps[0]) if len(steps) == 1 else None
    effects = _effects_on(applied, visible, np.array([origin]), steps)[:, 0]
    usual = np.zeros_like(effects)
    if len(background):
        usual = _effects_on(past, visible, background, steps).mean(axis=1)
    return DayEffects(
        names=tuple(names),
        effects=effects,
        usual=usual,
        unit=float(applied.units[origin]),
        values=tuple(None if single is None else _value_of(panel, n, single) for n in names),
    )


def add_past_effects(
    effects: DayEffects | None,
    past_effects: PastEffects,
    panel: Panel,
    origin: int,
    past: Panel,
    background: np.ndarray,
    steps: np.ndarray,
) -> DayEffects:
    """Add what past covariates say of the explained days, and what they usually say.

    Args:
        effects: of known covariates, None without any.
        past_effects: of the model.
        panel: that is forecast, without the effects of known covariates.
        origin: its row of the last known day.
        past: the panel of the background windows.
        background: (n,) origins there; without any, usual is no effect.
        steps: (D,) explained days ahead.
    """
    longest = int(steps.max())
    each, units = past_effects.measure(panel, np.array([origin]), longest)
    usual = np.zeros((len(each), len(steps)))
    if len(background):
        before, before_units = past_effects.measure(past, background, longest)
        if np.isfinite(units[0]):
            before = before * (before_units / units[0])[:, None]
        usual = before[..., steps - 1].mean(axis=1)
    found = DayEffects(
        names=past_effects.names,
        effects=each[:, 0, steps - 1],
        usual=usual,
        unit=float(units[0]),
        values=tuple(
            _value_of(panel, name, origin) if len(steps) == 1 else None
            for name in past_effects.names
        ),
    )
    if effects is None or effects.additive != found.additive:  # it has just become negative
        return effects or found
    scale = found.unit / effects.unit if found.additive else 1.0
    return DayEffects(
        names=(*effects.names, *found.names),
        effects=np.concatenate([effects.effects, scale * found.effects]),
        usual=np.concatenate([effects.usual, scale * found.usual]),
        unit=effects.unit,
        values=(*effects.values, *found.values),
    )


def _effects_on(
    applied: PanelEffects, visible: np.ndarray, origins: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """Return the effects on the days ahead, (V, n, D); the limit of their sum cuts all alike."""
    effects = applied.ahead(visible, origins, steps)
    total = effects.sum(axis=0)
    units = applied.units[origins][:, None]
    multiply = np.isnan(units)
    # What a forecast of 1 (or of 0, where effects add) becomes says how much of the sum counts.
    blank = np.where(multiply, 1.0, 0.0)[..., None] * np.ones((1, int(steps.max()), 1))
    restored = applied.restore(blank, origins, visible)[:, steps - 1, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        limited = np.where(multiply, np.log(restored), restored / units)
    counts = np.divide(limited, total, out=np.ones_like(total), where=np.abs(total) > 1e-9)
    return effects * counts


def _value_of(panel: Panel, name: str, row: int) -> Value:
    """Return the value of a covariate on a day: a number, the label of a category, or None."""
    if name == DAY_OF_YEAR:
        return str(panel.dates[0] + row)
    columns = dict(
        zip(("fator_externo", "evento_especial"), (panel.factor, panel.event), strict=True)
    )
    own = next((c for c in panel.covariates if c.name == name), None)
    value = float((columns[name] if own is None else own.values)[row])
    if np.isnan(value):
        return None
    return own.labels[int(value)] if own is not None and own.labels else value
