"""Clients that send slowly or nothing, against a real gunicorn with one process and two threads."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from lib.settings import ROOT
from tests.ports import free_port

APP = """
import time
from serving.http import connection as module
module._READ, module._RATE, module._TAKE = 0.5, 1e6, 0.5

def app(environ, start):
    try:
        size = len(environ["wsgi.input"].read())
    except OSError:
        size = -1
    text = str(size).encode()
    if environ["PATH_INFO"] == "/nap":
        time.sleep(0.01)
    if environ["PATH_INFO"] == "/much":
        text = bytes(30_000_000)
    start("200 OK", [("Content-Length", str(len(text)))])
    return [text]
"""


@pytest.fixture
def port(tmp_path):
    (tmp_path / "tiny_app.py").write_text(APP)
    with running(tmp_path) as (_, port):
        yield port


@contextmanager
def running(folder):
    port = free_port()
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "2", "--chdir", str(folder)]
    kind = ["--worker-class", "serving.http.gunicorn_worker.FairWorker", "--keep-alive", "60"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *kind, "tiny_app:app"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process, port
    finally:
        process.kill()
        process.wait()


def answer(port, body=b"12345"):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("POST", "/", body)
        return connection.getresponse().read()


def test_worker_gives_no_thread_to_connections_that_send_nothing(port):
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    began = time.monotonic()
    assert answer(port) == b"5"
    waited = time.monotonic() - began
    for each in silent:
        each.close()
    # A thread would wait 5 s for each pair of them.
    assert waited < 4


def test_worker_waits_for_no_client_that_stays_after_its_last_answer(port):
    goodbye = b"POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
    stays = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    for each in stays:
        each.sendall(goodbye)
        assert each.recv(1000).endswith(b"1")
    began = time.monotonic()
    assert answer(port) == b"5"
    waited = time.monotonic() - began
    for each in stays:
        each.sendall(b"and more")  # nobody resets the connection for it
        assert each.recv(10) == b""
        each.close()
    # gunicorn would wait 2 s for each.
    assert waited < 1


def test_worker_answers_requests_sent_ahead_in_turn(port):
    one = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%s"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(8)
        client.sendall(b"".join(one % (n, n * b"x") for n in range(1, 6)))
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 5 or not got.endswith(b"5"):
            got += client.recv(1000)
    assert [answer[-1:] for answer in got.split(b"HTTP/1.1")[1:]] == [b"1", b"2", b"3", b"4", b"5"]


def test_worker_lets_no_client_keep_a_thread_while_others_wait(port):
    """Of four clients the next request is always here, and a fifth has one."""
    many = 150
    request = b"GET /nap HTTP/1.1\r\nHost: here\r\n\r\n"
    quick = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    for each in quick:
        each.sendall(many * request)
    time.sleep(0.1)
    assert answer(port) == b"5"
    for each in quick:
        each.setblocking(False)
        assert each.recv(1_000_000).count(b"HTTP/1.1 200") < many
        each.close()


def test_worker_sends_an_answer_in_one_packet(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(20):
            client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nxy")
            whole = client.recv(1000)
            assert whole.startswith(b"HTTP/1.1 200 OK")
            assert whole.endswith(b"\r\n\r\n2")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nX-API-Key horse\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX-API-Key: hor\x00se horse\r\n\r\n", 400),
        (b"horse\r\n\r\n", 400),
        (b"GET /" + 9000 * b"horse" + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX-API-Key: " + 9000 * b"horse" + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nExpect: horse\r\n\r\n", 417),
    ],
)
def test_worker_answers_what_is_not_http_with_a_problem_that_quotes_nothing(
    port, tmp_path, sent, status
):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(8)
        client.sendall(sent)
        head, body = client.recv(5000).split(b"\r\n\r\n")
        assert client.recv(10) == b""
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert json.loads(body)["status"] == status
    log = (tmp_path / "log").read_text()
    assert "request refused" in log
    assert "horse" not in log + body.decode()


def test_worker_ends_requests_that_never_end(port):
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    for each, sent in zip(slow, (head + b"abc", b"POST / HTT"), strict=True):
        each.sendall(sent)
        each.settimeout(8)
    assert answer(port) == b"5"
    assert slow[1].recv(100) == b""
    for each in slow:
        each.close()


def test_worker_ends_answers_that_nobody_reads(port):
    deaf = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    for each in deaf:
        each.sendall(b"POST /much HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\nx")
    time.sleep(0.5)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=50)) as connection:
        connection.request("POST", "/", b"12345")
        assert connection.getresponse().read() == b"5"
    for each in deaf:
        each.close()


def test_worker_sends_a_long_answer_to_its_end(port):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=50)) as connection:
        connection.request("POST", "/much", b"12345")
        assert len(connection.getresponse().read()) == 30_000_000


def test_worker_reads_a_long_body_that_keeps_coming(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(8)
        client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2000000\r\n\r\n")
        for _ in range(8):
            client.sendall(b"x" * 250_000)
            time.sleep(0.15)
        assert client.recv(1000).endswith(b"2000000")


def test_worker_stops_without_waiting_for_idle_clients(tmp_path):
    (tmp_path / "tiny_app.py").write_text(APP)
    with ExitStack() as stack:
        process, port = stack.enter_context(running(tmp_path))
        idle = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        stack.callback(idle.close)
        idle.request("POST", "/", b"123")
        assert idle.getresponse().read() == b"3"
        process.send_signal(signal.SIGTERM)
        # The grace for requests in flight is 30 s.
        assert process.wait(20) == 0
        assert idle.sock is not None
        assert idle.sock.recv(10) == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nHost: here\r\nX-Slow: " + 50 * b"a",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n" + 50 * b"a",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxPOST / HTTP/1.1\r\n" + 50 * b"a",
    ],
    ids=["head", "body", "second request"],
)
def test_worker_gives_no_thread_to_clients_that_send_byte_by_byte(port, sent):
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(64)
        ]
        began, waited, end = time.monotonic(), [], len(sent) - 50
        for each in slow:
            each.sendall(sent[:end])
        for i in range(end, end + 4):
            for each in slow:
                with suppress(OSError):  # too slow, and cut off
                    each.sendall(sent[i : i + 1])
            before = time.monotonic()
            assert answer(port) == b"5"
            waited.append(time.monotonic() - before)
        assert time.monotonic() - began < 8
    # A thread would be held for half a second by each pair of them, which is 16 seconds.
    assert min(waited) < 0.5


def test_worker_lets_a_client_send_the_body_that_expects_it(port):
    head = b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(8)
        client.sendall(head)
        assert client.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"abc")
        got = b""
        while not got.endswith(b"\r\n\r\n3"):
            got += client.recv(1000)


def test_worker_closes_a_connection_whose_large_body_nobody_reads(tmp_path):
    app = """
def app(environ, start):
    start("401 Unauthorized", [("Content-Length", "2")])
    return [b"no"]
"""
    (tmp_path / "tiny_app.py").write_text(app)
    with running(tmp_path) as (_, port), socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(4)
        client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9000000\r\n\r\nabc")
        got = client.recv(1000)
        assert got.startswith(b"HTTP/1.1 401")
        assert b"Connection: close" in got
        assert client.recv(1000) == b""


def test_worker_that_stops_answers_and_closes_kept_connections_before_its_door(tmp_path):
    (tmp_path / "tiny_app.py").write_text(APP)
    with ExitStack() as stack:
        process, port = stack.enter_context(running(tmp_path))
        clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=8) for _ in range(20)]
        for client in clients:
            stack.callback(client.close)
            client.request("POST", "/", b"123")
            assert client.getresponse().read() == b"3"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        for client in clients:  # none of them is idle by choice: it is between two requests
            client.request("POST", "/", b"1234")
            response = client.getresponse()
            assert response.read() == b"4"
            assert response.getheader("Connection") == "close"
        assert process.wait(20) == 0
