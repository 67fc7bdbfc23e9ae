"""Log an artifact folder as an MLflow pyfunc model that needs nothing of this package."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from lib.inference import Contract, ServedModel
from lib.registry.model_code import REQUIREMENTS, importable, write_model_code

if TYPE_CHECKING:  # two seconds to import
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import Model


def log_model(
    client: MlflowClient,
    contract: Contract,
    artifact: Path,
    run_id: str,
    metrics: Mapping[str, float],
) -> tuple[str, str]:
    """Log an artifact folder named `model` as a pyfunc model of a run.

    The model is tried on an input example first; errors of that forecast are raised.

    Args:
        contract: the contract of the artifact.
        artifact: the folder.
        run_id: the run that trained it.
        metrics: scores shown beside the model.

    Returns:
        The id of the logged model, and the place of its artifacts.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    _try_example(contract, artifact)
    # The steps of mlflow.pyfunc.log_model, which works on the global tracking URI only.
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="forecaster", source_run_id=run_id)
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        with tempfile.TemporaryDirectory(prefix="log-model-") as name:
            _save_model(Path(name), contract, artifact, _mlflow_model(model, run_id))
            client.log_model_artifacts(model.model_id, f"{name}/model")
        now = int(time.time() * 1000)
        points = [Metric(k, float(v), now, 0, model_id=model.model_id) for k, v in metrics.items()]
        client.log_batch(run_id, metrics=points)
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    return model.model_id, model.artifact_location


def _try_example(contract: Contract, artifact: Path) -> None:
    with warnings.catch_warnings():
        # MLflow says this of its own chat models while it is imported.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        from lib.inference import pyfunc, signatures

    pyfunc.forecast_rows(ServedModel.load(artifact), signatures.example(contract))


def _mlflow_model(model: LoggedModel, run_id: str) -> Model:
    from mlflow.models import Model

    return Model(
        artifact_path=model.artifact_location,
        run_id=run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
    )


def _save_model(folder: Path, contract: Contract, artifact: Path, mlflow_model: Model) -> None:
    """Write the MLflow model into `folder / "model"`, its code beside it."""
    import mlflow.pyfunc

    from lib.inference import signatures

    code = write_model_code(folder / "code")
    with importable(code.package):
        mlflow.pyfunc.save_model(
            folder / "model",
            python_model=code.entry,
            artifacts={artifact.name: str(artifact)},
            code_paths=[str(code.package)],
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
            signature=signatures.signature(contract),
            input_example=signatures.example(contract),
            mlflow_model=mlflow_model,
        )
