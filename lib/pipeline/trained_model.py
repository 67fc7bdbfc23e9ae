"""Loads the model that a training left in a run folder."""

from __future__ import annotations

from pathlib import Path

from lib.data import Panel, fingerprint
from lib.inference import ServedModel


def load_model(folder: Path, panel: Panel) -> ServedModel:
    """Return the model of a run folder, which must have been trained on `panel`.

    Raises:
        FileNotFoundError: the folder has no model.
        ValueError: its model was trained on other data.
    """
    if not (folder / "model").is_dir():
        raise FileNotFoundError(
            f"model/ is not in the run folder {folder.name}: run 03_training first"
        )
    model = ServedModel.load(folder / "model")
    if model.contract.fingerprint != fingerprint(panel):
        raise ValueError(
            f"model/ and series.parquet of the run folder {folder.name} do not belong together "
            "(the data hash in contract.json is another): run 03_training again"
        )
    return model
