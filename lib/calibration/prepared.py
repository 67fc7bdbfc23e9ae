"""The windows of a panel that a network learns from and is calibrated by, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib import features as ft
from lib.data import MIN_HISTORY_DAYS, Panel, is_constant

COVARIATES = ("fator_externo", "evento_especial")  # of the features
DATES_FROM = 500  # days of a series: with fewer, hardly a date has been seen twice
CALIBRATION_WINDOWS = 512  # of a network without training, which bounds its seconds
CALIBRATION_DAYS = 1460  # that they are from: every season, and nothing of decades ago


@dataclass(frozen=True)
class PreparedData:
    """Training and validation windows; no target of the one is a target of the other.

    Attributes:
        train: windows to learn from.
        validation: windows to stop and to calibrate by.
        factor_mean: mean of the factor in the training span, in its units.
        factor_std: its standard deviation, in its units.
        nonnegative: whether no value of the training span is below zero.
        nonnegative_series: names of the series of which that is true.
        effects: of the covariates on the series as they were observed, None without covariates.
            The windows are of a panel without them.
    """

    train: ft.Windows
    validation: ft.Windows
    factor_mean: float
    factor_std: float
    nonnegative: bool
    nonnegative_series: tuple[str, ...] = ()
    effects: ft.PanelEffects | None = None

    @property
    def observed(self) -> Panel:
        """The panel as it was observed, but for spikes."""
        return self.effects.panel if self.effects else self.train.panel

    @property
    def scaling(self) -> dict[str, float | None]:
        """Units of the factor and the lowest possible value, as a contract has them."""
        floor = 0.0 if self.nonnegative else None
        return {"factor_mean": self.factor_mean, "factor_std": self.factor_std, "floor": floor}

    @property
    def floored_series(self) -> tuple[str, ...]:
        """Names of the series that are never negative; none where that is true of all."""
        return () if self.nonnegative else self.nonnegative_series

    @property
    def has_covariates(self) -> bool:
        """Whether anything that may be unknown ahead has an effect; what dates do is no such."""
        return self.effects is not None and not self.effects.learned.always_known.all()


def prepare_zero_shot(panel: Panel, horizon: int) -> PreparedData:
    """Index the windows of a panel for the pretrained network as it is, which learns nothing.

    Units and floor are measured on all days. The validation windows, to calibrate by, are of the
    last CALIBRATION_DAYS, at most CALIBRATION_WINDOWS evenly spaced; there may be none. The
    training windows have their origins on all days, since nothing but their inputs is used.
    """
    panel, effects = remove_effects(panel, panel.dates.max(), DATES_FROM)
    learned = effects.learned if effects else None
    past_effects = learn_past(panel, panel.dates.max(), horizon, learned)
    features = ft.compute_features(panel)
    whole = ft.index_windows(panel, features, horizon, min_history=MIN_HISTORY_DAYS)
    recent = whole.origins[panel.dates[whole.origins] >= panel.dates.max() - CALIBRATION_DAYS]
    chosen = np.linspace(0, len(recent) - 1, min(len(recent), CALIBRATION_WINDOWS)).astype(int)
    validation = ft.Windows(panel, features, recent[chosen], horizon, past_effects=past_effects)
    if len(chosen):
        validation = without_constants(validation, panel.dates.max())
    every = np.arange(len(panel.dates))
    train = ft.Windows(panel, features, every, horizon, past_effects=past_effects)
    past = np.full(len(panel.dates), True)
    return replace(measure_units(panel, past, train, validation), effects=effects)


def remove_effects(
    panel: Panel, until: np.datetime64, dates_from: int
) -> tuple[Panel, ft.PanelEffects | None]:
    """Return the panel without the effects of covariates, and of dates, as learned up to a day."""
    learned = ft.fit_effects(panel, until, dates_from=dates_from)
    if learned is None:
        return panel, None
    effects = learned.apply(panel)
    return effects.remove(np.full(len(learned.bases), True)), effects


def learn_past(
    panel: Panel, until: np.datetime64, horizon: int, effects: ft.CovariateEffects | None
) -> ft.PastEffects | None:
    """Learn what past covariates say of the days ahead, of a panel without other effects."""
    additive = effects.traits.additive if effects else None
    return ft.fit_past_effects(panel, until, horizon, additive)


def measure_units(
    panel: Panel, past: np.ndarray, train: ft.Windows, validation: ft.Windows
) -> PreparedData:
    """Return the windows with units and floor as the `past` rows, (N,) bool, have them."""
    factor = panel.factor[past & np.isfinite(panel.factor)]
    values = panel.values[past & np.isfinite(panel.values)]
    return PreparedData(
        train=train,
        validation=validation,
        factor_mean=float(factor.mean()) if len(factor) else 0.0,
        factor_std=_factor_std(factor),
        nonnegative=bool((values >= 0).all()),
        nonnegative_series=_nonnegative_series(panel, past),
    )


def without_constants(windows: ft.Windows, until: np.datetime64) -> ft.Windows:
    """Leave out the windows of series that are constant up to a day, unless none is left."""
    panel = windows.panel
    past = np.where(panel.dates <= until, panel.values, np.nan)
    low = np.fmin.reduceat(past, panel.offsets[:-1])
    high = np.fmax.reduceat(past, panel.offsets[:-1])
    varying = ~is_constant(low, high)[panel.series_of(windows.origins)]
    if varying.all() or not varying.any():
        return windows
    return replace(windows, origins=windows.origins[varying])


def _nonnegative_series(panel: Panel, past: np.ndarray) -> tuple[str, ...]:
    """Return the names of series with values in the past and none below zero."""
    lowest = np.fmin.reduceat(np.where(past, panel.values, np.nan), panel.offsets[:-1])
    return tuple(panel.ids[s] for s in np.flatnonzero(lowest >= 0))


def _factor_std(factor: np.ndarray) -> float:
    """Return the standard deviation; 1 for a constant, whose rounding would be the unit."""
    std = float(factor.std()) if len(factor) else 0.0
    return std if std > 1e-9 * float(np.abs(factor).max(initial=0.0)) else 1.0
