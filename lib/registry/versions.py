"""Read and mark the versions of a registered model: numbers, aliases, tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lib.registry.promotion import Decision

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


STAGING = "staging"
PRODUCTION = "production"


class RegistryError(RuntimeError):
    """The registry cannot do what was requested; the message says what it holds instead."""


class Versions:
    """Read and mark the versions of one registered model.

    Args:
        client: connection to the MLflow store.
        name: name of the registered model, which need not exist yet.
    """

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.client = client
        self.name = name

    def add(self, source: str, *, run_id: str, model_id: str, tags: Mapping[str, str]) -> int:
        """Register a logged model as the new staging version and return its number."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self.client.create_model_version(
            self.name, source, run_id=run_id, tags=dict(tags), model_id=model_id
        )
        self.set_alias(STAGING, int(version.version))
        return int(version.version)

    def registered_model(self) -> RegisteredModel | None:
        """Return the registered model, None before its first version."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def aliases(self) -> dict[str, int]:
        """Return the version number of each alias."""
        model = self.registered_model()
        return {alias: int(version) for alias, version in model.aliases.items()} if model else {}

    def set_alias(self, alias: str, version: int) -> None:
        """Let an alias stand for a version."""
        self.client.set_registered_model_alias(self.name, alias, str(version))

    def all(self) -> list[ModelVersion]:
        """Return all versions, the oldest first."""
        versions = self.client.search_model_versions(f"name = '{self.name}'")
        return sorted(versions, key=lambda version: int(version.version))

    def find(self, which: str | int) -> ModelVersion:
        """Return the version of a number or an alias.

        Raises:
            RegistryError: there is none; the message names versions and aliases.
        """
        aliases = self.aliases()
        is_alias = isinstance(which, str) and not which.isdigit()
        number = aliases.get(which) if is_alias else which
        versions = {str(version.version): version for version in self.all()}
        if str(number) not in versions:
            raise RegistryError(
                f"{self.name} has no version or alias {which!r}: versions are "
                f"{', '.join(versions) or 'none'}, aliases {aliases or 'none'}. "
                "A training run registers one"
            )
        return versions[str(number)]

    def record_decision(self, version: int, decision: Decision) -> None:
        """Write the decision of the promotion gate on a version."""
        tags = {
            "gate_decision": "promoted" if decision.promote else "kept in staging",
            "gate_reason": decision.reason,
            "gate_figures": json.dumps(decision.figures),
            "gate_at": timestamp(),
        }
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value)

    def describe(self) -> list[dict[str, Any]]:
        """Return number, aliases, run, metrics and gate decision of each version, for JSON."""
        aliases = self.aliases()
        return [
            {
                "version": int(version.version),
                "aliases": sorted(a for a, n in aliases.items() if n == int(version.version)),
                "run_id": version.run_id,
                "metrics": json.loads(version.tags.get("metrics", "{}")),
                "decision": version.tags.get("gate_decision"),
                "reason": version.tags.get("gate_reason"),
            }
            for version in self.all()
        ]


def timestamp() -> str:
    """Return the time now, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
