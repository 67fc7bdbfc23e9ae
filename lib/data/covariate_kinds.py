"""Tell the kind of a covariate by its cells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.data.covariates import Kind

MAX_CATEGORIES = 8  # distinct whole numbers of a column that is taken for categories
MIN_CATEGORY_DAYS = 5  # of the rarest of them


def find_kind(column: pd.Series, *, categorical: bool = False) -> Kind:
    """Tell the kind of a covariate by its values.

    Text is a category. Booleans, and numbers that are 0 or 1, are events. A few distinct whole
    numbers, each on several days (a code of the weather, a season), are categories.

    Args:
        column: as numbers or booleans where all its values are, otherwise as text.
        categorical: the user says that it is.

    >>> [find_kind(pd.Series(cells)) for cells in ([0, 1, 1], [0.5, 2.5], ["a"])]
    ['event', 'number', 'category']
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
