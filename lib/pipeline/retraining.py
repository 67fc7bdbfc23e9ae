"""Trains a challenger on the data up to today: `python -m lib.pipeline.retraining`, or by the monitoring.

One at a time among all processes and hosts that share the database, by a lease. The training is
the main job itself, in a process of its own: it registers the version, gates it, and promotes it
or not. Killed at any point, the next retraining goes on from there: with the same data at the
stage that was cut off, otherwise from the start.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
import structlog

from lib import storage
from lib.data import SeriesError
from lib.log import configure_logging
from lib.pipeline.retraining_data import (
    RetrainingError,
    gather_data,
    retraining_parameters,
)
from lib.settings import Settings, SettingsError, get_settings
from lib.storage import Store, StoreError, checks, held, utcnow

LEASE = "retraining"
KEPT = 5  # run folders of retrainings; the registry has the models themselves
PIPELINE = (sys.executable, "-m", "lib.pipeline")
log = structlog.get_logger()


@dataclass(frozen=True)
class Retraining:
    """What came of it.

    `status` is "trained" (a version was registered and gated), "unchanged" (the last retraining
    had the same data), "busy" (another is at it) or "failed"; `reason` is the gate's, or what went
    wrong.
    """

    status: Literal["trained", "unchanged", "busy", "failed"]
    reason: str
    version: int | None = None
    promoted: bool | None = None
    run: str = ""  # the run folder
    rows: int = 0  # days in the data
    added: int = 0  # of them from actuals
    until: str = ""  # the last day in the data that has a value
    seconds: float = 0.0


def retrain(
    store: Store,
    settings: Settings,
    *,
    pipeline: Sequence[str] = PIPELINE,
) -> Retraining:
    """Retrain now, if no other does. The result is kept among the checks, unless it is "busy".

    Args:
        pipeline: the command that takes the arguments of `python -m lib.pipeline`.

    Raises StoreError. All else that goes wrong is a "failed" result.
    """
    started = time.monotonic()
    with held(store, LEASE) as lease:
        if lease is None:
            return Retraining("busy", "another process is retraining")
        log.info("retraining started")
        try:
            done = _run(store, settings, pipeline, [lease.lost])
        except (RetrainingError, SeriesError, OSError) as error:
            done = Retraining("failed", str(error)[:1000])
        if lease.lost.is_set():
            done = replace(
                done,
                status="failed",
                reason="the lease was lost with the connection to the database",
            )
        done = replace(done, seconds=round(time.monotonic() - started, 1))
        _keep(store, done)
    say = log.error if done.status == "failed" else log.info
    say("retraining finished", **asdict(done))
    return done


def _run(
    store: Store, settings: Settings, pipeline: Sequence[str], stop: Sequence[Event]
) -> Retraining:
    _, given = retraining_parameters(settings)
    table, added = gather_data(store, settings)
    data, digest = _write(table, settings)
    # The same data and parameters are the same run, which goes on where it was cut off.
    asked = json.dumps([digest, settings.retrain_profile, given], sort_keys=True)
    name = hashlib.sha256(asked.encode()).hexdigest()[:12]
    run = settings.var_dir / "runs" / f"retrain-{name}"
    run.mkdir(parents=True, exist_ok=True)
    columns = {
        "DATA": str(data),
        "SERIES_COLUMN": "series_id",
        "DATE_COLUMN": "date",
        "VALUE_COLUMN": "value",
    }
    own = {"EXTERNAL_COLUMN": "fator_externo", "EVENT_COLUMN": "evento_especial"}
    columns |= {name: column if column in table else "" for name, column in own.items()}
    blank = dict.fromkeys(("COUNTRY", "DECIMAL", "SEPARATOR", "ENCODING"), "")
    command = [*pipeline, "train", "--profile", settings.retrain_profile, "--run-dir", str(run)]
    command += [f"{name}={value}" for name, value in (given | blank | columns).items()]
    with (run / "retraining.log").open("wb") as output:
        code = storage.run(
            command,
            stop=stop,
            output=output,
            environment=_environment(settings),
            lock=settings.var_dir / "retraining" / "lock",
        )
    until = str(table.loc[table["value"].notna(), "date"].max().date())
    failed = Retraining("failed", "", run=str(run), rows=len(table), added=added, until=until)
    if code:
        return replace(failed, reason=_complaint(run / "retraining.log", code))
    outcome = _outcome(run)
    if not outcome:
        return replace(failed, reason="no version was registered (REGISTER=false?)")
    _forget(settings, run)
    version = int(outcome["version"])
    return replace(
        failed,
        status="unchanged" if _is_known(store, version) else "trained",
        reason=outcome["reason"],
        version=version,
        promoted=outcome["promoted"],
    )


def last_rejected_day(store: Store) -> np.datetime64 | None:
    """Return the last day in the data of the last challenger, None where the gate let it in."""
    kept = checks.c
    about = sa.select(kept.result).where(kept.kind == LEASE, kept.status != "failed")
    with store.reading() as connection:
        done = connection.execute(about.order_by(kept.id.desc()).limit(1)).scalar()
    if not done or done["promoted"] or not done.get("until"):
        return None
    return np.datetime64(done["until"], "D")


def _write(table: pd.DataFrame, settings: Settings) -> tuple[Path, str]:
    """The data as a file. → its path, the hash of its content."""
    folder = settings.var_dir / "retraining"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "series.parquet.tmp"
    table.to_parquet(part, index=False)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    return part.replace(folder / "series.parquet"), digest


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as they are here, for a process that reads them anew."""
    names = (
        "var_dir",
        "mlflow_tracking_uri",
        "mlflow_artifact_root",
        "optuna_storage",
        "database_url",
        "registered_model_name",
        "log_level",
    )
    given = {name.upper(): str(getattr(settings, name)) for name in names}
    return given | {"OMP_NUM_THREADS": "1"}


def _outcome(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / "mlflow.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_known(store: Store, version: int) -> bool:
    """Whether an earlier retraining came to this version."""
    kept = checks.c
    about = sa.select(kept.id).where(kept.kind == LEASE, kept.model_version == version)
    with store.reading() as connection:
        return connection.execute(about.limit(1)).first() is not None


def _complaint(said: Path, code: int) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith("error:")]
    last = lines[errors[-1] :] if errors else lines[-5:]
    return f"the pipeline ended with {code}: " + "\n".join(last)[:1000]


def _forget(settings: Settings, run: Path) -> None:
    """Delete the run folders of earlier retrainings, but for a few."""
    found = (settings.var_dir / "runs").glob("retrain-*")
    others = sorted((p for p in found if p != run), key=lambda p: p.stat().st_mtime)
    for old in others[: max(0, len(others) - KEPT + 1)]:
        shutil.rmtree(old, ignore_errors=True)


def _keep(store: Store, done: Retraining) -> None:
    row = {
        "made_at": utcnow(),
        "kind": LEASE,
        "model_version": done.version,
        "status": done.status,
        "result": asdict(done),
    }
    with store.writing() as connection:
        connection.execute(checks.insert().values(**row))


def main() -> int:
    """Retrain once, whatever AUTO_RETRAIN says. → exit code: 0 done, 1 failed, 3 another is."""
    try:
        settings = get_settings()
        configure_logging(settings.log_level)
        store = Store(settings.database_url, busy_seconds=30)
        done = retrain(store, settings)
    except (SettingsError, StoreError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if done.status == "failed":
        sys.stderr.write(f"error: {done.reason}\n")
    return {"failed": 1, "busy": 3}.get(done.status, 0)


if __name__ == "__main__":
    raise SystemExit(main())
