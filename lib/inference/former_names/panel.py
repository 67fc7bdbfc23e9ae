"""Stand in for `lib.panel`, which registered models import."""

from lib.data import Panel, SeriesError

__all__ = ["Panel", "SeriesError"]
