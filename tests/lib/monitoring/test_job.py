import hashlib
import json
import shutil
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from lib import settings as settings_module
from lib.monitoring import job
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.alerts import open_incidents
from lib.monitoring.report import baseline
from lib.pipeline import retraining
from lib.pipeline.retraining import Retraining
from lib.registry import registry
from lib.registry.registry import RegistryError
from lib.settings import Settings
from lib.storage.database import Store, utcnow
from lib.storage.tables import checks
from serving.records.checks import read_last_check
from tests.lib.monitoring.test_report import DAY, days_before, forecast, single, truth, write
from tests.panels import TINY_MODEL

CHALLENGER = Retraining("trained", "is better", version=2, promoted=True)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "_production", lambda settings: (1, TINY_MODEL))
    return Settings(
        var_dir=tmp_path,
        database_url=f"sqlite:///{tmp_path}/state.db",
        max_mae=20.0,
        retrain_after_days=0,
        retrain_after_samples=0,
    )


@pytest.fixture
def store(settings):
    store = Store(settings.database_url)
    yield store
    store.close()


def live(store, *, wrong):
    """Sixty days of two series, and a forecast from each evening that misses them by `wrong`."""
    rng = np.random.default_rng(0)
    days = [days_before(n) for n in range(60)]
    for series in ("a", "b"):
        values = dict(zip(days, 100 + rng.normal(0, 1, len(days)), strict=True))
        made = [
            forecast(d, series, days=1, value=values[d] + wrong, features=None) for d in days[:30]
        ]
        write(store, made, [truth(value, day, series) for day, value in values.items()])


def test_monitor_says_nothing_of_a_model_that_forecasts_well(settings, store):
    live(store, wrong=0.5)
    report, trained = job.run_check(settings, day=DAY)
    assert trained is None
    assert not report.accuracy.alarms
    assert open_incidents(store) == []


def test_monitor_tells_once_of_forecasts_that_are_wrong_day_after_day(settings, store):
    live(store, wrong=60.0)
    reports = [job.run_check(settings, day=DAY - n)[0] for n in (2, 1, 0)]
    assert [bool(report.accuracy.alarms) for report in reports] == [False, False, True]
    (incident,) = open_incidents(store)
    assert (incident["key"], incident["severity"]) == ("model accuracy", "critical")
    with store.reading() as connection:
        kept = connection.execute(sa.select(checks.c.kind, checks.c.status)).all()
    assert [tuple(row) for row in kept] == [("report", s) for s in ("ok", "ok", "alarm")]


def test_monitor_leaves_what_the_service_shows(settings, store):
    live(store, wrong=60.0)
    for n in (2, 1, 0):
        job.run_check(settings, day=DAY - n)
    found = read_last_check(settings.var_dir)
    assert found["status"] == "checked"
    history = found["findings"]["accuracy"]["history"]
    assert [point["date"] for point in history] == [str(DAY - n) for n in (2, 1, 0)]
    assert history[-1]["mae"] == pytest.approx(60.0, abs=0.1)
    assert found["findings"]["alerts"][0]["severity"] == "critical"
    assert found["findings"]["verdict"]["retrain"] is True
    assert not list((settings.var_dir / "monitoring").glob("*.tmp"))


@pytest.mark.parametrize("allowed", [True, False])
def test_monitor_retrains_only_where_it_may(settings, store, monkeypatch, allowed):
    live(store, wrong=60.0)
    monkeypatch.setattr(retraining, "retrain", lambda store, settings: CHALLENGER)
    settings = settings.model_copy(update={"auto_retrain": allowed})
    done = [job.run_check(settings, day=DAY - n)[1] for n in (2, 1, 0)]
    assert done == [None, None, CHALLENGER if allowed else None]


@pytest.mark.parametrize(
    ("status", "promoted", "until", "again"),
    [
        ("trained", False, DAY - 3, False),
        ("unchanged", False, DAY - 3, False),
        ("trained", False, DAY - 7, True),
        ("trained", True, DAY - 3, True),
        ("failed", None, DAY - 3, True),
    ],
)
def test_monitor_waits_for_new_days_after_a_challenger_that_was_kept_out(
    settings, store, monkeypatch, status, promoted, until, again
):
    live(store, wrong=60.0)
    monkeypatch.setattr(retraining, "retrain", lambda store, settings: CHALLENGER)
    settings = settings.model_copy(update={"auto_retrain": True, "monitor_checks": 1})
    done = asdict(Retraining(status, "", version=2, promoted=promoted, until=str(until)))
    row = {"made_at": utcnow(), "kind": "retraining", "model_version": 2, "status": status}
    with store.writing() as connection:
        connection.execute(checks.insert().values(**row, result=done))
    trained = job.run_check(settings, day=DAY)[1]
    assert trained == (CHALLENGER if again else None)


def test_monitor_tells_once_of_a_retraining_that_fails_and_when_it_works_again(
    settings, store, monkeypatch
):
    live(store, wrong=60.0)
    settings = settings.model_copy(update={"auto_retrain": True, "monitor_checks": 1})
    came = [Retraining("failed", "no data"), Retraining("busy", ""), CHALLENGER]
    left = iter(came)
    monkeypatch.setattr(retraining, "retrain", lambda store, settings: next(left))
    found = []
    for n in (2, 1, 0):
        job.run_check(settings, day=DAY - n)
        found.append([i["message"] for i in open_incidents(store) if i["key"] == "retraining"])
    assert found == [["no data"], ["no data"], []]


def test_monitor_checked_every_few_minutes_alarms_on_the_third_day(settings, store):
    live(store, wrong=60.0)
    reports = [
        [job.run_check(settings, day=DAY - n)[0] for _ in range(times)]
        for n, times in ((2, 1), (1, 60), (0, 2))
    ]
    assert [{bool(r.accuracy.alarms) for r in day} for day in reports] == [{False}, {False}, {True}]
    with store.reading() as connection:
        days = [row["day"] for row in connection.execute(sa.select(checks.c.result)).scalars()]
    assert days == [str(DAY - n) for n in (2, 1, 0)]


def test_monitor_goes_on_from_the_day_before_after_an_earlier_day_was_checked(settings, store):
    live(store, wrong=60.0)
    for n in (2, 1, 25):
        job.run_check(settings, day=DAY - n)
    assert job.run_check(settings, day=DAY)[0].accuracy.alarms


def test_monitor_tells_of_a_limit_without_a_share_of_what_was_promised(settings, store):
    live(store, wrong=60.0)
    settings = settings.model_copy(update={"monitor_checks": 1})
    job.run_check(settings, day=DAY)
    (incident,) = open_incidents(store)
    assert incident["title"] == "Forecasts are worse: an error beyond the limits that are set"


def test_monitor_is_not_led_astray_by_a_truth_of_days_to_come(settings, store):
    live(store, wrong=60.0)
    write(store, (), [truth(1.0, date(2062, 1, 1), "a")])  # beyond any forecast
    assert job.run_check(settings)[0].day == str(DAY)
    today = utcnow().date()
    write(store, [forecast(today, "a", days=28)], [truth(1.0, today + timedelta(days=9), "a")])
    assert job.run_check(settings)[0].day == str(DAY)


def test_monitor_checks_forecasts_that_have_no_series(settings, store):
    made = [days_before(n) for n in range(1, 15)]
    singles = [single(f"{day} {n}", day) for day in made for n in range(3)]
    write(store, singles, [truth(90.0, trace=row["trace_id"]) for row in singles])
    report, _ = job.run_check(settings)
    assert report.day == str(DAY)
    assert (report.accuracy.scores[0].forecasts, report.accuracy.scores[0].mae) == (42, 40.0)


@pytest.mark.parametrize("learn", [14, 0])
def test_monitor_waits_for_days_after_a_change_to_learn_from(
    settings, store, monkeypatch, learn, capsys
):
    rng = np.random.default_rng(0)
    days = [days_before(n) for n in range(60)]
    made, truths = [], []
    for series in ("a", "b", "c"):
        for n, day in enumerate(days):
            value = 100 + rng.normal(0, 1)
            truths.append(truth(value, day, series))
            wrong = 300.0 if n < 16 else 0.5
            made.append(forecast(day, series, days=1, value=value + wrong, features=None))
    write(store, made, truths)
    monkeypatch.setattr(retraining, "retrain", lambda store, settings: CHALLENGER)
    reference, _ = baseline(TINY_MODEL, 21)
    promised = ExpectedError({"wape": 2.0, "coverage_80": 80.0}, {})
    monkeypatch.setattr(job, "_baseline", lambda folder, days: (reference, promised))
    update = {"auto_retrain": True, "monitor_checks": 1, "max_mae": None}
    given = {"retrain_parameters": "CUTOFFS=2 STEP=1 HORIZON=1 VALIDATION_DAYS=2"}
    settings = settings.model_copy(update={**update, **given, "retrain_learn_days": learn})
    report, trained = job.run_check(settings, day=DAY)
    assert report.verdict.since == str(DAY - 15)
    assert trained == (None if learn else CHALLENGER)
    if learn:
        assert "12 days after the change of 2026-03-16" in capsys.readouterr().out
        enough = settings.model_copy(update={"retrain_learn_days": 12})
        assert job.run_check(enough, day=DAY)[1] == CHALLENGER
        calendar = settings.model_copy(update={"retrain_after_days": 7})
        assert job.run_check(calendar, day=DAY)[1] == CHALLENGER


def test_monitor_keeps_models_of_two_names_apart(tmp_path, monkeypatch):
    fetched = []

    class Registered:
        def __init__(self, settings):
            self.name = settings.registered_model_name

        def version_of(self, alias):
            return 1

        def fetch(self, version, folder):
            fetched.append(self.name)
            folder.mkdir(parents=True)
            (folder / "contract.json").write_text("{}")

    monkeypatch.setattr(registry, "Registry", Registered)
    settings = Settings(var_dir=tmp_path, registered_model_name="shops")
    other = settings.model_copy(update={"registered_model_name": "stations"})
    folders = {job._production(s) for s in (settings, other, settings)}
    assert (len(folders), fetched) == (2, ["shops", "stations"])


def test_monitor_words_a_registry_that_does_not_answer(tmp_path, monkeypatch, capsys):
    def nothing(settings):
        raise RegistryError("no such version")

    monkeypatch.setattr(registry, "Registry", nothing)
    settings = Settings(var_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/state.db")
    monkeypatch.setattr(settings_module, "get_settings", lambda: settings)
    assert job.main(["--day", str(DAY)]) == 1
    assert capsys.readouterr().err.endswith("cannot be had: no such version\n")


def test_monitor_counts_age_and_new_values_from_the_last_day_the_model_knows(
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
    monkeypatch.setattr(job, "_production", lambda settings: (1, model))
    live(store, wrong=0.5)
    found = job.run_check(settings.model_copy(update={"retrain_after_days": 7}), day=DAY)[0]
    assert (found.verdict.age_days, found.verdict.new_samples) == (6, 12)
    assert not found.verdict.retrain


def test_monitor_without_a_truth_says_what_to_do(settings, store, capsys, monkeypatch):
    write(store, [forecast(days_before(1) + timedelta(days=1))])
    with pytest.raises(job.MonitorError, match="POST /actuals"):
        job.run_check(settings)
    monkeypatch.setattr(settings_module, "get_settings", lambda: settings)
    assert job.main([]) == 1
    assert "POST /actuals" in capsys.readouterr().err


def test_monitor_prints_its_report_as_json(settings, store, capsys, monkeypatch):
    live(store, wrong=0.5)
    monkeypatch.setattr(settings_module, "get_settings", lambda: settings)
    assert job.main(["--day", str(DAY)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["day"] == str(DAY)
    assert said["retraining"] is None
