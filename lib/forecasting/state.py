"""What a forecaster holds: its settings, the series, and the model with the reason for it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import pandas as pd

from lib.data import KEYS, KNOWN_AT, planned_columns
from lib.features import MAX_HORIZON
from lib.forecasting.covariates import LearnedCovariates
from lib.forecasting.history import Ahead, History, look_ahead
from lib.forecasting.model_choice import Choice
from lib.forecasting.planning import Planning
from lib.forecasting.totals import JointForecast, forecast_jointly
from lib.inference import ServedModel
from lib.pipeline import ParameterError


class ForecasterState(Planning):
    """Hold settings, series and model of a `Forecaster`, which describes the arguments."""

    def __init__(
        self,
        horizon: int = 28,
        country: str | None = None,
        seed: int = 0,
        state: str | None = None,
    ) -> None:
        if not 1 <= horizon <= MAX_HORIZON:
            raise ParameterError(f"horizon: expected 1 to {MAX_HORIZON} days, got {horizon}")
        self.horizon, self.country, self.seed = int(horizon), country or "", int(seed)
        self.state = state or ""
        self._choice: Choice | None = None
        self.notes: list[str] = []
        self._history = History()
        self._model: ServedModel | None = None

    def __repr__(self) -> str:
        """Return horizon, model, and number and span of the series."""
        settings = f"horizon={self.horizon}"
        settings += f", country={self.country!r}" if self.country else ""
        settings += f", state={self.state!r}" if self.state else ""
        model = self._choice.model if self._choice else "not fitted"
        return f"<Forecaster({settings}): {model}; {self._history}>"

    @property
    def choice(self) -> Choice:
        """What forecasts, and why. Raises RuntimeError before `fit`."""
        if self._choice is None:
            raise RuntimeError("there is no model yet; call fit, or use load or registered")
        return self._choice

    @property
    def history(self) -> pd.DataFrame:
        """The known days in canonical columns, up to the last observed value of each series."""
        return self._history.known

    def _look_ahead(self, *futures: pd.DataFrame | None, include_ended: bool) -> Ahead:
        contract = self._require_model().contract
        return look_ahead(
            self._history,
            *futures,
            longest=contract.horizon,
            horizon=self.horizon,
            covariates=contract.settings.get("covariates"),
            include_ended=include_ended,
        )

    def _forecast_jointly(
        self, *futures: pd.DataFrame | None, include_ended: bool, seed: int, paths: int
    ) -> JointForecast:
        ahead = self._look_ahead(*futures, include_ended=include_ended)
        model = self._require_model()
        return forecast_jointly(model, ahead, self.horizon, paths=paths, seed=seed)

    def _split_covariates(self, future: pd.DataFrame) -> dict[str, pd.DataFrame]:
        known = planned_columns(self._history.columns, self._history.known)
        covariates = [column for name, column in known.items() if name not in KEYS]
        present = [column for column in covariates if column in future.columns]
        keys = [*(known[key] for key in KEYS), *({KNOWN_AT} - {*covariates})]
        rest = future[[key for key in keys if key in future.columns]]
        return {column: rest.assign(**{column: future[column]}) for column in present}

    @property
    def _learned(self) -> LearnedCovariates:
        """The covariates of the model, whose history may lack some for a while."""
        described = self._model.contract.settings.get("covariates") if self._model else None
        if described is None:
            return LearnedCovariates.of_table(self._history.known)
        return LearnedCovariates.of_contract(described)

    def _require_model(self) -> ServedModel:
        if self._model is None:
            raise RuntimeError("there is no model yet; call fit, or use load or registered")
        return self._model

    def _new_folder(self) -> Path:
        """Return an empty folder for the model, which is removed with this object."""
        folder = tempfile.mkdtemp(prefix="forecaster-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)
