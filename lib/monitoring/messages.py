"""What channels deliver: notices of incidents, and the digest of a day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")  # from bad to worse
Event = Literal["opened", "worse", "back", "ended"]
_WORDS = {"opened": "new", "worse": "worse", "back": "still there", "ended": "ended"}


@dataclass(frozen=True)
class Notice:
    """One change of an incident that a channel has to deliver. Times are in UTC."""

    key: str
    event: Event
    severity: Severity
    title: str
    detail: str
    opened_at: datetime
    last_seen: datetime
    ended_at: datetime | None
    model_name: str = ""  # registered name

    def line(self) -> str:
        """Return severity, change and title in one line."""
        return " ".join(f"[{self.severity}, {_WORDS[self.event]}] {self.title}".split())

    def text(self) -> str:
        """Return the notice for people, in a few lines."""
        model = f"{self.model_name}, " if self.model_name else ""
        lines = [self.line(), self.detail, f"{model}since {_utc(self.opened_at)}"]
        if self.ended_at is not None:
            lines[-1] += f", last seen {_utc(self.last_seen)}, ended {_utc(self.ended_at)}"
        return "\n".join(line for line in lines if line)

    def document(self) -> dict[str, Any]:
        """Return the notice in JSON's kinds."""
        times = ("opened_at", "last_seen", "ended_at")
        at = {name: getattr(self, name) for name in times}
        return {
            "incident": self.key,
            "model": self.model_name,
            "event": self.event,
            "severity": self.severity,
            "title": self.title,
            "detail": self.detail,
        } | {name: when and when.isoformat() for name, when in at.items()}


@dataclass(frozen=True)
class Digest:
    """The state of a model on one day, for people.

    Attributes:
        title: in one line.
        lead: of which version and day.
        numbers: what they are called, and the number as text.
        lines: open alerts, and what else to look at.
        links: what they are called, and the URL.
        picture: a PNG.
        at: when it was made, UTC.
    """

    title: str
    lead: str
    numbers: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    picture: bytes = field(repr=False)
    at: datetime

    def text(self) -> str:
        """Return the digest for people who see no pictures."""
        numbers = "\n".join(f"{name}: {value}" for name, value in self.numbers)
        links = "\n".join(f"{name}: {url}" for name, url in self.links)
        return "\n\n".join(filter(None, (self.lead, numbers, "\n".join(self.lines), links)))

    def html(self, picture: str) -> str:
        """Return the digest for a mail reader; `picture` is the source of the picture."""
        cell = '<td style="padding:4px 16px 4px 0{}">{}</td>'
        bold = ";font-weight:600"
        rows = "".join(
            f"<tr>{cell.format('', escape(name))}{cell.format(bold, escape(value))}</tr>"
            for name, value in self.numbers
        )
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.lines)
        links = " &middot; ".join(
            f'<a href="{escape(url)}">{escape(name)}</a>' for name, url in self.links
        )
        return (
            '<div style="font-family:sans-serif;color:#1f2933;max-width:680px">'
            f'<h2 style="font-size:18px">{escape(self.title)}</h2><p>{escape(self.lead)}</p>'
            f'<img src="{picture}" alt="Mean error and coverage over time" style="max-width:100%">'
            f'<table style="border-collapse:collapse;margin:12px 0">{rows}</table>'
            f"<ul>{lines}</ul><p>{links}</p></div>"
        )


def _utc(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
