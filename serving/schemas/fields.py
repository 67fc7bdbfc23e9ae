"""Field types that several bodies share."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

FIRST_DAY, LAST_DAY = "1900-01-01", "2199-12-31"  # no daily series lies outside
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

# Of a day, which may have covariates of the model: `CovariateFields` refuses other names.
ROW = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


def _parse_day(value: Any) -> date:
    # Only a day: pydantic would also take a time or a number of seconds.
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        return date.fromisoformat(value)
    raise ValueError("expected an ISO day such as 2026-01-31")


def _check_span(day: date) -> date:
    if not FIRST_DAY <= day.isoformat() <= LAST_DAY:
        raise ValueError(f"expected a day from {FIRST_DAY} to {LAST_DAY}")
    return day


# Control characters have no place in a name, and PostgreSQL does not take all of them.
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
LongName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Day = Annotated[date, BeforeValidator(_parse_day)]
SeriesDay = Annotated[Day, AfterValidator(_check_span)]
Unit = Annotated[float, Field(ge=-1, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
