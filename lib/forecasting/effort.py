"""Get the model of an effort: train, take the pretrained network, or load the registered one."""

from __future__ import annotations

from pathlib import Path

from lib.data import Panel
from lib.forecasting.fitting import INSTANT, REGISTERED, make_model
from lib.forecasting.model_choice import (
    Choice,
    choose_registered,
    load_registered,
)
from lib.inference import ServedModel
from lib.pipeline import ParameterError


def describe_effort(effort: str) -> str:
    """Return in words what forecasts under an effort that makes a model."""
    if effort == INSTANT:
        return "the pretrained network, not trained on this data"
    return f"a network trained on this data, profile {effort}"


def get_model(
    panel: Panel,
    folder: Path,
    *,
    effort: str | None,
    horizon: int,
    seed: int,
    progress: bool = False,
) -> tuple[ServedModel, Choice]:
    """Return the model of an effort, and why it is this one.

    Args:
        panel: the history.
        folder: for the artifact; empty.
        effort: as for `Forecaster.fit`.
        horizon: days ahead.
        seed: of the search and of training.
        progress: whether to show bars on standard error.

    Raises:
        ParameterError: the registered model forecasts fewer days.
        RegistryError: effort "registered", and there is no production model.
        SeriesError: too little history to train on.
    """
    if effort == REGISTERED:
        return _get_registered(folder, horizon)
    reason = f"effort {effort} was given"
    if effort is None:
        registered, reason = choose_registered(panel, folder / REGISTERED, horizon)
        if registered is not None:
            return registered.model, Choice(REGISTERED, registered.label, reason)
        effort, folder = INSTANT, folder / INSTANT
    model = make_model(panel, folder, effort=effort, horizon=horizon, seed=seed, progress=progress)
    return model, Choice(effort, describe_effort(effort), reason)


def _get_registered(folder: Path, horizon: int) -> tuple[ServedModel, Choice]:
    registered = load_registered(folder)
    longest = registered.model.contract.horizon
    if longest < horizon:
        raise ParameterError(
            f"horizon: {registered.label} forecasts {longest} days, expected at least "
            f"{horizon}; give a shorter HORIZON, or train with HORIZON={horizon}"
        )
    return registered.model, Choice(REGISTERED, registered.label, f"effort {REGISTERED} was given")
