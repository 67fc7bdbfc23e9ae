"""The runner of the notebooks, and what a notebook needs of it: its run folder and its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run_folder(run_dir: str | Path) -> Path:
    """Return the folder `run_dir`, created; a relative path counts from the project root."""
    folder = Path(run_dir)
    folder = folder if folder.is_absolute() else ROOT / folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def record(run_dir: str | Path, stage: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Write the named `metrics` of `stage` to `metrics/<stage>.json` and return them rounded."""
    rounded = json.loads(json.dumps(dict(metrics)))
    folder = run_folder(run_dir) / "metrics"
    folder.mkdir(exist_ok=True)
    (folder / f"{stage}.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    return rounded
