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
    LearnedEffects,
    LearnedPast,
    ServedModel,
    collect_ranks,
    measure_effect_error,
)
from lib.training.cold_start import learn_cold_start
from lib.training.data import FIT_DATES_FROM, TrainingData, learn_past
from lib.training.hidden_covariates import (
    FactorsOf,
    calibrate_hidden,
    calibrate_without_past,
)

BACKGROUND_WINDOWS = 8
REFERENCE_ROWS = 20_000  # feature rows that drift is measured against, at most
BACKGROUND, REFERENCE = "background.npz", "reference.parquet"


def write_windows(
    folder: Path, data: TrainingData, panel: Panel, split: DataSplit, max_context: int
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
    data: TrainingData,
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
    if data.nonnegative_series and not data.nonnegative:  # else one floor for all, or none
        settings[NONNEGATIVE_SERIES] = list(data.nonnegative_series)
    settings |= {"data": describe_data(panel, source), "covariates": describe_covariates(panel)}
    contract = Contract(
        horizon=model["horizon"],
        context_length=model["context_length"],
        max_context=model["max_context"],
        quantiles=tuple(model["quantiles"]),
        scaling={
            "factor_mean": data.factor_mean,
            "factor_std": data.factor_std,
            "floor": 0.0 if data.nonnegative else None,
        },
        fingerprint=fingerprint(panel),
        training_span=(str(panel.dates.min()), str(split.train_end)),
        metrics={},
        settings=settings,
        sha256={name: file_hash(folder / name) for name in (*FILES, *files)},
    )
    (folder / CONTRACT).write_text(contract.to_json())


def add_learned(
    served: ServedModel,
    data: TrainingData,
    split: DataSplit,
    factors_of: FactorsOf,
    twin: ServedModel | None = None,
) -> ServedModel:
    """Add to an artifact what young series borrow, the effects of covariates, and ranks.

    Args:
        served: the artifact.
        data: that the network was trained on.
        split: of its days.
        factors_of: calibrates the widths of the network.
        twin: whose widths are taken where covariates are unknown or series young; by default they
            are measured on the validation days.
    """
    folder, levels = served.folder, len(served.contract.quantiles)
    widths = twin.cold_start.widths if twin else None
    cold_start = learn_cold_start(served, data.validation, split.validation_end, widths)
    if cold_start is not None:
        cold_start.write(folder / COLD_START)
        served = _add_file(served, COLD_START)
    hidden = without_past = np.empty(0)
    if data.effects:
        hidden = calibrate_hidden(factors_of, levels, data)
        if twin and twin.covariates:
            hidden = _take_hidden(twin.covariates, data.effects.names, hidden)
    if data.train.past_effects:
        without_past = (
            twin.past.hidden_spread
            if twin and twin.past
            else calibrate_without_past(factors_of, levels, data)
        )
    learned = data.effects.learned if data.effects else None
    served = _add_effects(served, learned, hidden, data.train.past_effects, without_past)
    served = _add_ranks(served, data)
    if split.train_end == split.validation_end:
        return served  # a refit: its effects have seen every day
    # The ranks are of effects that have not seen the validation days. Those that forecast have.
    panel, newest = data.observed, None
    if learned:
        dates_from = FIT_DATES_FROM if learned.year else 0
        newest = ft.fit_effects(panel, split.validation_end, dates_from=dates_from)
        newest = newest if newest and newest.names == learned.names else learned
        panel = newest.apply(panel).remove(np.full(len(newest.names), True))
    past_effects = learn_past(panel, split.validation_end, served.contract.horizon, newest)
    if not (past_effects and data.train.past_effects):
        past_effects = data.train.past_effects
    return _add_effects(served, newest, hidden, past_effects, without_past)


def _take_hidden(twin: LearnedEffects, names: Sequence[str], without: np.ndarray) -> np.ndarray:
    """Return the widths where covariates are unknown, (K + 1, horizon, levels), as a twin has them.

    Args:
        twin: which may have other covariates.
        names: of the K covariates.
        without: the widths of those that the twin does not have.
    """
    own = dict(zip(twin.effects.names, twin.hidden_spread[:-1], strict=True))
    each = [own.get(name, one) for name, one in zip(names, without[:-1], strict=True)]
    return np.stack([*each, twin.hidden_spread[-1]])


def _add_ranks(served: ServedModel, data: TrainingData) -> ServedModel:
    """Add the ranks of the truth in past forecasts to an artifact, which totals are made from."""
    if not len(data.validation.origins):
        return served
    observed, origins = data.observed, data.validation.origins
    ranks = collect_ranks(served, observed, origins, data.train.origins)
    if ranks is None:
        return served
    error = measure_effect_error(served, observed, origins)
    replace(ranks, effect_error=error).write(served.folder / RANKS)
    return _add_file(served, RANKS)


def _add_effects(
    served: ServedModel,
    effects: ft.CovariateEffects | None,
    hidden_spread: np.ndarray,
    past_effects: ft.PastEffects | None,
    without_past: np.ndarray,
) -> ServedModel:
    """Add the effects of covariates to an artifact, in the place of former ones."""
    median = served.contract.quantiles.index(0.5)
    if effects:
        LearnedEffects(effects, hidden_spread, median).write(served.folder / EFFECTS)
        served = _add_file(served, EFFECTS)
    if past_effects:
        LearnedPast(past_effects, without_past, median).write(served.folder / PAST_EFFECTS)
        served = _add_file(served, PAST_EFFECTS)
    return served


def _add_file(served: ServedModel, name: str) -> ServedModel:
    """Enter a file that was written into the contract, and read the artifact again."""
    sha256 = served.contract.sha256 | {name: file_hash(served.folder / name)}
    (served.folder / CONTRACT).write_text(replace(served.contract, sha256=sha256).to_json())
    return served.reopen()


def add_metrics(folder: Path, metrics: dict[str, float]) -> ServedModel:
    """Add the scores of the backtest, those that are finite, to the contract and reload it."""
    contract = Contract.from_json((folder / CONTRACT).read_text())
    finite = {k: float(v) for k, v in metrics.items() if np.isfinite(v)}
    (folder / CONTRACT).write_text(replace(contract, metrics=finite).to_json())
    return ServedModel.load(folder)


def _choose_background(data: TrainingData, max_context: int) -> tuple[np.ndarray, np.ndarray]:
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
