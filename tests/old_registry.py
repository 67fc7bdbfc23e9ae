"""An installation of the commit before the packages: `make_old_registry.py` says what is in it."""

import json
import sqlite3
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from lib.data.panel import Panel
from lib.settings import Settings
from tests.panels import DATA

ARCHIVE = DATA / "registry_before_packages.tar.xz"


@dataclass(frozen=True)
class Old:
    """The folder it is in, its settings, and what its release forecast and answered."""

    root: Path
    settings: Settings
    expected: dict[str, Any]

    @cached_property
    def panel(self) -> Panel:
        """The series that both versions were trained on, gated on, and served for."""
        kept = self.expected["panel"]
        values, factor, event = (
            np.array(kept[name], dtype=np.float64) for name in ("values", "factor", "event")
        )
        dates = np.datetime64(kept["first"], "D") + np.arange(len(values))
        return Panel(tuple(kept["ids"]), np.array([0, len(values)]), dates, values, factor, event)

    def assert_same(self, result: Any, kept: Any) -> None:
        """Fail where numbers are not those kept: to the bit on the kind of machine they are of.

        Another processor or another ONNX Runtime adds in another order. Fields may have been added
        since.
        """
        result = without_new_fields(result, kept)
        shapes, numbers = zip(_taken_apart(result), _taken_apart(kept), strict=True)
        assert shapes[0] == shapes[1]
        if self.expected["machine"] == machine():
            np.testing.assert_array_equal(*numbers)
        else:
            size = np.abs(numbers[1]).max(initial=0.0)
            np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-5 * size)


def without_new_fields(result: Any, kept: Any) -> Any:
    """Return a result with the fields that the kept one has, of objects at any depth."""
    if isinstance(kept, dict) and isinstance(result, dict):
        return {k: without_new_fields(v, kept[k]) for k, v in result.items() if k in kept}
    if isinstance(kept, list) and isinstance(result, list) and len(kept) == len(result):
        return [without_new_fields(r, k) for r, k in zip(result, kept, strict=True)]
    return result


def unpack(folder: Path) -> Old:
    """Unpack it into a folder, as an installation of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    places = {  # in this order
        "file://@REGISTRY@": folder.as_uri(),
        "@REGISTRY@": str(folder),
        "@CODE@": str(folder / "checkout-that-is-gone"),
    }
    for path in folder.rglob("MLmodel"):
        text = path.read_text()
        for name, place in places.items():
            text = text.replace(name, place)
        path.write_text(text)
    for path in folder.glob("*.db"):
        _rename(path, places)
    settings = Settings(
        _env_file=None,
        var_dir=folder,
        mlflow_tracking_uri=f"sqlite:///{folder}/mlflow.db",
        mlflow_artifact_root=str(folder / "mlartifacts"),
        optuna_storage=f"sqlite:///{folder}/optuna.db",
        database_url=f"sqlite:///{folder}/state.db",
        queue_url=f"sqlite:///{folder}/queue.db",
    )
    return Old(folder, settings, json.loads((folder / "expected.json").read_text()))


def machine() -> dict[str, Any]:
    """What the last bits of a forecast depend on."""
    return {
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "cpu": np.show_config(mode="dicts")["SIMD Extensions"],
    }


def _rename(database: Path, places: dict[str, str]) -> None:
    with sqlite3.connect(database) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                for name, place in places.items():
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?1, ?2) '
                        f'WHERE typeof("{column}") = \'text\' AND instr("{column}", ?1)',
                        (name, place),
                    )
    connection.close()


def _taken_apart(document: Any) -> tuple[Any, np.ndarray]:
    """A document with None for each float, and the floats in order."""
    numbers: list[float] = []

    def walk(value: Any) -> Any:
        if isinstance(value, float):
            numbers.append(value)
            return None
        if isinstance(value, dict):
            return {key: walk(value[key]) for key in sorted(value)}
        if isinstance(value, (list, tuple)):
            return [walk(item) for item in value]
        return value

    shape = walk(document.tolist() if isinstance(document, np.ndarray) else document)
    return shape, np.array(numbers)
