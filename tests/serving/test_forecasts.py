"""/predict and /forecast: what they answer, and what they refuse, on a real tiny model."""

import gzip
import json

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lib.features import engineering, windows
from lib.inference.served_model import ServedModel
from lib.storage.tables import predictions
from serving.http.problems import RequestError
from serving.routes.forecasts import LARGE, large_bodies
from serving.schemas import forecasts as schemas
from serving.schemas.examples import example_history, example_rows
from serving.schemas.feature_rows import read_sequence
from serving.schemas.forecast_body import check_size
from serving.schemas.histories import read_histories
from serving.state import state_of
from tests.panels import TINY_MODEL, lively_panel
from tests.serving.live import Shelf, close

ROW = example_rows()[0]
DAY = {"date": "2026-01-01", "value": 1.0}


def sequence(**changes):
    """Sixty rows, the thirteenth of them changed."""
    rows = example_rows()
    rows[12] = rows[12] | changes
    return {"sequence": rows}


def plain(value):
    """JSON has null where NumPy has NaN."""
    return None if np.isnan(value) else float(value)


def history(panel, end, days=None):
    """The days of a panel's first series up to a row, as a client would post them."""
    first = 0 if days is None else end + 1 - days
    return [
        {
            "date": str(panel.dates[i]),
            "value": plain(panel.values[i]),
            "fator_externo": plain(panel.factor[i]),
            "evento_especial": plain(panel.event[i]),
        }
        for i in range(first, end + 1)
    ]


def refused(response, status=422):
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    assert response.json["status"] == status
    assert response.json["trace_id"]
    return [error["field"] for error in response.json.get("errors", [])]


def test_predict_answers_as_the_contract_says(client):
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    response = client.post("/predict", json=sequence(), headers=headers)
    assert response.status_code == 200
    assert set(response.json) == {"prediction", "quantiles", "trace_id", "model_version"}
    assert response.json["trace_id"] == trace
    assert response.json["model_version"] == 7
    assert list(response.json["quantiles"]) == ["0.1", "0.5", "0.9"]
    assert response.json["prediction"] == response.json["quantiles"]["0.5"]
    assert sorted(response.json["quantiles"].values()) == list(response.json["quantiles"].values())
    schemas.Prediction.model_validate(response.json)


def test_predict_takes_one_object_sixty_times(client):
    response = client.post("/predict", json={"sequence": [ROW] * 60})
    assert response.status_code == 200


def test_predict_takes_integers_and_what_is_missing_as_null(client):
    response = client.post("/predict", json=sequence(lag_1=100, lag_7=None, media_movel_7=None))
    assert response.status_code == 200


@pytest.mark.parametrize("end", [100, 150, 199])
def test_predict_and_forecast_agree(client, end):
    panel = lively_panel(days=200, series=1)
    rows = engineering.compute_features(panel)[end - 59 : end + 1]
    objects = [dict(zip(engineering.FEATURES, map(plain, row), strict=True)) for row in rows]
    by_rows = client.post("/predict", json={"sequence": objects})
    sent = {"history": history(panel, end), "context": 60}
    by_history = client.post("/forecast", json=sent)
    assert by_rows.status_code == by_history.status_code == 200
    first = by_history.json["forecasts"][0]["forecast"][0]
    assert first["date"] == str(panel.dates[end] + 1)
    assert first["prediction"] == pytest.approx(by_rows.json["prediction"], abs=1e-6, rel=0)
    assert first["quantiles"] == pytest.approx(by_rows.json["quantiles"], abs=1e-6, rel=0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lag_1": "1.0"}, "sequence[12].lag_1"),
        ({"lag_1": True}, "sequence[12].lag_1"),
        ({"lag_1": [1.0]}, "sequence[12].lag_1"),
        ({"lag_1": 10**400}, "sequence[12].lag_1"),
        ({"dia_semana_sin": None}, "sequence[12].dia_semana_sin"),
        ({"dia_semana_sin": 1.01}, "sequence[12].dia_semana_sin"),
        ({"desvio_movel_7": -0.1}, "sequence[12].desvio_movel_7"),
        ({"evento_especial": 2}, "sequence[12].evento_especial"),
        ({"lag_2": 1.0}, "sequence[12].lag_2"),
    ],
)
def test_predict_names_the_field_that_is_wrong(client, change, field):
    assert refused(client.post("/predict", json=sequence(**change))) == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"sequence": [ROW] * 59}, "sequence"),
        ({"sequence": [ROW] * 61}, "sequence"),
        ({"sequence": []}, "sequence"),
        ({"sequence": None}, "sequence"),
        ({"sequence": "x"}, "sequence"),
        ({"sequence": [1] * 60}, "sequence[0]"),
        ({"sequence": [{}] * 60}, "sequence[0].dia_semana_sin"),
        ({"sequence": [ROW] * 60, "more": 1}, "more"),
        ({}, "sequence"),
        ([], ""),
        (None, ""),
        ("text", ""),
        (1, ""),
    ],
)
def test_predict_names_what_is_wrong_with_the_body(client, body, field):
    text = json.dumps(body)
    response = client.post("/predict", data=text, content_type="application/json")
    assert refused(response)[0] == field


@pytest.mark.parametrize("call", ["/predict", "/forecast", "/request-explanation", "/actuals"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"sequence": NaN}',
        b'{"sequence": [Infinity]}',
        b'{"sequence": -Infinity}',
        b'{"sequence": 1, "sequence": 2}',
        b'{"sequence": "\xff"}',
        b'\xef\xbb\xbf{"sequence": 1}',
        b'{"sequence": "\\ud800"}',
        b'{"sequence": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b"[" * 30 + b"]" * 30,
        b'{"sequence": 1} trailing',
        b"\x00",
    ],
)
def test_body_that_is_not_strict_json_is_refused(client, call, raw):
    refused(client.post(call, data=raw, content_type="application/json"), 400)


def test_body_with_a_key_twice_in_one_row_is_refused(client):
    raw = json.dumps({"sequence": [ROW] * 60}).replace('"lag_1"', '"lag_7": 1.0, "lag_1"', 1)
    refused(client.post("/predict", data=raw, content_type="application/json"), 400)


@pytest.mark.parametrize("call", ["/predict", "/forecast", "/request-explanation", "/actuals"])
def test_body_of_another_content_type_is_refused(client, call):
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        refused(client.post(call, data=b"{}", content_type=kind), 415)


@pytest.mark.parametrize("call", ["/predict", "/forecast", "/request-explanation", "/actuals"])
def test_compressed_body_is_refused_by_its_name(client, call):
    kind = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = client.post(call, data=gzip.compress(b"{}"), headers=kind)
    refused(response, 415)
    assert "Content-Encoding: gzip" in response.json["detail"]


@pytest.mark.parametrize("call", ["/predict", "/request-explanation", "/actuals"])
def test_body_that_is_too_large_is_refused(client, call):
    raw = b" " * 2_100_000 + b"{}"
    refused(client.post(call, data=raw, content_type="application/json"), 413)


def test_predict_refuses_or_forecasts_huge_numbers(client):
    for size in (1e30, 1e150, 1.7e308, -1.7e308):
        values = dict.fromkeys(("media_movel_7", "media_movel_30", "lag_1", "lag_7"), size)
        for rows in ([ROW | values] * 60, [*example_rows()[:-1], ROW | values]):
            response = client.post("/predict", json={"sequence": rows})
            assert response.status_code in (200, 422), response.text


def test_predict_of_a_sequence_without_a_value_is_no_server_error(client):
    nothing = dict.fromkeys(
        [name for name in engineering.FEATURES if not name.endswith(("sin", "cos"))]
    )
    response = client.post("/predict", json={"sequence": [ROW | nothing] * 60})
    assert response.status_code in (200, 422)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=1),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from([*engineering.FEATURES, "other"]), CELLS, max_size=3))
@example({})
def test_read_sequence_checks_rows_as_their_model_would(change):
    rows = [ROW, ROW | change]
    body = json.dumps({"sequence": rows}).encode()
    try:
        for row in rows:
            schemas.FeatureRow.model_validate_json(json.dumps(row))
        expected = True
    except ValidationError:
        expected = False
    if not expected:
        with pytest.raises(RequestError) as caught:
            read_sequence(body, 2)
        assert caught.value.errors
        return
    values = np.array(
        [[row[name] for name in engineering.FEATURES] for row in rows], dtype=np.float64
    )
    np.testing.assert_array_equal(read_sequence(body, 2), values)


def test_forecast_answers_dates_levels_and_series(client):
    panel = lively_panel(days=120, series=1)
    one, other = history(panel, 119), history(panel, 90)
    sent = {
        "series": [{"series_id": "a", "history": one}, {"series_id": "b", "history": other}],
        "horizon": 2,
        "levels": [0.9, 0.1],
    }
    answer = client.post("/forecast", json=sent).json
    schemas.Forecast.model_validate_json(json.dumps(answer))
    assert [f["series_id"] for f in answer["forecasts"]] == ["a", "b"]
    assert answer["levels"] == [0.1, 0.9]
    for forecast, end in zip(answer["forecasts"], (119, 90), strict=True):
        days = [str(panel.dates[0] + end + step) for step in (1, 2)]
        assert [day["date"] for day in forecast["forecast"]] == days
        assert list(forecast["forecast"][0]["quantiles"]) == ["0.1", "0.9"]
    alone = client.post("/forecast", json={"history": other, "horizon": 2, "levels": [0.1, 0.9]})
    for got, expected in zip(
        answer["forecasts"][1]["forecast"],
        alone.json["forecasts"][0]["forecast"],
        strict=True,
    ):
        assert got["prediction"] == pytest.approx(expected["prediction"], rel=1e-6)


def test_forecast_of_the_planned_future_differs(client):
    panel = lively_panel(days=120, series=1)
    past = history(panel, 119)
    day = str(panel.dates[-1] + 1)
    plain_answer = client.post("/forecast", json={"history": past}).json
    planned = {"date": day, "evento_especial": 1.0, "fator_externo": 9.0}
    answer = client.post("/forecast", json={"history": past, "future": [planned]}).json
    first = [a["forecasts"][0]["forecast"][0]["prediction"] for a in (plain_answer, answer)]
    assert first[0] != first[1]


def test_forecast_fills_days_left_out_as_missing(client):
    panel = lively_panel(days=120, series=1, missing=0.0)
    past = history(panel, 119)
    gap = [
        row | ({"value": None, "fator_externo": None, "evento_especial": None} if i == 80 else {})
        for i, row in enumerate(past)
    ]
    left_out = past[:80] + past[81:]
    answers = [
        client.post("/forecast", json={"history": rows}).json["forecasts"]
        for rows in (gap, left_out)
    ]
    assert answers[0] == answers[1]


def test_read_histories_cuts_a_long_history_without_changing_its_forecast():
    panel = lively_panel(days=1500, series=1)
    forecaster = ServedModel.load(TINY_MODEL)
    contract = forecaster.contract
    found = read_histories([{"history": history(panel, 1499)}], contract, 70, "")
    assert len(found.panel.values) < 600
    for days in (60, 70):
        context, future = (
            [
                windows.gather_context(p, engineering.compute_features(p), origins, days),
                windows.known_future(p, origins, contract.horizon),
            ]
            for p, origins in ((panel, np.array([1499])), (found.panel, found.origins))
        )
        for whole, cut in zip(context, future, strict=True):
            np.testing.assert_array_equal(whole, cut)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"history": []}, "history"),
        ({"history": [DAY | {"value": None}]}, "history"),
        ({"history": None}, "history"),
        ({"history": [1]}, "history[0]"),
        ({"history": 5}, "history"),
        ({"history": True}, "history"),
        ({"history": {"date": 1}}, "history"),
        ({"history": [{"date": "2026-01-01"}]}, "history[0].value"),
        ({"history": [{"value": 1.0}]}, "history[0].date"),
        ({"history": [DAY | {"other": 1}]}, "history[0].other"),
        ({"history": [DAY | {"value": "1"}]}, "history[0].value"),
        ({"history": [DAY | {"value": True}]}, "history[0].value"),
        ({"history": [DAY | {"value": 10**400}]}, "history[0].value"),
        ({"history": [DAY | {"evento_especial": 2}]}, "history[0].evento_especial"),
        ({"history": [DAY | {"date": "2026-02-30"}]}, "history[0].date"),
        ({"history": [DAY | {"date": "2026-01"}]}, "history[0].date"),
        ({"history": [DAY | {"date": 20260101}]}, "history[0].date"),
        ({"history": [DAY | {"date": None}]}, "history[0].date"),
        ({"history": [DAY | {"date": list("2026-01-01")}]}, "history[0].date"),
        ({"history": [DAY | {"date": dict.fromkeys("2026-13579", 1)}]}, "history[0].date"),
        ({"history": [DAY | {"date": dict.fromkeys("abcdefghij", 1)}]}, "history[0].date"),
        ({"future": [{"date": list("2026-04-05")}]}, "future[0].date"),
        ({"history": [DAY, DAY]}, "history[1].date"),
        ({"history": [DAY, {"date": "2025-12-31", "value": 1}]}, "history[1].date"),
        ({"future": [{"date": "2026-01-01"}]}, "future[0].date"),
        ({"future": [{"date": "2036-01-01"}]}, "future[0].date"),
        ({"future": [{"date": "2026-04-05", "value": 1}]}, "future[0].value"),
        ({"future": {}}, "future"),
        ({"horizon": 4}, "horizon"),
        ({"horizon": 0}, "horizon"),
        ({"horizon": "2"}, "horizon"),
        ({"horizon": 2.0}, "horizon"),
        ({"levels": [0.3]}, "levels[0]"),
        ({"levels": []}, "levels"),
        ({"levels": ["0.5"]}, "levels[0]"),
        ({"context": 59}, "context"),
        ({"context": 71}, "context"),
        ({"series_id": ""}, "series_id"),
        ({"series_id": 1}, "series_id"),
        ({"series_id": "a\x00"}, "series_id"),
        ({"other": 1}, "other"),
        ({"series": [{}]}, "history"),
    ],
)
def test_forecast_names_the_field_that_is_wrong(client, change, field):
    body = {"history": example_history()} | change
    assert refused(client.post("/forecast", json=body))[0] == field


@pytest.mark.parametrize(
    ("series", "field"),
    [
        ([], "series"),
        ({}, "series"),
        ([1], "series[0]"),
        ([{}], "series[0].history"),
        ([{"history": 7}], "series[0].history"),
        ([{"history": "7"}], "series[0].history"),
        ([{"history": example_history()}] * 2, "series[1].series_id"),
        ([{"history": example_history(), "horizon": 1}], "series[0].horizon"),
        ([{"series_id": "a", "history": [DAY | {"value": None}]}], "series[0].history"),
        ([{}] * 1001, "series"),
    ],
)
def test_forecast_of_several_names_the_series(client, series, field):
    assert refused(client.post("/forecast", json={"series": series}))[0] == field


@pytest.mark.parametrize(
    "inside", [b"{},", b"[],", b"1,", b'"a",'], ids=["objects", "lists", "numbers", "texts"]
)
def test_forecast_of_more_than_the_limits_is_refused_before_it_is_parsed(
    client, inside, monkeypatch
):
    monkeypatch.setattr("serving.schemas.forecast_body.split_body", None)
    body = b'{"history":[' + inside * 5_000_000 + b"1]}"
    answer = client.post("/forecast", data=body, content_type="application/json")
    refused(answer, 413)
    assert "send it in several calls" in answer.json["detail"]


def test_forecast_of_the_largest_allowed_size_is_not_refused_for_it(client):
    day = {"date": "2026-01-01", "value": 1.0, "fator_externo": 1.0, "evento_especial": 0.5}
    plan = [day | {"value": None}] * engineering.MAX_HORIZON
    one = {"series_id": "{[,", "history": [day] * 500, "future": plan}
    text = json.dumps(one, separators=(",", ":"))
    check_size(b'{"levels":[0.5],"series":[' + ",".join([text] * schemas.SERIES).encode() + b"]}")


def test_forecast_reads_one_large_body_at_a_time_and_small_ones_beside_it(client):
    small = {"history": example_history()}
    large = json.dumps(small).encode() + b" " * LARGE
    with large_bodies.slot():
        answer = client.post("/forecast", data=large, content_type="application/json")
        refused(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert client.post("/forecast", json=small).status_code == 200
    for _ in range(2):  # and the place is free again after each
        answer = client.post("/forecast", data=large, content_type="application/json")
        assert answer.status_code == 200


def test_forecast_of_a_history_without_a_value_is_refused(client):
    rows = [row | {"value": None} for row in example_history()]
    assert refused(client.post("/forecast", json={"history": rows})) == ["history"]


def test_predict_records_its_body(app, client):
    trace = "1" * 32
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    client.post("/predict", json=sequence(), headers=headers)
    recorder = state_of(app).recorder
    recorder.close()
    assert recorder.body(trace) == (sequence(), 7)


def test_calls_without_a_model_are_unavailable(make_app):
    client = make_app(Shelf()).test_client()
    for call in ("/predict", "/forecast", "/request-explanation"):
        response = client.post(call, json=sequence())
        refused(response, 503)
        assert int(response.headers["Retry-After"]) > 0
    refused(client.get("/model"), 503)
    assert client.get("/health").status_code == 503
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_forecast_stores_the_features_of_the_last_day(make_app):
    app = make_app()
    panel = lively_panel(days=200, series=3)
    rows = engineering.compute_features(panel)
    lasts = [150, 200 + 170, 400 + 199]
    posted = []
    for s, last in enumerate(lasts):
        alone = slice(200 * s, last + 1)
        columns = (panel.dates[alone], panel.values[alone], panel.factor[alone], panel.event[alone])
        names = ("date", "value", "fator_externo", "evento_especial")
        days = [(str(d), *map(plain, numbers)) for d, *numbers in zip(*columns, strict=True)]
        posted.append(
            {
                "series_id": f"s{s}",
                "history": [dict(zip(names, day, strict=True)) for day in days],
            }
        )
    client = app.test_client()
    assert client.post("/forecast", json={"series": posted}).status_code == 200
    window = example_rows()
    window[-1] |= {"lag_7": None}
    assert client.post("/predict", json={"sequence": window}).status_code == 200
    close(app)
    with state_of(app).recorder.store.reading() as connection:
        found = connection.execute(sa.select(predictions).order_by(predictions.c.id)).all()
    for row, last in zip(found[:3], lasts, strict=True):
        assert row.features == [plain(x) for x in rows[last]]
    assert found[3].features == [window[-1][name] for name in engineering.FEATURES]
    assert found[3].features[engineering.FEATURES.index("lag_7")] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"history": 5}, "history"),
        ({"history": True}, "history"),
        ({"series": [{"history": 7}]}, "history"),
        ({"history": [{"date": list("2026-01-01"), "value": 1.0}] * 3}, "date"),
        ({"history": [{"date": dict.fromkeys("0123456789", 1), "value": 1.0}] * 3}, "date"),
    ],
)
def test_forecast_refuses_what_is_no_list_and_no_day(client, body, field):
    response = client.post("/forecast", json=body)
    assert response.status_code == 422, response.text
    assert field in response.text
