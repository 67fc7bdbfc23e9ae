"""Who is let in, how often, and what the log says of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from lib.settings import ROOT, SettingsError, get_settings
from serving.http.rate_limits import TokenBuckets
from serving.http.security import KEY_HEADER, check_key_lengths
from serving.schemas.examples import example_history, example_rows
from serving.server import main, metrics_folder
from tests.ranked import ranked_model
from tests.serving.live import Shelf

LONG, SHORT = "a key that nobody guesses", "horse"
BODY = {"sequence": example_rows()}


def call(client, key="", address="10.0.0.1", path="/model"):
    headers = {KEY_HEADER: key} if key else {}
    return client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": address})


@pytest.fixture
def locked(make_app):
    return make_app(api_keys=(SecretStr(LONG), SecretStr(SHORT))).test_client()


def test_wrong_keys_of_one_address_are_throttled(locked):
    answers = [call(locked, f"wrong {n}").status_code for n in range(60)]
    assert answers[:30] == [401] * 30
    assert answers[-20:] == [429] * 20
    refused = call(locked, "wrong")
    assert refused.mimetype == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    assert call(locked, "wrong", address="10.0.0.2").status_code == 401
    # Nobody guesses a long key, so its owner is not locked out by a neighbour.
    assert call(locked, LONG).status_code == 200
    assert call(locked, SHORT).status_code == 429
    assert call(locked, SHORT, address="10.0.0.2").status_code == 200
    assert call(locked, path="/health").status_code == 200


def test_calls_without_any_key_are_no_guesses(locked):
    assert {call(locked).status_code for _ in range(50)} == {401}


def test_client_beyond_its_rate_is_refused_and_others_are_not(make_app):
    keys = (SecretStr(LONG), SecretStr(SHORT))
    client = make_app(api_keys=keys, rate_limit_rows=10).test_client()
    send = lambda key: client.post("/predict", json=BODY, headers={KEY_HEADER: key})  # noqa: E731
    answers = [send(LONG) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[2].mimetype == "application/problem+json"
    assert "RATE_LIMIT_ROWS" in answers[2].json["detail"]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 10
    assert send(SHORT).status_code == 200
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_client_without_a_key_is_limited_by_address_and_by_rows(make_app):
    client = make_app(rate_limit_rows=30).test_client()

    def send(address):
        rows = example_history(days=4_000)
        where = {"REMOTE_ADDR": address}
        return client.post("/forecast", json={"history": rows}, environ_overrides=where)

    assert [send("10.0.0.1").status_code for _ in range(2)] == [200, 429]
    assert send("10.0.0.2").status_code == 200


def test_client_is_limited_by_what_it_has_computed_not_by_its_bytes(make_app):
    client = make_app(rate_limit_rows=1_000).test_client()
    day = [{"date": "2026-01-01", "value": 1.0}]

    def send(count, **plan):
        body = {"series": [{"series_id": f"{i}", "history": day} for i in range(count)], **plan}
        return client.post("/forecast", json=body).status_code

    assert [send(2) for _ in range(4)] == [200] * 4
    assert [send(40), send(40)] == [200, 429]  # 4 kB each


def test_client_is_limited_by_the_groups_that_it_has_added_up(make_app, tmp_path):
    day = [{"date": "2026-01-01", "value": 1.0}]
    plan = {
        "series": [{"series_id": f"{i}", "history": day} for i in range(3)],
        "totals": [1, 2, 3],
    }
    groups = {f"g{i}": True for i in range(50)}
    shelf = Shelf(production=7)
    shelf.folders[7] = ranked_model(tmp_path / "ranked")

    def send(**more):
        client = make_app(shelf, rate_limit_rows=300).test_client()
        return [client.post("/forecast", json=plan | more).status_code for _ in range(3)]

    assert send() == [200, 200, 200]
    assert send(groups=groups) == [200, 200, 429]


def test_token_buckets_refill_and_forget_the_oldest_client():
    buckets = TokenBuckets(2.0, 10.0, clients=2)
    assert buckets.take("a", 14.0, now=0.0) == 0.0
    assert buckets.take("a", 1.0, now=0.0) == 2.5  # four owed, and one to begin with
    assert buckets.take("a", 1.0, now=2.5) == 0.0
    assert buckets.take("b", 99.0, now=3.0) == buckets.take("c", 99.0, now=3.0) == 0.0
    assert buckets.take("a", 1.0, now=3.0) == 0.0  # forgotten: it begins anew
    assert TokenBuckets(0.0, 0.0).take("a", 1e9) == 0.0


def test_request_log_names_address_and_key_by_number(locked):
    with structlog.testing.capture_logs() as lines:
        call(locked, SHORT)
        call(locked, "wrong")
    assert [(line["client"], line["key"]) for line in lines] == [
        ("10.0.0.1", 2),
        ("10.0.0.1", None),
    ]
    assert SHORT not in str(lines)


def test_keys_of_a_few_letters_are_refused(monkeypatch, capsys):
    with pytest.raises(SettingsError, match="API_KEYS: key 2 has 1 characters"):
        check_key_lengths([SecretStr(LONG), SecretStr("k")])
    settings = get_settings(None).model_copy(update={"api_keys": (SecretStr("k"),)})
    monkeypatch.setattr("serving.server.get_settings", lambda: settings)
    assert main(["--port", "0"]) == 1
    assert "API_KEYS: key 1" in capsys.readouterr().err


def test_metrics_folder_of_a_killed_server_is_deleted_by_the_next(tmp_path, monkeypatch):
    code = (
        "import sys, time; from serving.server import metrics_folder\n"
        "with metrics_folder() as folder: print(folder, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    with metrics_folder() as folder:
        assert left.is_dir()  # its server runs
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert left.is_dir()
        with metrics_folder() as other:
            assert not left.exists()
            assert Path(folder).is_dir()
            assert Path(other).is_dir()
    assert not Path(folder).exists()
