"""Fixtures under the names that Celery's pytest plugin gave them, for suites that were written for it.

Registered by `celeriac.testing.plugin`. An app of the test's own, on the memory broker, with a worker in a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.discovery import import_tasks
from celeriac.stores.memory import MemoryStore
from celeriac.task import Task
from celeriac.testing.worker import ThreadWorker, worker

_SETTINGS = {"broker_url": "memory://", "result_backend": "cache+memory://", "timezone": "UTC"}
#: What Celery's `start_worker` takes and a worker in a thread has no use for.
_NO_USE = (
    "concurrency",
    "pool",
    "loglevel",
    "logfile",
    "perform_ping_check",
    "shutdown_timeout",
    "without_heartbeat",
)


class AppTrap:
    """Stands in for the current app where a test is to use none (`use_celery_app_trap`)."""

    def reread_settings(self, names: object) -> None:
        """There are none."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            f"The test used {name!r} of the current app, and use_celery_app_trap is on. Use celery_app, or ask for the "
            "fixture depends_on_current_app."
        )


@contextmanager
def _made_app(request: pytest.FixtureRequest) -> Iterator[Celeriac]:
    """Make the app that the fixtures below ask for, of which a suite may override each."""
    config, parameters, trap = map(
        request.getfixturevalue, ("celery_config", "celery_parameters", "use_celery_app_trap")
    )
    mark = request.node.get_closest_marker("celery")
    settings = {**_SETTINGS, **config, **(mark.kwargs if mark is not None else {})}
    known = {name: value for name, value in parameters.items() if name != "set_as_current"}
    app = Celeriac(**{"main": "celery.tests", "set_as_current": False, **known})
    app.config_from_object(settings)
    current: Any = AppTrap() if trap else app
    registry.set_current(current)
    try:
        yield app
    finally:
        registry.forget_app(current)
        for keeper in (app.broker, app.store):
            if isinstance(keeper, MemoryBroker | MemoryStore):
                keeper.clear()
        app.close()


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Override it to return True: then using the current app is an error."""
    return False


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Override it to return settings of the app."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """Override it to return parameters of the app's class."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """Override it to return parameters of the worker: `queues`, `shutdown_timeout`."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Kept for suites that override it; the worker of a test always runs in one thread."""
    return "solo"


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Kept for suites that override it; logging is left to pytest."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Override it to return modules to import when the worker starts."""
    return ()


@pytest.fixture(scope="session")
def celery_class_tasks() -> Sequence[type[Task[..., Any]]]:
    """Override it to return task classes to register when the worker of the session starts."""
    return ()


@pytest.fixture
def celery_app(request: pytest.FixtureRequest) -> Iterator[Celeriac]:
    """An app for the test, on the memory broker, and the current one."""
    with _made_app(request) as app:
        yield app


@pytest.fixture(scope="session")
def celery_session_app(request: pytest.FixtureRequest) -> Iterator[Celeriac]:
    """An app for the whole run, on the memory broker, and the current one."""
    with _made_app(request) as app:
        yield app


@pytest.fixture
def depends_on_current_app(celery_app: Celeriac) -> Iterator[None]:
    """Make `celery_app` the current app even where the trap is on."""
    registry.set_current(celery_app)
    yield
    registry.forget_app(celery_app)


@pytest.fixture
def celery_worker(
    celery_app: Celeriac,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[ThreadWorker]:
    """A worker for `celery_app` in a thread. `reload()` lets it know of tasks that were defined since."""
    with _worker(celery_app, celery_includes, celery_worker_parameters) as started:
        yield started


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: Celeriac,
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[type[Task[..., Any]]],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[ThreadWorker]:
    """A worker for `celery_session_app` in a thread, for the whole run."""
    for made in celery_class_tasks:
        celery_session_app.register_task(made)
    with _worker(celery_session_app, celery_includes, celery_worker_parameters) as started:
        yield started


@contextmanager
def _worker(app: Celeriac, includes: Sequence[str], parameters: Mapping[str, Any]) -> Iterator[ThreadWorker]:
    for name in includes:
        import_tasks(name)
    options = {name: value for name, value in parameters.items() if name not in _NO_USE}
    if "shutdown_timeout" in parameters:
        options["timeout"] = parameters["shutdown_timeout"]
    if isinstance(options.get("queues"), str):
        options["queues"] = options["queues"].split(",")
    with worker(app, **options) as started:
        yield started
