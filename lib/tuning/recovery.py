"""Find the trials of dead workers and queue them again."""

from __future__ import annotations

import datetime
import os
import socket
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import optuna
import psutil
import structlog
from optuna.trial import FrozenTrial, TrialState

from lib import locks

log = structlog.get_logger()
CLAIM_SECONDS = 20  # within which a worker puts its name on a trial, or died before it could
MAX_RETRIES = 2  # of one trial


def identify_worker() -> list[str | int | float]:
    """Return host, process id, start time and process namespace of this worker.

    Hosts that were copied, and containers on one host, may share the first two.
    """
    started = psutil.Process().create_time()
    return [socket.gethostname(), os.getpid(), started, locks.host_identity()]


def requeue_dead(study: optuna.Study) -> None:
    """Fail the trials of dead workers and queue their settings again.

    Workers of this host are looked up at once; those of others are dead once their heartbeat is.
    """
    with ignore_heartbeat_warning():
        optuna.storages.fail_stale_trials(study)
    for trial in _fail_dead(study):
        queue_retry(study, trial)


def fail_surplus(study: optuna.Study) -> None:
    """Fail the trials that stopped workers of this host had begun beyond those of the study."""
    for trial in _fail_dead(study):
        log.info("surplus trial ended", trial=trial.number)


def _fail_dead(study: optuna.Study) -> Generator[FrozenTrial]:
    """Fail the trials whose worker on this host is dead, and yield them."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_dead(trial):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            continue  # another process was faster
        yield trial


def _is_dead(trial: FrozenTrial) -> bool:
    # a trial popped from the queue has no worker yet, and its start is that of the pop
    host, pid, started, *identity = trial.user_attrs.get("worker", ["", 0, 0.0])
    if not host:
        begun = trial.datetime_start or datetime.datetime.now()
        return (datetime.datetime.now() - begun).total_seconds() > CLAIM_SECONDS
    if host != socket.gethostname() or identity not in ([], [locks.host_identity()]):
        return False  # left to its heartbeat
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return not (alive and abs(process.create_time() - started) < 2)
    except psutil.NoSuchProcess:
        return True


def queue_retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the settings of a lost trial again, including queued ones it had not drawn yet.

    Optuna's callback is not used: it copies the name of the dead worker to the new trial.
    """
    retries = trial.user_attrs.get("retries", 0) + 1
    if retries > MAX_RETRIES:
        log.warning("trial given up", trial=trial.number, retries=MAX_RETRIES)
        return
    params = trial.system_attrs.get("fixed_params", {}) | trial.params
    attributes = {"retry_of": trial.user_attrs.get("retry_of", trial.number), "retries": retries}
    if trial.user_attrs.get("default"):
        attributes["default"] = True
    study.enqueue_trial(params, user_attrs=attributes)
    log.warning("trial of a dead worker queued again", trial=trial.number)


@contextmanager
def ignore_heartbeat_warning() -> Generator[None]:
    """Ignore that heartbeats are experimental: they recover the trials of a lost host."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
