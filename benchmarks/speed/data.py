"""Measure rows a second of features, synthesis and batch forecasting, and how memory grows."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.speed.paired import Row, paired, row, seconds_of
from lib import features as ft
from lib.data import Panel, SynthesisSpec, split_days, synthesize, to_table
from lib.inference import ServedModel, forecast_panel


def walk_panel(series: int, days: int, seed: int = 0) -> Panel:
    """Return weekly random walks, which are quick to make in any number."""
    rng = np.random.default_rng(seed)
    week = 10 * np.sin(2 * np.pi * np.arange(days) / 7)
    values = 100 + week + rng.normal(0, 1, (series, days)).cumsum(axis=1)
    dates = np.datetime64("2020-01-01") + np.arange(days)
    return Panel(
        ids=tuple(f"series_{i}" for i in range(series)),
        offsets=np.arange(series + 1) * days,
        dates=np.tile(dates, series),
        values=values.ravel(),
        factor=rng.normal(0, 1, series * days),
        event=(rng.random(series * days) < 0.02).astype(float),
    )


def with_pandas(panel: Panel) -> pd.DataFrame:
    """Compute the eleven features as they are usually written."""
    table = to_table(panel)
    days = table["date"].dt
    values = table.groupby("series_id")["value"]
    return pd.DataFrame(
        {
            "dia_semana_sin": np.sin(2 * np.pi * days.dayofweek / 7),
            "dia_semana_cos": np.cos(2 * np.pi * days.dayofweek / 7),
            "mes_sin": np.sin(2 * np.pi * days.month / 12),
            "mes_cos": np.cos(2 * np.pi * days.month / 12),
            "media_movel_7": values.transform(lambda v: v.rolling(7, min_periods=1).mean()),
            "media_movel_30": values.transform(lambda v: v.rolling(30, min_periods=1).mean()),
            "desvio_movel_7": values.transform(lambda v: v.rolling(7, min_periods=2).std()),
            "lag_1": values.shift(1),
            "lag_7": values.shift(7),
            "fator_externo": table["fator_externo"],
            "evento_especial": table["evento_especial"],
        }
    )


def features_rows(rounds: int) -> list[Row]:
    panel = walk_panel(500, 1000)
    rows = len(panel.values)
    ours, peers = paired(
        lambda: ft.compute_features(panel), {"pandas": lambda: with_pandas(panel)}, rounds
    )
    return [
        row("eleven features", rows / ours, rows / peers["pandas"], "pandas", "rows/s", more=True)
    ]


def synthesis_rows(rounds: int) -> list[Row]:
    spec = SynthesisSpec(n_series=20, n_days=1461)
    rows = 20 * 1461

    def textbook() -> pd.DataFrame:
        """Add trend, week, year and noise, as most templates do."""
        rng = np.random.default_rng(0)
        day = pd.date_range("2020-01-01", periods=1461)
        parts = []
        for s in range(20):
            level = 100 + 0.05 * np.arange(1461) + 10 * np.sin(2 * np.pi * day.dayofyear / 365.25)
            value = level + 5 * np.sin(2 * np.pi * day.dayofweek / 7) + rng.normal(0, 3, 1461)
            parts.append(pd.DataFrame({"series_id": s, "date": day, "value": value}))
        return pd.concat(parts)

    name = "pandas, without regimes, anomalies, gaps, causes and truth"
    ours, peers = paired(lambda: synthesize(spec, 0), {name: textbook}, rounds)
    return [row("synthesis", rows / ours, rows / peers[name], name, "rows/s", more=True)]


def batch_rows(rounds: int, folder: Path) -> list[Row]:
    """Forecast 10,000 series, one process per core, against one call per series."""
    panel, days = walk_panel(10_000, 200), 200
    origins = np.arange(10_000) * days + days - 1
    jobs = [panel_of(panel, part, days) for part in np.array_split(origins, 40)]
    with multiprocessing.get_context("spawn").Pool(2, _load, (folder,)) as pool:
        pool.map(_forecast, jobs[:2])  # warm
        times = [seconds_of(lambda: pool.map(_forecast, jobs)) for _ in range(rounds)]
    forecaster = ServedModel.load(folder)
    single = [panel_of(panel, origins[i : i + 1], days) for i in range(200)]
    one_by_one = seconds_of(
        lambda: [forecast_panel(forecaster, one, one.offsets[1:] - 1) for one in single]
    )
    ours, peer, name = float(np.median(times)), 50 * one_by_one, "one call a series, one core"
    return [row("batch forecast of 10,000 series", ours, peer, name, "s", more=False)]


def panel_of(panel: Panel, origins: np.ndarray, days: int) -> Panel:
    first, last = int(origins[0]) - days + 1, int(origins[-1]) + 1
    rows = slice(first, last)
    series = slice(first // days, last // days)
    return Panel(
        panel.ids[series],
        np.arange(len(origins) + 1) * days,
        panel.dates[rows],
        panel.values[rows],
        panel.factor[rows],
        panel.event[rows],
    )


def _load(folder: Path) -> None:
    global _FORECASTER
    _FORECASTER = ServedModel.load(folder)


def _forecast(panel: Panel) -> np.ndarray:
    return forecast_panel(_FORECASTER, panel, panel.offsets[1:] - 1)


def growth_rows(sizes: tuple[int, ...] = (10, 100, 1000, 5000)) -> list[Row]:
    """Measure preparing a training and drawing ten batches, each size in a new process."""
    rows = []
    name = "windows of 60 days, materialised"
    for series in sizes:
        command = [sys.executable, "-m", "benchmarks.speed.data", str(series)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, above, windows = map(float, done.stdout.split())
        what = f"{series} series x 1000 days"
        materialised = windows * 60 * 11 * 4 / 2**20  # float32
        rows.append(row(f"{what}: memory above data", above, materialised, name, "MiB", more=False))
        rows.append(row(f"{what}: preparation", seconds, 10.0, "10 s", "s", more=False))
    return rows


def _grow(series: int) -> None:
    from lib import training
    from lib.models import ModelConfig

    panel = walk_panel(series, 1000)
    split = split_days(panel, horizon=28, cutoffs=6, step=28, validation_days=100)

    def work() -> int:
        data = training.prepare(panel, split, ModelConfig())
        rng = np.random.default_rng(0)
        for _ in range(10):
            training.batch_of(data.train, rng.integers(len(data.train.origins), size=64), 175)
        return len(data.train.origins)

    seconds = seconds_of(work)
    tracemalloc.start()
    windows = work()
    above = tracemalloc.get_traced_memory()[1] / 2**20
    sys.stdout.write(f"{seconds} {above} {windows}\n")


if __name__ == "__main__":
    _grow(int(sys.argv[1]))
