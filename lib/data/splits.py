"""Training, validation and test days of a panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data.panel import MIN_HISTORY_DAYS, WINDOW_DAYS, Panel, SeriesError
from lib.data.planned import last_history_day

# Where the history allows: one window to look back on and one to learn from.
TRAINING_DAYS = 2 * WINDOW_DAYS


@dataclass(frozen=True)
class DataSplit:
    """The last day, inclusive, of training, validation and test: the same for every series."""

    train_end: np.datetime64
    validation_end: np.datetime64
    test_end: np.datetime64


def choose_validation_days(panel: Panel, *, horizon: int, cutoffs: int, step: int) -> int:
    """Return how many days to keep for early stopping and calibration.

    That is 15 % of the days before the first cutoff, at least two horizons and at most a year:
    a few weeks of one short series do not tell which network is better. A history too short for
    that and TRAINING_DAYS keeps one horizon.

    Args:
        panel: the series.
        horizon: days of a forecast.
        cutoffs: number of forecasts in the test.
        step: days between two cutoffs.
    """
    days = _days(panel) - _test_days(horizon, cutoffs, step)
    return _validation_days(days, horizon)


def split_without_test(panel: Panel, *, horizon: int) -> DataSplit:
    """Divide the days of a panel into training and validation, to forecast the days after them.

    The validation is the last days, as many as `choose_validation_days` keeps of a history without
    a test; `test_end` is `validation_end`.

    Raises:
        SeriesError: the training days do not hold one forecast with MIN_HISTORY_DAYS before it, or
            a part has no observed value.
    """
    _check_positive(horizon=horizon)
    days = _days(panel)
    validation_days = _validation_days(days, horizon)
    least = MIN_HISTORY_DAYS + horizon
    if days - validation_days < least:
        raise SeriesError(
            f"split: the data has {days} days, {panel.dates.min()} to {panel.dates.max()}; "
            f"{validation_days} for validation leave {max(days - validation_days, 0)} for "
            f"training, expected at least {least}. Give at least {least + horizon} days, or a "
            "smaller HORIZON"
        )
    last = panel.dates.max()
    split = DataSplit(last - validation_days, last, last)
    _check_observed(panel, split)
    return split


def split_days(
    panel: Panel, *, horizon: int, cutoffs: int, step: int, validation_days: int
) -> DataSplit:
    """Divide the days of a panel, in order of time, into training, validation and test.

    The test is the last `horizon + (cutoffs - 1) * step` days of the history (planned rows are no
    history): `cutoffs` forecasts of `horizon`
    days, `step` days apart, fit in. The validation is the `validation_days` before it.

    Raises:
        SeriesError: a number is below 1, the training days do not hold one forecast with
            MIN_HISTORY_DAYS before it, or a part has no observed value.
    """
    _check_positive(horizon=horizon, cutoffs=cutoffs, step=step, validation_days=validation_days)
    if not len(panel.dates):
        raise SeriesError("split: the panel has no rows, expected at least one series")
    last = last_history_day(panel)
    test_days = _test_days(horizon, cutoffs, step)
    split = DataSplit(last - (test_days + validation_days), last - test_days, last)
    _check_training_days(panel, horizon, test_days, validation_days, step)
    _check_observed(panel, split)
    return split


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise SeriesError(f"split: {name} is {number}, expected at least 1 (days or times)")


def _check_training_days(
    panel: Panel, horizon: int, test_days: int, validation_days: int, step: int
) -> None:
    total = _days(panel)
    days, least = total - test_days - validation_days, MIN_HISTORY_DAYS + horizon
    if days >= least:
        return
    fewest = least + validation_days + horizon
    remedy = f"Give at least {fewest} days, which CUTOFFS=1 takes, or a smaller HORIZON"
    if total >= fewest:
        remedy = f"Say CUTOFFS={(total - fewest) // step + 1}, or a smaller STEP"
    raise SeriesError(
        f"split: the data has {total} days, {panel.dates.min()} to {last_history_day(panel)}; "
        f"{test_days} for the test and {validation_days} for validation leave {max(days, 0)} for "
        f"training, expected at least {least}. {remedy}"
    )


def _check_observed(panel: Panel, split: DataSplit) -> None:
    observed = panel.dates[np.isfinite(panel.values)]
    ends = (split.train_end, split.validation_end, split.test_end)
    starts = (panel.dates.min() - 1, *ends[:2])  # exclusive
    for name, start, end in zip(("training", "validation", "test"), starts, ends, strict=True):
        if start < end and not ((observed > start) & (observed <= end)).any():
            raise SeriesError(
                f"split: no value is known in the {name} span, {start + 1} to {end}; expected at "
                "least one. Cut the data so that it ends with known values, or choose other spans"
            )


def _validation_days(days: int, horizon: int) -> int:
    """Return how many of the days before the test are for validation."""
    validation_days = max(2 * horizon, min(int(0.15 * days), 365))
    return max(horizon, min(validation_days, days - TRAINING_DAYS))


def _days(panel: Panel) -> int:
    """Return the days from the first of any series to the last of any history."""
    return int((last_history_day(panel) - panel.dates.min()).astype(np.int64)) + 1


def _test_days(horizon: int, cutoffs: int, step: int) -> int:
    return horizon + (cutoffs - 1) * step
