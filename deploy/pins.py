"""Requirements by hash, from requirements.lock: `python deploy/pins.py serving`.

Prints what an image or the environment installs: its packages, and all that these need, each with
the hashes of its files. Runs where nothing is installed yet, so the standard library has to do.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# What `serving` imports, but for the worker; a test holds this against the sources.
SERVING = {
    "SQLAlchemy",
    "alembic",
    "apprise",
    "cronsim",
    "filelock",
    "flask",
    "flask-openapi3",
    "flask-openapi3-swagger",
    "gunicorn",
    "holidays",
    "lazy-loader",
    "mlflow",
    "msgspec",
    "numpy",
    "onnxruntime",
    "orjson",
    "pandas",
    "prometheus-client",
    "psycopg[binary]",
    "pydantic",
    "pydantic-settings",
    "structlog",
    "tenacity",
    "threadpoolctl",
}
WORKER = SERVING | {"matplotlib", "shap"}
# The client half of MLflow, at the same version: the server, its pages and pyarrow stay away.
INSTEAD = {"mlflow": "mlflow-skinny"}
# Needed on Windows by what the images install: the lock says who needs a package, not where.
ELSEWHERE = {"tzdata"}
# What PyPI's torch for Linux needs, and PyTorch's own CPU build does not.
CUDA = re.compile(r"cuda-|nvidia-|triton$")
# The CPU build of torch for Python 3.11 on Linux, x86_64, which PyPI does not have.
CPU = (
    "torch==2.13.0",
    "sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
)
TARGETS = ("serving", "worker", "train", "all", "cpu", "cuda")
Locked = dict[str, tuple[list[str], set[str]]]  # name: its lines, and what needs it


def pins(text: str) -> dict[str, tuple[str, str]]:
    """Name → (version, the comment it stands under) of the pip section of an environment.yml."""
    found, section = {}, ""
    for line in text.splitlines():
        if comment := re.fullmatch(r"      # (.+)", line):
            section = comment[1]
        elif pin := re.fullmatch(r"      - ([^=\s]+)==(\S+)", line):
            found[pin[1]] = (pin[2], section)
    return found


def locked(text: str) -> Locked:
    """Return each package of a lock: its lines, and the packages that need it.

    Raises:
        ValueError: a line is none of a lock.
    """
    found: Locked = {}
    lines: list[str] = []
    needed_by: set[str] = set()
    for line in text.splitlines():
        if pin := re.match(r"([\w.-]+)(\[.+\])?==([^\s;]+)", line):
            # A package may stand there twice, for different systems.
            lines, needed_by = found.setdefault(normal(pin[1]), ([], set()))
            lines.append(line)
        elif line.startswith("    --hash="):
            lines.append(line)
        elif name := re.fullmatch(r"    #(?: via|  ) ?(.*)", line):
            needed_by.add(normal(name[1]))
        elif line.strip():
            raise ValueError(f"requirements.lock: expected a pin, a hash or who needs it: {line!r}")
    return found


def requirements(environment: str, lock: str, target: str) -> list[str]:
    """Lines of a requirements file, with hashes.

    Args:
        environment: text of environment.yml.
        lock: text of requirements.lock.
        target: an image (serving, worker, train), or `all` packages; `cpu`, PyTorch's CPU build
            alone; `cuda`, what another one needs, which is in neither `train` nor `all`.

    Raises:
        ValueError: another target, a name that environment.yml does not pin, or a pin that the
            lock does not have.
    """
    if target not in TARGETS:
        raise ValueError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
    known, found = pins(environment), locked(lock)
    for name, (version, _) in known.items():
        entry = found.get(normal(name), ([""], set()))[0][0]
        if f"=={version} " not in entry:
            raise ValueError(f"requirements.lock: expected {name}=={version}; run make lock")
    if target == "cpu":
        return [f"{CPU[0]} \\", f"    --hash={CPU[1]}"]
    if target == "cuda":
        return _lines(found, {name for name in found if CUDA.match(name)})
    if target in ("serving", "worker"):
        names = SERVING if target == "serving" else WORKER
        if unknown := names - known.keys():
            raise ValueError(f"environment.yml pins no {', '.join(sorted(unknown))}; add them")
    else:
        names = {n for n, (_, section) in known.items() if target == "all" or section != "checks"}
    if target in ("serving", "worker"):
        starts = {normal(INSTEAD.get(name, name)) for name in names}
        return _lines(found, _closure(found, starts) - ELSEWHERE)
    reached = _closure(found, {normal(name) for name in names})
    return _lines(found, {name for name in reached if not CUDA.match(name)})


def normal(name: str) -> str:
    """Return a name as indexes spell it, without extras."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def _closure(found: Locked, names: set[str]) -> set[str]:
    """Return packages and all that they need."""
    reached = set(names)
    while more := {n for n, (_, by) in found.items() if by & reached} - reached:
        reached |= more
    return reached


def _lines(found: Locked, names: set[str]) -> list[str]:
    return [line for name in sorted(names) for line in found[name][0]]


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    texts = [(root / name).read_text() for name in ("environment.yml", "requirements.lock")]
    sys.stdout.write("\n".join(requirements(*texts, sys.argv[1])) + "\n")
