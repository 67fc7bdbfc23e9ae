"""The benchmark of plans: its truth is that of the synthetic series."""

import numpy as np
import pytest

from benchmarks.planning.bench import HORIZON, _effect_of, read_world
from lib.data.synthesis import SynthesisSpec, synthesize


def test_effect_of_events_is_that_of_the_synthetic_series(tmp_path):
    world = read_world("synthetic-3", tmp_path, 336)
    panel = world.panel
    _, truth = synthesize(SynthesisSpec(n_series=16, n_days=1461), 3)
    effects = truth["event_effect"].to_numpy()[: 1461 - 336]
    special = np.where(panel.event[: 1461 - 336] > 0.5, panel.event[: 1461 - 336], 0.0)
    # whole profiles of events only: two days before and after each
    alone = [
        row
        for row in range(100, 1000)
        if special[row - 2 : row + 4].sum() == 0
        and special[row + HORIZON - 3 : row + HORIZON + 4].sum() == 0
    ]
    assert len(alone) > 100
    for row in alone:
        expected = effects[row + 1 : row + 1 + HORIZON].sum()
        found = _effect_of(special[row + 1 : row + 1 + HORIZON], world, row)
        assert found == pytest.approx(expected, abs=1e-9)
