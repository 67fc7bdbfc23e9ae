"""Explanations of what `/forecast` answers: one series with its dates, one of the days ahead.

The question is kept as the rows that were sent, without those that no forecast depends on, so that
it can be read years later and the same question is recognised as such. The worker makes of it what
`/forecast` gave to the graph, by the same functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib import features as ft
from lib.inference import Contract
from serving.http.problems import invalid
from serving.schemas.histories import histories_of


def question_of(asked: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """What is to be explained, in the form it is stored in.

    Args:
        asked: `history` (rows with ISO dates), perhaps `future`, `horizon_day` and `context`.
    Raises:
        RequestError: 422, naming the field, for whatever `/forecast` would refuse.
    """
    context, day = asked.get("context"), asked.get("horizon_day")
    context = contract.max_context if context is None else context
    day = 1 if day is None else day
    for name, value, low, high in (
        ("context", context, contract.context_length, contract.max_context),
        ("horizon_day", day, 0, contract.horizon),
    ):
        if not low <= value <= high:
            raise invalid(name, f"this model takes {low} to {high} days, got {value}")
    series = {"history": asked["history"], "future": asked.get("future") or []}
    panel = histories_of([series], contract, context, "").panel
    first = str(panel.dates[0])
    kept = [row for row in series["history"] if row["date"] >= first]
    return series | {"history": kept, "context": context, "horizon_day": day}


def inputs_of(question: dict[str, Any], contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """What `/forecast` gave to the graph. → (context, 11) and (horizon, len(FUTURE))."""
    series = {name: question[name] for name in ("history", "future")}
    found = histories_of([series], contract, question["context"], "")
    history = ft.gather_context(
        found.panel, ft.compute_features(found.panel), found.origins, question["context"]
    )
    return history[0], ft.known_future(found.panel, found.origins, contract.horizon)[0]
