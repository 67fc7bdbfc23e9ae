"""The digest: sent once a day, by mail with its picture, to a webhook, and tried again."""

import io
import os
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from matplotlib.image import imread
from pydantic import SecretStr

from lib.monitoring import digest as digest_module
from lib.monitoring import job
from lib.monitoring.channels import AppriseService
from lib.monitoring.digest import build_digest, send_digest
from lib.settings import get_settings
from lib.storage.database import Store, utcnow
from lib.storage.tables import checks
from tests import sinks
from tests.lib.monitoring.served_days import settings_of, write_forecasts
from tests.lib.monitoring.test_report import DAY

# Of apprise, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

FINDINGS = {
    "model_name": "ProductionLSTM-Forecast",
    "model_version": 3,
    "status": "alarm",
    "accuracy": {
        "history": [
            {"date": f"2026-10-{n:02d}", "mae": 20.0 + n % 3 + (n > 20) * 9, "coverage": 81.0 - n}
            for n in range(1, 31)
        ],
        "promise": {"mae": 21.5, "mase": 0.9, "coverage": 80.0},
        "interval": 0.8,
    },
    "alerts": [{"name": "Forecasts are <worse>", "severity": "critical"}],
    "evidence": {"actuals": 1201, "forecasts": 1568},
    "stability": {"moved": 4.21},
    "anomalies": [{"persistent": True}, {"persistent": False}],
    "worst_series": [{"name": "Shop 7"}, {"name": "Shop 2"}],
}


@pytest.fixture
def mailbox():
    with sinks.smtp() as mailbox:
        yield mailbox


def settings_for(mailbox=None, **changes):
    if mailbox is not None:
        changes |= {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_starttls": False}
        changes |= {"alert_email": "me@example.org"}
    changes = {"public_url": "https://forecasts.example.org/"} | changes
    return get_settings(None).model_copy(update=changes)


def test_digest_has_five_numbers_alerts_links_and_a_picture():
    digest = build_digest(FINDINGS, settings_for())
    assert digest.title == "ProductionLSTM-Forecast: degraded, 1 open alert"
    assert dict(digest.numbers) == {
        "Mean error": "29 (expected 21.5)",
        "Inside the 80 % interval": "51.0 %",
        "Forecasts that came true": "1,201 of 1,568",
        "Anomalies of the last day": "2, of which 1 persistent",
        "Forecast of a day moves by": "4.2 %",
    }
    assert digest.lines == ("[critical] Forecasts are <worse>", "Largest errors: Shop 7, Shop 2")
    assert digest.links == (("The page", "https://forecasts.example.org/#model"),)
    assert imread(io.BytesIO(digest.picture)).shape[1] > 800
    html = digest.html("digest.png")
    assert "&lt;worse&gt;" in html
    assert "<worse>" not in html
    if folder := os.environ.get("PICTURES"):
        Path(folder, "digest.png").write_bytes(digest.picture)
        Path(folder, "digest.html").write_text(html)


def test_digest_of_a_check_without_anything_says_unknown():
    nothing = {"accuracy": {"history": [], "promise": {}, "interval": 0.8}, "model_version": 1}
    digest = build_digest(nothing | {"status": "unknown"}, settings_for(public_url=""))
    assert digest.title.endswith("not enough evidence for a verdict, no open alerts")
    assert digest.numbers[0] == ("Mean error", "unknown (expected unknown)")
    assert digest.links == ()


def test_digest_is_mailed_once_a_day_with_its_picture_inside(store, mailbox, monkeypatch):
    settings = settings_for(mailbox)
    assert send_digest(store, settings, FINDINGS) == {"log": "", "mail": ""}
    assert send_digest(store, settings, FINDINGS) == {}
    (mail,) = mailbox.mails
    assert mail["Subject"] == "ProductionLSTM-Forecast: degraded, 1 open alert"
    html = mail.get_body(("html",)).get_content()
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert f'src="cid:{picture["Content-ID"][1:-1]}"' in html
    assert picture.get_content().startswith(b"\x89PNG")
    assert "Mean error: 29 (expected 21.5)" in mail.get_body(("plain",)).get_content()
    tomorrow = utcnow() + timedelta(days=1)
    monkeypatch.setattr(digest_module, "utcnow", lambda: tomorrow)
    assert send_digest(store, settings, FINDINGS) == {"log": "", "mail": ""}
    assert len(mailbox.mails) == 2


def test_digest_is_tried_again_by_the_channel_that_failed_only(store, mailbox):
    settings = settings_for(mailbox)
    mailbox.refusing = True
    assert "451" in send_digest(store, settings, FINDINGS)["mail"]
    mailbox.refusing = False
    assert send_digest(store, settings, FINDINGS) == {"mail": ""}
    with store.reading() as connection:
        (row,) = connection.execute(sa.select(checks)).all()
    assert (row.kind, row.status, row.result) == (
        "digest",
        "sent",
        {"channels": {"log": "", "mail": ""}},
    )


def test_digest_goes_to_a_webhook_and_to_services_of_apprise(store):
    with sinks.http() as receiver:
        settings = get_settings(None).model_copy(update={"alert_webhook_url": receiver.url})
        assert send_digest(store, settings, FINDINGS) == {"log": "", "webhook": ""}
        (_, document) = receiver.posts[0]
        assert document["digest"]["Mean error"] == "29 (expected 21.5)"
        assert document["text"].startswith("ProductionLSTM-Forecast: degraded")
        service = AppriseService("json", SecretStr(f"json{receiver.url.removeprefix('http')}"))
        service.send_digest(build_digest(FINDINGS, settings))
        (_, document) = receiver.posts[1]
        assert document["title"] == "ProductionLSTM-Forecast: degraded, 1 open alert"
        assert document["attachments"][0]["mimetype"] == "image/png"


def test_check_sends_the_digest_where_it_is_wanted(tmp_path, monkeypatch, mailbox):
    settings = settings_of(tmp_path, monkeypatch)
    store = Store.of(settings)
    write_forecasts(store, error=0.5)
    job.run_check(settings, store, day=DAY)
    assert mailbox.mails == []
    mailing = {"digest": True, "smtp_host": "127.0.0.1", "smtp_port": mailbox.port}
    mailing |= {"smtp_starttls": False, "alert_email": "me@example.org"}
    job.run_check(settings.model_copy(update=mailing), store, day=DAY)
    (mail,) = mailbox.mails
    assert "healthy, no open alerts" in mail["Subject"]
    with store.reading() as connection:
        kinds = connection.scalars(sa.select(checks.c.kind)).all()
    assert sorted(kinds) == ["digest", "report"]
    store.close()
