"""Keep the production alias and its history, in a tag of the registered model.

Each period of the history is `{"version", "since", "by", "until"}`, the oldest first. `until` is
set by a rollback; a version that was rolled back is never returned to.
"""

from __future__ import annotations

import json
from typing import Any

import structlog

from lib.registry.versions import PRODUCTION, RegistryError, Versions, timestamp

_TAG = "production_history"
_MAX_PERIODS = 40  # MLflow's database holds 5,000 characters of a tag
log = structlog.get_logger()


class Production:
    """Promote and roll back. The caller holds the lock of the registry."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def version(self) -> int | None:
        """Return the production version, None where there is none."""
        return self._versions.aliases().get(PRODUCTION)

    def history(self) -> list[dict[str, Any]]:
        """Return the periods of production, the oldest first.

        The current version is the last period even where the alias was set by other means, such
        as MLflow's page.
        """
        model = self._versions.registered_model()
        current = int(model.aliases[PRODUCTION]) if model and PRODUCTION in model.aliases else None
        periods = json.loads(model.tags.get(_TAG, "[]")) if model else []
        standing = [period["version"] for period in periods if not period["until"]]
        if current is not None and standing[-1:] != [current]:
            periods.append(_period(current, "outside"))
        return periods

    def promote(self, version: int, *, by: str) -> None:
        """Make a version the production one; `by` names the cause in the history."""
        periods = self.history()
        # Alias first: after a crash in between, `history` adds the missing period.
        self._versions.set_alias(PRODUCTION, version)
        self._write([*periods, _period(version, by)])
        log.info("in production", version=version, by=by)

    def rollback(self) -> int:
        """Return to the production version before the current one; repeated, go further back.

        Returns:
            The version that is in production now.

        Raises:
            RegistryError: there is no earlier version.
        """
        current = self.version()
        periods = self.history()
        numbers = {int(version.version) for version in self._versions.all()}
        for period in reversed(periods):
            if period["until"]:
                continue
            version = period["version"]
            if version != current and version in numbers:
                # History first: after a crash in between, the next call repeats this step.
                self._write(periods)
                self._versions.set_alias(PRODUCTION, version)
                log.info("rolled back", version=version, instead_of=current)
                return version
            period["until"] = timestamp()
        now = "nothing is" if current is None else f"version {current} is the first"
        raise RegistryError(f"nothing to roll back to: {now} in production")

    def _write(self, periods: list[dict[str, Any]]) -> None:
        text = json.dumps(periods[-_MAX_PERIODS:], separators=(",", ":"))
        self._versions.client.set_registered_model_tag(self._versions.name, _TAG, text)


def _period(version: int, by: str) -> dict[str, Any]:
    return {"version": version, "since": timestamp(), "by": by, "until": None}
