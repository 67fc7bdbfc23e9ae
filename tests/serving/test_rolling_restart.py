"""The balancer of `deploy/`: no request is lost when servers stop, restart or are not ready."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lib.settings import ROOT
from tests.ports import free_port
from tests.serving.test_server import BODY, Crowd, registry, served, until_ready

__all__ = ["registry"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]
RESTARTS, CLIENTS = 5, 20
SEEN = 3.0  # seconds after which the balancer sends requests to a server that is ready


@contextmanager
def balanced(ports, folder):
    """The balancer of the deployment before servers of this machine: its port."""
    text = (ROOT / "deploy" / "compose" / "haproxy.cfg").read_text()
    for template in (line for line in text.splitlines() if "server-template" in line):
        options = template.split("api:8000 ")[1].split("resolvers")[0]
        servers = [f"  server s{port} 127.0.0.1:{port} {options}" for port in ports]
        text = text.replace(f"{template}\n", "\n".join([*servers, ""]))
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("bind :8000", f"bind 127.0.0.1:{port}"))
    with (folder / "haproxy.log").open("w") as log:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(config)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until_ready(port)
            yield port
        finally:
            process.terminate()
            process.wait(10)


class Replica(ThreadingHTTPServer):
    """A server that is ready or not, and that closes a call without an answer where it leaves."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Call)
        self.is_ready, self.leaves, self.calls = True, False, 0


class Call(BaseHTTPRequestHandler):
    """A call of a Replica."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format, *_):
        """Log nothing."""

    def do_GET(self):
        """Answer a probe."""
        self._answer(200 if self._replica.is_ready else 503, b"{}")

    def do_POST(self):
        """Answer a call, or close its connection."""
        self._replica.calls += 1
        if self._replica.leaves:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b'{"model_version": 1}')

    @property
    def _replica(self):
        assert isinstance(self.server, Replica)
        return self.server

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def replicas(folder, number=2):
    """The balancer before so many replicas: its port, and them."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Replica(free_port())) for _ in range(number)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        ports = [server.server_address[1] for server in servers]
        yield stack.enter_context(balanced(ports, folder)), servers


def post_slowly(port, *, pause=0.02):
    """Send a call whose body follows its head after a pause, as it does on most networks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(BODY)))
        connection.endheaders()
        time.sleep(pause)
        connection.send(BODY.encode())
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def test_call_whose_server_leaves_is_sent_to_another_however_it_arrives(tmp_path):
    with replicas(tmp_path) as (port, servers):
        servers[0].leaves = True
        answers = [post_slowly(port)[0] for _ in range(10)]
    assert servers[0].calls >= 3  # it was tried: the balancer takes turns
    assert answers == [200] * 10


def test_call_is_answered_where_no_server_is_known_to_be_ready(tmp_path):
    with replicas(tmp_path) as (port, servers):
        for server in servers:
            server.is_ready = False
        time.sleep(2 * SEEN)
        answers = [post_slowly(port)[0] for _ in range(4)]
    assert answers == [200] * 4


@pytest.mark.parametrize("leaves", [True, False])
def test_refusals_of_the_balancer_are_problem_documents(tmp_path, leaves):
    with replicas(tmp_path, 1) as (port, (server,)):
        server.leaves = leaves
        if not leaves:
            server.shutdown()
            server.server_close()
        status, headers, problem = post_slowly(port)
    assert status == (502 if leaves else 503)
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "2"
    assert problem["status"] == status
    assert problem["detail"]


def test_rolling_restart_fails_no_request_of_kept_connections(registry, tmp_path):
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        servers = [stack.enter_context(ExitStack()) for _ in ports]

        def start(number, log):
            options = ("--no-worker", "--workers", "1")
            server = served(registry.settings, tmp_path / log, *options, port=ports[number])
            servers[number].enter_context(server)

        for number in range(2):
            start(number, f"log{number}")
        balancer = stack.enter_context(balanced(ports, tmp_path))
        with Crowd(balancer, clients=CLIENTS, calls=(("/predict", BODY),), pause=0.2) as crowd:
            time.sleep(1)
            for restart in range(RESTARTS):
                servers[restart % 2].close()  # SIGTERM, and waits for its end
                start(restart % 2, f"log{restart + 2}")
                time.sleep(SEEN)
    assert crowd.errors == []
    assert {status for status, _ in crowd.answers} == {200}
    assert len(crowd.answers) > 20 * CLIENTS
