"""Read the covariates of a table: from cells as written to numbers, events and categories."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import structlog

from lib.data.blank_cells import MISSING
from lib.data.covariate_kinds import find_kind, looks_like_dates, looks_numeric
from lib.data.covariates import (
    SEPARATOR,
    Covariate,
    Kind,
    as_categories,
    is_covariate_column,
    split_column,
)
from lib.data.numbers import YES_NO, parse_numbers
from lib.data.panel import SERIES_COLUMNS, SeriesError
from lib.data.source import Source

NO_CATEGORY = tuple(word for word in MISSING if word != "None")  # "None" may be a category
MOST_LABELS = 100  # of a category, above which a note is logged
_TIMES = ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period")
log = structlog.get_logger()


@dataclass(frozen=True)
class CovariateNames:
    """The user's columns that are covariates, by what is known of them. A text is one name.

    Attributes:
        known: also for the days ahead.
        past: up to today only.
        static: one value a series.
        categorical: those of them that are categories though they look like numbers.
        kinds: of those whose kind is fixed, as where a model has learned it.
    """

    known: Sequence[str] = ()
    past: Sequence[str] = ()
    static: Sequence[str] = ()
    categorical: Sequence[str] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in ("known", "past", "static", "categorical"):
            if isinstance(name := getattr(self, role), str):
                object.__setattr__(self, role, (name,) if name else ())
        names = [*self.known, *self.past, *self.static]
        for name in self.categorical:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                raise SeriesError(
                    f"CATEGORICAL: got {name!r}, expected a column that COVARIATES, "
                    "PAST_COVARIATES or STATIC_COVARIATES name"
                    + (f"; did you mean {near[0]!r}?" if near else "")
                )

    def wanted(self) -> dict[str, str]:
        """Return `role:name` to the name of each column, as readers take it."""
        roles = {"known": self.known, "past": self.past, "static": self.static}
        return {f"{role}{SEPARATOR}{name}": name for role, names in roles.items() for name in names}

    def is_categorical(self, name: str) -> bool:
        """Tell whether a column holds categories by the user's word, or by what was learned."""
        return name in self.categorical or self.kinds.get(name) == "category"


def covariates_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns of a frame of canonical names that are covariates, kind known or not."""
    return [name for name in frame.columns if name not in SERIES_COLUMNS]


def number_texts(frame: pd.DataFrame, names: CovariateNames) -> dict[str, pd.Series]:
    """Return the covariates that are numbers written as text, which tell the decimal mark."""
    texts = {}
    for key in covariates_of(frame):
        if _is_text(frame[key]) and not names.is_categorical(_name_of(key)):
            kind = split_column(key)[1] if is_covariate_column(key) else None
            if kind in ("number", "event") or (kind is None and looks_numeric(frame[key])):
                texts[key] = frame[key].astype("str").where(frame[key].notna(), "")
    return texts


def convert_covariates(
    frame: pd.DataFrame,
    names: CovariateNames,
    decimal: str,
    source: Source,
    *,
    log_kinds: bool = True,
) -> dict[str, pd.Series | np.ndarray]:
    """Return the covariates of a frame in canonical columns, with their kinds.

    Args:
        frame: columns as written, covariates under `role:name`, or canonical where the table is.
        names: the user's.
        decimal: the decimal mark of text.
        source: of the rows, for messages.
        log_kinds: whether to log them, and columns that never change.

    Returns:
        `role:kind:name` to numbers, NaN where missing, or to text.

    Raises:
        SeriesError: names column, row and remedy.
    """
    columns = dict(
        _convert(frame[key], key, names, decimal, source) for key in covariates_of(frame)
    )
    if columns and log_kinds:
        log.info("covariates", kinds={split_column(c)[2]: split_column(c)[1] for c in columns})
    for column, values in columns.items() if log_kinds else ():
        _log_unusual(column, values)
    return columns


def _convert(
    cells: pd.Series, key: str, names: CovariateNames, decimal: str, source: Source
) -> tuple[str, pd.Series | np.ndarray]:
    name = _name_of(key)
    if is_covariate_column(key):
        kind: Kind | None = split_column(key)[1]
    else:
        kind = "category" if names.is_categorical(name) else names.kinds.get(name)
    plain = _as_plain(cells, key, source)
    if kind == "holiday":
        return key, plain.astype("str").fillna("")
    values: pd.Series | np.ndarray
    if kind == "category":
        values = _categories(plain)
    elif _is_text(plain) and kind is None and not looks_numeric(plain):
        # A series is of a kind, not an event: S and N may be south and north.
        is_static = key.startswith(f"static{SEPARATOR}")
        if not is_static and looks_like_dates(plain):
            raise _dates_error(key, source)
        values, kind = (_categories(plain), "category") if is_static else _read_words(plain)
    else:
        values = _numbers(plain, kind, key, decimal, source)
        kind = kind or find_kind(pd.Series(values))
        if kind == "category":
            values = as_categories(pd.Series(values))
        _check_numbers(values, kind, key, source)
    if is_covariate_column(key):
        return key, values
    return SEPARATOR.join((key.partition(SEPARATOR)[0], kind, name)), values


def _as_plain(cells: pd.Series, key: str, source: Source) -> pd.Series:
    """Return cells as numbers, or as text without blanks around it."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(cells.cat.categories.dtype)
    if pd.api.types.infer_dtype(cells, skipna=True) in _TIMES:
        raise _dates_error(key, source)
    if cells.dtype == object:
        known = cells.dropna()
        if known.map(lambda cell: isinstance(cell, (bool, np.bool_))).all():
            return cells.astype("boolean").astype("Float64").astype("float64")
        if not known.map(lambda cell: isinstance(cell, str)).any():
            numbers = pd.to_numeric(cells, errors="coerce")
            if numbers.notna().sum() == len(known):
                return numbers.astype("float64")
        cells = cells.astype("str").where(cells.notna())
    if pd.api.types.is_numeric_dtype(cells):
        return pd.Series(cells.to_numpy(np.float64, na_value=np.nan))
    return cells.astype("str").str.strip()


def _dates_error(key: str, source: Source) -> SeriesError:
    return source.error(
        "the column holds dates or times",
        column=key,
        expected="numbers, yes or no, or categories",
        remedy="Write what they mean for the day, such as the days until then, as a number",
    )


def _categories(plain: pd.Series) -> pd.Series:
    """Return categories as text: whole numbers as others write them, unless a code has zeros."""
    if not _is_text(plain):
        return as_categories(plain)
    text = plain.where(~plain.isin(NO_CATEGORY))
    known = text.dropna()
    is_number = known.str.fullmatch(r"-?\d+(\.0+)?").all()
    if len(known) and is_number and not known.str.fullmatch(r"-?0\d.*").any():
        return as_categories(pd.to_numeric(text))
    return as_categories(text)


def _read_words(plain: pd.Series) -> tuple[pd.Series | np.ndarray, Kind]:
    """Return words such as yes and no as an event, others as categories."""
    known = plain[plain.notna() & ~plain.isin(MISSING)].str.lower()
    if known.isin([*YES_NO, "0", "1"]).all():
        numbers = plain.str.lower().map(YES_NO | {"0": "0", "1": "1"})
        return numbers.astype("float64").to_numpy(), "event"
    return _categories(plain), "category"


def _numbers(
    plain: pd.Series, kind: Kind | None, key: str, decimal: str, source: Source
) -> np.ndarray:
    if not _is_text(plain):
        return plain.to_numpy(np.float64)
    if kind == "event":
        lower = plain.str.lower()
        plain = plain.mask(lower.isin(list(YES_NO)), lower.map(YES_NO))
    return parse_numbers(plain, key, decimal or ".", source)


def _check_numbers(values: pd.Series | np.ndarray, kind: Kind, key: str, source: Source) -> None:
    if kind == "category":
        return
    numbers = np.asarray(values, dtype=np.float64)
    wrong = np.isinf(numbers)
    expected = "a finite number, or nothing where it is missing"
    if kind == "event":
        wrong |= (numbers < 0) | (numbers > 1)
        expected = "0 (no event) to 1, or nothing where it is not known"
    if wrong.any():
        row = int(wrong.argmax())
        raise source.error(
            f"got {numbers[row]:g}",
            column=key,
            row=row,
            count=int(wrong.sum()),
            expected=expected,
            remedy="Correct it, or leave it blank where it is not known",
        )


def fill_static(
    covariate: Covariate, codes: np.ndarray, ids: Sequence[str], source: Source
) -> np.ndarray:
    """Return the value of a static covariate of each series, NaN where no row has one. (S,).

    Args:
        covariate: of the rows of the table.
        codes: (N,) series of each row.
        ids: (S,) names of the series.
        source: of the rows, for messages.

    Raises:
        SeriesError: a series has two values.
    """
    known = np.flatnonzero(np.isfinite(covariate.values))
    values = np.full(len(ids), np.nan)
    values[codes[known[::-1]]] = covariate.values[known[::-1]]  # the first of each series
    other = known[covariate.values[known] != values[codes[known]]]
    if len(other):
        row = int(other[0])
        first, second = (_show(covariate, v) for v in (values[codes[row]], covariate.values[row]))
        raise source.error(
            f"series {ids[codes[row]]!r} has {first} and {second}",
            column=f"static{SEPARATOR}{covariate.name}",
            row=row,
            count=len(other),
            expected="one value a series",
            remedy="Correct it, or name the column in "
            + " instead of ".join(
                (
                    " or ".join(source.parameter(role) for role in ("known", "past")),
                    source.parameter("static"),
                )
            ),
        )
    return values


def _show(covariate: Covariate, value: float) -> str:
    return repr(covariate.labels[int(value)]) if covariate.labels else f"{value:g}"


def _log_unusual(column: str, values: pd.Series | np.ndarray) -> None:
    """Log a covariate that never changes, or that has very many categories."""
    role, kind, name, _ = split_column(column)
    distinct = pd.Series(values).nunique()
    if role != "static" and kind != "holiday" and distinct < 2:
        log.info("covariate_constant", name=name, values=distinct)
    if kind == "category" and distinct > MOST_LABELS:
        log.warning(
            "covariate_many_categories",
            name=name,
            categories=distinct,
            advice="names of single days say nothing of days to come; group them, or leave it out",
        )


def _is_text(cells: pd.Series) -> bool:
    if cells.dtype == object:  # of Python, perhaps decimals
        return bool(cells.map(lambda cell: isinstance(cell, str)).any())
    return isinstance(cells.dtype, pd.StringDtype)


def _name_of(key: str) -> str:
    return split_column(key)[2] if is_covariate_column(key) else key.partition(SEPARATOR)[2]
