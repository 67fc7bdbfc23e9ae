"""The largest usual `/forecast`, by this checkout and by another one: alternated, on one machine.

Each needs a model that it trained itself. Without --beside this checkout alone is measured.
From the root of this checkout, after `make install`:

  make train PROFILE=ci                     # a model of this checkout, in its VAR_DIR

  git worktree add /tmp/before 3c5ef31      # the other checkout; this environment runs it
  (cd /tmp/before && VAR_DIR=/tmp/before-var PYTHONPATH=/tmp/before OMP_NUM_THREADS=1 \\
    "$OLDPWD/.venv/bin/python" -m lib.pipeline train --profile ci)

  .venv/bin/python -m benchmarks.serving.large \\
    --beside /tmp/before --beside-registry /tmp/before-var

Besides VAR_DIR set none of MLFLOW_TRACKING_URI, MLFLOW_ARTIFACT_ROOT, OPTUNA_STORAGE and
DATABASE_URL while the other one trains: its server looks for the model below that folder. The two
trainings take a minute or two each. Commits that have lib/cli train by `-m lib.cli train`.

With --totals the same call is made with totals too, in turn:

  .venv/bin/python -m benchmarks.serving.large --series 100 --totals 7 28 --out totals.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import requests

from benchmarks.serving.servers import Server, serving
from lib.settings import ROOT, get_settings

HERE = Path(__file__).parent
COMMAND = ["--port", "PORT", "--no-worker"]


def body_of(series: int, days: int, totals: list[str]) -> bytes:
    """A body of so many series of the same days, with a week and noise; and of totals, if any."""
    rng = np.random.default_rng(1)
    dates = (np.datetime64("2024-01-01") + np.arange(days)).astype(str).tolist()
    week = 100 + 10 * np.sin(2 * np.pi * np.arange(days) / 7)
    values = (week + 5 * rng.normal(size=(series, days))).round(2).tolist()
    rows = [[{"date": d, "value": v} for d, v in zip(dates, row, strict=True)] for row in values]
    asked: dict[str, Any] = {
        "series": [{"series_id": f"s{i}", "history": days} for i, days in enumerate(rows)]
    }
    return json.dumps(asked | ({"totals": totals} if totals else {})).encode()


def seconds(server: Server, body: bytes) -> float:
    """Seconds until the whole answer of one call is here."""
    begun = time.perf_counter()
    answer = requests.post(
        server.url, data=body, headers={"Content-Type": "application/json"}, timeout=120
    )
    answer.raise_for_status()
    return time.perf_counter() - begun


def environment(root: Path, var: Path | None, folder: Path) -> dict[str, str]:
    """Where a server finds its code and its model; what it writes is thrown away."""
    found = {
        "PYTHONPATH": str(root),
        "DATABASE_URL": f"sqlite:///{folder}/state.db",
        "RATE_LIMIT_ROWS": "0",
        "OMP_NUM_THREADS": "1",
    }
    if var is None:
        return found
    places = {
        "VAR_DIR": str(var),
        "MLFLOW_TRACKING_URI": f"sqlite:///{var}/mlflow.db",
        "MLFLOW_ARTIFACT_ROOT": str(var / "artifacts"),
    }
    return found | places


def main() -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=1000, help="(default %(default)s)")
    parser.add_argument("--days", type=int, default=365, help="(default %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="(default %(default)s)")
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument(
        "--beside-registry", type=Path, help="the VAR_DIR it trained in (default: the user's)"
    )
    parser.add_argument("--totals", nargs="+", default=[], help="days to sum, such as 7 8-14")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "large.json")
    options = parser.parse_args()
    roots = {"this": (ROOT, None)}
    if options.beside:
        var = options.beside_registry or get_settings().var_dir
        roots["beside"] = (options.beside, var)
    body = body_of(options.series, options.days, [])
    with ExitStack() as stack:
        servers = {}
        for name, (root, var) in roots.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            is_new = (root / "serving" / "server.py").exists()
            run = serving(
                ["-m", "serving.server" if is_new else "serving.run", *COMMAND],
                "/forecast",
                body_of(1, options.days, []),
                folder / "log",
                environment(root, var, folder),
                root=root,
            )
            servers[name] = stack.enter_context(run)
        idle = {name: round(server.megabytes()) for name, server in servers.items()}
        calls = {name: (server, body) for name, server in servers.items()}
        if options.totals:
            with_totals = body_of(options.series, options.days, options.totals)
            calls["with totals"] = (servers["this"], with_totals)
        for call in calls.values():  # warm
            seconds(*call)
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(options.rounds):
            for name, call in calls.items():
                taken[name].append(round(seconds(*call), 3))
                time.sleep(0.5)  # what it stores afterwards
        found: dict[str, Any] = {
            "series": options.series,
            "days": options.days,
            "megabytes of the body": round(len(body) / 1e6, 1),
            "load of the machine": round(os.getloadavg()[0], 1),
        }
        for name, server in servers.items():
            found[name] = {
                "seconds": taken[name],
                "median": round(statistics.median(taken[name]), 3),
                "memory idle, MB": idle[name],
                "memory afterwards, MB": round(server.megabytes()),
            }
    if options.totals:
        found["with totals"] = {
            "seconds": taken["with totals"],
            "median": round(statistics.median(taken["with totals"]), 3),
        }
    if options.beside:
        found["ratio of the medians"] = round(
            found["this"]["median"] / found["beside"]["median"], 3
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    options.out.write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
