"""What the pretrained network is worth: fits from random weights, from it, and none at all.

Nothing here looks at the days that the other tables are about: each data set ends before them,
and is divided anew, so that choices can be made by this table. No search, no changed windows.
`python -m benchmarks.accuracy.starts --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.accuracy.bench import DATA_SETS, HERE, STEP, DataSet
from lib import evaluation, training
from lib.calibration import PreparedData
from lib.data import Panel, choose_validation_days, split_days, to_panel
from lib.features import compute_features
from lib.log import configure_logging
from lib.models import ModelConfig
from lib.settings import ROOT
from lib.training import TrainingConfig, batch_of, prepare

# Without changed windows, which are synthetic too: the start alone differs.
SETTINGS = TrainingConfig(steps=500, evaluate_every=50, level_shift_prob=0.0)
# No step at all: a learning rate that moves nothing.
STARTS = {
    "random": replace(SETTINGS, pretrained=False),
    "pretrained": SETTINGS,
    "zero-shot": replace(SETTINGS, steps=1, evaluate_every=1, learning_rate=1e-12),
}


def earlier(data_set: DataSet, folder: Path) -> Panel:
    """A data set up to the first cutoff at which its file is forecast."""
    table = data_set.load(folder)
    same = [other for other in DATA_SETS.values() if other.file == data_set.file]
    days = max(other.horizon + (other.cutoffs - 1) * STEP for other in same)
    return to_panel(table[table["date"] <= table["date"].max() - pd.Timedelta(days=days)])


def measure(data_set: DataSet, known: Panel, seeds: int) -> Iterator[dict[str, Any]]:
    """A row a start: validation loss and scores on the last days of `known`, mean over seeds."""
    asked = {"horizon": data_set.horizon, "cutoffs": data_set.cutoffs, "step": STEP}
    days = choose_validation_days(known, **asked)
    split = split_days(known, validation_days=days, **asked)
    config = ModelConfig(horizon=data_set.horizon, members=3)
    data = prepare(known, split, config)
    origins = evaluation.origin_rows(known, **asked)
    for start, settings in STARTS.items():
        rows = []
        for seed in range(1 if start == "zero-shot" else seeds):
            began = time.process_time()
            fit = training.fit(data, config, replace(settings, seed=seed))
            fit = training.calibrate(fit, data)
            result = evaluation.collect_forecasts(
                known,
                origins,
                config.horizon,
                quantiles=forecasts(fit, data, origins),
                levels=config.quantiles,
            )
            scores = evaluation.compute_metrics(result)
            rows.append(
                {name: scores[name] for name in ("mase", "wql", "coverage_80")}
                | {
                    "validation_loss": fit.validation_loss,
                    "seconds": time.process_time() - began,
                }
            )
        yield {"start": start} | {
            k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]
        }


def forecasts(fit: training.Fit, data: PreparedData, origins: np.ndarray) -> np.ndarray:
    """Quantiles of the network itself, without a graph. → (n, horizon, quantiles)."""
    known = data.train.panel
    windows = replace(data.train, features=compute_features(known), origins=origins)
    context, future, _ = batch_of(windows, np.arange(len(origins)), fit.model.config.max_context)
    with torch.no_grad():
        return fit.model(context, future).numpy()


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    frame = pd.DataFrame(rows)
    head = "MASE and WQL of the 28 (NN5: also 56) days ahead on days before those of the other "
    head += "table, mean over seeds; validation loss in scales of each window. "
    head += "Trained without changed windows.\n\n"
    lines = ["| data | start | validation loss | MASE | WQL % | 80 % covers | seconds |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in frame.itertuples():
        lines.append(
            f"| {row.data_set} | {row.start} | {row.validation_loss:.4f} | {row.mase:.3f} | "
            f"{row.wql:.2f} | {row.coverage_80:.1f} | {row.seconds:.0f} |"
        )
    return head + "\n".join(lines) + "\n"


def main() -> int:
    """Measure, then write starts.json and starts.md. → 0, 1 where nothing was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "../shared/data", help="folder of the files")
    add("--data-sets", nargs="+", default=list(DATA_SETS)[:7], choices=list(DATA_SETS))
    add("--seeds", type=int, default=2, help="fits of each (default %(default)s)")
    add("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    configure_logging("WARNING")
    torch.set_num_threads(1)
    rows = []
    for name in (bar := tqdm(asked.data_sets, unit="data set")):
        bar.set_postfix_str(name)
        if not (asked.data / DATA_SETS[name].file).is_file():
            bar.write(f"skipped, there is no {asked.data / DATA_SETS[name].file}", file=sys.stderr)
            continue
        known = earlier(DATA_SETS[name], asked.data)
        rows += [{"data_set": name} | row for row in measure(DATA_SETS[name], known, asked.seeds)]
    if not rows:
        sys.stderr.write("nothing was run: give the folder of the data by --data\n")
        return 1
    asked.out.mkdir(parents=True, exist_ok=True)
    there = asked.out / "starts.json"
    old = json.loads(there.read_text()) if there.exists() else []
    rows += [row for row in old if row["data_set"] not in asked.data_sets]
    there.write_text(json.dumps(rows, indent=1) + "\n")
    (asked.out / "starts.md").write_text(table(rows))
    sys.stdout.write(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
