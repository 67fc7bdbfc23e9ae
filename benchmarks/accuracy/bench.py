"""Our forecaster against the systems people would use instead, same cutoffs, same information.

Every (data set, model, covariates) is kept when it is done, so a run that is cut off goes on
where it stopped. `python -m benchmarks.accuracy.bench --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.accuracy.report import write_report
from benchmarks.accuracy.scores import score
from lib import backtest, panel, pipeline, series
from lib.network import QUANTILES
from lib.settings import ROOT, get_settings

HERE = Path(__file__).parent
OURS = "ours"
SIMPLE = {
    "SeasonalNaive": backtest.seasonal_naive,
    "WeekdayMedian": backtest.weekday_median,
}
CHEAP = ("AutoETS", "AutoTheta", "LightGBM")
NEURAL = ("NHITS", "LSTM", "DeepAR", "TFT", "PatchTST")
TAKE_COVARIATES = (OURS, "LightGBM", "NHITS", "LSTM", "DeepAR", "TFT")


@dataclass(frozen=True)
class DataSet:
    """A file, the names of its columns, and how it is judged."""

    file: str
    columns: dict[str, str] = field(default_factory=dict)
    horizon: int = 28
    cutoffs: int = 6
    covariates: bool = True  # whether it has any


BIKE = {
    "DATE_COLUMN": "dteday",
    "VALUE_COLUMN": "cnt",
    "EXTERNAL_COLUMN": "temp",
    "EVENT_COLUMN": "holiday",
}
DATA_SETS = {
    "bike": DataSet("bike_sharing_day.csv", BIKE),
    "nn5": DataSet("nn5_daily.csv", covariates=False),
    "vic_elec": DataSet("vic_elec.csv"),
    "metro": DataSet("metro_interstate.csv"),
    "births": DataSet("us_births_1969.csv"),
    "peyton_manning": DataSet("peyton_manning.csv"),
    "nn5_56": DataSet("nn5_daily.csv", horizon=56, cutoffs=1, covariates=False),
}


def main() -> int:
    """Run what is missing, then write results.json, table.md and ranks.png. → 0, 1 without data."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "../shared/data", help="folder of the files")
    add("--data-sets", nargs="+", default=list(DATA_SETS)[:5], choices=list(DATA_SETS))
    models = (OURS, *SIMPLE, *CHEAP, *NEURAL)
    add("--models", nargs="+", default=list(models), choices=models)
    add("--peers", type=Path, default=HERE / ".venv", help="environment of the peers")
    add("--steps", type=int, default=1000, help="of the neural peers (default %(default)s)")
    add("--profile", default="default", help="of ours (default %(default)s)")
    add("--force", action="store_true", help="run also what is done")
    add("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    work = get_settings().var_dir / "benchmarks" / "accuracy"
    jobs = [
        (name, model, covariates)
        for model in asked.models
        for name in asked.data_sets
        for covariates in (False, True)
        if not covariates or (DATA_SETS[name].covariates and model in TAKE_COVARIATES)
    ]
    for name, model, covariates in (bar := tqdm(jobs, unit="model")):
        bar.set_postfix_str(f"{name} {model}{' with covariates' if covariates else ''}")
        source = asked.data / DATA_SETS[name].file
        if not source.is_file():
            bar.write(f"skipped, there is no {source}: {name}")
            continue
        key = f"{name}-{model}-{'with' if covariates else 'without'}"
        kept = asked.out / "rows" / f"{key}.json"
        if kept.exists() and not asked.force:
            continue
        folder = work / key
        folder.mkdir(parents=True, exist_ok=True)
        try:
            row = judge(name, source, model, covariates, folder, asked)
        except subprocess.CalledProcessError as error:
            bar.write(f"{key} failed: {(error.stderr or '').strip()[-400:]}")
            continue
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(row, indent=1) + "\n")
    rows = [json.loads(path.read_text()) for path in sorted((asked.out / "rows").glob("*.json"))]
    if not rows:
        sys.stderr.write("nothing was run: give the folder of the data by --data\n")
        return 1
    sys.stdout.write(write_report(rows, asked.out))
    return 0


def judge(
    name: str, source: Path, model: str, covariates: bool, folder: Path, asked: argparse.Namespace
) -> dict[str, Any]:
    """One row of the results. Raises CalledProcessError where a peer fails."""
    data_set = DATA_SETS[name]
    given = {key.lower(): column for key, column in data_set.columns.items()}
    table = series.load(source, **given)
    data = panel.to_panel(table)
    cuts = {"horizon": data_set.horizon, "cutoffs": data_set.cutoffs, "step": 28}
    ends = backtest.cutoff_rows(data, **cuts)
    if model == OURS:
        forecasts, seconds = ours(source, data_set, covariates, folder, asked)
    elif model in SIMPLE:
        point = SIMPLE[model](data, ends, data_set.horizon)
        result = backtest.collect(data, ends, data_set.horizon, point=point)
        forecasts = backtest.to_table(result, data).drop(columns="actual")
        forecasts["q0.5"], seconds = point.ravel(), 0.0
    else:
        forecasts, seconds = peer(table, data, ends, data_set, model, covariates, folder, asked)
    found = score(forecasts, data, ends, data_set.horizon)
    return {
        "data_set": name,
        "model": model,
        "covariates": covariates,
        "horizon": data_set.horizon,
        "cutoffs": data_set.cutoffs,
        **found,
        "seconds": round(seconds, 1),
    }


def ours(
    source: Path, data_set: DataSet, covariates: bool, folder: Path, asked: argparse.Namespace
) -> tuple[pd.DataFrame, float]:
    """What `make backtest` does: the notebooks up to the training, nothing registered."""
    parameters = {"DATA": str(source.resolve()), "STEP": "28", "REGISTER": "false"}
    parameters |= {"HORIZON": str(data_set.horizon), "CUTOFFS": str(data_set.cutoffs)}
    parameters |= {"COVARIATES": str(covariates).lower()} | data_set.columns
    run = pipeline.run_pipeline(
        asked.profile, parameters, until="03_training", run_dir=folder / "run", force=asked.force
    ).folder
    records = [json.loads(path.read_text()) for path in (run / "stages").glob("0[23]_*.json")]
    forecasts = pd.read_parquet(run / "forecasts.parquet").drop(columns="actual")
    return forecasts, sum(record["seconds"] for record in records)


def peer(
    table: pd.DataFrame,
    data: panel.Panel,
    ends: np.ndarray,
    data_set: DataSet,
    model: str,
    covariates: bool,
    folder: Path,
    asked: argparse.Namespace,
) -> tuple[pd.DataFrame, float]:
    """One peer, in a process of its own environment."""
    python = asked.peers / "bin" / "python"
    table.to_parquet(folder / "series.parquet")
    job = {
        "series": str(folder / "series.parquet"),
        "out": str(folder / "forecasts.parquet"),
        "cutoffs": [str(day) for day in np.unique(data.dates[ends])],
        "horizon": data_set.horizon,
        "levels": list(QUANTILES),
        "model": model,
        "covariates": covariates,
        "steps": asked.steps,
    }
    (folder / "job.json").write_text(json.dumps(job, indent=1))
    subprocess.run(
        [str(python), str(HERE / "peers.py"), str(folder / "job.json")],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    seconds = json.loads((folder / "forecasts.json").read_text())["seconds"]
    return pd.read_parquet(folder / "forecasts.parquet"), seconds


if __name__ == "__main__":
    raise SystemExit(main())
