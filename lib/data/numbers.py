"""Columns to numbers: text with decimal commas or grouped thousands, nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from lib.data.blank_cells import MISSING
from lib.data.panel import SeriesError
from lib.data.source import Source

NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?([iI]nf|[iI]nfinity|INF)"
YES_NO = dict.fromkeys(("true", "t", "yes", "y", "sim", "s"), "1") | dict.fromkeys(
    ("false", "f", "no", "n", "não", "nao"), "0"
)


def find_decimal(columns: Mapping[str, pd.Series], source: Source) -> str:
    """Return the decimal mark, "." or ",", of number columns that are text.

    Args:
        columns: canonical name to (N,) str.
        source: of the columns, for messages.

    Raises:
        SeriesError: the mark may as well group thousands, and nothing else tells.
    """
    evidence = {".": 0, ",": 0}
    ambiguous: tuple[str, int, str, str] | None = None
    for name, text in columns.items():
        for mark, other in ((".", ","), (",", ".")):
            marked = text[text.str.contains(mark, regex=False)].str.strip()
            if marked.empty:
                continue
            decimal, grouping, either = _classify_mark(marked, mark, other)
            evidence[mark] += decimal
            evidence[other] += grouping
            # With commas between fields, a point in a number is the decimal point.
            if len(either) and ambiguous is None and (mark, source.separator) != (".", ","):
                ambiguous = (name, int(either.index.to_numpy()[0]), str(either.iloc[0]), mark)
    if ambiguous and not any(evidence.values()):
        name, row, got, mark = ambiguous
        raise source.error(
            f"{got!r} may be {got.replace(mark, '')} or {got.replace(mark, '.')}",
            column=name,
            row=row,
            expected="numbers that can be read in one way only",
            remedy="Write them as numbers, not as text"
            if source.is_table
            else "Set DECIMAL to '.' or ','",
        )
    return "," if evidence[","] > evidence["."] else "."


def _classify_mark(marked: pd.Series, mark: str, other: str) -> tuple[int, int, pd.Series]:
    """Classify numbers that hold a mark by what the mark is.

    Returns:
        In how many it is the decimal mark, in how many it groups thousands (as in 1.234.567), and
        those in which it may be either (as in 1.234).
    """
    grouped = marked.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{mark}\d{{3}})+")
    several = grouped & (marked.str.count(re.escape(mark)) > 1)
    simple = marked.str.fullmatch(rf"[+-]?\d*\{mark}\d*([eE][+-]?\d+)?") & ~grouped
    both = marked.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{other}\d{{3}})+\{mark}\d*")
    return int((simple | both).sum()), int(several.sum()), marked[grouped & ~several]


def parse_numbers(text: pd.Series, name: str, decimal: str, source: Source) -> np.ndarray:
    """Parse text as numbers, NaN where blank or one of MISSING.

    Thousands may be grouped by the other mark, where each group has three digits.

    Args:
        text: (N,) str.
        name: canonical name of the column.
        decimal: the decimal mark, "." or ",".
        source: of the column, for messages.

    Returns:
        (N,) float64.

    Raises:
        SeriesError: names the first row that is no number.
    """
    clean = _with_decimal_points(text.fillna("").str.strip(), decimal)
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
    raise _number_error(text, name, decimal, bad, source)


def convert_numbers(column: pd.Series, name: str, source: Source) -> np.ndarray:
    """Return a column of numbers that is not text as (N,) float64, NaN where missing.

    Args:
        column: (N,).
        name: canonical name of the column.
        source: of the column, for messages.

    Raises:
        SeriesError: names the first row that is no number.
    """
    if isinstance(column.dtype, pd.ArrowDtype) and column.dtype.kind in "OU":  # decimals, text
        column = column.astype(object)
    numbers = pd.to_numeric(column, errors="coerce")
    bad = (numbers.isna() & column.notna()).to_numpy()
    if column.dtype.kind in "mM":  # a number of nanoseconds to pandas
        bad = column.notna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise source.error(
            f"got {column.iloc[row]!r}",
            column=name,
            row=row,
            count=int(bad.sum()),
            expected="a number, or nothing where it is missing",
            remedy="Correct it or leave it blank",
        )
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _with_decimal_points(text: pd.Series, decimal: str) -> pd.Series:
    """Return the numbers without grouping and with decimal points."""
    other = "," if decimal == "." else "."
    if text.str.contains(other, regex=False).any():
        grouped = text.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{other}\d{{3}})+(\{decimal}\d*)?")
        text = text.mask(grouped, text.str.replace(other, "", regex=False))
    if decimal == ",":
        # A point that is left is no grouping, so it must not pass as a decimal point.
        odd = text.str.contains(".", regex=False)
        text = text.mask(~odd, text.str.replace(",", ".", regex=False)).mask(odd, "no number")
    return text


def _number_error(
    text: pd.Series, name: str, decimal: str, bad: np.ndarray, source: Source
) -> SeriesError:
    row = int(bad[0])
    expected = f"a number such as 1234{decimal}5, or nothing where it is missing"
    cell = str(text.iloc[row])
    remedy = "Correct it or leave it blank"
    if unit := _find_unit(cell):
        remedy = f"Write the numbers alone, without {unit!r}"
    elif not source.is_table:
        remedy += "; set DECIMAL if the decimal mark is another"
    if ":" in name:  # a covariate
        remedy += f", or name the column in {source.categorical} if it holds labels"
    if name == "evento_especial":
        expected = "0 to 1, or a word such as true or no"
        remedy = "Write 1 on the days of an event and 0 on all others"
    return source.error(
        f"got {cell!r}",
        column=name,
        row=row,
        count=len(bad),
        expected=expected,
        remedy=remedy,
    )


def _find_unit(cell: str) -> str:
    """Return what stands before or behind a number, such as a currency, "" for nothing."""
    unit = re.sub(r"[\d.,+\-\s]", "", cell)
    around = cell.startswith(unit) or cell.endswith(unit)
    return unit if around and re.search(r"\d", cell) else ""


def check_decimal(decimal: str, separator: str = "") -> None:
    """Raise SeriesError unless `decimal` is "", "." or "," and not the separator of fields."""
    if decimal not in ("", ".", ","):
        raise SeriesError(f"DECIMAL: got {decimal!r}, expected '.' or ',' (or '' to detect it)")
    if decimal and decimal == separator:
        raise SeriesError(f"DECIMAL and SEPARATOR are both {decimal!r}, expected two characters")
