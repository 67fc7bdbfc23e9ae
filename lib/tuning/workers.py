"""Choose the network and its pace by an Optuna study: resumable, on any storage, by N workers.

Workers are processes of one thread each, started as `python -m lib.tuning.workers JOB.json`; the same
command on another host (which sees the series file and the storage) joins the same study.

With one worker a study is repeatable to the bit. With more, what a trial that runs to its end
scores is still a function of its settings and the seed alone, but which settings are tried next,
and which trials are pruned, depends on who finished first.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import structlog
from optuna.trial import TrialState
from tqdm import tqdm

from lib.data import DataSplit, to_panel
from lib.models import ModelConfig
from lib.settings import ROOT
from lib.training import TrainingError, fit, prepare
from lib.tuning.search_space import Job, TuningError, draw, settings_of
from lib.tuning.study import (
    claimed,
    elsewhere,
    finished,
    is_over_budget,
    open_study,
    queue_default,
    requeue_dead,
    this_worker,
)

log = structlog.get_logger()
RESTARTS = 3  # times that workers may fail, any number at once, without a trial finished between
POLL_SECONDS = 1.0  # each look at a database costs a worker some of its core


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tune(job: Job, *, workers: int = 1, progress: bool = True) -> optuna.Study:
    """Run workers until the study has its trials. Ctrl-C leaves a study that can go on.

    A worker that dies is replaced at once; its trial is put back into the queue and counted
    once. Trials that other hosts are running are waited for, not done twice.

    Raises:
        TuningError: the storage cannot be used or is gone for a minute, or workers fail again
            and again (with the last lines of what they wrote).
    """
    if workers < 1:
        raise TuningError(f"workers: expected at least 1, got {workers}")
    study = open_study(job)
    requeue_dead(study)
    queue_default(study, job)
    done = len(finished(study))
    bar = tqdm(
        total=job.trials,
        initial=min(done, job.trials),
        desc="trials",
        unit="trial",
        disable=not progress,
    )
    failures, done_at_failure = 0, done
    with bar, tempfile.TemporaryDirectory(prefix="tuning-") as name:
        crew = WorkerPool(job, Path(name))
        try:
            while done < job.trials:
                if errors := crew.failed():
                    failures = failures + 1 if done == done_at_failure else 1
                    done_at_failure = done
                    if failures > RESTARTS:
                        raise TuningError(f"{job.trials - done} trials not finished:\n{errors[0]}")
                    for error in errors:
                        log.warning("worker replaced", error=error.splitlines()[-1])
                crew.grow_to(min(workers, job.trials - done - elsewhere(study, crew.ids())))
                time.sleep(POLL_SECONDS)
                requeue_dead(study)
                done = len(finished(study))
                _show(bar, study, min(done, job.trials))
        except optuna.exceptions.StorageInternalError as error:
            raise TuningError(
                f"study storage does not answer any more ({error.__cause__}); the same command "
                "goes on with the study once it does"
            ) from error
        finally:
            crew.stop()
    return study


class _Surplus(Exception):
    """The trial is one more than was asked for."""


def work(job: Job, worker: int = 0, parent: int = 0) -> None:
    """Run trials until the study has enough. What one worker process does.

    Args:
        worker: number of this worker, for its draws.
        parent: process without which it leaves, its trial to be taken up again; 0 for none.
    """
    import torch

    torch.set_num_threads(1)
    study = open_study(job)
    queue_default(study, job)
    panel = to_panel(pd.read_parquet(job.series))
    split = DataSplit(*(np.datetime64(day, "D") for day in job.split))
    data = prepare(panel, split, ModelConfig.from_dict(job.model))
    me = this_worker()

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("worker", me)
        if is_over_budget(study, trial, job.trials):
            raise _Surplus
        model, training = settings_of(job, draw(trial, job))
        try:
            result = fit(data, model, training, on_evaluation=_reporter(trial, parent))
        except TrainingError as error:
            log.warning("trial diverged", trial=trial.number, error=str(error))
            raise optuna.TrialPruned from error
        trial.set_user_attr("best_step", result.best_step)
        return result.validation_loss

    while claimed(study) < job.trials:
        _leave_without(parent)
        # by the number of trials begun, or a resumed study would draw its first trials again;
        # without those put back, so that a search that was cut off ends as it would have
        begun = sum("retry_of" not in t.user_attrs for t in study.get_trials(deepcopy=False))
        seed = np.random.SeedSequence([job.training["seed"], worker, begun]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(
            seed=int(seed), n_startup_trials=6, constant_liar=True
        )
        try:
            study.optimize(objective, n_trials=1, catch=(_Surplus,))
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError) as error:
            if isinstance(error, ValueError) and not str(error).startswith("Cannot tell a"):
                raise
            # this host was cut off for so long that others took the worker for dead
            log.warning("trial was given to another worker", error=str(error))


def _reporter(trial: optuna.Trial, parent: int) -> Callable[[int, float, float], None]:
    """Report the lowest loss so far at each evaluation, and stop where the pruner says.

    The default settings are never stopped: without their value, nobody knows what tuning gained.
    """
    lowest = float("inf")
    spared = trial.user_attrs.get("default", False)

    def report(step: int, train_loss: float, validation_loss: float) -> None:
        nonlocal lowest
        _leave_without(parent)
        lowest = min(lowest, validation_loss)
        trial.report(lowest, step)
        if not spared and trial.should_prune():
            raise optuna.TrialPruned

    return report


def _leave_without(parent: int) -> None:
    """End an orphan: nobody would stop it. Its trial stays marked as running, for the next."""
    if parent and os.getppid() != parent:
        raise SystemExit("the process that started this worker is gone")


class WorkerPool:
    """The worker processes of one `tune`; each keeps a slot, whose number seeds its draws."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.folder = folder  # readable by this user alone
        self.running: dict[int, subprocess.Popen] = {}
        job.write(folder / "job.json")

    def ids(self) -> set[int]:
        return {process.pid for process in self.running.values()}

    def grow_to(self, count: int) -> None:
        for slot in [s for s in range(count) if s not in self.running]:
            if len(self.running) < count:
                self.running[slot] = self._start(slot)

    def failed(self) -> list[str]:
        """Let go of those that ended. → last lines of each that failed or was killed."""
        ended = {s: p for s, p in self.running.items() if p.poll() is not None}
        self.running = {s: p for s, p in self.running.items() if s not in ended}
        return [self._last_lines(s, p.returncode) for s, p in ended.items() if p.returncode]

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()
        self.running = {}

    def _start(self, slot: int) -> subprocess.Popen:
        command = [sys.executable, "-m", "lib.tuning.workers", str(self.folder / "job.json")]
        command += ["--worker", str(slot), "--parent", str(os.getpid())]
        with self._log(slot).open("w") as out:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Ctrl-C is ours: Optuna would count an interrupted trial as failed for good
                start_new_session=True,
            )

    def _log(self, slot: int) -> Path:
        return self.folder / f"worker-{slot}.log"

    def _last_lines(self, slot: int, code: int) -> str:
        lines = self._log(slot).read_text(errors="replace").splitlines()[-12:]
        return "\n".join([f"worker {slot} ended with {code}", *lines])


def _show(bar: tqdm, study: optuna.Study, done: int) -> None:
    if done == bar.n:
        return
    complete = [t for t in finished(study) if t.state == TrialState.COMPLETE]
    if values := [t.value for t in complete if t.value is not None]:
        bar.set_postfix(best=f"{min(values):.4f}", refresh=False)
    bar.update(done - bar.n)


def main(arguments: list[str] | None = None) -> int:
    """Join a study as a worker. → 0, or 1 where the study cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m lib.tuning.workers", description=main.__doc__)
    parser.add_argument("job", type=Path, help="JSON file of a job")
    parser.add_argument("--worker", type=int, default=0, help="number of this worker, for its seed")
    parser.add_argument("--parent", type=int, default=0, help="process to end with")
    asked = parser.parse_args(arguments)
    # an interrupt ends the process at once, so that its trial is put back and not failed
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        work(Job.read(asked.job), asked.worker, asked.parent)
    except TuningError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
