"""An artifact of the pretrained network passes through the gate like any other."""

import shutil

import pytest

from lib import evaluation
from lib.data import DataSplit
from lib.inference import ServedModel
from lib.registry.gate import PromotionGate
from lib.training.zero_shot import save_zero_shot
from tests.panels import lively_panel

HORIZON = 7


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The artifact, and its evaluation on the cutoffs that follow."""
    panel = lively_panel(days=300)
    origins = evaluation.origin_rows(panel, horizon=HORIZON, cutoffs=4, step=7)
    first = panel.dates[origins].min()
    folder = tmp_path_factory.mktemp("gate") / "challenger"
    split = DataSplit(first, first, panel.dates.max())
    save_zero_shot(folder, panel, split, horizon=HORIZON)
    baselines = evaluation.run_baselines(panel, origins, HORIZON)

    def evaluate(artifact, horizon):
        return evaluation.run_backtest(ServedModel.load(artifact), panel, origins, horizon=horizon)

    return folder, evaluate, baselines


def gate_of(judged):
    folder, evaluate, baselines = judged
    result = evaluate(folder, HORIZON)
    return PromotionGate(
        challenger=folder,
        fetch=lambda version, target: shutil.copytree(folder, target, dirs_exist_ok=True),
        evaluate=evaluate,
        seasonal_naive=evaluation.compute_metrics(baselines["seasonal_naive"]),
        metric="mase",
        verdict=evaluation.judge(result, baselines, result),
    )


def test_without_a_champion_simple_forecasts_decide_and_idle_training_is_said(judged):
    gate = gate_of(judged)
    decision = gate.decide(None)
    assert gate.verdict is not None
    assert decision.promote == gate.verdict.better
    assert "training gains nothing here" in decision.reason


def test_it_does_not_replace_itself(judged):
    decision = gate_of(judged).decide(1)
    assert not decision.promote
    assert decision.figures["champion_version"] == 1
    assert "champion_problem" not in decision.figures
