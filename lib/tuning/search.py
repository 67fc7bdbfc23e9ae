"""Search for settings of network and training by several worker processes.

Workers are processes of one thread each that share an Optuna study. With one worker a study is
repeatable to the bit. With more, the loss of a complete trial still depends on its settings and
the seed alone, but which settings are tried next, and which trials are pruned, depends on which
worker finished first.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import optuna
import structlog
from optuna.trial import TrialState
from tqdm import tqdm

from lib.progress import Progress, report_progress
from lib.tuning.search_space import Job, TuningError
from lib.tuning.study import (
    count_running_elsewhere,
    fail_surplus,
    finished_trials,
    open_study,
    queue_default,
    requeue_dead,
    running_steps,
)
from lib.tuning.worker_pool import WorkerPool

log = structlog.get_logger()
MAX_FAILURES = 3  # of workers, any number at once, without a trial finished between
POLL_SECONDS = 1.0  # each look at a database costs a worker some of its core


def tune(job: Job, *, workers: int = 1, progress: bool = True) -> optuna.Study:
    """Run workers until the study has its trials; an interrupted study is resumed.

    A worker that dies is replaced at once; its trial is queued again and counted once. Trials
    that are running on other hosts are waited for, not done twice.

    A job without trials is no search: its study is empty, and no storage is used.

    Args:
        job: from `plan`.
        workers: processes at most, on this host.
        progress: whether to show a bar on standard error.

    Raises:
        TuningError: the storage cannot be used or is away for a minute, or workers fail again
            and again (with the last lines of their log).
    """
    if workers < 1:
        raise TuningError(f"workers: expected at least 1, got {workers}")
    if job.trials == 0:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(direction="minimize")
    study = open_study(job)
    requeue_dead(study)
    queue_default(study, job)
    bar = tqdm(
        total=job.trials,
        initial=min(len(finished_trials(study)), job.trials),
        desc="trials",
        unit="trial",
        disable=not progress,
    )
    with (
        bar,
        tempfile.TemporaryDirectory(prefix="tuning-") as folder,
        WorkerPool(job, Path(folder)) as pool,
    ):
        try:
            _supervise(pool, study, job, workers, bar)
        except optuna.exceptions.StorageInternalError as error:
            raise TuningError(
                f"study storage does not answer any more ({error.__cause__}); the same command "
                "goes on with the study once it does"
            ) from error
    fail_surplus(study)
    return study


def _supervise(pool: WorkerPool, study: optuna.Study, job: Job, workers: int, bar: tqdm) -> None:
    """Start and replace workers until the study has its trials."""
    done = len(finished_trials(study))
    failures, done_at_failure = 0, done
    while done < job.trials:
        if errors := pool.collect_failures():
            failures = failures + 1 if done == done_at_failure else 1
            done_at_failure = done
            if failures > MAX_FAILURES:
                raise TuningError(f"{job.trials - done} trials not finished:\n{errors[0]}")
            for error in errors:
                log.warning("worker replaced", error=error.splitlines()[-1])
        # In this order: a trial that ends in between counts twice, and no worker too many starts.
        elsewhere = count_running_elsewhere(study, pool.pids())
        remaining = job.trials - len(finished_trials(study)) - elsewhere
        pool.scale_to(min(workers, remaining))
        time.sleep(POLL_SECONDS)
        requeue_dead(study)
        done = len(finished_trials(study))
        _show_progress(bar, study, job)


def _show_progress(bar: tqdm, study: optuna.Study, job: Job) -> None:
    """Show the number of trials and the lowest loss, on the bar and to who watches the run."""
    finished = finished_trials(study)
    done = min(len(finished), job.trials)
    losses = [t.value for t in finished if t.state == TrialState.COMPLETE and t.value is not None]
    lowest = min(losses, default=None)
    running = ", ".join(map(str, running_steps(study)))
    detail = f"batch {running} of {job.trial_steps}" if running else ""
    report_progress(Path(job.series).parent, Progress("trials", done, job.trials, lowest, detail))
    if done == bar.n:
        return
    if lowest is not None:
        bar.set_postfix(best=f"{lowest:.4f}", refresh=False)
    bar.update(done - bar.n)
