"""A real browser and a real server for the page: used by its tests and by `make screenshots`."""

import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from werkzeug.serving import make_server

from lib.settings import ROOT
from tests.ports import free_port

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
PATIENCE = 90  # seconds: the machine may have much else to do
QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch(playwright):
    """Debian's Chromium, headless; it may run as root, in a container without a sandbox."""
    return playwright.chromium.launch(
        executable_path=BROWSER, chromium_sandbox=False, args=list(QUIET)
    )


@contextmanager
def gunicorn(log, **environment):
    """`python -m serving.server` with its worker, ready: the page's address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "serving.server", f"--port={port}", "--workers=1"]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=output
        )
        try:
            end = time.monotonic() + PATIENCE
            while not _answers(f"{address}/health/ready"):
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the server is not ready: {log.read_text()[-1000:]}")
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextmanager
def threaded(app):
    """An application served by a thread of this process: the page's address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
