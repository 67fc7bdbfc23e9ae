import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from lib.pipeline import __main__, backtest, execution
from lib.pipeline.monitoring import run_monitoring, run_planning
from lib.pipeline.parameters import (
    ParameterError,
    declared_parameters,
    read_notebook,
    resolve_parameters,
)
from lib.pipeline.profiles import load_profile
from lib.pipeline.run import run_pipeline
from lib.pipeline.runs import describe_run, record, run_folder
from lib.pipeline.stages import StageError
from lib.registry.versions import RegistryError
from lib.settings import NOTEBOOKS, ROOT, Settings
from tests.panels import panel_of

PARAMETERS_1 = """RUN_DIR: str = "var/runs/explore"  # folder of the run
SEED: int = 0  # seed
DATA: str = ""  # file"""
MAKE = """from pathlib import Path
text = Path(DATA).read_text() if DATA else "made"
(Path(RUN_DIR) / "made.txt").write_text(f"{text} {SEED}")
with open(Path(RUN_DIR) / "count.log", "a") as log:
    log.write("made ")"""
PARAMETERS_2 = """RUN_DIR: str = "var/runs/explore"
MODE: str = "plain"
SEED: int = 0"""
WHERE = """import os, sys
from lib.pipeline import record
record(RUN_DIR, "02_use", {"error": 1 / 3})
print(sys.executable, os.getcwd())"""
USE = """from pathlib import Path
run = Path(RUN_DIR)
with open(run / "count.log", "a") as log:
    log.write("used ")
(run / "used.txt").write_text((run / "made.txt").read_text() + f" {MODE}")"""


class Project:
    """A folder with two small notebooks and the runs of them."""

    def __init__(self, folder):
        self.notebooks = folder / "notebooks"
        self.settings = Settings(var_dir=folder / "var")
        self.package = folder / "toolbox"
        self.numbers = itertools.count()
        for each in (self.notebooks / "params", self.package):
            each.mkdir(parents=True)
        for name in ("__init__", "used", "unused"):
            (self.package / f"{name}.py").write_text("x = 1\n")
        self.profile("common:\n  SEED: 7\n")
        self.write("01_make", PARAMETERS_1, MAKE)
        self.write("02_use", PARAMETERS_2, USE)

    def profile(self, text):
        (self.notebooks / "params" / "default.yaml").write_text(text)

    def write(self, name, parameters, *sources):
        v4 = nbformat.v4
        cells = [v4.new_markdown_cell("# A toy"), v4.new_code_cell(parameters)]
        cells[1].metadata["tags"] = ["parameters"]
        cells += [v4.new_code_cell(source) for source in sources]
        nbformat.write(v4.new_notebook(cells=cells), self.notebooks / f"{name}.ipynb")

    def run(self, until="", force=False, run_dir=None, bases=(), **overrides):
        return run_pipeline(
            "default",
            overrides,
            until=until,
            force=force,
            run_dir=run_dir,
            bases=bases,
            notebooks=self.notebooks,
            settings=self.settings,
            package=self.package,
        )

    def start(self, *arguments, cwd=None):
        """Start the command line in a process of its own."""
        command = [sys.executable, "-m", "lib.pipeline", "train", "--notebooks", self.notebooks]
        path = self.notebooks.parent / f"{next(self.numbers)}.log"
        with path.open("w") as log:  # no pipe: a killed run's children would keep it open
            process = subprocess.Popen(
                [*map(str, command), *arguments],
                env={**os.environ, "VAR_DIR": str(self.settings.var_dir)},
                cwd=cwd,
                stderr=log,
            )
        return process, path

    def folder(self):
        (folder,) = (self.settings.var_dir / "runs").iterdir()
        return folder

    def kernels(self):
        """Return the processes, of kernels or started by them, that still run."""
        here = str(self.settings.var_dir)
        everything = [(_environment(p).get(execution._MARK, ""), p) for p in psutil.process_iter()]
        return [process for mark, process in everything if mark.startswith(here)]


def _environment(process):
    try:
        return process.environ()
    except psutil.Error:
        return {}


def finish(started, timeout=60):
    process, log = started
    return process.wait(timeout), log.read_text()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def quick(project, monkeypatch):
    """The project, with notebooks run in this process: a kernel takes seconds to start."""

    def execute(notebook, output, values, **rest):
        names = {}
        for cell in read_notebook(notebook):
            exec(cell["source"], names)
            names |= values if "parameters" in cell["tags"] else {}
        output.parent.mkdir(exist_ok=True)
        output.write_bytes(notebook.read_bytes())

    def to_html(notebook, output):
        output.parent.mkdir(exist_ok=True)
        output.touch()

    monkeypatch.setattr(execution, "execute_notebook", execute)
    monkeypatch.setattr(execution, "to_html", to_html)
    return project


def test_run_from_another_folder_makes_everything(project, tmp_path):
    elsewhere = tmp_path / "somewhere else"
    elsewhere.mkdir()
    (elsewhere / "my data.csv").write_text("data")
    project.write("02_use", PARAMETERS_2, USE, WHERE)
    code, err = finish(project.start("DATA=my data.csv", "--force", "MODE=a b", cwd=elsewhere))
    assert code == 0, err
    run = project.folder()
    assert re.fullmatch(r"default-[0-9a-f]{12}", run.name)
    assert (run / "used.txt").read_text() == "data 7 a b"
    assert json.loads((run / "metrics.json").read_text()) == {"02_use": {"error": 0.3333333333}}
    assert json.loads((run / "parameters.json").read_text())["stages"] == {
        "01_make": {"SEED": 7, "DATA": str(elsewhere / "my data.csv")},
        "02_use": {"SEED": 7, "MODE": "a b"},
    }
    executed = nbformat.read(run / "notebooks" / "02_use.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == f"{sys.executable} {project.notebooks}\n"
    for page in ("01_make.html", "02_use.html"):
        text = (run / "html" / page).read_text()
        assert "A toy" in text
        assert not re.search(r"(src|href)=[\"']?(https?:)?//|cdnjs|unpkg|import\(", text)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["stage"] for line in lines if line["event"] == "stage finished"] == [
        "01_make",
        "02_use",
    ]
    assert all(line["seconds"] > 0 for line in lines if line["event"] == "stage finished")
    assert not project.kernels()


def test_run_again_skips_what_is_unchanged(quick):
    first = quick.run()
    assert first.ran == ("01_make", "02_use")
    again = quick.run()
    assert (again.folder, again.ran, again.skipped) == (first.folder, (), ("01_make", "02_use"))
    assert quick.run(force=True).ran == first.ran


def test_run_override_goes_before_the_profile(quick):
    assert (quick.run().folder / "made.txt").read_text() == "made 7"
    assert (quick.run(SEED="8").folder / "made.txt").read_text() == "made 8"


def test_run_until_stops_and_the_whole_run_goes_on_there(quick):
    first = quick.run(until="01_make")
    assert first.ran == ("01_make",)
    assert not (first.folder / "used.txt").exists()
    assert quick.run().ran == ("02_use",)
    with pytest.raises(ParameterError, match="expected one of 01_make, 02_use"):
        quick.run(until="05_monitoring")


def test_run_folders_differ_by_parameters_and_content_of_data(quick, tmp_path):
    one, two, copy = (tmp_path / name for name in ("one.csv", "two.csv", "copy.csv"))
    one.write_text("1"), two.write_text("2"), copy.write_text("1")
    folders = [quick.run(DATA=str(file)).folder for file in (one, two, copy)]
    assert folders[0] == folders[2] != folders[1]
    one.write_text("1b")
    assert quick.run(DATA=str(one)).folder not in folders
    assert quick.run(MODE="b").folder != quick.run().folder


def test_rerun_after_changed_parameter_starts_at_its_stage(quick, tmp_path):
    assert quick.run(run_dir=tmp_path / "run").ran == ("01_make", "02_use")
    assert quick.run(run_dir=tmp_path / "run", MODE="b").ran == ("02_use",)
    assert (tmp_path / "run" / "used.txt").read_text() == "made 7 b"


def test_rerun_after_a_changed_module_that_the_notebook_uses(quick, monkeypatch):
    monkeypatch.syspath_prepend(quick.package.parent)
    quick.write("02_use", PARAMETERS_2, "from toolbox import used", USE)
    quick.run()
    (quick.package / "unused.py").write_text("x = 2\n")
    assert quick.run().ran == ()
    (quick.package / "used.py").write_text("x = 2\n")
    assert quick.run().ran == ("02_use",)


def test_rerun_after_changed_cell_or_data(quick, tmp_path):
    quick.run()
    quick.write("02_use", PARAMETERS_2, USE, "pass")
    assert quick.run().ran == ("02_use",)
    data, run = tmp_path / "data.csv", tmp_path / "run"
    data.write_text("1")
    assert quick.run(DATA=str(data), run_dir=run).ran == ("01_make", "02_use")
    data.write_text("2")
    assert quick.run(DATA=str(data), run_dir=run).ran == ("01_make", "02_use")


def test_rerun_with_the_same_output_does_not_repeat_later_stages(quick):
    quick.run()
    quick.write("01_make", PARAMETERS_1, MAKE, "pass")
    assert quick.run().ran == ("01_make",)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("other")])
def test_rerun_repairs_an_output_that_was_lost_or_changed(quick, damage):
    made = quick.run().folder / "made.txt"
    damage(made)
    assert quick.run().ran == ("01_make",)
    assert made.read_text() == "made 7"


def test_rerun_removes_what_the_outdated_stage_wrote(quick):
    quick.write("01_make", PARAMETERS_1, MAKE, "(Path(RUN_DIR) / 'truth.txt').write_text('x')")
    truth = quick.run().folder / "truth.txt"
    assert truth.exists()
    quick.write("01_make", PARAMETERS_1, MAKE)
    quick.run()
    assert not truth.exists()


def test_command_refuses_bad_parameters_before_anything_runs(project, monkeypatch, capsys):
    monkeypatch.setenv("VAR_DIR", str(project.settings.var_dir))
    arguments = ["train", "--notebooks", str(project.notebooks)]
    for given, message in [
        ("SED=1", "unknown parameter 'SED': did you mean SEED?"),
        ("SEED=one", "SEED of 01_make: expected int, got 'one'"),
        ("DATA=none.csv", "DATA: expected a CSV or Parquet file, there is no"),
        ("--profile=big", "no profile 'big'"),
    ]:
        assert __main__.main([*arguments, given]) == 2
        assert message in capsys.readouterr().err
    assert not (project.settings.var_dir / "runs").exists()
    with pytest.raises(SystemExit) as caught:
        __main__.main([*arguments, "--seed"])
    assert caught.value.code == 2


def test_command_help_lists_the_parameters(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["train", "--help"])
    assert "NAME=value" in capsys.readouterr().out


def test_data_is_looked_for_where_the_caller_is(quick, tmp_path, monkeypatch):
    (tmp_path / "caller").mkdir()
    (tmp_path / "caller" / "x.csv").write_text("caller's")
    monkeypatch.chdir(tmp_path)
    run = quick.run(DATA="x.csv", bases=[tmp_path / "caller"])
    assert (run.folder / "made.txt").read_text() == "caller's 7"


def test_failing_cell_is_shown_and_the_run_resumes_there(project, monkeypatch, capsys):
    monkeypatch.setenv("VAR_DIR", str(project.settings.var_dir))
    arguments = ["train", "--notebooks", str(project.notebooks)]
    project.write("02_use", PARAMETERS_2, "before = 1", "# why\nraise KeyError('no such day')", USE)
    assert __main__.main(arguments) == 1
    err = capsys.readouterr().err
    assert "error: stage 02_use: KeyError: 'no such day'\nin cell In [4]:\n    # why\n" in err
    assert "    raise KeyError('no such day')\n" in err
    run = project.folder()
    partial = nbformat.read(run / "notebooks" / "02_use.ipynb", as_version=4)
    assert any(o.output_type == "error" for c in partial.cells for o in c.get("outputs", []))
    assert [p.stem for p in (run / "stages").iterdir()] == ["01_make"]
    project.write("02_use", PARAMETERS_2, USE)
    assert __main__.main(arguments) == 0
    assert (run / "count.log").read_text() == "made used "


def test_dead_kernel_is_an_error_that_names_the_cell(project):
    project.write("01_make", PARAMETERS_1, "import os\nos._exit(9)")
    with pytest.raises(StageError, match=r"(?s)the kernel died.*os\._exit\(9\)"):
        project.run()


def test_kernel_messages_outside_of_cells_are_not_on_stderr(project):
    beside = "import os\nos.write(2, b'ERROR:tornado: ended')"
    project.write("01_make", PARAMETERS_1, beside, MAKE)
    code, err = finish(project.start())
    assert code == 0, err
    assert "tornado" not in err


def test_dead_kernel_error_has_its_last_messages(project):
    message = "os.write(2, b'no space')"
    project.write("01_make", PARAMETERS_1, f"import os\n{message}\nos._exit(9)")
    with pytest.raises(StageError, match=r"(?s)the kernel died.*its last messages:\n    no space"):
        project.run()


SLOW = """import multiprocessing, subprocess, sys, time
from pathlib import Path
if not (Path(RUN_DIR) / "once.log").exists():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (Path(RUN_DIR) / "once.log").touch()
    time.sleep(60)"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_killed_run_is_finished_by_the_next(project, monkeypatch, number, code):
    project.write("01_make", PARAMETERS_1, SLOW, MAKE)
    (project.notebooks / "02_use.ipynb").unlink()
    process, log = project.start()
    while not list(project.settings.var_dir.glob("runs/*/once.log")):
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    run = project.folder()
    process.send_signal(number)
    returncode, err = finish((process, log), timeout=10)
    assert returncode == code
    assert "Traceback" not in err
    assert not (run / "stages").exists()
    if number == signal.SIGINT:
        assert not project.kernels()
    monkeypatch.setenv("VAR_DIR", str(project.settings.var_dir))
    assert __main__.main(["train", "--notebooks", str(project.notebooks)]) == 0
    assert (run / "count.log").read_text() == "made "
    assert not project.kernels()


def test_two_runs_of_the_same_do_each_stage_once(project):
    (project.notebooks / "02_use.ipynb").unlink()
    started = [project.start() for _ in range(2)]
    results = [finish(each) for each in started]
    assert [code for code, _ in results] == [0, 0], results
    assert (project.folder() / "count.log").read_text() == "made "
    assert sorted(err.count("stage skipped") for _, err in results) == [0, 1]
    assert sum("waiting for the same run" in err for _, err in results) == 1


def test_record_rounds_sorts_and_takes_numpy(tmp_path):
    metrics = {
        "b": np.float64(1 / 3),
        "a": np.arange(2),
        "c": {"x": float("nan")},
        "d": np.bool_(1),
    }
    expected = {"a": [0, 1], "b": 0.3333333333, "c": {"x": None}, "d": True}
    assert record(tmp_path, "01_make", metrics) == expected
    text = (tmp_path / "metrics" / "01_make.json").read_text()
    assert json.loads(text) == expected
    assert text.index('"a"') < text.index('"b"')


def test_run_folder_counts_from_var_dir_or_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAR_DIR", str(tmp_path / "kept"))
    assert run_folder("var/runs/explore") == tmp_path / "kept" / "runs" / "explore"
    assert run_folder(tmp_path / "x").is_dir()
    assert run_folder("tests") == ROOT / "tests"
    with pytest.raises(ValueError, match="RUN_DIR"):
        run_folder("")


def test_finished_run_is_added_to_its_mlflow_run_once(quick, monkeypatch):
    logged = []

    class Client:
        def __init__(self, tracking_uri):
            assert tracking_uri == quick.settings.mlflow_tracking_uri

        def log_artifact(self, run_id, path, folder):
            logged.append((run_id, Path(path).name, folder))

    monkeypatch.setattr("mlflow.MlflowClient", Client)
    quick.write(
        "02_use", PARAMETERS_2, USE, "(run / 'mlflow.json').write_text('{\"run_id\": \"r\"}')"
    )
    quick.run()
    assert {(run_id, f"{folder}/{name}") for run_id, name, folder in logged} == {
        ("r", "pipeline/notebooks/01_make.ipynb"),
        ("r", "pipeline/notebooks/02_use.ipynb"),
        ("r", "pipeline/html/01_make.html"),
        ("r", "pipeline/html/02_use.html"),
        ("r", "pipeline/parameters.json"),
        ("r", "pipeline/metrics.json"),
    }
    before = len(logged)
    quick.run()
    assert len(logged) == before


def test_import_for_a_notebook_is_light():
    heavy = ("papermill", "nbconvert", "mlflow", "pandas", "torch")
    source = f"import sys, lib.pipeline; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


RESULTS = """import json
from pathlib import Path
import pandas as pd
run = Path(RUN_DIR)
days = pd.date_range("2024-01-02", periods=2)
table = pd.DataFrame({"series_id": "a", "date": days, "actual": [1.0, float("nan")], "q0.5": 2.0})
table.to_parquet(run / "forecasts.parquet")
scores = {"ours": {"mase": 0.5, "wql": 9.0, "days": 1}, "naive": {"mase": None, "days": 1}}
(run / "scores.json").write_text(json.dumps(scores))
(run / "backtest.png").write_bytes(b"a picture")
assert REGISTER is False and WORKERS == 1"""


def test_backtest_writes_forecasts_and_scores_and_registers_nothing(project, monkeypatch):
    (project.notebooks / "02_use.ipynb").unlink()
    parameters = 'RUN_DIR: str = ""\nREGISTER: bool = True\nWORKERS: int = 0'
    project.write("03_training", parameters, RESULTS)
    project.write("04_more", 'RUN_DIR: str = ""', "raise SystemExit('no stage of a backtest')")
    out = project.notebooks.parent / "my results"
    monkeypatch.setenv("VAR_DIR", str(project.settings.var_dir))
    arguments = ["backtest", "--notebooks", str(project.notebooks), "--out", str(out)]
    assert __main__.main(arguments) == 0
    names = {"forecasts.parquet", "metrics.json", "backtest.png", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    found = pd.read_parquet(out / "forecasts.parquet")
    assert list(found.columns) == ["series_id", "date", "q0.5"]
    assert len(found) == 2  # also the day without an actual value
    scores = json.loads((out / "metrics.json").read_text())
    nothing = {"mase": None, "wape": None, "wql": None, "coverage_80": None, "n": 1}
    assert scores == {"ours": nothing | {"mase": 0.5, "wql": 9.0}, "naive": nothing}
    assert not (project.settings.var_dir / "mlflow.db").exists()


def test_backtest_without_a_folder_for_its_results_is_refused(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["backtest", "DATA=sales.csv"])
    assert "--out" in capsys.readouterr().err


def monitor(project, overrides=None, run_dir=None):
    return run_monitoring(
        overrides, run_dir=run_dir, notebooks=project.notebooks, settings=project.settings
    )


def test_planning_runs_its_notebook_on_a_run(project):
    project.write("06_plan", PARAMETERS_1, MAKE)
    contract = project.settings.var_dir / "runs" / "one" / "model" / "contract.json"
    contract.parent.mkdir(parents=True)
    contract.write_text("{}")
    page = run_planning({"SEED": "5"}, notebooks=project.notebooks, settings=project.settings)
    assert page.name == "06_plan.html"
    assert (contract.parent.parent / "made.txt").read_text() == "made 5"
    with pytest.raises(ParameterError, match="LEAD_TIMES"):
        run_planning({"LEAD_TIMES": "5"}, notebooks=project.notebooks, settings=project.settings)


def test_monitoring_runs_its_notebook_on_the_run_trained_last(project):
    project.write("05_watch", PARAMETERS_1, MAKE)
    runs = project.settings.var_dir / "runs"
    for age, name in enumerate(["new", "old"]):
        contract = runs / name / "model" / "contract.json"
        contract.parent.mkdir(parents=True)
        contract.write_text("{}")
        os.utime(contract, (1e9 - age, 1e9 - age))
    page = monitor(project, {"SEED": "5"})
    assert page == runs.resolve() / "new" / "html" / "05_watch.html"
    assert page.is_file()
    assert (runs / "new" / "made.txt").read_text() == "made 5"
    (runs / "old" / "mlflow.json").write_text("{}")
    page = monitor(project, {"SEED": "5"})
    assert page.is_relative_to(runs.resolve() / "old")  # registered, as the other is not


def test_monitoring_without_a_run_or_with_an_unknown_parameter_is_refused(project):
    project.write("05_watch", PARAMETERS_1, MAKE)
    with pytest.raises(ParameterError, match="make train"):
        monitor(project)
    with pytest.raises(ParameterError, match="no model"):
        monitor(project, run_dir=project.notebooks)
    with pytest.raises(ParameterError, match="SEEDS"):
        monitor(project, {"SEEDS": "1"})


class FakeRegistry:
    """A registry whose production model is version 4, of the MLflow run "abc"."""

    tags: ClassVar[dict[str, str]] = {}

    def __init__(self, settings):
        pass

    def version_of(self, alias):
        return 4 if alias == "production" else None

    def training_run(self, version):
        return "abc", self.tags

    def fetch(self, version, folder):
        write_model(folder.parent)

    def fetch_files(self, version, names, folder):
        for name in names:
            (folder / name).write_text(f"logged with version {version}")


def write_model(run, **outcome):
    (run / "model").mkdir(parents=True)
    (run / "model" / "contract.json").write_text("{}")
    if outcome:
        (run / "mlflow.json").write_text(json.dumps(outcome))


@pytest.fixture
def registered(quick, monkeypatch):
    quick.write("05_watch", PARAMETERS_1, MAKE)
    var = quick.settings.var_dir
    var.mkdir()
    (var / "mlflow.db").touch()
    quick.settings = Settings(var_dir=var, mlflow_tracking_uri=f"sqlite:///{var}/mlflow.db")
    monkeypatch.setattr("lib.registry.Registry", FakeRegistry)
    return quick


def test_monitoring_looks_at_the_production_model_and_not_at_the_last_run(registered):
    runs = registered.settings.var_dir / "runs"
    write_model(runs / "served", version=4, run_id="abc")
    write_model(runs / "later", version=4, run_id="of another name")
    assert monitor(registered).parent.parent == runs.resolve() / "served"


def test_monitoring_finds_the_run_of_the_production_model_elsewhere(
    registered, tmp_path, monkeypatch
):
    write_model(tmp_path / "elsewhere", version=4, run_id="abc")
    monkeypatch.setattr(FakeRegistry, "tags", {"run_folder": str(tmp_path / "elsewhere")})
    assert monitor(registered).parent.parent == tmp_path / "elsewhere"


def test_monitoring_fetches_a_production_model_that_was_trained_on_another_machine(registered):
    write_model(registered.settings.var_dir / "runs" / "other", version=1, run_id="x")
    run = monitor(registered).parent.parent
    assert run.name == "production-4"
    for name in ("series.parquet", "forecasts.parquet"):
        assert (run / name).read_text() == "logged with version 4"
    assert json.loads((run / "mlflow.json").read_text()) == {"version": 4, "run_id": "abc"}


def test_monitoring_falls_back_to_the_last_run_where_the_registry_fails(registered, monkeypatch):
    def fail(self, alias):
        raise RegistryError("away")

    monkeypatch.setattr(FakeRegistry, "version_of", fail)
    write_model(registered.settings.var_dir / "runs" / "last")
    assert monitor(registered).parent.parent.name == "last"


@pytest.mark.parametrize("profile", ["ci", "default", "thorough"])
def test_training_registers_and_a_notebook_opened_by_hand_does_not(profile):
    known = {"03_training": declared_parameters(NOTEBOOKS / "03_training.ipynb")}
    assert known["03_training"]["REGISTER"].value is False
    sections = load_profile(NOTEBOOKS / "params" / f"{profile}.yaml")
    section = {"03_training": sections["03_training"]}
    assert resolve_parameters(known, section, {})["03_training"]["REGISTER"] is True
    assert resolve_parameters(known, section, {"REGISTER": "false"})["03_training"] == {
        **resolve_parameters(known, section, {})["03_training"],
        "REGISTER": False,
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"VALUE_COLUMN": "unit"}, "units"),
        ({"VALUE_COLUMN": "units", "CUTOFFS": "40"}, "CUTOFFS="),
        ({"VALUE_COLUMN": "units", "COUNTRY": "XX"}, "COUNTRY"),
    ],
)
def test_data_is_checked_before_any_kernel_starts(tmp_path, parameters, message):
    days = pd.date_range("2024-01-01", periods=400)
    pd.DataFrame({"date": days, "units": np.arange(400) % 9}).to_csv(tmp_path / "shop.csv")
    with pytest.raises(ParameterError, match=f"^DATA: (?s:.*){message}"):
        run_pipeline(
            "ci",
            {"DATA": str(tmp_path / "shop.csv"), **parameters},
            settings=Settings(var_dir=tmp_path / "var"),
        )
    assert not (tmp_path / "var").exists()


def test_cells_are_counted_while_a_notebook_runs(project, tmp_path):
    cells = []
    execution.execute_notebook(
        project.notebooks / "01_make.ipynb",
        tmp_path / "out.ipynb",
        {"RUN_DIR": str(tmp_path)},
        run=tmp_path,
        environment={},
        on_cell=lambda *cell: cells.append(cell),
    )
    assert cells == [("01_make", number, 4) for number in (1, 2, 3, 4)]


def test_run_is_described_for_mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("REGISTERED_MODEL_NAME", "shops")
    panel = panel_of(np.arange(70.0), np.arange(70.0))
    by_hand = describe_run(tmp_path, panel)
    assert (by_hand["data"], by_hand["profile"]) == ("synthetic", "none")
    plan = {"profile": "ci", "stages": {"01_synthesis": {"DATA": "/data/shops.csv"}}}
    (tmp_path / "parameters.json").write_text(json.dumps(plan))
    assert describe_run(tmp_path, panel) == {
        "data": "shops.csv",
        "series": "2",
        "rows": "140",
        "first_day": str(panel.dates.min()),
        "last_day": str(panel.dates.max()),
        "profile": "ci",
        "registered_model": "shops",
        "run_folder": str(tmp_path),
    }


def test_backtest_into_a_folder_that_cannot_be_made_is_refused_before_it_runs(project, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match=r"OUT: cannot make the folder .*file/judged"):
        backtest.run_backtest(
            out=tmp_path / "file" / "judged",
            notebooks=project.notebooks,
            settings=project.settings,
        )
    assert not (project.settings.var_dir / "runs").exists()
