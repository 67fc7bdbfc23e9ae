"""The queue of explanations, on real databases."""

import re
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from lib.settings import ROOT
from lib.storage.database import Store, exclusive_transaction, utcnow
from lib.storage.processes import is_dead, process_name
from lib.storage.tables import explanations, predictions
from serving.explanations.jobs import MAX_ATTEMPTS, RETRY_SECONDS, Jobs, QueueFullError

BODY = {"sequence": [{"lag_1": 1.0, "lag_7": None}]}


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


def queued(store):
    """Ids of the queued jobs, oldest first."""
    rows = explanations.c
    ids = sa.select(rows.id).where(rows.status == "queued").order_by(rows.created_at, rows.id)
    with store.reading() as connection:
        return list(connection.scalars(ids))


def claim(jobs, identity, worker):
    """Claim the next job, which must be this one."""
    job = jobs.claim(worker)
    assert job.id == identity
    return job


def test_jobs_submit_tells_editions_of_a_version_apart(jobs):
    plain = jobs.submit(BODY, 0)
    assert jobs.submit(BODY, 0, edition="") == plain
    assert len({plain, jobs.submit(BODY, 0, edition="a"), jobs.submit(BODY, 0, edition="b")}) == 3


def test_jobs_submit_of_what_is_there_waits_for_no_writer(settings, store, jobs):
    identity = jobs.submit(BODY, 3)
    impatient = Store(settings.database_url, busy_seconds=0.1)
    with store.writing() as connection:
        exclusive_transaction(connection)
        assert Jobs(impatient).submit(BODY, 3) == identity
    impatient.close()


def test_jobs_submit_queues_a_question(store, jobs):
    identity = jobs.submit(BODY, 3)
    assert re.fullmatch("[0-9a-f]{32}", identity)
    row = jobs.get(identity)
    assert (row.status, row.model_version, row.result) == ("queued", 3, None)
    assert queued(store) == [identity]
    assert jobs.get("0" * 32) is None


def test_jobs_submit_to_another_model_is_another_job(store, jobs):
    assert Jobs(store, name="shops").submit(BODY, 1) != jobs.submit(BODY, 1)


def test_jobs_submit_of_the_same_question_is_the_same_job(store, jobs):
    first = jobs.submit({"a": 1.0, "b": 2.0}, 1)
    assert jobs.submit({"b": 2.0, "a": 1.0}, 1) == first
    assert jobs.submit({"a": 1.0, "b": 2.5}, 1) != first
    assert jobs.submit({"a": 1.0, "b": 2.0}, 2) != first
    assert len(queued(store)) == 3


@pytest.mark.parametrize("status", ["running", "done"])
def test_jobs_submit_again_leaves_what_runs_or_is_done(jobs, status):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "w")
    if status == "done":
        jobs.finish(identity, "w", {"x": 1}, b"png")
    assert jobs.submit(BODY, 1) == identity
    assert jobs.get(identity).status == status


def test_jobs_submit_again_tries_what_failed_again(jobs):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "w")
    assert jobs.fail(identity, "w", "no such version")
    row = jobs.get(identity)
    assert (row.status, row.error) == ("failed", "no such version")
    assert jobs.submit(BODY, 1) == identity
    row = jobs.get(identity)
    assert (row.status, row.error, row.attempts, row.finished_at) == ("queued", None, 0, None)


def test_jobs_submit_past_the_limit_is_refused(jobs):
    ids = [jobs.submit(body(n), 1) for n in range(5)]
    with pytest.raises(QueueFullError, match="5 explanations wait already") as caught:
        jobs.submit(body(5), 1)
    assert caught.value.retry_after >= 1
    assert jobs.submit(body(0), 1) == ids[0]  # nothing new, so nothing to refuse
    claim(jobs, ids[0], "w")
    jobs.submit(body(5), 1)


def test_jobs_submit_at_once_never_passes_the_limit(store, jobs):
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
    assert len(queued(store)) == 5
    assert len(refused) == 7


def test_jobs_claim_is_given_once(jobs):
    identity = jobs.submit(BODY, 7)
    claimed = []

    def take(n):
        if job := jobs.claim(f"w{n}"):
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


def test_jobs_claim_gives_the_oldest_first_and_nothing_from_an_empty_queue(jobs):
    assert jobs.claim("w") is None
    ids = [jobs.submit(body(n), 1) for n in range(4)]
    assert [jobs.claim("w").id for _ in ids] == ids
    assert jobs.claim("w") is None


@pytest.mark.services
def test_jobs_claim_skips_the_row_that_another_transaction_holds(postgresql_url):
    stores = [Store(postgresql_url) for _ in range(2)]
    jobs = [Jobs(store) for store in stores]
    first, second = (jobs[0].submit(body(n), 1) for n in range(2))
    row = sa.select(explanations.c.id).where(explanations.c.id == first).with_for_update()
    with stores[0].writing() as connection:
        connection.execute(row)
        claim(jobs[1], second, "w")  # and does not wait
        assert jobs[1].claim("w") is None
    claim(jobs[1], first, "w")
    for store in stores:
        store.close()


def test_jobs_claim_of_an_idle_worker_makes_no_writer_wait(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/state.db", busy_seconds=0.1)
    jobs = Jobs(store)
    assert jobs.count()["queued"] == 0
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert jobs.claim("w") is None
    other.execute("ROLLBACK")
    other.close()
    store.close()


def test_jobs_postpone_lets_others_go_first_and_does_not_count_as_an_attempt(jobs, store):
    later, other = (jobs.submit(body(n), 1) for n in range(2))
    claim(jobs, later, "w")
    jobs.postpone(later, "w")
    assert (jobs.get(later).status, jobs.get(later).attempts) == ("queued", 0)
    claim(jobs, other, "w")
    assert jobs.claim("w") is None
    change(store, lease_until=utcnow() - timedelta(seconds=1))
    claim(jobs, later, "w")


def test_jobs_postponed_before_the_clock_was_set_back_are_not_waited_for(jobs, store):
    identity = jobs.submit(BODY, 1)
    change(store, lease_until=utcnow() + timedelta(seconds=10 * RETRY_SECONDS))
    claim(jobs, identity, "w")


def test_jobs_finish_keeps_result_and_plot(jobs):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "w")
    assert jobs.plot(identity) is None
    assert jobs.finish(identity, "w", {"base": 1.5}, b"png")
    row = jobs.get(identity)
    assert (row.status, row.result, row.worker) == ("done", {"base": 1.5}, None)
    assert row.created_at <= row.started_at <= row.finished_at
    assert jobs.plot(identity) == b"png"
    assert jobs.count() == {"queued": 0, "running": 0, "done": 1, "failed": 0}


def test_jobs_reclaim_gives_the_job_of_a_dead_worker_to_another(jobs):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "dead")
    assert jobs.reclaim(never) == []
    assert jobs.reclaim(always) == [identity]
    claim(jobs, identity, "w")
    # The dead one was only slow: its result is no longer wanted.
    assert not jobs.finish(identity, "dead", {"late": 1}, b"")
    assert not jobs.fail(identity, "dead", "late")
    assert jobs.finish(identity, "w", {"right": 1}, b"")
    assert (jobs.get(identity).result, jobs.get(identity).attempts) == ({"right": 1}, 2)


@pytest.mark.parametrize("until", [timedelta(seconds=-1), timedelta(hours=1)])
def test_jobs_reclaim_an_ended_lease_or_one_from_before_the_clock_was_set_back(jobs, store, until):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "elsewhere:1:1:x")
    change(store, lease_until=utcnow() + until)
    assert jobs.reclaim(never) == [identity]
    assert queued(store) == [identity]


def test_jobs_renew_keeps_a_lease(jobs, store):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "w")
    change(store, lease_until=utcnow() - timedelta(seconds=1))
    jobs.renew(identity, "other")
    assert jobs.get(identity).lease_until < utcnow()
    jobs.renew(identity, "w")
    assert jobs.reclaim(never) == []


def test_jobs_renew_leaves_other_jobs_of_the_same_worker(jobs, store):
    lost, current = (jobs.submit(body(n), 1) for n in range(2))
    for identity in (lost, current):
        claim(jobs, identity, "w")
    change(store, lease_until=utcnow() - timedelta(seconds=1))
    jobs.renew(current, "w")
    assert jobs.reclaim(never) == [lost]


def test_jobs_reclaim_gives_up_on_a_job_that_kills_its_workers(jobs):
    identity = jobs.submit(BODY, 1)
    for n in range(MAX_ATTEMPTS):
        claim(jobs, identity, f"w{n}")
        jobs.reclaim(always)
    row = jobs.get(identity)
    assert (row.status, row.error) == (
        "failed",
        "the worker died 10 times while computing this explanation",
    )


def test_jobs_release_does_not_count_as_an_attempt(jobs):
    identity = jobs.submit(BODY, 1)
    claim(jobs, identity, "w")
    jobs.release("w")
    assert (jobs.get(identity).status, jobs.get(identity).attempts) == ("queued", 0)


def test_jobs_delete_old_results_and_bodies(jobs, store):
    old, new = utcnow() - timedelta(days=31), utcnow() - timedelta(days=29)
    kept = jobs.submit(body(0), 1)
    gone = jobs.submit(body(1), 1)
    waits = jobs.submit(body(2), 1)
    for identity in (kept, gone):
        claim(jobs, identity, "w")
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
    assert jobs.delete_old(days=30) == 1 + 600
    assert jobs.get(gone) is None
    assert jobs.get(kept).status == "done"
    assert jobs.get(waits).status == "queued"  # nobody has seen it yet
    with store.reading() as connection:
        columns = predictions.c.trace_id, predictions.c.body
        found = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)).all()
    assert sorted(found) == [("new", b"{}", 600), ("old", None, 600)]


def test_worker_is_dead_when_its_process_is():
    code = (
        "import sys; from lib.storage.leases import process_name;sys.stdout.write(process_name())"
    )
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


def test_jobs_module_is_light():
    code = (
        "import sys, serving.explanations.jobs, serving.records.predictions;"
        "sys.exit(', '.join({'torch', 'shap', 'mlflow', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stderr.strip() == ""
