"""Training, validation and test days of a panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data.panel import MIN_HISTORY_DAYS, WINDOW_DAYS, Panel, SeriesError

# Where the history allows: a window to look back on and one to learn from.
TRAINING_DAYS = 2 * WINDOW_DAYS


@dataclass(frozen=True)
class DataSplit:
    """The last day, inclusive, of training, validation and test: the same for every series."""

    train_end: np.datetime64
    validation_end: np.datetime64
    test_end: np.datetime64


def choose_validation_days(panel: Panel, *, horizon: int, cutoffs: int, step: int) -> int:
    """Days to keep for stopping and calibrating: 15 % of those before the first cutoff.

    At least two horizons, at most a year: of one short series a few weeks say little of which
    network is better. A history too short for that and TRAINING_DAYS keeps one horizon.
    """
    before = _days(panel) - _test_days(horizon, cutoffs, step)
    wanted = max(2 * horizon, min(int(0.15 * before), 365))
    return max(horizon, min(wanted, before - TRAINING_DAYS))


def split_days(
    panel: Panel, *, horizon: int, cutoffs: int, step: int, validation_days: int
) -> DataSplit:
    """Divide the days of a panel, in order of time, into training, validation and test.

    The test is the last `horizon + (cutoffs - 1) * step` days, so that `cutoffs` forecasts of
    `horizon` days, `step` days apart, fit in; validation is the `validation_days` before it.
    Raises SeriesError for a number below 1, less training than one forecast with
    MIN_HISTORY_DAYS before it, or a span in which no series has a value.
    """
    asked = {
        "horizon": horizon,
        "cutoffs": cutoffs,
        "step": step,
        "validation_days": validation_days,
    }
    for name, number in asked.items():
        if number < 1:
            raise SeriesError(f"split: {name} is {number}, expected at least 1 (days or times)")
    if not len(panel.dates):
        raise SeriesError("split: the panel has no rows, expected at least one series")
    first, last = panel.dates.min(), panel.dates.max()
    test_days = _test_days(horizon, cutoffs, step)
    split = DataSplit(last - (test_days + validation_days), last - test_days, last)
    days, least = _days(panel) - test_days - validation_days, MIN_HISTORY_DAYS + horizon
    if days < least:
        fewest = least + validation_days + horizon
        remedy = f"Give at least {fewest} days, which CUTOFFS=1 takes, or a smaller HORIZON"
        if _days(panel) >= fewest:
            remedy = f"Say CUTOFFS={(_days(panel) - fewest) // step + 1}, or a smaller STEP"
        raise SeriesError(
            f"split: the data has {_days(panel)} days, {first} to {last}; {test_days} for the test "
            f"and {validation_days} for validation leave {max(days, 0)} for training, expected at "
            f"least {least}. {remedy}"
        )
    observed = panel.dates[np.isfinite(panel.values)]
    ends = (split.train_end, split.validation_end, split.test_end)
    before = (first - 1, *ends[:2])
    for name, start, end in zip(("training", "validation", "test"), before, ends, strict=True):
        if not ((observed > start) & (observed <= end)).any():
            raise SeriesError(
                f"split: no value is known in the {name} span, {start + 1} to {end}; expected at "
                "least one. Cut the data so that it ends with known values, or choose other spans"
            )
    return split


def _days(panel: Panel) -> int:
    """Days from the first of any series to the last of any."""
    return int((panel.dates.max() - panel.dates.min()).astype(np.int64)) + 1


def _test_days(horizon: int, cutoffs: int, step: int) -> int:
    return horizon + (cutoffs - 1) * step
