"""The truth about earlier forecasts: late, twice, corrected, never forecast."""

import json
import threading
from datetime import date, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import event

from lib.features.engineering import MAX_HORIZON
from lib.settings import get_settings
from lib.storage.database import Store, purge
from lib.storage.tables import actuals, corrections, predictions
from serving.records.actuals import _match, store_actuals
from serving.records.predictions import Prediction, Recorder
from serving.schemas.actuals import MAX_ACTUALS, Actual, ActualsBody

ONE = {"trace_id": "t", "value": 1.0}
DAY = {"series_id": "shop 1", "date": "2026-01-31", "value": 1.0}


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    yield store
    store.close()


def parsed(*items):
    return ActualsBody.model_validate({"actuals": list(items)}).actuals


def send(store, *items):
    """Return (added, corrected, unchanged, unmatched)."""
    kept = store_actuals(store, parsed(*items))
    return kept.added, kept.corrected, kept.unchanged, kept.unmatched


def rows(store):
    with store.reading() as connection:
        return connection.execute(sa.select(actuals).order_by(actuals.c.key)).all()


@pytest.fixture
def predicted(store):
    """A /predict of trace `t` and a /forecast of `shop 1` for 28 days from 2026-01-31."""
    settings = get_settings(None).model_copy(
        update={"database_url": store.url.render_as_string(hide_password=False)}
    )
    recorder = Recorder(settings)
    recorder.record(Prediction("t", 1, (0.5,), [[1.0]], body=b"{}"))
    recorder.record(
        Prediction(
            "f",
            1,
            (0.5,),
            np.ones((28, 1)),
            series_id="shop 1",
            first_date=date(2026, 1, 31),
        )
    )
    recorder.close()
    recorder.store.close()


def test_actuals_are_kept_by_trace_and_by_day(store, predicted):
    kept = store_actuals(store, parsed(ONE, DAY | {"value": 2.5}))
    assert [(item.status, item.matched) for item in kept.results] == [("added", True)] * 2
    by_day, by_trace = rows(store)
    assert (by_trace.trace_id, by_trace.value) == ("t", 1.0)
    assert (by_trace.series_id, by_trace.date) == (None, None)
    assert (by_day.series_id, by_day.date) == ("shop 1", date(2026, 1, 31))
    assert (by_day.value, by_day.corrections) == (2.5, 0)


def test_actuals_sent_twice_change_nothing(store, predicted):
    assert send(store, ONE, DAY) == (2, 0, 0, 0)
    before = rows(store)
    assert send(store, ONE, DAY) == (0, 0, 2, 0)
    assert rows(store) == before


def test_actuals_twice_in_one_request_are_one(store, predicted):
    assert send(store, ONE, ONE) == (2, 0, 0, 0)
    assert len(rows(store)) == 1


def test_actuals_corrected_keep_the_last_value_and_count(store, predicted):
    send(store, ONE)
    assert send(store, ONE | {"value": 2}, DAY) == (1, 1, 0, 0)
    assert send(store, ONE | {"value": 1}) == (0, 1, 0, 0)  # the first was right after all
    row = rows(store)[1]
    assert (row.value, row.corrections) == (1.0, 2)
    assert row.created_at < row.updated_at
    with store.reading() as connection:
        replaced = connection.execute(sa.select(corrections).order_by(corrections.c.id)).all()
    assert [(old.key, old.value) for old in replaced] == [("trace t", 1.0), ("trace t", 2.0)]
    assert replaced[-1].replaced_at == row.updated_at


@pytest.mark.parametrize(
    ("item", "unmatched"),
    [
        ({"trace_id": "never", "value": 1.0}, 1),
        ({"trace_id": "f", "value": 1.0}, 1),  # a forecast has many days: which one?
        (DAY | {"date": "2026-01-30"}, 1),
        (DAY | {"date": "2026-01-31"}, 0),
        (DAY | {"date": "2026-02-27"}, 0),
        (DAY | {"date": "2026-02-28"}, 1),
        (DAY | {"series_id": "shop 2"}, 1),
    ],
)
def test_actuals_never_forecast_are_stored_as_unmatched(store, predicted, item, unmatched):
    assert send(store, item) == (1, 0, 0, unmatched)
    assert len(rows(store)) == 1


def test_actuals_of_many_series_and_days_are_matched_by_one_query(store, predicted):
    days = [date(1, 1, 1), date(2026, 1, 30), date(2026, 2, 27), date(2026, 2, 28), date.max]
    items = [
        DAY | {"series_id": name, "date": str(day)} for name in ("shop 1", "shop 2") for day in days
    ]
    statements = []
    with store.reading() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        found = _match(connection, parsed(*items, ONE, ONE | {"trace_id": "f"}))
    assert [i for i, matched in enumerate(found) if matched] == [2, 10]
    assert len(statements) == 2  # one for traces, one for days


def test_actuals_match_the_last_day_of_the_longest_forecast(store, predicted):
    longest = Prediction(
        "l", 1, (0.5,), np.ones((MAX_HORIZON, 1)), series_id="shop 3", first_date=date(2026, 1, 1)
    )
    with store.writing() as connection:
        connection.execute(predictions.insert(), [longest.row()])
    last = longest.row()["last_date"]
    days = [last, last + timedelta(days=1)]
    items = [DAY | {"series_id": "shop 3", "date": str(day)} for day in days]
    assert [item.matched for item in store_actuals(store, parsed(*items)).results] == [True, False]


def test_actuals_late_are_kept_when_the_forecast_is_deleted(store, predicted):
    purge(store, days=1e-9)
    assert send(store, ONE, DAY) == (2, 0, 0, 2)


def test_actuals_before_their_forecast_match_once_it_is_kept(store):
    assert send(store, DAY) == (1, 0, 0, 1)


def test_actuals_of_two_requests_at_once_are_one_row(store):
    answers = []

    def work(value):
        answers.append(send(store, ONE | {"value": value}))

    threads = [threading.Thread(target=work, args=(float(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(0, 1, 0, 1)] * 7 + [(1, 0, 0, 1)]
    (row,) = rows(store)
    assert row.corrections == 7


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"value": 1.0}, "expected either trace_id, or series_id and date"),
        (ONE | DAY, "expected either trace_id, or series_id and date"),
        ({"series_id": "s", "value": 1.0}, "expected either trace_id, or series_id and date"),
        (ONE | {"date": "2026-01-31"}, "expected either trace_id, or series_id and date"),
        ({"trace_id": "t"}, "value\n  Field required"),
        (ONE | {"value": float("nan")}, "value\n  Input should be a finite number"),
        (ONE | {"value": 10**400}, "value\n  Input should be a valid number"),
        (ONE | {"value": "1"}, "value\n  Input should be a valid number"),
        (ONE | {"value": None}, "value\n  Input should be a valid number"),
        (ONE | {"valeu": 1.0}, "valeu\n  Extra inputs are not permitted"),
        (ONE | {"trace_id": ""}, "trace_id\n  String should have at least 1 character"),
        (ONE | {"trace_id": "a\x00"}, "trace_id\n  String should match pattern"),
        (ONE | {"trace_id": "x" * 65}, "trace_id\n  String should have at most 64 characters"),
        (DAY | {"date": "2026-02-30"}, "date\n  Value error"),
        (DAY | {"date": "31.01.2026"}, "date\n  Value error, expected an ISO day"),
        (DAY | {"date": 1769817600}, "date\n  Value error, expected an ISO day"),
        (DAY | {"date": "2026-01-31T00:00"}, "date\n  Value error, expected an ISO day"),
        (DAY | {"series_id": "\ud800"}, "series_id\n  Input should be a valid string"),
    ],
)
def test_actual_refuses(item, message):
    with pytest.raises(ValidationError) as caught:
        Actual.model_validate(item)
    assert message in str(caught.value)


def test_actuals_body_refuses_contradictions_and_sizes():
    with pytest.raises(ValidationError, match=r"actuals\[1\]: another value for the same day"):
        parsed(ONE, ONE | {"value": 2.0})
    with pytest.raises(ValidationError, match="at least 1 item"):
        parsed()
    with pytest.raises(ValidationError, match=f"at most {MAX_ACTUALS} items"):
        parsed(*[ONE] * (MAX_ACTUALS + 1))


def test_actuals_body_reads_the_same_from_json():
    text = json.dumps({"actuals": [ONE, DAY]})
    assert ActualsBody.model_validate_json(text).actuals == parsed(ONE, DAY)


def test_actuals_of_the_largest_request_take_a_moment(store):
    items = parsed(*[DAY | {"series_id": f"shop {n}"} for n in range(MAX_ACTUALS)])
    assert store_actuals(store, items).added == MAX_ACTUALS
    assert store_actuals(store, items).unchanged == MAX_ACTUALS
