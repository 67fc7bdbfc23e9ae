"""Serve the API with gunicorn: `python -m serving.server --help`.

A worker process a core, each with a few threads that wait for clients; the model is loaded in the
workers, because what ONNX Runtime starts does not survive a fork.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import structlog

from lib.log import configure_logging
from lib.settings import ROOT, Settings, SettingsError, get_settings
from serving.http.security import check_bind

THREADS = 4  # a worker; one of them computes, others read and write
_PATIENCE = 20.0  # seconds that a process waits for its model before it answers without
_PAUSES = (1.0, 60.0)  # seconds before a worker that ended is started again, first and longest
_HEADER = 8190  # bytes of one header, and of the first line
log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. → exit code: 0 stopped, 1 settings or address cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address (default %(default)s)")
    # With no process or no thread it would listen and never answer.
    some, port = _number(1, 1000), _number(0, 65535)
    parser.add_argument("--port", type=port, default=8000, help="(default %(default)s)")
    parser.add_argument("--workers", type=some, default=_cores(), help="(default: one a core)")
    parser.add_argument("--threads", type=some, default=THREADS, help="(default %(default)s)")
    parser.add_argument("--no-worker", action="store_true", help="start no worker for explanations")
    parser.add_argument(
        "--open-to-anyone", action="store_true", help="serve others without API_KEYS"
    )
    asked = parser.parse_args(arguments)
    try:
        settings = get_settings()
        check_bind(asked.host, settings, anyone=asked.open_to_anyone)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    configure_logging(settings.log_level)
    # Read when numpy, ONNX Runtime and prometheus_client are imported.
    os.environ["OMP_NUM_THREADS"] = "1"
    with folder_of_metrics() as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        beside = nullcontext() if asked.no_worker else SupervisedProcess().running()
        with beside:
            _serve(settings, asked)
    return 0


@contextmanager
def folder_of_metrics() -> Generator[str]:
    """A folder of this server's own, so that counts begin at 0; gone when the server is.

    Not beside the databases: a page that a full disk cannot hold would be the end of a process
    that writes to it.
    """
    memory = Path("/dev/shm")
    # No TemporaryDirectory: a forked web process that ends would delete it, and with its folder
    # gone none can be started again.
    folder = tempfile.mkdtemp(prefix="metrics-", dir=memory if os.access(memory, os.W_OK) else None)
    owner = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)


class SupervisedProcess:
    """Keeps a worker for explanations running beside the server."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.command = command or [
            sys.executable,
            "-m",
            "serving.worker",
            f"--parent={os.getpid()}",
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Generator[SupervisedProcess]:
        """Start it, and again whenever it ends, until the block does."""
        self.process = self._start()
        keeper = threading.Thread(target=self._keep, name="worker keeper", daemon=True)
        keeper.start()
        owner = os.getpid()
        try:
            yield self
        finally:
            if os.getpid() == owner:  # a forked web process leaves by here too
                self._stop.set()
                keeper.join(5)
                self._end()

    def _keep(self) -> None:
        pause = _PAUSES[0]
        while self.process is not None:
            began = time.monotonic()
            while self.process.poll() is None:
                if self._stop.wait(0.5):
                    return
            if time.monotonic() - began > 60:
                pause = _PAUSES[0]
            log.error("the worker ended", code=self.process.returncode, starts_again_in=pause)
            if self._stop.wait(pause):
                return
            pause = min(2 * pause, _PAUSES[1])
            self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A group of its own: Ctrl-C is the server's, which then ends the worker by a signal that
        # it knows. It would be caught in its imports, and started again while all stops.
        return subprocess.Popen(self.command, cwd=ROOT, process_group=0)

    def _end(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _serve(settings: Settings, asked: argparse.Namespace) -> None:
    from gunicorn.app.base import BaseApplication

    def loaded_after_fork(worker: Any) -> None:
        from serving.state import state_of

        model = state_of(worker.app.wsgi()).model
        model.start()
        # The processes share a door: one without a model would refuse what others could answer.
        model.wait(_PATIENCE)

    def polite(worker: Any, request: Any) -> None:
        # Asked when the answer is sent: a client that is told "close" by a process which stops
        # sends its next request to another, instead of into a door that shuts.
        closes = request.should_close
        request.should_close = lambda: not worker.alive or closes()

    def ended(pid: int) -> None:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)

    def stopping(worker: Any) -> None:
        from serving.state import state_of

        state = state_of(worker.app.wsgi())
        state.model.stop(1)
        state.recorder.close()

    class Server(BaseApplication):
        def load_config(self) -> None:
            host = f"[{asked.host}]" if ":" in asked.host else asked.host
            options = {
                "bind": host if host.startswith("unix") else f"{host}:{asked.port}",
                "workers": asked.workers,
                "threads": asked.threads,
                "worker_class": "serving.http.gunicorn_worker.FairWorker",
                "preload_app": False,
                "keepalive": 5,
                "timeout": 60,
                "graceful_timeout": 30,
                "limit_request_line": _HEADER,
                "limit_request_field_size": _HEADER,
                "limit_request_fields": 64,
                # A proxy's headers that move the paths: nothing here stands under another.
                "forwarder_headers": "",
                "control_socket_disable": True,
                "loglevel": "warning",
                "proc_name": "production-lstm",
                "pre_request": polite,
                "post_worker_init": loaded_after_fork,
                "worker_exit": lambda server, worker: stopping(worker),
                "child_exit": lambda server, worker: ended(worker.pid),
            }
            cfg: Any = self.cfg
            for name, value in options.items():
                cfg.set(name, value)

        def load(self) -> Any:
            from serving import create_app

            return create_app(settings)

    log.info("serving", host=asked.host, port=asked.port, workers=asked.workers)
    Server().run()


def _number(low: int, high: int) -> Callable[[str], int]:
    """What reads an option: a whole number within limits."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected {low} to {high}, got {text!r}")
        return int(text)

    return read


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    raise SystemExit(main())
