"""The pytest plugin `celeriac`: fixtures for tests of code that uses tasks.

Loaded by pytest in every run where Celeriac is installed, so that it does nothing until a fixture is asked for. The
fixtures under Celery's names are `celeriac.testing.celery_fixtures`, registered unless Celery's own are there.
"""

from collections.abc import Iterator

import pytest

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.testing.queue import Queue
from celeriac.testing.worker import ThreadWorker, worker

_CELERYS = ("celery.contrib.pytest", "pytest_celery")


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures under Celery's names, if nobody else has."""
    plugins = config.pluginmanager
    if any(getattr(plugin, "__name__", "").startswith(_CELERYS) for plugin in plugins.get_plugins()):
        return
    config.addinivalue_line("markers", "celery(**settings): settings of celery_app for one test")
    plugins.import_plugin("celeriac.testing.celery_fixtures")


@pytest.fixture
def celeriac_app(request: pytest.FixtureRequest) -> Celeriac:
    """The app that `queue` and `celeriac_worker` are for: the current one. Override it for another."""
    for name in ("celery_session_app", "celery_app"):
        if name in request.fixturenames:
            request.getfixturevalue(name)  # which makes it the current one
    app: Celeriac = registry.current_app()
    return app


@pytest.fixture
def queue(celeriac_app: Celeriac) -> Iterator[Queue]:
    """What the test sends, kept on a memory broker in place of the project's."""
    with Queue(celeriac_app) as kept:
        yield kept


@pytest.fixture
def celeriac_worker(celeriac_app: Celeriac) -> Iterator[ThreadWorker]:
    """A worker in a thread, on a memory broker in place of the project's."""
    with worker(celeriac_app) as started:
        yield started
