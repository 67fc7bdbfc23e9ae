"""What each ingredient of the pretraining is worth: networks trained without it, on little.

Nothing here looks at the days that the comparison is about: each data set ends before them. Every
network is kept when it is measured, so a run that is cut off goes on where it stopped.
`python -m benchmarks.accuracy.pretraining --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.accuracy.bench import DATA_SETS, HERE
from benchmarks.accuracy.starts import earlier
from lib import evaluation, training
from lib import features as ft
from lib.calibration import PreparedData
from lib.data import Panel, forget_covariates_after
from lib.log import configure_logging
from lib.models import ZERO_SHOT_FOLDER, LSTMForecaster, ModelConfig, load_pretrained
from lib.settings import ROOT
from lib.training import batch_of, pretraining
from lib.training.schedule import Schedule
from lib.training.worlds import GENERATORS

# Of each set: cutoffs, days between two, and whether it has covariates. The long ones are seen
# in all seasons.
SETS = {
    "bike_all": (24, 7, True),
    "nn5": (6, 28, False),
    "vic_elec": (24, 14, True),
    "metro": (24, 28, True),
    "births": (24, 28, True),
    "peyton_manning": (24, 28, False),
    "uk_flights": (24, 7, False),
    "seoul": (12, 7, True),
    "buildings": (12, 7, True),
}
HORIZON = 28
MONTHS = slice(ft.FUTURE.index("last_year"), None)  # what is known of last year
COVARIATES = ("without", "raw", "effects")
MANY = 256  # windows at a time


@dataclass(frozen=True)
class Variant:
    """How a network is trained: on everything, or without something."""

    name: str
    seed: int = 77
    without: str = ""  # a generator
    share: float = 1.0  # of the batches
    days: int = 0  # of the context at most, 0 for all
    last_year: bool = True


EVERYTHING = "everything"
VARIANTS = (
    Variant(EVERYTHING),
    Variant(EVERYTHING, seed=177),
    Variant(EVERYTHING, seed=277),
    *(Variant(f"without {name}", without=name) for name in GENERATORS),
    Variant("half of the windows", share=0.5),
    Variant("twice the windows", share=2.0),
    Variant("without last year", last_year=False),
    Variant("60 days of context", days=60),
)


@dataclass(frozen=True)
class Forgetful(ft.Windows):
    """Windows that know less of the past: the last `days`, nothing of the year before."""

    days: int = 0
    last_year: bool = True

    def context(self, index: np.ndarray, days: int) -> np.ndarray:
        """Return the context, NaN before the days that are known."""
        found = super().context(index, days)
        if self.days:
            found[:, : -self.days] = np.nan
        return found

    def known_future(self, index: np.ndarray) -> np.ndarray:
        """Return the known future, NaN in the columns of last year unless it is known."""
        found = super().known_future(index)
        if not self.last_year:
            found[..., MONTHS] = np.nan
        return found


def forget(windows: ft.Windows, variant: Variant) -> Forgetful:
    """Return the windows as a variant knows them."""
    return Forgetful(
        windows.panel,
        windows.features,
        windows.origins,
        windows.horizon,
        days=variant.days,
        last_year=variant.last_year,
    )


def train(data: PreparedData, variant: Variant, steps: int, batch_size: int) -> LSTMForecaster:
    """Return one member, trained as the pretraining trains, the rate falling in the second half."""
    windows = data.train
    names = np.array([name.split("_", 1)[1].rsplit("_series", 1)[0] for name in windows.panel.ids])
    kept = names[windows.panel.series_of(windows.origins)] != variant.without
    train = forget(replace(windows, origins=windows.origins[kept]), variant)
    steps = round(steps * variant.share)
    settings = replace(
        pretraining.TRAINING,
        seed=variant.seed,
        steps=steps,
        batch_size=batch_size,
        evaluate_every=steps,
        validation_windows=1,
        ema_decay=0.99,
    )
    fitted = training.fit(
        replace(data, train=train),
        replace(pretraining.MODEL, members=1),
        settings,
        transform=pretraining.cut_horizon,
        prepare_state=partial(
            pretraining.begin,
            schedule=Schedule(pretraining.WARM_UP, steps // 2, steps),
            device="cpu",
        ),
    )
    return fitted.model


@dataclass(frozen=True)
class Task:
    """One data set to be forecast: windows, and how to put the effects of covariates back."""

    known: Panel
    windows: ft.Windows
    effects: ft.PanelEffects | None

    @property
    def visible(self) -> np.ndarray:
        """All covariates that have effects: (K,) bool."""
        return np.full(len(self.effects.names) if self.effects else 0, True)


@cache
def prepare(name: str, covariates: str, folder: Path) -> Task:
    """Cut a data set, and learn the effects of its covariates up to the first cutoff."""
    cutoffs, step, _ = SETS[name]
    known = earlier(DATA_SETS[name], folder)
    origins = evaluation.origin_rows(known, horizon=HORIZON, cutoffs=cutoffs, step=step)
    panel = known
    if covariates == "without":
        panel = forget_covariates_after(known, known.dates.min() - 1)
    learned = ft.fit_effects(panel, panel.dates[origins].min()) if covariates == "effects" else None
    effects = learned.apply(panel) if learned else None
    if effects:
        panel = effects.remove(np.full(len(effects.names), True))
    windows = ft.Windows(panel, ft.compute_features(panel), origins, HORIZON)
    return Task(known, windows, effects)


def measure(model: LSTMForecaster, task: Task, variant: Variant) -> dict[str, float]:
    """Forecast a data set, without calibration, and score."""
    windows = forget(task.windows, variant)
    panel, origins = windows.panel, windows.origins
    past = panel.dates <= panel.dates[origins].min()
    factor = panel.factor[past & np.isfinite(panel.factor)]
    if len(factor):
        model.factor_mean.fill_(float(factor.mean()))
        model.factor_std.fill_(float(factor.std()))
    model.spread = torch.ones((1, len(model.config.quantiles)), dtype=torch.float64)
    parts = np.array_split(np.arange(len(origins)), -(-len(origins) // MANY))
    with torch.no_grad():
        found = [
            model(*batch_of(windows, part, model.config.max_context)[:2]).numpy() for part in parts
        ]
    quantiles = np.concatenate(found)
    if task.effects:
        quantiles = task.effects.restore(quantiles, origins, task.visible)
    if np.nanmin(task.known.values[past]) >= 0:
        quantiles = np.maximum(quantiles, 0.0)
    result = evaluation.collect_forecasts(
        task.known, origins, HORIZON, quantiles=quantiles, levels=model.config.quantiles
    )
    scores = evaluation.compute_metrics(result)
    return {key: round(float(scores[key]), 4) for key in ("mase", "wql", "coverage_80")}


def judge(model: LSTMForecaster, variant: Variant, folder: Path) -> dict[str, Any]:
    """Return the scores of all data sets, those with covariates in three ways."""
    return {
        name: {
            covariates: measure(model, prepare(name, covariates, folder), variant)
            for covariates in COVARIATES
            if has_covariates or covariates == "without"
        }
        for name, (_, _, has_covariates) in SETS.items()
    }


def committed() -> LSTMForecaster:
    """Return the zero-shot network that comes with the project."""
    model = LSTMForecaster(ModelConfig(horizon=HORIZON, members=3))
    load_pretrained(model, ZERO_SHOT_FOLDER)
    return model.eval()


def describe(rows: list[dict[str, Any]], whole: dict[str, Any]) -> str:
    """Return the rows as Markdown, relative to the mean of the networks trained on everything."""
    base = [row["scores"] for row in rows if row["variant"] == EVERYTHING]

    def relative(scores: dict[str, Any], metric: str, covariates: str) -> dict[str, float]:
        return {
            name: found[covariates][metric]
            / float(np.mean([one[name][covariates][metric] for one in base]))
            for name, found in scores.items()
            if covariates in found
        }

    def cells(scores: dict[str, Any]) -> list[str]:
        means = [
            np.mean(list(relative(scores, metric, covariates).values()))
            for covariates in ("without", "effects")
            for metric in ("mase", "wql")
        ]
        return [f"{value:.3f}" for value in (*means, *relative(scores, "wql", "without").values())]

    first = rows[0]
    windows = first["steps"] * first["batch_size"]
    head = (
        f"One member each, {first['steps']} batches of {first['batch_size']} windows "
        f"({windows:,}), {first['worlds']} worlds. Relative to the mean of the networks trained "
        "on everything, on inner days of nine data sets, uncalibrated, without effects of dates: "
        "mean MASE and WQL without covariates, with their effects (bike, Victoria, metro, births, "
        "Seoul, buildings), and the WQL of each set without.\n\n"
    )
    names = ["network", "MASE", "WQL", "MASE with", "WQL with", *SETS]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        name = row["variant"] + (f", seed {row['seed']}" if row["variant"] == EVERYTHING else "")
        lines.append("| " + " | ".join([name, *cells(row["scores"])]) + " |")
    lines.append("| " + " | ".join(["the committed one", *cells(whole)]) + " |")
    tail = (
        "\nCovariates, by the committed network: MASE and WQL without them, as inputs of the "
        "network alone, and with their effects taken off before it:\n\n"
        "| data | without | | as inputs | | effects | |\n|---|---|---|---|---|---|---|\n"
    )
    for name, found in whole.items():
        if "effects" in found:
            pairs = [f"{found[c]['mase']:.3f} | {found[c]['wql']:.2f}" for c in COVARIATES]
            tail += f"| {name} | " + " | ".join(pairs) + " |\n"
    return head + "\n".join(lines) + "\n" + tail


def main() -> int:
    """Train and measure what is missing, then write pretraining.json and pretraining.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "../shared/data", help="folder of the files")
    add("--worlds", type=int, default=450, help="drawn once for all (default %(default)s)")
    add("--steps", type=int, default=400, help="batches of each (default %(default)s)")
    add("--batch-size", type=int, default=64, help="windows of each (default %(default)s)")
    add("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    missing = [name for name in SETS if not (asked.data / DATA_SETS[name].file).is_file()]
    if missing:
        parser.error(f"--data: {asked.data} lacks the files of {', '.join(missing)}")
    configure_logging("WARNING")
    torch.set_num_threads(1)
    budget = {"worlds": asked.worlds, "steps": asked.steps, "batch_size": asked.batch_size}
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "pretraining.json"
    there = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in there if {key: row[key] for key in budget} == budget]
    done = {(row["variant"], row["seed"]) for row in rows}
    todo = [variant for variant in VARIANTS if (variant.name, variant.seed) not in done]
    data = pretraining.prepare_worlds(asked.worlds, VARIANTS[0].seed) if todo else None
    whole = judge(committed(), VARIANTS[0], asked.data)
    for variant in (bar := tqdm(todo, unit="network")):
        bar.set_postfix_str(variant.name)
        began = time.process_time()
        model = train(data, variant, asked.steps, asked.batch_size)
        seconds = round(time.process_time() - began, 1)
        scores = judge(model, variant, asked.data)
        named = {"variant": variant.name, "seed": variant.seed, "processor_seconds": seconds}
        rows.append(named | budget | {"scores": scores})
        text = json.dumps({"rows": rows, "committed": whole}, indent=1)
        path.write_text(text + "\n")
    order = [(variant.name, variant.seed) for variant in VARIANTS]
    rows.sort(key=lambda row: order.index((row["variant"], row["seed"])))
    text = describe(rows, whole)
    (asked.out / "pretraining.md").write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
