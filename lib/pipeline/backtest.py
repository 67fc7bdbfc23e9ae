"""Backtests the forecaster on a user's data: trains without registering, writes the results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from lib.files import to_json, write_json
from lib.pipeline.backtest_report import add_summary
from lib.pipeline.parameters import ParameterError
from lib.pipeline.run import run_pipeline
from lib.pipeline.runs import DIGITS
from lib.pipeline.score_table import Scores
from lib.pipeline.summary import describe_verdict
from lib.settings import NOTEBOOKS, Settings

log = structlog.get_logger()
BACKTEST_METRICS = ("mase", "wape", "wql", "coverage_80")
# With more workers the search depends on which of them finishes first, and two backtests would
# differ by chance. WORKERS may be overridden, REGISTER may not.
WORKERS, REGISTER = {"WORKERS": "1"}, {"REGISTER": "false"}


def run_backtest(
    profile: str = "default",
    overrides: Mapping[str, str] | None = None,
    *,
    out: Path,
    force: bool = False,
    run_dir: Path | None = None,
    notebooks: Path = NOTEBOOKS,
    settings: Settings | None = None,
    bases: Sequence[Path] = (),
) -> Path:
    """Run the stages up to the training, register nothing, and return the folder of the results.

    One worker tunes unless WORKERS says otherwise.

    Args:
        profile: as of `run_pipeline`; so are the arguments that are not listed here.
        out: folder for the results, relative to the first of `bases`; created. It gets
            - forecasts.parquet: series_id, cutoff, date, horizon (days) and a column `q<level>`
              for each quantile, in the unit of the series;
            - metrics.json: mase, wape, wql, coverage_80 and n, the number of days scored, of our
              forecasts (`ours`) and of each baseline; null where a score is not defined;
            - verdict.json: whether that beats the best baseline by MASE and WQL, with the
              differences and their standard errors, what is not scored in full (left_out), and
              which covariates are those of FUTURE (notes);
            - totals.csv, the coverage and the quantile loss of sums over days and series;
            - backtest.png and report.html, a summary above the executed notebook.

    Raises:
        ParameterError: `out` cannot be created, or as of `run_pipeline`; nothing was run.
        StageError: a cell failed.
    """
    out = create_out_folder(out, bases)
    run = run_pipeline(
        profile,
        WORKERS | dict(overrides or {}) | REGISTER,
        until="03_training",
        force=force,
        run_dir=run_dir,
        notebooks=notebooks,
        settings=settings,
        bases=bases,
    ).folder
    scores = _read_scores(run)
    _copy_results(run, out)
    write_json(out / "metrics.json", scores)
    _write_verdict(run, out, scores)
    for name, score in scores.items():
        log.info("backtest", forecast=name, **score)
    log.info("backtest written", out=str(out), report=str(out / "report.html"))
    return out


def create_out_folder(out: Path, bases: Sequence[Path] = ()) -> Path:
    """Create the folder that OUT names, relative to the first of `bases`, and return it.

    Raises:
        ParameterError: it cannot be created.
    """
    folder = (bases[0] if bases else Path.cwd()) / out.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"OUT: cannot make the folder {folder} ({error.strerror}); give one that this user may "
            "write to"
        ) from error
    return folder


def _copy_results(run: Path, out: Path) -> None:
    """Copy forecasts, figure and page from a run folder, each file whole or not at all."""
    import pandas as pd

    forecasts = pd.read_parquet(run / "forecasts.parquet").drop(columns="actual")
    forecasts.to_parquet(out / "forecasts.parquet.tmp", index=False)
    names = [name for name in ("backtest.png", "totals.csv") if (run / name).is_file()]
    for name in names:
        shutil.copyfile(run / name, out / f"{name}.tmp")
    for name in ("forecasts.parquet", *names):
        (out / f"{name}.tmp").replace(out / name)


def _write_verdict(run: Path, out: Path, scores: Scores) -> None:
    """Write verdict.json, where the training has one, and the page with its summary."""
    judged = _read_json(run / "verdict.json")
    if judged:
        write_json(out / "verdict.json", judged)
    else:  # of an earlier backtest
        (out / "verdict.json").unlink(missing_ok=True)
    values = _read_json(run / "parameters.json").get("stages", {}).get("01_synthesis", {})
    name = Path(values.get("DATA") or "synthetic series").name
    page = add_summary(
        (run / "html" / "03_training.html").read_text(encoding="utf-8"),
        title=f"Backtest of {name}",
        scores=scores,
        verdict=describe_verdict(scores, judged),
        left_out=judged.get("left_out", []),
        notes=judged.get("notes", []),
    )
    part = out / "report.html.tmp"
    part.write_text(page, encoding="utf-8")
    part.replace(out / "report.html")


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_scores(run: Path) -> dict[str, dict[str, Any]]:
    """Return the scores of our forecasts and of each baseline."""
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    return {
        name: to_json({metric: score.get(metric) for metric in BACKTEST_METRICS}, DIGITS)
        | {"n": int(score["days"])}
        for name, score in scores.items()
    }
