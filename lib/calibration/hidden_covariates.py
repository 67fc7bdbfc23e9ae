"""Calibrate forecasts that do not know all covariates of the days ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lib import features as ft
from lib.calibration.prepared import COVARIATES, PreparedData

FactorsOf = Callable[[ft.Windows], np.ndarray]  # (horizon, levels) that calibrate windows


def calibrate_hidden(factors_of: FactorsOf, levels: int, data: PreparedData) -> np.ndarray:
    """Return by how much the widths of a forecast grow where a covariate is unknown ahead.

    Each covariate is hidden on its own, then all are. The factors are compared with those of
    complete forecasts on the same days, whose luck they share: nothing is shrunk. Without
    validation days widths do not grow. The date is never hidden.

    Args:
        factors_of: calibrates the widths of the network.
        levels: number of them.
        data: that the network was trained on, with K covariates.

    Returns:
        (K + 1, horizon, levels), the last where all are hidden.

    Raises:
        ValueError: the data has no covariates.
    """
    effects = data.effects
    if effects is None:
        raise ValueError("data: expected effects of covariates, got none")
    count = len(effects.names)
    windows = data.validation
    if not len(windows.origins):
        return np.ones((count + 1, windows.horizon, levels))
    always = effects.learned.always_known
    patterns = [*~np.eye(count, dtype=bool) | always, always]
    if all(visible.all() for visible in patterns):
        return np.ones((count + 1, windows.horizon, levels))
    complete = factors_of(windows)
    return np.stack(
        [
            np.ones_like(complete)
            if visible.all()
            else factors_of(_hide(windows, effects, visible)) / complete
            for visible in patterns
        ]
    )


def calibrate_without_past(factors_of: FactorsOf, levels: int, data: PreparedData) -> np.ndarray:
    """Return by how much widths grow where past covariates are unknown. (horizon, levels)."""
    windows = data.validation
    if not len(windows.origins):
        return np.ones((windows.horizon, levels))
    return factors_of(replace(windows, past_effects=None)) / factors_of(windows)


def _hide(windows: ft.Windows, effects: ft.PanelEffects, visible: np.ndarray) -> ft.Windows:
    """Return windows as they are where only some covariates, (K,), are known ahead."""
    panel = effects.remove(visible)
    hidden = {name for name, seen in zip(effects.names, visible, strict=True) if not seen}
    return replace(
        windows,
        panel=panel,
        features=ft.compute_features(panel),
        hidden=tuple(name for name in COVARIATES if name in hidden),
    )
