"""A model that serves, for tests of checks: its settings and its forecasts."""

from contextlib import nullcontext

import numpy as np

from lib.monitoring import job
from lib.settings import Settings
from tests.lib.monitoring.test_report import actual_row, days_before, forecast, write
from tests.panels import TINY_MODEL


def settings_of(tmp_path, monkeypatch):
    """Return the settings of a service whose production model is the tiny one."""
    monkeypatch.setattr(job, "_production_model", lambda settings: nullcontext((1, TINY_MODEL)))
    return Settings(
        var_dir=tmp_path,
        database_url=f"sqlite:///{tmp_path}/state.db",
        max_mae=20.0,
        retrain_after_days=0,
        retrain_after_samples=0,
    )


def write_forecasts(store, *, error):
    """Write sixty days of two series, and forecasts from each evening that miss by `error`."""
    rng = np.random.default_rng(0)
    days = [days_before(n) for n in range(60)]
    for series in ("a", "b"):
        values = dict(zip(days, 100 + rng.normal(0, 1, len(days)), strict=True))
        made = [
            forecast(d, series, days=1, value=values[d] + error, features=None) for d in days[:30]
        ]
        write(store, made, [actual_row(value, day, series) for day, value in values.items()])
