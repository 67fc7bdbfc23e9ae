"""Our forecasts on the exact split of a public leaderboard, scored as it scores, beside its rows.

us_births/D/short of GIFT-Eval (Aksu et al. 2024): the last 600 days in 20 windows of 30 days, MASE
with season 1, mean weighted quantile loss over the levels 0.1 to 0.9. Ours is fitted on the days
before the first window, once; foundation models are zero-shot. `python -m
benchmarks.accuracy.public --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.accuracy.bench import HERE, ours
from lib import data
from lib.log import configure_logging
from lib.models import QUANTILES
from lib.settings import ROOT, get_settings

HORIZON, WINDOWS = 30, 20
LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))
FILE = "us_births_1969.csv"
# Rows of the leaderboard (huggingface.co/spaces/Salesforce/GIFT-Eval): MASE, quantile loss.
PUBLISHED: dict[str, tuple[float, float | None]] = {
    "best of 115 rows, in each column": (0.288, 0.0149),
    "TFT": (0.315, 0.0161),
    "Chronos-2": (0.327, 0.0165),
    "TimesFM-2.5": (0.343, None),
    "TiRex": (0.443, None),
    "Chronos-Bolt base": (0.485, 0.0259),
    "PatchTST": (0.487, None),
    "DeepAR": (0.535, None),
}


def main() -> int:
    """Forecast without and with the holiday flag, then write public.json and public.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "../shared/data", help="folder (default %(default)s)")
    add("--profile", default="default", help="of the fit (default %(default)s)")
    add("--seed", type=int, default=0, help="of the fit (default %(default)s)")
    add("--steps", type=int, help="batches at most (default: of the profile)")
    add("--instant", action="store_true", help="forecast without training; fitted rows stay")
    add("--out", type=Path, default=HERE / "results", help="folder (default %(default)s)")
    chosen = parser.parse_args()
    source = chosen.data / FILE
    if not source.is_file():
        sys.stderr.write(f"there is no {source}: give the folder of the data by --data\n")
        return 1
    configure_logging("WARNING")
    table = data.load(source)
    rows = [
        {"covariates": covariates} | run(table, covariates, chosen) for covariates in (False, True)
    ]
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "public.json"
    old = json.loads(path.read_text()) if path.exists() else []
    rows += [row for row in old if row.get("instant", False) != chosen.instant]
    path.write_text(json.dumps(rows, indent=1) + "\n")
    text = describe(rows)
    (chosen.out / "public.md").write_text(text)
    sys.stdout.write(text)
    return 0


def run(table: pd.DataFrame, covariates: bool, chosen: argparse.Namespace) -> dict[str, Any]:
    """Fit, forecast every window, and score."""
    name = "with" if covariates else "without"
    folder = get_settings().var_dir / "benchmarks" / "public" / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "series.parquet"
    columns = [] if covariates else ["fator_externo", "evento_especial"]
    table.drop(columns=columns).to_parquet(file, index=False)
    parameters = {"DATA": str(file.resolve()), "HORIZON": str(HORIZON), "STEP": str(HORIZON)}
    parameters |= {"CUTOFFS": str(WINDOWS), "SEED": str(chosen.seed)}
    if chosen.instant:
        parameters["EFFORT"] = "instant"
    elif chosen.steps:
        parameters["STEPS"] = str(chosen.steps)
    forecasts, seconds = ours(parameters, folder, chosen.profile)
    settings = {"seed": chosen.seed, "steps": chosen.steps, "instant": chosen.instant}
    return score(forecasts, table) | {"seconds": round(seconds, 1)} | settings


def score(forecasts: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    """Score the windows as gluonts does for the leaderboard.

    Args:
        forecasts: cutoff, date and `q<level>` columns of one series.
        table: date and value of the whole series.

    Returns:
        mase: mean over windows of the absolute errors, in mean absolute changes from day to day
        of all days before the window. quantile_loss: mean over LEVELS of twice the pinball loss,
        each in shares of the sum of the values.
    """
    series = table.set_index("date")["value"]
    actual = series.loc[forecasts["date"]].to_numpy()
    quantiles = interpolate(forecasts[[f"q{level:g}" for level in QUANTILES]].to_numpy())
    scale = {
        cutoff: np.nanmean(np.abs(np.diff(series.loc[:cutoff].to_numpy())))
        for cutoff in forecasts["cutoff"].unique()
    }
    seen = np.isfinite(actual)
    error = np.abs(actual - quantiles[:, LEVELS.index(0.5)]) / forecasts["cutoff"].map(scale)
    gap = actual[:, None] - quantiles
    loss = np.maximum(np.array(LEVELS) * gap, (np.array(LEVELS) - 1) * gap)[seen]
    return {
        "mase": round(float(error[seen].mean()), 4),
        "quantile_loss": round(float((2 * loss.sum(axis=0) / actual[seen].sum()).mean()), 5),
    }


def interpolate(quantiles: np.ndarray) -> np.ndarray:
    """Return the nine levels from our seven: linear in the normal score between two of them.

    >>> interpolate(np.array([[-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449]])).round(2)
    array([[-1.28, -0.84, -0.52, -0.25,  0.  ,  0.25,  0.52,  0.84,  1.28]])
    """
    normal = NormalDist()
    known, wanted = ([normal.inv_cdf(level) for level in levels] for levels in (QUANTILES, LEVELS))
    return np.array([np.interp(wanted, known, row) for row in quantiles])


def describe(rows: list[dict[str, Any]]) -> str:
    """Return the rows and the published ones as a Markdown table."""
    lines = [
        "us_births/D/short of GIFT-Eval: 20 windows of 30 days. MASE with season 1; mean weighted "
        "quantile loss over nine levels (ours from seven, by normal score). Ours is fitted once, "
        "on the days before the first window; those marked * are zero-shot. Published rows: "
        "GIFT-Eval leaderboard (huggingface.co/spaces/Salesforce/GIFT-Eval).",
        "",
        "| model | MASE | quantile loss | processor seconds |",
        "|---|---|---|---|",
    ]
    entries = [
        (
            _name(row),
            row["mase"],
            row["quantile_loss"],
            f"{row['seconds']:.0f}",
        )
        for row in rows
    ]
    zero_shot = ("Chronos", "TimesFM", "TiRex")
    entries += [
        (f"{name}{'*' if name.startswith(zero_shot) else ''}", mase, loss, "")
        for name, (mase, loss) in PUBLISHED.items()
    ]
    for name, mase, loss, seconds in sorted(entries, key=lambda entry: entry[1]):
        shown = "" if loss is None else f"{loss:.4f}"
        lines.append(f"| {name} | {mase:.3f} | {shown} | {seconds} |")
    return "\n".join(lines) + "\n"


def _name(row: dict[str, Any]) -> str:
    given = "with the holiday flag" if row["covariates"] else "the series alone"
    if row.get("instant"):
        return f"**ours**, without training*, {given}"
    return f"**ours**, {given}" + (f", {row['steps']:,} batches" if row["steps"] else "")


if __name__ == "__main__":
    raise SystemExit(main())
