"""The parts that an application carries with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask, current_app
from werkzeug.exceptions import ServiceUnavailable

from lib.settings import Settings

if TYPE_CHECKING:
    from serving.explanations import Jobs
    from serving.http import Metrics
    from serving.model import LiveModel, Served
    from serving.records import Recorder, Retention


EXTENSION = "forecaster"  # the LiveModel
RETRY_AFTER = 2  # seconds after which to try again while no model is loaded
_STATE = "production-lstm"


@dataclass(frozen=True)
class State:
    """The parts of an application. They open files and start threads when first used."""

    settings: Settings
    model: LiveModel
    recorder: Recorder
    jobs: Jobs
    metrics: Metrics
    retention: Retention
    needs_worker: bool = False  # explanations are refused where no worker runs


def attach(app: Flask, state: State) -> None:
    """Give an application its parts."""
    app.extensions[_STATE] = state
    app.extensions[EXTENSION] = state.model


def state_of(app: Flask | None = None) -> State:
    """Return the parts of an application, by default of the current one."""
    return (app or current_app).extensions[_STATE]


def served() -> Served:
    """Return the model that answers this request.

    Raises:
        ServiceUnavailable: 503, while no model is loaded.
    """
    model = state_of().model
    current = model.current()
    if current is None:
        raise ServiceUnavailable(f"No model is loaded: {model.detail()}", retry_after=RETRY_AFTER)
    return current
