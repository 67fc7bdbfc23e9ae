"""Judges the forecaster on a user's data: the stages up to the training, nothing registered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from lib.files import to_json, write_json
from lib.pipeline.parameters import ParameterError
from lib.pipeline.run import NOTEBOOKS, run_pipeline
from lib.settings import Settings

log = structlog.get_logger()
# One worker: with more, the search's path depends on who finishes first, and a changed future
# could not be told from chance. WORKERS overrides it, REGISTER is not to be overridden.
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
    """Judge the forecaster: the stages up to the training, nothing registered. → the folder `out`.

    `out` is created, relative to the first of `bases`, and gets forecasts.parquet (series_id,
    cutoff, date, horizon in days, one column `q<level>` each, in the series' own unit),
    metrics.json (mase, wape, wql, coverage_80 and n, the days scored, of ours and of every
    baseline; null where there is none), backtest.png and report.html. The other arguments are
    those of `run_pipeline`, which says what is raised; so is a folder that cannot be made, before
    anything runs.

    One worker tunes unless WORKERS says otherwise.
    """
    given = dict(overrides or {})
    out = (bases[0] if bases else Path.cwd()) / out.expanduser()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"OUT: cannot make the folder {out} ({error.strerror}); give one that this user may "
            "write to"
        ) from error
    run = run_pipeline(
        profile,
        WORKERS | given | REGISTER,
        until="03_training",
        force=force,
        run_dir=run_dir,
        notebooks=notebooks,
        settings=settings,
        bases=bases,
    ).folder
    _hand_over(run, out)
    return out


def _hand_over(run: Path, out: Path) -> None:
    """Copy what a backtest found to the folder `out`, each file whole or not at all."""
    import pandas as pd

    forecasts = pd.read_parquet(run / "forecasts.parquet").drop(columns="actual")
    forecasts.to_parquet(out / "forecasts.parquet.tmp", index=False)
    for source, name in (("backtest.png",) * 2, ("html/03_training.html", "report.html")):
        shutil.copyfile(run / source, out / f"{name}.tmp")
    for name in ("forecasts.parquet", "backtest.png", "report.html"):
        (out / f"{name}.tmp").replace(out / name)
    found = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    names = ("mase", "wape", "wql", "coverage_80")
    scores = {
        name: {key: each.get(key) for key in names} | {"n": int(each["days"])}
        for name, each in ({"ours": found.pop("forecaster")} | found).items()
    }
    write_json(out / "metrics.json", to_json(scores))
    for name, each in scores.items():
        log.info("backtest", forecast=name, **to_json(each))
