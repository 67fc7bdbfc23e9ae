"""The files of an artifact beside its network: contract, windows to compare with, what was learned.

Nothing here loads PyTorch: an artifact of the pretrained network needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import features as ft
from lib.calibration import PreparedData
from lib.data import (
    DataSplit,
    Panel,
    describe_covariates,
    describe_data,
    fingerprint,
    is_planned,
    without_spikes,
)
from lib.files import file_hash
from lib.inference import (
    COLD_START,
    CONTRACT,
    EFFECTS,
    FILES,
    NONNEGATIVE_SERIES,
    OPTIONAL_FILES,
    PAST_EFFECTS,
    RANKS,
    SERIES_SPREAD,
    Contract,
    ServedModel,
)

BACKGROUND_WINDOWS = 8
REFERENCE_ROWS = 20_000  # feature rows that drift is measured against, at most
BACKGROUND, REFERENCE = "background.npz", "reference.parquet"


def write_windows(
    folder: Path, data: PreparedData, panel: Panel, split: DataSplit, max_context: int
) -> tuple[np.ndarray, np.ndarray]:
    """Write the windows that explanations, and the features that drift checks compare with.

    Args:
        folder: of the artifact.
        data: that the network was trained on.
        panel: all series.
        split: of the days of `panel`.
        max_context: days of the windows.

    Returns:
        Features (n, max_context, 11) and known future (n, horizon, len(FUTURE)).
    """
    background, future = _choose_background(data, max_context)
    np.savez_compressed(folder / BACKGROUND, features=background, future=future)
    features = ft.compute_features(without_spikes(panel, split.validation_end))
    _sample_reference(panel, features).to_parquet(folder / REFERENCE)
    return background, future


def write_contract(
    folder: Path,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    data: PreparedData,
    panel: Panel,
    split: DataSplit,
    *,
    source: str,
    series_spread: Mapping[str, float],
    further: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
) -> None:
    """Write the contract of the files that lie in a folder.

    Args:
        folder: of the artifact; optional files of an earlier one are removed.
        model: settings of the network.
        training: settings of its training.
        data: that it was trained on.
        panel: all series.
        split: of the days of `panel`.
        source: name of the data.
        series_spread: factor of the widths of each series, by name.
        further: settings.
        files: optional ones that have been written.
    """
    for name in set(OPTIONAL_FILES) - set(files):
        (folder / name).unlink(missing_ok=True)
    settings = {"model": dict(model), "training": dict(training), **(further or {})}
    if series_spread:
        settings[SERIES_SPREAD] = dict(series_spread)
    if names := data.floored_series:
        settings[NONNEGATIVE_SERIES] = list(names)
    settings |= {"data": describe_data(panel, source), "covariates": describe_covariates(panel)}
    contract = Contract(
        horizon=model["horizon"],
        context_length=model["context_length"],
        max_context=model["max_context"],
        quantiles=tuple(model["quantiles"]),
        scaling=data.scaling,
        fingerprint=fingerprint(panel),
        training_span=(str(panel.dates.min()), str(split.train_end)),
        metrics={},
        settings=settings,
        sha256={name: file_hash(folder / name) for name in (*FILES, *files)},
    )
    (folder / CONTRACT).write_text(contract.to_json())


def write_learned(folder: Path, served: ServedModel) -> ServedModel:
    """Write what a model has beside its network, and load the artifact by the graph that is open.

    Args:
        folder: of the artifact, with its contract and the graph of the model.
        served: the model.
    """
    parts = {
        EFFECTS: served.covariates,
        PAST_EFFECTS: served.past,
        RANKS: served.ranks,
        COLD_START: served.cold_start if served.cold_start.is_learned else None,
    }
    contract = Contract.read(folder)
    sha256 = dict(contract.sha256)
    for name, part in parts.items():
        if part:
            part.write(folder / name)
            sha256[name] = file_hash(folder / name)
    (folder / CONTRACT).write_text(replace(contract, sha256=sha256).to_json())
    return served.reopen(folder)


def add_metrics(folder: Path, metrics: dict[str, float]) -> ServedModel:
    """Add the scores of the backtest, those that are finite, to the contract and reload it."""
    contract = Contract.from_json((folder / CONTRACT).read_text())
    finite = {k: float(v) for k, v in metrics.items() if np.isfinite(v)}
    (folder / CONTRACT).write_text(replace(contract, metrics=finite).to_json())
    return ServedModel.load(folder)


def _choose_background(data: PreparedData, max_context: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose training windows, evenly spaced, that Shapley values are differences from.

    Returns:
        Features (n, max_context, 11) and known future (n, horizon, len(FUTURE)).
    """
    windows = data.train
    panel, origins = windows.panel, windows.origins
    history = origins - panel.first_row_of(origins) + 1  # days of each series up to its origin
    whole = np.flatnonzero(history >= min(max_context, history.max()))
    count = min(BACKGROUND_WINDOWS, len(whole))
    chosen = whole[np.linspace(0, len(whole) - 1, count).astype(int)]
    return windows.context(chosen, max_context), windows.known_future(chosen)


def _sample_reference(panel: Panel, features: np.ndarray) -> pd.DataFrame:
    """Sample the dated features of all days the model was fitted, calibrated and tested on.

    Drift is measured against them. A change within the days of the test is known to the model's
    users, so these days are included.
    """
    history = np.flatnonzero(~is_planned(panel))
    count = len(history)
    rows = history[np.linspace(0, count - 1, min(REFERENCE_ROWS, count)).astype(int)]
    return ft.tabulate_features(panel, features, rows).astype({"date": "datetime64[ns]"})
