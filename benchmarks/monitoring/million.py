"""Time and memory of a whole check with a million stored forecasts.

Writes the predictions of a service into a SQLite file (series × days of origins), their actuals,
and runs the check of the worker as a process of its own, whose peak memory is measured.
`python -m benchmarks.monitoring.million --help`
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from lib.monitoring import job
from lib.settings import ROOT, Settings
from lib.storage import Store, actuals, predictions

MODEL = ROOT / "tests" / "data" / "tiny_model"
END = date(2026, 10, 30)  # of the last origin
LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]
_SPREAD = np.array([-16.4, -12.8, -6.7, 0.0, 6.7, 12.8, 16.4])
_BATCH = 20_000


def fill(url: str, series: int, days: int, horizon: int) -> int:
    """Write `series` × `days` predictions and what came true of them; return their number."""
    store, rng = Store(url), np.random.default_rng(0)
    names = [f"series {number:05d}" for number in range(series)]
    origins = [END - timedelta(days=n) for n in range(days)][::-1]
    with store.writing() as connection:
        for origin in origins:
            made = datetime(origin.year, origin.month, origin.day, 22, tzinfo=UTC)
            level = 100 + 20 * rng.standard_normal(series)
            rows = [
                {
                    "trace_id": f"{origin}-{number}",
                    "created_at": made,
                    "model_name": store.model_name,
                    "model_version": 1,
                    "series_id": name,
                    "first_date": origin + timedelta(days=1),
                    "last_date": origin + timedelta(days=horizon),
                    "levels": LEVELS,
                    "quantiles": np.round(
                        level[number] + np.tile(_SPREAD, (horizon, 1)), 3
                    ).tolist(),
                    "features": np.round(
                        np.append(rng.random(4), np.full(7, level[number])), 4
                    ).tolist(),
                }
                for number, name in enumerate(names)
            ]
            for start in range(0, len(rows), _BATCH):
                connection.execute(predictions.insert(), rows[start : start + _BATCH])
        for n in range(days + 84):
            day = END - timedelta(days=n)
            at = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
            rows = [
                {
                    "key": f"day {day} {name}",
                    "series_id": name,
                    "date": day,
                    "value": float(value),
                    "created_at": at,
                    "updated_at": at,
                    "corrections": 0,
                }
                for name, value in zip(names, 100 + 10 * rng.standard_normal(series), strict=True)
            ]
            connection.execute(actuals.insert(), rows)
    store.close()
    return series * days


def check(url: str, folder: Path) -> dict[str, float | int | str]:
    """Run one whole check in this process, and measure it."""
    job._production_model = lambda settings: nullcontext((1, MODEL))  # type: ignore[assignment]
    settings = Settings(_env_file=None, var_dir=folder, database_url=url, log_level="WARNING")
    store, started, before = Store.of(settings), time.monotonic(), time.process_time()
    report = job.run_check(settings, store, day=np.datetime64(END))
    result = {
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(time.process_time() - before, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "forecasts": report.evidence.forecasts,
        "share": report.accuracy.scores[0].forecasts,
        "status": report.status,
    }
    store.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.million")
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument(
        "--days", type=int, default=1000, help="of origins; times series: forecasts"
    )
    parser.add_argument("--horizon", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="folder of the database, made where it is new")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        url = f"sqlite:///{folder / 'state.db'}"
        if options.check:
            sys.stdout.write(json.dumps(check(url, folder)) + "\n")
            return
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "state.db").is_file():
            fill(url, options.series, options.days, options.horizon)
        command = [sys.executable, "-m", "benchmarks.monitoring.million", "--check"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--keep", str(folder)], check=True, cwd=ROOT, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        size = round((folder / "state.db").stat().st_size / 1e6)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        stored = options.series * options.days
        print(json.dumps({"stored": stored, "database_mb": size} | result, indent=1))


if __name__ == "__main__":
    main()
