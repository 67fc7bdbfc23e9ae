"""The recorder on real databases: what is kept, and that nobody waits where nothing can be."""

import json
import sqlite3
import time
from datetime import date
from secrets import token_hex

import numpy as np
import pytest
import sqlalchemy as sa

from lib.settings import get_settings
from lib.storage.tables import predictions
from serving.records import predictions as predictions_module
from serving.records.predictions import Prediction, Recorder

LEVELS = (0.1, 0.5, 0.9)
BODY = {"sequence": [{"lag_1": 1.0}]}


@pytest.fixture
def settings(tmp_path):
    return get_settings(None).model_copy(update={"database_url": f"sqlite:///{tmp_path}/s.db"})


def on(settings):
    recorder = Recorder(settings)
    yield recorder
    recorder.close()
    recorder.store.close()


@pytest.fixture
def recorder(settings, database_url):
    yield from on(settings.model_copy(update={"database_url": database_url}))


@pytest.fixture
def sqlite_recorder(settings):
    yield from on(settings)


def predicted(trace_id="t", body=BODY, version=3):
    raw = json.dumps(body).encode()
    return Prediction(trace_id, version, LEVELS, np.array([[1.0, 2.0, 3.0]]), body=raw)


def rows(recorder):
    with recorder.store.reading() as connection:
        return connection.execute(sa.select(predictions).order_by(predictions.c.id)).all()


def test_recorder_keeps_a_prediction_and_gives_its_body_back(recorder):
    recorder.record(predicted())
    recorder.close()
    assert recorder.body("t") == (BODY, 3)
    (row,) = rows(recorder)
    assert (row.levels, row.quantiles) == ([*LEVELS], [[1.0, 2.0, 3.0]])
    assert (row.series_id, row.first_date) == (None, None)
    assert (recorder.stored, recorder.dropped) == (1, {"full": 0, "failed": 0})


def test_recorder_keeps_the_days_of_a_forecast(recorder):
    quantiles = np.arange(84.0).reshape(28, 3)
    first = date(2026, 2, 27)
    recorder.record(Prediction("t", 1, LEVELS, quantiles, series_id="shop 1", first_date=first))
    recorder.close()
    (row,) = rows(recorder)
    assert (row.series_id, row.first_date, row.last_date) == (
        "shop 1",
        first,
        date(2026, 3, 26),
    )
    assert row.quantiles == quantiles.tolist()
    assert recorder.body("t") is None  # nothing that /request-explanation could take


def test_recorder_keeps_the_features_with_null_where_they_are_missing(recorder):
    features = np.arange(11.0)
    features[[4, 9]] = np.nan, np.inf
    recorder.record(Prediction("t", 1, LEVELS, [[1.0, 2.0, 3.0]], features=features))
    recorder.record(predicted())
    recorder.close()
    first, second = rows(recorder)
    assert first.features == [0.0, 1.0, 2.0, 3.0, None, 5.0, 6.0, 7.0, 8.0, None, 10.0]
    assert second.features is None


def test_recorder_body_is_the_last_of_a_trace(recorder):
    recorder.record(predicted(body={"n": 1}))
    recorder.record(predicted(body={"n": 2}, version=4))
    recorder.close()
    assert recorder.body("t") == ({"n": 2}, 4)
    assert recorder.body("other") is None


def test_recorder_writes_while_running_and_after_close(recorder):
    recorder.record(predicted("a"))
    until = time.monotonic() + 5
    while recorder.body("a") is None and time.monotonic() < until:
        time.sleep(0.02)
    recorder.close()
    recorder.record(predicted("b"))
    recorder.close()
    assert [row.trace_id for row in rows(recorder)] == ["a", "b"]


def test_recorder_keeps_every_record_of_a_burst(recorder):
    for i in range(2000):
        recorder.record(predicted(str(i)))
    recorder.close(timeout=30)
    assert [row.trace_id for row in rows(recorder)] == [str(i) for i in range(2000)]
    assert recorder.depth() == 0
    assert recorder._bytes == 0


def slowest_call(recorder, count):
    slowest = 0.0
    for i in range(count):
        start = time.perf_counter()
        recorder.record(predicted(str(i)))
        slowest = max(slowest, time.perf_counter() - start)
    return slowest


def test_recorder_with_a_locked_database_slows_nothing_and_counts(settings, tmp_path):
    dropped = []
    recorder = Recorder(settings, on_dropped=lambda *what: dropped.append(what), records=50)
    assert rows(recorder) == []
    recorder.store._busy = 1.0
    recorder.store.close()
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert slowest_call(recorder, 200) < 0.5  # the busy time is a second
    assert recorder.dropped["full"] >= 100
    recorder.close(timeout=10)
    assert recorder.dropped["failed"] > 0
    assert sum(recorder.dropped.values()) == sum(n for _, n in dropped) == 200
    other.execute("ROLLBACK")
    other.close()
    recorder.record(predicted("late"))
    recorder.close()
    assert [row.trace_id for row in rows(recorder)] == ["late"]  # it recovers by itself
    recorder.store.close()


def test_recorder_with_a_folder_that_is_not_there_slows_nothing_and_counts(settings, tmp_path):
    url = f"sqlite:///{tmp_path}/none/s.db"
    recorder = Recorder(settings.model_copy(update={"database_url": url}))
    assert slowest_call(recorder, 100) < 0.5
    recorder.close()
    assert recorder.dropped == {"full": 0, "failed": 100}
    assert recorder.stored == 0


def test_recorder_with_a_full_disk_counts(sqlite_recorder, tmp_path):
    assert rows(sqlite_recorder) == []
    with sqlite_recorder.store.writing() as connection:  # SQLite's own word for it, without a disk
        connection.exec_driver_sql("PRAGMA max_page_count=1")
    sqlite_recorder.record(predicted(body={"long": token_hex(100_000)}))  # does not compress
    sqlite_recorder.close()
    assert sqlite_recorder.dropped["failed"] == 1


def test_recorder_with_a_database_made_read_only_counts(sqlite_recorder):
    assert rows(sqlite_recorder) == []
    with sqlite_recorder.store.reading() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    sqlite_recorder.record(predicted())
    sqlite_recorder.close()
    assert sqlite_recorder.dropped == {"full": 0, "failed": 1}


def test_recorder_bounds_the_memory_of_what_waits(settings, monkeypatch):
    monkeypatch.setattr(predictions_module, "BYTES", 10_000)
    monkeypatch.setattr(predictions_module, "_GATHER", 0.3)
    recorder = Recorder(settings)
    for i in range(10):
        recorder.record(predicted(str(i), body={"long": "x" * 2_000}))
    recorder.close()
    assert recorder.dropped["full"] >= 5
    assert recorder.stored == 10 - recorder.dropped["full"]
    recorder.store.close()


def test_recorder_survives_a_record_that_cannot_be_written(recorder):
    recorder.record(Prediction("bad", 1, LEVELS, [[object()]]))
    recorder.close()
    recorder.record(predicted("good"))
    recorder.close()
    assert recorder.dropped == {"full": 0, "failed": 1}
    assert [row.trace_id for row in rows(recorder)] == ["good"]
