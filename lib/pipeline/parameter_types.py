"""Types for the parameters cell of a notebook, beside those of Python and pydantic.

A parameter declared as `CHANGES: Share = 0.1` is checked before any cell runs. Counts are
pydantic's `PositiveInt` and `NonNegativeInt`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

_SWITCHES = ("", "0", "1", "true", "false", "yes", "no", "on", "off")


def _check_day(text: str) -> str:
    date.fromisoformat(text)
    return text


def _check_optional_day(text: str) -> str:
    return _check_day(text) if text else text


def _is_switch(value: Any) -> bool:
    """Tell whether a value switches something on or off, rather than naming columns."""
    return value is None or str(value).strip().lower() in _SWITCHES


def _read_names(value: Any) -> Any:
    if _is_switch(value):
        return []
    names = value.split(",") if isinstance(value, str) else value
    return [n.strip() if isinstance(n, str) else n for n in names] if _is_list(names) else names


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def names_columns(value: str) -> bool:
    """Tell whether a value of COVARIATES names columns, rather than switching the backtest."""
    return not _is_switch(value)


def _read_switch(value: Any) -> Any:
    return value if _is_switch(value) and value not in ("", None) else True


Share = Annotated[float, Field(ge=0, le=1)]
Horizon = Annotated[int, Field(ge=1, le=360)]  # lib.features.MAX_HORIZON, which loads pandas
Day = Annotated[str, AfterValidator(_check_day), Field(description="YYYY-MM-DD")]
OptionalDay = Annotated[
    str, AfterValidator(_check_optional_day), Field(description="YYYY-MM-DD or empty")
]
# COVARIATES names columns for the notebook that reads the data, and switches what is known ahead in
# the backtest: `COVARIATES=price,promo` and `COVARIATES=0` are values of both types.
Columns = Annotated[
    list[str], BeforeValidator(_read_names), Field(description="names, separated by commas")
]
Switch = Annotated[bool, BeforeValidator(_read_switch)]
ForecastSource = Literal["auto", "store", "run"]
