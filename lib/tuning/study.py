"""The Optuna study of a search: its storage, its budget of trials, and what it gained.

A trial counts once it is complete or pruned. One whose worker died is failed and queued again with
the same settings. The default settings are a trial that is never pruned and never lost.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import optuna
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
from lib.tuning import recovery
from lib.tuning.search_space import Job, TuningError, default_trial

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 120  # a busy machine must not lose a living trial
OPEN_SECONDS = 30  # a host cut off in the middle of a transaction holds its locks no longer
# a server that was restarted or out of reach has broken its connections
_retry_storage = retry(
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
        with recovery.ignore_heartbeat_warning():
            storage = optuna.storages.RDBStorage(
                job.storage,
                engine_kwargs=_engine_options(job.storage),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=recovery.queue_retry,
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
    """Queue the default settings as a trial unless they are one: tuning never ends worse.

    Hosts that start at the same moment may each queue them; one is run (`exceeds_budget`).
    """
    trials = study.get_trials(deepcopy=False)
    if not any(t.user_attrs.get("default") and t.state != TrialState.FAIL for t in trials):
        study.enqueue_trial(default_trial(job), user_attrs={"default": True})


@_retry_storage
def requeue_dead(study: optuna.Study) -> None:
    """Queue the trials of dead workers again, waiting for a storage that is away for a minute."""
    recovery.requeue_dead(study)


@_retry_storage
def fail_surplus(study: optuna.Study) -> None:
    """Fail the trials that stopped workers had begun beyond those of the study."""
    recovery.fail_surplus(study)


@_retry_storage
def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return complete and pruned trials, by number."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def default_value(study: optuna.Study) -> float:
    """Return the validation loss of the default settings, NaN if they diverged."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [t.value for t in trials if t.user_attrs.get("default") and t.value is not None]
    return values[0] if values else float("nan")


def best_value(study: optuna.Study) -> float:
    """Return the lowest validation loss of a complete trial, NaN without one."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min((t.value for t in trials if t.value is not None), default=float("nan"))


def gain_percent(study: optuna.Study) -> float:
    """Return by how much per cent the best loss is lower than that of the default settings.

    NaN without a complete trial, and where that is 0: every value of the training is zero, and
    there is nothing to learn.
    """
    best, default = best_value(study), default_value(study)
    return 100 * (1 - best / default) if default else float("nan")


def count_claimed(study: optuna.Study) -> int:
    """Return how many trials are finished or running, on any host."""
    return len(study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING)))


@_retry_storage
def count_running_elsewhere(study: optuna.Study, pids: set[int]) -> int:
    """Return how many trials are running in processes other than `pids` of this host."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    here = [socket.gethostname(), locks.host_identity()]
    workers = [t.user_attrs.get("worker", ["", 0, 0.0, ""]) for t in running]
    return sum(
        not ([host, *identity] == here and pid in pids) for host, pid, _, *identity in workers
    )


@_retry_storage
def running_steps(study: optuna.Study) -> list[int]:
    """Return how many batches each running trial has reported, on any host."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial.last_step or 0 for trial in running]


def exceeds_budget(study: optuna.Study, trial: optuna.Trial, budget: int) -> bool:
    """Tell whether a trial is one too many: workers that start at once see the same free slot.

    Slots go to queued trials (the default, retries) and then by number. Of several defaults the
    first is run: numbers are given out one at a time, so that all hosts see the same one.
    """
    states = (*FINISHED, TrialState.RUNNING, TrialState.WAITING)
    others = study.get_trials(deepcopy=False, states=states)
    if trial.user_attrs.get("default"):
        return any(t.user_attrs.get("default") and t.number < trial.number for t in others)
    if _was_queued(trial.user_attrs):
        return False
    ahead = [t for t in others if t.number < trial.number or _was_queued(t.user_attrs)]
    return len(ahead) >= budget


def _was_queued(attributes: Mapping[str, Any]) -> bool:
    return "default" in attributes or "retry_of" in attributes


def _engine_options(url: str) -> dict[str, Any]:
    """Return the options of connections to a storage."""
    if url.startswith("sqlite"):
        # workers wait for the file instead of failing with "database is locked"
        return {"connect_args": {"timeout": 60}}
    if url.startswith("postgresql"):
        limit = f"-c idle_in_transaction_session_timeout={1000 * OPEN_SECONDS}"
        return {"connect_args": {"options": limit}, "pool_pre_ping": True}
    return {}
