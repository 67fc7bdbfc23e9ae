"""The MLflow store: the connection to it, and how a training run and its model are kept."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.inference import Contract, ServedModel
from lib.settings import PACKAGE, ROOT, Settings

if TYPE_CHECKING:  # two seconds to import
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient


EXPERIMENT = "production-lstm"
# MLflow's limits for one request
_METRICS = 1000
_PARAMS = 100
_DIGEST = 36  # characters of a data set's digest
# What a served model imports; the versions are those it was made with.
REQUIREMENTS = ("mlflow", "onnxruntime", "numpy", "pandas")


def connect(settings: Settings) -> MlflowClient:
    """A client of the store that the settings name; a SQLite file is made where there is none.

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
    Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    # Two processes would both make the tables, which begins with the client. Another lock than the
    # one callers may hold.
    with locked(settings, "mlflow.lock"):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.get_experiment_by_name(EXPERIMENT)
    return client


def experiment_id(client: MlflowClient, settings: Settings) -> str:
    """The id of the project's experiment, which is made on first use.

    Its artifacts go to `mlflow_artifact_root`; a server gets to choose unless that is a URL.
    """
    from mlflow.exceptions import MlflowException

    root = settings.mlflow_artifact_root
    if "://" not in root:
        served = settings.mlflow_tracking_uri.startswith(("http", "databricks"))
        root = "" if served else (ROOT / root).as_uri()
    location = f"{root.rstrip('/')}/{EXPERIMENT}" if root else None
    if found := client.get_experiment_by_name(EXPERIMENT):
        return found.experiment_id
    try:
        return client.create_experiment(EXPERIMENT, artifact_location=location)
    except MlflowException:
        if found := client.get_experiment_by_name(EXPERIMENT):  # another run was faster
            return found.experiment_id
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
    """Keep a finished training run, with the git commit it was made from. → run id.

    Args:
        params: settings by name; nested ones become `outer.inner`.
        metrics: final figures; None is left out.
        history: one entry an evaluation, each with its `step` or `epoch` (otherwise counted).
        figures: name → figure, kept as `figures/<name>.png`.
        files: kept below `files/`.
        dataset: name, series table and fingerprint (hexadecimal) of the data.

    A run that cannot be kept whole is marked as failed, and the error raised.
    """
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    run = client.create_run(experiment_id(client, settings), run_name=name)
    run_id = run.info.run_id
    try:
        points = [Metric(k, float(v), now, 0) for k, v in metrics.items() if v is not None]
        for i, entry in enumerate(history):
            step = int(entry.get("step", entry.get("epoch", i)))
            points += [
                Metric(k, float(v), now, step)
                for k, v in entry.items()
                if v is not None and k not in ("step", "epoch")
            ]
        for start in range(0, len(points), _METRICS):
            client.log_batch(run_id, metrics=points[start : start + _METRICS])
        settings_used = [Param(k, str(v)) for k, v in _flat(params)]
        for start in range(0, len(settings_used), _PARAMS):
            client.log_batch(run_id, params=settings_used[start : start + _PARAMS])
        labels = _commit_tags() | dict(tags or {})
        if dataset is not None:
            labels["data_fingerprint"] = dataset[2]
            client.log_inputs(run_id, datasets=[_dataset_input(*dataset)])
        client.log_batch(run_id, tags=[RunTag(k, str(v)) for k, v in labels.items()])
        for key, figure in (figures or {}).items():
            client.log_figure(run_id, figure, f"figures/{key}.png")
        for file in files:
            client.log_artifact(run_id, str(file), "files")
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def log_model(
    client: MlflowClient,
    contract: Contract,
    artifact: Path,
    run_id: str,
    metrics: Mapping[str, float],
) -> tuple[str, str]:
    """Log an artifact folder named `model` as a pyfunc model of a run. → model id, its place.

    This package's code goes with it. Raises what forecasting the input example raises.
    """
    with warnings.catch_warnings():
        # MLflow says this of its own chat models while it is imported.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

    from lib.inference import pyfunc

    example = pyfunc.example(contract)
    pyfunc.forecast_rows(ServedModel.load(artifact), example)
    # The steps of mlflow.pyfunc.log_model, which works on the global tracking URI only.
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="forecaster", source_run_id=run_id)
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        with tempfile.TemporaryDirectory(prefix="log-model-") as folder:
            mlflow.pyfunc.save_model(
                folder,
                python_model=pyfunc.__file__,
                artifacts={artifact.name: str(artifact)},
                code_paths=[str(PACKAGE)],
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                signature=pyfunc.signature(contract),
                input_example=example,
                mlflow_model=Model(
                    artifact_path=model.artifact_location,
                    run_id=run_id,
                    model_uuid=model.model_id,
                    model_id=model.model_id,
                ),
            )
            client.log_model_artifacts(model.model_id, folder)
        now = int(time.time() * 1000)
        points = [Metric(k, float(v), now, 0, model_id=model.model_id) for k, v in metrics.items()]
        client.log_batch(run_id, metrics=points)
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    return model.model_id, model.artifact_location


def git_commit(folder: Path = PACKAGE) -> str:
    """The commit that is checked out, `+changes` behind it with edits; else "unversioned"."""
    command = ["git", "-C", str(folder)]
    try:
        commit, changes = (
            subprocess.run(command + rest, capture_output=True, text=True, check=True).stdout
            for rest in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unversioned"
    return commit.strip() + ("+changes" if changes.strip() else "")


@contextmanager
def locked(settings: Settings, name: str = "registry.lock") -> Generator[None]:
    """Hold a file of `var_dir`, by default the registry's: others wait. Not reentrant."""
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    with (settings.var_dir / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _commit_tags() -> dict[str, str]:
    commit = git_commit()
    shown = {} if commit == "unversioned" else {"mlflow.source.git.commit": commit.split("+")[0]}
    return {"git_commit": commit} | shown


def _dataset_input(name: str, table: pd.DataFrame, fingerprint: str) -> Any:
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.entities import Dataset, DatasetInput, InputTag

    facts = from_pandas(table, name=name, digest=fingerprint[:_DIGEST]).to_dict()
    return DatasetInput(Dataset(**facts), [InputTag("mlflow.data.context", "training")])


def _flat(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in params.items():
        name = f"{prefix}{key}"
        flat += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return flat
