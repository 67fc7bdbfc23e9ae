"""Write a forecaster to a folder, and read it back."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib.files import write_json
from lib.forecasting.history import History
from lib.forecasting.model_choice import Choice
from lib.inference import ServedModel

SETTINGS_FILE, HISTORY_FILE, PLANNED_FILE, MODEL_FOLDER = (
    "forecaster.json",
    "history.parquet",
    "planned.parquet",
    "model",
)
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Saved:
    """What a folder has: settings, history, and the model with the reason for it."""

    horizon: int
    seed: int
    history: History
    model: ServedModel
    choice: Choice


def write_folder(folder: Path, saved: Saved) -> None:
    """Write model, history and settings to a folder, made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(saved.model.folder, folder / MODEL_FOLDER, dirs_exist_ok=True)
    saved.history.known.to_parquet(folder / HISTORY_FILE, index=False)
    saved.history.planned.to_parquet(folder / PLANNED_FILE, index=False)
    write_json(
        folder / SETTINGS_FILE,
        {
            "format_version": FORMAT_VERSION,
            "horizon": saved.horizon,
            "country": saved.history.country,
            "state": saved.history.state,
            "seed": saved.seed,
            "columns": dict(saved.history.columns),
            "choice": asdict(saved.choice),
        },
    )


def read_folder(folder: Path, copy: Path) -> Saved:
    """Read what `write_folder` wrote; the model from a copy of its own.

    Args:
        folder: that was written.
        copy: an empty folder for the model, so that `folder` may go.

    Raises:
        FileNotFoundError: the folder has no saved forecaster.
        ValueError: another release wrote it.
        ArtifactError: the model is altered.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise FileNotFoundError(
            f"{folder}: no {SETTINGS_FILE}; expected a folder that Forecaster.save wrote"
        )
    state: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    if state["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{folder / SETTINGS_FILE}: format_version {state['format_version']}, expected "
            f"{FORMAT_VERSION}; install the release that wrote it"
        )
    shutil.copytree(folder / MODEL_FOLDER, copy, dirs_exist_ok=True)
    history = History(
        pd.read_parquet(folder / HISTORY_FILE),
        pd.read_parquet(folder / PLANNED_FILE),
        state["columns"],
        state["country"],
        state.get("state", ""),  # since 0.3
    )
    return Saved(
        state["horizon"], state["seed"], history, ServedModel.load(copy), Choice(**state["choice"])
    )
