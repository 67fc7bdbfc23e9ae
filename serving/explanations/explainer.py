"""Compute explanations: the SHAP values of one forecast, and a figure of them."""

from __future__ import annotations

import copy
import io
import json
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.log import summarize_error
from lib.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from lib.explanation import Explainer as Shapley
    from lib.explanation import Explanation
    from lib.inference import Contract

_KEPT = 2  # models in memory: after a promotion there are still jobs of the version before


class TryLaterError(RuntimeError):
    """A job that is all right cannot be computed now."""


class Explainer:
    """Computes explanations of any version; keeps the models that it loaded last."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._models: OrderedDict[int, Shapley] = OrderedDict()

    def prepare(self) -> None:
        """Import now what takes seconds, rather than for the first job."""
        import lib.explanation.plots  # noqa: F401

    def __call__(self, body: dict[str, Any], version: int) -> tuple[dict[str, Any], bytes]:
        """Explain one day of a forecast, as `/predict` or `/forecast` answers it.

        Args:
            body: a stored question.
            version: of the registered model.

        Returns:
            The result for JSON, and the figure as PNG.

        Raises:
            TryLaterError: the version cannot be fetched now.
            ValueError: the version cannot forecast this body.
            ExplanationError: the SHAP values do not add up to the forecast.
        """
        from lib.explanation import plot_waterfall

        # A copy for the day ahead; what the model holds is only read.
        model = copy.copy(self.model(version))
        model.horizon_day = body.get("horizon_day", 1)
        if "history" in body:
            explanation, latest = _explain_day(model, body)
        else:
            features, future = read_inputs(body, model.forecaster.contract)
            explanation, latest = model.explain(features, future), features[-1]
        figure = plot_waterfall(explanation, latest)
        return json.loads(explanation.to_json()), _png(figure)

    def model(self, version: int) -> Shapley:
        """Return the explainer of a version: from memory, the cache on disk, or the registry.

        Raises:
            TryLaterError: the registry does not answer.
            RegistryError: it has no such version.
            ArtifactError: the version must not be used.
        """
        if version not in self._models:
            self._models[version] = self._load(version)
        self._models.move_to_end(version)
        while len(self._models) > _KEPT:
            self._models.popitem(last=False)
        return self._models[version]

    def _load(self, version: int) -> Shapley:
        from lib.explanation import Explainer as Shapley
        from lib.inference import PRETRAINED_ARTIFACT, PRETRAINED_VERSION, ServedModel
        from lib.registry import ModelCache

        if version == PRETRAINED_VERSION:
            return Shapley(ServedModel.load(PRETRAINED_ARTIFACT))
        # The explainer reads all it needs now: the folder is deleted afterwards.
        with ModelCache(self.settings).version(version, self._fetch) as folder:
            return Shapley(ServedModel.load(folder))

    def _fetch(self, version: int, folder: Path) -> Path:
        from lib.inference import ArtifactError
        from lib.registry import Registry, RegistryError

        try:
            return Registry(self.settings).fetch(version, folder)
        except (RegistryError, ArtifactError):
            raise
        except Exception as error:
            raise TryLaterError(
                f"version {version} cannot be fetched: {summarize_error(error)}"
            ) from error


def _explain_day(model: Shapley, body: dict[str, Any]) -> tuple[Explanation, np.ndarray]:
    """Explain a day of a dated series, and return the features of its last known day as well."""
    from lib.features import compute_features
    from serving.model import calibrate_on
    from serving.schemas import read_question

    sent, days = read_question(body, model.forecaster.contract)
    if model.forecaster.contract.is_uncalibrated:
        model.forecaster = calibrate_on(model.forecaster, sent)  # of this copy
    origin = int(sent.origins[0])
    explanation = model.explain_day(sent.panel, origin, context=body["context"], recent=days)
    return explanation, compute_features(sent.panel)[origin]


def read_inputs(body: dict[str, Any], contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return the model inputs of a stored question of `/predict`, as the call made them.

    Args:
        body: with `sequence`.
        contract: of the version that is explained.

    Returns:
        (days, 11) and (horizon, len(FUTURE)), raw units, NaN where missing or not known.
    """
    import numpy as np

    from lib.features import FEATURES, known_future_after

    rows = [[row[name] for name in FEATURES] for row in body["sequence"]]
    features = np.array(rows, dtype=np.float64)
    near = np.datetime64(contract.training_span[1], "D")
    return features, known_future_after(features, contract.horizon, near)[0]


def _png(figure: Figure) -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)  # or pyplot would keep every one of them
    return buffer.getvalue()
