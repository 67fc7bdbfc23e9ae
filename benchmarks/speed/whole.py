"""What papermill costs: `make train` against the cells of the same notebooks in one process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.speed.paired import Row, row, seconds_of
from lib.settings import ROOT


def overhead_rows(profile: str = "default") -> list[Row]:
    """Wall time of the main job, each way once, in folders of their own, nothing registered."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = ["-m", "lib.pipeline", "train", "--profile", profile, "REGISTER=false"]
        train += ["--run-dir", str(folder / "a"), f"STUDY_STORAGE=sqlite:///{folder}/a.db"]
        ours = seconds_of(lambda: _start(*train))
        once = ["-m", "benchmarks.speed.whole", profile, str(folder / "b")]
        peer = seconds_of(lambda: _start(*once))
    return [row("make train", ours, peer, "the same cells in one process", "s", more=False)]


def _start(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, capture_output=True)


def _in_one_process(profile: str, run: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from IPython.display import display

    from lib.parameters import declared, load_profile, read_notebook, resolve

    paths = sorted((ROOT / "notebooks").glob("0[1-4]_*.ipynb"))
    known = {path.stem: declared(path) for path in paths}
    sections = load_profile(ROOT / "notebooks" / "params" / f"{profile}.yaml")
    storage = f"sqlite:///{run.parent}/b.db"
    values = resolve(known, sections, {"REGISTER": "false", "STUDY_STORAGE": storage})
    for path in paths:
        names: dict[str, object] = {"display": display}
        for cell in read_notebook(path):
            exec(cell["source"], names)
            if "parameters" in cell["tags"]:
                names |= values[path.stem] | {"RUN_DIR": str(run)}


if __name__ == "__main__":
    _in_one_process(sys.argv[1], Path(sys.argv[2]))
