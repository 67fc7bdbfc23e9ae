"""A network that has learned every known day beside its twin, which has not learned the last ones.

Synthetic series of four years. Both forecast in the first 28 days after the last one that the
refit knows, from an origin a week; once as drawn, once with a level that changed for good in the
middle of the days that the twin has not learned. `python -m benchmarks.accuracy.refitting --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.accuracy.bench import HERE
from lib import evaluation, training
from lib.data import (
    Panel,
    SynthesisSpec,
    choose_validation_days,
    split_days,
    synthesize,
    to_panel,
    to_table,
)
from lib.inference import ServedModel, unpack_twin
from lib.log import configure_logging
from lib.models import ModelConfig
from lib.pipeline import profile_values

SPEC = SynthesisSpec(n_series=6, n_days=4 * 365 + 56)
HORIZON, CUTOFFS, STEP = 28, 6, 28
ORIGINS, WEEK = 4, 7  # a week apart, the first on the last day of the history
CHANGE = 1.4  # of the level
SCORES = ("mase", "wql", "coverage_80")


def measure(seed: int, change: float) -> dict[str, object]:
    """Return the scores of the twin and of the refit after the history of one panel."""
    panel, _ = synthesize(SPEC, seed=seed)
    last = panel.dates.max() - HORIZON - (ORIGINS - 1) * WEEK
    history = up_to(panel, last)
    days = {"horizon": HORIZON, "cutoffs": CUTOFFS, "step": STEP}
    validation_days = choose_validation_days(history, **days)
    split = split_days(history, **days, validation_days=validation_days)
    changed = split.train_end + (last - split.train_end) // 2
    factor = np.where(panel.dates > changed, change, 1.0)
    panel = replace(panel, values=panel.values * factor)
    origins = np.flatnonzero(np.isin(panel.dates, last + WEEK * np.arange(ORIGINS)))
    with tempfile.TemporaryDirectory() as folder:
        refitted = learn(up_to(panel, last), split, Path(folder), seed)
        if refitted is None:
            return {"seed": seed, "change": change, "left_out": True}
        twin = ServedModel.load(unpack_twin(Path(folder)))
        models = {"twin": twin, "refit": refitted}
        found = {
            name: evaluation.compute_metrics(evaluation.run_backtest(model, panel, origins))
            for name, model in models.items()
        }
    scores = {name: {key: round(one[key], 4) for key in SCORES} for name, one in found.items()}
    return {"seed": seed, "change": change, "left_out": False, **scores}


def up_to(panel: Panel, last: np.datetime64) -> Panel:
    """Return the days of a panel up to one of them."""
    table = to_table(panel)
    return to_panel(table[table["date"].to_numpy() <= last])


def learn(panel: Panel, split: object, folder: Path, seed: int) -> ServedModel | None:
    """Fit by the default profile and fit again on every day; None where that is left out."""
    values = profile_values("default", {"HORIZON": str(HORIZON), "SEED": str(seed)})
    final = values["03_training"]
    config = ModelConfig(horizon=HORIZON, members=final["MEMBERS"])
    names = {"steps": "STEPS", "evaluate_every": "EVALUATE_EVERY", "patience": "PATIENCE"}
    settings = training.TrainingConfig(seed=seed, **{n: final[name] for n, name in names.items()})
    data = training.prepare(panel, split, config)
    fit = training.calibrate(training.fit(data, config, settings), data)
    training.save_artifact(folder, fit, data, panel, split)
    again = training.refit(fit, data, panel)
    return training.save_refit(folder, again, panel) if again else None


def table(rows: list[dict]) -> str:
    """Return the means over the panels as Markdown."""
    lines = [
        f"{SPEC.n_series} synthetic series of four years, {len({r['seed'] for r in rows})} panels; "
        "MASE, WQL (%) and what the 80 % interval covers (%) of forecasts made in the first 28 "
        "days after the history.",
        "",
        "| level in the days held out | twin | refit | refit to twin, MASE |",
        "|---|---|---|---|",
    ]
    for change in sorted({row["change"] for row in rows}):
        own = [row for row in rows if row["change"] == change and not row["left_out"]]
        if not own:
            continue
        cells = []
        for name in ("twin", "refit"):
            means = [float(np.mean([row[name][key] for row in own])) for key in SCORES]
            cells.append(f"{means[0]:.3f}, {means[1]:.2f}, {means[2]:.0f}")
        ratios = np.array([row["refit"]["mase"] / row["twin"]["mase"] - 1 for row in own])
        each = ", ".join(f"{100 * ratio:+.1f}" for ratio in ratios)
        said = "as before" if change == 1 else f"× {change:g} in their middle"
        lines.append(f"| {said} | {' | '.join(cells)} | {100 * ratios.mean():+.1f} % ({each}) |")
    if left := sum(row["left_out"] for row in rows):
        lines.append(f"\n{left} refits were left out: they knew the validation days worse.")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, then write refitting.json and refitting.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the panels")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    configure_logging("WARNING")
    jobs = [(seed, change) for seed in options.seeds for change in (1.0, CHANGE)]
    rows = [measure(*job) for job in tqdm(jobs, unit="panel")]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "refitting.json").write_text(json.dumps(rows, indent=1) + "\n")
    (options.out / "refitting.md").write_text(table(rows))
    sys.stdout.write(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
