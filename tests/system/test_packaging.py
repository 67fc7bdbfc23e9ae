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


@pytest.mark.slow
def test_wheel_contains_what_it_needs_at_run_time(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
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
