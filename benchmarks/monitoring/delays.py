"""Delays and false alarms over synthetic years, beside the defaults of evidently and nannyml.

Twenty healthy years, and each of these again with six kinds of change on day 150. One small network
is trained on other series of the same kind and forecasts each evening of each year. Ours checks
each day. The peers look at the same days, features and errors once a week, in an environment of
their own (`benchmarks/monitoring/requirements.txt`):

    python3.11 -m venv peers && peers/bin/pip install -r benchmarks/monitoring/requirements.txt
    python -m benchmarks.monitoring.delays --peers peers/bin/python

Two kinds of years: `usual`, whose seeds start where no bound was ever chosen, and `heavy`, whose
noise multiplies and has heavy tails, a process that no bound was chosen on. A run that is cut off
goes on where it was: model, years and results are kept in a folder.
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
WARM_UP = 28  # days of checks before the change
FIRST_SEED = 1000  # bounds were chosen on lower ones
TRAINING_SEED = 100
PROCESSES = ("usual", "heavy")
_BEFORE = 50  # days of forecasts before the first check


@dataclass(frozen=True)
class Year:
    """What one program found in one year.

    Attributes:
        program: that looked.
        seed: of the year.
        change: its kind, "" in a healthy year.
        alarms: days of the year on which an alarm began.
        share: of the checks that alarmed.
        process: of PROCESSES.
    """

    program: str
    seed: int
    change: str
    alarms: list[int]
    share: float
    process: str = "usual"

    @property
    def delay(self) -> int | None:
        """Days from the change to the first alarm that begins after it; None without one."""
        after = [day - CHANGE for day in self.alarms if CHANGE <= day < CHANGE + AFTER]
        return min(after, default=None)


def train(folder: Path, process: str) -> ServedModel:
    """Train a network for a moment on series that no year has, and calibrate it; or load it."""
    if (folder / "contract.json").is_file():
        return ServedModel.load(folder)
    panel = cut(year(TRAINING_SEED, series=SERIES, heavy=process == "heavy"), LIVE)
    split = split_days(panel, horizon=28, cutoffs=3, step=28, validation_days=90)
    config = ModelConfig(hidden=16, decoder_hidden=16)
    data = prepare(panel, split, config)
    fit = loop.fit(data, config, TrainingConfig(steps=150, evaluate_every=50))
    return save_artifact(folder, calibration.calibrate(fit, data), data, panel, split)


def expected_error(model: ServedModel, past: object) -> ExpectedError:
    """Return the scores of the backtest on the last months before the year."""
    result: Backtest = run_backtest(model, past, origin_rows(past, horizon=28, cutoffs=6, step=28))
    return ExpectedError.of(compute_metrics(result) | flatten_metrics(metrics_by_block(result)))


def run_ours(model: ServedModel, seed: int, change: str, folder: Path, process: str) -> Year:
    """Check each day of one year, and write what the peers need to look at the same days."""
    settings, heavy = Settings(_env_file=None), process == "heavy"
    past = cut(year(seed, series=SERIES, heavy=heavy), LIVE)
    panel = year(seed, change, LIVE + CHANGE, series=SERIES, heavy=heavy)
    first, last = (settings.monitor_window_days, DAYS - LIVE)
    if change:
        first, last = CHANGE - WARM_UP, CHANGE + AFTER
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
    return Year("ours", seed, change, alarms, sum(up) / len(reports), process)


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
        healthy = [one for one in mine if not one.change]
        alarms = [len(one.alarms) for one in healthy]
        share = float(np.mean([one.share for one in healthy])) if healthy else np.nan
        cells = [f"{sum(alarms)} in {sum(map(bool, alarms))} of {len(healthy)}, {share:.1%} up"]
        for change in CHANGES:
            delays = [one.delay for one in mine if one.change == change]
            found = sorted(delay for delay in delays if delay is not None)
            middle = f"{found[len(found) // 2]} d ({found[0]}-{found[-1]}), " if found else ""
            cells.append(f"{middle}{len(found)} of {len(delays)}")
        lines.append(f"| {program} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run_peers(python: str, folder: Path, process: str) -> list[Year]:
    """Run the peers on the years in a folder that they have not seen yet."""
    script, out = Path(__file__).with_name("peers.py"), folder / "peers.json"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, str(script), str(folder), str(out)], check=True, env=environment)
    return [Year(**one, process=process) for one in json.loads(out.read_text())]


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
    return [Year(**{name: row[name] for name in row if name != "delay"}) for row in rows]


def run(process: str, seeds: range, folder: Path, peers: str | None) -> list[Year]:
    """Look at the healthy and the changed years of one process; return what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    out, model = folder / "ours.json", train(folder / "model", process)
    years = read(out)
    known = {(one.seed, one.change) for one in years}
    for seed, change in itertools.product(seeds, ("", *CHANGES)):
        if (seed, change) not in known:
            years.append(run_ours(model, seed, change, folder, process))
            write(years, out)
    return years + (run_peers(peers, folder, process) if peers else [])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.delays")
    parser.add_argument("--years", type=int, default=20, help="each healthy, and with each change")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first year")
    parser.add_argument("--peers", help="Python of the environment with evidently and nannyml")
    parser.add_argument("--folder", type=Path, default=Path("var/bench-delays"))
    parser.add_argument("--out", type=Path, help="file for what all of them found, as JSON")
    options = parser.parse_args()
    configure_logging("WARNING")
    started, seeds = time.process_time(), range(options.seed, options.seed + options.years)
    if TRAINING_SEED in seeds:
        parser.error(f"seed {TRAINING_SEED} is that of the network's training")
    years = []
    for process in PROCESSES:
        found = run(process, seeds, options.folder / process, options.peers)
        print(f"\n{process} years\n\n{summarise(found)}")
        years += found
    if options.out:
        write(years, options.out)
    print(f"{time.process_time() - started:.0f} s of processor, without the peers")


if __name__ == "__main__":
    main()
