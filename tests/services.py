"""PostgreSQL and MLflow servers for the tests: started on free ports, gone afterwards.

Each is a context manager that yields a URL, or skips with what is missing.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port


@contextmanager
def postgresql(address="127.0.0.1"):
    """→ the URL of a server without its database's name: `…/`. Any address is this machine's."""
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]]
    path = os.pathsep.join([os.environ.get("PATH", ""), *places])
    initdb, control = (shutil.which(name, path=path) for name in ("initdb", "pg_ctl"))
    if initdb is None or control is None:
        pytest.skip("PostgreSQL is not installed: no initdb and pg_ctl (Debian: postgresql)")
    user = _other_user("postgres")
    with _folder(user) as folder:
        data, log, port = str(folder / "data"), str(folder / "log"), free_port()

        def run(*command):
            # Into a file: the server lives on, and would hold a pipe of ours.
            with (folder / "said").open("w+") as said:
                done = subprocess.run(command, user=user, cwd=folder, stdout=said, stderr=said)
                said.seek(0)
                assert done.returncode == 0, said.read()

        make = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        run(initdb, "-D", data, *make)
        with (folder / "data" / "pg_hba.conf").open("a") as allowed:
            allowed.write(f"host all postgres {address}/24 trust\n")
        options = f"-p {port} -c listen_addresses={address} -c fsync=off"
        options += f" -c unix_socket_directories={folder} -c max_connections=200"
        run(control, "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://postgres@{address}:{port}/"
        finally:
            run(control, "-D", data, "-m", "immediate", "-w", "stop")


@contextmanager
def mlflow(database_url, artifacts):
    """→ the URL of a tracking server on a database, which hands artifacts through itself."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", database_url]
    command += ["--artifacts-destination", str(artifacts)]
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait_for(port, 180)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait_for(port, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"nothing answers on port {port}")


@contextmanager
def _folder(user):
    # Not pytest's: those may be entered by nobody else.
    with tempfile.TemporaryDirectory(prefix="service-") as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def _other_user(name):
    """Who a server runs as where we are root, which PostgreSQL refuses; None is ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(name)
    except KeyError:
        pytest.skip(f"no server is run as root, and there is no user {name}")
    return name
