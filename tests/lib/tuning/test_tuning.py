"""The search: the default first, resumable, counted once, repeatable with one worker."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from lib.data.series_tables import to_table
from lib.data.splits import choose_validation_days, split_days
from lib.models import pretrained
from lib.models.config import ModelConfig
from lib.training import data, loop
from lib.training.config import TrainingConfig
from lib.tuning import (
    plots,
    recovery,
    results,
    search,
    search_space,
    study,
    worker,
    worker_pool,
)
from tests.panels import lively_panel, panel_of, split_of

# trials are begun by hand here, to be found as a dead worker leaves them
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed:UserWarning")

SMALL = ModelConfig(horizon=7, hidden=24, decoder_hidden=8)
QUICK = TrainingConfig(batch_size=32, validation_windows=16)


@pytest.fixture
def inputs(tmp_path):
    panel = lively_panel(days=300, series=1)
    to_table(panel).to_parquet(tmp_path / "series.parquet")
    return tmp_path / "series.parquet", panel, split_of(panel)


@pytest.fixture
def job(inputs, tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    return search_space.plan(*inputs, SMALL, QUICK, trials=3, trial_steps=6, storage=storage)


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def begin(found, worker):
    """A running trial of a worker."""
    trial = found.ask()
    trial.set_user_attr("worker", worker)
    return trial


def done(job):
    return study.finished_trials(study.open_study(job))


def test_study_tries_the_default_first_and_keeps_the_best(job, tmp_path):
    found = search.tune(job, progress=False)
    model, training = results.choose_settings(found, job)
    assert found.trials[0].params == search_space.default_trial(job)
    assert [t.number for t in study.finished_trials(found)] == [0, 1, 2]
    assert found.best_value <= study.default_value(found) == found.trials[0].value
    result = results.write_result(tmp_path, found, job)
    kept = results.read_result(tmp_path)
    assert ModelConfig.from_dict(kept["model"]) == model
    assert TrainingConfig.from_dict(kept["training"]) == training
    assert kept["best_value"] == result["best_value"] == found.best_value
    assert str(kept["split"].train_end) == job.split[0]


def test_study_goes_on_with_only_what_is_missing(job):
    worker.run_trials(replace(job, trials=2))
    before = done(job)
    worker.run_trials(job)
    worker.run_trials(job)
    assert [t.number for t in done(job)] == [0, 1, 2]
    assert [t.datetime_start for t in done(job)][:2] == [t.datetime_start for t in before]
    search.tune(job, workers=4, progress=False)  # nothing to do: no worker is started
    assert len(study.open_study(job).trials) == 3


def test_one_worker_repeats_a_study_exactly_also_in_two_goes(job):
    job = replace(job, trials=7)  # past the random draws
    worker.run_trials(job)
    again = replace(job, study="another")
    worker.run_trials(replace(again, trials=5))
    worker.run_trials(again)
    assert [t.params for t in done(job)] == [t.params for t in done(again)]
    assert [t.value for t in done(job)] == [t.value for t in done(again)]


def test_search_that_was_cut_off_ends_as_it_would_have(job, dead_pid):
    worker.run_trials(job)
    again = replace(job, study="another")
    found = study.open_study(again)
    study.queue_default(found, again)
    begin(found, [socket.gethostname(), dead_pid, 0.0])
    recovery.requeue_dead(found)
    worker.run_trials(again)
    assert len(found.trials) == 4
    assert [t.params for t in done(job)] == [t.params for t in done(again)]
    assert [t.value for t in done(job)] == [t.value for t in done(again)]


def test_killed_worker_loses_no_trial_and_counts_none_twice(job):
    job = replace(job, trials=2, trial_steps=30)
    killed = []

    def kill_one():
        end = time.monotonic() + 60
        found = study.open_study(job)
        while not killed and time.monotonic() < end:
            for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.intermediate_values:  # in the middle of its training
                    os.kill(trial.user_attrs["worker"][1], signal.SIGKILL)
                    killed.append(trial.number)
                    break
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one)
    thread.start()
    found = search.tune(job, progress=False)
    thread.join()
    assert killed
    assert found.trials[killed[0]].state == TrialState.FAIL
    retries = [t for t in found.trials if t.user_attrs.get("retry_of") == killed[0]]
    assert [t.params for t in retries] == [found.trials[killed[0]].params]
    assert len(study.finished_trials(found)) == 2
    assert len(found.trials) == 3


def test_default_killed_before_its_draws_comes_back_whole(job, dead_pid):
    found = study.open_study(job)
    study.queue_default(found, job)
    trial = begin(found, [socket.gethostname(), dead_pid, 0.0])
    trial.suggest_categorical("cell", ["lstm", "gru"])
    recovery.requeue_dead(found)
    recovery.requeue_dead(found)
    study.queue_default(found, job)
    assert [t.state for t in found.trials] == [TrialState.FAIL, TrialState.WAITING]
    worker.run_trials(replace(job, trials=1))
    assert done(job)[0].params == search_space.default_trial(job)
    assert study.default_value(study.open_study(job)) == done(job)[0].value


def test_trial_that_kills_its_workers_is_given_up(job, dead_pid):
    found = study.open_study(job)
    for _ in range(recovery.MAX_RETRIES + 1):
        begin(found, [socket.gethostname(), dead_pid, 0.0])
        recovery.requeue_dead(found)
    assert [t.state for t in found.trials] == [TrialState.FAIL] * (recovery.MAX_RETRIES + 1)


def test_process_number_given_to_another_process_is_not_the_worker(job):
    found = study.open_study(job)
    begin(found, recovery.identify_worker())
    recovery.requeue_dead(found)
    assert found.trials[0].state == TrialState.RUNNING
    begin(found, [socket.gethostname(), os.getpid(), 1.0])
    recovery.requeue_dead(found)
    assert found.trials[1].state == TrialState.FAIL


def test_trial_of_another_host_of_the_same_name_is_not_judged_by_its_process(job, dead_pid):
    found = study.open_study(job)
    here = recovery.identify_worker()
    begin(found, [here[0], dead_pid, 0.0, "another boot/4026531836"])
    recovery.requeue_dead(found)
    assert found.trials[0].state == TrialState.RUNNING
    assert study.count_running_elsewhere(found, {dead_pid}) == 1
    begin(found, [here[0], dead_pid, 0.0, here[3]])
    recovery.requeue_dead(found)
    assert found.trials[1].state == TrialState.FAIL


def test_trial_of_another_host_is_waited_for(job, monkeypatch):
    monkeypatch.setattr(
        worker_pool.WorkerPool, "_start", lambda *_: pytest.fail("a worker was started")
    )
    job = replace(job, trials=1)
    found = study.open_study(job)
    trial = begin(found, ["another-host", 1, 0.0])
    thread = threading.Timer(1.0, lambda: study.open_study(job).tell(trial.number, 0.5))
    thread.start()
    assert search.tune(job, progress=False).best_value == 0.5
    thread.join()


def test_workers_that_begin_at_once_do_not_overshoot(job):
    found = study.open_study(job)
    study.queue_default(found, job)
    trials = [begin(found, recovery.identify_worker()) for _ in range(5)]
    assert [study.exceeds_budget(found, trial, 3) for trial in trials] == [False] * 3 + [True] * 2
    trials[1].set_user_attr("retry_of", 9)  # one from the queue keeps its place
    assert not study.exceeds_budget(found, trials[1], 1)


def test_default_that_two_hosts_queue_at_once_is_run_once(job, monkeypatch):
    first, second = study.open_study(job), study.open_study(job)
    with monkeypatch.context() as patch:
        # Each looks before the other has queued it.
        patch.setattr(optuna.Study, "get_trials", lambda *_, **__: [])
        study.queue_default(first, job)
        study.queue_default(second, job)
    assert [t.user_attrs["default"] for t in first.trials] == [True, True]
    worker.run_trials(replace(job, trials=2))
    assert done(job)[0].params == search_space.default_trial(job)
    assert [t.user_attrs.get("default", False) for t in done(job)] == [True, False]


def test_default_queued_twice_outlives_the_host_that_ran_it(job, dead_pid):
    found = study.open_study(job)
    for _ in range(2):
        found.enqueue_trial(search_space.default_trial(job), user_attrs={"default": True})
    begin(found, [socket.gethostname(), dead_pid, 0.0])
    recovery.requeue_dead(found)
    worker.run_trials(replace(job, trials=2))
    assert [t.user_attrs.get("default", False) for t in done(job)] == [True, False]


def test_trial_taken_by_another_host_is_left_to_it(job, monkeypatch):
    others = study.open_study(job)
    real = loop.fit

    def cut_off_meanwhile(*args, **kwargs):
        monkeypatch.setattr(worker, "fit", real)
        trial = others.trials[0]
        others.tell(trial.number, state=TrialState.FAIL)
        recovery.queue_retry(others, trial)
        return real(*args, **kwargs)

    monkeypatch.setattr(worker, "fit", cut_off_meanwhile)
    worker.run_trials(replace(job, trials=2))
    assert [t.number for t in done(job)] == [1, 2]
    assert [t.user_attrs.get("retry_of") for t in done(job)] == [0, None]


def test_workers_that_fail_together_are_one_failure(job, monkeypatch):
    monkeypatch.setattr(search, "MAX_FAILURES", 1)
    looks = iter([["lost the server"] * 4, []])
    monkeypatch.setattr(worker_pool.WorkerPool, "collect_failures", lambda _: next(looks, []))
    found = search.tune(replace(job, trials=1), progress=False)
    assert len(study.finished_trials(found)) == 1


def test_storage_that_is_gone_is_named_with_what_to_do(job, monkeypatch):
    def gone(*_):
        raise optuna.exceptions.StorageInternalError from OSError("no route to host")

    monkeypatch.setattr(search, "count_running_elsewhere", gone)
    with pytest.raises(
        search_space.TuningError, match=r"no route to host\).*goes on with the study"
    ):
        search.tune(job, progress=False)


def test_default_is_never_pruned(job):
    found = study.open_study(job)
    for value in (0.1, 0.1, 0.1):
        begin(found, recovery.identify_worker()).report(value, 5)
    for trial in found.trials:
        found.tell(trial.number, 0.1)
    study.queue_default(found, job)
    default, other = found.ask(), found.ask()
    worker._report_to(default, 0)(5, 1.0, 1.0)
    with pytest.raises(optuna.TrialPruned):
        worker._report_to(other, 0)(5, 1.0, 1.0)


def test_orphaned_worker_leaves_its_trial_to_be_queued_again(job, monkeypatch):
    parents = itertools.chain([7], itertools.repeat(1))
    monkeypatch.setattr(worker.os, "getppid", lambda: next(parents))
    with pytest.raises(SystemExit, match="is gone"):
        worker.run_trials(job, parent=7)
    assert [t.state for t in study.open_study(job).trials] == [TrialState.RUNNING]


def test_interrupt_stops_the_workers_and_leaves_a_study_that_goes_on(job, monkeypatch):
    job = replace(job, trials=2, trial_steps=500)

    def interrupt(bar, found, count):
        for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "worker" in trial.user_attrs:
                raise KeyboardInterrupt

    monkeypatch.setattr(search, "_show_progress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search.tune(job, progress=False)
    found = study.open_study(job)
    assert found.trials[0].state == TrialState.RUNNING
    recovery.requeue_dead(found)
    assert [t.state for t in found.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert found.trials[1].user_attrs["default"]


def test_every_trial_has_the_level_shift_prob_of_the_plan(inputs):
    training = replace(QUICK, level_shift_prob=0.3)
    job = search_space.plan(*inputs, SMALL, training, trials=1, trial_steps=6)
    assert search_space.settings_of(job, search_space.default_trial(job))[1].level_shift_prob == 0.3
    assert job.study != search_space.plan(*inputs, SMALL, QUICK, trials=1, trial_steps=6).study


def test_four_workers_share_a_sqlite_study(job, monkeypatch):
    monkeypatch.setattr(search, "MAX_FAILURES", 0)  # "database is locked" would end a worker
    found = search.tune(replace(job, trials=8), workers=4, progress=False)
    assert len(study.finished_trials(found)) == 8
    assert all(t.state.is_finished() for t in found.trials)
    assert found.best_value <= study.default_value(found)


def test_study_name_tells_searches_apart_that_do_not_compare(inputs, job):
    def name(model=SMALL, training=QUICK, steps=6):
        return search_space.plan(*inputs, model, training, trials=9, trial_steps=steps).study

    assert name() == job.study
    others = {
        name(model=replace(SMALL, max_context=120)),
        name(model=replace(SMALL, horizon=5)),
        name(training=replace(QUICK, seed=1)),
        name(steps=7),
    }
    assert len(others | {name()}) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": -1}, "trials: expected at least 0, got -1"),
        ({"trial_steps": -1}, "trial_steps: expected at least 1, got -1"),
        ({"storage": "sqlite://"}, "cannot be shared by workers"),
        ({"model": replace(SMALL, hidden=20)}, "hidden: 20 is outside of the search space"),
    ],
)
def test_plan_refuses_what_cannot_work(inputs, change, message):
    numbers = {"model": SMALL, "training": QUICK, "trials": 1, "trial_steps": 5} | change
    with pytest.raises(search_space.TuningError, match=message):
        search_space.plan(inputs[0], inputs[1], inputs[2], **numbers)


def test_repeatable_search_has_a_study_of_its_own(inputs, tmp_path):
    def name(trials, repeatable=False):
        return search_space.plan(
            *inputs,
            SMALL,
            QUICK,
            trials=trials,
            trial_steps=6,
            storage=f"sqlite:///{tmp_path}/optuna.db",
            repeatable=repeatable,
        ).study

    assert name(3) == name(5)
    assert len({name(3), name(3, repeatable=True), name(5, repeatable=True)}) == 3
    assert name(3, repeatable=True) == name(3, repeatable=True)


@pytest.mark.parametrize("url", ["nonsense", "redis://host", "sqlite:////no/such/folder/a.db"])
def test_unusable_storage_says_what_a_storage_is(job, url):
    with pytest.raises(search_space.TuningError, match="expected a URL such as sqlite:///"):
        study.open_study(replace(job, storage=url))


def test_failing_workers_are_reported_with_their_error(job, monkeypatch):
    monkeypatch.setattr(search, "MAX_FAILURES", 0)
    with pytest.raises(
        search_space.TuningError, match=r"3 trials not finished(.|\n)*missing.parquet"
    ):
        search.tune(replace(job, series="missing.parquet"), progress=False)


def test_study_without_a_complete_trial_has_no_best_settings(job):
    found = study.open_study(job)
    found.tell(found.ask(), state=TrialState.PRUNED)
    assert np.isnan(study.default_value(found))
    with pytest.raises(search_space.TuningError, match="no trial is complete"):
        results.choose_settings(found, job)


@pytest.mark.parametrize(("losses", "gain"), [((0.4, 0.3), 25.0), ((0.0, 0.0), np.nan)])
def test_gain_is_against_the_default_and_none_where_nothing_is_learned(job, losses, gain):
    found = study.open_study(job)
    for default, loss in zip((True, False), losses, strict=True):
        trial = found.ask()
        trial.set_user_attr("default", default)
        found.tell(trial, loss)
    np.testing.assert_allclose(study.gain_percent(found), gain)


def test_run_folder_without_earlier_results_names_the_notebook(tmp_path):
    with pytest.raises(FileNotFoundError, match="run 01_synthesis first"):
        results.read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match="run 02_tuning"):
        results.read_result(tmp_path)


@pytest.mark.parametrize(("days", "expected"), [(300, 56), (1000, 133), (3000, 365)])
def test_validation_days_are_a_share_within_bounds(days, expected):
    panel = panel_of(np.arange(float(days)))
    assert choose_validation_days(panel, horizon=28, cutoffs=4, step=28) == expected


@pytest.mark.parametrize(("known", "expected"), [(176, 56), (160, 40), (90, 28)])
def test_validation_of_a_short_history_leaves_days_to_learn_from(known, expected):
    panel = panel_of(np.arange(float(known + 28)))
    cuts = {"horizon": 28, "cutoffs": 1, "step": 1}
    days = choose_validation_days(panel, **cuts)
    assert days == expected
    split = split_days(panel, validation_days=days, **cuts)
    assert len(data.prepare(panel, split, ModelConfig(horizon=28)).train.origins) > 0


def test_trials_start_from_the_pretrained_network_or_draw_another_shape(inputs, tmp_path):
    storage = f"sqlite:///{tmp_path}/other.db"
    job = search_space.plan(
        *inputs, ModelConfig(horizon=7), QUICK, trials=3, trial_steps=6, storage=storage
    )
    assert search_space.default_trial(job)["pretrained"] is True
    found = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [search_space.draw(found.ask(), job) for _ in range(20)]
    assert {params["pretrained"] for params in drawn} == {True, False}
    for params in drawn:
        model, training = search_space.settings_of(job, params)
        assert training.pretrained is params["pretrained"]
        if training.pretrained:
            assert pretrained.has_pretrained(model)
            assert model == replace(ModelConfig(horizon=7), dropout=params["dropout"])
        else:
            assert set(search_space.SHAPE_SPACE) < set(params)


def test_trials_of_another_shape_or_without_pretraining_start_at_random(inputs, job, tmp_path):
    assert "pretrained" not in search_space.default_trial(job)
    storage = f"sqlite:///{tmp_path}/other.db"
    scratch = replace(QUICK, pretrained=False)
    job = search_space.plan(
        *inputs, ModelConfig(horizon=7), scratch, trials=3, trial_steps=6, storage=storage
    )
    params = search_space.default_trial(job)
    assert set(params) == set(search_space.SHAPE_SPACE) | set(search_space.TRAINING_SPACE)
    assert search_space.settings_of(job, params)[1].pretrained is False


def test_figures_of_a_study_label_their_axes(job):
    found = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rng = np.random.default_rng(0)
    for i in range(8):
        trial = found.ask()
        search_space.draw(trial, job)
        trial.report(rng.random() + 1, 5)
        state = TrialState.PRUNED if i == 5 else TrialState.COMPLETE
        found.tell(trial, None if i == 5 else rng.random(), state=state)
    names = ("learning_rate", "cell", "layer_norm", "hidden")
    figures = [
        plots.plot_history(found),
        plots.plot_curves(found),
        plots.plot_importance(found, 0),
        plots.plot_slices(found, names),
    ]
    drawn = [figure for figure in figures if figure is not None]
    assert len(drawn) == 4
    for figure in drawn:
        assert all(axis.get_xlabel() for axis in figure.axes)
        figure.canvas.draw()
    assert [axis.get_xlabel() for axis in drawn[3].axes] == list(names)


def test_no_trials_are_no_search_and_keep_the_defaults(inputs, tmp_path):
    job = search_space.plan(
        *inputs, SMALL, QUICK, trials=0, trial_steps=6, storage="sqlite:///no/x"
    )
    found = search.tune(job, progress=False)
    result = results.write_result(tmp_path, found, job)
    assert (result["trials"], result["best_value"]) == (0, None)
    kept = results.read_result(tmp_path)
    assert ModelConfig.from_dict(kept["model"]) == SMALL
    assert plots.plot_history(found) is plots.plot_curves(found) is None
    assert plots.plot_slices(found, ("dropout",)) is None
    assert np.isnan([study.default_value(found), study.gain_percent(found)]).all()


@pytest.mark.parametrize(("noise", "number"), [(0.001, 1), (0.5, 0)])
def test_best_trial_within_the_noise_of_the_default_is_not_chosen(noise, number):
    rng = np.random.default_rng(0)
    found = optuna.create_study(direction="minimize")
    windows = {"series": [0] * 60, "block": np.repeat(np.arange(6), 10).tolist()}
    base = rng.normal(1.0, 0.1, 60)
    for is_default, gain in ((True, 0.0), (False, 0.01)):
        losses = base - gain + (0 if is_default else np.repeat(rng.normal(0, noise, 6), 10))
        losses += 1.0 - gain - losses.mean()
        attributes = {"default": is_default, "losses": windows | {"loss": losses.tolist()}}
        found.add_trial(
            optuna.trial.create_trial(value=float(losses.mean()), user_attrs=attributes)
        )
    assert results.choose_trial(found).number == number


def test_worker_keeps_the_losses_of_single_windows(job):
    worker.run_trials(replace(job, trials=1))
    (trial,) = done(job)
    losses = trial.user_attrs["losses"]
    assert len(losses["loss"]) == len(losses["series"]) == len(losses["block"])
    assert np.mean(losses["loss"]) == pytest.approx(trial.value, rel=0.02)
