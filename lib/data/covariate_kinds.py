"""Tell the kind of a covariate by its cells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data.blank_cells import MISSING
from lib.data.covariates import Kind

MAX_CATEGORIES = 8  # distinct whole numbers of a column that is taken for categories
MIN_CATEGORY_DAYS = 5  # of the rarest of them
NUMBER_SHARE = 0.9  # of the cells, from which others are errors in a column of numbers
NUMBER_LIKE = r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?"
DATE_LIKE = r"(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T ]\d{1,2}:\d\d.*)?"


def find_kind(column: pd.Series, *, categorical: bool = False) -> Kind:
    """Tell the kind of a covariate by its values.

    Text is a category. Booleans, and numbers that are 0 or 1, are events. A few distinct whole
    numbers, each on several days (a code of the weather, a season), are categories.

    Args:
        column: as numbers or booleans where all its values are, otherwise as text.
        categorical: the user says that it is.

    Example:
        >>> find_kind(pd.Series([0, 1, 1])), find_kind(pd.Series(["a"]))
        ('event', 'category')
    """
    if categorical or not pd.api.types.is_numeric_dtype(column):
        return "category"
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    distinct, days = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    if np.isin(distinct, (0.0, 1.0)).all():
        return "event"
    whole = (distinct == np.round(distinct)).all() and (distinct >= 0).all()
    few = 3 <= len(distinct) <= MAX_CATEGORIES and days.min() >= MIN_CATEGORY_DAYS
    return "category" if whole and few else "number"


def looks_like_dates(column: pd.Series) -> bool:
    """Tell whether the known cells of text, at least one, are all dates.

    >>> [looks_like_dates(pd.Series(cells)) for cells in (["2024-01-31", None], ["1-2"], [""])]
    [True, False, False]
    """
    known = column[column.notna() & ~column.isin(MISSING)]
    return bool(len(known)) and bool(known.str.fullmatch(DATE_LIKE).all())


def looks_numeric(cells: pd.Series) -> bool:
    """Tell whether the known cells of text are numbers, apart from a few errors."""
    text = cells.astype("str").str.strip()
    known = text[cells.notna() & ~text.isin(MISSING)]
    return bool(known.str.fullmatch(NUMBER_LIKE).mean() >= NUMBER_SHARE) if len(known) else True
