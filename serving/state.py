"""What an application carries with it, by name and type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask, current_app
from werkzeug.exceptions import ServiceUnavailable

from lib.settings import Settings

if TYPE_CHECKING:
    from serving.http.metrics import Metrics
    from serving.model.live_model import LiveModel, Served
    from serving.records.predictions import Recorder


EXTENSION = "forecaster"  # the LiveModel
_STATE = "production-lstm"
RETRY = 2  # seconds after which to ask again while no model is loaded


@dataclass(frozen=True)
class State:
    """The parts of an application."""

    settings: Settings
    model: LiveModel
    recorder: Recorder
    metrics: Metrics


def attach(app: Flask, state: State) -> None:
    """Give an application its parts."""
    app.extensions[_STATE] = state
    app.extensions[EXTENSION] = state.model


def state_of(app: Flask | None = None) -> State:
    """The parts of an application, by default of the one that answers now."""
    return (app or current_app).extensions[_STATE]


def served() -> Served:
    """The model that answers this request. Raises ServiceUnavailable (503) while there is none."""
    found = state_of().model.current()
    if found is None:
        raise ServiceUnavailable(
            f"No model is loaded: {state_of().model.detail()}", retry_after=RETRY
        )
    return found
