"""Check that a fetched model forecasts before it is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.features import FUTURE
from lib.inference import ArtifactError, ServedModel

_CALENDAR = 4  # columns of the features, sines and cosines
_CALENDAR_AHEAD = 6  # columns of the known future
_WARM_UP = 3  # forecasts before the first request


def load_checked(folder: Path) -> ServedModel:
    """Load an artifact and check a few of its forecasts, which also warms it up.

    Raises:
        ArtifactError: the artifact must not be served.
        OSError: a file cannot be read.
    """
    try:
        model = ServedModel.load(folder)
        _check_forecasts(model)
    except (ArtifactError, OSError):
        raise
    except Exception as error:  # errors of ONNX Runtime; TypeErrors of a malformed contract
        message = (str(error).splitlines() or [""])[0][:300]
        raise ArtifactError(f"{type(error).__name__}: {message}") from error
    return model


def _check_forecasts(model: ServedModel) -> None:
    """Forecast a plain series at the shortest and the longest context."""
    contract = model.contract
    expected = (1, contract.horizon, len(contract.quantiles))
    for days in (contract.max_context, *[contract.context_length] * _WARM_UP):
        features = np.full((2, days, len(contract.features)), 1.0)
        features[:, :, :_CALENDAR] = 0.5
        future = np.full((2, contract.horizon, len(FUTURE)), np.nan)
        future[:, :, :_CALENDAR_AHEAD] = 0.5
        quantiles = model.predict(features[:1], future[:1])
        if quantiles.shape != expected:
            raise ArtifactError(f"model.onnx: forecasts are {quantiles.shape}, expected {expected}")
        if not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
            raise ArtifactError("model.onnx: quantiles are not finite and rising")
        model.predict(features, future)
