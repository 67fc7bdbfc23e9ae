"""One peer on one data set: reads a job, writes forecasts. Runs in the peers' own environment.

`python peers.py job.json`, where the job names a Parquet file of the series table, the cutoffs,
the horizon, the levels and the model. Statistical models have no other way than to be fitted
again at every cutoff; global ones are fitted once, on what precedes the first cutoff, and given
the history up to each cutoff, as ours is.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

NEURAL_STEPS = 1000
INTERVALS = [50, 80, 90]  # per cent: the levels 0.05 0.1 0.25 | 0.75 0.9 0.95
EXOGENOUS = ["fator_externo", "evento_especial"]


def main(path: str) -> None:
    job = json.loads(Path(path).read_text())
    table = pd.read_parquet(job["series"])
    table = table.rename(columns={"series_id": "unique_id", "date": "ds", "value": "y"})
    used = [c for c in EXOGENOUS if job["covariates"] and table[c].notna().any()]
    table = complete(table, used)
    cutoffs = [pd.Timestamp(day) for day in job["cutoffs"]]
    started = time.perf_counter()
    run = STATISTICAL.get(job["model"]) or (lightgbm if job["model"] == "LightGBM" else neural)
    found = run(job, table, cutoffs, used)
    seconds = time.perf_counter() - started
    found.to_parquet(job["out"], index=False)
    Path(job["out"]).with_suffix(".json").write_text(json.dumps({"seconds": seconds}))


def complete(table: pd.DataFrame, used: list[str]) -> pd.DataFrame:
    """No missing value: the last one is repeated, which needs no future."""
    for column in ["y", *used]:
        table[column] = table.groupby("unique_id")[column].transform(lambda c: c.ffill().bfill())
    return table[["unique_id", "ds", "y", *used]]


def ahead(table: pd.DataFrame, cutoff: pd.Timestamp, horizon: int) -> pd.DataFrame:
    days = (table["ds"] > cutoff) & (table["ds"] <= cutoff + pd.Timedelta(days=horizon))
    return table[days].drop(columns="y")


def as_forecasts(
    found: pd.DataFrame, cutoff: pd.Timestamp, by_level: dict[float, str]
) -> pd.DataFrame:
    out = found[["unique_id", "ds"]].rename(columns={"unique_id": "series_id", "ds": "date"})
    out.insert(1, "cutoff", cutoff)
    out["horizon"] = (out["date"] - cutoff).dt.days
    quantiles = np.sort(found[list(by_level.values())].to_numpy(float), axis=1)
    for i, level in enumerate(by_level):
        out[f"q{level:g}"] = quantiles[:, i]
    return out


def columns_of_intervals(name: str, middle: str) -> dict[float, str]:
    below = {0.05: f"{name}-lo-90", 0.1: f"{name}-lo-80", 0.25: f"{name}-lo-50"}
    above = {0.75: f"{name}-hi-50", 0.9: f"{name}-hi-80", 0.95: f"{name}-hi-90"}
    return below | {0.5: middle} | above


def statistical(name: str):
    def run(job: dict, table: pd.DataFrame, cutoffs: list, used: list[str]) -> pd.DataFrame:
        from statsforecast import StatsForecast, models

        model = getattr(models, name)(season_length=7)
        parts = []
        for cutoff in cutoffs:
            past = table.loc[table["ds"] <= cutoff, ["unique_id", "ds", "y"]]
            engine = StatsForecast(models=[model], freq="D", n_jobs=1)
            found = engine.forecast(df=past, h=job["horizon"], level=INTERVALS)
            parts.append(as_forecasts(found, cutoff, columns_of_intervals(name, name)))
        return pd.concat(parts)

    return run


STATISTICAL = {name: statistical(name) for name in ("AutoETS", "AutoTheta")}


def lightgbm(job: dict, table: pd.DataFrame, cutoffs: list, used: list[str]) -> pd.DataFrame:
    import lightgbm as lgb
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    models = {
        f"q{level:g}": lgb.LGBMRegressor(
            objective="quantile", alpha=level, n_estimators=300, verbosity=-1, n_jobs=1
        )
        for level in job["levels"]
    }
    engine = MLForecast(
        models=models,
        freq="D",
        lags=[1, 2, 3, 7, 14, 21, 28],
        lag_transforms={1: [RollingMean(7), RollingMean(28)]},
        date_features=["dayofweek"],
    )
    past = table[table["ds"] <= cutoffs[0]]
    engine.fit(past, static_features=[])
    by_level = {level: f"q{level:g}" for level in job["levels"]}
    parts = []
    for cutoff in cutoffs:
        future = ahead(table, cutoff, job["horizon"]) if used else None
        found = engine.predict(h=job["horizon"], new_df=table[table["ds"] <= cutoff], X_df=future)
        parts.append(as_forecasts(found, cutoff, by_level))
    return pd.concat(parts)


def neural(job: dict, table: pd.DataFrame, cutoffs: list, used: list[str]) -> pd.DataFrame:
    import logging

    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import DistributionLoss, MQLoss

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    name, horizon = job["model"], job["horizon"]
    levels = MQLoss(quantiles=job["levels"])
    loss = DistributionLoss("StudentT", level=INTERVALS) if name == "DeepAR" else levels
    settings = {"h": horizon, "input_size": 3 * horizon, "loss": loss, "random_seed": 1}
    settings |= {"max_steps": job.get("steps", NEURAL_STEPS), "accelerator": "cpu"}
    settings |= {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    if used and name != "PatchTST":  # which takes none
        settings["futr_exog_list"] = used
    engine = NeuralForecast(models=[getattr(models, name)(**settings)], freq="D")
    engine.fit(df=table[table["ds"] <= cutoffs[0]])
    parts = []
    for cutoff in cutoffs:
        future = ahead(table, cutoff, horizon) if used else None
        found = engine.predict(df=table[table["ds"] <= cutoff], futr_df=future)
        found = found.reset_index() if "unique_id" not in found else found
        columns = [c for c in found.columns if c.startswith(name)]
        if name == "DeepAR":
            by_level = columns_of_intervals(name, f"{name}-median")
        else:  # in the order of the levels
            by_level = dict(zip(job["levels"], columns, strict=True))
        parts.append(as_forecasts(found, cutoff, by_level))
    return pd.concat(parts)


if __name__ == "__main__":
    main(sys.argv[1])
