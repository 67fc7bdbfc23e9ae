"""The registered model as a Spark UDF, where Java and PySpark are installed."""

import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib.inference.served_model import ServedModel
from lib.registry.registry import Registry
from tests.panels import TINY_MODEL
from tests.serving.live import settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    # Of MLflow's own code, not ours.
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]

# In another process, as Spark runs a job: the Java machine ends with it.
SCRIPT = """
import sys
import mlflow
from pyspark.sql import SparkSession
from pyspark.sql.functions import struct
store, source, target = sys.argv[1:]
mlflow.set_tracking_uri(store)
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
rows = spark.read.parquet(source).repartition(2)
model = mlflow.pyfunc.spark_udf(
    spark, "models:/ProductionLSTM-Forecast@production", env_manager="local"
)
made = rows.select(model(struct(*rows.columns)).alias("forecast")).select("forecast.*")
made.write.parquet(target)
spark.stop()
if "lib" in sys.modules:
    raise SystemExit("the model has imported the project")
"""


def series_rows(days=90, count=5):
    """One row a series, some days of them missing."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        value = 100 + 10 * np.sin(2 * np.pi * np.arange(days) / 7) + rng.normal(0, 2, days)
        value[rng.random(days) < 0.05] = np.nan
        known = [None if np.isnan(v) else float(v) for v in value]
        rows.append({"series_id": f"s{i}", "start": f"2024-01-0{i + 1}", "value": known})
    return pd.DataFrame(rows)


def test_registered_model_forecasts_as_a_spark_udf(tmp_path):
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: no java on the path (Debian: default-jre-headless)")
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("PySpark is not installed: pip install pyspark")
    registry = Registry(settings_of(tmp_path))
    run = registry.log_run(params={}, metrics={})
    registry.promote(registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0}))
    from lib.inference.pyfunc import forecast_rows  # with MLflow, which takes seconds

    rows = series_rows()
    rows.to_parquet(tmp_path / "rows.parquet")
    command = [sys.executable, "-c", SCRIPT, registry.settings.mlflow_tracking_uri]
    command += [str(tmp_path / "rows.parquet"), str(tmp_path / "made")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    made = pd.read_parquet(tmp_path / "made").set_index("series_id").sort_index()
    expected = forecast_rows(ServedModel.load(TINY_MODEL), rows).set_index("series_id")
    assert list(made.columns) == list(expected.columns)
    assert list(made.index) == list(expected.index)
    for name in made.columns:
        forecasts, reference = (np.stack(table[name].to_list()) for table in (made, expected))
        if name == "date":
            assert forecasts.tolist() == reference.tolist()
        else:
            np.testing.assert_allclose(forecasts, reference, rtol=1e-5)
