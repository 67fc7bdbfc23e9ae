"""Channels that deliver notices of incidents: the log, mail, a webhook, and those of apprise.

A channel takes notices and returns, or raises what went wrong; it never tries twice.
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any, Literal, Protocol

import structlog
from pydantic import SecretStr

from lib.settings import Settings

SECONDS = 10.0  # that a server may take for one step
IMPLICIT_TLS_PORT = 465  # where a mail server expects TLS from the first byte (RFC 8314)
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")  # from bad to worse
Event = Literal["opened", "worse", "back", "ended"]
_WORDS = {"opened": "new", "worse": "worse", "back": "still there", "ended": "ended"}
log = structlog.get_logger()


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

    def line(self) -> str:
        """Return severity, change and title in one line."""
        return " ".join(f"[{self.severity}, {_WORDS[self.event]}] {self.title}".split())

    def text(self) -> str:
        """Return the notice for people, in a few lines."""
        lines = [self.line(), self.detail, f"since {_utc(self.opened_at)}"]
        if self.ended_at is not None:
            lines[-1] += f", last seen {_utc(self.last_seen)}, ended {_utc(self.ended_at)}"
        return "\n".join(line for line in lines if line)

    def document(self) -> dict[str, Any]:
        """Return the notice in JSON's kinds."""
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
    """A way to send notices. `name` is kept with what was delivered, so it must not change."""

    name: str

    def send(self, notices: Sequence[Notice]) -> None:
        """Send all notices in one message; raise what went wrong."""
        ...


def channels_of(settings: Settings) -> list[Channel]:
    """Return the channels that are configured: the log always."""
    channels: list[Channel] = [Log()]
    if settings.smtp_host and settings.alert_email:
        channels.append(Mail(settings))
    if settings.alert_webhook_url:
        channels.append(Webhook(settings))
    schemes: Counter[str] = Counter()
    for url in settings.alert_urls:
        scheme = url.get_secret_value().partition("://")[0]
        schemes[scheme] += 1
        # Numbered, not named after host or user: any part of these URLs may be a secret.
        name = scheme if schemes[scheme] == 1 else f"{scheme}-{schemes[scheme]}"
        channels.append(AppriseService(name, url))
    return channels


class Log:
    """The log of this program, a line a notice."""

    name = "log"

    def send(self, notices: Sequence[Notice]) -> None:
        """Log the notices; never fails."""
        for notice in notices:
            bad = notice.severity != "info" and notice.event != "ended"
            write = log.warning if bad else log.info
            document = notice.document()
            write("alert", change=document.pop("event"), **document)


class Mail:
    """SMTP: with implicit TLS at port 465, else with STARTTLS unless that is turned off.

    The server's certificate is checked against the certificates this machine trusts (OpenSSL's,
    which `SSL_CERT_FILE` replaces). Nothing is sent where the encryption fails.
    """

    name = "mail"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, notices: Sequence[Notice]) -> None:
        """Send one mail. Raises OSError, of which smtplib's errors are."""
        settings, context = self._settings, ssl.create_default_context()
        is_implicit = settings.smtp_port == IMPLICIT_TLS_PORT
        address = settings.smtp_host, settings.smtp_port
        with (
            smtplib.SMTP_SSL(*address, timeout=SECONDS, context=context)
            if is_implicit
            else smtplib.SMTP(*address, timeout=SECONDS)
        ) as server:
            if settings.smtp_starttls and not is_implicit:
                server.starttls(context=context)
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            refused = server.send_message(self._message(notices))
        if refused:  # some of several recipients; it raises where all are
            log.warning("alert mail refused", recipients=sorted(refused))

    def _message(self, notices: Sequence[Notice]) -> EmailMessage:
        settings = self._settings
        user = settings.smtp_user if "@" in settings.smtp_user else ""
        sender = settings.smtp_from or user or settings.alert_email.split(",")[0].strip()
        message = EmailMessage()
        message["Subject"] = _subject(notices)
        message["From"], message["To"] = sender, settings.alert_email
        message["Date"] = format_datetime(max(n.last_seen for n in notices))
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> "))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(_text(notices) + "\n")
        return message


class Webhook:
    """A POST of JSON: `text` for people, as chat services show it, and `alerts`."""

    name = "webhook"

    def __init__(self, settings: Settings) -> None:
        self._url = settings.alert_webhook_url

    def send(self, notices: Sequence[Notice]) -> None:
        """Post the document. Raises OSError, never with the URL, for all but 2xx and redirects."""
        document = {
            "text": _text(notices),
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


class AppriseService:
    """A service that apprise delivers to, by one URL of ALERT_URLS.

    Redirects are not followed, unless the URL says `redirect=yes`.
    """

    def __init__(self, name: str, url: SecretStr) -> None:
        self.name = name
        self._url = url

    def send(self, notices: Sequence[Notice]) -> None:
        """Send one message. Raises OSError where apprise could not deliver it."""
        from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType  # a second to import

        # Its warnings may show parts of the URL, and it returns no reasons.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        service = Apprise(asset=AppriseAsset(http_redirects=False))
        service.add(self._url.get_secret_value())
        kinds = {"critical": NotifyType.FAILURE, "warning": NotifyType.WARNING}
        is_delivered = service.notify(
            title=_subject(notices),
            body=_text(notices),
            body_format=NotifyFormat.TEXT,
            notify_type=kinds.get(_worst(notices).severity, NotifyType.INFO),
        )
        if not is_delivered:
            raise OSError(f"apprise could not deliver; for the reason: apprise -vv {self.name}://…")


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A POST would be repeated as a GET, and count as delivered."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def _worst(notices: Sequence[Notice]) -> Notice:
    return max(notices, key=lambda notice: SEVERITIES.index(notice.severity))


def _subject(notices: Sequence[Notice]) -> str:
    more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
    return f"{_worst(notices).line()}{more}"[:200]


def _text(notices: Sequence[Notice]) -> str:
    return "\n\n".join(notice.text() for notice in notices)


def _utc(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
