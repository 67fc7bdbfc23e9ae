"""What a worker computes: the shares of one forecast, and the figure of them."""

from __future__ import annotations

import copy
import io
import json
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.settings import Settings
from serving.http.errors import brief

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from lib.explanation import Explainer as Shapley
    from lib.inference import Contract


_KEPT = 2  # models in memory: the one before is still asked about after a promotion


class TryLaterError(RuntimeError):
    """Nothing is wrong with the job, but it cannot be computed now."""


class Explainer:
    """Computes explanations with the version that is asked for; keeps the models it has loaded."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._models: OrderedDict[int, Shapley] = OrderedDict()

    def prepare(self) -> None:
        """Import now what takes seconds, rather than when someone waits for it."""
        import lib.explanation.plots  # noqa: F401

    def __call__(self, body: dict[str, Any], version: int) -> tuple[dict[str, Any], bytes]:
        """One day of a forecast, as `/predict` or `/forecast` answers it. → result for JSON, PNG.

        Raises TryLaterError while the version cannot be had, ValueError for a body it cannot
        take, ExplanationError where the shares do not add up.
        """
        from lib.explanation import plot_waterfall

        # The same model for every day ahead: what it holds is only read.
        model = copy.copy(self.model(version))
        model.horizon_day = body.get("horizon_day", 1)
        features, future = inputs(body, model.forecaster.contract)
        found = model.explain(features, future)
        return json.loads(found.to_json()), _png(plot_waterfall(found, features[-1]))

    def model(self, version: int) -> Shapley:
        """What explains a version: from memory, the cache on disk, or the registry.

        Raises TryLaterError where the registry cannot be reached, RegistryError where it has no
        such version, ArtifactError for one that must not be used.
        """
        if version not in self._models:
            self._models[version] = self._load(version)
        self._models.move_to_end(version)
        while len(self._models) > _KEPT:
            self._models.popitem(last=False)
        return self._models[version]

    def _load(self, version: int) -> Shapley:
        from lib.explanation import Explainer as Shapley
        from lib.inference import ServedModel
        from lib.registry import ModelCache

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
            raise TryLaterError(f"version {version} cannot be fetched: {brief(error)}") from error


def inputs(body: dict[str, Any], contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """What the graph was given. → (days, 11) and (horizon, len(FUTURE)), NaN unknown."""
    import numpy as np

    from lib.features import FEATURES, known_future_after
    from serving.schemas.explanation_query import inputs_of

    if "history" in body:
        return inputs_of(body, contract)
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
