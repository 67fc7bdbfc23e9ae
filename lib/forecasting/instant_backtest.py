"""Backtest the pretrained network on a file in seconds, with the results of `run_backtest`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib import evaluation
from lib.data import load, load_vintages, to_panel
from lib.files import to_json, write_json
from lib.forecasting.files import READING, find_file
from lib.forecasting.fitting import INSTANT
from lib.forecasting.scoring import backtest_panel
from lib.pipeline import (
    BACKTEST_METRICS,
    DIGITS,
    ParameterError,
    add_summary,
    check_future,
    create_out_folder,
    describe_verdict,
    profile_values,
)

LOADED = (*READING, "COUNTRY", "STATE")
# Parameters that say how FUTURE is read: as DATA is.
OF_FUTURE = tuple(name for name in READING[:8] if name != "VALUE_COLUMN")
USED = ("DATA", *LOADED, "FUTURE", "HORIZON", "CUTOFFS", "STEP", "SEED")
_PAGE = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{}</title><body></body></html>'


def backtest_instantly(
    profile: str, overrides: Mapping[str, str], *, out: Path, bases: Sequence[Path] = ()
) -> Path:
    """Score the pretrained network beside the baselines, and write the results.

    Args:
        profile: whose cutoffs and horizon are taken where they are not given.
        overrides: parameters of the notebooks as text, by name; those of USED.
        out: folder of the results, relative to the first of `bases`; created. Its files are those
            of `lib.pipeline.run_backtest`; the report has no notebook in it.
        bases: folders that a relative path counts from.

    Returns:
        The folder.

    Raises:
        ParameterError: a parameter is wrong, or is one of a training.
        SeriesError: the data cannot be used, or is too short for so many cutoffs.
    """
    if unused := sorted(set(overrides) - set(USED)):
        raise ParameterError(
            f"{', '.join(unused)}: nothing is trained with EFFORT=instant; leave it out"
        )
    values = profile_values(profile, dict(overrides))
    reading, settings = values["01_synthesis"], values["03_training"]
    check_future(values)
    if not reading["DATA"]:
        raise ParameterError("DATA: expected a file of the past, such as DATA=sales.csv")
    path = find_file("DATA", Path(reading["DATA"]), bases)
    out = create_out_folder(out, bases)
    table = load(path, **{name.lower(): reading[name] for name in LOADED})
    panel, vintages = to_panel(table), None
    if reading["FUTURE"]:
        future = find_file("FUTURE", Path(reading["FUTURE"]), bases)
        options = {name.lower(): reading[name] for name in OF_FUTURE}
        vintages = load_vintages(future, table, **options)
    with tempfile.TemporaryDirectory(prefix="backtest-") as folder:
        model, results = backtest_panel(
            panel,
            Path(folder),
            effort=INSTANT,
            horizon=values["02_tuning"]["HORIZON"],
            seed=settings["SEED"],
            cutoffs=settings["CUTOFFS"],
            step=settings["STEP"],
            known_future=settings["COVARIATES"],
            vintages=vintages,
        )
        ours = results[evaluation.OURS]
        totals = evaluation.score_totals(ours, model.ranks, panel, seed=settings["SEED"])
    _write(out / "totals.csv", totals)
    _write(out / "forecasts.parquet", evaluation.forecast_table(ours, panel))
    evaluation.plot_error_by_day(results).savefig(out / "backtest.png", dpi=120)
    baselines = {name: result for name, result in results.items() if name != evaluation.OURS}
    verdict = evaluation.judge(ours, baselines).to_dict()
    verdict["left_out"] = evaluation.describe_left_out(panel, ours).to_dict("records")
    verdict["notes"] = evaluation.describe_vintages(panel, vintages, ours)
    write_json(out / "verdict.json", to_json(verdict))
    scores: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        found = evaluation.compute_metrics(result)
        known = to_json({metric: found.get(metric) for metric in BACKTEST_METRICS}, DIGITS)
        scores[name] = known | {"n": int(found["days"])}
    write_json(out / "metrics.json", scores)
    title = f"Backtest of {path.name} without training"
    page = add_summary(
        _PAGE.format(title),
        title=title,
        scores=scores,
        verdict=describe_verdict(scores, verdict),
        left_out=verdict["left_out"],
        notes=verdict["notes"],
        notebook=False,
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    return out


def _write(path: Path, table: pd.DataFrame) -> None:
    """Write a table, whole or not at all."""
    part = path.with_name(f"{path.name}.tmp")
    if path.suffix == ".parquet":
        table.drop(columns="actual").to_parquet(part, index=False)
    else:
        table.to_csv(part, index=False)
    part.replace(path)
