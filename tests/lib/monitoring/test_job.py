"""Checks of the production model: its report, its alerts, and what the service shows."""

import hashlib
import json
import shutil
from contextlib import nullcontext
from datetime import date, timedelta

import pandas as pd
import pytest
import sqlalchemy as sa

from lib.monitoring import job
from lib.monitoring.alerts import open_incidents
from lib.settings import Settings
from lib.storage.database import Store, utcnow
from lib.storage.tables import checks
from serving.records.checks import read_last_check
from tests.lib.monitoring.served_days import settings_of, write_forecasts
from tests.lib.monitoring.test_report import DAY, actual_row, days_before, forecast, single, write
from tests.panels import TINY_MODEL


@pytest.fixture
def settings(tmp_path, monkeypatch):
    return settings_of(tmp_path, monkeypatch)


@pytest.fixture
def store(settings):
    store = Store(settings.database_url)
    yield store
    store.close()


def test_check_of_a_model_that_forecasts_well_alerts_nothing(settings, store):
    write_forecasts(store, error=0.5)
    report = job.run_check(settings, store, day=DAY)
    assert not report.accuracy.alarms
    assert open_incidents(store) == []


def test_check_alerts_once_of_forecasts_that_stay_wrong(settings, store):
    write_forecasts(store, error=60.0)
    reports = [job.run_check(settings, store, day=DAY - n) for n in (2, 1, 0)]
    assert [bool(report.accuracy.alarms) for report in reports] == [False, False, True]
    (incident,) = open_incidents(store)
    assert (incident["key"], incident["severity"]) == ("model accuracy", "critical")
    with store.reading() as connection:
        kept = connection.execute(sa.select(checks.c.kind, checks.c.status)).all()
    assert [tuple(row) for row in kept] == [("report", s) for s in ("ok", "ok", "alarm")]


def test_check_writes_what_the_service_shows(settings, store):
    write_forecasts(store, error=60.0)
    for n in (2, 1, 0):
        job.run_check(settings, store, day=DAY - n)
    found = read_last_check(settings.var_dir)
    assert found["status"] == "checked"
    history = found["findings"]["accuracy"]["history"]
    assert [point["date"] for point in history] == [str(DAY - n) for n in (2, 1, 0)]
    assert history[-1]["mae"] == pytest.approx(60.0, abs=0.1)
    assert found["findings"]["alerts"][0]["severity"] == "critical"
    assert found["findings"]["verdict"]["retrain"] is True
    assert not list((settings.var_dir / "monitoring").glob("*.tmp"))


def test_check_every_few_minutes_alarms_on_the_third_day(settings, store):
    write_forecasts(store, error=60.0)
    reports = [
        [job.run_check(settings, store, day=DAY - n) for _ in range(times)]
        for n, times in ((2, 1), (1, 60), (0, 2))
    ]
    assert [{bool(r.accuracy.alarms) for r in day} for day in reports] == [{False}, {False}, {True}]
    with store.reading() as connection:
        days = [row["day"] for row in connection.execute(sa.select(checks.c.result)).scalars()]
    assert days == [str(DAY - n) for n in (2, 1, 0)]


def test_check_follows_the_day_before_though_an_earlier_day_was_checked_last(settings, store):
    write_forecasts(store, error=60.0)
    for n in (2, 1, 25):
        job.run_check(settings, store, day=DAY - n)
    assert job.run_check(settings, store, day=DAY).accuracy.alarms


def test_check_alerts_of_a_limit_without_a_share_of_the_expected_error(settings, store):
    write_forecasts(store, error=60.0)
    settings = settings.model_copy(update={"monitor_checks": 1})
    job.run_check(settings, store, day=DAY)
    (incident,) = open_incidents(store)
    assert incident["title"] == "Forecasts are worse: an error beyond the limits that are set"


def test_check_ignores_an_actual_of_the_future(settings, store):
    write_forecasts(store, error=60.0)
    write(store, (), [actual_row(1.0, date(2062, 1, 1), "a")])  # beyond any forecast
    assert job.run_check(settings, store).day == str(DAY)
    today = utcnow().date()
    write(store, [forecast(today, "a", days=28)], [actual_row(1.0, today + timedelta(days=9), "a")])
    assert job.run_check(settings, store).day == str(DAY)


def test_check_scores_forecasts_without_a_series(settings, store):
    made = [days_before(n) for n in range(1, 15)]
    singles = [single(f"{day} {n}", day) for day in made for n in range(3)]
    write(store, singles, [actual_row(90.0, trace=row["trace_id"]) for row in singles])
    report = job.run_check(settings, store)
    assert report.day == str(DAY)
    assert (report.accuracy.scores[0].forecasts, report.accuracy.scores[0].mae) == (42, 40.0)


def test_check_keeps_models_of_two_names_apart(tmp_path, monkeypatch):
    fetched = []

    class Registered:
        def __init__(self, settings):
            self.name = settings.registered_model_name

        def version_of(self, alias):
            return 1

        def fetch(self, version, folder):
            fetched.append(self.name)
            return shutil.copytree(TINY_MODEL, folder)

    monkeypatch.setattr(job, "Registry", Registered)
    settings = Settings(var_dir=tmp_path, registered_model_name="shops")
    other = settings.model_copy(update={"registered_model_name": "stations"})
    for each in (settings, other, settings):
        with job._production_model(each) as (version, folder):
            assert (version, (folder / "contract.json").is_file()) == (1, True)
    assert fetched == ["shops", "stations"]


def test_check_counts_age_and_new_values_from_the_last_day_the_model_knows(
    settings, store, tmp_path, monkeypatch
):
    model = tmp_path / "model"
    shutil.copytree(TINY_MODEL, model)
    reference = pd.read_parquet(model / "reference.parquet")
    reference["date"] += pd.Timestamp(str(DAY - 6)) - reference["date"].max()
    reference.to_parquet(model / "reference.parquet")
    sha = hashlib.sha256((model / "reference.parquet").read_bytes()).hexdigest()
    contract = json.loads((model / "contract.json").read_text())
    contract["sha256"]["reference.parquet"] = sha
    (model / "contract.json").write_text(json.dumps(contract))
    monkeypatch.setattr(job, "_production_model", lambda settings: nullcontext((1, model)))
    write_forecasts(store, error=0.5)
    weekly = settings.model_copy(update={"retrain_after_days": 7})
    report = job.run_check(weekly, store, day=DAY)
    assert (report.recommendation.age_days, report.recommendation.new_samples) == (6, 12)
    assert not report.recommendation.retrain
