from typing import Annotated, Literal

import nbformat
import pytest
from papermill import inspect_notebook
from pydantic import Field, PositiveInt

from lib.pipeline.parameter_types import OptionalDay, Share
from lib.pipeline.parameters import (
    Parameter,
    ParameterError,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.profile_values import declared_stages
from lib.pipeline.profiles import load_profile
from lib.settings import NOTEBOOKS


def write_notebook(path, parameters, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def known():
    days = Parameter("DAYS", int, "400", "days")
    rate = Parameter("RATE", float, "0.1", "")
    run = Parameter("RUN_DIR", str, "'var/runs/explore'", "")
    return {"01_make": {"DAYS": days, "RUN_DIR": run}, "02_use": {"DAYS": days, "RATE": rate}}


def test_declared_reads_name_type_default_and_comment(tmp_path):
    source = (
        'DAYS: int = 400  # length = days\nHIDDEN: "list[int]" = [\n    16,\n    32,\n]  # units'
    )
    found = declared_parameters(write_notebook(tmp_path / "01_a.ipynb", source))
    assert found["DAYS"] == Parameter("DAYS", int, "400", "length = days")
    assert str(found["HIDDEN"]) == "HIDDEN: list[int] = [16, 32]  # units"
    assert (found["DAYS"].value, found["HIDDEN"].value) == (400, [16, 32])


def test_declared_finds_a_type_where_any_cell_imports_it(tmp_path):
    imports = "from pydantic import PositiveInt\nimport no_such_module\n%matplotlib inline"
    source = """from typing import Annotated
from pydantic import Field
from lib.pipeline import Share
import lib.pipeline as steps
HORIZON: PositiveInt = 28  # days ahead
LAYERS: Annotated[int, Field(ge=1, le=4)] = 1
CHANGES: Share = 0.1  # of windows
FIRST: steps.OptionalDay = ""
LOSS: Annotated[float, Field(gt=0)] = 0.5"""
    path = write_notebook(tmp_path / "01_a.ipynb", source, imports.replace("%", "# %"))
    assert [str(parameter) for parameter in declared_parameters(path).values()] == [
        "HORIZON: int = 28  # days ahead; at least 1",
        "LAYERS: int = 1  # 1 to 4",
        "CHANGES: float = 0.1  # of windows; 0 to 1",
        "FIRST: str = ''  # YYYY-MM-DD or empty",
        "LOSS: float = 0.5  # more than 0",
    ]


@pytest.mark.parametrize("annotation", ["Path", "np.ndarray", "missing.Type"])
def test_declared_refuses_a_type_that_it_cannot_check(tmp_path, annotation):
    source = f"import numpy as np\nimport missing\nPLACE: {annotation} = None"
    with pytest.raises(ParameterError, match=r"PLACE: type .*expected a type of Python or one"):
        declared_parameters(write_notebook(tmp_path / "01_a.ipynb", source))


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("0*.ipynb")), ids=lambda path: path.stem)
def test_declared_parameters_are_those_that_papermill_sees(notebook):
    declared = declared_parameters(notebook)
    assert declared
    assert inspect_notebook(notebook).keys() == declared.keys()
    for parameter in declared.values():
        assert parameter.comment
        assert parameter.check(parameter.value) == parameter.value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("A: int = 1\nDAYS = 400", "line 2: `DAYS = 400` has no type"),
        ("DAYS: int = (", "line 1"),
    ],
)
def test_declared_names_the_line_that_is_no_declaration(tmp_path, source, message):
    with pytest.raises(ParameterError, match=message):
        declared_parameters(write_notebook(tmp_path / "01_a.ipynb", source))


def test_declared_says_that_a_file_is_no_notebook(tmp_path):
    (tmp_path / "01_a.ipynb").write_text("[]")
    with pytest.raises(ParameterError, match="expected a Jupyter notebook"):
        declared_parameters(tmp_path / "01_a.ipynb")
    with pytest.raises(ParameterError, match="no notebook"):
        declared_parameters(tmp_path / "02_b.ipynb")


def test_resolve_override_goes_before_section_before_common(known):
    profile = {"common": {"DAYS": 1}, "02_use": {"DAYS": 2, "RATE": 1}}
    assert resolve_parameters(known, profile, {}) == {
        "01_make": {"DAYS": 1},
        "02_use": {"DAYS": 2, "RATE": 1.0},
    }
    assert resolve_parameters(known, profile, {"DAYS": "3"})["02_use"] == {"DAYS": 3, "RATE": 1.0}


def test_resolve_leaves_the_notebooks_own_default_alone(known):
    assert resolve_parameters(known, {"02_use": {"RATE": 0.5}}, {}) == {
        "01_make": {},
        "02_use": {"RATE": 0.5},
    }


def test_resolve_lists_every_fault_and_what_is_allowed(known):
    with pytest.raises(ParameterError) as caught:
        resolve_parameters(
            known,
            {"01_mak": {}, "01_make": {"RATE": 1}, "common": {"days": 1}},
            {"RATES": "1", "DAYS": "soon", "RUN_DIR": "x"},
        )
    message = str(caught.value)
    for part in (
        "unknown section '01_mak': did you mean 01_make?",
        "01_make: unknown parameter 'RATE'",
        "common: unknown parameter 'days': did you mean DAYS?",
        "unknown parameter 'RATES': did you mean RATE?",
        "DAYS of 01_make: expected int, got 'soon'",
        "use --run-dir",
        "DAYS: int = 400  # days",
    ):
        assert part in message


def test_resolve_keeps_to_the_bounds_of_the_type():
    known = {"01_make": {"DAYS": Parameter("DAYS", PositiveInt, "400", "of each, at least 9")}}
    assert resolve_parameters(known, {}, {"DAYS": "1"}) == {"01_make": {"DAYS": 1}}
    with pytest.raises(ParameterError, match="DAYS of 01_make: expected int, at least 1, got '0'"):
        resolve_parameters(known, {}, {"DAYS": "0"})
    with pytest.raises(ParameterError, match="expected int, at least 1, got -3 in the profile"):
        resolve_parameters(known, {"common": {"DAYS": -3}}, {})


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("-1e-3", float, -0.001),
        ("Yes", bool, True),
        ("0", bool, False),
        ("a b", str, "a b"),
        ("", str, ""),
        ("3", str, "3"),
        ("none", str, "none"),
        ("'a'", str, "'a'"),
        ("1, 2", list[int], [1, 2]),
        ("[1, 2]", list[int], [1, 2]),
        ("", list[int], []),
        ("0.5,1", list[float], [0.5, 1.0]),
        ("a,b", tuple[str, ...], ("a", "b")),
        ("1,x", tuple[int, str], (1, "x")),
        ("{'a': 1}", dict[str, float], {"a": 1.0}),
        ("none", int | None, None),
        ("7", str | int, 7),
        ("7 days", int | str, "7 days"),
        ("median", Literal["mean", "median"], "median"),
        ("2", Literal[1, 2], 2),
        ("[1, 'a']", list, [1, "a"]),
        ("2024-02-29", OptionalDay, "2024-02-29"),
        ("", OptionalDay, ""),
        ("1", Share, 1.0),
    ],
)
def test_parse_reads_text_by_its_type(text, hint, value):
    got = Parameter("NAME", hint, "0").parse(text)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("3.5", int),
        ("True", int),
        ("maybe", bool),
        ("1,b", list[int]),
        ("[1, 'b']", list[int]),
        ("(1, 2, 3)", tuple[int, str]),
        ("mode", Literal["mean", "median"]),
        ("open('x')", dict),
        ("2023-02-29", OptionalDay),
        ("1.5", Share),
        ("5", Annotated[int, Field(le=4)]),
    ],
)
def test_parse_refuses_another_type(text, hint):
    with pytest.raises(ValueError, match=r"expected .*, got "):
        Parameter("NAME", hint, "0").parse(text)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("3", int),
        (True, int),
        (True, float),
        (1, bool),
        (1, str),
        ("1,2", list[int]),
        (None, str),
        (0, PositiveInt),
    ],
)
def test_check_refuses_another_type(value, hint):
    with pytest.raises(ValueError, match=r"expected .*, got "):
        Parameter("NAME", hint, "0").check(value)


def test_check_takes_what_yaml_can_say_of_a_type():
    assert Parameter("NAME", float, "0").check(1) == 1.0
    assert Parameter("NAME", tuple[int, ...], "()").check([1, 2]) == (1, 2)


def test_profile_reads_a_number_with_an_exponent(tmp_path):
    (tmp_path / "ci.yaml").write_text("common: {RATE: 1e-3, NAME: 1e-3x}\n")
    assert load_profile(tmp_path / "ci.yaml") == {"common": {"RATE": 0.001, "NAME": "1e-3x"}}


def test_profile_that_is_missing_names_the_others(tmp_path):
    (tmp_path / "ci.yaml").write_text("common:\n")
    assert load_profile(tmp_path / "ci.yaml") == {"common": {}}
    with pytest.raises(ParameterError, match=r"no profile 'big' .* there is: ci"):
        load_profile(tmp_path / "big.yaml")


@pytest.mark.parametrize("text", ["- a", "common: 3", "a: [", "common: [1]"])
def test_profile_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "ci.yaml").write_text(text)
    with pytest.raises(ParameterError, match=r"ci\.yaml"):
        load_profile(tmp_path / "ci.yaml")


@pytest.mark.parametrize(
    ("text", "names", "known"),
    [
        ("price,promo", ["price", "promo"], True),
        ("price, day of pay", ["price", "day of pay"], True),
        ('["a, b"]', ["a, b"], True),
        ("temp", ["temp"], True),
        ("0", [], False),
        ("false", [], False),
        ("False", [], False),
        ("no", [], False),
        ("1", [], True),
        ("true", [], True),
        ("", [], True),
    ],
)
def test_covariates_name_columns_or_switch_the_backtest(text, names, known):
    stages = declared_stages()
    values = resolve_parameters(stages, {}, {"COVARIATES": text})
    assert values["01_synthesis"]["COVARIATES"] == names
    assert values["03_training"]["COVARIATES"] is known


def test_switch_of_a_profile_stays_a_switch():
    values = resolve_parameters(declared_stages(), {"03_training": {"COVARIATES": False}}, {})
    assert values["03_training"]["COVARIATES"] is False


def test_horizon_is_bounded_by_what_the_network_can_forecast():
    from lib.features import MAX_HORIZON
    from lib.pipeline import declared_stages

    horizon = declared_stages()["02_tuning"]["HORIZON"]
    assert horizon.bounds == f"1 to {MAX_HORIZON}"
