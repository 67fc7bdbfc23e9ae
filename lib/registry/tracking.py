"""Connect to the MLflow store and log training runs."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from filelock import FileLock

from lib.settings import PACKAGE, ROOT, Settings

if TYPE_CHECKING:  # two seconds to import
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Metric


EXPERIMENT = "production-lstm"  # of the model of the default name
# MLflow's limits for one request
_MAX_METRICS = 1000
_MAX_PARAMS = 100
_DIGEST_LENGTH = 36  # characters of a data set's digest
FILES = "files"  # folder of the files of a run
SERIES_FILE = "series.parquet"
MAX_SERIES_FILE = 20_000_000  # bytes: two million values or so
log = structlog.get_logger()


def connect(settings: Settings) -> MlflowClient:
    """Return a client of the store that the settings name; create a SQLite store on first use.

    MLflow's global tracking URI is neither used nor changed.
    """
    # Read when mlflow is imported. Nothing about the user's models goes to anyone else.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # migrations of the store, progress of each step
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = settings.mlflow_tracking_uri
    if not uri.startswith("sqlite:///"):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    # A connection that is kept would go on reading a file that was deleted or replaced.
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    # Two processes would both create the tables, which begins with the client. Not the lock of
    # the registry: the caller may hold that one.
    with lock(settings, "mlflow.lock"):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.get_experiment_by_name(experiment_name(settings))
    return client


def experiment_name(settings: Settings) -> str:
    """Return the name of the experiment: one for each registered name."""
    name = settings.registered_model_name
    is_default = name == Settings.model_fields["registered_model_name"].default
    return EXPERIMENT if is_default else name


def lock(settings: Settings, name: str = "registry.lock") -> FileLock:
    """Return a lock between the processes of this machine, a file of `var_dir`. Not reentrant."""
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    return FileLock(settings.var_dir / name)


def experiment_id(client: MlflowClient, settings: Settings) -> str:
    """Return the id of the registered name's experiment; create it on first use.

    Its artifacts go to `mlflow_artifact_root`. A server chooses the place unless that is a URL.
    """
    from mlflow.exceptions import MlflowException

    root, name = settings.mlflow_artifact_root, experiment_name(settings)
    if "://" not in root:
        served = settings.mlflow_tracking_uri.startswith(("http", "databricks"))
        root = "" if served else (ROOT / root).as_uri()
    location = f"{root.rstrip('/')}/{quote(name)}" if root else None
    if experiment := client.get_experiment_by_name(name):
        return experiment.experiment_id
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        if experiment := client.get_experiment_by_name(name):  # another run was faster
            return experiment.experiment_id
        raise


def log_run(
    client: MlflowClient,
    settings: Settings,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float | None],
    history: Iterable[Mapping[str, float]] = (),
    figures: Mapping[str, Figure] | None = None,
    files: Iterable[Path] = (),
    dataset: tuple[str, pd.DataFrame, str] | None = None,
    tags: Mapping[str, str] | None = None,
    name: str | None = None,
) -> str:
    """Log a finished training run, with its git commit, and return the run id.

    A run that cannot be logged completely is marked as failed, and the error raised.

    Args:
        params: settings by name; nested ones become `outer.inner`.
        metrics: final scores; None is left out.
        history: one entry for each evaluation, with its `step` or `epoch` (default: its number).
        figures: logged as `figures/<name>.png`.
        files: logged below `files/`.
        dataset: name, series table and fingerprint (hexadecimal) of the data. The table is logged
            too, as `files/series.parquet`, unless that is larger than MAX_SERIES_FILE.
        tags: labels of the run.
        name: name of the run; MLflow invents one by default.
    """
    run_id = client.create_run(experiment_id(client, settings), run_name=name).info.run_id
    try:
        _log_metrics(client, run_id, metrics, history)
        _log_params(client, run_id, params)
        _log_tags(client, run_id, tags or {}, dataset)
        for key, figure in (figures or {}).items():
            client.log_figure(run_id, figure, f"figures/{key}.png")
        for file in files:
            client.log_artifact(run_id, str(file), FILES)
        if dataset is not None:
            _log_series(client, run_id, dataset[1])
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def download_files(
    client: MlflowClient, run_id: str, names: Iterable[str], folder: Path
) -> list[Path]:
    """Download logged files of a run into a folder, each whole or not at all."""
    found = []
    for name in names:
        with tempfile.TemporaryDirectory(dir=folder) as part:
            file = Path(client.download_artifacts(run_id, f"{FILES}/{name}", part))
            found.append(file.replace(folder / name))
    return found


def _log_series(client: MlflowClient, run_id: str, table: pd.DataFrame) -> None:
    """Log the series, so that another machine can monitor the model; not where they are large."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SERIES_FILE
        table.to_parquet(file, index=False)
        size = file.stat().st_size
        if size <= MAX_SERIES_FILE:
            client.log_artifact(run_id, str(file), FILES)
        else:
            log.info("series not logged: the file is large", bytes=size, most=MAX_SERIES_FILE)


def git_commit(folder: Path = PACKAGE) -> str:
    """Return the commit that is checked out.

    `+changes` follows it where tracked files were edited; "unversioned" stands for no repository.
    """
    command = ["git", "-C", str(folder)]
    try:
        commit, changes = (
            subprocess.run(command + rest, capture_output=True, text=True, check=True).stdout
            for rest in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unversioned"
    return commit.strip() + ("+changes" if changes.strip() else "")


def _log_metrics(
    client: MlflowClient,
    run_id: str,
    metrics: Mapping[str, float | None],
    history: Iterable[Mapping[str, float]],
) -> None:
    points = list(_points(metrics, 0))
    for i, entry in enumerate(history):
        scores = {k: v for k, v in entry.items() if k not in ("step", "epoch")}
        points += _points(scores, int(entry.get("step", entry.get("epoch", i))))
    for batch in _batches(points, _MAX_METRICS):
        client.log_batch(run_id, metrics=batch)


def _points(values: Mapping[str, float | None], step: int) -> Iterator[Metric]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return (Metric(k, float(v), now, step) for k, v in values.items() if v is not None)


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    flat = [Param(key, str(value)) for key, value in _flatten(params)]
    for batch in _batches(flat, _MAX_PARAMS):
        client.log_batch(run_id, params=batch)


def _log_tags(
    client: MlflowClient,
    run_id: str,
    tags: Mapping[str, str],
    dataset: tuple[str, pd.DataFrame, str] | None,
) -> None:
    from mlflow.entities import RunTag

    labels = _commit_tags() | dict(tags)
    if dataset is not None:
        labels["data_fingerprint"] = dataset[2]
        client.log_inputs(run_id, datasets=[_dataset_input(*dataset)])
    client.log_batch(run_id, tags=[RunTag(k, str(v)) for k, v in labels.items()])


def _commit_tags() -> dict[str, str]:
    commit = git_commit()
    shown = {} if commit == "unversioned" else {"mlflow.source.git.commit": commit.split("+")[0]}
    return {"git_commit": commit} | shown


def _dataset_input(name: str, table: pd.DataFrame, fingerprint: str) -> Any:
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.entities import Dataset, DatasetInput, InputTag

    facts = from_pandas(table, name=name, digest=fingerprint[:_DIGEST_LENGTH]).to_dict()
    return DatasetInput(Dataset(**facts), [InputTag("mlflow.data.context", "training")])


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
