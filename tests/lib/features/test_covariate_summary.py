"""A first look at covariates: coverage, correlation and lag."""

import numpy as np
import pytest

from lib.data.covariates import Covariate
from lib.features.covariate_summary import summarize_covariates
from tests.lib.features.test_covariate_effects import DAYS, draw, number, panel_with


def test_correlation_is_found_at_the_lag_of_the_effect():
    x = draw()
    panel = panel_with(number("x", x), effect=0.2 * np.roll(x, 2))
    row = summarize_covariates(panel).set_index("covariate").loc["x"]
    assert row["lag"] == 2
    assert row["correlation"] > 0.8


def test_a_season_that_both_share_does_not_count():
    season = np.sin(np.arange(DAYS) / 58)
    panel = panel_with(number("x", season + 0.01 * draw()), effect=0.5 * season)
    row = summarize_covariates(panel).set_index("covariate").loc["x"]
    assert abs(row["correlation"]) < 0.3


def test_every_covariate_has_a_row_with_what_is_known_of_it():
    half = np.where(np.arange(DAYS) < DAYS // 2, 1.0, np.nan)
    panel = panel_with(
        number("half", half * draw()),
        Covariate("region", "static", "category", np.zeros(DAYS), ("north",)),
    )
    table = summarize_covariates(panel).set_index("covariate")
    assert table.loc["half", "known_%"] == pytest.approx(50)
    assert table.loc["region", "role"] == "static"
    assert np.isnan(table.loc["region", "correlation"])


def test_a_past_covariate_shows_by_how_many_days_it_leads():
    x = draw()
    led = panel_with(Covariate("visits", "past", "number", x), effect=0.2 * np.roll(x, 5))
    row = summarize_covariates(led).set_index("covariate").loc["visits"]
    assert row["lag"] == 5
    assert row["correlation"] > 0.8
