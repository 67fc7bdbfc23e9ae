"""Calibrate the pretrained network on some series, in memory: nothing is trained or written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.calibration.learned import add_learned
from lib.calibration.prepared import PreparedData, prepare_zero_shot
from lib.calibration.widths import residuals_of, spread_by_series, spread_of, weeks_of
from lib.data import Panel, describe_covariates
from lib.features import Windows
from lib.inference import (
    NONNEGATIVE_SERIES,
    SERIES_SPREAD,
    Contract,
    ServedModel,
    SharedGraph,
)


def calibrate_zero_shot(
    pretrained: ServedModel, panel: Panel, horizon: int
) -> tuple[ServedModel, PreparedData]:
    """Return the pretrained network for some series, and the windows that it was calibrated on.

    The graph is the pretrained one as it is. Effects of covariates, units, floor and widths are
    applied around it.

    Args:
        pretrained: the network.
        panel: the series up to their last known day, and nothing after it.
        horizon: days ahead.

    Example:
        >>> from lib.data import SynthesisSpec, synthesize
        >>> from lib.inference import PRETRAINED_ARTIFACT, forecast_panel
        >>> panel, _ = synthesize(SynthesisSpec(n_series=2, n_days=200), seed=0)
        >>> pretrained = ServedModel.load(PRETRAINED_ARTIFACT)
        >>> model, _ = calibrate_zero_shot(pretrained, panel, horizon=7)
        >>> forecast_panel(model, panel, panel.offsets[1:] - 1).shape
        (2, 7, 7)
    """
    data = prepare_zero_shot(panel, horizon)
    contract = _describe(pretrained.contract, data, panel, horizon)
    levels = contract.quantiles
    plain = served = _with_widths(pretrained, contract, np.ones((horizon, len(levels))))
    known = residuals_of(plain, data.validation) if len(data.validation.origins) else None
    if known:
        residuals, offsets = known
        spread = spread_of(residuals, offsets, levels, weeks_of(data.validation))
        by_series = spread_by_series(data.validation, residuals, offsets * spread, levels)
        if by_series:
            contract = replace(contract, settings=contract.settings | {SERIES_SPREAD: by_series})
        served = _with_widths(pretrained, contract, spread)

    def factors_of(windows: Windows) -> np.ndarray:
        same = known if windows is data.validation else None
        measured = same or residuals_of(plain, windows)
        return spread_of(*measured, levels, weeks_of(windows), prior_weeks=0)

    return add_learned(served, data, panel.dates.max(), factors_of), data


def _with_widths(pretrained: ServedModel, contract: Contract, spread: np.ndarray) -> ServedModel:
    """Return the network with the units and the floor of a contract, and factors of its widths."""
    return pretrained.replace(contract=contract, shared=SharedGraph.calibrated(contract, spread))


def _describe(pretrained: Contract, data: PreparedData, panel: Panel, horizon: int) -> Contract:
    """Return the contract of the network for some series."""
    settings = pretrained.settings | {"covariates": describe_covariates(panel)}
    settings |= {"model": pretrained.settings["model"] | {"horizon": horizon}}
    if names := data.floored_series:
        settings[NONNEGATIVE_SERIES] = list(names)
    return replace(pretrained, horizon=horizon, scaling=data.scaling, settings=settings)
