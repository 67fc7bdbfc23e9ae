"""Choose what forecasts when no effort is given: the production model, where it knows the series.

A registered model keeps a sample of the days that it has learned (`reference.parquet`). It knows a
panel if it has learned each of its series, with the same values and the same covariates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import Panel, list_names
from lib.features import FEATURES, compute_features
from lib.inference import ServedModel
from lib.registry import PRODUCTION, STAGING, Registry, RegistryError
from lib.settings import Settings, get_settings

SAME_VALUES = 0.9  # share of the common days that must have the learned value
VALUE = FEATURES.index("lag_1")
COVARIATES = {"fator_externo": "EXTERNAL_COLUMN", "evento_especial": "EVENT_COLUMN or COUNTRY"}


@dataclass(frozen=True)
class Choice:
    """What forecasts, and why.

    Attributes:
        effort: "instant", "registered" or the name of a profile.
        model: the model in words.
        reason: why this one, a sentence without its full stop.
    """

    effort: str
    model: str
    reason: str

    def __str__(self) -> str:
        return f"{self.model}: {self.reason}"


@dataclass(frozen=True)
class RegisteredModel:
    """A version of the registry, loaded. `label` names it for people."""

    model: ServedModel
    label: str


def load_registered(
    folder: Path, *, name: str = "", alias: str = PRODUCTION, settings: Settings | None = None
) -> RegisteredModel:
    """Download a version of the registry into a folder and load it.

    Args:
        folder: for the artifact.
        name: registered name; "" for REGISTERED_MODEL_NAME.
        alias: such as production or staging, or a version number.
        settings: where the registry is; None reads the environment.

    Raises:
        RegistryError: there is no such version.
        ArtifactError: the artifact is altered or of another format.
    """
    settings = settings or get_settings()
    if name:
        settings = settings.model_copy(update={"registered_model_name": name})
    name = settings.registered_model_name
    if not _may_have_versions(settings):
        raise RegistryError(f"{name} has no {alias} version: nothing is registered. `make train`")
    registry = Registry(settings)
    version = registry.version_of(alias) if not alias.isdigit() else int(alias)
    if version is None:
        raise RegistryError(f"{name} has no {alias} version. `make train` and promote one")
    model = ServedModel.load(registry.fetch(version, folder))
    return RegisteredModel(model, f"{name} version {version} ({alias})")


def _may_have_versions(settings: Settings) -> bool:
    """Tell whether the registry can have versions, without creating its SQLite file."""
    file = settings.mlflow_tracking_uri.removeprefix("sqlite:///")
    return file == settings.mlflow_tracking_uri or Path(file).is_file()


def why_unfit(model: ServedModel, panel: Panel, horizon: int) -> str:
    """Return why a model should not forecast a panel, "" if it has learned these series.

    Args:
        model: of the registry.
        panel: the history, with the events of its country.
        horizon: days ahead that are wanted.
    """
    if model.contract.horizon < horizon:
        return f"it forecasts {model.contract.horizon} days, fewer than {horizon}"
    learned = pd.read_parquet(model.folder / "reference.parquet")
    unknown = sorted(set(panel.ids) - set(learned["series_id"]))
    if unknown:
        return f"it has not learned {list_names(unknown)}"
    for name, column in (("fator_externo", panel.factor), ("evento_especial", panel.event)):
        before, now = bool(learned[name].notna().any()), bool(np.isfinite(column).any())
        if before != now:
            has = "learned with" if before else "learned without"
            return f"it has {has} {COVARIATES[name]}, and this data has {'it' if now else 'none'}"
    return _compare_names(model, panel) or _compare_values(learned, panel)


def _compare_names(model: ServedModel, panel: Panel) -> str:
    """Return "" if the panel has the covariates that were learned."""
    before = {item["name"] for item in model.contract.settings.get("covariates", [])}
    now = {covariate.name for covariate in panel.covariates}
    if missing := sorted(before - now):
        return f"it has learned with {list_names(missing)}, and this data has none"
    if new := sorted(now - before):
        return f"it has learned without {list_names(new)}, and this data has it"
    return ""


def _compare_values(learned: pd.DataFrame, panel: Panel) -> str:
    """Return "" if the panel has the values that were learned on the days of both."""
    lengths = np.diff(panel.offsets)
    now = pd.DataFrame(
        {
            "series_id": np.repeat(np.array(panel.ids, dtype=object), lengths),
            "date": panel.dates.astype("datetime64[ns]"),
            "now": compute_features(panel)[:, VALUE],
        }
    )
    before = learned[["series_id", "date", FEATURES[VALUE]]].dropna()
    common = before.astype({"series_id": object}).merge(now, on=["series_id", "date"])
    if 2 * len(common) < len(before):
        return "most of the days that it has learned are not in this data"
    same = np.isclose(common[FEATURES[VALUE]], common["now"], rtol=1e-9, equal_nan=False)
    if same.mean() < SAME_VALUES:
        return f"{100 * (1 - same.mean()):.0f} % of the days that it has learned had other values"
    return ""


def choose_registered(
    panel: Panel, folder: Path, horizon: int, settings: Settings | None = None
) -> tuple[RegisteredModel | None, str]:
    """Return the production model if it has learned these series, and the reason either way."""
    try:
        registered = load_registered(folder, settings=settings)
    except RegistryError as error:
        return None, _why_none(error, settings or get_settings())
    if problem := why_unfit(registered.model, panel, horizon):
        return None, f"not {registered.label}, because {problem}"
    return registered, "it has learned these series and columns"


def _why_none(error: RegistryError, settings: Settings) -> str:
    """Return why there is no production version, and what there is instead."""
    reason = str(error).partition(". ")[0]
    if not _may_have_versions(settings):
        return reason
    registry = Registry(settings)
    if (version := registry.version_of(STAGING)) is not None:
        return f"{reason}: version {version} is staging, not promoted"
    return reason + registry.name_others(PRODUCTION)
