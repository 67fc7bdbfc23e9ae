"""Copies of models on disk, for a start without the registry, and the check before serving one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import structlog

from lib.features import FUTURE
from lib.inference import ArtifactError, ServedModel
from lib.log import summarize_error
from lib.settings import Settings

_NOTE = "last-known-good.json"
_KEPT = 5  # versions
_ARRIVING = ".arriving-"
_LEFT = 86_400.0  # seconds after which nothing is downloaded any more
_WARM = 3  # forecasts before the first that someone waits for
log = structlog.get_logger()


class Cache:
    """The folder `cache` below var_dir: `models/<version>`, and a note which was loaded last."""

    def __init__(self, settings: Settings, on_failure: Callable[[str], None]) -> None:
        self._folder = settings.var_dir / "cache"
        self._name = settings.registered_model_name
        self._on_failure = on_failure

    def last(self, cache: Path) -> int | None:
        """The last-known-good version, None where there is none. Raises ArtifactError."""
        try:
            known = json.loads((cache / _NOTE).read_text())
            return int(known["version"]) if known["name"] == self._name else None
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{_NOTE}: {summarize_error(error)}") from error

    def copy(self, cache: Path, version: int) -> Path | None:
        """Where the copy of a version is, or belongs; None while copies are of another model.

        Versions are numbers, which every registered model has.
        """
        try:
            if self.last(cache) is None and (cache / _NOTE).exists():
                return None
        except (ArtifactError, OSError):  # nobody knows whose they are
            return None
        return cache / "models" / str(version)

    @contextmanager
    def exclusive(self) -> Generator[Path]:
        """The cache folder, for one process at a time; a passing one where it cannot be written."""
        cache = self._folder
        try:
            cache.mkdir(parents=True, exist_ok=True)
            lock = (cache / "lock").open("a")
            tempfile.TemporaryFile(dir=cache).close()
        except OSError as error:
            self._on_failure("cache")
            log.error("cache cannot be written", error=str(error))
            with tempfile.TemporaryDirectory(prefix="model-") as passing:
                place = Path(passing)
                known = cache / _NOTE
                if known.is_file():  # read-only, but there
                    shutil.copytree(cache, place, dirs_exist_ok=True)
                yield place
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cache

    @contextmanager
    def arriving(self) -> Generator[Path]:
        """An empty folder of this process to download into, beside the copies if that can be."""
        beside: Path | None = self._folder / "models"
        try:
            (self._folder / "models").mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=beside).close()
        except OSError:
            beside = None  # `exclusive` says so
        with tempfile.TemporaryDirectory(
            prefix=_ARRIVING, dir=beside, ignore_cleanup_errors=True
        ) as place:
            yield Path(place)

    def keep(self, cache: Path, arrived: Path, version: int) -> bool:
        """Put a folder that arrived in the place of a version's copy. → whether it is there.

        `cache` is what `exclusive` gave, so that nobody reads or deletes the copy meanwhile.
        """
        copy = cache / "models" / str(version)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            if copy.exists():
                copy.rename(arrived.with_name("before"))
            shutil.move(arrived, copy)
        except OSError as error:
            self._on_failure("cache")
            log.error("copy of a model not kept", version=version, error=str(error))
            return False
        return True

    def remember(self, cache: Path, version: int) -> None:
        """Note a version as last-known-good; delete the oldest copies, and those of others."""
        try:
            strange = self.copy(cache, version) is None
            note = {"name": self._name, "version": version}
            new = cache / f".{_NOTE}.{os.getpid()}"
            new.write_text(json.dumps(note))
            new.replace(cache / _NOTE)
            copies = [p for p in (cache / "models").iterdir() if p.name.isdigit()]
            os.utime(cache / "models" / str(version))
            kept = 1 if strange else _KEPT
            for old in sorted(copies, key=lambda p: p.stat().st_mtime)[:-kept]:
                shutil.rmtree(old, ignore_errors=True)
            for left in (cache / "models").glob(f"{_ARRIVING}*"):  # by a process that was killed
                if left.stat().st_mtime < time.time() - _LEFT:
                    shutil.rmtree(left, ignore_errors=True)
        except OSError as error:
            self._on_failure("cache")
            log.error("last-known-good copy not kept", error=str(error))


def ready(folder: Path) -> ServedModel:
    """Load an artifact, forecast with it a few times and look at what comes out.

    Raises ArtifactError for one that must not be served.
    """
    try:
        forecaster = ServedModel.load(folder)
        check(forecaster)
    except (ArtifactError, OSError):
        raise
    except Exception as error:  # ONNX Runtime's own, and TypeErrors of an odd contract
        raise ArtifactError(f"{type(error).__name__}: {summarize_error(error)}") from error
    return forecaster


def check(forecaster: ServedModel) -> None:
    """Forecast a plain series at the shortest and the longest context. Raises ArtifactError."""
    contract = forecaster.contract
    for days in (contract.max_context, *[contract.context_length] * _WARM):
        features = np.full((2, days, len(contract.features)), 1.0)
        features[:, :, :4] = 0.5
        future = np.full((2, contract.horizon, len(FUTURE)), np.nan)
        future[:, :, :6] = 0.5
        quantiles = forecaster.predict(features[:1], future[:1])
        shape = (1, contract.horizon, len(contract.quantiles))
        if quantiles.shape != shape:
            raise ArtifactError(f"model.onnx: forecasts are {quantiles.shape}, expected {shape}")
        if not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
            raise ArtifactError("model.onnx: quantiles are not finite and rising")
        forecaster.predict(features, future)
