"""The code that is logged with a model: small, under its own name, and in nobody's way."""

import json
import subprocess
import sys

import pytest

from lib.registry import model_code
from lib.registry.model_code import REQUIREMENTS, importable, write_model_code

# Refuses every import of the project and of what only the project needs.
ALONE = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in refused:
            raise ImportError(f"{name} is not installed with a model")

refused = set(json.loads(sys.argv[2]))
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import pyfunc
from mlflow.models.model import __mlflow_model__
print(json.dumps([type(__mlflow_model__).__name__, sorted(sys.modules)]))
"""
REFUSED = ("lib", "torch", "shap", "structlog", "lazy_loader", "pydantic_settings")
REFUSED += ("safetensors", "holidays", "optuna", "msgspec", "tenacity", "ray")


@pytest.fixture
def code(tmp_path):
    return write_model_code(tmp_path / "code")


def test_model_code_is_small_and_imports_itself_only(code):
    files = {path.relative_to(code.package).as_posix() for path in code.package.rglob("*.py")}
    assert "inference/served_model.py" in files
    assert not files & {"settings.py", "log.py", "data/loading.py", "inference/partitions.py"}
    texts = [path.read_text() for path in [code.entry, *code.package.rglob("*.py")]]
    assert sum(map(len, texts)) < 145_000  # half of it describes itself
    for text in texts:
        lines = [line.strip() for line in text.splitlines()]
        assert not [line for line in lines if line.startswith(("from lib", "import lib"))]


def test_model_code_runs_with_its_requirements_alone(code, tmp_path):
    command = [sys.executable, "-c", ALONE, str(code.entry.parent), json.dumps(REFUSED)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kind, modules = json.loads(done.stdout)
    assert kind == "ForecastModel"
    assert {*REQUIREMENTS, f"{code.package.name}.inference.served_model"} <= set(modules)


def test_model_code_is_named_after_its_content(code, tmp_path, monkeypatch):
    again = write_model_code(tmp_path / "again")
    assert again.package.name == code.package.name
    source = model_code._collect_sources()
    source["data/panel.py"] += "\n# another release\n"
    monkeypatch.setattr(model_code, "_collect_sources", lambda: source)
    assert write_model_code(tmp_path / "other").package.name != code.package.name


def test_importable_leaves_no_trace(code):
    before = set(sys.modules), list(sys.path)
    with importable(code.package):
        module = __import__(f"{code.package.name}.data.panel")
    assert module.__name__ == code.package.name
    assert (set(sys.modules), list(sys.path)) == before
