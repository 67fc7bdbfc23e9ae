"""Covariates of a panel: what else is known of each day, with its role and kind.

In a series table, the column of a covariate is named `role:kind:name`, such as
`known:number:price`, so that a table in a file says what each of its columns is. Holidays add
their calendar: `known:holiday:holiday:BR:SP`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

Role = Literal["known", "past", "static"]
Kind = Literal["number", "event", "category", "holiday"]
SEPARATOR = ":"


@dataclass(frozen=True)
class Covariate:
    """A covariate of the N rows of a panel.

    Attributes:
        name: that the user gave it.
        role: "known" also for the days ahead, "past" up to today only, or "static": one value a
            series.
        kind: "number"; "event", from 0 (none) to 1; "category"; "holiday", a category in which
            the label "" is an ordinary day.
        values: (N,) float64, NaN where unknown. Of a category the position in `labels`.
        labels: of the categories.
        calendar: of holidays, country and state (`BR:SP`), so that days ahead get theirs; "" if
            it is not known. Either may be the name of a static covariate.
    """

    name: str
    role: Role
    kind: Kind
    values: np.ndarray
    labels: tuple[str, ...] = ()
    calendar: str = ""

    @property
    def column(self) -> str:
        """Name of its column in a series table."""
        parts = (self.role, self.kind, self.name, *([self.calendar] if self.calendar else []))
        return SEPARATOR.join(parts)


def is_covariate_column(name: str) -> bool:
    """Tell whether a column of a series table holds a covariate, by its name.

    >>> is_covariate_column("known:number:price"), is_covariate_column("price")
    (True, False)
    """
    parts = name.split(SEPARATOR, 2)
    return len(parts) == 3 and parts[0] in get_args(Role) and parts[1] in get_args(Kind)


def covariate_columns(names: Iterable[str]) -> list[str]:
    """Return the names, of the columns of a series table, that hold covariates, in their order."""
    return [name for name in names if is_covariate_column(str(name))]


def read_covariates(table: pd.DataFrame) -> tuple[Covariate, ...]:
    """Return the covariates of a series table, in the order of its columns."""
    return tuple(_read_covariate(table[name], name) for name in covariate_columns(table.columns))


def _read_covariate(column: pd.Series, name: str) -> Covariate:
    role, kind, label, calendar = split_column(name)
    if kind in ("number", "event"):
        values = column.to_numpy(np.float64, na_value=np.nan)
        return Covariate(label, role, kind, values)
    codes, labels = pd.factorize(column, sort=True)
    values = np.where(codes < 0, np.nan, codes.astype(np.float64))
    return Covariate(label, role, kind, values, tuple(str(name) for name in labels), calendar)


def split_column(name: str) -> tuple[Role, Kind, str, str]:
    """Return role, kind, name and calendar of the column of a covariate.

    >>> split_column("known:holiday:holiday:BR:SP")
    ('known', 'holiday', 'holiday', 'BR:SP')
    """
    role, kind, label = cast("tuple[Role, Kind, str]", name.split(SEPARATOR, 2))
    calendar = ""
    if kind == "holiday":
        label, _, calendar = label.partition(SEPARATOR)
    return role, kind, label, calendar


def write_covariates(covariates: Iterable[Covariate]) -> dict[str, np.ndarray | ExtensionArray]:
    """Return the columns of covariates for a series table, categories as text."""
    columns: dict[str, np.ndarray | ExtensionArray] = {}
    for covariate in covariates:
        values = covariate.values
        if covariate.kind in ("category", "holiday"):
            text = pd.Series([*covariate.labels, None], dtype="str")
            codes = np.where(np.isnan(values), len(covariate.labels), values).astype(np.int64)
            columns[covariate.column] = text.take(codes).array
        else:
            columns[covariate.column] = values
    return columns


def as_categories(column: pd.Series) -> pd.Series:
    """Return categories as text, whole numbers without a decimal point, missing where unknown."""
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.astype(np.float64)
        text = numbers.map(lambda x: f"{x:.15g}", na_action="ignore").astype("str")
        return text.where(numbers.notna())
    text = column.astype("str").str.strip()
    return text.where(column.notna() & (text != ""))
