"""What the results of all checks share: they become JSON, and their flags last over checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from lib.files import to_json


@dataclass(frozen=True)
class Result:
    """The numbers of a check. Days are ISO strings, so that JSON gives back what went in.

    A field with the metadata of `json_name` has another name in JSON, that of stored results.
    """

    def to_json(self) -> dict[str, Any]:
        """Return all fields in JSON's kinds; None for what is not finite."""
        return {
            field.metadata.get("json", field.name): _to_json(getattr(self, field.name))
            for field in fields(self)
        }


def json_name(name: str) -> dict[str, str]:
    """Return the metadata of a field that is called `name` in JSON."""
    return {"json": name}


def _to_json(value: Any) -> Any:
    """Return a value in JSON's kinds, also where it holds results."""
    if isinstance(value, Result):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return to_json(value)


def consecutive_flags(
    flagged: Iterable[str], last: str, previous: Mapping[str, Any] | Result | None
) -> dict[str, int]:
    """Count for each flag in how many consecutive checks it was up, this one included.

    Args:
        flagged: names flagged now.
        last: the last day that was checked, an ISO string.
        previous: the result of the check before, as it was or as JSON, with `last` and `streaks`.
            Nothing is added to one of the same day or later: the same data is no new evidence.

    Returns:
        Number of checks by name.

    >>> consecutive_flags(["lag_1"], "2024-05-02", {"last": "2024-05-01", "streaks": {"lag_1": 2}})
    {'lag_1': 3}
    """
    if isinstance(previous, Result):
        previous = previous.to_json()
    before = dict((previous or {}).get("streaks") or {})
    is_repeated = previous is not None and str(previous["last"]) >= last
    return {name: max(1, int(before.get(name, 0)) + (not is_repeated)) for name in flagged}


def first_detected(
    days: Iterable[str], lasting: Mapping[str, int], previous: Mapping[str, Any] | Result | None
) -> str:
    """Return the first day of what is flagged now; it is kept while any of the flags lasts.

    Args:
        days: onsets by this check alone, ISO strings; may be empty.
        lasting: the `consecutive_flags` of this check.
        previous: the check before, as of `consecutive_flags`, with `since` and `streaks`.

    Returns:
        An ISO string, "" where nothing is flagged.
    """
    onset = min(days, default="")
    if isinstance(previous, Result):
        previous = previous.to_json()
    before = previous or {}
    known = before.get("since") or ""
    if onset and known and lasting.keys() & dict(before.get("streaks") or {}).keys():
        return min(onset, known)
    return onset
