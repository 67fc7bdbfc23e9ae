"""Real worker processes on real databases: stopped, killed, and left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from lib.features.engineering import FEATURES
from lib.features.undated_windows import known_future_after
from lib.inference.served_model import ServedModel
from lib.registry.registry import Registry
from lib.registry.versions import RegistryError
from lib.settings import ROOT
from lib.storage.tables import explanations
from serving.explanations.explainer import Explainer, TryLaterError, read_inputs
from serving.schemas.examples import example_rows
from serving.schemas.feature_rows import read_sequence
from serving.worker import NICE

# Real processes against the clock: not on a machine that is busy with other tests.
pytestmark = pytest.mark.slow


# Of MLflow's own code, not ours.
MLFLOW_WARNINGS = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
    "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
)
CHEAP = Path(__file__).with_name("cheap_worker.py")


def cheap(lease):
    return [str(CHEAP), str(lease)]


def start(settings, *command):
    names = ("var_dir", "database_url")
    environment = {name.upper(): str(getattr(settings, name)) for name in names}
    return subprocess.Popen(
        [sys.executable, *(command or cheap(lease=60))],
        env=os.environ | environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def working(settings, *command):
    process = start(settings, *command)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(jobs, *bodies):
    return [jobs.submit(body, 1) for body in bodies]


def wait(jobs, seconds=30, **expected):
    """Until the table has these counts."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        counts = jobs.count()
        if all(counts[status] == n for status, n in expected.items()):
            return
        time.sleep(0.02)
    pytest.fail(f"expected {expected}, got {jobs.count()}")


def test_worker_computes_queued_jobs(settings, jobs):
    ids = ask(jobs, {"n": 1}, {"n": 2})
    with working(settings) as process:
        wait(jobs, done=2)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 0
    assert [jobs.get(identity).result["n"] for identity in ids] == [1, 2]
    assert jobs.plot(ids[0]) == b"\x89PNG"


def test_worker_goes_on_after_a_job_that_fails(settings, jobs):
    bad, good = ask(jobs, {"raise": "no such day"}, {"n": 2})
    with working(settings):
        wait(jobs, done=1, failed=1)
    assert jobs.get(bad).error == "ValueError: no such day"
    assert jobs.get(good).status == "done"


def test_worker_starts_a_job_within_a_second_however_long_it_was_idle(settings, jobs):
    jobs.submit({"n": 1}, 1)
    with working(settings):
        wait(jobs, done=1)
        time.sleep(3)  # it looks as seldom as it ever does
        late = jobs.submit({"n": 2}, 1)
        wait(jobs, done=2)
    row = jobs.get(late)
    assert (row.started_at - row.created_at).total_seconds() < 1
    assert row.attempts == 1


def test_worker_postpones_what_cannot_be_computed_yet(settings, jobs, tmp_path):
    ids = ask(jobs, {"later": str(tmp_path / "there")}, {"n": 2})
    with working(settings):
        wait(jobs, done=1, queued=1)  # the other one is not held up
        (tmp_path / "there").touch()
        wait(jobs, done=2)
    assert jobs.get(ids[0]).attempts == 1


def test_worker_that_is_stopped_finishes_its_job(settings, jobs):
    ask(jobs, {"seconds": 1}, {"n": 2})
    with working(settings) as process:
        wait(jobs, running=1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        events = [json.loads(line)["event"] for line in process.stderr if line[0] == "{"]
    assert jobs.count() == {"queued": 1, "running": 0, "done": 1, "failed": 0}
    assert events == ["worker started", "explanation done", "worker stopped"]


def test_worker_beside_another_does_nothing_twice(settings, jobs):
    ids = ask(jobs, *({"n": n} for n in range(12)))
    with working(settings), working(settings):
        wait(jobs, done=12)
    assert [jobs.get(identity).attempts for identity in ids] == [1] * 12


def test_worker_reclaims_the_job_of_another_that_was_killed(settings, jobs, tmp_path):
    """The lease is a minute, so it is the missing process that is noticed."""
    (long,) = ask(jobs, {"until": str(tmp_path / "end")})
    with working(settings) as first:
        wait(jobs, running=1)
        with working(settings) as second:
            ask(jobs, {"n": 2})
            wait(jobs, done=1)  # it lives, beside the first
            assert jobs.get(long).status == "running"
            first.kill()
            first.wait()
            (tmp_path / "end").touch()
            wait(jobs, done=2, seconds=15)
            assert second.poll() is None
    assert jobs.get(long).attempts == 2


@pytest.mark.slow
def test_worker_reclaims_the_job_of_one_that_is_suspended_past_its_lease(settings, jobs):
    short = cheap(lease=4)
    (long,) = ask(jobs, {"seconds": 1})
    with working(settings, *short) as first:
        wait(jobs, running=1)
        first.send_signal(signal.SIGSTOP)
        with working(settings, *short):
            wait(jobs, done=1, seconds=20)
        result = jobs.get(long).finished_at
        first.send_signal(signal.SIGCONT)
        time.sleep(1.5)
    assert jobs.get(long).attempts == 2
    assert jobs.get(long).finished_at == result  # what came late changed nothing


@pytest.fixture
def cached(settings):
    """The committed model as version 1, in the cache, so that no registry is needed."""
    folder = settings.var_dir / "cache" / "models" / "1"
    shutil.copytree(TINY_MODEL, folder)
    return folder


def question(n=0.0):
    rows = example_rows()
    rows[-1]["lag_1"] = 100.0 + n
    return {"sequence": rows}


REAL = ("-m", "serving.worker")
TINY_MODEL = ROOT / "tests" / "data" / "tiny_model"


def test_worker_explains_a_forecast_exactly_and_draws_it(settings, jobs, cached):
    (identity,) = ask(jobs, question())
    with working(settings, *REAL):
        wait(jobs, done=1, seconds=60)
    result = jobs.get(identity).result
    forecaster = ServedModel.load(cached)
    features, future = read_inputs(question(), forecaster.contract)
    median = forecaster.contract.quantiles.index(0.5)
    output = forecaster.predict(features[None], future[None])[0, 0, median]
    assert result["output_value"] == pytest.approx(output)
    assert list(result["by_feature"]) == list(FEATURES)
    for shares in (result["by_feature"], result["by_day"]):
        total = result["base_value"] + sum(shares.values())
        assert total == pytest.approx(result["output_value"], rel=1e-4)
    assert result["additivity_error"] <= 1e-4
    assert jobs.plot(identity).startswith(b"\x89PNG\r\n")


def test_read_inputs_returns_those_of_predict(cached):
    contract = ServedModel.load(cached).contract
    sent = question()
    sent["sequence"][5] |= {"media_movel_7": None, "fator_externo": None}
    rows = read_sequence(json.dumps(sent).encode(), 60)
    features, future = read_inputs(sent, contract)
    np.testing.assert_array_equal(features, rows)
    near = np.datetime64(contract.training_span[1])
    np.testing.assert_array_equal(future, known_future_after(rows, contract.horizon, near)[0])


def test_explainer_without_a_registry_says_try_later(settings, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(TryLaterError, match="version 1 cannot be fetched"):
        Explainer(away).model(1)


def test_explainer_uses_no_copy_of_another_model(settings, cached, monkeypatch):
    note = {"name": "shops", "version": 1}
    (settings.var_dir / "cache" / "last-known-good.json").write_text(json.dumps(note))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(TryLaterError):
        Explainer(away).model(1)
    shops = away.model_copy(update={"registered_model_name": "shops"})
    assert Explainer(shops).model(1)


def test_explainer_keeps_two_models(settings, cached):
    for version in "23":
        shutil.copytree(cached, cached.with_name(version))
    explainer = Explainer(settings)
    first = explainer.model(1)
    shutil.rmtree(cached)  # as the web processes do, with versions they no longer serve
    assert first.explain(*read_inputs(question(), first.forecaster.contract)).output_value
    assert explainer.model(2) is not first
    assert explainer.model(1) is first
    explainer.model(3)
    assert list(explainer._models) == [1, 3]


@MLFLOW_WARNINGS
def test_explainer_fetches_what_is_not_cached(settings, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    changed = settings.model_copy(update={"mlflow_tracking_uri": store})
    registry = Registry(changed)
    run = registry.log_run(params={}, metrics={})
    version = registry.register(TINY_MODEL, run_id=run, metrics={})
    explainer = Explainer(changed)
    assert explainer.model(version).forecaster.contract.horizon == 3
    assert (tmp_path / "cache" / "models" / str(version) / "model.onnx").is_file()
    with pytest.raises(RegistryError, match="no version or alias 99"):
        explainer.model(99)


@pytest.mark.slow
def test_worker_killed_five_times_while_it_explains(settings, store, jobs, cached):
    bodies = [question(n / 10) for n in range(20)]
    attempts = kill_five_times(settings, store, jobs, bodies, REAL)
    assert 20 <= attempts <= 25


def kill_five_times(settings, store, jobs, bodies, command=()):
    """20 explanations, workers killed while they compute. Returns the number of attempts."""
    ids = ask(jobs, *bodies)
    choose = random.Random(0)
    for _ in range(5):
        with working(settings, *command) as process:
            wait(jobs, running=1, seconds=60)
            time.sleep(choose.uniform(0, 0.3))
            done = jobs.count()["done"]
            process.kill()
            process.wait()
        assert done < len(ids)
    with working(settings, *command):
        wait(jobs, done=len(ids), seconds=240)
    with store.reading() as connection:
        rows = connection.execute(sa.select(explanations)).mappings().all()
    assert sorted(row["id"] for row in rows) == sorted(ids)  # 20 results, none twice
    assert all(row["result"] and row["plot"] and not row["worker"] for row in rows)
    assert jobs.count()["queued"] == 0
    return sum(row["attempts"] for row in rows)


def test_worker_killed_five_times_loses_and_doubles_nothing(settings, store, jobs):
    bodies = [{"n": n} for n in range(20)]
    attempts = kill_five_times(settings, store, jobs, bodies)
    assert 20 <= attempts <= 25  # what was done is not done again
    with store.reading() as connection:
        found = connection.scalars(sa.select(explanations.c.result)).all()
    assert sorted(result["n"] for result in found) == [*range(20)]


def test_worker_process_has_a_low_priority_and_one_thread_for_numbers(settings, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    with working(settings, "-m", "serving.worker") as process:
        until = time.monotonic() + 20
        while os.getpriority(os.PRIO_PROCESS, process.pid) < NICE and time.monotonic() < until:
            time.sleep(0.02)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= NICE
        environment = Path(f"/proc/{process.pid}/environ").read_text()
        assert "OMP_NUM_THREADS=1\x00" in environment


def test_worker_stops_when_the_server_that_started_it_is_gone(settings):
    with working(settings, "-m", "serving.worker", "--parent", "1") as process:
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "DATABASE_URL: expected a URL such as sqlite:///var/state.db"),
        ("sqlite:////nowhere/state.db", "unable to open database file"),
    ],
)
def test_worker_that_cannot_start_says_why(settings, url, message):
    wrong = settings.model_copy(update={"database_url": url})
    with working(wrong, "-m", "serving.worker") as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert message in error
    assert "Traceback" not in error


def test_worker_ignores_a_queue_url_of_earlier_versions_and_logs_it(settings, jobs, monkeypatch):
    monkeypatch.setenv("QUEUE_URL", "redis://nowhere:6379/0")
    with working(settings, *REAL) as process:
        assert "QUEUE_URL is ignored" in json.loads(process.stderr.readline())["event"]
        assert json.loads(process.stderr.readline())["event"] == "worker started"


def test_worker_runs_the_monitoring_by_its_cron_and_ends_it_when_it_stops(
    settings, jobs, tmp_path, monkeypatch
):
    monkeypatch.setenv("MONITOR_CRON", "* * * * *")
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(300)"
    with working(settings, *cheap(lease=60), sys.executable, "-c", code) as process:
        until = time.monotonic() + 90  # the next minute, at most
        while not (file.exists() and file.read_text()) and time.monotonic() < until:
            time.sleep(0.1)
        monitoring = Path(f"/proc/{file.read_text()}")
        ask(jobs, {"n": 1})
        wait(jobs, done=1)  # it explains beside it
        assert monitoring.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not monitoring.exists()
