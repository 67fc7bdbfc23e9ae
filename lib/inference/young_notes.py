"""Say in words what the forecast of a young series rests on."""

from __future__ import annotations

from lib.features import YOUNG_DAYS

FULL_WEEK = 7  # days from which a series says something of its week


def describe_young(known: int, days: int, *, borrowed: bool) -> str:
    """Return in words what the forecast of a young series rests on, "" for another series.

    Args:
        known: observed days.
        days: from the first of them to the last of the history.
        borrowed: whether the model has learned what other series have in common.

    >>> describe_young(3, 3, borrowed=True)
    '3 days known: the level from them, week and year from the series that were learned'
    >>> describe_young(400, 400, borrowed=True)
    ''
    """
    if not known or days >= YOUNG_DAYS:
        return ""
    told = f"{known} {'day' if known == 1 else 'days'} known"
    own = "level" if known < FULL_WEEK else "level and part of the week"
    rest = "week and year" if known < FULL_WEEK else "the rest of it and the year"
    whence = "the series that were learned" if borrowed else "what the model has learned elsewhere"
    return f"{told}: the {own} from {'it' if known == 1 else 'them'}, {rest} from {whence}"
