"""Explain a forecast by Shapley values of the served graph: by feature, by day, and by both.

Shapley values (Shapley 1953; SHAP, Lundberg & Lee 2017) share out the difference between a
forecast and the mean forecast of the background windows. By feature and by block of days they are
exact, over all coalitions. The feature × day map holds Owen values (Owen 1977) with the features
as unions: sampled, each row summing to the exact share of its feature. Its columns need not sum to
the shares by day, which are another game.

A player outside a coalition takes the inputs of the background window at the same place in the
window. These are of another date: a background window may begin on another weekday.

Cost, CPU seconds on one core (hidden 48, 28 days ahead; 4,200 to 4,900 inferences/s, at 60 as at
175 days, in batches of 64 to 1,024): by feature 2,048 inferences a background window, 0.5 s; with
3 of them, the default, 1.4 s, and all of `explain` 2.5 s. Players that equal the background's
cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib.explanation.explanation import Explanation
from lib.explanation.players import (
    Players,
    block_players,
    cell_players,
    feature_players,
    split_blocks,
)
from lib.explanation.shapley import Game, exact_shapley, sampled_owen
from lib.features import FEATURES
from lib.inference import ServedModel

TOLERANCE = 1e-4  # of the difference that is explained
BATCH = 256  # windows per inference
# Explained number of each window: (n, days, 11) and (n, horizon, len(FUTURE)) in, (n,) out.
Output = Callable[[np.ndarray, np.ndarray], np.ndarray]


class ExplanationError(RuntimeError):
    """The shares do not add up to the difference that they explain."""


class Explainer:
    """Explain forecasts of one model against its own background windows.

    Args:
        forecaster: the model.
        background: how many of the model's background windows to use, evenly spaced (all of them
            where it has fewer). Each costs at most 2,048 inferences a forecast.
        horizon_day: the day ahead, 1 for the first; 0 for the mean over the horizon.
        level: the quantile to explain.

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
    ) -> None:
        contract = forecaster.contract
        if level not in contract.quantiles:
            raise ValueError(f"level: expected one of {contract.quantiles}, got {level}")
        if not 0 <= horizon_day <= contract.horizon:
            raise ValueError(f"horizon_day: expected 0 to {contract.horizon}, got {horizon_day}")
        if background < 1:
            raise ValueError(f"background: expected at least 1 window, got {background}")
        self.forecaster = forecaster
        self.horizon_day, self.level = horizon_day, level
        self._quantile = contract.quantiles.index(level)
        self._background = _choose_background(forecaster, background)

    def explain(
        self, features: np.ndarray, future: np.ndarray, *, permutations: int = 8, seed: int = 0
    ) -> Explanation:
        """Explain one forecast.

        Args:
            features: (days, 11), raw units, NaN where missing.
            future: (horizon, len(FUTURE)), NaN where unknown.
            permutations: pairs of permutations sampled for the feature × day map.
            seed: of the sampled permutations.

        Raises:
            ExplanationError: the shares miss the difference by more than TOLERANCE of it.
            ValueError: a shape is not that of the model's contract.
        """
        base, output = self.base_and_output(features, future)
        blocks = split_blocks(features.shape[0])
        by_feature = self.by_feature(features, future)
        by_day = exact_shapley(self.game(features, future, block_players(blocks)), len(blocks))
        cells = self.game(features, future, cell_players(blocks))
        rng = np.random.default_rng(seed)
        by_both = sampled_owen(cells, by_feature, len(blocks), permutations, rng)
        # The rows are made to sum: whether the cells together make the forecast is checked too.
        all_cells = np.diff(cells(np.repeat([[False], [True]], by_both.size, axis=1)))
        error = _check_sums((by_feature, by_day, by_both, all_cells), base, output)
        return Explanation(
            horizon_day=self.horizon_day,
            level=self.level,
            base_value=base,
            output_value=output,
            by_feature=dict(zip(FEATURES, by_feature.tolist(), strict=True)),
            by_day=dict(zip((block.name for block in blocks), by_day.tolist(), strict=True)),
            feature_by_day=tuple(tuple(row) for row in by_both.tolist()),
            additivity_error=error,
            background_windows=len(self._background[0]),
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

    def sample(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Compute the exact shares of the features in many forecasts.

        The mean of their sizes is the global importance of each feature.

        Args:
            features: (n, days, 11).
            future: (n, horizon, len(FUTURE)).

        Returns:
            (n, 11), in the unit of the series.
        """
        pairs = zip(features, future, strict=True)
        return np.array([self.by_feature(*pair) for pair in pairs]).reshape(-1, len(FEATURES))

    def base_and_output(self, features: np.ndarray, future: np.ndarray) -> tuple[float, float]:
        """Return the mean forecast of the background windows, and the forecast.

        Args:
            features: (days, 11).
            future: (horizon, len(FUTURE)).
        """
        past, ahead = self._background_of(features.shape[0])
        base = self._output(past, ahead).mean()
        return float(base), float(self._output(features[None], future[None])[0])

    def game(self, features: np.ndarray, future: np.ndarray, players: Players) -> Game:
        """Return the game whose value is the mean output over the background windows.

        The players of a coalition bring the inputs of the forecast, the others those of a
        background window.
        """
        return _BackgroundGame(
            self._output, (features, future), self._background_of(len(features)), players
        )

    def _background_of(self, days: int) -> tuple[np.ndarray, np.ndarray]:
        past, ahead = self._background
        return past[:, -days:], ahead

    def _output(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        quantiles = self.forecaster.predict(features, future)[..., self._quantile]
        if self.horizon_day == 0:
            return quantiles.mean(axis=1)
        return quantiles[:, self.horizon_day - 1]


class _BackgroundGame:
    """Value coalitions by the mean output of windows that mix a forecast with the background."""

    def __init__(
        self,
        output: Output,
        window: tuple[np.ndarray, np.ndarray],
        background: tuple[np.ndarray, np.ndarray],
        players: Players,
    ) -> None:
        self._output, self._window = output, window
        self._background = list(zip(*background, strict=True))
        self._weights = [mask.astype(np.float32) for mask in players]
        # A player whose inputs equal the background's changes nothing: (windows, players)
        self._matters = np.array([_differs(players, window, each) for each in self._background])

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the values of coalitions: (n, players) bool in, (n,) out."""
        total = np.zeros(len(coalitions))
        for background, matters in zip(self._background, self._matters, strict=True):
            distinct, place = np.unique(coalitions & matters, axis=0, return_inverse=True)
            total += self._mixed_outputs(distinct, background)[place.ravel()]
        return total / len(self._background)

    def _mixed_outputs(
        self, coalitions: np.ndarray, background: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        outputs = np.empty(len(coalitions))
        for start in range(0, len(coalitions), BATCH):
            batch = coalitions[start : start + BATCH].astype(np.float32)
            mixed = [
                np.where(np.tensordot(batch, weights, 1) > 0, ours, theirs)
                for weights, ours, theirs in zip(
                    self._weights, self._window, background, strict=True
                )
            ]
            outputs[start : start + BATCH] = self._output(*mixed)
        return outputs


def _choose_background(model: ServedModel, count: int) -> tuple[np.ndarray, np.ndarray]:
    features, future = model.background()
    count = min(count, len(features))
    # the middle of each of `count` parts: a single window is not the oldest one
    chosen = ((np.arange(count) + 0.5) * len(features) / count).astype(int)
    return features[chosen], future[chosen]


def _differs(
    players: Players,
    window: tuple[np.ndarray, np.ndarray],
    background: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return whether any input of each player differs from the background's: (players,) bool."""
    past, ahead = (
        (mask & ~_same(ours, theirs)).any(axis=(1, 2))
        for mask, ours, theirs in zip(players, window, background, strict=True)
    )
    return past | ahead


def _same(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))


def _check_sums(shares: tuple[np.ndarray, ...], base: float, output: float) -> float:
    """Return the largest relative gap between a sum of shares and the difference explained."""
    difference = output - base
    # A forecast that equals the base leaves nothing to divide by: the float32 of the network
    # is then measured against the forecast itself.
    size = max(abs(difference), 1e-3 * abs(output), 1e-12)
    error = max(float(abs(each.sum() - difference) / size) for each in shares)
    if not error <= TOLERANCE:
        raise ExplanationError(
            f"the shares miss the difference of {difference:.6g} between forecast and "
            f"background by {error:.1e} of it, expected at most {TOLERANCE:.0e}"
        )
    return error
