import numpy as np
import pytest

from lib.monitoring.accuracy import Accuracy
from lib.monitoring.drift import Drift
from lib.monitoring.retraining_policy import RetrainingPolicy, recommend_retraining

DAY = np.datetime64("2024-03-10")
QUIET = Accuracy("2024-02-19", "2024-03-10", (), 0.0, {}, ())
DEGRADED = Accuracy("2024-02-19", "2024-03-10", (), 0.4, {}, ("3 2-7 degraded",))
DRIFTING = Drift("2024-02-19", "2024-03-10", True, True, (), {"lag_1": 3}, ("lag_1",))
NEVER = RetrainingPolicy(None, None)


@pytest.mark.parametrize(
    ("accuracy", "drift", "age", "samples", "policy", "reasons"),
    [
        (QUIET, None, 6, 99, RetrainingPolicy(), set()),
        (QUIET, None, 7, 99, RetrainingPolicy(), {"age"}),
        (QUIET, None, 6, 100, RetrainingPolicy(), {"data"}),
        (DEGRADED, None, 0, 0, RetrainingPolicy(), {"degradation"}),
        (QUIET, DRIFTING, 0, 0, RetrainingPolicy(), {"drift"}),
        (DEGRADED, DRIFTING, 9, 999, RetrainingPolicy(), {"age", "data", "degradation", "drift"}),
        (QUIET, None, 900, 10**6, NEVER, set()),
        (DEGRADED, DRIFTING, 0, 0, RetrainingPolicy(on_degradation=False, on_drift=False), set()),
    ],
)
def test_verdict_gives_each_reason_that_holds(accuracy, drift, age, samples, policy, reasons):
    found = recommend_retraining(
        accuracy, drift, day=DAY, trained=DAY - age, new_samples=samples, policy=policy
    )
    assert set(found.reasons) == reasons
    assert found.retrain == bool(reasons)
    assert found.urgent == bool(reasons & {"degradation", "drift"})
    assert found.to_json()["reasons"] == found.reasons


def test_verdict_says_how_bad_it_is():
    found = recommend_retraining(DEGRADED, None, day=DAY, trained=DAY, new_samples=0)
    assert "+40%" in found.reasons["degradation"]
    assert "3 2-7 degraded" in found.reasons["degradation"]
