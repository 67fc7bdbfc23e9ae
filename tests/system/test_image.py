"""The images: what goes in, and a serving image that is built, run and asked for a forecast."""

import ast
import collections
import contextlib
import hashlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lib.registry.registry import Registry
from lib.settings import ROOT
from serving.schemas.examples import example_rows
from tests.base_image import base_image
from tests.panels import TINY_MODEL
from tests.ports import free_port
from tests.serving.live import settings_of

# Of MLflow's own code, not ours.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    )
]
spec = importlib.util.spec_from_file_location("pins", ROOT / "deploy" / "pins.py")
assert spec is not None
assert spec.loader is not None
pins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pins)
KEY = "a key that nobody guesses"
SCRIPT = str(ROOT / "deploy" / "container.sh")
ENVIRONMENT = (ROOT / "environment.yml").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
# Reached by a URL alone, never by an import of ours.
BY_URL = {"psycopg"}
# Ours imports them from below a package that is listed and brings them.
BROUGHT = {"werkzeug": "flask", "pydantic-core": "pydantic"}


def packages_behind(starts):
    """Normalised names of the packages that modules of ours import, and those that these import."""
    found, todo, seen = set(), list(starts), set()
    distributions = importlib.metadata.packages_distributions()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        root = name.partition(".")[0]
        if root in ("lib", "serving"):
            todo += ours_behind(name)
        elif root not in sys.stdlib_module_names:
            found |= {normal(package) for package in distributions[root]}
    return {BROUGHT.get(name, name) for name in found}


def ours_behind(name):
    """Dotted names that are imported for a module of ours, a package, or a name of either."""
    path = ROOT / name.replace(".", "/")
    if path.with_suffix(".py").is_file():
        return [name.rpartition(".")[0], *imported(path.with_suffix(".py"), name)]
    if (path / "__init__.py").is_file():
        return [name.rpartition(".")[0] or "typing", *imported(path / "__init__.py", f"{name}._")]
    owner, _, attribute = name.rpartition(".")
    stub = ROOT / owner.replace(".", "/") / "__init__.pyi"
    # A lazy face imports the one module that has the name.
    faces = imported(stub, f"{owner}._") if stub.is_file() else ()
    return [owner, *(face for face in faces if face.rpartition(".")[2] == attribute)]


def imported(path, module):
    """Dotted names that a file imports anywhere in it, but for type checkers only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    attributes = collections.defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes[node.value.id].add(node.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(module.split(".")[: -node.level]) if node.level else ""
            source = ".".join(filter(None, [above, node.module]))
            for alias in node.names:
                yield f"{source}.{alias.name}"
                used = alias.asname or alias.name  # a face, whose names are taken from it
                yield from (f"{source}.{alias.name}.{name}" for name in attributes[used])


def normal(name):
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def plain(names):
    return {normal(name) for name in names}


def mlflow_is_one(names):
    return {"mlflow" if name.startswith("mlflow") else name for name in names}


API = ["serving.app", "serving.server", "serving.http.gunicorn_worker"]


@pytest.mark.parametrize(
    ("starts", "names"), [(API, pins.SERVING), (["serving.worker", *API], pins.WORKER)]
)
def test_image_installs_what_its_code_imports_and_no_more(starts, names):
    assert mlflow_is_one(packages_behind(starts)) == plain(names) - BY_URL


def names_in(lines):
    return {line.partition("==")[0] for line in lines if line[0] != " "}


def test_requirements_of_an_image_carry_the_pins_of_the_environment():
    lines = pins.requirements(ENVIRONMENT, LOCK, "serving")
    known = pins.pins(ENVIRONMENT)
    assert f"onnxruntime=={known['onnxruntime'][0]} \\" in lines
    assert f"mlflow-skinny=={known['mlflow'][0]} \\" in lines
    assert not [line for line in lines if re.match("torch|shap|jupyter|mlflow==", line)]


@pytest.mark.parametrize("target", pins.TARGETS)
def test_every_requirement_has_a_version_and_hashes_of_its_files(target):
    lines = pins.requirements(ENVIRONMENT, LOCK, target)
    entries = re.split(r"\n(?=\w)", "\n".join(lines))
    assert len(entries) >= len(names_in(lines)) >= (1 if target == "cpu" else 10)
    for entry in entries:
        assert re.fullmatch(
            r"[\w.-]+==[^\s;]+( ; [^\\]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+", entry
        ), entry


@pytest.mark.parametrize("target", ["serving", "worker", "train", "all"])
def test_requirements_hold_what_each_package_needs_on_this_machine(target):
    names = names_in(pins.requirements(ENVIRONMENT, LOCK, target))
    missing = {}
    for name in names:
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another system
            continue
        wanted = {Requirement(text) for text in needed}
        wanted = {r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})}
        if lacking := {normal(r.name) for r in wanted} - names:
            missing[name] = lacking
    assert missing == {}


def test_what_a_gpu_build_of_torch_needs_is_apart():
    cuda = names_in(pins.requirements(ENVIRONMENT, LOCK, "cuda"))
    assert "nvidia-cublas" in cuda
    for target in ("train", "all"):
        assert not cuda & names_in(pins.requirements(ENVIRONMENT, LOCK, target))


def test_cpu_build_of_torch_is_of_the_version_that_is_locked():
    assert pins.CPU[0] in {line.split(" ")[0] for line in LOCK.splitlines()}
    assert pins.CPU[1] not in LOCK  # or PyPI has it too


def test_a_pin_that_the_lock_does_not_have_is_named():
    newer = ENVIRONMENT.replace("- flask==3.1.3", "- flask==3.9.9")
    with pytest.raises(ValueError, match=r"expected flask==3\.9\.9; run make lock"):
        pins.requirements(newer, LOCK, "serving")
    with pytest.raises(ValueError, match="expected a pin, a hash or who needs it: '-e'"):
        pins.locked("-e\n")


def test_install_refuses_a_file_with_another_hash(tmp_path):
    """What `make install` and the images run, on a package that is not what the list says."""
    with zipfile.ZipFile(tmp_path / "made-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {
            "made.py": "",
            "made-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: made\nVersion: 1.0\n",
            "made-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
            "made-1.0.dist-info/RECORD": "",
        }.items():
            wheel.writestr(name, text)
    right = hashlib.sha256((tmp_path / "made-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    for digest, code in (("0" * 64, 1), (right, 0)):
        (tmp_path / "list.txt").write_text(f"made==1.0 --hash=sha256:{digest}\n")
        command = ["sh", ROOT / "deploy" / "install-hashed.sh", tmp_path, venv / "bin" / "python"]
        done = subprocess.run(
            [*command, "--no-index", "--find-links", tmp_path],
            env=os.environ | {"PIP_PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert ("DO NOT MATCH THE HASHES" in done.stderr) == (code == 1)
        assert bool(list(venv.rglob("made.py"))) == (code == 0)


def test_requirements_of_the_training_image_leave_the_checks_out():
    names = names_in(pins.requirements(ENVIRONMENT, LOCK, "train"))
    assert "torch" in names
    assert not names & {"ruff", "playwright", "uv"}


def test_requirements_name_a_package_that_is_not_pinned():
    without = "\n".join(line for line in ENVIRONMENT.splitlines() if "- flask==" not in line)
    with pytest.raises(ValueError, match=r"environment\.yml pins no flask"):
        pins.requirements(without, LOCK, "serving")


def test_context_of_the_build_leaves_out_what_a_run_wrote():
    kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert not [line for line in kept if re.search(r"var|\.env$|\.git|\.venv", line)]
    assert "!lib" in kept  # with the network that a fit starts from


MEBIBYTES = 450  # of the serving image, unpacked, by `du`
# Without systemd and where limits may not be raised, as in containers and on small machines.
PODMAN = """
[containers]
default_ulimits = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@pytest.fixture
def registry(tmp_path):
    """A registry with a production version, that another user can read."""
    var = tmp_path / "var"
    var.mkdir()
    found = Registry(settings_of(var))
    run = found.log_run(params={}, metrics={})
    found.promote(found.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0}))
    return found


@pytest.fixture(scope="module")
def image():
    """The serving image, built by the project's own script with buildah."""
    wanted = (ROOT / "Dockerfile").read_text().partition("ARG BASE=")[2].split()[0]
    base, name = base_image(wanted), "localhost/production-lstm-test"
    environment = os.environ | {
        "ENGINE": "buildah",
        "IMAGE": name,
        "BASE": base,
        "PULL": "never",
        "BUILD_ARGS": "--pull-never",
    }
    built = subprocess.run(
        [SCRIPT, "build"], env=environment, capture_output=True, text=True, timeout=1500
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return name


@pytest.mark.slow
@pytest.mark.services
def test_image_is_small_has_a_user_and_a_health_check(image):
    config = json.loads(said("buildah", "inspect", "--type", "image", f"{image}:serving"))
    config = config["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert "/health/ready" in config["Healthcheck"]["Test"][-1]
    assert config["Volumes"] == {"/data": {}}
    # Built on bits, not on a name that may be given to others.
    base = config["Labels"]["org.opencontainers.image.base.name"]
    assert re.fullmatch(r".+@sha256:[0-9a-f]{64}", base)
    container = said("buildah", "from", "--pull-never", f"{image}:serving").strip()
    try:
        root = said("buildah", "mount", container).strip()
        used = int(said("du", "--summarize", "--block-size=1M", root).split()[0])
        assert used <= MEBIBYTES
        assert not list(Path(root).glob("opt/venv/lib/python3*/site-packages/torch"))
    finally:
        said("buildah", "rm", container)


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("engine", ["buildah", "podman"])
def test_image_runs_without_root_and_forecasts(engine, image, registry, tmp_path):
    port, name = free_port(), f"production-lstm-test-{os.getpid()}"
    environment = os.environ | {
        "ENGINE": engine,
        "IMAGE": image,
        "PORT": str(port),
        "API_KEYS": KEY,
        "PYTHON": sys.executable,
        "VAR_DIR": str(registry.settings.var_dir),
        "MLFLOW_TRACKING_URI": registry.settings.mlflow_tracking_uri,
    }
    own = ["--workers", "1"]
    if engine == "podman":
        environment |= podman(tmp_path, image)
        # No network of its own, which not every machine can make.
        environment |= {"RUN_ARGS": f"--network host --name {name}", "VOLUME": name}
        own += ["--port", str(port)]
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [SCRIPT, "run", *own],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        answer = ask_until(port, "/health/ready", "GET", None, lambda: server.poll() is None)
        assert answer["source"] == "production", log.read_text()
        body = json.dumps({"sequence": example_rows()})
        forecast = ask_until(port, "/predict", "POST", body)
        assert forecast["model_version"] == 1
        truth = {"actuals": [{"trace_id": forecast["trace_id"], "value": 100.0}]}
        assert ask_until(port, "/actuals", "POST", json.dumps(truth))["added"] == 1
        assert owner_of(port) == 10001
        if engine == "podman":
            (shown,) = json.loads(said("podman", "inspect", name, env=environment))
            assert shown["HostConfig"]["ReadonlyRootfs"]
            assert shown["EffectiveCaps"] in (None, [])
            assert [m["Destination"] for m in shown["Mounts"] if m["RW"]] == ["/data"]
            assert f"API_KEYS={KEY}" not in shown["Config"]["CreateCommand"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
        if engine == "podman":
            for gone in (["rm", "--force", "--ignore", name], ["volume", "rm", "--force", name]):
                said("podman", *gone, env=environment)


def podman(folder, image):
    """The settings with which podman runs here; skips where it does not."""
    settings = folder / "containers.conf"
    settings.write_text(PODMAN)
    environment = {"CONTAINERS_CONF": str(settings)}
    tried = ["podman", "run", "--rm", "--network=host", "--entrypoint=true", f"{image}:serving"]
    try:
        said(*tried, env=os.environ | environment)
    except FileNotFoundError:
        pytest.skip("podman is not installed (Debian: podman)")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"podman runs no container here: {error.stderr.strip()[-300:]}")
    return environment


def said(*command, env=None):
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def ask_until(port, path, method, body, alive=lambda: True, seconds=90):
    """The JSON of the first answer that is 200."""
    end, said = time.monotonic() + seconds, "nothing"
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    while time.monotonic() < end and alive():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            said = response.read().decode()
            if response.status == 200:
                return json.loads(said)
        except OSError as error:
            said = repr(error)
        finally:
            connection.close()
        time.sleep(0.2)
    return pytest.fail(f"{path} did not answer 200 but {said[:500]}")


def owner_of(port):
    """The user id that listens on a port, from the kernel's table."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
            return int(fields[7])
    return None
