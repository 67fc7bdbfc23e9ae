"""The source of a table: its name, its columns and its lines, for messages and column matching."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lib.data.covariates import covariate_columns
from lib.data.near_names import find_near, is_misspelt
from lib.data.panel import SERIES_COLUMNS, SeriesError

# The parameter that names each column, as users of the notebooks know it.
COLUMN_PARAMETERS = {
    "series_id": "SERIES_COLUMN",
    "date": "DATE_COLUMN",
    "value": "VALUE_COLUMN",
    "fator_externo": "EXTERNAL_COLUMN",
    "evento_especial": "EVENT_COLUMN",
}
# The parameter that names covariates, by their role. Until its kind is known, a covariate stands
# under `role:name`.
COVARIATE_PARAMETERS = {
    "known": "COVARIATES",
    "past": "PAST_COVARIATES",
    "static": "STATIC_COVARIATES",
}
# The arguments of `Forecaster.fit` that do the same for a table.
ARGUMENTS = {
    "series_id": "series",
    "date": "date",
    "value": "value",
    "fator_externo": "external",
    "evento_especial": "event",
} | {role: parameter.lower() for role, parameter in COVARIATE_PARAMETERS.items()}
RESERVED_NAMES = ("date", "value", *SERIES_COLUMNS[3:])  # fields of a day in a request


@dataclass(frozen=True)
class Source:
    """Where a table comes from: the file, its names of columns, its lines.

    Attributes:
        name: of the file or table.
        columns: canonical names to the names of the file.
        locate: the place of a row (from 0) in words.
        separator: between the fields of a text file.
        reading: the line of pandas that reads the file.
        preparation: the same, with its dates.
        is_table: whether it is a table of Python, whose columns are named by arguments.
        header: all names of columns of a file.
        find_days: returns the name of a column that holds days, "" for none.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    locate: Callable[[int], str] = "row {} (the first is 0)".format
    separator: str = ","
    reading: str = "frame = …"
    preparation: str = "frame = …"
    is_table: bool = False
    header: Sequence[str] = ()
    find_days: Callable[[], str] = str

    def parameter(self, canonical: str) -> str:
        """Return the parameter, or the argument of Python, that names a column."""
        role = canonical.partition(":")[0]
        if self.is_table:
            return ARGUMENTS[role]
        return COLUMN_PARAMETERS.get(role) or COVARIATE_PARAMETERS[role]

    def assign(self, canonical: str, name: str) -> str:
        """Return what a user writes to name a column, such as `DATE_COLUMN=day`."""
        value = f'"{name}"' if self.is_table else name
        if self.is_table and canonical not in COLUMN_PARAMETERS:
            value = f"[{value}]"
        return f"{self.parameter(canonical)}={value}"

    @property
    def categorical(self) -> str:
        """The parameter or argument that names categories."""
        return "categorical" if self.is_table else "CATEGORICAL"

    def column(self, canonical: str) -> str:
        """Return the name of a column in the file."""
        return self.columns.get(canonical, canonical)

    def error(
        self,
        problem: str,
        *,
        expected: str,
        remedy: str,
        column: str = "",
        row: int | None = None,
        count: int = 1,
    ) -> SeriesError:
        """Return a SeriesError that names file, column, row, problem, expectation and remedy.

        Args:
            problem: what is wrong.
            expected: what would be right.
            remedy: what to do, a sentence.
            column: canonical name.
            row: number of the first row concerned, from 0.
            count: number of rows concerned.
        """
        where = [self.name]
        if column:
            where.append(f"column {self.column(column)!r}")
        if row is not None:
            where.append(self.locate(row))
        more = f" ({count:,} rows like this)" if count > 1 else ""
        return SeriesError(f"{', '.join(where)}: {problem}{more}; expected {expected}. {remedy}")


def as_frame(table: Any, names: Iterable[str], source: Source) -> pd.DataFrame:
    """Return a table of a user's, with the wanted columns that are its index.

    Args:
        table: what was given for it.
        names: of wanted columns.
        source: of the table, for messages.

    Raises:
        TypeError: it is no DataFrame of pandas.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"{source.name}: got {type(table).__name__}, expected a DataFrame of pandas, such as "
            "pd.read_csv returns"
        )
    index = [name for name in table.index.names if name is not None]
    wanted = set(names) & set(index) - set(table.columns)
    return table.reset_index(level=sorted(wanted)) if wanted else table


def refuse_misspelt(
    expected: Iterable[str],
    columns: Iterable[str],
    others: Iterable[str],
    source: Source,
    *,
    loosely: bool = False,
) -> None:
    """Refuse a table that lacks a column, and has it under a misspelt name instead.

    Args:
        expected: names of columns that the table may have.
        columns: that it has.
        others: further names that the user has given, which are meant as they are.
        source: of the table, for messages.
        loosely: whether every name that is near counts: for a column without which the table means
            something else.

    Raises:
        SeriesError: names both columns.
    """
    there, expected = set(columns), list(expected)
    strange = there - set(expected) - set(others)
    names = sorted(name for name in strange if isinstance(name, str))  # of frames, also numbers
    for name in expected:
        if name in there:
            continue
        slips = (other for other in names if is_misspelt(name, other))
        near = next(slips, find_near(name, names) if loosely else "")
        if near:
            raise source.error(
                f"there is no column {name!r}, but {near!r}",
                expected=f"{name!r}, or no such column where nothing is known",
                remedy=f"Rename {near!r} to {name!r}; if it is something else, drop it",
            )


def match_columns(header: list[str], wanted: Mapping[str, str], source: Source) -> dict[str, str]:
    """Return the name in the file of each canonical column that it has.

    Args:
        header: the names of the file's columns.
        wanted: canonical names to names of the file; "" means the canonical name, if it is there.
            Covariates under `role:name`. Those of a canonical table come along by themselves.
        source: of the file, for messages.

    Raises:
        SeriesError: a named column is missing, is there twice, or is named for two purposes.
    """
    matched: dict[str, str] = {}
    for canonical in SERIES_COLUMNS:
        name = wanted.get(canonical, "") or canonical
        if name not in header and not wanted.get(canonical, ""):
            continue
        _check_column(name, canonical, header, matched, source)
        matched[canonical] = name
    for canonical, name in wanted.items():
        if canonical not in SERIES_COLUMNS:
            _check_covariate_name(name, canonical, source)
            _check_column(name, canonical, header, matched, source)
            matched[canonical] = name
    return matched | {name: name for name in covariate_columns(header)}


def _check_covariate_name(name: str, canonical: str, source: Source) -> None:
    if name in RESERVED_NAMES:
        raise source.error(
            f"{source.parameter(canonical)} names {name!r}, the name of a field of each day",
            expected=f"other names than {', '.join(RESERVED_NAMES)}",
            remedy=f"Rename the column. The columns that {source.parameter('fator_externo')} and "
            f"{source.parameter('evento_especial')} name are covariates already",
        )


def _check_column(
    name: str, canonical: str, header: list[str], matched: Mapping[str, str], source: Source
) -> None:
    if name not in header:
        raise source.error(
            f"there is no column {name!r}",
            expected=f"it among the columns {header}",
            remedy=_find_remedy(name, canonical, header, source),
        )
    if header.count(name) > 1:
        raise source.error(
            f"{header.count(name)} columns are named {name!r}",
            expected="one",
            remedy="Rename the others",
        )
    if name in matched.values():
        other = next(key for key, column in matched.items() if column == name)
        raise source.error(
            f"{source.parameter(other)} and {source.parameter(canonical)} both name {name!r}",
            expected="a different column for each",
            remedy="Leave it out of one of them",
        )


def _find_remedy(name: str, canonical: str, header: list[str], source: Source) -> str:
    """Return what to do about a column that is not there."""
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and set(parts) <= set(header):
        return (
            f"Make one column of these {len(parts)}: {source.reading}; frame.melt("
            f'id_vars="{source.find_days() or "date"}", value_vars={parts}, var_name="series", '
            f'value_name="value"). Then {source.assign("series_id", "series")} and '
            f"{source.assign('value', 'value')}"
        )
    begun = (n for n in header if len(name) > 3 and n.casefold().startswith(name.casefold()))
    found, hint = find_near(name, header) or next(begun, ""), ""
    if found:
        hint = f"{found!r} is near. "
        hint += "Behind `make`, $ is written $$. " if "$" in found else ""
    elif canonical == "date" and (found := source.find_days()):
        hint = f"{found!r} holds days. "
    if source.is_table:
        return f"{hint}Name the column that holds it: {source.assign(canonical, found or '…')}"
    target = source.assign(canonical, found)
    target = target if found else f"{source.parameter(canonical)} to the column that holds it"
    return f"{hint}Set {target}, or SEPARATOR or ENCODING if these names look wrong"
