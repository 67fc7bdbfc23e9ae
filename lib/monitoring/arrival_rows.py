"""What the database says of arrivals: forecasts that came true, and the days of each series."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import sqlalchemy as sa

from lib.features import MAX_HORIZON
from lib.storage import actuals, predictions

PAIR_DAYS = 28  # last days with pairs that say what is usual
_FEWEST = 3  # pairs that make a series one of the usual
_PAST = 90  # days of forecasts and actuals that say how often a series has them
_MOST_NAMES = 500  # of series in one query
_LOOK_BACK = 30  # days that are looked through for pairs first, and twice as many from then on


@dataclass(frozen=True)
class Visits:
    """On which days a series was forecast, or had its truth: first, last, and their number."""

    first: np.datetime64
    last: np.datetime64
    count: int
    last_target: np.datetime64

    def is_overdue(self, day: np.datetime64, silent_days: int) -> bool:
        """Tell whether the next visit should have come by `day`.

        Three times the mean distance is waited for, since some come when a person clicks.
        """
        waited = self.waited(day)
        if waited < silent_days:
            return False
        mean = (self.last - self.first).astype(np.int64) / max(1, self.count - 1)
        return bool(waited >= 3 * mean)

    def waited(self, day: np.datetime64) -> int:
        """Return the days since the last visit."""
        return int((day - self.last).astype(np.int64))


def count_pairs(
    connection: sa.Connection, model_name: str, until: date | None
) -> dict[np.datetime64, int]:
    """Count the forecasts that came true by day, of the usual series."""
    days = _newest_days(connection, model_name, until)
    if not days:
        return {}
    newest = sorted(days)[-PAIR_DAYS:]
    since = to_date(np.datetime64(newest[0], "D"))
    rare = _pairs_by(connection, model_name, until, since, by_day=False)
    if rare and sum(rare.values()) < sum(days[day] for day in newest):
        days = _pairs_by(connection, model_name, until, since, by_day=True, rare=rare) or days
    return {np.datetime64(day, "D"): count for day, count in days.items()}


def _newest_days(connection: sa.Connection, model_name: str, until: date | None) -> dict[str, int]:
    """Count the pairs of the last PAIR_DAYS days with any, at least; older ones are seldom read."""
    kept = actuals.c
    dated = sa.select(kept.date).where(kept.date.is_not(None), is_trusted()).limit(1)
    # By the index, from either end: min and max would look at all of it.
    oldest = connection.scalar(dated.order_by(kept.date))
    newest = connection.scalar(dated.order_by(kept.date.desc()))
    if oldest is None or newest is None:
        return _pairs_by(connection, model_name, until, None, by_day=True)
    newest = newest if until is None else min(newest, until)
    reach, days = _LOOK_BACK, {}
    while True:
        since = date.fromordinal(max(1, newest.toordinal() - reach))
        days = _pairs_by(connection, model_name, until, since, by_day=True)
        if len(days) >= PAIR_DAYS or since <= oldest:
            break
        reach *= 2
    # A forecast of `/predict` may be older than any actual of a day.
    return days or _pairs_by(connection, model_name, until, None, by_day=True)


def _pairs_by(
    connection: sa.Connection,
    model_name: str,
    until: date | None,
    since: date | None,
    *,
    by_day: bool,
    rare: Collection[str] = (),
) -> dict[Any, int]:
    """Count the actuals of days that were forecast, by day (ISO) or by series ("" without).

    By series those that have fewer than _FEWEST are counted; by day all but the `rare` ones.
    """
    kept = predictions.c
    spans = sa.select(
        kept.series_id,
        sa.func.min(kept.first_date).label("first"),
        sa.func.max(kept.last_date).label("last"),
    ).where(kept.model_name == model_name, kept.series_id.is_not(None))
    if since is not None:
        spans = spans.where(kept.first_date >= earliest_first_date(since), kept.last_date >= since)
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
    excluded = set(rare)
    if len(excluded) <= _MOST_NAMES:
        dated = dated.where(name.not_in(excluded)) if excluded else dated
    dated = dated.group_by(day if by_day else name)
    if not by_day:
        dated = dated.having(sa.func.count() < _FEWEST)
    rows = connection.execute(dated)
    counts = {row[0]: row[1] for row in rows}
    if "" in excluded:
        return counts
    # A forecast without a series is about the day after it was made.
    made = sa.func.date(kept.created_at)
    undated = sa.select(made, sa.func.count()).where(
        kept.model_name == model_name,
        kept.first_date.is_(None),
        kept.trace_id == actuals.c.trace_id,
        is_trusted(),
    )
    for made_on, count in connection.execute(undated.group_by(made)):
        target = np.datetime64(str(made_on), "D") + 1
        is_late = until is not None and target > np.datetime64(until, "D")
        if not is_late and (since is None or target >= np.datetime64(since, "D")):
            key = str(target) if by_day else ""
            counts[key] = counts.get(key, 0) + count
    if not by_day and counts.get("", 0) >= _FEWEST:
        del counts[""]
    return counts


def earliest_first_date(day: date) -> date:
    """Return the earliest first day of a forecast that reaches a day: none is longer."""
    return date.fromordinal(max(1, day.toordinal() - MAX_HORIZON))


def is_trusted() -> sa.ColumnElement[bool]:
    """Select the actuals that are not quarantined."""
    return actuals.c.quality.is_distinct_from("quarantined")


def read_forecasts(connection: sa.Connection, model_name: str, day: date) -> dict[str, Visits]:
    """Return the origins of each series that is usually forecast; "" stands for `/predict`."""
    kept, recent = predictions.c, date.fromordinal(max(1, day.toordinal() - _PAST))
    for since in (recent, None):
        if visits := _read_origins(connection, model_name, day, since):
            return visits
    made = sa.func.date(kept.created_at)
    undated = sa.select(sa.func.min(made), sa.func.max(made), sa.func.count(made.distinct()))
    query = undated.where(kept.model_name == model_name, kept.first_date.is_(None))
    first, last, count = connection.execute(query).one()
    if count < _FEWEST or _day(first) > _day(day):
        return {}
    return {"": Visits(_day(first), min(_day(last), _day(day)), count, _day(last) + 1)}


def _read_origins(
    connection: sa.Connection, model_name: str, day: date, since: date | None
) -> dict[str, Visits]:
    """Return the origins of each series that has enough of them, from a day on."""
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
    if since is not None:
        of_series = of_series.where(kept.first_date > since + timedelta(days=1))
    rows = _fetch(connection, of_series.group_by(kept.series_id))
    return {
        name: Visits(_day(first) - 1, _day(last) - 1, count, _day(target))
        for name, first, last, count, target in rows
        if count >= _FEWEST
    }


def read_truth(connection: sa.Connection, day: date, names: Collection[str]) -> dict[str, Visits]:
    """Return the days with truth of each of these series."""
    kept = actuals.c
    since = date.fromordinal(max(1, day.toordinal() - _PAST))
    of_series = sa.select(
        kept.series_id, sa.func.min(kept.date), sa.func.max(kept.date), sa.func.count()
    ).where(kept.series_id.is_not(None), kept.date <= day, kept.date >= since, is_trusted())
    wanted = set(names)
    return {
        name: Visits(_day(first), _day(last), count, _day(last))
        for name, first, last, count in _fetch(connection, of_series.group_by(kept.series_id))
        if name in wanted
    }


def read_forecast_gaps(
    connection: sa.Connection, model_name: str, day: date, names: Collection[str]
) -> dict[str, int]:
    """Return the second longest gap between the origins of each of these series, in days."""
    kept = predictions.c
    query = sa.select(kept.series_id, kept.first_date).where(
        kept.model_name == model_name, kept.first_date <= day + timedelta(days=1)
    )
    return _read_gaps(connection, query, kept.series_id, kept.first_date, day, names)


def read_repeated(
    connection: sa.Connection, model_name: str, since: date, made: Mapping[str, Visits]
) -> set[str]:
    """Return those of some series that were forecast from their last origin again.

    A series without new truth is forecast from the same day every evening, also after others were
    forecast from `since` on.
    """
    kept = predictions.c
    if not 0 < len(made) <= _MOST_NAMES:
        return set()
    of_model = kept.model_name == model_name
    newer = sa.select(sa.func.min(kept.id)).where(of_model, kept.first_date > since)
    first = connection.scalar(newer)
    if first is None:
        return set()
    query = sa.select(kept.series_id, kept.first_date).where(of_model, kept.series_id.in_(made))
    query = query.group_by(kept.series_id, kept.first_date)
    query = query.having(sa.func.count() > 1, sa.func.max(kept.id) >= first)
    rows = connection.execute(query)
    return {name for name, origin in rows if _day(origin) - 1 == made[name].last}


def read_truth_gaps(connection: sa.Connection, day: date, names: Collection[str]) -> dict[str, int]:
    """Return the second longest gap between the days with truth of each of these series."""
    kept = actuals.c
    query = sa.select(kept.series_id, kept.date).where(kept.date <= day, is_trusted())
    return _read_gaps(connection, query, kept.series_id, kept.date, day, names)


def _read_gaps(
    connection: sa.Connection,
    query: sa.Select[Any, Any],
    series: sa.Column[Any],
    dated: sa.Column[Any],
    day: date,
    names: Collection[str],
) -> dict[str, int]:
    """Return gaps of the last months; of the longest one an outage of then may be the reason."""
    if not 0 < len(names) <= _MOST_NAMES:
        return {}
    since = date.fromordinal(max(1, day.toordinal() - _PAST))
    days: dict[str, list[int]] = {}
    query = query.where(series.in_(names), dated >= since).distinct().order_by(dated)
    for name, visited in connection.execute(query):
        days.setdefault(name, []).append(visited.toordinal())
    gaps = {name: np.sort(np.diff(visited)) for name, visited in days.items()}
    return {name: int(sizes[-2]) for name, sizes in gaps.items() if len(sizes) > 1}


@lru_cache(maxsize=4096)
def _day(day: object) -> np.datetime64:
    """Return a day of the database, ISO text or a date; thousands of series have the same few."""
    return np.datetime64(str(day), "D")


def _fetch(connection: sa.Connection, query: sa.Executable) -> Sequence[Any]:
    """Return the rows as the driver has them: days as ISO text (SQLite) or dates."""
    cursor = connection.execute(query).cursor
    return cursor.fetchall() if cursor else []


def to_date(day: np.datetime64) -> Any:
    """Return a day as the `date` that the database takes."""
    return day.astype("datetime64[D]").astype(object)


def midnight(day: date) -> datetime:
    """Return the beginning of a day in UTC."""
    return datetime.combine(day, time(), tzinfo=UTC)
