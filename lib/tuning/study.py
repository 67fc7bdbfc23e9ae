"""The Optuna study of a search: its storage, its queue of trials, and what it gained.

A trial is counted once it is complete or pruned. One whose worker died is failed and put back
with the same settings; the default settings are a trial that is never pruned and never lost.
"""

from __future__ import annotations

import datetime
import os
import socket
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
import psutil
import structlog
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from tenacity import (
    retry,
    retry_if_exception_message,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from lib import locks
from lib.tuning.search_space import Job, TuningError, default_trial

log = structlog.get_logger()
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 120  # a busy machine must not lose a living trial
UNOWNED_SECONDS = 20  # a trial names its worker at once, or its worker died in that moment
RETRIES = 2  # of one trial
OPEN_SECONDS = 30  # a host cut off in the middle of a transaction holds its locks no longer
# a server that is started again, or was out of reach, has broken the connections it had
_patiently = retry(
    retry=retry_if_exception_type(optuna.exceptions.StorageInternalError),
    stop=stop_after_attempt(7),
    wait=wait_exponential(max=30),  # a minute in all
    reraise=True,
)


@retry(
    # two processes made the tables at once
    retry=retry_if_exception_message(match=r"(?s).*(already exists|UNIQUE constraint)"),
    stop=stop_after_attempt(5),
    wait=wait_random(0.1, 0.5),
    reraise=True,
)
def open_study(job: Job) -> optuna.Study:
    """Create or join the study of a job.

    Raises:
        TuningError: the storage cannot be reached or is not one Optuna knows.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _heartbeats():
            storage = optuna.storages.RDBStorage(
                job.storage,
                engine_kwargs=_engine(job.storage),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=_put_back,
            )
        return optuna.create_study(
            study_name=job.study,
            storage=storage,
            direction="minimize",
            load_if_exists=True,
            # not before a third: until then the learning rate has hardly come down from its peak
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=3, n_warmup_steps=job.trial_steps // 3
            ),
        )
    except (ImportError, ValueError, OSError, SQLAlchemyError, optuna.exceptions.OptunaError) as e:
        message = (str(e) or type(e).__name__).splitlines()[0]
        raise TuningError(
            f"study storage cannot be used ({message}); expected a URL such as "
            "sqlite:///var/optuna.db or postgresql://user@host/name"
        ) from e


def queue_default(study: optuna.Study, job: Job) -> None:
    """Put the job's own settings first, unless they are there: tuning never ends worse.

    Hosts that start at the same moment may each put them; one of them is run (`is_surplus`).
    """
    trials = study.get_trials(deepcopy=False)
    if not any(t.user_attrs.get("default") and t.state != TrialState.FAIL for t in trials):
        study.enqueue_trial(default_trial(job), user_attrs={"default": True})


@_patiently
def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Complete and pruned trials, by number."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def default_value(study: optuna.Study) -> float:
    """Validation loss of the default settings, NaN if they diverged."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [t.value for t in trials if t.user_attrs.get("default") and t.value is not None]
    return values[0] if values else float("nan")


def gain_percent(study: optuna.Study) -> float:
    """How much lower the best loss is than that of the default settings, NaN where that is 0.

    It is 0 where there is nothing to learn: no value of the training is other than zero.
    """
    default = default_value(study)
    return 100 * (1 - study.best_value / default) if default else float("nan")


def claimed(study: optuna.Study) -> int:
    """How many trials are finished or being run, here or elsewhere."""
    return len(study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING)))


@_patiently
def elsewhere(study: optuna.Study, mine: set[int]) -> int:
    """How many trials are being run by processes other than those of the ids `mine`."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    here = [socket.gethostname(), locks.host_identity()]
    workers = [t.user_attrs.get("worker", ["", 0, 0.0, ""]) for t in running]
    return sum(not ([host, *place] == here and pid in mine) for host, pid, _, *place in workers)


def is_over_budget(study: optuna.Study, trial: optuna.Trial, wanted: int) -> bool:
    """Whether a trial is one too many: workers that begin at once all see the same free place.

    Places go to queued trials (the default, retries) and then by number. Of several defaults the
    first is run: numbers are given out one at a time, so that all hosts see the same one.
    """
    states = (*FINISHED, TrialState.RUNNING, TrialState.WAITING)
    others = study.get_trials(deepcopy=False, states=states)
    if trial.user_attrs.get("default"):
        return any(t.user_attrs.get("default") and t.number < trial.number for t in others)
    if _queued(trial.user_attrs):
        return False
    ahead = [t for t in others if t.number < trial.number or _queued(t.user_attrs)]
    return len(ahead) >= wanted


def this_worker() -> list[str | int | float]:
    """Host, process, its start, and where that number means it: others may have the same."""
    started = psutil.Process().create_time()
    return [socket.gethostname(), os.getpid(), started, locks.host_identity()]


@_patiently
def requeue_dead(study: optuna.Study) -> None:
    """Queue the trials of dead workers again: our own at once, other hosts' by their heartbeat."""
    with _heartbeats():
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_dead(trial):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            continue  # another process was faster, and puts it back
        _put_back(study, trial)


def _is_dead(trial: FrozenTrial) -> bool:
    # a trial popped from the queue has no worker yet, and its start is that of the pop
    host, pid, started, *place = trial.user_attrs.get("worker", ["", 0, 0.0])
    if not host:
        begun = trial.datetime_start or datetime.datetime.now()
        return (datetime.datetime.now() - begun).total_seconds() > UNOWNED_SECONDS
    if host != socket.gethostname() or place not in ([], [locks.host_identity()]):
        return False  # its heartbeat tells
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return not (alive and abs(process.create_time() - started) < 2)
    except psutil.NoSuchProcess:
        return True


def _put_back(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the settings of a lost trial again, those it had not drawn yet too if it was queued.

    Not Optuna's own callback: that copies the dead worker's name to the new trial.
    """
    known = trial.user_attrs
    count = known.get("retries", 0) + 1
    if count > RETRIES:
        log.warning("trial given up", trial=trial.number, retries=RETRIES)
        return
    params = trial.system_attrs.get("fixed_params", {}) | trial.params
    facts = {"retry_of": known.get("retry_of", trial.number), "retries": count}
    kept = {"default": True} if known.get("default") else {}
    study.enqueue_trial(params, user_attrs=facts | kept)
    log.warning("trial of a dead worker queued again", trial=trial.number)


def _queued(attributes: Mapping[str, Any]) -> bool:
    return "default" in attributes or "retry_of" in attributes


def _engine(url: str) -> dict[str, Any]:
    """Options of the connections to a storage."""
    if url.startswith("sqlite"):
        # workers queue for the file instead of failing with "database is locked"
        return {"connect_args": {"timeout": 60}}
    if url.startswith("postgresql"):
        limit = f"-c idle_in_transaction_session_timeout={1000 * OPEN_SECONDS}"
        return {"connect_args": {"options": limit}, "pool_pre_ping": True}
    return {}


@contextmanager
def _heartbeats() -> Generator[None]:
    """Heartbeats are marked experimental; they are what brings back the trial of a lost host."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
