"""Which modules of the library a notebook uses, by its imports."""

import shutil

import pytest

from lib.pipeline.dependencies import used_code_hash, used_files
from lib.pipeline.notebooks import read_notebook
from lib.settings import NOTEBOOKS, ROOT

TOOLBOX = {
    "__init__.py": "",
    "flat.py": "",
    "data/__init__.py": "import lazy_loader as lazy",
    "data/__init__.pyi": "from .panel import Panel\nfrom .plots import plot, plot_all\n",
    "data/panel.py": "from toolbox import flat",
    "data/plots.py": "from toolbox.data.panel import Panel",
    "models/__init__.py": "import lazy_loader as lazy",
    "models/__init__.pyi": "from .lstm import LSTM\n",
    "models/lstm.py": "def late():\n    from . import config\n    from ..data import plot",
    "models/config.py": "",
}


@pytest.fixture
def toolbox(tmp_path):
    package = tmp_path / "toolbox"
    for name, source in TOOLBOX.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)
    return package


DATA = ["__init__", "data/__init__"]
PANEL = [*DATA, "data/panel", "flat"]
PLOTS = [*DATA, "data/panel", "data/plots", "flat"]


@pytest.mark.parametrize(
    ("cells", "modules"),
    [
        (["import numpy as np\nx = np.data.panel"], []),
        (["import toolbox.flat"], ["__init__", "flat"]),
        (["from toolbox import flat"], ["__init__", "flat"]),
        (["from toolbox.data import Panel"], PANEL),
        (["from toolbox.data import *"], PLOTS),
        (["from toolbox import data"], DATA),  # nothing of the face is used
        (["from toolbox import data", "data.Panel()"], PANEL),
        (["from toolbox import data as d", "d.plot()"], PLOTS),
        (["import toolbox.data as d", "d.plot()"], PLOTS),
        (["import toolbox.data", "toolbox.data.Panel"], PANEL),
        (["import toolbox", "toolbox.flat"], ["__init__", "flat"]),
        (["from toolbox import data", "vars(data)"], PLOTS),  # any of its names
        (['command = ["python", "-m", "toolbox.data.panel", "job"]'], PANEL),
        (["%matplotlib inline\nfrom toolbox import flat", "not python"], ["__init__", "flat"]),
        (
            ["from toolbox.models import LSTM"],
            [*PLOTS, "models/__init__", "models/config", "models/lstm"],
        ),
    ],
)
def test_used_files_follow_imports_and_lazy_faces(toolbox, cells, modules):
    files = [
        file.relative_to(toolbox).with_suffix("").as_posix() for file in used_files(cells, toolbox)
    ]
    assert files == sorted(modules)


def test_used_code_hash_changes_with_a_used_file_only(toolbox):
    cells = ["from toolbox.data import Panel"]
    before = used_code_hash(cells, toolbox)
    (toolbox / "data" / "plots.py").write_text("# changed")
    assert used_code_hash(cells, toolbox) == before
    (toolbox / "flat.py").write_text("# changed")
    assert used_code_hash(cells, toolbox) != before


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ("monitoring/alerts.py", set()),
        ("training/loop.py", {"02_tuning", "03_training"}),
        ("explanation/shapley.py", {"04_explanation"}),
    ],
)
def test_stages_depend_on_the_modules_that_their_notebooks_use(tmp_path, changed, stages):
    copy = tmp_path / "lib"
    shutil.copytree(
        ROOT / "lib", copy, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    cells = {
        path.stem: [cell["source"] for cell in read_notebook(path)]
        for path in NOTEBOOKS.glob("0[1-4]_*.ipynb")
    }
    before = {stage: used_code_hash(sources, copy) for stage, sources in cells.items()}
    (copy / changed).write_text((copy / changed).read_text() + "\n# a comment\n")
    after = {stage: used_code_hash(sources, copy) for stage, sources in cells.items()}
    assert {stage for stage in cells if before[stage] != after[stage]} == stages
