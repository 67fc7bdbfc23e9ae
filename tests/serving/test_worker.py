"""Real worker processes on real SQLite files, stopped, killed, and left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from lib.settings import ROOT, get_settings
from lib.store import Store, explanations
from serving.jobs import Jobs, Queue
from serving.worker import NICE

CHEAP = Path(__file__).with_name("cheap_worker.py")


@pytest.fixture
def settings(tmp_path):
    return get_settings(None).model_copy(
        update={
            "var_dir": tmp_path,
            "database_url": f"sqlite:///{tmp_path}/state.db",
            "queue_url": f"sqlite:///{tmp_path}/queue.db",
        }
    )


@pytest.fixture
def store(settings):
    store = Store(settings.database_url)
    yield store
    store.close()


@pytest.fixture
def jobs(store):
    return Jobs(store)


@pytest.fixture
def queue(settings):
    return Queue(settings.queue_url)


def cheap(lease):
    return [str(CHEAP), str(lease)]


def start(settings, *command):
    names = ("var_dir", "database_url", "queue_url")
    given = {name.upper(): str(getattr(settings, name)) for name in names}
    return subprocess.Popen(
        [sys.executable, *(command or cheap(lease=60))],
        env=os.environ | given,
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


def ask(jobs, queue, *bodies):
    ids = [jobs.submit(body, 1)[0] for body in bodies]
    for identity in ids:
        queue.put(identity)
    return ids


def wait(jobs, seconds=30, **expected):
    """Until the table has these counts."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        depth = jobs.depth()
        if all(depth[status] == n for status, n in expected.items()):
            return
        time.sleep(0.02)
    pytest.fail(f"expected {expected}, got {jobs.depth()}")


def test_worker_computes_what_is_queued(settings, jobs, queue):
    ids = ask(jobs, queue, {"n": 1}, {"n": 2})
    with working(settings) as process:
        wait(jobs, done=2)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 0
    assert [jobs.get(identity).result["n"] for identity in ids] == [1, 2]
    assert jobs.plot(ids[0]) == b"\x89PNG"


def test_worker_goes_on_after_a_job_that_fails(settings, jobs, queue):
    bad, good = ask(jobs, queue, {"raise": "no such day"}, {"n": 2})
    with working(settings):
        wait(jobs, done=1, failed=1)
    assert jobs.get(bad).error == "ValueError: no such day"
    assert jobs.get(good).status == "done"


def test_worker_finds_what_the_queue_has_lost(settings, jobs):
    identity = jobs.submit({"n": 1}, 1)[0]  # and nothing put
    with working(settings):
        wait(jobs, done=1)
        late = jobs.submit({"n": 2}, 1)[0]
        wait(jobs, done=2)
    assert jobs.get(identity).attempts == jobs.get(late).attempts == 1


def test_worker_tries_again_what_cannot_be_computed_yet(settings, jobs, queue, tmp_path):
    ids = ask(jobs, queue, {"later": str(tmp_path / "there")}, {"n": 2})
    with working(settings):
        wait(jobs, done=1, queued=1)  # the other one is not held up
        (tmp_path / "there").touch()
        wait(jobs, done=2)
    assert jobs.get(ids[0]).attempts == 1


def test_worker_stops_politely_and_finishes_what_it_has(settings, jobs, queue):
    ask(jobs, queue, {"seconds": 1}, {"n": 2})
    with working(settings) as process:
        wait(jobs, running=1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        events = [json.loads(line)["event"] for line in process.stderr if line[0] == "{"]
    assert jobs.depth() == {"queued": 1, "running": 0, "done": 1, "failed": 0}
    assert events == ["worker started", "explanation done", "worker stopped"]


def test_workers_beside_each_other_do_nothing_twice(settings, jobs, queue):
    ids = ask(jobs, queue, *({"n": n} for n in range(12)))
    for identity in ids:
        queue.put(identity)  # even if told twice
    with working(settings), working(settings):
        wait(jobs, done=12)
    assert [jobs.get(identity).attempts for identity in ids] == [1] * 12


def test_worker_takes_back_from_another_that_was_killed(settings, jobs, queue):
    """The lease is a minute, so it is the missing process that is noticed."""
    (long,) = ask(jobs, queue, {"seconds": 2})
    with working(settings) as first:
        wait(jobs, running=1)
        with working(settings) as second:
            ask(jobs, queue, {"n": 2})
            wait(jobs, done=1)  # it lives, beside the first
            assert jobs.get(long).status == "running"
            first.kill()
            first.wait()
            wait(jobs, done=2, seconds=15)
            assert second.poll() is None
    assert jobs.get(long).attempts == 2


@pytest.mark.slow
def test_worker_takes_back_from_one_that_is_suspended_past_its_lease(settings, jobs, queue):
    short = cheap(lease=4)
    (long,) = ask(jobs, queue, {"seconds": 1})
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


def kill_five_times(settings, store, jobs, queue, bodies, command=()):
    """20 explanations, workers killed while they compute. → how often one was started."""
    ids = ask(jobs, queue, *bodies)
    choose = random.Random(0)
    for _ in range(5):
        with working(settings, *command) as process:
            wait(jobs, running=1)
            time.sleep(choose.uniform(0, 0.3))
            done = jobs.depth()["done"]
            process.kill()
            process.wait()
        assert done < len(ids)
    with working(settings, *command):
        wait(jobs, done=len(ids), seconds=120)
    with store.reading() as connection:
        rows = connection.execute(sa.select(explanations)).mappings().all()
    assert sorted(row["id"] for row in rows) == sorted(ids)  # 20 results, none twice
    assert all(row["result"] and row["plot"] and not row["worker"] for row in rows)
    assert queue.huey.pending_count() == 0
    return sum(row["attempts"] for row in rows)


def test_worker_killed_five_times_loses_and_doubles_nothing(settings, store, jobs, queue):
    bodies = [{"n": n} for n in range(20)]
    attempts = kill_five_times(settings, store, jobs, queue, bodies)
    assert 20 <= attempts <= 25  # what was done is not done again
    with store.reading() as connection:
        found = connection.scalars(sa.select(explanations.c.result)).all()
    assert sorted(result["n"] for result in found) == [*range(20)]


def test_worker_process_has_a_low_priority(settings):
    with working(settings, "-m", "serving.worker") as process:
        until = time.monotonic() + 20
        while os.getpriority(os.PRIO_PROCESS, process.pid) < NICE and time.monotonic() < until:
            time.sleep(0.02)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= NICE


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("amqp://host", "QUEUE_URL: expected sqlite:///FILE or redis://HOST:PORT"),
        ("sqlite:////nowhere/queue.db", "QUEUE_URL: the queue cannot be opened (unable to open"),
    ],
)
def test_worker_says_why_it_cannot_start(settings, url, message):
    wrong = settings.model_copy(update={"queue_url": url})
    with working(wrong, "-m", "serving.worker") as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert message in error
    assert "Traceback" not in error
