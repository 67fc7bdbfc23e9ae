"""Checks of whole series: errors for what cannot be used, warnings for what is unusual."""

from __future__ import annotations

import numpy as np
import structlog

from lib.data.grouped_rows import GroupedRows
from lib.data.panel import WINDOW_DAYS
from lib.data.spikes import find_spikes

# The forecaster cannot distinguish smaller values.
SMALLEST = 1e-5
# Of the size of a series: smaller differences are the rounding of its numbers.
ROUNDING = 1e-9
SHOWN = 10  # series in a message
YOUNG_WINDOWS = 2  # of context: a shorter series beside longer ones is mentioned


def check_series(rows: GroupedRows, min_days: int) -> None:
    """Check each series as a whole, and warn of short and constant ones and of odd values.

    Args:
        rows: of the table.
        min_days: observed values that at least one series must have.

    Raises:
        SeriesError: all series are too short, one has no value, or all values are tiny.
    """
    _check_lengths(rows, min_days)
    # fmin and fmax skip missing values.
    low = np.fmin.reduceat(rows.values, rows.starts)
    high = np.fmax.reduceat(rows.values, rows.starts)
    _check_any_value(rows, np.flatnonzero(np.isnan(low)))
    _check_magnitude(rows, np.fmax(-low, high).max())
    _warn_of_constants(rows, np.flatnonzero(is_constant(low, high)))
    _warn_of_spikes(rows)


def is_constant(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return where lowest and highest value are the same but for the rounding of numbers."""
    return high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))


def _check_lengths(rows: GroupedRows, min_days: int) -> None:
    observed = np.add.reduceat(np.isfinite(rows.values).astype(np.int64), rows.starts)
    short = np.flatnonzero(observed < min_days)
    if len(short) == len(rows.ids) and observed.any():
        others = f", and none of {len(rows.ids)} has enough" if len(rows.ids) > 1 else ""
        raise rows.source.error(
            f"series {rows.ids[0]!r} has {observed[0]} observed values{others}",
            column="value",
            row=int(rows.order[rows.starts[0]]),
            expected=f"at least {min_days}, "
            + ("one window" if min_days == WINDOW_DAYS else "as requested"),
            remedy="Give a longer history",
        )
    if len(short):
        _warn_of_lengths(
            "series_short",
            rows,
            observed,
            short,
            f"kept; little can be learned from fewer than {min_days} values",
        )
    young = np.flatnonzero((observed >= min_days) & (observed < YOUNG_WINDOWS * WINDOW_DAYS))
    if len(young) and observed.max() >= YOUNG_WINDOWS * YOUNG_WINDOWS * WINDOW_DAYS:
        advice = "kept; their forecasts rest on these values and on what longer series teach"
        _warn_of_lengths("series_young", rows, observed, young, advice)


def _warn_of_lengths(
    event: str, rows: GroupedRows, observed: np.ndarray, series: np.ndarray, advice: str
) -> None:
    names = [rows.ids[s] for s in series[:SHOWN]]
    structlog.get_logger().warning(
        event,
        file=rows.source.name,
        series=names,
        count=len(series),
        days=int(observed[series].min()),
        values=dict(zip(names, observed[series].tolist(), strict=False)),
        advice=advice,
    )


def _warn_of_spikes(rows: GroupedRows) -> None:
    ends = np.append(rows.starts[1:], len(rows.values))
    for start, end in zip(rows.starts, ends, strict=True):
        for row in start + find_spikes(rows.values[start:end])[:SHOWN]:
            structlog.get_logger().warning(
                "series_spike",
                file=rows.source.name,
                series=rows.ids[rows.codes[row]],
                day=str(rows.date(row)),
                value=float(rows.values[row]),
                row=rows.source.locate(int(rows.order[row])),
                advice="kept; a thousand times the values around it. It is not scored, and no "
                "scale is measured with it. Correct it, or leave it blank",
            )


def _check_any_value(rows: GroupedRows, empty: np.ndarray) -> None:
    if not len(empty):
        return
    s = int(empty[0])
    name = rows.ids[s]
    series = f'frame["{rows.source.column("series_id")}"].astype(str)'
    drop = f', or drop it: frame[{series} != "{name}"]' if len(rows.ids) > 1 else ""
    others = f", as are those of {len(empty) - 1} others" if len(empty) > 1 else ""
    raise rows.source.error(
        f"every value of series {name!r} is missing{others}",
        column="value",
        row=int(rows.order[rows.starts[s]]),
        expected="known values",
        remedy=f"Set {rows.source.parameter('value')} to the column that holds them{drop}",
    )


def _check_magnitude(rows: GroupedRows, largest: float) -> None:
    if 0 < largest < SMALLEST:
        raise rows.source.error(
            f"no value is larger than {largest:.3g}",
            column="value",
            expected=f"some of {SMALLEST:g} or more",
            remedy="Give them in a smaller unit, such as millionths",
        )


def _warn_of_constants(rows: GroupedRows, constant: np.ndarray) -> None:
    if not len(constant):
        return
    s = int(constant[0])
    row = int(rows.order[rows.starts[s]])
    structlog.get_logger().warning(
        "series_constant",
        file=rows.source.name,
        series=rows.ids[s],
        value=float(np.fmin.reduceat(rows.values, rows.starts)[s]),
        count=len(constant),
        names=[rows.ids[s] for s in constant[:SHOWN]],
        row=rows.source.locate(row),
        advice="kept; its forecast is that constant, and it has no MASE",
    )
