"""Why a forecast: Shapley values of the served graph, by feature, by day, and by both.

Shapley values (Shapley 1953; SHAP, Lundberg & Lee 2017) share out the difference between a
forecast and the mean forecast of the background windows. By feature and by block of days they are
exact, over all coalitions. The feature × day map holds Owen values (Owen 1977), features as the
unions: sampled by antithetic permutations (Mitchell et al. 2022), each row summing to the exact
share of its feature. Its columns need not sum to the shares by day, which are another game.

A feature owns its column over the whole window and what is known of it ahead: the day of the year
belongs to the month, last year's values belong to `lag_1`, which carries the series. A player that
is out of a coalition is replaced by the background window's, of the same place in the window (so
of another date: a background window may begin on another weekday).

Cost, CPU seconds on one core (hidden 48, 28 days ahead; 4,200 to 4,900 inferences/s, at 60 as at
175 days, in batches of 64 to 1,024): by feature 2,048 inferences a background window, 0.5 s; with
3 of them, the default, 1.4 s, and all of `explain` 2.5 s. Players that equal the background's
cost nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from lib.explanation.shapley import Game, exact_shapley, sampled_owen
from lib.features import FEATURES, FUTURE
from lib.inference import ServedModel

TOLERANCE = 1e-4  # of the difference that is explained
BATCH = 256
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


class ExplanationError(RuntimeError):
    """Shares that do not add up to what they explain."""


@dataclass(frozen=True)
class Explanation:
    """Shares of one forecast, in the series' unit. They sum to `output_value - base_value`.

    Attributes:
        base_value: mean forecast of the background windows.
        by_feature: share of each of the eleven features, exact.
        by_day: share of each block of days ("1", "2-3", … days before, "ahead"), exact.
        feature_by_day: (features, blocks), sampled; each row sums to the feature's share.
        additivity_error: largest gap of the three sums, as a share of the difference explained
            (or of a thousandth of the forecast, where the difference is smaller than that).
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
        background: how many of the artifact's background windows to use, evenly spaced (all of
            them where it has fewer). Each costs at most 2,048 inferences a forecast.
        horizon_day: which day ahead (1 is the first), 0 for the mean over the horizon.
        level: quantile to explain.

    Raises:
        ValueError: the level or the day is not one the model forecasts, or no background.
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
        features, future = forecaster.background()
        count = min(background, len(features))
        # the middle of each of `count` parts: a single window is not the oldest one
        chosen = ((np.arange(count) + 0.5) * len(features) / count).astype(int)
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
            ValueError: a shape is not of the forecaster's contract.
        """
        base, output = self.base_and_output(features, future)
        by_feature = self.by_feature(features, future)
        blocks = _blocks(features.shape[0])
        by_day = exact_shapley(self._game(features, future, _day_masks(blocks)), len(blocks))
        game = self._game(features, future, _cell_masks(blocks))
        rng = np.random.default_rng(seed)
        heat = sampled_owen(game, by_feature, len(blocks), permutations, rng)
        # The rows are made to sum: that the cells together make the forecast is checked apart.
        cells = np.diff(game(np.repeat([[False], [True]], heat.size, axis=1)))
        error = max(
            _gap(shares, output - base, abs(output)) for shares in (by_feature, by_day, heat, cells)
        )
        if not error <= TOLERANCE:
            raise ExplanationError(
                f"the shares miss the difference of {output - base:.6g} between forecast and "
                f"background by {error:.1e} of it, expected at most {TOLERANCE:.0e}"
            )
        return Explanation(
            horizon_day=self.horizon_day,
            level=self.level,
            base_value=base,
            output_value=output,
            by_feature=dict(zip(FEATURES, by_feature.tolist(), strict=True)),
            by_day=dict(zip((name for name, _ in blocks), by_day.tolist(), strict=True)),
            feature_by_day=tuple(tuple(row) for row in heat.tolist()),
            additivity_error=error,
            background_windows=len(self._background[0]),
        )

    def by_feature(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Exact shares of the eleven features. (days, 11), (horizon, …) → (11,)."""
        return exact_shapley(self._game(features, future, _feature_masks()), len(FEATURES))

    def sample(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """`by_feature` of many forecasts. (n, days, 11), (n, horizon, len(FUTURE)) → (n, 11).

        The mean of their sizes is the global importance of each feature.
        """
        pairs = zip(features, future, strict=True)
        return np.array([self.by_feature(*pair) for pair in pairs]).reshape(-1, len(FEATURES))

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
        own_past, own_ahead = masks
        past, ahead = self._background
        past = past[:, -features.shape[0] :]
        # A player whose own is what the background has changes nothing: (windows, players)
        differs = np.array(
            [
                (own_past & ~_same(features, p)).any(axis=(1, 2))
                | (own_ahead & ~_same(future, a)).any(axis=(1, 2))
                for p, a in zip(past, ahead, strict=True)
            ]
        )
        weights = own_past.astype(np.float32), own_ahead.astype(np.float32)

        def mixed(coalitions: np.ndarray, window: int) -> np.ndarray:
            out = np.empty(len(coalitions))
            for start in range(0, len(coalitions), BATCH):
                some = coalitions[start : start + BATCH].astype(np.float32)
                mine_past, mine_ahead = (np.tensordot(some, own, 1) > 0 for own in weights)
                out[start : start + BATCH] = self._output(
                    np.where(mine_past, features, past[window]),
                    np.where(mine_ahead, future, ahead[window]),
                )
            return out

        def value(coalitions: np.ndarray) -> np.ndarray:
            total = np.zeros(len(coalitions))
            for window, matters in enumerate(differs):
                distinct, place = np.unique(coalitions & matters, axis=0, return_inverse=True)
                total += mixed(distinct, window)[place.ravel()]
            return total / len(past)

        return value

    def _output(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        quantiles = self.forecaster.predict(features, future)[..., self._quantile]
        if self.horizon_day == 0:
            return quantiles.mean(axis=1)
        return quantiles[:, self.horizon_day - 1]


def _gap(shares: np.ndarray, difference: float, size: float) -> float:
    # A forecast that equals the base leaves nothing to divide by: the float32 of the network
    # is then measured against the forecast itself.
    return float(abs(shares.sum() - difference) / max(abs(difference), 1e-3 * size, 1e-12))


def _same(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (mine == other) | (np.isnan(mine) & np.isnan(other))


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
