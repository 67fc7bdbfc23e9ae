"""The table of explanations and its queue, on real databases, queues and a real huey."""

import json
import re
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from lib.storage.database import Store, utcnow
from lib.storage.processes import is_dead, process_name
from lib.storage.tables import explanations, predictions
from serving.explanations.jobs import MAX_ATTEMPTS, Jobs, Queue, QueueFullError

BODY = {"sequence": [{"lag_1": 1.0, "lag_7": None}]}


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def jobs(store):
    return Jobs(store, queue_max=5)


def body(n):
    return {"sequence": [{"lag_1": float(n)}]}


def never(worker):
    return False


def always(worker):
    return True


def change(store, **values):
    with store.writing() as connection:
        connection.execute(explanations.update().values(**values))


def test_jobs_submit_queues_what_is_asked(jobs):
    identity = jobs.submit(BODY, 3)[0]
    assert re.fullmatch("[0-9a-f]{32}", identity)
    row = jobs.get(identity)
    assert (row.status, row.model_version, row.result) == ("queued", 3, None)
    assert jobs.waiting() == [identity]
    assert jobs.get("0" * 32) is None


def test_jobs_submit_to_another_model_is_another_job(store, jobs):
    assert Jobs(store, name="shops").submit(BODY, 1)[0] != jobs.submit(BODY, 1)[0]


def test_jobs_submit_of_the_same_question_is_the_same_job(jobs):
    first = jobs.submit({"a": 1.0, "b": 2.0}, 1)[0]
    assert jobs.submit({"b": 2.0, "a": 1.0}, 1)[0] == first
    assert jobs.submit({"a": 1.0, "b": 2.5}, 1)[0] != first
    assert jobs.submit({"a": 1.0, "b": 2.0}, 2)[0] != first
    assert len(jobs.waiting()) == 3


@pytest.mark.parametrize("status", ["running", "done"])
def test_jobs_submit_again_leaves_what_runs_or_is_done(jobs, status):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "w")
    if status == "done":
        jobs.finish(identity, "w", {"x": 1}, b"png")
    assert jobs.submit(BODY, 1) == (identity, False)
    assert jobs.get(identity).status == status


def test_jobs_submit_again_tries_what_failed_again(jobs):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "w")
    assert jobs.fail(identity, "w", "no such version")
    row = jobs.get(identity)
    assert (row.status, row.error) == ("failed", "no such version")
    assert jobs.submit(BODY, 1) == (identity, True)
    row = jobs.get(identity)
    assert (row.status, row.error, row.attempts, row.finished_at) == ("queued", None, 0, None)


def test_jobs_submit_past_the_limit_is_refused(jobs):
    ids = [jobs.submit(body(n), 1)[0] for n in range(5)]
    with pytest.raises(QueueFullError, match="5 explanations wait already") as caught:
        jobs.submit(body(5), 1)
    assert caught.value.retry_after >= 1
    assert jobs.submit(body(0), 1)[0] == ids[0]  # nothing new, so nothing to refuse
    jobs.claim(ids[0], "w")
    jobs.submit(body(5), 1)


def test_jobs_submit_at_once_never_passes_the_limit(jobs):
    refused = []

    def ask(n):
        try:
            jobs.submit(body(n), 1)
        except QueueFullError:
            refused.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(jobs.waiting()) == 5
    assert len(refused) == 7


def test_jobs_claim_is_given_once(jobs):
    identity = jobs.submit(BODY, 7)[0]
    claimed = []

    def take(n):
        if job := jobs.claim(identity, f"w{n}"):
            claimed.append(job)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = claimed
    assert (job.id, job.body, job.model_version) == (identity, BODY, 7)
    row = jobs.get(identity)
    assert (row.status, row.attempts) == ("running", 1)


def test_jobs_finish_keeps_result_and_plot(jobs):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "w")
    assert jobs.plot(identity) is None
    assert jobs.finish(identity, "w", {"base": 1.5}, b"png")
    row = jobs.get(identity)
    assert (row.status, row.result, row.worker) == ("done", {"base": 1.5}, None)
    assert row.created_at <= row.started_at <= row.finished_at
    assert jobs.plot(identity) == b"png"
    assert jobs.depth() == {"queued": 0, "running": 0, "done": 1, "failed": 0}


def test_jobs_take_back_gives_what_a_dead_worker_had_to_another(jobs):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "dead")
    assert jobs.take_back(never) == []
    assert jobs.take_back(always) == [identity]
    assert jobs.claim(identity, "w").id == identity
    # The dead one was only slow: its result is no longer wanted.
    assert not jobs.finish(identity, "dead", {"late": 1}, b"")
    assert not jobs.fail(identity, "dead", "late")
    assert jobs.finish(identity, "w", {"right": 1}, b"")
    assert (jobs.get(identity).result, jobs.get(identity).attempts) == ({"right": 1}, 2)


@pytest.mark.parametrize("away", [timedelta(seconds=-1), timedelta(hours=1)])
def test_jobs_take_back_an_ended_lease_or_one_from_before_the_clock_was_set_back(jobs, store, away):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "elsewhere:1:1:x")
    change(store, lease_until=utcnow() + away)
    assert jobs.take_back(never) == [identity]
    assert jobs.waiting() == [identity]


def test_jobs_renew_keeps_a_lease(jobs, store):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "w")
    change(store, lease_until=utcnow() - timedelta(seconds=1))
    jobs.renew(identity, "other")
    assert jobs.get(identity).lease_until < utcnow()
    jobs.renew(identity, "w")
    assert jobs.take_back(never) == []


def test_jobs_renew_leaves_what_else_runs_in_the_same_name(jobs, store):
    lost, in_hand = (jobs.submit(body(n), 1)[0] for n in range(2))
    for identity in (lost, in_hand):
        jobs.claim(identity, "w")
    change(store, lease_until=utcnow() - timedelta(seconds=1))
    jobs.renew(in_hand, "w")
    assert jobs.take_back(never) == [lost]


def test_jobs_take_back_gives_up_on_a_job_that_kills_its_workers(jobs):
    identity = jobs.submit(BODY, 1)[0]
    for n in range(MAX_ATTEMPTS):
        assert jobs.claim(identity, f"w{n}")
        jobs.take_back(always)
    row = jobs.get(identity)
    assert (row.status, row.error) == (
        "failed",
        "the worker died 10 times while computing this explanation",
    )


def test_jobs_put_back_counts_as_not_tried(jobs):
    identity = jobs.submit(BODY, 1)[0]
    jobs.claim(identity, "w")
    jobs.put_back("w")
    assert (jobs.get(identity).status, jobs.get(identity).attempts) == ("queued", 0)


def test_jobs_forget_what_is_old(jobs, store):
    old, new = utcnow() - timedelta(days=31), utcnow() - timedelta(days=29)
    kept = jobs.submit(body(0), 1)[0]
    gone = jobs.submit(body(1), 1)[0]
    waits = jobs.submit(body(2), 1)[0]
    for identity in (kept, gone):
        jobs.claim(identity, "w")
        jobs.finish(identity, "w", {}, b"")
    ages = {"old": old, "new": new}
    row = {"model_version": 1, "levels": [], "quantiles": [], "body": b"{}"}
    with store.writing() as connection:
        at = explanations.update().where(explanations.c.id == gone)
        connection.execute(at.values(finished_at=old))
        at = explanations.update().where(explanations.c.id == waits)
        connection.execute(at.values(created_at=old))
        for name, age in ages.items():
            rows = [row | {"trace_id": name, "created_at": age}] * 600  # more than one step
            connection.execute(predictions.insert(), rows)
    assert jobs.forget(days=30) == 1 + 600
    assert jobs.get(gone) is None
    assert jobs.get(kept).status == "done"
    assert jobs.get(waits).status == "queued"  # nobody has seen it yet
    with store.reading() as connection:
        columns = predictions.c.trace_id, predictions.c.body
        found = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)).all()
    assert sorted(found) == [("new", b"{}", 600), ("old", None, 600)]


def test_queue_gives_ids_in_order_and_as_json(queue_url):
    seen = []
    asking, working = Queue(queue_url), Queue(queue_url, seen.append)
    for identity in "abc":
        asking.put(identity)
    stored = working.huey.storage.enqueued_items()
    assert [json.loads(message)[6] for message in stored] == [["a"], ["b"], ["c"]]
    while task := working.huey.dequeue():
        working.huey.execute(task)
    assert seen == ["a", "b", "c"]


def test_queue_fill_sends_only_what_is_missing(queue_url):
    queue = Queue(queue_url)
    queue.put("b")
    assert queue.fill(["a", "b", "c"]) == ["a", "c"]
    assert queue.fill(["a", "b", "c"]) == []


def test_queue_drops_a_message_that_is_not_json(queue_url):
    queue = Queue(queue_url)
    queue.huey.storage.enqueue(b"\x80\x04cposix\nsystem\n.")
    with pytest.raises(ValueError, match="utf-8"):
        queue.huey.dequeue()
    assert queue.huey.dequeue() is None


def test_worker_is_dead_when_its_process_is():
    code = "from serving.explanations.jobs import worker_name; import sys; sys.stdout.write(worker_name())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert is_dead(done.stdout)
    assert not is_dead(process_name())
    assert not is_dead("another-machine:1:1:x")


def test_worker_is_dead_when_its_number_has_another_process():
    mine = process_name()
    host, pid, started, tail = mine.rsplit(":", 3)
    assert is_dead(f"{host}:{pid}:{int(started) - 1}:{tail}")


def test_queue_module_is_light():
    code = (
        "import sys, serving.explanations.jobs, serving.records.predictions;"
        "sys.exit(', '.join({'torch', 'shap', 'mlflow', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stderr.strip() == ""
