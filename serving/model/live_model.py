"""The model in memory: loaded, replaced when the registry's alias moves, kept when that fails.

A thread of its own asks the registry, fetches, checks, warms and then replaces one reference, so
a request sees the old model or the new one and never waits. What was loaded last stays on disk
for a start without the registry.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from lib.inference import ArtifactError, ServedModel
from lib.registry import PRODUCTION, STAGING, ModelCache, Registry, load_checked
from lib.settings import Settings
from serving.http.errors import brief, frames
from serving.model.batching import Batcher

LAST_KNOWN_GOOD = "last-known-good"
POLL = 5.0  # seconds between two questions to the registry
_RETRY = 4.0  # at most so many seconds between two while it does not answer
_HURRY = 3.0  # after which the last-known-good model answers, however slow the registry is
_AGAIN = 60.0  # seconds after which a refused artifact is looked at again
# MLflow tries for minutes by default, and a promotion would wait for that.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
log = structlog.get_logger()


class Served(NamedTuple):
    """A model that answers, under the version and for the reason it was loaded."""

    forecaster: ServedModel
    version: int
    source: str  # production, staging or last-known-good
    loaded_at: datetime
    since: float  # of the monotonic clock
    batcher: Batcher


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
        self._tried = threading.Event()
        self._starting = threading.Lock()
        self._swapping = threading.Lock()
        self._cache = ModelCache(settings, self._on_failure)
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
                hurry = threading.Timer(_HURRY, self.restore)
                hurry.daemon = True
                hurry.start()

    def wait(self, seconds: float) -> None:
        """Wait until there is a model, or it is known that there is none now."""
        self._tried.wait(seconds)

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
        if now is not None and now.version == version and now.source != LAST_KNOWN_GOOD:
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
            # Without the lock: a slow registry must not keep `restore` from what is there.
            with self._cache.arriving() as place:
                folder = registry.fetch(version, place / str(version))
                forecaster = load_checked(folder)
                with self._cache.exclusive() as cache:
                    if self._cache.keep(cache, folder, version):
                        self._cache.remember(cache, version)
        except ArtifactError as error:
            self._refused = (version, time.monotonic() + _AGAIN)
            self._detail = f"version {version} is refused: {brief(error)}"
            self._on_failure("artifact")
            log.error("model refused", version=version, source=source, error=brief(error))
            return
        except Exception as error:
            raise self._away(error) from error
        with self._swapping:
            self._swap(forecaster, version, source)
            self._detail, self._refused = "", None

    def _swap(self, forecaster: ServedModel, version: int, source: str) -> None:
        before = self._served
        now, batcher = datetime.now(UTC), Batcher(forecaster)
        self._served = Served(forecaster, version, source, now, time.monotonic(), batcher)
        self._tried.set()
        self._on_loaded(version)
        log.info("model loaded", version=version, source=source, before=before and before.version)

    def restore(self) -> None:
        """Serve the last-known-good copy, if there is one and no model is served."""
        if self._served is not None:
            return
        try:
            with self._cache.exclusive() as cache:
                last = self._cache.last_known_good(cache)
                forecaster = load_checked(last[1]) if last else None
        except (OSError, ArtifactError) as error:
            self._on_failure("cache")
            log.error("last-known-good copy refused", error=str(error))
            return
        with self._swapping:
            if last and forecaster and self._served is None:
                self._swap(forecaster, last[0], LAST_KNOWN_GOOD)

    def _run(self) -> None:
        jitter = random.Random(os.getpid())  # the processes do not ask all at once
        retrying = Retrying(
            retry=retry_if_exception_type(RegistryAwayError),
            wait=wait_random_exponential(multiplier=0.5, max=_RETRY),
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
        )
        while not self._stop.is_set():
            try:
                retrying(self._attempt)
            except Exception as error:  # noqa: BLE001 - nothing may end the thread
                if self._stop.is_set():
                    return
                log.error("model thread", error=brief(error), where=frames(error))
            self._stop.wait(self._poll * jitter.uniform(0.8, 1.0))

    def _attempt(self) -> None:
        try:
            self.refresh()
        finally:
            self.restore()
            self._tried.set()

    def _away(self, error: Exception) -> RegistryAwayError:
        if self._reachable is not False:
            log.warning("registry does not answer", error=brief(error))
        self._reachable = False
        self._detail = "the registry does not answer"
        self._on_failure("registry")
        return RegistryAwayError(brief(error))


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
