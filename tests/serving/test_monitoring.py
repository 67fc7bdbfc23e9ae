"""`/monitoring`: the findings of the last check."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lib.storage import Store, StoreError, findings, utcnow
from serving.records.checks import FILE
from serving.routes.status import _counting
from serving.routes.store import store_calls
from serving.schemas.monitoring import Monitoring
from serving.state import state_of

FINDINGS = {
    "checked_at": "2026-11-01T06:00:00+00:00",
    "model_version": 3,
    "accuracy": {
        "history": [{"date": "2026-10-31", "mae": 11.0, "coverage": 88.0, "forecasts": 120}],
        "promise": {"mae": 10.0, "coverage": 90.0},
        "interval": 0.9,
    },
    "drift": [{"feature": "lag_1", "effect": 0.4, "threshold": 0.2, "drifted": True}],
    "alerts": [{"name": "drift of lag_1", "severity": "warning", "since": "2026-10-30T06:00:00Z"}],
    "business": [{"name": "total_impact", "value": 1200.0, "unit": "BRL"}],
    "verdict": {"retrain": True, "reasons": ["drift"]},
    "of_a_later_release": 1,
}


@pytest.fixture
def app(make_app):
    return make_app()


def monitoring(app, text=None):
    if text is not None:
        file = state_of(app).settings.var_dir / FILE
        file.parent.mkdir()
        file.write_text(text)
    answer = app.test_client().get("/monitoring")
    assert answer.status_code == 200
    Monitoring.model_validate(answer.json)
    return answer.json


def test_monitoring_before_the_first_check_says_so(app):
    assert monitoring(app)["status"] == "never checked"
    assert monitoring(app)["findings"] is None


def test_monitoring_returns_the_findings_of_the_last_check_whole(app):
    answer = monitoring(app, json.dumps(FINDINGS))
    assert answer["status"] == "checked"
    assert answer["findings"]["of_a_later_release"] == 1
    assert answer["findings"]["drift"][0]["feature"] == "lag_1"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"checked_at": 5}', '{"drift": [NaN]}'])
def test_monitoring_of_findings_that_cannot_be_read_is_no_server_error(app, text):
    assert monitoring(app, text)["status"] == "unreadable"


def test_monitoring_does_not_say_never_where_the_database_does_not_answer(app, monkeypatch):
    @contextmanager
    def fails(_):
        raise StoreError("away")
        yield

    monkeypatch.setattr(Store, "reading", fails)
    answer = monitoring(app)
    assert answer["status"] == "unreadable"
    assert "database does not answer" in answer["detail"]
    answer = monitoring(app, json.dumps(FINDINGS))
    assert answer["status"] == "checked"
    assert "last check of this host" in answer["detail"]


def test_monitoring_waits_for_others_that_read_it(app):
    store = state_of(app).recorder.store
    with store.writing() as connection:
        row = {"model_name": store.model_name, "result": FINDINGS}
        connection.execute(findings.insert().values(row | {"made_at": utcnow()}))
    assert monitoring(app)["status"] == "checked"
    with ThreadPoolExecutor(1) as pool:
        with store_calls.slot(), store_calls.slot(), _counting.slot():
            answer = pool.submit(monitoring, app)
            time.sleep(0.5)
        assert answer.result(5)["status"] == "checked"


def test_metrics_have_live_error_and_coverage_of_the_last_check(app):
    text = app.test_client().get("/metrics").text
    assert "forecast_live_coverage 0.0" in text
    assert 'monitoring_status{status="ok"}' not in text
    found = {
        "status": "alarm",
        "evidence": {"forecasts": 4, "actuals": 3, "share": 0.75, "days": 1, "series": 1}
        | {"enough": True},
        "anomalies": [
            {"series_id": "a", "date": "2026-10-31", "actual": 9.0, "lower": 1.0, "upper": 2.0}
            | {"side": "above", "days": 3, "persistent": True}
        ],
    }
    monitoring(app, json.dumps(FINDINGS | found))
    text = app.test_client().get("/metrics").text
    for line in (
        'forecast_live_error{metric="mae"} 11.0',
        'forecast_live_error{metric="mase"} NaN',
        'forecast_expected_error{metric="mae"} 10.0',
        "forecast_live_coverage 0.88",
        "forecast_evidence 0.75",
        'forecast_anomalies{kind="persistent"} 1.0',
        'monitoring_incidents{severity="warning"} 1.0',
        'monitoring_status{status="alarm"} 1.0',
        'monitoring_status{status="ok"} 0.0',
        "monitoring_checked_seconds 1.",
    ):
        assert line in text, line
