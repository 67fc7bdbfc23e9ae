"""The result of a search, as a file that later stages read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from lib.data import DataSplit
from lib.evaluation import standard_error
from lib.models import ModelConfig
from lib.training import TrainingConfig
from lib.tuning.search_space import Job, TuningError, settings_of
from lib.tuning.study import best_value, finished_trials


def choose_settings(study: optuna.Study, job: Job) -> tuple[ModelConfig, TrainingConfig]:
    """Return the settings to fit with; their steps are those of a trial, not of a fit.

    They are those of `choose_trial`, and the defaults where nothing was searched.

    Raises:
        TuningError: no trial of a search is complete.
    """
    if job.trials == 0:
        return settings_of(job, {})
    return settings_of(job, choose_trial(study).params)


def choose_trial(study: optuna.Study) -> FrozenTrial:
    """Return the best trial if the validation can tell it from the default, else the default.

    Of many trials one is better than the default by chance. The best one counts as better if its
    loss is lower by more than a standard error of the difference, paired by validation window
    (the one-standard-error rule of Breiman et al. 1984).

    Raises:
        TuningError: no trial is complete.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise TuningError(
            "no trial is complete: the loss of each was not finite; look for extreme values in "
            "the series"
        )
    best = study.best_trial
    default = next((t for t in complete if t.user_attrs.get("default")), None)
    if default is None or default.number == best.number:
        return best
    gain = (default.value or 0.0) - study.best_value
    return best if gain > _error_of_difference(best, default) else default


def _error_of_difference(one: FrozenTrial, other: FrozenTrial) -> float:
    """Return the standard error of the difference of two losses, 0 where it was not measured.

    Windows of one series, and those of one block of days, depend on each other.
    """
    first, second = (trial.user_attrs.get("losses", {}) for trial in (one, other))
    if not (first and second):
        return 0.0  # of an earlier release
    gap = (np.array(first["loss"]) - np.array(second["loss"])) / len(first["loss"])
    return standard_error(gap, [np.array(first[name]) for name in ("series", "block")])


def write_result(folder: Path, study: optuna.Study, job: Job) -> dict[str, Any]:
    """Write the chosen settings of a search to `tuning.json` of a run folder, and return them.

    Raises:
        TuningError: no trial of a search is complete.
    """
    model, training = choose_settings(study, job)
    names = ("train_end", "validation_end", "test_end")
    result = {
        "model": model.to_dict(),
        "training": training.to_dict(),
        "best_value": best_value(study) if job.trials else None,
        "trials": len(finished_trials(study)),
        "split": dict(zip(names, job.split, strict=True)),
    }
    (folder / "tuning.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def read_result(folder: Path) -> dict[str, Any]:
    """Read what `write_result` wrote, with `split` as a DataSplit.

    Raises:
        FileNotFoundError: there is none; the message names the notebook to run.
    """
    path = folder / "tuning.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"tuning.json is not in the run folder {folder.name}: run 02_tuning"
        )
    result = json.loads(path.read_text())
    days = {name: np.datetime64(day, "D") for name, day in result["split"].items()}
    return result | {"split": DataSplit(**days)}


def read_table(folder: Path) -> pd.DataFrame:
    """Read the series table of a run folder.

    Raises:
        FileNotFoundError: there is none; the message names the notebook to run.
    """
    path = folder / "series.parquet"
    if not path.is_file():
        raise FileNotFoundError(
            f"series.parquet is not in the run folder {folder.name}: run 01_synthesis first"
        )
    return pd.read_parquet(path)
