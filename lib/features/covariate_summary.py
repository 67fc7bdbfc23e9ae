"""A first look at covariates: how much is known of each, and how it moves with the series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data import Panel
from lib.features.covariate_bases import known_covariates
from lib.features.local_deviations import centred_mean, deviations
from lib.features.weekly_grid import NEAR_DAYS, WeeklyGrid

LAGS = range(-3, 4)  # days before (positive) and after a covariate's day
PAST_LAGS = range(1, 15)  # of what is known of the past only
SUMMARY_SERIES = 200  # that correlations are measured on, evenly spaced


def summarize_covariates(panel: Panel) -> pd.DataFrame:
    """Describe the covariates of a panel, one row each.

    The correlation is that of deviations from the local level and week, so that a season which
    both share does not count. It is given at the lag where it is largest.

    Returns:
        Columns covariate, role, kind, `known_%` of the days, correlation, and lag in days by which
        the series follows the covariate, at least 1 for past covariates; the last two are missing
        for categories, for what never varies, and for static covariates.

    Examples:
        >>> from lib.data import SynthesisSpec, synthesize
        >>> panel, _ = synthesize(SynthesisSpec(n_series=2, n_days=200), seed=1)
        >>> summarize_covariates(panel)["covariate"].tolist()
        ['fator_externo', 'evento_especial']
    """
    known = known_covariates(panel)
    others = [c for c in panel.covariates if c.role != "known"]
    count = min(panel.n_series, SUMMARY_SERIES)
    series = np.linspace(0, panel.n_series - 1, count).astype(int)
    grid = WeeklyGrid.of(panel, series, np.full(len(panel.values), True))
    values = grid.gather(panel.values)
    values[(values < 0).any(axis=1)] -= np.nanmin(values, initial=0.0)
    moved = deviations(values, additive=False)
    rows = []
    for covariate in (*known.values(), *others):
        correlation, lag = np.nan, None
        if covariate.role != "static" and covariate.kind in ("number", "event"):
            lags = PAST_LAGS if covariate.role == "past" else LAGS
            gathered = grid.gather(covariate.values)
            local = gathered - centred_mean(gathered, NEAR_DAYS)
            found = {lag: _correlate(local, moved, lag) for lag in lags}
            if any(np.isfinite(value) for value in found.values()):
                lag = max(found, key=lambda days: np.nan_to_num(abs(found[days])))
                correlation = found[lag]
        rows.append(
            {
                "covariate": covariate.name,
                "role": covariate.role,
                "kind": covariate.kind,
                "known_%": 100 * float(np.isfinite(covariate.values).mean()),
                "correlation": correlation,
                "lag": lag,
            }
        )
    return pd.DataFrame(
        rows, columns=["covariate", "role", "kind", "known_%", "correlation", "lag"]
    )


def _correlate(covariate: np.ndarray, moved: np.ndarray, lag: int) -> float:
    """Return the correlation of (S, T) deviations `lag` days after a covariate."""
    days = covariate.shape[1]
    early, late = slice(max(-lag, 0), days - max(lag, 0)), slice(max(lag, 0), days - max(-lag, 0))
    x, y = covariate[:, early].ravel(), moved[:, late].ravel()
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 2 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return float("nan")
    return float(np.corrcoef(x[both], y[both])[0, 1])
