"""Questions about a `/forecast`: one series with its dates, and one of the days ahead.

A question is stored as the rows that were sent, without those that no forecast depends on: it can
be read years later, and the same question has the same id. The worker reads it by the functions
that `/forecast` uses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lib.features import YEAR
from lib.inference import Contract
from serving.http import invalid
from serving.schemas.histories import Histories, read_histories
from serving.schemas.sent_covariates import describe_series


def make_question(body: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """Make the question that is stored of a body.

    Args:
        body: `history` (rows with ISO dates), perhaps `series_id`, `future`, `static`,
            `horizon_day` and `context`.
        contract: of the version that is explained.

    Returns:
        `history`, `future`, `context`, `horizon_day`, and `static` and `series_id` where they are
        there.

    Raises:
        RequestError: 422, naming the field, for whatever `/forecast` would refuse.
    """
    context, day = body.get("context"), body.get("horizon_day")
    context = contract.max_context if context is None else context
    day = 1 if day is None else day
    for name, value, low, high in (
        ("context", context, contract.context_length, contract.max_context),
        ("horizon_day", day, 0, contract.horizon),
    ):
        if not low <= value <= high:
            raise invalid(name, f"this model takes {low} to {high} days, got {value}")
    series = {"history": body["history"], "future": body.get("future") or []}
    series |= {name: body[name] for name in ("static", "series_id") if body.get(name)}
    if contract.is_uncalibrated:
        contract = describe_series([series], contract)
    first = str(_read_series(series, contract, context).panel.dates[0])
    kept = [row for row in series["history"] if row["date"] >= first]
    return series | {"history": kept, "context": context, "horizon_day": day}


def read_question(question: dict[str, Any], contract: Contract) -> tuple[Histories, int]:
    """Return the one series of a stored question with its origin, as `/forecast` reads it.

    Returns:
        The series, and the number of its days that the forecast was made from.
    """
    names = ("history", "future", "static", "series_id")
    series = {name: question[name] for name in names if name in question}
    context = question["context"]
    if contract.is_uncalibrated:
        contract = describe_series([series], contract)
    forecast_from = read_histories([series], contract, context, "")
    return _read_series(series, contract, context), int(forecast_from.origins[0]) + 1


def _read_series(series: dict[str, Any], contract: Contract, context: int) -> Histories:
    """Read the days that a forecast depends on, and those that its forecasts of a year ago do.

    An explanation compares a series with its own past.
    """
    longer = replace(contract, max_context=contract.max_context + 2 * YEAR)
    return read_histories([series], longer, context, "")
