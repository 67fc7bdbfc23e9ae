"""Applications, clients and stores for the tests of the service."""

import pytest

from lib.storage.database import Store
from serving.explanations.jobs import Jobs
from tests.serving.live import Shelf, app_on, close, settings_of


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An application that serves version 7; the tests of a module share it."""
    app = app_on(Shelf(production=7), tmp_path_factory.mktemp("app"))
    yield app
    close(app)


@pytest.fixture
def client(app):
    """A client of the application."""
    return app.test_client()


@pytest.fixture
def make_app(tmp_path):
    """Makes applications of one test: `make_app(shelf, **settings)`; by default of version 7."""
    apps = []

    def make(shelf=None, **changes):
        apps.append(app_on(shelf or Shelf(production=7), tmp_path, **changes))
        return apps[-1]

    yield make
    for app in apps:
        close(app)


@pytest.fixture(params=["files", pytest.param("servers", marks=pytest.mark.services)])
def settings(request, tmp_path):
    """Settings of one test: once on SQLite, once on PostgreSQL."""
    if request.param == "files":
        return settings_of(tmp_path)
    return settings_of(tmp_path, database_url=request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(settings):
    """The database of `settings`."""
    store = Store(settings.database_url)
    yield store
    store.close()


@pytest.fixture
def jobs(store):
    """The queue in the database of `settings`."""
    return Jobs(store)
