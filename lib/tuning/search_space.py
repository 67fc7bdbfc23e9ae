"""The search space, and the job that describes a search to its workers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from lib import models
from lib.data import DataSplit, Panel, fingerprint
from lib.models import ModelConfig
from lib.settings import ROOT, get_settings
from lib.training import TrainingConfig, code_hash


class TuningError(RuntimeError):
    """A study cannot be opened, or its workers keep failing."""


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


# A list is a choice, a range are whole numbers. The order is the order of the draws.
Space = dict[str, list | range | Between]
SHAPE_SPACE: Space = {
    "cell": ["lstm", "gru"],
    "hidden": range(24, 65, 8),
    "layers": range(1, 3),
    "bidirectional": [False, True],
    "attention": [False, True],
    "layer_norm": [False, True],
    "decoder_hidden": range(8, 41, 8),
    "encoder_days": [28, 42, 56],
}
TRAINING_SPACE: Space = {
    "dropout": Between(0.0, 0.5),
    "learning_rate": Between(5e-4, 8e-3, log=True),
    "weight_decay": Between(1e-3, 1.0, log=True),
    # none larger than the default: it would see more windows in as many steps, at more cost
    "batch_size": range(32, 65, 16),
}


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know of a search; `plan` makes one.

    Attributes:
        series: path of the series table, Parquet.
        split: last day of training, validation and test, ISO dates.
        model: default settings of the network.
        training: default settings of the fit.
        storage: database URL of the study.
        study: its name.
        trials: finished (complete or pruned) trials the study is to have.
        trial_steps: batches of each.
    """

    series: str
    split: tuple[str, str, str]
    model: dict[str, Any]
    training: dict[str, Any]
    storage: str
    study: str
    trials: int
    trial_steps: int

    def write(self, path: Path) -> None:
        """Write the job as JSON. The storage URL may hold a password: protect the file."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job that `write` wrote."""
        values = json.loads(path.read_text())
        return cls(**(values | {"split": tuple(values["split"])}))


def plan(
    series: Path,
    panel: Panel,
    split: DataSplit,
    model: ModelConfig,
    training: TrainingConfig,
    *,
    trials: int,
    trial_steps: int,
    storage: str = "",
    repeatable: bool = False,
) -> Job:
    """Plan a search around default settings, in a study that the same search resumes.

    The name of the study is a hash of all that the loss of a trial depends on (data, split, fixed
    settings, steps, search space, code), so two searches share a study only if their losses
    compare.

    Args:
        series: the Parquet file that `panel` was read from; workers read it too.
        panel: all series.
        split: of its days.
        model: default settings of the network, inside the search space.
        training: default settings of the fit, inside the search space.
        trials: finished trials the study is to have; 0 is no search.
        trial_steps: batches of each, at least 1.
        storage: database URL, SQLite paths from the project root; empty for OPTUNA_STORAGE.
        repeatable: whether one worker alone searches. Its study is then not shared with searches
            of several workers or of another number of trials, which would change the result.

    Raises:
        TuningError: a number is below 1, a default is outside of the search space, or processes
            cannot share the storage.
    """
    for name, number, least in (("trials", trials, 0), ("trial_steps", trial_steps, 1)):
        if number < least:
            raise TuningError(f"{name}: expected at least {least}, got {number}")
    settings = model.to_dict() | training.to_dict()
    for name, space in (SHAPE_SPACE | TRAINING_SPACE).items():
        if settings[name] not in space:
            raise TuningError(f"{name}: {settings[name]} is outside of the search space {space}")
    days = (str(split.train_end), str(split.validation_end), str(split.test_end))
    space = repr(SHAPE_SPACE | TRAINING_SPACE)
    facts = [fingerprint(panel), days, settings, trial_steps, space, code_hash()]
    if repeatable:
        facts.append(trials)
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return Job(
        series=str(series.resolve()),
        split=days,
        model=model.to_dict(),
        training=training.to_dict(),
        storage=_resolve_storage(storage or get_settings().optuna_storage),
        study=f"forecaster-{model.horizon}-{name}",
        trials=trials,
        trial_steps=trial_steps,
    )


def default_trial(job: Job) -> dict[str, Any]:
    """Return the default settings of a job as parameters of a trial."""
    settings = job.model | job.training
    start = {"pretrained": True} if may_start_pretrained(job) else {}
    return start | {name: settings[name] for name in _space(start)}


def draw(trial: optuna.Trial, job: Job) -> dict[str, Any]:
    """Draw the parameters of one trial from the search space.

    Where the default shape is that of the pretrained network, a trial either fine-tunes that
    network, or draws a shape and is trained from scratch.
    """
    start = {}
    if may_start_pretrained(job):
        start["pretrained"] = trial.suggest_categorical("pretrained", [True, False])
    return start | {name: _draw(trial, name, space) for name, space in _space(start).items()}


def may_start_pretrained(job: Job) -> bool:
    """Tell whether trials of the default shape start from the pretrained network."""
    return job.training["pretrained"] and models.has_pretrained(ModelConfig.from_dict(job.model))


def _space(start: Mapping[str, bool]) -> Space:
    return TRAINING_SPACE if start.get("pretrained") else SHAPE_SPACE | TRAINING_SPACE


def _draw(trial: optuna.Trial, name: str, space: list | range | Between) -> Any:
    if isinstance(space, Between):
        return trial.suggest_float(name, space.low, space.high, log=space.log)
    if isinstance(space, range):
        return trial.suggest_int(name, space[0], space[-1], step=space.step)
    return trial.suggest_categorical(name, space)


def settings_of(job: Job, params: Mapping[str, Any]) -> tuple[ModelConfig, TrainingConfig]:
    """Return the default settings of a job, overridden by the parameters of a trial."""
    model = {name: params.get(name, value) for name, value in job.model.items()}
    training = {name: params.get(name, value) for name, value in job.training.items()}
    steps = {
        "steps": job.trial_steps,
        "evaluate_every": max(5, job.trial_steps // 6),
        "patience": job.trial_steps,  # the pruner stops trials
    }
    return ModelConfig.from_dict(model), TrainingConfig.from_dict(training | steps)


def _resolve_storage(url: str) -> str:
    """Return a storage URL that means the same in every process.

    Raises:
        TuningError: the database is in memory.
    """
    file = url.removeprefix("sqlite:///")
    if url in ("sqlite://", "sqlite:///") or file == ":memory:":
        raise TuningError(
            "study storage: a database in memory cannot be shared by workers; expected a URL "
            "such as sqlite:///var/optuna.db"
        )
    return f"sqlite:///{ROOT / file}" if file != url and not Path(file).is_absolute() else url
