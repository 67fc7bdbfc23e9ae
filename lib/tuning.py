"""Choose the network and its pace by an Optuna study: resumable, on any storage, by N workers.

Workers are processes of one thread each, started as `python -m lib.tuning JOB.json`; the same
command on another host joins the same study. With one worker a study is repeatable to the bit.
With more, each trial's value is still a function of its settings alone, but which settings are
tried next depends on who finished first.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import psutil
import structlog
from optuna.trial import FrozenTrial, TrialState
from tenacity import retry, retry_if_exception_message, stop_after_attempt, wait_random
from tqdm import tqdm

from lib.model import ModelConfig
from lib.panel import Panel, Spans, fingerprint, to_panel
from lib.training import TrainingConfig, TrainingError, fit, prepare

log = structlog.get_logger()


@contextmanager
def _heartbeats() -> Generator[None]:
    """Heartbeats are marked experimental; they are what brings back the trial of a lost host."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 120  # a busy machine must not lose a living trial
RESTARTS = 3


class TuningError(RuntimeError):
    """A study that cannot be opened, or whose workers keep failing."""


@dataclass(frozen=True)
class Job:
    """All that a worker has to know. Saved as JSON; dates are ISO strings.

    `trials` is the number of finished (complete or pruned) trials the study is to have,
    `trial_steps` the batches of each.
    """

    series: str
    spans: tuple[str, str, str]
    model: dict[str, Any]
    training: dict[str, Any]
    storage: str
    study: str
    trials: int
    trial_steps: int
    seed: int = 0


def suggest(trial: optuna.Trial, job: Job) -> tuple[ModelConfig, TrainingConfig]:
    """The settings of one trial: the job's, changed where the search space says."""
    base = ModelConfig.from_dict(job.model)
    model = replace(
        base,
        cell=trial.suggest_categorical("cell", ["lstm", "gru"]),
        hidden=trial.suggest_int("hidden", 16, 64, step=8),
        layers=trial.suggest_int("layers", 1, 2),
        bidirectional=trial.suggest_categorical("bidirectional", [False, True]),
        attention=trial.suggest_categorical("attention", [False, True]),
        layer_norm=trial.suggest_categorical("layer_norm", [False, True]),
        dropout=trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
        decoder_hidden=trial.suggest_int("decoder_hidden", 8, 40, step=8),
        encoder_days=trial.suggest_categorical("encoder_days", [28, 42, 56]),
    )
    training = replace(
        TrainingConfig.from_dict(job.training),
        seed=job.seed,
        steps=job.trial_steps,
        evaluate_every=max(5, job.trial_steps // 6),
        patience=job.trial_steps,  # the pruner stops trials
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 8e-3, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
    )
    return model, training


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def study_name(panel: Panel, spans: Spans, horizon: int, trial_steps: int, seed: int) -> str:
    """The name under which a search on this data is found again."""
    facts = f"{fingerprint(panel)} {spans} {horizon} {trial_steps} {seed}"
    return f"forecaster-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def default_trial(job: Job) -> dict[str, Any]:
    """The job's own settings as a trial, the first of every study: tuning never ends worse."""
    searched = ("cell", "hidden", "layers", "bidirectional", "attention", "layer_norm", "dropout")
    model = {k: job.model[k] for k in (*searched, "decoder_hidden", "encoder_days")}
    return model | {k: job.training[k] for k in ("learning_rate", "weight_decay")}


@retry(
    retry=retry_if_exception_message(match=r"(?s).*already exists"),  # two made the tables at once
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
    put_back = optuna.storages.RetryHeartbeatStaleTrialCallback
    try:
        with _heartbeats():
            storage = optuna.storages.RDBStorage(
                job.storage,
                engine_kwargs={"connect_args": {"timeout": 60}} if "sqlite" in job.storage else {},
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=put_back(max_retry=2),
            )
        return optuna.create_study(
            study_name=job.study,
            storage=storage,
            direction="minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        )
    except (ImportError, ValueError, OSError) as error:
        raise TuningError(f"study storage: {type(error).__name__}: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "optuna")):
            message = str(error).splitlines()[0]
            raise TuningError(
                f"study storage cannot be used ({message}); expected a URL such as "
                "sqlite:///var/optuna.db or postgresql://user@host/name"
            ) from error
        raise


def tune(job: Job, *, workers: int = 1, progress: bool = True) -> optuna.Study:
    """Run workers until the study has its trials. Ctrl-C leaves a study that can go on.

    A worker that dies is replaced; its trial is put back into the queue and counted once.

    Raises:
        TuningError: the storage cannot be used, or workers fail again and again (with the last
            lines of what they wrote).
    """
    study = open_study(job)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(default_trial(job))
    bar = tqdm(total=job.trials, desc="trials", unit="trial", disable=not progress)
    for attempt in range(RESTARTS + 1):
        _requeue_dead(study)
        missing = job.trials - len(finished(study))
        if missing <= 0:
            break
        if attempt:
            log.warning("workers restarted", missing=missing)
        errors = _run_workers(job, min(workers, missing), lambda: _show(bar, study))
    _show(bar, study)
    bar.close()
    if len(finished(study)) < job.trials:
        raise TuningError(f"{job.trials - len(finished(study))} trials not finished:\n{errors}")
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Complete and pruned trials, by number."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def best_settings(study: optuna.Study, job: Job) -> tuple[ModelConfig, TrainingConfig]:
    """The settings of the best trial (the steps are the trial's: choose your own)."""
    fixed = optuna.trial.FixedTrial(study.best_trial.params)
    return suggest(fixed, job)  # ty: ignore[invalid-argument-type]


def write_result(folder: Path, study: optuna.Study, job: Job) -> dict[str, Any]:
    """Keep the best settings of a study as `tuning.json` of a run folder; → what was written."""
    model, training = best_settings(study, job)
    result = {
        "model": model.to_dict(),
        "training": training.to_dict(),
        "best_value": study.best_value,
        "trials": len(finished(study)),
        "spans": list(job.spans),
    }
    (folder / "tuning.json").write_text(json.dumps(result, indent=1))
    return result


def read_result(folder: Path) -> dict[str, Any]:
    """What `write_result` kept, `spans` as Spans. Raises FileNotFoundError with the remedy."""
    path = folder / "tuning.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"tuning.json is not in the run folder {folder.name}: run 02_tuning"
        )
    result = json.loads(path.read_text())
    return result | {"spans": Spans(*(np.datetime64(day, "D") for day in result["spans"]))}


def read_table(folder: Path) -> pd.DataFrame:
    """The series table of a run folder. Raises FileNotFoundError with the remedy."""
    path = folder / "series.parquet"
    if not path.is_file():
        raise FileNotFoundError(
            f"series.parquet is not in the run folder {folder.name}: run 01_synthesis first"
        )
    return pd.read_parquet(path)


def work(job: Job, worker: int = 0) -> None:
    """Run trials until the study has enough. What one worker process does."""
    import torch

    torch.set_num_threads(1)
    study = open_study(job)
    panel = to_panel(pd.read_parquet(job.series))
    train_end, validation_end, test_end = (np.datetime64(day, "D") for day in job.spans)
    spans = Spans(train_end, validation_end, test_end)
    data = prepare(panel, spans, ModelConfig.from_dict(job.model))

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("worker", [socket.gethostname(), os.getpid()])
        model, training = suggest(trial, job)
        try:
            result = fit(data, model, training, on_evaluation=_reporter(trial))
        except TrainingError as error:
            log.warning("trial diverged", trial=trial.number, error=str(error))
            raise optuna.TrialPruned from error
        trial.set_user_attr("best_step", result.best_step)
        return result.validation_loss

    while _claimed(study) < job.trials:
        begun = len(study.get_trials(deepcopy=False))
        # by the number of trials begun, or a resumed study would draw its first trials again
        draw = np.random.SeedSequence([job.seed, worker, begun]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(
            seed=int(draw), n_startup_trials=6, constant_liar=True
        )
        study.optimize(objective, n_trials=1)


def _reporter(trial: optuna.Trial) -> Callable[[int, float, float], None]:
    seen: list[float] = []

    def report(step: int, train_loss: float, validation_loss: float) -> None:
        seen.append(validation_loss)
        trial.report(min(seen), len(seen))
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


def _claimed(study: optuna.Study) -> int:
    states = (*FINISHED, TrialState.RUNNING)
    return len(study.get_trials(deepcopy=False, states=states))


def _requeue_dead(study: optuna.Study) -> None:
    """Queue the trials of dead workers again: our own at once, other hosts' by their heartbeat."""
    with _heartbeats():
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, pid = trial.user_attrs.get("worker", ["", 0])
        if host == socket.gethostname() and not psutil.pid_exists(pid):
            study.tell(trial.number, state=TrialState.FAIL)
            # killed while it was drawing its settings, a trial has only some of them
            asked = trial.system_attrs.get("fixed_params", {}) | trial.params
            study.enqueue_trial(asked, user_attrs={"retry_of": trial.number})
            log.warning("trial of a dead worker queued again", trial=trial.number)


def _run_workers(job: Job, count: int, watch: Callable[[], None]) -> str:
    """Run worker processes to their end. → last lines of what failed ones wrote, empty if none."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="tuning-") as name:
        path = Path(name) / "job.json"
        path.write_text(json.dumps(asdict(job)))
        logs = [Path(name) / f"worker-{i}.log" for i in range(count)]
        processes = []
        for i, log_file in enumerate(logs):
            command = [sys.executable, "-m", "lib.tuning", str(path), "--worker", str(i)]
            with log_file.open("w") as out:
                processes.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(0.3)
                watch()
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
        failed = [f.read_text() for f, p in zip(logs, processes, strict=True) if p.returncode]
        return "\n".join("\n".join(text.splitlines()[-12:]) for text in failed)


def _show(bar: tqdm, study: optuna.Study) -> None:
    done = finished(study)
    if len(done) == bar.n:
        return
    bar.update(len(done) - bar.n)
    values = [t.value for t in done if t.state == TrialState.COMPLETE and t.value is not None]
    if values:
        bar.set_postfix(best=f"{min(values):.4f}", refresh=False)


def main(arguments: list[str] | None = None) -> int:
    """Join a study as a worker. → 0, or 1 where the study cannot be used."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m lib.tuning", description=main.__doc__)
    parser.add_argument("job", type=Path, help="JSON file of a job")
    parser.add_argument("--worker", type=int, default=0, help="number of this worker, for its seed")
    asked = parser.parse_args(arguments)
    values = json.loads(asked.job.read_text())
    work(Job(**(values | {"spans": tuple(values["spans"])})), asked.worker)
    return 0


if __name__ == "__main__":
    sys.exit(main())
