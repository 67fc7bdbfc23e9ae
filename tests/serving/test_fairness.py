"""Dear and large requests beside small ones, against a real gunicorn with two threads."""

import http.client
import socket
import threading
import time
from contextlib import ExitStack, closing

import pytest

from serving.http.admission import Admission
from serving.http.uploads import UploadSpace
from tests.serving.test_gunicorn_worker import running

APP = """
import time

def app(environ, start):
    sock, size = environ["gunicorn.socket"], int(environ.get("CONTENT_LENGTH") or 0)
    status = {0: "200 OK", 429: "429 Too Many Requests", 503: "503 Service Unavailable"}
    refused = sock.refused or (503 if size > 2_000_000 and not sock.is_received else 0)
    text = b"refused"
    if not refused:
        text = str(len(environ["wsgi.input"].read())).encode()
        time.sleep(float(environ.get("HTTP_X_SECONDS", 0)))
    start(status[refused], [("Content-Length", str(len(text)))])
    return [text]
"""


@pytest.fixture
def port(tmp_path):
    (tmp_path / "tiny_app.py").write_text(APP)
    with running(tmp_path) as (_, port):
        yield port


def post(port, size, seconds=0.0, path="/forecast"):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, b"x" * size, {"X-Seconds": str(seconds)})
        response = connection.getresponse()
        return response.status, response.read()


class Posts:
    """Requests sent side by side; `answers` are (status, seconds) in the order of their ends."""

    def __init__(self, port, count, size, seconds):
        self.answers = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._post, args=(port, size, seconds)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _post(self, port, size, seconds):
        began = time.monotonic()
        status, _ = post(port, size, seconds)
        with self._lock:
            self.answers.append((status, time.monotonic() - began))

    def wait(self):
        for thread in self._threads:
            thread.join(30)
        return self.answers


def post_a_little_later(port, size):
    time.sleep(0.05)
    return post(port, size)


def test_small_requests_do_not_wait_for_dear_ones(port):
    dear = Posts(port, 6, 1_000_000, 1.0)
    time.sleep(0.5)
    began = time.monotonic()
    assert post(port, 1_000) == (200, b"1000")
    # Behind the others, in two threads, it would wait for three seconds.
    assert time.monotonic() - began < 2
    assert [status for status, _ in dear.wait()] == [200] * 6


def test_dear_requests_of_one_client_beyond_its_share_are_refused(port):
    answers = Posts(port, 14, 300_000, 0.3).wait()
    statuses = [status for status, _ in answers]
    assert statuses.count(200) >= 9  # one runs, eight wait
    assert statuses.count(429) == 14 - statuses.count(200) > 0
    # All places are free again; each is given back a moment after its answer was sent.
    found = next(got for _ in range(40) if (got := post_a_little_later(port, 300_000))[0] != 429)
    assert found == (200, b"300000")


@pytest.mark.parametrize("extra", [b"", b"Expect: 100-continue\r\n"])
def test_large_body_that_arrives_slowly_holds_neither_thread_nor_place(port, extra):
    size = 5_000_000
    head = b"POST /forecast HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n" % size
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(4)
        ]
        for client in slow:
            client.settimeout(20)
            client.sendall(head + extra + b"\r\n" + b"x" * 70_000)
            if extra:
                assert client.recv(1000).startswith(b"HTTP/1.1 100")
        began = time.monotonic()
        assert post(port, 4_000_000) == (200, b"4000000")
        assert post(port, 10) == (200, b"10")
        assert time.monotonic() - began < 3
        for client in slow:
            client.sendall(b"x" * (size - 70_000) + b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        for client in slow:  # each is answered, and so is what it sent behind the body
            got = b""
            while not got.endswith(b"\r\n\r\n0"):
                data = client.recv(1000)
                assert data
                got += data
            assert b"\r\n\r\n5000000HTTP/1.1 200 OK" in got


def test_large_body_of_another_call_is_not_received_for_it(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(5)
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: 9000000\r\n\r\nabc"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 503")
        assert client.recv(1000) == b""


def test_uploads_are_bounded_together_and_by_client():
    space = UploadSpace(100, 60)
    first = space.reserve("a", 50)
    assert space.reserve("a", 20) is None
    second = space.reserve("b", 50)
    assert first is not None
    assert second is not None
    assert space.reserve("c", 1) is None
    first.write(b"x" * 50)
    assert first.missing == 0
    assert first.read(100) == b"x" * 50
    assert first.read(100) == b""  # and it gives back its room
    third = space.reserve("a", 50)
    assert third is not None
    third.close()
    second.close()
    second.close()
    assert space._free == 100


def test_admission_lets_clients_take_turns():
    gate = Admission()
    assert gate.enter("a1", "a") == 0
    assert [gate.enter(f"a{n}", "a") for n in (2, 3, 4)] == [None] * 3
    assert gate.enter("b1", "b") is None
    assert [gate.leave() for _ in range(5)] == ["a2", "b1", "a3", "a4", None]
    assert gate.enter("c", "c") == 0


def test_admission_bounds_what_waits(monkeypatch):
    gate = Admission()
    gate.enter("first", "a")
    assert [gate.enter(n, "a") for n in range(9)] == [None] * 8 + [429]
    for client in "bcd":
        assert [gate.enter((client, n), client) for n in range(8)] == [None] * 8
    assert gate.enter("last", "e") == 503
    monkeypatch.setattr("serving.http.admission._PATIENCE", -1.0)
    assert len(gate.take_overdue()) == 32
    assert gate.leave() is None
    assert gate.enter("again", "a") == 0
