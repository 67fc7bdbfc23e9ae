"""What the service needs of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import structlog

from lib.log import summarize_error
from lib.registry import PRODUCTION, STAGING

log = structlog.get_logger()


class Source(Protocol):
    """The part of a registry that is needed here."""

    def version_of(self, alias: str) -> int | None:
        """Return the version of an alias, None where it has none."""
        ...

    def run_of(self, version: int) -> str:
        """Return the id of the run that registered a version."""
        ...

    def versions(self) -> list[int]:
        """Return the numbers of all versions, the oldest first."""
        ...

    def baseline_scores(self, which: str | int) -> dict[str, dict[str, float]]:
        """Return the scores of simple forecasts in the backtest of a version."""
        ...

    def fetch(self, which: str | int, folder: Path) -> Path:
        """Copy the artifact of a version or alias into a folder."""
        ...


def find_version(registry: Source) -> tuple[int | None, str]:
    """Return the version to serve and its alias: production, else staging; None with neither."""
    for alias in (PRODUCTION, STAGING):
        if (version := registry.version_of(alias)) is not None:
            return version, alias
    return None, ""


def advise_promotion(name: str, versions: list[int]) -> str:
    """Say what to do where no version of a model has an alias."""
    none = f"{name} has no production version in the registry"
    if not versions:
        return f"{none}: `make train` registers one"
    listed = ", ".join(map(str, versions[-5:]))
    return (
        f"{none}. These versions are there: {listed}; `make promote VERSION={versions[-1]}` "
        "makes one of them the production version"
    )


def find_baselines(registry: Source, version: int) -> dict[str, dict[str, float]]:
    """Return the scores of simple forecasts; a model is served without them all the same."""
    try:
        return registry.baseline_scores(version)
    except Exception as error:  # noqa: BLE001 - MLflow, SQLAlchemy and requests raise what they like
        log.warning("no scores of baselines", version=version, error=summarize_error(error))
        return {}
