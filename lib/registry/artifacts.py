"""Move artifact folders into the registry's files and out of them, verified both ways."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lib.files import file_hash
from lib.inference import CONTRACT, FILES, OPTIONAL_FILES, ArtifactError, Contract, verify_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def artifact_hashes(folder: Path) -> dict[str, str | None]:
    """Return the SHA-256 of each artifact file: as the contract has it, and of the contract."""
    contract = Contract.read(folder)
    hashes = {name: contract.sha256.get(name) for name in contract.files}
    return {**hashes, CONTRACT: file_hash(folder / CONTRACT)}


@contextmanager
def verified_copy(folder: Path, hashes: dict[str, str | None]) -> Generator[Path]:
    """Yield a copy of an artifact's files, so that what is verified is what is logged.

    Raises:
        ArtifactError: a file is missing or its hash differs.
    """
    with tempfile.TemporaryDirectory(prefix="register-") as name:
        copy = Path(name) / "model"
        copy.mkdir()
        for file, expected in hashes.items():
            if (folder / file).is_file():
                shutil.copy(folder / file, copy / file)
            verify_file(copy / file, expected)
        yield copy


def download(
    client: MlflowClient, version: ModelVersion, folder: Path, *, tracking_uri: str
) -> Path:
    """Download the artifact of a version into `folder`, which is replaced, and return it.

    Raises:
        ArtifactError: a file is missing or differs from the registered one; `folder` is left as
            it was.
    """
    from mlflow.artifacts import download_artifacts, list_artifacts

    root = client.get_model_version_download_uri(version.name, str(version.version))
    uri = f"{root.rstrip('/')}/artifacts/model"
    listed = {Path(file.path).name for file in list_artifacts(uri, tracking_uri=tracking_uri)}
    if missing := {*FILES, CONTRACT} - listed:
        raise ArtifactError(f"version {version.version}: {sorted(missing)} missing in {uri}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as name:
        new = Path(name) / "new"
        optional = [file for file in OPTIONAL_FILES if file in listed]
        for file in (*FILES, *optional, CONTRACT):
            download_artifacts(f"{uri}/{file}", dst_path=str(new), tracking_uri=tracking_uri)
        for file, expected in _registered_hashes(version, new).items():
            verify_file(new / file, expected)
        if folder.exists():
            folder.rename(Path(name) / "old")
        new.rename(folder)
    return folder


def _registered_hashes(version: ModelVersion, folder: Path) -> dict[str, str]:
    # A version that was registered by other means has no such tag.
    return json.loads(version.tags.get("sha256", "{}")) or Contract.read(folder).sha256
