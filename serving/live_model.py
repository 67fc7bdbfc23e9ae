"""The model in memory: loaded, replaced when the registry's alias moves, kept when that fails.

A thread of its own asks the registry, fetches, checks, warms and then replaces one reference, so
a request sees the old model or the new one and never waits. What was loaded last stays on disk
for a start without the registry.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import structlog
from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from lib.features import FUTURE
from lib.forecaster import ArtifactError, Forecaster
from lib.registry import PRODUCTION, STAGING, Registry
from lib.settings import Settings

LAST_KNOWN_GOOD = "last-known-good"
POLL = 5.0  # seconds between two questions to the registry
_RETRY = 4.0  # at most so many seconds between two while it does not answer
_AGAIN = 60.0  # seconds after which a refused artifact is looked at again
_KEPT = 5  # versions in the cache
_WARM = 3  # forecasts before the first that someone waits for
# MLflow tries for minutes by default, and a promotion would wait for that.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

log = structlog.get_logger()


class Served(NamedTuple):
    """A model that answers, under the version and for the reason it was loaded."""

    forecaster: Forecaster
    version: int
    source: str  # production, staging or last-known-good
    loaded_at: datetime
    since: float  # of the monotonic clock


class RegistryAwayError(RuntimeError):
    """The registry does not answer, or not with anything that can be used."""


class Source(Protocol):
    """What of a registry is needed here."""

    def version_of(self, alias: str) -> int | None:
        """The version of an alias."""
        ...

    def fetch(self, which: str | int, folder: Path) -> Path:
        """Put an artifact into a folder."""
        ...


class LiveModel:
    """Holds the served model. `start` keeps it current in the background."""

    def __init__(
        self,
        settings: Settings,
        *,
        registry: Callable[[], Source] | None = None,
        on_failure: Callable[[str], None] | None = None,
        on_loaded: Callable[[int], None] | None = None,
        poll: float = POLL,
    ) -> None:
        """`on_failure(reason)` is told "artifact", "registry" or "cache"; `poll` is in seconds."""
        self.settings = settings
        self._registry = registry or (lambda: Registry(settings))
        self._source: Source | None = None
        self._on_failure = on_failure or (lambda reason: None)
        self._on_loaded = on_loaded or (lambda version: None)
        self._poll = poll
        self._served: Served | None = None
        self._refused: tuple[int, float] | None = None
        self._reachable: bool | None = None
        self._detail = "the registry has not been asked yet"
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def current(self) -> Served | None:
        """The model now, None before the first is loaded. Take it once a request."""
        return self._served

    def detail(self) -> str:
        """Why there is no model, or no newer one; empty when all is well."""
        return self._detail

    @property
    def registry_state(self) -> str:
        """For people: whether the registry answered last time."""
        words: dict[bool | None, str] = {None: "not asked yet", True: "reachable"}
        return words.get(self._reachable, "unreachable")

    def start(self) -> None:
        """Start the thread; once a process, and after forking."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model", daemon=True)
                self._thread.start()

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread is not None

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread; the model stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def refresh(self) -> None:
        """Ask the registry once, and load what its alias stands for if that is another version.

        Raises RegistryAwayError where it does not answer. An artifact that must not be served is
        refused, logged and counted, and nothing changes.
        """
        try:
            if self._source is None:
                for name, value in _IMPATIENT.items():
                    os.environ.setdefault(name, value)
                self._source = self._registry()
            version, source = self._source.version_of(PRODUCTION), PRODUCTION
            if version is None:
                version, source = self._source.version_of(STAGING), STAGING
        except Exception as error:  # MLflow, SQLAlchemy and requests raise what they like
            raise self._away(error) from error
        self._reachable = True
        if version is None:
            self._detail = (
                f"{self.settings.registered_model_name} has no version in the registry; "
                "`make train` registers one"
            )
            return
        now = self._served
        if now is not None and now.version == version:
            if now.source != source:
                self._served = now._replace(source=source)
            self._detail = ""
            return
        if self._refused and self._refused[0] == version and time.monotonic() < self._refused[1]:
            return
        self._load(version, source)

    def _load(self, version: int, source: str) -> None:
        registry = self._source
        if registry is None:
            return
        try:
            with self._exclusive() as cache:
                folder = registry.fetch(version, cache / "models" / str(version))
                forecaster = ready(folder)
                self._remember(cache, version)
        except ArtifactError as error:
            self._refused = (version, time.monotonic() + _AGAIN)
            self._detail = f"version {version} is refused: {error}"
            self._on_failure("artifact")
            log.error("model refused", version=version, source=source, error=str(error))
            return
        except Exception as error:
            raise self._away(error) from error
        self._swap(forecaster, version, source)

    def _swap(self, forecaster: Forecaster, version: int, source: str) -> None:
        before = self._served
        self._served = Served(forecaster, version, source, datetime.now(UTC), time.monotonic())
        self._detail, self._refused = "", None
        self._on_loaded(version)
        log.info("model loaded", version=version, source=source, before=before and before.version)

    def restore(self) -> None:
        """Serve the last-known-good copy, if there is one and no model is served."""
        if self._served is not None:
            return
        try:
            with self._exclusive() as cache:
                text = (cache / f"{LAST_KNOWN_GOOD}.json").read_text()
                known = json.loads(text)
                if known.get("name") != self.settings.registered_model_name:
                    return
                version = int(known["version"])
                forecaster = ready(cache / "models" / str(version))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._on_failure("cache")
            log.error("last-known-good copy refused", error=str(error))
            return
        detail = self._detail
        self._swap(forecaster, version, LAST_KNOWN_GOOD)
        self._detail = detail

    def _run(self) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(RegistryAwayError),
            wait=wait_random_exponential(multiplier=0.5, max=_RETRY),
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
        )
        while not self._stop.is_set():
            try:
                retrying(self._attempt)
            except Exception:
                if self._stop.is_set():
                    return
                log.exception("model thread")
            self._stop.wait(self._poll * random.uniform(0.8, 1.0))

    def _attempt(self) -> None:
        try:
            self.refresh()
        finally:
            self.restore()

    def _away(self, error: Exception) -> RegistryAwayError:
        if self._reachable is not False:
            log.warning("registry does not answer", error=_brief(error))
        self._reachable = False
        self._detail = "the registry does not answer"
        self._on_failure("registry")
        return RegistryAwayError(_brief(error))

    @contextmanager
    def _exclusive(self) -> Generator[Path]:
        """The cache folder, for one process at a time; a passing one where it cannot be written."""
        cache = self.settings.var_dir / "cache"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            lock = (cache / "lock").open("a")
            tempfile.TemporaryFile(dir=cache).close()
        except OSError as error:
            self._on_failure("cache")
            log.error("cache cannot be written", error=str(error))
            with tempfile.TemporaryDirectory(prefix="model-") as passing:
                place = Path(passing)
                known = cache / f"{LAST_KNOWN_GOOD}.json"
                if known.is_file():  # read-only, but there
                    shutil.copytree(cache, place, dirs_exist_ok=True)
                yield place
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cache

    def _remember(self, cache: Path, version: int) -> None:
        """Note a version as last-known-good and delete the oldest copies."""
        try:
            note = {"name": self.settings.registered_model_name, "version": version}
            new = cache / f".{LAST_KNOWN_GOOD}.{os.getpid()}"
            new.write_text(json.dumps(note))
            new.replace(cache / f"{LAST_KNOWN_GOOD}.json")
            copies = [p for p in (cache / "models").iterdir() if p.name.isdigit()]
            os.utime(cache / "models" / str(version))
            for old in sorted(copies, key=lambda p: p.stat().st_mtime)[:-_KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            self._on_failure("cache")
            log.error("last-known-good copy not kept", error=str(error))


def ready(folder: Path) -> Forecaster:
    """Load an artifact, forecast with it a few times and look at what comes out.

    Raises ArtifactError for one that must not be served.
    """
    try:
        forecaster = Forecaster.load(folder)
        check(forecaster)
    except (ArtifactError, OSError):
        raise
    except Exception as error:  # ONNX Runtime's own, and TypeErrors of an odd contract
        raise ArtifactError(f"{type(error).__name__}: {_brief(error)}") from error
    return forecaster


def check(forecaster: Forecaster) -> None:
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


def card(served: Served, name: str) -> dict[str, Any]:
    """What people may know of a model, for JSON (`schemas.ModelCard`)."""
    contract = served.forecaster.contract
    return {
        "name": name,
        "model_version": served.version,
        "source": served.source,
        "loaded_at": served.loaded_at.isoformat(timespec="seconds"),
        "horizon": contract.horizon,
        "context_length": contract.context_length,
        "max_context": contract.max_context,
        "quantiles": list(contract.quantiles),
        "features": list(contract.features),
        "future": list(contract.future),
        "training_span": list(contract.training_span),
        "metrics": contract.metrics,
        "scaling": contract.scaling,
        "fingerprint": contract.fingerprint,
        "format_version": contract.format_version,
        "settings": contract.settings,
    }


def _brief(error: BaseException) -> str:
    """Enough of an error to know it by; addresses of stores may hold passwords."""
    text = str(error).splitlines()[0] if str(error) else ""
    if "://" in text:
        text = text[: text.index("://")] + "://…"
    return f"{type(error).__name__}: {text}"[:300]
