"""How much is needed: totals, sample paths and orders of a forecaster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.forecasting.scenarios import compare_scenarios
from lib.forecasting.totals import JointForecast, draw_paths, order_table, sum_forecast
from lib.inference import PATHS


class Planning(ABC):
    """Plan by the joint forecast of all series. `Forecaster` inherits these methods.

    Attributes:
        notes: what a reader of the result should know, a sentence each.
    """

    notes: list[str]

    @abstractmethod
    def _split_covariates(self, future: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return a table of planned covariates with each of them alone, by its name."""

    @abstractmethod
    def _forecast_jointly(
        self, *futures: pd.DataFrame | None, include_ended: bool, paths: int, seed: int
    ) -> JointForecast:
        """Forecast all series, with what draws their paths; later plans go before earlier."""

    def totals(
        self,
        days: Sequence[int | str] | None = None,
        by: str | Mapping[str, str] | None = None,
        *,
        future: pd.DataFrame | None = None,
        include_ended: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Forecast sums over days and over series.

        They come from sample paths that keep the dependence between days and series of the past
        (see `paths`): the quantile of a week is not the sum of the quantiles of its days.

        Args:
            days: `7` for the first seven days, `"8-14"`, `"weeks"` or `"months"` for the calendar
                ones that lie in the horizon. By default the first week and the horizon.
            by: None for each series, "all" for the sum of all, a static covariate, or the group of
                each series by its name, such as a dict or a pandas Series.
            future: as for `predict`.
            include_ended: as for `predict`.
            seed: of the paths.

        Returns:
            One row for each group and range: group, first and last (dates), days, series (how
            many), mean and q0.05 … q0.95. The mean is the sum of the means of `predict`.

        Raises:
            ValueError: a range is wrong.
            SeriesError: `future` cannot be used, or a series has no group.
            ArtifactError: the model cannot draw paths; the message says why.

        >>> import numpy as np, pandas as pd
        >>> from lib import Forecaster
        >>> days = pd.date_range("2024-01-01", periods=200)
        >>> df = pd.DataFrame({"date": days, "value": 50.0 + np.arange(200) % 7})
        >>> model = Forecaster(horizon=14).fit(df, effort="instant")
        >>> model.totals(days=[7, "8-14"])["days"].tolist()
        [7, 7]
        """
        joint = self._forecast_jointly(future, include_ended=include_ended, paths=PATHS, seed=seed)
        totals = sum_forecast(joint, days, by)
        self.notes = joint.notes
        return totals

    def paths(
        self,
        n: int = PATHS,
        seed: int = 0,
        *,
        future: pd.DataFrame | None = None,
        include_ended: bool = False,
    ) -> pd.DataFrame:
        """Draw sample paths of the coming days, for sums of your own.

        A path takes the ranks of the truth of one past day, of all days and series together, and
        maps them through the quantiles of this forecast.

        Args:
            n: number of paths.
            seed: of the paths.
            future: as for `predict`.
            include_ended: as for `predict`.

        Returns:
            One row a series and day: series_id, date, and the columns 0 … n - 1. Column 3 of one
            series belongs to column 3 of the others.
        """
        joint = self._forecast_jointly(future, include_ended=include_ended, paths=n, seed=seed)
        self.notes = joint.notes
        return draw_paths(joint)

    def order(
        self,
        lead_time: int | str,
        service_level: float | None = None,
        stock: float | Mapping[str, float] = 0.0,
        *,
        cost_over: float | None = None,
        cost_under: float | None = None,
        future: pd.DataFrame | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return how much to order so that stock and order cover the demand of a lead time.

        Args:
            lead_time: days that the order has to last, from the first forecast day.
            service_level: wanted probability that they do, such as 0.95; or else both costs.
            stock: at hand or on its way, of every series or by its name; 0 where the names leave
                a series out, which `notes` says.
            cost_over: of a unit that is left.
            cost_under: of a unit that is missing.
            future: as for `predict`.
            seed: of the paths.

        Returns:
            One row a series: series_id, first, last, stock, quantity, service_level, covers,
            expected_demand, expected_shortage and expected_leftover.

        Raises:
            ValueError: an argument is out of range.
            SeriesError: `future` cannot be used, or `stock` names a series that is not forecast.
        """
        joint = self._forecast_jointly(future, include_ended=False, paths=PATHS, seed=seed)
        self.notes = joint.notes
        return order_table(
            joint,
            lead_time,
            stock=stock,
            service_level=service_level,
            cost_over=cost_over,
            cost_under=cost_under,
        )

    def scenarios(
        self,
        scenarios: Mapping[str, pd.DataFrame],
        days: Sequence[int | str] | None = None,
        by: str | Mapping[str, str] | None = None,
        *,
        future: pd.DataFrame | None = None,
        by_covariate: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Compare the totals of several futures with that of the days planned so far, the base.

        They are compared path by path, so that a difference has an interval of its own, which is
        much narrower than the intervals of the totals.

        Args:
            scenarios: planned covariates as for `predict`, by the name of the scenario. What a
                table leaves out stays as in the base.
            future: planned covariates of the base, as for `predict`; a plan given to another call
                is not remembered.
            days: as for `totals`.
            by: as for `totals`.
            by_covariate: whether to say how much of each difference each covariate makes.
            seed: of the paths.

        Returns:
            One row for each scenario, group, range and measure (`total`, and `difference` from the
            base): scenario, group, measure, first, last, days, series, mean and q0.05 … q0.95.
            With `by_covariate` also a column `covariate`, and below each difference a row of
            measure `part` for each column of the scenario's table: only a mean. The parts add up
            to the difference.

        Raises:
            ValueError: a scenario is named `base`, or a range is wrong.
            SeriesError: a table cannot be used.
            ArtifactError: the model cannot draw paths; the message says why.

        >>> import numpy as np, pandas as pd
        >>> from lib import Forecaster
        >>> days = pd.date_range("2024-01-01", periods=200)
        >>> df = pd.DataFrame({"date": days, "value": 50.0 + np.arange(200) % 7, "promo": 0.0})
        >>> df.loc[::9, ["value", "promo"]] = 80.0, 1.0
        >>> model = Forecaster(horizon=7).fit(df, event="promo", effort="instant")
        >>> plan = pd.DataFrame({"date": ["2024-07-20"], "promo": [1.0]})
        >>> table = model.scenarios({"promotion": plan}, days=[7], by_covariate=True)
        >>> table["measure"].tolist(), table["covariate"].iloc[-1]
        (['total', 'total', 'difference', 'part'], 'promo')
        """

        def forecast(changes: pd.DataFrame | None) -> JointForecast:
            return self._forecast_jointly(
                future, changes, include_ended=False, paths=PATHS, seed=seed
            )

        base = forecast(None)
        joint = {name: forecast(changes) for name, changes in scenarios.items()}
        alone: dict[str, dict[str, JointForecast]] | None = None
        if by_covariate:
            alone = {}
            for name, changes in scenarios.items():
                tables = self._split_covariates(changes)
                # A single covariate makes all of the difference.
                single = joint[name] if len(tables) == 1 else None
                alone[name] = {c: single or forecast(table) for c, table in tables.items()}
        compared = compare_scenarios(base, joint, days, by, alone)
        same = [name for name, one in joint.items() if np.array_equal(one.means, base.means)]
        self.notes = base.notes + [
            f"scenario {name!r} changes nothing: none of its days is ahead, or the model knows "
            "none of what it plans"
            for name in same
        ]
        self.notes += [
            f"scenario {name!r}: {note}"
            for name, one in joint.items()
            for note in one.notes
            if note not in base.notes
        ]
        return compared
