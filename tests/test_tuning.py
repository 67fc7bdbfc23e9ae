"""The study: the default first, resumable, counted once, deterministic with one worker."""

import os
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest

from lib import tuning
from lib.model import ModelConfig
from lib.panel import to_table
from lib.training import TrainingConfig
from tests.panels import lively_panel, spans_of

SMALL = ModelConfig(horizon=7, hidden=16, decoder_hidden=8)


@pytest.fixture
def job(tmp_path):
    panel = lively_panel(days=300, series=1)
    spans = spans_of(panel)
    to_table(panel).to_parquet(tmp_path / "series.parquet")
    return tuning.Job(
        series=str(tmp_path / "series.parquet"),
        spans=(str(spans.train_end), str(spans.validation_end), str(spans.test_end)),
        model=SMALL.to_dict(),
        training=TrainingConfig(batch=16, validation_windows=16).to_dict(),
        storage=f"sqlite:///{tmp_path}/optuna.db",
        study="study",
        trials=3,
        trial_steps=6,
    )


def test_study_tries_the_default_first_and_keeps_the_best(job, tmp_path):
    study = tuning.tune(job, progress=False)
    model, training = tuning.best_settings(study, job)
    assert study.trials[0].params == tuning.default_trial(job)
    assert len(tuning.finished(study)) == 3
    default = study.trials[0].value
    assert default is not None
    assert study.best_value <= default
    result = tuning.write_result(tmp_path, study, job)
    kept = tuning.read_result(tmp_path)
    assert ModelConfig.from_dict(kept["model"]) == model
    assert TrainingConfig.from_dict(kept["training"]) == training
    assert kept["best_value"] == result["best_value"] == study.best_value
    assert str(kept["spans"].train_end) == job.spans[0]


def test_study_goes_on_with_only_what_is_missing(job):
    tuning.tune(replace(job, trials=2), progress=False)
    study = tuning.tune(job, progress=False)
    again = tuning.tune(job, progress=False)
    assert [t.number for t in study.trials] == [0, 1, 2]
    assert [t.datetime_start for t in again.trials] == [t.datetime_start for t in study.trials]


def test_one_worker_repeats_a_study_exactly(job):
    first = tuning.tune(job, progress=False)
    second = tuning.tune(replace(job, study="another"), progress=False)
    assert [t.params for t in first.trials] == [t.params for t in second.trials]
    assert [t.value for t in first.trials] == [t.value for t in second.trials]


def test_killed_worker_loses_no_trial_and_counts_none_twice(job):
    job = replace(job, trials=4, trial_steps=60)
    killed = []

    def kill_one():
        end = time.monotonic() + 60
        study = tuning.open_study(job)
        while not killed and time.monotonic() < end:
            for trial in study.get_trials(deepcopy=False):
                worker = trial.user_attrs.get("worker")
                if trial.state.name == "RUNNING" and worker and psutil.pid_exists(worker[1]):
                    os.kill(worker[1], signal.SIGKILL)
                    killed.append(trial.number)
                    break
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one)
    thread.start()
    study = tuning.tune(job, progress=False)
    thread.join()
    assert killed
    assert study.trials[killed[0]].state.name == "FAIL"
    retries = [t for t in study.trials if t.user_attrs.get("retry_of") == killed[0]]
    assert len(retries) == 1
    assert study.trials[killed[0]].params.items() <= retries[0].params.items()
    if killed[0] == 0:
        assert retries[0].params == tuning.default_trial(job)
    assert len(tuning.finished(study)) == 4


@pytest.mark.slow
def test_four_workers_share_a_sqlite_study(job):
    study = tuning.tune(replace(job, trials=8), workers=4, progress=False)
    assert 8 <= len(tuning.finished(study)) <= 11  # workers that began at once may overshoot
    assert all(t.state.is_finished() for t in study.trials)


def test_unusable_storage_says_what_a_storage_is(job):
    with pytest.raises(tuning.TuningError, match="expected a URL such as sqlite:///"):
        tuning.open_study(replace(job, storage="nonsense"))


def test_failing_workers_are_reported_with_their_error(job, monkeypatch):
    monkeypatch.setattr(tuning, "RESTARTS", 0)
    with pytest.raises(tuning.TuningError, match=r"3 trials not finished(.|\n)*missing.parquet"):
        tuning.tune(replace(job, series="missing.parquet"), progress=False)


def test_run_folder_without_earlier_results_names_the_notebook(tmp_path):
    with pytest.raises(FileNotFoundError, match="run 01_synthesis first"):
        tuning.read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match="run 02_tuning"):
        tuning.read_result(tmp_path)
