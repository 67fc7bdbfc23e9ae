"""The source of a table: its name, its columns and its lines, for messages and column matching."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lib.data.panel import SERIES_COLUMNS, SeriesError

# The parameter that names each column, as users of the notebooks know it.
COLUMN_PARAMETERS = {
    "series_id": "SERIES_COLUMN",
    "date": "DATE_COLUMN",
    "value": "VALUE_COLUMN",
    "fator_externo": "EXTERNAL_COLUMN",
    "evento_especial": "EVENT_COLUMN",
}


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
    return matched


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
            remedy=f"{hint}Set {COLUMN_PARAMETERS[canonical]} to the column that holds it, or "
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
            f"{COLUMN_PARAMETERS[other]} and {COLUMN_PARAMETERS[canonical]} both name {name!r}",
            expected="a different column for each",
            remedy="Leave the one that the file does not have empty",
        )
