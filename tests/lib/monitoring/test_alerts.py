"""Alerts, delivered to a real SMTP server, a real HTTP receiver and the log."""

import json
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from lib.log import configure_logging
from lib.monitoring import alerts as alerts_module
from lib.monitoring import channels as channels_module
from lib.monitoring.alerts import Finding, open_incidents, raise_alerts
from lib.monitoring.channels import (
    AppriseService,
    Mail,
    Notice,
    Severity,
    Webhook,
    channels_of,
)
from lib.settings import ROOT, SettingsError, get_settings
from lib.storage.tables import alerts
from tests import sinks
from tests.ports import free_port

# Of apprise, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIFT = Finding("drift lag_1", "warning", "lag_1 has drifted", "KS 0.4 over 3 checks")
WORSE = Finding("drift lag_1", "critical", "lag_1 has drifted far", "KS 0.8")
ERROR = Finding("accuracy", "critical", "MAE is 40 % above the backtest's")


@pytest.fixture
def mailbox():
    with sinks.smtp() as mailbox:
        yield mailbox


@pytest.fixture
def receiver():
    with sinks.http() as receiver:
        yield receiver


def settings_for(mailbox=None, receiver=None, **changes):
    if mailbox is not None:
        changes = {
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_starttls": False,
            "alert_email": "me@example.org",
        } | changes
    if receiver is not None:
        changes = {"alert_webhook_url": receiver.url} | changes
    return get_settings(None).model_copy(update=changes)


class Memory:
    """A channel in memory, which fails while it is `down`."""

    def __init__(self, name="memory"):
        self.name, self.delivered, self.down = name, [], False

    def send(self, notices):
        if self.down:
            raise OSError("down")
        self.delivered += [(n.event, n.severity, n.key) for n in notices]


def check(store, hours, *findings, channels, cooldown=24.0, **more):
    settings = settings_for(alert_cooldown_hours=cooldown)
    now = START + hours * HOUR
    return raise_alerts(store, findings, settings=settings, now=now, channels=channels, **more)


def rows(store):
    with store.reading() as connection:
        return connection.execute(sa.select(alerts).order_by(alerts.c.id)).all()


def test_alerts_send_one_mail_for_one_incident_over_ten_checks(store, mailbox):
    settings = settings_for(mailbox)
    deliveries = [
        raise_alerts(store, [DRIFT], settings=settings, now=START + n * HOUR) for n in range(10)
    ]
    assert [len(each) for each in deliveries] == [1] + [0] * 9
    assert deliveries[0][0].delivered == ("log", "mail")
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[warning, new] lag_1 has drifted"
    assert (mail["To"], mail["From"]) == ("me@example.org", "me@example.org")
    assert "KS 0.4 over 3 checks" in mail.get_content()
    assert "since 2026-03-01 06:00 UTC" in mail.get_content()
    (row,) = rows(store)
    assert (row.opened_at, row.last_seen) == (START, START + 9 * HOUR)
    assert (row.told_at, row.ended_at) == (START, None)


def test_alerts_reach_the_mailbox_when_smtp_is_back_after_five_checks(store):
    port = free_port()  # nothing answers there yet
    settings = settings_for(smtp_host="127.0.0.1", smtp_port=port, smtp_starttls=False)
    settings = settings.model_copy(update={"alert_email": "me@example.org"})
    for n in range(5):
        (delivery,) = raise_alerts(store, [DRIFT], settings=settings, now=START + n * HOUR)
        assert "ConnectionRefusedError" in delivery.failed["mail"]
        assert delivery.delivered == (("log",) if n == 0 else ())
    assert rows(store)[0].deliveries["mail"]["failures"] == 5
    with sinks.smtp(port) as mailbox:
        for n in range(5, 10):
            raise_alerts(store, [DRIFT], settings=settings, now=START + n * HOUR)
        assert len(mailbox.mails) == 1
    assert rows(store)[0].deliveries["mail"].keys() == {"told", "worst", "at"}


def test_alerts_are_delivered_again_when_worse_and_once_when_over(store):
    channel = Memory()
    for n, finding in enumerate([DRIFT, DRIFT, WORSE, WORSE, DRIFT, WORSE, None, None]):
        check(store, n, *([finding] if finding else []), channels=[channel])
    key = DRIFT.key
    assert channel.delivered == [
        ("opened", "warning", key),
        ("worse", "critical", key),
        ("ended", "critical", key),
    ]
    assert [row.ended_at for row in rows(store)] == [START + 6 * HOUR]
    assert open_incidents(store) == []


def test_alerts_of_several_incidents_go_in_one_mail(store, mailbox, receiver):
    settings = settings_for(mailbox, receiver)
    deliveries = raise_alerts(store, [DRIFT, ERROR], settings=settings, now=START)
    assert [each.notice.key for each in deliveries] == [DRIFT.key, ERROR.key]
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[critical, new] MAE is 40 % above the backtest's and 1 more"
    assert DRIFT.title in mail.get_content()
    ((kind, document),) = receiver.posts
    assert kind == "application/json"
    assert [alert["incident"] for alert in document["alerts"]] == [DRIFT.key, ERROR.key]
    assert document["alerts"][0] == {
        "incident": "drift lag_1",
        "model": "ProductionLSTM-Forecast",
        "event": "opened",
        "severity": "warning",
        "title": "lag_1 has drifted",
        "detail": "KS 0.4 over 3 checks",
        "opened_at": "2026-03-01T06:00:00+00:00",
        "last_seen": "2026-03-01T06:00:00+00:00",
        "ended_at": None,
    }
    assert document["text"].startswith("[warning, new] lag_1 has drifted\nKS 0.4")


def test_alerts_that_flap_within_the_cooldown_are_one_incident_delivered_once(store):
    channel = Memory()
    for n in range(20):  # there at even hours
        check(store, n, *([DRIFT] if n % 2 == 0 else []), channels=[channel])
    assert [event for event, *_ in channel.delivered] == ["opened", "ended"]
    assert len(rows(store)) == 1


def test_alerts_that_come_back_worse_are_delivered_within_the_cooldown(store):
    channel = Memory()
    check(store, 0, DRIFT, channels=[channel])
    check(store, 1, channels=[channel])
    check(store, 2, WORSE, channels=[channel])
    check(store, 3, channels=[channel])
    assert [event for event, *_ in channel.delivered] == ["opened", "ended", "worse", "ended"]


def test_alerts_that_are_back_and_stay_are_delivered_at_the_end_of_the_cooldown(store):
    channel = Memory()
    check(store, 0, DRIFT, channels=[channel])
    check(store, 1, channels=[channel])
    for n in range(2, 40):
        check(store, n, DRIFT, channels=[channel])
    assert [event for event, *_ in channel.delivered] == ["opened", "ended", "back"]


def test_alerts_that_come_back_after_the_cooldown_are_new(store):
    channel = Memory()
    check(store, 0, DRIFT, channels=[channel])
    check(store, 1, channels=[channel])
    check(store, 30, DRIFT, channels=[channel])
    assert [event for event, *_ in channel.delivered] == ["opened", "ended", "opened"]
    assert len(rows(store)) == 2


def test_alerts_without_cooldown_are_new_each_time(store):
    channel = Memory()
    for n in range(4):
        check(store, n, *([DRIFT] if n % 2 == 0 else []), channels=[channel], cooldown=0)
    assert [event for event, *_ in channel.delivered] == ["opened", "ended"] * 2


def test_alerts_a_channel_that_fails_holds_up_no_other(store):
    bad, good = Memory("bad"), Memory("good")
    bad.down = True
    (delivery,) = check(store, 0, DRIFT, channels=[bad, good])
    assert (delivery.delivered, delivery.failed) == (("good",), {"bad": "OSError: down"})
    check(store, 1, WORSE, channels=[bad, good])
    bad.down = False
    check(store, 2, WORSE, channels=[bad, good])
    assert [event for event, *_ in good.delivered] == ["opened", "worse"]
    assert bad.delivered == [("opened", "critical", DRIFT.key)]  # as it is now, once


def test_alerts_that_ended_while_a_channel_was_down_are_delivered_once_as_ended(store):
    channel = Memory()
    channel.down = True
    check(store, 0, DRIFT, channels=[channel])
    check(store, 1, channels=[channel])
    channel.down = False
    for n in range(2, 5):
        check(store, n, channels=[channel])
    assert channel.delivered == [("ended", "warning", DRIFT.key)]
    check(store, 5, DRIFT, channels=[channel])  # flaps: delivered already
    assert len(channel.delivered) == 1


def test_alerts_that_ended_long_ago_are_no_longer_tried(store):
    channel = Memory()
    channel.down = True
    check(store, 0, DRIFT, channels=[channel])
    check(store, 1, channels=[channel])
    assert check(store, 24 * 9, channels=[channel]) == []


def test_alerts_of_open_incidents_reach_a_new_channel_and_ended_ones_do_not(store):
    first, second = Memory("first"), Memory("second")
    check(store, 0, DRIFT, ERROR, channels=[first])
    check(store, 1, ERROR, channels=[first])
    check(store, 2, ERROR, channels=[first, second])
    assert second.delivered == [("opened", "critical", ERROR.key)]


def test_alerts_within_a_part_end_only_that_part(store):
    channel = Memory()
    check(store, 0, DRIFT, ERROR, channels=[channel])
    check(store, 1, channels=[channel], within="drift ")
    assert channel.delivered[2:] == [("ended", "warning", DRIFT.key)]
    assert [row["key"] for row in open_incidents(store)] == [ERROR.key]


def test_alerts_of_one_key_count_as_the_worst(store):
    channel = Memory()
    check(store, 0, DRIFT, WORSE, DRIFT, channels=[channel])
    assert channel.delivered == [("opened", "critical", DRIFT.key)]


class Slow(Memory):
    """While it delivers, another check runs."""

    def __init__(self, meanwhile):
        super().__init__()
        self.meanwhile = meanwhile

    def send(self, notices):
        self.meanwhile(self)
        super().send(notices)


def test_alerts_of_two_checks_at_once_are_delivered_once(store):
    others = []

    def meanwhile(channel):
        others.append(check(store, 0, DRIFT, channels=[channel]))

    channel = Slow(meanwhile)
    check(store, 0, DRIFT, channels=[channel])
    assert others == [[]]
    assert len(channel.delivered) == 1
    assert len(rows(store)) == 1


@pytest.mark.parametrize("behind", [timedelta(seconds=2), timedelta(hours=2)])
def test_alerts_claimed_by_a_host_whose_clock_is_ahead_are_left_to_it(store, behind):
    sizes = []

    class Slow:
        name = "slow"

        def send(self, notices):
            sizes.append(len(notices))
            if len(sizes) == 1:  # another host checks meanwhile; by hours it is no claim any more
                now = START - behind
                raise_alerts(store, [DRIFT], settings=settings_for(), channels=[self], now=now)

    raise_alerts(store, [DRIFT], settings=settings_for(), channels=[Slow()], now=START)
    assert len(sizes) == (1 if behind < HOUR else 2)


def test_alerts_of_many_threads_are_one_incident(store):
    channel = Memory()
    threads = [
        threading.Thread(target=check, args=(store, 0, DRIFT), kwargs={"channels": [channel]})
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(store)) == len(channel.delivered) == 1


KILLED = """
import os, sys
from datetime import UTC, datetime
from lib.monitoring.alerts import Finding, raise_alerts
from lib.settings import get_settings
from lib.storage import Store
class Fatal:
    name = "memory"
    def send(self, notices):
        os._exit(9)
raise_alerts(Store(sys.argv[1]), [Finding("drift lag_1", "warning", "lag_1")],
    settings=get_settings(None), now=datetime(2026, 3, 1, 6, tzinfo=UTC), channels=[Fatal()])
"""


def test_alerts_of_a_check_killed_while_it_delivers_are_delivered_by_the_next(store):
    url = store.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, check=False)
    assert done.returncode == 9
    channel = Memory()
    check(store, 0.01, DRIFT, channels=[channel])
    assert channel.delivered == []  # it may still be on its way
    check(store, 1, DRIFT, channels=[channel])
    assert len(channel.delivered) == 1


def test_alerts_give_up_on_a_channel_that_does_not_answer(store, monkeypatch):
    monkeypatch.setattr(alerts_module, "DEADLINE", 0.2)
    forever = threading.Event()
    channel = Slow(lambda _: forever.wait(30))
    (delivery,) = check(store, 0, DRIFT, channels=[channel])
    assert delivery.failed == {"memory": "no answer within 0.2 seconds"}
    forever.set()


def test_finding_refuses():
    with pytest.raises(ValueError, match="severity: got 'bad', expected one of"):
        Finding("k", cast(Severity, "bad"), "t")
    with pytest.raises(ValueError, match="key: got 0 characters, expected 1 to 200"):
        Finding("", "info", "t")


def test_channels_are_those_that_are_configured(mailbox, receiver):
    names = [channel.name for channel in channels_of(settings_for())]
    assert names == ["log"]
    names = [channel.name for channel in channels_of(settings_for(mailbox, receiver))]
    assert names == ["log", "mail", "webhook"]


def test_log_channel_writes_a_line_an_alert(store, capsys):
    configure_logging("INFO")
    raise_alerts(store, [DRIFT], settings=settings_for(), now=START)
    raise_alerts(store, [], settings=settings_for(), now=START + HOUR)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logged = [(line["event"], line["level"], line["change"], line["incident"]) for line in lines]
    assert logged == [
        ("alert", "warning", "opened", DRIFT.key),
        ("alert", "info", "ended", DRIFT.key),
    ]


def send(channel, *findings):
    notices = [
        Notice(f.key, "opened", f.severity, f.title, f.detail, START, START, None)
        for f in findings or [DRIFT]
    ]
    channel.send(notices)


@pytest.fixture
def certificate(tmp_path):
    return sinks.certificate_for_localhost(tmp_path)


def secure(mailbox, password=sinks.PASSWORD):
    return settings_for(
        mailbox,
        smtp_host="localhost",
        smtp_starttls=True,
        smtp_user=sinks.USER,
        smtp_password=SecretStr(password),
    )


def test_mail_goes_encrypted_and_logged_in(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with sinks.smtp(certificate=certificate) as mailbox:
        send(Mail(secure(mailbox)))
    assert mailbox.users == [(True, True)]
    (mail,) = mailbox.mails
    assert mail["From"] == sinks.USER


def test_mail_uses_implicit_tls_at_its_port(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with sinks.smtp(certificate=certificate, implicit=True) as mailbox:
        monkeypatch.setattr(channels_module, "IMPLICIT_TLS_PORT", mailbox.port)
        send(Mail(secure(mailbox)))
    assert mailbox.users == [(True, True)]
    assert len(mailbox.mails) == 1


def test_mail_by_implicit_tls_sends_nothing_to_a_server_it_cannot_trust(certificate, monkeypatch):
    with sinks.smtp(certificate=certificate, implicit=True) as mailbox:
        monkeypatch.setattr(channels_module, "IMPLICIT_TLS_PORT", mailbox.port)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            send(Mail(secure(mailbox)))
    assert (mailbox.users, mailbox.mails) == ([], [])


def test_mail_with_a_wrong_password_fails_without_showing_it(certificate, monkeypatch, store):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with sinks.smtp(certificate=certificate) as mailbox:
        settings = secure(mailbox, "quite wrong")
        (delivery,) = raise_alerts(store, [DRIFT], settings=settings, now=START)
    assert "SMTPAuthenticationError" in delivery.failed["mail"]
    assert "wrong" not in delivery.failed["mail"]
    assert mailbox.mails == []


def test_mail_sends_nothing_to_a_server_it_cannot_trust(certificate):
    with (
        sinks.smtp(certificate=certificate) as mailbox,
        pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        send(Mail(secure(mailbox)))
    assert (mailbox.users, mailbox.mails) == ([], [])


def test_mail_sends_nothing_in_clear_text_to_a_server_without_starttls(mailbox):
    with pytest.raises(OSError, match="STARTTLS extension not supported"):
        send(Mail(secure(mailbox)))
    assert mailbox.mails == []


def test_mail_refused_for_now_is_an_error(mailbox):
    mailbox.refusing = True
    with pytest.raises(OSError, match="try later"):
        send(Mail(settings_for(mailbox)))


def test_mail_goes_to_the_others_where_one_of_several_is_refused(mailbox, capsys):
    settings = settings_for(mailbox, alert_email="gone@example.org, you@example.org")
    send(Mail(settings))
    (mail,) = mailbox.mails
    assert mail["To"] == "gone@example.org, you@example.org"
    with pytest.raises(OSError, match="no such user"):
        send(Mail(settings_for(mailbox, alert_email="gone@example.org")))


def test_mail_takes_any_title(mailbox):
    odd = Finding("k", "info", "Média → 5\r\nBcc: all@example.org " + "x" * 500, "é\n.\n\x00")
    send(Mail(settings_for(mailbox, smtp_from="Robot <robot@example.org>")), odd)
    (mail,) = mailbox.mails
    assert mail["Subject"].startswith("[info, new] Média → 5 Bcc: all@example.org xxx")
    assert mail["Bcc"] is None
    assert mail["From"] == "Robot <robot@example.org>"


@pytest.mark.parametrize("status", [302, 400, 500])
def test_webhook_counts_only_success(receiver, status):
    receiver.status = status
    with pytest.raises(OSError, match=f"the webhook answers {status}") as caught:
        send(Webhook(settings_for(receiver=receiver)))
    assert "secret-path" not in str(caught.value)
    assert len(receiver.posts) == 1


def test_webhook_that_is_down_never_shows_its_url():
    url = f"http://127.0.0.1:{free_port()}/secret-path"
    with pytest.raises(OSError, match=r"cannot be reached: .*refused") as caught:
        send(Webhook(settings_for(alert_webhook_url=url)))
    assert "secret-path" not in str(caught.value)


def test_webhook_that_hangs_fails_in_time(monkeypatch, store):
    monkeypatch.setattr("lib.monitoring.channels.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        settings = settings_for(alert_webhook_url=url)
        (delivery,) = raise_alerts(store, [DRIFT], settings=settings, now=START)
    assert "timed out" in delivery.failed["webhook"]
    assert delivery.delivered == ("log",)


def by_apprise(url):
    return AppriseService("json", SecretStr(url.replace("http://", "json://")))


def test_apprise_delivers_by_url(store, receiver):
    settings = settings_for(alert_urls=(SecretStr(receiver.url.replace("http://", "json://")),))
    (delivery,) = raise_alerts(store, [DRIFT], settings=settings, now=START)
    assert delivery.delivered == ("log", "json")
    ((_, document),) = receiver.posts
    assert document["title"] == "[warning, new] lag_1 has drifted"
    assert "KS 0.4 over 3 checks" in document["message"]
    assert document["type"] == "warning"


def test_apprise_that_fails_is_logged_by_name_without_the_url_and_tried_again(
    store, receiver, capsys
):
    configure_logging("INFO")
    receiver.status = 500
    settings = settings_for(alert_urls=(SecretStr(receiver.url.replace("http://", "json://")),))
    (delivery,) = raise_alerts(store, [DRIFT], settings=settings, now=START)
    assert "apprise could not deliver" in delivery.failed["json"]
    output = capsys.readouterr().err
    (line,) = [json.loads(row) for row in output.splitlines() if "not delivered" in row]
    assert line["channel"] == "json"
    assert "secret-path" not in output
    receiver.status = 204
    (delivery,) = raise_alerts(store, [DRIFT], settings=settings, now=START + HOUR)
    assert delivery.delivered == ("json",)
    assert raise_alerts(store, [DRIFT], settings=settings, now=START + 2 * HOUR) == []


def test_apprise_follows_no_redirect(receiver):
    receiver.status = 302
    with pytest.raises(OSError, match="apprise could not deliver"):
        send(by_apprise(receiver.url))
    assert receiver.paths == ["/secret-path"]


@pytest.mark.parametrize(("implicit", "mode"), [(False, "starttls"), (True, "ssl")])
def test_apprise_sends_mail_encrypted(certificate, monkeypatch, implicit, mode):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    user, password = sinks.USER.partition("@")[0], sinks.PASSWORD.replace(" ", "%20")
    with sinks.smtp(certificate=certificate, implicit=implicit) as mailbox:
        url = f"mailtos://{user}:{password}@localhost:{mailbox.port}?mode={mode}&user={sinks.USER}"
        send(AppriseService("mailtos", SecretStr(f"{url}&to=me@example.org&smtp=localhost")))
    assert mailbox.users == [(True, True)]
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[warning, new] lag_1 has drifted"


def test_apprise_sends_no_mail_to_a_server_it_cannot_trust(certificate):
    with sinks.smtp(certificate=certificate, implicit=True) as mailbox:
        url = f"mailtos://me:secret@localhost:{mailbox.port}?mode=ssl&to=me@example.org"
        with pytest.raises(OSError, match="apprise could not deliver"):
            send(AppriseService("mailtos", SecretStr(url)))
    assert (mailbox.users, mailbox.mails) == ([], [])


def test_channels_of_apprise_are_named_by_scheme_and_number(monkeypatch):
    monkeypatch.setenv("ALERT_URLS", "json://a/x,y , json://b,discord://123456789012345678/token")
    names = [channel.name for channel in channels_of(get_settings(None))]
    assert names == ["log", "json", "json-2", "discord"]


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ("json://a,nonsense://s3cret", "ALERT_URLS: apprise cannot use entry 2, a URL of nonsense"),
        ("slack://s3cret", "apprise cannot use entry 1, a URL of slack://"),
        ("s3cret", "expected SCHEME://… with commas between, see entry 1"),
    ],
)
def test_settings_refuse_alert_urls_without_showing_them(monkeypatch, capfd, urls, message):
    monkeypatch.setenv("ALERT_URLS", urls)
    with pytest.raises(SettingsError, match=message) as caught:
        get_settings(None)
    assert "s3cret" not in f"{caught.value}{capfd.readouterr()}"
