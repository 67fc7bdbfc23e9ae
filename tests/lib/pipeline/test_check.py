"""A check with what follows from it: a challenger is trained where that is recommended."""

import json
from dataclasses import asdict
from datetime import timedelta

import numpy as np
import pytest

from lib.monitoring import job
from lib.monitoring.accuracy import ExpectedError
from lib.monitoring.alerts import open_incidents
from lib.monitoring.report import load_baseline
from lib.pipeline import check
from lib.pipeline.retraining import Retraining
from lib.registry.versions import RegistryError
from lib.settings import Settings
from lib.storage.database import Store, utcnow
from lib.storage.tables import checks
from tests.lib.monitoring.served_days import settings_of, write_forecasts
from tests.lib.monitoring.test_report import DAY, actual_row, days_before, forecast, write
from tests.panels import TINY_MODEL

CHALLENGER = Retraining("trained", "is better", version=2, promoted=True)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    return settings_of(tmp_path, monkeypatch)


@pytest.fixture
def store(settings):
    store = Store(settings.database_url)
    yield store
    store.close()


@pytest.mark.parametrize("allowed", [True, False])
def test_check_retrains_only_where_it_may(settings, store, monkeypatch, allowed):
    write_forecasts(store, error=60.0)
    monkeypatch.setattr(check, "retrain", lambda store, settings: CHALLENGER)
    settings = settings.model_copy(update={"auto_retrain": allowed})
    done = [check.check_and_retrain(settings, day=DAY - n)[1] for n in (2, 1, 0)]
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
def test_check_waits_for_new_days_after_a_challenger_that_was_rejected(
    settings, store, monkeypatch, status, promoted, until, again
):
    write_forecasts(store, error=60.0)
    monkeypatch.setattr(check, "retrain", lambda store, settings: CHALLENGER)
    settings = settings.model_copy(update={"auto_retrain": True, "monitor_checks": 1})
    done = asdict(Retraining(status, "", version=2, promoted=promoted, until=str(until)))
    row = {"made_at": utcnow(), "kind": "retraining", "model_version": 2, "status": status}
    with store.writing() as connection:
        connection.execute(checks.insert().values(**row, result=done))
    trained = check.check_and_retrain(settings, day=DAY)[1]
    assert trained == (CHALLENGER if again else None)


def test_check_alerts_once_of_a_retraining_that_fails_and_when_it_works_again(
    settings, store, monkeypatch
):
    write_forecasts(store, error=60.0)
    settings = settings.model_copy(update={"auto_retrain": True, "monitor_checks": 1})
    came = [Retraining("failed", "no data"), Retraining("busy", ""), CHALLENGER]
    left = iter(came)
    monkeypatch.setattr(check, "retrain", lambda store, settings: next(left))
    found = []
    for n in (2, 1, 0):
        check.check_and_retrain(settings, day=DAY - n)
        found.append([i["message"] for i in open_incidents(store) if i["key"] == "retraining"])
    assert found == [["no data"], ["no data"], []]


@pytest.mark.parametrize("learn", [14, 0])
def test_check_waits_for_days_after_a_change_to_learn_from(
    settings, store, monkeypatch, learn, capsys
):
    rng = np.random.default_rng(0)
    days = [days_before(n) for n in range(60)]
    made, actual_rows = [], []
    for series in ("a", "b", "c"):
        for n, day in enumerate(days):
            value = 100 + rng.normal(0, 1)
            actual_rows.append(actual_row(value, day, series))
            wrong = 300.0 if n < 16 else 0.5
            made.append(forecast(day, series, days=1, value=value + wrong, features=None))
    write(store, made, actual_rows)
    monkeypatch.setattr(check, "retrain", lambda store, settings: CHALLENGER)
    reference, _ = load_baseline(TINY_MODEL, 21)
    expected = ExpectedError({"wape": 2.0, "coverage_80": 80.0}, {})
    monkeypatch.setattr(job, "load_baseline", lambda folder, days: (reference, expected))
    update = {"auto_retrain": True, "monitor_checks": 1, "max_mae": None}
    given = {"retrain_parameters": "CUTOFFS=2 STEP=1 HORIZON=1 VALIDATION_DAYS=2"}
    settings = settings.model_copy(update={**update, **given, "retrain_learn_days": learn})
    report, trained = check.check_and_retrain(settings, day=DAY)
    assert report.recommendation.first_detected == str(DAY - 15)
    assert trained == (None if learn else CHALLENGER)
    if learn:
        assert "12 days after the change of 2026-03-16" in capsys.readouterr().out
        enough = settings.model_copy(update={"retrain_learn_days": 12})
        assert check.check_and_retrain(enough, day=DAY)[1] == CHALLENGER
        calendar = settings.model_copy(update={"retrain_after_days": 7})
        assert check.check_and_retrain(calendar, day=DAY)[1] == CHALLENGER


def test_check_reports_a_registry_that_does_not_answer(tmp_path, monkeypatch, capsys):
    def nothing(settings):
        raise RegistryError("no such version")

    monkeypatch.setattr(job, "Registry", nothing)
    settings = Settings(var_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/state.db")
    monkeypatch.setattr(check, "get_settings", lambda: settings)
    assert check.main(["--day", str(DAY)]) == 1
    assert capsys.readouterr().err.endswith("cannot be fetched: no such version\n")


def test_check_before_the_first_actual_says_so_and_is_no_failure(
    settings, store, capsys, monkeypatch
):
    write(store, [forecast(days_before(1) + timedelta(days=1))])
    with pytest.raises(job.MonitorError, match="POST /actuals"):
        check.check_and_retrain(settings)
    monkeypatch.setattr(check, "get_settings", lambda: settings)
    assert check.main([]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["checked"] is False
    assert "POST /actuals" in answer["reason"]


def test_check_prints_its_report_as_json(settings, store, capsys, monkeypatch):
    write_forecasts(store, error=0.5)
    monkeypatch.setattr(check, "get_settings", lambda: settings)
    assert check.main(["--day", str(DAY)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["day"] == str(DAY)
    assert document["retraining"] is None
