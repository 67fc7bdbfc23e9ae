"""Read and check the body of a `/forecast`: its options first, then its series one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import ValidationError

from lib.features import MAX_HORIZON
from lib.inference import Contract
from serving.http import RequestError, invalid, refusal_of
from serving.schemas.covariates import CovariateFields
from serving.schemas.forecasts import ROWS, SERIES, ForecastRequest
from serving.schemas.histories import Series, read_series
from serving.schemas.sent_covariates import COVARIATES, describe_sent
from serving.schemas.series_body import decode_series, split_body

_ROW_FIELDS = ("history", "future", "static", "series_id", "series")
_PLANNED = SERIES * MAX_HORIZON  # days of `future`
_IN_NAMES = SERIES * 200  # names may hold any of these signs
_MOST = {
    b"{": 1 + 2 * SERIES + ROWS + _PLANNED + _IN_NAMES,
    b"[": 2 + 2 * SERIES + _IN_NAMES,
    # Up to four fields a day, four a series; levels and the other fields of the call.
    b",": 4 * (ROWS + _PLANNED) + 5 * SERIES + 200 + _IN_NAMES,
}
_PER_COVARIATE = {b"{": 0, b"[": 0, b",": ROWS + _PLANNED + SERIES}


@dataclass(frozen=True)
class ForecastCall:
    """A checked `/forecast` body.

    Attributes:
        series: in the order in which they were sent.
        options: the other fields of the body; its `history` is a placeholder.
        contract: of the model that forecasts, with the covariates of the call.
        horizon: days to answer.
        levels: of the quantiles to answer, rising.
        context: days that the model looks at.
        place: path of a series with `{}` for its number, "" for a body that is one.
    """

    series: list[Series]
    options: ForecastRequest
    contract: Contract
    horizon: int
    levels: list[float]
    context: int
    place: str

    def field(self, number: int, name: str) -> str:
        """Return the path of a field of one series, such as `series[3].history`."""
        return f"{self.place.format(number)}{name}"


def read_forecast(body: bytes, contract: Contract) -> ForecastCall:
    """Read and check a body. Where the options are refused, no series is decoded.

    Args:
        body: as it was sent.
        contract: of the model that forecasts.

    Raises:
        RequestError: 400 for bad JSON, 413 for more than the limits allow, 422 naming the field
            for anything else.
    """
    if contract.is_uncalibrated:
        check_size(body, COVARIATES)
        contract = describe_sent(body, contract)
    covariates = CovariateFields.of(contract)
    names = tuple(covariates.rows)
    check_size(body, len(names) + len(covariates.static))
    fields, parts = split_body(body, len(names))
    items, place = _series_of(fields, parts, names)
    options = _options(fields)
    context = _within("context", options.context, contract.context_length, contract.max_context)
    horizon = _within("horizon", options.horizon, 1, contract.horizon)
    levels = _levels(options.levels, contract.quantiles)
    series = read_series(items, contract, context, place)
    return ForecastCall(series, options, contract, horizon, levels, context, place)


def check_size(body: bytes, covariates: int = 0) -> None:
    """Raise RequestError (413) for more series or days than the limits allow.

    A decoded body takes thirty times its memory, so this is checked before.

    Args:
        body: as it was sent.
        covariates: number of those that the model takes.
    """
    for sign, most in _MOST.items():
        most += covariates * _PER_COVARIATE[sign]
        if (count := body.count(sign)) > most:
            raise RequestError(
                413,
                f"the body has {count} times {sign.decode()!r}, more than {SERIES} series with "
                f"{ROWS} days in all can have; send it in several calls",
            )


def name_levels(levels: Iterable[float]) -> list[str]:
    """Return the names of quantile levels, as answers have them.

    Example:
        >>> name_levels([0.05, 0.5])
        ['0.05', '0.5']
    """
    return [f"{level:g}" for level in levels]


def _series_of(
    fields: dict[str, Any], parts: list[msgspec.Raw] | None, covariates: tuple[str, ...]
) -> tuple[Iterable[Any], str]:
    """Return the series of a split body, and the path of one with `{}` for its number."""
    if "" in fields:
        raise invalid("", "expected a JSON object with history or series")
    for key in fields:
        if key not in ForecastRequest.model_fields:
            raise invalid(key[:60], "is not a field of this call")
    single = {k: v for k, v in fields.items() if k in _ROW_FIELDS and k != "series"}
    if parts is None and "series" not in fields:
        if "history" not in fields:
            raise invalid("history", "is missing; expected either history or series")
        return [single], ""
    if single:
        raise invalid(next(iter(single)), "does not go together with series")
    if not parts:
        raise invalid("series", "expected a list of objects, one a series")
    if len(parts) > SERIES:
        raise invalid("series", f"expected at most {SERIES} series, got {len(parts)}")
    place = "series[{}]."
    return (decode_series(raw, place.format(i), covariates) for i, raw in enumerate(parts)), place


def _options(fields: dict[str, Any]) -> ForecastRequest:
    """Return the other fields of a body, checked by their model without the rows."""
    options = {k: v for k, v in fields.items() if k not in _ROW_FIELDS}
    day = {"date": "2026-01-01", "value": None}
    try:
        return ForecastRequest.model_validate({**options, "history": [day]})
    except ValidationError as error:
        raise refusal_of(error) from None


def _within(field: str, days: int | None, low: int, high: int) -> int:
    """Return a number of days, by default the highest; refuse one that is out of range."""
    if days is None:
        return high
    if not low <= days <= high:
        raise invalid(field, f"this model takes {low} to {high} days, got {days}")
    return days


def _levels(wanted: list[float] | None, known: tuple[float, ...]) -> list[float]:
    if wanted is None:
        return list(known)
    for i, level in enumerate(wanted):
        if level not in known:
            raise invalid(f"levels[{i}]", f"this model has {', '.join(name_levels(known))}")
    return sorted(set(wanted))
