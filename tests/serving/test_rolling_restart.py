"""A rolling restart behind the balancer of `deploy/`: kept connections lose no request."""

import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager

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
    lines = (ROOT / "deploy" / "compose" / "haproxy.cfg").read_text().splitlines()
    (template,) = [line for line in lines if "server-template" in line]
    options = template.split("api:8000 ")[1].split(" resolvers")[0]
    servers = [f"  server s{port} 127.0.0.1:{port} {options}" for port in ports]
    port = free_port()
    text = "\n".join(lines).replace(template, "\n".join(servers))
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("bind :8000", f"bind 127.0.0.1:{port}") + "\n")
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
