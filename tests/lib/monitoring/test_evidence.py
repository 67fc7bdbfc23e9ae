"""What must not fool the monitoring: stray rows, missing truth, absurd values, other models."""

import json
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from lib.monitoring import job
from lib.monitoring.accuracy import ExpectedError, measure_accuracy
from lib.monitoring.alerts import Finding, open_incidents, raise_alerts
from lib.monitoring.arrivals import last_day, measure_arrivals
from lib.monitoring.frames import from_store
from lib.monitoring.quarantine import drop, list_quarantined, quarantine, release
from lib.monitoring.report import load_baseline
from lib.pipeline import check
from lib.pipeline.quarantine import main as quarantine_command
from lib.storage.database import Store, utcnow
from lib.storage.tables import actuals, checks, predictions
from serving.records.actuals import store_actuals
from serving.records.checks import read_last_check
from serving.schemas.actuals import ActualsBody
from tests.lib.monitoring.served_days import settings_of, write_forecasts
from tests.lib.monitoring.test_report import DAY, actual_row, days_before, forecast, write
from tests.panels import TINY_MODEL


@pytest.fixture
def settings(tmp_path, monkeypatch):
    return settings_of(tmp_path, monkeypatch)


@pytest.fixture
def store(settings):
    store = Store.of(settings)
    yield store
    store.close()


def keys(store):
    return {row["key"] for row in open_incidents(store)}


def degraded(settings, store):
    """Three daily checks of forecasts that are wrong: an incident is open."""
    write_forecasts(store, error=60.0)
    for n in (2, 1, 0):
        job.run_check(settings, store, day=DAY - n)
    assert keys(store) == {"model accuracy"}


def test_stray_row_moves_no_checked_day_and_ends_no_incident(settings, store):
    degraded(settings, store)
    raise_alerts(
        store,
        [Finding("model drift", "critical", "drift")],
        settings=settings,
        within="model drift",
    )
    today = utcnow().date()
    write(store, [forecast(today, "stray", days=1)], [actual_row(100.0, today, "stray")])
    assert last_day(store) == DAY
    report = job.run_check(settings, store)
    assert report.day == str(DAY)
    assert {"model accuracy", "model drift"} <= keys(store)


def test_check_of_one_forecast_is_not_enough_evidence_and_ends_nothing(settings, store):
    degraded(settings, store)
    later = days_before(-40)
    write(store, [forecast(later, "stray", days=1)], [actual_row(100.0, later, "stray")])
    report = job.run_check(settings, store, day=np.datetime64(later))
    assert report.status == "unknown"
    assert (report.evidence.forecasts, report.evidence.actuals) == (1, 1)
    assert report.evidence.reason
    assert "model accuracy" in keys(store)
    with store.reading() as connection:
        kept = connection.execute(sa.select(checks).order_by(checks.c.id.desc())).first()
    assert (kept.status, kept.result["evidence"]["enough"]) == ("unknown", False)


def test_check_with_enough_evidence_ends_the_incident(settings, store):
    raise_alerts(
        store, [Finding("model accuracy", "critical", "worse")], settings=settings, within=()
    )
    write_forecasts(store, error=0.5)
    report = job.run_check(settings, store, day=DAY)
    assert (report.status, report.evidence.share, report.evidence.series) == ("ok", 1.0, 2)
    assert keys(store) == set()


def test_truth_that_has_not_come_for_years_alarms_and_exits_0(settings, store, monkeypatch, capsys):
    degraded(settings, store)
    today = utcnow().date()
    days = [today - timedelta(days=n) for n in range(30)]
    write(store, [forecast(day, name, days=1) for day in days for name in ("a", "b")])
    monkeypatch.setattr(check, "get_settings", lambda: settings)
    capsys.readouterr()
    assert check.main(["--no-retraining"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["arrivals"]["truth_stopped"]
    assert not shown["evidence"]["enough"]
    assert keys(store) == {"model accuracy", "evidence truth"}


def test_truth_that_stops_is_missed_within_three_days_and_ends_when_it_comes(settings, store):
    write_forecasts(store, error=0.5)
    for n in range(8, -1, -1):
        assert job.run_check(settings, store, day=DAY - n).status == "ok"
    found = {}
    for n in range(1, 31):
        write(store, [forecast(days_before(-n - 1), s, days=1, features=None) for s in "ab"])
        job.run_check(settings, store, day=DAY + n)
        found[n] = keys(store)
    assert [found[n] for n in (1, 2)] == [set()] * 2
    assert found[3] == found[30] == {"evidence truth"}
    write(store, [], [actual_row(100.0, days_before(-n), s) for n in range(1, 31) for s in "ab"])
    job.run_check(settings, store, day=DAY + 30)
    assert keys(store) == set()


def test_truth_that_never_came_alarms(settings, store):
    write(store, [forecast(days_before(n), days=1) for n in range(60)])
    with pytest.raises(job.MonitorError, match="no actual of a forecast"):
        job.run_check(settings, store)
    assert "evidence truth" in keys(store)


def test_forecasts_that_stop_and_series_that_vanish_are_missed(store):
    write_forecasts(store, error=0.5)
    days = [days_before(n) for n in range(40)]
    gone = [forecast(day, "gone", days=1) for day in days[10:]]
    write(store, gone, [actual_row(100.0, day, "gone") for day in days])
    arrivals = measure_arrivals(store, DAY, silent_days=3, usual_lag=0)
    assert (arrivals.vanished_series, arrivals.names) == (1, ("gone",))
    assert not arrivals.stopped
    assert measure_arrivals(store, DAY + 2, silent_days=3, usual_lag=9).forecasts_stopped


def test_truth_of_one_series_that_stops_is_missed(store):
    write_forecasts(store, error=0.5)
    days = [days_before(n) for n in range(40)]
    made = [forecast(day, "mute", days=1) for day in days]
    write(store, made, [actual_row(100.0, day, "mute") for day in days[10:]])
    arrivals = measure_arrivals(store, DAY, silent_days=3, usual_lag=0)
    assert (arrivals.silent_series, arrivals.names) == (1, ("mute",))
    assert not arrivals.truth_stopped


def test_a_series_that_is_forecast_from_its_last_truth_is_missed_by_its_truth_alone(store):
    write_forecasts(store, error=0.5)
    days = [days_before(n) for n in range(40)]
    write(store, [forecast(day, "mute", days=28) for day in days[10:][::-1]])
    write(store, [], [actual_row(100.0, day, "mute") for day in days[11:]])
    for day in days[:10][::-1]:  # the origin stays where its truth ends
        again = forecast(days[10], "mute", days=28, trace_id=f"again {day}")
        write(store, [again, forecast(day, "a", days=1)])
    arrivals = measure_arrivals(store, DAY, silent_days=3, usual_lag=0)
    assert (arrivals.silent_series, arrivals.vanished_series) == (1, 0)
    assert arrivals.names == ("mute",)


@pytest.mark.parametrize("value", [1e308, -1e308, 1e17, 5000.0])
def test_one_absurd_actual_turns_no_alarm_off(settings, store, value):
    write_forecasts(store, error=60.0)
    with store.writing() as connection:
        row = actuals.update().where(actuals.c.key == f"day {days_before(5)} a")
        connection.execute(row.values(value=value))
    reports = [job.run_check(settings, store, day=DAY - n) for n in (2, 1, 0)]
    assert reports[-1].accuracy.alarms
    assert reports[-1].accuracy.scores[0].mae == pytest.approx(60.0, abs=1.0)
    assert keys(store) == {"model accuracy", "evidence quarantine"}
    (found,) = list_quarantined(store)
    assert found["value"] == value
    assert release(store, [found["key"]]) == 1
    assert list_quarantined(store) == []


def test_forecasts_that_overflow_are_an_error_and_end_nothing(settings, store):
    degraded(settings, store)
    write(
        store,
        [forecast(days_before(3), "a", days=1, value=1e305, features=None, trace_id="last")],
    )
    with pytest.raises(job.MonitorError, match="cannot be computed"):
        job.run_check(settings, store, day=DAY)
    assert keys(store) == {"model accuracy", "evidence sums"}


def test_model_with_an_absurd_expected_error_is_no_healthy_one(settings, store, monkeypatch):
    reference, _ = load_baseline(TINY_MODEL, 21)
    expected = ExpectedError({"wape": 3e304}, {})
    monkeypatch.setattr(job, "load_baseline", lambda folder, days: (reference, expected))
    write_forecasts(store, error=0.5)
    assert job.run_check(settings, store, day=DAY).status == "unknown"
    assert keys(store) == {"evidence baseline"}


def test_models_of_two_names_are_apart_in_one_database(settings, store):
    other = settings.model_copy(update={"registered_model_name": "stations"})
    theirs = Store.of(other)
    write_forecasts(store, error=60.0)
    made = [
        forecast(days_before(n), s, days=1, features=None) | {"model_name": "stations"}
        for n in range(30)
        for s in "ab"
    ]
    write(theirs, made)
    for n in (2, 1, 0):
        ours = job.run_check(settings, store, day=DAY - n)
        another = job.run_check(other, theirs, day=DAY - n)
    assert (ours.status, another.status) == ("alarm", "ok")
    assert another.accuracy.scores[0].mae < 2
    assert (keys(store), keys(theirs)) == ({"model accuracy"}, set())
    with store.reading() as connection:
        names = connection.scalars(sa.select(checks.c.model_name)).all()
    assert sorted(set(names)) == [settings.registered_model_name, "stations"]
    shown = [
        read_last_check(settings.var_dir, one)["findings"]["status"] for one in (store, theirs)
    ]
    assert shown == ["alarm", "ok"]
    # The file is of the last check, and of one model: it is not shown for another.
    file = read_last_check(settings.var_dir, model_name="stations")
    assert file["findings"]["model_name"] == "stations"
    assert read_last_check(settings.var_dir)["status"] == "never checked"
    theirs.close()


def test_findings_reach_a_service_on_another_volume(settings, store, tmp_path):
    degraded(settings, store)
    elsewhere = tmp_path / "other volume"
    assert read_last_check(elsewhere)["status"] == "never checked"
    found = read_last_check(elsewhere, store)
    assert found["status"] == "checked"
    assert [alert["severity"] for alert in found["findings"]["alerts"]] == ["critical"]
    assert found["findings"]["evidence"]["actuals"] > 30


def sent(store, *items):
    return store_actuals(store, ActualsBody.model_validate({"actuals": list(items)}).actuals)


def test_posted_actuals_say_which_are_in_quarantine(settings, store, monkeypatch, capsys):
    write_forecasts(store, error=0.5)
    day = str(days_before(-1))
    kept = sent(
        store,
        {"series_id": "a", "date": day, "value": 1e308},
        {"series_id": "b", "date": day, "value": 101.0},
        {"trace_id": "t", "value": 1e305},
    )
    assert (kept.added, kept.quarantined) == (3, 2)
    assert [one.quarantined for one in kept.results] == [True, False, True]
    assert "past of the series" in kept.results[0].reason
    again = sent(store, {"series_id": "a", "date": day, "value": 1e308})
    assert (again.unchanged, again.quarantined) == (1, 1)
    corrected = sent(store, {"series_id": "a", "date": day, "value": 102.0})
    assert (corrected.corrected, corrected.quarantined) == (1, 0)
    monkeypatch.setattr("lib.pipeline.quarantine.get_settings", lambda: settings)
    assert quarantine_command(["list"]) == 0
    assert [row["key"] for row in json.loads(capsys.readouterr().out)] == ["trace t"]
    assert quarantine_command(["drop", "trace t"]) == 0
    assert quarantine_command(["release", "trace t"]) == 1
    assert drop(store, ["trace t"]) == 0
    quarantine(store, ())


def test_a_level_that_stays_is_believed_from_the_third_day(store):
    write_forecasts(store, error=0.5)
    days = [str(days_before(-n)) for n in (1, 2, 3, 4)]
    found = [
        sent(store, {"series_id": "a", "date": day, "value": 3000.0}).quarantined for day in days
    ]
    assert found == [1, 1, 0, 0]


def test_accuracy_refuses_sums_that_overflow(store):
    write_forecasts(store, error=0.5)
    frames = from_store(store, DAY - 20, DAY)
    wrong = frames.forecasts.assign(actual=1e200)
    with pytest.raises(ArithmeticError, match=r"got values up to 1e\+200"):
        measure_accuracy(wrong, ExpectedError({}, {}), first=DAY - 20, last=DAY)


def test_old_rows_get_the_name_in_use(tmp_path):
    url = f"sqlite:///{tmp_path}/state.db"
    store = Store(url, model_name="shops")
    write(store, [forecast(days_before(1))])
    with store.reading() as connection:
        assert connection.scalar(sa.select(predictions.c.model_name)) == "shops"
    store.close()


def test_series_with_usual_gaps_is_missed_after_twice_as_long(store):
    write_forecasts(store, error=0.5)
    days = [days_before(n) for n in range(60)]
    truth = [day for n, day in enumerate(days) if n % 20 not in (3, 4, 5, 6) and n >= 7]
    made = [forecast(day, "gappy", days=1) for day in days]
    write(store, made, [actual_row(100.0, day, "gappy") for day in truth])
    assert measure_arrivals(store, DAY, silent_days=3, usual_lag=0).silent_series == 0
    with store.writing() as connection:
        recent = actuals.c.date > days_before(12)
        connection.execute(actuals.delete().where(actuals.c.series_id == "gappy", recent))
    assert measure_arrivals(store, DAY, silent_days=3, usual_lag=0).silent_series == 1
