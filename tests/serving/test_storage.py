"""What is stored of a request, within which limits, and what is said where it is not."""

import json
import time

import numpy as np
import pytest
import sqlalchemy as sa

from lib.features import FEATURES
from lib.storage.database import utcnow
from lib.storage.tables import explanations, predictions
from serving.records import predictions as predictions_module
from serving.records.bodies import pack_body, unpack_body
from serving.records.retention import Retention, delete_old_rows
from serving.schemas.examples import example_history, example_rows
from serving.state import state_of
from tests.serving.live import close

BODY = {"sequence": example_rows()}


def stored(app):
    recorder = state_of(app).recorder
    recorder.close()
    with recorder.store.reading() as connection:
        return connection.execute(sa.select(predictions).order_by(predictions.c.id)).all()


def test_predict_stores_what_was_meant_and_not_its_padding(make_app):
    app = make_app()
    padded = json.dumps(BODY, indent=400)
    assert len(padded) > 300_000
    answer = app.test_client().post("/predict", data=padded, content_type="application/json")
    (row,) = stored(app)
    assert len(row.body) < 8_000
    assert state_of(app).recorder.body(answer.json["trace_id"]) == (BODY, 7)


def test_unpack_body_reads_what_earlier_releases_stored():
    assert unpack_body(json.dumps(BODY, indent=3).encode()) == BODY


def test_pack_body_keeps_missing_values():
    window = np.arange(2.0 * len(FEATURES)).reshape(2, -1)
    window[1, 4] = np.nan
    first, second = unpack_body(pack_body(window))["sequence"]
    assert list(first) == list(FEATURES)
    assert second[FEATURES[4]] is None
    assert second[FEATURES[5]] == window[1, 5]


def test_unpack_body_of_something_else_is_an_error():
    with pytest.raises(ValueError, match="damaged"):
        unpack_body(b"\xff\x00")


def test_forecast_that_finds_no_room_says_how_many_are_not_stored(make_app, monkeypatch):
    monkeypatch.setattr(predictions_module, "_GATHER", 5.0)
    app = make_app()
    recorder = state_of(app).recorder
    recorder._waiting.maxsize = 1
    series = [{"series_id": str(i), "history": example_history()} for i in range(4)]
    client = app.test_client()
    first = client.post("/forecast", json={"series": series[:1]})
    assert (first.status_code, first.headers.get("X-Not-Stored")) == (200, None)
    time.sleep(0.1)  # the thread holds one, one waits
    answer = client.post("/forecast", json={"series": series})
    assert (answer.status_code, answer.headers["X-Not-Stored"]) == (200, "3")
    assert recorder.dropped["full"] == 3
    monkeypatch.setattr(predictions_module, "_GATHER", 0.0)
    close(app)


def test_predictions_beyond_the_size_limit_are_not_stored_and_counted(make_app, monkeypatch):
    monkeypatch.setattr(predictions_module, "measure_bytes", lambda store: 2_000_001)
    app = make_app(database_max_mb=2)
    client = app.test_client()
    client.post("/predict", json=BODY)
    assert stored(app) == []
    answer = client.post("/predict", json=BODY)
    assert (answer.status_code, answer.headers["X-Not-Stored"]) == (200, "1")
    text = client.get("/metrics").text
    assert 'predictions_dropped_total{reason="limit"} 1.0' in text
    assert "database_bytes 2.000001e+06" in text
    health = client.get("/health")
    assert (health.status_code, health.json["status"]) == (200, "degraded")
    assert "DATABASE_MAX_MB" in health.json["detail"]


def test_size_limit_is_measured_on_the_database(make_app):
    app = make_app()
    app.test_client().post("/predict", json=BODY)
    recorder = state_of(app).recorder
    recorder.close()
    assert 10_000 < predictions_module.measure_bytes(recorder.store) < 1_000_000


def test_database_deleted_while_running_is_reported_and_made_anew(make_app, tmp_path):
    app = make_app()
    client = app.test_client()
    client.post("/predict", json=BODY)
    assert len(stored(app)) == 1
    assert client.get("/health").json["status"] == "ok"
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    health = client.get("/health").json
    assert (health["status"], health["store"]) == ("degraded", "failing")
    assert "deleted" in health["detail"]
    answer = client.post("/predict", json=BODY)
    assert (answer.status_code, answer.headers["X-Not-Stored"]) == (200, "1")
    for _ in range(9):
        client.post("/predict", json=BODY)
    assert len(stored(app)) == 10  # in a new file
    health = client.get("/health").json
    assert (health["status"], health["store"]) == ("degraded", "ok")
    assert "what it held is lost" in health["detail"]
    assert "X-Not-Stored" not in client.post("/predict", json=BODY).headers


def test_explanation_is_queued_where_a_worker_will_find_it_after_a_deletion(make_app, tmp_path):
    app = make_app()
    client = app.test_client()
    client.post("/predict", json=BODY)
    state_of(app).recorder.close()
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    assert client.post("/request-explanation", json=BODY).status_code == 202
    assert (tmp_path / "state.db").exists()
    state_of(app).recorder.store.close()
    assert state_of(app).jobs.count()["queued"] == 1


def test_health_of_a_database_that_cannot_be_opened_says_so(make_app, tmp_path):
    app = make_app(database_url=f"sqlite:///{tmp_path}/none/state.db")
    client = app.test_client()
    client.post("/predict", json=BODY)
    state_of(app).recorder.close()
    assert client.post("/predict", json=BODY).headers["X-Not-Stored"] == "1"
    assert client.get("/health").json["store"] == "failing"


def test_old_rows_are_deleted_without_a_worker_by_one_process_an_hour(make_app):
    app = make_app(retention_days=1, explanation_retention_days=1)
    state = state_of(app)
    old = utcnow().replace(year=2020)
    row = {"trace_id": "t", "created_at": old, "model_version": 1, "levels": [], "quantiles": []}
    with state.recorder.store.writing() as connection:
        name = {"model_name": state.recorder.store.model_name}
        connection.execute(predictions.insert(), [row | name] * 3)
    deleted = []
    retention = Retention(
        lambda: deleted.append(delete_old_rows(state.settings, state.jobs)), every=0.05
    )
    retention.start()
    until = time.monotonic() + 10
    while len(deleted) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    retention.stop()
    assert deleted[0]["predictions"] == 3
    assert deleted[1] == {}
    assert stored(app) == []
    with state.recorder.store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(explanations)) == 0
