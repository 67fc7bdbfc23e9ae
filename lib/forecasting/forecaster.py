"""The public class: fit, predict, backtest, explain, save and load on plain DataFrames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.data import read_vintages, validate
from lib.forecasting.doubts import describe_doubts
from lib.forecasting.effort import get_model
from lib.forecasting.fitting import REGISTERED, check_effort, least_days
from lib.forecasting.history import History
from lib.forecasting.model_choice import Choice, load_registered
from lib.forecasting.saving import Saved, read_folder, write_folder
from lib.forecasting.state import ForecasterState
from lib.forecasting.tables import forecast_days, name_columns

COLUMN_ARGUMENTS = ("date", "value", "series", "external", "event")
COVARIATE_ARGUMENTS = ("covariates", "past_covariates", "static_covariates", "categorical")


class Forecaster(ForecasterState):
    """Forecast the coming days of daily series.

    Args:
        horizon: days ahead.
        country: two-letter code, or the name of a static covariate that holds one a series. Its
            named holidays are a covariate; its public ones are the events of data without any.
        seed: of the search and of training.
        state: of the country, such as "SP".

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
        covariates: Sequence[str] = (),
        past_covariates: Sequence[str] = (),
        static_covariates: Sequence[str] = (),
        categorical: Sequence[str] = (),
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
            covariates: columns that are known for the days ahead: numbers, booleans or 0 and 1,
                categories. Their kinds are found by their values.
            past_covariates: columns that are known up to today only.
            static_covariates: columns with one value a series.
            categorical: those of them that are categories though they look like numbers.
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
        if effort not in (None, REGISTERED):
            check_effort(effort)
        columns = name_columns({}, date, value, series, external, event)
        table = validate(
            df,
            columns=columns,
            covariates=covariates,
            past_covariates=past_covariates,
            static_covariates=static_covariates,
            categorical=categorical,
            min_days=least_days(effort),
        )
        return self.fit_table(table, effort, columns=columns, progress=progress)

    def fit_table(
        self,
        table: pd.DataFrame,
        effort: str | None = "default",
        *,
        columns: Mapping[str, str] | None = None,
        progress: bool = False,
    ) -> Forecaster:
        """Learn from a canonical table, as `lib.data.load` returns it for a file.

        Args:
            table: canonical; the events of the country are not part of it.
            effort: as for `fit`.
            columns: canonical names to the names that later tables have; by default the same.
            progress: as for `fit`.
        """
        if effort not in (None, REGISTERED):
            check_effort(effort)
        self._model, self._choice, self.notes = None, None, []
        self._history = History.of_table(table, columns or {}, self.country, self.state)
        self._model, self._choice = get_model(
            self._history.panel(),
            self._new_folder(),
            effort=effort,
            horizon=self.horizon,
            seed=self.seed,
            progress=progress,
        )
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

        The names of the columns are those of the last call, where they are left out. Covariates
        that the table lacks are unknown.

        >>> import pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=90)
        >>> df = pd.DataFrame({"day": days, "units": range(90)})
        >>> model = Forecaster(horizon=7).fit(df[:80], "day", "units", effort="instant")
        >>> str(model.update(df).predict()["date"].iloc[0].date())
        '2024-03-31'
        """
        columns = name_columns(self._history.columns, date, value, series, external, event)
        options = self._learned.options(df, columns.values())
        table = validate(df, columns=columns, min_days=1, **options)
        self._history = History.of_table(table, columns, self.country, self.state)
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
        ahead = self._look_ahead(future, include_ended=include_ended)
        forecast, notes = forecast_days(self._require_model(), ahead, self.horizon)
        self.notes = ahead.notes + notes + describe_doubts(self.history, forecast)
        return forecast

    def backtest(
        self,
        df: pd.DataFrame,
        cutoffs: int = 6,
        step: int = 28,
        *,
        effort: str | None = None,
        future: pd.DataFrame | None = None,
        **columns: Any,
    ) -> pd.DataFrame:
        """Score forecasts of the past beside those of forecasts that need no training.

        A model of its own learns only days up to the first cutoff.

        Args:
            df: as for `fit`.
            cutoffs: number of forecasts of each series.
            step: days between two cutoffs.
            effort: as for `fit`; by default that of the fit, and "default" before one.
            future: covariates as they were planned or forecast, one row for each day (and series)
                and each time that they were known, in the column known_at. At a cutoff they stand
                for those of `df` on the days ahead: the latest row known by then counts, and
                without one the covariate is unknown.
            columns: date, value, series, external, event and those of covariates, as for `fit`;
                by default those of the fit.

        Returns:
            One row a forecaster, ours first: forecaster, mase, wape (%), wql (%), coverage_80 (%)
            and days (the number scored). `attrs["notes"]` says which covariates were taken from
            `future`.

        Raises:
            SeriesError: a table cannot be used, or is too short for so many cutoffs.
            ParameterError: the effort trains nothing on its own days.

        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=150)
        >>> df = pd.DataFrame({"date": days, "value": 50 + np.arange(150) % 7})
        >>> scores = Forecaster(horizon=7).backtest(df, cutoffs=2, step=7, effort="instant")
        >>> scores["forecaster"].iloc[0]
        'ours'
        """
        from lib.forecasting.scoring import score_forecasts

        expected = (*COLUMN_ARGUMENTS, *COVARIATE_ARGUMENTS)
        if unknown := set(columns) - set(expected):
            raise TypeError(f"backtest: unknown {sorted(unknown)}, expected {expected}")
        names = name_columns(self._history.columns, *(columns.get(n) for n in COLUMN_ARGUMENTS))
        covariates = {name: columns[name] for name in COVARIATE_ARGUMENTS if name in columns}
        options = covariates or self._learned.options(df, names.values())
        table = validate(df, columns=names, **options)
        vintages = None if future is None else read_vintages(future, names, table)
        panel = History.of_table(table, names, self.country, self.state).panel()
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
            vintages=vintages,
        )

    def explain(
        self,
        series: str | None = None,
        date: str | None = None,
        future: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Explain the median forecast of one day by exact Shapley values.

        The base is what is usual for this series: its own forecasts of the last year, of the same
        step ahead and weekday. A series that is too young for that is compared with the windows
        that the model keeps, and `base_of_series` is False.

        Args:
            series: its id; None for the first.
            date: the day, of the horizon or of the past (then forecast from the day before);
                None for the first day of the horizon.
            future: planned covariates of the coming days, as for `predict`.

        Returns:
            One row a feature or covariate that is known ahead, the largest share first: series_id,
            date, feature, meaning and share, in the unit of the series. `attrs` has base_value,
            forecast and base_of_series; the shares sum to the difference of the first two.

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

        ahead = self._look_ahead(future, include_ended=True)
        model, names = self._require_model(), self._history.columns
        return explain_day(model, ahead.panel, self.horizon, series, date, names)

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
        folder = Path(folder).expanduser()
        model = self._require_model()
        write_folder(folder, Saved(self.horizon, self.seed, self._history, model, self.choice))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: the folder has no saved forecaster.
            ArtifactError: the model is altered.
        """
        forecaster = cls()
        saved = read_folder(Path(folder).expanduser(), forecaster._new_folder())
        forecaster.horizon, forecaster.seed = saved.horizon, saved.seed
        forecaster.country, forecaster._history = saved.history.country, saved.history
        forecaster.state = saved.history.state
        forecaster._model, forecaster._choice = saved.model, saved.choice
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
