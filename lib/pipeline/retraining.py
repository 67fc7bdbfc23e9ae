"""Trains a challenger on the data up to today: `python -m lib.pipeline.retraining`.

Among all processes and hosts that share the database one retrains each registered model at a time,
by a lease. The training is `python -m lib.pipeline train` in a child process: it registers the
version, gates it, and promotes it or not. After a kill the next retraining resumes: with the same
data at the stage that was cut off, otherwise from the start.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing
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
from lib.files import file_hash, text_hash
from lib.log import configure_logging
from lib.pipeline.retraining_data import (
    RetrainingError,
    gather_data,
    retraining_parameters,
)
from lib.settings import Settings, SettingsError, get_settings
from lib.storage import DEFAULT_NAME, Store, StoreError, checks, held, lease_of, utcnow

LEASE = "retraining"
KEPT = 5  # run folders of retrainings, and as many of failed ones; the registry has the models
OUTCOME = "mlflow.json"  # in the run folder: the registered version
PIPELINE = (sys.executable, "-m", "lib.pipeline")
log = structlog.get_logger()


@dataclass(frozen=True)
class Retraining:
    """The result of a retraining.

    Attributes:
        status: "trained" (a version was registered and gated), "unchanged" (the last retraining
            had the same data), "busy" (another process is retraining) or "failed".
        reason: of the gate's decision, or of the failure.
        version: the registered version.
        promoted: whether the gate made it the production version.
        run: the run folder.
        rows: days in the data.
        added: how many of them came from actuals.
        until: the last day in the data with a value, as ISO text.
        seconds: how long it took.
    """

    status: Literal["trained", "unchanged", "busy", "failed"]
    reason: str
    version: int | None = None
    promoted: bool | None = None
    run: str = ""
    rows: int = 0
    added: int = 0
    until: str = ""
    seconds: float = 0.0


def retrain(
    store: Store,
    settings: Settings,
    *,
    pipeline: Sequence[str] = PIPELINE,
) -> Retraining:
    """Retrain now, unless another process does; keep the result among the checks unless "busy".

    Args:
        store: the database with actuals and checks.
        settings: where the data, `var/` and MLflow are.
        pipeline: the command that takes the arguments of `python -m lib.pipeline`.

    Returns:
        The result; every failure but that of the store is a "failed" one.

    Raises:
        StoreError: the database cannot be used.
    """
    started = time.monotonic()
    with held(store, lease_of(store, LEASE)) as lease:
        if lease is None:
            return Retraining("busy", "another process is retraining")
        log.info("retraining started")
        try:
            result = _train(store, settings, pipeline, lease.lost)
        except (RetrainingError, SeriesError, OSError) as error:
            result = Retraining("failed", str(error)[:1000])
        if lease.lost.is_set():
            reason = "the lease was lost with the connection to the database"
            result = replace(result, status="failed", reason=reason)
        result = replace(result, seconds=round(time.monotonic() - started, 1))
        _insert_check(store, result)
    write = log.error if result.status == "failed" else log.info
    write("retraining finished", **asdict(result))
    return result


def _train(store: Store, settings: Settings, pipeline: Sequence[str], lost: Event) -> Retraining:
    """Gather the data, run the pipeline on it and read what it registered."""
    _, parameters = retraining_parameters(settings)
    table, added = gather_data(store, settings)
    data, digest = _write_data(table, settings)
    # The same data and parameters are the same run, which resumes where it was cut off.
    name = text_hash([digest, settings.retrain_profile, parameters])[:12]
    run = settings.var_dir / "runs" / f"{_named('retrain', settings)}-{name}"
    run.mkdir(parents=True, exist_ok=True)
    _delete_old_runs(settings, run)
    command = [*pipeline, "train", "--profile", settings.retrain_profile, "--run-dir", str(run)]
    command += [f"{n}={v}" for n, v in (parameters | _data_parameters(table, data)).items()]
    with (run / "retraining.log").open("wb") as output:
        code = storage.run(
            command,
            stop=[lost],
            output=output,
            environment=_environment(settings),
            lock=data.with_name("lock"),
        )
    until = str(table.loc[table["value"].notna(), "date"].max().date())
    failed = Retraining("failed", "", run=str(run), rows=len(table), added=added, until=until)
    if code:
        return replace(failed, reason=_error_summary(run / "retraining.log", code))
    outcome = _read_outcome(run)
    if not outcome:
        return replace(failed, reason="no version was registered (REGISTER=false?)")
    version = int(outcome["version"])
    return replace(
        failed,
        status="unchanged" if _is_known(store, version) else "trained",
        reason=outcome["reason"],
        version=version,
        promoted=outcome["promoted"],
    )


def _data_parameters(table: pd.DataFrame, data: Path) -> dict[str, str]:
    """Return the parameters by which the pipeline reads the gathered table."""
    covariates = {"EXTERNAL_COLUMN": "fator_externo", "EVENT_COLUMN": "evento_especial"}
    return {
        **dict.fromkeys(("COUNTRY", "STATE", "DECIMAL", "SEPARATOR", "ENCODING"), ""),
        "DATA": str(data),
        "SERIES_COLUMN": "series_id",
        "DATE_COLUMN": "date",
        "VALUE_COLUMN": "value",
        **{name: column if column in table else "" for name, column in covariates.items()},
    }


def last_rejected_day(store: Store) -> np.datetime64 | None:
    """Return the last day in the data of the last challenger if the gate kept it out; else None."""
    column = checks.c
    query = sa.select(column.result).where(
        column.model_name == store.model_name, column.kind == LEASE, column.status != "failed"
    )
    with store.reading() as connection:
        result = connection.execute(query.order_by(column.id.desc()).limit(1)).scalar()
    if not result or result["promoted"] or not result.get("until"):
        return None
    return np.datetime64(result["until"], "D")


def _write_data(table: pd.DataFrame, settings: Settings) -> tuple[Path, str]:
    """Write the data to a file; return its path and the hash of its content."""
    folder = settings.var_dir / _named("retraining", settings)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "series.parquet.tmp"
    table.to_parquet(part, index=False)
    digest = file_hash(part)
    return part.replace(folder / "series.parquet"), digest


def _named(what: str, settings: Settings) -> str:
    """Return the name of a folder that each registered model has to itself below one `var_dir`."""
    name = settings.registered_model_name
    return what if name == DEFAULT_NAME else f"{what}.{text_hash(name)[:16]}"


def _environment(settings: Settings) -> dict[str, str]:
    """Return these settings as variables, for a child process that reads them again."""
    names = (
        "var_dir",
        "mlflow_tracking_uri",
        "mlflow_artifact_root",
        "optuna_storage",
        "database_url",
        "registered_model_name",
        "log_level",
    )
    variables = {name.upper(): str(getattr(settings, name)) for name in names}
    return variables | {"OMP_NUM_THREADS": "1"}


def _read_outcome(run: Path) -> dict[str, Any]:
    """Return what the training registered; empty without a version."""
    try:
        return json.loads((run / OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_known(store: Store, version: int) -> bool:
    """Return whether an earlier retraining registered this version."""
    column = checks.c
    query = sa.select(column.id).where(
        column.model_name == store.model_name,
        column.kind == LEASE,
        column.model_version == version,
    )
    with store.reading() as connection:
        return connection.execute(query.limit(1)).first() is not None


def _error_summary(log_file: Path, code: int) -> str:
    """Return the last error in the log of the pipeline, or its last lines."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith("error:")]
    last = lines[errors[-1] :] if errors else lines[-5:]
    return f"the pipeline ended with {code}: " + "\n".join(last)[:1000]


def _delete_old_runs(settings: Settings, run: Path) -> None:
    """Delete the run folders of earlier retrainings, except the last few that registered a version.

    Of those that failed the last few stay too: they push out no others.
    """
    folders = (settings.var_dir / "runs").glob(f"{_named('retrain', settings)}-*")
    others = sorted((p for p in folders if p != run), key=lambda p: p.stat().st_mtime)
    for registered in (True, False):
        alike = [p for p in others if (p / OUTCOME).is_file() == registered]
        for old in alike[: max(0, len(alike) - KEPT + 1)]:
            shutil.rmtree(old, ignore_errors=True)


def _insert_check(store: Store, result: Retraining) -> None:
    row = {
        "made_at": utcnow(),
        "kind": LEASE,
        "model_name": store.model_name,
        "model_version": result.version,
        "status": result.status,
        "result": asdict(result),
    }
    with store.writing() as connection:
        connection.execute(checks.insert().values(**row))


def main() -> int:
    """Retrain once, also without AUTO_RETRAIN; return 0 (done), 1 (failed) or 3 (another does)."""
    try:
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        with closing(Store.of(settings, busy_seconds=30)) as store:
            result = retrain(store, settings)
    except (SettingsError, StoreError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if result.status == "failed":
        sys.stderr.write(f"error: {result.reason}\n")
    return {"failed": 1, "busy": 3}.get(result.status, 0)


if __name__ == "__main__":
    raise SystemExit(main())
