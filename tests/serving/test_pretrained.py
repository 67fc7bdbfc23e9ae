"""The service before anything was trained: the pretrained network answers, and says so."""

from contextlib import suppress

import numpy as np
import pytest

from lib.inference import PRETRAINED_ARTIFACT, PRETRAINED_VERSION
from serving import schemas
from serving.app import create_app
from serving.explanations.explainer import Explainer
from serving.model.live_model import LAST_KNOWN_GOOD, PRETRAINED, LiveModel, RegistryAwayError
from serving.schemas.examples import example_history, example_rows
from tests.panels import lively_panel
from tests.serving.live import Shelf, close, settings_of


def attempt(model):
    """What the background thread does at each poll."""
    with suppress(RegistryAwayError):
        model._attempt()
    current = model.current()
    return current and (current.version, current.source)


@pytest.fixture
def live(tmp_path):
    def make(shelf, **changes):
        settings = settings_of(tmp_path, **changes)
        return LiveModel(settings, registry=lambda: shelf)

    return make


@pytest.fixture
def client(tmp_path):
    settings = settings_of(tmp_path)
    model = LiveModel(settings, registry=lambda: Shelf())
    attempt(model)
    model.start = lambda: None
    app = create_app(settings, model=model)
    yield app.test_client()
    close(app)


def test_pretrained_network_is_served_until_something_is_trained(live):
    shelf = Shelf()
    model = live(shelf)
    assert attempt(model) == (PRETRAINED_VERSION, PRETRAINED)
    assert "make train" in model.detail()
    shelf.aliases["staging"] = 1
    assert attempt(model) == (1, "staging")
    shelf.aliases["production"] = 2
    assert attempt(model) == (2, "production")
    assert model.detail() == ""


def test_registry_that_does_not_answer_is_no_empty_one(live):
    shelf = Shelf()
    shelf.error = OSError("away")
    model = live(shelf)
    assert attempt(model) is None
    shelf.error = None
    assert attempt(model) == (PRETRAINED_VERSION, PRETRAINED)


def test_last_known_good_model_goes_before_the_pretrained_network(live):
    assert attempt(live(Shelf(production=1))) == (1, "production")
    assert attempt(live(Shelf())) == (1, LAST_KNOWN_GOOD)


def test_refused_version_is_not_replaced_by_the_pretrained_network(live, tmp_path):
    shelf = Shelf(production=1)
    shelf.folders[1] = tmp_path / "nothing"
    (tmp_path / "nothing").mkdir()
    assert attempt(live(shelf)) is None


def test_pretrained_network_can_be_switched_off(live):
    assert attempt(live(Shelf(), serve_pretrained=False)) is None


def test_health_and_card_name_the_pretrained_network(client):
    for path in ("/health", "/health/ready"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert (answer.json["status"], answer.json["source"]) == ("degraded", PRETRAINED)
        assert "make train" in answer.json["detail"]
        schemas.Health.model_validate(answer.json)
    card = client.get("/model").json
    assert (card["source"], card["model_version"], card["horizon"]) == (PRETRAINED, 0, 28)
    schemas.ModelCard.model_validate(card)


def test_predict_names_its_source(client):
    answer = client.post("/predict", json={"sequence": example_rows()})
    assert answer.status_code == 200, answer.text
    assert answer.json["source"] == PRETRAINED
    assert "no model has been trained yet" in answer.json["warnings"][-1]["detail"]
    schemas.Prediction.model_validate(answer.json)


@pytest.mark.parametrize("days", [1, 14, 120])
def test_forecast_names_its_source_and_has_rising_quantiles(client, days):
    history = example_history()[-days:]
    factor = [row | {"fator_externo": 20.0 + i % 5} for i, row in enumerate(history)]
    for rows in (history, factor):
        answer = client.post("/forecast", json={"history": rows})
        assert answer.status_code == 200, answer.text
        assert answer.json["source"] == PRETRAINED
        assert "no model has been trained yet" in answer.json["warnings"][-1]["detail"]
        [one] = answer.json["forecasts"]
        assert len(one["forecast"]) == 28
        for day in one["forecast"]:
            quantiles = list(day["quantiles"].values())
            assert quantiles == sorted(quantiles)
            assert quantiles[0] >= 0


def test_explanation_of_another_pretrained_network_is_another_one(client, monkeypatch):
    ids = []
    for edition in ("one", "one", "other"):
        monkeypatch.setattr("serving.routes.explanations._pretrained_edition", lambda e=edition: e)
        answer = client.post("/request-explanation", json={"sequence": example_rows()})
        assert answer.status_code == 202, answer.text
        ids.append(answer.json["explanation_id"])
    assert ids[0] == ids[1] != ids[2]


def test_unit_and_sign_of_a_series_do_not_matter(client):
    panel = lively_panel(days=120, series=1, missing=0.0, covariates=False)
    days = [str(day) for day in panel.dates]

    def medians(scale, shift):
        values = panel.values * scale + shift
        history = [
            {"date": day, "value": float(value)} for day, value in zip(days, values, strict=True)
        ]
        answer = client.post("/forecast", json={"history": history}).json
        return np.array([day["prediction"] for day in answer["forecasts"][0]["forecast"]])

    once = medians(1, 0)
    np.testing.assert_allclose(medians(1000, 0), 1000 * once, rtol=1e-3)
    assert (medians(1, -10 * panel.values.max()) < 0).all()


def test_explanation_of_the_pretrained_network(tmp_path):
    explainer = Explainer(settings_of(tmp_path))
    result, picture = explainer({"sequence": example_rows()}, PRETRAINED_VERSION)
    assert picture.startswith(b"\x89PNG")
    assert result
    assert PRETRAINED_ARTIFACT.is_dir()
