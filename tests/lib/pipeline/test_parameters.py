import nbformat
import pytest

from lib.pipeline.parameters import (
    Parameter,
    ParameterError,
    convert,
    declared_parameters,
    load_profile,
    resolve_parameters,
)


def write_notebook(path, parameters):
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


@pytest.fixture
def known():
    days = Parameter("DAYS", "int", "400", "days")
    rate = Parameter("RATE", "float", "0.1", "")
    run = Parameter("RUN_DIR", "str", "'var/runs/explore'", "")
    return {"01_make": {"DAYS": days, "RUN_DIR": run}, "02_use": {"DAYS": days, "RATE": rate}}


def test_declared_reads_name_type_default_and_comment(tmp_path):
    source = (
        'DAYS: int = 400  # length = days\nHIDDEN: "list[int]" = [\n    16,\n    32,\n]  # units'
    )
    found = declared_parameters(write_notebook(tmp_path / "01_a.ipynb", source))
    assert found["DAYS"] == Parameter("DAYS", "int", "400", "length = days")
    assert str(found["HIDDEN"]) == "HIDDEN: 'list[int]' = [16, 32]  # units"
    assert (found["DAYS"].value, found["HIDDEN"].value) == (400, [16, 32])


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


def test_resolve_keeps_to_the_least_that_the_help_text_says():
    known = {"01_make": {"DAYS": Parameter("DAYS", "int", "400", "of each, at least 1; no gap")}}
    assert resolve_parameters(known, {}, {"DAYS": "1"}) == {"01_make": {"DAYS": 1}}
    with pytest.raises(ParameterError, match="DAYS of 01_make: expected at least 1, got 0"):
        resolve_parameters(known, {}, {"DAYS": "0"})
    with pytest.raises(ParameterError, match="expected at least 1, got -3"):
        resolve_parameters(known, {"common": {"DAYS": -3}}, {})


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("3", "int", 3),
        ("-1e-3", "float", -0.001),
        ("Yes", "bool", True),
        ("0", "bool", False),
        ("a b", "str", "a b"),
        ("", "str", ""),
        ("1, 2", "list[int]", [1, 2]),
        ("[1, 2]", "list[int]", [1, 2]),
        ("", "list[int]", []),
        ("0.5,1", "'list[float]'", [0.5, 1.0]),
        ("a,b", "tuple[str, ...]", ("a", "b")),
        ("1,x", "tuple[int, str]", (1, "x")),
        ("{'a': 1}", "dict[str, float]", {"a": 1.0}),
        ("none", "int | None", None),
        ("7", "str | int", 7),
        ("7 days", "int | str", "7 days"),
        ("median", "Literal['mean', 'median']", "median"),
        ("[1, 'a']", "list", [1, "a"]),
    ],
)
def test_convert_reads_text_by_its_type(text, annotation, value):
    got = convert(text, annotation, text=True)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "annotation", "text"),
    [
        ("3.5", "int", True),
        ("maybe", "bool", True),
        ("1,b", "list[int]", True),
        ("[1, 'b']", "list[int]", True),
        ("(1, 2, 3)", "tuple[int, str]", True),
        ("mode", "Literal['mean', 'median']", True),
        ("open('x')", "dict", True),
        ("1", "Path", True),
        ("3", "int", False),
        (True, "int", False),
        (True, "float", False),
        (1, "bool", False),
        (1, "str", False),
        ("1,2", "list[int]", False),
        (None, "str", False),
    ],
)
def test_convert_refuses_another_type(value, annotation, text):
    with pytest.raises(ValueError, match="expected"):
        convert(value, annotation, text=text)


def test_convert_takes_yamls_text_for_a_float_with_an_exponent():
    assert convert("1e-3", "float", text=False) == 0.001


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
