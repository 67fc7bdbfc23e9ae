"""A run folder: where it lies, and what a notebook records in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.data import Panel, fingerprint
from lib.files import to_json, write_json
from lib.inference import ServedModel
from lib.settings import ROOT, get_settings


def load_model(folder: Path, panel: Panel) -> ServedModel:
    """The model of a run folder, which must be that of the run's series.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was trained with other data.
    """
    if not (folder / "model").is_dir():
        raise FileNotFoundError(
            f"model/ is not in the run folder {folder.name}: run 03_training first"
        )
    forecaster = ServedModel.load(folder / "model")
    if forecaster.contract.fingerprint != fingerprint(panel):
        raise ValueError(
            f"model/ and series.parquet of the run folder {folder.name} do not belong together "
            "(the data hash in contract.json is another): run 03_training again"
        )
    return forecaster


def run_folder(run_dir: str | Path) -> Path:
    """Return the folder `run_dir`, created.

    A relative path counts from the project root, and `var/…` from the `VAR_DIR` of the settings,
    whatever the working directory is.
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

    Names are sorted, floats rounded to 10 significant digits, what is not finite becomes null;
    NumPy scalars and arrays count as the numbers they hold.
    """
    rounded = to_json(metrics)
    write_json(run_folder(run_dir) / "metrics" / f"{stage}.json", rounded)
    return rounded
