"""The package as it is installed: its requirements, and what its wheel contains."""

import subprocess
import sys
import tomllib
import zipfile
from itertools import chain

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.settings import ROOT


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins():
    """Name and version of every pin of environment.yml."""
    (packages,) = [
        entry["pip"]
        for entry in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
        if isinstance(entry, dict)
    ]
    pairs = [pin.split("==") for pin in packages]
    return {canonicalize_name(Requirement(name).name): version for name, version in pairs}


def requirements(project):
    texts = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    found = [Requirement(text) for text in texts]
    return {canonicalize_name(r.name): r.specifier for r in found if r.name != project["name"]}


def test_requirements_and_pins_name_the_same_packages(project, pins):
    assert sorted(requirements(project)) == sorted(pins)


def test_requirements_admit_the_pinned_versions(project, pins):
    outside = {
        name: (str(specifier), pins[name])
        for name, specifier in requirements(project).items()
        if pins[name] not in specifier
    }
    assert outside == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.slow
def test_wheel_contains_what_it_needs_at_run_time(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "lib", "serving", "notebooks"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    expected = {f"lib/{name}" if name.startswith("notebooks/") else name for name in tracked}
    assert expected <= names
    assert not [name for name in names if name.startswith(("tests/", "var/", "benchmarks/"))]


FORECAST = """
import mlflow, lib
from lib.settings import get_settings

mlflow.set_tracking_uri(get_settings().mlflow_tracking_uri)
model = mlflow.pyfunc.load_model("models:/ProductionLSTM-Forecast@production")
days = model.predict([{"start": "2026-01-01", "value": [100.0 + i % 7 for i in range(90)]}])
print(lib.__file__, len(days["date"].iloc[0]))
"""


@pytest.mark.slow
def test_wheel_trains_and_forecasts_from_an_empty_folder(wheel, tmp_path, monkeypatch):
    installed, folder = tmp_path / "installed", tmp_path / "work"
    zipfile.ZipFile(wheel).extractall(installed)
    folder.mkdir()
    for name in ("VAR_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_ARTIFACT_ROOT", "OPTUNA_STORAGE"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("PYTHONPATH", str(installed))

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.split()

    run("-m", "lib.pipeline", "train", "--profile", "ci")
    assert (folder / "var" / "mlflow.db").is_file()
    assert run("-c", FORECAST)[-2:] == [str(installed / "lib" / "__init__.py"), "28"]
