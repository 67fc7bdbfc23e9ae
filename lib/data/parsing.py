"""Text to numbers and days: decimal commas, the usual spellings of dates, nothing guessed."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from lib.data.panel import SeriesError
from lib.data.readers import Source

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?([iI]nf|[iI]nfinity|INF)"
YES_NO = dict.fromkeys(("true", "t", "yes", "y", "sim", "s"), "1") | dict.fromkeys(
    ("false", "f", "no", "n", "não", "nao"), "0"
)
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


@dataclass(frozen=True)
class Days:
    """The day of each row and the time within it."""

    day: np.ndarray  # (N,) datetime64[D], in local time if a zone was given
    clock: np.ndarray  # (N,) float64, seconds since local midnight
    zoned: bool
    day_first: bool = False


def parse_days(text: pd.Series, source: Source) -> Days:
    """Days of text, all in one of DATE_FORMATS. (N,) str. Raises SeriesError naming the row."""
    codes, words = pd.factorize(text.fillna("").str.strip())
    words = list(words)  # as many as there are days, however many series
    parsed = {name: [_parse(word, form) for word in words] for name, form in DATE_FORMATS.items()}
    understood = {name: sum(day is not None for day in days) for name, days in parsed.items()}
    most = max(understood.values())
    best = [name for name, count in understood.items() if count == most]
    if most and len(best) > 1:
        # Day first or month first: whichever makes more of the steps a single day.
        steps = {name: _single_steps(parsed[name]) for name in best}
        if len(set(steps.values())) == 1:
            raise source.error(
                f"{words[0]!r} may be {' or '.join(best)}",
                column="date",
                row=0,
                expected="dates that can be read in one way only",
                remedy="Write them as YYYY-MM-DD",
            )
        best = [max(steps, key=lambda name: steps[name])]
    days = parsed[best[0]]
    bad = [i for i, day in enumerate(days) if day is None]
    if bad:
        rows = np.flatnonzero(np.isin(codes, bad))
        word = words[codes[rows[0]]]
        other = next((name for name, found in parsed.items() if found[codes[rows[0]]]), "")
        problem = f"{word!r} is no date" if word else "the date is blank"
        if other:
            problem = f"mixed date formats, {word!r} is {other} where others are {best[0]}"
        form = best[0] if most else "one of " + ", ".join(DATE_FORMATS)
        raise source.error(
            problem,
            column="date",
            row=int(rows[0]),
            count=len(rows),
            expected=f"a day of the calendar as {form}",
            remedy="Write every date in one format, best YYYY-MM-DD",
        )
    known = [day for day in days if day is not None]
    return Days(
        np.array([day for day, _, _ in known], dtype="datetime64[D]")[codes],
        np.array([clock for _, clock, _ in known], dtype=np.float64)[codes],
        any(zone for _, _, zone in known),
        best[0].startswith("DD"),
    )


def _parse(word: str, form: re.Pattern[str]) -> tuple[dt.date, float, str] | None:
    match = form.fullmatch(word)
    if match is None:
        return None
    part = match.groupdict()
    try:
        day = dt.date(int(part["year"]), int(part["month"]), int(part["day"]))
    except ValueError:  # such as 30 February
        return None
    hour, minute, second = (float(part[name] or 0) for name in ("hour", "minute", "second"))
    return day, 3600 * hour + 60 * minute + second, part["zone"] or ""


def _single_steps(days: list[tuple[dt.date, float, str] | None]) -> int:
    numbers = np.array([day[0] for day in days if day], dtype="datetime64[D]").astype(np.int64)
    return int((np.diff(numbers) == 1).sum())


def find_decimal(columns: dict[str, pd.Series], source: Source) -> str:
    """The decimal mark, "." or ",", of number columns as text. Raises SeriesError if unclear."""
    evidence = {".": 0, ",": 0}
    unclear: tuple[str, int, str, str] | None = None
    for name, text in columns.items():
        for mark, other in ((".", ","), (",", ".")):
            marked = text[text.str.contains(mark, regex=False)].str.strip()
            if marked.empty:
                continue
            grouped = marked.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{mark}\d{{3}})+")
            several = grouped & (marked.str.count(re.escape(mark)) > 1)
            simple = marked.str.fullmatch(rf"[+-]?\d*\{mark}\d*([eE][+-]?\d+)?") & ~grouped
            both = marked.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{other}\d{{3}})+\{mark}\d*")
            evidence[mark] += int((simple | both).sum())
            evidence[other] += int(several.sum())  # 1.234.567: the mark groups thousands
            single = grouped & ~several
            # With commas between fields, a point in a number is the decimal point.
            if single.any() and unclear is None and (mark, source.separator) != (".", ","):
                at = single.idxmax()
                unclear = (name, int(at), str(marked[at]), mark)
    if unclear and not any(evidence.values()):
        name, row, got, mark = unclear
        raise source.error(
            f"{got!r} may be {got.replace(mark, '')} or {got.replace(mark, '.')}",
            column=name,
            row=row,
            expected="numbers that can be read in one way only",
            remedy="Set DECIMAL to '.' or ','",
        )
    return "," if evidence[","] > evidence["."] else "."


def parse_numbers(text: pd.Series, name: str, decimal: str, source: Source) -> np.ndarray:
    """Numbers of text, NaN where blank or one of MISSING. (N,) str → (N,) float64.

    Thousands may be grouped by the other mark, where each group has three digits. Raises
    SeriesError naming the first row that is no number.
    """
    clean = text.fillna("").str.strip()
    other = "," if decimal == "." else "."
    if clean.str.contains(other, regex=False).any():
        grouped = clean.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{other}\d{{3}})+(\{decimal}\d*)?")
        clean = clean.mask(grouped, clean.str.replace(other, "", regex=False))
    if decimal == ",":
        # A point that is left is no grouping, so it must not pass as a decimal point.
        odd = clean.str.contains(".", regex=False)
        clean = clean.mask(~odd, clean.str.replace(",", ".", regex=False)).mask(odd, "no number")
    clean = clean.mask(clean.isin(MISSING))
    if name == "evento_especial":
        lower = clean.str.lower()
        clean = clean.mask(lower.isin(list(YES_NO)), lower.map(YES_NO))
    try:
        return pa.array(clean).cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowInvalid:
        bad = np.flatnonzero(clean.notna() & ~clean.str.fullmatch(NUMBER).fillna(True))
    if not len(bad):  # such as +5, which Arrow does not read
        return pd.to_numeric(clean).to_numpy(np.float64, na_value=np.nan)
    row = int(bad[0])
    expected = f"a number such as 1234{decimal}5, or nothing where it is missing"
    remedy = "Correct it or leave it blank; set DECIMAL if the decimal mark is another"
    if name == "evento_especial":
        expected = "0 to 1, or a word such as true or no"
        remedy = "Write 1 on the days of an event and 0 on all others"
    raise source.error(
        f"got {str(text.iloc[row])!r}",
        column=name,
        row=row,
        count=len(bad),
        expected=expected,
        remedy=remedy,
    )


def check_decimal(decimal: str, separator: str = "") -> None:
    """Raise SeriesError unless `decimal` is "", "." or "," and no separator of fields."""
    if decimal not in ("", ".", ","):
        raise SeriesError(f"DECIMAL: got {decimal!r}, expected '.' or ',' (or '' to find out)")
    if decimal and decimal == separator:
        raise SeriesError(f"DECIMAL and SEPARATOR are both {decimal!r}, expected two characters")
