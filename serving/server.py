"""Serve the API with gunicorn: `python -m serving.server --help`.

One process a core, each with a few threads that wait for clients. Each process loads the model
itself, because the threads of ONNX Runtime do not survive a fork. A worker for explanations runs
beside them. Linux and macOS.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import structlog

from lib.log import LossyStream, configure_logging
from lib.settings import Settings, SettingsError, get_settings, usable_cores
from serving.http import (
    LOCAL_HOSTS,
    Keys,
    check_bind,
    check_key_lengths,
    is_loopback,
    limit_heaps,
)
from serving.log_writer import log_in_background
from serving.supervised_process import SupervisedProcess

THREADS = 4  # a process; one of them computes, others read and write
_MODEL_WAIT = 20.0  # seconds that a process waits for its model before it accepts requests
_METRICS, _LOCK = "production-lstm-metrics-", "lock"
# Seconds after which a thread lets another one go on. A usual request takes several turns: beside
# one that is dear, and beside the thread that stores, it would wait 5 ms for each.
_TURN = 0.0005
_OBJECTS = 20_000  # new ones after which Python looks for those that nothing refers to
_HEADER = 8190  # bytes of one header, and of the first line
log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped. Returns 0 then, 1 for settings or an address that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to bind, or unix:PATH (default %(default)s)"
    )
    # With no process or no thread it would listen and never answer.
    count, port = _number(1, 1000), _number(0, 65535)
    parser.add_argument("--port", type=port, default=8000, help="(default %(default)s)")
    parser.add_argument(
        "--workers", type=count, default=usable_cores(), help="processes (default: one a core)"
    )
    parser.add_argument(
        "--threads", type=count, default=THREADS, help="of a process (default %(default)s)"
    )
    parser.add_argument(
        "--no-worker", action="store_true", help="do not start a worker for explanations"
    )
    parser.add_argument(
        "--open-to-anyone", action="store_true", help="serve other machines without API_KEYS"
    )
    options = parser.parse_args(arguments)
    try:
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        check_bind(options.host, settings, anyone=options.open_to_anyone)
        check_key_lengths(settings.api_keys)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # Read when numpy, ONNX Runtime and prometheus_client are imported.
    os.environ["OMP_NUM_THREADS"] = "1"
    limit_heaps()
    with metrics_folder() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        with nullcontext() if options.no_worker else SupervisedProcess().running():
            _serve(settings, options)
    return 0


@contextmanager
def metrics_folder() -> Generator[str]:
    """Make a folder for the metrics of this server, so that counts begin at 0, and delete it.

    It is in memory where there is /dev/shm (Linux): metrics are mapped files, and a process that
    writes to one dies where the disk is full. A server that is killed leaves its folder behind; the
    next one deletes it.
    """
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    _delete_abandoned(parent)
    # No TemporaryDirectory: a forked web process that ends would delete it, and with its folder
    # gone none can be started again.
    folder = tempfile.mkdtemp(prefix=_METRICS, dir=parent)
    owner = os.getpid()
    # Locked until the last process of this server has ended, however that happens.
    with (Path(folder) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            if os.getpid() == owner:
                shutil.rmtree(folder, ignore_errors=True)


def _delete_abandoned(parent: Path) -> None:
    """Delete the folders for metrics of servers that were killed."""
    for path in parent.glob(f"{_METRICS}*/{_LOCK}"):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # it is in use, or another user's
            continue


class ReadyProcesses:
    """Which processes of a server have a model: an empty file each, in the folder they share."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def enter(self, loaded: threading.Event) -> None:
        """Count this process in once it has a model."""
        loaded.wait()
        (self._folder / f"ready-{os.getpid()}").touch()

    def leave(self, pid: int) -> None:
        """Count a process out that has ended."""
        (self._folder / f"ready-{pid}").unlink(missing_ok=True)

    def any(self) -> bool:
        """Tell whether any process has a model."""
        return next(self._folder.glob("ready-*"), None) is not None


def _serve(settings: Settings, options: argparse.Namespace) -> None:
    from gunicorn.app.base import BaseApplication

    def load_model(worker: Any) -> None:
        from serving.state import state_of

        log_in_background(LossyStream(sys.stderr))  # here: a thread does not survive a fork
        app = worker.app.wsgi()
        state = state_of(app)
        worker.batches = app.wsgi_app
        worker.keys = Keys(settings.api_keys)
        state.retention.start()
        model = state.model
        worker.is_untrained = model.is_untrained
        model.start()
        # The processes share a socket: one without a model would refuse what others can answer.
        model.wait(_MODEL_WAIT)
        ready = ReadyProcesses(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        threading.Thread(target=ready.enter, args=(model.loaded,), daemon=True).start()
        while not model.loaded.wait(1.0) and not worker.is_stopping and ready.any():
            worker.notify()
        settle()

    def forget_metrics(pid: int) -> None:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)
        ReadyProcesses(os.environ["PROMETHEUS_MULTIPROC_DIR"]).leave(pid)

    def stop_parts(worker: Any) -> None:
        from serving.state import state_of

        state = state_of(worker.app.wsgi())
        state.retention.stop()
        state.model.stop(1)
        state.recorder.close()  # what waits of the log is written at the end of the process

    class Server(BaseApplication):
        def load_config(self) -> None:
            config = {
                "bind": _address(options.host, options.port),
                "workers": options.workers,
                "threads": options.threads,
                "worker_class": "serving.http.gunicorn_worker.FairWorker",
                "preload_app": False,
                "keepalive": 5,
                "timeout": 60,
                "graceful_timeout": 30,
                "limit_request_line": _HEADER,
                "limit_request_field_size": _HEADER,
                "limit_request_fields": 64,
                # No proxy may move the paths: the API is not served below another path.
                "forwarder_headers": "",
                "control_socket_disable": True,
                "loglevel": "warning",
                "proc_name": "production-lstm",
                "post_worker_init": load_model,
                "worker_exit": lambda server, worker: stop_parts(worker),
                "child_exit": lambda server, worker: forget_metrics(worker.pid),
            }
            cfg: Any = self.cfg
            for name, value in config.items():
                cfg.set(name, value)

        def load(self) -> Any:
            from serving import create_app

            # Without keys, a page of another site that has its name point here must not get in.
            local = is_loopback(options.host) and not options.host.startswith("unix:")
            guarded = local and not settings.api_keys and not options.open_to_anyone
            hosts = LOCAL_HOSTS if guarded else None
            return create_app(settings, hosts=hosts, needs_worker=options.no_worker)

    url = f"http://{options.host}:{options.port}" if ":" not in options.host else None
    log.info("serving", url=url, host=options.host, port=options.port, workers=options.workers)
    Server().run()


def settle() -> None:
    """Prepare this process for requests, now that all is loaded."""
    # What is loaded stays: looking through all of it again and again took a sixth of the time of a
    # request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)
    sys.setswitchinterval(_TURN)


def _number(low: int, high: int) -> Callable[[str], int]:
    """Make the parser of an option that is a whole number within limits."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected {low} to {high}, got {text!r}")
        return int(text)

    return parse


def _address(host: str, port: int) -> str:
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    raise SystemExit(main())
