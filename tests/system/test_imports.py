"""What importing a package loads. Who may import whom is checked by import-linter (`make lint`)."""

import subprocess
import sys

import pytest

from lib.settings import ROOT

HEAVY = {"matplotlib", "mlflow", "shap", "torch"}
LIGHT = [
    "lib",
    "lib.cli",
    "lib.data",
    "lib.data.loading",
    "lib.data.synthesis",
    "lib.evaluation",
    "lib.evaluation.backtest",
    "lib.explanation",
    "lib.features.engineering",
    "lib.forecasting",
    "lib.forecasting.forecaster",
    "lib.inference",
    "lib.inference.served_model",
    "lib.models",
    "lib.monitoring.report",
    "lib.pipeline",
    "lib.registry.registry",
    "lib.storage",
    "lib.training",
    "lib.tuning",
    "serving",
    "serving.app",
]
PACKAGES = sorted(path.parent.name for path in (ROOT / "lib").glob("*/__init__.pyi"))


@pytest.mark.parametrize("module", LIGHT)
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("package", PACKAGES)
def test_face_gives_every_name_it_promises(package):
    code = (
        f"import lib.{package} as face; "
        "print([n for n in face.__all__ if getattr(face, n, None) is None], len(face.__all__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    missing, count = done.stdout.rsplit(maxsplit=1)
    assert missing == "[]"
    assert int(count) > 0
