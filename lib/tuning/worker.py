"""Run the trials of a study in one process: `python -m lib.tuning.worker JOB.json`.

On another host which sees the series file and the storage, the same command joins the same study.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import structlog
import torch

from lib.calibration import PreparedData
from lib.data import DataSplit, to_panel
from lib.models import ModelConfig
from lib.training import Fit, TrainingError, fit, losses_by_window, prepare
from lib.tuning.recovery import identify_worker
from lib.tuning.search_space import Job, TuningError, draw, settings_of
from lib.tuning.study import count_claimed, exceeds_budget, open_study, queue_default

log = structlog.get_logger()
STARTUP_TRIALS = 6  # drawn at random, before the sampler learns from earlier ones


class BudgetExceeded(Exception):
    """The trial is one more than the study is to have."""


def run_trials(job: Job, worker: int = 0, parent: int = 0) -> None:
    """Run trials until the study has enough.

    Args:
        job: of the search.
        worker: number of this worker, for its draws.
        parent: id of the process without which it exits, its trial to be queued again; 0 for none.
    """
    torch.set_num_threads(1)
    study = open_study(job)
    queue_default(study, job)
    data = _load_data(job)
    identity = identify_worker()

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("worker", identity)
        if exceeds_budget(study, trial, job.trials):
            raise BudgetExceeded
        return _run_trial(trial, job, data, parent)

    while count_claimed(study) < job.trials:
        _exit_without(parent)
        study.sampler = _make_sampler(study, job, worker)
        try:
            study.optimize(objective, n_trials=1, catch=(BudgetExceeded,))
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError) as error:
            if isinstance(error, ValueError) and not str(error).startswith("Cannot tell a"):
                raise
            # this host was cut off for so long that others took the worker for dead
            log.warning("trial was given to another worker", error=str(error))


def _load_data(job: Job) -> PreparedData:
    panel = to_panel(pd.read_parquet(job.series))
    split = DataSplit(*(np.datetime64(day, "D") for day in job.split))
    return prepare(panel, split, ModelConfig.from_dict(job.model))


def _make_sampler(study: optuna.Study, job: Job, worker: int) -> optuna.samplers.BaseSampler:
    """Return a sampler whose seed depends on search, worker and trials begun.

    By the number of trials begun, or a resumed study would draw its first trials again. Retries
    do not count, so that a search that was interrupted ends as it would have.
    """
    begun = sum("retry_of" not in t.user_attrs for t in study.get_trials(deepcopy=False))
    seed = np.random.SeedSequence([job.training["seed"], worker, begun]).generate_state(1)[0]
    return optuna.samplers.TPESampler(
        seed=int(seed), n_startup_trials=STARTUP_TRIALS, constant_liar=True
    )


def _run_trial(trial: optuna.Trial, job: Job, data: PreparedData, parent: int) -> float:
    """Fit with the settings of one trial and return the validation loss, in scales."""
    model, training = settings_of(job, draw(trial, job))
    try:
        result = fit(data, model, training, on_evaluation=_report_to(trial, parent))
    except TrainingError as error:
        log.warning("trial diverged", trial=trial.number, error=str(error))
        raise optuna.TrialPruned from error
    trial.set_user_attr("best_step", result.best_step)
    trial.set_user_attr("losses", _describe_losses(result, data))
    return result.validation_loss


def _describe_losses(result: Fit, data: PreparedData) -> dict[str, list[float]]:
    """Return the validation losses of the single windows, as plain values."""
    found = losses_by_window(result.model, data.validation, result.config)
    return {
        "loss": found.loss.tolist(),
        "series": found.series.tolist(),
        "block": found.block.tolist(),
    }


def _report_to(trial: optuna.Trial, parent: int) -> Callable[[int, float, float], None]:
    """Return an `on_evaluation` that reports the lowest loss, and stops where the pruner does.

    The default settings are never stopped: without their loss, the gain is unknown.
    """
    lowest = float("inf")
    is_default = trial.user_attrs.get("default", False)

    def report(step: int, train_loss: float, validation_loss: float) -> None:
        nonlocal lowest
        _exit_without(parent)
        lowest = min(lowest, validation_loss)
        trial.report(lowest, step)
        if not is_default and trial.should_prune():
            raise optuna.TrialPruned

    return report


def _exit_without(parent: int) -> None:
    """Exit if the parent is gone; the trial stays marked as running, to be queued again."""
    if parent and os.getppid() != parent:
        raise SystemExit("the process that started this worker is gone")


def main(arguments: list[str] | None = None) -> int:
    """Join a study as a worker; the exit code is 1 where the study cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m lib.tuning.worker", description=main.__doc__)
    parser.add_argument("job", type=Path, help="JSON file of a job")
    parser.add_argument("--worker", type=int, default=0, help="number of this worker, for its seed")
    parser.add_argument("--parent", type=int, default=0, help="id of the process to exit with")
    options = parser.parse_args(arguments)
    # an interrupt ends the process at once, so that its trial is queued again and not failed
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        run_trials(Job.read(options.job), options.worker, options.parent)
    except TuningError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
