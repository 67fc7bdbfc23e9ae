"""The door of MLflow in compose: who may read models, and who may promote one."""

import base64
import http.client
import json
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lib.settings import ROOT
from tests.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
PASSWORD = "of the door"
ALIAS = "/api/2.0/mlflow/registered-models/alias"


class _Mlflow(BaseHTTPRequestHandler):
    """Answers every call as MLflow would: with 200."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = json.dumps({"host": self.headers["Host"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, format, *args):
        pass


@contextmanager
def door(folder):
    """The door before a server that takes anything: its ports for writing and for reading."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    writing, reading = free_port(), free_port()
    text = (ROOT / "deploy" / "compose" / "registry.cfg").read_text()
    for old, new in (
        (":5000\n", f"127.0.0.1:{writing}\n"),
        (":5001", f"127.0.0.1:{reading}"),
        ("mlflow:5000 check", f"127.0.0.1:{server.server_address[1]} check"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "door.cfg").write_text(text)
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", str(folder / "door.cfg")],
        env=os.environ | {"MLFLOW_PASSWORD": PASSWORD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                call(reading, "GET", "/")
                break
            except OSError:
                threading.Event().wait(0.1)
        yield writing, reading
    finally:
        process.terminate()
        process.wait(10)
        server.shutdown()
        server.server_close()


def call(port, method, path, password=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    token = base64.b64encode(f"writer:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}"} if password else {}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, text


def test_door_lets_nobody_promote_without_the_password(tmp_path):
    with door(tmp_path) as (writing, reading):
        assert call(writing, "POST", ALIAS)[0] == 401
        assert call(writing, "GET", "/")[0] == 401
        assert call(writing, "POST", ALIAS, "wrong")[0] == 401
        status, text = call(writing, "POST", ALIAS, PASSWORD)
        assert (status, json.loads(text)["host"]) == (200, "mlflow:5000")
        for method in ("POST", "PATCH", "DELETE", "PUT"):
            for path in (ALIAS, "/api/2.0/mlflow/runs/create", f"/x/..{ALIAS}", f"/%2e%2e{ALIAS}"):
                assert call(reading, method, path)[0] == 403
        assert call(reading, "POST", "/api/2.0/mlflow/runs/search/../create")[0] == 403
        assert call(reading, "GET", f"{ALIAS}?name=m&alias=production")[0] == 200
        assert call(reading, "POST", "/api/2.0/mlflow/runs/search")[0] == 200
