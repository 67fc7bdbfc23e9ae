"""Calibrate the pretrained network on the series of a call, before anything was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lib.calibration import CALIBRATION_WINDOWS, calibrate_zero_shot
from lib.data import Panel, take_series

if TYPE_CHECKING:
    from lib.inference import Contract, ServedModel
    from serving.schemas import Histories, Series

# A window that is forecast to calibrate takes as long as so many days of history, and each
# covariate, which is hidden once, half as long again.
_ROWS_A_WINDOW = 100


def calibrate_on(pretrained: ServedModel, histories: Histories) -> ServedModel:
    """Return the pretrained network with what the series of a call say.

    It forecasts as `Forecaster(effort="instant")` does: the effects of covariates, widths and
    ranks are learned from the days up to the origin of each series.

    Args:
        pretrained: the network.
        histories: the series, with the covariates that they were sent with.
    """
    known = _take_history(histories)
    by_name = sorted(range(known.n_series), key=lambda number: known.ids[number])
    known = take_series(known, np.array(by_name))  # the answer is the same in any order
    return calibrate_zero_shot(pretrained, known, pretrained.contract.horizon)[0]


def cost_of_calibration(contract: Contract, series: Sequence[Series]) -> int:
    """Return the days of history that are as much work as calibrating on the series of a call."""
    windows = min(sum(one.days for one in series), CALIBRATION_WINDOWS)
    covariates = len(contract.settings["covariates"])
    return int(_ROWS_A_WINDOW * windows * (1 + covariates / 2))


def _take_history(histories: Histories) -> Panel:
    """Return the series up to their origins."""
    panel, ends = histories.panel, histories.origins + 1
    rows = np.concatenate(
        [np.arange(first, end) for first, end in zip(panel.offsets[:-1], ends, strict=True)]
    )
    return Panel(
        panel.ids,
        np.append(0, np.cumsum(ends - panel.offsets[:-1])),
        panel.dates[rows],
        panel.values[rows],
        panel.factor[rows],
        panel.event[rows],
        tuple(replace(c, values=c.values[rows]) for c in panel.covariates),
    )
