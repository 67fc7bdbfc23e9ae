"""What holds for every call: keys, headers, problems, logs, metrics, the description."""

import json
import re
import subprocess
import sys
import threading
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import structlog
from pydantic import SecretStr

from lib.log import configure_logging
from lib.settings import ROOT, SettingsError, get_settings
from serving.app import create_app
from serving.explanations.jobs import Jobs
from serving.http.security import KEY_HEADER, LOCAL_HOSTS, check_bind, check_key_lengths
from serving.request_log import trace_id_of
from serving.schemas.examples import example_rows
from serving.schemas.status import Health, ModelCard
from serving.server import _address, main
from serving.state import EXTENSION, state_of
from tests.serving.live import Shelf, app_on, close, settings_of

KEY = "correct horse"
EXAMPLE = {"sequence": example_rows()}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    keys = (SecretStr("another"), SecretStr(KEY))
    app = app_on(Shelf(production=7), tmp_path_factory.mktemp("locked"), api_keys=keys)
    yield app
    close(app)


def test_service_import_loads_no_training_code():
    code = (
        "import sys, serving, serving.app; serving.app.create_app();"
        "print([m for m in ('torch', 'shap', 'mlflow', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_server_import_loads_no_threads_that_a_fork_would_lose():
    code = (
        "import sys, serving.server;"
        "print([m for m in ('onnxruntime', 'pyarrow', 'mlflow', 'prometheus_client')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_health_names_the_served_model(client):
    for call in ("/health", "/health/ready"):
        answer = client.get(call)
        assert answer.status_code == 200
        Health.model_validate(answer.json)
        assert answer.json["model_version"] == 7
        assert answer.json["source"] == "production"
        assert answer.json["age"] >= 0
    assert client.get("/health/live").json == {"status": "ok"}


def test_model_card_is_that_of_the_contract(client):
    card = client.get("/model").json
    ModelCard.model_validate(card)
    assert (card["model_version"], card["horizon"], card["context_length"]) == (7, 3, 60)


@pytest.mark.parametrize("call", ["/predict", "/forecast", "/model", "/explanations/0", "/nowhere"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {KEY_HEADER: ""},
        {KEY_HEADER: "wrong"},
        {KEY_HEADER: "wröng"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
    ],
)
def test_call_without_the_right_key_is_refused(locked, call, headers):
    response = locked.test_client().get(call, headers=headers)
    assert response.status_code == 401
    assert response.mimetype == "application/problem+json"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", [{KEY_HEADER: KEY}, {"Authorization": f"Bearer {KEY}"}])
def test_call_with_the_right_key_is_answered(locked, headers):
    assert locked.test_client().get("/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "call", ["/", "/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"]
)
def test_open_call_needs_no_key(locked, call):
    assert locked.test_client().get(call).status_code == 200


def test_request_log_holds_no_key(locked, capsys):
    with structlog.testing.capture_logs() as lines:
        locked.test_client().get("/model", headers={KEY_HEADER: KEY})
        locked.test_client().get(f"/model?key={KEY}", headers={"Authorization": f"Bearer {KEY}"})
    assert KEY not in json.dumps(lines) + "".join(capsys.readouterr())


@pytest.mark.parametrize("call", ["/", "/docs", "/predict", "/nowhere", "/health"])
def test_answer_has_security_headers(client, call):
    headers = client.get(call).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]  # nothing inline
    assert headers["Cache-Control"] == "no-store"


def test_unknown_path_or_method_is_a_problem(client):
    assert client.get("/nowhere").status_code == 404
    response = client.get("/predict")
    assert (response.status_code, response.mimetype) == (405, "application/problem+json")
    assert "POST" in response.headers["Allow"]


def test_server_error_shows_no_details(app, monkeypatch):
    model = state_of(app).model
    monkeypatch.setattr(model, "current", lambda: 1 / 0)
    response = app.test_client().get("/model")
    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert "division" not in response.text
    assert "Traceback" not in response.text
    assert app.extensions[EXTENSION] is model


@pytest.mark.parametrize(
    "sent", ["", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'1' * 32}-{'1' * 16}-01"]
)
def test_trace_id_is_new_where_traceparent_is_not_valid(sent):
    found = {trace_id_of(sent) for _ in range(10)}
    assert len(found) == 10
    assert all(len(trace) == 32 for trace in found)


def test_server_error_is_logged_with_its_trace_and_without_the_body(app, monkeypatch, capsys):
    def broken(self, *args):
        try:
            raise ValueError("its value is 4711")
        except ValueError as error:
            raise RuntimeError("postgresql://me:secret@db, 4711") from error

    monkeypatch.setattr("serving.model.batching.Batcher.predict", broken)
    configure_logging("INFO")
    answer = app.test_client().post("/predict", json={"sequence": example_rows()})
    assert answer.status_code == 500
    logged = capsys.readouterr().err
    lines = [json.loads(line) for line in logged.splitlines()]
    (failed,) = [line for line in lines if line["event"] == "request failed"]
    assert failed["trace_id"] == answer.json["trace_id"]
    assert failed["error"] == "RuntimeError"
    assert any("test_service.py" in place and "broken" in place for place in failed["where"])
    assert "ValueError" in failed["where"]
    assert "4711" not in logged
    assert "secret" not in logged


def test_request_log_has_one_line_a_request(client):
    with structlog.testing.capture_logs() as lines:
        answer = client.post("/predict", json={"sequence": example_rows()}).json
    assert len(lines) == 1
    line = lines[0]
    assert line["trace_id"] == answer["trace_id"]
    assert (line["path"], line["status"], line["version"]) == ("/predict", 200, 7)
    assert line["ms"] > 0


def test_request_log_names_the_version_that_will_be_explained(client):
    with structlog.testing.capture_logs() as lines:
        assert client.post("/request-explanation", json=EXAMPLE).status_code == 202
    assert [line["version"] for line in lines if line["event"] == "request"] == [7]


def test_metrics_count_by_rule_and_not_by_path(client):
    client.get("/explanations/" + "a" * 32)
    client.get("/made/up/by/anybody")
    text = client.get("/metrics").text
    assert 'endpoint="/explanations/<explanation_id>"' in text
    assert "made/up" not in text
    assert 'model_load_failures_total{reason="artifact"} 0.0' in text
    assert 'explanations{status="queued"}' in text
    assert "http_request_seconds_bucket" in text


def test_metrics_do_not_wait_for_one_another_on_a_slow_store(client, app, monkeypatch):
    counting, answer = threading.Event(), threading.Event()

    def slow(jobs):
        counting.set()
        assert answer.wait(30)
        return {"queued": 3}

    monkeypatch.setattr(Jobs, "count", slow)
    first = threading.Thread(target=app.test_client().get, args=("/metrics",))
    first.start()
    try:
        assert counting.wait(10)
        assert client.get("/metrics").status_code == 200
    finally:
        answer.set()
        first.join(10)


def test_metrics_of_made_up_methods_are_one_series(client):
    for n in range(5):
        client.open("/", method=f"MADEUP{n}")
    text = client.get("/metrics").text
    assert "MADEUP" not in text
    assert 'method="other"' in text


def test_description_has_every_call_and_its_problems(client):
    spec = client.get("/openapi.json").json
    assert spec["openapi"].startswith("3.1")
    assert set(spec["paths"]) == {
        "/predict",
        "/forecast",
        "/request-explanation",
        "/explanations/{explanation_id}",
        "/explanations/{explanation_id}/plot.png",
        "/actuals",
        "/health",
        "/health/live",
        "/health/ready",
        "/model",
        "/metrics",
        "/monitoring",
    }
    names = set(spec["components"]["schemas"])
    text = json.dumps(spec)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in names
    sequence = spec["components"]["schemas"]["PredictRequest"]["properties"]["sequence"]
    assert (sequence["minItems"], sequence["maxItems"]) == (60, 60)
    assert set(spec["paths"]["/predict"]["post"]["responses"]) == {
        "200", "400", "413", "415", "422", "429", "503",
    }  # fmt: skip


def test_description_examples_work(client):
    spec = client.get("/openapi.json").json
    for call, status in {
        "/predict": 200,
        "/forecast": 200,
        "/request-explanation": 202,
        "/actuals": 200,
    }.items():
        content = spec["paths"][call]["post"]["requestBody"]["content"]["application/json"]
        name = content["schema"]["$ref"].rsplit("/", 1)[1]
        schema = spec["components"]["schemas"][name]
        example = content.get("example") or schema["example"]
        assert client.post(call, json=example).status_code == status, call


def test_description_has_keys_where_there_are_any(client, locked):
    assert not client.get("/openapi.json").json["components"].get("securitySchemes")
    spec = locked.test_client().get("/openapi.json").json
    assert spec["components"]["securitySchemes"]["key"]["name"] == KEY_HEADER
    assert spec["paths"]["/predict"]["post"]["security"] == [{"key": []}]
    assert "security" not in spec["paths"]["/health"]["get"]


def test_documentation_needs_no_other_server(client):
    page = client.get("/docs").text
    assert "http" not in page
    for part in page.split('="/')[1:]:
        with client.get("/" + part.split('"')[0]) as response:
            assert response.status_code == 200
    assert client.get("/docs/js/../../../../../etc/passwd").status_code == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_check_bind_refuses_other_machines_without_keys(host):
    settings = get_settings(None)
    with pytest.raises(SettingsError, match="API_KEYS"):
        check_bind(host, settings, anyone=False)
    check_bind(host, settings, anyone=True)
    check_bind(host, settings.model_copy(update={"api_keys": (SecretStr(KEY),)}), anyone=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_check_bind_accepts_this_machine_without_keys(host):
    check_bind(host, get_settings(None), anyone=False)


@pytest.mark.parametrize("option", ["--workers=0", "--threads=0", "--port=65536", "--threads=x"])
def test_server_refuses_numbers_with_which_it_would_not_answer(capsys, option):
    with pytest.raises(SystemExit) as stopped:
        main([option])
    assert stopped.value.code == 2
    assert f"{option.split('=')[0]}: expected" in capsys.readouterr().err


def test_server_refuses_an_open_address_without_keys(capsys, monkeypatch):
    monkeypatch.setattr("serving.server.get_settings", lambda: get_settings(None))
    assert main(["--host", "0.0.0.0"]) == 1
    assert "API_KEYS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:8000"),
        ("::1", "[::1]:8000"),
        ("unix:/run/api.sock", "unix:/run/api.sock"),
    ],
)
def test_server_binds_names_addresses_and_sockets(host, address):
    assert _address(host, 8000) == address


@pytest.mark.parametrize("module", ["serving.server", "serving.run"])
def test_server_has_a_command_line(module):
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--no-worker" in done.stdout


def test_app_of_local_hosts_answers_no_other_name(tmp_path):
    app = create_app(settings_of(tmp_path), hosts=LOCAL_HOSTS)
    state_of(app).model.start = lambda: None
    client = app.test_client()
    for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/health/live", headers={"Host": host}).status_code == 200
    for host in ("attacker.example", "127.0.0.1.attacker.example:8000", "localhost.example"):
        for path in ("/health/live", "//health/live", "/predict"):
            answer = client.get(path, headers={"Host": host})
            assert answer.status_code == 400
            assert answer.mimetype == "application/problem+json"
            assert "Location" not in answer.headers
    close(app)


@pytest.mark.parametrize(
    ("path", "denied"),
    [
        ("/metrics", True),
        ("//metrics", True),
        ("/%6Detrics", True),
        ("/%2Fmetric%73", True),
        ("/metrics/", True),
        ("/metricsx", False),
        ("/health/ready", False),
    ],
)
def test_balancer_denies_metrics_however_they_are_written(path, denied):
    config = (ROOT / "deploy/compose/haproxy.cfg").read_text()
    rule = re.search(r"http-request deny if \{ path,url_dec -m reg (\S+) \}", config)
    assert rule is not None
    assert bool(re.search(rule[1], unquote(path))) is denied


def test_short_keys_are_logged_by_their_number_alone():
    with structlog.testing.capture_logs() as logs:
        check_key_lengths([SecretStr("long enough to stay"), SecretStr("horse")])
    assert [entry["key"] for entry in logs] == [2]
    assert "horse" not in str(logs)


def test_ready_is_unavailable_while_the_process_stops(client):
    stops = {"gunicorn.socket": SimpleNamespace(stopping=True)}
    answer = client.get("/health/ready", environ_overrides=stops)
    assert answer.status_code == 503
    assert answer.json["status"] == "unavailable"
    assert client.get("/health/live", environ_overrides=stops).status_code == 200
