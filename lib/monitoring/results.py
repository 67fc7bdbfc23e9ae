"""What the results of all checks have in common: they can be kept as JSON, and last over checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lib.files import to_json


@dataclass(frozen=True)
class Result:
    """The numbers a check came to. Days are ISO strings, so that JSON gives back what went in."""

    def to_json(self) -> dict[str, Any]:
        """All fields in JSON's kinds; what is not finite is None."""
        return to_json(asdict(self))


def consecutive_flags(
    flagged: Iterable[str], last: str, previous: Mapping[str, Any] | Result | None
) -> dict[str, int]:
    """How many checks in a row each name has been flagged, this one included.

    Args:
        flagged: names flagged now.
        last: the last day that was checked.
        previous: the result of the check before, as it was or as JSON, with `last` and `streaks`.
            One of the same day or later does not count: asking twice is no second piece of
            evidence.
    """
    if isinstance(previous, Result):
        previous = previous.to_json()
    before = dict((previous or {}).get("streaks") or {})
    again = previous is not None and str(previous["last"]) >= last
    return {name: max(1, int(before.get(name, 0)) + (0 if again else 1)) for name in flagged}


def first_detected(
    days: Iterable[str], lasting: Mapping[str, int], previous: Mapping[str, Any] | Result | None
) -> str:
    """The first day of what is found now, kept from check to check while any of it lasts.

    Args:
        days: when it seems to have begun, by this check alone. None is "".
        lasting: `streaks` of this check.
        previous: as of `streaks`, with `since` and `streaks`.
    """
    found = min(days, default="")
    if isinstance(previous, Result):
        previous = previous.to_json()
    before = previous or {}
    known = before.get("since") or ""
    if found and known and lasting.keys() & dict(before.get("streaks") or {}).keys():
        return min(found, known)
    return found
