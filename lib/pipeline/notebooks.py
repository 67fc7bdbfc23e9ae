"""Finds the notebooks of a folder and reads their code cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TRAINING_STAGES = "0[1-4]_*.ipynb"
MONITORING_STAGE = "05_*.ipynb"
PLANNING_STAGE = "06_*.ipynb"


class ParameterError(ValueError):
    """A parameter is unknown, ill-typed or badly declared; the message lists every fault."""


def find_notebooks(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the notebooks of `folder` that match `pattern`: stage name to path, in order.

    Raises:
        ParameterError: none matches.
    """
    paths = {path.stem: path for path in sorted(folder.resolve().glob(pattern))}
    if not paths:
        raise ParameterError(f"no notebook {pattern} in {folder}")
    return paths


def read_notebook(path: Path) -> list[dict[str, Any]]:
    """Return the code cells of the notebook at `path` as `{"source": str, "tags": [str]}`.

    Raises:
        ParameterError: the file does not exist or is not a notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            {"source": "".join(cell["source"]), "tags": cell["metadata"].get("tags", [])}
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except FileNotFoundError:
        raise ParameterError(f"no notebook {path}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{path}: expected a Jupyter notebook (format 4), got {error}"
        ) from None
