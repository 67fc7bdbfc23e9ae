"""Who may import whom: the README's rooms, held to."""

import ast
import subprocess
import sys

import pytest

from lib.settings import ROOT

# A room and what it may import of ours. A module named room_something belongs to the room.
ALLOWED = {
    "settings": set(),
    "panel": set(),
    "series": {"panel", "settings"},
    "effects": {"synthesis"},  # for its types
    "synthesis": {"effects", "panel", "series"},
    "features": {"panel"},
    "undated": {"features"},
    "season": {"features"},
    "network": {"features", "season"},
    "model": {"features", "network", "season"},
    "pretrained": {"model"},
    "pretraining": {
        "features",
        "fitting",
        "model",
        "panel",
        "pretrained",
        "settings",
        "synthesis",
        "training",
    },
    "training": {"pretrained", "features", "model", "panel", "season"},
    "augmentation": {"features", "panel", "training"},
    "fitting": {"pretrained", "augmentation", "model", "panel", "season", "training"},
    "calibration": {"fitting", "season", "training"},
    "search": {"pretrained", "model", "panel", "settings", "training"},
    "study": {"children", "search"},
    "tuning": {"fitting", "model", "panel", "search", "settings", "study", "training"},
    "distributed": {"fitting", "model", "panel", "settings", "training", "tuning"},
    "forecaster": {"features", "panel"},
    "export": {"fitting", "features", "forecaster", "model", "panel", "training"},
    "backtest": {"features", "forecaster", "panel"},
    "gate": set(),
    "pyfunc": {"forecaster", "panel"},
    "tracking": {"forecaster", "pyfunc", "settings"},
    "registry": {"forecaster", "gate", "settings", "tracking"},
    "batch": {"forecaster", "panel", "registry", "series", "settings"},
    "shapley": set(),
    "explanation": {"features", "forecaster", "panel", "shapley"},
    "store": {"migrations"},
    "migrations": {"store"},  # the tables alone
    "leases": {"children", "store"},
    "children": set(),
    "retraining": {
        "children",
        "features",
        "leases",
        "panel",
        "parameters",
        "series",
        "settings",
        "store",
        "verdict",
    },
    "alerts": {"settings", "store"},
    "monitor": {
        "alerts",
        "business",
        "drift",
        "forecaster",
        "leases",
        "live_accuracy",
        "monitoring",
        "registry",
        "retraining",
        "settings",
        "stages",
        "store",
    },
    "checks": set(),
    "truth": set(),
    "live_accuracy": {"backtest", "checks", "truth"},
    "drift": {"checks", "features"},
    "business": {"checks"},
    "verdict": {"checks", "drift", "live_accuracy"},
    "monitoring": {
        "backtest",
        "business",
        "checks",
        "drift",
        "features",
        "forecaster",
        "live_accuracy",
        "panel",
        "series",
        "settings",
        "store",
        "truth",
        "verdict",
    },
    "plots": {
        "backtest",
        "business",
        "drift",
        "explanation",
        "features",
        "live_accuracy",
        "monitoring",
        "panel",
        "series",
    },
    "parameters": set(),
    "stages": {"parameters"},
    "execution": {"stages"},
    "pipeline": {"execution", "parameters", "settings", "stages"},
}
HEAVY = {"mlflow", "shap", "torch"}
TORCH = {
    "augmentation",
    "fitting",
    "pretrained",
    "pretraining",
    "season",
    "network",
    "model",
    "training",
    "distributed",
    "calibration",
    "tuning",
    "export",
}
MODULES = sorted(path.stem for path in (ROOT / "lib").glob("*.py") if path.stem != "__init__")


def room_of(module):
    parts = module.split("_")
    return next(
        ("_".join(parts[:n]) for n in range(len(parts), 0, -1) if "_".join(parts[:n]) in ALLOWED),
        None,
    )


def imported(path, *, types=True):
    """Dotted names that a file imports anywhere in it, `types` only for a type checker too."""
    tree = ast.parse(path.read_text())
    if not types:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(module, *, types=True):
    names = [name.split(".") for name in imported(ROOT / "lib" / f"{module}.py", types=types)]
    return {name[1] for name in names if name[0] == "lib" and len(name) > 1}


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_the_rooms_it_may(module):
    room = room_of(module)
    assert room is not None, f"lib/{module}.py: a new room says in ALLOWED what it may import"
    rooms = {room_of(name) for name in ours(module)} - {room}
    assert rooms <= ALLOWED[room], f"lib/{module}.py imports {sorted(rooms - ALLOWED[room])}"


def test_lib_imports_no_serving_and_no_notebook():
    for module in MODULES:
        roots = {name.split(".")[0] for name in imported(ROOT / "lib" / f"{module}.py")}
        assert not roots & {"serving", "notebooks", "tests", "benchmarks"}, module


def test_torch_stays_in_the_rooms_of_the_network():
    found = {
        module
        for module in MODULES
        if "torch" in {n.split(".")[0] for n in imported(ROOT / "lib" / f"{module}.py")}
    }
    assert {room_of(module) for module in found} <= TORCH


def test_modules_import_each_other_in_no_circle():
    graph = {module: ours(module, types=False) & set(MODULES) for module in MODULES}
    while leaves := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in leaves}
    assert not graph, f"in a circle or above one: {sorted(graph)}"


@pytest.mark.parametrize(
    "module",
    [
        "lib.features.engineering",
        "lib.inference.served_model",
        "lib.evaluation.backtest",
        "lib.data.loading",
        "lib.data.synthesis",
        "lib.monitoring.report",
    ],
)
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
