"""The source of a table: its name, its columns and its lines, for messages and column matching."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lib.data.covariates import covariate_columns
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
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    locate: Callable[[int], str] = "row {} (the first is 0)".format
    separator: str = ","
    reading: str = "frame = …"
    preparation: str = "frame = …"

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


def _parameter_of(canonical: str) -> str:
    """Return the parameter that names a column."""
    role = canonical.partition(":")[0]
    return COLUMN_PARAMETERS.get(canonical) or COVARIATE_PARAMETERS[role]


def _check_covariate_name(name: str, canonical: str, source: Source) -> None:
    if name in RESERVED_NAMES:
        raise source.error(
            f"{_parameter_of(canonical)} names {name!r}, which is the name of a field of each day",
            expected=f"other names than {', '.join(RESERVED_NAMES)}",
            remedy="Rename the column. The columns that EXTERNAL_COLUMN and EVENT_COLUMN name are "
            "covariates already",
        )


def _check_column(
    name: str, canonical: str, header: list[str], matched: Mapping[str, str], source: Source
) -> None:
    if name not in header:
        near = difflib.get_close_matches(name, header, n=1)
        hint = f"{near[0]!r} is near. " if near else ""
        hint += "Behind `make`, $ is written $$. " if near and "$" in near[0] else ""
        raise source.error(
            f"there is no column {name!r}",
            expected=f"it among the columns {header}",
            remedy=f"{hint}Set {_parameter_of(canonical)} to the column that holds it, or "
            "SEPARATOR or ENCODING if these names look wrong",
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
            f"{_parameter_of(other)} and {_parameter_of(canonical)} both name {name!r}",
            expected="a different column for each",
            remedy="Leave it out of one of them",
        )
