"""Register, gate, promote, roll back and fetch the versions of a model in MLflow.

A new version is `staging`. The gate makes it `production` when it beats the production version
and seasonal naive at the same forecast origins, and records its decision on the version.

Several processes may change the aliases. On one machine (one `var_dir`) they wait for each other,
and a challenger is compared again if production has changed since it was compared. Between
machines only the second check holds, just before the alias is set.
"""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from lib.inference import Contract
from lib.registry import artifacts, model_logging, tracking
from lib.registry.gate import Evaluate, PromotionGate
from lib.registry.production import Production
from lib.registry.promotion import Decision
from lib.registry.versions import PRODUCTION, RegistryError, Versions
from lib.settings import Settings, get_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lib.evaluation import Verdict


_BASELINE_METRICS = ("mase", "wape", "wql", "coverage_80")
log = structlog.get_logger()


class Registry:
    """Manage the registered model of an installation. MLflow is imported on first use."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self.name = self.settings.registered_model_name

    @cached_property
    def client(self) -> MlflowClient:
        """The connection to the store."""
        return tracking.connect(self.settings)

    @cached_property
    def _versions(self) -> Versions:
        return Versions(self.client, self.name)

    @cached_property
    def _production(self) -> Production:
        return Production(self._versions)

    def log_run(self, **run: Any) -> str:
        """Log a finished training run and return its id (arguments: `tracking.log_run`)."""
        return tracking.log_run(self.client, self.settings, **run)

    def others_with(self, alias: str = "") -> list[str]:
        """Return the other registered names of this store with a version of an alias, or of any."""
        models = self.client.search_registered_models()
        others = [m for m in models if m.name != self.name and m.aliases]
        return sorted(m.name for m in others if not alias or alias in m.aliases)

    def name_others(self, alias: str = "") -> str:
        """Return the other names in words for a message, and what takes them; "" for none."""
        others = self.others_with(alias)
        if not others:
            return ""
        shown = ", ".join(map(repr, others[:3]))
        shown += f" and {len(others) - 3} others" if others[3:] else ""
        takes = shlex.quote(f"REGISTERED_MODEL_NAME={others[0]}")
        return f"; {shown} has one ({takes} takes it)"

    def register(self, folder: Path, *, run_id: str, metrics: Mapping[str, float]) -> int:
        """Register an artifact folder as the new staging version and return its number.

        It is logged as an MLflow pyfunc model with the code that it runs, so MLflow can serve it
        anywhere. Nothing in it is serialised Python.

        Args:
            folder: the artifact.
            run_id: the training run.
            metrics: scores that are shown beside the version.

        Raises:
            ArtifactError: a file is missing or altered, or the model cannot forecast.
        """
        hashes = artifacts.artifact_hashes(folder)
        with artifacts.verified_copy(folder, hashes) as copy:
            model_id, source = model_logging.log_model(
                self.client, Contract.read(copy), copy, run_id, metrics
            )
        scores = {name: score for name, score in metrics.items() if math.isfinite(score)}
        tags = {"sha256": json.dumps(hashes), "metrics": json.dumps(scores)}
        if twin := Contract.read(folder).settings.get("twin"):
            tags["judged"] = f"its twin, which has learned until {twin['training_span'][1]}"
        version = self._versions.add(source, run_id=run_id, model_id=model_id, tags=tags)
        log.info("model registered", name=self.name, version=version)
        return version

    def version_of(self, alias: str) -> int | None:
        """Return the version number of an alias, None where it has none."""
        return self._versions.aliases().get(alias)

    def run_of(self, version: int) -> str:
        """Return the id of the run that registered a version, "" for none.

        In a registry that was made anew the same number is of another run.
        """
        return self.client.get_model_version(self.name, str(version)).run_id or ""

    def versions(self) -> list[int]:
        """Return the numbers of all versions, the oldest first."""
        return [int(version.version) for version in self._versions.all()]

    def training_run(self, which: str | int) -> tuple[str, dict[str, str]]:
        """Return the id and the tags of the training run of an alias or a version.

        Raises:
            RegistryError: no such alias or version.
        """
        run = self.client.get_run(self._versions.find(which).run_id or "")
        return run.info.run_id, dict(run.data.tags)

    def baseline_scores(self, which: str | int) -> dict[str, dict[str, float]]:
        """Return the scores of the simple forecasts in the backtest of an alias or a version.

        Returns:
            The scores (mase, wape, wql, coverage_80) of each, by its name; those that its training
            run logged.

        Raises:
            RegistryError: no such alias or version.
        """
        from lib.evaluation import BASELINES

        run = self.client.get_run(self._versions.find(which).run_id or "")
        scores: dict[str, dict[str, float]] = {}
        for key, value in run.data.metrics.items():
            for name in BASELINES:
                metric = key.removesuffix(f"_{name}")
                if metric in _BASELINE_METRICS and key != metric:
                    scores.setdefault(name, {})[metric] = value
        return scores

    def fetch_files(self, which: str | int, names: Sequence[str], folder: Path) -> list[Path]:
        """Download files that the training run of an alias or a version logged.

        Args:
            which: alias or number.
            names: of the files; what the run did not log is left out.
            folder: to put them into.

        Raises:
            RegistryError: no such alias or version.
        """
        run_id, _ = self.training_run(which)
        logged = {
            Path(file.path).name for file in self.client.list_artifacts(run_id, tracking.FILES)
        }
        return tracking.download_files(
            self.client, run_id, [name for name in names if name in logged], folder
        )

    def fetch(self, which: str | int, folder: Path) -> Path:
        """Download the artifact of an alias or a version into `folder` and return `folder`.

        Raises:
            RegistryError: no such alias or version.
            ArtifactError: a file is missing or differs from the registered one; `folder` is left
                as it was.
        """
        version = self._versions.find(which)
        uri = self.settings.mlflow_tracking_uri
        return artifacts.download(self.client, version, folder, tracking_uri=uri)

    def gate(
        self,
        version: int,
        *,
        evaluate: Evaluate,
        seasonal_naive: Mapping[str, float],
        metric: str = "mase",
        verdict: Verdict | None = None,
    ) -> Decision:
        """Promote a version that beats production and simple forecasts; record the decision on it.

        Challenger and champion are both evaluated now, over the shorter of their horizons. A
        champion that cannot be read or evaluated neither blocks nor passes silently: beating the
        simple forecasts is enough then, and the decision says why.

        Args:
            version: the challenger.
            evaluate: scores of an artifact folder over the first so many days of the horizon, at
                origins that are the same for every folder.
            seasonal_naive: its scores at those origins, over the challenger's horizon.
            metric: the score that decides, one where lower is better.
            verdict: `lib.evaluation.judge` of the challenger beside the simple forecasts; None
                compares with seasonal naive alone.

        Raises:
            RegistryError: no such version.
            MlflowException: the store failed; nothing is changed.
            OSError: the machine failed; nothing is changed.
        """
        with tempfile.TemporaryDirectory(prefix="gate-") as name:
            challenger = self.fetch(version, Path(name) / "challenger")
            gate = PromotionGate(challenger, self.fetch, evaluate, seasonal_naive, metric, verdict)
            while True:
                champion = self._production.version()
                if champion == version:
                    return Decision(True, f"version {version} is in production already")
                decision = gate.decide(champion)
                with tracking.lock(self.settings):
                    if self._production.version() != champion:
                        continue  # another run was faster: compare with its version
                    self._versions.record_decision(version, decision)
                    if decision.promote:
                        self._production.promote(version, by="gate")
                log.info("gate", version=version, promote=decision.promote, reason=decision.reason)
                return decision

    def promote(self, version: int) -> None:
        """Make a version the production one by hand, whatever the gate decided.

        Raises:
            RegistryError: no such version.
        """
        self._versions.find(version)
        with tracking.lock(self.settings):
            if self._production.version() != version:
                self._production.promote(version, by="hand")

    def rollback(self) -> int:
        """Return to the previous production version, whose number is returned.

        Repeated calls go further back. A version that was rolled back is never returned to.

        Raises:
            RegistryError: there is no earlier version.
        """
        with tracking.lock(self.settings):
            try:
                return self._production.rollback()
            except RegistryError as error:
                others = self.name_others(PRODUCTION) if self._production.version() is None else ""
                raise RegistryError(f"{error}{others}") from None

    def history(self) -> list[dict[str, Any]]:
        """Return the periods of production, oldest first: version, since, by, until.

        `until` is the time of a rollback, else None.
        """
        return self._production.history()

    def show(self) -> dict[str, Any]:
        """Return versions with aliases and gate decisions, and the history, for JSON."""
        return {
            "name": self.name,
            "versions": self._versions.describe(),
            "production": self.history(),
        }
