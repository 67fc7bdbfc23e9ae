"""Learn again on every known day, by the recipe that a backtest has judged.

The days of validation and backtest teach a judged network nothing. Its *refit* has the same
settings, the same batches and schedule, and its calibration, but learns these days too. The judged
network is its *twin*: the scores are the twin's, and it stays in the artifact, so that a later
comparison is between two recipes and not between a network that knows the days and one that does
not.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog

from lib import features as ft
from lib.calibration import PreparedData, collect_ranks
from lib.data import DataSplit, Panel, last_history_day
from lib.files import file_hash
from lib.inference import CONTRACT, RANKS, TWIN, Contract, Ranks, ServedModel
from lib.models import ModelConfig
from lib.training.checkpoint import Checkpoint
from lib.training.data import prepare
from lib.training.export import save_artifact
from lib.training.loop import Fit, train_step
from lib.training.state import initial_state
from lib.training.validation import evaluate, validation_batch

# Of the twin's validation loss, the largest of a network that has learned these days. The twin was
# stopped where this loss was lowest, which flatters it by some per cent on a short validation.
TOLERANCE = 1.1
log = structlog.get_logger()


def refit(
    twin: Fit, data: PreparedData, panel: Panel, *, checkpoint: Path | None = None
) -> Fit | None:
    """Train a network on every known day as its twin was trained on the training days.

    Args:
        twin: calibrated.
        data: of the twin.
        panel: all series.
        checkpoint: a folder, to go on after an interruption as `fit` does.

    Returns:
        The refit, or None where it is no good: having learned the validation days it should know
        them at least as well as its twin.
    """
    config, shape = twin.config, twin.model.config
    everything = prepare_every_day(panel, shape, data.effects.learned if data.effects else None)
    state = initial_state(everything, shape, config)
    if twin.schedule is not None:
        state.schedule = replace(twin.schedule)
    saved = Checkpoint(checkpoint, everything, shape, config) if checkpoint else None
    if saved:
        saved.resume(state)
    while state.step < twin.best_step:
        train_step(state, everything, config)
        if saved and state.step % config.evaluate_every == 0:
            saved.save(state)
    model = state.average
    model.spread.copy_(twin.model.spread)
    # The same days, without the effects as this network has learned them.
    windows = everything.train
    known = replace(
        data.validation,
        panel=windows.panel,
        features=windows.features,
        past_effects=windows.past_effects,
    )
    batch = validation_batch(known, shape, config)
    loss = evaluate(model, batch, state.step, config)
    if not loss <= TOLERANCE * twin.validation_loss:
        log.warning("refit left out", loss=loss, twin=twin.validation_loss)
        return None
    return replace(twin, model=model.eval())


def prepare_every_day(
    panel: Panel, shape: ModelConfig, judged: ft.CovariateEffects | None
) -> PreparedData:
    """Index the windows of all known days, to learn from; there are none to stop by.

    Args:
        panel: all series.
        shape: of the network.
        judged: effects of the twin. Where it has none of dates, neither has the refit, though with
            all days a series may be long enough: that would be another recipe.
    """
    last = last_history_day(panel)
    dates_from = None if judged and judged.year else 0
    return prepare(panel, DataSplit(last, last, last), shape, dates_from=dates_from)


def save_refit(folder: Path, fit: Fit, panel: Panel) -> ServedModel:
    """Replace an artifact by the refit of its network, and keep the old one in it as its twin.

    Metrics and the widths where covariates are unknown or series young stay the twin's. The ranks
    are the twin's too, of the days of the backtest as well as of those of the validation.

    Args:
        folder: of the twin's artifact, with its metrics.
        fit: of `refit`.
        panel: all series.
    """
    twin = Contract.read(folder)
    packed, last = _pack(folder, twin), last_history_day(panel)
    judged = ServedModel.load(folder)
    effects = judged.covariates.effects if judged.covariates else None
    data = prepare_every_day(panel, fit.model.config, effects)
    name = str(twin.settings.get("data", {}).get("name", ""))
    ranks = _collect_ranks(judged, data, last)
    served = save_artifact(
        folder,
        fit,
        data,
        panel,
        DataSplit(last, last, last),
        source=name,
        twin=judged,
    )
    sha256 = dict(served.contract.sha256)
    (folder / TWIN).write_bytes(packed)
    sha256[TWIN] = file_hash(folder / TWIN)
    if ranks is not None:
        ranks.write(folder / RANKS)
        sha256[RANKS] = file_hash(folder / RANKS)
    settings = served.contract.settings | {"twin": {"training_span": list(twin.training_span)}}
    contract = replace(served.contract, metrics=twin.metrics, sha256=sha256, settings=settings)
    (folder / CONTRACT).write_text(contract.to_json())
    return ServedModel.load(folder)


def _collect_ranks(twin: ServedModel, data: PreparedData, last: np.datetime64) -> Ranks | None:
    """Return the ranks of a twin on the days that it has not learned, up to the last one."""
    dates = data.observed.dates
    unseen = (dates >= np.datetime64(twin.contract.training_span[1])) & (
        dates <= last - twin.contract.horizon
    )
    ranks = collect_ranks(twin, data.observed, np.flatnonzero(unseen), data.train.origins)
    if ranks is None or twin.ranks is None:
        return twin.ranks
    return replace(ranks, effect_error=twin.ranks.effect_error)


def _pack(folder: Path, contract: Contract) -> bytes:
    """Return the files of an artifact as one archive, the same bytes each time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*contract.files, CONTRACT):
            entry = zipfile.ZipInfo(name)  # without the time of the file
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
    return packed.getvalue()
