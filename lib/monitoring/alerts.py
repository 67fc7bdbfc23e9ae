"""Incidents, and which notices of them each channel has delivered.

A check passes in what is wrong now. Compared with the open incidents, that shows what is new,
worse, or over. Each channel delivers once that an incident began, again when it gets worse, and
once that it is over. A channel that fails is tried again at the next check, with the state of
then. An incident that comes back within the cooldown is the same one: it is notified again only
when it is worse, or when it is still there at the cooldown's end.

Checks may run at once in several processes: a delivery that one has claimed is left to it for a
while. A process that is killed between sending a message and recording it sends the message
again: rather twice than never.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from lib.monitoring.channels import Channel, channels_of
from lib.monitoring.messages import SEVERITIES, Event, Notice, Severity
from lib.settings import Settings
from lib.storage import Store, alerts, exclusive_transaction, utcnow

DEADLINE = 30.0  # seconds that a channel may take altogether
_CLAIM = timedelta(
    seconds=4 * DEADLINE
)  # for which a delivery is left to the check that claimed it
_STALE = timedelta(days=7)  # after which the end of an incident is no longer news
_KEY = 200  # characters
log = structlog.get_logger()


@dataclass(frozen=True)
class Finding:
    """Something that is wrong now. Its `key` stays the same from check to check."""

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
    """A notice, the channels that delivered it now, and the errors of those that failed."""

    notice: Notice
    delivered: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)  # error by channel


def raise_alerts(
    store: Store,
    findings: Sequence[Finding],
    *,
    settings: Settings,
    now: datetime | None = None,
    within: str | tuple[str, ...] = "",
    channels: Sequence[Channel] | None = None,
) -> list[Delivery]:
    """Open, update and end incidents, and deliver the notices that are due.

    An error of a channel is logged, kept with the incident, and the delivery tried again.

    Args:
        store: the database with the table of incidents.
        findings: all that is wrong now. Of one key the worst counts.
        settings: the cooldown and the channels.
        now: the time, with its zone; by default the current one.
        within: end only incidents whose key begins so, or in one of these ways: a check of one part
            knows nothing of the others. An empty tuple ends none.
        channels: where to deliver; by default those of `settings`.

    Returns:
        The deliveries of now, in the order of the incidents. Empty where nothing is due.

    Raises:
        StoreError: the database cannot be used.
    """
    now = now or utcnow()
    if channels is None:
        channels = channels_of(settings)
    cooldown = timedelta(hours=settings.alert_cooldown_hours)
    with store.writing() as connection:
        exclusive_transaction(connection)
        _update(connection, store.model_name, findings, now, cooldown, within)
        due = _claim_due(connection, store.model_name, channels, now, cooldown)
    deliveries: dict[tuple[int, Event], Delivery] = {}
    for channel in channels:
        events = due.get(channel.name, {})
        if not events:
            continue
        notices = list(events.values())
        error = deliver_in_time(lambda channel=channel, notices=notices: channel.send(notices))
        if error:
            log.warning("alerts not delivered", channel=channel.name, error=error)
        with store.writing() as connection:
            exclusive_transaction(connection)
            for identity, notice in events.items():
                _record_attempt(connection, identity, channel.name, notice, error, now)
        for identity, notice in events.items():
            so_far = deliveries.get((identity, notice.event), Delivery(notice))
            deliveries[identity, notice.event] = (
                Delivery(notice, so_far.delivered, so_far.failed | {channel.name: error})
                if error
                else Delivery(notice, (*so_far.delivered, channel.name), so_far.failed)
            )
    return [deliveries[place] for place in sorted(deliveries)]


def open_incidents(store: Store) -> list[dict[str, Any]]:
    """Return the open incidents, oldest first: rows of the table of alerts. Raises StoreError."""
    named = alerts.c.model_name == store.model_name
    is_open = sa.select(alerts).where(named, alerts.c.ended_at.is_(None))
    with store.reading() as connection:
        rows = connection.execute(is_open.order_by(alerts.c.opened_at, alerts.c.id)).mappings()
        return [dict(row) for row in rows]


def _update(
    connection: sa.Connection,
    model_name: str,
    findings: Sequence[Finding],
    now: datetime,
    cooldown: timedelta,
    within: str | tuple[str, ...],
) -> None:
    """Open, update and end the incidents of the table by what is wrong now."""
    worst: dict[str, Finding] = {}
    for finding in findings:
        other = worst.setdefault(finding.key, finding)
        if _rank(finding.severity) > _rank(other.severity):
            worst[finding.key] = finding
    recent = sa.or_(alerts.c.ended_at.is_(None), alerts.c.ended_at > now - cooldown)
    query = sa.select(alerts).where(alerts.c.model_name == model_name, recent)
    rows = connection.execute(query.order_by(alerts.c.id)).all()
    last = {row.key: row for row in rows}
    for key, finding in worst.items():
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
            new["model_name"] = model_name
            connection.execute(alerts.insert().values(**new))
    for key, row in last.items():
        if row.ended_at is None and key not in worst and key.startswith(within):
            connection.execute(alerts.update().where(alerts.c.id == row.id).values(ended_at=now))


def _claim_due(
    connection: sa.Connection,
    model_name: str,
    channels: Sequence[Channel],
    now: datetime,
    cooldown: timedelta,
) -> dict[str, dict[int, Notice]]:
    """Claim the deliveries that are due, and return them by channel and incident."""
    fresh = sa.or_(alerts.c.ended_at.is_(None), alerts.c.ended_at > now - _STALE)
    due: dict[str, dict[int, Notice]] = {}
    query = sa.select(alerts).where(alerts.c.model_name == model_name, fresh)
    for row in connection.execute(query.order_by(alerts.c.id)).all():
        deliveries = {name: dict(state) for name, state in row.deliveries.items()}
        for channel in channels:
            state = deliveries.get(channel.name)
            event = _event_due(row, state, now, cooldown)
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
                row.model_name,
            )
        if deliveries != row.deliveries:
            change = alerts.update().where(alerts.c.id == row.id)
            connection.execute(change.values(deliveries=deliveries))
    return due


def _event_due(
    row: sa.Row[Any], state: dict[str, Any] | None, now: datetime, cooldown: timedelta
) -> Event | None:
    """Return the change of an incident that a channel, with `state`, has yet to deliver."""
    delivered = state.get("told") if state else None
    if row.ended_at is not None:
        # Where no delivery was tried, there is nothing to deliver the end of.
        return "ended" if state and delivered != "ended" else None
    if state is None or delivered is None:
        return "opened"
    if _rank(row.severity) > _rank(state["worst"]):
        return "worse"
    if delivered == "ended" and now - datetime.fromisoformat(state["at"]) >= cooldown:
        return "back"
    return None


def _is_claimed(state: dict[str, Any] | None, now: datetime) -> bool:
    """Tell whether another check is delivering just now; the clock of its host may be ahead."""
    if not state or "claimed" not in state:
        return False
    return abs(now - datetime.fromisoformat(state["claimed"])) < _CLAIM


def _record_attempt(
    connection: sa.Connection,
    identity: int,
    channel: str,
    notice: Notice,
    error: str,
    now: datetime,
) -> None:
    """Record the result of one delivery of one incident; `error` is "" for success."""
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


def deliver_in_time(send: Callable[[], None]) -> str:
    """Send something, for at most DEADLINE seconds; return the error, "" for none."""
    problem = [f"no answer within {DEADLINE:g} seconds"]

    def work() -> None:
        try:
            send()
        except Exception as error:  # noqa: BLE001 - no channel may end the check
            problem[0] = f"{type(error).__name__}: {error}"[:300]
        else:
            problem[0] = ""

    # Time limits of sockets are for each step: a server that sends a byte now and then has none.
    thread = threading.Thread(target=work, name="alerts", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    return problem[0]


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
