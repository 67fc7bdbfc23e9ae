"""Small panels for the tests; every draw from a seed. Nothing here needs torch."""

from dataclasses import replace

import numpy as np

from lib.data.panel import Panel
from lib.data.splits import DataSplit, split_days
from lib.settings import ROOT

DATA = ROOT / "tests" / "data"
TINY_MODEL = DATA / "tiny_model"
TINY_FORECAST = DATA / "tiny_forecast.json"
SEED_SERIES = ROOT.parent / "shared" / "data" / "seed_series.csv"
FIRST = np.datetime64("2022-01-01", "D")


def panel_of(*columns, factor=None, event=None, first=FIRST):
    """A panel of the given values, one array a series; factor and event the same, or unknown."""
    lengths = [len(column) for column in columns]
    unknown = [np.full(n, np.nan) for n in lengths]
    start = np.array(first, dtype="datetime64[D]")  # a string or a day
    dates = [start + np.arange(n) for n in lengths]
    return Panel(
        ids=tuple(f"s{i}" for i in range(len(columns))),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        dates=np.concatenate(dates),
        values=np.concatenate(columns).astype(np.float64),
        factor=np.concatenate(unknown if factor is None else factor).astype(np.float64),
        event=np.concatenate(unknown if event is None else event).astype(np.float64),
    )


def lively_panel(days=300, series=2, seed=0, missing=0.05, level=100.0, covariates=True):
    """Weekly season, slow trend, noise, missing days; a factor and events that do something."""
    rng = np.random.default_rng(seed)
    t = np.arange(days)
    values, factors, events = [], [], []
    for _ in range(series):
        factor, event = rng.normal(5, 2, days), (rng.random(days) < 0.03).astype(float)
        value = level + 10 * np.sin(2 * np.pi * t / 7) + 0.05 * t + rng.normal(0, 3, days)
        value += (2 * (factor - 5) + 8 * event) * covariates
        value[rng.random(days) < missing] = np.nan
        values.append(value)
        factors.append(factor)
        events.append(event)
    if not covariates:
        return panel_of(*values)
    return panel_of(*values, factor=factors, event=events)


def split_of(panel, horizon=7) -> DataSplit:
    return split_days(panel, horizon=horizon, cutoffs=3, step=7, validation_days=28)


def changed_after(panel, day):
    """The panel with every value, factor and event after a day made another."""
    late = panel.dates > day
    return replace(
        panel,
        values=np.where(late, 1e4 - 3 * panel.values, panel.values),
        factor=np.where(late, -panel.factor, panel.factor),
        event=np.where(late, 1 - panel.event, panel.event),
    )


def begun(panel, origins, known):
    """Return the panel in which the series of the origins begin `known` days before them."""
    rows = np.arange(len(panel.values))
    first = np.full(panel.n_series, 0)
    first[panel.series_of(origins)] = origins - known + 1
    return replace(
        panel, values=np.where(rows < first[panel.series_of(rows)], np.nan, panel.values)
    )
