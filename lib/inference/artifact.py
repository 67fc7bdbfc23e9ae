"""Describe the files of a trained model: their contract, and the check of their hashes."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lib.features import FEATURES, FUTURE

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
FILES = ("model.onnx", "weights.safetensors", "background.npz", "reference.parquet")
# What an artifact of format 2 may have beside them. Its contract lists those that it has.
EFFECTS, RANKS, TWIN, COLD_START = "effects.npz", "ranks.npz", "twin.zip", "cold_start.npz"
CALIBRATION, PAST_EFFECTS = "calibration.npz", "past_effects.npz"
OPTIONAL_FILES = (EFFECTS, PAST_EFFECTS, RANKS, COLD_START, CALIBRATION, TWIN)
CONTRACT = "contract.json"
# Key of the settings: the series without a negative value, where others have some.
NONNEGATIVE_SERIES = "nonnegative_series"
# Key of the settings: the graph is the one of the pretrained network (see `shared_graph`).
PRETRAINED_GRAPH = "pretrained_graph"
# That network as an artifact, for forecasts before anything was trained.
PRETRAINED_ARTIFACT = Path(__file__).parents[1] / "models" / "zero_shot_network"
PRETRAINED_VERSION = 0  # registered versions count from 1
# Key of the settings: the factor of the widths of each series, by name.
SERIES_SPREAD = "series_spread"
_TUPLES = ("quantiles", "training_span", "features", "future")
# This module is logged with each model, which runs where structlog may be missing.
_log = logging.getLogger(__name__)


class ArtifactError(ValueError):
    """A model folder must not be served; the message names the file and the problem."""


@dataclass(frozen=True)
class Contract:
    """Describe the inputs, the outputs and the training of a model.

    Attributes:
        horizon: days that are forecast.
        context_length: shortest context, in days.
        max_context: longest context, in days.
        quantiles: levels of the forecast, rising.
        scaling: constants fitted on the training days (covariate units, lower bound). All other
            scaling is done window by window inside the graph.
        fingerprint: hash of the training data.
        training_span: first and last training day, ISO dates.
        metrics: scores of the backtest.
        settings: configuration of model and training.
        features: columns of the context.
        future: columns that are known for the days ahead.
        format_version: version of the artifact format.
        sha256: hash of each file, by name.
    """

    horizon: int
    context_length: int
    max_context: int
    quantiles: tuple[float, ...]
    scaling: dict[str, float | None]
    fingerprint: str
    training_span: tuple[str, str]
    metrics: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = FEATURES
    future: tuple[str, ...] = FUTURE
    format_version: int = FORMAT_VERSION
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files beside the contract: FILES and the optional ones that it lists."""
        return (*FILES, *(name for name in OPTIONAL_FILES if name in self.sha256))

    @property
    def is_uncalibrated(self) -> bool:
        """Whether this is the pretrained network itself, which has seen no series of anyone."""
        return PRETRAINED_GRAPH in self.settings and CALIBRATION not in self.sha256

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read the text of contract.json.

        Fields that this version does not know are ignored, with a warning in the log: a later
        release may add some without changing the meaning of the others. A change of meaning
        raises `format_version`, which is refused.

        Raises:
            ArtifactError: no JSON object, another format version, a missing field, or features
                that differ from those of this package.
        """
        values = _parse_object(text)
        _check_version(values.get("format_version"))
        names = {f.name for f in fields(cls)}
        if missing := sorted(names - values.keys()):
            raise ArtifactError(f"{CONTRACT}: fields {missing} are missing")
        if unknown := sorted(values.keys() - names):
            _log.warning("%s: fields %s are unknown to this version, ignored", CONTRACT, unknown)
        values = {name: values[name] for name in names}
        for name in _TUPLES:
            values[name] = tuple(values[name])
        for name, expected in (("features", FEATURES), ("future", FUTURE)):
            if values[name] != expected:
                raise ArtifactError(f"{CONTRACT}: {name} are {values[name]}, expected {expected}")
        return cls(**values)

    @classmethod
    def read(cls, folder: Path) -> Contract:
        """Read the contract of a model folder.

        Raises:
            ArtifactError: the file is missing, or not a contract (see `from_json`).
        """
        path = folder / CONTRACT
        if not path.is_file():
            raise ArtifactError(f"{CONTRACT}: missing in {folder.name}")
        return cls.from_json(path.read_text())

    def to_json(self) -> str:
        """Return the text of contract.json, which `from_json` reads.

        >>> contract = Contract(
        ...     horizon=7, context_length=60, max_context=90, quantiles=(0.1, 0.5, 0.9),
        ...     scaling={}, fingerprint="", training_span=("2024-01-01", "2024-12-31"), metrics={},
        ... )
        >>> Contract.from_json(contract.to_json()) == contract
        True
        """
        return json.dumps(asdict(self), indent=1, sort_keys=True)


def verify_file(path: Path, sha256: str | None) -> None:
    """Compare a file with the SHA-256 that was recorded for it.

    Raises:
        ArtifactError: the file is missing, or its hash differs.
    """
    if not path.is_file():
        raise ArtifactError(f"{path.name}: missing")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise ArtifactError(f"{path.name}: checksum {actual[:12]}, expected {str(sha256)[:12]}")


def verify_folder(folder: Path) -> Contract:
    """Compare every file of a model folder with its contract, and return the contract.

    Raises:
        ArtifactError: a file is missing, altered, or of another format.
    """
    contract = Contract.read(folder)
    for name in contract.files:
        verify_file(folder / name, contract.sha256.get(name))
    return contract


def _parse_object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"{CONTRACT}: expected JSON, got {error}") from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{CONTRACT}: expected a JSON object, got {type(values).__name__}")
    return values


def _check_version(version: Any) -> None:
    if version in READABLE_VERSIONS:
        return
    expected = " or ".join(map(str, READABLE_VERSIONS))
    message = f"{CONTRACT}: format_version {version}, expected {expected}"
    if isinstance(version, int) and version > FORMAT_VERSION:
        message += "; a later release of this package wrote it. Install that release to use it"
    raise ArtifactError(message)
