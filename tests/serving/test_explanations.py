"""The calls about explanations and actuals, on a bare application with real stores."""

import json
import sqlite3
import subprocess
import sys
import time

import pytest
from flask_openapi3 import OpenAPI
from pydantic import BaseModel, ConfigDict, Field

from lib.settings import ROOT, get_settings
from serving.http import problems
from serving.records.predictions import Prediction, Recorder
from serving.routes.explanations import Services, make_blueprint, store_calls
from serving.schemas.api import example_rows, predict_request


class Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    lag_1: float
    lag_7: float | None


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    sequence: list[Row] = Field(min_length=2, max_length=2)


BODY = {"sequence": [{"lag_1": 1.0, "lag_7": None}, {"lag_1": 2.0, "lag_7": 0.5}]}
DAY = {"series_id": "s", "date": "2026-01-31", "value": 1.0}


def body(n):
    return {"sequence": [BODY["sequence"][0], {"lag_1": float(n), "lag_7": None}]}


# SQLite on files, or servers for both; each kind of queue is with each table in other tests.
@pytest.fixture(params=["files", pytest.param("servers", marks=pytest.mark.services)])
def settings(request, tmp_path):
    database, queue = f"sqlite:///{tmp_path}/state.db", f"sqlite:///{tmp_path}/queue.db"
    if request.param == "servers":
        database, queue = map(request.getfixturevalue, ("postgresql_url", "redis_url"))
    return get_settings(None).model_copy(
        update={"database_url": database, "queue_url": queue, "explanation_queue_max": 3}
    )


@pytest.fixture
def services(settings):
    recorder = Recorder(settings)
    yield Services.of(settings, recorder, lambda: 4)
    recorder.close()
    recorder.store.close()


def client_of(services, predict_body=Body):
    app = OpenAPI(__name__, validation_error_callback=problems.from_validation)
    problems.register(app)
    app.register_api(make_blueprint(services, predict_body))
    return app.test_client()


@pytest.fixture
def client(services):
    return client_of(services)


def computed(services, identity, result=None, plot=b"\x89PNG"):
    """What the worker does."""
    assert services.jobs.claim(identity, "w")
    services.jobs.finish(identity, "w", result or {"base_value": 1.0}, plot)


def predicted(services, trace_id="t", sent=BODY, version=2):
    raw = json.dumps(sent, indent=3).encode()
    services.recorder.prediction(Prediction(trace_id, version, (0.5,), [[1.0]], body=raw))


def test_request_explanation_answers_at_once_with_an_id(client, services):
    answer = client.post("/request-explanation", json=BODY)
    assert answer.status_code == 202
    identity = answer.json["explanation_id"]
    assert answer.json == {"status": "explanation_queued", "explanation_id": identity}
    assert answer.headers["Location"] == f"/explanations/{identity}"
    assert [task.args for task in services.queue.huey.pending()] == [[identity]]
    job = services.jobs.claim(identity, "w")
    assert (job.body, job.model_version) == (BODY, 4)


def test_explanation_goes_from_queued_to_done(client, services):
    where = client.post("/request-explanation", json=BODY).headers["Location"]
    first = client.get(where)
    assert first.status_code == 200
    assert first.json["status"] == "queued"
    assert first.json["result"] is first.json["plot"] is None
    assert client.get(f"{where}/plot.png").status_code == 404
    identity = first.json["explanation_id"]
    computed(services, identity, {"base_value": 2.5})
    done = client.get(where).json
    assert (done["status"], done["model_version"]) == ("done", 4)
    assert done["result"] == {"base_value": 2.5}
    assert done["plot"] == f"{where}/plot.png"
    picture = client.get(done["plot"])
    assert (picture.mimetype, picture.data) == ("image/png", b"\x89PNG")


def test_explanation_says_why_it_failed(client, services):
    where = client.post("/request-explanation", json=BODY).headers["Location"]
    identity = where.rsplit("/", 1)[1]
    services.jobs.claim(identity, "w")
    services.jobs.fail(identity, "w", "ArtifactError: model.onnx: missing")
    state = client.get(where).json
    assert (state["status"], state["error"]) == ("failed", "ArtifactError: model.onnx: missing")
    assert client.get(f"{where}/plot.png").status_code == 404


def test_request_explanation_of_the_same_question_is_the_same(client, services):
    shuffled = {"sequence": [dict(reversed(row.items())) for row in BODY["sequence"]]}
    whole = {"sequence": [{"lag_1": 1, "lag_7": None}, BODY["sequence"][1]]}
    answers = [client.post("/request-explanation", json=b) for b in (BODY, shuffled, whole)]
    assert len({answer.json["explanation_id"] for answer in answers}) == 1
    assert services.queue.huey.pending_count() == 1
    computed(services, answers[0].json["explanation_id"])
    again = client.post("/request-explanation", json=BODY)
    assert (again.status_code, again.json) == (202, answers[0].json)
    assert services.queue.huey.pending_count() == 1


def test_request_explanation_by_trace_is_of_the_version_that_answered(client, services):
    predicted(services, version=2)
    answer = client.post("/request-explanation", json={"trace_id": "t"})  # not waited for writing
    assert answer.status_code == 202
    identity = answer.json["explanation_id"]
    assert services.jobs.get(identity).model_version == 2
    assert services.jobs.submit(BODY, 2) == (identity, False)  # as if the sequence were sent


def test_request_explanation_of_an_unknown_trace_is_not_found(client):
    start = time.monotonic()
    answer = client.post("/request-explanation", json={"trace_id": "unknown"})
    assert answer.status_code == 404
    assert time.monotonic() - start < 2


def test_calls_past_the_places_for_the_store_are_told_when_to_come_back(client):
    calls = [
        lambda: client.post("/request-explanation", json=BODY),
        lambda: client.get(f"/explanations/{'0' * 32}"),
        lambda: client.post("/actuals", json={"actuals": [DAY]}),
    ]
    with store_calls.one(), store_calls.one():
        for call in calls:
            answer = call()
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.mimetype == "application/problem+json"
    assert [call().status_code for call in calls] == [202, 404, 200]


def test_request_explanation_finds_what_is_not_written_yet(client, services, monkeypatch):
    monkeypatch.setattr("serving.records.predictions._GATHER", 0.5)
    predicted(services)
    assert services.recorder.stored == 0
    assert client.post("/request-explanation", json={"trace_id": "t"}).status_code == 202
    services.recorder.close()
    assert services.recorder.stored == 1
    assert services.recorder._bodies == {}
    assert client.post("/request-explanation", json={"trace_id": "t"}).status_code == 202


def test_request_explanation_of_a_trace_not_found_may_be_asked_again(client):
    answer = client.post("/request-explanation", json={"trace_id": "unknown"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (404, "1")


@pytest.mark.parametrize("wanted", [1, 3])
def test_request_explanation_by_trace_is_as_long_as_the_version_wanted(services, wanted):
    sent = {"sequence": example_rows(2)}
    predicted(services, sent=sent, version=2)
    client = client_of(services, predict_request(lambda: wanted))
    answer = client.post("/request-explanation", json={"trace_id": "t"})
    assert answer.status_code == 202, answer.text
    job = services.jobs.claim(answer.json["explanation_id"], "w")
    assert (job.body, job.model_version) == (sent, 2)


@pytest.mark.parametrize("sent", [{"sequence": [{"lag_99": 1.0}]}, {"sequence": None}, {}, []])
def test_request_explanation_of_what_has_other_fields_today_is_a_conflict(client, services, sent):
    predicted(services, sent=sent)
    answer = client.post("/request-explanation", json={"trace_id": "t"})
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    assert "send a sequence instead" in answer.json["detail"]


def test_request_explanation_past_the_limit_is_told_when_to_come_back(client):
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
        {"sequence": BODY["sequence"][:1]},
        {"sequence": [{"lag_1": "1", "lag_7": None}] * 2},
        {"trace_id": 1},
        {"trace_id": "\x00"},
        BODY | {"other": 1},
        [],
        None,
    ],
)
def test_request_explanation_refuses(client, services, wrong):
    assert client.post("/request-explanation", json=wrong).status_code == 422
    assert services.jobs.depth()["queued"] == 0


def test_request_explanation_without_a_model_is_unavailable(settings, services):
    recorder = services.recorder
    client = client_of(Services.of(settings, recorder, lambda: None))
    answer = client.post("/request-explanation", json=BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("identity", ["0" * 32, "x", "0" * 33, "%00", "%F0%9F%98%80"])
def test_explanation_of_an_unknown_id_is_not_found(client, identity):
    assert client.get(f"/explanations/{identity}").status_code == 404
    assert client.get(f"/explanations/{identity}/plot.png").status_code == 404


def test_calls_with_a_store_that_fails_are_unavailable_and_say_nothing_inner(settings, tmp_path):
    wrong = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/none/state.db"})
    client = client_of(Services.of(wrong, Recorder(wrong), lambda: 1))
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


def test_request_explanation_with_a_queue_that_fails_is_left_to_the_worker(settings, tmp_path):
    wrong = settings.model_copy(update={"queue_url": f"sqlite:///{tmp_path}/none/queue.db"})
    services = Services.of(wrong, Recorder(wrong), lambda: 1)
    answer = client_of(services).post("/request-explanation", json=BODY)
    assert answer.status_code == 202
    assert services.jobs.waiting() == [answer.json["explanation_id"]]
    services.store.close()


def test_calls_answer_while_another_writes(client, services, tmp_path):
    where = client.post("/request-explanation", json=BODY).headers["Location"]
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert client.get(where).status_code == 200
    other.execute("ROLLBACK")
    other.close()


def test_actuals_are_kept_and_counted(client):
    kept = client.post("/actuals", json={"actuals": [DAY]})
    assert kept.status_code == 200
    assert kept.json == {
        "added": 1,
        "corrected": 0,
        "unchanged": 0,
        "unmatched": 1,
        "results": [{"status": "added", "matched": False}],
    }
    assert client.post("/actuals", json={"actuals": [DAY]}).json["unchanged"] == 1
    assert client.post("/actuals", json={"actuals": [DAY | {"value": 2.0}]}).json["corrected"] == 1


def test_actuals_are_matched_to_what_was_predicted(client, services):
    predicted(services)
    services.recorder.close()
    kept = client.post("/actuals", json={"actuals": [{"trace_id": "t", "value": 1}]})
    assert kept.json["unmatched"] == 0


def test_actuals_with_one_wrong_item_keep_none(client):
    wrong = [DAY, DAY | {"date": "2026-02-30"}]
    assert client.post("/actuals", json={"actuals": wrong}).status_code == 422
    assert client.post("/actuals", json={"actuals": [DAY]}).json["added"] == 1


def test_calls_are_described(client):
    api = client.get("/openapi/openapi.json").json
    schemas = api["components"]["schemas"]
    (rows, nothing) = schemas["ExplanationBody"]["properties"]["sequence"]["anyOf"]
    assert (rows["minItems"], rows["maxItems"], nothing) == (2, 2, {"type": "null"})
    assert "Row" in schemas
    assert set(api["paths"]) == {
        "/request-explanation",
        "/explanations/{explanation_id}",
        "/explanations/{explanation_id}/plot.png",
        "/actuals",
    }


def test_request_explanation_takes_a_real_predict_body_and_names_what_is_wrong(services):
    client = client_of(services, predict_request(lambda: 60))
    rows = example_rows()
    answer = client.post("/request-explanation", json={"sequence": rows})
    assert answer.status_code == 202
    job = services.jobs.claim(answer.json["explanation_id"], "w")
    assert job.body == {"sequence": rows}
    short = client.post("/request-explanation", json={"sequence": rows[:59]})
    assert (short.status_code, short.mimetype) == (422, problems.MEDIA_TYPE)
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
