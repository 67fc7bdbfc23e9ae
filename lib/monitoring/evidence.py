"""How much a check saw, and whether that is enough for a verdict.

A check that saw little finds nothing wrong. That is no health, so it ends no incident.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lib.monitoring.accuracy import ENOUGH, MIN_DAYS, Accuracy
from lib.monitoring.arrivals import Arrivals
from lib.monitoring.drift import Drift
from lib.monitoring.drift_statistics import FEWEST
from lib.monitoring.frames import Frames, between
from lib.monitoring.results import Result

LEAST_SHARE = 0.5  # of the forecasts of the window that must have come true
_INSANE = 1e4  # per cent: an expected error that large is the result of broken data


@dataclass(frozen=True)
class Evidence(Result):
    """What a check saw.

    Attributes:
        forecasts: forecast days of the window; of a sample those in it.
        actuals: how many of them have their actual.
        share: these two divided, NaN without forecasts.
        days: days of the window with a forecast that came true.
        expected_days: days of the window.
        series: series with a forecast that came true.
        expected_series: series with a forecast.
        quarantined: implausible actuals that were left out.
        enough: whether that is enough to call the forecasts healthy.
        reason: why it is not, "" where it is.
        drift_enough: whether the features seen are enough to call the data unchanged.
    """

    forecasts: int
    actuals: int
    share: float
    days: int
    expected_days: int
    series: int
    expected_series: int
    quarantined: int
    enough: bool
    reason: str
    drift_enough: bool


def weigh_evidence(
    frames: Frames,
    accuracy: Accuracy,
    drift: Drift | None,
    *,
    first: np.datetime64,
    last: np.datetime64,
    arrivals: Arrivals | None = None,
) -> Evidence:
    """Count what the check of the window `first` to `last` saw, and judge whether it is enough.

    Args:
        frames: what was read.
        accuracy: the check of live accuracy over the window.
        drift: the check of drift, None where there was none.
        first: first target day of the window.
        last: last target day.
        arrivals: what has stopped; None where that is unknown, as for the run of a notebook.
    """
    window = between(frames.forecasts, first, last)
    known = window[np.isfinite(window["actual"].to_numpy(np.float64))]
    share = len(known) / len(window) if len(window) else math.nan
    reason = _doubt(accuracy, len(known), share, arrivals)
    return Evidence(
        forecasts=len(window),
        actuals=len(known),
        share=share,
        days=known["date"].nunique(),
        expected_days=int((last - first).astype(np.int64)) + 1,
        series=known["series_id"].nunique(),
        expected_series=window["series_id"].nunique(),
        quarantined=len(frames.quarantined),
        enough=not reason,
        reason=reason,
        drift_enough=drift is not None
        and max((one.values for one in drift.features), default=0) >= FEWEST,
    )


def _doubt(accuracy: Accuracy, known: int, share: float, arrivals: Arrivals | None) -> str:
    """Return why the window is no evidence of healthy forecasts, "" where it is."""
    if arrivals is not None and arrivals.truth_stopped:
        return f"truth has stopped arriving: {arrivals.truth_lag} days are missing"
    if arrivals is not None and arrivals.forecasts_stopped:
        return f"forecasts have stopped: the last are from {arrivals.last_forecast}"
    if not known:
        return "no forecast of the window has come true yet"
    if share < LEAST_SHARE:
        return f"{share:.0%} of the forecasts have their actual, {LEAST_SHARE:.0%} are needed"
    judged = [s for s in accuracy.scores if s.forecasts >= ENOUGH and s.days >= MIN_DAYS]
    if not judged:
        most = max(accuracy.scores, key=lambda s: s.forecasts, default=None)
        counted = f"{most.forecasts} forecasts of {most.days} days" if most else "none"
        return f"too few to judge: {counted}; {ENOUGH} forecasts of {MIN_DAYS} days are needed"
    if not has_sane_baseline(accuracy):
        return "the expected error of the model is no measure: it was trained on broken data"
    return ""


def has_sane_baseline(accuracy: Accuracy) -> bool:
    """Tell whether degradation against the expected errors can be found at all."""
    return not any(score.expected_wape > _INSANE for score in accuracy.scores)
