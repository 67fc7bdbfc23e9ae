"""The daily digest: one picture, five numbers and links, by the channels that alerts go to.

It is made of the findings of the last check. Each channel gets it once a day (in UTC); one that
fails is tried again by the next check of the day.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from lib.monitoring.alerts import deliver_in_time
from lib.monitoring.channels import DigestChannel, channels_of
from lib.monitoring.messages import Digest
from lib.settings import Settings
from lib.storage import Store, checks, exclusive_transaction, utcnow

KIND = "digest"
_STATES = {
    "ok": "healthy",
    "alarm": "degraded",
    "unknown": "not enough evidence for a verdict",
}
log = structlog.get_logger()


@dataclass(frozen=True)
class _Delivered:
    """The row of today's digest: its number, and the error by channel, "" where delivered."""

    row: int | None = None
    channels: Mapping[str, str] = field(default_factory=dict)


def send_digest(
    store: Store,
    settings: Settings,
    findings: Mapping[str, Any],
    *,
    channels: Sequence[DigestChannel] | None = None,
) -> dict[str, str]:
    """Send the digest to the channels that have not had one today.

    Args:
        store: the database, which keeps what was delivered.
        settings: channels and links.
        findings: of the last check, as the service shows them.
        channels: where to deliver; by default those of `settings`.

    Returns:
        The error by channel that was tried now, "" for success.

    Raises:
        StoreError: the database cannot be used.
    """
    sent = _delivered_today(store)
    due = [
        channel
        for channel in (channels_of(settings) if channels is None else channels)
        if sent.channels.get(channel.name) != ""
    ]
    if not due:
        return {}
    digest = build_digest(findings, settings)
    results = {c.name: deliver_in_time(lambda c=c: c.send_digest(digest)) for c in due}
    for name, error in results.items():
        if error:
            log.warning("digest not delivered", channel=name, error=error)
    _keep(store, sent, results)
    return results


def build_digest(findings: Mapping[str, Any], settings: Settings) -> Digest:
    """Make the digest of the findings of a check."""
    name = findings.get("model_name") or settings.registered_model_name
    state = _STATES.get(findings.get("status", ""), "")
    alerts = [f"[{alert['severity']}] {alert['name']}" for alert in findings.get("alerts", [])]
    history = findings["accuracy"]["history"]
    day = history[-1]["date"] if history else ""
    return Digest(
        title=f"{name}: {state}, {len(alerts) or 'no'} open alert{'s' * (len(alerts) != 1)}",
        lead=f"Version {findings['model_version']}, checked up to {day}." if day else "",
        numbers=_five_numbers(findings),
        lines=(*alerts, *_worst(findings)),
        links=_links(settings),
        picture=_draw(findings),
        at=utcnow(),
    )


def _five_numbers(findings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    history, promise = findings["accuracy"]["history"], findings["accuracy"]["promise"]
    last = history[-1] if history else {}
    evidence, moved = findings.get("evidence") or {}, (findings.get("stability") or {}).get("moved")
    anomalies = findings.get("anomalies") or []
    lasting = sum(one["persistent"] for one in anomalies)
    came = f"{evidence.get('actuals', 0):,} of {evidence.get('forecasts', 0):,}"
    return (
        ("Mean error", f"{_figure(last.get('mae'))} (expected {_figure(promise.get('mae'))})"),
        ("Inside the 80 % interval", _percent(last.get("coverage"))),
        ("Forecasts that came true", came),
        ("Anomalies of the last day", f"{len(anomalies)}, of which {lasting} persistent"),
        ("Forecast of a day moves by", _percent(moved)),
    )


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} %"


def _worst(findings: Mapping[str, Any]) -> tuple[str, ...]:
    names = [one["name"] for one in (findings.get("worst_series") or [])[:3]]
    return (f"Largest errors: {', '.join(names)}",) if names else ()


def _links(settings: Settings) -> tuple[tuple[str, str], ...]:
    page = settings.public_url.rstrip("/")
    links = (("The page", f"{page}/#model" if page else ""), ("MLflow", settings.mlflow_ui_url))
    return tuple((name, url) for name, url in links if url)


def _draw(findings: Mapping[str, Any]) -> bytes:
    import matplotlib.pyplot as plt  # half a second, once a day

    from lib.monitoring.plots import plot_digest

    figure = plot_digest(findings)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()


def _delivered_today(store: Store) -> _Delivered:
    kept = checks.c
    query = sa.select(kept.id, kept.made_at, kept.result).where(
        kept.kind == KIND, kept.model_name == store.model_name
    )
    with store.reading() as connection:
        row = connection.execute(query.order_by(kept.id.desc()).limit(1)).first()
    if row is None or row.made_at.date() != utcnow().date():
        return _Delivered()
    return _Delivered(row.id, row.result["channels"])


def _keep(store: Store, sent: _Delivered, results: Mapping[str, str]) -> None:
    channels = {**sent.channels, **results}
    values = {
        "made_at": utcnow(),
        "kind": KIND,
        "model_name": store.model_name,
        "status": "failed" if any(channels.values()) else "sent",
        "result": {"channels": channels},
    }
    with store.writing() as connection:
        exclusive_transaction(connection)
        if sent.row is None:
            connection.execute(checks.insert().values(**values))
        else:
            connection.execute(checks.update().where(checks.c.id == sent.row).values(**values))
