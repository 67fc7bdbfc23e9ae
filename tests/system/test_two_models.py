"""Two registered names side by side in one database: nothing of one is seen by the other."""

import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import lib.storage.migrations
from lib.monitoring import job
from lib.monitoring.alerts import open_incidents
from lib.monitoring.arrivals import last_day
from lib.monitoring.frames import from_store
from lib.pipeline.retraining import last_rejected_day, retrain
from lib.storage.database import Store, utcnow
from lib.storage.leases import Lease, lease_of
from lib.storage.tables import checks, explanations, predictions
from serving.explanations.jobs import Jobs
from serving.schemas.examples import example_history
from serving.state import state_of
from tests.lib.monitoring.served_days import settings_of, write_forecasts
from tests.lib.monitoring.test_report import DAY, days_before, forecast, write
from tests.lib.pipeline.test_retraining import TOY
from tests.serving.live import Shelf, app_on, close

NAMES = ("shops", "stations")


@pytest.fixture
def two(tmp_path, monkeypatch, database_url):
    """Settings and database of each name; both share one folder too."""
    settings = settings_of(tmp_path, monkeypatch)
    both = [
        settings.model_copy(update={"registered_model_name": name, "database_url": database_url})
        for name in NAMES
    ]
    stores = [Store.of(one) for one in both]
    yield list(zip(both, stores, strict=True))
    for store in stores:
        store.close()


def test_predictions_checks_and_incidents_are_apart(two):
    (shops, ours), (stations, theirs) = two
    write_forecasts(ours, error=60.0)
    days = [days_before(n) for n in range(30)]
    made = [forecast(d, s, days=1, features=None) for d in days for s in ("a", "b", "mute")]
    write(theirs, [row | {"model_name": "stations"} for row in made])
    for n in (2, 1, 0):
        alarm = job.run_check(shops, ours, day=DAY - n)
        healthy = job.run_check(stations, theirs, day=DAY - n)
    assert (alarm.status, healthy.status) == ("alarm", "ok")
    assert alarm.accuracy.scores[0].mae == pytest.approx(60, abs=1)
    assert healthy.accuracy.scores[0].mae < 2
    assert [alarm.evidence.expected_series, healthy.evidence.expected_series] == [2, 3]
    assert [{row["key"] for row in open_incidents(s)} for s in (ours, theirs)] == [
        {"model accuracy"},
        {"evidence series truth"},  # of "mute", which the other does not forecast
    ]
    assert len(from_store(ours, DAY - 20, DAY).forecasts) == 2 * 21
    assert last_day(ours) == last_day(theirs) == DAY
    with ours.reading() as connection:
        kept = connection.execute(sa.select(checks.c.model_name, checks.c.status)).all()
    assert sorted(map(tuple, kept)) == sorted(
        [("shops", "ok")] * 2 + [("shops", "alarm")] + [("stations", "ok")] * 3
    )


def test_retraining_is_apart_and_may_run_at_once(two, tmp_path, monkeypatch):
    dates = pd.date_range("2026-01-01", periods=100)
    table = pd.DataFrame({"series_id": "a", "date": dates, "value": 100.0 + np.arange(100) % 7})
    table.to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.setenv("TOY_SECONDS", "0.1")
    done = {}

    def run(settings, store):
        # A folder of its own stands for a registry of its own, which the toy keeps there.
        change = {"retrain_data": str(tmp_path / "data.csv"), "retrain_profile": "ci"}
        change["var_dir"] = tmp_path / settings.registered_model_name
        change["var_dir"].mkdir(exist_ok=True)
        done[store.model_name] = retrain(store, settings.model_copy(update=change), pipeline=TOY)

    threads = [threading.Thread(target=run, args=one) for one in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: one.status for name, one in done.items()} == dict.fromkeys(NAMES, "trained")
    run(*two[0])
    assert done["shops"].status == "unchanged"
    # What the gate kept out of one is no reason for the other to wait.
    (_, ours), (_, theirs) = two
    rejected = {"promoted": False, "until": "2026-04-10"}
    row = {"made_at": utcnow(), "kind": "retraining", "status": "trained", "result": rejected}
    with ours.writing() as connection:
        connection.execute(checks.insert().values(model_name="shops", **row))
    assert last_rejected_day(ours) == np.datetime64("2026-04-10")
    assert last_rejected_day(theirs) is None


def test_runs_of_the_same_data_below_one_folder_are_apart(two, tmp_path, monkeypatch):
    dates = pd.date_range("2026-01-01", periods=100)
    table = pd.DataFrame({"series_id": "a", "date": dates, "value": 100.0 + np.arange(100) % 7})
    table.to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.setenv("TOY_SECONDS", "0.1")
    change = {"retrain_data": str(tmp_path / "data.csv"), "retrain_profile": "ci"}
    done = [retrain(store, one.model_copy(update=change), pipeline=TOY) for one, store in two]
    assert [one.status for one in done] == ["trained", "trained"]
    assert done[0].run != done[1].run


def test_lease_of_one_does_not_keep_the_other_out(two):
    (_, ours), (_, theirs) = two
    leases = [Lease(store, lease_of(store, "retraining")) for store in (ours, theirs, theirs)]
    assert [lease.acquire() for lease in leases] == [True, True, False]
    for lease in leases:
        lease.release()


def test_servers_and_workers_of_two_names_share_a_database(two, tmp_path):
    (shops, ours), (_, theirs) = two
    write_forecasts(ours, error=60.0)
    job.run_check(shops, ours, day=DAY)
    apps = [
        app_on(
            Shelf(production=version),
            tmp_path / one.registered_model_name,
            registered_model_name=one.registered_model_name,
            database_url=one.database_url,
        )
        for version, (one, _) in zip((3, 8), two, strict=True)
    ]
    try:
        asked = {"series": [{"series_id": "a", "history": example_history()}], "horizon": 3}
        answers = [app.test_client().post("/forecast", json=asked).json for app in apps]
        assert [answer["model_version"] for answer in answers] == [3, 8]
        shown = [app.test_client().get("/monitoring").json for app in apps]
        assert [one["status"] for one in shown] == ["checked", "never checked"]
        for app in apps:
            state_of(app).recorder.close()
        recent = predictions.c.created_at > utcnow() - timedelta(minutes=5)
        with theirs.reading() as connection:
            query = sa.select(predictions.c.model_name, predictions.c.model_version).where(recent)
            rows = sorted(tuple(row) for row in connection.execute(query.distinct()))
        assert rows == [("shops", 3), ("stations", 8)]
    finally:
        for app in apps:
            close(app)
    queues = [Jobs(store, name=store.model_name) for store in (ours, theirs)]
    queues[0].submit({"sequence": []}, 3)
    assert queues[1].claim("worker of stations") is None
    assert queues[0].claim("worker of shops") is not None
    with ours.reading() as connection:
        assert connection.scalars(sa.select(explanations.c.model_name)).all() == ["shops"]


@pytest.mark.services
def test_migration_gives_rows_on_a_server_the_name_in_use(postgresql_url):
    scripts = ScriptDirectory(str(Path(lib.storage.migrations.__file__).parent))
    engine = sa.create_engine(postgresql_url)
    with engine.begin() as connection:
        options = {"version_table": "store_version"}
        context = MigrationContext.configure(connection, opts=options)
        for revision in ("0001", "0002"):
            script = scripts.get_revision(revision)
            script.module.upgrade(Operations(context))
            context.stamp(scripts, revision)
        at = utcnow()
        statement = sa.text(
            "INSERT INTO predictions (trace_id, created_at, model_version, levels, quantiles)"
            " VALUES ('t', :at, 4, '[]', '[]')"
        )
        connection.execute(statement, {"at": at})
        statement = sa.text(
            "INSERT INTO alerts (key, severity, title, message, opened_at, last_seen, deliveries)"
            " VALUES ('model drift', 'warning', 'd', '', :at, :at, '{}')"
        )
        connection.execute(statement, {"at": at})
    engine.dispose()
    ours, theirs = (Store(postgresql_url, model_name=name) for name in NAMES)
    with ours.reading() as connection:
        row = connection.execute(sa.select(predictions)).one()
    assert (row.model_name, row.model_version) == ("shops", 4)
    assert [len(open_incidents(store)) for store in (ours, theirs)] == [1, 0]
    for store in (ours, theirs):
        store.close()
