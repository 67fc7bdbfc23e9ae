"""The public class: fit, predict, backtest, explain, save and load on plain DataFrames."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.data import Panel, closed_days_ahead, split_planned, to_panel, validate
from lib.files import write_json
from lib.forecasting.fitting import INSTANT, check_effort, make_model
from lib.forecasting.future import (
    append_horizon,
    mark_holidays,
    read_planned,
    update_planned,
)
from lib.forecasting.model_choice import (
    REGISTERED,
    Choice,
    choose_registered,
    list_names,
    load_registered,
)
from lib.forecasting.tables import describe_effort, forecast_table, name_columns
from lib.inference import ServedModel, forecast_panel

SETTINGS_FILE, HISTORY_FILE, PLANNED_FILE, MODEL_FOLDER = (
    "forecaster.json",
    "history.parquet",
    "planned.parquet",
    "model",
)
FORMAT_VERSION = 1
COLUMN_ARGUMENTS = ("date", "value", "series", "external", "event")


class Forecaster:
    """Forecast the coming days of daily series.

    Args:
        horizon: days ahead.
        country: two-letter code; its public holidays are the events of data without any.
        seed: of the search and of training.

    Attributes:
        notes: what a reader of the forecast should know, a sentence each.

    >>> import numpy as np, pandas as pd
    >>> from lib import Forecaster
    >>> days = pd.date_range("2024-01-01", periods=120)
    >>> sales = pd.DataFrame({"day": days, "units": 100 + 10 * (np.arange(120) % 7)})
    >>> model = Forecaster(horizon=7).fit(sales, date="day", value="units", effort="instant")
    >>> forecast = model.predict()
    >>> len(forecast), str(forecast["date"].iloc[0].date())
    (7, '2024-04-30')
    """

    def __init__(self, horizon: int = 28, country: str | None = None, seed: int = 0) -> None:
        if horizon < 1:
            raise ValueError(f"horizon: expected at least 1 day, got {horizon}")
        self.horizon, self.country, self.seed = int(horizon), country or "", int(seed)
        self._choice: Choice | None = None
        self.notes: list[str] = []
        self._columns: dict[str, str] = {}
        self._history = pd.DataFrame()
        self._planned = pd.DataFrame()
        self._model: ServedModel | None = None

    def fit(
        self,
        df: pd.DataFrame,
        date: str = "date",
        value: str = "value",
        series: str | None = None,
        external: str | None = None,
        event: str | None = None,
        effort: str | None = "default",
        *,
        covariates: Sequence[str] | None = None,
        progress: bool = False,
    ) -> Forecaster:
        """Learn from all known days of a table, and return the same object.

        Args:
            df: one row a day and series, in any order of columns. Rows behind the last value of a
                series that carry a covariate are planned days.
            date: column of the day.
            value: column of the target, missing where it is not known.
            series: column of the series' name; None for `series_id` if it is there, else one
                series.
            external: column of a number that is known in advance.
            event: column of planned events, 0 to 1.
            effort: "instant" takes the pretrained network as it is (seconds); "default" and
                "thorough" train; "registered" takes the production model of the registry; None
                takes that one where it has learned these series and columns, else "instant".
            covariates: not supported yet.
            progress: whether to show bars on standard error.

        Raises:
            SeriesError: the table cannot be used; the message says where and what to do.
            ParameterError: there is no such effort.
            RegistryError: there is no production model.

        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=90)
        >>> df = pd.DataFrame({"day": days, "units": range(90)})
        >>> model = Forecaster(horizon=7).fit(df, "day", "units", effort="instant")
        >>> model.choice.effort
        'instant'
        """
        if covariates:
            raise ValueError(
                f"covariates: got {list(covariates)}, not supported yet; name one number that is "
                "known in advance as external= and planned events as event="
            )
        if effort not in (None, REGISTERED):
            check_effort(effort)
        self._columns = name_columns({}, date, value, series, external, event)
        return self.fit_table(validate(df, columns=self._columns), effort, progress=progress)

    def fit_table(
        self, table: pd.DataFrame, effort: str | None = "default", *, progress: bool = False
    ) -> Forecaster:
        """Learn from a canonical table, as `lib.data.load` returns it for a file.

        Args:
            table: canonical; the events of the country are not part of it.
            effort: as for `fit`.
            progress: as for `fit`.
        """
        if effort not in (None, REGISTERED):
            check_effort(effort)
        self._history, self._planned = split_planned(table)
        self._drop_model()
        panel = self._history_panel()
        folder = self._new_folder()
        if effort is None:
            self._choose(panel, folder)
        elif effort == REGISTERED:
            self._use_registered(folder)
        else:
            self._model = make_model(
                panel,
                folder,
                effort=effort,
                horizon=self.horizon,
                seed=self.seed,
                progress=progress,
            )
            self._choice = Choice(effort, describe_effort(effort), f"effort {effort} was given")
        return self

    def update(
        self,
        df: pd.DataFrame,
        date: str | None = None,
        value: str | None = None,
        series: str | None = None,
        external: str | None = None,
        event: str | None = None,
    ) -> Forecaster:
        """Replace the history that forecasts start from, without training.

        The names of the columns are those of the last call, where they are left out.

        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=90)
        >>> df = pd.DataFrame({"day": days, "units": range(90)})
        >>> model = Forecaster(horizon=7).fit(df[:80], "day", "units", effort="instant")
        >>> str(model.update(df).predict()["date"].iloc[0].date())
        '2024-03-31'
        """
        self._columns = name_columns(self._columns, date, value, series, external, event)
        self._history, self._planned = split_planned(validate(df, columns=self._columns))
        return self

    def predict(
        self, future: pd.DataFrame | None = None, *, include_ended: bool = False
    ) -> pd.DataFrame:
        """Forecast the days after the last observed value of each series.

        Args:
            future: planned covariates of the coming days, in the columns of the history: the day,
                the series if they differ by it, and at least one covariate.
            include_ended: forecast also the series whose last value lies more than the horizon
                before the last of the table. `notes` names them.

        Returns:
            One row a series and day: series_id, date, mean and q0.05 … q0.95.

        Raises:
            SeriesError: `future` cannot be used.
            RuntimeError: there is no history yet.

        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=90)
        >>> df = pd.DataFrame({"date": days, "value": range(90), "promo": 0.0})
        >>> model = Forecaster(horizon=3).fit(df, event="promo", effort="instant")
        >>> planned = pd.DataFrame({"date": ["2024-04-01"], "promo": [1.0]})
        >>> len(model.predict(future=planned))
        3
        """
        model = self._require_model()
        panel, origins = self._forecast_panel(future, include_ended=include_ended)
        quantiles = forecast_panel(model, panel, origins)[:, : self.horizon]
        finite = np.isfinite(quantiles).all(axis=(1, 2))
        if not finite.all():
            names = [panel.ids[s] for s in panel.series_of(origins[~finite])]
            self.notes.append(f"no forecast for {list_names(names)}: too few known values")
            origins, quantiles = origins[finite], quantiles[finite]
        closed = closed_days_ahead(panel, origins, self.horizon)
        if closed.any():
            names = [panel.ids[s] for s in panel.series_of(origins[closed.any(axis=1)])]
            self.notes.append(f"closed on some weekdays, where 0 is forecast: {list_names(names)}")
            quantiles = np.where(closed[..., None], 0.0, quantiles)
        return forecast_table(panel, origins, quantiles, model.contract.quantiles)

    def backtest(
        self,
        df: pd.DataFrame,
        cutoffs: int = 6,
        step: int = 28,
        *,
        effort: str | None = None,
        **columns: str | None,
    ) -> pd.DataFrame:
        """Score forecasts of the past beside those of forecasts that need no training.

        A model of its own learns only days up to the first cutoff.

        Args:
            df: as for `fit`.
            cutoffs: number of forecasts of each series.
            step: days between two cutoffs.
            effort: as for `fit`; by default that of the fit, and "default" before one.
            columns: date, value, series, external, event, as for `fit`; by default those of the
                fit.

        Returns:
            One row a forecaster, ours first: forecaster, mase, wape (%), wql (%), coverage_80 (%)
            and days (the number scored).

        Raises:
            SeriesError: the table cannot be used, or is too short for so many cutoffs.
            ParameterError: the effort trains nothing on its own days.

        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=150)
        >>> df = pd.DataFrame({"date": days, "value": 50 + np.arange(150) % 7})
        >>> scores = Forecaster(horizon=7).backtest(df, cutoffs=2, step=7, effort="instant")
        >>> scores["forecaster"].iloc[0]
        'ours'
        """
        from lib.forecasting.scoring import score_forecasts

        if unknown := set(columns) - set(COLUMN_ARGUMENTS):
            raise TypeError(f"backtest: unknown {sorted(unknown)}, expected {COLUMN_ARGUMENTS}")
        names = name_columns(self._columns, *(columns.get(n) for n in COLUMN_ARGUMENTS))
        history, _ = split_planned(validate(df, columns=names))
        panel = to_panel(mark_holidays(history, self.country))
        trained = self._choice.effort if self._choice else ""
        effort = effort or trained.replace(REGISTERED, "") or "default"
        check_effort(effort)
        return score_forecasts(
            panel,
            effort=effort,
            horizon=self.horizon,
            seed=self.seed,
            cutoffs=cutoffs,
            step=step,
        )

    def explain(self, series: str | None = None, date: str | None = None) -> pd.DataFrame:
        """Explain the median forecast of one day by exact Shapley values.

        Args:
            series: its id; None for the first.
            date: the day, of the horizon or of the past (then forecast from the day before);
                None for the first day of the horizon.

        Returns:
            One row a feature, the largest share first: series_id, date, feature and share, in the
            unit of the series. `attrs` has base_value and forecast; the shares sum to their
            difference.

        Raises:
            SeriesError: there is no such series or day.

        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=120)
        >>> df = pd.DataFrame({"date": days, "value": 50 + np.arange(120) % 7})
        >>> why = Forecaster(horizon=3).fit(df, effort="instant").explain(date="2024-05-01")
        >>> float(why["share"].sum()) - (why.attrs["forecast"] - why.attrs["base_value"]) < 1e-3
        True
        """
        from lib.forecasting.explaining import explain_day

        panel, _ = self._forecast_panel(None, include_ended=True)
        return explain_day(self._require_model(), panel, self.horizon, series, date)

    def save(self, folder: str | Path) -> Path:
        """Write model, history and settings to a folder, and return it.

        >>> import tempfile, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=90)
        >>> df = pd.DataFrame({"date": days, "value": range(90)})
        >>> model = Forecaster(horizon=3).fit(df, effort="instant")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = Forecaster.load(model.save(folder))
        >>> again.predict().equals(model.predict())
        True
        """
        model, folder = self._require_model(), Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(model.folder, folder / MODEL_FOLDER, dirs_exist_ok=True)
        self._history.to_parquet(folder / HISTORY_FILE, index=False)
        self._planned.to_parquet(folder / PLANNED_FILE, index=False)
        write_json(
            folder / SETTINGS_FILE,
            {
                "format_version": FORMAT_VERSION,
                "horizon": self.horizon,
                "country": self.country,
                "seed": self.seed,
                "columns": self._columns,
                "choice": asdict(self.choice),
            },
        )
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: the folder has no saved forecaster.
            ArtifactError: the model is altered.
        """
        folder = Path(folder).expanduser()
        if not (folder / SETTINGS_FILE).is_file():
            raise FileNotFoundError(
                f"{folder}: no {SETTINGS_FILE}; expected a folder that Forecaster.save wrote"
            )
        state: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        if state["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{folder / SETTINGS_FILE}: format_version {state['format_version']}, expected "
                f"{FORMAT_VERSION}; install the release that wrote it"
            )
        forecaster = cls(state["horizon"], state["country"], state["seed"])
        forecaster._columns = state["columns"]
        forecaster._history = pd.read_parquet(folder / HISTORY_FILE)
        forecaster._planned = pd.read_parquet(folder / PLANNED_FILE)
        copy = forecaster._new_folder()
        shutil.copytree(folder / MODEL_FOLDER, copy, dirs_exist_ok=True)
        forecaster._model = ServedModel.load(copy)
        forecaster._choice = Choice(**state["choice"])
        return forecaster

    @classmethod
    def registered(cls, name: str | None = None, alias: str = "production") -> Forecaster:
        """Return a forecaster with a version of the registry, which needs a history by `update`.

        Args:
            name: registered name; None for REGISTERED_MODEL_NAME.
            alias: such as "production" or "staging", or a version number.

        Raises:
            RegistryError: there is no such version.
        """
        forecaster = cls()
        registered = load_registered(forecaster._new_folder(), name=name or "", alias=alias)
        forecaster.horizon = registered.model.contract.horizon
        forecaster._model = registered.model
        forecaster._choice = Choice(REGISTERED, registered.label, f"{alias} was named")
        return forecaster

    @property
    def choice(self) -> Choice:
        """What forecasts, and why. Raises RuntimeError before `fit`."""
        if self._choice is None:
            raise RuntimeError("there is no model yet; call fit, or use load or registered")
        return self._choice

    @property
    def history(self) -> pd.DataFrame:
        """The known days in canonical columns, up to the last observed value of each series."""
        return self._history

    def _choose(self, panel: Panel, folder: Path) -> None:
        registered, reason = choose_registered(panel, folder / REGISTERED, self.horizon)
        if registered is None:
            self._model = make_model(
                panel, folder / INSTANT, effort=INSTANT, horizon=self.horizon, seed=self.seed
            )
            self._choice = Choice(INSTANT, describe_effort(INSTANT), reason)
        else:
            self._model = registered.model
            self._choice = Choice(REGISTERED, registered.label, reason)

    def _use_registered(self, folder: Path) -> None:
        registered = load_registered(folder)
        longest = registered.model.contract.horizon
        if longest < self.horizon:
            raise ValueError(
                f"horizon: {registered.label} forecasts {longest} days, expected at least "
                f"{self.horizon}; give a shorter HORIZON, or train with HORIZON={self.horizon}"
            )
        self._model = registered.model
        self._choice = Choice(REGISTERED, registered.label, f"effort {REGISTERED} was given")

    def _history_panel(self) -> Panel:
        return to_panel(mark_holidays(self._history, self.country))

    def _forecast_panel(
        self, future: pd.DataFrame | None, *, include_ended: bool
    ) -> tuple[Panel, np.ndarray]:
        """Return history and horizon of the series to forecast, and the origin of each."""
        if self._history.empty:
            raise RuntimeError("there is no history to forecast from; call fit or update first")
        history, planned = self._history, self._planned
        self.notes = []
        observed = history["date"].where(history["value"].notna())
        last = observed.groupby(history["series_id"], sort=False).transform("max")
        ended = (observed.max() - last).dt.days > self.horizon
        if ended.any() and not include_ended:
            names = history.loc[ended, "series_id"].unique().tolist()
            self.notes.append(
                f"not forecast, because their values end more than {self.horizon} days before "
                f"those of others: {list_names(names, 10)}"
            )
            history = history[~ended]
        if future is not None:
            ids = tuple(history["series_id"].unique())
            planned = update_planned(planned, read_planned(future, self._columns, ids))
        horizon = self._require_model().contract.horizon
        panel = to_panel(append_horizon(history, planned, horizon, self.country))
        return panel, panel.offsets[1:] - 1 - horizon

    def _require_model(self) -> ServedModel:
        if self._model is None:
            raise RuntimeError("there is no model yet; call fit, or use load or registered")
        return self._model

    def _new_folder(self) -> Path:
        """Return an empty folder for the model, which is removed with this object."""
        folder = tempfile.mkdtemp(prefix="forecaster-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _drop_model(self) -> None:
        self._model, self._choice, self.notes = None, None, []
