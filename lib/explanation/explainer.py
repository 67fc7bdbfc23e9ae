"""Explain a forecast by Shapley values of the served graph: by feature, by day, and by both.

Shapley values (Shapley 1953; SHAP, Lundberg & Lee 2017) share out the difference between a
forecast and the mean forecast of the background windows. By feature and by block of days they are
exact, over all coalitions. The feature × day map holds Owen values (Owen 1977) with the features
as unions: sampled, each row summing to the exact share of its feature. Its columns need not sum to
the shares by day, which are another game.

A player outside a coalition takes the inputs of the background window at the same place in the
window. Of a dated series, the background windows are of its own past and on the same weekday; of
60 rows without dates, they are the artifact's, of another date and series.

Covariates with a learned effect are players too. The network forecasts the series without these
effects, and they multiply what it forecasts (or add to it). So their Shapley values are exact
however many there are. A covariate outside a coalition has its usual effect: the mean of those on
the days that the background windows forecast.

Cost, CPU seconds on one core (hidden 48, 28 days ahead; 4,200 to 4,900 inferences/s, at 60 as at
175 days, in batches of 64 to 1,024): by feature at most 2,048 inferences a background window, 512
where the weekday is the same. Players that equal the background's cost nothing, and covariates cost
no inference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.data import Panel
from lib.explanation.cases import Case, make_case, spread_evenly
from lib.explanation.explanation import Explanation
from lib.explanation.games import NetworkGame, block_game, cell_game
from lib.explanation.players import (
    Players,
    block_players,
    cell_players,
    feature_players,
    split_blocks,
)
from lib.explanation.shapley import Game, exact_shapley, sampled_owen
from lib.explanation.shares import check_sums, player_names, share_out
from lib.features import FEATURES
from lib.inference import ServedModel

OWN_WINDOWS = 8  # of the past of a series
_PERMUTATIONS = 16  # pairs that are sampled for the map, all background windows together


class Explainer:
    """Explain forecasts of one model.

    Args:
        forecaster: the model.
        background: how many of the model's background windows to use, evenly spaced (all of them
            where it has fewer). Each costs at most 2,048 inferences a forecast.
        horizon_day: the day ahead, 1 for the first; 0 for the mean over the horizon.
        level: the quantile to explain. Other levels than the median are those of the graph: the
            width that a series was calibrated to is not part of them.
        own_windows: how many windows of its own past a dated series is compared with.

    Raises:
        ValueError: the model does not forecast that level or day, or no background is requested.
    """

    def __init__(
        self,
        forecaster: ServedModel,
        *,
        background: int = 3,
        horizon_day: int = 1,
        level: float = 0.5,
        own_windows: int = OWN_WINDOWS,
    ) -> None:
        contract = forecaster.contract
        if level not in contract.quantiles:
            raise ValueError(f"level: expected one of {contract.quantiles}, got {level}")
        if not 0 <= horizon_day <= contract.horizon:
            raise ValueError(f"horizon_day: expected 0 to {contract.horizon}, got {horizon_day}")
        if background < 1:
            raise ValueError(f"background: expected at least 1 window, got {background}")
        if own_windows < 1:
            raise ValueError(f"own_windows: expected at least 1 window, got {own_windows}")
        self.forecaster = forecaster
        self.horizon_day, self.level, self.own_windows = horizon_day, level, own_windows
        self._quantile = contract.quantiles.index(level)
        past, ahead = forecaster.background()
        chosen = spread_evenly(np.arange(len(past)), background)
        self._background = past[chosen], ahead[chosen]

    def explain(
        self, features: np.ndarray, future: np.ndarray, *, permutations: int = 8, seed: int = 0
    ) -> Explanation:
        """Explain the forecast of a window without dates, beside the model's background windows.

        Args:
            features: (days, 11), raw units, NaN where missing.
            future: (horizon, len(FUTURE)), NaN where unknown.
            permutations: pairs of permutations sampled for the feature × day map.
            seed: of the sampled permutations.

        Raises:
            ExplanationError: the shares miss the difference by more than TOLERANCE of it.
            ValueError: a shape is not that of the model's contract.
        """
        return self._explain(self._undated(features, future), permutations, seed)

    def explain_day(
        self,
        panel: Panel,
        origin: int,
        *,
        context: int | None = None,
        recent: int | None = None,
        seed: int = 0,
    ) -> Explanation:
        """Explain a forecast of a dated series, beside what is usual for this series.

        Covariates that are known ahead are players beside the features. A series that has no past
        of its own is compared with the model's background windows.

        Args:
            panel: known days, and what is known of those ahead.
            origin: row of the last known day.
            context: days of features to use (default: the longest context of the model).
            recent: days up to the origin that the forecast was made from (default: all). Earlier
                ones only say what is usual.
            seed: of the sampled permutations.

        Raises:
            ExplanationError: the shares miss the difference by more than TOLERANCE of it.
            ValueError: a shape is not that of the model's contract.
        """
        case = self.case(panel, origin, context=context, recent=recent)
        permutations = max(1, min(8, _PERMUTATIONS // len(case.background[0])))
        return self._explain(case, permutations, seed)

    def case(
        self,
        panel: Panel,
        origin: int,
        *,
        context: int | None = None,
        recent: int | None = None,
    ) -> Case:
        """Gather the inputs, the background windows and the effects of a dated forecast.

        Args:
            panel: as for `explain_day`, like the others.
            origin: row of the last known day.
            context: days of features to use.
            recent: days that the forecast was made from.
        """
        steps = np.arange(1, self.forecaster.contract.horizon + 1)
        steps = steps if self.horizon_day == 0 else steps[[self.horizon_day - 1]]
        return make_case(
            self.forecaster,
            panel,
            origin,
            steps,
            self._background,
            windows=self.own_windows,
            context=context,
            recent=recent,
        )

    def by_feature(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Compute the exact shares of the eleven features.

        Args:
            features: (days, 11), raw units, NaN where missing.
            future: (horizon, len(FUTURE)), NaN where unknown.

        Returns:
            (11,), in the unit of the series.
        """
        return exact_shapley(self.game(features, future, feature_players()), len(FEATURES))

    def shares_of(self, case: Case) -> dict[str, float]:
        """Compute the exact shares of the features and, after them, of the covariates, by name."""
        network = self._network(case, feature_players())
        shares = share_out(network, case)
        return dict(zip(player_names(case), shares.tolist(), strict=True))

    def sample_days(
        self, panel: Panel, origins: Sequence[int] | np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Compute the exact shares of features and covariates in many dated forecasts.

        The mean of their sizes is the global importance of each player.

        Args:
            panel: N rows.
            origins: (n,) rows of the last known days.

        Returns:
            (n, players) in the unit of the series, 0 where a covariate is not known ahead; and the
            names of the players, the eleven features first.
        """
        sampled = [self.shares_of(self.case(panel, int(origin))) for origin in origins]
        names = tuple(dict.fromkeys([*FEATURES, *(name for each in sampled for name in each)]))
        shares = np.array([[each.get(name, 0.0) for name in names] for each in sampled])
        return shares.reshape(-1, len(names)), names

    def base_and_output(self, features: np.ndarray, future: np.ndarray) -> tuple[float, float]:
        """Return the mean forecast of the background windows, and the forecast.

        Args:
            features: (days, 11).
            future: (horizon, len(FUTURE)).
        """
        return self.ends_of(self._undated(features, future))

    def ends_of(self, case: Case) -> tuple[float, float]:
        """Return the base value of a case, and its forecast."""
        base, output = self._values_of(case, case.background), self._values_of(case)
        if case.effects is None:
            return float(base.mean()), float(output.mean())
        present = np.ones((1, len(case.effects.names)), dtype=bool)
        base = case.effects.put_back(base.mean(axis=0, keepdims=True), ~present)
        return float(base.mean()), float(case.effects.put_back(output, present).mean())

    def game(self, features: np.ndarray, future: np.ndarray, players: Players) -> Game:
        """Return the game whose value is the mean output over the background windows.

        The players of a coalition bring the inputs of the forecast, the others those of a
        background window.
        """
        return self._network(self._undated(features, future), players)

    def _undated(self, features: np.ndarray, future: np.ndarray) -> Case:
        past, ahead = self._background
        return Case((features, future), (past[:, -len(features) :], ahead))

    def _explain(self, case: Case, permutations: int, seed: int) -> Explanation:
        base, output = self.ends_of(case)
        blocks = split_blocks(len(case.window[0]))
        names = player_names(case)
        by_feature = share_out(self._network(case, feature_players()), case)
        size, effects = len(blocks), case.effects
        network = self._network(case, block_players(blocks))
        by_day = exact_shapley(block_game(network, size, effects), size)
        cells = cell_game(self._network(case, cell_players(blocks)), size, effects)
        rng = np.random.default_rng(seed)
        by_both = sampled_owen(cells, by_feature, size, permutations, rng)
        # The rows are made to sum: whether the cells together make the forecast is checked too.
        all_cells = np.diff(cells(np.repeat([[False], [True]], by_both.size, axis=1)))
        error = check_sums((by_feature, by_day, by_both, all_cells), base, output)
        return Explanation(
            horizon_day=self.horizon_day,
            level=self.level,
            base_value=base,
            output_value=output,
            by_feature=dict(zip(names, by_feature.tolist(), strict=True)),
            by_day=dict(zip((block.name for block in blocks), by_day.tolist(), strict=True)),
            feature_by_day=tuple(tuple(row) for row in by_both.tolist()),
            additivity_error=error,
            background_windows=len(case.background[0]),
            covariates=dict(zip(effects.names, effects.values, strict=True)) if effects else {},
            base_of_series=case.of_series,
        )

    def _network(self, case: Case, players: Players) -> NetworkGame:
        def output(features: np.ndarray, future: np.ndarray) -> np.ndarray:
            return self._output(features, future, nonnegative=case.nonnegative)

        return NetworkGame(output, case.window, case.background, players)

    def _values_of(
        self, case: Case, windows: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Return the outputs of windows, by default of the one explained: (n, days)."""
        if windows is None:
            windows = case.window[0][None], case.window[1][None]
        return self._output(*windows, nonnegative=case.nonnegative)

    def _output(self, features: np.ndarray, future: np.ndarray, *, nonnegative: bool) -> np.ndarray:
        quantiles = self.forecaster.predict(features, future)[..., self._quantile]
        if self.horizon_day:
            quantiles = quantiles[:, [self.horizon_day - 1]]
        return np.maximum(quantiles, 0.0) if nonnegative else quantiles
