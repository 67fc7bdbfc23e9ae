"""Holidays of a country and its state: by name, and as events."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lib.data.covariates import SEPARATOR, Covariate
from lib.data.panel import Panel, SeriesError

if TYPE_CHECKING:
    from holidays import HolidayBase

HOLIDAY = "holiday"  # name of the covariate, where no column of the user's has it
# Of a day in lieu of a holiday, or of one whose date is that of a moon not seen yet.
_REMARK = re.compile(r"\s*\((?:observed|estimated|in lieu|substitut)[^)]*\)")
_ENGLISH = "en_US"


def name_holidays(dates: np.ndarray, country: str, state: str = "") -> np.ndarray:
    """Return the name of the holiday of each day, "" on ordinary days.

    Public holidays, and optional ones where the country has such days (Carnival and Corpus Christi
    in Brazil). A day observed in lieu has the name of its holiday. Names are English where the
    `holidays` package has them in English.

    Args:
        dates: (N,) datetime64[D].
        country: a two-letter code, such as BR.
        state: a subdivision of the country, such as SP.

    Returns:
        (N,) object, str.

    Raises:
        SeriesError: no holidays are known of this country or state.

    >>> days = np.array(["2024-05-29", "2024-05-30"], dtype="datetime64[D]")
    >>> name_holidays(days, "BR").tolist()
    ['', 'Corpus Christi']
    """
    days, rows = np.unique(dates, return_inverse=True)
    if not len(days):
        return np.array([], dtype=object)
    years = days[[0, -1]].astype("datetime64[Y]").astype(np.int64) + 1970
    names = _named_days(country, state, int(years[0]), int(years[1]))
    labels = np.array([names.get(day, "") for day in days.astype(dt.date)], dtype=object)
    return labels[rows]


def mark_public_holidays(dates: np.ndarray, country: str, state: str = "") -> np.ndarray:
    """Return 1.0 on the public holidays of a country and state, else 0.0.

    Args:
        dates: (N,) datetime64[D].
        country: a two-letter code, such as BR.
        state: a subdivision of the country, such as SP.

    Raises:
        SeriesError: no holidays are known of this country or state.
    """
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    calendar = _calendar(country, state, range(years.min(), years.max() + 1), "public")
    return np.isin(dates, np.array(list(calendar), dtype="datetime64[D]")).astype(np.float64)


def add_holidays(panel: Panel, country: str, state: str = "") -> Panel:
    """Return a panel with the named holidays of its days as a known covariate.

    Args:
        panel: whose holidays of an earlier call are replaced.
        country: a two-letter code, or the name of a static covariate that holds one a series.
        state: the same for the state; "" for none.

    Raises:
        SeriesError: no holidays are known of a country or state.
    """
    names = np.full(len(panel.dates), "", dtype=object)
    for rows, code, part in _places(panel, country, state):
        names[rows] = name_holidays(panel.dates[rows], code, part)
    labels, codes = np.unique(names.astype(str), return_inverse=True)
    calendar = f"{country}{SEPARATOR}{state}" if state else country
    others = tuple(c for c in panel.covariates if c.kind != "holiday")
    name = HOLIDAY
    if any(c.name == name for c in others):  # a column of the user's
        name = f"{HOLIDAY} ({calendar.replace(SEPARATOR, ', ')})"
    covariate = Covariate(
        name, "known", "holiday", codes.astype(np.float64), tuple(labels.tolist()), calendar
    )
    return replace(panel, covariates=(*others, covariate))


def mark_holidays(panel: Panel, country: str, state: str = "") -> np.ndarray:
    """Return the public holidays of each series as events, 1.0 or 0.0. (N,).

    Args:
        panel: of the days.
        country: as for `add_holidays`.
        state: the same.
    """
    events = np.zeros(len(panel.dates))
    for rows, code, part in _places(panel, country, state):
        events[rows] = mark_public_holidays(panel.dates[rows], code, part)
    return events


def split_calendar(calendar: str) -> tuple[str, str]:
    """Return country and state of the calendar of a covariate.

    >>> split_calendar("BR:SP"), split_calendar("BR")
    (('BR', 'SP'), ('BR', ''))
    """
    country, _, state = calendar.partition(SEPARATOR)
    return country, state


def _places(
    panel: Panel, country: str, state: str
) -> Iterable[tuple[slice | np.ndarray, str, str]]:
    """Yield rows, country and state: all rows at once, or those of each place of a static one."""
    columns = {c.name: c for c in panel.covariates if c.role == "static"}
    if country not in columns and state not in columns:
        if len(panel.dates):
            yield slice(None), country, state
        return
    countries, states = (_text(columns, name, panel) for name in (country, state))
    keys = np.array([f"{a}{SEPARATOR}{b}" for a, b in zip(countries, states, strict=True)])
    places, of_series = np.unique(keys, return_inverse=True)
    of_rows = np.repeat(of_series, np.diff(panel.offsets))
    for i, place in enumerate(places.tolist()):
        code, part = split_calendar(place)
        if code:  # a series whose country is not known has no holidays
            yield np.flatnonzero(of_rows == i), code, part


def _text(columns: dict[str, Covariate], name: str, panel: Panel) -> list[str]:
    """Return the country or state of each series: a label of a static covariate, or `name`."""
    if name not in columns:
        return [name] * panel.n_series
    covariate = columns[name]
    if not covariate.labels and np.isfinite(covariate.values).any():
        raise SeriesError(
            f"COUNTRY, STATE: {name!r} holds numbers; expected codes such as BR. Name a column of "
            "codes"
        )
    values = covariate.values[panel.offsets[:-1]]
    return ["" if np.isnan(v) else covariate.labels[int(v)] for v in values]


@lru_cache(maxsize=64)
def _named_days(country: str, state: str, first: int, last: int) -> dict[dt.date, str]:
    """Return the name of each holiday of some years, one a day: public before optional ones."""
    years = range(first, last + 1)
    names: dict[dt.date, str] = {}
    for category in ("optional", "public"):
        calendar = _calendar(country, state, years, category)
        for day in calendar:
            names[day] = _choose_name(calendar.get_list(day))
    return names


def _choose_name(names: list[str]) -> str:
    """Return one name of a day, rather that of a holiday on its own date."""
    on_date = [name for name in names if not _REMARK.search(name)]
    return _REMARK.sub("", (on_date or names)[0])


def _calendar(country: str, state: str, years: Iterable[int], category: str) -> HolidayBase:
    """Return the holidays of a category, none where the country has no such category."""
    import holidays

    code = country.strip().upper()
    try:
        known = holidays.country_holidays(code)
    except NotImplementedError as error:
        raise SeriesError(
            f"COUNTRY: got {country!r}, expected a two-letter code such as BR or US, or a column "
            "of such codes that STATIC_COVARIATES names too"
        ) from error
    if category not in known.supported_categories:
        years = ()
        category = known.default_category or "public"
    language = _ENGLISH if _ENGLISH in known.supported_languages else None
    try:
        return holidays.country_holidays(
            code, subdiv=state or None, years=years, categories=category, language=language
        )
    except NotImplementedError as error:
        states = ", ".join(known.subdivisions) or "none"
        raise SeriesError(
            f"STATE: got {state!r}, expected a subdivision of {country}: {states}"
        ) from error
