"""Years of synthetic days as a service would see them, with and without a change in them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.data.panel import Panel
from lib.data.series_tables import to_table
from lib.data.synthesis import synthesize
from lib.data.synthesis_spec import SynthesisSpec
from lib.features import engineering as ft
from lib.inference.served_model import forecast_panel
from lib.monitoring.actuals import join_actuals
from lib.monitoring.frames import Frames

DAYS = 1461
LIVE = 1096  # the first day that is not in the reference
# What changes for good, on all series on one day: dials of lib.data.synthesis.
CHANGES = {
    "level up": {"level": 300.0},
    "level down": {"level": 130.0},
    "stronger week": {"weekly": 0.45},
    "no week": {"weekly": 0.02},
    "noise": {"noise": 0.15},
    "factor turns round": {"factor": -0.12},
}


def year(seed, change="", day=LIVE + 150, series=16, *, heavy=False):
    """Four years of which the last is live; after `day` the dials of a change are turned.

    Each effect draws from its own child of the seed, so nothing else differs. The noise is added,
    normal and at times turbulent; of a `heavy` year it multiplies, with the tails of Student's t
    of three degrees of freedom.
    """
    spec = SynthesisSpec(n_series=series, n_days=DAYS)
    before = _draw(spec, seed, heavy)
    if not change:
        return before
    after = _draw(replace(spec, **CHANGES[change]), seed, heavy)
    late = np.tile(np.arange(DAYS) >= day, series)
    return replace(before, values=np.where(late, after.values, before.values))


def _draw(spec: SynthesisSpec, seed: int, heavy: bool) -> Panel:
    if not heavy:
        return synthesize(spec, seed)[0]
    panel, _ = synthesize(replace(spec, noise=0.0), seed)
    shocks = np.random.default_rng([seed, 3]).standard_t(3, size=len(panel.values)) / np.sqrt(3)
    return replace(panel, values=panel.values * np.exp(spec.noise * shocks))


def cut(panel: Panel, days: int) -> Panel:
    """The first days of each series."""
    keep = np.tile(np.arange(DAYS) < days, panel.n_series)
    return Panel(
        panel.ids,
        np.arange(panel.n_series + 1) * days,
        panel.dates[keep],
        panel.values[keep],
        panel.factor[keep],
        panel.event[keep],
    )


def feature_table(panel: Panel) -> pd.DataFrame:
    """Features of all days, as a reference or as a service keeps them."""
    table = pd.DataFrame(ft.compute_features(panel), columns=list(ft.FEATURES))
    table.insert(0, "date", panel.dates.astype("datetime64[s]"))
    names = np.repeat(np.array(panel.ids, dtype=object), np.diff(panel.offsets))
    table.insert(0, "series_id", names)
    return table


def served(forecaster, panel: Panel, days: np.ndarray) -> Frames:
    """Forecasts of every series made on the evening of each of `days` (row in the series)."""
    contract = forecaster.contract
    origins = (panel.offsets[:-1, None] + days).ravel()
    quantiles = forecast_panel(forecaster, panel, origins)
    horizon = np.tile(np.arange(1, contract.horizon + 1), len(origins))
    row = np.repeat(np.arange(len(origins)), contract.horizon)
    series = panel.series_of(origins)
    forecasts = pd.DataFrame(
        {
            "series_id": pd.Categorical.from_codes(series[row], list(panel.ids)),
            "date": (panel.dates[origins][row] + horizon).astype("datetime64[s]"),
            "horizon": horizon,
            "model_version": 1,
        }
    )
    levels = [f"q{level:g}" for level in contract.quantiles]
    values = quantiles.reshape(-1, len(levels)).T
    forecasts = forecasts.assign(**dict(zip(levels, values, strict=True)))
    history = to_table(panel)[["series_id", "date", "value"]]
    return Frames(join_actuals(forecasts, history), history, feature_table(panel))
