"""The model in memory: loaded, replaced when the registry's alias moves, kept when that fails.

A background thread polls the registry, fetches, checks and warms a new version and then replaces
one reference, so a request sees the old model or the new one and never waits. The version that was
loaded last stays on disk, for a start without the registry.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from lib.inference import PRETRAINED_ARTIFACT, PRETRAINED_VERSION, ArtifactError, ServedModel
from lib.log import list_frames, summarize_error
from lib.registry import ModelCache, Registry, load_checked
from lib.settings import Settings
from serving.model.batching import Batcher
from serving.model.source import Source, advise_promotion, find_baselines, find_version

LAST_KNOWN_GOOD = "last-known-good"
PRETRAINED = "pretrained"
POLL = 5.0  # seconds between two looks at the registry
_RETRY = 4.0  # seconds between two at most while it does not answer
_FALLBACK = 3.0  # seconds after which the last-known-good model answers if none else does
_REFUSED = 60.0  # seconds before a refused artifact is tried again
# MLflow retries for minutes by default, and a promotion would wait for that.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_FULL = (errno.ENOSPC, errno.EDQUOT)
log = structlog.get_logger()


class Served(NamedTuple):
    """A model that answers requests, its version, and the alias it was loaded by."""

    forecaster: ServedModel
    version: int
    source: str  # production, staging, last-known-good or pretrained
    loaded_at: datetime
    since: float  # seconds of the monotonic clock
    batcher: Batcher
    baselines: dict[str, dict[str, float]]  # scores of simple forecasts in its backtest


class RegistryAwayError(RuntimeError):
    """The registry does not answer, or its answer cannot be used."""


class LiveModel:
    """The served model of a process. `start` keeps it current in the background."""

    def __init__(
        self,
        settings: Settings,
        *,
        registry: Callable[[], Source] | None = None,
        on_failure: Callable[[str], None] | None = None,
        on_loaded: Callable[[int], None] | None = None,
        poll: float = POLL,
    ) -> None:
        """Prepare without loading anything.

        Args:
            settings: of this installation.
            registry: makes the registry; by default the one of the settings.
            on_failure: called with "artifact", "registry" or "cache" when that cannot be used.
            on_loaded: called with the version when a model is loaded.
            poll: seconds between two looks at the registry.
        """
        self.settings = settings
        self._registry = registry or (lambda: Registry(settings))
        self._source: Source | None = None
        self._on_failure = on_failure or (lambda reason: None)
        self._on_loaded = on_loaded or (lambda version: None)
        self._poll = poll
        self._served: Served | None = None
        self._run_id = ""  # that registered it: a registry made anew has the same numbers
        self._refused: tuple[int, float, str] | None = None  # version, until when, why
        self._reachable: bool | None = None
        self._is_vacant = False  # the registry has answered that no version is to be served
        self._detail = "the registry has not been contacted yet"
        self._stop = threading.Event()
        self._attempted = threading.Event()
        self.loaded = threading.Event()  # set once there is a model
        self._starting = threading.Lock()
        self._swapping = threading.Lock()
        self._cache = ModelCache(settings, self._on_failure)
        self._thread: threading.Thread | None = None

    def current(self) -> Served | None:
        """Return the served model, None before the first is loaded. Call it once a request."""
        return self._served

    def detail(self) -> str:
        """Return why there is no model, or no newer one; empty when all is well."""
        return self._detail

    def is_behind(self) -> bool:
        """Tell whether the registry does not answer, or has no version that could be loaded."""
        return self._reachable is not None and bool(self._detail)

    def is_untrained(self) -> bool:
        """Tell whether the pretrained network answers, which each call calibrates."""
        return self._served is not None and self._served.source == PRETRAINED

    @property
    def registry_state(self) -> str:
        """Whether the registry answered last time, in words."""
        if self._reachable is None:
            return "not asked yet"
        return "reachable" if self._reachable else "unreachable"

    def start(self) -> None:
        """Start the background thread. Does nothing when it runs; call it after forking."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model", daemon=True)
                self._thread.start()
                fallback = threading.Timer(_FALLBACK, self.restore)
                fallback.daemon = True
                fallback.start()

    def wait(self, seconds: float) -> None:
        """Wait until there is a model, or loading one was tried."""
        self._attempted.wait(seconds)

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread is not None

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the background thread; the model stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def refresh(self) -> None:
        """Look at the registry once, and load the version of its alias if that has changed.

        An artifact that must not be served is refused, logged and counted; the old model stays.

        Raises:
            RegistryAwayError: the registry does not answer.
        """
        try:
            if self._source is None:
                for name, value in _IMPATIENT.items():
                    os.environ.setdefault(name, value)
                self._source = self._registry()
            version, source = find_version(self._source)
            if version is None:
                self._reachable = self._is_vacant = True
                name = self.settings.registered_model_name
                self._detail = advise_promotion(name, self._source.versions())
                return
            run = self._source.run_of(version)
        except Exception as error:  # MLflow, SQLAlchemy and requests raise what they like
            raise self._away(error) from error
        self._reachable, self._is_vacant = True, False
        current = self._served
        is_same = current and current.version == version and run == self._run_id
        if current and is_same and current.source != LAST_KNOWN_GOOD:
            if current.source != source:
                self._served = current._replace(source=source)
            self._detail = ""
            return
        if self._refused and self._refused[0] == version and time.monotonic() < self._refused[1]:
            self._detail = self._refused[2]  # the registry may have been away meanwhile
            return
        self._load(version, source, run)

    def _load(self, version: int, source: str, run: str) -> None:
        registry = self._source
        if registry is None:
            return
        try:
            # Without the lock: a slow registry must not keep `restore` from the copies.
            with self._cache.arriving() as place:
                folder = registry.fetch(version, place / str(version))
                forecaster = load_checked(folder)
                with self._cache.exclusive() as cache:
                    if self._cache.keep(cache, folder, version):
                        self._cache.remember(cache, version)
        except ArtifactError as error:
            self._detail = f"version {version} is refused: {summarize_error(error)}"
            self._refused = (version, time.monotonic() + _REFUSED, self._detail)
            self._on_failure("artifact")
            log.error("model refused", version=version, source=source, error=summarize_error(error))
            return
        except Exception as error:
            raise self._away(error) from error
        baselines = find_baselines(registry, version)
        with self._swapping:
            self._swap(forecaster, version, source, baselines)
            self._detail, self._refused, self._run_id = "", None, run

    def _swap(
        self,
        forecaster: ServedModel,
        version: int,
        source: str,
        baselines: dict[str, dict[str, float]],
    ) -> None:
        before = self._served
        now, batcher = datetime.now(UTC), Batcher(forecaster)
        self._served = Served(
            forecaster, version, source, now, time.monotonic(), batcher, baselines
        )
        self._attempted.set()
        self.loaded.set()
        self._on_loaded(version)
        log.info("model loaded", version=version, source=source, before=before and before.version)

    def restore(self) -> None:
        """Serve the last-known-good copy, if there is one and no model is served."""
        if self._served is not None:
            return
        try:
            with self._cache.exclusive() as cache:
                last = self._find_copy(cache)
                forecaster = load_checked(last[1]) if last else None
        except (OSError, ArtifactError) as error:
            self._on_failure("cache")
            log.error("last-known-good copy refused", error=str(error))
            return
        with self._swapping:
            if last and forecaster and self._served is None:
                self._swap(forecaster, last[0], LAST_KNOWN_GOOD, {})

    def _find_copy(self, cache: Path) -> tuple[int, Path] | None:
        """Return the last-known-good copy; where what names it is damaged, the one used last."""
        try:
            return self._cache.last_known_good(cache)
        except ArtifactError as error:
            if (last := self._cache.last_used(cache)) is None:
                raise
            log.warning("note of the last model refused", error=str(error), version=last[0])
            return last

    def _run(self) -> None:
        jitter = random.Random(os.getpid())  # so that the processes do not poll in step
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
                log.error(
                    "model not refreshed", error=summarize_error(error), where=list_frames(error)
                )
            self._stop.wait(self._poll * jitter.uniform(0.8, 1.0))

    def _attempt(self) -> None:
        try:
            self.refresh()
        finally:
            self.restore()
            self.serve_pretrained()
            self._attempted.set()

    def serve_pretrained(self) -> None:
        """Serve the pretrained network where nothing has been trained and no model is served.

        A registry that does not answer says nothing of what was trained: then nothing is served.
        """
        if self._served is not None or not self._is_vacant or not self.settings.serve_pretrained:
            return
        try:
            forecaster = load_checked(PRETRAINED_ARTIFACT)
        except (OSError, ArtifactError) as error:
            self._on_failure("artifact")
            log.error("pretrained network refused", error=str(error))
            return
        with self._swapping:
            if self._served is None:
                self._swap(forecaster, PRETRAINED_VERSION, PRETRAINED, {})

    def _away(self, error: Exception) -> RegistryAwayError:
        if _is_full_disk(error):
            self._detail = "the disk of VAR_DIR is full: a new version cannot be copied to it"
            self._on_failure("cache")
            log.error("disk full", folder=str(self.settings.var_dir), error=summarize_error(error))
            return RegistryAwayError(summarize_error(error))
        if self._reachable is not False:
            log.warning("registry does not answer", error=summarize_error(error))
        self._reachable = False
        self._detail = "the registry does not answer"
        self._on_failure("registry")
        return RegistryAwayError(summarize_error(error))


def _is_full_disk(error: BaseException | None) -> bool:
    """Tell whether a full disk is the reason of an error; MLflow wraps some in its own."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
