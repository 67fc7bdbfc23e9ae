"""Requirements of an image, with the pins of environment.yml: `python deploy/pins.py serving`.

Runs where nothing is installed yet, so the standard library has to do.
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
}
WORKER = SERVING | {"matplotlib", "shap"}
# The client half of MLflow, at the same version: the server, its pages and pyarrow stay away.
INSTEAD = {"mlflow": "mlflow-skinny"}


def pins(text: str) -> dict[str, tuple[str, str]]:
    """Name → (version, the comment it stands under) of the pip section of an environment.yml."""
    found, section = {}, ""
    for line in text.splitlines():
        if comment := re.fullmatch(r"      # (.+)", line):
            section = comment[1]
        elif pin := re.fullmatch(r"      - ([^=\s]+)==(\S+)", line):
            found[pin[1]] = (pin[2], section)
    return found


def requirements(text: str, image: str) -> list[str]:
    """Lines of a requirements file for `serving`, `worker` or `train`.

    Raises ValueError for a name that environment.yml does not pin, or another image.
    """
    known = pins(text)
    if image == "train":
        return sorted(f"{k}=={v}" for k, (v, section) in known.items() if section != "checks")
    if image not in ("serving", "worker"):
        raise ValueError(f"image: expected serving, worker or train, got {image!r}")
    names = SERVING if image == "serving" else WORKER
    if unknown := names - known.keys():
        raise ValueError(f"environment.yml pins no {', '.join(sorted(unknown))}; add them there")
    return sorted(f"{INSTEAD.get(name, name)}=={known[name][0]}" for name in names)


if __name__ == "__main__":
    source = Path(__file__).resolve().parent.parent / "environment.yml"
    sys.stdout.write("\n".join(requirements(source.read_text(), sys.argv[1])) + "\n")
