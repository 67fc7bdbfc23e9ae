"""Blank cells of covariates: unknown, or none where nothing else would tell days without."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from structlog.testing import capture_logs

from lib.data.blank_cells import fill_planned
from lib.data.covariate_alignment import align_covariates, describe_covariates
from lib.data.covariates import Covariate
from lib.data.loading import load, validate
from lib.data.panel import take_series
from lib.data.planned import split_planned
from lib.data.series_tables import to_panel

DAYS = 60
CELLS = np.where(np.arange(DAYS) % 6 == 2, "2x1", "")


def table(cells, values=None, **more):
    days = pd.date_range("2024-01-01", periods=len(cells))
    values = np.arange(len(cells)) + 5.0 if values is None else values
    return pd.DataFrame({"date": days, "value": values, "promo": cells} | more)


def read(frame):
    return validate(frame, min_days=1, covariates=["promo"])


def test_a_category_that_is_mostly_blank_has_blank_for_a_name():
    learned = read(table(CELLS))["known:category:promo"]
    assert learned.isna().tolist() == [True, True] + [False] * 58  # nothing before the first one
    assert learned[2:].tolist() == CELLS[2:].tolist()


@pytest.mark.parametrize("mark", [1, True, "yes", "x"])
def test_marks_on_few_days_are_none_on_the_others(tmp_path, mark):
    cells = [mark if cell else None for cell in CELLS]
    (column,) = [name for name in read(table(cells)) if name.endswith(":promo")]
    table(cells).to_csv(tmp_path / "sales.csv", index=False)
    for frame in (read(table(cells)), load(tmp_path / "sales.csv", min_days=1, covariates="promo")):
        assert frame[column].notna()[2:].all()
        assert frame[column][2:].nunique() == 2


def test_the_column_of_events_is_read_alike():
    cells = [1.0 if cell else None for cell in CELLS]
    learned = validate(table(cells), columns={"evento_especial": "promo"}, min_days=1)
    assert learned["evento_especial"][2:].tolist() == [float(cell != "") for cell in CELLS[2:]]


@pytest.mark.parametrize(
    "cells",
    [
        np.where(np.arange(DAYS) % 6 == 2, "", "Sun"),  # few are blank
        [1.0 if i % 6 == 2 else 0.0 if i == 30 else None for i in range(DAYS)],  # 0 is there
        [None] * 40 + ["Sun", "Rain"] * 10,  # not kept before
    ],
)
def test_other_blanks_stay_unknown(cells):
    frame = read(table(cells))
    assert frame.iloc[:, -1].isna().sum() == sum(cell in (None, "") for cell in cells)


def test_a_number_that_is_mostly_blank_is_named():
    cells = [0.5 + i if cell else None for i, cell in enumerate(CELLS)]
    with capture_logs() as logs:
        assert read(table(cells))["known:number:promo"].isna().sum() == 50
    (entry,) = [entry for entry in logs if entry["event"] == "covariate_mostly_blank"]
    assert (entry["name"], entry["share"]) == ("promo", 0.82)


def test_blank_rows_at_the_end_are_no_plans_and_planned_ones_are_filled():
    values = np.where(np.arange(DAYS) < 50, 5.0, np.nan)
    ends = np.where(np.arange(DAYS) < 50, CELLS, "")
    assert read(table(ends, values))["known:category:promo"][50:].isna().all()
    _, planned = split_planned(read(table(CELLS, values)))
    assert planned["known:category:promo"].tolist() == CELLS[50:].tolist()


def test_reading_a_table_again_changes_nothing(tmp_path):
    learned = read(table(CELLS))
    pd.testing.assert_frame_equal(validate(learned, min_days=1), learned)
    learned.to_parquet(tmp_path / "a.parquet", index=False)
    pd.testing.assert_frame_equal(load(tmp_path / "a.parquet", min_days=1), learned)


def test_planned_rows_are_blank_as_the_history_is():
    history = read(table(CELLS))
    days = pd.date_range("2024-03-01", periods=3)
    plan = pd.DataFrame({"series_id": "series", "date": days})
    plan = plan.assign(evento_especial=[np.nan, 1.0, np.nan])
    plan["known:category:promo"] = ["2x1", None, None]
    filled = fill_planned(plan, history)
    assert filled["known:category:promo"].tolist() == ["2x1", "", ""]
    assert filled["evento_especial"].tolist() == [0.0, 1.0, 0.0]
    others = fill_planned(plan, read(table(["Sun", "Rain"] * 30)))
    assert others["known:category:promo"].isna().tolist() == [False, True, True]


def test_a_model_that_has_learned_blanks_finds_them_in_other_data():
    described = describe_covariates(to_panel(read(table(CELLS))))
    assert described[0]["labels"] == ["", "2x1"]
    few = np.where(np.arange(DAYS) % 6 > 2, "2x1", "")  # half of the days: no name by itself
    aligned = align_covariates(to_panel(read(table(few))), described).covariates[0]
    assert aligned.values.tolist() == [float(cell != "") for cell in few]


@pytest.mark.parametrize(("kind", "labels"), [("event", ()), ("category", ("", "2x1"))])
def test_blanks_of_a_series_mean_the_same_beside_others(kind, labels):
    """One with marks only, one with none of them, and one that is always known."""
    marks = np.where(CELLS == "", np.nan, 1.0)
    columns = marks, np.full(DAYS, np.nan), (CELLS != "").astype(float)
    days = pd.date_range("2024-01-01", periods=DAYS)
    frame = pd.concat([pd.DataFrame({"date": days, "value": 5.0, "series_id": i}) for i in "abc"])
    panel = to_panel(validate(frame, min_days=1))
    promo = Covariate("promo", "known", kind, np.concatenate(columns), labels)
    panel = replace(panel, covariates=(promo,))
    described = describe_covariates(panel)

    def align(panel):
        return align_covariates(panel, described).covariates[0].values

    alone = np.concatenate([align(take_series(panel, np.array([s]))) for s in range(3)])
    np.testing.assert_array_equal(align(panel), alone)
    assert np.isnan(alone).reshape(3, DAYS).sum(axis=1).tolist() == [0, DAYS, 0]


def test_marks_of_a_request_are_none_on_the_other_days():
    days = pd.date_range("2024-01-01", periods=DAYS)
    panel = to_panel(validate(pd.DataFrame({"date": days, "value": 5.0}), min_days=1))
    described = [{"name": "promo", "role": "known", "kind": "event", "labels": [], "calendar": ""}]

    def align(cells):
        promo = Covariate("promo", "known", "event", np.array(cells))
        return align_covariates(replace(panel, covariates=(promo,)), described).covariates[0].values

    marks = [1.0 if cell else np.nan for cell in CELLS]
    assert align(marks).tolist() == [float(cell != "") for cell in CELLS]
    assert np.isnan(align([*marks[:-1], 0.0])[0])
    assert np.isnan(align([np.nan] * DAYS)).all()
