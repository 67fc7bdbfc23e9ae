"""Registered models: log, gate, promote, roll back, fetch. Also `python -m lib.registry.registry --help`.

A new version is `staging`. The gate makes it `production` when it beats the production version
and seasonal naive on the same days, and writes its decision on the version either way.

What holds when several change the aliases at once: on one machine (one `var_dir`) changes wait
for each other, and a challenger is compared again if production changed while it was compared.
Between machines the second check is still made, just before the alias is set.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from lib.inference import CONTRACT, FILES, ArtifactError, Contract, digest, verify
from lib.log import configure_logging
from lib.registry import tracking
from lib.registry.promotion import Decision, decide_promotion
from lib.settings import Settings, SettingsError, get_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


STAGING = "staging"
PRODUCTION = "production"
_HISTORY = "production_history"
_KEPT = 40  # periods of production; MLflow's database holds 5,000 characters of a tag
log = structlog.get_logger()
# The scores of an artifact folder over the first so many days of the horizon.
Evaluate = Callable[[Path, int], Mapping[str, float]]


class RegistryError(RuntimeError):
    """The registry cannot do what was asked; the message says what is there instead."""


class Registry:
    """The registered model of an installation. MLflow is imported at the first use of it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self.name = self.settings.registered_model_name

    @cached_property
    def client(self) -> MlflowClient:
        """The connection to the store."""
        return tracking.connect(self.settings)

    def log_run(self, **run: Any) -> str:
        """Keep a finished training run (arguments: `lib.registry.tracking.log_run`). → run id."""
        return tracking.log_run(self.client, self.settings, **run)

    def register(self, folder: Path, *, run_id: str, metrics: Mapping[str, float]) -> int:
        """Register an artifact folder as the new `staging` version. → its number.

        It is logged as an MLflow pyfunc model with this package's code, so it can be served
        elsewhere; nothing in it is serialised Python. `metrics` are shown beside the version.
        Raises ArtifactError for a folder that is not whole, or that cannot forecast.
        """
        client = self.client
        contract = Contract.from_json((folder / CONTRACT).read_text())
        sha256 = {name: contract.sha256.get(name) for name in FILES}
        sha256[CONTRACT] = digest(folder / CONTRACT)
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory(prefix="register-") as name:
            # Copied first: what is checked is what is logged, and a checkpoint stays behind.
            artifact = Path(name) / "model"
            artifact.mkdir()
            for file, expected in sha256.items():
                if (folder / file).is_file():
                    shutil.copy(folder / file, artifact / file)
                verify(artifact / file, expected)
            model_id, source = tracking.log_model(client, contract, artifact, run_id, metrics)
        try:
            client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        scores = {k: v for k, v in metrics.items() if math.isfinite(v)}
        tags = {"sha256": json.dumps(sha256), "metrics": json.dumps(scores)}
        made = client.create_model_version(
            self.name, source, run_id=run_id, tags=tags, model_id=model_id
        )
        client.set_registered_model_alias(self.name, STAGING, made.version)
        log.info("model registered", name=self.name, version=int(made.version))
        return int(made.version)

    def version_of(self, alias: str) -> int | None:
        """The number of the version an alias stands for, None where it stands for none."""
        return self._aliases().get(alias)

    def fetch(self, which: str | int, folder: Path) -> Path:
        """Put the artifact of an alias or a version into `folder`, replacing it. → `folder`.

        Raises:
            RegistryError: no such alias or version.
            ArtifactError: a file is missing or is not the one that was registered; `folder` is
                left as it was.
        """
        from mlflow.artifacts import download_artifacts, list_artifacts

        found = self._version(which)
        uri = self.client.get_model_version_download_uri(self.name, str(found.version))
        place, uris = f"{uri.rstrip('/')}/artifacts/model", self.settings.mlflow_tracking_uri
        listed = {Path(f.path).name for f in list_artifacts(place, tracking_uri=uris)}
        if missing := {*FILES, CONTRACT} - listed:
            raise ArtifactError(f"version {found.version}: {sorted(missing)} missing in {place}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as name:
            new = Path(name) / "new"
            for file in (*FILES, CONTRACT):
                download_artifacts(f"{place}/{file}", dst_path=str(new), tracking_uri=uris)
            recorded = json.loads(found.tags.get("sha256", "{}"))
            if not recorded:  # registered by other means
                recorded = Contract.from_json((new / CONTRACT).read_text()).sha256
            for file, expected in recorded.items():
                verify(new / file, expected)
            if folder.exists():
                folder.rename(Path(name) / "old")
            new.rename(folder)
        return folder

    def gate(
        self,
        version: int,
        *,
        evaluate: Evaluate,
        seasonal_naive: Mapping[str, float],
        metric: str = "mase",
    ) -> Decision:
        """Make a version production if it beats production and seasonal naive; say so on it.

        Args:
            evaluate: scores of an artifact folder over the first so many days of the horizon, at
                cutoffs that are the same for every folder.
            seasonal_naive: its scores at those cutoffs over the challenger's horizon.

        Both are evaluated anew. With unequal horizons they are compared over the shorter one. A
        production version that cannot be read or evaluated neither blocks nor passes silently:
        beating seasonal naive is enough then, and reason and figures say why. Errors of the store
        or the machine (unreachable, disk full) are raised, and nothing is changed.
        """
        with tempfile.TemporaryDirectory(prefix="gate-") as name:
            folder = self.fetch(version, Path(name) / "challenger")
            own = evaluate(folder, _horizon(folder))
            while True:
                current = self.version_of(PRODUCTION)
                if current == version:
                    return Decision(True, f"version {version} is in production already")
                champion, beside, problem = None, None, ""
                if current is not None:
                    room = Path(name) / "champion"
                    champion, beside, problem = self._side_by_side(current, folder, evaluate, room)
                decision = decide_promotion(
                    own, champion, seasonal_naive, beside=beside, metric=metric
                )
                reason, figures = decision.reason, dict(decision.figures)
                figures["champion_version"] = current
                if problem:
                    reason += f" (production version {current} cannot be evaluated: {problem})"
                    figures["champion_problem"] = problem
                decision = Decision(decision.promote, reason, figures)
                with tracking.locked(self.settings):
                    if self.version_of(PRODUCTION) != current:
                        continue  # another run was faster: compare with its version
                    self._record(version, decision)
                    if decision.promote:
                        self._put(version, by="gate")
                log.info("gate", version=version, promote=decision.promote, reason=decision.reason)
                return decision

    def _side_by_side(
        self, champion: int, challenger: Path, evaluate: Evaluate, room: Path
    ) -> tuple[Mapping[str, float] | None, Mapping[str, float] | None, str]:
        """Scores of the champion; the challenger's over its horizon, if shorter; what went wrong.

        The champion's artifact is put into the folder `room`.
        """
        try:
            theirs = self.fetch(champion, room)
            own_days, days = _horizon(challenger), _horizon(theirs)
            scores = evaluate(theirs, min(own_days, days))
            return scores, evaluate(challenger, days) if days < own_days else None, ""
        except (OSError, MemoryError):
            raise
        except Exception as error:
            self._raise_if_store(error)
            log.warning("production cannot be evaluated", version=champion, exc_info=True)
            return None, None, f"{type(error).__name__}: {error}"[:500]

    def promote(self, version: int) -> None:
        """Make a version production by hand, whatever the gate said. Raises RegistryError."""
        self._version(version)
        with tracking.locked(self.settings):
            if self.version_of(PRODUCTION) != version:
                self._put(version, by="hand")

    def rollback(self) -> int:
        """Make the version before this one production again; repeated, go further back.

        → the version restored. A version that was rolled back is no version to come back to.
        Raises RegistryError where there is no earlier one.
        """
        with tracking.locked(self.settings):
            current = self.version_of(PRODUCTION)
            history = self._synced(current)
            for entry in reversed(history):
                if entry["until"]:
                    continue
                if entry["version"] != current and self._exists(entry["version"]):
                    # History first: cut off here, the next call finds and repeats this step.
                    self._write_history(history)
                    self._alias(entry["version"])
                    log.info("rolled back", version=entry["version"], instead_of=current)
                    return entry["version"]
                entry["until"] = _now()
            now = "nothing is" if current is None else f"version {current} is the first"
            raise RegistryError(f"nothing to roll back to: {now} in production")

    def history(self) -> list[dict[str, Any]]:
        """Periods of production, oldest first: version, since, by, until (rolled back) or None."""
        return self._synced(self.version_of(PRODUCTION))

    def show(self) -> dict[str, Any]:
        """Aliases, versions with what the gate said of them, and the history, for JSON."""
        aliases = self._aliases()
        versions = [
            {
                "version": int(v.version),
                "aliases": sorted(a for a, n in aliases.items() if n == int(v.version)),
                "run_id": v.run_id,
                "metrics": json.loads(v.tags.get("metrics", "{}")),
                "decision": v.tags.get("gate_decision"),
                "reason": v.tags.get("gate_reason"),
            }
            for v in self._versions()
        ]
        return {"name": self.name, "versions": versions, "production": self.history()}

    def _raise_if_store(self, error: Exception) -> None:
        """Raise errors that say nothing about a version: the store's own."""
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException | RegistryError):
            raise error

    def _record(self, version: int, decision: Decision) -> None:
        tags = {
            "gate_decision": "promoted" if decision.promote else "kept in staging",
            "gate_reason": decision.reason,
            "gate_figures": json.dumps(decision.figures),
            "gate_at": _now(),
        }
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value)

    def _put(self, version: int, *, by: str) -> None:
        """Alias first: cut off before the history is written, `_synced` finds it out later."""
        history = self._synced(self.version_of(PRODUCTION))
        self._alias(version)
        self._write_history([*history, _period(version, by)])
        log.info("in production", version=version, by=by)

    def _alias(self, version: int) -> None:
        self.client.set_registered_model_alias(self.name, PRODUCTION, str(version))

    def _synced(self, current: int | None) -> list[dict[str, Any]]:
        """The history, with `current` as its end even when MLflow's page has set the alias."""
        model = self._model()
        history = json.loads(model.tags.get(_HISTORY, "[]")) if model else []
        standing = [entry["version"] for entry in history if not entry["until"]]
        if current is not None and standing[-1:] != [current]:
            history.append(_period(current, "outside"))
        return history

    def _write_history(self, history: list[dict[str, Any]]) -> None:
        text = json.dumps(history[-_KEPT:], separators=(",", ":"))
        self.client.set_registered_model_tag(self.name, _HISTORY, text)

    def _model(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # nothing was registered yet

    def _aliases(self) -> dict[str, int]:
        model = self._model()
        return {alias: int(version) for alias, version in model.aliases.items()} if model else {}

    def _versions(self) -> list[ModelVersion]:
        found = self.client.search_model_versions(f"name = '{self.name}'")
        return sorted(found, key=lambda v: int(v.version))

    def _exists(self, version: int) -> bool:
        return any(int(v.version) == version for v in self._versions())

    def _version(self, which: str | int) -> ModelVersion:
        """The version of a number or an alias. Raises RegistryError naming those there are."""
        aliases = self._aliases()
        number = aliases.get(which) if isinstance(which, str) and not which.isdigit() else which
        found = {str(v.version): v for v in self._versions()}
        if str(number) not in found:
            raise RegistryError(
                f"{self.name} has no version or alias {which!r}: versions are "
                f"{', '.join(found) or 'none'}, aliases {aliases or 'none'}. "
                "A training run registers one"
            )
        return found[str(number)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. → exit code: 0 done, 1 the registry cannot, 2 the arguments are wrong."""
    parser = argparse.ArgumentParser(prog="python -m lib.registry.registry", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    promote = commands.add_parser("promote", help="make a version the production one")
    promote.add_argument("--version", type=int, required=True, help="its number")
    commands.add_parser("rollback", help="go back to the production version before this one")
    commands.add_parser("show", help="versions, aliases and history as JSON")
    asked = parser.parse_args(arguments)
    try:
        registry = Registry()
        configure_logging(registry.settings.log_level)
        if asked.command == "promote":
            registry.promote(asked.version)
            answer = f"{registry.name}: version {asked.version} is in production"
        elif asked.command == "rollback":
            answer = f"{registry.name}: version {registry.rollback()} is in production again"
        else:
            answer = json.dumps(registry.show(), indent=2)
    except (RegistryError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{answer}\n")
    return 0


def _horizon(folder: Path) -> int:
    return Contract.from_json((folder / CONTRACT).read_text()).horizon


def _period(version: int, by: str) -> dict[str, Any]:
    return {"version": version, "since": _now(), "by": by, "until": None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    raise SystemExit(main())
