"""A registry that is a dictionary, and applications on it."""

import shutil

from lib.settings import get_settings
from serving.app import create_app
from serving.model.live_model import LiveModel
from serving.state import state_of
from tests.panels import TINY_MODEL


class Shelf:
    """A registry of folders.

    Attributes:
        aliases: version by name of the alias.
        folders: artifact folder by version.
        registered: versions without an alias.
        run: that has registered them.
        error: raised by every call, unless None.
        fetched: versions fetched so far.
        baselines: scores of simple forecasts, of every version.
    """

    def __init__(self, **aliases):
        self.aliases = aliases
        self.folders = dict.fromkeys(range(1, 10), TINY_MODEL)
        self.registered = set()
        self.run = "run"
        self.error = None
        self.baselines = {}
        self.fetched = []

    def version_of(self, alias):
        if self.error:
            raise self.error
        return self.aliases.get(alias)

    def run_of(self, version):
        if self.error:
            raise self.error
        return self.run

    def versions(self):
        if self.error:
            raise self.error
        return sorted(set(self.aliases.values()) | self.registered)

    def baseline_scores(self, which):
        if self.error:
            raise self.error
        return self.baselines

    def fetch(self, which, folder):
        if self.error:
            raise self.error
        self.fetched.append(which)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(self.folders[which], folder)


def settings_of(folder, **changes):
    """Settings whose stores are in a folder."""
    places = {
        "var_dir": folder,
        "database_url": f"sqlite:///{folder}/state.db",
        "mlflow_tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "mlflow_artifact_root": str(folder / "mlartifacts"),
    }
    return get_settings(None).model_copy(update=places | changes)


def app_on(shelf, folder, **changes):
    """An application whose model is loaded now, and later only by `refresh`."""
    settings = settings_of(folder, **changes)
    model = LiveModel(settings, registry=lambda: shelf)
    if shelf.aliases:
        model.refresh()
    model.start = lambda: None
    app = create_app(settings, model=model)
    app.testing = False
    return app


def close(app):
    """Write what waits, and close the database."""
    state = state_of(app)
    state.recorder.close()
    state.recorder.store.close()
