"""Channels that deliver notices of incidents: the log, mail, a webhook, and those of apprise.

A channel takes notices and returns, or raises what went wrong; it never tries twice.
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any, Protocol, cast

import structlog
from pydantic import SecretStr

from lib.monitoring.messages import SEVERITIES, Digest, Notice, Severity
from lib.settings import Settings

SECONDS = 10.0  # that a server may take for one step
IMPLICIT_TLS_PORT = 465  # where a mail server expects TLS from the first byte (RFC 8314)
log = structlog.get_logger()


class Channel(Protocol):
    """A way to send notices. `name` is kept with what was delivered, so it must not change."""

    name: str

    def send(self, notices: Sequence[Notice]) -> None:
        """Send all notices in one message; raise what went wrong."""
        ...


class DigestChannel(Channel, Protocol):
    """A way to send the digest of a day too."""

    def send_digest(self, digest: Digest) -> None:
        """Send it; raise what went wrong."""
        ...


def channels_of(settings: Settings) -> list[DigestChannel]:
    """Return the channels that are configured: the log always."""
    channels: list[DigestChannel] = [Log()]
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

    def send_digest(self, digest: Digest) -> None:
        """Log the numbers; never fails."""
        log.info("digest", title=digest.title, **dict(digest.numbers))


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
        message = self._message(_subject(notices), max(n.last_seen for n in notices))
        message.set_content(_text(notices) + "\n")
        self._send(message)

    def send_digest(self, digest: Digest) -> None:
        """Send one mail with the picture in it. Raises OSError."""
        message = self._message(digest.title, digest.at)
        message.set_content(digest.text() + "\n")
        number = make_msgid("picture")
        message.add_alternative(digest.html(f"cid:{number[1:-1]}"), subtype="html")
        html = cast(EmailMessage, message.get_payload(1))
        html.add_related(digest.picture, "image", "png", cid=number, filename="digest.png")
        self._send(message)

    def _send(self, message: EmailMessage) -> None:
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
            refused = server.send_message(message)
        if refused:  # some of several recipients; it raises where all are
            log.warning("alert mail refused", recipients=sorted(refused))

    def _message(self, subject: str, at: datetime) -> EmailMessage:
        settings = self._settings
        user = settings.smtp_user if "@" in settings.smtp_user else ""
        sender = settings.smtp_from or user or settings.alert_email.split(",")[0].strip()
        message = EmailMessage()
        message["Subject"] = " ".join(subject.split())
        message["From"], message["To"] = sender, settings.alert_email
        message["Date"] = format_datetime(at)
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> "))
        message["Auto-Submitted"] = "auto-generated"
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
        self._post(document)

    def send_digest(self, digest: Digest) -> None:
        """Post its text and numbers, without the picture. Raises OSError as `send` does."""
        text = f"{digest.title}\n\n{digest.text()}"
        self._post({"text": text, "digest": dict(digest.numbers), "links": dict(digest.links)})

    def _post(self, document: dict[str, Any]) -> None:
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
        self._notify(_subject(notices), _text(notices), _worst(notices).severity)

    def send_digest(self, digest: Digest) -> None:
        """Send one message, with the picture where the service takes files. Raises OSError."""
        with tempfile.TemporaryDirectory(prefix="digest-") as folder:
            picture = Path(folder) / "digest.png"
            picture.write_bytes(digest.picture)
            self._notify(digest.title, digest.text(), "info", picture)

    def _notify(
        self, title: str, body: str, severity: Severity, picture: Path | None = None
    ) -> None:
        from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType  # a second to import

        # Its warnings may show parts of the URL, and it returns no reasons.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        service = Apprise(asset=AppriseAsset(http_redirects=False))
        service.add(self._url.get_secret_value())
        kinds = {"critical": NotifyType.FAILURE, "warning": NotifyType.WARNING}
        is_delivered = service.notify(
            title=title,
            body=body,
            body_format=NotifyFormat.TEXT,
            notify_type=kinds.get(severity, NotifyType.INFO),
            attach=None if picture is None else str(picture),
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
