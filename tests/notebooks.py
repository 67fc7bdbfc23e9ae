"""Runs the notebooks at their CI size, one after the other, and compares their outputs (nbval)."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"


def main() -> int:
    notebooks = sorted(NOTEBOOKS.glob("0[1-6]_*.ipynb"))
    if not notebooks:
        print(f"no notebooks in {NOTEBOOKS}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="notebooks-") as var:
        # A later notebook reads what an earlier one wrote; nothing else is there to be read,
        # and nothing is written to the stores that .env may name.
        environment = {
            **os.environ,
            "VAR_DIR": var,
            "MLFLOW_TRACKING_URI": f"sqlite:///{var}/mlflow.db",
            "MLFLOW_ARTIFACT_ROOT": f"{var}/mlartifacts",
            "OPTUNA_STORAGE": f"sqlite:///{var}/optuna.db",
            "DATABASE_URL": f"sqlite:///{var}/state.db",
            "OMP_NUM_THREADS": "1",
            "JUPYTER_PREFER_ENV_PATH": "1",
        }
        options = [
            "-p",
            "tests.nbval_numbers",
            "--nbval",
            "--nbval-current-env",
            "--nbval-cell-timeout=300",  # without it nbval waits for a dead kernel for ever
            f"--nbval-sanitize-with={HERE / 'nbval_sanitize.cfg'}",
            "--exitfirst",
            "--durations=10",
        ]
        command = [sys.executable, "-m", "pytest", *options, *map(str, notebooks)]
        return subprocess.run(command, env=environment, cwd=HERE.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
