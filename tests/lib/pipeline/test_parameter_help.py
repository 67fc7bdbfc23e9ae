import nbformat

from lib.pipeline.parameter_help import describe_notebook, describe_training


def write_notebooks(folder):
    sources = {
        "01_make": "from pydantic import PositiveInt\nDAYS: PositiveInt = 400  # length|days\n"
        'RUN_DIR: str = ""',
        "05_watch": 'SOURCE: str = ""  # file',
    }
    (folder / "params").mkdir()
    (folder / "params" / "ci.yaml").write_text("common: {}\n")
    (folder / "params" / "big.yaml").write_text("01_make: {DAYS: 900}\n")
    for name, source in sources.items():
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / f"{name}.ipynb")
    return folder


def test_help_shows_the_values_of_the_profile_and_of_the_command(tmp_path):
    notebooks = write_notebooks(tmp_path)
    line = "  DAYS: int = 900  # length|days; at least 1"
    heading = "parameters of 01_make, with their values under big:"
    assert describe_training(notebooks, "big", {}) == f"{heading}\n{line}"
    assert "DAYS: int = 3  #" in describe_training(notebooks, "big", {"DAYS": "3", "OTHER": "1"})
    assert describe_notebook(notebooks, "05_*.ipynb") == "parameters:\n  SOURCE: str = ''  # file"
