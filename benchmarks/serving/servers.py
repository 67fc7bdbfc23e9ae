"""Start a server as its users would, wait for its first answer, weigh it, stop it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from lib.settings import ROOT

PATIENCE = 120.0  # seconds until a server must have answered


@dataclass(frozen=True)
class Server:
    """A server that answers. `cold_start` is seconds from the command to the first forecast."""

    url: str
    process: subprocess.Popen
    cold_start: float

    def megabytes(self) -> float:
        """Memory of its own of all its processes (what is shared is counted once)."""
        root = psutil.Process(self.process.pid)
        return sum(p.memory_full_info().pss for p in [root, *root.children(recursive=True)]) / 1e6


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


@contextmanager
def serving(
    arguments: list[str],
    path: str,
    body: bytes,
    log: Path,
    env: Mapping[str, str],
    *,
    key: str = "",
    root: Path = ROOT,
) -> Iterator[Server]:
    """Run `python -m …` of a checkout with PORT in the arguments replaced, until the block ends."""
    port = free_port()
    url = f"http://127.0.0.1:{port}{path}"
    command = [sys.executable, *(a.replace("PORT", str(port)) for a in arguments)]
    # MLflow starts uvicorn by its name
    path_of = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    begun = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=os.environ | path_of | env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        while not _answers(url, body, key):
            if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                raise RuntimeError(f"no answer from {command}:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield Server(url, process, time.monotonic() - begun)
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            for one in psutil.wait_procs([psutil.Process(process.pid), *children], timeout=20)[1]:
                one.kill()


def _answers(url: str, body: bytes, key: str) -> bool:
    try:
        kind = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
        return requests.post(url, data=body, headers=kind, timeout=60).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False
