"""Keep copies of fetched models on disk, a bounded number, for the processes of one machine.

The folder `cache` below `var_dir` holds `models/<version>` and a note: which version was served
last, so that the service starts without the registry, and whose versions they are. For each copy
`notes/<version>.json` says whose it is, with the checksum of its contract. All processes that need
a version (service, explanation worker, monitoring) share these copies.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from filelock import FileLock

from lib.files import file_hash, text_hash
from lib.inference import CONTRACT, ArtifactError, verify_folder
from lib.settings import Settings

MAX_COPIES = 5  # versions on disk
_NOTE = "last-known-good.json"
_ARRIVING = ".arriving-"
_ABANDONED = 86_400.0  # seconds after which a download has ended, one way or the other
_FORMER = "monitoring/model-*"  # copies of earlier releases, which never deleted them
log = structlog.get_logger()

# Put the artifact of a version into a folder, and return the folder (`Registry.fetch`).
Fetch = Callable[[int, Path], Path]


class ModelCache:
    """Copies of the versions of one registered model.

    Versions are numbers, which every registered model of every registry has. So copies belong to
    the model that the note names; while it names another, they are not used, and `remember` alone
    replaces them.

    Args:
        settings: name the folder, the model and the registry.
        on_failure: called with "cache" where a copy could not be kept.
    """

    def __init__(
        self, settings: Settings, on_failure: Callable[[str], None] = lambda reason: None
    ) -> None:
        self._folder = settings.var_dir / "cache"
        self._former = settings.var_dir
        self._name = settings.registered_model_name
        self._registry = text_hash(settings.mlflow_tracking_uri)[:12]
        self._on_failure = on_failure

    @contextmanager
    def version(self, version: int, fetch: Fetch) -> Generator[Path]:
        """Yield a folder with the artifact of a version, fetched where there is no whole copy.

        The folder belongs to the caller and is deleted after the block. Errors of `fetch` are
        raised.
        """
        with self.arriving() as place:
            folder = place / str(version)
            if not self._copy_to(folder, version):
                # Without the lock: a process that starts meanwhile needs the copies.
                fetch(version, folder)
                shutil.copytree(folder, place / "copy")
                with self.exclusive() as cache:
                    if self._is_ours(cache):
                        self.keep(cache, place / "copy", version)
            yield folder

    @contextmanager
    def exclusive(self) -> Generator[Path]:
        """Yield the cache folder, locked; a temporary one where it cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self._folder).close()
            lock = FileLock(self._folder / "lock").acquire()
        except OSError as error:
            self._on_failure("cache")
            log.error("cache cannot be written", error=str(error))
            with tempfile.TemporaryDirectory(prefix="model-") as name:
                if (self._folder / _NOTE).is_file():  # readable all the same
                    shutil.copytree(self._folder, name, dirs_exist_ok=True)
                yield Path(name)
            return
        with lock:
            yield self._folder

    @contextmanager
    def arriving(self) -> Generator[Path]:
        """Yield an empty folder to download into, on the disk of the copies where possible."""
        beside: Path | None = self._folder / "models"
        try:
            (self._folder / "models").mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=beside).close()
        except OSError:
            beside = None  # `exclusive` reports it
        with tempfile.TemporaryDirectory(
            prefix=_ARRIVING, dir=beside, ignore_cleanup_errors=True
        ) as name:
            yield Path(name)

    def last_known_good(self, cache: Path) -> tuple[int, Path] | None:
        """Return the version that was served last and its folder, None where there is none.

        Args:
            cache: the folder that `exclusive` yields.

        Raises:
            ArtifactError: the note cannot be read, or the contract of the copy was altered.
        """
        note = _read_note(cache)
        if note is None or note["name"] != self._name or note["version"] is None:
            return None
        copy = cache / "models" / str(note["version"])
        _check_contract(copy)
        return note["version"], copy

    def keep(self, cache: Path, arrived: Path, version: int) -> bool:
        """Move a fetched folder to the place of its copy; return whether that worked.

        Args:
            cache: the folder that `exclusive` yields.
            arrived: a folder below the one that `arriving` yields.
            version: its number.
        """
        copy = cache / "models" / str(version)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            if copy.exists():
                copy.rename(arrived.with_name("before"))
            shutil.move(arrived, copy)
            self._describe(copy)
            os.utime(copy)
            if not (cache / _NOTE).exists():
                self._write_note(cache, None)
            self._prune(cache)
        except OSError as error:
            self._on_failure("cache")
            log.error("copy of a model not kept", version=version, error=str(error))
            return False
        return True

    def remember(self, cache: Path, version: int) -> None:
        """Note a kept version as served last, and delete the copies of another model."""
        try:
            foreign = not self._is_ours(cache)
            self._write_note(cache, version)
            if foreign:
                for copy in _copies(cache):
                    if copy.name != str(version):
                        shutil.rmtree(copy, ignore_errors=True)
            os.utime(cache / "models" / str(version))
            self._prune(cache)
        except OSError as error:
            self._on_failure("cache")
            log.error("last-known-good copy not kept", error=str(error))

    def _copy_to(self, folder: Path, version: int) -> bool:
        """Copy a cached version into a folder; return whether there was a whole one."""
        with self.exclusive() as cache:
            copy = cache / "models" / str(version)
            if not (copy.is_dir() and self._is_ours(cache)):
                return False
            try:
                _check_contract(copy)
                verify_folder(copy)
                shutil.copytree(copy, folder)
                os.utime(copy)
            except (ArtifactError, OSError) as error:
                log.warning("copy of a model refused", version=version, error=str(error))
                shutil.rmtree(folder, ignore_errors=True)
                return False
            return True

    def _describe(self, copy: Path) -> None:
        """Note of a copy whose it is, and the checksum of its contract."""
        facts = {"name": self._name, "registry": self._registry}
        contract = copy / CONTRACT
        if contract.is_file():
            facts["contract"] = file_hash(contract)
        note = _note_of(copy)
        note.parent.mkdir(exist_ok=True)
        note.write_text(json.dumps(facts))

    def last_used(self, cache: Path) -> tuple[int, Path] | None:
        """Return the copy that was used last, of those noted to be of this model and not altered.

        Args:
            cache: the folder that `exclusive` yields.
        """
        ours = []
        for copy in _copies(cache) if (cache / "models").is_dir() else ():
            facts = _facts_of(copy)
            if facts.get("name") == self._name and facts.get("registry") == self._registry:
                with suppress(ArtifactError):
                    _check_contract(copy)
                    ours.append((copy.stat().st_mtime, int(copy.name), copy))
        return max(ours)[1:] if ours else None

    def _is_ours(self, cache: Path) -> bool:
        try:
            note = _read_note(cache)
        except ArtifactError:  # whose they are is unknown
            return False
        if note is None:
            return True
        # Earlier releases noted no registry.
        return note["name"] == self._name and note["registry"] in (None, self._registry)

    def _write_note(self, cache: Path, version: int | None) -> None:
        note = {"name": self._name, "version": version, "registry": self._registry}
        part = cache / f".{_NOTE}.{os.getpid()}"
        part.write_text(json.dumps(note))
        part.replace(cache / _NOTE)

    def _prune(self, cache: Path) -> None:
        """Delete what was used longest ago, but for the version that was served last."""
        try:
            note = _read_note(cache)
        except ArtifactError:  # `remember` writes it anew
            note = None
        served = str(note["version"]) if note else ""
        copies = sorted(
            _copies(cache), key=lambda copy: (copy.name == served, copy.stat().st_mtime)
        )
        for copy in copies[:-MAX_COPIES]:
            shutil.rmtree(copy, ignore_errors=True)
        for note in (cache / "notes").glob("*.json"):
            if not (cache / "models" / note.stem).exists():
                note.unlink(missing_ok=True)
        for left in (cache / "models").glob(f"{_ARRIVING}*"):  # by a process that was killed
            if left.stat().st_mtime < time.time() - _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
        for former in self._former.glob(_FORMER):
            shutil.rmtree(former, ignore_errors=True)


def _copies(cache: Path) -> list[Path]:
    return [path for path in (cache / "models").iterdir() if path.name.isdigit()]


def _note_of(copy: Path) -> Path:
    return copy.parents[1] / "notes" / f"{copy.name}.json"


def _facts_of(copy: Path) -> dict:
    """Return what is noted of a copy; nothing for one of earlier releases."""
    try:
        facts = json.loads(_note_of(copy).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _check_contract(copy: Path) -> None:
    """Raise ArtifactError for a contract that is not the one that was fetched."""
    expected, contract = _facts_of(copy).get("contract"), copy / CONTRACT
    if expected is not None and contract.is_file() and file_hash(contract) != expected:
        raise ArtifactError(f"{CONTRACT}: differs from the one that was fetched")


def _read_note(cache: Path) -> dict | None:
    """Return name, version and registry of the note, None where there is none."""
    try:
        note = json.loads((cache / _NOTE).read_text())
        version = None if note["version"] is None else int(note["version"])
        return {"name": note["name"], "version": version, "registry": note.get("registry")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{_NOTE}: expected the name and version of a model ({type(error).__name__})"
        ) from error
