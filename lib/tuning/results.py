"""The result of a search, as a file that later stages read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState

from lib.data import DataSplit
from lib.models import ModelConfig
from lib.training import TrainingConfig
from lib.tuning.search_space import Job, TuningError, settings_of
from lib.tuning.study import finished_trials


def best_settings(study: optuna.Study, job: Job) -> tuple[ModelConfig, TrainingConfig]:
    """Return the settings of the best trial; their steps are those of a trial, not of a fit.

    Raises:
        TuningError: no trial is complete.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise TuningError(
            "no trial is complete: the loss of each was not finite; look for extreme values in "
            "the series"
        )
    return settings_of(job, study.best_trial.params)


def write_result(folder: Path, study: optuna.Study, job: Job) -> dict[str, Any]:
    """Write the best settings of a study to `tuning.json` of a run folder, and return them."""
    model, training = best_settings(study, job)
    names = ("train_end", "validation_end", "test_end")
    result = {
        "model": model.to_dict(),
        "training": training.to_dict(),
        "best_value": study.best_value,
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
