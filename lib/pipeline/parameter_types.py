"""Types for the parameters cell of a notebook, beside those of Python and pydantic.

A parameter declared as `CHANGES: Share = 0.1` is checked before any cell runs. Counts are
pydantic's `PositiveInt` and `NonNegativeInt`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _check_day(text: str) -> str:
    date.fromisoformat(text)
    return text


def _check_optional_day(text: str) -> str:
    return _check_day(text) if text else text


Share = Annotated[float, Field(ge=0, le=1)]
Day = Annotated[str, AfterValidator(_check_day), Field(description="YYYY-MM-DD")]
OptionalDay = Annotated[
    str, AfterValidator(_check_optional_day), Field(description="YYYY-MM-DD or empty")
]
ForecastSource = Literal["auto", "store", "run"]
