"""Honest clients beside hostile ones, for some minutes: `python -m benchmarks.serving.hostile`.

Honest ones send `/predict`, small `/forecast`s and `/actuals` over kept connections. Beside them,
all the time: connections that send byte by byte, large uploads at 70 kB a second, parallel dear
forecasts, padded bodies, wrong JSON, dates far apart, wrong keys. The server is the user's, with
two processes of four threads and a key; what it uses is measured every second. The honest clients
are a process of their own, so that they do not wait for the hostile ones' Python.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from benchmarks.serving.servers import serving
from serving.schemas import example_history, example_rows

HERE = Path(__file__).parent
KEY, OTHER = "the key of the honest ones", "the key of the hostile ones"
LIMIT = 1_000  # MB that the documented container may take
PREDICT = json.dumps({"sequence": example_rows()}).encode()


class Crowd:
    """Threads that call something over and over until they are stopped."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stop = threading.Event()
        self.milliseconds: dict[str, list[float]] = {}
        self.statuses: Counter[tuple[str, str, int | str]] = Counter()
        self._threads: list[threading.Thread] = []

    def start(self, count: int, what: Callable[..., None], *arguments: Any) -> None:
        """Start threads."""
        for _ in range(count):
            thread = threading.Thread(target=what, args=(self, *arguments), daemon=True)
            thread.start()
            self._threads.append(thread)

    def join(self) -> None:
        """Stop all of them."""
        self.stop.set()
        for thread in self._threads:
            thread.join(30)


def call(crowd: Crowd, who: str, path: str, bodies: list[bytes], key: str, pause: float) -> None:
    """Post bodies in turn over one kept connection, as most clients do."""
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    connection = http.client.HTTPConnection("127.0.0.1", crowd.port, timeout=60)
    for body in itertools.cycle(bodies):
        if crowd.stop.wait(pause):
            break
        begun = time.perf_counter()
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            response.read()
            status: int | str = response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status = type(error).__name__
        crowd.milliseconds.setdefault(who, []).append(1000 * (time.perf_counter() - begun))
        crowd.statuses[who, path, status] += 1
    connection.close()


def drip(crowd: Crowd, sent: bytes, size: int, pause: float) -> None:
    """Send a request a few bytes at a time, again and again."""
    while not crowd.stop.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", crowd.port)) as client:
            client.settimeout(30)
            for start in range(0, len(sent), size):
                if crowd.stop.wait(pause):
                    return
                client.sendall(sent[start : start + size])


def series(count: int, days: int) -> bytes:
    """A forecast body of so many series and days."""
    rows = example_history(days=days)
    body = {"series": [{"series_id": f"s{i}", "history": rows} for i in range(count)]}
    return json.dumps(body).encode()


def head(length: int, key: str = "") -> bytes:
    """The head of a forecast."""
    lines = ["POST /forecast HTTP/1.1", "Host: here", "Content-Type: application/json"]
    lines += [f"X-API-Key: {key}"] if key else []
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def hostile(crowd: Crowd) -> None:
    """Start what attacks."""
    crowd.start(24, drip, head(100) + 100 * b"x", 1, 0.5)
    crowd.start(4, drip, head(40_000_000, OTHER) + bytes(40_000_000), 7_000, 0.1)
    dear = [series(36, 900)]
    crowd.start(12, call, "hostile", "/forecast", dear, OTHER, 0.0)
    crowd.start(1, call, "hostile", "/forecast", [series(1000, 500)], OTHER, 5.0)
    far = [{"date": "0001-01-01", "value": 1}, {"date": "9999-01-01", "value": 1}]
    odd = [
        b"{" * 10_000,
        PREDICT.replace(b",", b"," + 60 * b" "),
        json.dumps({"history": far}).encode(),
        b'{"history":[' + b"{}," * 50_000 + b"{}]}",
    ]
    crowd.start(4, call, "hostile", "/forecast", odd, OTHER, 0.05)
    crowd.start(4, call, "hostile", "/predict", odd, OTHER, 0.05)
    crowd.start(2, call, "hostile", "/predict", [PREDICT], "a wrong key", 0.05)


def honest(crowd: Crowd) -> None:
    """Start what the service is for."""
    crowd.start(6, call, "honest", "/predict", [PREDICT], KEY, 0.05)
    crowd.start(2, call, "honest", "/forecast", [series(1, 365)], KEY, 0.2)
    actual = {"series_id": "s0", "date": "2026-01-31", "value": 1.0}
    body = json.dumps({"actuals": [actual]}).encode()
    crowd.start(1, call, "honest", "/actuals", [body], KEY, 1.0)


def honest_apart(port: int, sender: Connection) -> None:
    """Be honest until something is received, and send back what was seen."""
    sys.setswitchinterval(0.0005)
    crowd = Crowd(port)
    honest(crowd)
    sender.recv()
    crowd.join()
    sender.send((crowd.milliseconds["honest"], crowd.statuses))


def megabytes(process: psutil.Process) -> tuple[float, set[int]]:
    """Memory of a server, what is shared counted once, and its processes."""
    all_of_it = [process, *process.children(recursive=True)]
    sizes = []
    for one in all_of_it:
        with suppress(psutil.NoSuchProcess):
            sizes.append(one.memory_full_info().pss / 1e6)
    return sum(sizes), {one.pid for one in all_of_it}


def main() -> int:
    """Run it, and print what honest clients saw. Returns 0 where none of them was failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="(default %(default)s)")
    parser.add_argument("--peace", action="store_true", help="without hostile clients, to compare")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "hostile.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        environment = {
            "API_KEYS": f"{KEY},{OTHER}",
            "DATABASE_URL": f"sqlite:///{name}/state.db",
            "TMPDIR": name,
        }
        command = ["-m", "serving.server", "--port", "PORT", "--no-worker"]
        command += ["--workers", "2", "--threads", "4"]
        log = Path(name) / "log"
        with serving(command, "/predict", PREDICT, log, environment, key=KEY) as server:
            found = attack(server.url, server.process.pid, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return int(found["honest requests failed"] > 0 or found["processes that ended"] > 0)


def attack(url: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Let the crowd loose on a server, and return what was seen."""
    crowd = Crowd(int(url.split(":")[2].split("/")[0]))
    process = psutil.Process(pid)
    idle, before = megabytes(process)
    here, there = multiprocessing.Pipe()
    apart = multiprocessing.get_context("spawn").Process(
        target=honest_apart, args=(crowd.port, there)
    )
    apart.start()
    if not options.peace:
        hostile(crowd)
    memory, pids = [], set(before)
    for _ in range(options.seconds):
        time.sleep(1)
        used, now = megabytes(process)
        memory.append(used)
        pids |= now
    here.send("enough")
    seen, of_honest = here.recv()
    apart.join()
    crowd.join()
    crowd.statuses += of_honest
    after, now = megabytes(process)
    times = sorted(seen)
    statuses: dict[str, dict[str, int]] = {}
    for (who, path, status), count in sorted(crowd.statuses.items(), key=str):
        statuses.setdefault(f"{who} {path}", {})[str(status)] = count
    failed = sum(n for (who, _, s), n in crowd.statuses.items() if who == "honest" and s != 200)
    return {
        "seconds": options.seconds,
        "load of the machine": round(os.getloadavg()[0], 1),
        "honest requests": len(times),
        "honest requests failed": failed,
        "honest p50, ms": round(statistics.median(times), 1),
        "honest p99, ms": round(times[int(0.99 * len(times))], 1),
        "answers": statuses,
        "memory idle, MB": round(idle),
        "memory at most, MB": round(max(memory)),
        "memory in the first and the last quarter (median), MB": [
            round(statistics.median(part))
            for part in (memory[: len(memory) // 4 or 1], memory[-(len(memory) // 4 or 1) :])
        ],
        "memory afterwards, MB": round(after),
        "within the container": max(memory) < LIMIT,
        "processes that ended": len(pids - now),
    }


if __name__ == "__main__":
    raise SystemExit(main())
