"""Questions about a `/forecast`: one series with its dates, and one of the days ahead.

A question is stored as the rows that were sent, without those that no forecast depends on: it can
be read years later, and the same question has the same id. The worker makes the model's inputs of
it by the functions that `/forecast` uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib import features as ft
from lib.inference import Contract
from serving.http import invalid
from serving.schemas.histories import read_histories


def make_question(body: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """Make the question that is stored of a body.

    Args:
        body: `history` (rows with ISO dates), perhaps `future`, `static`, `horizon_day` and
            `context`.
        contract: of the version that is explained.

    Returns:
        `history`, `future`, `context`, `horizon_day`, and `static` where there is one.

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
    series |= {"static": body["static"]} if body.get("static") else {}
    panel = read_histories([series], contract, context, "").panel
    first = str(panel.dates[0])
    kept = [row for row in series["history"] if row["date"] >= first]
    return series | {"history": kept, "context": context, "horizon_day": day}


def read_question(question: dict[str, Any], contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return the model inputs of a stored question, as `/forecast` makes them.

    Returns:
        (context, 11) and (horizon, len(FUTURE)), raw units, NaN where missing or not known.
    """
    series = {n: question[n] for n in ("history", "future", "static") if n in question}
    sent = read_histories([series], contract, question["context"], "")
    features = ft.compute_features(sent.panel)
    history = ft.gather_context(sent.panel, features, sent.origins, question["context"])
    return history[0], ft.known_future(sent.panel, sent.origins, contract.horizon)[0]
