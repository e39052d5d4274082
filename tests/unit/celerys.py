"""Celery in the test's process, to write messages and to read ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu.transport.virtual import Channel


@contextmanager
def celery_app(task_name: str, **settings: Any) -> Iterator[Celery]:
    """Give an app on kombu's memory transport that knows one task."""
    app = Celery("theirs", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(settings)

    @app.task(name=task_name)
    def collect(*args: Any, **kwargs: Any) -> None:
        """Never run."""

    yield app
    app.close()


@contextmanager
def channel_of(celery: Celery) -> Iterator[Channel]:
    """Give a channel of the memory transport, as Celery's worker has one."""
    with celery.connection_for_read() as connection:
        yield connection.default_channel
