"""The run folder: where it is, and the metrics that a notebook records in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.files import to_json, write_json
from lib.settings import ROOT, get_settings

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
