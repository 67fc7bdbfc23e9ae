"""How accuracy falls as data gets worse, on synthetic worlds whose truth is known.

One world is drawn clean; each condition spoils it in one way: days go missing, anomalies are
mixed in, the level jumps just before the cutoff, or only the last days are given. What is scored
stays the same: the values as they would have been without anomaly and without gap. Finished cells
are kept, so a run that is cut off goes on. `python -m benchmarks.accuracy.robustness --help`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.accuracy.bench import HERE, OURS, TAKE_COVARIATES, ours, peer
from benchmarks.accuracy.report import write_robustness
from benchmarks.accuracy.scores import score
from lib import data, evaluation
from lib.log import configure_logging
from lib.pipeline import ParameterError, StageError
from lib.settings import get_settings

UNCHANGED = "ours, CHANGES=0"  # not trained for changes of level
MODELS = (OURS, UNCHANGED, "SeasonalNaive", "WeekdayMedian", "AutoETS", "LightGBM")
HORIZON = 28
DAYS = 1461
JUMP = 0.4  # of the level, in the regime change
# The first value of each is the clean world.
LADDERS: dict[str, tuple[float, ...]] = {
    "missing days (%)": (0, 10, 20, 30),
    "anomalous days (%)": (0, 1, 3, 5),
    f"days since the level rose by {100 * JUMP:.0f} % (0: never)": (0, 28, 14, 7),
    "days of history": (DAYS - HORIZON, 730, 365, 90),
}
MISSING, ANOMALY, REGIME, HISTORY = LADDERS


@dataclass(frozen=True)
class Condition:
    """One way and degree of spoiling; the clean world belongs to every ladder."""

    ladder: str
    value: float

    @property
    def clean(self) -> bool:
        return self.value == LADDERS[self.ladder][0]

    @property
    def key(self) -> str:
        return "clean" if self.clean else f"{list(LADDERS).index(self.ladder)}-{self.value:g}"


def world(
    condition: Condition, n_series: int, seed: int
) -> tuple[pd.DataFrame, data.Panel, pd.Timestamp]:
    """What a forecaster is given, the truth it is scored by, and the cutoff.

    Each effect of `lib.data.synthesis` draws from a stream of its own: the same noise, seasons and
    events in every condition.
    """
    spec = data.SynthesisSpec(n_series=n_series, n_days=DAYS, anomaly=0.0, missing=0.0)
    clean, _ = data.synthesize(spec, seed)
    spoiled = replace(
        spec,
        missing=condition.value / 100 if condition.ladder == MISSING else 0.0,
        anomaly=condition.value / 100 if condition.ladder == ANOMALY else 0.0,
    )
    given, _ = data.synthesize(spoiled, seed)
    cutoff = clean.dates.max() - HORIZON
    if condition.ladder == REGIME and condition.value:
        rise = np.where(clean.dates > cutoff - int(condition.value), 1 + JUMP, 1.0)
        clean = replace(clean, values=clean.values * rise)
        given = replace(given, values=given.values * rise)
    table = data.to_table(given)
    if condition.ladder == HISTORY:
        first = pd.Timestamp(cutoff) - pd.Timedelta(days=int(condition.value) - 1)
        table = table[table["date"] >= first].reset_index(drop=True)
    return table, clean, pd.Timestamp(cutoff)


def conditions() -> Iterator[Condition]:
    """Every condition once, the clean world first."""
    for ladder, values in LADDERS.items():
        yield from (Condition(ladder, v) for v in values if v != values[0] or ladder == MISSING)


def main() -> int:
    """Run what is missing, then write robustness.json, robustness.md and robustness.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=list(MODELS), choices=MODELS)
    add("--series", type=int, default=12, help="of a world (default %(default)s)")
    add("--seed", type=int, default=11, help="of the world (default %(default)s)")
    add("--trials", type=int, default=0, help="of our search; 0 is the default settings")
    add("--profile", default="default", help="of ours (default %(default)s)")
    add("--peers", type=Path, default=HERE / ".venv", help="environment of the peers")
    add("--force", action="store_true", help="run also what is done")
    add("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    configure_logging("WARNING")
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "robustness.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    cells = [(model, condition) for model in asked.models for condition in conditions()]
    for model, condition in (bar := tqdm(cells, unit="cell")):
        bar.set_postfix_str(f"{condition.key} {model}")
        same = {"world": [asked.series, asked.seed], "condition": condition.key, "model": model}
        done = [row for row in rows if same.items() <= row.items()]
        if done and not asked.force:
            continue
        scores, note = _cell(model, condition, asked)
        rows = [row for row in rows if row not in done]
        rows.append(same | {"ladder": condition.ladder, "value": condition.value} | scores)
        rows[-1]["note"] = note
        path.write_text(json.dumps(rows, indent=1) + "\n")
        if note:
            bar.write(f"{condition.key} {model}: {note}", file=sys.stderr)
    sys.stdout.write(write_robustness(rows, LADDERS, asked.out))
    return 0


def _cell(
    model: str, condition: Condition, asked: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """Scores of one model in one condition; nothing but a note where it refuses."""
    table, truth, cutoff = world(condition, asked.series, asked.seed)
    work = get_settings().var_dir / "benchmarks" / "robustness"
    folder = work / f"{asked.series}-{asked.seed}" / f"{model}-{condition.key}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if model in (OURS, UNCHANGED):
            table.to_parquet(folder / "given.parquet")
            parameters = {"DATA": str(folder / "given.parquet"), "HORIZON": str(HORIZON)}
            parameters |= {"CUTOFFS": "1", "N_TRIALS": str(asked.trials)}
            parameters |= {"CHANGES": "0"} if model == UNCHANGED else {}
            forecasts, seconds = ours(parameters, folder, asked.profile)
        else:
            job = {"cutoffs": [str(cutoff.date())], "horizon": HORIZON, "model": model}
            job |= {"covariates": model in TAKE_COVARIATES, "steps": 0}
            forecasts, seconds = peer(table, job, folder, asked.peers)
    except (StageError, ParameterError, ValueError) as error:
        return {}, _last_line(str(error))
    except subprocess.CalledProcessError as error:
        return {}, _last_line(error.stderr or "")
    origins = evaluation.origin_rows(truth, horizon=HORIZON, cutoffs=1, step=1)
    return score(forecasts, truth, origins, HORIZON) | {"seconds": round(seconds, 1)}, ""


def _last_line(text: str) -> str:
    """The line that says what is wrong: an exception's own, below its traceback."""
    lines = [line.strip() for line in text.splitlines() if "Error" in line]
    return (lines or text.strip().splitlines() or [""])[-1][:300]


if __name__ == "__main__":
    raise SystemExit(main())
