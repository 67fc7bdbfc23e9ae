"""Incidents, and who has been told of them.

A check says what it finds wrong now; from what it said before follows what is new, worse, or
over. Each channel is told once that an incident began, again when it gets worse than it was told,
and once that it is over. One that fails is told at the next check what holds then. An incident
that comes back within the cooldown is the same one: it is told of again only when it is worse, or
when it is still there at the cooldown's end.

Checks may run at once in several processes: what one is about to tell, the others leave to it for
a while. Cut off after a message left and before that was written, a message is sent again: rather
twice than never.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from lib.monitoring.channels import SEVERITIES, Channel, Event, Notice, Severity, channels_of
from lib.settings import Settings
from lib.storage import Store, alerts, exclusive_transaction, utcnow

DEADLINE = 30.0  # seconds that a channel may take altogether
_CLAIM = timedelta(seconds=4 * DEADLINE)  # for which others leave a delivery to who began it
_STALE = timedelta(days=7)  # after which nobody needs to hear that something is over
_KEY = 200  # characters
log = structlog.get_logger()


@dataclass(frozen=True)
class Finding:
    """Something that is wrong now. `key` says what, and stays the same from check to check."""

    key: str
    severity: Severity
    title: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity: got {self.severity!r}, expected one of {SEVERITIES}")
        if not 1 <= len(self.key) <= _KEY:
            raise ValueError(f"key: got {len(self.key)} characters, expected 1 to {_KEY}")


@dataclass(frozen=True)
class Delivery:
    """A notice, the channels that took it now, and what went wrong with others."""

    notice: Notice
    delivered: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)  # channel → error


def raise_alerts(
    store: Store,
    findings: Sequence[Finding],
    *,
    settings: Settings,
    now: datetime | None = None,
    within: str = "",
    channels: Sequence[Channel] | None = None,
) -> list[Delivery]:
    """Open, update and end incidents, and tell of them what is to be told.

    Args:
        findings: all that is wrong now. Of one key the worst counts.
        now: with its zone; by default the time.
        within: incidents are ended only if their key begins so: a check that looks at a part of
            all things says nothing of the others.
        channels: where to tell; by default those of `settings`.

    Returns:
        What was to be told now, in the order of the incidents. Empty where all is known.

    Raises StoreError. What a channel raises is logged, kept with the incident and tried again.
    """
    now = now or utcnow()
    if channels is None:
        channels = channels_of(settings)
    cooldown = timedelta(hours=settings.alert_cooldown_hours)
    with store.writing() as connection:
        exclusive_transaction(connection)
        _update(connection, findings, now, cooldown, within)
        due = _claimed(connection, channels, now, cooldown)
    told: dict[tuple[int, Event], Delivery] = {}
    for channel in channels:
        events = due.get(channel.name, {})
        if not events:
            continue
        error = _attempt(channel, list(events.values()))
        if error:
            log.warning("alerts not delivered", channel=channel.name, error=error)
        with store.writing() as connection:
            exclusive_transaction(connection)
            for identity, notice in events.items():
                _settle(connection, identity, channel.name, notice, error, now)
        for identity, notice in events.items():
            so_far = told.get((identity, notice.event), Delivery(notice))
            told[identity, notice.event] = (
                Delivery(notice, so_far.delivered, so_far.failed | {channel.name: error})
                if error
                else Delivery(notice, (*so_far.delivered, channel.name), so_far.failed)
            )
    return [told[place] for place in sorted(told)]


def open_incidents(store: Store) -> list[dict[str, Any]]:
    """The incidents that are open, oldest first: rows of the table of alerts. Raises StoreError."""
    found = sa.select(alerts).where(alerts.c.ended_at.is_(None))
    with store.reading() as connection:
        rows = connection.execute(found.order_by(alerts.c.opened_at, alerts.c.id)).mappings()
        return [dict(row) for row in rows]


def _update(
    connection: sa.Connection,
    findings: Sequence[Finding],
    now: datetime,
    cooldown: timedelta,
    within: str,
) -> None:
    """Make the table say what is open now."""
    found: dict[str, Finding] = {}
    for finding in findings:
        other = found.setdefault(finding.key, finding)
        if _rank(finding.severity) > _rank(other.severity):
            found[finding.key] = finding
    recent = sa.or_(alerts.c.ended_at.is_(None), alerts.c.ended_at > now - cooldown)
    rows = connection.execute(sa.select(alerts).where(recent).order_by(alerts.c.id)).all()
    last = {row.key: row for row in rows}
    for key, finding in found.items():
        values = {
            "severity": finding.severity,
            "title": finding.title,
            "message": finding.detail,
            "last_seen": now,
            "ended_at": None,
        }
        if key in last:
            connection.execute(alerts.update().where(alerts.c.id == last[key].id).values(**values))
        else:
            new = values | {"key": key, "opened_at": now, "deliveries": {}}
            connection.execute(alerts.insert().values(**new))
    for key, row in last.items():
        if row.ended_at is None and key not in found and key.startswith(within):
            connection.execute(alerts.update().where(alerts.c.id == row.id).values(ended_at=now))


def _claimed(
    connection: sa.Connection, channels: Sequence[Channel], now: datetime, cooldown: timedelta
) -> dict[str, dict[int, Notice]]:
    """What each channel is to be told, by incident; from here on it is this process's to tell."""
    fresh = sa.or_(alerts.c.ended_at.is_(None), alerts.c.ended_at > now - _STALE)
    due: dict[str, dict[int, Notice]] = {}
    for row in connection.execute(sa.select(alerts).where(fresh).order_by(alerts.c.id)).all():
        deliveries = {name: dict(state) for name, state in row.deliveries.items()}
        for channel in channels:
            state = deliveries.get(channel.name)
            event = _due(row, state, now, cooldown)
            if event is None or _is_claimed(state, now):
                continue
            deliveries[channel.name] = (state or {}) | {"claimed": now.isoformat()}
            due.setdefault(channel.name, {})[row.id] = Notice(
                row.key,
                event,
                row.severity,
                row.title,
                row.message,
                row.opened_at,
                row.last_seen,
                row.ended_at,
            )
        if deliveries != row.deliveries:
            change = alerts.update().where(alerts.c.id == row.id)
            connection.execute(change.values(deliveries=deliveries))
    return due


def _due(
    row: sa.Row[Any], state: dict[str, Any] | None, now: datetime, cooldown: timedelta
) -> Event | None:
    """What a channel that was told `state` has to hear of an incident."""
    told = state.get("told") if state else None
    if row.ended_at is not None:
        # A channel that nothing was tried on has nothing to be told the end of.
        return "ended" if state and told != "ended" else None
    if state is None or told is None:
        return "opened"
    if _rank(row.severity) > _rank(state["worst"]):
        return "worse"
    if told == "ended" and now - datetime.fromisoformat(state["at"]) >= cooldown:
        return "back"
    return None


def _is_claimed(state: dict[str, Any] | None, now: datetime) -> bool:
    """Whether a check, this minute or the one before, is telling; its host's clock may be ahead."""
    if not state or "claimed" not in state:
        return False
    return abs(now - datetime.fromisoformat(state["claimed"])) < _CLAIM


def _settle(
    connection: sa.Connection,
    identity: int,
    channel: str,
    notice: Notice,
    error: str,
    now: datetime,
) -> None:
    """Write what came of telling one channel of one incident."""
    kept = connection.scalar(sa.select(alerts.c.deliveries).where(alerts.c.id == identity))
    if kept is None:  # purged meanwhile
        return
    state = {k: v for k, v in kept.get(channel, {}).items() if k != "claimed"}
    values: dict[str, Any] = {}
    if error:
        state |= {"failures": state.get("failures", 0) + 1, "error": error}
    else:
        values["told_at"] = now
        state.pop("failures", None)
        state.pop("error", None)
        begin = {"worst": notice.severity, "at": now.isoformat()}
        if notice.event == "ended":
            state = begin | state | {"told": "ended"}
        else:
            state |= begin | {"told": notice.severity}
    change = alerts.update().where(alerts.c.id == identity)
    connection.execute(change.values(deliveries=kept | {channel: state}, **values))


def _attempt(channel: Channel, notices: list[Notice]) -> str:
    """Tell, for at most DEADLINE seconds. → what went wrong, or ""."""
    problem = [f"no answer within {DEADLINE:g} seconds"]

    def work() -> None:
        try:
            channel.send(notices)
        except Exception as error:  # noqa: BLE001 - whatever it is, the check goes on
            problem[0] = f"{type(error).__name__}: {error}"[:300]
        else:
            problem[0] = ""

    _for(DEADLINE, work)
    return problem[0]


def _for(seconds: float, work: Callable[[], None]) -> None:
    # Time limits of sockets are for each step: a server that sends a byte now and then has none.
    thread = threading.Thread(target=work, name="alerts", daemon=True)
    thread.start()
    thread.join(seconds)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
