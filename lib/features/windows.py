"""Windows of a panel: context, known future and targets of each forecast origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data import Panel
from lib.features.engineering import (
    FEATURES,
    MAX_HORIZON,
    YEAR,
    _last_of,
    _last_row,
    _position,
    calendar_features,
    start_of,
)

# A context that holds fewer days than this says neither level nor spread.
GAP_DAYS = 4


@dataclass(frozen=True)
class Windows:
    """Forecast situations of a panel: each is the row of its last known day (the cutoff).

    Windows are never materialised: `origins` (n,) holds row numbers, `context` and `future` gather
    a batch when it is needed.
    """

    panel: Panel
    features: np.ndarray  # (rows, 11)
    origins: np.ndarray  # (n,) int64
    horizon: int

    def context(self, index: np.ndarray, days: int) -> np.ndarray:
        """Features of the last `days` days. → (len(index), days, 11), NaN before the series."""
        return gather_context(self.panel, self.features, self.origins[index], days)

    def future(self, index: np.ndarray, *, known: bool = True) -> np.ndarray:
        """Known future of windows. → (len(index), horizon, len(FUTURE))."""
        return future_of(self.panel, self.origins[index], self.horizon, known=known)

    def targets(self, index: np.ndarray) -> np.ndarray:
        """What came after each cutoff. → (len(index), horizon), NaN where missing or unknown."""
        return values_at(
            self.panel, self.panel.values, self.origins[index], np.arange(1, self.horizon + 1)
        )


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
    """Index of the windows whose targets lie inside (after, until], both dates inclusive bounds.

    Args:
        after: the first target day is later than this day (default: no bound).
        until: the last target day is at most this day (default: the end of each series).
        min_history: days of a series before and including the cutoff.
        stride: keep every n-th cutoff of a series, counted from its last one.
    """
    position = _position(panel)
    remaining = _last_row(panel) - np.arange(len(panel.values))
    keep = (position + 1 >= min_history) & (remaining >= horizon)
    if after is not None:
        keep &= panel.dates >= after.astype("datetime64[D]")
    if until is not None:
        keep &= panel.dates + horizon <= until.astype("datetime64[D]")
    if stride > 1:
        keep &= _from_last_kept(keep, panel) % stride == 0
    return Windows(panel, features, np.flatnonzero(keep), horizon)


def gather_context(
    panel: Panel, features: np.ndarray, origins: np.ndarray, days: int
) -> np.ndarray:
    """Feature rows of the `days` days up to each end. → (n, days, 11), NaN before the series.

    Where a gap leaves fewer than GAP_DAYS of them, the days before the gap are taken instead,
    whole weeks earlier: what a series was when it was last seen says more than nothing.
    """
    gathered = _rows_before(panel, features, origins, days)
    if days < 28:  # a few days may be missing without a gap
        return gathered
    seen = np.isfinite(gathered[..., FEATURES.index("lag_1")]).sum(axis=1)
    behind_a_gap = np.flatnonzero((seen < GAP_DAYS) & (origins - start_of(panel, origins) >= days))
    if len(behind_a_gap):
        earlier = _before_the_gap(panel, origins[behind_a_gap])
        gathered[behind_a_gap] = _rows_before(panel, features, earlier, days)
    return gathered


def _rows_before(panel: Panel, features: np.ndarray, origins: np.ndarray, days: int) -> np.ndarray:
    rows = origins[:, None] + np.arange(1 - days, 1)
    outside = rows < start_of(panel, origins)[:, None]
    gathered = features[np.maximum(rows, 0)]
    gathered[outside] = np.nan
    return gathered


def _before_the_gap(panel: Panel, origins: np.ndarray) -> np.ndarray:
    """Rows whole weeks before the ends, each less than a week after days that are seen."""
    moved = origins.copy()
    for i, (start, end) in enumerate(zip(start_of(panel, origins), origins, strict=True)):
        seen = np.flatnonzero(np.isfinite(panel.values[start : end + 1]))
        if len(seen) >= GAP_DAYS:
            moved[i] = end - (end - start - seen[-GAP_DAYS]) // 7 * 7
    return moved


def future_of(panel: Panel, origins: np.ndarray, horizon: int, *, known: bool = True) -> np.ndarray:
    """The known future after each end. → (n, horizon, len(FUTURE)), NaN where unknown.

    The planned event and the factor of a target day are read from the panel's own rows; days past
    its end are unknown (`lib.data.loading.extend` appends planned days). `known=False` withholds them.
    Last year's values lie before the cutoff whatever the horizon (MAX_HORIZON), so are history.

    Raises:
        ValueError: the horizon is longer than a year less half a week.
    """
    if horizon > MAX_HORIZON:
        raise ValueError(f"horizon: expected at most {MAX_HORIZON} days, got {horizon}")
    steps = np.arange(1, horizon + 1)
    dates = panel.dates[origins][:, None] + steps
    unknown = np.full(dates.shape, np.nan)
    factor = values_at(panel, panel.factor, origins, steps) if known else unknown
    event = values_at(panel, panel.event, origins, steps) if known else unknown
    week = [values_at(panel, panel.values, origins, steps - YEAR + d) for d in range(-3, 4)]
    month = [values_at(panel, panel.values, origins, np.array([-YEAR - d])) for d in range(28)]
    columns = [
        factor,
        event,
        week[3],
        _observed_mean(np.stack(week)),
        np.broadcast_to(_observed_mean(np.stack(month)), dates.shape),
    ]
    return np.concatenate([calendar_features(dates), np.stack(columns, axis=-1)], axis=-1)


def values_at(
    panel: Panel, column: np.ndarray, origins: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """A column (rows of the panel,) at `steps` days after each end. → (len(ends), len(steps)).

    NaN outside the series; a negative step looks back.
    """
    rows = origins[:, None] + steps
    inside = (rows >= start_of(panel, origins)[:, None]) & (
        rows <= _last_of(panel, origins)[:, None]
    )
    return np.where(inside, column[np.clip(rows, 0, len(column) - 1)], np.nan)


def _observed_mean(stacked: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is observed, NaN where nothing is."""
    count = np.isfinite(stacked).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _from_last_kept(keep: np.ndarray, panel: Panel) -> np.ndarray:
    """For each row, its distance to the last kept row of its series."""
    rows = np.where(keep, np.arange(len(keep)), -1)
    last = np.maximum.reduceat(rows, panel.offsets[:-1])
    return np.repeat(last, np.diff(panel.offsets)) - np.arange(len(keep))
