"""The calls about explanations and actuals, on real stores."""

import json
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.settings import ROOT
from serving.http import invalid, problems
from serving.records.predictions import Prediction
from serving.routes.store import store_calls
from serving.schemas.examples import example_rows
from serving.state import state_of
from tests.serving.live import Shelf, app_on, close

ROWS = example_rows()
BODY = {"sequence": ROWS}
DAY = {"series_id": "s", "date": "2026-01-31", "value": 1.0}


def body(n):
    return {"sequence": [*ROWS[:-1], ROWS[-1] | {"lag_1": float(n)}]}


@pytest.fixture
def app(settings, tmp_path):
    """An application of version 4 whose queue holds three."""
    app = app_on(
        Shelf(production=4),
        tmp_path,
        database_url=settings.database_url,
        explanation_queue_max=3,
    )
    yield app
    close(app)


@pytest.fixture
def parts(app):
    return state_of(app)


def queued(parts):
    return parts.jobs.count()["queued"]


def compute(parts, identity, result=None, plot=b"\x89PNG"):
    """Do what the worker does."""
    assert parts.jobs.claim("w").id == identity
    parts.jobs.finish(identity, "w", result or {"base_value": 1.0}, plot)


def record(parts, trace_id="t", sent=BODY, version=2):
    raw = json.dumps(sent, indent=3).encode()
    parts.recorder.record(Prediction(trace_id, version, (0.5,), [[1.0]], body=raw))


def test_request_explanation_answers_at_once_with_an_id(client, parts):
    answer = client.post("/request-explanation", json=BODY)
    assert answer.status_code == 202
    identity = answer.json["explanation_id"]
    assert answer.json == {"status": "explanation_queued", "explanation_id": identity}
    assert answer.headers["Location"] == f"/explanations/{identity}"
    job = parts.jobs.claim("w")
    assert (job.id, job.body, job.model_version) == (identity, BODY, 4)


def test_explanation_goes_from_queued_to_done(client, parts):
    where = client.post("/request-explanation", json=BODY).headers["Location"]
    first = client.get(where)
    assert first.status_code == 200
    assert first.json["status"] == "queued"
    assert first.json["result"] is first.json["plot"] is None
    assert client.get(f"{where}/plot.png").status_code == 404
    identity = first.json["explanation_id"]
    compute(parts, identity, {"base_value": 2.5})
    done = client.get(where).json
    assert (done["status"], done["model_version"]) == ("done", 4)
    assert done["result"] == {"base_value": 2.5}
    assert done["plot"] == f"{where}/plot.png"
    picture = client.get(done["plot"])
    assert (picture.mimetype, picture.data) == ("image/png", b"\x89PNG")


def test_explanation_says_why_it_failed(client, parts):
    where = client.post("/request-explanation", json=BODY).headers["Location"]
    identity = where.rsplit("/", 1)[1]
    parts.jobs.claim("w")
    parts.jobs.fail(identity, "w", "ArtifactError: model.onnx: missing")
    state = client.get(where).json
    assert (state["status"], state["error"]) == ("failed", "ArtifactError: model.onnx: missing")
    assert client.get(f"{where}/plot.png").status_code == 404


def test_request_explanation_of_the_same_question_is_the_same(client, parts):
    shuffled = {"sequence": [dict(reversed(row.items())) for row in ROWS]}
    whole = {"sequence": [*ROWS[:-1], ROWS[-1] | {"evento_especial": 0}]}
    answers = [client.post("/request-explanation", json=b) for b in (BODY, shuffled, whole)]
    assert len({answer.json["explanation_id"] for answer in answers}) == 1
    assert queued(parts) == 1
    compute(parts, answers[0].json["explanation_id"])
    again = client.post("/request-explanation", json=BODY)
    assert (again.status_code, again.json) == (202, answers[0].json)
    assert queued(parts) == 0


def test_request_explanation_by_trace_is_of_the_version_that_answered(client, parts):
    record(parts, version=2)
    answer = client.post("/request-explanation", json={"trace_id": "t"})  # not waited for writing
    assert answer.status_code == 202
    identity = answer.json["explanation_id"]
    assert parts.jobs.get(identity).model_version == 2
    assert parts.jobs.submit(BODY, 2) == identity  # as if the sequence were sent


def test_request_explanation_of_an_unknown_trace_is_not_found(client):
    start = time.monotonic()
    answer = client.post("/request-explanation", json={"trace_id": "unknown"})
    assert answer.status_code == 404
    assert time.monotonic() - start < 2


def test_calls_beyond_the_slots_of_the_store_are_answered_with_retry_after(client):
    calls = [
        lambda: client.post("/request-explanation", json=BODY),
        lambda: client.get(f"/explanations/{'0' * 32}"),
        lambda: client.post("/actuals", json={"actuals": [DAY]}),
    ]
    with store_calls.slot(), store_calls.slot(), store_calls._first:  # one that waits on
        for call in calls:
            answer = call()
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.mimetype == "application/problem+json"
    assert [call().status_code for call in calls] == [202, 404, 200]


def test_call_beyond_the_slots_of_the_store_waits_for_seconds_where_no_other_does(client):
    with ThreadPoolExecutor(1) as pool:
        with store_calls.slot(), store_calls.slot():
            answer = pool.submit(client.post, "/request-explanation", json=BODY)
            time.sleep(1.0)
            assert not answer.done()
        assert answer.result(5).status_code == 202


def test_reading_a_history_to_explain_holds_no_slot_of_the_store(client, monkeypatch):
    free = []

    def make(*_):
        free.append(store_calls._free._value)
        raise invalid("history", "is wrong")

    monkeypatch.setattr("serving.routes.explanations.make_question", make)
    day = {"date": "2026-01-01", "value": 1.0}
    assert client.post("/request-explanation", json={"history": [day]}).status_code == 422
    assert free == [2]


def test_request_explanation_finds_what_is_not_written_yet(client, parts, monkeypatch):
    monkeypatch.setattr("serving.records.predictions._GATHER", 0.5)
    record(parts)
    assert parts.recorder.stored == 0
    assert client.post("/request-explanation", json={"trace_id": "t"}).status_code == 202
    parts.recorder.close()
    assert parts.recorder.stored == 1
    assert parts.recorder._bodies == {}
    assert client.post("/request-explanation", json={"trace_id": "t"}).status_code == 202


def test_request_explanation_of_a_trace_not_found_is_answered_with_retry_after(client):
    answer = client.post("/request-explanation", json={"trace_id": "unknown"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (404, "1")


@pytest.mark.parametrize("length", [2, 61])
def test_request_explanation_by_trace_is_as_long_as_the_version_wanted(client, parts, length):
    sent = {"sequence": example_rows(length)}
    record(parts, sent=sent, version=2)
    answer = client.post("/request-explanation", json={"trace_id": "t"})
    assert answer.status_code == 202, answer.text
    job = parts.jobs.claim("w")
    assert (job.body, job.model_version) == (sent, 2)


@pytest.mark.parametrize("sent", [{"sequence": [{"lag_99": 1.0}]}, {"sequence": None}, {}, []])
def test_request_explanation_of_what_has_other_fields_today_is_a_conflict(client, parts, sent):
    record(parts, sent=sent)
    answer = client.post("/request-explanation", json={"trace_id": "t"})
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    assert "send a sequence instead" in answer.json["detail"]


def test_request_explanation_beyond_the_limit_is_answered_with_retry_after(client):
    for n in range(3):
        assert client.post("/request-explanation", json=body(n)).status_code == 202
    answer = client.post("/request-explanation", json=body(3))
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert client.post("/request-explanation", json=body(0)).status_code == 202


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        BODY | {"trace_id": "t"},
        {"sequence": []},
        {"sequence": ROWS[:1]},
        {"sequence": [*ROWS[:-1], ROWS[-1] | {"lag_1": "1"}]},
        {"trace_id": 1},
        {"trace_id": "\x00"},
        BODY | {"other": 1},
        [],
        None,
    ],
)
def test_request_explanation_refuses(client, parts, wrong):
    text = json.dumps(wrong)
    answer = client.post("/request-explanation", data=text, content_type="application/json")
    assert answer.status_code == 422
    assert queued(parts) == 0


def test_request_explanation_without_a_model_is_unavailable(make_app):
    client = make_app(Shelf()).test_client()
    answer = client.post("/request-explanation", json=BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("identity", ["0" * 32, "x", "0" * 33, "%00", "%F0%9F%98%80"])
def test_explanation_of_an_unknown_id_is_not_found(client, identity):
    assert client.get(f"/explanations/{identity}").status_code == 404
    assert client.get(f"/explanations/{identity}/plot.png").status_code == 404


def test_calls_with_a_store_that_fails_are_unavailable_and_show_no_details(make_app, tmp_path):
    client = make_app(database_url=f"sqlite:///{tmp_path}/none/state.db").test_client()
    answers = [
        client.post("/request-explanation", json=BODY),
        client.post("/request-explanation", json={"trace_id": "t"}),
        client.get(f"/explanations/{'0' * 32}"),
        client.get(f"/explanations/{'0' * 32}/plot.png"),
        client.post("/actuals", json={"actuals": [DAY]}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "none" not in answer.text


def test_calls_answer_while_another_writes(client, parts, tmp_path):
    where = client.post("/request-explanation", json=BODY).headers["Location"]
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert client.get(where).status_code == 200
    other.execute("ROLLBACK")
    other.close()


def test_actuals_that_are_no_object_are_refused_in_words(client):
    refused = client.post("/actuals", json=[DAY])
    assert refused.status_code == 422
    assert "ActualsBody" not in refused.text
    assert "expected an object" in refused.json["detail"]


def test_actuals_are_kept_and_counted(client):
    kept = client.post("/actuals", json={"actuals": [DAY]})
    assert kept.status_code == 200
    assert kept.json == {
        "added": 1,
        "corrected": 0,
        "unchanged": 0,
        "unmatched": 1,
        "quarantined": 0,
        "results": [
            {
                "status": "added",
                "matched": False,
                "quarantined": False,
                "reason": "no stored forecast is about this series and day",
            }
        ],
    }
    assert client.post("/actuals", json={"actuals": [DAY]}).json["unchanged"] == 1
    assert client.post("/actuals", json={"actuals": [DAY | {"value": 2.0}]}).json["corrected"] == 1


def test_actuals_are_matched_to_predictions(client, parts):
    record(parts)
    parts.recorder.close()
    stored = client.post("/actuals", json={"actuals": [{"trace_id": "t", "value": 1}]})
    assert stored.json["unmatched"] == 0


def test_actuals_with_one_wrong_item_keep_none(client):
    wrong = [DAY, DAY | {"date": "2026-02-30"}]
    assert client.post("/actuals", json={"actuals": wrong}).status_code == 422
    assert client.post("/actuals", json={"actuals": [DAY]}).json["added"] == 1


def test_calls_are_described(client):
    api = client.get("/openapi.json").json
    schemas = api["components"]["schemas"]
    (rows, nothing) = schemas["ExplanationBody"]["properties"]["sequence"]["anyOf"]
    assert (rows["minItems"], rows["maxItems"], nothing) == (60, 60, {"type": "null"})
    assert "FeatureRow" in schemas
    assert set(api["paths"]) >= {
        "/request-explanation",
        "/explanations/{explanation_id}",
        "/explanations/{explanation_id}/plot.png",
        "/actuals",
    }


def test_request_explanation_names_what_is_wrong(client):
    rows = ROWS
    short = client.post("/request-explanation", json={"sequence": rows[:59]})
    assert (short.status_code, short.mimetype) == (422, problems.MEDIA_TYPE)
    assert short.json["errors"][0]["field"] == "sequence"
    wrong = [*rows[:59], rows[59] | {"evento_especial": 2.0}]
    answer = client.post("/request-explanation", json={"sequence": wrong})
    assert answer.json["errors"][0]["field"] == "sequence[59].evento_especial"
    for n in range(3):
        client.post("/request-explanation", json={"sequence": [*rows[:59], rows[n]]})
    answer = client.post("/request-explanation", json={"sequence": [*rows[:59], rows[5]]})
    assert (answer.status_code, answer.mimetype) == (429, problems.MEDIA_TYPE)
    assert answer.headers["Retry-After"] == "3"


def test_calls_import_neither_torch_nor_shap_nor_figures():
    heavy = {
        "torch",
        "shap",
        "matplotlib",
        "mlflow",
        "lib.explanation.explainer",
        "lib.explanation.plots",
    }
    code = (
        f"import sys, serving.routes.explanations; sys.exit(', '.join({heavy} & {{*sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stderr.strip() == ""
