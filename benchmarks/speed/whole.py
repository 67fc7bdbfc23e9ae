"""Measure `make train` against the cells of the same notebooks in one process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.speed.paired import Row, paired, row
from lib.settings import ROOT

ROUNDS = 2  # a round is minutes


def overhead_rows(profile: str = "default") -> list[Row]:
    """Measure the wall time of the main job, each way in a new folder, nothing registered.

    Both draw every table and picture; papermill also keeps them, in notebooks and as HTML.
    """

    def by_papermill() -> None:
        with tempfile.TemporaryDirectory() as name:
            storage = f"STUDY_STORAGE=sqlite:///{name}/study.db"
            train = ["lib.pipeline", "train", "--profile", profile, "REGISTER=false"]
            _start(*train, "--run-dir", f"{name}/run", storage)

    def in_one_process() -> None:
        with tempfile.TemporaryDirectory() as name:
            _start("benchmarks.speed.whole", profile, name)

    peer_name = "the same cells in one process"
    ours, peers = paired(by_papermill, {peer_name: in_one_process}, ROUNDS)
    return [row("make train", ours, peers[peer_name], peer_name, "s", more=False)]


def _start(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", *arguments], check=True, cwd=ROOT, capture_output=True)


def _run_cells(profile: str, folder: Path) -> None:
    """Run the cells of the four notebooks in the shell that a kernel would run them in."""
    from IPython.terminal.interactiveshell import TerminalInteractiveShell
    from IPython.utils.capture import capture_output

    from lib.pipeline import declared_parameters, load_profile, read_notebook, resolve_parameters

    paths = sorted((ROOT / "notebooks").glob("0[1-4]_*.ipynb"))
    known = {path.stem: declared_parameters(path) for path in paths}
    sections = load_profile(ROOT / "notebooks" / "params" / f"{profile}.yaml")
    storage = f"sqlite:///{folder}/study.db"
    values = resolve_parameters(known, sections, {"REGISTER": "false", "STUDY_STORAGE": storage})
    shell = TerminalInteractiveShell.instance()
    shell.display_formatter.active_types = shell.display_formatter.format_types  # not text alone
    shell.run_line_magic("matplotlib", "inline")
    for path in paths:
        shell.reset(new_session=True)
        for cell in read_notebook(path):
            with capture_output():
                shell.run_cell(cell["source"]).raise_error()
            if "parameters" in cell["tags"]:
                shell.push(values[path.stem] | {"RUN_DIR": str(folder / "run")})


if __name__ == "__main__":
    _run_cells(sys.argv[1], Path(sys.argv[2]))
