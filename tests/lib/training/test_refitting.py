"""The refit: every known day learned as the twin was trained, and judged by the twin."""

from dataclasses import replace

import numpy as np
import pytest

from lib.calibration.learned import _take_hidden
from lib.data.series_tables import to_panel, to_table
from lib.evaluation.backtest import origin_rows
from lib.features.year_effects import DAY_OF_YEAR
from lib.inference.artifact import (
    CONTRACT,
    TWIN,
    ArtifactError,
    Contract,
    verify_folder,
)
from lib.inference.served_model import ServedModel, forecast_panel
from lib.inference.twins import unpack_twin
from lib.training import artifact_files, calibration, export, loop, refitting
from lib.training import data as training_data
from lib.training.data import prepare
from tests.networks import MODEL, TRAINING, weights_hash
from tests.panels import lively_panel, split_of


@pytest.fixture(scope="module")
def learned():
    panel = lively_panel(days=260, missing=0.05)
    split = split_of(panel)
    data = prepare(panel, split, MODEL)
    twin = calibration.calibrate(loop.fit(data, MODEL, TRAINING), data)
    return panel, split, data, twin


def refit_of(twin, data, panel, **options):
    """The refit, which must not be left out."""
    found = refitting.refit(twin, data, panel, **options)
    assert found is not None
    return found


def changed_at_the_end(panel, days=20):
    table = to_table(panel)
    late = table["date"] > table["date"].max() - np.timedelta64(days, "D")
    table.loc[late, "value"] *= 1.01
    return to_panel(table)


def test_refit_learns_the_days_after_the_training_span_and_its_twin_does_not(learned):
    panel, split, data, twin = learned
    other = changed_at_the_end(panel)
    found, changed = (refit_of(twin, data, p) for p in (panel, other))
    assert weights_hash(found.model) != weights_hash(twin.model)
    assert weights_hash(found.model) != weights_hash(changed.model)
    again = prepare(other, split, MODEL)
    same = calibration.calibrate(loop.fit(again, MODEL, TRAINING), again)
    assert weights_hash(same.model) == weights_hash(twin.model)


def test_refit_repeats_to_the_bit_and_resumes(learned, tmp_path, monkeypatch):
    panel, _, data, twin = learned
    twin = replace(twin, best_step=20)
    whole = refit_of(twin, data, panel)
    step = refitting.train_step

    def interrupt(state, *rest):
        if state.step == 12:
            raise KeyboardInterrupt
        return step(state, *rest)

    monkeypatch.setattr(refitting, "train_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        refit_of(twin, data, panel, checkpoint=tmp_path)
    steps = []
    monkeypatch.setattr(
        refitting, "train_step", lambda s, *rest: steps.append(s.step) or step(s, *rest)
    )
    resumed = refit_of(twin, data, panel, checkpoint=tmp_path)
    assert steps == list(range(10, 20))
    assert weights_hash(resumed.model) == weights_hash(whole.model)


def test_refit_has_the_calibration_and_the_schedule_of_its_twin(learned):
    panel, _, data, twin = learned
    found = refit_of(twin, data, panel)
    np.testing.assert_array_equal(found.model.spread.numpy(), twin.model.spread.numpy())
    assert found.series_spread == twin.series_spread
    assert found.validation_loss == twin.validation_loss


def test_refit_that_knows_the_validation_days_worse_is_left_out(learned, monkeypatch):
    panel, _, data, twin = learned
    monkeypatch.setattr(refitting, "evaluate", lambda *_: 2 * twin.validation_loss)
    assert refitting.refit(twin, data, panel) is None


def test_artifact_of_a_refit_keeps_its_twin_with_its_scores(learned, tmp_path):
    panel, split, data, twin = learned
    folder = tmp_path / "model"
    before = export.save_artifact(folder, twin, data, panel, split, source="sales.csv")
    before = artifact_files.add_metrics(folder, {"mase": 0.7})
    origins = origin_rows(panel, horizon=7, cutoffs=3, step=7)
    expected = forecast_panel(before, panel, origins)
    served = refitting.save_refit(folder, refit_of(twin, data, panel), panel)
    contract = verify_folder(folder)
    assert contract.metrics == {"mase": 0.7}
    assert contract.training_span[1] == str(panel.dates.max())
    assert contract.settings["twin"] == {"training_span": list(before.contract.training_span)}
    assert contract.settings["data"]["name"] == "sales.csv"
    assert served.ranks is not None
    assert before.ranks is not None
    assert served.ranks.ids == panel.ids
    np.testing.assert_equal(served.ranks.effect_error, before.ranks.effect_error)
    assert not np.array_equal(served.ranks.codes, before.ranks.codes)  # the backtest's days too
    assert not np.allclose(forecast_panel(served, panel, origins), expected)
    judged = ServedModel.load(unpack_twin(folder))
    np.testing.assert_array_equal(forecast_panel(judged, panel, origins), expected)
    packed = (folder / TWIN).read_bytes()
    export.save_artifact(folder, twin, data, panel, split, source="sales.csv")
    artifact_files.add_metrics(folder, {"mase": 0.7})
    refitting.save_refit(folder, refit_of(twin, data, panel), panel)
    assert (folder / TWIN).read_bytes() == packed


def test_a_refit_learns_dates_only_where_its_twin_did(monkeypatch):
    """All days may be enough for what dates do where those of the twin were not."""
    panel = lively_panel(days=1500, series=1, missing=0.0)
    day = (panel.dates - panel.dates.astype("datetime64[Y]")).astype(int)
    panel = replace(panel, values=panel.values * np.exp(0.3 * np.sin(2 * np.pi * day / 365)))
    split = split_of(panel)
    for least, has_dates in ((1_300, True), (1_495, False)):
        monkeypatch.setattr(training_data, "FIT_DATES_FROM", least)
        effects = prepare(panel, split, MODEL).effects
        assert effects
        assert (DAY_OF_YEAR in effects.names) == has_dates
        every = refitting.prepare_every_day(panel, MODEL, effects.learned).effects
        assert every
        assert (DAY_OF_YEAR in every.names) == has_dates


def test_a_refit_with_another_covariate_keeps_the_widths_of_those_of_its_twin(learned, tmp_path):
    panel, split, data, twin = learned
    plain = replace(panel, event=np.full(len(panel.values), np.nan))
    export.save_artifact(tmp_path, twin, prepare(plain, split, MODEL), plain, split)
    covariates = ServedModel.load(tmp_path).covariates
    assert covariates
    assert covariates.effects.names == ("fator_externo",)
    wider = replace(covariates, hidden_spread=np.add(covariates.hidden_spread, [[[0.5]], [[0.7]]]))
    names, ones = data.effects.names, np.ones((3, *wider.hidden_spread.shape[1:]))
    assert names == ("fator_externo", "evento_especial")
    taken = _take_hidden(wider, names, ones)
    np.testing.assert_array_equal(taken[[0, 2]], wider.hidden_spread)
    np.testing.assert_array_equal(taken[1], 1)


def test_artifact_without_a_twin_is_judged_itself(learned, tmp_path):
    panel, split, data, twin = learned
    export.save_artifact(tmp_path, twin, data, panel, split)
    assert unpack_twin(tmp_path) == tmp_path


def test_twin_that_is_no_archive_is_refused(learned, tmp_path):
    panel, split, data, twin = learned
    export.save_artifact(tmp_path, twin, data, panel, split)
    (tmp_path / TWIN).write_bytes(b"no archive")
    contract = Contract.read(tmp_path)
    contract = replace(contract, sha256=contract.sha256 | {TWIN: "0" * 64})
    (tmp_path / CONTRACT).write_text(contract.to_json())
    with pytest.raises(ArtifactError, match=r"twin.zip"):
        unpack_twin(tmp_path)
