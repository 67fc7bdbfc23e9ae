"""What arrives: the last day that the bulk of the truth has reached, and what has stopped.

One stray row of a series that nobody forecasts otherwise decides nothing: days and series count by
the pairs of forecast and actual that they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from lib.monitoring.results import Result
from lib.storage import Store, actuals, predictions, utcnow

_DAYS = 28  # last days with pairs that say what is usual
_FEWEST = 3  # pairs that make a series one of the usual
_PAST = 90  # days of forecasts and actuals that say how often a series has them
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
        limits = [_date(until)] if until is not None else [tomorrow, None]
        for limit in limits:
            counts = _count_pairs(connection, store.model_name, limit)
            if counts:
                break
    if not counts:
        return None
    newest = sorted(counts)[-_DAYS:]
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
        made = _read_forecasts(connection, store.model_name, _date(day))
        known = _read_truth(connection, _date(day), list(made))
    lag = 0 if bulk is None else max(0, int((day - bulk).astype(np.int64)))
    vanished = {name for name, series in made.items() if series.is_overdue(day, silent_days)}
    silent = {
        name
        for name, series in made.items()
        if bulk is not None
        and name not in vanished
        and name
        and (bulk - series.first).astype(np.int64) >= silent_days
        and (name not in known or known[name].is_overdue(bulk, silent_days))
    }
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


@dataclass(frozen=True)
class _Visits:
    """On which days a series was forecast, or had its truth: first, last, and their number."""

    first: np.datetime64
    last: np.datetime64
    count: int
    last_target: np.datetime64

    def is_overdue(self, day: np.datetime64, silent_days: int) -> bool:
        """Tell whether the next visit should have come by `day`.

        Three times the mean distance is waited for, since some come when a person clicks.
        """
        waits = (day - self.last).astype(np.int64)
        mean = (self.last - self.first).astype(np.int64) / max(1, self.count - 1)
        return bool(waits >= max(silent_days, 3 * mean))


def _middle(days: list[np.datetime64]) -> np.datetime64 | None:
    return sorted(days)[len(days) // 2] if days else None


def _count_pairs(
    connection: sa.Connection, model_name: str, until: date | None
) -> dict[np.datetime64, int]:
    """Count the forecasts that came true by day, of the usual series."""
    days = _pairs_by(connection, model_name, until, None, by_day=True)
    if not days:
        return {}
    newest = sorted(days)[-_DAYS:]
    since = _date(np.datetime64(newest[0], "D"))
    by_series = _pairs_by(connection, model_name, until, since, by_day=False)
    rare = [name for name, count in by_series.items() if count < _FEWEST]
    if rare and len(rare) < len(by_series):
        days = _pairs_by(connection, model_name, until, since, by_day=True, rare=rare)
    return {np.datetime64(day, "D"): count for day, count in days.items()}


def _pairs_by(
    connection: sa.Connection,
    model_name: str,
    until: date | None,
    since: date | None,
    *,
    by_day: bool,
    rare: list[str] | None = None,
) -> dict[Any, int]:
    """Count the actuals of days that were forecast, by day (ISO) or by series ("" without)."""
    kept = predictions.c
    spans = sa.select(
        kept.series_id,
        sa.func.min(kept.first_date).label("first"),
        sa.func.max(kept.last_date).label("last"),
    ).where(kept.model_name == model_name, kept.series_id.is_not(None))
    span = spans.group_by(kept.series_id).subquery().c
    day, name = sa.cast(actuals.c.date, sa.Text), actuals.c.series_id
    dated = sa.select(day if by_day else name, sa.func.count()).where(
        actuals.c.series_id == span.series_id,
        actuals.c.date >= span.first,
        actuals.c.date <= span.last,
        is_trusted(),
    )
    if until is not None:
        dated = dated.where(actuals.c.date <= until)
    if since is not None:
        dated = dated.where(actuals.c.date >= since)
    excluded = set(rare or ())
    if len(excluded) <= 500:
        dated = dated.where(name.not_in(excluded)) if excluded else dated
    rows = connection.execute(dated.group_by(day if by_day else name))
    counts = {row[0]: row[1] for row in rows}
    if "" in excluded:
        return counts
    # A forecast without a series is about the day after it was made.
    made = sa.func.date(kept.created_at)
    undated = sa.select(made, sa.func.count()).where(
        kept.model_name == model_name,
        kept.series_id.is_(None),
        kept.trace_id == actuals.c.trace_id,
        is_trusted(),
    )
    for made_on, count in connection.execute(undated.group_by(made)):
        target = np.datetime64(str(made_on), "D") + 1
        is_late = until is not None and target > np.datetime64(until, "D")
        if not is_late and (since is None or target >= np.datetime64(since, "D")):
            key = str(target) if by_day else ""
            counts[key] = counts.get(key, 0) + count
    return counts


def is_trusted() -> sa.ColumnElement[bool]:
    """Select the actuals that are not quarantined."""
    return actuals.c.quality.is_distinct_from("quarantined")


def _read_forecasts(connection: sa.Connection, model_name: str, day: date) -> dict[str, _Visits]:
    """Return the origins of each series that is usually forecast; "" stands for `/predict`."""
    kept = predictions.c
    of_series = sa.select(
        kept.series_id,
        sa.func.min(kept.first_date),
        sa.func.max(kept.first_date),
        sa.func.count(kept.first_date.distinct()),
        sa.func.max(kept.last_date),
    ).where(
        kept.model_name == model_name,
        kept.series_id.is_not(None),
        kept.first_date <= day + timedelta(days=1),
    )
    visits = {
        name: _Visits(_day(first) - 1, _day(last) - 1, count, _day(target))
        for name, first, last, count, target in connection.execute(
            of_series.group_by(kept.series_id)
        )
        if count >= _FEWEST
    }
    recent = {name: v for name, v in visits.items() if v.last > _day(day) - _PAST}
    if recent or visits:
        return recent or visits
    made = sa.func.date(kept.created_at)
    undated = sa.select(sa.func.min(made), sa.func.max(made), sa.func.count(made.distinct()))
    query = undated.where(kept.model_name == model_name, kept.series_id.is_(None))
    first, last, count = connection.execute(query).one()
    if count < _FEWEST or _day(first) > _day(day):
        return {}
    return {"": _Visits(_day(first), min(_day(last), _day(day)), count, _day(last) + 1)}


def _read_truth(connection: sa.Connection, day: date, names: list[str]) -> dict[str, _Visits]:
    """Return the days with truth of each of these series."""
    kept = actuals.c
    since = date.fromordinal(max(1, day.toordinal() - _PAST))
    of_series = sa.select(
        kept.series_id, sa.func.min(kept.date), sa.func.max(kept.date), sa.func.count()
    ).where(kept.series_id.is_not(None), kept.date <= day, kept.date >= since, is_trusted())
    wanted = set(names)
    return {
        name: _Visits(_day(first), _day(last), count, _day(last))
        for name, first, last, count in connection.execute(of_series.group_by(kept.series_id))
        if name in wanted
    }


def _day(day: object) -> np.datetime64:
    return np.datetime64(str(day), "D")


def _date(day: np.datetime64) -> Any:
    return day.astype("datetime64[D]").astype(object)
