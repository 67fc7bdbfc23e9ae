"""How somebody is told of an incident: by mail, by a webhook, in the log.

A channel takes notices and returns, or raises what went wrong; it never tries twice.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any, Literal, Protocol

import structlog

from lib.settings import Settings

SECONDS = 10.0  # that a server may take for one step
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")  # from bad to worse
Event = Literal["opened", "worse", "back", "ended"]
_WORDS = {"opened": "new", "worse": "worse", "back": "still there", "ended": "ended"}
log = structlog.get_logger()


@dataclass(frozen=True)
class Notice:
    """What is to be told of an incident. Times are in UTC."""

    key: str
    event: Event
    severity: Severity
    title: str
    detail: str
    opened_at: datetime
    last_seen: datetime
    ended_at: datetime | None

    def line(self) -> str:
        """In one line."""
        return " ".join(f"[{self.severity}, {_WORDS[self.event]}] {self.title}".split())

    def text(self) -> str:
        """For people."""
        lines = [self.line(), self.detail, f"since {_utc(self.opened_at)}"]
        if self.ended_at is not None:
            lines[-1] += f", last seen {_utc(self.last_seen)}, ended {_utc(self.ended_at)}"
        return "\n".join(line for line in lines if line)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        times = ("opened_at", "last_seen", "ended_at")
        at = {name: getattr(self, name) for name in times}
        return {
            "incident": self.key,
            "event": self.event,
            "severity": self.severity,
            "title": self.title,
            "detail": self.detail,
        } | {name: when and when.isoformat() for name, when in at.items()}


class Channel(Protocol):
    """Somewhere to send notices."""

    name: str

    def send(self, notices: Sequence[Notice]) -> None:
        """All of them in one message; raises what went wrong."""
        ...


def channels_of(settings: Settings) -> list[Channel]:
    """The channels that are set up: the log always."""
    found: list[Channel] = [Log()]
    if settings.smtp_host and settings.alert_email:
        found.append(Mail(settings))
    if settings.alert_webhook_url:
        found.append(Webhook(settings))
    return found


class Log:
    """The program's own log, a line each."""

    name = "log"

    def send(self, notices: Sequence[Notice]) -> None:
        """Never fails."""
        for notice in notices:
            bad = notice.severity != "info" and notice.event != "ended"
            say = log.warning if bad else log.info
            document = notice.document()
            say("alert", change=document.pop("event"), **document)


class Mail:
    """SMTP, with STARTTLS unless that is turned off.

    The server's certificate is checked against the certificates this machine trusts (OpenSSL's,
    which `SSL_CERT_FILE` replaces). Without encryption that was asked for nothing is sent.
    """

    name = "mail"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def send(self, notices: Sequence[Notice]) -> None:
        """Raises OSError, of which smtplib's errors are."""
        message, asked = self._message(notices), self.settings
        with smtplib.SMTP(asked.smtp_host, asked.smtp_port, timeout=SECONDS) as server:
            if asked.smtp_starttls:
                server.starttls(context=ssl.create_default_context())
            if asked.smtp_user:
                server.login(asked.smtp_user, asked.smtp_password.get_secret_value())
            refused = server.send_message(message)
        if refused:  # by some of several; raised where by all
            log.warning("alert mail refused", recipients=sorted(refused))

    def _message(self, notices: Sequence[Notice]) -> EmailMessage:
        asked, worst = self.settings, max(notices, key=lambda n: SEVERITIES.index(n.severity))
        user = asked.smtp_user if "@" in asked.smtp_user else ""
        sender = asked.smtp_from or user or asked.alert_email.split(",")[0].strip()
        message = EmailMessage()
        more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
        message["Subject"] = f"{worst.line()}{more}"[:200]
        message["From"], message["To"] = sender, asked.alert_email
        message["Date"] = format_datetime(max(n.last_seen for n in notices))
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> "))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n\n".join(notice.text() for notice in notices) + "\n")
        return message


class Webhook:
    """A POST of JSON: `text` for people, as chat services show it, and `alerts`."""

    name = "webhook"

    def __init__(self, settings: Settings) -> None:
        self._url = settings.alert_webhook_url

    def send(self, notices: Sequence[Notice]) -> None:
        """Raises OSError; anything but 2xx is one, a redirection too. Never shows the URL."""
        document = {
            "text": "\n\n".join(notice.text() for notice in notices),
            "alerts": [notice.document() for notice in notices],
        }
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "production-lstm"}
        request = urllib.request.Request(self._url, body, headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirection)
        try:
            opener.open(request, timeout=SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise OSError(f"the webhook answers {error.code}") from None
        except urllib.error.URLError as error:
            raise OSError(f"the webhook cannot be reached: {error.reason}") from None


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A POST would be repeated as a GET, and count as delivered."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def _utc(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
