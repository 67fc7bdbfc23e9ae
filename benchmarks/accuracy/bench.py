"""Our forecaster against the systems people would use instead, same cutoffs, same information.

Every (data set, model, covariates) is kept when it is done, so a run that is cut off goes on
where it stopped. `python -m benchmarks.accuracy.bench --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
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
from lib import data as data_module
from lib import evaluation, pipeline
from lib.data import to_panel
from lib.log import configure_logging
from lib.models import QUANTILES
from lib.pipeline import ParameterError, StageError
from lib.settings import ROOT, get_settings

HERE = Path(__file__).parent
OURS = "ours"
CHEAP = ("SeasonalNaive", "WeekdayMedian", "AutoETS", "AutoTheta", "LightGBM", "LightGBM364")
NEURAL = ("NHITS", "LSTM", "DeepAR", "TFT", "PatchTST")
MODELS = (OURS, *CHEAP, *NEURAL)
# Ours at other efforts, for the picture of accuracy against seconds: parameters of the run.
EFFORTS: dict[str, dict[str, str]] = {
    OURS: {},
    "ours-instant": {"EFFORT": "instant"},
    "ours-50": {"STEPS": "50"},
    "ours-150": {"STEPS": "150"},
}
TAKE_COVARIATES = (*EFFORTS, "LightGBM", "LightGBM364", "NHITS", "LSTM", "DeepAR", "TFT")
STEP = 28  # days between cutoffs
USELESS = ("noise", "constant", "trend")  # columns that say nothing, known ahead


@dataclass(frozen=True)
class DataSet:
    """A file, the names of its columns, and how it is judged."""

    file: str
    columns: dict[str, str] = field(default_factory=dict)
    horizon: int = 28
    cutoffs: int = 6
    covariates: bool = True  # whether it has any

    def load(self, folder: Path) -> pd.DataFrame:
        given: dict[str, Any] = {name.lower(): column for name, column in self.columns.items()}
        if "covariates" in given:
            given["covariates"] = given["covariates"].split(",")
        return data_module.load(folder / self.file, **given)


BIKE = {
    "DATE_COLUMN": "dteday",
    "VALUE_COLUMN": "cnt",
    "EXTERNAL_COLUMN": "temp",
    "EVENT_COLUMN": "holiday",
}
BIKE_ALL = {
    "DATE_COLUMN": "dteday",
    "VALUE_COLUMN": "cnt",
    "COVARIATES": "season,holiday,workingday,weathersit,temp,hum,windspeed",
}
SEOUL = {
    "VALUE_COLUMN": "rentals",
    "COVARIATES": "temperature,humidity,wind,rain,snow,season,holiday",
}
BUILDINGS = {"SERIES_COLUMN": "building", "COVARIATES": "air_temperature,wind_speed"}
DATA_SETS = {
    "bike": DataSet("bike_sharing_day.csv", BIKE),
    "nn5": DataSet("nn5_daily.csv", covariates=False),
    "vic_elec": DataSet("vic_elec.csv"),
    "metro": DataSet("metro_interstate.csv"),
    "births": DataSet("us_births_1969.csv"),
    "nn5_56": DataSet("nn5_daily.csv", horizon=56, cutoffs=1, covariates=False),
    "bike_all": DataSet("bike_sharing_day.csv", BIKE_ALL),
    "seoul": DataSet("seoul_bike_daily.csv", SEOUL, cutoffs=3),
    "buildings": DataSet("three_buildings.csv", BUILDINGS, cutoffs=3),
    "peyton_manning": DataSet("peyton_manning.csv"),
    "uk_flights": DataSet("uk_flights.csv", covariates=False),
    "nyc_taxi": DataSet("nyc_taxi_daily.csv", cutoffs=1, covariates=False),
}


def main() -> int:
    """Run what is missing, then write the results. → 0, 1 without rows."""
    files = ", ".join(f"{name} ({data_set.file})" for name, data_set in DATA_SETS.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"Data sets: {files}.")
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "../shared/data", help="folder (default %(default)s)")
    add("--data-sets", nargs="+", default=list(DATA_SETS)[:6], choices=list(DATA_SETS))
    add("--models", nargs="+", default=list(MODELS), choices=[*MODELS, *list(EFFORTS)[1:]])
    add("--peers", type=Path, default=HERE / ".venv", help="environment of the peers")
    add("--steps", type=int, default=1000, help="of the neural peers (default %(default)s)")
    add("--profile", default="default", help="of ours (default %(default)s)")
    add("--seed", type=int, default=0, help="of ours (default %(default)s)")
    add("--useless", action="store_true", help="ours is given columns that say nothing as well")
    add("--force", action="store_true", help="run also what is done")
    add("--out", type=Path, default=HERE / "results", help="folder (default %(default)s)")
    asked = parser.parse_args()
    if asked.out.exists() and not asked.out.is_dir():
        parser.error(f"--out: {asked.out} is a file, expected a folder")
    configure_logging("WARNING")
    work = get_settings().var_dir / "benchmarks" / "accuracy"
    jobs = [
        (name, model, covariates)
        for model in asked.models
        for name in asked.data_sets
        for covariates in (False, True)
        if not covariates or (DATA_SETS[name].covariates and model in TAKE_COVARIATES)
    ]
    failed, there = 0, 0
    for name, model, covariates in (bar := tqdm(jobs, unit="model")):
        bar.set_postfix_str(f"{name} {model}{' with covariates' if covariates else ''}")
        source = asked.data / DATA_SETS[name].file
        if not source.is_file():
            bar.write(f"skipped, there is no {source}: {name}", file=sys.stderr)
            continue
        key = f"{name}-{model}-{'with' if covariates else 'without'}"
        kept = asked.out / "rows" / f"{key}.json"
        if kept.exists() and not asked.force:
            there += 1
            continue
        folder = work / key
        folder.mkdir(parents=True, exist_ok=True)
        try:
            row = judge(name, model, covariates, folder, asked)
        except subprocess.CalledProcessError as error:
            failed += 1
            bar.write(f"{key} failed: {(error.stderr or '').strip()[-600:]}", file=sys.stderr)
            continue
        except (StageError, ParameterError, ValueError) as error:
            failed += 1
            bar.write(f"{key} failed: {str(error)[-600:]}", file=sys.stderr)
            continue
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(row, indent=1) + "\n")
    rows = [json.loads(path.read_text()) for path in sorted((asked.out / "rows").glob("*.json"))]
    if not rows:
        sys.stderr.write("nothing was run: give the folder of the data by --data\n")
        return 1
    if there:
        sys.stderr.write(
            f"{there} rows were there, of whatever code; --force measures them again\n"
        )
    sys.stdout.write(write_report(rows, asked.out))
    return 1 if failed else 0


def judge(
    name: str, model: str, covariates: bool, folder: Path, asked: argparse.Namespace
) -> dict[str, Any]:
    """One row of the results. Raises CalledProcessError where a peer fails."""
    data_set = DATA_SETS[name]
    table = data_set.load(asked.data)
    data = to_panel(table)
    origins = evaluation.origin_rows(
        data, horizon=data_set.horizon, cutoffs=data_set.cutoffs, step=STEP
    )
    if model in EFFORTS:
        file, columns = asked.data / data_set.file, data_set.columns
        if data_set.covariates and not covariates:
            # COVARIATES=0 withholds those of the target days only; peers see none of any day
            file, columns = folder / "bare.parquet", {}
            table[["series_id", "date", "value"]].to_parquet(file, index=False)
        if asked.useless:
            file, columns = add_useless(file, columns, folder / "useless.parquet")
        parameters = {"DATA": str(file.resolve()), "STEP": str(STEP)} | columns
        parameters |= {"HORIZON": str(data_set.horizon), "CUTOFFS": str(data_set.cutoffs)}
        parameters |= EFFORTS[model] | {"SEED": str(asked.seed)}
        forecasts, seconds = ours(parameters, folder, asked.profile)
    else:
        job = {
            "cutoffs": [str(day) for day in np.unique(data.dates[origins])],
            "horizon": data_set.horizon,
            "model": model,
            "covariates": covariates,
            "steps": asked.steps,
        }
        forecasts, seconds = peer(table, job, folder, asked.peers)
    return {
        "data_set": name,
        "model": model,
        "covariates": covariates,
        "horizon": data_set.horizon,
        "cutoffs": data_set.cutoffs,
        **score(forecasts, data, origins, data_set.horizon),
        "seconds": round(seconds, 1),
    }


def add_useless(source: Path, columns: dict[str, str], target: Path) -> tuple[Path, dict[str, str]]:
    """Write a file with three more columns: noise, a constant and a trend of no meaning."""
    table = pd.read_csv(source) if source.suffix == ".csv" else pd.read_parquet(source)
    days = pd.to_datetime(table[columns.get("DATE_COLUMN", "date")])
    rng = np.random.default_rng(0)
    table["noise"] = pd.Series(rng.normal(size=days.nunique()), sorted(days.unique()))[days].array
    table["constant"] = 1.0
    table["trend"] = (days - days.min()).dt.days / 7.0
    table.to_parquet(target, index=False)
    named = [columns[key] for key in ("COVARIATES",) if key in columns]
    return target, columns | {"COVARIATES": ",".join([*named, *USELESS])}


def ours(parameters: dict[str, str], folder: Path, profile: str) -> tuple[pd.DataFrame, float]:
    """What `make backtest` does, and the processor seconds of tuning and training.

    From the beginning each time, in a study of its own: a run that goes on, or that finds its
    trials done for another row, would seem faster than it is.
    """
    for left in (folder / "run", folder / "out"):
        shutil.rmtree(left, ignore_errors=True)
    (folder / "study.db").unlink(missing_ok=True)
    before = _children_seconds()
    out = folder / "out"
    if "EFFORT" in parameters:
        words = [f"{name}={value}" for name, value in parameters.items()]  # EFFORT=instant, too
        command = [sys.executable, "-m", "lib.cli", "backtest", "--out", str(out), *words]
        subprocess.run(command, check=True, capture_output=True, text=True)
    else:
        parameters |= {"STUDY_STORAGE": f"sqlite:///{(folder / 'study.db').resolve()}"}
        pipeline.run_backtest(profile, parameters, out=out, run_dir=folder / "run")
    return pd.read_parquet(out / "forecasts.parquet"), _children_seconds() - before


def _children_seconds() -> float:
    """Processor seconds of the processes that this one, or one of them, has started and ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peer(
    table: pd.DataFrame, job: dict[str, Any], folder: Path, environment: Path
) -> tuple[pd.DataFrame, float]:
    """One peer, in a process of its own environment, and its processor seconds."""
    table.to_parquet(folder / "series.parquet")
    job |= {"series": str(folder / "series.parquet"), "out": str(folder / "forecasts.parquet")}
    job["levels"] = list(QUANTILES)
    (folder / "job.json").write_text(json.dumps(job, indent=1))
    # One thread, as ours, also of what does not ask OpenMP.
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    subprocess.run(
        [str(environment / "bin" / "python"), str(HERE / "peers.py"), str(folder / "job.json")],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | dict.fromkeys(threads, "1"),
    )
    times = json.loads((folder / "forecasts.json").read_text())
    return pd.read_parquet(folder / "forecasts.parquet"), times["processor"]


if __name__ == "__main__":
    raise SystemExit(main())
