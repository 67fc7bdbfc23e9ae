"""Windows of a panel: context, known future and targets of each forecast origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel
from lib.features.engineering import FUTURE, position_in_series
from lib.features.past_effects import PastEffects
from lib.features.windows import gather_context, known_future, values_at


@dataclass(frozen=True)
class Windows:
    """Forecast situations of a panel, each named by its origin: the row of its last known day.

    The arrays of a batch are gathered when it is needed, never all at once.

    Attributes:
        panel: N rows.
        features: (N, 11), as `compute_features` returns them.
        origins: (n,) int64, row numbers.
        horizon: days ahead.
        hidden: names among `fator_externo` and `evento_especial` that are unknown ahead.
        past_effects: of past covariates, which targets are without.
    """

    panel: Panel
    features: np.ndarray
    origins: np.ndarray
    horizon: int
    hidden: tuple[str, ...] = ()
    past_effects: PastEffects | None = None

    def context(self, index: np.ndarray, days: int) -> np.ndarray:
        """Return the features of the last `days` days of windows, as `gather_context` does."""
        return gather_context(self.panel, self.features, self.origins[index], days)

    def known_future(self, index: np.ndarray) -> np.ndarray:
        """Return the known future of windows, (len(index), horizon, len(FUTURE))."""
        future = known_future(self.panel, self.origins[index], self.horizon)
        for name in self.hidden:
            future[..., FUTURE.index(name)] = np.nan
        return future

    def targets(self, index: np.ndarray) -> np.ndarray:
        """Return the values after each origin, (len(index), horizon), NaN where missing."""
        steps = np.arange(1, self.horizon + 1)
        origins = self.origins[index]
        targets = values_at(self.panel, self.panel.values, origins, steps)
        if self.past_effects is None:
            return targets
        effects, units = self.past_effects.measure(self.panel, origins, self.horizon)
        effect, units = effects.sum(axis=0), units[:, None]
        return np.where(np.isnan(units), targets * np.exp(-effect), targets - units * effect)


def index_windows(
    panel: Panel,
    features: np.ndarray,
    horizon: int,
    *,
    after: np.datetime64 | None = None,
    until: np.datetime64 | None = None,
    min_history: int = 60,
    stride: int = 1,
) -> Windows:
    """Index the windows whose target days lie in a period.

    Args:
        panel: N rows.
        features: (N, 11), as `compute_features` returns them.
        horizon: days ahead.
        after: the first target day is later than this day (default: no bound).
        until: the last target day is at most this day (default: the end of each series).
        min_history: days of a series up to and including the origin.
        stride: keep every n-th origin of a series, counted from its last one.

    >>> from lib.data import SynthesisSpec, synthesize
    >>> from lib.features import compute_features
    >>> panel, _ = synthesize(SynthesisSpec(n_series=2, n_days=90), seed=1)
    >>> windows = index_windows(panel, compute_features(panel), horizon=7, stride=7)
    >>> windows.origins
    array([ 61,  68,  75,  82, 151, 158, 165, 172])
    >>> windows.context(np.array([0]), days=60).shape
    (1, 60, 11)
    """
    rows = np.arange(len(panel.values))
    keep = position_in_series(panel) + 1 >= min_history
    keep &= panel.last_row_of(rows) - rows >= horizon
    if after is not None:
        keep &= panel.dates >= after.astype("datetime64[D]")
    if until is not None:
        keep &= panel.dates + horizon <= until.astype("datetime64[D]")
    if stride > 1:
        keep &= _distance_to_last_kept(keep, panel) % stride == 0
    return Windows(panel, features, np.flatnonzero(keep), horizon)


def _distance_to_last_kept(keep: np.ndarray, panel: Panel) -> np.ndarray:
    """Return the distance of each row to the last kept row of its series. (N,)."""
    rows = np.where(keep, np.arange(len(keep)), -1)
    last = np.maximum.reduceat(rows, panel.offsets[:-1])
    return np.repeat(last, np.diff(panel.offsets)) - np.arange(len(keep))
