"""What the last check found, as the service tells it."""

import json

import pytest

from serving.schemas.monitoring import FILE, Monitoring
from tests.serving.live import Shelf, app_on, close

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
def app(tmp_path):
    app = app_on(Shelf(production=7), tmp_path)
    yield app
    close(app)


def told(app, text=None):
    if text is not None:
        file = app.extensions["production-lstm"].settings.var_dir / FILE
        file.parent.mkdir()
        file.write_text(text)
    answer = app.test_client().get("/monitoring")
    assert answer.status_code == 200
    Monitoring.model_validate(answer.json)
    return answer.json


def test_before_the_first_check_it_says_so(app):
    assert told(app)["status"] == "never checked"
    assert told(app)["findings"] is None


def test_the_findings_of_the_last_check_are_told_whole(app):
    answer = told(app, json.dumps(FINDINGS))
    assert answer["status"] == "checked"
    assert answer["findings"]["of_a_later_release"] == 1
    assert answer["findings"]["drift"][0]["feature"] == "lag_1"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"checked_at": 5}', '{"drift": [NaN]}'])
def test_findings_that_cannot_be_read_are_no_error_of_the_server(app, text):
    assert told(app, text)["status"] == "unreadable"
