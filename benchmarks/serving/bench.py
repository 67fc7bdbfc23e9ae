"""Our API against `mlflow models serve` and FastAPI + torch, by wrk, on one model and one day.

Every server is started as its users would start it on this machine. Rounds alternate
(A B C A B C), medians over the rounds are compared. `python -m benchmarks.serving.bench --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
from tqdm import tqdm

from benchmarks.serving.breakdown import breakdown
from benchmarks.serving.servers import Server, serving
from lib.features import FEATURES
from lib.inference import ServedModel, example
from lib.registry import Registry
from lib.settings import get_settings

HERE = Path(__file__).parent
OURS = "ours"
MLFLOW = "mlflow models serve"
PLAIN = "FastAPI + torch (plain LSTM)"
EAGER = "FastAPI + torch (our network)"
CORES = str(len(os.sched_getaffinity(0)))
Scores = dict[str, dict[int, list[dict[str, float]]]]  # server → connections → rounds


def main() -> int:
    """Run all comparisons and write results.json. → 0, or 1 where something is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each load (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.stderr.write("wrk is not installed; it makes the load: apt-get install wrk\n")
        return 1
    settings = get_settings()
    registry = Registry(settings)
    version = registry.version_of("production") or registry.version_of("staging")
    if version is None:
        sys.stderr.write("no model is registered: run make train first\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = ServedModel.load(registry.fetch(version, folder / "model"))
        bodies = write_bodies(model, folder)
        with started(folder, version, settings.mlflow_tracking_uri, bodies) as servers:
            scores = compare(servers, bodies, asked)
            results = [*rows_of(scores), *start_and_memory(servers)]
        results += while_explaining(folder, bodies["ours"], asked)
        parts = breakdown(model, bodies["ours"].read_bytes(), folder)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (asked.out / "breakdown.json").write_text(json.dumps(parts, indent=1) + "\n")
    for row in results:
        sys.stdout.write(
            f"{row['name']:42} ours {row['ours']:>10.3f}  {row['peer_name']:30} "
            f"{row['peer']:>10.3f} {row['unit']:6} ratio {row['ratio']:.2f}\n"
        )
    sys.stdout.write(json.dumps(parts, indent=1) + "\n")
    return 0


def write_bodies(model: ServedModel, folder: Path) -> dict[str, Path]:
    """The last window of the background as each server wants it."""
    features, _ = model.background()
    window = features[-1, -model.contract.context_length :]
    # missing numbers would be refused by the peers, ours takes them as null
    window = np.where(np.isnan(window), np.nanmean(window, axis=0), window)
    rows = [dict(zip(FEATURES, row, strict=True)) for row in window.tolist()]
    row = example(model.contract).iloc[0]
    value = window[:, FEATURES.index("lag_1")].tolist()
    columns = {
        "start": row["start"],
        "value": value,
        "series_id": "a",
        "fator_externo": window[:, FEATURES.index("fator_externo")].tolist(),
        "evento_especial": window[:, FEATURES.index("evento_especial")].tolist(),
    }
    bodies = {"ours": {"sequence": rows}, "mlflow": {"dataframe_records": [columns]}}
    paths = {name: folder / f"{name}.json" for name in bodies}
    for name, path in paths.items():
        path.write_text(json.dumps(bodies[name]))
    return paths


@contextmanager
def started(
    folder: Path, version: int, store: str, bodies: dict[str, Path]
) -> Iterator[dict[str, tuple[Server, Path]]]:
    """All servers, each stopped at the end. An idle one costs the others next to nothing."""
    uri = f"models:/{get_settings().registered_model_name}/{version}"
    mlflow = ["-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local"]
    mlflow += ["--host", "127.0.0.1", "--port", "PORT", "--workers", CORES]
    peer = ["-m", "uvicorn", "benchmarks.serving.fastapi_app:app", "--port", "PORT"]
    peer += ["--workers", CORES, "--no-access-log"]
    at = {"PEER_MODEL": str(folder / "model"), "MLFLOW_TRACKING_URI": store}
    ours = ["-m", "serving.server", "--port", "PORT", "--no-worker"]
    wanted = {
        OURS: (ours, "/predict", bodies["ours"], own_state(folder)),
        MLFLOW: (mlflow, "/invocations", bodies["mlflow"], at),
        PLAIN: (peer, "/predict", bodies["ours"], at | {"PEER_NETWORK": "plain"}),
        EAGER: (peer, "/predict", bodies["ours"], at | {"PEER_NETWORK": "ours"}),
    }
    with ExitStack() as stack:
        servers = {}
        for i, (name, (command, path, body, env)) in enumerate(wanted.items()):
            log = folder / f"server-{i}.log"
            run = serving(command, path, body.read_bytes(), log, env)
            servers[name] = (stack.enter_context(run), body)
        yield servers


def own_state(folder: Path) -> dict[str, str]:
    """What our server writes goes to a place that is thrown away; its model is the user's."""
    return {
        "DATABASE_URL": f"sqlite:///{folder}/state.db",
        "EXPLANATION_QUEUE_MAX": "100000",
    }


def compare(
    servers: dict[str, tuple[Server, Path]], bodies: dict[str, Path], asked: argparse.Namespace
) -> Scores:
    """Load each server at each number of connections, round by round."""
    scores: Scores = {name: {c: [] for c in asked.connections} for name in servers}
    turns = [(c, name) for _ in range(asked.rounds) for c in asked.connections for name in servers]
    for server, body in servers.values():  # warm
        load(server.url, body, 8, 2)
    for connections, name in tqdm(turns, desc="loads", unit="load"):
        server, body = servers[name]
        scores[name][connections].append(load(server.url, body, connections, asked.seconds))
    return scores


def load(url: str, body: Path, connections: int, seconds: int) -> dict[str, float]:
    """Post one body over and over with wrk. Raises RuntimeError if a request failed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    done = subprocess.run(
        [*command, "-s", str(HERE / "post.lua"), url],
        env=os.environ | {"BENCH_BODY": str(body)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.split("RESULT ")[1])
    if found["failed"]:
        raise RuntimeError(f"{url}: {found['failed']} of {found['requests']} requests failed")
    return found | {"rps": found["requests"] / found["seconds"]}


def rows_of(scores: Scores) -> list[dict[str, Any]]:
    """Medians over the rounds, ours against each peer."""
    rows = []
    for peer in [name for name in scores if name != OURS]:
        for connections, mine in scores[OURS].items():
            theirs = scores[peer][connections]
            for key, unit in {"rps": "1/s", "p50_ms": "ms", "p99_ms": "ms"}.items():
                ours, other = (statistics.median(r[key] for r in x) for x in (mine, theirs))
                label = f"predict, {connections} connections, {key.removesuffix('_ms')}"
                rows.append(row_of(label, ours, peer, other, unit))
    return rows


def start_and_memory(servers: dict[str, tuple[Server, Path]]) -> list[dict[str, Any]]:
    """Seconds to the first forecast (each started alone), and memory after the load."""
    mine = servers[OURS][0]
    rows = []
    for peer in [name for name in servers if name != OURS]:
        its = servers[peer][0]
        rows.append(row_of("cold start", mine.cold_start, peer, its.cold_start, "s"))
        rows.append(row_of("memory", mine.megabytes(), peer, its.megabytes(), "MB"))
    return rows


def while_explaining(folder: Path, body: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """`/predict` at 4 connections with the explanation worker idle (peer) and busy (ours)."""
    idle, busy = [], []
    command = ["-m", "serving.server", "--port", "PORT"]
    log = folder / "server-worker.log"
    with serving(command, "/predict", body.read_bytes(), log, own_state(folder)) as server:
        load(server.url, body, 4, 2)
        for _ in tqdm(range(asked.rounds), desc="idle and busy", unit="round"):
            idle.append(load(server.url, body, 4, asked.seconds))
            with explaining(server.url.removesuffix("/predict"), json.loads(body.read_text())):
                busy.append(load(server.url, body, 4, asked.seconds))
    return [
        row_of(
            f"predict while explaining, 4 connections, {key.removesuffix('_ms')}",
            statistics.median(r[key] for r in busy),
            "ours, worker idle",
            statistics.median(r[key] for r in idle),
            unit,
        )
        for key, unit in {"rps": "1/s", "p50_ms": "ms", "p99_ms": "ms"}.items()
    ]


@contextmanager
def explaining(url: str, body: dict[str, Any]) -> Iterator[None]:
    """Keep the worker busy: a new window to explain whenever fewer than two wait."""
    stop = threading.Event()
    waiting: list[str] = []

    def feed() -> None:
        number = time.time() % 1000
        while not stop.is_set():
            waiting[:] = [at for at in waiting if is_pending(at)]
            if len(waiting) < 2:
                number += 1e-3  # another body, or it would be the same job
                body["sequence"][0]["lag_1"] += number * 1e-6
                answer = requests.post(f"{url}/request-explanation", json=body, timeout=10)
                answer.raise_for_status()
                waiting.append(f"{url}/explanations/{answer.json()['explanation_id']}")
            stop.wait(0.2)

    def is_pending(at: str) -> bool:
        return requests.get(at, timeout=10).json()["status"] in ("queued", "running")

    thread = threading.Thread(target=feed)
    thread.start()
    time.sleep(2)
    try:
        yield
    finally:
        stop.set()
        thread.join()
        while any(is_pending(at) for at in waiting):
            time.sleep(0.2)


def row_of(name: str, ours: float, peer_name: str, peer: float, unit: str) -> dict[str, Any]:
    """One comparison. A ratio above 1 is ours being better, whatever the unit."""
    ratio = ours / peer if unit == "1/s" else peer / ours
    values = {"ours": round(ours, 4), "peer": round(peer, 4), "ratio": round(ratio, 4)}
    return {"name": name, "peer_name": peer_name, "unit": unit} | values


if __name__ == "__main__":
    sys.exit(main())
