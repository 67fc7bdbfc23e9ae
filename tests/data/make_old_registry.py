# ty: ignore
# ruff: noqa: I001
"""How tests/data/registry_before_packages.tar.xz was made: `python make_old_registry.py ARCHIVE`.

It runs at commit 3c5ef31 only, the last one at which all modules lay flat in `lib`, from the
folder of that checkout and with it on PYTHONPATH, OMP_NUM_THREADS=1. What it writes is what an
installation of that commit had on disk: an MLflow store with two registered versions, each with
its copy of `lib`, the database of the service, and its queue; and, in expected.json, what that
commit forecast and answered with them. Ids and times differ from one run to the next; the same
folder is always packed into the same bytes.

Absolute paths become @REGISTRY@ (this folder) and @CODE@ (the checkout). `tests/old_registry.py`
puts those of the day in their place.
"""

import json
import lzma
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import torch

from lib import backtest, calibration, fitting, monitor, training
from lib.export import add_metrics, save_artifact
from lib.forecaster import Forecaster, forecast_panel
from lib.model import ModelConfig
from lib.registry import PRODUCTION, STAGING, Registry
from lib.settings import ROOT, Settings
from serving.app import create_app
from serving.schemas import example_history, example_rows
from serving.state import state_of
from serving.worker import Worker
from tests.panels import lively_panel, spans_of

HORIZON = 3
STEPS = {1: 20, 2: 300}  # of training: the second is better, and neither is the best there can be
LIVE = 40  # evenings from which the service forecasts
TRACE = "0af7651916cd43dd8448eb211c80319c"
KEPT = (
    "expected.json",
    "mlflow.db",
    "mlartifacts",
    "state.db",
    "queue.db",
    "monitoring/latest.json",
)
# What loading a model leaves in its folder.
_LEFT = shutil.ignore_patterns("registered_model_meta", "__pycache__")


def main(archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="old-registry-") as name:
        root = Path(name) / "registry"
        (root / "passing").mkdir(parents=True)
        tempfile.tempdir = str(root / "passing")  # MLmodel keeps the path of a passing folder
        settings = Settings(
            _env_file=None,
            var_dir=root,
            mlflow_tracking_uri=f"sqlite:///{root}/mlflow.db",
            mlflow_artifact_root=str(root / "mlartifacts"),
            optuna_storage=f"sqlite:///{root}/optuna.db",
            database_url=f"sqlite:///{root}/state.db",
            queue_url=f"sqlite:///{root}/queue.db",
        )
        expected = {"machine": machine()} | versions(settings) | service(settings)
        expected["pyfunc"] = by_mlflow(settings)
        (root / "expected.json").write_text(json.dumps(expected) + "\n")
        pack(anonymous(root, Path(name) / "packed"), archive)


def machine() -> dict:
    """What the last bits of a forecast depend on."""
    return {
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "cpu": np.show_config(mode="dicts")["SIMD Extensions"],
    }


def versions(settings) -> dict:
    """Train, register and gate two versions, as notebook 03 does; forecast with both."""
    torch.set_num_threads(1)
    panel = lively_panel(days=200, series=1)
    spans = spans_of(panel, HORIZON)
    shape = ModelConfig(
        horizon=HORIZON, hidden=4, decoder_hidden=4, max_context=70, quantiles=(0.1, 0.5, 0.9)
    )
    data = training.prepare(panel, spans, shape)
    ends = backtest.cutoff_rows(panel, horizon=HORIZON, cutoffs=3, step=7)
    naive = backtest.metrics(
        backtest.collect(panel, ends, HORIZON, point=backtest.seasonal_naive(panel, ends, HORIZON))
    )

    def scores_of(folder, horizon):
        return backtest.metrics(backtest.run(Forecaster.load(folder), panel, ends, horizon=horizon))

    registry, scores, forecasts = Registry(settings), {}, {}
    for number, steps in STEPS.items():
        training_settings = training.TrainingConfig(steps=steps, batch=8, evaluate_every=20)
        fit = calibration.calibrate(fitting.fit(data, shape, training_settings), data)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "model"
            save_artifact(folder, fit, data, panel, spans)
            metrics = scores_of(folder, HORIZON)
            forecaster = add_metrics(folder, metrics)
            run_id = registry.log_run(
                name=f"run {number}",
                params={"model": shape.to_dict(), "training": fit.config.to_dict(), "cutoffs": 3},
                metrics={k: v for k, v in metrics.items() if np.isfinite(v)},
                history=fit.history,
            )
            version = registry.register(folder, run_id=run_id, metrics=metrics)
            decision = registry.gate(version, evaluate=scores_of, seasonal_naive=naive)
            if (version, decision.promote) != (number, True):
                raise SystemExit(f"version {version}: {decision}")
            scores[number] = metrics
            rows = np.arange(99, 200)
            forecasts[number] = forecast_panel(forecaster, panel, rows).tolist()
    said = registry.show()
    if (registry.version_of(PRODUCTION), registry.version_of(STAGING)) != (2, 2):
        raise SystemExit(said)
    columns = ("values", "factor", "event")
    return {
        "panel": {
            "ids": list(panel.ids),
            "first": str(panel.dates[0]),
            **{name: [plain(x) for x in getattr(panel, name).tolist()] for name in columns},
        },
        "rows": rows.tolist(),  # last days known to the forecasts
        "forecasts": forecasts,
        "cutoffs": ends.tolist(),
        "seasonal_naive": {k: plain(v) for k, v in naive.items()},
        "scores": {n: {k: plain(v) for k, v in each.items()} for n, each in scores.items()},
        "show": said,
    }


def service(settings) -> dict:
    """What the service answers; it leaves rows in state.db and a message in queue.db."""
    panel = lively_panel(days=200, series=1)
    app = create_app(settings)
    state = state_of(app)
    state.model.refresh()
    state.model.start = lambda: None
    client, asked = app.test_client(), {}

    def call(path, body=None, trace=None):
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"} if trace else {}
        answer = client.post(path, json=body, headers=headers) if body else client.get(path)
        if answer.status_code not in (200, 202):
            raise SystemExit(f"{path}: {answer.text}")
        return answer.json

    predict = {"sequence": example_rows()}
    asked["predict"] = {"body": predict, "answer": call("/predict", predict, TRACE)}
    last = len(panel.dates) - 1
    for end in range(last - LIVE, last - HORIZON + 1):
        body = {"series": [{"series_id": "s0", "history": history(panel, end)}]}
        asked["forecast"] = {"body": body, "answer": call("/forecast", body)}
    asked["model"] = {"answer": call("/model")}
    state.recorder.close()  # all is written
    truths: list[dict[str, Any]] = [
        {"series_id": "s0", "date": str(panel.dates[i]), "value": panel.values[i]}
        for i in range(last - LIVE - 30, last + 1)
        if np.isfinite(panel.values[i])
    ]
    truths[5]["value"] += 1  # corrected below
    call("/actuals", {"actuals": [*truths, {"trace_id": TRACE, "value": 101.5}]})
    truths[5]["value"] -= 1
    call("/actuals", {"actuals": truths})

    done = call("/request-explanation", {"trace_id": TRACE})["explanation_id"]
    worker = Worker(settings)
    task = worker.queue.huey.dequeue()
    worker.queue.huey.execute(task)
    found = call(f"/explanations/{done}")
    if found["status"] != "done":
        raise SystemExit(found)
    with worker.store.writing() as connection:  # the picture is most of the file, and only shown
        connection.exec_driver_sql("UPDATE explanations SET plot = ?", (b"\x89PNG",))
    asked["explanation"] = found
    # One that waits while the programs are exchanged.
    waiting = {"history": example_history(), "horizon_day": 2}
    asked["waiting"] = call("/request-explanation", waiting)["explanation_id"]
    worker.store.close()
    state.recorder.store.close()

    # A check that finds something: the limit is one that no forecast keeps.
    strict = settings.model_copy(update={"max_mae": 0.001, "monitor_checks": 1})
    report, _ = monitor.monitor(strict, may_retrain=False)
    if not report.accuracy.alarms:
        raise SystemExit(report)
    return {"service": asked, "check": {"day": report.day, "alarms": list(report.alarms)}}


def by_mlflow(settings) -> dict:
    """What MLflow's own loader forecasts with each version: rows in, rows out."""
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    panel, answers = lively_panel(days=200, series=1), {}
    records = [
        {
            "start": str(panel.dates[0]),
            "series_id": "s0",
            "value": [plain(x) for x in panel.values[:end].tolist()],
            "fator_externo": panel.factor[: end + HORIZON].tolist(),
            "evento_especial": panel.event[: end + HORIZON].tolist(),
        }
        for end in (120, 197)
    ]
    for number in STEPS:
        model = mlflow.pyfunc.load_model(f"models:/{settings.registered_model_name}/{number}")
        found = pd.DataFrame(model.predict(pd.DataFrame(records)))
        answers[number] = found.to_dict("records")
    return {"rows": records, "answers": answers}


def history(panel, end) -> list[dict]:
    columns = {"value": panel.values, "fator_externo": panel.factor, "evento_especial": panel.event}
    return [
        {"date": str(panel.dates[i])} | {name: plain(column[i]) for name, column in columns.items()}
        for i in range(end - 89, end + 1)
    ]


def plain(value) -> float | None:
    return float(value) if np.isfinite(value) else None


def anonymous(root: Path, copy: Path) -> Path:
    """A copy with placeholders for the two folders, in the files of MLflow and in every table."""
    places = {str(root): "@REGISTRY@", str(ROOT): "@CODE@"}
    copy.mkdir()
    for name in KEPT:
        place = root / name
        if place.suffix == ".db":
            with sqlite3.connect(place) as connection:
                connection.execute("VACUUM INTO ?", (str(copy / name),))
            connection.close()
            rename(copy / name, places)
        elif place.is_dir():
            shutil.copytree(place, copy / name, ignore=_LEFT)
        else:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(place, copy / name)
    for path in [*copy.rglob("MLmodel"), copy / "expected.json"]:
        text = path.read_text()
        for place, name in places.items():
            text = text.replace(place, name)
        path.write_text(text)
    return copy


def rename(database: Path, places: dict[str, str]) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            for place, name in places.items():
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?1, ?2) '
                    f'WHERE typeof("{column}") = \'text\' AND instr("{column}", ?1)',
                    (place, name),
                )
    connection.execute("VACUUM")
    connection.close()


def pack(root: Path, archive: Path) -> None:
    """The same folder gives the same bytes: sorted, and without times, owners and modes."""
    kept = [path for path in root.rglob("*") if path.is_file()]
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(kept):
            info = tarfile.TarInfo(str(path.relative_to(root)))
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0}]
    archive.write_bytes(lzma.compress(buffer.getvalue(), filters=filters))
    sys.stdout.write(f"{archive.name}: {archive.stat().st_size} bytes, {len(kept)} files\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
