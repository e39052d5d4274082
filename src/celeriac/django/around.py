"""What Django does around a request, done around a task: connections checked, language and time zone put back.

Installed in workers by `DjangoFramework.install_hooks`. A task that uses neither database nor translations costs less
than a microsecond here, so nothing below may ask Django's thread-local objects, which cost four each, without a cause.
"""

import contextvars
import threading
import time
from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created
from django.utils import timezone, translation

from celeriac.context import Request
from celeriac.django import deadline
from celeriac.hooks import Hooks

#: A worker keeps a connection that long where the project says CONN_MAX_AGE = 0, which is meant for web requests.
KEEP = 60.0
#: A connection that was idle that long is tried before a task gets it.
STALE = 1.0
#: How long the server has to answer that.
ANSWER = 2.0


class _Here(threading.local):
    """Of this thread: when each connection was used last, and the context variables as they were before the task."""

    def __init__(self) -> None:
        self.used: dict[Any, float] = {}
        self.context: contextvars.Context | None = None


_here = _Here()


def install(hooks: Hooks) -> None:
    """Run `before_task` and `after_task` around each task; once, however often it is called."""
    if before_task in hooks.before_task:
        return
    for connection in connections.all(initialized_only=True):
        _here.used[connection] = 0.0
    connection_created.connect(_opened, dispatch_uid="celeriac")
    hooks.before_task = (*hooks.before_task, before_task)
    hooks.after_task = (*hooks.after_task, after_task)


def _opened(sender: Any, connection: Any, **options: Any) -> None:
    _here.used[connection] = time.monotonic()


def before_task(request: Request) -> None:
    """See that the task gets no connection that died while nothing ran."""
    here = _here
    here.context = contextvars.copy_context()
    for connection, used in here.used.items():
        if connection.connection is None or connection.in_atomic_block or connection.vendor == "sqlite":
            continue
        if time.monotonic() - used > STALE and not deadline.is_usable(connection, ANSWER):
            connection.close()


def after_task(request: Request) -> None:
    """Undo what the task left behind: an open transaction, a broken or old connection, a language, a time zone."""
    here = _here
    if request.interrupted:
        _close_all(here.used)
    for connection in here.used:
        if connection.connection is None or connection.in_atomic_block:
            continue
        here.used[connection] = time.monotonic()
        if connection.queries_logged:
            connection.queries_log.clear()
        if _is_spent(connection):
            connection.close()
        else:
            connection.errors_occurred = False
    # Django keeps the language and the time zone in context variables: those that did not change need no look.
    if contextvars.copy_context() != here.context:
        translation.deactivate()
        timezone.deactivate()


def _close_all(used: Iterable[Any]) -> None:
    """Close what a soft limit may have struck: in a statement, or between BEGIN and what Django notes of it."""
    for connection in used:
        connection.in_atomic_block = False
        connection.close()


def _is_spent(connection: Any) -> bool:
    if connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        return True
    if connection.errors_occurred and not deadline.is_usable(connection, ANSWER):
        return True
    grace = 0.0 if connection.settings_dict["CONN_MAX_AGE"] else KEEP
    return connection.close_at is not None and time.monotonic() >= connection.close_at + grace
