"""One peer on one data set: reads a job, writes forecasts. Runs in the peers' own environment.

`python peers.py job.json`, where the job names a Parquet file of the series table, the cutoffs,
the horizon, the levels and the model. Statistical models have no other way than to be fitted
again at every cutoff; global ones are fitted once, on what precedes the first cutoff, and given
the history up to each cutoff, as ours is.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

INTERVALS = [50, 80, 90]  # per cent: the levels 0.05 0.1 0.25 | 0.75 0.9 0.95
EXOGENOUS = ["fator_externo", "evento_especial"]
WEEK = 7
# Windows of a step of DeepAR, TFT and PatchTST: as many as LSTM's default has. With theirs, 1,024,
# DeepAR had not finished a row after 18 minutes of one core.
WINDOWS = 128
RATES = (3e-4, 1e-3, 3e-3)  # learning rates that the neural peers choose from
LOOK_EVERY, PATIENCE = 50, 4  # steps between looks at the validation; looks without a gain
VALIDATION_HORIZONS = 3  # days of it, in horizons
Peer = Callable[[dict, pd.DataFrame, list[pd.Timestamp], list[str]], Iterator[pd.DataFrame]]


def main(path: str) -> None:
    job = json.loads(Path(path).read_text())
    table = pd.read_parquet(job["series"])
    table = table.rename(columns={"series_id": "unique_id", "date": "ds", "value": "y"})
    table, used = numbers(table) if job["covariates"] else (table, [])
    table = grid(table, used)
    cutoffs = [pd.Timestamp(day) for day in job["cutoffs"]]
    wall, processor = time.perf_counter(), processor_seconds()
    found = pd.concat(PEERS[job["model"]](job, table, cutoffs, used))
    times = {"wall": time.perf_counter() - wall, "processor": processor_seconds() - processor}
    found.to_parquet(job["out"], index=False)
    Path(job["out"]).with_suffix(".json").write_text(json.dumps(times))


def processor_seconds() -> float:
    """Of this process and its children: what it takes on a machine that does nothing else."""
    return sum(os.times()[:4])


def numbers(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Covariates as the columns of numbers that peers take: of a category, one for each label."""
    used = [c for c in EXOGENOUS if table[c].notna().any()]
    for column in [c for c in table.columns if c.startswith("known:")]:
        _, kind, name = column.split(":", 2)
        if kind == "category":
            flags = pd.get_dummies(table[column], prefix=name, dtype=float)
            flags[table[column].isna()] = np.nan
        else:
            flags = table[[column]].astype(float).set_axis([name], axis=1)
        table = pd.concat([table.drop(columns=column), flags], axis=1)
        used += list(flags)
    return table, used


def grid(table: pd.DataFrame, used: list[str]) -> pd.DataFrame:
    """Every series up to the common last day; covariates, known in advance, without gaps."""
    last, parts = table["ds"].max(), []
    for name, one in table.groupby("unique_id", sort=False):
        days = pd.date_range(one["ds"].min(), last, name="ds")
        one = one.set_index("ds")[["y", *used]].reindex(days).reset_index()
        for column in used:
            one[column] = one[column].interpolate().ffill().bfill().fillna(0.0)
        parts.append(one.assign(unique_id=str(name)))
    return pd.concat(parts, ignore_index=True)[["unique_id", "ds", "y", *used]]


def until(table: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    """What is known at a cutoff, gaps filled for models that take none.

    Interpolated between the same weekdays before and after: a straight line would erase the week.
    Nothing after the cutoff is used.
    """
    past = table[table["ds"] <= cutoff].copy()
    by_weekday = past.groupby(["unique_id", past["ds"].dt.day_of_week])["y"]
    past["y"] = by_weekday.transform(lambda y: y.interpolate().ffill().bfill())
    past["y"] = past.groupby("unique_id")["y"].transform(lambda y: y.ffill().bfill())
    observed = past["y"].notna()  # a series without one value yet cannot be forecast by anyone
    return past[observed]


def ahead(
    table: pd.DataFrame, past: pd.DataFrame, cutoff: pd.Timestamp, horizon: int
) -> pd.DataFrame:
    days = (table["ds"] > cutoff) & (table["ds"] <= cutoff + pd.Timedelta(days=horizon))
    return table[days & table["unique_id"].isin(past["unique_id"].unique())].drop(columns="y")


def as_forecasts(
    found: pd.DataFrame, cutoff: pd.Timestamp, by_level: dict[float, str]
) -> pd.DataFrame:
    out = found[["unique_id", "ds"]].rename(columns={"unique_id": "series_id", "ds": "date"})
    out.insert(1, "cutoff", cutoff)
    out["horizon"] = (out["date"] - cutoff).dt.days
    # Sorted: a peer is not punished twice where its quantiles cross.
    quantiles = np.sort(found[[by_level[level] for level in sorted(by_level)]], axis=1)
    for i, level in enumerate(sorted(by_level)):
        out[f"q{level:g}"] = quantiles[:, i].astype(float)
    return out


def columns_of_intervals(name: str, middle: str) -> dict[float, str]:
    below = {0.05: f"{name}-lo-90", 0.1: f"{name}-lo-80", 0.25: f"{name}-lo-50"}
    above = {0.75: f"{name}-hi-50", 0.9: f"{name}-hi-80", 0.95: f"{name}-hi-90"}
    return below | {0.5: middle} | above


def statistical(
    job: dict, table: pd.DataFrame, cutoffs: list[pd.Timestamp], used: list[str]
) -> Iterator[pd.DataFrame]:
    from statsforecast import StatsForecast, models

    name = job["model"]
    model = getattr(models, name)(season_length=WEEK)
    for cutoff in cutoffs:
        past = until(table, cutoff)[["unique_id", "ds", "y"]]
        engine = StatsForecast(
            models=[model],
            freq="D",
            n_jobs=1,
            fallback_model=models.SeasonalNaive(WEEK, alias=name),
        )
        found = engine.forecast(df=past, h=job["horizon"], level=INTERVALS)
        found = found.reset_index() if "unique_id" not in found else found
        yield as_forecasts(found, cutoff, columns_of_intervals(name, name))


def weekday_median(
    job: dict, table: pd.DataFrame, cutoffs: list[pd.Timestamp], used: list[str]
) -> Iterator[pd.DataFrame]:
    """Quantiles of the last 8 values observed on the same weekday; the middle one is the median."""
    for cutoff in cutoffs:
        past = table[(table["ds"] <= cutoff) & table["y"].notna()]
        last = past.groupby(["unique_id", past["ds"].dt.day_of_week]).tail(8)
        by_weekday = last.groupby(["unique_id", last["ds"].dt.day_of_week])["y"]
        levels = by_weekday.quantile(job["levels"]).unstack()
        levels.index.names = ["unique_id", "weekday"]
        days = pd.DataFrame({"ds": pd.date_range(cutoff, periods=job["horizon"] + 1)[1:]})
        days["weekday"] = days["ds"].dt.day_of_week
        names = past[["unique_id"]].drop_duplicates()
        found = names.merge(days, how="cross").join(levels, on=["unique_id", "weekday"])
        # a weekday never seen, in a series of days: the other weekdays
        for fill in ("ffill", "bfill"):
            found[job["levels"]] = getattr(found.groupby("unique_id")[job["levels"]], fill)()
        yield as_forecasts(found, cutoff, {level: level for level in job["levels"]})


def lightgbm(
    job: dict, table: pd.DataFrame, cutoffs: list[pd.Timestamp], used: list[str]
) -> Iterator[pd.DataFrame]:
    import lightgbm as lgb
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    models = {
        f"q{level:g}": lgb.LGBMRegressor(
            objective="quantile", alpha=level, n_estimators=300, verbosity=-1, n_jobs=1
        )
        for level in job["levels"]
    }
    year = job["model"] == "LightGBM364"
    engine = MLForecast(
        models=models,
        freq="D",
        lags=[1, 2, 3, 7, 14, 21, 28] + [364] * year,
        lag_transforms={1: [RollingMean(7), RollingMean(28)]},
        date_features=["dayofweek"] + ["month", "dayofyear"] * year,
    )
    # the first year has no lag of a year and is learned from nevertheless
    engine.fit(until(table, cutoffs[0]), static_features=[], dropna=not year)
    for cutoff in cutoffs:
        past = until(table, cutoff)
        future = ahead(table, past, cutoff, job["horizon"]) if used else None
        found = engine.predict(h=job["horizon"], new_df=past, X_df=future)
        yield as_forecasts(found, cutoff, {level: f"q{level:g}" for level in job["levels"]})


def neural(
    job: dict, table: pd.DataFrame, cutoffs: list[pd.Timestamp], used: list[str]
) -> Iterator[pd.DataFrame]:
    import logging

    warnings.simplefilter("ignore")  # of lightning's advice on workers and devices
    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import DistributionLoss, MQLoss

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    name, horizon = job["model"], job["horizon"]
    # DeepAR is its distribution; the others learn the seven levels.
    settings: dict = {
        "loss": DistributionLoss("StudentT", level=INTERVALS)
        if name == "DeepAR"
        else MQLoss(quantiles=job["levels"])
    }
    settings |= {"h": horizon, "input_size": 3 * horizon, "max_steps": job["steps"]}
    settings |= {"random_seed": 1, "accelerator": "cpu", "enable_progress_bar": False}
    settings |= {"logger": False, "enable_checkpointing": False}
    if used:
        settings["futr_exog_list"] = used
    if name in ("DeepAR", "TFT", "PatchTST"):
        settings["windows_batch_size"] = WINDOWS
    if name == "DeepAR":  # as LSTM and TFT by default: unscaled, its MASE on bike is 6.9
        settings["scaler_type"] = "robust"
    model, known = getattr(models, name), until(table, cutoffs[0])
    settings |= tune(lambda given: model(**settings | given), known, horizon)
    engine = NeuralForecast(models=[model(**settings)], freq="D")
    engine.fit(df=known)
    for cutoff in cutoffs:
        past = until(table, cutoff)
        future = ahead(table, past, cutoff, horizon) if used else None
        found = engine.predict(df=past, futr_df=future)
        found = found.reset_index() if "unique_id" not in found else found
        if name == "DeepAR":
            by_level = columns_of_intervals(name, f"{name}-median")
        else:  # columns in the order of the levels
            columns = [c for c in found.columns if c.startswith(name)]
            by_level = dict(zip(job["levels"], columns, strict=True))
        yield as_forecasts(found, cutoff, by_level)


def tune(build: Callable[[dict], Any], known: pd.DataFrame, horizon: int) -> dict:
    """Learning rate and steps with the lowest loss on the last days before the first cutoff.

    Each rate trains until the loss on these days has not fallen for PATIENCE looks. The network
    that forecasts then learns all known days, with the best rate, for as many steps.
    """
    from neuralforecast import NeuralForecast

    found = []
    for rate in RATES:
        looks = {"val_check_steps": LOOK_EVERY, "early_stop_patience_steps": PATIENCE}
        engine = NeuralForecast(models=[build({"learning_rate": rate, **looks})], freq="D")
        engine.fit(df=known, val_size=VALIDATION_HORIZONS * horizon)
        losses = [(float(loss), step) for step, loss in engine.models[0].valid_trajectories]
        loss, step = min(losses)
        found.append((loss, {"learning_rate": rate, "max_steps": max(step, LOOK_EVERY)}))
    return min(found, key=lambda one: one[0])[1]


PEERS: dict[str, Peer] = {
    "SeasonalNaive": statistical,
    "WeekdayMedian": weekday_median,
    "AutoETS": statistical,
    "AutoTheta": statistical,
    "LightGBM": lightgbm,
    "LightGBM364": lightgbm,
    "LSTM": neural,
    "NHITS": neural,
    "DeepAR": neural,
    "TFT": neural,
    "PatchTST": neural,
}


if __name__ == "__main__":
    main(sys.argv[1])
