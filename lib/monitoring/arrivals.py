"""What arrives: the last day that the bulk of the truth has reached, and what has stopped.

One stray row of a series that nobody forecasts otherwise decides nothing: days and series count by
the pairs of forecast and actual that they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from lib.monitoring.arrival_rows import (
    PAIR_DAYS,
    Visits,
    count_pairs,
    read_forecast_gaps,
    read_forecasts,
    read_repeated,
    read_truth,
    read_truth_gaps,
    to_date,
)
from lib.monitoring.results import Result
from lib.storage import Store, utcnow

_NAMED = 10  # series that a report names


@dataclass(frozen=True)
class Arrivals(Result):
    """What has arrived by `day`, and what has stopped.

    Attributes:
        day: as of which this is, an ISO string.
        last_truth: last day that the bulk of the truth has reached, "" without any.
        truth_lag: days from there to `day`; 0 without any.
        last_forecast: last day from which the bulk of the series was forecast, "" without any.
        series: number of series that are forecast usually.
        truth_stopped: whether truth has stopped for most of them.
        forecasts_stopped: whether forecasts have stopped for most of them.
        silent_series: how many of the others have no truth any more.
        vanished_series: how many of the others are no longer forecast.
        names: some of these, silent first.
    """

    day: str
    last_truth: str
    truth_lag: int
    last_forecast: str
    series: int
    truth_stopped: bool
    forecasts_stopped: bool
    silent_series: int
    vanished_series: int
    names: tuple[str, ...]

    @property
    def stopped(self) -> bool:
        """Whether the bulk of truth or forecasts has stopped: then nothing is known of today."""
        return self.truth_stopped or self.forecasts_stopped


def last_day(store: Store, until: np.datetime64 | None = None) -> np.datetime64 | None:
    """Return the last day with at least half of the usual number of forecasts that came true.

    Usual is what the typical pair of the last days with any has beside it. Series with one or two
    pairs count where there are no others. An actual of the future is a typing error, unless there
    are no others.

    Args:
        store: the database.
        until: look at no later day.

    Returns:
        The day; None without any pair.

    Raises:
        StoreError: the database cannot be used.
    """
    with store.reading() as connection:
        counts: dict[np.datetime64, int] = {}
        tomorrow = utcnow().date() + timedelta(days=1)  # wherever on earth it is
        limits = [to_date(until)] if until is not None else [tomorrow, None]
        for limit in limits:
            counts = count_pairs(connection, store.model_name, limit)
            if counts:
                break
    if not counts:
        return None
    newest = sorted(counts)[-PAIR_DAYS:]
    by_size = sorted(counts[day] for day in newest)
    halfway = int(np.searchsorted(np.cumsum(by_size), sum(by_size) / 2))
    return max(day for day in newest if 2 * counts[day] >= by_size[halfway])


def measure_arrivals(
    store: Store,
    day: np.datetime64,
    *,
    silent_days: int,
    usual_lag: float,
    until: np.datetime64 | None = None,
) -> Arrivals:
    """Measure what has arrived by a day. Raises StoreError.

    Args:
        store: the database.
        day: as of which.
        silent_days: after which what was to come and has not is missed.
        usual_lag: days that truth usually comes after its day.
        until: look at no later day of truth (default: as `last_day`).
    """
    bulk = last_day(store, until)
    with store.reading() as connection:
        made = read_forecasts(connection, store.model_name, to_date(day))
        known = read_truth(connection, to_date(day), list(made))
        vanished = {name for name, series in made.items() if series.is_overdue(day, silent_days)}
        gaps = read_forecast_gaps(connection, store.model_name, to_date(day), vanished)
        vanished = {name for name in vanished if made[name].waited(day) > 2 * gaps.get(name, 0)}
        recent = to_date(day - silent_days + 1)
        overdue = {name: made[name] for name in vanished}
        vanished -= read_repeated(connection, store.model_name, recent, overdue)
        silent = set()
        if bulk is not None:
            silent = _find_silent(made, known, bulk, silent_days) - vanished
            gaps = read_truth_gaps(connection, to_date(bulk), silent)
            silent = {
                name
                for name in silent
                if name not in known or known[name].waited(bulk) > 2 * gaps.get(name, 0)
            }
    lag = 0 if bulk is None else max(0, int((day - bulk).astype(np.int64)))
    last = _middle([series.last for series in made.values()])
    until_due = _middle([min(day, series.last_target) for series in made.values()])
    since = bulk if bulk is not None else min((s.first for s in made.values()), default=day)
    waits = 0 if until_due is None else int((until_due - since).astype(np.int64))
    truth_stopped = waits >= usual_lag + silent_days
    forecasts_stopped = 2 * len(vanished) > len(made)
    is_partial = not truth_stopped and 2 * len(silent) <= len(made)
    return Arrivals(
        day=str(day),
        last_truth="" if bulk is None else str(bulk),
        truth_lag=lag,
        last_forecast="" if last is None else str(last),
        series=len(made),
        truth_stopped=truth_stopped,
        forecasts_stopped=forecasts_stopped,
        silent_series=len(silent) if is_partial else 0,
        vanished_series=0 if forecasts_stopped else len(vanished),
        names=tuple([*sorted(silent), *sorted(vanished)][:_NAMED]),
    )


def _find_silent(
    made: dict[str, Visits], known: dict[str, Visits], bulk: np.datetime64, silent_days: int
) -> set[str]:
    """Return the series that are forecast and whose truth is overdue, bar those of `/predict`."""
    return {
        name
        for name, series in made.items()
        if name
        and (bulk - series.first).astype(np.int64) >= silent_days
        and (name not in known or known[name].is_overdue(bulk, silent_days))
    }


def _middle(days: list[np.datetime64]) -> np.datetime64 | None:
    return sorted(days)[len(days) // 2] if days else None
