"""The network that was judged in place of one that has learned every known day."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lib.inference.artifact import (
    CONTRACT,
    FILES,
    OPTIONAL_FILES,
    TWIN,
    ArtifactError,
    Contract,
    verify_folder,
)


def unpack_twin(folder: Path) -> Path:
    """Return the folder of the network that was judged in place of the one of an artifact.

    A network that has learned every known day cannot be judged on them. Its twin, which was trained
    the same on fewer days, lies beside it; an artifact without one was judged itself.

    Raises:
        ArtifactError: the twin is not an artifact.
    """
    if TWIN not in Contract.read(folder).files:
        return folder
    twin = folder / "twin"
    twin.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(folder / TWIN) as archive:
            for name in {*FILES, *OPTIONAL_FILES, CONTRACT} & set(archive.namelist()):
                (twin / name).write_bytes(archive.read(name))
    except zipfile.BadZipFile as error:
        raise ArtifactError(f"{TWIN}: {error}") from error
    verify_folder(twin)
    return twin
