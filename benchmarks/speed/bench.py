"""Speed against peers on this machine: paired runs, medians, ratios (above 1: ours is better).

`python -m benchmarks.speed.bench --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.speed import data, explaining, training, whole
from benchmarks.speed.paired import Row
from lib.registry import Registry
from lib.settings import get_settings

HERE = Path(__file__).parent


def main() -> int:
    """Run the chosen cases and merge their rows into results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="of each paired comparison (default %(default)s)")
    add("--model", type=Path, help="artifact folder (default: the production model)")
    add("--peers", type=Path, default=HERE.parent / "accuracy" / ".venv", help="neuralforecast's")
    add("--out", type=Path, default=HERE / "results")
    cases: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
        "training": lambda options: training.throughput_rows(options.rounds, options.peers),
        "features": lambda options: data.features_rows(options.rounds),
        "synthesis": lambda options: data.synthesis_rows(options.rounds),
        "growth": lambda options: data.growth_rows(),
        "batch": lambda options: data.batch_rows(options.rounds, options.model),
        "explanation": lambda options: explaining.explanation_rows(options.rounds, options.model),
        "tuning": lambda options: training.tuning_rows(),
        "papermill": lambda options: whole.overhead_rows(),
    }
    add("--cases", nargs="+", default=list(cases), choices=list(cases))
    options = parser.parse_args()
    if options.model is None and {"batch", "explanation"} & set(options.cases):
        registry = Registry()
        version = registry.version_of("production")
        if version is None:
            sys.stderr.write("no production model: run make train first, or give --model\n")
            return 1
        options.model = registry.fetch(version, get_settings().var_dir / "cache" / "bench-speed")
    path = options.out / "results.json"
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.cases:
        rows = cases[name](options)
        before = json.loads(path.read_text()) if path.exists() else []
        kept = [r for r in before if not any(_same(r, new) for new in rows)]
        path.write_text(json.dumps([*kept, *rows], indent=1) + "\n")
        for r in rows:
            sys.stdout.write(
                f"{r['name']:48} {r['ours']:>12.3f} {r['unit']:9} {r['peer_name']}: "
                f"{r['peer']:.3f}, ratio {r['ratio']:.2f}\n"
            )
            sys.stdout.flush()
    return 0


def _same(one: Row, other: Row) -> bool:
    return (one["name"], one["peer_name"]) == (other["name"], other["peer_name"])


if __name__ == "__main__":
    raise SystemExit(main())
