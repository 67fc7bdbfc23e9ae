"""Columns to days: timestamps, and text in the usual spellings of dates, nothing guessed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.data.panel import SeriesError
from lib.data.source import Source

_CLOCK = (
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d+)?))?)?"
    r"\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?"
)
_YEAR, _MONTH, _DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
DATE_FORMATS = {
    name: re.compile(pattern + _CLOCK)
    for name, pattern in {
        "YYYY-MM-DD": f"{_YEAR}-{_MONTH}-{_DAY}",
        "YYYY/MM/DD": f"{_YEAR}/{_MONTH}/{_DAY}",
        "YYYYMMDD": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
        "DD/MM/YYYY": f"{_DAY}/{_MONTH}/{_YEAR}",
        "MM/DD/YYYY": f"{_MONTH}/{_DAY}/{_YEAR}",
        "DD-MM-YYYY": f"{_DAY}-{_MONTH}-{_YEAR}",
        "MM-DD-YYYY": f"{_MONTH}-{_DAY}-{_YEAR}",
        "DD.MM.YYYY": rf"{_DAY}\.{_MONTH}\.{_YEAR}",
    }.items()
}
# Other ways to write a day, and how pandas reads them: not guessed here, but named.
_OTHER_FORMS = {
    r"[2-5]\d{4}(\.\d+)?": 'unit="D", origin="1899-12-30"',  # numbers of a spreadsheet
    r"1\d{9}(\.\d+)?": 'unit="s"',
    r"1\d{12}": 'unit="ms"',
    r"\d{1,2}/\d{1,2}/\d{2}": 'format="%d/%m/%y"',
    r"\d{1,2}-[A-Za-z]{3}-\d{4}": 'format="%d-%b-%Y"',
    r"\d{1,2} [A-Za-z]{3} \d{4}": 'format="%d %b %Y"',
    r"[A-Za-z]{3} \d{1,2}, \d{4}": 'format="%b %d, %Y"',
    r"\d{4}-\d{1,2}": 'format="%Y-%m"',
}


@dataclass(frozen=True)
class Days:
    """The day of each row and the time within it.

    Attributes:
        day: (N,) datetime64[D], in local time if a zone was given.
        clock: (N,) float64, seconds since local midnight.
        zoned: whether a zone was given.
        day_first: whether the text has the day before the month.
    """

    day: np.ndarray
    clock: np.ndarray
    zoned: bool
    day_first: bool = False


class Timestamp(NamedTuple):
    """A day, the seconds since its midnight, and its zone ("" for none)."""

    day: dt.date
    clock: float
    zone: str


# The timestamps of the different texts of a column, None where a text does not follow the format.
_Reading = Sequence[Timestamp | None]


def convert_days(column: pd.Series, source: Source) -> Days:
    """Return the days of a column of dates, timestamps or text.

    Args:
        column: (N,).
        source: of the column, for messages.

    Raises:
        SeriesError: a row has no day, or text cannot be read as days.
    """
    zoned = isinstance(column.dtype, pd.DatetimeTZDtype)
    if not zoned and column.dtype.kind != "M":
        return parse_days(column.astype("str"), source)
    local = column.dt.tz_localize(None) if zoned else column
    if local.isna().any():
        raise source.error(
            "the date is blank",
            column="date",
            row=int(local.isna().to_numpy().argmax()),
            count=int(local.isna().sum()),
            expected="a day in every row",
            remedy="Fill it in or drop the row",
        )
    day = local.dt.normalize()
    clock = (local - day).dt.total_seconds().to_numpy(copy=True)
    if zoned and clock.any():  # where the clock skips midnight, the day begins later
        begin = day.dt.tz_localize(column.dt.tz, nonexistent="shift_forward", ambiguous=True)
        clock[(begin == column).to_numpy()] = 0
    return Days(day.to_numpy().astype("datetime64[D]"), clock, zoned)


def parse_days(text: pd.Series, source: Source) -> Days:
    """Parse text as days, all in one of DATE_FORMATS.

    Args:
        text: (N,) str.
        source: of the column, for messages.

    Raises:
        SeriesError: a row is no day, formats are mixed, or the format is ambiguous.
    """
    codes, words = pd.factorize(text.fillna("").str.strip())
    words = list(words)  # as many as there are days, however many series
    readings = {name: [_parse(word, form) for word in words] for name, form in DATE_FORMATS.items()}
    form = _choose_format(words, readings, source)
    timestamps = [stamp for stamp in readings[form] if stamp is not None]
    if len(timestamps) < len(words):
        raise _day_error(words, codes, readings, form, source)
    return Days(
        np.array([stamp.day for stamp in timestamps], dtype="datetime64[D]")[codes],
        _clocks(timestamps)[codes],
        any(stamp.zone for stamp in timestamps),
        form.startswith("DD"),
    )


def find_days(columns: Mapping[str, Sequence[str]]) -> str:
    """Return the name of the first column whose texts are all days, "" where there is none.

    >>> find_days({"units": ["3", "4"], "when": ["2024-01-01", "2024-01-02"]})
    'when'
    """
    for name, texts in columns.items():
        words = [text.strip() for text in texts if text.strip()]
        if words and any(all(_parse(w, form) for w in words) for form in DATE_FORMATS.values()):
            return name
    return ""


def _parse(word: str, form: re.Pattern[str]) -> Timestamp | None:
    match = form.fullmatch(word)
    if match is None:
        return None
    part = match.groupdict()
    try:
        day = dt.date(int(part["year"]), int(part["month"]), int(part["day"]))
    except ValueError:  # such as 30 February
        return None
    hour, minute, second = (float(part[name] or 0) for name in ("hour", "minute", "second"))
    return Timestamp(day, 3600 * hour + 60 * minute + second, part["zone"] or "")


def _clocks(timestamps: Sequence[Timestamp]) -> np.ndarray:
    """Return the seconds since the start of each local day.

    Where the clock skips midnight, as in Sao Paulo on 2018-11-04, the day starts at the time that
    is midnight by the offset of the day before.
    """
    clocks = np.array([stamp.clock for stamp in timestamps], dtype=np.float64)
    offsets = {stamp.day: _offset(stamp.zone) for stamp in timestamps if stamp.clock == 0}
    for i in np.flatnonzero(clocks):
        before = offsets.get(timestamps[i].day - dt.timedelta(days=1))
        if before is not None and clocks[i] == _offset(timestamps[i].zone) - before:
            clocks[i] = 0
    return clocks


def _offset(zone: str) -> int:
    """Return the seconds that a zone such as -03:00 is ahead of UTC, 0 for none."""
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "")
    seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:])
    return seconds if zone[0] == "+" else -seconds


def _choose_format(words: list[str], readings: Mapping[str, _Reading], source: Source) -> str:
    """Return the format that most texts follow.

    Where day and month may change places, it is the format under which more steps are one day.
    """
    counts = {name: _count_understood(reading) for name, reading in readings.items()}
    most = max(counts.values())
    best = [name for name, count in counts.items() if count == most]
    if most == 0 or len(best) == 1:
        return best[0]
    steps = {name: _count_single_steps(readings[name]) for name in best}
    if len(set(steps.values())) == 1:
        raise source.error(
            f"{words[0]!r} may be {' or '.join(best)}",
            column="date",
            row=0,
            expected="dates that can be read in one way only",
            remedy="Write them as YYYY-MM-DD",
        )
    return max(steps, key=lambda name: steps[name])


def _count_understood(reading: _Reading) -> int:
    return sum(stamp is not None for stamp in reading)


def _count_single_steps(reading: _Reading) -> int:
    days = np.array([stamp.day for stamp in reading if stamp], dtype="datetime64[D]")
    return int((np.diff(days.astype(np.int64)) == 1).sum())


def _day_error(
    words: list[str],
    codes: np.ndarray,
    readings: Mapping[str, _Reading],
    form: str,
    source: Source,
) -> SeriesError:
    """Return the error of the first row that does not follow the chosen format."""
    bad = [i for i, stamp in enumerate(readings[form]) if stamp is None]
    rows = np.flatnonzero(np.isin(codes, bad))
    first = codes[rows[0]]
    word = words[first]
    problem = f"{word!r} is no date" if word else "the date is blank"
    other = next((name for name, reading in readings.items() if reading[first]), "")
    if other:
        problem = f"mixed date formats, {word!r} is {other} where others are {form}"
    understood = _count_understood(readings[form])
    return source.error(
        problem,
        column="date",
        row=int(rows[0]),
        count=len(rows),
        expected="a day of the calendar as "
        + (form if understood else "one of " + ", ".join(DATE_FORMATS)),
        remedy=_find_remedy(word, source, is_alone=bool(understood and not other)),
    )


def _find_remedy(word: str, source: Source, *, is_alone: bool) -> str:
    """Return what to do about a text that is no date.

    Args:
        word: the text.
        source: of the rows.
        is_alone: whether others are dates.
    """
    if is_alone:
        return f"{'Correct it' if word else 'Fill it in'}, or drop the row if it is none of a day"
    reading = next((how for form, how in _OTHER_FORMS.items() if re.fullmatch(form, word)), "")
    if not reading:
        return "Write every date in one format, best YYYY-MM-DD"
    name = source.column("date")
    return f'Make dates of them: frame["{name}"] = pd.to_datetime(frame["{name}"], {reading})'
