"""Bodies of `/forecast` are decoded series by series: strictly, and at a cost that is theirs."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from lib.features import engineering
from lib.settings import ROOT
from serving.http.problems import RequestError
from serving.schemas.examples import example_history
from serving.schemas.series_body import HistoryDay, decode_series, split_body


def series(name="a", first="2026-01-01", days=90):
    dates = np.arange(first, np.datetime64(first) + days, dtype="datetime64[D]")
    history = [{"date": str(day), "value": float(i % 7)} for i, day in enumerate(dates)]
    return {"series_id": name, "history": history}


def bytes_of(*items):
    return json.dumps({"series": items, "horizon": 2}).encode()


def test_split_body_decodes_all_but_the_series():
    fields, parts = split_body(bytes_of(series(), series("b")))
    assert fields == {"horizon": 2}
    assert parts is not None
    decoded = [decode_series(part, "") for part in parts]
    assert [item["series_id"] for item in decoded] == ["a", "b"]
    assert decoded[0]["history"][1] == HistoryDay("2026-01-02", 1.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"horizon": 2', '"horizon": 2, "horizon": 2'),
        ('"horizon": 2', '"horizon": 2, "series": []'),
        ('"series_id": "a"', '"series_id": "a", "series_id": "a"'),
        ('"date": "2026-01-01"', '"date": "2026-01-01", "date": "2026-01-01"'),
        ('"value": 0.0', '"value": 0.0, "value": 1.0'),
        ('"value": 0.0', '"value": NaN'),
        ('"value": 0.0', '"value": 00'),
        ('"a"', '"\\ud800"'),
    ],
)
def test_forecast_of_a_series_that_is_not_strict_json_is_refused(client, before, after):
    body = bytes_of(series()).decode().replace(before, after, 1)
    answer = client.post("/forecast", data=body, content_type="application/json")
    assert answer.status_code == 400, answer.text


def test_forecast_of_a_name_with_a_colon_is_answered(client):
    answer = client.post(
        "/forecast", data=bytes_of(series("a: b")), content_type="application/json"
    )
    assert answer.json["forecasts"][0]["series_id"] == "a: b"


def test_forecast_of_typed_and_of_odd_rows_agree(client):
    rows = example_history()
    answers = [
        # A name with a colon takes the slow way.
        client.post("/forecast", json={"series": [{"series_id": name, "history": rows}]}).json
        for name in ("a", "a: b")
    ]
    assert answers[0]["forecasts"][0]["forecast"] == answers[1]["forecasts"][0]["forecast"]


def test_series_of_more_rows_than_it_may_have_is_refused_before_it_is_decoded(monkeypatch):
    _, parts = split_body(bytes_of({"history": [{}] * 20_000}))
    monkeypatch.setattr("serving.schemas.series_body.decode_json", None)
    assert parts is not None
    with pytest.raises(RequestError) as caught:
        decode_series(parts[0], "series[0].")
    assert caught.value.status == 413


def test_forecast_of_several_parts_answers_as_each_series_alone(client, monkeypatch):
    monkeypatch.setattr("serving.model.series_forecasts.BATCH", 2)
    items = [series(name, days=80 + i) for i, name in enumerate("abcde")]
    together = client.post("/forecast", json={"series": items}).json["forecasts"]
    monkeypatch.undo()
    assert [item["series_id"] for item in together] == list("abcde")
    assert together == client.post("/forecast", json={"series": items}).json["forecasts"]


def test_forecast_of_days_centuries_apart_costs_what_its_rows_cost(client):
    items = [series("a", "1900-01-01"), series("b", "2199-01-01")]
    client.post("/forecast", json={"series": items[:1]})
    began = time.process_time()
    answer = client.post("/forecast", json={"series": items})
    assert answer.status_code == 200
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("day", ["0001-01-01", "1899-12-31", "2200-01-01", "9899-04-01"])
def test_forecast_and_explanation_refuse_days_that_no_daily_series_has(client, day):
    for call, field, body in (
        ("/forecast", "history[0].date", {"history": [{"date": day, "value": 1.0}]}),
        ("/request-explanation", "history[0].date", {"history": [{"date": day, "value": 1.0}]}),
    ):
        answer = client.post(call, json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json["errors"][0]["field"] == field
        assert "1900-01-01 to 2199-12-31" in answer.json["detail"]


def test_calendar_of_days_far_apart_has_the_bits_of_days_side_by_side():
    near = np.arange("2026-01-01", "2027-01-01", dtype="datetime64[D]").reshape(5, 73)
    far = np.stack([near, near - 700_000, near + 700_000])
    began = time.process_time()
    found = engineering.calendar_features(far)
    assert time.process_time() - began < 0.1
    for dates, features in zip(far, found, strict=True):
        np.testing.assert_array_equal(features, engineering.calendar_features(dates))


MEASURE = """
import json, re, sys, tempfile
from pathlib import Path
import psutil
from serving.schemas.examples import example_history
from tests.serving.live import Shelf, app_on
client = app_on(Shelf(production=7), Path(tempfile.mkdtemp())).test_client()
text = json.dumps(json.loads(sys.stdin.read()))
post = lambda body: client.post("/forecast", data=body, content_type="application/json").status_code
assert post(json.dumps({"history": example_history()})) == 200
idle = psutil.Process().memory_info().rss
series = '{"series_id": "s%d", "history": ' + text + '}'
body = ('{"series": [' + ",".join(series % i for i in range(1000)) + ']}').encode()
size = len(body)
for _ in range(2):
    assert post(body) == 200
del body
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
print(idle, peak, psutil.Process().memory_info().rss, size)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS gives memory back later")
def test_forecast_of_the_largest_calls_gives_its_memory_back():
    day = {"value": 101.5, "fator_externo": 1.25, "evento_especial": 0}
    dates = np.arange("2024-01-01", "2030-01-01", dtype="datetime64[D]")[:500]
    rows = json.dumps([{"date": str(date), **day} for date in dates])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=rows, text=True, cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-500:]
    idle, peak, after, size = map(int, done.stdout.splitlines()[-1].split())
    assert size > 40_000_000
    assert after - idle < 100_000_000
    # The body of the client and of the server, once while it is read, and what is decoded of it.
    assert peak - idle < 6 * size
