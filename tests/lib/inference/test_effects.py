"""Forecasts with covariates: known ahead, hidden, and told apart by nothing that follows."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data.covariates import Covariate
from lib.data.panel import Panel
from lib.forecasting.fitting import take_pretrained
from lib.inference.artifact import EFFECTS, Contract
from lib.inference.effects import MAX_PATTERNS, _merge
from lib.inference.served_model import ServedModel, forecast_panel

DAYS, HORIZON, LEARNED = 400, 14, 330


def promoted_panel():
    """One series that a temperature and a promotion drive."""
    rng = np.random.default_rng(0)
    temperature = 20 + rng.normal(0, 4, DAYS)
    promotion = (rng.random(DAYS) < 0.15).astype(float)
    effect = 0.03 * (temperature - 20) + 0.4 * promotion
    values = 200 * (1 + 0.1 * (np.arange(DAYS) % 7 == 5))
    values = values * np.exp(effect + rng.normal(0, 0.03, DAYS))
    unknown = np.full(DAYS, np.nan)
    return Panel(
        ids=("shop",),
        offsets=np.array([0, DAYS]),
        dates=np.datetime64("2024-01-01") + np.arange(DAYS),
        values=values,
        factor=unknown,
        event=unknown,
        covariates=(
            Covariate("temperature", "known", "number", temperature),
            Covariate("promotion", "known", "event", promotion),
        ),
    )


def until(panel, row):
    covariates = tuple(replace(c, values=c.values[:row]) for c in panel.covariates)
    return Panel(
        panel.ids,
        np.array([0, row]),
        panel.dates[:row],
        panel.values[:row],
        panel.factor[:row],
        panel.event[:row],
        covariates,
    )


def hide(panel, *names, after):
    late = np.arange(DAYS) > after
    return replace(
        panel,
        covariates=tuple(
            replace(c, values=np.where(late & (c.name in names), np.nan, c.values))
            for c in panel.covariates
        ),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("effects")
    return take_pretrained(until(promoted_panel(), LEARNED), folder, horizon=HORIZON)


ORIGINS = np.arange(LEARNED, DAYS - HORIZON, 5)


def error(model, panel, origins=ORIGINS):
    truth = promoted_panel().values[origins[:, None] + np.arange(1, HORIZON + 1)]
    quantiles = forecast_panel(model, panel, origins)
    low, middle, high = (quantiles[..., i] for i in (1, 3, 5))
    return np.abs(truth - middle).mean(), ((truth >= low) & (truth <= high)).mean()


def error_when_hidden(model, *names):
    """The forecasts from each origin where nothing after it is known of some covariates."""
    parts = [
        error(model, hide(promoted_panel(), *names, after=origin), np.array([origin]))
        for origin in ORIGINS
    ]
    return np.mean(parts, axis=0)


def test_covariates_that_are_known_ahead_make_forecasts_better(model):
    known = error(model, promoted_panel())
    hidden = error_when_hidden(model, "temperature", "promotion")
    assert known[0] < 0.5 * hidden[0]


@pytest.mark.parametrize(
    "names", [(), ("temperature",), ("promotion",), ("temperature", "promotion")]
)
def test_intervals_hold_whichever_covariate_is_hidden(model, names):
    _, covered = error_when_hidden(model, *names)
    assert 0.65 < covered < 0.98


def test_nothing_after_the_origin_moves_a_forecast(model):
    panel = promoted_panel()
    origin = np.array([LEARNED])
    late = np.arange(DAYS) > LEARNED + HORIZON
    other = replace(
        panel,
        values=np.where(np.arange(DAYS) > LEARNED, 1e6, panel.values),
        covariates=tuple(
            replace(c, values=np.where(late, 1.0 - c.values, c.values)) for c in panel.covariates
        ),
    )
    # The effect of an event reaches two days back, so the last days of the horizon see the next.
    first, second = (forecast_panel(model, p, origin)[:, :-2] for p in (panel, other))
    np.testing.assert_array_equal(first, second)


def test_hidden_covariates_are_as_if_they_had_never_been_there(model):
    panel = promoted_panel()
    none = replace(panel, covariates=())
    hidden = hide(panel, "temperature", "promotion", after=LEARNED)
    origin = np.array([LEARNED])
    np.testing.assert_array_equal(
        forecast_panel(model, hidden, origin), forecast_panel(model, none, origin)
    )
    np.testing.assert_array_equal(
        forecast_panel(model, panel, origin, known_future=False),
        forecast_panel(model, none, origin),
    )


def test_days_without_a_plan_are_wider_than_those_with_one(model):
    origin = LEARNED
    partly = hide(promoted_panel(), "temperature", "promotion", after=origin + 7)
    known, part = (
        forecast_panel(model, p, np.array([origin]))[0] for p in (promoted_panel(), partly)
    )
    np.testing.assert_array_equal(part[:6], known[:6])
    width = [(q[8:, 5] - q[8:, 1]) / q[8:, 3] for q in (known, part)]
    assert width[1].mean() > width[0].mean()


def test_a_plan_of_some_days_changes_no_other_day(model):
    panel, origin = promoted_panel(), np.array([LEARNED])
    nothing = hide(panel, "temperature", "promotion", after=LEARNED)
    planned = np.isin(np.arange(DAYS) - LEARNED, (5, 6))
    plan = replace(
        nothing,
        covariates=tuple(
            replace(c, values=np.where(planned & (c.name == "promotion"), 1.0, c.values))
            for c in nothing.covariates
        ),
    )
    base, changed = (forecast_panel(model, p, origin)[0] for p in (nothing, plan))
    other = np.setdiff1d(np.arange(HORIZON), (4, 5))
    np.testing.assert_array_equal(changed[other], base[other])
    assert (changed[[4, 5], 3] > 1.3 * base[[4, 5], 3]).all()


@pytest.mark.parametrize("days", [2, 7, 12])
def test_intervals_hold_on_days_without_a_plan(model, days):
    covered = []
    for origin in ORIGINS:
        panel = hide(promoted_panel(), "temperature", "promotion", after=origin + days)
        quantiles = forecast_panel(model, panel, np.array([origin]))[0, days:]
        truth = panel.values[origin + days + 1 : origin + HORIZON + 1]
        covered.append((truth >= quantiles[:, 1]) & (truth <= quantiles[:, 5]))
    assert 0.7 < np.mean(covered) < 0.98


def test_few_forecasts_are_made_of_a_plan_with_many_holes():
    rng = np.random.default_rng(0)
    known = rng.random((28, 6)) < 0.6
    known[:, 0] = True
    known[:9] = True
    always = np.array([True, *[False] * 5])
    merged = _merge(known, always)
    assert len(np.unique(merged, axis=0)) <= MAX_PATTERNS < len(np.unique(known, axis=0))
    assert (merged <= known).all()
    assert merged[:, 0].all()
    assert merged[:9].all()
    np.testing.assert_array_equal(_merge(known[:10], always), known[:10])


def test_series_are_forecast_alike_whatever_the_plans_of_others(model):
    def joined(*parts):
        covariates = tuple(
            replace(same[0], values=np.concatenate([c.values for c in same]))
            for same in zip(*(p.covariates for p in parts), strict=True)
        )
        names = ("dates", "values", "factor", "event")
        arrays = [np.concatenate([getattr(p, n) for p in parts]) for n in names]
        offsets = np.arange(len(parts) + 1) * DAYS
        return Panel(tuple(f"shop {i}" for i in range(len(parts))), offsets, *arrays, covariates)

    planned = [
        hide(promoted_panel(), "temperature", "promotion", after=LEARNED + days) for days in (0, 5)
    ]
    origins = np.array([LEARNED, LEARNED + DAYS])
    together = forecast_panel(model, joined(*planned), origins)
    for i, panel in enumerate(planned):
        alone = replace(panel, ids=(f"shop {i}",))
        np.testing.assert_allclose(together[i], forecast_panel(model, alone, origins[:1])[0])


def test_artifact_lists_and_reads_the_effects(model):
    contract = Contract.read(model.folder)
    assert contract.format_version == 2
    assert EFFECTS in contract.sha256
    again = ServedModel.load(model.folder)
    assert again.covariates is not None
    assert again.covariates.effects.names == ("temperature", "promotion")
