"""Series that have just begun: a tenth of a panel, cut to its last days before each cutoff.

Nothing is trained. The other series are known whole; the model learns from their days up to the
first cutoff. `python -m benchmarks.accuracy.new_series --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.bench import DATA_SETS, HERE, STEP
from lib import evaluation
from lib.data import DataSplit, Panel, take_series, to_panel, weekday_of
from lib.features import values_at
from lib.forecasting.fitting import take_pretrained
from lib.inference import PRETRAINED_ARTIFACT, ServedModel, forecast_panel
from lib.log import configure_logging
from lib.settings import ROOT

KNOWN = (1, 7, 14, 30, 59)  # days
TENTH, FIRST = 10, 3  # every tenth series, from the fourth on
PROFILE_WEEKS = 8
COLUMNS = {
    "ours": "in the panel",
    "alone": "alone",
    "profile": "mean profile of the others",
    "median": "weekday median",
}


def measure(panel: Panel, horizon: int, cutoffs: int) -> list[dict[str, float]]:
    """Return a row for each number of known days: MASE of each forecast, coverage of ours."""
    origins = evaluation.origin_rows(panel, horizon=horizon, cutoffs=cutoffs, step=STEP)
    first = panel.dates[origins].min()
    young = np.arange(FIRST, panel.n_series, TENTH)
    others = take_series(panel, np.setdiff1d(np.arange(panel.n_series), young))
    split = DataSplit(first, first, first)
    with tempfile.TemporaryDirectory() as folder:
        in_panel = take_pretrained(others, Path(folder), horizon=horizon, split=split)
    models = {"ours": in_panel, "alone": ServedModel.load(PRETRAINED_ARTIFACT)}
    scale = evaluation.seasonal_scale(panel, first)
    origins = origins[np.isin(panel.series_of(origins), young)]
    rows = []
    for known in KNOWN:
        errors: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        inside: dict[str, list[np.ndarray]] = {name: [] for name in models}
        for origin in origins:
            history = values_at(panel, panel.values, origin[None], np.arange(1 - known, 1))[0]
            if not np.isfinite(history).any():
                continue
            actual = panel.values[origin + 1 : origin + 1 + horizon]
            series = int(panel.series_of(origin))
            cut = take_series(begun(panel, origin, known), np.array([series]))
            row = np.array([origin - panel.offsets[series]])
            for name, model in models.items():
                quantiles = forecast_panel(model, cut, row)[0, :horizon]
                levels = list(model.contract.quantiles)
                low, middle, high = (quantiles[:, levels.index(p)] for p in (0.1, 0.5, 0.9))
                errors[name].append(np.abs(actual - middle) / scale[series])
                seen = np.isfinite(actual)
                inside[name].append(((actual >= low) & (actual <= high))[seen])
            ahead = weekday_of(panel.dates[origin] + np.arange(1, horizon + 1))
            days = weekday_of(panel.dates[origin] + np.arange(1 - known, 1))
            week = profile(others, panel.dates[origin])
            level = np.nansum(history) / week[days][np.isfinite(history)].sum()
            errors["profile"].append(np.abs(actual - level * week[ahead]) / scale[series])
            medians = [median_of(history[days == day], history) for day in range(7)]
            errors["median"].append(np.abs(actual - np.array(medians)[ahead]) / scale[series])
        found = {name: float(np.nanmean(np.concatenate(e))) for name, e in errors.items()}
        covered = {f"{n}_covers": 100 * float(np.concatenate(i).mean()) for n, i in inside.items()}
        rows.append({"known": known, "forecasts": len(errors["ours"]), **found, **covered})
    return rows


def begun(panel: Panel, origin: np.int64, known: int) -> Panel:
    """Return the panel in which the series of an origin begins `known` days before it."""
    values = panel.values.copy()
    start = panel.offsets[panel.series_of(origin)]
    values[start : max(start, origin - known + 1)] = np.nan
    return replace(panel, values=values)


def profile(others: Panel, day: np.datetime64) -> np.ndarray:
    """Return the mean weekday profile (7,) of series, relative to their levels, up to a day."""
    rows = np.flatnonzero(others.dates == day)
    steps = np.arange(1 - 7 * PROFILE_WEEKS, 1)
    weeks = values_at(others, others.values, rows, steps)
    weeks = weeks[np.nanmean(np.nan_to_num(weeks), axis=1) > 0]
    relative = weeks / np.nanmean(weeks, axis=1, keepdims=True)
    weekday = weekday_of(day + steps)
    return np.array([np.nanmean(relative[:, weekday == d]) for d in range(7)])


def median_of(values: np.ndarray, otherwise: np.ndarray) -> float:
    """Return the median of what is known, else that of all days."""
    return float(np.nanmedian(values if np.isfinite(values).any() else otherwise))


def table(name: str, rows: list[dict[str, float]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        f"{name}: MASE of 28 days ahead of a tenth of the series, of which only the last days are "
        "known, six cutoffs, nothing trained; what the 80 % interval covers (%).",
        "",
        "| known days | " + " | ".join(COLUMNS.values()) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for row in rows:
        cells = [
            f"{row[key]:.3f}" + (f" ({row[f'{key}_covers']:.0f})" if f"{key}_covers" in row else "")
            for key in COLUMNS
        ]
        lines.append(f"| {row['known']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, then write new_series.json and new_series.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    configure_logging("WARNING")
    data_set = DATA_SETS["nn5"]
    panel = to_panel(data_set.load(options.data))
    rows = measure(panel, data_set.horizon, data_set.cutoffs)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "new_series.json").write_text(json.dumps(rows, indent=1) + "\n")
    (options.out / "new_series.md").write_text(table("NN5", rows))
    sys.stdout.write(table("NN5", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
