"""Requests made up from the API's own description: valid, nearly valid, and not at all."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks

FAULTS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def description(app):
    return schemathesis.openapi.from_wsgi("/openapi.json", app)


CALLS = [
    ("POST", "/predict"),
    ("POST", "/forecast"),
    ("POST", "/request-explanation"),
    ("GET", "/explanations/{explanation_id}"),
    ("GET", "/explanations/{explanation_id}/plot.png"),
    ("POST", "/actuals"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/health/live"),
    ("GET", "/model"),
    ("GET", "/metrics"),
    ("GET", "/monitoring"),
]


def test_description_holds_the_calls_that_are_tried_here(description):
    found = [operation.ok() for operation in description.get_all_operations()]
    assert {(o.method.upper(), o.path) for o in found} == set(CALLS)


def test_description_lists_every_call_once_under_its_tag(app):
    spec = app.test_client().get("/openapi.json").json
    tags = {
        (method.upper(), path): operation["tags"]
        for path, item in spec["paths"].items()
        for method, operation in item.items()
    }
    assert tags.keys() == set(CALLS)
    assert [call for call, names in tags.items() if len(names) != 1] == []
    explained = [path for (_, path), names in tags.items() if names == ["explanations"]]
    assert set(explained) == {path for _, path in CALLS if "explanation" in path}
    assert tags["POST", "/actuals"] == ["actuals"]
    listed = [tag["name"] for tag in spec["tags"]]
    assert sorted(listed) == sorted({name for names in tags.values() for name in names})


VALID, NOT_VALID = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
# Of the calls without a body nothing can be wrong: an id may be any text.
REQUESTS = [(*call, VALID) for call in CALLS] + [(*c, NOT_VALID) for c in CALLS if c[0] == "POST"]


@pytest.mark.parametrize(("method", "path", "mode"), REQUESTS)
def test_call_never_answers_with_a_server_error_or_what_is_not_documented(
    description, method, path, mode
):
    cases = description[path][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case):
        case.call_and_validate(checks=FAULTS)

    ask()
