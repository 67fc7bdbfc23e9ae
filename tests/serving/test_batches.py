"""Usual requests that are answered together, against a real gunicorn with two threads."""

import json
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from serving.http.usual_request import LINE, read_usual_head, write_answer
from serving.schemas.examples import example_rows
from serving.state import state_of
from tests.serving.live import Shelf
from tests.serving.test_gunicorn_worker import running

APP = """
import time
from pathlib import Path
from serving.http.batch_worker import BatchWorker

class Echo:
    def prepare(self, environ, body):
        return None if body == b"bad" else body

    def answer(self, calls):
        time.sleep(0.05)
        texts = [b"%d:%s" % (len(calls), body) for body in calls]
        return [(t, [("Content-Length", str(len(t)))]) for t in texts]

    def report(self, calls):
        while b"slow report" in calls and not Path("was-read").exists():
            time.sleep(0.01)

BatchWorker.batches = Echo()

def app(environ, start):
    text = b"long way:" + environ["wsgi.input"].read()
    start("200 OK", [("Content-Length", str(len(text)))])
    return [text]
"""


@pytest.fixture
def port(tmp_path):
    (tmp_path / "tiny_app.py").write_text(APP)
    with running(tmp_path) as (_, port):
        yield port


def request(body, *lines):
    extra = b"".join(line + b"\r\n" for line in lines)
    head = LINE + b"Host: here\r\nContent-Length: %d\r\n" % len(body)
    return head + extra + b"\r\n" + body


def read(client):
    got = b""
    while b"\r\n\r\n" not in got:
        data = client.recv(1000)
        assert data, got
        got += data
    head, _, text = got.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(text) < length:
        text += client.recv(length - len(text))
    return head, text


def test_worker_answers_requests_that_arrive_together_in_one_batch(port):
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(12)
        ]
        sizes = []
        for turn in range(4):
            for number, client in enumerate(clients):
                client.settimeout(10)
                client.sendall(request(b"%d-%d" % (turn, number)))
            for number, client in enumerate(clients):
                head, text = read(client)
                size, _, body = text.partition(b":")
                assert body == b"%d-%d" % (turn, number)  # to whom it belongs
                assert b"Connection: keep-alive" in head
                sizes.append(int(size))
        assert max(sizes) > 4


@pytest.mark.parametrize("lines", [(), (b"X-Other: 1",)], ids=["usual", "unusual"])
def test_worker_answers_pipelined_requests_in_their_order(port, lines):
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)
        ]
        for client in clients:
            client.settimeout(10)
            client.sendall(request(b"first") + request(b"next", *lines) + request(b"last"))
        for client in clients:
            got = b""
            while not got.endswith(b":last"):
                data = client.recv(1000)
                assert data
                got += data
            assert got.index(b":first") < got.index(b":next") < got.index(b":last")


def test_worker_sends_an_answer_before_it_is_reported(port, tmp_path):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(10)
        client.sendall(request(b"slow report"))
        assert read(client)[1] == b"1:slow report"
        (tmp_path / "was-read").touch()
        client.sendall(request(b"next"))
        assert read(client)[1] == b"1:next"


def test_worker_lets_the_application_answer_what_no_batch_takes(port):
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(6)
        ]
        for _ in range(2):
            for client in clients:
                client.settimeout(10)
                client.sendall(request(b"bad"))
            assert {read(client)[1] for client in clients} == {b"long way:bad"}


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5",
        b"Content-Length : 5",
        b"Expect: 100-continue",
        b"Connection: close",
        b" Folded: x",
        b"Host: twice",
        b"X-API-Key: \x00",
        b"X-API-Key: k\xc3\xa9y",
        b"No-Colon",
        b"Unknown: header",
        b"Content-Type: a\nX: b",
    ],
)
def test_head_that_is_not_the_usual_one_is_left_to_the_parser(line):
    usual = LINE + b"Host: here\r\nContent-Length: 12\r\n"
    assert read_usual_head(usual) is not None
    assert read_usual_head(usual + line + b"\r\n") is None


def test_head_of_a_usual_request_is_read():
    lines = (
        b"Host: a:1",
        b"content-type:application/json",
        b"Content-Length: 1",
        b"X-API-Key: k e",
    )
    assert read_usual_head(LINE + b"".join(line + b"\r\n" for line in lines)) == {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/predict",
        "HTTP_HOST": "a:1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "1",
        "HTTP_X_API_KEY": "k e",
    }
    for other in (
        b"GET /predict HTTP/1.1\r\n",
        b"POST /predict HTTP/1.0\r\n",
        b"POST /predict\r\n",
    ):
        assert read_usual_head(other + b"Host: a\r\nContent-Length: 1\r\n") is None
    assert write_answer(b"{}", [("A", "b")], closes=True).endswith(b"\r\nA: b\r\n\r\n{}")


def test_batch_has_the_answers_of_single_calls(make_app):
    app = make_app()
    state_of(app).model._thread = threading.current_thread()  # as if it had started
    fast = app.wsgi_app
    rows = [example_rows(60 + n)[n:] for n in range(5)]
    bodies = [json.dumps({"sequence": row}).encode() for row in rows]
    environ = {"CONTENT_TYPE": "application/json", "HTTP_HOST": "here"}
    calls = [fast.prepare(environ, body) for body in bodies]
    together = [json.loads(text) for text, _ in fast.answer(calls)]
    client = app.test_client()
    for row, answer in zip(rows, together, strict=True):
        alone = client.post("/predict", json={"sequence": row}).json
        assert answer["quantiles"] == pytest.approx(alone["quantiles"], rel=1e-9)
        assert answer.keys() == alone.keys()
    recorder = state_of(app).recorder
    until = time.monotonic() + 10
    while recorder.stored < 10 and time.monotonic() < until:
        time.sleep(0.02)
    assert recorder.stored == 10


def test_fast_path_gives_the_headers_and_refusals_of_flask(make_app):
    app = make_app()
    client = app.test_client()
    body = {"sequence": example_rows()}
    slow = client.post("/predict", json=body)
    state_of(app).model._thread = threading.current_thread()
    fast = client.post("/predict", json=body)
    assert fast.json["quantiles"] == slow.json["quantiles"]
    assert dict(fast.headers) == dict(slow.headers) | {
        "Content-Length": fast.headers["Content-Length"]
    }
    wrong = {"sequence": [*body["sequence"][:59], {}]}
    assert client.post("/predict", json=wrong).status_code == 422
    assert client.post("/predict", data=b"{", content_type="application/json").status_code == 400
    assert client.post("/predict", data=b"{}", content_type="text/plain").status_code == 415
    assert make_app(Shelf()).test_client().post("/predict", json=body).status_code == 503
