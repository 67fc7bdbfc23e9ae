"""Delays and false alarms over synthetic years, beside the defaults of evidently and nannyml.

Twenty healthy years and twenty with a change on day 150, six kinds in turn. One small network is
trained on other series of the same kind and forecasts each evening of each year. Ours checks each
day. The peers look at the same days, features and errors once a week, in an environment of their
own (`benchmarks/monitoring/requirements.txt`):

    python3.11 -m venv peers && peers/bin/pip install -r benchmarks/monitoring/requirements.txt
    python -m benchmarks.monitoring.delays --peers peers/bin/python

A run that is cut off goes on where it was: model, years and results are kept in a folder.
"""

import argparse
import itertools
import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.splits import split_days
from lib.evaluation import (
    Backtest,
    compute_metrics,
    flatten_metrics,
    metrics_by_block,
    origin_rows,
    run_backtest,
)
from lib.inference import ServedModel
from lib.log import configure_logging
from lib.models import ModelConfig
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.drift_reference import build_reference
from lib.monitoring.report import check_days
from lib.settings import Settings
from lib.training import calibration, loop
from lib.training.config import TrainingConfig
from lib.training.data import prepare
from lib.training.export import save_artifact
from tests.years import CHANGES, DAYS, LIVE, cut, feature_table, served, year

SERIES, CHANGE, AFTER = 8, 150, 45  # days of the live year; days after the change that count
_BEFORE = 50  # days of forecasts before the first check


@dataclass(frozen=True)
class Year:
    """What one program found in one year: days of the year on which an alarm began."""

    program: str
    seed: int
    change: str
    alarms: list[int]

    @property
    def delay(self) -> int | None:
        """Days from the change to the first alarm after it; None without one."""
        after = [day - CHANGE for day in self.alarms if CHANGE <= day < CHANGE + AFTER]
        return min(after, default=None)


def train(folder: Path) -> ServedModel:
    """Train a network for a moment on series that no year has, and calibrate it; or load it."""
    if (folder / "contract.json").is_file():
        return ServedModel.load(folder)
    panel = cut(year(100, series=SERIES), LIVE)
    split = split_days(panel, horizon=28, cutoffs=3, step=28, validation_days=90)
    config = ModelConfig(hidden=16, decoder_hidden=16)
    data = prepare(panel, split, config)
    fit = loop.fit(data, config, TrainingConfig(steps=150, evaluate_every=50))
    return save_artifact(folder, calibration.calibrate(fit, data), data, panel, split)


def expected_error(model: ServedModel, past: object) -> ExpectedError:
    """Return the scores of the backtest on the last months before the year."""
    result: Backtest = run_backtest(model, past, origin_rows(past, horizon=28, cutoffs=6, step=28))
    return ExpectedError.of(compute_metrics(result) | flatten_metrics(metrics_by_block(result)))


def run_ours(model: ServedModel, seed: int, change: str, folder: Path) -> Year:
    """Check each day of one year, and write what the peers need to look at the same days."""
    settings = Settings(_env_file=None)
    past = cut(year(seed, series=SERIES), LIVE)
    panel = year(seed, change, LIVE + CHANGE, series=SERIES)
    first, last = (
        (CHANGE, CHANGE + AFTER) if change else (settings.monitor_window_days, DAYS - LIVE)
    )
    frames = served(model, panel, np.arange(LIVE + first - _BEFORE, LIVE + last - 1))
    table = feature_table(past)
    reports = check_days(
        frames,
        build_reference(table, settings.monitor_window_days),
        expected_error(model, past),
        days=panel.dates[LIVE + first : LIVE + last],
        trained=panel.dates[LIVE - 1],
        settings=settings,
    )
    up = [False, *(bool(report.alarms) for report in reports)]
    alarms = [first + i for i, (was, now) in enumerate(itertools.pairwise(up)) if now > was]
    write_for_peers(model, panel, seed, change, folder, (first, last))
    return Year("ours", seed, change, alarms)


def write_for_peers(
    model: ServedModel, panel: object, seed: int, change: str, folder: Path, days: tuple[int, int]
) -> None:
    """Write features and one-day errors of a reference year and of the days that are looked at."""
    first, last = days
    frames = served(model, panel, np.arange(LIVE - 366, LIVE + last - 1))
    one = frames.forecasts[frames.forecasts["horizon"] == 1].dropna(subset=["actual"])
    one = one.rename(columns={"q0.5": "forecast"})[["series_id", "date", "forecast", "actual"]]
    table = frames.features.merge(one.astype({"series_id": "str"}), on=["series_id", "date"])
    table["day"] = (table["date"] - pd.Timestamp(str(panel.dates[LIVE]))).dt.days
    name = f"{change.replace(' ', '-') or 'healthy'}.{seed}.{first}.parquet"
    table[table["day"] < last].to_parquet(folder / name)


def summarise(years: list[Year]) -> str:
    """Return the table: false alarms of healthy years, delays by kind of change."""
    lines = ["| | " + " | ".join(("healthy years", *CHANGES)) + " |"]
    lines.append("|--|" + "--:|" * (1 + len(CHANGES)))
    for program in dict.fromkeys(one.program for one in years):
        mine = [one for one in years if one.program == program]
        healthy = [len(one.alarms) for one in mine if not one.change]
        cells = [f"{sum(healthy)} alarms in {sum(map(bool, healthy))} of {len(healthy)}"]
        for change in CHANGES:
            delays = [one.delay for one in mine if one.change == change]
            found = sorted(delay for delay in delays if delay is not None)
            middle = f"{found[len(found) // 2]} d, " if found else ""
            cells.append(f"{middle}{len(found)} of {len(delays)}")
        lines.append(f"| {program} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def list_cases(healthy: int, changed: int) -> list[tuple[int, str]]:
    """Return seed and change of each year, healthy and changed ones in turn."""
    kinds = list(CHANGES)
    first = [(seed, "") for seed in range(healthy)]
    second = [(seed, kinds[seed % len(kinds)]) for seed in range(changed)]
    mixed = [case for pair in zip(first, second, strict=False) for case in pair]
    return mixed + first[len(second) :] + second[len(first) :]


def run_peers(python: str, folder: Path) -> list[Year]:
    """Run the peers on the years in a folder that they have not seen yet."""
    script, out = Path(__file__).with_name("peers.py"), folder / "peers.json"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, str(script), str(folder), str(out)], check=True, env=environment)
    return [Year(**one) for one in json.loads(out.read_text())]


def write(years: list[Year], out: Path) -> None:
    """Write what was found so far."""
    rows = [asdict(one) | {"delay": one.delay} for one in years]
    part = out.with_suffix(".part")
    part.write_text(json.dumps(rows, indent=1) + "\n")
    part.replace(out)


def read(out: Path) -> list[Year]:
    """Read what an earlier run found."""
    if not out.is_file():
        return []
    rows = json.loads(out.read_text())
    return [Year(row["program"], row["seed"], row["change"], row["alarms"]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.delays")
    parser.add_argument("--healthy", type=int, default=20, help="years without a change")
    parser.add_argument("--changed", type=int, default=20, help="years with one, six kinds in turn")
    parser.add_argument("--peers", help="Python of the environment with evidently and nannyml")
    parser.add_argument("--folder", type=Path, default=Path("var/bench-delays"))
    options = parser.parse_args()
    configure_logging("WARNING")
    folder, out = options.folder, options.folder / "ours.json"
    folder.mkdir(parents=True, exist_ok=True)
    started, years, model = time.process_time(), read(out), train(folder / "model")
    known = {(one.seed, one.change) for one in years}
    for seed, change in list_cases(options.healthy, options.changed):
        if (seed, change) not in known:
            years.append(run_ours(model, seed, change, folder))
            write(years, out)
            print(years[-1], f"{time.process_time() - started:.0f} s", flush=True)
    if options.peers:
        years += run_peers(options.peers, folder)
    print(summarise(years))
    print(f"{time.process_time() - started:.0f} s of processor, without the peers")


if __name__ == "__main__":
    main()
