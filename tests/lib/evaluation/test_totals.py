"""Scores of totals in a backtest, against plain sums."""

import numpy as np
import pandas as pd
import pytest

from lib.evaluation import backtest, totals
from tests.panels import lively_panel
from tests.ranked import make_ranks

HORIZON = 8
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def panel():
    return lively_panel(days=200, series=3, missing=0.05)


@pytest.fixture(scope="module")
def result(panel):
    origins = backtest.origin_rows(panel, horizon=HORIZON, cutoffs=4, step=7)
    centre = 100 + np.zeros((len(origins), HORIZON))
    quantiles = np.stack([centre - 13, centre, centre + 13], axis=-1)
    return backtest.collect_forecasts(panel, origins, HORIZON, quantiles=quantiles, levels=LEVELS)


def score(result, panel, **options):
    ranks = make_ranks(panel.ids, horizon=HORIZON)
    return totals.score_totals(result, ranks, panel, **options)


def test_totals_are_scored_by_range_kind_and_way(result, panel):
    table = score(result, panel)
    assert set(table["days"]) == {"1-7", "1-8"}
    assert set(table["of"]) == {"each series", "all series"}
    assert set(table["made_from"]) == {"whole origins", "independent days", "quantiles added up"}
    assert table.groupby("of")["n"].max().to_dict() == {"all series": 4, "each series": 12}


def test_added_quantiles_are_scored_as_a_plain_sum(result, panel):
    table = score(result, panel, days=[HORIZON]).set_index(["of", "made_from"])
    seen = np.isfinite(result.actual)
    actual = np.nansum(result.actual, axis=1)
    inside = np.abs(actual - 100 * seen.sum(axis=1)) <= 13 * seen.sum(axis=1)
    row = table.loc[("each series", "quantiles added up")]
    assert row["coverage_80"] == pytest.approx(100 * inside.mean())


def test_independence_gives_narrower_intervals_than_dependence(result, panel):
    table = score(result, panel, days=[HORIZON]).set_index(["of", "made_from"])["coverage_80"]
    for of in ("each series", "all series"):
        ways = ("independent days", "whole origins", "quantiles added up")
        shares = [table[of, way] for way in ways]
        assert shares == sorted(shares)


def test_groups_are_scored_as_well(result, panel):
    groups = dict(zip(panel.ids, ("up", "up", "down"), strict=True))
    table = score(result, panel, days=[2], groups=groups)
    assert {"up", "down"} < set(table["of"])


def test_model_without_ranks_has_no_scores_of_totals(result, panel):
    assert totals.score_totals(result, None, panel).empty


def test_same_seed_gives_the_same_scores(result, panel):
    pd.testing.assert_frame_equal(score(result, panel, seed=2), score(result, panel, seed=2))
