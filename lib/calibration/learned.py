"""Add to a model what is learned beside its network: effects, what young series borrow, ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lib import features as ft
from lib.calibration.cold_start import learn_cold_start
from lib.calibration.effect_error import measure_effect_error
from lib.calibration.hidden_covariates import (
    FactorsOf,
    calibrate_hidden,
    calibrate_without_past,
)
from lib.calibration.past_ranks import collect_ranks
from lib.calibration.prepared import PreparedData, learn_past
from lib.inference import LearnedEffects, LearnedPast, Ranks, ServedModel


def add_learned(
    served: ServedModel,
    data: PreparedData,
    until: np.datetime64,
    factors_of: FactorsOf,
    twin: ServedModel | None = None,
) -> ServedModel:
    """Return a model with what young series borrow, the effects of covariates, and ranks.

    Args:
        served: the network, with its widths.
        data: that it was trained on, or is calibrated on.
        until: last day to learn from.
        factors_of: calibrates the widths of the network.
        twin: whose widths are taken where covariates are unknown or series young; by default they
            are measured on the validation days.
    """
    widths = twin.cold_start.widths if twin else None
    cold_start = learn_cold_start(served, data.validation, until, widths)
    if cold_start is not None:
        served = served.replace(cold_start=cold_start)
    served = _add_effects(served, data, factors_of, twin)
    ranks = _collect_ranks(served, data)
    return served.replace(ranks=ranks) if ranks else served


def _add_effects(
    served: ServedModel, data: PreparedData, factors_of: FactorsOf, twin: ServedModel | None
) -> ServedModel:
    levels = len(served.contract.quantiles)
    median = served.contract.quantiles.index(0.5)
    if data.effects:
        hidden = calibrate_hidden(factors_of, levels, data)
        if twin and twin.covariates:
            hidden = _take_hidden(twin.covariates, data.effects.names, hidden)
        covariates = LearnedEffects(data.effects.learned, hidden, median)
        served = served.replace(covariates=covariates)
    if past_effects := data.train.past_effects:
        without_past = (
            twin.past.hidden_spread
            if twin and twin.past
            else calibrate_without_past(factors_of, levels, data)
        )
        served = served.replace(past=LearnedPast(past_effects, without_past, median))
    return served


def _take_hidden(twin: LearnedEffects, names: Sequence[str], without: np.ndarray) -> np.ndarray:
    """Return the widths where covariates are unknown, (K + 1, horizon, levels), as a twin has them.

    Args:
        twin: which may have other covariates.
        names: of the K covariates.
        without: the widths of those that the twin does not have.
    """
    own = dict(zip(twin.effects.names, twin.hidden_spread[:-1], strict=True))
    each = [own.get(name, one) for name, one in zip(names, without[:-1], strict=True)]
    return np.stack([*each, twin.hidden_spread[-1]])


def _collect_ranks(served: ServedModel, data: PreparedData) -> Ranks | None:
    """Return the ranks of the truth in past forecasts, which totals are made from."""
    origins = data.validation.origins
    if not len(origins):
        return None
    ranks = collect_ranks(served, data.observed, origins, data.train.origins)
    if ranks is None:
        return None
    return replace(ranks, effect_error=measure_effect_error(served, data.observed, origins))


def renew_effects(
    served: ServedModel, data: PreparedData, until: np.datetime64, *, dates_from: int
) -> ServedModel:
    """Return a model whose effects have been learned on more days than its network was.

    The ranks stay those of the effects that have not seen these days.

    Args:
        served: the model, of `add_learned`.
        data: that its network was trained on.
        until: last day to learn from.
        dates_from: observed days from which a series learns what dates do.
    """
    panel, newest = data.observed, None
    if known := served.covariates:
        learned = known.effects
        dates_from = dates_from if learned.year else 0
        newest = ft.fit_effects(panel, until, dates_from=dates_from, only=learned.names)
        newest = newest if newest and newest.names == learned.names else learned
        panel = newest.apply(panel).remove(np.full(len(newest.names), True))
        served = served.replace(covariates=replace(known, effects=newest))
    if served.past and (past := learn_past(panel, until, served.contract.horizon, newest)):
        served = served.replace(past=replace(served.past, effects=past))
    return served
