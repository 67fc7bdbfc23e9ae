"""Why a forecast: Shapley values of the served graph, by feature, by day, and by both.

Shapley values (Shapley 1953; SHAP, Lundberg & Lee 2017) share out the difference between a
forecast and the mean forecast of the background windows. By feature and by block of days they are
exact, over all coalitions; the feature × day map is sampled by antithetic permutations (Mitchell
et al. 2022), each of which adds up exactly too.

A feature owns its column over the whole window and what is known of it ahead: the day of the year
belongs to the month, last year's values belong to `lag_1`, which carries the series.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from lib.features import FEATURES, FUTURE
from lib.forecaster import Forecaster

TOLERANCE = 1e-4  # of the difference that is explained
BATCH = 512
# Days before the first forecast day, both included; the last block is open, then the days ahead.
BLOCKS = ((1, 1), (2, 3), (4, 7), (8, 14), (15, 28), (29, 56), (57, 10_000))
DAYS_AHEAD = "ahead"
OWNERS = {
    "day_of_year_sin": "mes_sin",
    "day_of_year_cos": "mes_cos",
    "last_year": "lag_1",
    "last_year_week": "lag_1",
    "last_year_level": "lag_1",
}

# Outputs of coalitions: (m, players) bool → (m,).
Game = Callable[[np.ndarray], np.ndarray]


class ExplanationError(RuntimeError):
    """Shares that do not add up to what they explain."""


@dataclass(frozen=True)
class Explanation:
    """Shares of one forecast, in the series' unit. They sum to `output_value - base_value`.

    Attributes:
        base_value: mean forecast of the background windows.
        by_feature: share of each of the eleven features, exact.
        by_day: share of each block of days ("1", "2-3", … days before, "ahead"), exact.
        feature_by_day: (features, blocks), sampled.
        additivity_error: largest gap of the three sums, as a share of the difference explained.
    """

    horizon_day: int
    level: float
    base_value: float
    output_value: float
    by_feature: dict[str, float]
    by_day: dict[str, float]
    feature_by_day: tuple[tuple[float, ...], ...]
    additivity_error: float
    background_windows: int

    def to_json(self) -> str:
        """For the store and the API; `from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Explanation:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        rows = tuple(tuple(row) for row in values["feature_by_day"])
        return cls(**(values | {"feature_by_day": rows}))


class Explainer:
    """Explains forecasts of one model against its own background windows.

    Args:
        background: how many of the artifact's background windows to use, evenly spaced. Each
            costs 2,048 inferences a forecast.
        horizon_day: which day ahead (1 is the first), 0 for the mean over the horizon.
        level: quantile to explain.

    Raises:
        ValueError: the level or the day is not one the model forecasts.
    """

    def __init__(
        self,
        forecaster: Forecaster,
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
        self.forecaster = forecaster
        self.horizon_day, self.level = horizon_day, level
        self._quantile = contract.quantiles.index(level)
        features, future = forecaster.background()
        chosen = np.unique(np.linspace(0, len(features) - 1, max(1, background)).astype(int))
        self._background = features[chosen], future[chosen]

    def explain(
        self, features: np.ndarray, future: np.ndarray, *, permutations: int = 8, seed: int = 0
    ) -> Explanation:
        """Explain one forecast.

        Args:
            features: (days, 11); future: (horizon, len(FUTURE)), as the forecaster takes them.
            permutations: pairs of permutations sampled for the feature × day map.

        Raises:
            ExplanationError: the shares miss the difference by more than 1e-4 of it.
        """
        by_feature = self.by_feature(features, future)
        blocks = _blocks(features.shape[0])
        by_day = exact_shapley(self._game(features, future, _day_masks(blocks)), len(blocks))
        cells = _cell_masks(blocks)
        rng = np.random.default_rng(seed)
        heat = sampled_shapley(
            self._game(features, future, cells), len(cells[0]), permutations, rng
        )
        base, output = self.base_and_output(features, future)
        error = max(
            _gap(shares, output - base, abs(output)) for shares in (by_feature, by_day, heat)
        )
        if not error <= TOLERANCE:
            raise ExplanationError(f"shares miss the difference by {error:.1e} of it")
        return Explanation(
            horizon_day=self.horizon_day,
            level=self.level,
            base_value=base,
            output_value=output,
            by_feature=dict(zip(FEATURES, by_feature.tolist(), strict=True)),
            by_day=dict(zip((name for name, _ in blocks), by_day.tolist(), strict=True)),
            feature_by_day=tuple(
                tuple(row) for row in heat.reshape(len(FEATURES), len(blocks)).tolist()
            ),
            additivity_error=error,
            background_windows=len(self._background[0]),
        )

    def by_feature(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Exact shares of the eleven features. (days, 11), (horizon, …) → (11,)."""
        return exact_shapley(self._game(features, future, _feature_masks()), len(FEATURES))

    def base_and_output(self, features: np.ndarray, future: np.ndarray) -> tuple[float, float]:
        """Mean forecast of the background, and the forecast."""
        past, ahead = self._background
        base = self._output(past[:, -features.shape[0] :], ahead).mean()
        return float(base), float(self._output(features[None], future[None])[0])

    def _game(
        self, features: np.ndarray, future: np.ndarray, masks: tuple[np.ndarray, np.ndarray]
    ) -> Game:
        """Mean output over the background when the players of a coalition are the forecast's own.

        masks: (players, days or 1, 11) and (players, horizon or 1, len(FUTURE)), what each owns.
        """
        past, ahead = self._background
        past = past[:, -features.shape[0] :]
        own_past, own_ahead = (mask.astype(np.float32) for mask in masks)

        def value(coalitions: np.ndarray) -> np.ndarray:
            out = np.empty(len(coalitions))
            step = max(1, BATCH // len(past))
            for start in range(0, len(coalitions), step):
                some = coalitions[start : start + step].astype(np.float32)
                from_past = np.tensordot(some, own_past, 1)[:, None] > 0
                from_ahead = np.tensordot(some, own_ahead, 1)[:, None] > 0
                mixed = np.where(from_past, features, past[None])
                mixed_ahead = np.where(from_ahead, future, ahead[None])
                outputs = self._output(
                    mixed.reshape(-1, *mixed.shape[2:]),
                    mixed_ahead.reshape(-1, *mixed_ahead.shape[2:]),
                )
                out[start : start + step] = outputs.reshape(len(some), -1).mean(axis=1)
            return out

        return value

    def _output(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        quantiles = self.forecaster.predict(features, future)[..., self._quantile]
        if self.horizon_day == 0:
            return quantiles.mean(axis=1)
        return quantiles[:, self.horizon_day - 1]


def exact_shapley(game: Game, players: int) -> np.ndarray:
    """Shapley values over all 2^players coalitions. → (players,)."""
    numbers = np.arange(2**players)
    coalitions = (numbers[:, None] >> np.arange(players)) & 1 == 1
    values = game(coalitions)
    size = coalitions.sum(axis=1)
    weight = np.array(
        [
            1 / (players * math.comb(players - 1, k)) if k < players else 0
            for k in range(players + 1)
        ]
    )
    shares = np.empty(players)
    for i in range(players):
        without = numbers[~coalitions[:, i]]
        gain = values[without | (1 << i)] - values[without]
        shares[i] = (weight[size[without]] * gain).sum()
    return shares


def sampled_shapley(
    game: Game, players: int, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Shapley values from pairs of a permutation and its reverse. → (players,).

    Each permutation's gains telescope, so the shares add up exactly however few are drawn.
    """
    shares = np.zeros(players)
    for _ in range(permutations):
        order = rng.permutation(players)
        for path in (order, order[::-1]):
            joined = np.zeros((players + 1, players), dtype=bool)
            rank = np.empty(players, dtype=int)
            rank[path] = np.arange(players)
            joined[1:] = rank[None, :] <= np.arange(players)[:, None]
            shares[path] += np.diff(game(joined))
    return shares / (2 * permutations)


def _gap(shares: np.ndarray, difference: float, size: float) -> float:
    # A forecast that equals the base leaves nothing to divide by: the float32 of the network
    # is then measured against the forecast itself.
    return float(abs(shares.sum() - difference) / max(abs(difference), 1e-3 * size, 1e-12))


def _blocks(days: int) -> list[tuple[str, slice]]:
    """Blocks of a window's days by name, and the days ahead (an empty slice) as the last."""
    found = []
    for first, last in BLOCKS:
        if first <= days:
            last = min(last, days)
            name = str(first) if first == last else f"{first}-{last}"
            found.append((name, slice(days - last, days - first + 1)))
    return [*found, (DAYS_AHEAD, slice(0, 0))]


def _feature_masks() -> tuple[np.ndarray, np.ndarray]:
    """What each feature owns: (11, 1, 11) of the past and (11, 1, len(FUTURE)) ahead."""
    owners = [OWNERS.get(name, name) for name in FUTURE]
    ahead = np.array([[owner == name for owner in owners] for name in FEATURES])
    return np.eye(len(FEATURES), dtype=bool)[:, None], ahead[:, None]


def _day_masks(blocks: list[tuple[str, slice]]) -> tuple[np.ndarray, np.ndarray]:
    """What each block owns: (blocks, days, 1) of the past and (blocks, 1, 1) ahead."""
    days = max(rows.stop for _, rows in blocks)
    past = np.zeros((len(blocks), days, 1), dtype=bool)
    ahead = np.zeros((len(blocks), 1, 1), dtype=bool)
    for i, (_, rows) in enumerate(blocks):
        past[i, rows] = True
    ahead[-1] = True
    return past, ahead


def _cell_masks(blocks: list[tuple[str, slice]]) -> tuple[np.ndarray, np.ndarray]:
    """What each (feature, block) owns, feature by feature: the product of the two."""
    past, ahead = _feature_masks()
    past_days, ahead_days = _day_masks(blocks)
    cells = len(FEATURES) * len(blocks)
    own_past = past[:, None] & past_days[None]  # (features, blocks, days, 11)
    own_ahead = ahead[:, None] & ahead_days[None]
    return own_past.reshape(cells, *own_past.shape[2:]), own_ahead.reshape(
        cells, *own_ahead.shape[2:]
    )
