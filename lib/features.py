"""The eleven causal features, the known future, and the index of windows. NumPy only.

Training and serving both build their tensors here, so a forecast never depends on who asked
for it. Every feature of day t uses the values of days up to t and nothing later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.panel import Panel

FEATURES = (
    "dia_semana_sin",
    "dia_semana_cos",
    "mes_sin",
    "mes_cos",
    "media_movel_7",
    "media_movel_30",
    "desvio_movel_7",
    "lag_1",
    "lag_7",
    "fator_externo",
    "evento_especial",
)
FUTURE = (
    "dia_semana_sin",
    "dia_semana_cos",
    "mes_sin",
    "mes_cos",
    "day_of_year_sin",
    "day_of_year_cos",
    "fator_externo",
    "evento_especial",
    "last_year",
    "last_year_week",
    "last_year_level",
)
# 52 whole weeks: the day of last year that has the same weekday.
YEAR = 364
# The centred week of last year reaches 3 days past t - YEAR, which must be history at the cutoff.
MAX_HORIZON = YEAR - 4

# A context that holds fewer days than this says neither level nor spread.
GAP_DAYS = 4


def calendar(dates: np.ndarray) -> np.ndarray:
    """Weekday, month and day of year of days as sin/cos. (…,) datetime64[D] → (…, 6).

    Monday is 0 and January is 1, as in the eleven features; the day of year is scaled by 365.25.
    """
    if not dates.size:
        return np.empty((*dates.shape, 6))
    # of each day once: a panel has the same days in every series
    first = dates.min().astype("datetime64[D]")
    place = (dates.astype("datetime64[D]") - first).astype(np.int64)
    days = first + np.arange(place.max() + 1)
    months = days.astype("datetime64[M]")
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    month = months.astype(np.int64) % 12 + 1
    day_of_year = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    angles = (2 * np.pi * weekday / 7, 2 * np.pi * month / 12, 2 * np.pi * day_of_year / 365.25)
    return np.stack([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=-1)[place]


def compute(panel: Panel) -> np.ndarray:
    """The eleven features of every day of a panel, float64 (rows of the panel, 11), raw units.

    Rolling statistics are over the *observed* days among the last 7 or 30 and are NaN on a day
    that is itself missing (and the standard deviation, ddof 1, where fewer than two are
    observed). So a missing day stays visible in the features, and the value of the last day of a
    window can be told from them (`values_of`).
    """
    position = _position(panel)
    values = panel.values
    mean_7, count_7 = rolling_mean(values, position, 7)
    mean_30, _ = rolling_mean(values, position, 30)
    missing = np.isnan(values)
    columns = [
        *calendar(panel.dates)[:, :4].T,
        np.where(missing, np.nan, mean_7),
        np.where(missing, np.nan, mean_30),
        np.where(missing, np.nan, _rolling_std(values, position, mean_7, count_7)),
        _lag(values, position, 1),
        _lag(values, position, 7),
        panel.factor,
        panel.event,
    ]
    return np.stack(columns, axis=1)


def values_of(features: np.ndarray) -> np.ndarray:
    """The series behind windows of features. (batch, days, 11) → (batch, days + 7), NaN missing.

    `lag_1` of the next row is the value of a day; `lag_7` of the first rows reaches a week before
    the window; the last value follows from `media_movel_7`. The last entry is the last day.
    """
    lag_1 = features[..., FEATURES.index("lag_1")]
    lag_7 = features[..., :6, FEATURES.index("lag_7")]
    mean_7 = features[..., -1, FEATURES.index("media_movel_7")]
    previous = lag_1[..., -6:]
    observed = np.isfinite(previous).sum(axis=-1)
    last = mean_7 * (observed + 1) - np.nansum(previous, axis=-1)
    return np.concatenate([lag_7, lag_1, last[..., None]], axis=-1)


@dataclass(frozen=True)
class Windows:
    """Forecast situations of a panel: each is the row of its last known day (the cutoff).

    Windows are never materialised: `ends` (n,) holds row numbers, `context` and `future` gather
    a batch when it is needed.
    """

    panel: Panel
    features: np.ndarray  # (rows, 11)
    ends: np.ndarray  # (n,) int64
    horizon: int

    def context(self, index: np.ndarray, days: int) -> np.ndarray:
        """Features of the last `days` days. → (len(index), days, 11), NaN before the series."""
        return gather_context(self.panel, self.features, self.ends[index], days)

    def future(self, index: np.ndarray, *, known: bool = True) -> np.ndarray:
        """Known future of windows. → (len(index), horizon, len(FUTURE))."""
        return future_of(self.panel, self.ends[index], self.horizon, known=known)

    def targets(self, index: np.ndarray) -> np.ndarray:
        """What came after each cutoff. → (len(index), horizon), NaN where missing or unknown."""
        return at(self.panel, self.panel.values, self.ends[index], np.arange(1, self.horizon + 1))


def windows(
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


def gather_context(panel: Panel, features: np.ndarray, ends: np.ndarray, days: int) -> np.ndarray:
    """Feature rows of the `days` days up to each end. → (n, days, 11), NaN before the series.

    Where a gap leaves fewer than GAP_DAYS of them, the days before the gap are taken instead,
    whole weeks earlier: what a series was when it was last seen says more than nothing.
    """
    gathered = _rows_before(panel, features, ends, days)
    if days < 28:  # a few days may be missing without a gap
        return gathered
    seen = np.isfinite(gathered[..., FEATURES.index("lag_1")]).sum(axis=1)
    behind_a_gap = np.flatnonzero((seen < GAP_DAYS) & (ends - start_of(panel, ends) >= days))
    if len(behind_a_gap):
        earlier = _before_the_gap(panel, ends[behind_a_gap])
        gathered[behind_a_gap] = _rows_before(panel, features, earlier, days)
    return gathered


def _rows_before(panel: Panel, features: np.ndarray, ends: np.ndarray, days: int) -> np.ndarray:
    rows = ends[:, None] + np.arange(1 - days, 1)
    outside = rows < start_of(panel, ends)[:, None]
    gathered = features[np.maximum(rows, 0)]
    gathered[outside] = np.nan
    return gathered


def _before_the_gap(panel: Panel, ends: np.ndarray) -> np.ndarray:
    """Rows whole weeks before the ends, each less than a week after days that are seen."""
    moved = ends.copy()
    for i, (start, end) in enumerate(zip(start_of(panel, ends), ends, strict=True)):
        seen = np.flatnonzero(np.isfinite(panel.values[start : end + 1]))
        if len(seen) >= GAP_DAYS:
            moved[i] = end - (end - start - seen[-GAP_DAYS]) // 7 * 7
    return moved


def future_of(panel: Panel, ends: np.ndarray, horizon: int, *, known: bool = True) -> np.ndarray:
    """The known future after each end. → (n, horizon, len(FUTURE)), NaN where unknown.

    The planned event and the factor of a target day are read from the panel's own rows; days past
    its end are unknown (`lib.series.extend` appends planned days). `known=False` withholds them.
    Last year's values lie before the cutoff whatever the horizon (MAX_HORIZON), so are history.

    Raises:
        ValueError: the horizon is longer than a year less half a week.
    """
    if horizon > MAX_HORIZON:
        raise ValueError(f"horizon: expected at most {MAX_HORIZON} days, got {horizon}")
    steps = np.arange(1, horizon + 1)
    dates = panel.dates[ends][:, None] + steps
    unknown = np.full(dates.shape, np.nan)
    factor = at(panel, panel.factor, ends, steps) if known else unknown
    event = at(panel, panel.event, ends, steps) if known else unknown
    week = [at(panel, panel.values, ends, steps - YEAR + d) for d in range(-3, 4)]
    month = [at(panel, panel.values, ends, np.array([-YEAR - d])) for d in range(28)]
    columns = [
        factor,
        event,
        week[3],
        _observed_mean(np.stack(week)),
        np.broadcast_to(_observed_mean(np.stack(month)), dates.shape),
    ]
    return np.concatenate([calendar(dates), np.stack(columns, axis=-1)], axis=-1)


def at(panel: Panel, column: np.ndarray, ends: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """A column (rows of the panel,) at `steps` days after each end. → (len(ends), len(steps)).

    NaN outside the series; a negative step looks back.
    """
    rows = ends[:, None] + steps
    inside = (rows >= start_of(panel, ends)[:, None]) & (rows <= _last_of(panel, ends)[:, None])
    return np.where(inside, column[np.clip(rows, 0, len(column) - 1)], np.nan)


def _observed_mean(stacked: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is observed, NaN where nothing is."""
    count = np.isfinite(stacked).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _series_of(panel: Panel, rows: np.ndarray) -> np.ndarray:
    return np.searchsorted(panel.offsets, rows, side="right") - 1


def start_of(panel: Panel, rows: np.ndarray) -> np.ndarray:
    """The first row of the series of each row."""
    return panel.offsets[_series_of(panel, rows)]


def _last_of(panel: Panel, rows: np.ndarray) -> np.ndarray:
    return panel.offsets[_series_of(panel, rows) + 1] - 1


def _position(panel: Panel) -> np.ndarray:
    """Day number of each row within its series, from 0."""
    lengths = np.diff(panel.offsets)
    return np.arange(len(panel.values)) - np.repeat(panel.offsets[:-1], lengths)


def _last_row(panel: Panel) -> np.ndarray:
    return np.repeat(panel.offsets[1:] - 1, np.diff(panel.offsets))


def _from_last_kept(keep: np.ndarray, panel: Panel) -> np.ndarray:
    """For each row, its distance to the last kept row of its series."""
    rows = np.where(keep, np.arange(len(keep)), -1)
    last = np.maximum.reduceat(rows, panel.offsets[:-1])
    return np.repeat(last, np.diff(panel.offsets)) - np.arange(len(keep))


def _lag(values: np.ndarray, position: np.ndarray, days: int) -> np.ndarray:
    lagged = np.full_like(values, np.nan)
    lagged[days:] = values[:-days]
    lagged[position < days] = np.nan
    return lagged


def rolling_mean(
    values: np.ndarray, position: np.ndarray, days: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and count of the observed days of the last `days`.

    Sums each window afresh: a running sum would carry rounding, and with it the future of one
    series into the bits of the next.
    """
    total = np.zeros_like(values)
    count = np.zeros(len(values), dtype=np.int64)
    for d in range(days):
        shifted = _lag(values, position, d) if d else values
        observed = np.isfinite(shifted)
        total += np.where(observed, shifted, 0.0)
        count += observed
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _rolling_std(
    values: np.ndarray, position: np.ndarray, mean: np.ndarray, count: np.ndarray
) -> np.ndarray:
    total = np.zeros_like(values)
    for d in range(7):
        shifted = _lag(values, position, d) if d else values
        total += np.where(np.isfinite(shifted), (shifted - mean) ** 2, 0.0)
    return np.where(count > 1, np.sqrt(total / np.maximum(count - 1, 1)), np.nan)
