"""The run folder: where it is, what it learned from, and the metrics recorded in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.files import to_json, write_json
from lib.settings import ROOT, get_settings

if TYPE_CHECKING:
    import pandas as pd

    from lib.data import Panel

RUN_FOLDER_TAG = "run_folder"  # of an MLflow run: where its files are, on its machine
DIGITS = 10  # significant, in recorded metrics: the rest is rounding noise


def run_folder(run_dir: str | Path) -> Path:
    """Return the folder `run_dir`, created.

    A relative path counts from the project root, and `var/…` from the `VAR_DIR` of the settings;
    the working directory does not matter.

    Raises:
        ValueError: the path is empty.
    """
    path = Path(run_dir).expanduser()
    if not path.parts:
        raise ValueError("RUN_DIR: expected a folder such as var/runs/explore, got an empty text")
    if not path.is_absolute():
        first, *rest = path.parts
        path = get_settings().var_dir.joinpath(*rest) if first == "var" else ROOT / path
    path.mkdir(parents=True, exist_ok=True)
    return path


def record(run_dir: str | Path, stage: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Write the named `metrics` of `stage` to `metrics/<stage>.json` in the run, and return them.

    Floats are rounded to 10 significant digits and become null where they are not finite. NumPy
    scalars and arrays count as the numbers they hold.
    """
    rounded = to_json(metrics, DIGITS)
    write_json(run_folder(run_dir) / "metrics" / f"{stage}.json", rounded)
    return rounded


def read_vintages(folder: Path) -> pd.DataFrame | None:
    """Read what a run folder has of FUTURE: covariates as known at each time, None without them."""
    import pandas as pd

    path = folder / "vintages.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def describe_run(folder: Path, panel: Panel) -> dict[str, str]:
    """Return what a run learned from and for which model, as labels of an MLflow run.

    Args:
        folder: the run folder.
        panel: its series.

    Returns:
        data (name of the file, or "synthetic"), series and rows (counts), first_day, last_day,
        profile ("none" where the notebooks were opened by hand), registered_model, run_folder.
    """
    path = folder / "parameters.json"
    plan = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    files = [values.get("DATA") for values in plan.get("stages", {}).values()]
    file = next(filter(None, files), "")
    return {
        "data": Path(file).name if file else "synthetic",
        "series": str(panel.n_series),
        "rows": str(len(panel.dates)),
        "first_day": str(panel.dates.min()),
        "last_day": str(panel.dates.max()),
        "profile": plan.get("profile", "none"),
        "registered_model": get_settings().registered_model_name,
        RUN_FOLDER_TAG: str(folder),
    }
